package nd

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"roam6/mip6"
)

// mobileConfig is a link that serves mobiles.
func mobileConfig() AdvertiserConfig {
	return AdvertiserConfig{
		MinInterval: 30 * time.Millisecond, MaxInterval: 70 * time.Millisecond, MinDelay: 30 * time.Millisecond,
		SolicitedUnicast: true, TellInterval: true,
		Advertisement: RouterAdvertisement{
			RouterLifetime: 3 * time.Second, HomeAgent: true, SourceLinkAddr: linkAddr,
			Prefixes: []mip6.PrefixInformation{{Prefix: netip.MustParsePrefix("2001:db8:a::1/64"), OnLink: true, Autonomous: true,
				RouterAddress: true, ValidLifetime: 24 * time.Hour, PreferredLifetime: 4 * time.Hour}},
		},
	}
}

// plainConfig is a link with the defaults of RFC 4861.
func plainConfig() AdvertiserConfig {
	return AdvertiserConfig{
		MinInterval: 200 * time.Second, MaxInterval: 600 * time.Second, MinDelay: 3 * time.Second,
		SolicitedDelay: MaxRADelay,
		Advertisement:  ra(1800*time.Second, prefixOption("2001:db8:a::/64", 24*time.Hour, 4*time.Hour)),
	}
}

// advertiser drives one with a clock of its own.
type advertiser struct {
	*Advertiser
	t   *testing.T
	now time.Time
}

