package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unicode/utf8"

	"roam6/internal/radump/report"
	"roam6/mip6"
)

// packetReport is what is said of one packet: for people a heading and lines, for
// programs a JSON object with the same content.
type packetReport struct {
	report.Report
	asJSON bool
	prefix string // before the heading
	head   string
}

func newPacketReport(asJSON bool) *packetReport { return &packetReport{asJSON: asJSON} }

// writeTo prints the report; what goes wrong shows when w is flushed.
func (r *packetReport) writeTo(w *bufio.Writer) {
	if r.asJSON {
		w.Write(r.Object.End())
		w.WriteByte('\n')
		return
	}
	fmt.Fprintf(w, "%s%s\n", r.prefix, r.head)
	for _, l := range r.Lines {
		fmt.Fprintf(w, "  %s\n", l)
	}
}

// frame says which frame of a capture is reported.
func (r *packetReport) frame(number int, at time.Time) {
	r.prefix = fmt.Sprintf("#%d ", number)
	r.Object.Number("number", int64(number))
	if !at.IsZero() {
		text := at.Format(time.RFC3339Nano)
		r.prefix += text + " "
		r.Object.Text("time", text)
	}
}

// packet reports an IPv6 packet. The error is mip6.ErrNotMobility, of which
// there is nothing to report, or what is malformed, which the report tells.
func (r *packetReport) packet(b []byte) error {
	p, err := mip6.ParsePacket(b)
	if err == nil {
		r.addresses(p.Source, p.Destination, p.HopLimit, p.HomeAddress, p.RouteHome)
		r.message(p.Message, p.Source, p.Destination)
		return nil
	}
	if errors.Is(err, mip6.ErrNotMobility) {
		var icmp mip6.ICMPPacket
		if icmp, err = mip6.ParseICMPPacket(b); err == nil {
			r.addresses(icmp.Source, icmp.Destination, icmp.HopLimit, icmp.HomeAddress, icmp.RouteHome)
			r.icmp(icmp.Message, icmp.Source, icmp.Destination)
			return nil
		}
	}
	if errors.Is(err, mip6.ErrNotMobility) {
		return r.routerAdvertisement(b)
	}
	what := "packet"
	if len(b) >= ipv6HeaderLen && b[0]>>4 == 6 {
		source, destination := packetAddresses(b)
		what = fmt.Sprintf("packet %v > %v", source, destination)
		r.Object.Addr("source", source)
		r.Object.Addr("destination", destination)
	}
	r.unparsed(what, err)
	return err
}

// mobilityHeader reports a bare Mobility Header.
func (r *packetReport) mobilityHeader(source, destination netip.Addr, mh []byte) error {
	r.Object.Addr("source", source)
	r.Object.Addr("destination", destination)
	m, err := mip6.ParseMessage(source, destination, mh)
	if err != nil {
		r.unparsed(fmt.Sprintf("Mobility Header %v > %v", source, destination), err)
		return err
	}
	r.message(m, source, destination)
	return nil
}

// malformed reports what is wrong with what, and at which octet.
func (r *packetReport) malformed(what string, octet int, reason, text string) {
	r.head = fmt.Sprintf("malformed %s: %s", what, text)
	var o report.Object
	o.Number("octet", int64(octet))
	o.Text("reason", reason)
	o.Text("text", text)
	r.Object.Nested("malformed", o)
}

// unparsed is malformed for an error of package mip6, all of which but
// mip6.ErrNotMobility are of the one type.
func (r *packetReport) unparsed(what string, err error) {
	octet, reason := 0, "unknown"
	var perr *mip6.ParseError
	if errors.As(err, &perr) {
		octet, reason = perr.Offset, perr.Reason.String()
	}
	r.malformed(what, octet, reason, err.Error())
}

const ipv6HeaderLen = 40

// packetAddresses returns the addresses of an IPv6 header.
func packetAddresses(b []byte) (source, destination netip.Addr) {
	return netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
}

func (r *packetReport) addresses(source, destination netip.Addr, hopLimit uint8, home, route netip.Addr) {
	r.Object.Addr("source", source)
	r.Object.Addr("destination", destination)
	r.Object.Number("hop_limit", int64(hopLimit))
	r.Line("hop limit", "%d", hopLimit)
	if home.IsValid() {
		r.Line("home address option", "%v", home)
		r.Object.Addr("home_address_option", home)
	}
	if route.IsValid() {
		r.Line("type 2 routing header", "%v", route)
		r.Object.Addr("type_2_routing_header", route)
	}
}

