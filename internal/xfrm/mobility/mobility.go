// Package mobility speaks to the Mobile IPv6 of a kernel that has it
// (CONFIG_IPV6_MIP6, XFRM): states that put Home Address options and type 2 routing
// headers into packets and take them off, and what the kernel reports about packets with
// an option that nobody permits. Policies, and states of ESP, are those of
// vishvananda/netlink; that library knows no state without SPI, no care-of address and no
// report.
//
// What the kernel does with them:
//
//	sending     a policy with a template of a header, mode route optimisation, finds the
//	            State from source to destination. The option takes the place of the
//	            source, which becomes State.CareOf; the routing header that of the
//	            destination.
//	receiving   a header is accepted if there is a State from source to destination with
//	            the care-of address that the packet has in its IPv6 header, or one of any
//	            (Any), and if an inbound policy has a template for it. The home address
//	            of a routing header must besides be assigned with IFA_F_HOMEADDRESS.
//
// Everything concerns the network namespace of the thread that calls Open or
// OpenReports.
package mobility

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Header is a header of Mobile IPv6 that XFRM knows, by its protocol number.
type Header uint8

// The headers: "hao" and "route2" of ip-xfrm(8).
const (
	HomeAddressOption  Header = unix.IPPROTO_DSTOPTS // RFC 6275 §6.3
	Type2RoutingHeader Header = unix.IPPROTO_ROUTING // RFC 6275 §6.4
)

func (h Header) String() string {
	switch h {
	case HomeAddressOption:
		return "hao"
	case Type2RoutingHeader:
		return "route2"
	default:
		return fmt.Sprintf("header %d", uint8(h))
	}
}

// Template is that of a policy that demands the header, by a state with a request
// number, or any with zero. An inbound policy of optional ones takes packets without the
// header as well; of those with it the state has to be from source to destination, where
// they are valid.
func (h Header) Template(source, destination netip.Addr, request uint32, optional bool) netlink.XfrmPolicyTmpl {
	t := netlink.XfrmPolicyTmpl{
		Src: ip(source), Dst: ip(destination), Proto: netlink.Proto(h), Mode: netlink.XFRM_MODE_ROUTEOPTIMIZATION, Reqid: int(request),
	}
	if optional {
		t.Optional = 1
	}
	return t
}

// ErrUnsupported is a kernel without Mobile IPv6 in its XFRM.
var ErrUnsupported = fmt.Errorf("the kernel has no Mobile IPv6 (CONFIG_IPV6_MIP6, CONFIG_XFRM_USER): %w", errors.ErrUnsupported)

// Conn changes and lists states. Any number of goroutines may use it.
type Conn struct{ handle nl.SocketHandle }

// Open opens a connection to the kernel. It needs CAP_NET_ADMIN to change anything.
func Open() (*Conn, error) {
	s, err := nl.Subscribe(unix.NETLINK_XFRM)
	if err != nil {
		return nil, fmt.Errorf("XFRM netlink socket: %w", unsupported(err))
	}
	timeout := unix.Timeval{Sec: 10}
	if err := s.SetReceiveTimeout(&timeout); err != nil {
		s.Close()
		return nil, fmt.Errorf("XFRM netlink socket: %w", err)
	}
	return &Conn{handle: nl.SocketHandle{Socket: s}}, nil
}

// Close closes the connection; states stay.
func (c *Conn) Close() { c.handle.Close() }

func (c *Conn) execute(kind nl.XfrmMsgType, flags int, answer uint16, data ...nl.NetlinkRequestData) ([][]byte, error) {
	r := nl.NewNetlinkRequest(int(kind), flags)
	r.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_XFRM: &c.handle}
	for _, d := range data {
		r.AddData(d)
	}
	messages, err := r.Execute(unix.NETLINK_XFRM, answer)
	return messages, unsupported(err)
}

// unsupported says so of an error that means that.
func unsupported(err error) error {
	if errors.Is(err, syscall.EPROTONOSUPPORT) {
		return ErrUnsupported
	}
	return err
}

// ip is an address of an XFRM message; the zero value is the unspecified one.
func ip(a netip.Addr) net.IP {
	if !a.IsValid() {
		return net.IPv6unspecified
	}
	b := a.As16()
	return b[:]
}

// address is ip backwards.
func address(x nl.XfrmAddress) netip.Addr { return netip.AddrFrom16(x) }

func wire(a netip.Addr) (x nl.XfrmAddress) {
	copy(x[:], ip(a))
	return x
}
