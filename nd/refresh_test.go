package nd

import (
	"net/netip"
	"testing"
	"time"

	"roam6/mip6"
)

// The kernel renews lifetimes with every advertisement it hears: hosts are told of what
// they would lose, or keep for too long, and of nothing else. RFC 4861 §6.2.4 has a
// burst for changes of what is advertised.
func TestRefresh(t *testing.T) {
	prefix := netip.MustParsePrefix("2001:db8:a::/64")
	const hour = time.Hour
	for name, c := range map[string]struct {
		before, after time.Duration // from the beginning, of both lifetimes; negative: never
		at            time.Duration
		max           time.Duration
		sent          int // in the next 33 s, by plainConfig's 3 s and 16 s
	}{
		"nothing changed":                     {hour, hour, time.Minute, 600 * time.Second, 0},
		"renewed as always":                   {hour, hour + time.Minute, time.Minute, 600 * time.Second, 0},
		"never to end any more":               {hour, -1, time.Minute, 600 * time.Second, 0},
		"some seconds less":                   {hour, hour - 4*time.Second, time.Minute, 600 * time.Second, 0},
		"a minute less":                       {hour, hour - time.Minute, time.Minute, 600 * time.Second, 3},
		"ended":                               {hour, time.Minute, time.Minute, 600 * time.Second, 3},
		"hosts would lose it":                 {8 * time.Minute, hour, 2 * time.Minute, 600 * time.Second, 1},
		"hosts have it until the next":        {11 * time.Minute, hour, 30 * time.Second, 600 * time.Second, 0},
		"a short one renewed all the time":    {2 * time.Minute, 2*time.Minute + 10*time.Second, 40 * time.Second, 600 * time.Second, 0},
		"a short one renewed not long before": {2 * time.Minute, 3*time.Minute + 30*time.Second, 90 * time.Second, 600 * time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			expiry := func(d time.Duration) []Expiry {
				if d < 0 {
					return nil
				}
				return []Expiry{{Prefix: prefix, Preferred: epoch.Add(d), Valid: epoch.Add(d)}}
			}
			config := plainConfig()
			config.MinInterval, config.MaxInterval = 590*time.Second, c.max
			config.Advertisement.Prefixes[0].PreferredLifetime = 24 * time.Hour
			config.Expiring = expiry(c.before)
			a := newAdvertiser(t, config)
			for range 3 {
				a.wake()
				a.now = epoch // as if all had been sent at once: what was told is of then
				a.last, a.next = epoch, epoch
			}
			a.initial, a.last, a.next = 0, epoch, epoch.Add(c.max)
			a.now = epoch.Add(c.at)
			config.Expiring = expiry(c.after)
			out, err := a.Reconfigure(a.now, config)
			if err != nil {
				t.Fatal(err)
			}
			sent, end := len(out), a.now.Add(33*time.Second)
			for !a.Next().After(end) {
				out = a.wake()
				sent += len(out)
			}
			if sent != c.sent {
				t.Errorf("%d advertisements, want %d", sent, c.sent)
			}
			if p := a.config.At(a.now).Prefixes[0]; c.after < 0 && p.ValidLifetime != 24*time.Hour ||
				c.after >= 0 && p.ValidLifetime != min(max(epoch.Add(c.after).Sub(a.now), 0), 24*time.Hour) {
				t.Errorf("what is told is %v", p.ValidLifetime)
			}
		})
	}
}

// The same configuration again is no change, and another interval or prefix is one.
func TestReconfigureWithoutChange(t *testing.T) {
	a := newAdvertiser(t, informed())
	for range 3 {
		a.wake()
	}
	a.now = a.now.Add(time.Minute)
	next := a.Next()
	again := informed()
	again.Farewell, again.KeepOnExit = Farewell{KeepServers: []netip.Addr{host}}, true // of the end alone
	if out, err := a.Reconfigure(a.now, again); err != nil || out != nil || !a.Next().Equal(next) {
		t.Errorf("sent %v, %v, next %v, before %v", out, err, a.Next(), next)
	}
	for name, change := range map[string]func(*AdvertiserConfig){
		"lifetime": func(c *AdvertiserConfig) { c.Advertisement.Prefixes[0].PreferredLifetime = time.Hour },
		"interval": func(c *AdvertiserConfig) { c.MinInterval -= time.Second },
		"mtu":      func(c *AdvertiserConfig) { c.Advertisement.MTU = 1300 },
		"clients":  func(c *AdvertiserConfig) { c.Clients = []netip.Addr{client1} },
		"prefix": func(c *AdvertiserConfig) {
			c.Advertisement.Prefixes = append(c.Advertisement.Prefixes, prefixOption("2001:db8:ff::/64", time.Hour, time.Hour))
		},
	} {
		a.now = a.now.Add(time.Minute)
		c := informed()
		change(&c)
		if out, err := a.Reconfigure(a.now, c); err != nil || len(out) == 0 {
			t.Errorf("%s: sent %v, %v", name, out, err)
		}
		if _, err := a.Reconfigure(a.now.Add(time.Minute), again); err != nil {
			t.Fatal(err)
		}
		a.now = a.now.Add(2 * time.Minute)
	}
}

// A link that has come back is told at once, and as often as at the beginning.
func TestAnnounce(t *testing.T) {
	a := newAdvertiser(t, plainConfig())
	for range 4 {
		a.wake()
	}
	a.now = a.now.Add(time.Minute)
	a.one(a.Announce(a.now), AllNodes())
	start := a.now
	for range 2 {
		a.one(a.wake(), AllNodes())
	}
	if d := a.now.Sub(start); d != 32*time.Second {
		t.Errorf("the third after %v", d)
	}
	if out := a.Announce(a.now); out != nil || a.Next().Sub(a.now) != 3*time.Second {
		t.Errorf("sent %v at once, next in %v", out, a.Next().Sub(a.now))
	}
	a.Stop(a.now)
	if out := a.Announce(a.now.Add(time.Hour)); out != nil {
		t.Errorf("sent %v after the end", out)
	}
}

// What never ends is as long after any time.
func TestRemains(t *testing.T) {
	if d := remains(mip6.InfiniteLifetime, time.Hour); d != mip6.InfiniteLifetime {
		t.Errorf("%v remain of what never ends", d)
	}
	if d := remains(time.Hour, 2*time.Hour); d != 0 {
		t.Errorf("%v remain of what has ended", d)
	}
}
