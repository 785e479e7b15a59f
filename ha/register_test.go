package ha

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
)

func at(home, careOf netip.Addr, sequence mip6.Sequence) request {
	return request{home: home, source: careOf, sequence: sequence, lifetime: time.Minute, flags: flagsMR}
}

// The whole life of a registration in order: probe, path, defence, answer
// (RFC 6275 §10.3.1, §10.4.1); R flag RFC 3963 §6.2.
// Covers: H3, H5, H7, H8, N4.
func TestRegistration(t *testing.T) {
	w := newWorld(t, testConfig())
	wantKinds(t, w.send(at(homeA, careOf1, 1)), "probe 2001:db8:1::a")
	if len(w.tunnels) != 0 || len(w.defended) != 0 {
		t.Errorf("forwarded or defended before detection has ended")
	}
	w.now = w.now.Add(999 * time.Millisecond)
	wantKinds(t, w.handle(role.Timeout{}))
	w.now = w.now.Add(time.Millisecond)
	wantKinds(t, w.handle(role.Timeout{}),
		"set [2001:db8:1::a/128 2001:db8:a::/48] via 2001:db8:f1::1",
		"defend 2001:db8:1::a router=true",
		"announce 2001:db8:1::a router=true",
		"ack 0 to 2001:db8:f1::1 route 2001:db8:1::a")
	// RFC 6275 §10.4.1: up to MAX_NEIGHBOR_ADVERTISEMENT times.
	wantKinds(t, w.run(30*time.Second), "announce 2001:db8:1::a router=true", "announce 2001:db8:1::a router=true")

	// A move swaps the path: one action, never a removal (and no new detection).
	wantKinds(t, w.send(at(homeA, careOf2, 2)),
		"set [2001:db8:1::a/128 2001:db8:a::/48] via 2001:db8:f2::1",
		"ack 0 to 2001:db8:f2::1 route 2001:db8:1::a")
	// A refresh changes nothing outside.
	wantKinds(t, w.send(at(homeA, careOf2, 3)), "ack 0 to 2001:db8:f2::1 route 2001:db8:1::a")

	// RFC 6275 §10.3.2, §9.5.4: home again, without Home Address option; nobody
	// else answers for the address when the acknowledgement leaves, on the home
	// link and without a routing header.
	home := request{home: homeA, atHome: true, sequence: 4, flags: flagsMR}
	wantKinds(t, w.send(home), "undefend 2001:db8:1::a", "remove 2001:db8:1::a", "ack 0 to 2001:db8:1::a on 3")
}

