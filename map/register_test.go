package anchor

import (
	"net/netip"
	"testing"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// The whole life of a regional registration in order: probe, path, defence, answer
// with type 2 routing header (RFC 5380 §6.2, RFC 6275 §10.3.1, §10.4.1), a move within
// the domain as one swap, and the end (§10.3.2).
// Covers: P8.
func TestRegistration(t *testing.T) {
	w := newWorld(t, testConfig())
	wantKinds(t, w.send(local(alice, rcoaA, lcoa1, 1)), "probe 2001:db8:9::a")
	if len(w.tunnels)+len(w.defended) != 0 {
		t.Errorf("forwarded or defended before detection has ended")
	}
	wantKinds(t, w.run(999*time.Millisecond))
	wantKinds(t, w.run(time.Millisecond),
		"set 2001:db8:9::a via 2001:db8:f1::1", "defend 2001:db8:9::a", "announce 2001:db8:9::a",
		"ack 0 to 2001:db8:f1::1 route 2001:db8:9::a")
	wantKinds(t, w.run(30*time.Second), "announce 2001:db8:9::a", "announce 2001:db8:9::a")
	wantKinds(t, w.send(local(alice, rcoaA, lcoa2, 2)),
		"set 2001:db8:9::a via 2001:db8:f2::2", "ack 0 to 2001:db8:f2::2 route 2001:db8:9::a")
	wantKinds(t, w.send(local(alice, rcoaA, lcoa2, 3)), "ack 0 to 2001:db8:f2::2 route 2001:db8:9::a")

	end := local(alice, rcoaA, lcoa2, 4)
	end.lifetime = 0
	wantKinds(t, w.send(end), "undefend 2001:db8:9::a", "remove 2001:db8:9::a", "ack 0 to 2001:db8:f2::2 route 2001:db8:9::a")
	// Repeated, because the answer was lost; and too late.
	end.sequence = 5
	wantKinds(t, w.send(end), "ack 0 to 2001:db8:f2::2 route 2001:db8:9::a")
	w.run(binding.MaxDeleteTime + time.Second)
	end.sequence = 6
	w.refused(end, mip6.StatusNotHomeAgent)

	want := Stats{Visitors: 2, Limit: 8, Registrations: 1, Moves: 1, Refreshes: 1, Deregistrations: 1}
	if s := w.anchor.Stats(); s != want || !w.anchor.Next().IsZero() {
		t.Errorf("%+v, want %+v; next %v", s, want, w.anchor.Next())
	}
}

// RFC 5380 §6.2: identical to a home agent's: sequence copied, lifetime at most what
// was asked for and the policy, refresh advice below it, answered without flag A;
// RFC 4285 §6: timestamp copied; §5.1: sealed over both care-of addresses and the key of
// the visitor. The binding holds as long as was promised.
// Covers: P4, P8, P9.
func TestAcknowledgement(t *testing.T) {
	for _, tt := range []struct {
		name               string
		flags              mip6.UpdateFlags
		requested, granted time.Duration
	}{
		{"local binding update", flagsLocal, time.Minute, time.Minute},
		{"flag A clear", mip6.UpdateMAP, time.Minute, time.Minute},
		{"flags K, L, P and F", flagsLocal | mip6.UpdateKeyManagement | mip6.UpdateLinkLocal | mip6.UpdateProxy | mip6.UpdateForceUDP, time.Minute, time.Minute},
		{"policy", flagsLocal, time.Hour, 10 * time.Minute},
		{"a unit", flagsLocal, 4 * time.Second, 4 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			stamp := w.now.Add(-time.Second)
			w.send(request{visitor: alice, home: rcoaA, source: lcoa1, sequence: 0xfffe, lifetime: tt.requested, flags: tt.flags, timestamp: stamp})
			list := acks(w.run(time.Second))
			if len(list) != 1 {
				t.Fatalf("%d answers", len(list))
			}
			p := list[0]
			ba := p.Message.(mip6.BindingAcknowledgement)
			if ba.Status != 0 || ba.Sequence != 0xfffe || ba.Lifetime.Duration() != tt.granted || ba.Flags != 0 || p.RouteHome != rcoaA || p.Destination != lcoa1 {
				t.Errorf("%+v", p)
			}
			if replay, ok := mip6.Find[mip6.ReplayProtection](ba); !ok || replay.Timestamp != mip6.TimestampFrom(stamp) {
				t.Errorf("timestamp %#x", replay.Timestamp)
			}
			if advice, ok := mip6.Find[mip6.RefreshAdvice](ba); ok != (ba.Lifetime > 1) || advice.Interval >= ba.Lifetime {
				t.Errorf("refresh advice %v for lifetime %v", advice.Interval, ba.Lifetime)
			}
			mh, err := mip6.AppendMessage(nil, p.Source, p.To(), ba)
			if err != nil {
				t.Fatal(err)
			}
			if err := association(alice).Verify(mh, lcoa1, rcoaA); err != nil {
				t.Errorf("answer: %v", err)
			}
			w.run(tt.granted - time.Nanosecond)
			if len(w.tunnels) != 1 {
				t.Errorf("gone before its time")
			}
			w.run(time.Nanosecond)
			if len(w.tunnels)+len(w.defended) != 0 || w.anchor.Stats().Expirations != 1 {
				t.Errorf("still there after its time")
			}
		})
	}
}

