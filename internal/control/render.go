package control

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Render writes a row for each binding.
func (d Bindings) Render(w io.Writer) error {
	t := newTable("HOME AGENT", "MOBILE", "HOME ADDRESS", "CARE-OF ADDRESS", "PREFIXES", "STATE", "SEQUENCE", "GRANTED", "REMAINING", "UPDATED")
	for _, b := range d.Bindings {
		mobile := b.Mobile
		if b.Router {
			mobile += " (router)"
		}
		careOf := make([]string, len(b.CareOf))
		for i, c := range b.CareOf {
			careOf[i] = c.String()
		}
		t.row(b.HomeAgent, mobile, address(b.HomeAddress), strings.Join(careOf, "\n"), lines(b.Prefixes), b.State,
			strconv.Itoa(int(b.Sequence)), span(time.Duration(b.Granted)), span(time.Duration(b.Remaining)), span(time.Duration(b.UpdateAge))+" ago")
		t.mark("REMAINING", remaining(b.Remaining, b.Granted))
	}
	anchors := newTable("ANCHOR", "VISITOR", "REGIONAL CARE-OF ADDRESS", "ON-LINK CARE-OF ADDRESS", "STATE", "SEQUENCE", "GRANTED", "REMAINING", "UPDATED")
	for _, b := range d.Anchors {
		anchors.row(b.Anchor, b.Visitor, address(b.Regional), address(b.OnLink), b.State, strconv.Itoa(int(b.Sequence)),
			span(time.Duration(b.Granted)), span(time.Duration(b.Remaining)), span(time.Duration(b.UpdateAge))+" ago")
		anchors.mark("REMAINING", remaining(b.Remaining, b.Granted))
	}
	own := newTable("CORRESPONDENT", "HOME ADDRESS", "CARE-OF ADDRESS", "SEQUENCE", "GRANTED", "REMAINING", "CREATED")
	for _, b := range d.Correspondent {
		own.row(address(b.Address), address(b.HomeAddress), address(b.CareOf), strconv.Itoa(int(b.Sequence)),
			span(time.Duration(b.Granted)), span(time.Duration(b.Remaining)), span(time.Duration(b.Age))+" ago")
	}
	return writeTables(w, "no bindings", t, anchors, own)
}

// String returns the address with what else is needed to reach it.
func (c CareOf) String() string {
	s := c.Address.String()
	if c.Port != 0 {
		s = "[" + s + "]:" + strconv.Itoa(int(c.Port))
	}
	if c.BID != 0 {
		s += " (BID " + strconv.Itoa(int(c.BID)) + ")"
	}
	return s
}

// Render writes a row for each mobile, and then one for each mobility anchor point
// and each correspondent of its binding update list.
func (d Updates) Render(w io.Writer) error {
	t := newTable("MOBILE", "HOME ADDRESS", "HOME AGENT", "ATTACHED TO", "CARE-OF ADDRESS", "STATE", "SEQUENCE", "GRANTED", "REMAINING")
	regional := newTable("MOBILE", "ANCHOR", "REGIONAL CARE-OF ADDRESS", "ON-LINK CARE-OF ADDRESS", "STATE", "SEQUENCE", "GRANTED", "REMAINING")
	peers := newTable("MOBILE", "CORRESPONDENT", "STATE", "CARE-OF ADDRESS", "REMAINING", "RETRY IN")
	for _, u := range d.Updates {
		careOf, granted, left := address(u.CareOf), "", ""
		if u.Registered {
			granted, left = span(time.Duration(u.Granted)), span(time.Duration(u.Remaining))
		} else if u.Attachment != nil && !u.Attachment.AtHome {
			careOf = address(u.Attachment.CareOf)
		}
		t.row(u.Mobile, address(u.HomeAddress), address(u.HomeAgent), u.Attachment.String(), careOf, u.state(),
			strconv.Itoa(int(u.Sequence)), granted, left)
		if u.Registered {
			t.mark("REMAINING", remaining(u.Remaining, u.Granted))
		}
		for _, r := range u.Regional {
			granted, left := "", ""
			if r.Registered {
				granted, left = span(time.Duration(r.Granted)), span(time.Duration(r.Remaining))
			}
			regional.row(u.Mobile, address(r.Anchor), address(r.CareOf), address(r.OnLink), r.state(), strconv.Itoa(int(r.Sequence)), granted, left)
		}
		for _, p := range u.Peers {
			peers.row(u.Mobile, address(p.Address), p.State, address(p.CareOf), spanOrNone(p.Remaining), spanOrNone(p.RetryAfter))
		}
	}
	return writeTables(w, "no mobile nodes or routers", t, regional, peers)
}

