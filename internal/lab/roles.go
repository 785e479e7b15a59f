package lab

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"roam6/internal/uci"
	"roam6/overlay/engines"
)

// section builds a section of a configuration.
type section struct{ uci.Section }

func newSection(kind, name string) *section {
	return &section{uci.Section{Type: kind, Name: name, Anonymous: name == ""}}
}

func (s *section) option(name, value string) *section {
	s.Options = append(s.Options, uci.Option{Name: name, Values: []uci.Value{{Text: value}}})
	return s
}

// replace gives an option that is there another value.
func (s *section) replace(name, value string) *section {
	for i := range s.Options {
		if s.Options[i].Name == name {
			s.Options[i].Values = []uci.Value{{Text: value}}
		}
	}
	return s
}

func (s *section) list(name string, values ...string) *section {
	o := uci.Option{Name: name, List: true}
	for _, v := range values {
		o.Values = append(o.Values, uci.Value{Text: v})
	}
	s.Options = append(s.Options, o)
	return s
}

// configuration is the file of one daemon.
func configuration(env Environment, node string, sections ...*section) *uci.File {
	directory := env.Directory
	globals := newSection("globals", "globals").
		option("control", controlSocket(directory, node)).
		option("log_level", "debug").
		option("state_directory", filepath.Join(directory, node+".state")).
		option("resolver_file", resolverFile(directory, node)).
		option("plane", cmp.Or(env.plane, engines.Auto))
	f := &uci.File{Name: "roam6", Sections: []uci.Section{globals.Section}}
	for _, s := range sections {
		f.Sections = append(f.Sections, s.Section)
	}
	return f
}

func controlSocket(directory, node string) string {
	return filepath.Join(directory, node+".sock")
}

// resolverFile is where a daemon writes what DHCPv6 servers told of DNS.
func resolverFile(directory, node string) string {
	return filepath.Join(directory, node+".resolv")
}

// advertise are router advertisements every 30 to 70 ms, the fastest that
// RFC 6275 §7.5 allows.
func advertise(ifname string) *section {
	return newSection("interface", "").
		option("interface", ifname).
		option("AdvSendAdvert", "1").
		option("AdvIntervalOpt", "1").
		option("min_interval_ms", "30").
		option("max_interval_ms", "70").
		option("min_delay_between_ras_ms", "30")
}

// accessRouter advertises a prefix on its access link.
func accessRouter(ifname string, address netip.Prefix) []*section {
	return []*section{
		advertise(ifname),
		newSection("prefix", "").option("interface", ifname).list("prefix", address.Masked().String()),
	}
}

// accessRouters are the parts of access routers 1 to n.
func accessRouters(n int) (parts []part) {
	for i := 1; i <= n; i++ {
		parts = append(parts, part{accessRouterName(i), accessRouter(linkAccess, accessAddress(i))})
	}
	return parts
}

// mobile is a mobile node or, with networks, a mobile router, as it and its
// home agent know it.
type mobile struct {
	name       string
	home       netip.Prefix // home address with the length of the home prefix
	homeAgents []netip.Addr // none: to be discovered
	key        string       // hexadecimal
	number     int          // among those that IPsec protects at a home agent

	uplinks    []string
	optimise   bool // routes
	hysteresis time.Duration

	networks   []netip.Prefix
	downstream []string
	// delegation: the home agent delegates networks.
	delegation bool
}

// newKey is a key for one run.
func newKey() string {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	return hex.EncodeToString(key[:])
}

const spi = "256"

func (m mobile) router() bool { return len(m.networks) > 0 || m.delegation }

// sections are the mobile's own configuration. A mobile router registers its
// networks explicitly.
func (m mobile) sections() []*section {
	kind := "mobile_node"
	if m.router() {
		kind = "mobile_router"
	}
	s := newSection(kind, m.name).
		option("home_address", m.home.String()).
		list("uplink", m.uplinks...).
		option("spi", spi).option("key", m.key)
	if len(m.homeAgents) > 0 {
		s.list("home_agent", texts(m.homeAgents)...)
	}
	if m.optimise {
		s.option("route_optimization", "on")
	}
	if m.hysteresis > 0 {
		s.option("hysteresis_ms", strconv.FormatInt(m.hysteresis.Milliseconds(), 10))
	}
	if len(m.networks) > 0 {
		s.option("mode", "explicit").list("prefix", texts(m.networks)...)
	}
	if m.delegation {
		s.option("prefix_delegation", "1")
	}
	if len(m.downstream) > 0 {
		s.list("downstream", m.downstream...)
	}
	return []*section{s}
}