// RFC 6275 §10.3.1: sequence copied, granted lifetime, refresh advice below
// it, answered without flag A, flag K never granted; RFC 4285 §6: timestamp
// copied; RFC 3963 §4.2: R.
// Covers: H4, H5, N4.
func TestAcknowledgement(t *testing.T) {
	for _, tt := range []struct {
		name              string
		flags             mip6.UpdateFlags
		requested         time.Duration
		granted           time.Duration
		prefixValid       time.Duration
		prefixPreferred   time.Duration
		status            mip6.Status
		answeredAsARouter bool
	}{
		{name: "router", flags: flagsMR, requested: time.Minute, granted: time.Minute, answeredAsARouter: true},
		{name: "node", flags: flagsNode, requested: time.Minute, granted: time.Minute},
		{name: "flag A clear", flags: mip6.UpdateHome, requested: time.Minute, granted: time.Minute},
		{name: "flags K and P", flags: flagsNode | mip6.UpdateKeyManagement | mip6.UpdateProxy, requested: time.Minute, granted: time.Minute},
		{name: "policy", flags: flagsNode, requested: time.Hour, granted: 10 * time.Minute},
		{name: "prefix, H4", flags: flagsNode, requested: time.Hour, granted: 2 * time.Minute, prefixValid: 2*time.Minute + 3*time.Second, status: 1},
		{name: "deprecated prefix, H4", flags: flagsNode, requested: time.Minute, granted: time.Minute, prefixPreferred: time.Second, status: 1},
		{name: "a unit", flags: flagsNode, requested: 4 * time.Second, granted: 4 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig()
			w := newWorld(t, c)
			if tt.prefixValid != 0 {
				// Counted from the answer, a second after the request.
				c.PrefixValidUntil = w.now.Add(time.Second + tt.prefixValid)
			}
			if tt.prefixPreferred != 0 {
				c.PrefixPreferredUntil = w.now.Add(tt.prefixPreferred)
			}
			w.apply(w.agent.Reconfigure(w.now, c))
			stamp := w.now.Add(-time.Second)
			w.send(request{home: homeA, source: careOf1, sequence: 0xfffe, lifetime: tt.requested, flags: tt.flags, timestamp: stamp})
			ba := onlyAck(t, w.run(time.Second))
			if ba.Status != tt.status || ba.Sequence != 0xfffe || ba.Lifetime.Duration() != tt.granted {
				t.Errorf("%+v", ba)
			}
			wantFlags := mip6.AckFlags(0)
			if tt.answeredAsARouter {
				wantFlags = mip6.AckMobileRouter
			}
			if ba.Flags != wantFlags {
				t.Errorf("flags %v, want %v", ba.Flags, wantFlags)
			}
			if replay, ok := mip6.Find[mip6.ReplayProtection](ba); !ok || replay.Timestamp != mip6.TimestampFrom(stamp) {
				t.Errorf("timestamp %#x", replay.Timestamp)
			}
			advice, ok := mip6.Find[mip6.RefreshAdvice](ba)
			if ok != (ba.Lifetime > 1) || ok && (advice.Interval == 0 || advice.Interval >= ba.Lifetime) {
				t.Errorf("refresh advice %v for lifetime %v", advice.Interval, ba.Lifetime)
			}
			// The binding holds exactly as long as was promised.
			if e := w.entry(homeA); !e.Expires.Equal(w.now.Add(tt.granted)) {
				t.Errorf("expires in %v", e.Expires.Sub(w.now))
			}
			w.run(tt.granted - time.Nanosecond)
			if len(w.tunnels) != 1 {
				t.Errorf("gone before its time")
			}
			w.run(time.Nanosecond)
			if len(w.tunnels)+len(w.defended)+len(w.agent.Bindings()) != 0 {
				t.Errorf("still there after its time")
			}
		})
	}
}