// Every status of a rejection, its rule, and that nothing comes of it.
// Covers: P8, Attack: loops, Attack: third party flooding.
func TestRejections(t *testing.T) {
	flags := func(f mip6.UpdateFlags) request {
		r := local(alice, rcoaA, lcoa1, 9)
		r.flags = flagsLocal | f
		return r
	}
	alternate := func(a string) request {
		r := local(alice, rcoaA, lcoa1, 9)
		r.alternate = netip.MustParseAddr(a)
		return r
	}
	rcoa := func(s string) request { return local(alice, netip.MustParseAddr(s), lcoa1, 9) }
	ending := local(alice, rcoaA, lcoa1, 9)
	ending.lifetime = 0
	endingOther := ending
	endingOther.home = rcoaB
	everywhere := func(c *Config) { c.Served = nil }
	for _, tt := range []struct {
		name       string
		setup      func(*Config)
		before     []request // must succeed
		gone, down bool      // the link
		r          request
		want       mip6.Status
	}{
		{name: "RFC 6275 §10.3.1 no link", gone: true, r: rcoa("2001:db8:9::a"), want: 131},
		{name: "RFC 6275 §10.3.1 131 before 132", gone: true, r: rcoa("2001:db8:8::a"), want: 131},
		{name: "RFC 5380 §4 a home registration", r: flags(mip6.UpdateHome), want: 131},
		{name: "RFC 6275 §9.5.1 registration type change", before: []request{local(alice, rcoaA, lcoa1, 1)}, r: flags(mip6.UpdateHome), want: 139},
		{name: "RFC 6275 §10.3.1 not in the prefix", r: rcoa("2001:db8:8::a"), want: 132},
		{name: "RFC 4291 §2.6.1 subnet-router anycast", r: rcoa("2001:db8:9::"), want: 132},
		{name: "RFC 2526 §2 home agents anycast", r: local(alice, mip6.HomeAgentsAnycast(prefix), lcoa1, 9), want: 132},
		{name: "RFC 2526 §2 reserved anycast", r: rcoa("2001:db8:9:0:fdff:ffff:ffff:ff80"), want: 132},
		{name: "RFC 6275 §10.3.1 132 before 129", r: local(alice, netip.MustParseAddr("2001:db8:8::a"), foreign, 9), want: 132},
		{name: "RFC 5380 §6.2 not served", r: local(alice, rcoaA, foreign, 9), want: 129},
		{name: "RFC 5380 §6.2 alternate not served", r: alternate("2001:db8:ee::3"), want: 129},
		{name: "RFC 5380 §6.2 moved to where it is not served", before: []request{local(alice, rcoaA, lcoa1, 1)}, r: local(alice, rcoaA, foreign, 9), want: 129},
		{name: "RFC 6275 §10.3.1 disabled", setup: func(c *Config) { c.Visitors[0].Disabled = true }, r: rcoa("2001:db8:9::a"), want: 129},
		{name: "RFC 3963 §6.2 mobile router", r: flags(mip6.UpdateMobileRouter), want: 140},
		{name: "RFC 5380 §6.1 another's RCoA as LCoA", setup: everywhere, before: []request{local(bob, rcoaB, lcoa2, 1)}, r: local(alice, rcoaA, rcoaB, 9), want: 174},
		{name: "RFC 5380 §6.1 what may become an RCoA as LCoA", setup: everywhere, r: local(alice, rcoaA, rcoaB, 9), want: 174},
		{name: "RFC 5380 §6.1 the anchor's own address as LCoA", setup: everywhere, r: alternate("2001:db8:9::1"), want: 174},
		{name: "RFC 5380 §6.1 somebody else's address", setup: everywhere, r: alternate("2001:db8:ee::3"), want: 174},
		{name: "RFC 5380 §6.1 what the rest of the node stands against", setup: func(c *Config) { c.Barred = func(a netip.Addr) bool { return a == lcoa1 } },
			r: local(alice, rcoaA, lcoa1, 9), want: 174},
		{name: "RFC 5380 §6.1 and as the alternate one", setup: func(c *Config) { c.Barred = func(a netip.Addr) bool { return a == lcoa2 } },
			r: alternate(lcoa2.String()), want: 174},
		{name: "RFC 6275 §10.3.1 the anchor's own address", r: rcoa("2001:db8:9::1"), want: 134},
		{name: "RFC 6275 §10.3.1 taken", setup: func(c *Config) { c.Taken = []netip.Addr{rcoaA} }, r: rcoa("2001:db8:9::a"), want: 134},
		{name: "RFC 6275 §10.3.1 another's RCoA", before: []request{local(bob, rcoaA, lcoa2, 1)}, r: rcoa("2001:db8:9::a"), want: 134},
		{name: "RFC 6275 §10.3.1 too many of one visitor", before: []request{
			local(alice, netip.MustParseAddr("2001:db8:9::a1"), lcoa1, 1), local(alice, netip.MustParseAddr("2001:db8:9::a2"), lcoa1, 1),
			local(alice, netip.MustParseAddr("2001:db8:9::a3"), lcoa1, 1), local(alice, netip.MustParseAddr("2001:db8:9::a4"), lcoa1, 1),
		}, r: rcoa("2001:db8:9::a"), want: 130},
		{name: "RFC 6275 §10.3.1 too many of all", setup: func(c *Config) { c.MaxBindings = 1 }, before: []request{local(bob, rcoaB, lcoa2, 1)}, r: rcoa("2001:db8:9::a"), want: 130},
		{name: "RFC 6275 §10.3.1 nothing can be probed", down: true, r: rcoa("2001:db8:9::a"), want: 130},
		{name: "RFC 6275 §10.3.2 nothing to end", r: ending, want: 133},
		{name: "RFC 6275 §10.3.2 another's", before: []request{local(bob, rcoaB, lcoa2, 1)}, r: endingOther, want: 133},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig()
			if tt.setup != nil {
				tt.setup(&c)
			}
			w := newWorld(t, c)
			for _, r := range tt.before {
				w.registered(r)
			}
			if tt.gone {
				w.handle(role.LinkGone{Index: linkIndex})
			}
			if tt.down {
				w.link.Up = false
				w.handle(role.LinkChanged{Link: w.link})
			}
			before := map[netip.Addr]overlay.Path{}
			for home, tunnel := range w.tunnels {
				before[home] = tunnel.Paths[0]
			}
			actions := w.send(tt.r)
			if ba := onlyAck(t, actions); ba.Status != tt.want || ba.Lifetime != 0 || ba.Sequence != tt.r.sequence {
				t.Errorf("%v, want %v", ba.Status, tt.want)
			}
			if w.logged("local binding update refused") != 1 {
				t.Errorf("log %v", w.logs)
			}
			if len(w.tunnels) != len(before) || w.anchor.Stats().Probing != 0 {
				t.Errorf("tunnels %v, %+v", w.tunnels, w.anchor.Stats())
			}
			for home, path := range before {
				if w.tunnels[home].Paths[0] != path {
					t.Errorf("the binding of %v has changed", home)
				}
			}
		})
	}
}

