package nd

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"roam6/mip6"
)

func remembered(r *Routers, now time.Time) []netip.Addr {
	var out []netip.Addr
	for _, x := range r.Remembered(now, link) {
		out = append(out, x.Addr)
	}
	return out
}

// The routers of a link that went down are remembered for Simple DNA, and one
// that answers is there again with what remains of its lifetimes (RFC 6059 §4,
// §5.5, §5.7).
func TestRecall(t *testing.T) {
	const a, b = "2001:db8:a::/64", "2001:db8:b::/64"
	r := NewRouters()
	r.Heard(epoch, link, router1, ra(time.Minute, prefixOption(a, time.Hour, 2*time.Minute), prefixOption(b, 3*time.Minute, time.Minute)))
	r.LinkDown(epoch.Add(time.Second), link)
	if len(r.On(link)) != 0 || !r.Next().IsZero() {
		t.Fatal("still there")
	}
	now := epoch.Add(4 * time.Minute)
	all := r.Remembered(now, link)
	if len(all) != 1 || len(all[0].Prefixes) != 1 {
		t.Fatalf("remembered %+v", all)
	}
	if got := text(r.Recall(now, link, all[0])); got != "router appeared fe80::1" {
		t.Errorf("changes %q", got)
	}
	x, ok := r.Get(link, router1)
	if !ok || x.RA.RouterLifetime != 0 || !x.LifetimeEnds.IsZero() || !x.Since.Equal(now) ||
		x.Prefixes[0].Info.Prefix.String() != a || x.Prefixes[0].Info.PreferredLifetime != 0 {
		t.Errorf("recalled %+v", x)
	}
	if len(remembered(r, now)) != 0 || len(r.Recall(now, link, x)) != 0 {
		t.Error("recalled twice")
	}
	if got := text(r.Expire(epoch.Add(time.Hour))); got != "prefix expired fe80::1 "+a+"; router lost fe80::1" {
		t.Errorf("afterwards %q", got)
	}
}

// What ends a memory: time, the last prefix, an advertisement of the router,
// which is definitive (RFC 6059 §5.7.3), the end of the link, others that came
// later. A router without a link-layer address cannot be asked.
func TestMemoryEnds(t *testing.T) {
	p := prefixOption("2001:db8:a::/64", time.Hour, time.Hour)
	start := func(change func(*RouterAdvertisement)) *Routers {
		m := ra(time.Hour, p)
		if change != nil {
			change(&m)
		}
		r := NewRouters()
		r.Heard(epoch, link, router1, m)
		r.LinkDown(epoch, link)
		return r
	}
	if r := start(nil); len(remembered(r, epoch.Add(memory-time.Second))) != 1 || len(remembered(r, epoch.Add(memory))) != 0 {
		t.Error("by time")
	}
	if r := start(func(m *RouterAdvertisement) {
		m.Prefixes[0].ValidLifetime, m.Prefixes[0].PreferredLifetime = time.Minute, time.Minute
	}); len(remembered(r, epoch.Add(time.Minute))) != 0 {
		t.Error("by its last prefix")
	}
	if r := start(func(m *RouterAdvertisement) { m.SourceLinkAddr = nil }); len(remembered(r, epoch)) != 0 {
		t.Error("without a link-layer address")
	}
	r := start(nil)
	old := r.Remembered(epoch, link)[0]
	r.Heard(epoch, link, router1, ra(time.Hour, prefixOption("2001:db8:b::/64", time.Hour, time.Hour)))
	if len(remembered(r, epoch)) != 0 || len(r.Recall(epoch, link, old)) != 0 {
		t.Error("by an advertisement")
	}
	r = start(nil)
	r.LinkGone(link)
	if len(remembered(r, epoch)) != 0 {
		t.Error("by the end of the link")
	}
	r = start(nil)
	for i := range 20 {
		r.Heard(epoch, link, netip.MustParseAddr(fmt.Sprintf("fe80::5:%x", i)), ra(time.Hour, p))
	}
	r.LinkDown(epoch, link)
	if all := remembered(r, epoch); len(all) != maxRemembered || all[0] != netip.MustParseAddr("fe80::5:13") {
		t.Errorf("remembered %v", all)
	}
}

// One of two routers with the same link-local address, told apart by the
// link-layer address: both are remembered (RFC 6059 §4).
func TestMemoryOfSameNames(t *testing.T) {
	r := NewRouters()
	for i := range byte(2) {
		m := ra(time.Hour, prefixOption(fmt.Sprintf("2001:db8:%d::/64", i), time.Hour, time.Hour))
		m.SourceLinkAddr = net.HardwareAddr{2, 0, 0, 0, 0, i}
		r.Heard(epoch, link, router1, m)
		r.LinkDown(epoch, link)
	}
	if all := remembered(r, epoch); len(all) != 2 {
		t.Errorf("remembered %v", all)
	}
}

// A prefix that three advertisements in a row lack, which name others, is used no
// more; splitting the options over two is in order (RFC 6059 §5.10, RFC 4861
// §6.2.3).
func TestMissedPrefix(t *testing.T) {
	a, b := prefixOption("2001:db8:a::/64", time.Hour, time.Hour), prefixOption("2001:db8:b::/64", time.Hour, time.Hour)
	r := NewRouters()
	now := epoch
	say := func(prefixes ...mip6.PrefixInformation) string {
		now = now.Add(time.Second)
		return text(r.Heard(now, link, router1, ra(time.Hour, prefixes...)))
	}
	say(a, b)
	for range 10 {
		if got := say(a) + say(b) + say(); got != "" {
			t.Fatalf("split options: %q", got)
		}
	}
	for i := range 5 {
		want := ""
		if i == missedAdvertisements-1 {
			want = "prefix deprecated fe80::1 2001:db8:a::/64"
		}
		if i == 0 {
			say(a, b)
		}
		if got := say(b); got != want {
			t.Errorf("advertisement %d: %q, want %q", i, got, want)
		}
	}
	if got := say(a); got != "prefix appeared fe80::1 2001:db8:a::/64" {
		t.Errorf("named again: %q", got)
	}
}