// Every status of a rejection, its rule, and that nothing comes of it.
// Covers: H2, H10, N2, Attack: prefix hijack, Attack: loops.
func TestRejections(t *testing.T) {
	mnp := func(s ...string) (list []mip6.Option) {
		for _, p := range s {
			list = append(list, mip6.MobileNetworkPrefix{Prefix: netip.MustParsePrefix(p)})
		}
		return list
	}
	for _, tt := range []struct {
		name   string
		setup  func(*Config)
		before []request // must succeed
		gone   bool      // the home link is
		down   bool
		r      request
		want   mip6.Status
	}{
		{name: "RFC 6275 §10.3.1 not a home agent on this link", gone: true, r: at(homeA, careOf1, 9), want: 131},
		{name: "RFC 6275 §10.3.1 not home subnet", setup: func(c *Config) { c.Prefix = netip.MustParsePrefix("2001:db8:2::/64") }, r: at(homeA, careOf1, 9), want: 132},
		{name: "RFC 6275 §10.3.1 131 before 132", gone: true, setup: func(c *Config) { c.Prefix = netip.MustParsePrefix("2001:db8:2::/64") }, r: at(homeA, careOf1, 9), want: 131},
		{name: "RFC 6275 §10.3.1 132 before 129", setup: func(c *Config) {
			c.Prefix = netip.MustParsePrefix("2001:db8:2::/64")
			c.Mobiles[0].Disabled = true
		}, r: at(homeA, careOf1, 9), want: 132},
		{name: "RFC 6275 §10.3.1 administratively prohibited", setup: func(c *Config) { c.Mobiles[0].Disabled = true }, r: at(homeA, careOf1, 9), want: 129},
		{name: "RFC 6275 §10.3.1 cache full", setup: func(c *Config) { c.MaxBindings = 1 }, before: []request{at(homeB, careOf2, 1)}, r: at(homeA, careOf1, 9), want: 130},
		{name: "RFC 6275 §10.3.1 nothing can be probed", down: true, r: at(homeA, careOf1, 9), want: 130},
		{name: "RFC 6275 §10.3.2 no binding to delete", r: request{home: homeA, source: careOf1, sequence: 9, flags: flagsMR}, want: 133},
		{name: "RFC 6275 §10.3.2 no binding to delete, at home", r: request{home: homeA, atHome: true, sequence: 9, flags: flagsMR}, want: 133},
		{name: "RFC 6275 §9.5.1 sequence", before: []request{at(homeA, careOf1, 9)}, r: at(homeA, careOf1, 9), want: 135},
		{name: "RFC 6275 §9.5.1 home flag changed", before: []request{at(homeA, careOf1, 1)},
			r: request{home: homeA, source: careOf1, sequence: 9, lifetime: time.Minute, flags: mip6.UpdateAcknowledge}, want: 139},
		{name: "RFC 3963 §6.2 router flag set later", before: []request{{home: homeA, source: careOf1, sequence: 1, lifetime: time.Minute, flags: flagsNode}},
			r: at(homeA, careOf1, 9), want: 139},
		{name: "RFC 3963 §6.2 router flag cleared later", before: []request{at(homeA, careOf1, 1)},
			r: request{home: homeA, source: careOf1, sequence: 9, lifetime: time.Minute, flags: flagsNode}, want: 139},
		{name: "RFC 3963 §6.2 router without home flag", r: request{home: homeA, source: careOf1, sequence: 9, lifetime: time.Minute, flags: mip6.UpdateMobileRouter}, want: 140},
		{name: "RFC 3963 §6.6 not a mobile router", r: at(homeN, careOf1, 9), want: 140},
		{name: "RFC 3963 §6.2 prefix invalid", r: request{home: homeA, source: careOf1, sequence: 9, lifetime: time.Minute, flags: flagsMR, options: mnp("2001:db8:a:1::/64", "fe80::/64")}, want: 141},
		{name: "RFC 3963 §6.2 prefix of the home agent", r: request{home: homeA, source: careOf1, sequence: 9, lifetime: time.Minute, flags: flagsMR, options: mnp("2001:db8::/32")}, want: 141},
		{name: "RFC 3963 §6.2 not authorised", r: request{home: homeA, source: careOf1, sequence: 9, lifetime: time.Minute, flags: flagsMR, options: mnp("2001:db8:a:1::/64", "2001:db8:b:1::/64")}, want: 142},
		{name: "RFC 3963 §6.2 wider than authorised", r: request{home: homeA, source: careOf1, sequence: 9, lifetime: time.Minute, flags: flagsMR, options: mnp("2001:db8:a::/47")}, want: 142},
		{name: "RFC 3963 §6.2 implicit without prefixes", setup: func(c *Config) { c.Mobiles[0].Prefixes = nil }, r: at(homeA, careOf1, 9), want: 143},
		{name: "RFC 4285 §6 timestamp missing", setup: func(c *Config) { c.Mobiles[0].RequireTimestamp = true }, r: at(homeA, careOf1, 9), want: 145},
		{name: "RFC 6275 §15.1 care-of address is a home address", r: at(homeA, homeB, 9), want: 174},
		{name: "RFC 6275 §15.1 care-of address is the home agent's", r: request{home: homeA, source: careOf1, alternate: agentAddr, sequence: 9, lifetime: time.Minute, flags: flagsMR}, want: 174},
		{name: "RFC 6275 §15.1 care-of address in the own network", r: at(homeA, netip.MustParseAddr("2001:db8:a:1::1"), 9), want: 174},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			if tt.setup != nil {
				c := testConfig()
				tt.setup(&c) // some cases need what Validate forbids
				w.apply(w.agent.Reconfigure(w.now, c))
			}
			for _, r := range tt.before {
				w.registered(r)
			}
			if tt.down {
				w.link.Up = false
				w.handle(role.LinkChanged{Link: w.link})
			}
			if tt.gone {
				w.handle(role.LinkGone{Index: homeIndex})
				w.link = role.Link{}
			}
			before := w.agent.Bindings()
			actions := w.send(tt.r)
			ba := onlyAck(t, actions)
			if ba.Status != tt.want || ba.Lifetime != 0 || ba.Sequence != 9 {
				t.Errorf("%+v, want status %d", ba, tt.want)
			}
			if tt.want == 140 && ba.Flags != 0 {
				t.Errorf("flag R in a refusal of router operation")
			}
			for _, k := range kinds(actions) {
				if k[:3] != "ack" && k != "drop replay" {
					t.Errorf("something came of it: %q", kinds(actions))
				}
			}
			if after := w.agent.Bindings(); !equalBindings(before, after) {
				t.Errorf("bindings changed\nfrom %+v\n  to %+v", before, after)
			}
			if last := w.logs[len(w.logs)-1]; last.Message != "binding update refused" {
				t.Errorf("log says %q", last.Message)
			} else if v, ok := attribute(last, "status"); !ok || v.Int64() != int64(tt.want) {
				t.Errorf("log has status %v", v)
			}
		})
	}
}

