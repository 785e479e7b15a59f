package delegating

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	codec "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/dhcpv6"
	"roam6/internal/role"
	"roam6/mip6"
)

func relayConfig() Config {
	c := testConfig()
	c.Pools, c.DUID, c.Server = nil, nil, serverAddr
	return c
}

var outside = netip.MustParsePrefix("2001:db8:aa00::/56") // what the external server gives

// up lets a mobile that is away send a message, and returns what the server gets.
func (w *world) up(home netip.Addr, m *codec.Message) (envelope, bool) {
	w.t.Helper()
	w.handle(received(home, forward(home, m)))
	return w.atServer()
}

// upHome is up of a client on the home link.
func (w *world) upHome(from netip.Addr, m *codec.Message) (envelope, bool) {
	w.t.Helper()
	w.handle(onLink(from, m))
	return w.atServer()
}

func (w *world) atServer() (envelope, bool) {
	w.t.Helper()
	if len(w.sent) == 0 {
		return envelope{}, false
	}
	a := w.sent[0]
	e, err := readEnvelope(a.Message)
	if err != nil || len(w.sent) > 1 || a.Link != 0 || a.From != port547(agentAddr) || a.To != port547(serverAddr) ||
		e.kind != codec.MessageTypeRelayForward {
		w.t.Fatalf("sent %+v: %+v, %v", w.sent, e, err)
	}
	return e, true
}

// back is the server's Relay-reply (RFC 8415 §19.3) with a message in it.
func back(e envelope, m []byte) envelope {
	if e.encapsulating {
		inner, err := readEnvelope(e.message)
		if err != nil {
			panic(err)
		}
		m = back(inner, m).encode()
	}
	e.kind, e.message = codec.MessageTypeRelayReply, m
	return e
}

func fromServer(e envelope) role.DHCPReceived {
	return role.DHCPReceived{From: port547(serverAddr), To: port547(agentAddr), Message: e.encode()}
}

// given is an IA_PD as a server sends it.
func given(iaid uint32, preferred, valid time.Duration, list ...netip.Prefix) *codec.OptIAPD {
	ia := pd(iaid).(*codec.OptIAPD)
	for _, p := range list {
		ia.Options.Add(&codec.OptIAPrefix{PreferredLifetime: preferred, ValidLifetime: valid, Prefix: netOf(p)})
	}
	return ia
}

// says is an answer of the external server.
func says(kind codec.MessageType, to *codec.Message, options ...codec.Option) *codec.Message {
	m := &codec.Message{MessageType: kind, TransactionID: to.TransactionID}
	m.AddOption(serverID(serverDUID))
	if id := to.GetOneOption(codec.OptionClientID); id != nil {
		m.AddOption(id)
	}
	m.Options.Options = append(m.Options.Options, options...)
	return m
}

// delegate is a whole exchange of a mobile that is away.
func (w *world) delegate(home netip.Addr, duid []byte, kind codec.MessageType, ia ...codec.Option) {
	w.t.Helper()
	q := w.client(kind, duid, pd(1))
	e, ok := w.up(home, q)
	if !ok {
		w.t.Fatalf("nothing is relayed: dropped for %v", w.drops)
	}
	if kind == codec.MessageTypeSolicit {
		ia = append(ia, rapid())
	}
	a := says(codec.MessageTypeReply, q, ia...)
	w.handle(fromServer(back(e, a.ToBytes())))
	if w.reason() != 0 || len(w.sent) != 1 || w.sent[0].To != port547(home) || w.sent[0].From != port547(agentAddr) || w.sent[0].Link != 0 {
		w.t.Fatalf("sent %+v, dropped for %v", w.sent, w.drops)
	}
	got, err := readEnvelope(w.sent[0].Message)
	if err != nil || got.kind != codec.MessageTypeRelayReply || got.link != home || got.peer != home || !slices.Equal(got.message, a.ToBytes()) {
		w.t.Fatalf("returned %+v, %v", got, err)
	}
}