// heading begins what is said of a message.
// typeKey tells what kind of type it is.
func (r *packetReport) heading(name, typeKey string, kind uint8, source, destination netip.Addr) {
	r.head = fmt.Sprintf("%s %v > %v", name, source, destination)
	r.Object.Text("message", report.Identifier(name))
	r.Object.Number(typeKey, int64(kind))
	r.Line("checksum", "ok")
	r.Object.Text("checksum", "ok")
}

func (r *packetReport) message(m mip6.Message, source, destination netip.Addr) {
	name := m.Type().String()
	if _, ok := m.(mip6.UnknownMessage); ok {
		name = "unknown message"
	}
	r.heading(name, "mh_type", uint8(m.Type()), source, destination)
	switch m := m.(type) {
	case mip6.BindingRefreshRequest:
	case mip6.HomeTestInit:
		r.Octets("home init cookie", m.Cookie[:])
	case mip6.CareOfTestInit:
		r.Octets("care-of init cookie", m.Cookie[:])
	case mip6.HomeTest:
		r.Integer("home nonce index", int(m.NonceIndex))
		r.Octets("home init cookie", m.Cookie[:])
		r.Octets("home keygen token", m.Token[:])
	case mip6.CareOfTest:
		r.Integer("care-of nonce index", int(m.NonceIndex))
		r.Octets("care-of init cookie", m.Cookie[:])
		r.Octets("care-of keygen token", m.Token[:])
	case mip6.BindingUpdate:
		r.Integer("sequence", int(m.Sequence))
		r.updateFlags(m.Flags)
		r.lifetime(m.Lifetime)
	case mip6.BindingAcknowledgement:
		r.status(int(m.Status), m.Status.String())
		r.Object.Boolean("accepted", m.Status.Accepted())
		r.Integer("sequence", int(m.Sequence))
		r.ackFlags(m.Flags)
		r.lifetime(m.Lifetime)
	case mip6.BindingError:
		r.status(int(m.Status), m.Status.String())
		r.Line("home address", "%v", m.Home)
		r.Object.Addr("home_address", m.Home)
	case mip6.UnknownMessage:
		r.Line("MH type", "%d", uint8(m.MessageType))
		r.Octets("body", m.Body)
		return
	}
	var options []report.Object
	for _, o := range m.MobilityOptions() {
		options = append(options, r.option(o))
	}
	r.Object.Objects("options", options)
}

func (r *packetReport) status(number int, words string) {
	r.Line("status", "%s", words)
	r.Object.Number("status", int64(number))
	r.Object.Text("status_text", words)
}

func (r *packetReport) lifetime(l mip6.Lifetime) {
	r.Line("lifetime", "%v", l)
	r.Object.Seconds("lifetime_seconds", l.Duration())
}

func (r *packetReport) updateFlags(f mip6.UpdateFlags) {
	r.Flags(
		report.Flag{Set: f&mip6.UpdateAcknowledge != 0, Letter: "A", Name: "acknowledge"},
		report.Flag{Set: f&mip6.UpdateHome != 0, Letter: "H", Name: "home registration"},
		report.Flag{Set: f&mip6.UpdateLinkLocal != 0, Letter: "L", Name: "link-local address compatibility"},
		report.Flag{Set: f&mip6.UpdateKeyManagement != 0, Letter: "K", Name: "key management mobility capability"},
		report.Flag{Set: f&mip6.UpdateMAP != 0, Letter: "M", Name: "mobility anchor point"},
		report.Flag{Set: f&mip6.UpdateMobileRouter != 0, Letter: "R", Name: "mobile router"},
		report.Flag{Set: f&mip6.UpdateProxy != 0, Letter: "P", Name: "proxy registration"},
		report.Flag{Set: f&mip6.UpdateForceUDP != 0, Letter: "F", Name: "force UDP encapsulation"},
	)
}

