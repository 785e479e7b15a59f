package control

import (
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"roam6/internal/deadline"
	"roam6/mip6"
	"roam6/nd"
)

// Advertisements are the router advertisements of this node.
type Advertisements struct {
	Interfaces []AdvertisedInterface `json:"interfaces"`
}

// AdvertisedInterface is a link on which this node advertises, or is to.
type AdvertisedInterface struct {
	Interface string `json:"interface"`
	// State is "sending", "missing" (the interface is not there), "down", "silent"
	// (see Trouble) or "refused" (what is configured cannot be sent: nothing is, or
	// what was before goes on).
	State string `json:"state"`
	// Trouble says why nothing is sent, or why what is configured is not.
	Trouble string `json:"trouble,omitempty"`
	// Source is where advertisements come from; absent while there is no such
	// address.
	Source *netip.Addr `json:"source"`
	// UnicastOnly: nothing is sent unasked. Clients: the only nodes that get
	// advertisements; empty: everybody.
	UnicastOnly bool         `json:"unicast_only"`
	Clients     []netip.Addr `json:"clients"`
	MinInterval Milliseconds `json:"min_interval_ms"`
	MaxInterval Milliseconds `json:"max_interval_ms"`
	// SentAge is the time since the last packet, NextIn until the next unasked one;
	// null: none.
	SentAge *Seconds `json:"sent_age_seconds"`
	NextIn  *Seconds `json:"next_seconds"`
	// Counters since the advertiser of the link began.
	Multicast     uint64 `json:"multicast"` // advertisements, of however many packets
	Unicast       uint64 `json:"unicast"`
	Packets       uint64 `json:"packets"` // that were sent
	Missed        uint64 `json:"missed"`
	Solicitations uint64 `json:"solicitations"`
	Refused       uint64 `json:"solicitations_refused"`
	Limited       uint64 `json:"solicitations_limited"`
	// What is sent now.
	RouterLifetime Seconds            `json:"router_lifetime_seconds"`
	Flags          []string           `json:"flags"`
	MTU            uint32             `json:"mtu"` // 0: not told
	Options        []AdvertisedOption `json:"options"`
}

// AdvertisedOption is what an advertisement tells beside its fields.
type AdvertisedOption struct {
	// Kind is "prefix", "route", "rdnss", "dnssl", "nat64", "captive_portal",
	// "border_router", "context", "anchor" or "home_agent".
	Kind  string   `json:"kind"`
	Value string   `json:"value"`
	Flags []string `json:"flags"`
	// Preferred and Valid are what is told now, not what was told last; null is for
	// ever. Only prefixes have a preferred lifetime; elsewhere it is null.
	Preferred *Seconds `json:"preferred_seconds"`
	Valid     *Seconds `json:"valid_seconds"`
}

// AdvertisedBy fills in what an advertiser's configuration and statistics tell of an
// interface.
func (a *AdvertisedInterface) AdvertisedBy(now time.Time, c nd.AdvertiserConfig, s nd.AdvertiserStatistics) {
	a.UnicastOnly, a.Clients = c.UnicastOnly, orEmpty(c.Clients)
	a.MinInterval, a.MaxInterval = Milliseconds(c.MinInterval), Milliseconds(c.MaxInterval)
	a.Multicast, a.Unicast, a.Missed = s.Multicast, s.Unicast, s.Missed
	a.Solicitations, a.Refused, a.Limited = s.Solicitations, s.Refused, s.LimitedBySource+s.LimitedByLink+s.Overflowed
	ra := c.At(now)
	a.RouterLifetime, a.MTU = Seconds(ra.RouterLifetime), ra.MTU
	a.Flags = flagNames(
		advertisedFlag{ra.Managed, "managed"}, advertisedFlag{ra.OtherConfig, "other_config"}, advertisedFlag{ra.HomeAgent, "home_agent"},
		advertisedFlag{ra.RouterLifetime > 0 && ra.Preference == nd.PreferenceHigh, "high"}, advertisedFlag{ra.RouterLifetime > 0 && ra.Preference == nd.PreferenceLow, "low"},
	)
	a.Options = advertisedOptions(ra)
}