// A message from a mobile that is away is relayed again, and one from the home
// link for the first time (RFC 8415 §19.1.1, §19.1.2); what comes back is unwrapped
// and not changed (§19.2).
func TestRelay(t *testing.T) {
	w := newWorld(t, relayConfig())
	q := w.client(codec.MessageTypeSolicit, duidA, pd(1))
	e, ok := w.up(homeA, q)
	if !ok || e.hops != 2 || !e.link.IsUnspecified() || e.peer != homeA || !slices.Equal(e.message, forward(homeA, q).encode()) {
		t.Fatalf("relayed %+v, dropped for %v", e, w.drops)
	}
	w.handle(fromServer(back(e, says(codec.MessageTypeAdvertise, q, given(1, preferred, valid, outside)).ToBytes())))
	if len(w.sent) != 1 || w.sent[0].To != port547(homeA) || w.sent[0].From != port547(agentAddr) || len(w.told) != 0 {
		t.Fatalf("sent %+v, told %v", w.sent, w.told)
	}
	q = w.client(codec.MessageTypeRequest, duidA, pd(1))
	e, ok = w.upHome(localA, q)
	if !ok || e.hops != 0 || e.link != agentAddr || e.peer != localA || !slices.Equal(e.message, q.ToBytes()) || e.interfaceID == nil {
		t.Fatalf("relayed %+v, dropped for %v", e, w.drops)
	}
	a := says(codec.MessageTypeReply, q, given(1, preferred, valid, outside))
	w.handle(fromServer(back(e, a.ToBytes())))
	if len(w.sent) != 1 || w.sent[0].To != netip.AddrPortFrom(localA, dhcpv6.ClientPort) || w.sent[0].From.Addr().IsValid() ||
		w.sent[0].Link != homeLink || !slices.Equal(w.sent[0].Message, a.ToBytes()) {
		t.Errorf("sent %+v", w.sent)
	}
	if got := w.told[homeA]; !slices.Equal(got, []netip.Prefix{outside}) || w.until[homeA] != w.now.Add(valid) {
		t.Errorf("told %v", w.told)
	}
	if c := w.s.Counters(); c.Relayed != 2 || c.Returned != 2 || c.Bound != 1 || c.Delegations != 1 {
		t.Errorf("counters %+v", c)
	}
	if l := w.s.Leases(w.now.Add(time.Minute)); len(l) != 1 || l[0].State != Relayed || l[0].Valid != valid-time.Minute || l[0].Preferred != preferred-time.Minute || l[0].IAID != 1 {
		t.Errorf("leases %+v", l)
	}

	far := forward(homeA, q)
	far.hops = hopCountLimit - 1
	if w.handle(received(homeA, far)); len(w.sent) != 1 {
		t.Error("the last hop is not relayed")
	}
	far.hops = hopCountLimit
	if w.handle(received(homeA, far)); len(w.sent) != 0 || w.reason() != role.DropProhibited {
		t.Errorf("RFC 8415 §19.1.2: HOP_COUNT_LIMIT: sent %v, dropped for %v", w.sent, w.drops)
	}
	for _, kind := range []codec.MessageType{codec.MessageTypeAdvertise, codec.MessageTypeReply, codec.MessageTypeReconfigure} {
		if _, ok := w.up(homeA, w.client(kind, duidA, pd(1))); ok || w.reason() != role.DropUnexpected {
			t.Errorf("%v of a client is relayed", kind)
		}
	}
	// RFC 8415 §19: what is not known is relayed, too.
	if _, ok := w.up(homeA, w.client(99, duidA)); !ok {
		t.Error("an unknown message is not relayed")
	}
}