// What does not even reach authentication: silence and a count, also for a visitor
// with a valid authenticator.
// Covers: A5.
func TestUnreadable(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*mip6.Packet)
		r      request
		want   string
	}{
		{"without flag M", nil, request{flags: mip6.UpdateAcknowledge | mip6.UpdateHome}, "drop unexpected"},
		{"another message", func(p *mip6.Packet) { p.Message = mip6.BindingRefreshRequest{} }, request{}, "drop unexpected"},
		{"for another node", func(p *mip6.Packet) { p.Destination = rcoaB }, request{}, "drop not_for_us"},
		{"with a routing header", func(p *mip6.Packet) { p.RouteHome = anchorAddr }, request{}, "drop not_for_us"},
		{"RFC 5380 §6.1 without Home Address option", func(p *mip6.Packet) { p.HomeAddress = netip.Addr{} }, request{}, "drop home_address_option"},
		{"RFC 6275 §9.5.1 multicast RCoA", nil, request{home: netip.MustParseAddr("ff0e::1")}, "drop unroutable"},
		{"RFC 6275 §9.5.4 link-local source", nil, request{source: netip.MustParseAddr("fe80::1")}, "drop unroutable"},
		{"RFC 6275 §6.1.7 multicast LCoA", nil, request{alternate: netip.MustParseAddr("ff0e::1")}, "drop unroutable"},
		{"RFC 6275 §9.5.1 nonces", nil, request{options: []mip6.Option{mip6.NonceIndices{}}}, "drop malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			r := local(alice, rcoaA, lcoa1, 1)
			r.flags, r.alternate, r.options = tt.r.flags, tt.r.alternate, tt.r.options
			if tt.r.home.IsValid() {
				r.home = tt.r.home
			}
			if tt.r.source.IsValid() {
				r.source = tt.r.source
			}
			p := r.packet(t)
			if tt.change != nil {
				tt.change(&p)
			}
			wantKinds(t, w.deliver(p), tt.want)
			if len(w.logs) != 0 || !w.anchor.Next().IsZero() {
				t.Errorf("log %v, next %v", w.logs, w.anchor.Next())
			}
		})
	}
}

