package nd

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"
)

var client1, client2 = adr("fe80::c1"), adr("fe80::c2")

func destinations(out []Transmission) (to []netip.Addr) {
	for _, t := range out {
		to = append(to, t.Destination)
	}
	return to
}

// UnicastOnly: only who asks gets an answer, by unicast, and who has no address gets
// none. What was withdrawn is told to those who ask while hosts may have it.
func TestUnicastOnly(t *testing.T) {
	c := informed()
	c.UnicastOnly = true
	a := newAdvertiser(t, c)
	if !a.Next().IsZero() || a.Expire(a.now.Add(time.Hour)) != nil {
		t.Fatalf("something is due at %v", a.Next())
	}
	a.Solicited(a.now, host)
	a.one(a.wake(), host)
	if out := a.Solicited(a.now, netip.IPv6Unspecified()); out != nil || !a.Next().IsZero() {
		t.Errorf("sent %v, next %v", out, a.Next())
	}
	if s := a.Statistics(); s.Multicast != 0 || s.Unicast != 1 || s.Solicitations != 2 || s.Refused != 1 {
		t.Errorf("statistics %+v", s)
	}
	c.Advertisement.Routes, c.SolicitedDelay = nil, 0
	if out, err := a.Reconfigure(a.now, c); out != nil || err != nil || !a.Next().IsZero() {
		t.Errorf("sent %v, %v", out, err)
	}
	for range withdrawRAs + 1 {
		if r := a.one(a.Solicited(a.now, host), host); len(r.Routes) != 1 || r.Routes[0].Lifetime != 0 {
			t.Errorf("answered %+v", r)
		}
		a.now = a.now.Add(time.Minute)
	}
	a.now = a.now.Add(time.Hour)
	if r := a.one(a.Solicited(a.now, host), host); len(r.Routes) != 0 || len(a.withdrawn) != 0 {
		t.Errorf("answered %+v", r)
	}
	// A link that learns to multicast, and unlearns it.
	c.UnicastOnly = false
	out, err := a.Reconfigure(a.now, c)
	if err != nil {
		t.Fatal(err)
	}
	a.one(out, AllNodes())
	c.UnicastOnly = true
	if out, err := a.Reconfigure(a.now, c); out != nil || err != nil || !a.Next().IsZero() {
		t.Errorf("sent %v, %v, next %v", out, err, a.Next())
	}
	if out := a.Stop(a.now); out != nil || !a.Done() {
		t.Errorf("sent %v, done %v", out, a.Done())
	}
}

// Clients: each gets the unsolicited advertisements, in the usual intervals, and
// answers; nobody else gets anything, the end included.
func TestClients(t *testing.T) {
	c := mobileConfig()
	c.Clients = []netip.Addr{client1, client2}
	a := newAdvertiser(t, c)
	last := time.Time{}
	for range 100 {
		out := a.wake()
		if got := destinations(out); !slices.Equal(got, c.Clients) || !reflect.DeepEqual(out[0].Advertisement, out[1].Advertisement) {
			t.Fatalf("sent to %v", got)
		}
		if d := a.now.Sub(last); !last.IsZero() && (d < 30*time.Millisecond || d > 70*time.Millisecond || out[0].Gap != d || out[1].Gap != 0) {
			t.Fatalf("after %v, gap %v and %v", d, out[0].Gap, out[1].Gap)
		}
		last = a.now
	}
	next := a.Next()
	for _, from := range []netip.Addr{host, netip.IPv6Unspecified(), {}} {
		if out := a.Solicited(a.now, from); out != nil || !a.Next().Equal(next) {
			t.Errorf("solicited by %v: %v", from, out)
		}
	}
	a.one(a.Solicited(a.now, client2.WithZone("eth0")), client2)
	if s := a.Statistics(); s.Multicast != 0 || s.Unicast != 201 || s.Refused != 3 || s.Solicitations != 4 {
		t.Errorf("statistics %+v", s)
	}
	a.Stop(a.now)
	for range finalRAs {
		out := a.wake()
		if got := destinations(out); !slices.Equal(got, c.Clients) || out[0].Advertisement.RouterLifetime != 0 {
			t.Errorf("final advertisement to %v", got)
		}
	}
	if !a.Done() {
		t.Error("not done")
	}

	// Both: clients that have to ask.
	c.UnicastOnly = true
	a = newAdvertiser(t, c)
	if !a.Next().IsZero() || a.Solicited(a.now, host) != nil {
		t.Error("sent unasked")
	}
	a.one(a.Solicited(a.now, client1), client1)

	// The multicast answers of RFC 4861 go to the client alone, too; several packets
	// go to one client after the other.
	c = crowded()
	c.Clients, c.SolicitedUnicast = []netip.Addr{client1, client2}, false
	a = newAdvertiser(t, c)
	out := a.wake()
	for i, to := range destinations(out) {
		if want := c.Clients[2*i/len(out)]; to != want {
			t.Errorf("packet %d to %v, want %v", i, to, want)
		}
	}
	for _, to := range destinations(a.Solicited(a.now, client1)) {
		if to != client1 {
			t.Errorf("answered to %v", to)
		}
	}
}

