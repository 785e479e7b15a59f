package radvdconf

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"roam6/internal/translation"
	"roam6/internal/uci"
)

// Limits of roam6, which are those of the RFCs (4861 §6.2.1, 6275 §7.5 and §13).
const (
	shortestMax, longestMax     = 70 * time.Millisecond, 65535 * time.Second
	shortestMin                 = 30 * time.Millisecond
	shortestDelay, longestDelay = 30 * time.Millisecond, 60 * time.Second
	// On a link that does not serve mobiles.
	plainMax, plainMin, plainDelay = 4 * time.Second, 3 * time.Second, 3 * time.Second

	maxRouterLifetime    = 65535
	maxHomeAgentLifetime = 65520
	maxReachableTime     = 3600000
	minMTU, maxMTU       = 1280, 65535
	maxHopLimit          = 255

	visible = "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
)

// translateInterface returns the section of an interface and those that belong
// to it.
func translateInterface(i *Interface, notes *[]translation.Note) []translation.Section {
	if !translation.IsDevice(i.Name) {
		*notes = append(*notes, translation.Note{Position: i.Position,
			Text: strconv.Quote(i.Name) + " cannot be the name of a network device: the whole interface was left out"})
		return nil
	}
	l := &link{Interface: i, notes: notes, dropped: section{translation.Begin(notes, "", "")}}
	prefixes, routerAddress := l.prefixes()
	s := l.section("interface")
	s.advertising(i)
	homeAgent := i.AdvHomeAgentFlag.Value && routerAddress
	l.longest = s.intervals(i, routerAddress || i.tellsInterval())
	s.header(i, l.longest, homeAgent)
	s.mobility(i, routerAddress)
	sections := slices.Concat(prefixes, l.routes(), l.rdnss(), l.dnssl(), l.nat64(), l.abro(), l.lowpan())
	s.Comments = append(s.Comments, l.dropped.Comments...)
	return append([]translation.Section{s.Section}, sections...)
}

// link is an interface under translation.
type link struct {
	*Interface
	notes   *[]translation.Note
	longest time.Duration // between advertisements, as it was written
	dropped section       // collects what is said of blocks that were left out
}

// section begins a section of the interface.
func (l *link) section(kind string) *section { return newSection(l.notes, kind, l.Name) }

// advertising is to whom advertisements go, and from where.
func (s *section) advertising(i *Interface) {
	var clients, sources []string
	for _, c := range i.Clients {
		switch {
		case c.Not:
			s.Note(c.Position, "clients: !%v: roam6 cannot leave out single nodes; it answers those that it lists, or all", c.Address)
		case !c.Address.IsLinkLocalUnicast():
			s.Note(c.Position, "clients: %v: roam6 advertises to link-local addresses; put the node's in its place", c.Address)
		default:
			clients = appendOnce(clients, c.Address.String())
		}
	}
	for _, a := range i.RASrcAddresses {
		if a.Address.IsLinkLocalUnicast() {
			sources = appendOnce(sources, a.Address.String())
		} else {
			s.Note(a.Position, "AdvRASrcAddress: %v: left out, because hosts drop advertisements that do not come from a link-local address (RFC 4861 §6.1.2)", a.Address)
		}
	}
	send := i.AdvSendAdvert
	if send.Value && len(i.Clients) > 0 && len(clients) == 0 {
		s.Note(send.Position, "AdvSendAdvert: off, because none of the clients could be carried over, and all nodes would get advertisements")
		send.Value = false
	}
	s.flag("AdvSendAdvert", send)
	if v := i.IgnoreIfMissing; v.Given && !v.Value {
		s.Harmless(v.Position, "IgnoreIfMissing off: left out: roam6 waits for an interface that is not there, and does not end for it")
	} else {
		s.flag("IgnoreIfMissing", v)
	}
	s.flag("UnicastOnly", i.UnicastOnly)
	if v := i.AdvRASolicitedUnicast; v.Given && !v.Value && (i.UnicastOnly.Value || len(clients) > 0) {
		s.Harmless(v.Position, "AdvRASolicitedUnicast off: left out, because here all goes by unicast")
	} else {
		s.flag("AdvRASolicitedUnicast", v)
	}
	s.flag("RemoveAdvOnExit", i.RemoveAdvOnExit)
	s.List("client", clients...)
	s.List("AdvRASrcAddress", sources...)
	if u := i.UnrestrictedUnicast; u.Value && len(i.Clients) > 0 {
		s.Note(u.Position, "UnrestrictedUnicast: roam6 answers nobody but the clients that are listed")
	} else if u.Given {
		s.Harmless(u.Position, "UnrestrictedUnicast: left out, being without effect here")
	}
	if r := i.AdvRAMTU; r.Given {
		s.Note(r.Position, "AdvRAMTU %d: left out: roam6 has no such limit, only the MTU of the interface", r.Value)
	}
	for _, x := range i.AutoIgnorePrefixes {
		s.Note(x.Position, "autoignoreprefixes: %v: roam6 advertises for ::/64 all prefixes of the interface; without ::/64, those that have a section", x.Prefix)
	}
}