func equalBindings(a, b []Binding) bool {
	return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b)
}

// What is dropped without an answer, and why.
// Covers: A4, A5, H2, Attack: BU spoofing.
func TestSilentDrops(t *testing.T) {
	ok := at(homeA, careOf1, 1)
	with := func(change func(*request)) request { r := ok; change(&r); return r }
	for _, tt := range []struct {
		name   string
		r      request
		change func(*mip6.Packet)
		want   role.DropReason
	}{
		{"not our address", ok, func(p *mip6.Packet) { p.Destination = homeB }, role.DropNotForUs},
		{"A4 routing header", ok, func(p *mip6.Packet) { p.RouteHome = homeB }, role.DropNotForUs},
		{"routing header to us", ok, func(p *mip6.Packet) { p.Destination, p.RouteHome = homeB, agentAddr }, role.DropNotForUs},
		{"A5 multicast source", ok, func(p *mip6.Packet) { p.Source = netip.MustParseAddr("ff02::1") }, role.DropUnroutable},
		{"A5 unspecified source", ok, func(p *mip6.Packet) { p.Source = netip.IPv6Unspecified() }, role.DropUnroutable},
		{"A5 link-local source", ok, func(p *mip6.Packet) { p.Source = netip.MustParseAddr("fe80::1") }, role.DropUnroutable},
		{"A5 link-local source, routable care-of address", with(func(r *request) { r.alternate, r.source = careOf1, netip.MustParseAddr("fe80::1") }), nil, role.DropUnroutable},
		{"A5 mapped source", ok, func(p *mip6.Packet) { p.Source = netip.MustParseAddr("::ffff:192.0.2.1") }, role.DropUnroutable},
		{"RFC 6275 §6.1.7 multicast care-of address", with(func(r *request) { r.alternate = netip.MustParseAddr("ff0e::1") }), nil, role.DropUnroutable},
		{"RFC 6275 §6.1.7 loopback care-of address", with(func(r *request) { r.alternate = netip.IPv6Loopback() }), nil, role.DropUnroutable},
		{"RFC 6275 §9.3.1 link-local home address", with(func(r *request) { r.home = netip.MustParseAddr("fe80::a") }), nil, role.DropUnroutable},
		{"RFC 6275 §10.3.1 no Home Address option", with(func(r *request) { r.atHome, r.alternate = true, careOf1 }), nil, role.DropNoHomeAddress},
		{"RFC 6275 §9.5.1 nonce indices", with(func(r *request) { r.options = []mip6.Option{mip6.NonceIndices{Home: 1}} }), nil, role.DropMalformed},
		{"default deny", with(func(r *request) { r.home = netip.MustParseAddr("2001:db8:1::99") }), nil, role.DropUnknownMobile},
		{"RFC 4285 §5 no authentication", with(func(r *request) { r.unsealed = true }), nil, role.DropUnauthenticated},
		{"RFC 4285 §5.1.1 unknown SPI", with(func(r *request) { r.sa = association(homeB) }), nil, role.DropUnauthenticated},
		{"no octets to verify", ok, func(p *mip6.Packet) { p.MH = nil }, role.DropUnauthenticated},
		{"a correspondent's", with(func(r *request) { r.flags = mip6.UpdateAcknowledge }), nil, role.DropUnexpected},
		{"a mobility anchor point's", with(func(r *request) { r.flags |= mip6.UpdateMAP }), nil, role.DropUnexpected},
		{"not an update", ok, func(p *mip6.Packet) { p.Message = mip6.HomeTestInit{} }, role.DropUnexpected},
		{"no message", ok, func(p *mip6.Packet) { p.Message = nil }, role.DropUnexpected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			p := tt.r.packet(t)
			if tt.change != nil {
				tt.change(&p)
			}
			wantKinds(t, w.handle(role.MessageReceived{Packet: p}), "drop "+tt.want.String())
			if len(w.agent.Bindings()) != 0 || !w.agent.Next().IsZero() {
				t.Errorf("left state behind")
			}
		})
	}
}

