// Package xfrmro carries optimised routes (RFC 6275 §9.3, §11.3) by the Mobile IPv6 of a
// kernel that has it: as states and policies of XFRM. The tun engine uses it beside its
// own way, as tun.RoutePath.
//
// For each two addresses that routes are between there is
//
//	policy out  from here to there: headers that must be put in
//	policy in   from there to here: headers that are taken off, if they are there
//	state       for each header and direction, with the care-of address
//
// and for all of them a policy that spares Mobility Headers (RFC 6275 §6.1). Those of roam6,
// of which the kernel knows no protocol, have a mark that the policies out do not take.
// Everything has
// a priority behind that of other IPsec policies, and a request number (reqid), by which
// what a predecessor left is found. States take headers off packets with a mark only, which
// the signalling's nftables rules put on data (tun.RouteMark).
package xfrmro

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/xfrm/mobility"
	"roam6/overlay"
	"roam6/overlay/tun"
)

const (
	// request marks our states and policies. It has none of the numbers of those of
	// payload, overlay.SealRequest and those with the same upper half.
	request = 0x62760000
	// sparing comes before carrying, and both behind what others have: strongSwan's
	// priorities are below 400,000.
	sparing  = 0x62760000
	carrying = sparing + 1
)

// headers are all that there are.
func headers() [2]mobility.Header {
	return [2]mobility.Header{mobility.HomeAddressOption, mobility.Type2RoutingHeader}
}

// Path carries optimised routes. Its zero value is not usable.
type Path struct {
	log      *slog.Logger
	own      uint32 // mark of what the engine and signalling send
	received uint32 // mark of what may be received
	states   *mobility.Conn
	netlink  *netlink.Handle // of policies and addresses; nil: not started
	between  map[ends]*conversation
	users    map[stateKey]*shared
	idle     []stateKey // without users, in the order of time
	policies map[ends][2]*netlink.XfrmPolicy
	spares   bool // the policy for Mobility Headers is there
	loss     loss
}

var _ tun.RoutePath = (*Path)(nil)

// New makes a path that is not started.
func New() *Path {
	return &Path{between: make(map[ends]*conversation), users: make(map[stateKey]*shared), policies: make(map[ends][2]*netlink.XfrmPolicy)}
}

// Start opens netlink in the network namespace of the calling thread, and removes what a
// predecessor left there: what it was bound to, its correspondents and mobiles have to ask
// for anew.
func (p *Path) Start(log *slog.Logger, own, received uint32) (err error) {
	p.log, p.own, p.received = log, own, received
	if err := p.open(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			p.release()
		}
	}()
	if err := p.try(); err != nil {
		return err
	}
	if err := p.loss.open(); err != nil {
		return err
	}
	n, err := p.sweep()
	if err != nil {
		return err
	}
	if n > 0 {
		log.Info("optimised routes of a predecessor removed from the kernel", "states_and_policies", n)
	}
	return nil
}

func (p *Path) open() (err error) {
	if p.states, err = mobility.Open(); err != nil {
		return err
	}
	if p.netlink, err = netlink.NewHandle(unix.NETLINK_XFRM, unix.NETLINK_ROUTE); err != nil {
		p.states.Close()
		return fmt.Errorf("netlink: %w", err)
	}
	p.loss.events = -1
	return nil
}

// try shows whether the kernel has what it takes, which it tells with the first state.
func (p *Path) try() error {
	for _, links := range []string{"all", "default"} {
		if b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + links + "/accept_source_route"); err == nil && strings.HasPrefix(string(b), "-") {
			return fmt.Errorf("net.ipv6.conf.%s.accept_source_route is negative, with which the kernel takes no routing headers: %w", links, errors.ErrUnsupported)
		}
	}
	for _, h := range headers() {
		probe := mobility.State{
			Header: h, Source: netip.IPv6Unspecified(), Destination: netip.IPv6LinkLocalAllNodes(), CareOf: netip.IPv6Unspecified(), Request: request,
		}
		if err := p.states.Add(probe); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		if err := p.states.Remove(probe); gone(err) != nil {
			return err
		}
	}
	return nil
}

// Try tells whether the kernel carries optimised routes, in the network namespace of the
// calling thread: an error that wraps errors.ErrUnsupported, or what keeps it from being
// known.
func Try() error {
	p := New()
	if err := p.open(); err != nil {
		return err
	}
	defer p.release()
	return p.try()
}

// Clean removes from the calling thread's network namespace what a Path left there that was
// killed. It must not be called where one is at work. A kernel that has nothing of it is no
// failure.
func Clean(log *slog.Logger) error {
	p := New()
	if err := p.open(); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			return nil
		}
		return err
	}
	defer p.release()
	n, err := p.sweep()
	if n > 0 {
		log.Info("optimised routes of another data plane removed from the kernel", "states_and_policies", n)
	}
	return err
}

// Close removes everything.
func (p *Path) Close() error {
	if p.netlink == nil {
		return nil
	}
	_, err := p.sweep()
	p.release()
	return err
}

func (p *Path) release() {
	p.loss.close()
	p.states.Close()
	p.netlink.Close()
	p.netlink = nil
}

// gone forgives the removal of what is not there.
func gone(err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// Apply carries out changes.
func (p *Path) Apply(changes []tun.RouteChange, carried func(overlay.Pair, overlay.Counters), failed func(overlay.Pair, error)) {
	p.expire(time.Now())
	homes, err := p.homes(changes)
	for _, c := range changes {
		pair := c.Remove
		if c.Set != nil {
			pair = c.Set.Pair
		}
		k := endsOf(pair)
		have := p.between[k]
		want := conversation{}
		if have != nil {
			want.routes = have.routes
		}
		want.set(pair.Side, c.Set)
		reason := err
		if reason == nil && c.Set != nil && pair.Side == overlay.MobileSide && !homes[pair.Home] {
			reason = fmt.Errorf("home address %v is not assigned as one (IFA_F_HOMEADDRESS)", pair.Home)
		}
		p.tell(have, k, p.status, carried)
		if reason == nil {
			reason = p.replace(k, have, &want)
		}
		if reason == nil {
			p.tell(p.between[k], k, p.status, nil) // from here on
			continue
		}
		p.fail(k, &want, reason, failed)
	}
}

// fail removes a conversation: all or nothing, since half of it would send what nobody
// understands.
func (p *Path) fail(k ends, c *conversation, reason error, failed func(overlay.Pair, error)) {
	if err := p.replace(k, p.between[k], &conversation{}); err != nil {
		p.log.Warn("what an optimised route had in the kernel cannot be removed", "local", k.local, "remote", k.remote, "reason", err)
	}
	for _, r := range c.routes {
		if r != nil {
			failed(r.Pair, reason)
		}
	}
}

// homes are the home addresses that are assigned, if there is a reason to know.
func (p *Path) homes(changes []tun.RouteChange) (map[netip.Addr]bool, error) {
	wanted := false
	for _, c := range changes {
		wanted = wanted || c.Set != nil && c.Set.Side == overlay.MobileSide
	}
	if !wanted {
		return nil, nil
	}
	list, err := p.netlink.AddrList(nil, netlink.FAMILY_V6)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	homes := make(map[netip.Addr]bool)
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP); ok && a.Flags&unix.IFA_F_HOMEADDRESS != 0 {
			homes[addr] = true
		}
	}
	return homes, nil
}