// An alternate care-of address is taken where it says the same, or where the
// administrator vouches for it (RFC 6275 §9.5.1); the answer goes to the source.
func TestAlternateCareOf(t *testing.T) {
	for _, alternate := range []netip.Addr{lcoa1, lcoa2} {
		w := newWorld(t, testConfig())
		r := local(alice, rcoaA, lcoa1, 1)
		r.alternate = alternate
		w.send(r)
		wantKinds(t, w.run(time.Second), "set 2001:db8:9::a via "+alternate.String(), "defend 2001:db8:9::a", "announce 2001:db8:9::a",
			"ack 0 to 2001:db8:f1::1 route 2001:db8:9::a")
	}
}

// A mobile that comes to the anchor's own link has its address there: that ends the
// binding (RFC 6275 §9.5.3), and the answer goes out on the link, with the routing
// header without which the mobile ignores it (RFC 5380 §6.1).
// Covers: P4.
func TestOnOwnLink(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(local(alice, rcoaA, lcoa1, 1))
	actions := w.send(local(alice, rcoaA, rcoaA, 2))
	wantKinds(t, actions, "undefend 2001:db8:9::a", "remove 2001:db8:9::a", "ack 0 to 2001:db8:9::a route 2001:db8:9::a")
	for _, action := range actions {
		if s, ok := action.(role.Send); ok && s.Link != linkIndex {
			t.Errorf("sent on link %d", s.Link)
		}
	}
}

