package tun

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
)

// testSeal is AES-CBC with HMAC-SHA-256-128.
var testSeal = overlay.Seal{Header: 24, Block: 16, ICV: 16}

// sealedBench is newBench with a tunnel that is sealed.
func sealedBench(t testing.TB, side overlay.Side) (*bench, *tunnel, *path) {
	b := newBench(t, side)
	u := b.add(side, 0)
	u.sealed.Store(true)
	p := u.paths.Load().preferred()
	p.seal = testSeal
	return b, u, p
}

// What comes out of a sealed tunnel was in ESP, or is dropped and counted.
func TestSealedInbound(t *testing.T) {
	for _, test := range []struct {
		tunnel, packet bool // sealed
		want           overlay.DropReason
	}{
		{true, true, 0},
		{true, false, overlay.DropUnprotected},
		{false, false, 0},
	} {
		for _, side := range []overlay.Side{overlay.MobileSide, overlay.AgentSide} {
			b, u, _ := sealedBench(t, side)
			u.sealed.Store(test.tunnel)
			packet, o := udp(correspondent, home, text(20)), outer{source: addressOf(agent), destination: addressOf(careOf), sealed: test.packet}
			if side == overlay.AgentSide {
				packet, o.source, o.destination = udp(home, correspondent, text(20)), addressOf(careOf), addressOf(agent)
			}
			d := decapsulator{arrivals: b.arrivals(), joined: newCoalescer(4, 1460)}
			got := d.packet(append(make([]byte, receiveHeadroom), packet...), o, time.Second)
			if got != test.want || (d.joined.n == 1) != (test.want == 0) || len(b.dropped()) == 1 != (test.want != 0) {
				t.Errorf("side %d, sealed tunnel %v and packet %v: %v", side, test.tunnel, test.packet, got)
			}
		}
	}
}

// The MTU of a sealed tunnel leaves room for ESP, also when the path MTU is learned, which
// is that with ESP; what is larger is told so, and nothing is put in fragments here: those
// come behind ESP.
func TestSealedMTU(t *testing.T) {
	b, _, p := sealedBench(t, overlay.MobileSide)
	inner := func(octets int) []byte {
		return udp(home, correspondent, text(octets-headerLength-8))
	}
	for _, step := range []struct{ learned, most int }{{1500, 1406}, {1400, 1310}, {1280, 1280}} {
		if step.learned < 1500 && !p.tooBig(step.learned, 0) {
			t.Errorf("%d is not believed", step.learned)
		}
		if out, reply := b.send(inner(step.most), virtioHeader{}, time.Second); len(out) != 1 || len(out[0]) != headerLength+step.most || reply != nil {
			t.Errorf("path MTU %d: %d packets", step.learned, len(out))
		}
		out, reply := b.send(inner(step.most+1), virtioHeader{}, time.Second)
		if len(out) != 0 || reply == nil {
			t.Fatalf("path MTU %d: %d octets pass", step.learned, step.most+1)
		}
		m := icmpReply(t, reply, home, home)
		if got := binary.BigEndian.Uint32(m[4:]); m[0] != icmpPacketTooBig || int(got) != step.most {
			t.Errorf("path MTU %d: %d is told, want %d", step.learned, got, step.most)
		}
	}
	if p.tooBig(1300, 0) {
		t.Error("an increase is believed")
	}
}

