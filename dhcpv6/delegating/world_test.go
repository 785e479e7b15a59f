package delegating

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	codec "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"roam6/dhcpv6"
	"roam6/internal/role"
)

var (
	agentAddr  = netip.MustParseAddr("2001:db8:1::1")
	homeA      = netip.MustParseAddr("2001:db8:1::a")
	homeB      = netip.MustParseAddr("2001:db8:1::b")
	homeC      = netip.MustParseAddr("2001:db8:1::c")
	pool       = netip.MustParsePrefix("2001:db8:100::/40")
	serverAddr = netip.MustParseAddr("2001:db8:2::547")
	localA     = netip.MustParseAddr("fe80::a") // with the interface identifier of homeA
	localX     = netip.MustParseAddr("fe80::1234")

	serverDUID = []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1}
	duidA      = []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 0xa}
	duidB      = []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 0xb}
	duidX      = []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 0xff}
)

const (
	preferred = 30 * time.Minute
	valid     = time.Hour
	homeLink  = 3
)

func testConfig() Config {
	return Config{
		Name: "home", Address: agentAddr, DUID: serverDUID,
		Pools: []netip.Prefix{pool}, Length: 56, Preferred: preferred, Valid: valid,
		Mobiles: []Mobile{{Name: "a", HomeAddress: homeA}, {Name: "b", HomeAddress: homeB}, {Name: "c", HomeAddress: homeC}},
	}
}

// world is a server and what it has caused outside.
type world struct {
	t   testing.TB
	s   *Server
	now time.Time

	told    map[netip.Addr][]netip.Prefix
	until   map[netip.Addr]time.Time
	saved   []byte
	saves   int
	sent    []role.SendDHCP // by the last event
	drops   []role.DropReason
	logs    []role.Log
	counter uint32 // transaction IDs
}

func newWorld(t testing.TB, c Config) *world {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, s: New(c, nil), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.forget()
	w.handle(role.Timeout{})
	return w
}

func (w *world) forget() {
	w.told, w.until = map[netip.Addr][]netip.Prefix{}, map[netip.Addr]time.Time{}
}

// restart begins a new life with what was saved, at a time that has nothing to do
// with the old one.
func (w *world) restart(c Config) {
	w.t.Helper()
	if err := c.Validate(); err != nil {
		w.t.Fatal(err)
	}
	w.s, w.now = New(c, w.saved), time.Date(1970, 1, 1, 0, 0, 5, 0, time.UTC)
	w.forget()
	w.handle(role.Timeout{})
}

func (w *world) handle(e role.Event) { w.t.Helper(); w.apply(w.s.Handle(w.now, e)) }

func (w *world) reconfigure(c Config) {
	w.t.Helper()
	if err := c.Validate(); err != nil {
		w.t.Fatal(err)
	}
	w.apply(w.s.Reconfigure(w.now, c))
}

// sleep lets time pass and delivers every timeout.
func (w *world) sleep(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for next := w.s.Next(); !next.IsZero() && !next.After(end); next = w.s.Next() {
		if next.After(w.now) {
			w.now = next
		}
		before := w.now
		w.handle(role.Timeout{})
		if next := w.s.Next(); !next.IsZero() && !next.After(before) {
			w.t.Fatal("a timeout that is due again at once")
		}
	}
	w.now = end
}

