package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"roam6/mip6"
)

// packetReport is what is said of one packet: for people a heading and lines, for
// programs a JSON object with the same content.
type packetReport struct {
	asJSON bool
	prefix string // before the heading
	head   string
	lines  []string
	object jsonObject
}

func newPacketReport(asJSON bool) *packetReport { return &packetReport{asJSON: asJSON} }

func (r *packetReport) line(label, format string, values ...any) {
	r.lines = append(r.lines, label+": "+fmt.Sprintf(format, values...))
}

// writeTo prints the report; what goes wrong shows when w is flushed.
func (r *packetReport) writeTo(w *bufio.Writer) {
	if r.asJSON {
		w.Write(r.object.end())
		w.WriteByte('\n')
		return
	}
	fmt.Fprintf(w, "%s%s\n", r.prefix, r.head)
	for _, l := range r.lines {
		fmt.Fprintf(w, "  %s\n", l)
	}
}

// frame says which frame of a capture is reported.
func (r *packetReport) frame(number int, at time.Time) {
	r.prefix = fmt.Sprintf("#%d ", number)
	r.object.number("number", int64(number))
	if !at.IsZero() {
		text := at.Format(time.RFC3339Nano)
		r.prefix += text + " "
		r.object.text("time", text)
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
		r.object.addr("source", source)
		r.object.addr("destination", destination)
	}
	r.unparsed(what, err)
	return err
}

// mobilityHeader reports a bare Mobility Header.
func (r *packetReport) mobilityHeader(source, destination netip.Addr, mh []byte) error {
	r.object.addr("source", source)
	r.object.addr("destination", destination)
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
	var o jsonObject
	o.number("octet", int64(octet))
	o.text("reason", reason)
	o.text("text", text)
	r.object.nested("malformed", o)
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
	r.object.addr("source", source)
	r.object.addr("destination", destination)
	r.object.number("hop_limit", int64(hopLimit))
	r.line("hop limit", "%d", hopLimit)
	if home.IsValid() {
		r.line("home address option", "%v", home)
		r.object.addr("home_address_option", home)
	}
	if route.IsValid() {
		r.line("type 2 routing header", "%v", route)
		r.object.addr("type_2_routing_header", route)
	}
}

// heading begins what is said of a message.
// typeKey tells what kind of type it is.
func (r *packetReport) heading(name, typeKey string, kind uint8, source, destination netip.Addr) {
	r.head = fmt.Sprintf("%s %v > %v", name, source, destination)
	r.object.text("message", identifier(name))
	r.object.number(typeKey, int64(kind))
	r.line("checksum", "ok")
	r.object.text("checksum", "ok")
}

// identifier makes a name one for programs: snake_case.
func identifier(name string) string {
	return strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(name))
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
		r.octets("home init cookie", m.Cookie[:])
	case mip6.CareOfTestInit:
		r.octets("care-of init cookie", m.Cookie[:])
	case mip6.HomeTest:
		r.integer("home nonce index", int(m.NonceIndex))
		r.octets("home init cookie", m.Cookie[:])
		r.octets("home keygen token", m.Token[:])
	case mip6.CareOfTest:
		r.integer("care-of nonce index", int(m.NonceIndex))
		r.octets("care-of init cookie", m.Cookie[:])
		r.octets("care-of keygen token", m.Token[:])
	case mip6.BindingUpdate:
		r.integer("sequence", int(m.Sequence))
		r.updateFlags(m.Flags)
		r.lifetime(m.Lifetime)
	case mip6.BindingAcknowledgement:
		r.status(int(m.Status), m.Status.String())
		r.object.boolean("accepted", m.Status.Accepted())
		r.integer("sequence", int(m.Sequence))
		r.ackFlags(m.Flags)
		r.lifetime(m.Lifetime)
	case mip6.BindingError:
		r.status(int(m.Status), m.Status.String())
		r.line("home address", "%v", m.Home)
		r.object.addr("home_address", m.Home)
	case mip6.UnknownMessage:
		r.line("MH type", "%d", uint8(m.MessageType))
		r.octets("body", m.Body)
		return
	}
	var options []jsonObject
	for _, o := range m.MobilityOptions() {
		options = append(options, r.option(o))
	}
	r.object.objects("options", options)
}

