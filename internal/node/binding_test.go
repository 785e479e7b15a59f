package node

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/control"
	"roam6/internal/mhsock"
	"roam6/internal/rtnl/nstest"
	"roam6/mip6"
)

// visitor is a mobile made of hand-built packets, on a link of its own to the
// home agent.
type visitor struct {
	*running
	conn     *mhsock.Conn
	answers  chan mip6.Packet
	sequence mip6.Sequence
	tokens   []mip6.KeygenToken // that optimise was given
	nonces   mip6.NonceIndices  // the newest
}

var (
	agentAddr = netip.MustParseAddr("2001:db8:10::1")
	visiting  = netip.MustParseAddr("2001:db8:a1::2")
	homeAddr  = netip.MustParseAddr("2001:db8:10::100")
	// visitorHome is a home address elsewhere: the node is a correspondent of it.
	visitorHome = netip.MustParseAddr("2001:db8:a1::99")
	visitorSA   = mip6.SecurityAssociation{SPI: 256, Key: mip6.SharedKey{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}
)

func newVisitor(t *testing.T, sections ...string) *visitor {
	away := nstest.New(t)
	text := strings.Replace(agentFile, "option prefix '2001:db8:10::/64'", "option prefix '2001:db8:10::/64'\n\toption dad '0'", 1)
	r := start(t, text+strings.Join(sections, ""), func(here *nstest.Space) {
		nstest.Veth(here, "wan0", away, "up0")
		assign(t, here, "home0", "2001:db8:10::1/64")
		assign(t, here, "wan0", "2001:db8:a1::1/64")
	})
	assign(t, away, "up0", "2001:db8:a1::2/64")
	assign(t, away, "up0", visitorHome.String()+"/128")
	// A binding update before the home agent has its link is refused, and one
	// packet is not sent twice here.
	r.until("the home link is known", func() bool { return strings.Contains(r.log.String(), "router advertisements started") })
	up, err := away.Handle.LinkByName("up0")
	if err != nil {
		t.Fatal(err)
	}
	if err := away.Handle.RouteAdd(&netlink.Route{LinkIndex: up.Attrs().Index, Gw: netip.MustParseAddr("2001:db8:a1::1").AsSlice()}); err != nil {
		t.Fatal(err)
	}
	v := &visitor{running: r, answers: make(chan mip6.Packet, 64)}
	away.Do(func() (err error) {
		v.conn, err = mhsock.Open(mhsock.Options{
			Local: func(a netip.Addr) bool { return a == visiting || a == visitorHome },
			Deliver: func(b []byte, _ int) {
				if p, err := mip6.ParsePacket(b); err == nil {
					v.answers <- p
				}
			},
		})
		return err
	})
	t.Cleanup(func() { v.conn.Close() })
	return v
}

// update builds a binding update for the home address, sealed with sa, or not
// at all when sa is nil.
func (v *visitor) update(sa *mip6.SecurityAssociation) mip6.Packet {
	v.Helper()
	v.sequence++
	var m mip6.Message = mip6.BindingUpdate{
		Sequence: v.sequence, Flags: mip6.UpdateAcknowledge | mip6.UpdateHome | mip6.UpdateMobileRouter,
		Lifetime: mip6.LifetimeFrom(600 * time.Second),
		Options:  []mip6.Option{mip6.AlternateCareOf{Addr: visiting}, mip6.MobileNetworkPrefix{Prefix: netip.MustParsePrefix("2001:db8:100::/64")}},
	}
	if sa != nil {
		var err error
		if m, err = sa.Seal(m, visiting, homeAddr); err != nil {
			v.Fatal(err)
		}
	}
	return mip6.Packet{Source: visiting, Destination: agentAddr, HomeAddress: homeAddr, Message: m}
}

func (v *visitor) send(b []byte) {
	v.Helper()
	if err := v.conn.Send(b, 0, netip.AddrFrom16([16]byte(b[8:24]))); err != nil {
		v.Fatal(err)
	}
}

func (v *visitor) encode(p mip6.Packet) []byte {
	v.Helper()
	b, err := p.Append(nil)
	if err != nil {
		v.Fatal(err)
	}
	return b
}

// answer waits for a binding acknowledgement.
func (v *visitor) answer() mip6.BindingAcknowledgement {
	v.Helper()
	for {
		select {
		case p := <-v.answers:
			if a, ok := p.Message.(mip6.BindingAcknowledgement); ok {
				return a
			}
		case <-time.After(10 * time.Second):
			v.Fatalf("no acknowledgement\n%s", v.log)
		}
	}
}

func (v *visitor) bindings() []control.Binding {
	v.Helper()
	d, err := v.client.Bindings(context.Background())
	if err != nil {
		v.Fatal(err)
	}
	return d.Bindings
}

// A binding is made by a real packet, is seen and forwarded for, and survives a
// reload that does not concern it; its mobile's removal ends it.
func TestBindingSurvivesReload(t *testing.T) {
	v := newVisitor(t)
	v.send(v.encode(v.update(&visitorSA)))
	if a := v.answer(); a.Status != mip6.StatusAccepted || a.Flags&mip6.AckMobileRouter == 0 {
		t.Fatalf("acknowledgement %+v", a)
	}
	b := v.bindings()
	if len(b) != 1 || b[0].State != "active" || b[0].CareOf[0].Address != visiting || len(b[0].Prefixes) != 1 {
		t.Fatalf("bindings %+v", b)
	}
	if during := leftovers(t, v.space); !strings.Contains(during, "route 2001:db8:100::/64") {
		t.Errorf("no route to the mobile network:\n%s", during)
	}
	good, err := os.ReadFile(v.file)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text string) {
		t.Helper()
		v.write(text)
		if err := v.client.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	reload(string(good) + "\nconfig mobile 'second'\n\toption home_address '2001:db8:10::200'\n\toption key '0f0e0d0c0b0a09080706050403020100'\n\toption spi '300'\n")
	if again := v.bindings(); len(again) != 1 || again[0].Created != b[0].Created {
		t.Errorf("bindings after the reload: %+v", again)
	}
	first, _, _ := strings.Cut(string(good), "config mobile ")
	reload(first)
	v.until("the binding of the removed mobile is gone", func() bool {
		return len(v.bindings()) == 0 && !strings.Contains(leftovers(t, v.space), "2001:db8:100::/64")
	})
	v.end()
}

// Whatever is malformed, unauthenticated, replayed or misdirected is counted by
// its reason and leaves no state; what is answered is answered as it should be.
//
// Covers: Attack: BU spoofing, Attack: malformed options, Attack: replay.
func TestBadInput(t *testing.T) {
	v := newVisitor(t)
	wrong := visitorSA
	wrong.Key[0] ^= 1
	stranger := v.update(nil)
	stranger.HomeAddress = netip.MustParseAddr("2001:db8:10::666")
	damaged := v.encode(v.update(&visitorSA))
	damaged[len(damaged)-1] ^= 1
	cut := v.encode(v.update(&visitorSA))
	cut = cut[:len(cut)-8]
	cut[4], cut[5] = byte((len(cut)-40)>>8), byte(len(cut)-40)
	for _, b := range [][]byte{
		v.encode(v.update(nil)), v.encode(v.update(&wrong)), v.encode(stranger), damaged, cut,
		v.encode(mip6.Packet{Source: visiting, Destination: agentAddr, Message: mip6.HomeTestInit{}}),
		v.encode(mip6.Packet{Source: visiting, Destination: agentAddr, Message: mip6.HomeTest{}}),
		v.encode(mip6.Packet{Source: visiting, Destination: agentAddr, Message: mip6.UnknownMessage{MessageType: 77, Body: make([]byte, 2)}}),
	} {
		v.send(b)
	}
	if a := v.answer(); a.Status != mip6.StatusAuthenticationFailed {
		t.Errorf("the wrong key is answered %v", a.Status)
	}
	counted := func() map[string]uint64 {
		s, err := v.client.Stats(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return s.MessagesDropped
	}
	for _, reason := range []string{"unauthenticated", "bad_authenticator", "unknown_mobile", "checksum", "malformed", "prohibited", "unexpected", "unknown_type"} {
		v.until("it is counted as "+reason, func() bool { return counted()[reason] == 1 })
	}
	if b := v.bindings(); len(b) != 0 {
		t.Errorf("bindings %+v", b)
	}
	// A good update, and then a recording of it.
	good := v.encode(v.update(&visitorSA))
	v.send(good)
	if a := v.answer(); a.Status != mip6.StatusAccepted {
		t.Fatalf("acknowledgement %+v", a)
	}
	v.send(good)
	if a := v.answer(); a.Status != mip6.StatusSequenceOutOfWindow {
		t.Errorf("the recording is answered %v", a.Status)
	}
	v.until("the replay is counted", func() bool { return counted()["replay"] == 1 })
	v.end()
}

// With flag L the link-local address is defended too, and packets for it are
// answered with Destination Unreachable code 3, never tunnelled (RFC 6275
// §10.4.2; H3, H8).
func TestLinkLocalHomeAddress(t *testing.T) {
	t.Parallel()
	v := newVisitor(t)
	p := v.update(nil)
	u := p.Message.(mip6.BindingUpdate)
	u.Flags |= mip6.UpdateLinkLocal
	var err error
	if p.Message, err = visitorSA.Seal(u, visiting, homeAddr); err != nil {
		t.Fatal(err)
	}
	v.send(v.encode(p))
	if a := v.answer(); a.Status != mip6.StatusAccepted {
		t.Fatalf("acknowledgement %+v", a)
	}
	link, err := v.peer.Handle.LinkByName("peer0")
	if err != nil {
		t.Fatal(err)
	}
	var kind, code uint8
	v.peer.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1); err != nil {
			return err
		}
		to := &unix.SockaddrInet6{Port: 9, ZoneId: uint32(link.Attrs().Index), Addr: netip.MustParseAddr("fe80::100").As16()}
		if err := unix.Sendto(fd, []byte("anybody there?"), 0, to); err != nil {
			return err
		}
		set := []unix.PollFd{{Fd: int32(fd)}}
		if n, err := unix.Poll(set, 10_000); err != nil || n == 0 {
			return fmt.Errorf("no ICMPv6 error within 10 s: %w", err)
		}
		control := make([]byte, 512)
		_, n, _, _, err := unix.Recvmsg(fd, make([]byte, 2048), control, unix.MSG_ERRQUEUE)
		if err != nil {
			return err
		}
		messages, err := unix.ParseSocketControlMessage(control[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR && len(m.Data) >= 8 {
				kind, code = m.Data[5], m.Data[6] // struct sock_extended_err
			}
		}
		return nil
	})
	if kind != 1 || code != 3 {
		t.Errorf("ICMPv6 type %d code %d, want Destination Unreachable (1) code 3", kind, code)
	}
	d, err := v.client.Tunnels(context.Background())
	if err != nil || len(d.Tunnels) != 1 || d.Tunnels[0].EncapsulatedPackets != 0 {
		t.Errorf("tunnels %+v, %v", d.Tunnels, err)
	}
	v.end()
}
