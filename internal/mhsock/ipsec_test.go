package mhsock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"roam6/internal/esp"
	"roam6/internal/role"
	"roam6/internal/sock"
	"roam6/mip6"
	"roam6/overlay"
)

// ESP is captured with SPIs that may be ours, where it may stand.
func TestFilterESP(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	ofSPI := func(spi uint16, headers ...header) []byte {
		return build(a, b, 50, append([]byte{0, 0, byte(spi >> 8), byte(spi), 0, 0, 0, 1}, make([]byte, 40)...), headers...)
	}
	for _, icmp := range []bool{false, true} {
		vm, err := bpf.NewVM(signallingOnly(icmp, true, []uint32{1000, 1001, 1003}))
		if err != nil {
			t.Fatal(err)
		}
		none, err := bpf.NewVM(signallingOnly(icmp, false, nil))
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name   string
			packet []byte
			accept bool
			always bool // without policies, too
		}{
			{"tunnel mode", ofSPI(1000), true, false},
			{"behind the home address option", ofSPI(1003, homeAddressOption(0)), true, false},
			{"behind the type 2 routing header", ofSPI(1001, routing(2, homeAddress)), true, false},
			{"behind both", ofSPI(1001, routing(2, homeAddress), homeAddressOption(0)), true, false},
			{"SPI between", ofSPI(1002), false, false},
			{"SPI below", ofSPI(999), false, false},
			{"SPI above", ofSPI(1004), false, false},
			{"SPI above behind the home address option", ofSPI(1004, homeAddressOption(0)), true, false},
			{"SPI below behind the type 2 routing header", ofSPI(999, routing(2, homeAddress)), true, false},
			{"SPI between behind both", ofSPI(1002, routing(2, homeAddress), homeAddressOption(0)), true, false},
			{"behind another routing header", ofSPI(1000, routing(4, homeAddress)), false, false},
			{"cut off", ofSPI(1000)[:43], false, false},
			{"authentication header", build(a, b, 51, make([]byte, 40)), false, false},
			{"mobility header", build(a, b, 135, mobilityMsg, homeAddressOption(0)), true, true},
			{"prefix solicitation", build(a, b, 58, []byte{146, 0, 0, 0, 0, 0, 0, 0}), icmp, icmp},
			{"data", build(a, b, 17, make([]byte, 40)), false, false},
		} {
			if n, err := vm.Run(tt.packet); err != nil || (n != 0) != tt.accept {
				t.Errorf("%s, ICMPv6 %v: accepted %v, want %v (%v)", tt.name, icmp, n != 0, tt.accept, err)
			}
			if n, err := none.Run(tt.packet); err != nil || (n != 0) != tt.always {
				t.Errorf("%s, ICMPv6 %v, without policies: accepted %v, want %v (%v)", tt.name, icmp, n != 0, tt.always, err)
			}
		}
	}
}

// However many there are, each SPI is captured, and up to mostExact no other one: payload's
// are among them where a key exchange makes both. The kernel takes the program.
func TestFilterManySPIs(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	const least, step = 0xc0000000, 10
	for _, n := range []int{1, 2, 4, 5, 7, 31, mostExact - 1, mostExact, mostExact + 1} {
		spis := make([]uint32, n)
		for i := range spis {
			spis[i] = least + step*uint32(i)
		}
		program := signallingOnly(true, true, spis)
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		accepts := func(spi uint32) bool {
			packet := build(a, b, 50, append(binary.BigEndian.AppendUint32(nil, spi), make([]byte, 44)...))
			verdict, err := vm.Run(packet)
			if err != nil {
				t.Fatalf("%d: %v", n, err)
			}
			return verdict != 0
		}
		for _, spi := range spis {
			between := spi != spis[n-1] && n > mostExact
			if !accepts(spi) || accepts(spi+1) != between {
				t.Errorf("%d SPIs: %08x is captured %v, the next one %v", n, spi, accepts(spi), accepts(spi+1))
			}
		}
		if accepts(least-1) || accepts(0) || accepts(1<<32-1) {
			t.Errorf("%d SPIs: others are captured", n)
		}
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := sock.AttachFilter(fd, program); err != nil {
			t.Errorf("%d SPIs: %v", n, err)
		}
		unix.Close(fd)
	}
}

