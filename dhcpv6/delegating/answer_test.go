package delegating

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	codec "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/dhcpv6"
	"roam6/internal/role"
	"roam6/mip6"
)

// Four messages and two give a prefix, which is renewed, rebound and released; the
// home agent knows of it from the grant to the release, or to its end.
//
// RFC 8415 §18.3.1, §18.3.2, §18.3.4, §18.3.5, §18.3.7; RFC 6276 §3.1.
//
// Covers: D2.
func TestLife(t *testing.T) {
	w := newWorld(t, testConfig())
	a := w.away(homeA, w.client(codec.MessageTypeSolicit, duidA, pd(7)))
	if a == nil || a.MessageType != codec.MessageTypeAdvertise || len(granted(a)) != 1 {
		t.Fatalf("answer to a Solicit: %v", a)
	}
	offer := a.Options.OneIAPD()
	if len(w.told) > 0 || w.s.Counters().Bound > 0 {
		t.Error("an offer is a lease")
	}
	a = w.away(homeA, w.client(codec.MessageTypeRequest, duidA, offer))
	if a == nil || a.MessageType != codec.MessageTypeReply || len(granted(a)) != 1 {
		t.Fatalf("answer to a Request: %v", a)
	}
	ia := a.Options.OneIAPD()
	p, _ := prefixOf(ia.Options.Prefixes()[0].Prefix)
	if p.Bits() != 56 || !pool.Contains(p.Addr()) || granted(a)[p.String()] != [2]int{1800, 3600} ||
		ia.IaId != offer.IaId || ia.T1 != 15*time.Minute || ia.T2 != 24*time.Minute || granted(a)[p.String()] == [2]int{} {
		t.Fatalf("granted %v", a.Summary())
	}
	holds := func(want ...netip.Prefix) {
		t.Helper()
		if got := w.told[homeA]; !slices.Equal(got, want) {
			t.Errorf("the home agent knows of %v, want %v", got, want)
		}
	}
	holds(p)
	if w.until[homeA] != w.now.Add(valid) || w.saves != 2 { // the DUID, the lease
		t.Errorf("until %v, saved %d times", w.until[homeA], w.saves)
	}
	for _, kind := range []codec.MessageType{codec.MessageTypeRenew, codec.MessageTypeRebind, codec.MessageTypeRequest} {
		w.sleep(20 * time.Minute)
		a = w.away(homeA, w.client(kind, duidA, pd(7, p.String())))
		if a == nil || granted(a)[p.String()] != [2]int{1800, 3600} || len(granted(a)) != 1 || w.until[homeA] != w.now.Add(valid) {
			t.Errorf("answer to %v: %v", kind, a)
		}
		holds(p)
	}
	if w.saves != 2 {
		t.Errorf("saved %d times; renewals change no assignment", w.saves)
	}
	// RFC 8415 §18.3.7: what the IA does not have is ignored, a wrong IAID refused.
	a = w.away(homeA, w.client(codec.MessageTypeRelease, duidA, pd(7, "2001:db8:100::/56"), pd(8, p.String())))
	if a == nil || a.Options.Status() == nil || a.Options.Status().StatusCode != success || len(a.Options.IAPD()) != 1 || statusOf(a) != noBinding {
		t.Errorf("answer to a Release of something else: %v", a)
	}
	holds(p)
	a = w.away(homeA, w.client(codec.MessageTypeRelease, duidA, pd(7, p.String())))
	if a == nil || a.Options.Status() == nil || a.Options.Status().StatusCode != success || len(a.Options.IAPD()) != 0 {
		t.Errorf("answer to a Release: %v", a)
	}
	holds()
	if w.obtain(homeA, duidA, 7) != p {
		t.Error("another prefix after a release")
	}
	holds(p)
	w.sleep(valid - time.Second)
	holds(p)
	w.sleep(time.Second)
	holds()
	if c := w.s.Counters(); c.Delegations != 2 || c.Renewals != 3 || c.Releases != 1 || c.Expirations != 1 || c.Bound != 0 || c.Kept != 1 || c.Capacity != 1<<16 {
		t.Errorf("counters %+v", c)
	}
}

