package trace

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/overlay"
)

// DescribeEvent says in a line what a role was told.
func DescribeEvent(e role.Event) string {
	switch e := e.(type) {
	case role.Timeout:
		return "its time has come"
	case role.LinkChanged:
		l := e.Link
		state := "down"
		if l.Up {
			state = "up"
		}
		return fmt.Sprintf("link %d %s is %s, carrier came %d times, MTU %d", l.Index, l.Name, state, l.Carriers, l.MTU)
	case role.LinkGone:
		return fmt.Sprintf("link %d was removed", e.Index)
	case role.RouterHeard:
		return fmt.Sprintf("router advertisement from %v on link %d: lifetime %v%s", e.Router, e.Link, e.RA.RouterLifetime, prefixesOf(e))
	case role.NeighborHeard:
		if e.Solicitation {
			return fmt.Sprintf("somebody probes for %v on link %d", e.Target, e.Link)
		}
		return fmt.Sprintf("neighbour advertisement for %v from %v on link %d", e.Target, e.From, e.Link)
	case role.MessageReceived:
		return "received " + describePacket(e.Packet) + protection(e.Protected, e.SPI)
	case role.ICMPReceived:
		return fmt.Sprintf("received %v %v > %v", e.Packet.Message.ICMPType(), e.Packet.From(), e.Packet.To()) + protection(e.Protected, 0)
	case role.KeysChanged:
		if e.Present {
			return fmt.Sprintf("there are keys for %v with %v", e.Home, e.Agent)
		}
		return fmt.Sprintf("there are no keys for %v with %v any more", e.Home, e.Agent)
	case role.LeaseChanged:
		return fmt.Sprintf("link %d has leases %s", e.Link, leases(e.Lease))
	case role.ForeignAddresses:
		return fmt.Sprintf("link %d has addresses %s of others", e.Link, leasedPrefixes(e.Addresses))
	case role.DHCPReceived:
		return fmt.Sprintf("DHCPv6 message of %d octets %v > %v on link %d", len(e.Message), e.From, e.To, e.Link)
	case role.TunnelSilent:
		return "nothing comes back through the tunnel"
	case role.TunnelRefused:
		return "the other end refuses packets of the tunnel"
	case role.TrafficSeen:
		return fmt.Sprintf("packets go between %v and %v", e.Home, e.Peer)
	case role.UnknownHomeAddress:
		return fmt.Sprintf("packet %v > %v (home address %v) that no binding permits", e.Source, e.Destination, e.Home)
	case role.RouteUnreachable:
		return fmt.Sprintf("packets %v > %v do not reach care-of address %v", e.Peer, e.Home, e.CareOf)
	case role.Stop:
		return "is to stop"
	default:
		return fmt.Sprintf("%s %+v", typeName(e), e)
	}
}

// DescribeAction says in a line what a role has decided.
func DescribeAction(a role.Action) string {
	switch a := a.(type) {
	case role.Send:
		return "send " + describePacket(a.Packet) + onLink(a.Link) + protection(false, a.SPI)
	case role.SendICMP:
		return fmt.Sprintf("send %v %v > %v", a.Packet.Message.ICMPType(), a.Packet.From(), a.Packet.To()) + onLink(a.Link)
	case role.Log:
		var b strings.Builder
		fmt.Fprintf(&b, "say %v: %s", a.Level, a.Message)
		for _, x := range attributes(a.Attrs) {
			fmt.Fprintf(&b, " %s=%s", x[0], x[1])
		}
		return b.String()
	case role.Dropped:
		return fmt.Sprintf("drop the message: %v (from %v)", a.Reason, a.From)
	case role.HandoverDone:
		return "handover complete: " + describeHandover(a.Handover)
	case role.Acknowledged:
		if a.Sent {
			return fmt.Sprintf("count acknowledgement sent: %v", a.Status)
		}
		return fmt.Sprintf("count acknowledgement accepted: %v", a.Status)
	case role.BindingChanged:
		return fmt.Sprintf("tell that the binding of %s has changed (%v): from %s to %s", a.Mobile, a.Cause, orNone(a.From), orNone(a.To))
	case role.SolicitRouter:
		return fmt.Sprintf("solicit routers on link %d", a.Link)
	case role.ProbeAddress:
		return fmt.Sprintf("probe whether %v is taken on link %d", a.Addr, a.Link)
	case role.ProbeNeighbor:
		return fmt.Sprintf("probe whether %v is there on link %d", a.Target, a.Link)
	case role.AnnounceAddress:
		return fmt.Sprintf("announce %v on link %d", a.Addr, a.Link)
	case role.DefendAddress:
		return fmt.Sprintf("defend %v on link %d", a.Addr, a.Link)
	case role.UndefendAddress:
		return fmt.Sprintf("defend %v on link %d no more", a.Addr, a.Link)
	case role.AssignAddress:
		return fmt.Sprintf("assign %v to link %d, preferred %s valid %s", a.Prefix, a.Link, span(a.Preferred), span(a.Valid))
	case role.UnassignAddress:
		return fmt.Sprintf("take %v from link %d", a.Prefix, a.Link)
	case role.AddRoute:
		return "add route " + route(a.Route)
	case role.RemoveRoute:
		return "remove route " + route(a.Route)
	case role.Forward:
		list := make([]string, len(a.Changes))
		for i, c := range a.Changes {
			list[i] = change(c)
		}
		return "data plane: " + strings.Join(list, "; ")
	case role.AdvertisePrefix:
		if a.Usable {
			return fmt.Sprintf("%v may be advertised", a.Prefix)
		}
		return fmt.Sprintf("%v must not be advertised", a.Prefix)
	case role.Remember:
		return fmt.Sprintf("remember what is known of %v", a.Memory.Home)
	case role.Save:
		return fmt.Sprintf("save %d octets as %s", len(a.Data), a.Name)
	case role.SendDHCP:
		return fmt.Sprintf("send DHCPv6 message of %d octets to %v", len(a.Message), a.To) + onLink(a.Link)
	default:
		return fmt.Sprintf("%s %+v", typeName(a), a)
	}
}