// A mobile that has a home registration: its updates for a mobility anchor point
// are still not for the home agent, and flag R is not answered by a refusal to one
// that may not be a router.
func TestOtherFlagsOfRegistered(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(request{home: homeN, source: careOf1, sequence: 1, lifetime: time.Minute, flags: flagsNode})
	wantKinds(t, w.send(request{home: homeN, source: careOf2, sequence: 2, lifetime: time.Minute, flags: flagsNode | mip6.UpdateMAP}), "drop unexpected")
	if ba := onlyAck(t, w.send(at(homeN, careOf2, 1))); ba.Status != mip6.StatusSequenceOutOfWindow || ba.Flags != 0 {
		t.Errorf("%+v", ba)
	}
}

// RFC 6275 §10.3.2: the entry is kept for MAX_DELETE_BCE_TIMEOUT without
// intercepting, a delayed older update gets 135 at its care-of address, and a
// repeated de-registration the answer that was lost.
// Covers: H10, Attack: replay.
func TestDelayedDeletion(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(at(homeA, careOf1, 1))
	w.send(request{home: homeA, atHome: true, sequence: 3, flags: flagsMR})
	if e := w.entry(homeA); e == nil || e.State != binding.Deleted || len(e.Paths)+len(e.Prefixes)+len(w.tunnels)+len(w.defended) != 0 {
		t.Fatalf("after de-registration: %+v", e)
	}
	wantKinds(t, w.send(at(homeA, careOf1, 2)), "drop replay", "ack 135 to 2001:db8:f1::1 route 2001:db8:1::a")
	w.run(9 * time.Second)
	wantKinds(t, w.send(request{home: homeA, atHome: true, sequence: 4, flags: flagsMR}), "ack 0 to 2001:db8:1::a on 3")
	w.run(9999 * time.Millisecond)
	if w.entry(homeA) == nil {
		t.Errorf("forgotten too early")
	}
	w.run(time.Millisecond)
	if w.entry(homeA) != nil || !w.agent.Next().IsZero() {
		t.Errorf("still remembered")
	}
	wantKinds(t, w.send(request{home: homeA, atHome: true, sequence: 5, flags: flagsMR}), "ack 133 to 2001:db8:1::a on 3")
	// The sequence number is remembered for longer: an old update brings nothing
	// back.
	wantKinds(t, w.send(at(homeA, careOf1, 2)), "drop replay", "ack 135 to 2001:db8:f1::1 route 2001:db8:1::a")
	if s := w.agent.Stats(); s.Bindings+s.Probing+s.Deleted != 0 || s.Registrations != 1 || s.Deregistrations != 1 {
		t.Errorf("%+v", s)
	}
}