// apply notes the actions and fails the test when they cannot be.
func (w *world) apply(actions []role.Action) {
	w.t.Helper()
	w.sent, w.drops = nil, nil
	for _, action := range actions {
		switch action := action.(type) {
		case role.SendDHCP:
			w.sent = append(w.sent, action)
			// A relay agent passes on what it does not understand.
			if _, err := codec.FromBytes(action.Message); err != nil && !w.s.config.relays() {
				w.t.Errorf("the codec cannot read what was sent: %v", err)
			}
		case role.PrefixesDelegated:
			if len(w.sent) > 0 {
				w.t.Error("the home agent is told after the client")
			}
			w.told[action.Home], w.until[action.Home] = action.Prefixes, action.Until
			w.checkTold(action)
		case role.Save:
			if len(w.sent) > 0 {
				w.t.Error("saved after the client has its answer")
			}
			if action.Name != "delegating-home" {
				w.t.Errorf("saved as %q", action.Name)
			}
			w.saved = action.Data
			w.saves++
		case role.Log:
			w.logs = append(w.logs, action)
		case role.Dropped:
			w.drops = append(w.drops, action.Reason)
		default:
			w.t.Errorf("unexpected action %T", action)
		}
	}
}

func (w *world) checkTold(a role.PrefixesDelegated) {
	w.t.Helper()
	if len(a.Prefixes) > 0 && !a.Until.IsZero() && !a.Until.After(w.now) {
		w.t.Errorf("%v is told of until %v, which is past", a.Prefixes, a.Until)
	}
	for i, p := range a.Prefixes {
		if p != p.Masked() || p.Contains(agentAddr) {
			w.t.Errorf("%v is told", p)
		}
		for home, others := range w.told {
			for j, q := range others {
				if p.Overlaps(q) && (home != a.Home || i != j) {
					w.t.Errorf("%v of %v overlaps %v of %v", p, a.Home, q, home)
				}
			}
		}
	}
}

// reason is why the last event was dropped, or zero.
func (w *world) reason() role.DropReason {
	w.t.Helper()
	if len(w.drops) > 1 {
		w.t.Errorf("dropped for %v", w.drops)
	}
	if len(w.drops) == 0 {
		return 0
	}
	return w.drops[0]
}

// pd is an IA_PD; a hint without an address is a length.
func pd(iaid uint32, hints ...string) codec.Option {
	ia := &codec.OptIAPD{IaId: [4]byte(binary.BigEndian.AppendUint32(nil, iaid))}
	for _, h := range hints {
		ia.Options.Add(&codec.OptIAPrefix{Prefix: netOf(netip.MustParsePrefix(h))})
	}
	return ia
}

func na(iaid uint32) codec.Option {
	return &codec.OptIANA{IaId: [4]byte(binary.BigEndian.AppendUint32(nil, iaid))}
}

func rapid() codec.Option { return &codec.OptionGeneric{OptionCode: codec.OptionRapidCommit} }

// client makes a client's message.
func (w *world) client(kind codec.MessageType, duid []byte, options ...codec.Option) *codec.Message {
	w.counter++
	m := &codec.Message{MessageType: kind, TransactionID: codec.TransactionID(binary.BigEndian.AppendUint32(nil, w.counter)[1:])}
	if duid != nil {
		m.AddOption(clientID(duid))
	}
	switch kind {
	case codec.MessageTypeRequest, codec.MessageTypeRenew, codec.MessageTypeRelease, codec.MessageTypeDecline:
		if !slices.ContainsFunc(options, func(o codec.Option) bool { return o.Code() == codec.OptionServerID }) {
			m.AddOption(serverID(serverDUID))
		}
	default:
	}
	m.Options.Options = append(m.Options.Options, options...)
	return m
}

func forward(home netip.Addr, m *codec.Message) envelope {
	return envelope{kind: codec.MessageTypeRelayForward, hops: 1, link: home, peer: home, message: m.ToBytes()}
}

func port547(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, dhcpv6.ServerPort) }

func received(home netip.Addr, e envelope) role.DHCPReceived {
	return role.DHCPReceived{From: port547(home), To: port547(agentAddr), Message: e.encode()}
}

