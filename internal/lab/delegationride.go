package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/dhcpv6"
	"roam6/internal/lab/probe"
)

const (
	delegationPort, delegationFirstPort, delegationTransferPort = 9001, 9010, 9002
	delegationNewPort                                           = 9005
)

// board brings the router to the first access router, and waits until it is
// registered, has its prefix, and its passengers have addresses and are heard by
// the correspondent and hear it.
func (r *delegationRun) board(ctx context.Context, s *stage) (err error) {
	if r.first, err = s.stream(r.passengers[0].name, nodeCorrespondent, correspondentAddress(), delegationFirstPort, r.interval); err != nil {
		return err
	}
	r.at = accessRouterName(1)
	if _, err := s.world.Move(nodeRouter, linkUp, r.at, 0, true); err != nil {
		return err
	}
	home := r.site().mobile().Addr()
	if err := s.until(ctx, r.patience, func() bool { return s.registration(ctx, nodeRouter, home).Home == home }); err != nil {
		return fmt.Errorf("the mobile router is not registered: %w", err)
	}
	r.registered = time.Now()
	if err := s.until(ctx, r.patience, func() bool { return r.look(ctx, s) }); err != nil {
		return fmt.Errorf("nothing is delegated: %w", err)
	}
	r.delegated, r.prefix, r.renewals = time.Now(), r.now(ctx, s), 0
	s.observe(ctx, nodeRouter)
	if told := s.told[nodeRouter]; len(told) > 0 && !told[0].Acknowledged.IsZero() {
		r.registered = told[0].Acknowledged // not only when it was asked
	}
	s.tell("%v delegated %.0f ms after the registration", r.prefix, millis(r.delegated.Sub(r.registered)))
	subnets := dhcpv6.Subnets(r.prefix, len(r.passengers))
	for i, p := range r.passengers {
		if err := s.until(ctx, r.patience, func() bool {
			p.address, _ = s.hostAddress(p.name, "eth0", subnets[i])
			return p.address.IsValid()
		}); err != nil {
			return fmt.Errorf("%s gets no address of %v: %w", p.name, subnets[i], err)
		}
	}
	var streams []*probe.Stream
	for _, p := range r.passengers {
		if p.down, p.up, err = r.talk(s, p, p.address, delegationPort); err != nil {
			return err
		}
		streams = append(streams, p.down, p.up)
	}
	if err := s.hear(ctx, r.patience, append(streams, r.first)...); err != nil {
		return fmt.Errorf("%s and the passengers do not hear each other: %w", nodeCorrespondent, err)
	}
	r.first.Stop()
	// A connection that a passenger makes lives until its prefix goes.
	if err := s.connect(ctx, r.passengers[0].name, nodeCorrespondent, correspondentAddress(), delegationTransferPort, r.rate, r.seed); err != nil {
		return err
	}
	return r.wait(ctx, s, r.dwell)
}

// talk starts streams from and to the correspondent.
func (r *delegationRun) talk(s *stage, p *passenger, address netip.Addr, port uint16) (down, up *probe.Stream, err error) {
	if down, err = s.stream(nodeCorrespondent, p.name, address, port, r.interval); err != nil {
		return nil, nil, err
	}
	// The correspondent tells the passengers apart by the port.
	up, err = s.streamFrom(p.name, nodeCorrespondent, address, correspondentAddress(), port+uint16(slices.Index(r.passengers, p)), r.interval)
	return down, up, err
}

// look asks the router what it has, and notices renewals. It reports whether there
// is a prefix.
func (r *delegationRun) look(ctx context.Context, s *stage) bool {
	const same = time.Second // what two looks may differ by without a renewal
	list := s.delegated(ctx, nodeRouter)
	if len(list) == 0 {
		return false
	}
	until := time.Now().Add(list[0].Valid)
	if !r.validUntil.IsZero() && until.Sub(r.validUntil) > same {
		r.renewals++
	}
	r.validUntil = until
	return true
}

// now is the router's prefix; invalid when it has none.
func (r *delegationRun) now(ctx context.Context, s *stage) netip.Prefix {
	if list := s.delegated(ctx, nodeRouter); len(list) > 0 {
		return list[0].Prefix
	}
	return netip.Prefix{}
}

