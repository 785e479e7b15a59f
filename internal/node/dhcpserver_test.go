package node

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	codec "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/dhcpv6/dhcpconn"
	"roam6/internal/role"
	"roam6/internal/rtnl/nstest"
)

// accessServer is the DHCPv6 server of an access network, for tests: it gives
// every client the same, and remembers what it was asked.
type accessServer struct {
	t          *testing.T
	conn       *dhcpconn.Conn
	address    netip.Addr   // to lease; invalid: none
	prefix     netip.Prefix // to delegate; invalid: none
	dns        netip.Addr
	domain     string
	rapid      bool
	valid      time.Duration
	mu         sync.Mutex
	asked      []codec.MessageType
	identifier []byte // of the last client
}

// serve answers on an interface of a namespace until the end of the test.
func (a *accessServer) serve(t *testing.T, s *nstest.Space, name string) *accessServer {
	t.Helper()
	a.t = t
	if a.valid == 0 {
		a.valid = time.Hour
	}
	a.mu.Lock() // until there is something to answer by
	defer a.mu.Unlock()
	s.Do(func() (err error) {
		a.conn, err = dhcpconn.OpenGroup(s.Index(name), func(m role.DHCPReceived) { a.answer(m) })
		return err
	})
	t.Cleanup(func() { a.conn.Close() })
	return a
}

// was reports how often a message of a type came.
func (a *accessServer) was(kind codec.MessageType) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, k := range a.asked {
		if k == kind {
			n++
		}
	}
	return n
}

func (a *accessServer) client() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.identifier)
}

func (a *accessServer) answer(r role.DHCPReceived) {
	m, err := codec.MessageFromBytes(r.Message)
	if err != nil {
		a.t.Errorf("a message that cannot be read: %v", err)
		return
	}
	a.mu.Lock()
	a.asked = append(a.asked, m.MessageType)
	if id := m.Options.ClientID(); id != nil {
		a.identifier = id.ToBytes()
	}
	prefix := a.prefix
	a.mu.Unlock()
	reply := &codec.Message{MessageType: codec.MessageTypeReply, TransactionID: m.TransactionID}
	if m.MessageType == codec.MessageTypeSolicit {
		if a.rapid && m.GetOneOption(codec.OptionRapidCommit) != nil {
			reply.AddOption(&codec.OptionGeneric{OptionCode: codec.OptionRapidCommit})
		} else {
			reply.MessageType = codec.MessageTypeAdvertise
			reply.AddOption(codec.OptPreference(255))
		}
	}
	reply.AddOption(codec.OptClientID(m.Options.ClientID()))
	reply.AddOption(codec.OptServerID(&codec.DUIDLL{HWType: 1, LinkLayerAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}))
	if m.MessageType == codec.MessageTypeConfirm || m.MessageType == codec.MessageTypeRelease {
		reply.AddOption(&codec.OptStatusCode{})
	} else {
		for _, ia := range m.Options.IANA() {
			out := &codec.OptIANA{IaId: ia.IaId, T1: a.valid / 2, T2: a.valid * 4 / 5}
			if a.address.IsValid() {
				out.Options.Add(&codec.OptIAAddress{IPv6Addr: a.address.AsSlice(), PreferredLifetime: a.valid, ValidLifetime: a.valid})
			}
			reply.AddOption(out)
		}
		for _, ia := range m.Options.IAPD() {
			out := &codec.OptIAPD{IaId: ia.IaId, T1: a.valid / 2, T2: a.valid * 4 / 5}
			if prefix.IsValid() {
				out.Options.Add(&codec.OptIAPrefix{
					PreferredLifetime: a.valid, ValidLifetime: a.valid,
					Prefix: &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), 128)},
				})
			}
			reply.AddOption(out)
		}
	}
	if a.dns.IsValid() {
		codec.WithDNS(a.dns.AsSlice())(reply)
		codec.WithDomainSearchList(a.domain)(reply)
	}
	if err := a.conn.Send(role.SendDHCP{Link: r.Link, From: netip.AddrPortFrom(netip.Addr{}, 547), To: r.From, Message: reply.ToBytes()}); err != nil {
		a.t.Logf("answer: %v", err)
	}
}
