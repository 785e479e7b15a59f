package dhcpv6

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"roam6/internal/role"
	"roam6/mip6"
)

// world is a client on a link, under a virtual clock, with a recorder around it.
type world struct {
	t      *testing.T
	now    time.Time
	config Config
	client *Client
	sent   []sent
	lease  role.Lease // as told last
	leases int        // how often
	saved  []byte
	saves  int
	ended  int // role.DelegationEnded
	drops  map[role.DropReason]int
	logged map[string]bool // messages
}

// sent is a message that the client sent.
type sent struct {
	at    time.Time
	raw   []byte
	inner *wire.Message
}

const link = 7

var (
	epoch     = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	here      = role.LinkIdentity{Router: netip.MustParseAddr("fe80::1"), Prefix: netip.MustParsePrefix("2001:db8:1::/64")}
	there     = role.LinkIdentity{Router: netip.MustParseAddr("fe80::2"), Prefix: netip.MustParsePrefix("2001:db8:2::/64")}
	address   = netip.MustParsePrefix("2001:db8:1::100/128")
	address2  = netip.MustParsePrefix("2001:db8:1::200/128")
	delegated = netip.MustParsePrefix("2001:db8:f00::/56")
	one       = []byte{0, 99, 1, 1, 1}
	two       = []byte{0, 99, 2, 2, 2}
	managed   = role.ConfigureLink{Link: link, Identity: here, Managed: true}
	otherOnly = role.ConfigureLink{Link: link, Identity: here, Other: true}
)

func testConfig() Config {
	r := rand.New(rand.NewPCG(1, 2))
	return Config{
		Name: "wan", Store: "dhcpv6-wan", Link: link, DUID: []byte{0, 99, 9, 9, 9, 9}, IAID: 0x01020304,
		Random: func(b []byte) {
			for i := range b {
				b[i] = byte(r.Uint32())
			}
		},
	}
}

// prefixConfig asks for prefixes behind a relay.
func prefixConfig() Config {
	c := testConfig()
	c.Link, c.Prefixes = 0, true
	return c
}

func newWorld(t *testing.T, c Config, saved []byte) *world {
	return &world{t: t, now: epoch, config: c, client: NewClient(c, saved), drops: map[role.DropReason]int{}, logged: map[string]bool{}}
}

// do delivers an event and returns what the client sent on it.
func (w *world) do(e role.Event) []sent {
	w.t.Helper()
	return w.take(w.client.Handle(w.now, e))
}

// soon delivers an event and returns what the client sends on it after the random
// delay that it must make.
func (w *world) soon(e role.Event) []sent {
	w.t.Helper()
	if list := w.do(e); len(list) > 0 {
		w.t.Fatalf("sent %v without delay", list[0].inner.MessageType)
	}
	delay := w.client.Next().Sub(w.now)
	if delay < 0 || delay >= maxDelay {
		w.t.Fatalf("a delay of %v", delay)
	}
	return w.pass(delay)
}

func (w *world) take(actions []role.Action) []sent {
	w.t.Helper()
	before := len(w.sent)
	for _, a := range actions {
		switch a := a.(type) {
		case role.SendDHCP:
			m, err := wire.MessageFromBytes(a.Message)
			if err != nil {
				w.t.Fatalf("sent a message that does not decode: %v", err)
			}
			if a.From.Addr().IsValid() || a.From.Port() != 546 || a.To.String() != "[ff02::1:2]:547" || a.Link != w.client.config.Link {
				w.t.Errorf("sent from %v to %v by %d", a.From, a.To, a.Link)
			}
			w.sent = append(w.sent, sent{at: w.now, raw: a.Message, inner: m})
		case role.LeaseChanged:
			w.lease, w.leases = a.Lease, w.leases+1
			for _, p := range slices.Concat(a.Lease.Addresses, a.Lease.Prefixes) {
				if p.Valid <= 0 || p.Preferred > p.Valid {
					w.t.Errorf("told lifetimes %v, %v of %v", p.Preferred, p.Valid, p.Prefix)
				}
			}
		case role.Save:
			w.saved, w.saves = a.Data, w.saves+1
			if a.Name != w.config.Store {
				w.t.Errorf("saved as %q", a.Name)
			}
		case role.DelegationEnded:
			w.ended++
		case role.Dropped:
			w.drops[a.Reason]++
		case role.Log:
			w.logged[a.Message] = true
		default:
			w.t.Errorf("action %T", a)
		}
	}
	return slices.Clone(w.sent[before:])
}

