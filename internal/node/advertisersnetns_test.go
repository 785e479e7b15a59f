package node

import (
	"testing"
	"time"

	"roam6/internal/rtnl/nstest"
)

// Base6Interface: the first advertisement after the start has the prefixes of an
// interface that is listed after the one that advertises them.
func TestFirstAdvertisementHasPrefixOfOtherInterface(t *testing.T) {
	for range 3 {
		l := newLAN(t, fastLink+prefixSection("list prefix '0:0:0:7::/64'", "option Base6Interface 'wan6'"), func(router *nstest.Space) {
			for _, name := range []string{"x0", "x1", "x2", "x3", "wan6"} { // it comes last
				nstest.Veth(router, name, router, name+"p")
			}
			router.Address("wan6", "2001:db8:1:ff10::1/60")
		})
		l.until("it advertises", func() bool { return len(l.all()) > 0 })
		if h := l.all()[0]; len(h.Prefixes) != 1 || h.Prefixes[0].Prefix.String() != "2001:db8:1:ff17::/64" {
			t.Errorf("the first has the prefixes %+v", h.Prefixes)
		}
		l.end()
	}
}

// An interface that is not there does not keep the one that wants its prefixes silent.
func TestAdvertisementsWithoutOtherInterface(t *testing.T) {
	l := newLAN(t, fastLink+prefixSection("list prefix '0:0:0:7::/64'", "option Base6Interface 'wan6'"))
	l.until("it advertises", func() bool { return len(l.all()) > 0 })
	if p := l.all()[0].Prefixes; len(p) != 0 {
		t.Errorf("prefixes %+v", p)
	}
	l.end()
}

// Who ends the advertisements of a link by a reload and begins them again by the next
// one leaves hosts with a router: the final advertisements do not go on behind the new
// ones.
func TestAdvertisementsBegunAgain(t *testing.T) {
	const section = "\nconfig interface\n\toption interface 'lan0'\n\toption AdvSendAdvert '1'\n\toption AdvIntervalOpt '1'\n" +
		"\toption min_interval_ms '500'\n\toption max_interval_ms '500'\n\toption min_delay_between_ras_ms '500'\n"
	prefix := prefixSection("list prefix '2001:db8:1::/64'")
	l := newLAN(t, section+prefix)
	l.until("it advertises", func() bool { return l.last().RouterLifetime > 0 })
	if err := l.rewrite(""); err != nil {
		t.Fatal(err)
	}
	l.until("the end begins", func() bool { return len(l.all()) > 0 && l.last().RouterLifetime == 0 })
	if err := l.rewrite(section + prefix); err != nil {
		t.Fatal(err)
	}
	l.until("it advertises again", func() bool { return l.last().RouterLifetime > 0 })
	n := len(l.all())
	l.until("it goes on", func() bool { return len(l.all()) > n+5 })
	for i, h := range l.all()[n:] {
		if preferred, _, ok := h.prefixOf("2001:db8:1::/64"); h.RouterLifetime == 0 || !ok || preferred == 0 {
			t.Errorf("advertisement %d after the first: router lifetime %v, prefix %v, %v", i, h.RouterLifetime, preferred, ok)
		}
	}
	for i, h := range l.all()[1:] {
		if d := h.at.Sub(l.all()[i].at); d < 400*time.Millisecond {
			t.Errorf("advertisement %d follows after %v", i+1, d)
		}
	}
	l.end()
}
