package dhcpv6

import (
	"slices"
	"testing"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"roam6/internal/role"
)

// RFC 8415 §18.2.4: Renew at T1 to the server, with all associations, until T2;
// lifetimes are those of the Reply.
func TestRenew(t *testing.T) {
	w := boundBoth(t)
	w.expect(w.pass(hour.t1 - 1))
	list := w.pass(1)
	w.expect(list, wire.MessageTypeRenew)
	m := list[0].inner
	addresses, prefixes := named(m)
	if !slices.Equal(addresses, []prefix{address}) || !slices.Equal(prefixes, []prefix{delegated}) {
		t.Errorf("renews %v %v", addresses, prefixes)
	}
	if !slices.Equal(m.GetOneOption(wire.OptionServerID).ToBytes(), one) || !m.IsOptionRequested(wire.OptionSolMaxRT) {
		t.Errorf("renew %v", m.Summary())
	}
	for _, ia := range m.Options.IANA() {
		if ia.T1 != 0 || ia.T2 != 0 || ia.Options.OneAddress().ValidLifetime != 0 {
			t.Error("times in a client's message (§21.4, §21.6)")
		}
	}
	// Retransmitted after REN_TIMEOUT.
	w.expect(w.pass(renewTimeout*11/10), wire.MessageTypeRenew)
	told := w.leases
	w.reply(one, na(hour, address), pd(hour, delegated))
	w.state(StateBound)
	if w.leases != told+1 || w.lease.Addresses[0].Valid != hour.valid {
		t.Errorf("told %d times, %+v", w.leases-told, w.lease)
	}
	// The information was not in the Reply (§18.2.10).
	if len(w.lease.DNS) != 0 {
		t.Errorf("DNS %v", w.lease.DNS)
	}
	w.expect(w.pass(hour.t1-time.Second), nil...)
}

// RFC 8415 §18.2.5: Rebind at T2, to any server, until the leases end; then Solicit,
// with the old prefix as a hint.
func TestRebind(t *testing.T) {
	w := boundBoth(t)
	w.pass(hour.t2 - 1)
	list := w.pass(1)
	w.expect(list, wire.MessageTypeRebind)
	if list[0].inner.GetOneOption(wire.OptionServerID) != nil {
		t.Error("a Rebind with a server identifier")
	}
	// Another server takes over.
	w.reply(two, na(hour, address), pd(hour, delegated))
	w.state(StateBound)
	w.pass(hour.t1)
	if id := w.last().inner.GetOneOption(wire.OptionServerID).ToBytes(); !slices.Equal(id, two) {
		t.Errorf("renews with %x", id)
	}
	w.pass(hour.valid - hour.t1 - 1)
	w.holds(address, delegated)
	w.state(StateRebinding)
	w.expect(w.pass(1), wire.MessageTypeSolicit)
	w.holds()
	if _, prefixes := named(w.last().inner); !slices.Equal(prefixes, []prefix{delegated}) {
		t.Errorf("hints %v", prefixes)
	}
}

// RFC 8415 §21.4, §14.2, §18.2.4: T1 and T2, as told and as chosen.
func TestTimes(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		in     times
		t1, t2 time.Duration
	}{
		"told":                   {times{100 * s, 200 * s, 300 * s, 400 * s}, 100 * s, 200 * s},
		"chosen":                 {times{0, 0, 1000 * s, 2000 * s}, 500 * s, 800 * s},
		"T1 chosen":              {times{0, 300 * s, 1000 * s, 2000 * s}, 300 * s, 300 * s},
		"T2 chosen":              {times{400 * s, 0, 1000 * s, 2000 * s}, 400 * s, 800 * s},
		"T2 chosen after T1":     {times{900 * s, 0, 1000 * s, 2000 * s}, 900 * s, 900 * s},
		"deprecated from the go": {times{0, 0, 0, 1000 * s}, 500 * s, 800 * s},
		"never":                  {times{forever, forever, 1000 * s, 2000 * s}, forever, forever},
		"for ever":               {times{0, 0, forever, forever}, forever, forever},
		"past the end":           {times{3000 * s, 4000 * s, 1000 * s, 2000 * s}, 500 * s, 800 * s},
		"T2 past the end":        {times{100 * s, 4000 * s, 1000 * s, 2000 * s}, 100 * s, 800 * s},
		"at once":                {times{0, 0, 1 * s, 1 * s}, 1 * s, 1 * s},
	} {
		w := newWorld(t, testConfig(), nil)
		w.do(managed)
		w.reply(one, rapid(), na(c.in, address))
		w.state(StateBound)
		if got := w.client.Snapshot(w.now); got.T1 != c.t1 || got.T2 != c.t2 {
			t.Errorf("%s: T1 %v, T2 %v; want %v, %v", name, got.T1, got.T2, c.t1, c.t2)
		}
	}
	// T1 > T2: as though the option was not there.
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	w.reply(one, rapid(), na(times{200 * s, 100 * s, 300 * s, 400 * s}, address))
	w.state(StateSoliciting)
	// Several associations: the earliest times.
	c := testConfig()
	c.Prefixes = true
	w = newWorld(t, c, nil)
	w.do(managed)
	w.reply(one, rapid(), na(times{100 * s, 300 * s, 500 * s, 500 * s}, address), pd(times{200 * s, 250 * s, 500 * s, 500 * s}, delegated))
	if got := w.client.Snapshot(w.now); got.T1 != 100*s || got.T2 != 250*s {
		t.Errorf("T1 %v, T2 %v", got.T1, got.T2)
	}
}