// What an external server has delegated is told, renewed, taken back, released and
// forgotten when it ends (RFC 8415 §18.2.10.1 as the client does it).
//
// Covers: D2.
func TestRelayedLife(t *testing.T) {
	w := newWorld(t, relayConfig())
	second := netip.MustParsePrefix("2001:db8:aa01::/60")
	holds := func(what string, want ...netip.Prefix) {
		t.Helper()
		if got := w.told[homeA]; !slices.Equal(got, want) {
			t.Errorf("%s: told %v, want %v", what, got, want)
		}
	}
	w.delegate(homeA, duidA, codec.MessageTypeSolicit, given(1, preferred, valid, outside))
	holds("Rapid Commit", outside)
	w.sleep(valid / 2)
	w.delegate(homeA, duidA, codec.MessageTypeRenew, given(1, preferred, valid, outside), given(2, 0, 2*valid, second))
	holds("Renew", outside, second)
	if w.until[homeA] != w.now.Add(2*valid) {
		t.Errorf("until %v", w.until[homeA])
	}
	w.sleep(valid)
	holds("one has ended", second)
	w.delegate(homeA, duidA, codec.MessageTypeRebind, given(1, preferred, valid, outside), given(2, 0, 0, second))
	holds("one is taken back", outside)
	w.delegate(homeA, duidA, codec.MessageTypeRenew, given(9, 0, 0, outside))
	holds("another IA does not have it", outside)
	if saves := w.saves; true {
		w.delegate(homeA, duidA, codec.MessageTypeRenew, given(1, preferred, valid, outside))
		if w.saves != saves {
			t.Error("a renewal is saved")
		}
	}
	w.restart(relayConfig())
	holds("restart", outside)
	w.up(homeA, w.client(codec.MessageTypeRelease, duidA, pd(1, outside.String())))
	holds("Release")
	w.delegate(homeA, duidA, codec.MessageTypeRequest, given(1, preferred, valid, outside))
	holds("Request", outside)
	w.sleep(valid)
	holds("the end")
	if len(w.s.Leases(w.now)) != 0 || !w.s.Next().IsZero() {
		t.Errorf("leases %+v, next %v", w.s.Leases(w.now), w.s.Next())
	}
}

// Replies that tell of nothing: those to other messages, and what a client would
// not take (RFC 8415 §18.2.10, §21.21, §21.22).
func TestNotRead(t *testing.T) {
	refused := given(1, preferred, valid, outside)
	refused.Options.Add(status(noPrefixAvail, ""))
	times := given(1, preferred, valid, outside)
	times.T1, times.T2 = time.Hour, time.Minute
	for _, c := range []struct {
		name string
		kind codec.MessageType
		ia   codec.Option
	}{
		{"to Information-request", codec.MessageTypeInformationRequest, given(1, preferred, valid, outside)},
		{"to Release", codec.MessageTypeRelease, given(1, preferred, valid, outside)},
		{"status", codec.MessageTypeRequest, refused},
		{"T1 > T2", codec.MessageTypeRequest, times},
		{"preferred > valid", codec.MessageTypeRequest, given(1, valid, preferred, outside)},
		{"valid 0", codec.MessageTypeRequest, given(1, 0, 0, outside)},
		{"no prefix", codec.MessageTypeRequest, given(1, preferred, valid)},
	} {
		w := newWorld(t, relayConfig())
		w.delegate(homeA, duidA, c.kind, c.ia)
		if len(w.told) != 0 || w.s.Counters().Bound != 0 {
			t.Errorf("%s: told %v", c.name, w.told)
		}
	}
	w := newWorld(t, relayConfig())
	q := w.client(codec.MessageTypeRequest, duidA, pd(1))
	e, _ := w.up(homeA, q)
	for name, a := range map[string]*codec.Message{
		"another client": says(codec.MessageTypeReply, w.client(0, duidB), given(1, preferred, valid, outside)),
		"no server":      {MessageType: codec.MessageTypeReply, Options: codec.MessageOptions{Options: codec.Options{clientID(duidA), given(1, preferred, valid, outside)}}},
	} {
		a.TransactionID = q.TransactionID
		if w.handle(fromServer(back(e, a.ToBytes()))); len(w.sent) != 1 || len(w.told) != 0 {
			t.Errorf("%s: sent %v, told %v", name, w.sent, w.told)
		}
	}
	// Without Rapid Commit a Reply to a Solicit is none (§18.2.10).
	q = w.client(codec.MessageTypeSolicit, duidA, rapid(), pd(1))
	e, _ = w.up(homeA, q)
	w.handle(fromServer(back(e, says(codec.MessageTypeReply, q, given(1, preferred, valid, outside)).ToBytes())))
	if len(w.told) != 0 {
		t.Errorf("told %v", w.told)
	}
}

