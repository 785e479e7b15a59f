package mhsock

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/sock"
	"roam6/mip6"
)

// What the stack would say to signalling and to data along optimised routes, and
// what keeps it from saying so:
//
//	Mobility Header first       "unrecognized next header" (Parameter Problem
//	                            code 1), unless a raw socket for protocol 135
//	                            exists: ours exists and discards everything.
//	Home Address option         "unrecognized option" (code 2)
//	type 2 routing header       "erroneous header field" (code 0): both dropped
//	                            by nftables in the input hook, which concerns
//	                            packets to local addresses only, after the
//	                            packet sockets have their copies.
//	ESP first                   "unrecognized next header" likewise, of a kernel
//	                            without IPsec; one with it drops an SPI that it
//	                            does not know in silence. With Options.IPsec
//	                            there is a raw socket for protocol 50, too.
//	ICMPv6 144 to 147           nothing: informational types that the kernel does
//	                            not know are ignored.
//
// That goes for data as well as for signalling, and for kernels with Mobile IPv6
// as well as without: the data plane takes the packets of optimised routes from
// a packet socket of its own, and a kernel that handled them too would do so a
// second time. What a data plane leaves to a kernel with Mobile IPv6 gets the mark
// that its states ask for (Options.RouteMark). A kernel with Mobile IPv6 answers some Mobility
// Headers itself (RFC 6275 §9.2), so there those without option or header are
// dropped as well. What such a kernel does with IPsec is left to it: packets
// whose option or header ESP or AH follows, and packets that it has just
// decrypted.

// openUnheard opens a raw socket that hears nothing of its protocol.
func openUnheard(protocol int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, err
	}
	if err := sock.AttachFilter(fd, []bpf.Instruction{bpf.RetConstant{Val: 0}}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("SO_ATTACH_FILTER", err)
	}
	return newFile(fd, "mhsock unheard"), nil
}

// kernelHasMobileIPv6 reports whether the kernel was built with
// CONFIG_IPV6_MIP6: without it a type 2 routing header is not accepted as a
// socket option (RFC 3542 §7).
func kernelHasMobileIPv6(socket *os.File) bool {
	rc, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	var has bool
	err = rc.Control(func(fd uintptr) {
		header := [24]byte{1: 2, 2: mip6.RoutingType2, 3: 1} // length 2, one segment left
		has = unix.SetsockoptString(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RTHDR, string(header[:])) == nil
		if has {
			_ = unix.SetsockoptString(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RTHDR, "")
		}
	})
	return err == nil && has
}

// homeAddressPlaces is the number of places where the Home Address option is
// looked for. Its alignment is 8n+6 (RFC 6275 §6.3), so that up to five
// options' worth of other content may precede it.
const homeAddressPlaces = 5

// rules returns what is dropped in the input hook; routeMark is Options.RouteMark.
func rules(mobileIPv6 bool, routeMark uint32) []nft.Rule {
	const (
		typeAndLength = 2  // of an option
		first         = 6  // first place of the option in its header
		unit          = 8  // octets
		headerUnits   = 2  // least length field of a header with the option
		option        = 16 // its length field
		routingLen    = 24 // of a type 2 routing header
		protocolESP   = 50
		protocolAH    = 51
	)
	nextHeaderIs := func(v byte) nft.Rule { return load(offsetNextHeader, 1).Equal(v) }
	var rs []nft.Rule
	if mobileIPv6 {
		rs = append(rs, notDecrypted(nextHeaderIs(mip6.ProtocolMobility)).Drop())
	}
	// Most packets have neither header: let them go with two comparisons.
	rs = append(rs, load(offsetNextHeader, 1).NotEqual(mip6.ProtocolDestination).NotEqual(mip6.ProtocolRouting).Accept())
	if mobileIPv6 {
		rs = append(rs, decrypted(nil).Accept())
		for _, ipsec := range []byte{protocolESP, protocolAH} {
			rs = append(rs,
				load(ipv6HeaderLen, 1).Equal(ipsec).Accept(),
				// Behind a type 2 routing header and a Home Address option.
				nextHeaderIs(mip6.ProtocolRouting).Load(ipv6HeaderLen, 1).Equal(mip6.ProtocolDestination).
					Load(ipv6HeaderLen+routingLen, 1).Equal(ipsec).Accept())
		}
	}
	if mobileIPv6 && routeMark != 0 {
		rs = append(rs, kernelsOwn(routeMark)...)
	}
	for place := range uint32(homeAddressPlaces) {
		r := nextHeaderIs(mip6.ProtocolDestination)
		// The header must be long enough to hold the option there, or what is
		// compared is somebody's payload.
		r = r.Load(ipv6HeaderLen+1, 1).AtLeast(byte(headerUnits + place))
		r = r.Load(ipv6HeaderLen+first+unit*place, typeAndLength).Equal(mip6.OptionTypeHomeAddress, option)
		rs = append(rs, r.Drop())
	}
	// Wherever it stands in the chain of extension headers.
	return append(rs, nft.Rule(nil).ExtensionHeader(mip6.ProtocolRouting, 2, 1).Equal(mip6.RoutingType2).Drop())
}