// RFC 8415 §7.7: T1 of infinity is never; the lease ends and is asked for anew.
func TestExpiry(t *testing.T) {
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	w.reply(one, rapid(), na(times{forever, forever, 100 * time.Second, 200 * time.Second}, address))
	w.expect(w.pass(200*time.Second - 1))
	w.holds(address)
	w.expect(w.pass(1), wire.MessageTypeSolicit)
	w.holds()
	// With another association the client goes on, and asks for both.
	c := testConfig()
	c.Prefixes = true
	w = newWorld(t, c, nil)
	w.do(managed)
	long := times{forever, forever, forever, forever}
	w.reply(one, rapid(), na(times{forever, forever, 100 * time.Second, 200 * time.Second}, address), pd(long, delegated))
	w.expect(w.pass(200*time.Second), wire.MessageTypeRenew)
	w.holds(delegated)
	if n := len(w.last().inner.Options.IANA()); n != 1 {
		t.Errorf("%d address associations", n)
	}
	w.reply(one, na(long, address2), pd(long, delegated))
	w.holds(address2, delegated)
	if w.lease.Prefixes[0].Valid != forever {
		t.Errorf("%+v", w.lease.Prefixes)
	}
}

// RFC 8415 §21.6, §21.22, §18.2.10.1: leases that make no sense.
func TestNonsenseLeases(t *testing.T) {
	for _, s := range []string{"ff02::1/128", "fe80::1/128", "::1/128", "::/128", "::ffff:1.2.3.4/128"} {
		w := newWorld(t, testConfig(), nil)
		w.do(managed)
		w.reply(one, rapid(), na(hour, parsed(s), address))
		if w.holds(address); w.drops[role.DropUnroutable] != 1 {
			t.Errorf("%s: %v", s, w.drops)
		}
	}
	for _, s := range []string{"::/0", "fe80::/64", "ff00::/16", "2000::/3", "::/64"} {
		w := newWorld(t, prefixConfig(), nil)
		w.do(role.ConfigureLink{})
		w.reply(one, rapid(), pd(hour, delegated, parsed(s)))
		// The length 0 does not even reach us as a prefix of the codec.
		if w.holds(delegated); s != "::/0" && w.drops[role.DropUnroutable] != 1 {
			t.Errorf("%s: %v", s, w.drops)
		}
	}
	// Preferred longer than valid.
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	w.reply(one, rapid(), na(times{0, 0, 200 * time.Second, 100 * time.Second}, address))
	w.state(StateSoliciting)
	// Bits beyond the length of a prefix are not meant.
	w = newWorld(t, prefixConfig(), nil)
	w.do(role.ConfigureLink{})
	w.reply(one, rapid(), pd(hour, parsed("2001:db8:f00::1/56")))
	w.holds(delegated)
	// More than anybody needs.
	w = newWorld(t, testConfig(), nil)
	w.do(managed)
	var many []prefix
	a := address.Addr()
	for range 100 {
		many = append(many, parsed(a.String()+"/128"))
		a = a.Next()
	}
	w.reply(one, rapid(), na(hour, many...))
	w.holds(many[:maxLeases]...)
	w = newWorld(t, testConfig(), nil)
	w.do(managed)
	for range 2 {
		many = append(many, many...)
	}
	w.reply(one, rapid(), na(hour, many...))
	if w.state(StateSoliciting); w.drops[role.DropMalformed] != 1 {
		t.Errorf("400 addresses: %v", w.drops)
	}
}

// RFC 8415 §18.2.10.1: leases with lifetime zero are lost, those not named stay, new
// ones are added.
func TestReplyUpdates(t *testing.T) {
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	w.reply(one, rapid(), na(hour, address, address2))
	w.pass(hour.t1)
	third := parsed("2001:db8:1::300/128")
	ia := na(hour, third)
	ia.Options.Add(&wire.OptIAAddress{IPv6Addr: address.Addr().AsSlice()})
	w.reply(one, ia)
	w.holds(address2, third)
	if w.lease.Addresses[0].Valid != hour.valid-hour.t1 || w.lease.Addresses[1].Valid != hour.valid {
		t.Errorf("%+v", w.lease.Addresses)
	}
	// All of them lost: asked for anew.
	w.pass(hour.t1)
	w.expect(w.last1(), wire.MessageTypeRenew)
	w.expect(w.reply(one, na(times{}, address2, third)), wire.MessageTypeSolicit)
	w.holds()
}

