package delegating

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/dhcpv6"
	"roam6/internal/deadline"
	"roam6/internal/role"
)

// pair is a server and the client of a mobile router, joined by its relay agent
// or by the home link, where messages get lost.
type pair struct {
	*world
	client *dhcpv6.Client
	config dhcpv6.Config
	r      *rand.Rand
	loss   float64
	kept   []byte // what the client saved
	lease  []netip.Prefix
}

func newPair(t *testing.T, link int) *pair {
	r := rand.New(rand.NewPCG(1, uint64(link)))
	p := &pair{world: newWorld(t, testConfig()), r: r, config: dhcpv6.Config{
		Name: "a", Store: "a", Link: link, DUID: duidA, IAID: 77, Prefixes: true,
		Random: func(b []byte) {
			for i := range b {
				b[i] = byte(r.Uint32())
			}
		},
	}}
	p.begin()
	return p
}

// begin begins a new life of the client.
func (p *pair) begin() {
	p.client, p.lease = dhcpv6.NewClient(p.config, p.kept), nil
	p.client.Handle(p.now, role.LinkChanged{Link: role.Link{Index: p.config.Link, Up: true, LinkLocal: localA}})
	p.deliver(p.client.Handle(p.now, role.ConfigureLink{Link: p.config.Link, Managed: p.config.Link > 0}))
}

// deliver carries out what the client wants, and brings it the answers.
func (p *pair) deliver(actions []role.Action) {
	p.t.Helper()
	for _, a := range actions {
		switch a := a.(type) {
		case role.Save:
			p.kept = a.Data
		case role.LeaseChanged:
			p.lease = nil
			for _, l := range a.Lease.Prefixes {
				p.lease = append(p.lease, l.Prefix)
			}
		case role.SendDHCP:
			if p.r.Float64() < p.loss {
				continue
			}
			for _, answer := range p.carry(a) {
				if p.r.Float64() >= p.loss {
					p.deliver(p.client.Handle(p.now, answer))
				}
			}
		default:
		}
	}
}

// carry takes a message of the client to the server, and returns its answers.
func (p *pair) carry(a role.SendDHCP) (answers []role.DHCPReceived) {
	p.t.Helper()
	if p.config.Link > 0 {
		p.handle(role.DHCPReceived{Link: homeLink, From: netip.AddrPortFrom(localA, a.From.Port()), To: a.To, Message: a.Message})
	} else {
		relayed, err := dhcpv6.RelayForward(homeA, a.Message)
		if err != nil {
			p.t.Fatal(err)
		}
		p.handle(role.DHCPReceived{From: port547(homeA), To: port547(agentAddr), Message: relayed})
	}
	for _, s := range p.sent {
		answer := role.DHCPReceived{Link: p.config.Link, From: port547(netip.MustParseAddr("fe80::1")), To: s.To, Message: s.Message}
		if p.config.Link == 0 {
			message, err := dhcpv6.RelayedReply(s.Message)
			if err != nil {
				p.t.Fatal(err)
			}
			answer = role.DHCPReceived{From: port547(agentAddr), To: s.To, Message: message}
		}
		answers = append(answers, answer)
	}
	return answers
}

// pass lets time pass for both.
func (p *pair) pass(d time.Duration) {
	p.t.Helper()
	for end := p.now.Add(d); ; {
		next := deadline.Earlier(p.client.Next(), p.s.Next())
		if next.IsZero() || next.After(end) {
			p.now = end
			return
		}
		if next.After(p.now) {
			p.now = next
		}
		if deadline.Due(p.now, p.s.Next()) {
			p.handle(role.Timeout{})
		}
		if deadline.Due(p.now, p.client.Next()) {
			p.deliver(p.client.Handle(p.now, role.Timeout{}))
		}
	}
}

// TestWithClient: the client of a mobile router and the server agree, away and at
// home, through loss, restarts of either, and the loss of all
// that was saved; the prefix stays until the configuration takes it away.
//
// Covers: D2, D3.
func TestWithClient(t *testing.T) {
	for name, link := range map[string]int{"away": 0, "at home": homeLink} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, link)
			p.pass(5 * time.Second)
			if len(p.lease) != 1 {
				t.Fatalf("lease %v", p.lease)
			}
			first := p.lease[0]
			agreed := func(what string) {
				t.Helper()
				if !slices.Equal(p.lease, []netip.Prefix{first}) || !slices.Equal(p.told[homeA], p.lease) {
					t.Fatalf("%s: the client has %v, the home agent knows of %v; it was %v", what, p.lease, p.told[homeA], first)
				}
			}
			agreed("at first")
			p.loss = 0.3
			for range 200 {
				p.pass(10 * time.Minute)
				agreed("with loss")
			}
			p.loss = 0
			p.begin()
			p.pass(5 * time.Second)
			agreed("client restarted")
			p.kept = nil
			p.begin()
			p.pass(5 * time.Second)
			agreed("client forgot everything")
			p.restart(testConfig())
			// The client's clock went on with the server's.
			p.begin()
			p.pass(2 * valid)
			agreed("server restarted")
			p.saved = nil
			p.restart(testConfig())
			p.begin()
			p.pass(2 * valid)
			agreed("server forgot everything")

			config := testConfig()
			config.Pools = prefixes("2001:db8:200::/40")
			p.reconfigure(config)
			p.pass(preferred)
			if len(p.lease) != 1 || p.lease[0] == first || !slices.Equal(p.lease, p.told[homeA]) {
				t.Fatalf("pool removed: the client has %v, the home agent knows of %v", p.lease, p.told[homeA])
			}
			p.deliver(p.client.Handle(p.now, role.Stop{}))
			p.pass(valid)
			if len(p.told[homeA]) != 0 {
				t.Errorf("after the end the home agent knows of %v", p.told[homeA])
			}
		})
	}
}