func (r *packetReport) octets(name string, b []byte) {
	r.line(name, "%x", b)
	r.object.hex(identifier(name), b)
}

func (r *packetReport) integer(name string, n int) {
	r.line(name, "%d", n)
	r.object.number(identifier(name), int64(n))
}

func (r *packetReport) status(number int, words string) {
	r.line("status", "%s", words)
	r.object.number("status", int64(number))
	r.object.text("status_text", words)
}

// flagFact is a flag of a message.
type flagFact struct {
	set          bool
	letter, name string
}

func (r *packetReport) flags(flags ...flagFact) {
	letters := ""
	var names, identifiers []string
	for _, f := range flags {
		if f.set {
			letters += f.letter
			names = append(names, f.name)
			identifiers = append(identifiers, identifier(f.name))
		}
	}
	if letters == "" {
		r.line("flags", "none")
	} else {
		r.line("flags", "%s (%s)", letters, strings.Join(names, ", "))
	}
	r.object.texts("flags", identifiers)
}

func (r *packetReport) lifetime(l mip6.Lifetime) {
	r.line("lifetime", "%v", l)
	r.object.seconds("lifetime_seconds", l.Duration())
}

func (r *packetReport) updateFlags(f mip6.UpdateFlags) {
	r.flags(
		flagFact{f&mip6.UpdateAcknowledge != 0, "A", "acknowledge"},
		flagFact{f&mip6.UpdateHome != 0, "H", "home registration"},
		flagFact{f&mip6.UpdateLinkLocal != 0, "L", "link-local address compatibility"},
		flagFact{f&mip6.UpdateKeyManagement != 0, "K", "key management mobility capability"},
		flagFact{f&mip6.UpdateMAP != 0, "M", "mobility anchor point"},
		flagFact{f&mip6.UpdateMobileRouter != 0, "R", "mobile router"},
		flagFact{f&mip6.UpdateProxy != 0, "P", "proxy registration"},
		flagFact{f&mip6.UpdateForceUDP != 0, "F", "force UDP encapsulation"},
	)
}

func (r *packetReport) ackFlags(f mip6.AckFlags) {
	r.flags(
		flagFact{f&mip6.AckKeyManagement != 0, "K", "key management mobility capability"},
		flagFact{f&mip6.AckMobileRouter != 0, "R", "mobile router"},
		flagFact{f&mip6.AckProxy != 0, "P", "proxy registration"},
	)
}