// A message says by ancillary data what its tunnel header would, and has the rest as its
// payload.
func TestSealedMessage(t *testing.T) {
	for name, packet := range map[string][]byte{
		"data":     udp(home, correspondent, text(100)),
		"a tunnel": ipv6(home, correspondent, protocolIPv6, udp(nodeBehind, correspondent, text(10))),
	} {
		b, _, p := sealedBench(t, overlay.MobileSide)
		packet[0], packet[1] = 0x6b, packet[1]|0x80 // traffic class
		s := sealedSender{messages: make([]message, 1), vectors: make([][2]unix.Iovec, 1), names: make([]unix.RawSockaddrInet6, 1), controls: make([][sealedControl]byte, 1)}
		limit := 0
		b.out = newBatch(4, func(all []datagram) {
			d := &all[0]
			s.messages[0].header.Control = &s.controls[0][0]
			s.fill(0, d)
			if d.path != p {
				t.Errorf("%s: by another path", name)
			}
			whole := slices.Concat(d.headers[:d.length], d.payload)
			if whole[offsetNextHeader] == protocolDestinationOptions {
				limit = limitLength
			}
			var carried int
			for _, v := range s.vectors[0][:s.messages[0].header.Iovlen] {
				carried += int(v.Len)
			}
			if carried != len(whole)-headerLength-limit || carried != len(packet) {
				t.Errorf("%s: %d octets of %d", name, carried, len(packet))
			}
		})
		b.send(packet, virtioHeader{}, 0)
		r := receiver{messages: s.messages, controls: [][]byte{s.controls[0][:]}}
		var class, options, source bool
		r.ancillary(0, func(_, kind int32, data []byte) {
			switch kind {
			case unix.IPV6_PKTINFO:
				source = addressAt(data) == p.local && binary.NativeEndian.Uint32(data[16:]) == 0
			case unix.IPV6_TCLASS:
				class = binary.NativeEndian.Uint32(data) == uint32(trafficClass(packet))
			case unix.IPV6_DSTOPTS:
				options = encapsulationLimit(data) == limitOffset
			}
		})
		if addressAt(s.names[0].Addr[:]) != p.remote || !source || !class || options != (name == "a tunnel") || (limit != 0) != options {
			t.Errorf("%s: source %v, class %v, limit %v", name, source, class, options)
		}
	}
}

// The policy of the socket is what the kernel's structures say: outbound, ESP in transport
// mode, required, by the request identifier of sealed tunnels.
func TestESPOnly(t *testing.T) {
	b := espOnly()
	p := nl.DeserializeXfrmUserpolicyInfo(b)
	x := nl.DeserializeXfrmUserTmpl(b[nl.SizeofXfrmUserpolicyInfo:])
	if len(b) != nl.SizeofXfrmUserpolicyInfo+nl.SizeofXfrmUserTmpl || p.Dir != 1 || p.Action != 0 || p.Sel.Family != 10 || p.Sel.Proto != 0 ||
		p.Lft.HardPacketLimit != ^uint64(0) || p.Lft.HardAddExpiresSeconds != 0 {
		t.Errorf("policy %+v", p)
	}
	if x.XfrmId.Proto != protocolESP || x.Family != 10 || x.Mode != 0 || x.Optional != 0 || x.Reqid != overlay.SealRequest || x.Aalgos&x.Ealgos&x.Calgos != ^uint32(0) {
		t.Errorf("template %+v", x)
	}
}

// Without IPsec in the kernel, or with nothing that is ready, a sealed tunnel sends
// nothing in clear.
func TestSealedWithoutSocket(t *testing.T) {
	var drops dropCounters
	s := &sender{drops: &drops}
	s.send([]datagram{{path: &path{seal: testSeal}}, {path: &path{seal: testSeal}}})
	if n := drops[overlay.DropUnprotected].Load(); n != 2 {
		t.Errorf("%d are counted", n)
	}
}