// wait lets time pass, and notices renewals.
func (r *delegationRun) wait(ctx context.Context, s *stage, d time.Duration) error {
	const pause = 250 * time.Millisecond
	for end := time.Now().Add(d); ; {
		r.look(ctx, s)
		if err := s.crew.check(); err != nil {
			return err
		}
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		if !sleep(ctx, min(pause, left)) {
			return ctx.Err()
		}
	}
}

// ride moves from access router to access router.
func (r *delegationRun) ride(ctx context.Context, s *stage) error {
	s.tell("%d moves, link gone for %v at each; round trips: %v to the access router, %v to the home agent", r.handovers, r.switching, r.access, r.homeAgent)
	for range r.handovers {
		to := accessRouterName(1)
		if r.at == to {
			to = accessRouterName(2)
		}
		if err := r.visit(ctx, s, to, r.dwell); err != nil {
			return err
		}
	}
	return nil
}

// visit moves to a stop and stays there.
func (r *delegationRun) visit(ctx context.Context, s *stage, to string, stay time.Duration) error {
	moved, err := s.world.Move(nodeRouter, linkUp, to, r.switching, true)
	if err != nil {
		return err
	}
	m := move{from: r.at, to: to, Switch: moved}
	r.moves, r.at = append(r.moves, m), to
	if err := r.wait(ctx, s, stay); err != nil {
		return err
	}
	s.observe(ctx, nodeRouter)
	s.progress(len(r.moves)-1, r.handovers+2, m, r.settling(), r.passengers[0].down, r.passengers[0].up)
	return nil
}

// restart ends a daemon and begins it again. In order, it leaves nothing in the
// kernel, as after a reboot.
func (r *delegationRun) restart(ctx context.Context, s *stage, node string) error {
	d, before := s.daemon(node), r.now(ctx, s)
	x := restart{node: node, gone: time.Now()}
	end := d.stop
	if r.crash {
		end = d.kill
	}
	if err := end(); err != nil {
		return err
	}
	x.back = time.Now()
	if err := d.start(); err != nil {
		return err
	}
	// What was under way when it ended may still arrive.
	after := time.Now().Add(r.settling())
	if err := s.until(ctx, r.patience, func() bool { return connected(after, r.streams()...) }); err != nil {
		s.fail("after the restart of %s the passengers are not reached again: %v", node, err)
	} else {
		s.tell("        %s restarted; connected again after %.0f ms, of which it was gone for %.0f", node, millis(time.Since(x.gone)), millis(x.back.Sub(x.gone)))
	}
	x.connected, r.validUntil = time.Now(), time.Time{}
	if err := s.until(ctx, r.patience, func() bool { return r.look(ctx, s) }); err != nil {
		s.fail("after the restart of %s the router has no prefix: %v", node, err)
	}
	if err := r.wait(ctx, s, r.dwell); err != nil {
		return err
	}
	x.ended = time.Now()
	r.restarts = append(r.restarts, x)
	if p := r.now(ctx, s); p != before {
		s.fail("after the restart of %s the router has %v, before %v", node, p, before)
	}
	for _, p := range r.passengers {
		if a, deprecated := s.hostAddress(p.name, "eth0", netip.PrefixFrom(p.address, 64)); a != p.address || deprecated {
			s.fail("after the restart of %s, %s has %v, deprecated %t, before %v", node, p.name, a, deprecated, p.address)
		}
	}
	s.observe(ctx, nodeRouter)
	return nil
}

// streams are those to and from all passengers.
func (r *delegationRun) streams() (all []*probe.Stream) {
	for _, p := range r.passengers {
		all = append(all, p.down, p.up)
	}
	return all
}

// comeHome stays on the home link until the prefix was renewed there.
func (r *delegationRun) comeHome(ctx context.Context, s *stage) error {
	if err := r.visit(ctx, s, nodeHomeAgent, r.dwell); err != nil {
		return err
	}
	before := r.renewals
	err := s.until(ctx, r.preferred+r.patience, func() bool {
		sleep(ctx, 100*time.Millisecond)
		r.look(ctx, s)
		return r.renewals > before
	})
	if err != nil {
		s.fail("at home the prefix is not renewed: %v", err)
	}
	return ctx.Err()
}

