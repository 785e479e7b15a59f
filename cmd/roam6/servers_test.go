package main

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/vishvananda/netlink"

	"roam6/internal/lab/dhcpserver"
	labworld "roam6/internal/lab/world"
)

// A server that takes longer than the client's retransmission time: one lease is
// taken of all the answers, and nothing more is asked (RFC 8415 §15, §18.2.1).
func TestSlowServer(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	a := newAccess(t, "", managed)
	s := &server{name: "slow"}
	at := pooled(0)
	decent := s.leasing(func() netip.Addr { return at })
	s.answer = func(m *dhcpv6.Message, n int) [][]byte {
		time.Sleep(1500 * time.Millisecond)
		return decent(m, n)
	}
	a.serve(s)
	a.join("")
	a.registersAt(at)
	a.until("all answers have come", func() bool {
		solicits := len(s.was(dhcpv6.MessageTypeSolicit))
		received := uint64(0)
		for _, m := range a.stats().DHCP {
			received += m.Received
		}
		return received >= uint64(solicits)
	})
	if n := len(s.was(dhcpv6.MessageTypeSolicit)); n > 3 {
		t.Errorf("%d solicitations", n)
	}
	if n := len(s.was(dhcpv6.MessageTypeRequest)) + len(s.was(dhcpv6.MessageTypeRenew)); n != 0 {
		t.Errorf("%d messages after the lease", n)
	}
	if c := a.clients(); len(c) != 1 || c[0].State != "bound" || len(c[0].Addresses) != 1 {
		t.Errorf("leases: %+v", c)
	}
	a.end()
}

// backsOff checks that each wait between messages is longer than the one before
// (RFC 8415 §15): about twice as long.
func backsOff(t *testing.T, list []asked) {
	t.Helper()
	for i := 2; i < len(list); i++ {
		before, after := list[i-1].at.Sub(list[i-2].at), list[i].at.Sub(list[i-1].at)
		if after < before*13/10 {
			t.Errorf("message %d came after %v, the one before after %v", i+1, after, before)
		}
	}
}

// Nobody answers: where an address can be formed it is used, and nothing disturbs
// it; the client goes on to ask, ever more rarely.
func TestSilentServer(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	a := newAccess(t, "", managed, formable)
	s := a.serve(&server{name: "silent", answer: func(*dhcpv6.Message, int) [][]byte { return nil }})
	a.join("")
	formed := a.registers("it is registered with a formed address", accessPrefix.Contains)
	a.until("it has asked four times", func() bool { return len(s.was(dhcpv6.MessageTypeSolicit)) >= 4 })
	if now := a.update(); now.CareOf != formed || !now.Registered {
		t.Errorf("it was registered at %v and is at %v", formed, now.CareOf)
	}
	backsOff(t, s.was(dhcpv6.MessageTypeSolicit))
	a.end()
}

// Nobody answers on the best uplink, where addresses are leased only: the next
// uplink is used meanwhile, and the best one when a server is there.
func TestSilentServerOnBestUplink(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	a := newAccess(t, `config interface
	option interface 'wan1'
	option AdvSendAdvert '1'
	option AdvIntervalOpt '1'
	option min_interval_ms '30'
	option max_interval_ms '70'
config prefix
	option interface 'wan1'
	list prefix '2001:db8:a2::/64'
`, managed)
	s := &server{name: "late"}
	there := make(chan struct{})
	decent := s.leasing(func() netip.Addr { return pooled(0) })
	s.answer = func(m *dhcpv6.Message, n int) [][]byte {
		select {
		case <-there:
			return decent(m, n)
		default:
			return nil
		}
	}
	a.serve(s)
	a.must(a.agentSpace.Link.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "wan1", Index: 2000, TxQLen: -1, HardwareAddr: net.HardwareAddr{2, 6, 6, 0, 1, 1}},
		PeerName:  "up1", PeerHardwareAddr: net.HardwareAddr{2, 6, 6, 0, 1, 2}, PeerTxQLen: -1, PeerNamespace: netlink.NsFd(a.hostSpace.FD()),
	}))
	a.up(a.agentSpace, "wan1", true)
	a.up(a.hostSpace, "up1", true)
	a.must(labworld.AddAddress(a.agentSpace, "wan1", netip.MustParsePrefix("2001:db8:a2::1/64")))
	a.join("\tlist uplink 'up1'\n")
	a.registers("it is registered by the second uplink", netip.MustParsePrefix("2001:db8:a2::/64").Contains)
	a.until("it has asked three times", func() bool { return len(s.was(dhcpv6.MessageTypeSolicit)) >= 3 })
	backsOff(t, s.was(dhcpv6.MessageTypeSolicit))
	close(there)
	a.registersAt(pooled(0))
	a.before = nil // the second cable stays
	a.leave()
}