// What is answered and how, what is not and why.
func TestMessages(t *testing.T) {
	const (
		solicit, request, renew, rebind = codec.MessageTypeSolicit, codec.MessageTypeRequest, codec.MessageTypeRenew, codec.MessageTypeRebind
		release, decline                = codec.MessageTypeRelease, codec.MessageTypeDecline
		information, confirm            = codec.MessageTypeInformationRequest, codec.MessageTypeConfirm
		advertise, reply                = codec.MessageTypeAdvertise, codec.MessageTypeReply
	)
	other := serverID(duidX)
	for _, c := range []struct {
		name    string
		section string // of RFC 8415
		kind    codec.MessageType
		duid    []byte
		options []codec.Option
		answer  codec.MessageType // 0: none
		dropped role.DropReason
	}{
		{"solicit", "18.3.1", solicit, duidA, []codec.Option{pd(1)}, advertise, 0},
		{"solicit, rapid", "18.3.1", solicit, duidA, []codec.Option{rapid(), pd(1)}, reply, 0},
		{"solicit for addresses only, rapid", "18.3.9", solicit, duidA, []codec.Option{rapid(), na(1)}, advertise, 0},
		{"solicit without client", "16.2", solicit, nil, []codec.Option{pd(1)}, 0, role.DropMalformed},
		{"solicit to a server", "16.2", solicit, duidA, []codec.Option{serverID(serverDUID), pd(1)}, 0, role.DropMalformed},
		{"request", "18.3.2", request, duidA, []codec.Option{pd(1)}, reply, 0},
		{"request to another", "16.4", request, duidA, []codec.Option{other, pd(1)}, 0, role.DropNotForUs},
		{"request without client", "16.4", request, nil, []codec.Option{pd(1)}, 0, role.DropMalformed},
		{"renew of nothing makes a lease", "18.3.4", renew, duidA, []codec.Option{pd(1)}, reply, 0},
		{"renew to another", "16.6", renew, duidA, []codec.Option{other, pd(1)}, 0, role.DropNotForUs},
		{"rebind of nothing makes a lease", "18.3.5", rebind, duidA, []codec.Option{pd(1)}, reply, 0},
		{"rebind to a server", "16.7", rebind, duidA, []codec.Option{serverID(serverDUID), pd(1)}, 0, role.DropMalformed},
		{"release to another", "16.9", release, duidA, []codec.Option{other, pd(1)}, 0, role.DropNotForUs},
		{"release", "18.3.7", release, duidA, []codec.Option{pd(1)}, reply, 0},
		{"decline", "18.3.8", decline, duidA, []codec.Option{na(1)}, reply, 0},
		{"decline to another", "16.8", decline, duidA, []codec.Option{other, na(1)}, 0, role.DropNotForUs},
		{"confirm", "18.3.3", confirm, duidA, []codec.Option{na(1)}, 0, role.DropUnexpected},
		{"information", "18.3.6", information, duidA, nil, reply, 0},
		{"information without client", "18.3.6", information, nil, nil, reply, 0},
		{"information with IA", "16.12", information, duidA, []codec.Option{pd(1)}, 0, role.DropMalformed},
		{"information of another", "16.12", information, duidA, []codec.Option{other}, 0, role.DropNotForUs},
		{"advertise", "16.3", advertise, duidA, []codec.Option{pd(1)}, 0, role.DropUnexpected},
		{"reply", "16.10", reply, duidA, []codec.Option{pd(1)}, 0, role.DropUnexpected},
		{"reconfigure", "16.11", codec.MessageTypeReconfigure, duidA, nil, 0, role.DropUnexpected},
		{"unknown type", "16", 99, duidA, nil, 0, role.DropUnexpected},
		{"an IAID twice", "21.21", solicit, duidA, []codec.Option{pd(1), pd(1)}, 0, role.DropMalformed},
		{"unknown option", "16", solicit, duidA, []codec.Option{pd(1), &codec.OptionGeneric{OptionCode: 60000, OptionData: []byte{1}}}, advertise, 0},
		{"bad option that is not ours", "16", solicit, duidA, []codec.Option{pd(1), &codec.OptionGeneric{OptionCode: codec.OptionElapsedTime, OptionData: []byte{1}}}, advertise, 0},
		{"DUID too long", "11.1", solicit, make([]byte, maxDUID+1), []codec.Option{pd(1)}, 0, role.DropMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, testConfig())
			a := w.away(homeA, w.client(c.kind, c.duid, c.options...))
			if got := w.reason(); got != c.dropped {
				t.Errorf("RFC 8415 §%s: dropped for %v, want %v", c.section, got, c.dropped)
			}
			switch {
			case (a == nil) != (c.answer == 0):
				t.Fatalf("RFC 8415 §%s: answer %v", c.section, a)
			case a != nil && a.MessageType != c.answer:
				t.Errorf("RFC 8415 §%s: answer %v", c.section, a.Summary())
			}
		})
	}
}

