package main

import (
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"roam6/internal/lab/dhcpserver"
	labworld "roam6/internal/lab/world"
)

// has reports whether the host has an address on its uplink, in the kernel.
func (a *access) has(address netip.Addr) bool {
	return strings.Contains(strings.Join(a.snapshots()["host"], "\n"), "address "+address.String()+"/")
}

// gone lets the carrier go and come back.
func (a *access) gone() {
	a.Helper()
	a.up(a.agentSpace, "wan0", false)
	a.until("the host notices that the carrier is gone", func() bool { u := a.update(); return u.Lost || u.Attachment == nil })
	a.back()
}

func (a *access) back() {
	a.Helper()
	a.up(a.agentSpace, "wan0", true)
	a.must(labworld.AddAddress(a.agentSpace, "wan0", netip.PrefixFrom(villageAR, 64)))
}

// The link of before has another server's addresses now: what the host has is used
// at once, until a server says that it is not of this link (RFC 8415 §18.2.3,
// §18.2.10.3), and then another one is.
func TestLinkRenumberedMeanwhile(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	a := newAccess(t, "", managed)
	var number atomic.Int32
	s := &server{name: "renumbering"}
	well := s.leasing(func() netip.Addr { return pooled(int(number.Load())) })
	s.answer = func(m *dhcpv6.Message, n int) [][]byte {
		if m.MessageType == dhcpv6.MessageTypeConfirm && number.Load() > 0 {
			return [][]byte{s.reply(dhcpv6.MessageTypeReply, m, status(iana.StatusNotOnLink)).ToBytes()}
		}
		return well(m, n)
	}
	a.serve(s)
	a.join("")
	a.registersAt(pooled(0))
	a.gone()
	a.until("the lease is confirmed", func() bool { return len(s.was(dhcpv6.MessageTypeConfirm)) == 1 })
	a.registersAt(pooled(0))
	number.Store(1)
	a.gone()
	a.registersAt(pooled(1))
	a.until("the old address is gone", func() bool { return !a.has(pooled(0)) })
	if n := len(s.was(dhcpv6.MessageTypeDecline)) + len(s.was(dhcpv6.MessageTypeRelease)); n != 0 {
		t.Errorf("%d messages about the old address", n)
	}
	a.end()
}

// A server that renews a lease gives another address beside it and the old one no
// more (RFC 8415 §18.2.10.1): the host moves to the new one.
func TestAddressReplacedByRenewal(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	for name, left := range map[string]time.Duration{"at once": 0, "after some time": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAccess(t, "", managed)
			s := &server{name: "moving"}
			well := s.leasing(func() netip.Addr { return pooled(0) })
			s.answer = func(m *dhcpv6.Message, n int) [][]byte {
				const hour = time.Hour
				switch m.MessageType {
				case dhcpv6.MessageTypeSolicit:
					return [][]byte{s.reply(dhcpv6.MessageTypeReply, m, rapidCommit(), leases(m, pooled(0), time.Second, hour, hour)).ToBytes()}
				case dhcpv6.MessageTypeRenew:
					ia := leases(m, pooled(1), hour/2, hour, hour).(*dhcpv6.OptIANA)
					ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.IP(pooled(0).AsSlice()), ValidLifetime: left})
					return [][]byte{s.reply(dhcpv6.MessageTypeReply, m, ia).ToBytes()}
				}
				return well(m, n)
			}
			a.serve(s)
			a.join("")
			a.registersAt(pooled(0))
			a.registersAt(pooled(1))
			a.until("the old address is gone", func() bool { return !a.has(pooled(0)) })
			a.end()
		})
	}
}

// The server falls silent, and the lease ends: its address is used no longer than
// that (RFC 8415 §18.2.4, §18.2.5), in the kernel neither. When the server is back
// the host is, too.
func TestLeaseEnds(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	a := newAccess(t, "", managed)
	var silent atomic.Bool
	s := &server{name: "ending"}
	well := s.leasing(func() netip.Addr { return pooled(0) })
	s.answer = func(m *dhcpv6.Message, n int) [][]byte {
		switch {
		case silent.Load():
			return nil
		case m.MessageType == dhcpv6.MessageTypeSolicit:
			return [][]byte{s.reply(dhcpv6.MessageTypeReply, m, rapidCommit(), leases(m, pooled(0), time.Second, 4*time.Second, 5*time.Second)).ToBytes()}
		}
		return well(m, n)
	}
	a.serve(s)
	a.join("")
	a.registersAt(pooled(0))
	silent.Store(true)
	a.until("the lease has ended", func() bool {
		c := a.clients()
		return len(c) == 1 && len(c[0].Addresses) == 0 && c[0].State == "soliciting"
	})
	a.until("the address is gone", func() bool { return !a.has(pooled(0)) })
	if u := a.update(); u.CareOf == pooled(0) && !u.Lost {
		t.Errorf("it is used: %+v", u)
	}
	silent.Store(false)
	a.registersAt(pooled(0))
	a.end()
}