// pass lets time pass and returns what was sent in it.
func (w *world) pass(d time.Duration) []sent {
	w.t.Helper()
	end := w.now.Add(d)
	before := len(w.sent)
	for stuck := 0; ; {
		next := w.client.Next()
		if next.IsZero() || next.After(end) {
			break
		}
		if next.After(w.now) {
			w.now, stuck = next, 0
		} else if stuck++; stuck > 5 {
			w.t.Fatalf("Next does not move on from %v in state %v", next.Sub(epoch), w.client.state)
		}
		w.do(role.Timeout{})
	}
	w.now = end
	return slices.Clone(w.sent[before:])
}

// option is a part of a server's message.
type option = wire.Option

// answer makes a server's answer to a message.
func answer(to *wire.Message, kind wire.MessageType, server []byte, options ...option) []byte {
	m := wire.Message{MessageType: kind, TransactionID: to.TransactionID}
	m.AddOption(to.GetOneOption(wire.OptionClientID))
	if server != nil {
		m.AddOption(&wire.OptionGeneric{OptionCode: wire.OptionServerID, OptionData: server})
	}
	for _, o := range options {
		m.AddOption(o)
	}
	return m.ToBytes()
}

// receive delivers a datagram from a server.
func (w *world) receive(octets []byte) []sent {
	w.t.Helper()
	return w.do(role.DHCPReceived{
		Link: w.client.config.Link,
		From: netip.MustParseAddrPort("[fe80::5e]:547"), To: netip.MustParseAddrPort("[fe80::1]:546"),
		Message: octets,
	})
}

// reply answers the last message sent with a Reply.
func (w *world) reply(server []byte, options ...option) []sent {
	w.t.Helper()
	return w.receive(answer(w.last().inner, wire.MessageTypeReply, server, options...))
}

func (w *world) advertise(server []byte, options ...option) []sent {
	w.t.Helper()
	return w.receive(answer(w.last().inner, wire.MessageTypeAdvertise, server, options...))
}

func (w *world) last() sent {
	w.t.Helper()
	if len(w.sent) == 0 {
		w.t.Fatal("nothing was sent")
	}
	return w.sent[len(w.sent)-1]
}

// expect checks the types of messages.
func (w *world) expect(list []sent, kinds ...wire.MessageType) {
	w.t.Helper()
	var got []wire.MessageType
	for _, s := range list {
		got = append(got, s.inner.MessageType)
	}
	if !slices.Equal(got, kinds) {
		w.t.Fatalf("at %v in state %v: sent %v, want %v", w.now.Sub(epoch), w.client.state, got, kinds)
	}
}

func (w *world) state(want State) {
	w.t.Helper()
	if w.client.state != want {
		w.t.Fatalf("state %v, want %v", w.client.state, want)
	}
}

// holds checks the lease as told.
func (w *world) holds(want ...netip.Prefix) {
	w.t.Helper()
	var got []netip.Prefix
	for _, p := range slices.Concat(w.lease.Addresses, w.lease.Prefixes) {
		got = append(got, p.Prefix)
	}
	if !slices.Equal(got, want) {
		w.t.Fatalf("lease %v, want %v", got, want)
	}
}

func iaidBytes() (id [4]byte) {
	binary.BigEndian.PutUint32(id[:], testConfig().IAID)
	return id
}

// times are T1 and T2, and lifetimes.
type times struct{ t1, t2, preferred, valid time.Duration }

