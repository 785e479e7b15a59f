package dhcpv6

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"
	"testing"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"roam6/internal/role"
)

// modelServer is a server of one link, as RFC 8415 §18.3 has it, with one address
// and one prefix for the one client there is.
type modelServer struct {
	duid            []byte
	identity        role.LinkIdentity
	rapid           bool
	preference      uint8
	dead            bool
	times           times
	address, prefix netip.Prefix
	until           time.Time // end of the binding; zero: none
}

// handle answers a message; nil: not.
func (s *modelServer) handle(now time.Time, m *wire.Message) []byte {
	if s.dead {
		return nil
	}
	forUs := m.GetOneOption(wire.OptionServerID) == nil || slices.Equal(m.GetOneOption(wire.OptionServerID).ToBytes(), s.duid)
	if !forUs {
		return nil
	}
	known := now.Before(s.until)
	grant := func(kind wire.MessageType, more ...option) []byte {
		if kind == wire.MessageTypeReply {
			s.until = now.Add(s.times.valid)
		}
		options := slices.Clone(more)
		if len(m.Options.IANA()) > 0 {
			options = append(options, na(s.times, s.address))
		}
		if len(m.Options.IAPD()) > 0 {
			options = append(options, pd(s.times, s.prefix))
		}
		return answer(m, kind, s.duid, options...)
	}
	ours := func() bool {
		addresses, prefixes := named(m)
		for _, p := range slices.Concat(addresses, prefixes) {
			if p != s.address && p != s.prefix && p.Addr() != netip.IPv6Unspecified() {
				return false
			}
		}
		return true
	}
	switch m.MessageType {
	case wire.MessageTypeSolicit:
		if s.rapid && m.GetOneOption(wire.OptionRapidCommit) != nil {
			return grant(wire.MessageTypeReply, rapid())
		}
		return grant(wire.MessageTypeAdvertise, wire.OptPreference(s.preference))
	case wire.MessageTypeRequest:
		return grant(wire.MessageTypeReply)
	case wire.MessageTypeRenew, wire.MessageTypeRebind:
		switch {
		case !ours():
			addresses, prefixes := named(m)
			return answer(m, wire.MessageTypeReply, s.duid, na(times{}, addresses...), pd(times{}, prefixes...))
		case !known:
			var options []option
			if len(m.Options.IANA()) > 0 {
				options = append(options, naStatus(iana.StatusNoBinding))
			}
			if len(m.Options.IAPD()) > 0 {
				options = append(options, pdStatus(iana.StatusNoBinding))
			}
			return answer(m, wire.MessageTypeReply, s.duid, options...)
		}
		return grant(wire.MessageTypeReply)
	case wire.MessageTypeConfirm:
		if !ours() {
			return answer(m, wire.MessageTypeReply, s.duid, status(iana.StatusNotOnLink))
		}
		return answer(m, wire.MessageTypeReply, s.duid)
	case wire.MessageTypeDecline, wire.MessageTypeRelease:
		s.until = time.Time{}
		return answer(m, wire.MessageTypeReply, s.duid)
	default:
		return nil
	}
}

// packet is a datagram under way.
type packet struct {
	at      time.Time
	octets  []byte
	toward  role.LinkIdentity // a server's link; from: to the client
	fromNet bool
}

// Random faults (loss, duplication, delay, servers that die, forget and come back,
// moves, link flaps, declined addresses, restarts) and then none any more: the client has a
// valid lease of the link it is on, and never named one beyond its lifetime, nor
// sent more than it may.
//
// Covers: D3.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomFaults(t, seed) })
	}
}

