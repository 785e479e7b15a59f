package mobility

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Report is what the kernel says of a packet with a Home Address option that no policy
// permits: to be answered with a Binding Error (RFC 6275 §9.3.1, §9.3.3). Anybody can
// cause as many as he sends packets.
type Report struct {
	Source, Destination netip.Addr // of the IPv6 header
	Home                netip.Addr // of the option
	Protocol            uint8      // of what is behind the extension headers
}

// Reports hears the kernel's reports.
type Reports struct{ socket *nl.NetlinkSocket }

// OpenReports begins to hear reports. The kernel makes them where there is a state
// Any(HomeAddressOption).
func OpenReports() (*Reports, error) {
	s, err := nl.Subscribe(unix.NETLINK_XFRM, nl.XFRMNLGRP_REPORT)
	if err != nil {
		return nil, fmt.Errorf("XFRM netlink socket for reports: %w", unsupported(err))
	}
	return &Reports{s}, nil
}

// Close ends Next.
func (r *Reports) Close() { r.socket.Close() }

// Next waits for reports and returns those that came together. What comes faster than it
// is called is lost. The error, after Close, wraps os.ErrClosed.
func (r *Reports) Next() ([]Report, error) {
	for {
		messages, from, err := r.socket.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EINTR):
			continue // some are lost, others will come
		case errors.Is(err, unix.EAGAIN): // what the library makes of a wait that Close has ended
			return nil, fmt.Errorf("XFRM reports: %w", os.ErrClosed)
		case err != nil:
			return nil, fmt.Errorf("XFRM reports: %w", err)
		case from.Pid != nl.PidKernel:
			continue
		}
		var all []Report
		for _, m := range messages {
			if m.Header.Type == nl.XFRM_MSG_REPORT {
				if report, ok := parseReport(m.Data); ok {
					all = append(all, report)
				}
			}
		}
		if len(all) > 0 {
			return all, nil
		}
	}
}

// parseReport reads struct xfrm_user_report and the home address behind it.
func parseReport(b []byte) (r Report, ok bool) {
	const (
		selector = 4 // behind the protocol number
		length   = selector + nl.SizeofXfrmSelector
	)
	if len(b) < length || b[0] != uint8(HomeAddressOption) {
		return r, false
	}
	s := nl.DeserializeXfrmSelector(b[selector:])
	r.Source, r.Destination, r.Protocol = address(s.Saddr), address(s.Daddr), s.Proto
	attributes, err := nl.ParseRouteAttr(b[length:])
	if err != nil {
		return r, false
	}
	for _, a := range attributes {
		if a.Attr.Type == nl.XFRMA_COADDR && len(a.Value) == 16 {
			r.Home = netip.AddrFrom16([16]byte(a.Value))
		}
	}
	return r, r.Home.IsValid()
}