// What one visitor has given up another may have at once, and then the former's
// repeated de-registration does not touch it.
// Covers: P9.
func TestSuccession(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(local(alice, rcoaA, lcoa1, 1))
	end := local(alice, rcoaA, lcoa1, 2)
	end.lifetime = 0
	w.registered(end)
	w.registered(local(bob, rcoaA, lcoa2, 1))
	end.sequence = 3
	wantKinds(t, w.send(end), "ack 0 to 2001:db8:f1::1 route 2001:db8:9::a")
	if got := w.anchor.Snapshot(w.now).Bindings; len(got) != 1 || got[0].Visitor != "bob" || w.tunnels[rcoaA].Paths[0].Remote != lcoa2 {
		t.Errorf("%+v", got)
	}
	w.refused(local(alice, rcoaA, lcoa1, 4), mip6.StatusDuplicateAddress)
}

// RFC 6275 §9.5.5: a mobile that does not refresh is asked to, through the tunnel and
// without routing header (checkSend).
func TestRefreshRequests(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(local(alice, rcoaA, lcoa1, 1))
	w.run(50 * time.Second)
	request := "binding refresh request to 2001:db8:9::a"
	wantKinds(t, w.run(5*time.Second), request)
	w.registered(local(alice, rcoaA, lcoa1, 2))
	w.run(50 * time.Second)
	wantKinds(t, w.run(11*time.Second), request, request, request, "undefend 2001:db8:9::a", "remove 2001:db8:9::a")
	if s := w.anchor.Stats(); s.RefreshRequests != 4 {
		t.Errorf("%+v", s)
	}
}

// A stop takes back everything, in the order of addresses, and nothing follows.
// Errors about the mobile's reachability end nothing (RFC 6275 §10.3.1).
// Covers: P8.
func TestStop(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(local(bob, rcoaB, lcoa2, 1))
	w.registered(local(alice, rcoaA, lcoa1, 1))
	w.send(local(alice, netip.MustParseAddr("2001:db8:9::c"), lcoa1, 1)) // is being probed
	for _, e := range []role.Event{role.TunnelRefused{Home: rcoaA}, role.TunnelSilent{Home: rcoaA}, role.ICMPReceived{}, role.RouterHeard{Link: linkIndex}} {
		wantKinds(t, w.handle(e))
	}
	if w.anchor.Done() {
		t.Errorf("done before the stop")
	}
	wantKinds(t, w.handle(role.Stop{}), "undefend 2001:db8:9::a", "undefend 2001:db8:9::b", "remove 2001:db8:9::a", "remove 2001:db8:9::b")
	if s := w.anchor.Stats(); !w.anchor.Done() || !w.anchor.Next().IsZero() || s.Bindings+s.Probing != 0 {
		t.Errorf("%+v, next %v", s, w.anchor.Next())
	}
	wantKinds(t, w.send(local(alice, rcoaA, lcoa1, 2)))
	wantKinds(t, w.apply(w.anchor.Reconfigure(w.now, testConfig())))
}

// Owns tells a local binding update from what goes to a home agent at the same
// address, or to a correspondent (RFC 5380 §4).
func TestOwns(t *testing.T) {
	a := New(testConfig())
	bu := func(f mip6.UpdateFlags) mip6.Packet {
		return mip6.Packet{Destination: anchorAddr, Message: mip6.BindingUpdate{Flags: f}}
	}
	elsewhere := bu(flagsLocal)
	elsewhere.Destination = rcoaA
	for _, tt := range []struct {
		p    mip6.Packet
		want bool
	}{
		{bu(flagsLocal), true}, {bu(flagsLocal | mip6.UpdateHome), true},
		{bu(mip6.UpdateAcknowledge | mip6.UpdateHome), false}, {bu(mip6.UpdateAcknowledge), false}, {elsewhere, false},
		{mip6.Packet{Destination: anchorAddr, Message: mip6.BindingAcknowledgement{}}, false},
	} {
		if got := a.Owns(tt.p); got != tt.want {
			t.Errorf("%+v: %t", tt.p, got)
		}
	}
}