func randomFaults(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	c := testConfig()
	c.Prefixes = r.IntN(2) == 0
	w := newWorld(t, c, nil)
	short := times{40 * time.Second, 64 * time.Second, 80 * time.Second, 100 * time.Second}
	servers := []*modelServer{
		{duid: one, identity: here, rapid: true, times: short, address: address, prefix: delegated},
		{duid: two, identity: here, preference: uint8(r.IntN(256)), times: short, address: address2, prefix: parsed("2001:db8:e00::/56")},
		{duid: []byte{0, 99, 3}, identity: there, rapid: r.IntN(2) == 0, times: short,
			address: parsed("2001:db8:2::100/128"), prefix: parsed("2001:db8:d00::/56")},
	}
	var under []packet
	place, linkUp, carriers := here, true, uint32(1)
	faults := true
	ends := map[netip.Prefix]time.Time{} // of what the servers granted, to the client's knowledge

	flush := func() {
		for _, s := range w.sent {
			if !linkUp {
				t.Fatalf("sent %v on a dead link", s.inner.MessageType)
			}
			copies := 1
			if faults {
				copies = []int{0, 1, 1, 1, 2}[r.IntN(5)]
			}
			for range copies {
				under = append(under, packet{at: w.now.Add(time.Duration(r.IntN(300)) * time.Millisecond), octets: s.raw, toward: place})
			}
		}
		w.sent = nil
		for _, l := range slices.Concat(w.lease.Addresses, w.lease.Prefixes) {
			if end, ok := ends[l.Prefix]; !ok {
				t.Fatalf("names %v, which nobody has given", l.Prefix)
			} else if w.now.After(end) {
				t.Fatalf("names %v %v after its end", l.Prefix, w.now.Sub(end))
			}
		}
	}
	total := 0
	step := func(until time.Time) {
		for {
			sort.SliceStable(under, func(i, j int) bool { return under[i].at.Before(under[j].at) })
			at := until
			if len(under) > 0 && under[0].at.Before(at) {
				at = under[0].at
			}
			if next := w.client.Next(); !next.IsZero() && next.Before(at) {
				at = next
			}
			at = later(at, w.now)
			total += len(w.pass(at.Sub(w.now)))
			flush()
			if len(under) == 0 || under[0].at.After(w.now) {
				if !w.now.Before(until) {
					return
				}
				continue
			}
			p := under[0]
			under = under[1:]
			if p.fromNet {
				if linkUp && place == p.toward {
					for _, l := range grantedBy(p.octets) {
						ends[l] = w.now.Add(short.valid)
					}
					total += len(w.receive(p.octets))
					flush()
				}
				continue
			}
			m, err := wire.MessageFromBytes(p.octets)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range servers {
				if s.identity != p.toward {
					continue
				}
				if a := s.handle(w.now, m); a != nil && (!faults || r.IntN(5) > 0) {
					under = append(under, packet{
						at: w.now.Add(time.Duration(r.IntN(300)) * time.Millisecond), octets: a, toward: p.toward, fromNet: true,
					})
				}
			}
		}
	}
	configure := func() {
		total += len(w.do(role.ConfigureLink{Link: link, Identity: place, Managed: true}))
		flush()
	}
	w.do(up(carriers))
	configure()
	for range 60 {
		step(w.now.Add(time.Duration(r.IntN(30000)) * time.Millisecond))
		switch r.IntN(8) {
		case 0: // another link
			place = []role.LinkIdentity{here, there}[r.IntN(2)]
			configure()
		case 1: // the carrier goes, and perhaps comes
			linkUp = r.IntN(2) == 0
			carriers++
			w.do(role.LinkChanged{Link: role.Link{Index: link, Up: linkUp, Carriers: carriers}})
			if linkUp {
				configure()
			}
		case 2:
			s := servers[r.IntN(len(servers))]
			s.dead = !s.dead
		case 3:
			servers[r.IntN(len(servers))].until = time.Time{} // forgets
		case 4:
			if len(w.lease.Addresses) > 0 {
				w.do(role.DeclineAddress{Link: link, Addr: w.lease.Addresses[0].Prefix.Addr()})
			}
		case 5: // the node crashes and starts again
			w.client = NewClient(c, w.saved)
			w.lease = role.Lease{}
			total += len(w.do(role.LinkChanged{Link: role.Link{Index: link, Up: linkUp, Carriers: carriers}}))
			configure()
		}
		flush()
	}
	// The last fault is over.
	faults = false
	for _, s := range servers {
		s.dead = false
	}
	if !linkUp {
		linkUp = true
		carriers++
		w.do(up(carriers))
	}
	configure()
	began, before := w.now, total
	for w.client.state != StateBound || w.client.incomplete() {
		if w.now.Sub(began) > 20*time.Minute {
			t.Fatalf("no lease %v after the last fault: %+v", w.now.Sub(began), w.client.Snapshot(w.now))
		}
		step(w.now.Add(time.Second))
	}
	step(w.now.Add(10 * time.Minute))
	if len(w.lease.Addresses) == 0 || c.Prefixes && len(w.lease.Prefixes) == 0 {
		t.Fatalf("lease %+v in state %v", w.lease, w.client.state)
	}
	for _, s := range servers {
		if s.identity != place && slices.ContainsFunc(w.lease.Addresses, func(l role.LeasedPrefix) bool { return l.Prefix == s.address }) {
			t.Errorf("address %v of another link", s.address)
		}
	}
	if n, spent := total-before, w.now.Sub(began); n > sendRate.Burst+int(spent/(5*time.Second)) {
		t.Errorf("%d messages in %v of peace", n, spent)
	}
	if n, spent := total, w.now.Sub(epoch); n > int(spent/time.Second) {
		t.Errorf("%d messages in %v", n, spent)
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// grantedBy lists what a Reply gives.
func grantedBy(octets []byte) []prefix {
	m, err := decode(octets, testConfig().IAID)
	if err != nil || m.kind != wire.MessageTypeReply {
		return nil
	}
	var list []prefix
	for _, o := range slices.Concat(m.addresses.leases, m.prefixes.leases) {
		if o.valid > 0 {
			list = append(list, o.prefix)
		}
	}
	return list
}