func (w *world) last1() []sent { return w.sent[len(w.sent)-1:] }

// RFC 8415 §18.2.10.1: NoBinding to Renew makes a Request for all associations; the
// others stay in use.
func TestNoBinding(t *testing.T) {
	w := boundBoth(t)
	w.pass(hour.t1)
	w.expect(w.reply(one, na(hour, address), pdStatus(iana.StatusNoBinding)), wire.MessageTypeRequest)
	w.holds(address, delegated)
	addresses, prefixes := named(w.last().inner)
	if len(addresses) != 1 || len(prefixes) != 1 {
		t.Errorf("request for %v %v", addresses, prefixes)
	}
	other := parsed("2001:db8:e00::/56")
	w.reply(one, na(hour, address), pd(hour, other))
	w.state(StateBound)
	w.holds(address, other)

	// The server gives nothing for it: the prefix is lost, the address stays.
	w = boundBoth(t)
	w.pass(hour.t1)
	w.reply(one, na(hour, address), pdStatus(iana.StatusNoBinding))
	w.reply(one, na(hour, address), pdStatus(iana.StatusNoPrefixAvail))
	w.state(StateBound)
	w.holds(address)
	// It is asked for again at T1, with no more than a length (§18.2.4).
	w.pass(hour.t1)
	w.expect(w.last1(), wire.MessageTypeRenew)
	if _, prefixes := named(w.last().inner); !slices.Equal(prefixes, []prefix{parsed("::/56")}) {
		t.Errorf("asks for %v", prefixes)
	}
}

// RFC 8415 §18.2.10.1, §14.1: an association that is not in the Reply is as if there
// had been no Reply; what is in it holds.
func TestReplyIncomplete(t *testing.T) {
	w := boundBoth(t)
	w.pass(hour.t1)
	w.expect(w.reply(one, na(hour, address)))
	w.state(StateRenewing)
	w.expect(w.pass(11*time.Second), wire.MessageTypeRenew)
	w.pass(hour.t2 - hour.t1)
	w.state(StateRebinding)
	// Nothing at all in a Reply of a stranger: nothing changes.
	w.reply(two, dns("2001:db8::bad"))
	w.state(StateRebinding)
	if s := w.client.Snapshot(w.now); !slices.Equal(s.Server, one) || len(s.Lease.DNS) != 0 {
		t.Errorf("%+v", s)
	}
	w.pass(hour.valid - hour.t2)
	w.holds(address) // the prefix has ended
	w.reply(one, na(hour, address), pdStatus(iana.StatusNoPrefixAvail))
	w.state(StateBound)
}

// RFC 8415 §18.2.10: UnspecFail and UseMulticast are answered with the
// retransmission that was due anyway.
func TestTopLevelStatus(t *testing.T) {
	for _, code := range []iana.StatusCode{iana.StatusUnspecFail, iana.StatusUseMulticast} {
		w := bound(t)
		w.pass(hour.t1)
		due := w.client.exchange.due
		w.expect(w.reply(one, status(code), na(hour, address)))
		w.state(StateRenewing)
		if w.client.exchange.due != due {
			t.Errorf("%v: retransmission moved", code)
		}
	}
	// NotOnLink to a Request: discovery anew.
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	w.advertise(one, na(hour, address), wire.OptPreference(255))
	w.expect(w.reply(one, status(iana.StatusNotOnLink)), wire.MessageTypeSolicit)
	w = newWorld(t, testConfig(), nil)
	w.do(managed)
	w.advertise(one, na(hour, address), wire.OptPreference(255))
	w.expect(w.reply(one, naStatus(iana.StatusNotOnLink)), wire.MessageTypeSolicit)
}

// RFC 8415 §14.1: a server with which Renew and Request go round.
func TestNoBindingLoop(t *testing.T) {
	w := bound(t)
	w.pass(hour.t1)
	before := len(w.sent)
	short := times{1 * time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second}
	start := w.now
	for w.now.Before(start.Add(100 * time.Second)) {
		switch w.last().inner.MessageType {
		case wire.MessageTypeRenew, wire.MessageTypeRebind:
			w.reply(one, naStatus(iana.StatusNoBinding))
		case wire.MessageTypeRequest:
			w.reply(one, na(short, address))
		case wire.MessageTypeSolicit:
			w.advertise(one, na(short, address), wire.OptPreference(255))
		}
		w.pass(50 * time.Millisecond)
	}
	if n := len(w.sent) - before; n > sendRate.Burst+101 {
		t.Errorf("%d messages in 100 s", n)
	}
}
