package planetest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/internal/xfrm/mobility"
)

// AgainstXFRM measures what an optimised route carries, TCP and small datagrams, each way:
// by an engine in user space, by one that leaves busy routes to the Mobile IPv6 of a kernel
// that has it, and by that alone, without an engine and what keeps the kernel silent. They
// and plain routing take turns; ratios are medians of rounds. The router between the ends
// has no engine.
func AgainstXFRM(b *testing.B, user, delegating Open) {
	b.Run("Aggregates", func(b *testing.B) { againstXFRM(b, user, delegating, true) })
	b.Run("Wires", func(b *testing.B) { againstXFRM(b, user, delegating, false) })
}

func againstXFRM(b *testing.B, user, delegating Open, offloads bool) {
	kernel := makeWorld(b, false)
	kernel.mobility()
	bound := func(open Open) *optimisedWorld {
		w := optimise(makeWorld(b, false), open)
		w.bind(0)
		if err := w.agentEngine.Close(); err != nil {
			b.Fatal(err)
		}
		return w
	}
	engine, delegates := bound(user), bound(delegating)
	delegates.delegate(firstCareOf, delegates.udp(delegates.correspondent, correspondentAddress), delegates.udp(delegates.mobile, homeAddress))
	if !offloads {
		for _, w := range []*world{kernel, engine.world, delegates.world} {
			w.wires()
		}
	}
	type way struct {
		w              *world
		at             netip.Addr // of the mobile
		tcp, datagrams rates
	}
	plain, byEngine, byBoth, byXFRM := way{w: kernel, at: firstCareOf}, way{w: engine.world, at: homeAddress},
		way{w: delegates.world, at: homeAddress}, way{w: kernel, at: homeAddress}
	for b.Loop() {
		for _, x := range []*way{&plain, &byEngine, &byBoth, &byXFRM} {
			w := x.w
			mobile, correspondent := w.udp(w.mobile, x.at), w.udp(w.correspondent, correspondentAddress)
			x.tcp.add(w.rate(w.correspondent, correspondentAddress, w.mobile, x.at, period), w.rate(w.mobile, x.at, w.correspondent, correspondentAddress, period))
			x.datagrams.add(w.packets(w.correspondent, correspondentAddress, mobile), w.packets(w.mobile, x.at, correspondent))
		}
	}
	for name, x := range map[string]*way{"plain": &plain, "user": &byEngine, "kernel": &byBoth, "xfrm": &byXFRM} {
		x.tcp.report(b, name, gigabits)
		x.datagrams.report(b, name, packets)
	}
	for _, r := range []struct {
		name     string
		of, than *way
	}{{"kernel-to-plain", &byBoth, &plain}, {"kernel-to-user", &byBoth, &byEngine}, {"kernel-to-xfrm", &byBoth, &byXFRM}} {
		r.of.tcp.ratio(b, r.name, &r.than.tcp)
		r.of.datagrams.ratio(b, r.name+"-packets", &r.than.datagrams)
	}
	logDrops(b, engine.correspondentEngine, engine.mobileEngine)
	logDrops(b, delegates.correspondentEngine, delegates.mobileEngine)
}

// mobility gives the kernels of mobile and correspondent the optimised route between
// home address and correspondent.
func (w *world) mobility() {
	w.t.Helper()
	w.mobile.Do(func() error {
		return w.mobile.Handle.AddrAdd(w.mobile.Link("lo"), &netlink.Addr{IPNet: host(homeAddress), Flags: unix.IFA_F_NODAD | unix.IFA_F_HOMEADDRESS})
	})
	for _, end := range []struct {
		s             *nstest.Space
		local, remote netip.Addr
		out, in       mobility.Header
	}{
		{w.mobile, homeAddress, correspondentAddress, mobility.HomeAddressOption, mobility.Type2RoutingHeader},
		{w.correspondent, correspondentAddress, homeAddress, mobility.Type2RoutingHeader, mobility.HomeAddressOption},
	} {
		err := end.s.Try(func() error {
			states, err := mobility.Open()
			if err != nil {
				return err
			}
			defer states.Close()
			policies, err := netlink.NewHandle(unix.NETLINK_XFRM)
			if err != nil {
				return err
			}
			defer policies.Close()
			for _, way := range []struct {
				from, to netip.Addr
				header   mobility.Header
				dir      netlink.Dir
			}{
				{end.local, end.remote, end.out, netlink.XFRM_DIR_OUT},
				{end.remote, end.local, end.in, netlink.XFRM_DIR_IN},
			} {
				if err := states.Add(mobility.State{Header: way.header, Source: way.from, Destination: way.to, CareOf: firstCareOf}); err != nil {
					return err
				}
				optional := way.dir == netlink.XFRM_DIR_IN
				if err := policies.XfrmPolicyAdd(&netlink.XfrmPolicy{
					Src: host(way.from), Dst: host(way.to), Dir: way.dir,
					Tmpls: []netlink.XfrmPolicyTmpl{way.header.Template(netip.Addr{}, netip.Addr{}, 0, optional)},
				}); err != nil {
					return fmt.Errorf("XFRM policy %v from %v to %v: %w", way.dir, way.from, way.to, err)
				}
			}
			return nil
		})
		if errors.Is(err, mobility.ErrUnsupported) {
			w.t.Skip(err)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func host(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(128, 128)}
}