func newAdvertiser(t *testing.T, c AdvertiserConfig) *advertiser {
	t.Helper()
	a, err := NewAdvertiser(epoch, c, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	return &advertiser{a, t, epoch}
}

// wake lets time pass to Next and calls Expire.
func (a *advertiser) wake() []Transmission {
	a.t.Helper()
	if a.Next().IsZero() {
		a.t.Fatal("nothing is due any more")
	}
	a.now = a.Next()
	return a.Expire(a.now)
}

// one expects a single transmission.
func (a *advertiser) one(out []Transmission, to netip.Addr) RouterAdvertisement {
	a.t.Helper()
	if len(out) != 1 || out[0].Destination != to {
		a.t.Fatalf("%v: sent %+v, want one to %v", a.now.Sub(epoch), out, to)
	}
	return out[0].Advertisement
}

// RFC 4861 §6.2.4, RFC 6275 §7.5: uniform between the bounds, counted from when
// the last one was due; a late caller does not shift the schedule, and the
// least interval is kept all the same.
func TestAdvertiserSchedule(t *testing.T) {
	a := newAdvertiser(t, mobileConfig())
	late := rand.New(rand.NewPCG(3, 4))
	const n, lateness = 10000, 2 * time.Millisecond
	var buckets [4]int
	begun, last, dueBefore := epoch, time.Time{}, time.Time{}
	for i := range n {
		scheduled := a.Next()
		now := scheduled.Add(time.Duration(late.Int64N(int64(lateness))))
		a.one(a.Expire(now), AllNodes())
		if !last.IsZero() {
			gap := now.Sub(last)
			if gap < 30*time.Millisecond || gap > 70*time.Millisecond+lateness {
				t.Fatalf("gap %d is %v", i, gap)
			}
			interval := scheduled.Sub(dueBefore)
			buckets[min(int((interval-30*time.Millisecond)/(10*time.Millisecond)), 3)]++
		}
		last, dueBefore = now, scheduled
	}
	for i, k := range buckets {
		if k < n/4-n/20 || k > n/4+n/20 {
			t.Errorf("%d intervals in quarter %d of the range, of %d", k, i, n)
		}
	}
	if mean := last.Sub(begun) / (n - 1); mean < 49*time.Millisecond || mean > 51*time.Millisecond {
		t.Errorf("mean gap %v: the schedule drifts", mean)
	}
	// A caller that was away for a minute does not make up for what it missed.
	now := a.Next().Add(time.Minute)
	a.one(a.Expire(now), AllNodes())
	if next := a.Next(); next.Before(now.Add(30 * time.Millisecond)) {
		t.Errorf("next after %v", next.Sub(now))
	}
	if s := a.Statistics(); s.Multicast != n+1 || s.Unicast != 0 {
		t.Errorf("statistics %+v", s)
	}
}

// RFC 4861 §6.2.4: the first three at most 16 s apart.
func TestAdvertiserInitialBurst(t *testing.T) {
	a := newAdvertiser(t, plainConfig())
	var at []time.Duration
	for range 5 {
		a.one(a.wake(), AllNodes())
		at = append(at, a.now.Sub(epoch))
	}
	if at[0] != 0 || at[1] != 16*time.Second || at[2] != 32*time.Second || at[3]-at[2] < 200*time.Second || at[4]-at[3] < 200*time.Second {
		t.Errorf("sent at %v", at)
	}
}

// RFC 6275 §7.3, §7.4, §7.5: what is told, and what is not.
func TestAdvertisementContent(t *testing.T) {
	info := func(i mip6.HomeAgentInformation) *mip6.HomeAgentInformation { return &i }
	for name, c := range map[string]struct {
		change func(*AdvertiserConfig)
		want   func(RouterAdvertisement) bool
	}{
		"a short interval with slack": {nil, func(r RouterAdvertisement) bool { return r.Interval == 90*time.Millisecond }},
		"a long interval as it is": {func(c *AdvertiserConfig) { c.MaxInterval = 200 * time.Millisecond },
			func(r RouterAdvertisement) bool { return r.Interval == 200*time.Millisecond }},
		"no interval": {func(c *AdvertiserConfig) { c.TellInterval = false; c.Advertisement.Interval = time.Second },
			func(r RouterAdvertisement) bool { return r.Interval == 0 }},
		"default home agent information": {func(c *AdvertiserConfig) {
			c.Advertisement.HomeAgentInfo = info(mip6.HomeAgentInformation{Lifetime: 3 * time.Second})
		}, func(r RouterAdvertisement) bool { return r.HomeAgent && r.HomeAgentInfo == nil }},
		"home agent information": {func(c *AdvertiserConfig) {
			c.Advertisement.HomeAgentInfo = info(mip6.HomeAgentInformation{Lifetime: 3 * time.Second, Preference: -1})
		}, func(r RouterAdvertisement) bool { return r.HomeAgentInfo != nil && r.HomeAgentInfo.Preference == -1 }},
		"home agent for mobile routers": {func(c *AdvertiserConfig) {
			c.Advertisement.HomeAgentInfo = info(mip6.HomeAgentInformation{Lifetime: 3 * time.Second, MobileRouter: true})
		}, func(r RouterAdvertisement) bool { return r.HomeAgentInfo != nil && r.HomeAgentInfo.MobileRouter }},
		"information of no home agent": {func(c *AdvertiserConfig) {
			c.Advertisement.HomeAgent = false
			c.Advertisement.HomeAgentInfo = info(mip6.HomeAgentInformation{Preference: 5})
		}, func(r RouterAdvertisement) bool { return r.HomeAgentInfo == nil }},
	} {
		config := mobileConfig()
		if c.change != nil {
			c.change(&config)
		}
		a := newAdvertiser(t, config)
		if r := a.one(a.wake(), AllNodes()); !c.want(r) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// On a link that serves mobiles a solicitation is answered at once, to its
// source alone, and the multicast schedule stays.
func TestSolicitedAtOnce(t *testing.T) {
	a := newAdvertiser(t, mobileConfig())
	a.wake()
	next := a.Next()
	a.one(a.Solicited(a.now.Add(time.Millisecond), host.WithZone("eth0")), host)
	if !a.Next().Equal(next) {
		t.Error("the answer moved the schedule")
	}
}

// RFC 4861 §6.2.6: a random delay up to MAX_RA_DELAY_TIME; the next multicast
// one replaces it if it is earlier.
func TestSolicitedWithDelay(t *testing.T) {
	c := plainConfig()
	c.SolicitedUnicast = true
	a := newAdvertiser(t, c)
	a.wake()
	var delays []time.Duration
	for i := range 20 {
		from := netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: byte(i)})
		if out := a.Solicited(a.now, from); out != nil {
			t.Fatalf("answered at once: %v", out)
		}
		a.Solicited(a.now, from) // again: still one answer
		asked := a.now
		a.one(a.wake(), from)
		delays = append(delays, a.now.Sub(asked))
		if d := a.now.Sub(asked); d < 0 || d > MaxRADelay {
			t.Errorf("answered after %v", d)
		}
	}
	if reflect.DeepEqual(delays[1:], delays[:19]) {
		t.Errorf("delays are not random: %v", delays)
	}
	soon := a.Advertiser.next.Add(-time.Nanosecond)
	if a.Solicited(soon, host); len(a.replies) != 0 {
		t.Error("a delayed answer behind the multicast one")
	}
	// An answer that waits is served by the multicast one.
	a.replies = append(a.replies, reply{to: host, at: a.Advertiser.next.Add(time.Millisecond)})
	a.one(a.Expire(a.Advertiser.next), AllNodes())
	if len(a.replies) != 0 {
		t.Error("answered twice")
	}
}

// RFC 4861 §6.2.6: multicast answers keep MinDelayBetweenRAs and begin the
// interval anew.
func TestSolicitedMulticast(t *testing.T) {
	unspecified := netip.IPv6Unspecified()
	c := mobileConfig()
	c.MinInterval, c.MaxInterval = time.Second, 3*time.Second
	a := newAdvertiser(t, c)
	a.wake()
	if out := a.Solicited(a.now.Add(10*time.Millisecond), unspecified); out != nil {
		t.Fatalf("sent within the least delay: %v", out)
	}
	first := a.now
	a.one(a.wake(), AllNodes())
	if d := a.now.Sub(first); d != c.MinDelay {
		t.Errorf("answered after %v, want %v", d, c.MinDelay)
	}
	a.now = a.now.Add(c.MinDelay)
	a.one(a.Solicited(a.now, unspecified), AllNodes())
	if next := a.Next().Sub(a.now); next < c.MinInterval || next > c.MaxInterval {
		t.Errorf("the next one follows after %v", next)
	}
	// A storm of them costs one advertisement each least delay.
	sent := 0
	for end := a.now.Add(300 * time.Millisecond); a.now.Before(end); a.now = a.now.Add(time.Millisecond) {
		sent += len(a.Solicited(a.now, unspecified)) + len(a.Expire(a.now))
	}
	if sent != 10 && sent != 9 {
		t.Errorf("%d advertisements in 300 ms", sent)
	}

	c.SolicitedUnicast = false
	a = newAdvertiser(t, c)
	a.wake()
	a.now = a.now.Add(c.MinDelay)
	a.one(a.Solicited(a.now, host), AllNodes())
}

// Neither one source nor a thousand forged ones get more than the link bears,
// and memory stays bounded; a source recovers.
func TestSolicitationLimits(t *testing.T) {
	c := plainConfig()
	c.SolicitedUnicast, c.SolicitedDelay = true, 0
	a := newAdvertiser(t, c)
	a.wake()
	sent := 0
	for range 100 {
		sent += len(a.Solicited(a.now, host))
	}
	if s := a.Statistics(); sent != sourceBurst || s.LimitedBySource != 100-sourceBurst || s.Solicitations != 100 {
		t.Errorf("%d answers, %+v", sent, s)
	}
	a.now = a.now.Add(sourceInterval)
	a.one(a.Solicited(a.now, host), host)

	before := a.Statistics()
	for i := range 10000 {
		a.now = a.now.Add(100 * time.Microsecond) // one second in all
		a.Solicited(a.now, netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(i >> 8), 15: byte(i)}))
	}
	after := a.Statistics()
	if n, most := after.Unicast-before.Unicast, uint64(linkBurst+time.Second/linkInterval); n > most || n < most-2 || after.LimitedByLink == 0 {
		t.Errorf("%d answers in a second, want %d", n, most)
	}
	if len(a.limiter.sources) > maxSources {
		t.Errorf("%d sources remembered", len(a.limiter.sources))
	}

	c.SolicitedDelay = MaxRADelay
	a = newAdvertiser(t, c)
	a.wake()
	for i := range 1000 {
		a.now = a.now.Add(linkInterval / 50)
		a.Solicited(a.now, netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(i >> 8), 15: byte(i)}))
		if len(a.replies) > maxReplies {
			t.Fatalf("%d delayed answers", len(a.replies))
		}
	}
	if a.Statistics().Overflowed == 0 {
		t.Error("no overflow counted")
	}
}

