package tun

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// What an Apply asks of the kernel: no more than what has changed, and nothing on
// the correspondent's side where the engine's packets carry no mark.
func TestRoutesOfTheKernel(t *testing.T) {
	var config Config
	if err := config.complete(); err != nil {
		t.Fatal(err)
	}
	second := netip.MustParseAddr("2001:db8:c::2")
	for _, marks := range []bool{true, false} {
		e := &Engine{
			config: config, kernel: kernel{config: config, index: 5}, marks: marks, start: time.Now(),
			routes: make(map[overlay.Pair]*optimised), leads: make(map[led]*lead),
		}
		step := func(name string, want []uint16, change func(*plan)) {
			t.Helper()
			var p plan
			change(&p)
			e.steer(&p)
			got := make([]uint16, 0, len(p.requests))
			for _, r := range p.requests {
				got = append(got, r.Kind)
			}
			if len(got) != len(want) {
				t.Fatalf("%s (marks %v): requests %v, want %v", name, marks, got, want)
			}
			for i := range got {
				if got[i] != want[i] {
					t.Errorf("%s (marks %v): requests %v, want %v", name, marks, got, want)
				}
			}
			for i, r := range p.requests {
				if r.Kind == unix.RTM_NEWROUTE && p.steps[i].done == nil {
					t.Errorf("%s: would not be tried again", name)
				}
			}
		}
		install := func(r overlay.Route) func(*plan) {
			return func(p *plan) {
				if err := e.optimise(&r, p); err != nil {
					t.Fatal(err)
				}
			}
		}
		only := func(kinds ...uint16) []uint16 {
			if !marks {
				return nil
			}
			return kinds
		}
		moved := correspondentRoute(correspondent)
		moved.CareOf = newCareOf
		step("first", only(unix.RTM_NEWROUTE, unix.RTM_NEWRULE), install(correspondentRoute(correspondent)))
		step("again", nil, install(correspondentRoute(correspondent)))
		step("moved", nil, install(moved))
		step("another address of ours", nil, install(correspondentRoute(second)))
		step("first gone, its address no source any more", only(unix.RTM_NEWROUTE), func(p *plan) { e.deoptimise(moved.Pair, p) })
		step("gone already", nil, func(p *plan) { e.deoptimise(moved.Pair, p) })
		step("last gone", only(unix.RTM_DELROUTE, unix.RTM_DELRULE), func(p *plan) { e.deoptimise(correspondentRoute(second).Pair, p) })

		mobile := mobileRoute(correspondent)
		mobile.Link = 0
		step("mobile side", []uint16{unix.RTM_NEWROUTE}, install(mobile))
		step("mobile side, gone", []uint16{unix.RTM_DELROUTE}, func(p *plan) { e.deoptimise(mobile.Pair, p) })
		if len(e.routes)+len(e.leads)+e.bound != 0 || e.steered {
			t.Errorf("left: %v %v %d %v", e.routes, e.leads, e.bound, e.steered)
		}
		// The home addresses are forgotten when their time is over.
		e.forgetDeparted(e.now())
		if e.table.correspondentRoutes.empty() {
			t.Error("forgotten at once")
		}
		e.forgetDeparted(e.now() + config.Grace)
		if !e.table.correspondentRoutes.empty() || !e.table.mobileRoutes.empty() || len(e.departed) != 0 {
			t.Error("not forgotten")
		}
	}
}

// The mark of the engine's packets is on what the kernel sends for it.
func TestPacketsAreMarked(t *testing.T) {
	s := nstest.New(t)
	s.Do(func() error {
		e, err := Open(Config{Mark: 0x4000, MarkMask: 0xc000})
		if err != nil {
			return err
		}
		defer e.Close()
		for _, fd := range []int{e.sender.fd, e.icmp} {
			if mark, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK); err != nil || mark != 0x4000 {
				t.Errorf("mark %#x, %v", mark, err)
			}
		}
		rule := e.kernel.sendersRule()
		if mask, ok := rtbatch.Uint32Attribute(rule[unix.SizeofRtMsg:], unix.FRA_FWMASK); !ok || mask != 0x4000 {
			t.Errorf("rule with mask %#x", mask)
		}
		return nil
	})
}

// BenchmarkApplyRoutes installs and removes ten thousand optimised routes, each
// with its route in the kernel.
func BenchmarkApplyRoutes(b *testing.B) {
	s := nstest.New(b)
	s.Address("lo", correspondent.String()+"/128")
	const n = 10_000
	var set, unset []overlay.Change
	for i := range n {
		r := correspondentRoute(correspondent)
		h := r.Home.As16()
		binary.BigEndian.PutUint16(h[8:], uint16(i))
		r.Home = netip.AddrFrom16(h)
		set = append(set, overlay.Change{Optimise: &r})
		unset = append(unset, overlay.Change{Deoptimise: &r.Pair})
	}
	s.Do(func() error {
		e, err := Open(Config{})
		if err != nil {
			return err
		}
		defer e.Close()
		for b.Loop() {
			if err := errors.Join(e.Apply(set), e.Apply(set), e.Apply(unset)); err != nil {
				return err
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/binding")
		return nil
	})
}
