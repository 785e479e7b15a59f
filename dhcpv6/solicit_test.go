package dhcpv6

import (
	"slices"
	"testing"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"roam6/internal/role"
)

// RFC 8415 §18.2.1, §21.2, §21.7, §21.9, §21.14: what a Solicit has, and that a
// client that moves sends it at once.
func TestSolicit(t *testing.T) {
	c := testConfig()
	c.Prefixes = true
	w := newWorld(t, c, nil)
	list := w.do(managed)
	w.expect(list, wire.MessageTypeSolicit)
	m := list[0].inner
	if id := m.GetOneOption(wire.OptionClientID); id == nil || !slices.Equal(m.Options.ClientID().ToBytes(), c.DUID) {
		t.Errorf("client identifier %v", id)
	}
	if m.GetOneOption(wire.OptionServerID) != nil {
		t.Error("a Solicit with a server identifier")
	}
	if e := m.GetOneOption(wire.OptionElapsedTime); e == nil || m.Options.ElapsedTime() != 0 {
		t.Errorf("elapsed time %v", e)
	}
	if m.GetOneOption(wire.OptionRapidCommit) == nil || m.GetOneOption(wire.OptionReconfAccept) != nil {
		t.Error("no Rapid Commit option, or a Reconfigure Accept")
	}
	want := wire.OptionCodes{wire.OptionDNSRecursiveNameServer, wire.OptionDomainSearchList, wire.OptionSolMaxRT, wire.OptionInfMaxRT}
	if got := m.Options.RequestedOptions(); !slices.Equal(got, want) {
		t.Errorf("requested options %v", got)
	}
	if na, pd := m.Options.IANA(), m.Options.IAPD(); len(na) != 1 || len(pd) != 1 || na[0].IaId != iaidBytes() || pd[0].IaId != iaidBytes() {
		t.Errorf("associations %v, %v: both belong into one exchange (§18.1)", na, pd)
	}

	c.NoRapidCommit = true
	w = newWorld(t, c, nil)
	if m := w.do(managed)[0].inner; m.GetOneOption(wire.OptionRapidCommit) != nil {
		t.Error("Rapid Commit although it is not wanted")
	}
	w.reply(one, rapid(), na(hour, address))
	if w.client.state != StateSoliciting || w.drops[role.DropUnexpected] != 1 {
		t.Errorf("state %v, drops %v", w.client.state, w.drops)
	}
}

// RFC 8415 §18.2.1: a delay only for those that want one.
func TestDelay(t *testing.T) {
	c := testConfig()
	c.Delay = true
	w := newWorld(t, c, nil)
	w.expect(w.do(managed))
	w.expect(w.pass(maxDelay), wire.MessageTypeSolicit)
	if e := w.last().inner.Options.ElapsedTime(); e != 0 {
		t.Errorf("elapsed time of the first message %v", e)
	}
}

// RFC 8415 §15, §18.2.1, §21.9: the times of retransmission of a Solicit, the same
// transaction, and the elapsed time.
func TestSolicitRetransmission(t *testing.T) {
	for seed := range 20 {
		w := newWorld(t, testConfig(), nil)
		w.client.config.Random(make([]byte, seed))
		w.do(managed)
		w.pass(30000 * time.Second)
		if len(w.sent) < 15 {
			t.Fatalf("only %d messages", len(w.sent))
		}
		var previous time.Duration
		for i, s := range w.sent[1:] {
			rt := s.at.Sub(w.sent[i].at)
			low, high := 2*previous-previous/10, 2*previous+previous/10
			switch {
			case i == 0:
				low, high = solicitTimeout+1, solicitTimeout*11/10 // RAND > 0
			case high > solicitMaxRT:
				low, high = min(low, solicitMaxRT*9/10), solicitMaxRT*11/10
			}
			if rt < low-time.Microsecond || rt > high+time.Microsecond {
				t.Fatalf("retransmission %d after %v, want %v to %v", i, rt, low, high)
			}
			previous = rt
			if s.inner.TransactionID != w.sent[0].inner.TransactionID {
				t.Fatal("another transaction")
			}
			elapsed := min(s.at.Sub(w.sent[0].at), maxElapsedTime)
			if got := s.inner.Options.ElapsedTime(); got < elapsed-10*time.Millisecond || got > elapsed+10*time.Millisecond {
				t.Fatalf("elapsed time %v, want %v", got, elapsed)
			}
		}
	}
}

