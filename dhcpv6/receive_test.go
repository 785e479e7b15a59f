package dhcpv6

import (
	"bytes"
	"testing"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"roam6/internal/role"
)

// RFC 8415 §16: what a client has to discard, by reason, and that it changes nothing.
func TestValidation(t *testing.T) {
	renewing := func() *world {
		w := bound(t)
		w.pass(hour.t1)
		w.state(StateRenewing)
		return w
	}
	whole := func(w *world) []byte {
		return answer(w.last().inner, wire.MessageTypeReply, one, na(hour, address2))
	}
	for name, c := range map[string]struct {
		message func(w *world) []byte
		reason  role.DropReason
	}{
		"nothing":           {func(*world) []byte { return nil }, role.DropMalformed},
		"short":             {func(w *world) []byte { return whole(w)[:3] }, role.DropMalformed},
		"torn":              {func(w *world) []byte { b := whole(w); return b[:len(b)-1] }, role.DropMalformed},
		"other transaction": {func(w *world) []byte { b := whole(w); b[1]++; return b }, role.DropUnsolicited},
		"no server": {func(w *world) []byte {
			return answer(w.last().inner, wire.MessageTypeReply, nil, na(hour, address2))
		}, role.DropMalformed},
		"another server": {func(w *world) []byte {
			return answer(w.last().inner, wire.MessageTypeReply, two, na(hour, address2))
		}, role.DropUnsolicited},
		"another client": {func(w *world) []byte {
			return bytes.Replace(whole(w), w.config.DUID, []byte{0, 99, 9, 9, 9, 8}, 1)
		}, role.DropNotForUs},
		"no client": {func(w *world) []byte {
			b := whole(w)
			b[5] = 200 // its client identifier is an unknown option now
			return b
		}, role.DropMalformed},
		"Advertise": {func(w *world) []byte {
			return answer(w.last().inner, wire.MessageTypeAdvertise, one, na(hour, address2))
		}, role.DropUnexpected},
		"empty identifier": {func(w *world) []byte {
			return answer(w.last().inner, wire.MessageTypeReply, []byte{})
		}, role.DropMalformed},
		"short IA":              {func(w *world) []byte { return append(whole(w), 0, 3, 0, 2, 1, 2) }, role.DropMalformed},
		"long status":           {func(w *world) []byte { return append(whole(w), 0, 13, 0, 1, 1) }, role.DropMalformed},
		"unknown type":          {func(w *world) []byte { b := whole(w); b[0] = 77; return b }, role.DropUnknownType},
		"Reconfigure (§16.11)":  {func(w *world) []byte { b := whole(w); b[0] = 10; return b }, role.DropUnauthenticated},
		"Solicit (§16.2)":       {func(w *world) []byte { b := whole(w); b[0] = 1; return b }, role.DropUnexpected},
		"Release (§16.9)":       {func(w *world) []byte { b := whole(w); b[0] = 8; return b }, role.DropUnexpected},
		"Relay-reply (§16.14)":  {func(w *world) []byte { b := whole(w); b[0] = 13; return b }, role.DropUnexpected},
		"Information (§16.12)":  {func(w *world) []byte { b := whole(w); b[0] = 11; return b }, role.DropUnexpected},
		"Relay-forward(§16.13)": {func(w *world) []byte { b := whole(w); b[0] = 12; return b }, role.DropUnexpected},
	} {
		w := renewing()
		w.expect(w.receive(c.message(w)))
		if w.drops[c.reason] != 1 || len(w.drops) != 1 {
			t.Errorf("%s: drops %v", name, w.drops)
		}
		w.state(StateRenewing)
		w.holds(address)
	}
	// Unknown options and foreign associations are no reason.
	w := renewing()
	foreign := na(hour, address2)
	foreign.IaId[0]++
	w.reply(one, &wire.OptionGeneric{OptionCode: 60000, OptionData: []byte{1}}, foreign, na(hour, address))
	w.state(StateBound)
	w.holds(address)
	// What comes on another link is another client's.
	w = renewing()
	w.do(role.DHCPReceived{Link: link + 1, Message: whole(w)})
	w.state(StateRenewing)
}

// A reply that was sent before the client left the link does not count any more.
func TestLateReply(t *testing.T) {
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	late := answer(w.last().inner, wire.MessageTypeReply, one, rapid(), na(hour, address))
	w.do(role.ConfigureLink{Link: link, Identity: there, Managed: true})
	w.receive(late)
	w.holds()
	late = answer(w.last().inner, wire.MessageTypeReply, one, rapid(), na(hour, address))
	w.do(down())
	w.receive(late)
	w.holds()
}

// Counters and state, for people.
func TestSnapshot(t *testing.T) {
	w := boundBoth(t)
	w.pass(100 * time.Second)
	s := w.client.Snapshot(w.now)
	if s.State.String() != "bound" || s.Identity != here || !bytes.Equal(s.Server, one) || s.Link != link ||
		s.T1 != hour.t1-100*time.Second || s.Lease.Prefixes[0].Valid != hour.valid-100*time.Second {
		t.Errorf("%+v", s)
	}
	want := []MessageCount{{"SOLICIT", 1, 0}, {"REPLY", 0, 1}}
	if len(s.Messages) != 2 || s.Messages[0] != want[0] || s.Messages[1] != want[1] {
		t.Errorf("messages %+v", s.Messages)
	}
	for s := StateIdle; s <= StateDone; s++ {
		if s.String() == "unknown" {
			t.Errorf("state %d has no name", s)
		}
	}
}