// Only the server's own answers to what is under way are taken.
//
// Covers: Attack: forged answers.
func TestForgedReplies(t *testing.T) {
	w := newWorld(t, relayConfig())
	q := w.client(codec.MessageTypeRequest, duidA, pd(1))
	e, _ := w.up(homeA, q)
	good := fromServer(back(e, says(codec.MessageTypeReply, q, given(1, preferred, valid, outside)).ToBytes()))
	with := func(f func(*role.DHCPReceived)) role.DHCPReceived {
		r := good
		f(&r)
		return r
	}
	unknown := says(codec.MessageTypeReply, w.client(codec.MessageTypeRequest, duidA), given(1, preferred, valid, outside))
	other := back(e, says(codec.MessageTypeReply, q, given(1, preferred, valid, outside)).ToBytes())
	other.peer = homeB
	naked := e
	naked.kind, naked.message, naked.encapsulating = codec.MessageTypeRelayReply, says(codec.MessageTypeReply, q, given(1, preferred, valid, outside)).ToBytes(), false
	nested := back(e, forward(homeA, q).encode())
	for _, c := range []struct {
		name string
		e    role.DHCPReceived
		want role.DropReason
	}{
		{"another source", with(func(r *role.DHCPReceived) { r.From = port547(homeA) }), role.DropNotForUs},
		{"another source port", with(func(r *role.DHCPReceived) { r.From = netip.AddrPortFrom(serverAddr, 546) }), role.DropNotForUs},
		{"another destination", with(func(r *role.DHCPReceived) { r.To = port547(homeB) }), role.DropNotForUs},
		{"no such transaction", fromServer(back(e, unknown.ToBytes())), role.DropUnsolicited},
		{"another mobile", fromServer(other), role.DropUnsolicited},
		{"not for a relay agent", fromServer(naked), role.DropUnsolicited},
		{"another relay in between", fromServer(nested), role.DropMalformed},
		{"Request", fromServer(back(e, q.ToBytes())), role.DropUnexpected},
		{"torn", with(func(r *role.DHCPReceived) { r.Message = r.Message[:len(r.Message)-1] }), role.DropMalformed},
	} {
		w.handle(c.e)
		if w.reason() != c.want || len(w.sent) != 0 || len(w.told) != 0 {
			t.Errorf("%s: sent %v, told %v, dropped for %v; want %v", c.name, w.sent, w.told, w.drops, c.want)
		}
	}
	w.sleep(exchangeTime + time.Second)
	if w.handle(good); w.reason() != role.DropUnsolicited {
		t.Errorf("too late: dropped for %v", w.drops)
	}
	// A late Reply brings back nothing that was released.
	q = w.client(codec.MessageTypeRequest, duidA, pd(1))
	e, _ = w.up(homeA, q)
	good = fromServer(back(e, says(codec.MessageTypeReply, q, given(1, preferred, valid, outside)).ToBytes()))
	w.handle(good)
	w.up(homeA, w.client(codec.MessageTypeRelease, duidA, pd(1, outside.String())))
	if w.handle(good); w.reason() != role.DropUnsolicited || len(w.told[homeA]) != 0 {
		t.Errorf("dropped for %v, told %v", w.drops, w.told)
	}
	// Nor to a mobile that is none any more.
	q = w.client(codec.MessageTypeRequest, duidA, pd(1))
	e, _ = w.up(homeA, q)
	config := relayConfig()
	config.Mobiles = config.Mobiles[1:]
	w.reconfigure(config)
	w.handle(fromServer(back(e, says(codec.MessageTypeReply, q, given(1, preferred, valid, outside)).ToBytes())))
	if w.reason() != role.DropUnsolicited || len(w.sent) != 0 || w.s.Counters().Bound != 0 {
		t.Errorf("dropped for %v, counters %+v", w.drops, w.s.Counters())
	}
	w.reconfigure(relayConfig())
	// As many exchanges as there may be, and no more.
	for range 100 {
		w.sleep(time.Second)
		w.up(homeA, w.client(codec.MessageTypeRequest, duidA, pd(1)))
	}
	if len(w.s.exchanges) != maxExchanges || len(w.s.mobiles[homeA].exchanges) != maxExchanges {
		t.Errorf("%d exchanges under way", len(w.s.exchanges))
	}
}

