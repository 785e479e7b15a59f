package kernel

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/nlsock"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// inheritance is what a predecessor left and nobody has wanted yet. It goes on.
type inheritance struct {
	shape    shape
	elements map[[2]string]bool // set and key
	routes   map[route]bool
	devices  []link // of mobiles' tunnels
}

// aliasFormat says of a device whose it is, for Clean: the tag of routes and rules, and
// the priority of the rule.
const aliasFormat = "roam6 kernel data plane, protocol %d, rule %d"

func (p *path) alias() string {
	return fmt.Sprintf(aliasFormat, p.under.RouteProtocol, p.under.RulePriority-1)
}

// ours reports whether a name is one of our devices'.
func (p *path) ours(name string) bool {
	rest, ok := strings.CutPrefix(name, p.external.name)
	if !ok {
		return false
	}
	_, err := strconv.ParseUint(rest, 10, 16)
	return rest == "" || err == nil
}

// devices calls f for the devices that are ours.
func (p *path) devices(f func(link)) error {
	return p.route.Dump(unix.RTM_GETLINK, linkHeader(0, 0, 0), func(m []byte) {
		if l, _, ok := parseLink(m); ok && p.ours(l.name) {
			f(l)
		}
	})
}

// inherit finds what a predecessor left.
func (p *path) inherit() error {
	i := &p.inherited
	i.elements, i.routes = make(map[[2]string]bool), make(map[route]bool)
	var stale []rtbatch.Request
	mine := make(map[int]bool)
	err := p.devices(func(l link) {
		switch {
		case l.name == p.external.name && l.external:
			p.external.index = l.index
		case l.name == p.external.name || l.external:
			stale = append(stale, l.remove())
			return
		default:
			i.devices = append(i.devices, l)
		}
		mine[l.index] = true
	})
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	p.route.Commit(stale, func(_ int, err error) {
		p.log().Warn("a device of ours that is not as it should be is not removed", "engine", Name, "reason", err)
	})
	if len(mine) > 0 {
		header := make([]byte, unix.SizeofRtMsg)
		header[0], header[5] = unix.AF_INET6, byte(p.under.RouteProtocol)
		err := p.route.Dump(unix.RTM_GETROUTE, header, func(m []byte) {
			if r, protocol, ok := parseRoute(m); ok && protocol == p.under.RouteProtocol && mine[r.device] {
				i.routes[r.key()] = true
			}
		})
		if err != nil {
			return fmt.Errorf("list routes: %w", err)
		}
	}
	return p.inheritSets()
}

func (p *path) inheritSets() error {
	names, err := p.nft.Sets(tableName)
	if err != nil {
		return explain("list nftables sets", err, ErrNoSets)
	}
	i := &p.inherited
	for _, name := range names {
		switch name {
		case setHeaders, setScopes, setSeen:
			continue
		case setYielded, setWatched, setWatchedIn:
		default:
			if !i.shape.add(name) {
				continue
			}
		}
		err := p.nft.Elements(tableName, name, func(e nft.Element) { i.elements[[2]string{name, string(e.Key)}] = true })
		if err != nil {
			return fmt.Errorf("list nftables set %s: %w", name, err)
		}
	}
	for e := range i.elements {
		i.shape.nested = true // nobody knows
		i.shape.yields = i.shape.yields || e[0] == setYielded
		i.shape.watch = i.shape.watch || e[0] == setWatched
	}
	p.shape = i.shape
	return nil
}

// add takes in a set by its name. ok is false if it is of no length.
func (s *shape) add(name string) (ok bool) {
	var bits int
	for _, side := range []overlay.Side{overlay.AgentSide, overlay.MobileSide} {
		for _, role := range []string{inner, out, in} {
			if _, err := fmt.Sscanf(name, strings.Replace(setName(side, role, 0), "_0", "_%d", 1), &bits); err != nil || setName(side, role, bits) != name || bits < 1 || bits > 128 {
				continue
			}
			one := shape{agent: []int{bits}}
			if side == overlay.MobileSide {
				one = shape{mobile: []int{bits}}
			}
			*s = s.and(one)
			return true
		}
	}
	return false
}

// claim takes a device of a predecessor's that has the ends, if there is one.
func (i *inheritance) claim(want link) (l link, ok bool) {
	for n, d := range i.devices {
		if d.local == want.local && d.remote == want.remote && d.on == want.on {
			i.devices = append(i.devices[:n:n], i.devices[n+1:]...)
			return d, true
		}
	}
	return l, false
}

// Sweep removes what nobody wanted.
func (p *path) Sweep() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	i := p.inherited
	p.inherited = inheritance{}
	var failures []error
	var requests []rtbatch.Request
	for r := range i.routes {
		requests = append(requests, r.remove(p.under.RouteProtocol))
	}
	for _, d := range i.devices {
		requests = append(requests, d.remove())
	}
	p.route.Commit(requests, func(_ int, err error) {
		if !nlsock.Gone(err) {
			failures = append(failures, fmt.Errorf("remove routes and devices of a predecessor: %w", err))
		}
	})
	var stale []element
	for e := range i.elements {
		stale = append(stale, element{set: e[0], key: e[1]})
	}
	p.change(stale, nil, func(e element, err error) {
		failures = append(failures, fmt.Errorf("remove an element of a predecessor from %s: %w", e.set, err))
	})
	if n := len(requests) + len(stale); n > 0 {
		p.log().Info("stale kernel state of a predecessor removed", "engine", Name, "items", n)
	}
	if err := p.reshape(p.wantedShape()); err != nil {
		failures = append(failures, fmt.Errorf("nftables table %s: %w", tableName, err))
	}
	if !p.ruleSet(p.shape).marks() {
		p.leads = true // a predecessor's perhaps
		p.unlead(p.shape)
	}
	return errors.Join(failures...)
}