// nonsense is what a server may send that is out of its mind, or evil, in answer to
// a message.
func (s *server) nonsense(m *dhcpv6.Message) (all [][]byte) {
	const hour = time.Hour
	add := func(kind dhcpv6.MessageType, options ...dhcpv6.Option) *dhcpv6.Message {
		r := s.reply(kind, m, options...)
		all = append(all, nil)
		return r
	}
	put := func(r *dhcpv6.Message) { all[len(all)-1] = r.ToBytes() }
	reply, advertise := dhcpv6.MessageTypeReply, dhcpv6.MessageTypeAdvertise
	good := leases(m, pooled(0xbad), hour, hour, hour)

	r := add(reply, rapidCommit(), good) // another transaction
	r.TransactionID[0]++
	put(r)
	r = add(reply, rapidCommit(), good) // for somebody else
	r.UpdateOption(dhcpv6.OptClientID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 1, 1, 1, 1, 1}}))
	put(r)
	r = add(reply, rapidCommit(), good) // from nobody
	r.Options.Del(dhcpv6.OptionServerID)
	put(r)
	put(add(reply, good)) // no rapid commit
	put(add(dhcpv6.MessageTypeReconfigure, good))
	put(add(dhcpv6.MessageTypeSolicit, good))
	put(add(dhcpv6.MessageType(77), good))
	for _, address := range []string{"ff02::1", "::1", "::", "fe80::7", "::ffff:192.0.2.1"} {
		put(add(reply, rapidCommit(), leases(m, netip.MustParseAddr(address), hour, hour, hour)))
		put(add(advertise, dhcpv6.OptPreference(255), leases(m, netip.MustParseAddr(address), hour, hour, hour)))
	}
	put(add(reply, rapidCommit(), leases(m, pooled(0xbad), hour/2, 2*hour, hour))) // preferred for longer than valid
	put(add(reply, rapidCommit(), leases(m, pooled(0xbad), hour/2, 0, 0)))
	put(add(advertise, dhcpv6.OptPreference(255), status(iana.StatusNoAddrsAvail)))
	for range 20 {
		put(add(reply, rapidCommit(), status(iana.StatusNotOnLink)))
		put(add(reply, rapidCommit(), status(iana.StatusUnspecFail)))
	}
	// Domain names that are compressed into each other, and more than fits.
	names := bytes.Repeat([]byte{3, 'w', 'w', 'w', 0xc0, 0}, 600)
	for _, n := range []int{len(names), 3 * len(names)} {
		put(add(reply, rapidCommit(), &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionDomainSearchList, OptionData: bytes.Repeat(names, n/len(names))}))
	}
	whole := s.reply(reply, m, rapidCommit(), good).ToBytes()
	for _, n := range []int{0, 1, 3, 4, 5, 11, len(whole) / 2, len(whole) - 1} {
		all = append(all, whole[:n])
	}
	return append(all, append(slices.Clone(whole[:4]), bytes.Repeat([]byte{0, 3, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 200)...))
}

// One server talks nonsense and another one does not: the daemon stays, counts by
// reason what it does not take, and takes the address of the other one; and keeps
// it, when it renews it (RFC 8415 §16, §18.2.10).
func TestNonsenseServer(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	a := newAccess(t, "", managed)
	odd := &server{name: "odd"}
	odd.answer = func(m *dhcpv6.Message, _ int) [][]byte { return odd.nonsense(m) }
	a.serve(odd)
	decent := &server{name: "decent"}
	well := decent.leasing(func() netip.Addr { return pooled(1) })
	decent.answer = func(m *dhcpv6.Message, n int) [][]byte {
		switch m.MessageType {
		case dhcpv6.MessageTypeSolicit:
			if n < 2 {
				return nil // the other one comes first
			}
			return [][]byte{decent.reply(dhcpv6.MessageTypeReply, m, rapidCommit(), leases(m, pooled(1), time.Second, time.Hour, time.Hour)).ToBytes()}
		case dhcpv6.MessageTypeRenew:
			if n < 2 {
				return nil
			}
		}
		return well(m, n)
	}
	a.serve(decent)
	a.join("")
	a.registersAt(pooled(1))
	for _, reason := range []string{"malformed", "unsolicited", "not_for_us", "unexpected", "unroutable", "unauthenticated", "unknown_type"} {
		if a.dropped()[reason] == 0 {
			t.Errorf("nothing was dropped as %s: %v", reason, a.dropped())
		}
	}
	a.until("the lease is renewed", func() bool { return len(decent.was(dhcpv6.MessageTypeRenew)) > 0 })
	before := a.dropped()["unsolicited"]
	a.until("nonsense has come in answer to that", func() bool {
		return a.dropped()["unsolicited"] >= before+10 || len(odd.was(dhcpv6.MessageTypeRenew)) > 0
	})
	if now := a.update(); now.CareOf != pooled(1) || !now.Registered {
		t.Errorf("it is registered: %t, at %v", now.Registered, now.CareOf)
	}
	if b, err := os.ReadFile(a.resolver()); err == nil {
		t.Errorf("the resolver file has %q", b)
	}
	a.end()
}