// Addresses are not given: NoAddrsAvail, or NoBinding where there is nothing to
// release (RFC 8415 §18.3.2, §18.3.7, §18.3.8).
func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		kind codec.MessageType
		want string
	}{
		{codec.MessageTypeSolicit, "NoAddrsAvail"}, {codec.MessageTypeRequest, "NoAddrsAvail"}, {codec.MessageTypeRenew, "NoAddrsAvail"},
		{codec.MessageTypeRelease, "NoBinding"}, {codec.MessageTypeDecline, "NoBinding"},
	} {
		w := newWorld(t, testConfig())
		ta := &codec.OptIATA{IaId: [4]byte{0, 0, 0, 5}}
		a := w.away(homeA, w.client(c.kind, duidA, na(4), ta, pd(4)))
		if a == nil {
			t.Fatalf("no answer to %v", c.kind)
		}
		for _, status := range []*codec.OptStatusCode{a.Options.OneIANA().Options.Status(), a.Options.OneIATA().Options.Status()} {
			if status == nil || status.StatusCode.String() != c.want {
				t.Errorf("answer to %v: %v", c.kind, a.Summary())
			}
		}
		if c.want == "NoAddrsAvail" && len(granted(a)) != 1 {
			t.Errorf("no prefix beside: %v", a.Summary())
		}
	}
}

// The relay agent's fields come back as they were (RFC 8415 §18.3.10, §19.3).
func TestRelayReply(t *testing.T) {
	w := newWorld(t, testConfig())
	e := forward(homeA, w.client(codec.MessageTypeSolicit, duidA, pd(1)))
	e.interfaceID, e.hops = codec.OptInterfaceID([]byte{9, 8, 7}), 5
	received := received(homeA, e)
	received.From = netip.AddrPortFrom(homeA, 40000) // RFC 8415 §7.2: relay agents listen on 547
	w.handle(received)
	if len(w.sent) != 1 || w.sent[0].To != port547(homeA) {
		t.Fatalf("sent %+v", w.sent)
	}
	got, err := readEnvelope(w.sent[0].Message)
	if err != nil || got.kind != codec.MessageTypeRelayReply || got.hops != 5 || got.link != homeA || got.peer != homeA ||
		got.interfaceID == nil || string(got.interfaceID.ToBytes()) != "\x09\x08\x07" {
		t.Errorf("Relay-reply %+v, %v", got, err)
	}
}