// A prefix that is taken out is advertised as deprecated until no host can have
// it (RFC 4862 §5.5.3 e), at least three times, and no longer.
func TestWithdrawal(t *testing.T) {
	a, b := prefixOption("2001:db8:a::1/64", 24*time.Hour, 4*time.Hour), prefixOption("2001:db8:b::/64", time.Second, time.Second)
	a.RouterAddress = true
	c := plainConfig()
	c.Advertisement.Prefixes = []mip6.PrefixInformation{a, b}
	adv := newAdvertiser(t, c)
	adv.wake()
	adv.now = adv.now.Add(time.Minute)
	kept := prefixOption("2001:db8:c::/64", time.Hour, time.Hour)
	out, err := adv.SetPrefixes(adv.now, []mip6.PrefixInformation{kept})
	if err != nil {
		t.Fatal(err)
	}
	r := adv.one(out, AllNodes())
	withdrawn := adv.now
	wantB := mip6.PrefixInformation{Prefix: netip.MustParsePrefix("2001:db8:b::/64"), OnLink: true, Autonomous: true, ValidLifetime: time.Second}
	wantA := mip6.PrefixInformation{Prefix: netip.MustParsePrefix("2001:db8:a::/64"), OnLink: true, Autonomous: true, ValidLifetime: 2 * time.Hour}
	if want := []mip6.PrefixInformation{kept, wantB, wantA}; !reflect.DeepEqual(r.Prefixes, want) {
		t.Fatalf("advertised %+v\nwant %+v", r.Prefixes, want)
	}
	count := map[netip.Prefix]int{}
	for i := 1; ; i++ {
		if i < initialRAs {
			if d := adv.Next().Sub(adv.now); d > 16*time.Second {
				t.Errorf("advertisement %d after the change only after %v", i, d)
			}
		}
		r = adv.one(adv.wake(), AllNodes())
		for _, p := range r.Prefixes[1:] {
			count[p.Prefix]++
			if want := max(withdrawn.Add(2*time.Hour).Sub(adv.now), 0); p.Prefix == wantA.Prefix && p.ValidLifetime != want {
				t.Errorf("%v left of %v, want %v", p.ValidLifetime, p.Prefix, want)
			}
			if p.PreferredLifetime != 0 {
				t.Errorf("advertised %+v", p)
			}
		}
		if len(r.Prefixes) == 1 {
			break
		}
	}
	if count[wantB.Prefix] != withdrawRAs-1 || adv.now.Sub(withdrawn) < 2*time.Hour || adv.now.Sub(withdrawn) > 2*time.Hour+20*time.Minute {
		t.Errorf("%d more advertisements of %v; the last deprecation ended after %v", count[wantB.Prefix], wantB.Prefix, adv.now.Sub(withdrawn))
	}
	// One that comes back is not withdrawn any more, and an error changes nothing.
	must := func(p ...mip6.PrefixInformation) {
		t.Helper()
		if _, err := adv.SetPrefixes(adv.now, p); err != nil {
			t.Fatal(err)
		}
	}
	must()
	must(kept)
	if _, err := adv.SetPrefixes(adv.now, []mip6.PrefixInformation{{}}); err == nil {
		t.Error("advertises no prefix")
	}
	adv.now = adv.now.Add(time.Minute)
	if r = adv.one(adv.Expire(adv.now), AllNodes()); !reflect.DeepEqual(r.Prefixes, []mip6.PrefixInformation{kept}) {
		t.Errorf("advertised %+v", r.Prefixes)
	}
	// Thirty prefixes a minute for a day leave messages that fit.
	for i := range 24 * 60 {
		adv.now = adv.now.Add(time.Minute)
		var many []mip6.PrefixInformation
		for j := range 30 {
			many = append(many, prefixOption(fmt.Sprintf("2001:db8:%x:%x::/64", i, j), time.Hour, time.Hour))
		}
		must(many...)
	}
	adv.now = adv.now.Add(time.Minute)
	out = adv.Expire(adv.now)
	for _, p := range out {
		if n := len(p.Advertisement.Append(nil)); n > maxAdvertisement || len(adv.withdrawn) > maxWithdrawn {
			t.Errorf("%d octets, %d withdrawn", n, len(adv.withdrawn))
		}
	}
	if len(out) != 2 {
		t.Errorf("%d packets", len(out))
	}
}