// spanOrNone leaves out a time that has not begun.
func spanOrNone(s Seconds) string {
	if s == 0 {
		return ""
	}
	return span(time.Duration(s))
}

// state tells the most important thing about a registration in words.
func (u Update) state() string {
	var s string
	switch {
	case u.Halted:
		return "refused"
	case u.Registered:
		s = "registered"
	case u.Attachment == nil:
		s = "nowhere"
	case u.Attachment.AtHome:
		s = "at home"
	default:
		s = "not registered"
	}
	if u.Lost {
		s += ", link lost"
	}
	if u.Pending {
		s += ", update pending"
	}
	return s
}

// state tells what a regional care-of address is, and what is under way.
func (r RegionalUpdate) state() string {
	s := r.State
	switch {
	case r.State == RegionalInUse:
		s = "in use"
	case r.State == RegionalProspect && !r.Registered:
		return "registering"
	}
	if !r.Registered {
		s += ", not registered"
	}
	if r.Pending {
		s += ", update pending"
	}
	return s
}

// String returns the router with its link as the zone (RFC 4007 §11), or
// "home" with the link; the empty string stands for nowhere.
func (a *Attachment) String() string {
	switch {
	case a == nil:
		return ""
	case a.AtHome:
		return "home%" + a.Link
	case !a.Router.IsValid():
		return a.Link
	default:
		return a.Router.String() + "%" + a.Link
	}
}

// Render writes a row for each tunnel, and what was dropped.
func (d Tunnels) Render(w io.Writer) error {
	if d.Plane != "" {
		if _, err := fmt.Fprintf(w, "plane: %s\n\n", d.Plane); err != nil {
			return err
		}
	}
	t := newTable("HOME ADDRESS", "SIDE", "LOCAL", "REMOTE", "INNER", "MTU", "SINCE", "ENCAPSULATED", "DECAPSULATED")
	for _, v := range d.Tunnels {
		local, remote := make([]string, len(v.Paths)), make([]string, len(v.Paths))
		for i, p := range v.Paths {
			local[i] = regional(p.Local, p.Local == v.StackedOn)
			remote[i] = CareOf{Address: p.Remote, BID: p.BID, Port: p.Port}.String()
		}
		t.row(regional(v.HomeAddress, v.Regional), v.Side, strings.Join(local, "\n"), strings.Join(remote, "\n"), lines(v.Inner),
			strconv.Itoa(v.MTU), span(time.Duration(v.Age))+" ago",
			traffic(v.EncapsulatedPackets, v.EncapsulatedBytes), traffic(v.DecapsulatedPackets, v.DecapsulatedBytes))
	}
	routes := newTable("HOME ADDRESS", "PEER", "SIDE", "CARE-OF ADDRESS", "SINCE", "ENCAPSULATED", "DECAPSULATED")
	for _, r := range d.Routes {
		routes.row(address(r.HomeAddress), address(r.Peer), r.Side, regional(r.CareOf, r.Regional), span(time.Duration(r.Age))+" ago",
			traffic(r.EncapsulatedPackets, r.EncapsulatedBytes), traffic(r.DecapsulatedPackets, r.DecapsulatedBytes))
	}
	if err := writeTables(w, "no tunnels", t, routes); err != nil {
		return err
	}
	return renderDrops(w, "PACKETS DROPPED", d.Drops)
}

// regional is an address, and says if it is a regional care-of address.
func regional(a netip.Addr, is bool) string {
	if is {
		return address(a) + " (regional)"
	}
	return address(a)
}