// away sends a message as a mobile router that is away, and returns the answer to
// it, nil if there is none.
func (w *world) away(home netip.Addr, m *codec.Message) *codec.Message {
	w.t.Helper()
	w.handle(received(home, forward(home, m)))
	if len(w.sent) == 0 {
		return nil
	}
	a := w.sent[0]
	if len(w.sent) > 1 || a.Link != 0 || a.From != port547(agentAddr) || a.To != port547(home) {
		w.t.Fatalf("sent %+v", w.sent)
	}
	e, err := readEnvelope(a.Message)
	if err != nil || e.kind != codec.MessageTypeRelayReply || e.hops != 1 || e.link != home || e.peer != home {
		w.t.Fatalf("sent %+v, %v", e, err)
	}
	return w.decode(m, e.message)
}

// home sends a message on the home link.
func (w *world) home(from netip.Addr, m *codec.Message) *codec.Message {
	w.t.Helper()
	w.handle(onLink(from, m))
	if len(w.sent) == 0 {
		return nil
	}
	a := w.sent[0]
	if len(w.sent) > 1 || a.Link != homeLink || a.From.Addr().IsValid() || a.From.Port() != dhcpv6.ServerPort ||
		a.To != netip.AddrPortFrom(from, dhcpv6.ClientPort) {
		w.t.Fatalf("sent %+v", w.sent)
	}
	return w.decode(m, a.Message)
}

func onLink(from netip.Addr, m *codec.Message) role.DHCPReceived {
	return role.DHCPReceived{Link: homeLink, From: netip.AddrPortFrom(from, dhcpv6.ClientPort),
		To: port547(dhcpv6.AllRelayAgentsAndServers()), Message: m.ToBytes()}
}

// decode reads an answer with the codec and checks what every answer has
// (RFC 8415 §18.3).
func (w *world) decode(q *codec.Message, b []byte) *codec.Message {
	w.t.Helper()
	a, err := codec.MessageFromBytes(b)
	if err != nil {
		w.t.Fatal(err)
	}
	if a.TransactionID != q.TransactionID || !bytes.Equal(a.GetOneOption(codec.OptionServerID).ToBytes(), serverDUID) {
		w.t.Errorf("answer %v to %v", a.Summary(), q.Summary())
	}
	mine, theirs := a.GetOneOption(codec.OptionClientID), q.GetOneOption(codec.OptionClientID)
	if (mine == nil) != (theirs == nil) || mine != nil && !bytes.Equal(mine.ToBytes(), theirs.ToBytes()) {
		w.t.Errorf("client identifier %v, not %v", mine, theirs)
	}
	return a
}

// granted are the prefixes of an answer with their lifetimes in seconds.
func granted(m *codec.Message) map[string][2]int {
	all := map[string][2]int{}
	for _, ia := range m.Options.IAPD() {
		for _, p := range ia.Options.Prefixes() {
			all[p.Prefix.String()] = [2]int{int(p.PreferredLifetime / time.Second), int(p.ValidLifetime / time.Second)}
		}
	}
	return all
}

// statusOf is the status code of the first IA_PD; success if there is none.
func statusOf(m *codec.Message) iana.StatusCode {
	for _, ia := range m.Options.IAPD() {
		if s := ia.Options.Status(); s != nil {
			return s.StatusCode
		}
	}
	return success
}

// obtain is a Solicit and Reply with Rapid Commit.
func (w *world) obtain(home netip.Addr, duid []byte, iaid uint32, hints ...string) netip.Prefix {
	w.t.Helper()
	a := w.away(home, w.client(codec.MessageTypeSolicit, duid, rapid(), pd(iaid, hints...)))
	if a == nil || a.MessageType != codec.MessageTypeReply || a.GetOneOption(codec.OptionRapidCommit) == nil {
		w.t.Fatalf("answer %v, dropped for %v", a, w.drops)
	}
	prefixes := a.Options.OneIAPD().Options.Prefixes()
	if len(prefixes) == 0 {
		return netip.Prefix{}
	}
	p, ok := prefixOf(prefixes[0].Prefix)
	if !ok || len(prefixes) > 1 {
		w.t.Fatalf("granted %v", prefixes)
	}
	return p
}