// agent is a home agent with the mobiles of its home link.
type agent struct {
	name string // of its section; empty: ha
	site homeSite
	// address is where it is on the home link, when not at the site's address.
	address    netip.Addr
	preference int
	// dad is whether it probes for a home address, which takes a second, each
	// time that the mobile leaves home.
	dad     bool
	mobiles []mobile

	// prefixes are those of the home link beside the first one, and deprecated
	// one that is being given up. The home agent has an address in each.
	prefixes   []netip.Prefix
	deprecated netip.Prefix
	// deprecatedLifetime is how long that one is still good.
	deprecatedLifetime time.Duration
	// prefixInterval is how long the home agent waits before it tells mobiles of
	// another prefix; zero: minutes to a day.
	prefixInterval time.Duration

	delegates delegates
}

// delegates is how a home agent delegates prefixes; the zero value is not at all.
type delegates struct {
	pools []netip.Prefix
	// preferred and valid are the lifetimes of what is delegated from pools.
	preferred, valid time.Duration
	server           netip.Addr // where the prefixes come from when there are no pools
}

// options adds them to the section of a home agent.
func (d delegates) options(s *section) {
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
	switch {
	case len(d.pools) > 0:
		s.list("delegation_pool", texts(d.pools)...).
			option("delegation_preferred", seconds(d.preferred)).
			option("delegation_lifetime", seconds(d.valid))
	case d.server.IsValid():
		s.option("delegation_server", d.server.String())
	}
}

// sections are the home agent's configuration, with the advertisements that
// RFC 6275 §7 wants on its home link.
func (a agent) sections() []*section {
	address := a.address
	if !address.IsValid() {
		address = a.site.agent()
	}
	home := netip.PrefixFrom(address, a.site.mobile().Bits())
	prefixes, advertised := []netip.Prefix{home.Masked()}, []netip.Prefix{home}
	for _, p := range a.prefixes {
		prefixes, advertised = append(prefixes, p), append(advertised, netip.PrefixFrom(p.Addr().Next(), p.Bits()))
	}
	s := newSection("home_agent", cmp.Or(a.name, "ha")).
		option("interface", linkHome).
		option("address", address.String()).
		list("prefix", texts(prefixes)...)
	if a.deprecated.IsValid() {
		s.list("deprecated_prefix", a.deprecated.String()).
			option("deprecated_lifetime", strconv.Itoa(int(a.deprecatedLifetime/time.Second)))
	}
	if !a.dad {
		s.option("dad", "0")
	}
	if a.prefixInterval > 0 {
		seconds := strconv.Itoa(int(a.prefixInterval / time.Second))
		s.option("prefix_min_interval", seconds).option("prefix_max_interval", seconds)
	}
	a.delegates.options(s)
	all := []*section{
		advertise(linkHome).
			option("AdvHomeAgentFlag", "1").
			option("AdvHomeAgentInfo", "1").
			option("AdvMobRtrSupportFlag", "1").
			option("HomeAgentLifetime", "1800").
			option("HomeAgentPreference", strconv.Itoa(a.preference)),
		newSection("prefix", "").option("interface", linkHome).list("prefix", texts(advertised)...).option("AdvRouterAddr", "1"),
		s,
	}
	for _, m := range a.mobiles {
		served := newSection("mobile", m.name).
			option("home_address", m.home.Addr().String()).
			option("spi", spi).option("key", m.key)
		if len(m.networks) > 0 {
			served.list("prefix", texts(m.networks)...)
		}
		if m.delegation {
			served.option("router", "1")
		}
		all = append(all, served)
	}
	return all
}

// correspondent lets mobile nodes optimise their routes to a node.
func correspondent() *section { return newSection("correspondent", "cn") }

func texts[T fmt.Stringer](values []T) (l []string) {
	for _, v := range values {
		l = append(l, v.String())
	}
	return l
}
