package ha

import (
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// RFC 6275 §9.5.5, §6.1.2: a mobile that does not refresh is asked to in the last
// tenth of the lifetime, at its home address and without a routing header
// (checkSend), at most three times and a second apart at least.
// Covers: A4, H5.
func TestRefreshRequests(t *testing.T) {
	for _, tt := range []struct {
		lifetime time.Duration
		asked    []time.Duration // before the end
	}{
		{4 * time.Second, []time.Duration{400 * time.Millisecond}},
		{20 * time.Second, []time.Duration{2 * time.Second, time.Second}},
		{time.Minute, []time.Duration{6 * time.Second, 4 * time.Second, 2 * time.Second}},
		{10 * time.Minute, []time.Duration{time.Minute, 40 * time.Second, 20 * time.Second}},
	} {
		w := newWorld(t, testConfig())
		r := at(homeA, careOf1, 1)
		r.lifetime = tt.lifetime
		w.registered(r)
		end, asked := w.now.Add(tt.lifetime), []time.Duration(nil)
		for w.now.Before(end) {
			for _, k := range kinds(w.run(w.agent.Next().Sub(w.now))) {
				if k == "binding refresh request to 2001:db8:1::a" {
					asked = append(asked, end.Sub(w.now))
				}
			}
		}
		if len(asked) != len(tt.asked) {
			t.Fatalf("lifetime %v: asked %v before the end, want %v", tt.lifetime, asked, tt.asked)
		}
		for i := range asked {
			if asked[i] != tt.asked[i] {
				t.Errorf("lifetime %v: asked %v before the end, want %v", tt.lifetime, asked, tt.asked)
			}
		}
		if len(w.tunnels) != 0 || w.agent.Stats().RefreshRequests != uint64(len(asked)) || !w.agent.Next().IsZero() {
			t.Errorf("after the end: %v, %+v", w.tunnels, w.agent.Stats())
		}
	}
}

// RFC 6275 §9.5.5: no more requests once the mobile has answered, and the count
// begins anew. ICMPv6 errors about any of these messages are nothing to a home
// agent: a registration holds for its lifetime (§10.3.1).
// Covers: H6.
func TestRefreshRequestsEnd(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(at(homeA, careOf1, 1))
	w.run(10 * time.Second)
	wantKinds(t, w.run(45*time.Second), "binding refresh request to 2001:db8:1::a")
	for _, e := range []role.Event{
		role.PeerRefused{Local: agentAddr, Peer: careOf1}, role.TunnelRefused{Home: homeA}, role.TunnelSilent{Home: homeA},
		role.UnknownHomeAddress{Source: careOf1, Destination: agentAddr, Home: homeA}, role.TrafficSeen{Home: homeA, Peer: agentAddr},
	} {
		wantKinds(t, w.handle(e))
	}
	if !w.agent.Serves(homeA) || w.agent.Serves(homeB) {
		t.Errorf("the binding is gone")
	}
	r := at(homeA, careOf1, 2)
	wantKinds(t, w.send(r), "ack 0 to 2001:db8:f1::1 route 2001:db8:1::a")
	wantKinds(t, w.run(54*time.Second-time.Nanosecond))
	wantKinds(t, w.run(6*time.Second), "binding refresh request to 2001:db8:1::a",
		"binding refresh request to 2001:db8:1::a", "binding refresh request to 2001:db8:1::a")
	// A de-registration ends them too.
	w.send(request{home: homeA, source: careOf1, sequence: 3, flags: flagsMR})
	if actions := w.run(time.Minute); len(actions) != 0 {
		t.Errorf("%q", kinds(actions))
	}
	if w.agent.Serves(homeA) {
		t.Errorf("de-registered and still served")
	}
	// A binding of the greatest lifetime is not asked about for days.
	c := testConfig()
	c.MaxLifetime, c.NoPrefixAdvertisements = 0, true
	w = newWorld(t, c)
	r = at(homeA, careOf1, 1)
	r.lifetime = mip6.MaxLifetime.Duration()
	w.registered(r)
	w.run(10 * time.Second)
	if left := w.entry(homeA).Expires.Sub(w.agent.Next()); left != r.lifetime/10 {
		t.Errorf("next is %v before the end", left)
	}
}
