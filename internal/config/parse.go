package config

import (
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/uci"
)

// sections is a file as read by the tables, before the sections are put
// together.
type sections struct {
	globals     []entry[Globals]
	metrics     []entry[metricsDraft]
	mobileNodes []entry[mobileNodeDraft] // mobile_node and mobile_router
	homeAgents  []entry[homeAgentDraft]
	mobiles     []entry[mobileDraft]
	interfaces  []entry[interfaceDraft]
	policies    []entry[policyDraft]
	uplinks     []entry[uplinkDraft]
	requests    []entry[prefixRequestDraft]
	ipsec       []entry[ipsecDraft]
	anchors     []entry[anchorDraft]
	visitors    []entry[visitorDraft]
	anchorKeys  []entry[anchorKeyDraft]
	// What belongs to interfaces.
	prefixes      []entry[prefixDraft]
	routes        []entry[routeDraft]
	rdnss         []entry[rdnssDraft]
	dnssl         []entry[dnsslDraft]
	nat64         []entry[nat64Draft]
	borderRouters []entry[borderRouterDraft]
	contexts      []entry[contextDraft]
	mapOptions    []entry[mapOptionDraft]
	// correspondents are those of the node itself: at most one.
	correspondents []entry[Correspondent]
}

func parse(name string, src []byte, mode fs.FileMode) (*Config, error) {
	var p problems
	file, err := uci.Parse(name, src)
	if err != nil {
		p.grammar(err)
		return nil, p.err()
	}
	for _, text := range file.Ignored {
		p.add(&Error{Position: text.Position, Offending: text.Text,
			Expected: "a line of its own: UCI ignores what follows a semicolon after a word without quotes"})
	}
	p.checkMode(file, mode)
	s := p.readSections(file)
	c := &Config{}
	c.Globals, c.Metrics = p.settings(s)
	protected := ipsec(s.ipsec)
	c.MobileNodes = mobileNodes(s.mobileNodes, protected)
	c.PrefixRequests = prefixRequests(s.requests)
	c.Uplinks = uplinks(s)
	advertiseDownstream(s)
	c.Interfaces = interfaces(s)
	c.HomeAgents = homeAgents(s.homeAgents, c.Interfaces)
	c.Mobiles = mobiles(s.mobiles, s.homeAgents, protected)
	seen := newAssociationsSeen()
	protected.check(s, seen)
	c.Anchors = anchors(s)
	c.Visitors = visitors(s.visitors, s.anchors)
	c.AnchorKeys = anchorKeys(s.anchorKeys, s.mobileNodes)
	seen.checkAnchors(s.visitors, s.anchorKeys)
	seen.checkSpace()
	protected.checkPayloads(s)
	c.Correspondent = correspondent(s.correspondents)
	c.Policies = policies(s.policies, s.mobileNodes)
	checkLinks(s, c.Globals.TunnelDevice)
	c.Disabled = s.disabled()
	if err := p.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// checkMode refuses keys in a file that others can read or change.
func (p *problems) checkMode(file *uci.File, mode fs.FileMode) {
	if mode&0o066 == 0 {
		return
	}
	for i := range file.Sections {
		for _, o := range file.Sections[i].Options {
			if secret(o.Name) {
				p.add(&Error{Position: o.Position, Section: file.Sections[i].Ref(), Option: o.Name, Offending: mode.String(),
					Expected: "a file that only its owner can read, because it holds a key: chmod 600 " + file.Name})
				return
			}
		}
	}
}

func (p *problems) readSections(file *uci.File) sections {
	var s sections
	node, router, agent := mobileNodeTable(), mobileRouterTable(), homeAgentTable()
	mobile, link, visitor := mobileTable(), interfaceTable(), visitorTable()
	s.mobiles = make([]entry[mobileDraft], 0, file.Count("mobile")) // of which there may be many
	for i := range file.Sections {
		switch src := &file.Sections[i]; src.Type {
		case "globals":
			s.globals = append(s.globals, read(p, globalsTable(), src))
		case "metrics":
			s.metrics = append(s.metrics, read(p, metricsTable(), src))
		case "mobile_router":
			e := read(p, router, src)
			e.value.Router = true
			s.mobileNodes = append(s.mobileNodes, e)
		case "mobile_node":
			s.mobileNodes = append(s.mobileNodes, read(p, node, src))
		case "home_agent":
			s.homeAgents = append(s.homeAgents, read(p, agent, src))
		case "mobile":
			s.mobiles = append(s.mobiles, read(p, mobile, src))
		case "interface":
			s.interfaces = append(s.interfaces, read(p, link, src))
		case "uplink":
			s.uplinks = append(s.uplinks, read(p, uplinkTable(), src))
		case "prefix_request":
			s.requests = append(s.requests, read(p, prefixRequestTable(), src))
		case "ipsec":
			s.ipsec = append(s.ipsec, read(p, ipsecTable(), src))
		case "policy":
			s.policies = append(s.policies, read(p, policyTable(), src))
		case "correspondent":
			s.correspondents = append(s.correspondents, read(p, correspondentTable(), src))
		case "anchor":
			s.anchors = append(s.anchors, read(p, anchorTable(), src))
		case "visitor":
			s.visitors = append(s.visitors, read(p, visitor, src))
		case "anchor_key":
			s.anchorKeys = append(s.anchorKeys, read(p, anchorKeyTable(), src))
		default:
			if p.readAdvertised(&s, src) {
				continue
			}
			var types []string
			for _, d := range Describe() {
				types = append(types, d.Type)
			}
			p.add(&Error{Position: src.Position, Section: src.Ref(), Offending: src.Type,
				Expected: "a known section type" + didYouMean(src.Type, types)})
		}
	}
	return s
}

// readAdvertised reads a section that belongs to an interface; false if src is of
// another type.
func (p *problems) readAdvertised(s *sections, src *uci.Section) bool {
	switch src.Type {
	case "prefix":
		s.prefixes = append(s.prefixes, read(p, prefixTable(), src))
	case "route":
		s.routes = append(s.routes, read(p, routeTable(), src))
	case "rdnss":
		s.rdnss = append(s.rdnss, read(p, rdnssTable(), src))
	case "dnssl":
		s.dnssl = append(s.dnssl, read(p, dnsslTable(), src))
	case "nat64prefix":
		s.nat64 = append(s.nat64, read(p, nat64Table(), src))
	case "abro":
		s.borderRouters = append(s.borderRouters, read(p, borderRouterTable(), src))
	case "lowpanco":
		s.contexts = append(s.contexts, read(p, contextTable(), src))
	case "map_option":
		s.mapOptions = append(s.mapOptions, read(p, mapOptionTable(), src))
	default:
		return false
	}
	return true
}

// settings gives the sections of which there is at most one, or their defaults.
func (p *problems) settings(s sections) (Globals, Metrics) {
	var none uci.Section
	globals := read(p, globalsTable(), &none)
	if len(s.globals) > 0 {
		globals = s.globals[0]
	}
	metrics := read(p, metricsTable(), &none)
	if len(s.metrics) > 0 {
		metrics = s.metrics[0]
	}
	if g := globals.value; g.ResolverFile != "" && g.ResolverFile == g.StateDirectory {
		globals.wrong("resolver_file", 0, "a file that is not the state_directory")
	}
	switch {
	case !globals.value.Page:
	case !pageBuilt:
		globals.wrong("page", 0, "0: this roam6 was built without the page (tag nopage or nometrics)")
	case !metrics.value.enabled:
		globals.wrong("page", 0, "0, or a section metrics with option enabled '1': its listener serves the page")
	}
	onlyOne(s.globals)
	onlyOne(s.metrics)
	m := metrics.value
	return globals.value, Metrics{Enabled: m.enabled, Listen: netip.AddrPortFrom(m.address, m.port)}
}

// correspondent gives the section, or that there is none.
func correspondent(entries []entry[Correspondent]) Correspondent {
	onlyOne(entries)
	if len(entries) == 0 {
		return Correspondent{}
	}
	return entries[0].value
}

func onlyOne[S any](entries []entry[S]) {
	for i, e := range entries {
		if i > 0 {
			e.superfluous("only one such section; the first is at " + entries[0].Position.String())
		}
	}
}

func (s sections) disabled() []string {
	return slices.Concat(disabledOf(s.mobileNodes), disabledOf(s.requests), disabledOf(s.homeAgents), disabledOf(s.mobiles),
		disabledOf(s.anchors), disabledOf(s.visitors), disabledOf(s.interfaces), disabledOf(s.prefixes), disabledOf(s.routes),
		disabledOf(s.rdnss), disabledOf(s.dnssl), disabledOf(s.nat64), disabledOf(s.borderRouters), disabledOf(s.contexts), disabledOf(s.mapOptions))
}

func disabledOf[S any](entries []entry[S]) []string {
	var names []string
	for _, e := range entries {
		if !e.enabled {
			names = append(names, e.Ref())
		}
	}
	return names
}

// roundUp is d in whole seconds, rounded up.
func roundUp(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

// contains reports whether outer covers all of inner.
func contains(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// quoted is a section as an error refers to another one.
func quoted(s section) string { return "section '" + s.Ref() + "' (" + s.Position.String() + ")" }