func typeName(v any) string {
	name := fmt.Sprintf("%T", v)
	return name[strings.LastIndexByte(name, '.')+1:]
}

func onLink(link int) string {
	if link == 0 {
		return ""
	}
	return fmt.Sprintf(" on link %d", link)
}

func protection(protected bool, spi uint32) string {
	switch {
	case spi != 0:
		return fmt.Sprintf(" in IPsec, SPI %#x", spi)
	case protected:
		return " in IPsec"
	default:
		return ""
	}
}

// describePacket is a message with its addresses and what of it decides.
func describePacket(p mip6.Packet) string {
	s := fmt.Sprintf("%v %v > %v", p.Message.Type(), p.Source, p.Destination)
	if p.HomeAddress.IsValid() || p.RouteHome.IsValid() {
		home := p.HomeAddress
		if !home.IsValid() {
			home = p.RouteHome
		}
		s += fmt.Sprintf(" (home address %v)", home)
	}
	switch m := p.Message.(type) {
	case mip6.HomeTest:
		s += fmt.Sprintf(", nonce %d", m.NonceIndex)
	case mip6.CareOfTest:
		s += fmt.Sprintf(", nonce %d", m.NonceIndex)
	case mip6.BindingUpdate:
		s += fmt.Sprintf(", sequence %d, lifetime %v", m.Sequence, m.Lifetime.Duration())
		if alternate, ok := mip6.Find[mip6.AlternateCareOf](m); ok && alternate.Addr != p.Source {
			s += fmt.Sprintf(", care-of address %v", alternate.Addr)
		}
		if n, ok := mip6.Find[mip6.NonceIndices](m); ok {
			s += fmt.Sprintf(", nonces %d and %d", n.Home, n.CareOf)
		}
	case mip6.BindingAcknowledgement:
		s += fmt.Sprintf(", sequence %d, %v, lifetime %v", m.Sequence, m.Status, m.Lifetime.Duration())
	case mip6.BindingError:
		s += fmt.Sprintf(", %v, home address %v", m.Status, m.Home)
	}
	return s
}

func prefixesOf(e role.RouterHeard) string {
	var list []string
	for _, p := range e.RA.Prefixes {
		list = append(list, p.Prefix.String())
	}
	if len(list) == 0 {
		return ""
	}
	return ", prefixes " + strings.Join(list, " ")
}

func leases(l role.Lease) string {
	return leasedPrefixes(slices.Concat(l.Addresses, l.Prefixes))
}

func leasedPrefixes(list []role.LeasedPrefix) string {
	if len(list) == 0 {
		return "(none)"
	}
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.Prefix.String() + " for " + span(p.Valid)
	}
	return strings.Join(out, ", ")
}

func route(r role.Route) string {
	s := r.Destination.String()
	if r.From.IsValid() {
		s += " from " + r.From.String()
	}
	if r.Unreachable {
		return s + " unreachable"
	}
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	return s + onLink(r.Link)
}

// change is one change of the data plane.
func change(c overlay.Change) string {
	switch {
	case c.Set != nil:
		paths := make([]string, len(c.Set.Paths))
		for i, p := range c.Set.Paths {
			paths[i] = fmt.Sprintf("%v > %v", p.Local, p.Remote)
		}
		return fmt.Sprintf("tunnel of %v %s", c.Set.Home, strings.Join(paths, ", "))
	case c.Optimise != nil:
		return fmt.Sprintf("route of %v to %v by %v", c.Optimise.Home, c.Optimise.Peer, c.Optimise.CareOf)
	case c.Deoptimise != nil:
		return fmt.Sprintf("no route of %v to %v", c.Deoptimise.Home, c.Deoptimise.Peer)
	default:
		return fmt.Sprintf("no tunnel of %v", c.Remove.Home)
	}
}

func describeHandover(h role.Handover) string {
	var b strings.Builder
	fmt.Fprintf(&b, "to %s, trigger %v", attachment(h.To), h.Trigger)
	for _, p := range [...]struct {
		name string
		at   time.Time
	}{
		{"link up", h.LinkUp}, {"solicited", h.Solicited}, {"advertised", h.Advertised}, {"care-of address", h.CareOf},
		{"update", h.Updated}, {"acknowledged", h.Acknowledged},
	} {
		if !p.at.IsZero() {
			fmt.Fprintf(&b, ", %s %.1f ms", p.name, float64(p.at.Sub(h.Start))/float64(time.Millisecond))
		}
	}
	fmt.Fprintf(&b, ", %d updates", h.Updates)
	return b.String()
}

func attachment(a role.Attachment) string {
	switch {
	case a.AtHome:
		return "home%" + a.Link
	case a.Router == netip.Addr{}:
		return "nowhere"
	default:
		return fmt.Sprintf("%v%%%s as %v", a.Router, a.Link, a.CareOf)
	}
}

// span is a lifetime as people read it.
func span(d time.Duration) string {
	if d == mip6.InfiniteLifetime {
		return "infinite"
	}
	return d.Round(time.Second).String()
}

// offsetText is a time since the start of a trace.
func offsetText(offset *int64) string {
	if offset == nil {
		return "never"
	}
	return "+" + time.Duration(*offset).String()
}

// orNone is an address, or that there is none.
func orNone(a netip.Addr) string {
	if !a.IsValid() {
		return "none"
	}
	return a.String()
}