// A search list that expands, or that would break a resolver's file.
func TestSearchList(t *testing.T) {
	name := func(s string) []byte { return append([]byte{byte(len(s))}, append([]byte(s), 0)...) }
	for _, c := range []struct {
		in   []byte
		want int
	}{
		{name("example"), 1},
		{append(name("example"), name("corp")...), 2},
		{name("a\nb"), 0},
		{name("a b"), 0},
		{append(name("example"), 0xc0, 0), 0},
		{[]byte{5, 'a'}, 0},
		{[]byte{0}, 0},
		{bytes.Repeat(name("x"), maxDomains+5), maxDomains},
		{bytes.Repeat(name("x"), maxNames), 0},
		{bytes.Repeat([]byte{1, 'x'}, 500), 0},
	} {
		if got := searchList(c.in); len(got) != c.want {
			t.Errorf("%d octets: %d names", len(c.in), len(got))
		}
	}
}

// stateWorlds are clients in every state, by the events that lead there.
func stateWorlds(t *testing.T) map[State]*world {
	c := testConfig()
	c.Prefixes = true
	begin := func(e role.Event) *world {
		w := newWorld(t, c, nil)
		w.do(e)
		return w
	}
	after := func(f func(*world)) *world { w := boundBoth(t); f(w); return w }
	list := map[State]*world{
		StateIdle:       newWorld(t, c, nil),
		StateSoliciting: begin(managed),
		StateRequesting: begin(managed),
		StateConfirming: after(func(w *world) { w.do(up(1)); w.do(up(2)); w.do(managed) }),
		StateBound:      boundBoth(t),
		StateRenewing:   after(func(w *world) { w.pass(hour.t1) }),
		StateRebinding:  after(func(w *world) { w.pass(hour.t2) }),
		StateReleasing:  after(func(w *world) { w.do(role.Stop{}) }),
		StateDone:       after(func(w *world) { w.do(role.Stop{}); w.pass(time.Second) }),
	}
	w := list[StateRequesting]
	w.advertise(one, na(hour, address), pd(hour, delegated), wire.OptPreference(255))
	limited := c
	limited.MaxSolicits = 1
	w = newWorld(t, limited, nil)
	w.do(managed)
	w.pass(time.Minute)
	list[StateEnded] = w
	w = newWorld(t, testConfig(), nil)
	w.soon(otherOnly)
	list[StateInforming] = w
	w = newWorld(t, testConfig(), nil)
	w.soon(otherOnly)
	w.reply(one)
	list[StateInformed] = w
	for s, w := range list {
		if w.client.state != s {
			t.Fatalf("%v instead of %v", w.client.state, s)
		}
	}
	return list
}

// Any octets in each state: no panic, bounded state, and Next moves on. The
// transaction and the identifiers are put right so that the rest is reached.
func FuzzReceived(f *testing.F) {
	m := wire.Message{}
	for _, o := range []option{
		rapid(), na(hour, address), pd(hour, delegated), dns("2001:db8::53"), domains("example.org"), wire.OptPreference(255),
		uint32Option(wire.OptionSolMaxRT, 60), uint32Option(wire.OptionInformationRefreshTime, 900),
		status(iana.StatusNoBinding), naStatus(iana.StatusNotOnLink), pdStatus(iana.StatusNoBinding),
	} {
		m.AddOption(o)
		f.Add(byte(wire.MessageTypeReply), (&wire.Message{Options: wire.MessageOptions{Options: wire.Options{o}}}).ToBytes()[4:], true)
	}
	f.Add(byte(wire.MessageTypeAdvertise), m.ToBytes()[4:], true)
	f.Add(byte(wire.MessageTypeReply), m.ToBytes()[4:], true)
	f.Add(byte(wire.MessageTypeReconfigure), []byte{1, 2, 3}, false)
	f.Fuzz(func(t *testing.T, kind byte, options []byte, valid bool) {
		for s, w := range stateWorlds(t) {
			octets := append([]byte{kind, 0, 0, 0}, options...)
			if x := w.client.exchange; valid && x.active() {
				octets = answer(&wire.Message{TransactionID: x.xid, Options: wire.MessageOptions{Options: wire.Options{
					&wire.OptionGeneric{OptionCode: wire.OptionClientID, OptionData: w.config.DUID},
				}}}, wire.MessageType(kind), one)
				octets = append(octets, options...)
			}
			for range 3 {
				w.receive(octets)
				w.pass(time.Second)
			}
			before := len(w.sent)
			w.pass(time.Minute)
			if n := len(w.sent) - before; n > sendRate.Burst+61 {
				t.Errorf("%v: %d messages in a minute", s, n)
			}
			c := w.client
			if len(c.current.addresses.leases) > maxLeases || len(c.current.prefixes.leases) > maxLeases ||
				len(c.lost) > maxLeases || len(c.adverts) > maxAdverts || len(c.avoided) > maxAvoided ||
				len(c.remembered) > maxRemembered || len(c.current.dns) > maxServers || len(c.current.domains) > maxDomains {
				t.Errorf("%v: unbounded: %+v", s, c)
			}
			w.client.Snapshot(w.now)
		}
	})
}

// What is in the store may be anything, and so may be what a relay brings.
func FuzzParts(f *testing.F) {
	f.Add([]byte(`{"version":1,"duid":"006309090909","iaid":16909060,"links":[{"prefixes":[{"prefix":"::/0","valid":1}]}]}`))
	f.Add(append([]byte{13}, make([]byte, 40)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if inner, err := RelayedReply(data); err == nil && len(inner) == 0 {
			t.Error("neither message nor error")
		}
		w := newWorld(t, testConfig(), data)
		w.do(managed)
		w.pass(time.Minute)
	})
}