// A refusal of what was in ESP shows nothing of it, and the mobile understands it all the
// same; so it does a Packet Too Big of a router, about a packet with a limit, too.
func TestSealedErrors(t *testing.T) {
	space := nstest.New(t)
	refused := make(chan netip.Addr, 1)
	var e *Engine
	space.Do(func() (err error) {
		e, err = Open(Config{Refused: func(h netip.Addr) { refused <- h }})
		return err
	})
	t.Cleanup(func() { e.Close() })
	tunnel := mobileTunnel(home, careOf, agent)
	tunnel.Seal = testSeal
	if err := e.Apply([]overlay.Change{{Set: tunnel}}); err != nil && !errors.Is(err, ErrSeal) { // not on every kernel
		t.Fatal(err)
	}
	mtu := func() int { return e.Tunnels()[0].MTU }
	if mtu() != 1406 || e.Tunnels()[0].Seal != testSeal {
		t.Errorf("%+v", e.Tunnels()[0])
	}

	secret := text(1000)
	r := refuser{limit: newBucket(10, 10)}
	m := r.message(udp(home, correspondent, secret), outer{source: addressOf(careOf), destination: addressOf(agent), sealed: true}, 0)
	if bytes.Contains(m, secret[:16]) || bytes.Contains(m, home.AsSlice()) || len(m) != icmpHeaderLength+headerLength+sealedQuoted {
		t.Errorf("a refusal of %d octets: %x", len(m), m)
	}
	if _, ok := parseTunnelError(m); ok {
		t.Error("taken for one about a tunnel packet in clear")
	}
	report, ok := parseSealedError(m)
	if !ok {
		t.Fatal("not taken for one about a tunnel packet in ESP")
	}
	e.sealedFailed(&report)
	select {
	case h := <-refused:
		if h != home {
			t.Errorf("%v is refused", h)
		}
	default:
		t.Error("not refused")
	}

	quoted := func(from, to netip.Addr, limit bool) []byte {
		payload, next := []byte{0, 0, 0, 1, 0, 0, 0, 2}, uint8(protocolESP)
		if limit {
			b := make([]byte, limitLength)
			putLimit(b, 4)
			b[0] = protocolESP
			payload, next = append(b, payload...), protocolDestinationOptions
		}
		return append([]byte{icmpPacketTooBig, 0, 0, 0, 0, 0, 5, 120}, ipv6(from, to, next, payload)...) // 1400
	}
	for _, test := range []struct {
		name   string
		b      []byte
		parsed bool
		want   int
	}{
		{"another care-of address", quoted(newCareOf, agent, false), true, 1406},
		{"another agent", quoted(careOf, correspondent, false), true, 1406},
		{"cut off", quoted(careOf, agent, false)[:50], false, 1406},
		{"with a limit", quoted(careOf, agent, true), true, 1310},
	} {
		report, ok := parseSealedError(test.b)
		if ok != test.parsed {
			t.Errorf("%s: parsed %v", test.name, ok)
		}
		if ok {
			e.sealedFailed(&report)
		}
		if mtu() != test.want {
			t.Errorf("%s: MTU %d, want %d", test.name, mtu(), test.want)
		}
	}
	// A tunnel that is gone is not meant any more.
	if err := e.Apply([]overlay.Change{{Remove: tunnel.Key}}); err != nil || len(e.sealed) != 0 {
		t.Errorf("%d paths are remembered, %v", len(e.sealed), err)
	}
}

// A sealed tunnel is in no stack.
func TestSealedStack(t *testing.T) {
	space := nstest.New(t)
	var e *Engine
	space.Do(func() (err error) {
		e, err = Open(Config{})
		return err
	})
	t.Cleanup(func() { e.Close() })
	regional := netip.MustParseAddr("2001:db8:b::5")
	lower, upper := mobileTunnel(regional, careOf, correspondent), mobileTunnel(home, regional, agent)
	upper.Seal = testSeal
	if err := e.Apply([]overlay.Change{{Set: lower}, {Set: upper}}); !errors.Is(err, ErrSealed) {
		t.Errorf("on another: %v", err)
	}
	upper.Seal, lower.Seal = overlay.Seal{}, testSeal
	if err := e.Apply([]overlay.Change{{Set: upper}, {Set: lower}}); !errors.Is(err, ErrSealed) {
		t.Errorf("below another: %v", err)
	}
}

// A fast path is told of sealed tunnels only if it can carry them, and gets one back that
// is not sealed any more.
func TestSealedFastPath(t *testing.T) {
	for _, seals := range []bool{false, true} {
		space, r := nstest.New(t), newRecorder()
		r.traits.Seals = seals
		var e *Engine
		space.Do(func() (err error) {
			e, err = Open(Config{Fast: r})
			return err
		})
		t.Cleanup(func() { e.Close() })
		apply := func(sealed bool, want string) {
			t.Helper()
			tunnel := mobileTunnel(home, careOf, agent)
			if sealed {
				tunnel.Seal = testSeal
			}
			if err := e.Apply([]overlay.Change{{Set: tunnel}}); err != nil && !errors.Is(err, ErrSeal) {
				t.Fatal(err)
			}
			if got := r.said(); got != want {
				t.Errorf("seals %v: told %q, want %q", seals, got, want)
			}
		}
		from := " from " + careOf.String()
		apply(false, "set "+home.String()+" mtu 1500"+from)
		if seals {
			apply(true, "set "+home.String()+" mtu 1446"+from)
		} else {
			apply(true, "remove "+home.String())
		}
		apply(false, "set "+home.String()+" mtu 1500"+from)
	}
}