// RFC 4861 §6.2.4, §6.2.6: a change is told at once, but not within the least
// delay.
func TestReconfigureKeepsDelay(t *testing.T) {
	c := plainConfig()
	a := newAdvertiser(t, c)
	a.wake()
	a.now = a.now.Add(time.Second)
	c.Advertisement.Managed = true
	if out, err := a.Reconfigure(a.now, c); err != nil || out != nil {
		t.Fatalf("sent %v, %v", out, err)
	}
	if d := a.Next().Sub(epoch); d != c.MinDelay {
		t.Errorf("told after %v, want %v", d, c.MinDelay)
	}
	if r := a.one(a.wake(), AllNodes()); !r.Managed {
		t.Errorf("advertised %+v", r)
	}
}

// RFC 4861 §6.2.5: three final advertisements, as far apart as they must be, and
// then nothing. RFC 6275 §10.5.1: it is no home agent any more.
func TestStop(t *testing.T) {
	a := newAdvertiser(t, mobileConfig())
	a.wake()
	a.now = a.now.Add(29 * time.Millisecond)
	if out := a.Stop(a.now); out != nil {
		t.Fatalf("sent within the least delay: %v", out)
	}
	last := epoch
	for range finalRAs {
		if a.Done() {
			t.Fatal("done too early")
		}
		r := a.one(a.wake(), AllNodes())
		if r.RouterLifetime != 0 || r.HomeAgent || r.HomeAgentInfo != nil || r.Interval != 0 || len(r.Prefixes) != 1 {
			t.Errorf("final advertisement %+v", r)
		}
		if d := a.now.Sub(last); d != 30*time.Millisecond {
			t.Errorf("after %v", d)
		}
		last = a.now
	}
	if !a.Done() || !a.Next().IsZero() || a.Expire(a.now.Add(time.Hour)) != nil || a.Solicited(a.now, host) != nil || a.Stop(a.now) != nil {
		t.Error("not done")
	}
	if out, err := a.Reconfigure(a.now, mobileConfig()); out != nil || err != nil || !a.Next().IsZero() {
		t.Error("a stopped advertiser was brought back")
	}

	b := newAdvertiser(t, mobileConfig())
	b.one(b.Stop(b.now), AllNodes()) // nothing was sent before: at once
}

