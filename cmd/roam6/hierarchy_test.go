package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"testing"

	"roam6/internal/pcap"
	"roam6/mip6"
	"roam6/nd"
)

// TestHierarchy: a mobile router and a mobile node ride through the domains of two
// mobility anchor points (RFC 5380). Inside a domain the home agent hears nothing of a
// move, and it takes less than the way to the home agent; the anchor of before forwards
// where it serves the new place; an anchor that restarts, dies or cannot be reached is
// done without in time, and used again; the path MTU is found exactly through both
// tunnels; no regional care-of address is ever seen on an access link. One of the domains
// is advertised by its access routers' configuration, the other one by what they hear
// from the anchor's router.
//
// Covers: P3, P5, P7, P8, P10.
func TestHierarchy(t *testing.T) {
	needWorlds(t)
	figures := []string{
		"inside_down_ms", "inside_up_ms", "forwarded_down_ms", "between_down_ms", "plain_down_ms", "plain_up_ms",
		"home_updates_inside", "home_updates_between", "home_updates_plain",
		"lost_other_domain", "foreign_sources", "foreign_addresses",
	}
	for _, fault := range []string{"restart", "daemon", "host"} {
		for _, what := range []string{"recovered_downlink_ms", "recovered_uplink_ms", "lost_downlink", "lost_uplink", "regained_ms"} {
			figures = append(figures, fault+"_"+what)
		}
	}
	for _, end := range []string{"mnn", "mn"} {
		for _, direction := range []string{"down", "up"} {
			figures = append(figures, fmt.Sprintf("path_mtu_%s_%s", direction, end))
		}
	}
	_, capture := world(t, "hierarchy --probe-interval 5ms --dwell 1200ms", expected(27, figures...))
	t.Run("wire", func(t *testing.T) { checkAnchors(t, capture) })
	t.Run("tshark", func(t *testing.T) { dissect(t, capture) })
}

// TestHierarchyOptimised: correspondents know the regional care-of address, and hear of
// no move inside a domain, either (RFC 5380 §6.1).
func TestHierarchyOptimised(t *testing.T) {
	needWorlds(t)
	_, capture := world(t, "hierarchy --probe-interval 5ms --dwell 1200ms --ro --kill none --no-comparison",
		expected(15, "inside_down_ms", "home_updates_inside", "peer_updates_inside", "foreign_sources", "foreign_addresses"))
	t.Run("tshark", func(t *testing.T) { dissect(t, capture) })
}

// checkAnchors looks at what anchors and mobiles say to each other, and to the home agent,
// and at how anchors are advertised.
func checkAnchors(t *testing.T, capture string) {
	t.Helper()
	f, err := os.Open(capture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := pcap.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	w := anchorWire{T: t, distances: map[netip.Addr]map[uint8]bool{}, granted: map[netip.Addr]mip6.Lifetime{}}
	for {
		packet, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		w.advertised(packet.Data)
		if p, err := mip6.ParsePacket(innermost(packet.Data)); err == nil {
			w.said(p)
		}
	}
	if w.updates == 0 || w.answers == 0 || w.home == 0 {
		t.Errorf("%d updates to anchors, %d acknowledgements, %d regional care-of addresses at the home agent", w.updates, w.answers, w.home)
	}
	// The first domain's anchor by its own router, and by those that have heard it; the
	// second one's as it is configured.
	for anchor, want := range map[string][]uint8{"2001:db8:f1::1": {1, 2}, "2001:db8:f2::1": {3}} {
		if got := slices.Sorted(maps.Keys(w.distances[netip.MustParseAddr(anchor)])); !slices.Equal(got, want) {
			t.Errorf("%s is advertised at the distances %v, want %v", anchor, got, want)
		}
	}
}

// anchorWire is what was seen so far.
type anchorWire struct {
	*testing.T
	distances              map[netip.Addr]map[uint8]bool
	granted                map[netip.Addr]mip6.Lifetime // to regional care-of addresses, at most
	updates, answers, home int
}

// advertised takes in a router advertisement.
func (w *anchorWire) advertised(packet []byte) {
	const header, next, advertisement = 40, 58, 134
	if len(packet) <= header || packet[6] != next || packet[header] != advertisement {
		return
	}
	ra, err := nd.ParseRouterAdvertisement(packet[header:])
	if err != nil {
		w.Error(err)
	}
	for _, m := range ra.Anchors {
		if w.distances[m.Address] == nil {
			w.distances[m.Address] = map[uint8]bool{}
		}
		w.distances[m.Address][m.Distance] = true
	}
}

// said takes in a message.
func (w *anchorWire) said(p mip6.Packet) {
	region := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 64).Masked() }
	switch m := p.Message.(type) {
	case mip6.BindingUpdate:
		alternate, named := mip6.Find[mip6.AlternateCareOf](m)
		switch {
		case m.Flags&mip6.UpdateMAP != 0: // RFC 5380 §4.1, §6.1
			w.updates++
			if m.Flags != mip6.UpdateMAP|mip6.UpdateAcknowledge || named || region(p.HomeAddress) != region(p.Destination) || region(p.Source) == region(p.HomeAddress) {
				w.Errorf("local binding update %+v", p)
			}
		case m.Flags&mip6.UpdateHome != 0 && m.Lifetime > 0 && named:
			granted, regional := w.granted[alternate.Addr]
			if regional {
				w.home++
			}
			if regional && m.Lifetime > granted {
				w.Errorf("a home registration of %v for %v, which the anchor gave %v", m.Lifetime.Duration(), alternate.Addr, granted.Duration())
			}
		}
	case mip6.BindingAcknowledgement:
		anchor := slices.Contains(slices.Collect(maps.Keys(w.distances)), p.Source)
		switch {
		case !anchor:
		case region(p.RouteHome) != region(p.Source):
			w.Errorf("acknowledgement of an anchor without its regional care-of address: %+v", p)
		case m.Status.Accepted() && m.Lifetime > 0:
			w.answers++
			w.granted[p.RouteHome] = max(w.granted[p.RouteHome], m.Lifetime)
		}
	}
}
