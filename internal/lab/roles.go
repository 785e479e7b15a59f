package lab

import (
	"crypto/rand"
	"encoding/hex"
	"net/netip"
	"path/filepath"

	"roam6/internal/uci"
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

func (s *section) list(name string, values ...string) *section {
	o := uci.Option{Name: name, List: true}
	for _, v := range values {
		o.Values = append(o.Values, uci.Value{Text: v})
	}
	s.Options = append(s.Options, o)
	return s
}

// configuration is the file of one daemon.
func configuration(directory, node string, sections ...*section) *uci.File {
	globals := newSection("globals", "globals").
		option("control", controlSocket(directory, node)).
		option("log_level", "debug")
	f := &uci.File{Name: "roam6", Sections: []uci.Section{globals.Section}}
	for _, s := range sections {
		f.Sections = append(f.Sections, s.Section)
	}
	return f
}

func controlSocket(directory, node string) string {
	return filepath.Join(directory, node+".sock")
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

// mobile is what home agent and mobile router both know of each other.
type mobile struct {
	home      netip.Prefix // home address with the length of the home prefix
	homeAgent netip.Addr
	networks  []netip.Prefix
	key       string // hexadecimal
}

// newKey is a key for one run.
func newKey() string {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	return hex.EncodeToString(key[:])
}

const spi = "256"

// homeAgent serves one mobile on its home link, and advertises there as
// RFC 6275 §7 wants it. dad is whether it probes for the home address, which
// takes a second, each time that the mobile leaves home.
func homeAgent(ifname string, m mobile, dad bool) []*section {
	router := netip.PrefixFrom(m.homeAgent, m.home.Bits())
	agent := newSection("home_agent", "ha").
		option("interface", ifname).
		option("address", m.homeAgent.String()).
		option("prefix", m.home.Masked().String())
	if !dad {
		agent.option("dad", "0")
	}
	return []*section{
		advertise(ifname).
			option("AdvHomeAgentFlag", "1").
			option("AdvHomeAgentInfo", "1").
			option("AdvMobRtrSupportFlag", "1").
			option("HomeAgentLifetime", "1800"),
		newSection("prefix", "").option("interface", ifname).list("prefix", router.String()).option("AdvRouterAddr", "1"),
		agent,
		newSection("mobile", "train").
			option("home_address", m.home.Addr().String()).
			option("spi", spi).option("key", m.key).
			list("prefix", texts(m.networks)...),
	}
}

// mobileRouter registers its networks explicitly.
func mobileRouter(m mobile, uplinks, downstream []string) []*section {
	return []*section{newSection("mobile_router", "train").
		option("home_address", m.home.String()).
		option("home_agent", m.homeAgent.String()).
		list("uplink", uplinks...).
		list("downstream", downstream...).
		option("spi", spi).option("key", m.key).
		option("mode", "explicit").
		list("prefix", texts(m.networks)...)}
}

func texts(prefixes []netip.Prefix) (l []string) {
	for _, p := range prefixes {
		l = append(l, p.String())
	}
	return l
}
