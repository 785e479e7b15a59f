package kernel

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// followInterval is how often it is looked whether routing leads tunnel packets by the
// link of their path.
const followInterval = 200 * time.Millisecond

// foreignEvery is how many of them pass between two looks for others' tunnels.
const foreignEvery = 5

// follower looks after mobiles' tunnels whose packets have to leave by a link. A tunnel
// device asks routing for the way from the care-of address to the agent by that link,
// and the kernel takes the link for a wish: where a better route leads by another one,
// the engine sends the packets, whose sockets can insist.
type follower struct {
	ended   chan struct{}
	running sync.WaitGroup
}

func (p *path) follow() *follower {
	f := &follower{ended: make(chan struct{})}
	f.running.Go(func() { p.followRunLoop(f.ended) })
	return f
}

func (p *path) followRunLoop(ended <-chan struct{}) {
	ticker := time.NewTicker(followInterval)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ended:
			return
		case <-ticker.C:
			p.reroute()
			if n%foreignEvery == 0 {
				p.lookAround()
			}
		}
	}
}

// lookAround looks for others' tunnels again.
func (p *path) lookAround() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if err := p.lookForeign(); err != nil {
		p.log().Warn("tunnels of others on this node may not get their packets", "engine", Name, "reason", err)
	}
}

// reroute takes the routes of tunnels that have gone astray, and gives those back that
// have not any more.
func (p *path) reroute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	var requests []rtbatch.Request
	for _, t := range p.mobiles {
		astray := p.elsewhere(t.Path)
		if astray == t.astray {
			continue
		}
		p.log().Info("way of a tunnel's packets by their link has changed", "engine", Name, "home_address", t.Home, "in_kernel", !astray)
		requests = p.stray(requests, t, astray)
	}
	p.commitStray(requests, "routes of a tunnel are not changed")
}

// stray notes whether the packets of a tunnel have gone astray, and appends the requests
// that take its routes or give them back.
func (p *path) stray(requests []rtbatch.Request, t *tunnel, astray bool) []rtbatch.Request {
	t.astray = false // which has no routes
	for _, r := range p.routesOf(t) {
		if astray {
			requests = append(requests, r.remove(p.under.RouteProtocol))
		} else {
			requests = append(requests, r.add(p.under.RouteProtocol))
		}
	}
	t.astray = astray
	return requests
}

// commitStray carries out what stray has appended, or warns.
func (p *path) commitStray(requests []rtbatch.Request, warning string) {
	p.route.Commit(requests, func(_ int, err error) {
		if !nlsock.Gone(err) {
			p.log().Warn(warning, "engine", Name, "reason", err)
		}
	})
}

// elsewhere reports whether the packets of a path would leave by another link than its
// own. Without any way they are the tunnel device's to drop.
func (p *path) elsewhere(path overlay.Path) bool {
	if path.Link == 0 {
		return false
	}
	b := make(rtbatch.Attributes, unix.SizeofRtMsg)
	b[0], b[1], b[2] = unix.AF_INET6, 128, 128
	from, to := path.Local.As16(), path.Remote.As16()
	index := path.Link
	err := p.route.Get(unix.RTM_GETROUTE, b.Bytes(unix.RTA_SRC, from[:]).Bytes(unix.RTA_DST, to[:]).Uint32(unix.RTA_OIF, uint32(path.Link)), func(m []byte) {
		if len(m) < unix.SizeofRtMsg {
			return
		}
		if i, ok := rtbatch.Uint32Attribute(m[unix.SizeofRtMsg:], unix.RTA_OIF); ok && m[7] == unix.RTN_UNICAST {
			index = int(i)
		}
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) {
		return true // the engine knows what to say of an address or link that is not there
	}
	return index != path.Link
}