// What the shell observes: the gap between advertisements to all, how late each was,
// and those that came so late that the advertised interval was not kept.
func TestGapAndMissed(t *testing.T) {
	a := newAdvertiser(t, mobileConfig())
	out := a.wake()
	if out[0].Gap != 0 || out[0].Late != 0 {
		t.Errorf("the first: %+v", out[0])
	}
	last := a.now
	for _, c := range []struct {
		late   time.Duration
		missed uint64
	}{{0, 0}, {time.Millisecond, 0}, {6 * time.Millisecond, 0}, {50 * time.Millisecond, 1}, {0, 0}, {time.Minute, 1}, {0, 0}} {
		before := a.Statistics().Missed
		a.now = a.Next().Add(c.late)
		out := a.Expire(a.now)
		if out[0].Gap != a.now.Sub(last) || out[0].Late != c.late {
			t.Errorf("late by %v: gap %v (it is %v), late %v", c.late, out[0].Gap, a.now.Sub(last), out[0].Late)
		}
		if n := a.Statistics().Missed - before; n != c.missed {
			t.Errorf("late by %v, gap %v: %d missed, want %d", c.late, out[0].Gap, n, c.missed)
		}
		last = a.now
		if out := a.Solicited(a.now, host); out[0].Gap != 0 || out[0].Late != 0 {
			t.Errorf("an answer with gap %v, late %v", out[0].Gap, out[0].Late)
		}
	}
	// A long interval that was in force is no fault of the short one after it, nor is
	// silence that was ordered.
	a = newAdvertiser(t, plainConfig())
	for range 4 {
		a.wake()
	}
	a.now = a.now.Add(3 * time.Minute)
	if out, err := a.Reconfigure(a.now, mobileConfig()); err != nil || out[0].Gap != 3*time.Minute {
		t.Errorf("sent %v, %v", out, err)
	}
	c := mobileConfig()
	c.UnicastOnly = true
	if _, err := a.Reconfigure(a.now, c); err != nil {
		t.Fatal(err)
	}
	a.now = a.now.Add(time.Hour)
	if out, err := a.Reconfigure(a.now, mobileConfig()); err != nil || out[0].Gap != 0 {
		t.Errorf("sent %v, %v", out, err)
	}
	if n := a.Statistics().Missed; n != 0 {
		t.Errorf("%d missed", n)
	}
}

// DecrementLifetimes: from the start down, then nothing is left.
func TestCountDown(t *testing.T) {
	c := plainConfig()
	c.Expiring = []Expiry{CountDown(epoch, c.Advertisement.Prefixes[0])}
	for _, want := range []struct{ since, preferred, valid time.Duration }{
		{0, 4 * time.Hour, 24 * time.Hour}, {time.Hour, 3 * time.Hour, 23 * time.Hour}, {5 * time.Hour, 0, 19 * time.Hour}, {25 * time.Hour, 0, 0},
	} {
		if p := c.At(epoch.Add(want.since)).Prefixes[0]; p.PreferredLifetime != want.preferred || p.ValidLifetime != want.valid {
			t.Errorf("after %v: %v and %v", want.since, p.PreferredLifetime, p.ValidLifetime)
		}
	}
}