// A Reconfigure comes without a question (RFC 8415 §18.3.11, §19.2).
func TestReconfigureMessage(t *testing.T) {
	w := newWorld(t, relayConfig())
	q := w.client(codec.MessageTypeRequest, duidA, pd(1))
	away, _ := w.up(homeA, q)
	home, _ := w.upHome(localA, q)
	m := says(codec.MessageTypeReconfigure, q).ToBytes()
	if w.handle(fromServer(back(away, m))); len(w.sent) != 1 || w.sent[0].To != port547(homeA) {
		t.Errorf("sent %+v, dropped for %v", w.sent, w.drops)
	}
	if w.handle(fromServer(back(home, m))); len(w.sent) != 1 || w.sent[0].To.Addr() != localA || w.sent[0].Link != homeLink {
		t.Errorf("sent %+v, dropped for %v", w.sent, w.drops)
	}
	away.peer, home.interfaceID = localX, nil
	for _, e := range []envelope{away, home} {
		if w.handle(fromServer(back(e, m))); len(w.sent) != 0 || w.reason() != role.DropUnknownMobile {
			t.Errorf("sent %+v, dropped for %v", w.sent, w.drops)
		}
	}
}

// A prefix that would draw the home agent's own packets, or another mobile's, into
// a tunnel is not told; the log says so, and the Reply goes on.
//
// Covers: Attack: prefix hijack.
func TestUnacceptable(t *testing.T) {
	w := newWorld(t, relayConfig())
	w.delegate(homeB, duidB, codec.MessageTypeRequest, given(1, preferred, valid, outside))
	for i, p := range prefixes("2001:db8:1::/126", "2001:db8:1::/56", "2001:db8::/32", "2001:db8:1::a/128", "2001:db8:2::/64", "fe80::/64", "ff00::/8", "f000::/4",
		"2001:db8:aa00::/56", "2001:db8:aa00::/48", "2001:db8:aa00:80::/57") {
		w.delegate(homeA, duidA, codec.MessageTypeRequest, given(1, preferred, valid, p.Masked()))
		if len(w.told[homeA]) != 0 || w.s.Counters().Refusals != uint64(i+1) {
			t.Errorf("%v is told: %v", p, w.told)
		}
		if !strings.Contains(w.logs[len(w.logs)-1].Message, "not forwarded") {
			t.Errorf("%v: log %v", p, w.logs[len(w.logs)-1])
		}
		w.sleep(time.Minute)
		w.delegate(homeB, duidB, codec.MessageTypeRenew, given(1, preferred, mip6.InfiniteLifetime, outside))
	}
	if got := w.told[homeB]; !slices.Equal(got, []netip.Prefix{outside}) || !w.until[homeB].IsZero() {
		t.Errorf("told %v until %v", got, w.until[homeB])
	}
	// Own prefixes do not overlap either, nor are there ever too many.
	var many []netip.Prefix
	for i := range 2 * maxRelayedLeases {
		b := netip.MustParseAddr("2001:db8:bb00::").As16()
		b[5] = byte(i)
		many = append(many, netip.PrefixFrom(netip.AddrFrom16(b), 48))
	}
	w.delegate(homeA, duidA, codec.MessageTypeRequest, given(1, preferred, valid, many...), given(2, preferred, valid, netip.MustParsePrefix("2001:db8:bb00::/56")))
	if !slices.Equal(w.told[homeA], many[:maxRelayedLeases]) {
		t.Errorf("told %v", w.told[homeA])
	}
}