// Strangers, and mobiles that speak for another one, are not answered; nor does
// anything stay of them (RFC 6276 §4).
func TestStrangers(t *testing.T) {
	stranger := netip.MustParseAddr("2001:db8:1::bad")
	w := newWorld(t, testConfig())
	w.obtain(homeB, duidB, 1)
	solicit := func() *codec.Message { return w.client(codec.MessageTypeSolicit, duidA, rapid(), pd(1)) }
	change := func(f func(*role.DHCPReceived, *envelope)) role.DHCPReceived {
		e := forward(homeA, solicit())
		r := received(homeA, e)
		f(&r, &e)
		r.Message = e.encode()
		return r
	}
	for _, c := range []struct {
		name string
		e    role.DHCPReceived
		want role.DropReason
	}{
		{"unknown source", change(func(r *role.DHCPReceived, _ *envelope) { r.From = port547(stranger) }), role.DropUnknownMobile},
		{"another's link-address", change(func(_ *role.DHCPReceived, e *envelope) { e.link = homeB }), role.DropProhibited},
		{"another's peer-address", change(func(_ *role.DHCPReceived, e *envelope) { e.peer = homeB }), role.DropProhibited},
		{"no link-address", change(func(_ *role.DHCPReceived, e *envelope) { e.link = netip.IPv6Unspecified() }), role.DropProhibited},
		{"another destination", change(func(r *role.DHCPReceived, _ *envelope) { r.To = port547(stranger) }), role.DropNotForUs},
		{"another port", change(func(r *role.DHCPReceived, _ *envelope) { r.To = netip.AddrPortFrom(agentAddr, 546) }), role.DropNotForUs},
		{"somebody behind the mobile", change(func(_ *role.DHCPReceived, e *envelope) { e.message = forward(homeA, solicit()).encode() }), role.DropUnexpected},
		{"another's DUID", received(homeA, forward(homeA, w.client(codec.MessageTypeSolicit, duidB, rapid(), pd(1)))), role.DropProhibited},
		{"Relay-reply", change(func(_ *role.DHCPReceived, e *envelope) { e.kind = codec.MessageTypeRelayReply }), role.DropUnexpected},
		{"stranger on the home link", onLink(localX, solicit()), role.DropUnknownMobile},
		{"stranger with a global address", onLink(stranger, solicit()), role.DropUnknownMobile},
		{"home address with another's DUID", onLink(homeA, w.client(codec.MessageTypeSolicit, duidB, pd(1))), role.DropUnknownMobile},
		{"nothing", role.DHCPReceived{From: port547(homeA), To: port547(agentAddr)}, role.DropMalformed},
		{"short", role.DHCPReceived{From: port547(homeA), To: port547(agentAddr), Message: []byte{12, 1, 2}}, role.DropMalformed},
		{"huge", role.DHCPReceived{From: port547(homeA), To: port547(agentAddr), Message: append([]byte{12}, make([]byte, 60000)...)}, role.DropMalformed},
		{"huge, at home", role.DHCPReceived{Link: homeLink, From: port547(localA), To: onLink(localA, solicit()).To,
			Message: w.client(codec.MessageTypeSolicit, duidA, &codec.OptionGeneric{OptionCode: 60000, OptionData: make([]byte, maxMessage)}).ToBytes()}, role.DropMalformed},
	} {
		w.handle(c.e)
		if len(w.sent) > 0 || w.reason() != c.want {
			t.Errorf("%s: sent %v, dropped for %v; want %v", c.name, w.sent, w.drops, c.want)
		}
	}
	if leases := w.s.Leases(w.now); len(leases) != 1 || leases[0].Home != homeB || len(w.told) != 1 {
		t.Errorf("leases %+v, told %v", leases, w.told)
	}
}

// At home a client is known by a configured DUID, by the one it had while away, or
// by its interface identifier (RFC 6276 §3.2).
func TestAtHome(t *testing.T) {
	config := testConfig()
	config.Mobiles[2].DUID = duidX
	ask := func(w *world, from netip.Addr, duid []byte) netip.Addr {
		t.Helper()
		a := w.home(from, w.client(codec.MessageTypeSolicit, duid, rapid(), pd(1)))
		if a == nil {
			return netip.Addr{}
		}
		for home, prefixes := range w.told {
			if len(prefixes) == 1 && granted(a)[prefixes[0].String()] == [2]int{1800, 3600} {
				return home
			}
		}
		t.Fatalf("answer %v, told %v", a.Summary(), w.told)
		return netip.Addr{}
	}
	none := netip.Addr{}
	for _, c := range []struct {
		name  string
		learn []byte // DUID of mobile A while away
		from  netip.Addr
		duid  []byte
		want  netip.Addr
	}{
		{"interface identifier", nil, localA, duidA, homeA},
		{"configured DUID", nil, localX, duidX, homeC},
		{"unknown", nil, localX, duidA, none},
		{"learned DUID", duidA, localX, duidA, homeA},
		{"configured DUID before interface identifier", nil, localA, duidX, homeC},
		{"interface identifier of one that has a DUID", nil, netip.MustParseAddr("fe80::c"), duidA, none},
		{"home address", nil, homeA, duidA, homeA},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, config)
			if c.learn != nil {
				w.away(homeA, w.client(codec.MessageTypeInformationRequest, c.learn))
				w.restart(config) // learned is kept
			}
			if got := ask(w, c.from, c.duid); got != c.want {
				t.Errorf("it is %v, want %v", got, c.want)
			}
		})
	}
	t.Run("the same lease away", func(t *testing.T) {
		w := newWorld(t, config)
		p := w.obtain(homeA, duidA, 1)
		a := w.home(localX, w.client(codec.MessageTypeRenew, duidA, pd(1, p.String())))
		if a == nil || granted(a)[p.String()] != [2]int{1800, 3600} {
			t.Errorf("answer %v", a)
		}
	})
}

