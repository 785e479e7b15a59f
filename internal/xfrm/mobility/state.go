package mobility

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// State is a state of XFRM, of one direction: packets from Source to Destination have the
// header, and the mobile is at CareOf. One of the two addresses is the home address, and
// with two mobiles both are. There is one state for a header between two addresses.
type State struct {
	Header              Header
	Source, Destination netip.Addr
	CareOf              netip.Addr
}

// Any accepts the header whatever the addresses, which decides nothing yet: the inbound
// policy does. What no policy takes is dropped and, with a Home Address option and
// anything but a Mobility Header, told (Report).
func Any(h Header) State {
	return State{Header: h, Source: netip.IPv6Unspecified(), Destination: netip.IPv6Unspecified(), CareOf: netip.IPv6Unspecified()}
}

func (s State) String() string {
	return fmt.Sprintf("XFRM state %v from %v to %v at %v", s.Header, s.Source, s.Destination, s.CareOf)
}

func (s State) any() bool { return s.Source.IsUnspecified() && s.Destination.IsUnspecified() }

// Status is a state as the kernel has it.
type Status struct {
	State
	Packets, Octets uint64    // octets of whole packets, IPv6 header included
	Used            time.Time // when the first packet passed; zero: none has. By the wall clock, in seconds
}

// Add adds a state. The error wraps EEXIST if there is one with the same addresses, and
// is ErrUnsupported on a kernel without Mobile IPv6.
func (c *Conn) Add(s State) error { return c.put(nl.XFRM_MSG_NEWSA, "add", s) }

// Update swaps the care-of address of a state in place: what is sent from now on has the
// new one, and received packets need it. The error wraps ESRCH if there is no such state.
func (c *Conn) Update(s State) error { return c.put(nl.XFRM_MSG_UPDSA, "update", s) }

func (c *Conn) put(kind nl.XfrmMsgType, verb string, s State) error {
	m := &nl.XfrmUsersaInfo{
		Id: nl.XfrmId{Daddr: wire(s.Destination), Proto: uint8(s.Header)}, Saddr: wire(s.Source),
		Family: unix.AF_INET6, Mode: uint8(netlink.XFRM_MODE_ROUTEOPTIMIZATION),
		Lft: nl.XfrmLifetimeCfg{SoftByteLimit: nl.XFRM_INF, HardByteLimit: nl.XFRM_INF, SoftPacketLimit: nl.XFRM_INF, HardPacketLimit: nl.XFRM_INF},
	}
	m.Sel.Family = unix.AF_INET6
	if s.any() {
		m.Flags = nl.XFRM_STATE_WILDRECV
	}
	_, err := c.execute(kind, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, 0, m, nl.NewRtAttr(nl.XFRMA_COADDR, ip(s.CareOf)))
	if err != nil {
		return fmt.Errorf("%s %v: %w", verb, s, err)
	}
	return nil
}

// Remove removes the state with these header and addresses; CareOf does not count. The
// error wraps ESRCH if there is none.
func (c *Conn) Remove(s State) error {
	m := &nl.XfrmUsersaId{Daddr: wire(s.Destination), Family: unix.AF_INET6, Proto: uint8(s.Header)}
	// These states have no SPI to be found by.
	if _, err := c.execute(nl.XFRM_MSG_DELSA, unix.NLM_F_ACK, 0, m, nl.NewRtAttr(nl.XFRMA_SRCADDR, ip(s.Source))); err != nil {
		return fmt.Errorf("remove %v: %w", s, err)
	}
	return nil
}

// States lists the states with a header.
func (c *Conn) States(h Header) ([]Status, error) {
	messages, err := c.execute(nl.XFRM_MSG_GETSA, unix.NLM_F_DUMP, nl.XFRM_MSG_NEWSA, nl.NewRtAttr(nl.XFRMA_PROTO, []byte{uint8(h)}))
	if err != nil {
		return nil, fmt.Errorf("list XFRM states with %v: %w", h, err)
	}
	var all []Status
	for _, b := range messages {
		if len(b) < nl.SizeofXfrmUsersaInfo {
			return nil, fmt.Errorf("list XFRM states with %v: message of %d octets", h, len(b))
		}
		m := nl.DeserializeXfrmUsersaInfo(b)
		if m.Id.Proto != uint8(h) || m.Family != unix.AF_INET6 {
			continue
		}
		s := Status{
			State:   State{Header: h, Source: address(m.Saddr), Destination: address(m.Id.Daddr)},
			Packets: m.Curlft.Packets, Octets: m.Curlft.Bytes,
		}
		if m.Curlft.UseTime != 0 {
			s.Used = time.Unix(int64(m.Curlft.UseTime), 0)
		}
		attributes, err := nl.ParseRouteAttr(b[nl.SizeofXfrmUsersaInfo:])
		if err != nil {
			return nil, fmt.Errorf("list XFRM states with %v: %w", h, err)
		}
		for _, a := range attributes {
			if a.Attr.Type == nl.XFRMA_COADDR && len(a.Value) == 16 {
				s.CareOf = netip.AddrFrom16([16]byte(a.Value))
			}
		}
		all = append(all, s)
	}
	return all, nil
}