// option adds the line of an option, and returns its object.
func (r *packetReport) option(o mip6.Option) jsonObject {
	name := o.OptionType().String()
	if _, ok := o.(mip6.UnknownOption); ok {
		name = "unknown option"
	}
	var object jsonObject
	object.text("option", identifier(name))
	object.number("type", int64(o.OptionType()))
	switch o := o.(type) {
	case mip6.RefreshAdvice:
		r.line(name, "%v", o.Interval)
		object.seconds("interval_seconds", o.Interval.Duration())
	case mip6.AlternateCareOf:
		r.line(name, "%v", o.Addr)
		object.addr("address", o.Addr)
	case mip6.NonceIndices:
		r.line(name, "home %d, care-of %d", o.Home, o.CareOf)
		object.number("home", int64(o.Home))
		object.number("care_of", int64(o.CareOf))
	case mip6.AuthorizationData:
		r.line(name, "%x", o.Authenticator)
		object.hex("authenticator", o.Authenticator[:])
	case mip6.MobileNetworkPrefix:
		r.line(name, "%v", o.Prefix)
		object.text("prefix", o.Prefix.String())
	case mip6.MobileNodeID:
		const nai = 1 // RFC 4283 §3.1
		object.number("subtype", int64(o.Subtype))
		if o.Subtype == nai && utf8.Valid(o.Identifier) {
			r.line(name, "%q", o.Identifier)
			object.text("identifier", string(o.Identifier))
		} else {
			r.line(name, "subtype %d, %x", o.Subtype, o.Identifier)
			object.hex("identifier_hex", o.Identifier)
		}
	case mip6.Authentication:
		subtype := fmt.Sprintf("subtype %d", o.Subtype)
		switch o.Subtype {
		case mip6.AuthenticationMNHA:
			subtype = "MN-HA"
		case mip6.AuthenticationMNAAA:
			subtype = "MN-AAA"
		}
		r.line(name, "%s, SPI %d, data %x", subtype, o.SPI, o.Data)
		object.number("subtype", int64(o.Subtype))
		object.number("spi", int64(o.SPI))
		object.hex("data", o.Data)
	case mip6.ReplayProtection:
		at := o.Timestamp.Time().Format(time.RFC3339Nano)
		r.line(name, "%s (%016x)", at, uint64(o.Timestamp))
		object.text("time", at)
		object.text("timestamp", fmt.Sprintf("%016x", uint64(o.Timestamp)))
	case mip6.UnknownOption:
		r.line(name, "type %d, %d octets %x", o.Type, len(o.Data), o.Data)
		object.hex("data", o.Data)
	}
	return object
}

func (r *packetReport) icmp(m mip6.ICMPMessage, source, destination netip.Addr) {
	r.heading(m.ICMPType().String(), "icmpv6_type", uint8(m.ICMPType()), source, destination)
	switch m := m.(type) {
	case mip6.HomeAgentRequest:
		r.integer("identifier", int(m.Identifier))
		r.flags(flagFact{m.MobileRouter, "R", "mobile router"})
	case mip6.HomeAgentReply:
		r.integer("identifier", int(m.Identifier))
		r.flags(flagFact{m.MobileRouter, "R", "mobile router"})
		agents := make([]string, len(m.HomeAgents))
		for i, a := range m.HomeAgents {
			agents[i] = a.String()
			r.line("home agent", "%v", a)
		}
		r.object.texts("home_agents", agents)
	case mip6.PrefixSolicitation:
		r.integer("identifier", int(m.Identifier))
	case mip6.PrefixAdvertisement:
		r.integer("identifier", int(m.Identifier))
		r.flags(flagFact{m.Managed, "M", "managed"}, flagFact{m.OtherConfig, "O", "other configuration"})
		r.prefixes(m.Prefixes)
	}
}

func (r *packetReport) prefixes(prefixes []mip6.PrefixInformation) {
	objects := make([]jsonObject, len(prefixes))
	for i, p := range prefixes {
		text := fmt.Sprintf("%v, valid %s, preferred %s", p.Prefix, ndLifetime(p.ValidLifetime), ndLifetime(p.PreferredLifetime))
		for _, f := range []struct {
			set  bool
			name string
		}{{p.OnLink, "on-link"}, {p.Autonomous, "autonomous"}, {p.RouterAddress, "router address"}} {
			if f.set {
				text += ", " + f.name
			}
		}
		r.line("prefix", "%s", text)
		o := &objects[i]
		o.text("prefix", p.Prefix.String())
		o.boolean("on_link", p.OnLink)
		o.boolean("autonomous", p.Autonomous)
		o.boolean("router_address", p.RouterAddress)
		o.seconds("valid_lifetime_seconds", p.ValidLifetime)
		o.seconds("preferred_lifetime_seconds", p.PreferredLifetime)
	}
	r.object.objects("prefixes", objects)
}

func ndLifetime(d time.Duration) string {
	if d >= mip6.InfiniteLifetime {
		return "for ever"
	}
	return d.String()
}