// kernelsOwn marks and lets pass what the kernel's Mobile IPv6 may take: data with the
// headers where everybody places them, and neither ESP nor AH behind. A state of XFRM that
// asks for the mark takes nothing else: not what is IPsec's, nor what a packet socket takes
// from behind other headers. What no state permits the kernel drops without a word, so that
// this says nothing about who takes a packet.
func kernelsOwn(mark uint32) []nft.Rule {
	const (
		second     = ipv6HeaderLen + 24 // header behind a type 2 routing header
		length     = 1
		optionType = 6
	)
	begins := func(protocol byte) nft.Rule { return load(offsetNextHeader, 1).Equal(protocol) }
	// The routing header with its length, type and one segment left; the option with its own length.
	route := begins(mip6.ProtocolRouting).Load(ipv6HeaderLen+length, 3).Equal(2, mip6.RoutingType2, 1)
	option := func(r nft.Rule, at uint32) nft.Rule {
		return r.Load(at+length, 1).Equal(2).Load(at+optionType, 2).Equal(mip6.OptionTypeHomeAddress, 16)
	}
	data := func(r nft.Rule, at uint32) nft.Rule {
		return r.Load(at, 1).NotEqual(mip6.ProtocolMobility).
			LoadMeta(nft.Mark).Bitwise(0, nft.MarkBits(^mark), nft.MarkBits(mark)).StoreMeta(nft.Mark).Accept()
	}
	return []nft.Rule{
		data(option(begins(mip6.ProtocolDestination), ipv6HeaderLen), ipv6HeaderLen),
		data(option(route.Load(ipv6HeaderLen, 1).Equal(mip6.ProtocolDestination), second), second),
		data(route.Load(ipv6HeaderLen, 1).NotEqual(mip6.ProtocolDestination), ipv6HeaderLen),
	}
}

// silencer keeps the nftables table in place.
type silencer struct {
	log      *slog.Logger
	nft      *nft.Socket
	table    string
	rules    []nft.Rule
	events   *nft.Events // what others do to the ruleset; nil: nobody knows
	restored atomic.Uint64
}

// openSilencer replaces the table, whatever an earlier instance left of it.
func openSilencer(table string, rules []nft.Rule, log *slog.Logger) (*silencer, error) {
	socket, err := nft.Open()
	if err != nil {
		return nil, err
	}
	s := &silencer{log: log, nft: socket, table: table, rules: rules}
	if err := replaceTable(socket, table, s.rules); err != nil {
		socket.Close()
		return nil, err
	}
	if s.events, err = nft.OpenEvents(); err != nil {
		log.LogAttrs(context.Background(), slog.LevelWarn,
			"nftables changes by others cannot be watched: our rules are not put back if somebody flushes the ruleset",
			slog.Any("error", err))
		s.events = nil
	}
	return s, nil
}

// unavailable reports whether err means that the kernel has no nftables.
func unavailable(err error) bool {
	return errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) ||
		errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL)
}

// restorePause limits how often a table is put back that somebody keeps
// deleting.
const restorePause = time.Second

// watchRunLoop puts the table back when somebody else deletes it, as `nft flush
// ruleset` does. It ends when done is closed and close was called.
func (s *silencer) watchRunLoop(done <-chan struct{}) {
	if s.events == nil {
		return
	}
	for {
		deleted, err := s.events.Deleted(s.table, s.nft.Port())
		if err != nil {
			return // closed
		}
		if !deleted {
			continue
		}
		s.restore()
		select {
		case <-done:
			return
		case <-time.After(restorePause):
		}
	}
}

func (s *silencer) restore() {
	if err := replaceTable(s.nft, s.table, s.rules); err != nil {
		if !errors.Is(err, os.ErrClosed) {
			s.log.LogAttrs(context.Background(), slog.LevelWarn,
				"nftables table was deleted by another program and cannot be put back: the kernel answers signalling with ICMPv6 errors",
				slog.String("table", s.table), slog.Any("error", err))
		}
		return
	}
	s.restored.Add(1)
	s.log.LogAttrs(context.Background(), slog.LevelInfo, "nftables table was deleted by another program and is back",
		slog.String("table", s.table))
}

// close deletes the table. Another instance's deletion of it is no error.
func (s *silencer) close() error {
	if s.events != nil {
		s.events.Close()
	}
	defer s.nft.Close()
	return s.nft.RemoveTable(s.table)
}