// secured is a home agent on the router, and its mobile at the peer.
type secured struct {
	*world
	conn      *Conn
	mobile    *esp.Policies // the other end's
	protected chan delivery
	icmp      chan delivery
	tunnelled chan esp.TunnelEnd
	relayed   chan esp.Datagram
	local     chan localDelivery
	dropped   chan role.DropReason
}

// associationOf is one for tests.
func associationOf(spi uint32) esp.Association {
	return esp.Association{SPI: spi, Algorithm: esp.AESCBCSHA256, Key: esp.Key(strings.Repeat(string([]byte{byte(spi)}), 48))}
}

func random(b []byte) {
	for i := range b {
		b[i] = byte(i)
	}
}

func (w *world) openSecured() *secured {
	w.t.Helper()
	s := &secured{
		world: w, mobile: esp.NewPolicies(random), protected: make(chan delivery, 16), icmp: make(chan delivery, 16),
		tunnelled: make(chan esp.TunnelEnd, 16), relayed: make(chan esp.Datagram, 16), local: make(chan localDelivery, 16), dropped: make(chan role.DropReason, 16),
	}
	w.router.Do(func() (err error) {
		s.conn, err = Open(Options{
			Local: w.local, Deliver: func(p []byte, link int) { w.delivered <- delivery{p, link} },
			ICMP: func(p []byte, link int) { w.delivered <- delivery{p, link} },
			IPsec: &IPsec{
				Policies:  esp.NewPolicies(random),
				Deliver:   func(p []byte, link int) { s.protected <- delivery{p, link} },
				ICMP:      func(p []byte, link int) { s.icmp <- delivery{p, link} },
				Local:     func(p []byte, link int, spi uint32) { s.local <- localDelivery{delivery{p, link}, spi} },
				Tunnelled: func(p []byte, end esp.TunnelEnd) { w.delivered <- delivery{p, 0}; s.tunnelled <- end },
				Relayed:   func(d esp.Datagram) { s.relayed <- d },
				Dropped:   func(r role.DropReason, _ netip.Addr) { s.dropped <- r },
			},
		})
		return err
	})
	w.t.Cleanup(func() { s.conn.Close() })
	ofMobile, ofAgent := s.policies()
	if err := s.conn.SetPolicies([]esp.Policy{ofAgent}); err != nil {
		w.t.Fatal(err)
	}
	if err := s.mobile.Replace([]esp.Policy{ofMobile}); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (s *secured) policies() (ofMobile, ofAgent esp.Policy) {
	tunnelIn, tunnelOut := associationOf(1002), associationOf(1003)
	ofAgent = esp.Policy{
		Home: homeAddress, Agent: s.addr, Side: overlay.AgentSide, In: associationOf(1000), Out: associationOf(1001),
		TunnelIn: &tunnelIn, TunnelOut: &tunnelOut,
	}
	ofMobile = ofAgent
	ofMobile.Side = overlay.MobileSide
	ofMobile.In, ofMobile.Out = ofAgent.Out, ofAgent.In
	ofMobile.TunnelIn, ofMobile.TunnelOut = ofAgent.TunnelOut, ofAgent.TunnelIn
	return ofMobile, ofAgent
}

// seal is what the mobile sends for a packet.
func (s *secured) seal(packet []byte) []byte {
	s.t.Helper()
	b, protected, err := s.mobile.Protect(nil, packet)
	if err != nil || !protected {
		s.t.Fatalf("protected %v (%v)", protected, err)
	}
	return b
}

func wait[T any](t testing.TB, c chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	return v
}

func (s *secured) message(p interface{ Append([]byte) ([]byte, error) }) []byte {
	s.t.Helper()
	b, err := p.Append(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s *secured) update() []byte {
	return s.message(mip6.Packet{Source: s.peerAddr, Destination: s.addr, HomeAddress: homeAddress, Message: mip6.BindingUpdate{
		Sequence: 7, Flags: mip6.UpdateAcknowledge | mip6.UpdateHome, Lifetime: 150, Options: []mip6.Option{mip6.AlternateCareOf{Addr: s.peerAddr}},
	}})
}

// RFC 3776 §3, RFC 4877 §4: a home agent on a kernel that knows neither Mobile IPv6
// nor ESP takes protected signalling, and nothing else where there is a policy; the
// kernel says nothing to any of it.
//
// Covers: H1.
func TestReceiveProtected(t *testing.T) {
	w := newWorld(t)
	s := w.openSecured()
	link := w.router.Index("r0")
	quiet := func(what string) {
		t.Helper()
		if n := w.parameterProblems(); n != 0 && s.conn.Silenced() {
			t.Errorf("%s: %d parameter problems", what, n)
		}
	}
	update := s.update()
	send(t, w.peer, s.seal(update))
	if d := wait(t, s.protected); !bytes.Equal(d.packet, update) || d.link != link {
		t.Errorf("delivered %x on %d, want %x", d.packet, d.link, update)
	}
	quiet("binding update")

	solicitation := s.message(mip6.ICMPPacket{Source: w.peerAddr, Destination: w.addr, HomeAddress: homeAddress, Message: mip6.PrefixSolicitation{Identifier: 7}})
	send(t, w.peer, s.seal(solicitation))
	if d := wait(t, s.icmp); !bytes.Equal(d.packet, solicitation) || d.link != link {
		t.Errorf("delivered %x on %d, want %x", d.packet, d.link, solicitation)
	}
	quiet("prefix solicitation")

	test := s.message(mip6.Packet{Source: homeAddress, Destination: w.hostAddr, Message: mip6.HomeTestInit{Cookie: mip6.Cookie{1}}})
	tunnelled, err := s.mobile.Encapsulate(nil, time.Now(), overlay.Key{Home: homeAddress, Side: overlay.MobileSide}, w.peerAddr, w.addr, test)
	if err != nil {
		t.Fatal(err)
	}
	send(t, w.peer, tunnelled)
	w.expect(test, 0)
	if end, want := wait(t, s.tunnelled), (esp.TunnelEnd{Key: overlay.Key{Home: homeAddress, Side: overlay.AgentSide}, Source: w.peerAddr, Destination: w.addr}); end != want {
		t.Errorf("tunnel %+v, want %+v", end, want)
	}
	quiet("home test init")

	forged, unknown := s.seal(update), s.seal(update)
	forged[len(forged)-1] ^= 1
	unknown[64+3]++ // 1001 is the other direction's
	for _, tt := range []struct {
		name   string
		packet []byte
		reason role.DropReason
	}{
		{"without ESP", update, role.DropUnauthenticated},
		{"solicitation without ESP", solicitation, role.DropUnauthenticated},
		{"forged", forged, role.DropBadAuthenticator},
		{"another SPI", unknown, role.DropUnknownSPI},
	} {
		send(t, w.peer, tt.packet)
		if r := wait(t, s.dropped); r != tt.reason {
			t.Errorf("%s: %v, want %v", tt.name, r, tt.reason)
		}
		quiet(tt.name)
	}
	// Nobody's ESP is the kernel's, which is silent too, and not captured.
	send(t, w.peer, build(w.peerAddr, w.addr, 50, append([]byte{0, 0, 1, 0, 0, 0, 0, 1}, make([]byte, 40)...)))
	quiet("another's ESP")
	plain := build(w.peerAddr, w.addr, 135, mobilityMsg)
	send(t, w.peer, plain)
	w.expect(plain, link)
	if k := s.conn.Counters(); k.Received != 8 || k.Protected != 3 || k.Denied != 4 || k.Delivered != 4 {
		t.Errorf("counters %+v", k)
	}
}

// What a policy wants in ESP leaves in ESP; everything else as it is.
//
// Covers: H1.
func TestSendProtected(t *testing.T) {
	w := newWorld(t)
	s := w.openSecured()
	arrives := func(protocols ...byte) []byte {
		all := w.heard.until(func(b []byte) bool { return slices.Contains(protocols, b[6]) })
		return all[len(all)-1]
	}
	answer := s.message(mip6.Packet{Source: w.addr, Destination: w.peerAddr, RouteHome: homeAddress, Message: mip6.BindingAcknowledgement{Sequence: 7}})
	if err := s.conn.Send(answer, 0, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	got := arrives(mip6.ProtocolRouting, mip6.ProtocolMobility)
	if r, err := s.mobile.Unprotect(got); err != nil || !r.Protected || !bytes.Equal(r.Packet, answer) {
		t.Errorf("arrived %x: %v", got, err)
	}
	other := s.message(mip6.Packet{Source: w.addr, Destination: w.peerAddr, RouteHome: w.hostAddr, Message: mip6.BindingAcknowledgement{Sequence: 7}})
	if err := s.conn.Send(other, 0, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	if got := arrives(mip6.ProtocolRouting, mip6.ProtocolMobility); !bytes.Equal(got, other) {
		t.Errorf("arrived %x, want %x", got, other)
	}
	test := s.message(mip6.Packet{Source: w.hostAddr, Destination: homeAddress, Message: mip6.HomeTest{NonceIndex: 1}})
	path := overlay.Path{Local: w.addr, Remote: w.peerAddr, Link: w.router.Index("r0")}
	if err := s.conn.SendTunnelled(overlay.Key{Home: homeAddress, Side: overlay.AgentSide}, path, test); err != nil {
		t.Fatal(err)
	}
	got = arrives(mip6.ProtocolESP)
	if r, err := s.mobile.Unprotect(got); err != nil || r.Tunnel == nil || !bytes.Equal(r.Packet, test) {
		t.Errorf("arrived %x: %v", got, err)
	}
	var e *SendError
	if err := s.conn.SendTunnelled(overlay.Key{Home: w.hostAddr, Side: overlay.AgentSide}, path, test); !errors.As(err, &e) || e.Reason != SendProhibited || !errors.Is(err, esp.ErrNoAssociation) {
		t.Errorf("without a policy: %v", err)
	}
	if n := s.conn.Counters().SendErrors[SendProhibited]; n != 1 {
		t.Errorf("%d counted", n)
	}
}

// Policies come and go with the configuration.
func TestSetPolicies(t *testing.T) {
	w := newWorld(t)
	s := w.openSecured()
	_, ofAgent := s.policies()
	bad := ofAgent
	bad.In.Key = "short"
	if err := s.conn.SetPolicies([]esp.Policy{bad}); !errors.Is(err, esp.ErrInvalid) || strings.Contains(err.Error(), "short") {
		t.Errorf("bad policy: %v", err)
	}
	update := s.update()
	send(t, w.peer, update)
	if r := wait(t, s.dropped); r != role.DropUnauthenticated {
		t.Errorf("the policy before is gone: %v", r)
	}
	if err := s.conn.SetPolicies(nil); err != nil {
		t.Fatal(err)
	}
	send(t, w.peer, s.seal(update)) // nobody's any more
	send(t, w.peer, update)
	w.expect(update, w.router.Index("r0"))
	if err := s.conn.SetPolicies([]esp.Policy{ofAgent}); err != nil {
		t.Fatal(err)
	}
	send(t, w.peer, s.seal(update))
	if d := wait(t, s.protected); !bytes.Equal(d.packet, update) {
		t.Errorf("delivered %x", d.packet)
	}
	if n := w.parameterProblems(); n != 0 && s.conn.Silenced() {
		t.Errorf("%d parameter problems", n)
	}
	s.conn.Close()
	if err := s.conn.SetPolicies(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	c := newWorld(t).open()
	if err := c.SetPolicies([]esp.Policy{ofAgent}); !errors.Is(err, errNoIPsec) {
		t.Errorf("without IPsec: %v", err)
	}
	if err := c.SendTunnelled(overlay.Key{}, overlay.Path{}, nil); !errors.Is(err, errNoIPsec) {
		t.Errorf("without IPsec: %v", err)
	}
}