func (r *packetReport) ackFlags(f mip6.AckFlags) {
	r.Flags(
		report.Flag{Set: f&mip6.AckKeyManagement != 0, Letter: "K", Name: "key management mobility capability"},
		report.Flag{Set: f&mip6.AckMobileRouter != 0, Letter: "R", Name: "mobile router"},
		report.Flag{Set: f&mip6.AckProxy != 0, Letter: "P", Name: "proxy registration"},
	)
}

// option adds the line of an option, and returns its object.
func (r *packetReport) option(o mip6.Option) report.Object {
	name := o.OptionType().String()
	if _, ok := o.(mip6.UnknownOption); ok {
		name = "unknown option"
	}
	var object report.Object
	object.Text("option", report.Identifier(name))
	object.Number("type", int64(o.OptionType()))
	switch o := o.(type) {
	case mip6.RefreshAdvice:
		r.Line(name, "%v", o.Interval)
		object.Seconds("interval_seconds", o.Interval.Duration())
	case mip6.AlternateCareOf:
		r.Line(name, "%v", o.Addr)
		object.Addr("address", o.Addr)
	case mip6.NonceIndices:
		r.Line(name, "home %d, care-of %d", o.Home, o.CareOf)
		object.Number("home", int64(o.Home))
		object.Number("care_of", int64(o.CareOf))
	case mip6.AuthorizationData:
		r.Line(name, "%x", o.Authenticator)
		object.Hex("authenticator", o.Authenticator[:])
	case mip6.MobileNetworkPrefix:
		r.Line(name, "%v", o.Prefix)
		object.Text("prefix", o.Prefix.String())
	case mip6.MobileNodeID:
		const nai = 1 // RFC 4283 §3.1
		object.Number("subtype", int64(o.Subtype))
		if o.Subtype == nai && utf8.Valid(o.Identifier) {
			r.Line(name, "%q", o.Identifier)
			object.Text("identifier", string(o.Identifier))
		} else {
			r.Line(name, "subtype %d, %x", o.Subtype, o.Identifier)
			object.Hex("identifier_hex", o.Identifier)
		}
	case mip6.Authentication:
		subtype := fmt.Sprintf("subtype %d", o.Subtype)
		switch o.Subtype {
		case mip6.AuthenticationMNHA:
			subtype = "MN-HA"
		case mip6.AuthenticationMNAAA:
			subtype = "MN-AAA"
		}
		r.Line(name, "%s, SPI %d, data %x", subtype, o.SPI, o.Data)
		object.Number("subtype", int64(o.Subtype))
		object.Number("spi", int64(o.SPI))
		object.Hex("data", o.Data)
	case mip6.ReplayProtection:
		at := o.Timestamp.Time().Format(time.RFC3339Nano)
		r.Line(name, "%s (%016x)", at, uint64(o.Timestamp))
		object.Text("time", at)
		object.Text("timestamp", fmt.Sprintf("%016x", uint64(o.Timestamp)))
	case mip6.UnknownOption:
		r.Line(name, "type %d, %d octets %x", o.Type, len(o.Data), o.Data)
		object.Hex("data", o.Data)
	}
	return object
}

func (r *packetReport) icmp(m mip6.ICMPMessage, source, destination netip.Addr) {
	r.heading(m.ICMPType().String(), "icmpv6_type", uint8(m.ICMPType()), source, destination)
	switch m := m.(type) {
	case mip6.HomeAgentRequest:
		r.Integer("identifier", int(m.Identifier))
		r.Flags(report.Flag{Set: m.MobileRouter, Letter: "R", Name: "mobile router"})
	case mip6.HomeAgentReply:
		r.Integer("identifier", int(m.Identifier))
		r.Flags(report.Flag{Set: m.MobileRouter, Letter: "R", Name: "mobile router"})
		agents := make([]string, len(m.HomeAgents))
		for i, a := range m.HomeAgents {
			agents[i] = a.String()
			r.Line("home agent", "%v", a)
		}
		r.Object.Texts("home_agents", agents)
	case mip6.PrefixSolicitation:
		r.Integer("identifier", int(m.Identifier))
	case mip6.PrefixAdvertisement:
		r.Integer("identifier", int(m.Identifier))
		r.Flags(report.Flag{Set: m.Managed, Letter: "M", Name: "managed"}, report.Flag{Set: m.OtherConfig, Letter: "O", Name: "other configuration"})
		r.Prefixes(m.Prefixes)
	}
}