// traffic is packets and octets, the octets in binary multiples.
func traffic(packets, octets uint64) string {
	units := [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i, f := 0, float64(octets)
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	precision := 0
	if i > 0 && f < 100 {
		precision = 1
	}
	return fmt.Sprintf("%d (%s %s)", packets, strconv.FormatFloat(f, 'f', precision, 64), units[i])
}

// renderDrops writes the reasons that occurred; none: nothing.
func renderDrops(w io.Writer, heading string, drops map[string]uint64) error {
	reasons := occurred(drops)
	if len(reasons) == 0 {
		return nil
	}
	t := newTable(heading, "")
	for _, reason := range reasons {
		t.row(reason, strconv.FormatUint(drops[reason], 10))
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return t.write(w, "")
}

// Render writes a list of numbers for each part of the daemon.
func (d Stats) Render(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "roam6 %s, up %s\n", d.Version, span(time.Duration(d.Uptime))); err != nil {
		return err
	}
	for _, part := range d.parts() {
		t := newTable(part.heading, "")
		for _, c := range part.counters {
			t.row(c.name, strconv.FormatUint(c.value, 10))
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := t.write(w, ""); err != nil {
			return err
		}
	}
	messages := newTable("MESSAGES", "ROLE", "SENT", "RECEIVED")
	for _, m := range d.Messages {
		messages.row(m.Type, m.Role, strconv.FormatUint(m.Sent, 10), strconv.FormatUint(m.Received, 10))
	}
	dhcp := newTable("DHCPV6", "SENT", "RECEIVED")
	for _, m := range d.DHCP {
		dhcp.row(m.Type, strconv.FormatUint(m.Sent, 10), strconv.FormatUint(m.Received, 10))
	}
	acknowledgements := newTable("BINDING ACKNOWLEDGEMENTS", "SENT", "RECEIVED")
	for _, a := range d.Acknowledgements {
		acknowledgements.row(a.Meaning, strconv.FormatUint(a.Sent, 10), strconv.FormatUint(a.Received, 10))
	}
	for _, t := range []*table{messages, dhcp, acknowledgements} {
		if len(t.rows) == 0 {
			continue
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := t.write(w, ""); err != nil {
			return err
		}
	}
	if err := renderDrops(w, "MESSAGES DROPPED", d.MessagesDropped); err != nil {
		return err
	}
	if err := renderDrops(w, "DHCPV6 DROPPED", d.DHCPDropped); err != nil {
		return err
	}
	return renderDrops(w, "PACKETS DROPPED", d.PacketsDropped)
}

type counter struct {
	name  string
	value uint64
}

type part struct {
	heading  string
	counters []counter
}

// parts are the counters with a name in words.
func (d Stats) parts() []part {
	var parts []part
	if m := d.Mobile; m != nil {
		parts = append(parts, part{"MOBILE", []counter{
			{"binding updates sent", m.UpdatesSent},
			{"of these, retransmissions", m.Retransmissions},
			{"late acknowledgements", m.LateAcknowledgements},
			{"handovers", m.Handovers},
			{"care-of addresses found taken", m.Duplicates},
			{"local binding updates sent", m.LocalUpdatesSent},
			{"of these, retransmissions", m.LocalRetransmissions},
			{"failures of anchors", m.AnchorFailures},
		}})
	}
	if a := d.Agent; a != nil {
		parts = append(parts, part{"HOME AGENT", []counter{
			{"mobiles configured", uint64(a.Mobiles)},
			{"bindings", uint64(a.Bindings)},
			{"bindings being probed", uint64(a.Probing)},
			{"bindings deleted lately", uint64(a.Deleted)},
			{"registrations", a.Registrations},
			{"refreshes", a.Refreshes},
			{"moves", a.Moves},
			{"de-registrations", a.Deregistrations},
			{"expirations", a.Expirations},
			{"restored after a restart", a.Restored},
			{"home addresses found taken", a.Duplicates},
			{"conflicts with neighbours", a.Conflicts},
		}})
	}
	if a := d.Anchor; a != nil {
		parts = append(parts, part{"MOBILITY ANCHOR POINT", []counter{
			{"visitors configured", uint64(a.Visitors)},
			{"bindings", uint64(a.Bindings)},
			{"bindings being probed", uint64(a.Probing)},
			{"most bindings there can be", uint64(a.Limit)},
			{"registrations", a.Registrations},
			{"refreshes", a.Refreshes},
			{"moves", a.Moves},
			{"de-registrations", a.Deregistrations},
			{"expirations", a.Expirations},
			{"restored after a restart", a.Restored},
			{"regional addresses found taken", a.Duplicates},
			{"conflicts with neighbours", a.Conflicts},
			{"refresh requests sent", a.RefreshRequests},
		}})
	}
	if c := d.Correspondent; c != nil && c.Enabled {
		parts = append(parts, part{"CORRESPONDENT", []counter{{"bindings", uint64(c.Bindings)}}})
	}
	return append(parts, part{"DAEMON", []counter{
		{"router advertisements sent", d.Daemon.RouterAdvertisementsSent},
		{"reloads", d.Daemon.Reloads},
		{"reloads that failed", d.Daemon.ReloadsFailed},
		{"netlink overruns", d.Daemon.NetlinkOverruns},
		{"events lost", d.Daemon.EventsLost},
		{"KiB of memory in the Go runtime", d.Daemon.Budget.Memory >> 10},
		{"MiB where it is limited (0: nowhere)", d.Daemon.Budget.MemoryLimit},
		{"% that the heap grows (GOGC)", uint64(d.Daemon.Budget.GCPercent)},
		{"processors used", uint64(d.Daemon.Budget.Processors)},
	}})
}
