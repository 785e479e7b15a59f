package nd

import (
	"net/netip"
	"testing"
	"time"

	"roam6/mip6"
)

// The lifetimes of a prefix that ends are counted down in every advertisement, and
// bounded by what is configured; one that is taken away is deprecated for no
// longer than it would have been valid (RFC 4861 §6.2.1, RFC 4862 §5.5.3 e).
func TestExpiringPrefix(t *testing.T) {
	prefix := netip.MustParsePrefix("2001:db8:d::/64")
	c := plainConfig()
	c.Advertisement.Prefixes = append(c.Advertisement.Prefixes, prefixOption(prefix.String(), 90*time.Minute, 45*time.Minute))
	c.Expiring = []Expiry{{Prefix: prefix, Preferred: epoch.Add(30 * time.Minute), Valid: epoch.Add(2 * time.Hour)}}
	a := newAdvertiser(t, c)
	c.Expiring[0].Valid = epoch // the advertiser has its own copy
	at := func(since time.Duration) map[netip.Prefix]mip6.PrefixInformation {
		t.Helper()
		a.now = epoch.Add(since)
		sent := map[netip.Prefix]mip6.PrefixInformation{}
		for _, tr := range a.Expire(a.now) {
			for _, p := range tr.Advertisement.Prefixes {
				sent[p.Prefix.Masked()] = p
			}
		}
		if len(sent) == 0 {
			t.Fatalf("nothing is sent after %v", since)
		}
		return sent
	}
	for _, want := range []struct{ since, preferred, valid time.Duration }{
		{0, 30 * time.Minute, 90 * time.Minute},
		{20 * time.Minute, 10 * time.Minute, 90 * time.Minute},
		{50 * time.Minute, 0, 70 * time.Minute},
		{110 * time.Minute, 0, 10 * time.Minute},
	} {
		sent := at(want.since)
		if p := sent[prefix]; p.PreferredLifetime != want.preferred || p.ValidLifetime != want.valid {
			t.Errorf("after %v: preferred %v, valid %v; want %v and %v", want.since, p.PreferredLifetime, p.ValidLifetime, want.preferred, want.valid)
		}
		if p := sent[netip.MustParsePrefix("2001:db8:a::/64")]; p.ValidLifetime != 24*time.Hour {
			t.Errorf("after %v the prefix beside it is valid for %v", want.since, p.ValidLifetime)
		}
	}
	a.now = epoch.Add(111 * time.Minute)
	out, err := a.Reconfigure(a.now, plainConfig())
	if err != nil {
		t.Fatal(err)
	}
	for len(out) == 0 {
		out = a.wake()
	}
	last := out[0].Advertisement.Prefixes
	if p := last[len(last)-1]; p.Prefix != prefix || p.PreferredLifetime != 0 || p.ValidLifetime > 9*time.Minute || p.ValidLifetime == 0 {
		t.Errorf("withdrawn as %+v", p)
	}
}