// appendOnce appends what is not there yet.
func appendOnce(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// tellsInterval reports whether mobiles are told how often advertisements come.
func (i *Interface) tellsInterval() bool { return i.AdvIntervalOpt.Value && !i.UnicastOnly.Value }

// millis writes an interval in milliseconds.
func (s *section) millis(name string, d time.Duration) {
	s.Number(name, d.Milliseconds())
}

// rounded returns an interval in whole milliseconds.
func (s *section) rounded(name string, v Setting[time.Duration]) time.Duration {
	d := v.Value.Round(time.Millisecond)
	if d != v.Value {
		s.Remark(v.Position, "%s %v: rounded to a millisecond", name, v.Value)
	}
	return d
}

// within returns the interval inside of the limits.
func (s *section) within(name string, at uci.Position, d, low, high time.Duration, why string) time.Duration {
	limited := min(max(d, low), high)
	if limited != d {
		s.Note(at, "%s %v: %v was written, because it has to be from %v to %v%s", name, d, limited, low, high, why)
	}
	return limited
}

// intervals translates the three intervals. mobiles: the link serves mobiles, so
// that they may be short. It returns the longest.
func (s *section) intervals(i *Interface, mobiles bool) (longest time.Duration) {
	low, lowMin, lowDelay, why := shortestMax, shortestMin, shortestDelay, ""
	if !mobiles {
		low, lowMin, lowDelay = plainMax, plainMin, plainDelay
		why = " on a link that does not serve mobiles"
	}
	longest = defaultMaxInterval
	if v := i.MaxRtrAdvInterval; v.Given {
		longest = s.within("MaxRtrAdvInterval", v.Position, s.rounded("MaxRtrAdvInterval", v), low, longestMax, why)
		s.millis("max_interval_ms", longest)
	}
	highMin := (longest * 3 / 4).Truncate(time.Millisecond)
	if mobiles {
		highMin = longest
	}
	shortest := min(max((longest*33/100).Truncate(time.Millisecond), lowMin), highMin)
	if v := i.MinRtrAdvInterval; v.Given {
		shortest = s.within("MinRtrAdvInterval", v.Position, s.rounded("MinRtrAdvInterval", v), lowMin, highMin, why)
		s.millis("min_interval_ms", shortest)
	}
	s.delay(i.MinDelayBetweenRAs, shortest, lowDelay, min(longestDelay, longest), why)
	return longest
}

// delay translates the least time between multicast advertisements, where the
// shortest interval is that long.
func (s *section) delay(v Setting[time.Duration], shortest, low, high time.Duration, why string) {
	if !v.Given {
		return
	}
	if v.Value > shortest && shortest < plainDelay {
		s.Remark(v.Position, "MinDelayBetweenRAs %v: left out: in roam6 it holds between any two multicast advertisements, not only for answers, and would stretch intervals of %v", v.Value, shortest)
		return
	}
	delay := s.within("MinDelayBetweenRAs", v.Position, s.rounded("MinDelayBetweenRAs", v), low, high, why)
	s.millis("min_delay_between_ras_ms", delay)
}

// header translates what is in the header of an advertisement and in options
// about the link.
func (s *section) header(i *Interface, longest time.Duration, homeAgent bool) {
	s.flag("AdvManagedFlag", i.AdvManagedFlag)
	s.flag("AdvOtherConfigFlag", i.AdvOtherConfigFlag)
	if v := i.AdvLinkMTU; v.Given {
		if v.Value != 0 && (v.Value < minMTU || v.Value > maxMTU) {
			s.Note(v.Position, "AdvLinkMTU %d: left out: it has to be 0, or from %d to %d", v.Value, minMTU, maxMTU)
		} else {
			s.Number("AdvLinkMTU", int64(v.Value))
		}
	}
	if v := i.AdvReachableTime; v.Given {
		if v.Value > maxReachableTime {
			s.Note(v.Position, "AdvReachableTime %d: left out: it is at most %d (RFC 4861 §6.2.1)", v.Value, maxReachableTime)
		} else {
			s.Number("AdvReachableTime", int64(v.Value))
		}
	}
	if v := i.AdvRetransTimer; v.Given {
		s.Number("AdvRetransTimer", int64(v.Value))
	}
	if v := i.AdvCurHopLimit; v.Given {
		if v.Value > maxHopLimit {
			s.Note(v.Position, "AdvCurHopLimit %d: the field has 8 bits; %d was written, which radvd sends", v.Value, v.Value&maxHopLimit)
		}
		s.Number("AdvCurHopLimit", int64(v.Value&maxHopLimit))
	}
	s.routerLifetime(i, longest)
	if v := i.AdvDefaultPreference; v.Given {
		s.Set("AdvDefaultPreference", preferenceWord(v.Value))
	}
	if v := i.AdvSourceLLAddress; v.Given && !v.Value && homeAgent {
		s.Note(v.Position, "AdvSourceLLAddress off: left out, because a home agent has to tell its link-layer address (RFC 6275 §7.5)")
	} else {
		s.flag("AdvSourceLLAddress", v)
	}
	if v := i.AdvCaptivePortalAPI; v.Given {
		if why := notPortal(v.Value); why != "" {
			s.Note(v.Position, "AdvCaptivePortalAPI %q: left out: %s", uci.Shorten(v.Value), why)
		} else {
			s.Set("AdvCaptivePortalAPI", v.Value)
		}
	}
}

// notPortal says why a URI cannot be that of a captive portal's API, or nothing.
func notPortal(uri string) string {
	const longest = 1000 // has to fit into a packet with everything else
	u, err := url.Parse(uri)
	switch {
	case uri == "urn:ietf:params:capport:unrestricted": // there is no portal, RFC 8910 §2
		return ""
	case len(uri) > longest:
		return fmt.Sprintf("it has more than %d characters", longest)
	case err != nil || strings.Trim(uri, visible) != "" || u.Hostname() == "":
		return "it is no URI"
	case u.Scheme != "https":
		return "hosts ask the API over https only (RFC 8908 §4.1)"
	default:
		return ""
	}
}

func (s *section) routerLifetime(i *Interface, longest time.Duration) {
	v := i.AdvDefaultLifetime
	if !v.Given {
		// radvd rounds three times the interval down, roam6 up.
		if seconds := 3 * longest / time.Second; 3*longest%time.Second != 0 && seconds > 0 && seconds <= maxRouterLifetime && seconds*time.Second >= longest {
			s.Number("AdvDefaultLifetime", int64(seconds))
		}
		return
	}
	least := uint32(max((longest+time.Second-1)/time.Second, 1))
	switch {
	case v.Value > maxRouterLifetime:
		s.Note(v.Position, "AdvDefaultLifetime %d: %d was written, the most that its field holds", v.Value, maxRouterLifetime)
		s.Number("AdvDefaultLifetime", maxRouterLifetime)
	case v.Value != 0 && v.Value < least:
		s.Note(v.Position, "AdvDefaultLifetime %d: %d was written, because it has to be 0 or at least MaxRtrAdvInterval", v.Value, least)
		s.Number("AdvDefaultLifetime", int64(least))
	default:
		s.Number("AdvDefaultLifetime", int64(v.Value))
	}
}

// mobility translates what is for mobiles (RFC 6275 §7, RFC 3963 §7.3).
func (s *section) mobility(i *Interface, routerAddress bool) {
	if v := i.AdvIntervalOpt; v.Value && !i.tellsInterval() {
		s.Note(v.Position, "AdvIntervalOpt: left out, because with UnicastOnly mobiles would wait for advertisements that nobody sends")
	} else {
		s.flag("AdvIntervalOpt", v)
	}
	agent := i.AdvHomeAgentFlag
	if agent.Value && !routerAddress {
		s.Note(agent.Position, "AdvHomeAgentFlag: left out, because no prefix has AdvRouterAddr with the router's whole address, by which mobiles learn who their home agent is")
		agent = Setting[bool]{}
	}
	s.flag("AdvHomeAgentFlag", agent)

	info := i.AdvHomeAgentInfo
	noLifetime := !i.HomeAgentLifetime.Given && i.AdvDefaultLifetime.Given && i.AdvDefaultLifetime.Value == 0
	switch {
	case info.Value && !agent.Value:
		s.Note(info.Position, "AdvHomeAgentInfo: left out, because it goes with AdvHomeAgentFlag")
		info = Setting[bool]{}
	case info.Value && noLifetime:
		s.Note(info.Position, "AdvHomeAgentInfo: left out, because it needs a HomeAgentLifetime where AdvDefaultLifetime is 0")
		info = Setting[bool]{}
	}
	s.flag("AdvHomeAgentInfo", info)
	if info.Value {
		s.homeAgentInfo(i)
		return
	}
	const idle = ": left out, being without effect without AdvHomeAgentInfo"
	if v := i.HomeAgentLifetime; v.Given {
		s.Harmless(v.Position, "HomeAgentLifetime%s", idle)
	}
	if v := i.HomeAgentPreference; v.Given {
		s.Harmless(v.Position, "HomeAgentPreference%s", idle)
	}
	if v := i.AdvMobRtrSupportFlag; v.Value {
		s.Note(v.Position, "AdvMobRtrSupportFlag: left out, because it goes with AdvHomeAgentInfo")
	}
}

func (s *section) homeAgentInfo(i *Interface) {
	if v := i.HomeAgentLifetime; v.Given {
		lifetime := min(max(v.Value, 1), maxHomeAgentLifetime)
		if lifetime != v.Value {
			s.Note(v.Position, "HomeAgentLifetime %d: %d was written, because it has to be from 1 to %d", v.Value, lifetime, maxHomeAgentLifetime)
		}
		s.Number("HomeAgentLifetime", int64(lifetime))
	}
	if v := i.HomeAgentPreference; v.Given {
		preference := int16(uint16(v.Value)) // what radvd sends
		if int64(preference) != int64(v.Value) && v.Position.Line > 0 {
			s.Remark(v.Position, "HomeAgentPreference %d is %d as the number with a sign that mobiles read (RFC 6275 §7.4)", v.Value, preference)
		}
		s.Number("HomeAgentPreference", int64(preference))
	}
	s.flag("AdvMobRtrSupportFlag", i.AdvMobRtrSupportFlag)
}

func preferenceWord(n int) string {
	switch {
	case n < 0:
		return "low"
	case n > 0:
		return "high"
	default:
		return "medium"
	}
}
