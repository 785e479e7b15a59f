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
	// Request is the number by which templates of policies name the states that they
	// want, and their owner knows them (reqid); zero is none.
	Request uint32
	// Mark are bits of the mark that a packet must have for its header to be taken off by
	// this state; zero: none. Of packets that are sent they ask nothing.
	Mark uint32
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
		Reqid: s.Request, Family: unix.AF_INET6, Mode: uint8(netlink.XFRM_MODE_ROUTEOPTIMIZATION),
		Lft: nl.XfrmLifetimeCfg{SoftByteLimit: nl.XFRM_INF, HardByteLimit: nl.XFRM_INF, SoftPacketLimit: nl.XFRM_INF, HardPacketLimit: nl.XFRM_INF},
	}
	m.Sel.Family = unix.AF_INET6
	if s.any() {
		m.Flags = nl.XFRM_STATE_WILDRECV
	}
	_, err := c.execute(kind, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, 0, s.marked(m, nl.NewRtAttr(nl.XFRMA_COADDR, ip(s.CareOf)))...)
	if err != nil {
		return fmt.Errorf("%s %v: %w", verb, s, err)
	}
	return nil
}

// marked appends the mark, by which the kernel knows a state as it does by its addresses.
func (s State) marked(data ...nl.NetlinkRequestData) []nl.NetlinkRequestData {
	if s.Mark == 0 {
		return data
	}
	m := nl.XfrmMark{Value: s.Mark, Mask: s.Mark}
	return append(data, nl.NewRtAttr(nl.XFRMA_MARK, m.Serialize()))
}

// Remove removes the state with these header, addresses and mark; the rest does not count.
// The error wraps ESRCH if there is none.
func (c *Conn) Remove(s State) error {
	m := &nl.XfrmUsersaId{Daddr: wire(s.Destination), Family: unix.AF_INET6, Proto: uint8(s.Header)}
	// These states have no SPI to be found by.
	if _, err := c.execute(nl.XFRM_MSG_DELSA, unix.NLM_F_ACK, 0, s.marked(m, nl.NewRtAttr(nl.XFRMA_SRCADDR, ip(s.Source)))...); err != nil {
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
		s, family, err := parseStatus(b)
		if err != nil {
			return nil, fmt.Errorf("list XFRM states with %v: %w", h, err)
		}
		if s.Header == h && family == unix.AF_INET6 {
			all = append(all, s)
		}
	}
	return all, nil
}

// Get returns the state with these header, addresses and mark, as the kernel has it. The
// error wraps ESRCH if there is none.
func (c *Conn) Get(s State) (Status, error) {
	m := &nl.XfrmUsersaId{Daddr: wire(s.Destination), Family: unix.AF_INET6, Proto: uint8(s.Header)}
	messages, err := c.execute(nl.XFRM_MSG_GETSA, 0, nl.XFRM_MSG_NEWSA, s.marked(m, nl.NewRtAttr(nl.XFRMA_SRCADDR, ip(s.Source)))...)
	if err == nil && len(messages) != 1 {
		err = fmt.Errorf("%d messages", len(messages))
	}
	if err != nil {
		return Status{}, fmt.Errorf("get %v: %w", s, err)
	}
	status, _, err := parseStatus(messages[0])
	if err != nil {
		return Status{}, fmt.Errorf("get %v: %w", s, err)
	}
	return status, nil
}

// parseStatus reads struct xfrm_usersa_info and the attributes behind it.
func parseStatus(b []byte) (s Status, family uint16, err error) {
	if len(b) < nl.SizeofXfrmUsersaInfo {
		return s, 0, fmt.Errorf("message of %d octets", len(b))
	}
	m := nl.DeserializeXfrmUsersaInfo(b)
	s.State = State{Header: Header(m.Id.Proto), Source: address(m.Saddr), Destination: address(m.Id.Daddr), Request: m.Reqid}
	s.Packets, s.Octets = m.Curlft.Packets, m.Curlft.Bytes
	if m.Curlft.UseTime != 0 {
		s.Used = time.Unix(int64(m.Curlft.UseTime), 0)
	}
	attributes, err := nl.ParseRouteAttr(b[nl.SizeofXfrmUsersaInfo:])
	for _, a := range attributes {
		switch {
		case a.Attr.Type == nl.XFRMA_COADDR && len(a.Value) == 16:
			s.CareOf = netip.AddrFrom16([16]byte(a.Value))
		case a.Attr.Type == nl.XFRMA_MARK && len(a.Value) == nl.SizeofXfrmMark:
			s.Mark = nl.DeserializeXfrmMark(a.Value).Value
		}
	}
	return s, m.Family, err
}