// A mobile router whose home link is renumbered goes on with its prefix at the home
// address that it has formed, and is answered there; what it forms is nobody's who is
// configured with it.
//
// Covers: D3.
func TestFormedHomeAddress(t *testing.T) {
	config := testConfig()
	formed := netip.MustParseAddr("2001:db8:9::a")
	config.Mobiles[0].Formed = []netip.Addr{formed, homeB, agentAddr}
	w := newWorld(t, config)
	p := w.obtain(homeA, duidA, 1)
	if got := w.obtain(formed, duidA, 1); got != p || len(w.told[homeA]) != 1 || w.told[formed] != nil {
		t.Errorf("at the formed address %v, before %v, told %v", got, p, w.told)
	}
	if got := w.obtain(homeB, duidB, 1); got == p || len(w.told[homeB]) != 1 {
		t.Errorf("the other mobile has %v, told %v", got, w.told)
	}
	if w.away(formed, w.client(codec.MessageTypeRenew, duidB, pd(1, p.String()))) != nil {
		t.Error("another mobile's identifier is taken there")
	}
	w.reconfigure(testConfig())
	if w.away(formed, w.client(codec.MessageTypeRenew, duidA, pd(1, p.String()))) != nil {
		t.Error("answered at an address that is none any more")
	}
}

// By unicast only what nobody answers otherwise (RFC 8415 §18.4, §16).
func TestUnicast(t *testing.T) {
	w := newWorld(t, testConfig())
	for kind, answered := range map[codec.MessageType]bool{
		codec.MessageTypeSolicit: false, codec.MessageTypeRebind: false, codec.MessageTypeConfirm: false,
		codec.MessageTypeInformationRequest: false,
		codec.MessageTypeRequest:            true, codec.MessageTypeRenew: true, codec.MessageTypeRelease: true,
	} {
		q := w.client(kind, duidA, pd(1))
		e := onLink(homeA, q)
		e.Link, e.To = 0, port547(agentAddr)
		w.handle(e)
		if w.reason() != role.DropUnexpected || len(w.sent) > 0 != answered || len(w.told) > 0 {
			t.Fatalf("%v: sent %v, dropped for %v", kind, w.sent, w.drops)
		}
		if !answered {
			continue
		}
		a := w.decode(q, w.sent[0].Message)
		if a.Options.Status() == nil || a.Options.Status().StatusCode != useMulticast || len(a.Options.Options) != 3 ||
			w.sent[0].To != netip.AddrPortFrom(homeA, dhcpv6.ClientPort) || w.sent[0].From != port547(agentAddr) {
			t.Errorf("%v: sent %+v: %v", kind, w.sent, a.Summary())
		}
	}
}