// leave goes away again, which ends the moves, and the transfer with them.
func (r *delegationRun) leave(ctx context.Context, s *stage) error {
	if err := r.visit(ctx, s, accessRouterName(1), r.dwell); err != nil {
		return err
	}
	r.travelled = time.Now()
	const limit = 10 * time.Second
	finish, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s.verdict = s.transfer.Finish(finish)
	return nil
}

// replace takes the pool away and gives the home agent, or Kea, another one. The
// router hears of it when it renews its lease.
func (r *delegationRun) replace(ctx context.Context, s *stage) error {
	r.exchange.at = time.Now()
	if err := r.replacePool(s, r.pools()[1]); err != nil {
		return err
	}
	s.tell("the pool %v is taken away, and %v put in its place", r.pools()[0], r.pools()[1])
	x := &r.exchange
	if err := s.until(ctx, r.preferred+r.patience, func() bool {
		x.prefix = r.now(ctx, s)
		return x.prefix.IsValid() && r.pools()[1].Overlaps(x.prefix)
	}); err != nil {
		return fmt.Errorf("the router gets no prefix of the new pool but %v: %w", x.prefix, err)
	}
	subnets := dhcpv6.Subnets(x.prefix, len(r.passengers))
	addresses := make([]netip.Addr, len(r.passengers))
	if err := s.until(ctx, r.patience, func() bool {
		for i, p := range r.passengers {
			if addresses[i], _ = s.hostAddress(p.name, "eth0", subnets[i]); !addresses[i].IsValid() {
				return false
			}
		}
		return true
	}); err != nil {
		return fmt.Errorf("not all passengers get an address of %v: %w", x.prefix, err)
	}
	x.renumbered = time.Now()
	if err := s.until(ctx, r.patience, func() bool {
		return !slices.ContainsFunc(r.passengers, func(p *passenger) bool {
			a, deprecated := s.hostAddress(p.name, "eth0", netip.PrefixFrom(p.address, 64))
			return a.IsValid() && !deprecated
		})
	}); err != nil {
		s.fail("the passengers do not take their old addresses for deprecated: %v", err)
	}
	x.withdrawn = time.Now()
	s.tell("        %v works %.0f ms later, and the old prefix is deprecated", x.prefix, millis(x.renumbered.Sub(x.at)))
	for i, p := range r.passengers {
		down, up, err := r.talk(s, p, addresses[i], delegationNewPort)
		if err != nil {
			return err
		}
		x.streams = append(x.streams, down, up)
	}
	if err := s.hear(ctx, r.patience, x.streams...); err != nil {
		return fmt.Errorf("%s and the passengers do not hear each other by the new prefix: %w", nodeCorrespondent, err)
	}
	x.connected = time.Now()
	if !sleep(ctx, r.dwell) {
		return ctx.Err()
	}
	x.ended = time.Now()
	s.finish(ctx, time.Second, r.settling())
	return nil
}

// delegated asks a daemon what its mobile routers have by delegation.
func (s *stage) delegated(ctx context.Context, node string) []Delegated {
	o := s.observer(node)
	if o == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	list, err := o.Delegated(ctx)
	if err != nil {
		return nil
	}
	return list
}

// hostAddress is the address of a node in a prefix that it can use, and whether it
// is deprecated; invalid when there is none.
func (s *stage) hostAddress(node, ifname string, prefix netip.Prefix) (a netip.Addr, deprecated bool) {
	space := s.world.Space(node)
	link, err := space.Link.LinkByName(ifname)
	if err != nil {
		return a, false
	}
	list, err := space.Link.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		return a, false
	}
	for _, x := range list {
		if ip, ok := netip.AddrFromSlice(x.IP); ok && prefix.Contains(ip) && x.Flags&unix.IFA_F_TENTATIVE == 0 {
			return ip, x.Flags&unix.IFA_F_DEPRECATED != 0
		}
	}
	return a, false
}