// Every way to ask for deletion (RFC 6275 §10.3.2; RFC 3963 §6.2, §6.7).
// Covers: H7, H10, N5.
func TestDeregistration(t *testing.T) {
	wrongPrefix := []mip6.Option{mip6.MobileNetworkPrefix{Prefix: networkB}}
	for _, tt := range []struct {
		name string
		r    request
		ack  string
	}{
		{"lifetime zero away", request{home: homeA, source: careOf2, flags: flagsMR}, "ack 0 to 2001:db8:f2::1 route 2001:db8:1::a"},
		{"lifetime zero at home", request{home: homeA, atHome: true, flags: flagsMR}, "ack 0 to 2001:db8:1::a on 3"},
		{"at home with Home Address option", request{home: homeA, source: homeA, flags: flagsMR}, "ack 0 to 2001:db8:1::a on 3"},
		{"at home with alternate care-of address", request{home: homeA, atHome: true, alternate: homeA, flags: flagsMR}, "ack 0 to 2001:db8:1::a on 3"},
		{"care-of is home address", request{home: homeA, atHome: true, lifetime: time.Minute, flags: flagsMR}, "ack 0 to 2001:db8:1::a on 3"},
		{"alternate care-of is home address", request{home: homeA, source: careOf1, alternate: homeA, overSource: true, lifetime: time.Minute, flags: flagsMR}, "ack 0 to 2001:db8:f1::1 route 2001:db8:1::a"},
		{"flag R and prefixes ignored", request{home: homeA, source: careOf1, flags: flagsNode, options: wrongPrefix}, "ack 0 to 2001:db8:f1::1 route 2001:db8:1::a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			w.registered(at(homeA, careOf1, 1))
			tt.r.sequence = 2
			actions := w.send(tt.r)
			wantKinds(t, actions, "undefend 2001:db8:1::a", "remove 2001:db8:1::a", tt.ack)
			ba := onlyAck(t, actions)
			if _, advice := mip6.Find[mip6.RefreshAdvice](ba); advice || ba.Lifetime != 0 || ba.Sequence != 2 {
				t.Errorf("%+v", ba)
			}
		})
	}
}

// A mobile that returns while it is still being probed for.
func TestDeregistrationDuringDetection(t *testing.T) {
	w := newWorld(t, testConfig())
	w.send(at(homeA, careOf1, 1))
	wantKinds(t, w.send(request{home: homeA, atHome: true, sequence: 2, flags: flagsMR}), "ack 0 to 2001:db8:1::a on 3")
	wantKinds(t, w.run(time.Minute))
	// And away again within the time an entry is remembered: a new registration.
	w.send(request{home: homeA, atHome: true, sequence: 3, flags: flagsMR})
	w.registered(at(homeA, careOf1, 4))
	if s := w.agent.Stats(); s.Bindings != 1 || s.Deleted != 0 || s.Probing != 0 {
		t.Errorf("%+v", s)
	}
}

// A late timer cannot lengthen a lifetime: what is due happens before anything
// else (RFC 6275 §9.6).
// Covers: H4, H10.
func TestLateTimer(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(at(homeA, careOf1, 1))
	w.now = w.now.Add(time.Minute)
	actions := w.send(request{home: homeA, source: careOf1, sequence: 2, flags: flagsMR})
	if ba := onlyAck(t, actions); ba.Status != mip6.StatusNotHomeAgent {
		t.Errorf("de-registration after the end: %v", ba.Status)
	}
	if len(w.tunnels) != 0 {
		t.Errorf("still forwarded")
	}
	if i := slices.IndexFunc(w.logs, func(l role.Log) bool { return l.Message == "binding expired" }); i < 0 {
		t.Errorf("expiry is not in the log")
	}
}

// An agent that has been told to stop does nothing more and waits for nothing.
func TestStop(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(at(homeA, careOf1, 1))
	wantKinds(t, w.handle(role.Stop{}), "leave 2001:db8:1:0:fdff:ffff:ffff:fffe")
	if !w.agent.Next().IsZero() {
		t.Errorf("still waits for %v", w.agent.Next())
	}
	wantKinds(t, w.send(at(homeA, careOf1, 2)))
	wantKinds(t, w.agent.Reconfigure(w.now, testConfig()))
}

func TestBindings(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(at(homeB, careOf2, 7))
	w.send(at(homeA, careOf1, 1))
	list := w.agent.Bindings()
	if len(list) != 2 || list[0].Home != homeA || list[0].State != binding.Probing || list[0].Mobile != "a" ||
		list[1].State != binding.Active || list[1].CareOf() != careOf2 || list[1].Sequence != 7 || list[1].Explicit ||
		!slices.Equal(list[1].Prefixes, []netip.Prefix{networkB}) {
		t.Errorf("%+v", list)
	}
	// A snapshot does not change with the agent.
	w.send(at(homeB, careOf1, 8))
	w.run(time.Second)
	if list[1].CareOf() != careOf2 || list[1].Sequence != 7 {
		t.Errorf("the snapshot changed")
	}
	if s := w.agent.Stats(); s.Mobiles != 3 || s.Bindings != 2 || s.Moves != 1 {
		t.Errorf("%+v", s)
	}
}