// A server leases the address that the host has formed itself: it stays where it
// is, and works.
func TestLeasedAddressIsTheFormedOne(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	a := newAccess(t, "", managed, formable)
	var there atomic.Bool
	formed := netip.Addr{}
	s := &server{name: "same"}
	well := s.leasing(func() netip.Addr { return formed })
	s.answer = func(m *dhcpv6.Message, n int) [][]byte {
		if !there.Load() {
			return nil
		}
		return well(m, n)
	}
	a.serve(s)
	a.join("")
	formed = a.registers("it is registered with a formed address", accessPrefix.Contains)
	there.Store(true)
	a.until("it is leased", func() bool { c := a.clients(); return len(c) == 1 && c[0].State == "bound" })
	// What it replaces is taken away two seconds later.
	time.Sleep(2500 * time.Millisecond)
	if !a.has(formed) {
		t.Error("the address is gone")
	}
	a.registersAt(formed)
	a.end()
}

// A server gives the declined address again and again: a formed one is used, and
// nothing becomes of it but a few messages (RFC 8415 §18.2.8, §14.1).
func TestStubbornServer(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	a := newAccess(t, "", managed, formable)
	a.taken(pooled(0))
	s := &server{name: "stubborn"}
	s.answer = s.leasing(func() netip.Addr { return pooled(0) })
	a.serve(s)
	a.join("")
	a.until("it was declined", func() bool { return len(s.was(dhcpv6.MessageTypeDecline)) > 0 })
	formed := a.registers("it is registered with a formed address", func(b netip.Addr) bool { return accessPrefix.Contains(b) && b != pooled(0) })
	time.Sleep(3 * time.Second)
	if u := a.update(); u.CareOf != formed || u.Lost {
		t.Errorf("it was at %v and is at %v", formed, u.CareOf)
	}
	s.mu.Lock()
	n := len(s.came)
	s.mu.Unlock()
	if n > 20 {
		t.Errorf("%d messages", n)
	}
	a.end()
}

// What happens to the interface does not end the daemon, nor its lease.
//
// Covers: B10, B5.
func TestManagedLinkComesAndGoes(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	a := newAccess(t, "", managed)
	s := &server{name: "steady"}
	s.answer = s.leasing(func() netip.Addr { return pooled(0) })
	a.serve(s)
	a.join("")
	a.registersAt(pooled(0))
	for range 5 {
		a.gone()
	}
	a.registersAt(pooled(0))
	a.rename("up0", "usb0")
	a.until("the host is nowhere", func() bool { u := a.update(); return u.Lost || u.Attachment == nil })
	a.rename("usb0", "up0")
	a.registersAt(pooled(0))
	s.conn.Close()
	a.remove("up0")
	a.until("the host is nowhere", func() bool { u := a.update(); return u.Lost || u.Attachment == nil })
	a.plug("up0")
	s = &server{name: "steady"}
	s.answer = s.leasing(func() netip.Addr { return pooled(0) })
	a.serve(s)
	a.registersAt(pooled(0))
	a.end()
}

// An uplink whose addresses are leased whatever the routers say: the client asks
// with the carrier, before it knows what link it is on, and has the same address
// when the carrier was away, and when four messages are wanted.
func TestLeasedOnly(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	const uplink = "config uplink\n\toption interface 'up0'\n\toption addressing 'dhcpv6'\n"
	eachServer(t, func(t *testing.T, k dhcpserver.Kind) {
		a := newAccess(t, "", formable)
		s := a.run(k, dhcpserver.Config{First: pooled(0), Last: pooled(0xf), T1: time.Minute, Valid: time.Hour, Rapid: true, AtOnce: true, Number: 1})
		inPool := func(b netip.Addr) bool { return b.Compare(pooled(0)) >= 0 && b.Compare(pooled(0xf)) <= 0 }
		a.join(uplink)
		first := a.registers("it is registered with a leased address", inPool)
		for range 2 {
			a.gone()
			a.registersAt(first)
		}
		a.saves(first)
		a.crash()
		a.join(uplink + "\toption rapid_commit '0'\n")
		a.registersAt(first)
		a.leave()
		a.join(uplink + "\toption rapid_commit '0'\n")
		a.registers("it is registered after four messages", inPool)
		s.logs("ADVERTISE (type 2)", "DHCPREQUEST(wan0)")
		a.end()
	})
}
