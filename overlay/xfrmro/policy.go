package xfrmro

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/xfrm/mobility"
	"roam6/mip6"
)

// ours reports whether a policy is one that carries a route.
func ours(q *netlink.XfrmPolicy) bool {
	return len(q.Tmpls) > 0 && q.Tmpls[0].Reqid == request && q.Tmpls[0].Mode == netlink.XFRM_MODE_ROUTEOPTIMIZATION
}

// sparesSignalling reports whether a policy is ours that spares Mobility Headers.
func sparesSignalling(q *netlink.XfrmPolicy) bool {
	return len(q.Tmpls) == 0 && q.Priority == sparing && q.Proto == mip6.ProtocolMobility
}

// spareSignalling makes that policy, if it is not there.
func (p *Path) spareSignalling() error {
	if p.spares {
		return nil
	}
	all := &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	q := &netlink.XfrmPolicy{Src: all, Dst: all, Proto: mip6.ProtocolMobility, Dir: netlink.XFRM_DIR_OUT, Priority: sparing}
	if err := p.netlink.XfrmPolicyAdd(q); err != nil {
		return fmt.Errorf("XFRM policy that spares Mobility Headers: %w", err)
	}
	p.spares = true
	return nil
}

// demand makes the policies of a conversation what they must be.
func (p *Path) demand(k ends, c *conversation) error {
	had, there := p.policies[k]
	if c.empty() {
		if !there {
			return nil
		}
		delete(p.policies, k)
		return errors.Join(gone(p.netlink.XfrmPolicyDel(had[0])), gone(p.netlink.XfrmPolicyDel(had[1])))
	}
	if err := p.spareSignalling(); err != nil {
		return err
	}
	want := p.policiesOf(c, k)
	for i, q := range want {
		change := p.netlink.XfrmPolicyAdd // somebody else's is not replaced
		if there {
			// Also with nothing but another care-of address: the kernel then looks anew for
			// the way from there.
			change = p.netlink.XfrmPolicyUpdate
		}
		if err := change(q); err != nil {
			for _, made := range want[:i] {
				_ = p.netlink.XfrmPolicyDel(made) // it was made a moment ago
			}
			if errors.Is(err, unix.EEXIST) {
				err = fmt.Errorf("%w: somebody else's is in the way", err)
			}
			return fmt.Errorf("XFRM policy between %v and %v: %w", k.local, k.remote, err)
		}
	}
	p.policies[k] = want
	return nil
}

// policiesOf are what goes out and what comes in.
func (p *Path) policiesOf(c *conversation, k ends) [2]*netlink.XfrmPolicy {
	policy := func(from, to netip.Addr, dir netlink.Dir) *netlink.XfrmPolicy {
		q := &netlink.XfrmPolicy{Src: host(from), Dst: host(to), Dir: dir, Priority: carrying}
		if dir == netlink.XFRM_DIR_OUT && p.own != 0 {
			q.Mark = &netlink.XfrmMark{Mask: p.own} // none of its bits
		}
		for _, r := range c.routes {
			if r == nil {
				continue
			}
			s := p.sent(c, k, r.Side)
			if dir == netlink.XFRM_DIR_IN {
				s = p.taken(c, k, r.Side)
			}
			// In the order in which they are put in, and the other way round in which they
			// are taken off: the option is behind the routing header.
			t := s.Header.Template(netip.Addr{}, netip.Addr{}, request, dir == netlink.XFRM_DIR_IN)
			if s.Header == mobility.HomeAddressOption {
				q.Tmpls = append([]netlink.XfrmPolicyTmpl{t}, q.Tmpls...)
			} else {
				q.Tmpls = append(q.Tmpls, t)
			}
		}
		return q
	}
	return [2]*netlink.XfrmPolicy{policy(k.local, k.remote, netlink.XFRM_DIR_OUT), policy(k.remote, k.local, netlink.XFRM_DIR_IN)}
}

func host(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(128, 128)}
}

// sweep removes everything that is ours.
func (p *Path) sweep() (left int, err error) {
	policies, err := p.netlink.XfrmPolicyList(netlink.FAMILY_V6)
	if err != nil {
		return 0, fmt.Errorf("list XFRM policies: %w", err)
	}
	var failures []error
	for _, q := range policies {
		if sparesSignalling(&q) || ours(&q) {
			left++
			failures = append(failures, gone(p.netlink.XfrmPolicyDel(&q)))
		}
	}
	for _, h := range headers() {
		all, err := p.states.States(h)
		if err != nil {
			return left, err
		}
		for _, s := range all {
			if s.Request == request {
				left++
				failures = append(failures, gone(p.states.Remove(s.State)))
			}
		}
	}
	return left, errors.Join(failures...)
}
