package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"roam6/internal/radump"
	"roam6/mip6"
	"roam6/nd"
)

// errRAChecksum is a router advertisement with a wrong checksum.
var errRAChecksum = errors.New("the checksum of the router advertisement is wrong")

// routerAdvertisement reports a router advertisement, which has no extension
// headers (RFC 4861 §4.2). For every other packet the error is
// mip6.ErrNotMobility.
func (r *packetReport) routerAdvertisement(b []byte) error {
	if len(b) <= ipv6HeaderLen || b[6] != mip6.ProtocolICMPv6 || b[ipv6HeaderLen] != nd.TypeRouterAdvertisement {
		return mip6.ErrNotMobility
	}
	end := ipv6HeaderLen + int(binary.BigEndian.Uint16(b[4:]))
	if end > len(b) {
		return mip6.ErrNotMobility // cut short by the capture
	}
	source, destination := packetAddresses(b)
	message := b[ipv6HeaderLen:end]
	octet, reason := ipv6HeaderLen, ""
	ra, err := nd.ParseRouterAdvertisement(message)
	var perr *nd.ParseError
	switch {
	case errors.As(err, &perr):
		reason = perr.Reason.String()
	case err == nil && !mip6.ICMPChecksumOK(source, destination, message):
		err, octet, reason = errRAChecksum, ipv6HeaderLen+2, "checksum"
	}
	if err != nil {
		r.Object.Addr("source", source)
		r.Object.Addr("destination", destination)
		r.malformed(fmt.Sprintf("packet %v > %v", source, destination), octet, reason, fmt.Sprintf("octet %d: %v", octet, err))
		return err
	}
	r.addresses(source, destination, b[7], netip.Addr{}, netip.Addr{})
	r.heading("router advertisement", "icmpv6_type", nd.TypeRouterAdvertisement, source, destination)
	radump.Describe(&r.Report, ra)
	return nil
}
