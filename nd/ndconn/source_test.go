package ndconn

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"roam6/nd"
)

// AdvRASrcAddress: advertisements come from the first address of the list that the
// interface has; while it has none nothing is sent, and they begin when it appears.
func TestAdvertisingSources(t *testing.T) {
	w := newWorld(t)
	r, h := w.open(w.router, "r0"), w.open(w.host, "h0")
	first, second, third := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2"), netip.MustParseAddr("fe80::3")
	r.SetSources([]netip.Addr{first, second})
	var e *SendError
	if err := r.SendRA(nd.AllNodes(), w.advertisement()); !errors.As(err, &e) || e.Reason != SendNoSource || r.AdvertisingSource().IsValid() {
		t.Fatalf("without any of them: %v from %v", err, r.AdvertisingSource())
	}
	if n := r.Counters().SendErrors[SendNoSource]; n != 1 {
		t.Errorf("%d counted", n)
	}
	if r.LinkLocal() != w.linkLocal {
		t.Errorf("other messages come from %v, want %v", r.LinkLocal(), w.linkLocal)
	}
	expect := func(want netip.Addr) {
		t.Helper()
		must(t, r.Refresh())
		must(t, r.SendRA(nd.AllNodes(), w.advertisement()))
		if got := h.next("an advertisement", is[nd.RouterAdvertisement]); got.Header.Source != want {
			t.Errorf("from %v, want %v", got.Header.Source, want)
		}
	}
	w.router.Assign("r0", "fe80::3/64")
	w.router.Assign("r0", "fe80::2/64")
	expect(second)
	w.router.Assign("r0", "fe80::1/64")
	expect(first)
	a, err := netlink.ParseAddr("fe80::1/64")
	must(t, err)
	must(t, w.router.Handle.AddrDel(w.router.Link("r0"), a))
	expect(second)
	r.SetSources([]netip.Addr{third})
	expect(third)
	r.SetSources(nil)
	must(t, r.SendRA(nd.AllNodes(), w.advertisement()))
	if got := h.next("an advertisement", is[nd.RouterAdvertisement]).Header.Source; got == netip.IPv6Unspecified() || got != r.LinkLocal() {
		t.Errorf("left to the interface: from %v, want %v", got, r.LinkLocal())
	}
}

// A client that was not heard lately is found by the kernel, without a look into all
// its neighbours.
func TestUnicastAdvertisement(t *testing.T) {
	w := newWorld(t)
	r, h := w.open(w.router, "r0"), w.open(w.host, "h0")
	client := w.host.LinkLocal("h0")
	must(t, r.SendRA(client, w.advertisement()))
	if got := h.next("an advertisement", is[nd.RouterAdvertisement]); got.Header.Destination != client || got.Header.Source != w.linkLocal {
		t.Errorf("%+v", got.Header)
	}
}