// RFC 8415 §18.2.1: a Reply with Rapid Commit at once, and only with it.
func TestRapidCommit(t *testing.T) {
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	w.reply(two, na(hour, address2))
	if w.client.state != StateSoliciting || w.drops[role.DropUnexpected] != 1 {
		t.Fatalf("state %v, drops %v", w.client.state, w.drops)
	}
	w.reply(one, rapid(), na(hour, address), dns("2001:db8::53", "ff02::fb", "::"), domains("example.org", "bad name\n", "corp"))
	w.state(StateBound)
	w.holds(address)
	if l := w.lease.Addresses[0]; l.Valid != hour.valid || l.Preferred != hour.preferred {
		t.Errorf("lease %+v", l)
	}
	if len(w.lease.DNS) != 1 || w.lease.DNS[0].String() != "2001:db8::53" || !slices.Equal(w.lease.Domains, []string{"example.org", "corp"}) {
		t.Errorf("information %v %v", w.lease.DNS, w.lease.Domains)
	}
	// A second server's lease is not taken.
	w.reply(two, rapid(), na(hour, address2))
	w.holds(address)
}

// RFC 8415 §18.2.1, §18.2.9: preference 255 at once, otherwise the best after the
// first retransmission time; the Request names what was advertised.
func TestAdvertise(t *testing.T) {
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	w.expect(w.advertise(one, na(hour, address)))
	w.expect(w.advertise(two, na(hour, address2), wire.OptPreference(255)), wire.MessageTypeRequest)
	request := w.last().inner
	if got, _ := named(request); !slices.Equal(got, []prefix{address2}) {
		t.Errorf("requests %v", got)
	}
	if request.GetOneOption(wire.OptionServerID) == nil || request.GetOneOption(wire.OptionRapidCommit) != nil ||
		request.TransactionID == w.sent[0].inner.TransactionID || !request.IsOptionRequested(wire.OptionSolMaxRT) {
		t.Errorf("request %v", request.Summary())
	}
	w.reply(one, na(hour, address))
	w.state(StateRequesting) // not the server that was asked
	w.reply(two, na(hour, address2))
	w.state(StateBound)
	w.holds(address2)

	// The highest preference wins, then who has more, then who was first.
	c := testConfig()
	c.Prefixes = true
	w = newWorld(t, c, nil)
	w.do(managed)
	w.advertise([]byte{0, 99, 3}, na(hour, address), wire.OptPreference(200))
	w.advertise(one, na(hour, address), pd(hour, delegated), wire.OptPreference(1))
	w.advertise(two, na(hour, address2), pd(hour, delegated), wire.OptPreference(7))
	w.advertise([]byte{0, 99, 5}, na(hour, address), pd(hour, delegated), wire.OptPreference(7))
	w.expect(w.pass(solicitTimeout))
	w.expect(w.pass(solicitTimeout/10), wire.MessageTypeRequest)
	if id := w.last().inner.GetOneOption(wire.OptionServerID).ToBytes(); !slices.Equal(id, two) {
		t.Errorf("server %x", id)
	}

	// After the first retransmission time the first Advertise is taken at once.
	w = newWorld(t, testConfig(), nil)
	w.do(managed)
	w.pass(2 * time.Second)
	w.expect(w.advertise(one, na(hour, address)), wire.MessageTypeRequest)
}

// RFC 8415 §18.2.9: an Advertise without leases is ignored, apart from SOL_MAX_RT,
// and does not restart the retransmission timer.
func TestAdvertiseNothing(t *testing.T) {
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	due := w.client.exchange.due
	w.expect(w.advertise(one, naStatus(iana.StatusNoAddrsAvail), wire.OptPreference(255), uint32Option(wire.OptionSolMaxRT, 90)))
	w.expect(w.advertise(two, status(iana.StatusNoAddrsAvail), wire.OptPreference(255)))
	if w.client.exchange.due != due || len(w.client.adverts) != 0 {
		t.Error("not ignored")
	}
	if w.client.solMaxRT != 90*time.Second {
		t.Errorf("SOL_MAX_RT %v", w.client.solMaxRT)
	}
	w.pass(10 * time.Hour)
	n := len(w.sent)
	if gap := w.sent[n-1].at.Sub(w.sent[n-2].at); gap > 99*time.Second || gap < 81*time.Second {
		t.Errorf("retransmission after %v", gap)
	}
}

// RFC 8415 §21.24, §21.25, §18.2.9: values out of range are ignored, and servers
// that contradict each other leave the default.
func TestMaxRT(t *testing.T) {
	for _, c := range []struct {
		value uint32
		want  time.Duration
	}{{0, solicitMaxRT}, {59, solicitMaxRT}, {60, time.Minute}, {86400, 24 * time.Hour}, {86401, solicitMaxRT}, {1<<32 - 1, solicitMaxRT}} {
		w := newWorld(t, testConfig(), nil)
		w.do(managed)
		w.reply(one, rapid(), status(iana.StatusUnspecFail), uint32Option(wire.OptionSolMaxRT, c.value), uint32Option(wire.OptionInfMaxRT, c.value))
		if w.client.solMaxRT != c.want || w.client.infMaxRT != c.want {
			t.Errorf("%d: %v, %v", c.value, w.client.solMaxRT, w.client.infMaxRT)
		}
	}
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	w.advertise(one, na(hour, address), uint32Option(wire.OptionSolMaxRT, 90))
	w.advertise(two, na(hour, address), uint32Option(wire.OptionSolMaxRT, 120))
	if w.client.solMaxRT != solicitMaxRT {
		t.Errorf("SOL_MAX_RT %v of servers that differ", w.client.solMaxRT)
	}
}