func advertisedOptions(ra nd.RouterAdvertisement) []AdvertisedOption {
	list := []AdvertisedOption{}
	add := func(kind, value string, valid time.Duration, flags ...advertisedFlag) *AdvertisedOption {
		list = append(list, AdvertisedOption{Kind: kind, Value: value, Flags: flagNames(flags...), Valid: Remaining(valid)})
		return &list[len(list)-1]
	}
	for _, p := range ra.Prefixes {
		add("prefix", p.Prefix.String(), p.ValidLifetime, advertisedFlag{p.OnLink, "on_link"}, advertisedFlag{p.Autonomous, "autonomous"},
			advertisedFlag{p.RouterAddress, "router_address"}, advertisedFlag{p.PreferDelegation, "pd_preferred"}).Preferred = Remaining(p.PreferredLifetime)
	}
	for _, r := range ra.Routes {
		add("route", r.Prefix.String(), r.Lifetime, advertisedFlag{r.Preference == nd.PreferenceHigh, "high"}, advertisedFlag{r.Preference == nd.PreferenceLow, "low"})
	}
	for _, d := range ra.DNSServers {
		for _, server := range d.Servers {
			add("rdnss", server.String(), d.Lifetime)
		}
	}
	for _, d := range ra.DNSSearch {
		for _, name := range d.Domains {
			add("dnssl", name, d.Lifetime)
		}
	}
	for _, n := range ra.NAT64 {
		add("nat64", n.Prefix.String(), n.Lifetime)
	}
	if ra.CaptivePortal != "" {
		add("captive_portal", ra.CaptivePortal, mip6.InfiniteLifetime)
	}
	for _, b := range ra.BorderRouters {
		add("border_router", b.Router.String(), b.ValidLifetime)
	}
	for _, x := range ra.Contexts {
		add("context", strconv.Itoa(int(x.ID))+" "+x.Prefix.String(), x.ValidLifetime, advertisedFlag{x.Compression, "compression"})
	}
	for _, m := range ra.Anchors {
		add("anchor", m.Address.String(), m.ValidLifetime, advertisedFlag{true, "distance " + strconv.Itoa(int(m.Distance))},
			advertisedFlag{true, "preference " + strconv.Itoa(int(m.Preference))})
	}
	if i := ra.HomeAgentInfo; i != nil {
		add("home_agent", "preference "+strconv.Itoa(int(i.Preference)), i.Lifetime, advertisedFlag{i.MobileRouter, "mobile_router"})
	}
	return list
}

// Sending fills in when an interface was and will be served; zero times are none.
func (a *AdvertisedInterface) Sending(now, last, next time.Time) {
	if !last.IsZero() {
		age := Seconds(now.Sub(last))
		a.SentAge = &age
	}
	if !next.IsZero() {
		in := Seconds(deadline.Remaining(now, next))
		a.NextIn = &in
	}
}

type advertisedFlag struct {
	set  bool
	name string
}

func flagNames(flags ...advertisedFlag) []string {
	names := []string{}
	for _, f := range flags {
		if f.set {
			names = append(names, f.name)
		}
	}
	return names
}

func (Advertisements) isDocument() {}

// Render writes a row for each interface, and one for each thing that is told there.
func (d Advertisements) Render(w io.Writer) error {
	links := newTable("INTERFACE", "STATE", "SOURCE", "INTERVAL", "SENT", "NEXT IN", "LIFETIME", "FLAGS", "MULTICAST", "UNICAST", "SOLICITED", "MISSED", "TROUBLE")
	told := newTable("INTERFACE", "OPTION", "VALUE", "FLAGS", "PREFERRED", "VALID")
	for _, a := range d.Interfaces {
		source := ""
		if a.Source != nil {
			source = a.Source.String()
		}
		flags := a.Flags
		if a.MTU != 0 {
			flags = append(append([]string{}, flags...), "mtu "+strconv.FormatUint(uint64(a.MTU), 10))
		}
		sent, next := "", ""
		if a.SentAge != nil {
			sent = span(time.Duration(*a.SentAge)) + " ago"
		}
		if a.NextIn != nil {
			next = span(time.Duration(*a.NextIn))
		}
		interval := ""
		if a.MaxInterval > 0 {
			interval = time.Duration(a.MinInterval).String() + "-" + time.Duration(a.MaxInterval).String()
		}
		links.row(a.Interface, a.State, source, interval, sent, next, span(time.Duration(a.RouterLifetime)), strings.Join(flags, "\n"),
			strconv.FormatUint(a.Multicast, 10), strconv.FormatUint(a.Unicast, 10), strconv.FormatUint(a.Solicitations, 10),
			strconv.FormatUint(a.Missed, 10), a.Trouble)
		for _, o := range a.Options {
			preferred := ""
			if o.Kind == "prefix" {
				preferred = lifetime(o.Preferred)
			}
			told.row(a.Interface, o.Kind, o.Value, strings.Join(o.Flags, ", "), preferred, lifetime(o.Valid))
		}
	}
	return writeTables(w, "no router advertisements", links, told)
}
