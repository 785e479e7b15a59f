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

// AgainstXFRM measures what an optimised route carries, TCP and small datagrams, each way,
// by an engine and by the Mobile IPv6 of a kernel that has it, alone, without an engine and
// what keeps the kernel silent: no engine that left packets to XFRM could carry more.
// Both and plain routing take turns; ratios are medians of rounds. The router between the
// ends has no engine.
func AgainstXFRM(b *testing.B, open Open) {
	b.Run("Aggregates", func(b *testing.B) { againstXFRM(b, open, true) })
	b.Run("Wires", func(b *testing.B) { againstXFRM(b, open, false) })
}

func againstXFRM(b *testing.B, open Open, offloads bool) {
	kernel := makeWorld(b, false)
	kernel.mobility()
	engine := optimise(makeWorld(b, false), open)
	engine.bind(0)
	if err := engine.agentEngine.Close(); err != nil {
		b.Fatal(err)
	}
	if !offloads {
		kernel.wires()
		engine.wires()
	}
	const plain, byEngine, byXFRM = 0, 1, 2
	names := [...]string{plain: "plain", byEngine: "engine", byXFRM: "xfrm"}
	var all [len(names)][4][]float64
	measure := func(way int, w *world, at netip.Addr) {
		mobile, correspondent := w.udp(w.mobile, at), w.udp(w.correspondent, correspondentAddress)
		for i, v := range [...]float64{
			w.rate(w.correspondent, correspondentAddress, w.mobile, at, period) * 8 / 1e6,
			w.rate(w.mobile, at, w.correspondent, correspondentAddress, period) * 8 / 1e6,
			w.packets(w.correspondent, correspondentAddress, mobile),
			w.packets(w.mobile, at, correspondent),
		} {
			all[way][i] = append(all[way][i], v)
		}
	}
	for b.Loop() {
		measure(plain, kernel, firstCareOf)
		measure(byEngine, engine.world, homeAddress)
		measure(byXFRM, kernel, homeAddress)
	}
	for i, what := range [...]string{"down-Mbit/s", "up-Mbit/s", "down-packets/s", "up-packets/s"} {
		for way, name := range names {
			b.ReportMetric(median(all[way][i]), name+"-"+what)
		}
		for _, than := range []int{plain, byEngine} {
			ratios := make([]float64, len(all[byXFRM][i]))
			for round, v := range all[byXFRM][i] {
				ratios[round] = v / all[than][i][round]
			}
			b.ReportMetric(median(ratios), "xfrm/"+names[than]+"-"+what[:len(what)-2]+"-ratio")
		}
	}
	b.ReportMetric(0, "ns/op") // says nothing here
	logDrops(b, engine.correspondentEngine, engine.mobileEngine)
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
					Tmpls: []netlink.XfrmPolicyTmpl{way.header.Template(netip.Addr{}, netip.Addr{}, optional)},
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