// RFC 8415 §18.2.2, §15: a Request is sent REQ_MAX_RC times; then the discovery
// begins anew, with another transaction. With another server in hand that one is
// asked earlier.
func TestRequestUnanswered(t *testing.T) {
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	w.advertise(one, na(hour, address), wire.OptPreference(255))
	first := w.last()
	w.pass(10 * time.Minute)
	var requests []sent
	for _, s := range w.sent {
		if s.inner.TransactionID == first.inner.TransactionID {
			requests = append(requests, s)
		}
	}
	if len(requests) != requestMaxRC {
		t.Fatalf("%d requests", len(requests))
	}
	if gap := requests[9].at.Sub(requests[8].at); gap < requestMaxRT*9/10 || gap > requestMaxRT*11/10 {
		t.Errorf("last retransmission after %v", gap)
	}
	w.state(StateSoliciting)

	w = newWorld(t, testConfig(), nil)
	w.do(managed)
	w.advertise(one, na(hour, address))
	w.advertise(two, na(hour, address2))
	w.pass(30 * time.Second)
	if id := w.last().inner.GetOneOption(wire.OptionServerID); id == nil || !slices.Equal(id.ToBytes(), two) {
		t.Fatalf("state %v, server %v", w.client.state, id)
	}
	w.reply(two, na(hour, address2))
	w.holds(address2)
}

// RFC 6276 §3.3: a mobile router stops after six solicitations, or when it hears
// that there is nothing, and begins again when it is told to.
//
// Covers: D1.
func TestMaxSolicits(t *testing.T) {
	c := prefixConfig()
	c.MaxSolicits = 6
	begin := role.ConfigureLink{}
	w := newWorld(t, c, nil)
	w.do(begin)
	w.pass(10 * time.Minute)
	if len(w.sent) != 6 || w.ended != 1 {
		t.Fatalf("%d solicits, ended %d times", len(w.sent), w.ended)
	}
	w.state(StateEnded)
	w.expect(w.pass(24 * time.Hour))
	w.take(w.client.Reconfigure(w.now, c))
	w.state(StateSoliciting)

	w = newWorld(t, c, nil)
	w.do(begin)
	w.advertise(one, pdStatus(iana.StatusNoPrefixAvail))
	if w.ended != 0 {
		t.Error("ended before others had time to answer")
	}
	w.expect(w.pass(2 * time.Second))
	if w.ended != 1 {
		t.Errorf("ended %d times", w.ended)
	}
}

// RFC 8415 §18.2.10.1: a server whose lease makes no sense does not keep the client
// from another one.
func TestNonsenseServer(t *testing.T) {
	nonsense := na(hour, parsed("ff02::1/128"), parsed("fe80::1/128"), parsed("::1/128"), parsed("::/128"), parsed("::ffff:1.2.3.4/128"))
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	w.expect(w.reply(one, rapid(), nonsense))
	w.state(StateSoliciting)
	w.holds()
	if w.drops[role.DropUnroutable] != 1 {
		t.Errorf("drops %v", w.drops)
	}
	// It advertises sense, and replies nonsense again: the other server is asked.
	w.advertise(one, na(hour, address), wire.OptPreference(255))
	w.advertise(two, na(hour, address2))
	w.expect(w.pass(1200*time.Millisecond), wire.MessageTypeRequest)
	if id := w.last().inner.GetOneOption(wire.OptionServerID).ToBytes(); !slices.Equal(id, two) {
		t.Fatalf("server %x", id)
	}
	w.reply(two, na(hour, address2))
	w.holds(address2)
}

// RFC 8415 §14.1: a server that advertises and then refuses, for ever.
func TestRefusalLoop(t *testing.T) {
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	end := epoch.Add(time.Hour)
	for w.now.Before(end) {
		switch w.last().inner.MessageType {
		case wire.MessageTypeSolicit:
			w.advertise(one, na(hour, address), wire.OptPreference(255))
		case wire.MessageTypeRequest:
			w.reply(one, naStatus(iana.StatusNoAddrsAvail))
		}
		w.pass(time.Second)
	}
	if n := len(w.sent); n > 100 {
		t.Errorf("%d messages in an hour", n)
	}
}