func TestAdvertiserConfigValidate(t *testing.T) {
	for _, c := range []AdvertiserConfig{mobileConfig(), plainConfig()} {
		if err := c.Validate(); err != nil {
			t.Errorf("refused: %v", err)
		}
	}
	for name, change := range map[string]func(*AdvertiserConfig){
		"minimum interval":       func(c *AdvertiserConfig) { c.MinInterval = 29 * time.Millisecond },
		"maximum interval":       func(c *AdvertiserConfig) { c.MaxInterval = 69 * time.Millisecond },
		"interval too long":      func(c *AdvertiserConfig) { c.MaxInterval = 20 * time.Hour },
		"interval reversed":      func(c *AdvertiserConfig) { c.MinInterval = 71 * time.Millisecond },
		"delay too short":        func(c *AdvertiserConfig) { c.MinDelay = 0 },
		"delay too long":         func(c *AdvertiserConfig) { c.MinDelay = time.Second },
		"solicited delay":        func(c *AdvertiserConfig) { c.SolicitedDelay = time.Second },
		"lifetime below 1 s":     func(c *AdvertiserConfig) { c.Advertisement.RouterLifetime = 999 * time.Millisecond },
		"lifetime too long":      func(c *AdvertiserConfig) { c.Advertisement.RouterLifetime = 20 * time.Hour },
		"lifetime below maximum": func(c *AdvertiserConfig) { c.MaxInterval = 4 * time.Second },
		"no router address":      func(c *AdvertiserConfig) { c.Advertisement.Prefixes = nil },
		"home agent lifetime": func(c *AdvertiserConfig) {
			c.Advertisement.HomeAgentInfo = &mip6.HomeAgentInformation{Preference: 1}
		},
		"link-local prefix": func(c *AdvertiserConfig) {
			c.Advertisement.Prefixes = append(c.Advertisement.Prefixes, prefixOption("fe80::/64", time.Hour, time.Hour))
		},
		"IPv4 prefix": func(c *AdvertiserConfig) {
			c.Advertisement.Prefixes = append(c.Advertisement.Prefixes, prefixOption("192.0.2.0/24", time.Hour, time.Hour))
		},
		"router address without host part": func(c *AdvertiserConfig) {
			c.Advertisement.Prefixes[0].Prefix = c.Advertisement.Prefixes[0].Prefix.Masked()
		},
		"preferred above valid": func(c *AdvertiserConfig) { c.Advertisement.Prefixes[0].PreferredLifetime = 25 * time.Hour },
		"prefix twice": func(c *AdvertiserConfig) {
			c.Advertisement.Prefixes = append(c.Advertisement.Prefixes, c.Advertisement.Prefixes[0])
		},
	} {
		c := mobileConfig()
		change(&c)
		if err := c.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if a, err := NewAdvertiser(epoch, c, rand.New(rand.NewPCG(1, 2))); err == nil || a != nil {
			t.Errorf("%s: advertises", name)
		}
	}
}

func BenchmarkSolicited(b *testing.B) {
	c := mobileConfig()
	a, err := NewAdvertiser(epoch, c, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		b.Fatal(err)
	}
	now, out := epoch, make([]byte, 0, 256)
	for b.Loop() {
		now = now.Add(time.Second)
		for _, t := range a.Solicited(now, host) {
			out = t.Advertisement.Append(out[:0])
		}
	}
}
