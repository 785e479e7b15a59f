package trace

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
)

// What is not in JSON as its Go type has it: messages are in octets as on the wire,
// moments are nanoseconds since the start, and reasons have their names.

type messageReceived struct {
	Link      int
	Packet    octets // IPv6 packet
	Protected bool   `json:",omitempty"`
	SPI       uint32 `json:",omitempty"`
}

type icmpReceived struct {
	Link      int
	Packet    octets // IPv6 packet
	Protected bool   `json:",omitempty"`
}

type routerHeard struct {
	Link      int
	Router    netip.Addr
	RA        octets // ICMPv6 message, its checksum zero
	Malformed int    `json:",omitempty"` // options that were not understood
}

type dhcpReceived struct {
	Link     int
	From, To netip.AddrPort
	Message  octets
}

type prefixesDelegated struct {
	Home     netip.Addr
	Prefixes []netip.Prefix
	Until    *int64
}

type send struct {
	Packet octets
	Link   int    `json:",omitempty"`
	SPI    uint32 `json:",omitempty"`
}

type sendICMP struct {
	Packet octets
	Link   int `json:",omitempty"`
}

type dropped struct {
	Reason string
	From   netip.Addr
}

type logged struct {
	Level   slog.Level
	Message string
	Attrs   [][2]string `json:",omitempty"`
}

type remember struct{ Memory octets }

type bindingChanged struct {
	Mobile         string
	Home, From, To netip.Addr
	Cause          string
}

type handoverDone struct{ Handover handover }

type handover struct {
	Home     netip.Addr
	From, To role.Attachment
	Trigger  string
	Start    *int64
	// The points of the timeline; null is what did not happen.
	LinkUp, Solicited, Advertised, CareOf, Updated, Acknowledged *int64
	Updates                                                      int
}

func packetOctets(p mip6.Packet) (octets, error) {
	b, err := p.Append(nil)
	if err != nil {
		return nil, fmt.Errorf("%v to %v: %w", p.Source, p.Destination, err)
	}
	return b, nil
}

func icmpOctets(p mip6.ICMPPacket) (octets, error) { return p.Append(nil) }

func (c clock) ofHandover(h role.Handover) handover {
	return handover{
		Home: h.Home, From: h.From, To: h.To, Trigger: h.Trigger.String(), Start: c.offset(h.Start), LinkUp: c.offset(h.LinkUp),
		Solicited: c.offset(h.Solicited), Advertised: c.offset(h.Advertised), CareOf: c.offset(h.CareOf),
		Updated: c.offset(h.Updated), Acknowledged: c.offset(h.Acknowledged), Updates: h.Updates,
	}
}

func (c clock) handover(h handover) role.Handover {
	return role.Handover{
		Home: h.Home, From: h.From, To: h.To, Trigger: named(h.Trigger, role.TriggerStart), Start: c.time(h.Start), LinkUp: c.time(h.LinkUp),
		Solicited: c.time(h.Solicited), Advertised: c.time(h.Advertised), CareOf: c.time(h.CareOf),
		Updated: c.time(h.Updated), Acknowledged: c.time(h.Acknowledged), Updates: h.Updates,
	}
}

// named finds the value of an enumeration that has a name, beginning with the first;
// zero: none has.
func named[T interface {
	~uint8
	String() string
}](name string, first T) T {
	unknown := T(0).String()
	for v := first; v.String() != unknown; v++ {
		if v.String() == name {
			return v
		}
	}
	return 0
}

func (c clock) ofDelegated(d role.PrefixesDelegated) prefixesDelegated {
	return prefixesDelegated{Home: d.Home, Prefixes: d.Prefixes, Until: c.offset(d.Until)}
}

func (c clock) delegated(d prefixesDelegated) role.PrefixesDelegated {
	return role.PrefixesDelegated{Home: d.Home, Prefixes: d.Prefixes, Until: c.time(d.Until)}
}

// memories count their times from a moment that is before all that a daemon can have.
func (c clock) ofMemory(m binding.Memory) octets { return m.Append(nil, c.start) }

func (c clock) memory(b octets) (binding.Memory, error) { return binding.ParseMemory(b, c.start) }

func attributes(list []slog.Attr) [][2]string {
	out := make([][2]string, 0, len(list))
	for _, a := range list {
		out = append(out, [2]string{a.Key, text(a.Value.Resolve())})
	}
	return out
}

// text is a value of the log. A time would be another in each play.
func text(v slog.Value) string {
	if v.Kind() == slog.KindTime {
		return "(a time)"
	}
	return v.String()
}

func slogAttributes(list [][2]string) []slog.Attr {
	var out []slog.Attr
	for _, a := range list {
		out = append(out, slog.String(a[0], a[1]))
	}
	return out
}

func (h routerHeard) event() (role.Event, error) {
	ra, err := nd.ParseRouterAdvertisement(h.RA)
	if err != nil {
		return nil, err
	}
	ra.Malformed += h.Malformed
	return role.RouterHeard{Link: h.Link, Router: h.Router, RA: ra}, nil
}

// tag makes the JSON of an event or action, whose type has a name.
func tag(name string, v any) (Tagged, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return Tagged{}, fmt.Errorf("%s: %w", name, err)
	}
	return Tagged{Type: name, Data: data}, nil
}

// within reports whether an offset is one that a clock can be asked for.
func within(offset int64) bool {
	const most = int64(100 * 365 * 24 * time.Hour)
	return offset >= 0 && offset <= most
}