// A Rebind at home is heard by every home agent of the link: what is another's is
// left to it (RFC 8415 §18.3.5).
func TestRebindAtHome(t *testing.T) {
	const theirs = "2001:db8:ff00::/56"
	w := newWorld(t, testConfig())
	if a := w.home(localA, w.client(codec.MessageTypeRebind, duidA, pd(1, theirs))); a != nil || w.reason() != role.DropNotForUs || len(w.told) > 0 {
		t.Errorf("another's: %v, dropped for %v", a, w.drops)
	}
	p := w.obtain(homeA, duidA, 1)
	a := w.home(localA, w.client(codec.MessageTypeRebind, duidA, na(3), pd(1, p.String(), theirs), pd(2, theirs)))
	if a == nil || len(a.Options.IAPD()) != 1 || len(a.Options.IANA()) != 0 || len(granted(a)) != 1 || granted(a)[p.String()] != [2]int{1800, 3600} {
		t.Errorf("both: %v", a)
	}
	// Away it is addressed to this home agent alone.
	a = w.away(homeA, w.client(codec.MessageTypeRebind, duidA, pd(1, theirs)))
	if a == nil || granted(a)[theirs] != [2]int{} || granted(a)[p.String()] != [2]int{1800, 3600} || len(granted(a)) != 2 {
		t.Errorf("away: %v", a)
	}
}

// A DUID is one mobile's: refused for another one while it has a lease, and if it
// is configured.
func TestDUIDs(t *testing.T) {
	config := testConfig()
	config.Mobiles[2].DUID = duidX
	w := newWorld(t, config)
	use := func(home netip.Addr, duid []byte, want role.DropReason) {
		t.Helper()
		w.away(home, w.client(codec.MessageTypeInformationRequest, duid))
		if got := w.reason(); got != want {
			t.Errorf("%v with DUID %x: dropped for %v, want %v", home, duid, got, want)
		}
	}
	use(homeA, duidX, role.DropProhibited)
	use(homeA, duidA, 0)
	use(homeC, duidB, 0) // known at home by the configured one only
	use(homeB, duidB, 0)
	w.obtain(homeA, duidA, 1)
	logs := len(w.logs)
	for range 3 {
		use(homeB, duidA, role.DropProhibited)
	}
	if n := len(w.logs) - logs; n != 0 {
		t.Errorf("%d complaints within the minute", n)
	}
	w.sleep(time.Minute)
	use(homeB, duidA, role.DropProhibited)
	if n := len(w.logs) - logs; n != 1 {
		t.Errorf("%d complaints in the next minute, want 1", n)
	}
	// The device has got another home address, and its old lease ends.
	w.sleep(valid)
	use(homeB, duidA, 0)
	w.obtain(homeB, duidA, 1)
	use(homeA, duidA, role.DropProhibited)
	w.restart(config)
	use(homeA, duidA, role.DropProhibited)
}

// T1 and T2 of short and of endless lifetimes (RFC 8415 §21.21, §7.7).
func TestTimes(t *testing.T) {
	for _, c := range []struct{ preferred, valid, t1, t2 time.Duration }{
		{10 * time.Second, 20 * time.Second, 5 * time.Second, 8 * time.Second},
		{7 * time.Second, 7 * time.Second, 3 * time.Second, 5 * time.Second},
		{time.Hour, mip6.InfiniteLifetime, 30 * time.Minute, 48 * time.Minute},
		{mip6.InfiniteLifetime, mip6.InfiniteLifetime, mip6.InfiniteLifetime, mip6.InfiniteLifetime},
	} {
		config := testConfig()
		config.Preferred, config.Valid = c.preferred, c.valid
		w := newWorld(t, config)
		a := w.away(homeA, w.client(codec.MessageTypeSolicit, duidA, rapid(), pd(1)))
		ia := a.Options.OneIAPD()
		p := ia.Options.Prefixes()[0]
		if ia.T1 != c.t1 || ia.T2 != c.t2 || p.PreferredLifetime != c.preferred || p.ValidLifetime != c.valid {
			t.Errorf("%v, %v: T1 %v, T2 %v, lifetimes %v, %v", c.preferred, c.valid, ia.T1, ia.T2, p.PreferredLifetime, p.ValidLifetime)
		}
		if endless := c.valid == mip6.InfiniteLifetime; endless != w.until[homeA].IsZero() || endless != w.s.Next().IsZero() {
			t.Errorf("%v: until %v, next %v", c.valid, w.until[homeA], w.s.Next())
		}
		w.restart(config)
		if l := w.s.Leases(w.now); len(l) != 1 || l[0].Preferred != c.preferred || l[0].Valid != c.valid || l[0].State != Delegated {
			t.Errorf("after a restart: %+v", l)
		}
	}
}