// The address that a server leases is in use by somebody else: it is declined, and
// another one is used (RFC 8415 §18.2.8).
func TestDecline(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	t.Run("own", func(t *testing.T) {
		t.Parallel()
		a := newAccess(t, "", managed)
		a.taken(pooled(0))
		s := &server{name: "own"}
		s.answer = s.leasing(func() netip.Addr { return pooled(len(s.was(dhcpv6.MessageTypeDecline))) })
		a.serve(s)
		a.join("")
		a.registersAt(pooled(1))
		list := s.was(dhcpv6.MessageTypeDecline)
		if len(list) != 1 {
			t.Fatalf("%d messages", len(list))
		}
		m := list[0]
		ia := m.Options.OneIANA()
		if ia == nil || ia.Options.OneAddress() == nil || !ia.Options.OneAddress().IPv6Addr.Equal(net.IP(pooled(0).AsSlice())) || m.Options.ServerID() == nil {
			t.Errorf("declined: %v", m.Summary())
		}
		if a.stats().Mobile.Duplicates != 1 {
			t.Errorf("duplicates: %+v", a.stats().Mobile)
		}
		a.end()
	})
	eachServer(t, func(t *testing.T, k dhcpserver.Kind) {
		a := newAccess(t, "", managed)
		s := a.run(k, dhcpserver.Config{First: pooled(0), Last: pooled(7), T1: time.Minute, Valid: time.Hour, Rapid: true, AtOnce: true, Number: 1})
		first := pooled(0)
		if k == dhcpserver.Dnsmasq { // it makes the address of the client's identifier
			a.join("")
			first = a.registers("it is registered", accessPrefix.Contains)
			a.saves(first)
			a.crash()
		}
		a.taken(first)
		a.join("")
		second := a.registers("it is registered with another address", func(b netip.Addr) bool { return accessPrefix.Contains(b) && b != first })
		if second.Compare(pooled(0)) < 0 || second.Compare(pooled(7)) > 0 {
			t.Errorf("it is registered at %v", second)
		}
		s.logs("DHCP6_DECLINE_LEASE", "DHCPDECLINE(wan0)")
		a.end()
	})
}

// Where a router says so there is no lease, but information: it is in the resolver
// file, until the daemon ends (RFC 4861 §4.2, RFC 8415 §18.2.6).
func TestInformation(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	eachServer(t, func(t *testing.T, k dhcpserver.Kind) {
		a := newAccess(t, "", informed, formable)
		a.run(k, dhcpserver.Config{T1: time.Minute, Valid: time.Hour, Number: 1})
		a.join("")
		a.registers("it is registered with a formed address", accessPrefix.Contains)
		a.until("the resolver file is written", func() bool {
			b, err := os.ReadFile(a.resolver())
			return err == nil && strings.Contains(string(b), "nameserver 2001:db8:53::9\nsearch example.net\n")
		})
		if c := a.clients(); len(c) != 1 || c[0].State != "informed" || len(c[0].Addresses) != 0 {
			t.Errorf("leases: %+v", c)
		}
		a.end()
		if _, err := os.Stat(a.resolver()); err == nil {
			t.Error("the resolver file is left")
		}
	})
}

// A host that ends returns its lease (RFC 8415 §18.2.7). One that crashes has the
// same address afterwards: it is the same client to the server (§11, §12).
func TestLeaseAcrossRestarts(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	eachServer(t, func(t *testing.T, k dhcpserver.Kind) {
		a := newAccess(t, "", managed)
		s := a.run(k, dhcpserver.Config{First: pooled(0), Last: pooled(0xf), T1: time.Minute, Valid: time.Hour, Rapid: true, Number: 1})
		a.join("")
		first := a.registers("it is registered", accessPrefix.Contains)
		a.saves(first)
		a.crash()
		a.join("")
		a.registersAt(first)
		s.logs("DHCP6_LEASE_RENEW", "DHCPREBIND(wan0)")
		a.leave()
		s.logs("DHCP6_RELEASE_NA ", "DHCPRELEASE(wan0)")
		client := func() string {
			b, err := os.ReadFile(a.directory + "/state/duid")
			a.must(err)
			return string(b)
		}
		before := client()
		a.join("")
		a.registers("it is registered again", accessPrefix.Contains)
		if client() != before {
			t.Error("it has another identifier")
		}
		a.end()
	})
}