var hour = times{1800 * time.Second, 2880 * time.Second, 3600 * time.Second, 7200 * time.Second}

// na is an IA_NA option with addresses.
func na(t times, list ...netip.Prefix) *wire.OptIANA {
	ia := &wire.OptIANA{IaId: iaidBytes(), T1: t.t1, T2: t.t2}
	for _, a := range list {
		ia.Options.Add(&wire.OptIAAddress{IPv6Addr: a.Addr().AsSlice(), PreferredLifetime: t.preferred, ValidLifetime: t.valid})
	}
	return ia
}

// pd is an IA_PD option with prefixes.
func pd(t times, list ...netip.Prefix) *wire.OptIAPD {
	ia := &wire.OptIAPD{IaId: iaidBytes(), T1: t.t1, T2: t.t2}
	for _, p := range list {
		ia.Options.Add(&wire.OptIAPrefix{PreferredLifetime: t.preferred, ValidLifetime: t.valid, Prefix: &net.IPNet{
			IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 128),
		}})
	}
	return ia
}

func status(code iana.StatusCode) option {
	return &wire.OptStatusCode{StatusCode: code}
}

func naStatus(code iana.StatusCode) option {
	ia := na(times{})
	ia.Options.Add(status(code))
	return ia
}

func pdStatus(code iana.StatusCode) option {
	ia := pd(times{})
	ia.Options.Add(status(code))
	return ia
}

func rapid() option { return &wire.OptionGeneric{OptionCode: wire.OptionRapidCommit} }

func uint32Option(code wire.OptionCode, value uint32) option {
	return &wire.OptionGeneric{OptionCode: code, OptionData: binary.BigEndian.AppendUint32(nil, value)}
}

func dns(list ...string) option {
	var ips []net.IP
	for _, s := range list {
		ips = append(ips, net.ParseIP(s))
	}
	return wire.OptDNS(ips...)
}

func domains(list ...string) option {
	return wire.OptDomainSearchList(&rfc1035label.Labels{Labels: list})
}

// addresses and prefixes named in a message that was sent.
func named(m *wire.Message) (addresses, prefixes []netip.Prefix) {
	for _, ia := range m.Options.IANA() {
		for _, a := range ia.Options.Addresses() {
			ip, _ := netip.AddrFromSlice(a.IPv6Addr.To16())
			addresses = append(addresses, netip.PrefixFrom(ip, 128))
		}
	}
	for _, ia := range m.Options.IAPD() {
		for _, p := range ia.Options.Prefixes() {
			ip, _ := netip.AddrFromSlice(p.Prefix.IP.To16())
			ones, _ := p.Prefix.Mask.Size()
			prefixes = append(prefixes, netip.PrefixFrom(ip, ones))
		}
	}
	return addresses, prefixes
}

// bound brings a client of addresses to its lease.
func bound(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, testConfig(), nil)
	w.expect(w.do(managed), wire.MessageTypeSolicit)
	w.expect(w.reply(one, rapid(), na(hour, address)))
	w.state(StateBound)
	w.holds(address)
	return w
}

// boundBoth brings a client of addresses and prefixes to its leases.
func boundBoth(t *testing.T) *world {
	t.Helper()
	c := testConfig()
	c.Prefixes = true
	w := newWorld(t, c, nil)
	w.expect(w.do(managed), wire.MessageTypeSolicit)
	w.expect(w.reply(one, rapid(), na(hour, address), pd(hour, delegated)))
	w.state(StateBound)
	w.holds(address, delegated)
	return w
}

func up(carriers uint32) role.Event {
	return role.LinkChanged{Link: role.Link{Index: link, Up: true, Carriers: carriers}}
}

func down() role.Event { return role.LinkChanged{Link: role.Link{Index: link}} }

const forever = mip6.InfiniteLifetime

type prefix = netip.Prefix

func parsed(s string) netip.Prefix { return netip.MustParsePrefix(s) }
