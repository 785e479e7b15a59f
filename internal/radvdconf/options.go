package radvdconf

import (
	"strings"
	"time"

	"roam6/internal/uci"
)

// options are the options of an interface by their names in lower case.
func (i *Interface) options() map[string]option {
	return map[string]option{
		"ignoreifmissing":       onOff(&i.IgnoreIfMissing),
		"advsendadvert":         onOff(&i.AdvSendAdvert),
		"unicastonly":           onOff(&i.UnicastOnly),
		"unrestrictedunicast":   onOff(&i.UnrestrictedUnicast),
		"advrasolicitedunicast": onOff(&i.AdvRASolicitedUnicast),
		"maxrtradvinterval":     seconds(&i.MaxRtrAdvInterval),
		"minrtradvinterval":     seconds(&i.MinRtrAdvInterval),
		"mindelaybetweenras":    seconds(&i.MinDelayBetweenRAs),
		"advmanagedflag":        onOff(&i.AdvManagedFlag),
		"advotherconfigflag":    onOff(&i.AdvOtherConfigFlag),
		"advlinkmtu":            number(&i.AdvLinkMTU),
		"advramtu":              number(&i.AdvRAMTU),
		"advreachabletime":      number(&i.AdvReachableTime),
		"advretranstimer":       number(&i.AdvRetransTimer),
		"advcurhoplimit":        number(&i.AdvCurHopLimit),
		"advdefaultlifetime":    number(&i.AdvDefaultLifetime),
		"advdefaultpreference":  preference(&i.AdvDefaultPreference),
		"advsourcelladdress":    onOff(&i.AdvSourceLLAddress),
		"removeadvonexit":       onOff(&i.RemoveAdvOnExit),
		"advcaptiveportalapi":   text(&i.AdvCaptivePortalAPI, "a URI"),
		"advhomeagentflag":      onOff(&i.AdvHomeAgentFlag),
		"advhomeagentinfo":      onOff(&i.AdvHomeAgentInfo),
		"advintervalopt":        onOff(&i.AdvIntervalOpt),
		"advmobrtrsupportflag":  onOff(&i.AdvMobRtrSupportFlag),
		"homeagentlifetime":     number(&i.HomeAgentLifetime),
		"homeagentpreference":   number(&i.HomeAgentPreference),
	}
}

func (x *Prefix) options() map[string]option {
	return map[string]option{
		"advonlink":            onOff(&x.AdvOnLink),
		"advautonomous":        onOff(&x.AdvAutonomous),
		"advrouteraddr":        onOff(&x.AdvRouterAddr),
		"advdhcpv6pdpreferred": onOff(&x.AdvDHCPv6PDPreferred),
		"advvalidlifetime":     lifetime(&x.AdvValidLifetime),
		"advpreferredlifetime": lifetime(&x.AdvPreferredLifetime),
		"deprecateprefix":      onOff(&x.DeprecatePrefix),
		"decrementlifetimes":   onOff(&x.DecrementLifetimes),
		"base6interface":       text(&x.Base6Interface, "the name of an interface"),
		"base6to4interface":    text(&x.Base6to4Interface, "the name of an interface"),
	}
}

func (x *Route) options() map[string]option {
	return map[string]option{
		"advroutelifetime":   lifetime(&x.AdvRouteLifetime),
		"advroutepreference": preference(&x.AdvRoutePreference),
		"removeroute":        onOff(&x.RemoveRoute),
	}
}

func (x *RDNSS) options() map[string]option {
	return map[string]option{
		"advrdnsspreference": number(&x.AdvRDNSSPreference),
		"advrdnssopen":       onOff(&x.AdvRDNSSOpen),
		"advrdnsslifetime":   lifetime(&x.AdvRDNSSLifetime),
		"flushrdnss":         onOff(&x.FlushRDNSS),
	}
}

func (x *DNSSL) options() map[string]option {
	return map[string]option{
		"advdnssllifetime": lifetime(&x.AdvDNSSLLifetime),
		"flushdnssl":       onOff(&x.FlushDNSSL),
	}
}

func (x *ABRO) options() map[string]option {
	return map[string]option{
		"advversionlow":    number(&x.AdvVersionLow),
		"advversionhigh":   number(&x.AdvVersionHigh),
		"advvalidlifetime": number(&x.AdvValidLifetime),
	}
}

func (x *LowpanContext) options() map[string]option {
	return map[string]option{
		"advcontextlength":          number(&x.AdvContextLength),
		"advcontextcompressionflag": onOff(&x.AdvContextCompressionFlag),
		"advcontextid":              number(&x.AdvContextID),
		"advlifetime":               number(&x.AdvLifeTime),
	}
}

func (x *NAT64Prefix) options() map[string]option {
	return map[string]option{"advvalidlifetime": number(&x.AdvValidLifetime)}
}

// block reads a block of an interface whose keyword has been read.
type block func(p *parser, h Head) error

// blocks are the blocks of an interface by their keywords in lower case.
func (i *Interface) blocks() map[string]block {
	return map[string]block{
		"prefix": func(p *parser, h Head) (err error) {
			x := Prefix{Head: h}
			if x.Prefix, err = p.prefix(); err == nil {
				err = p.optionalBlock("prefix", x.options())
			}
			i.Prefixes = append(i.Prefixes, x)
			return err
		},
		"route": func(p *parser, h Head) (err error) {
			x := Route{Head: h}
			if x.Prefix, err = p.prefix(); err == nil {
				err = p.optionalBlock("route", x.options())
			}
			i.Routes = append(i.Routes, x)
			return err
		},
		"rdnss": func(p *parser, h Head) error {
			x := RDNSS{Head: h}
			for first := true; first || p.token.kind == tokenAddress; first = false {
				a, err := p.address()
				if err != nil {
					return err
				}
				x.Servers = append(x.Servers, a)
			}
			err := p.optionalBlock("RDNSS", x.options())
			i.RDNSS = append(i.RDNSS, x)
			return err
		},
		"dnssl": func(p *parser, h Head) error {
			x := DNSSL{Head: h}
			for first := true; first || !p.token.mark("{") && !p.token.mark(";"); first = false {
				if !isSuffix(p.token) {
					return wrong(p.token, "a domain of letters, digits, hyphens and points")
				}
				x.Suffixes = append(x.Suffixes, p.advance().text)
			}
			err := p.optionalBlock("DNSSL", x.options())
			i.DNSSL = append(i.DNSSL, x)
			return err
		},
		"clients": func(p *parser, _ Head) error {
			return p.list(func() error {
				t := p.token
				if t.kind != tokenAddress && t.kind != tokenNotAddress {
					return wrong(t, "an IPv6 address")
				}
				p.advance()
				i.Clients = append(i.Clients, Address{Position: t.position, Address: t.address, Not: t.kind == tokenNotAddress})
				return nil
			})
		},
		"advrasrcaddress": func(p *parser, _ Head) error {
			return p.list(func() error {
				at := p.token.position
				a, err := p.address()
				i.RASrcAddresses = append(i.RASrcAddresses, Address{Position: at, Address: a})
				return err
			})
		},
		"abro": func(p *parser, h Head) (err error) {
			x := ABRO{Head: h}
			if x.Address, err = p.address(); err != nil {
				return err
			}
			if p.token.mark("/") {
				p.advance()
				if p.token.kind != tokenNumber {
					return wrong(p.token, "a prefix length")
				}
				p.advance()
				x.OldLength = true
			}
			err = p.optionalBlock("abro", x.options())
			i.ABRO = append(i.ABRO, x)
			return err
		},
		"lowpanco": func(p *parser, h Head) error {
			x := LowpanContext{Head: h}
			err := p.optionalBlock("lowpanco", x.options())
			i.LowpanContexts = append(i.LowpanContexts, x)
			return err
		},
		"nat64prefix": func(p *parser, h Head) (err error) {
			x := NAT64Prefix{Head: h}
			if x.Prefix, err = p.prefix(); err == nil {
				err = p.optionalBlock("nat64prefix", x.options())
			}
			i.NAT64Prefixes = append(i.NAT64Prefixes, x)
			return err
		},
		"autoignoreprefixes": func(p *parser, _ Head) error {
			return p.list(func() error {
				at := p.token.position
				prefix, err := p.prefix()
				i.AutoIgnorePrefixes = append(i.AutoIgnorePrefixes, Ignored{Position: at, Prefix: prefix})
				return err
			})
		},
	}
}

// isSuffix reports whether a token can be a domain. One that looks like
// something else, as `10` or `on` do, is none for radvd either.
func isSuffix(t token) bool {
	return (t.kind == tokenWord || t.kind == tokenQuoted) && t.text != "" &&
		strings.Trim(t.text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == ""
}

// set stores a value and returns the setting of before.
func set[T any](s *Setting[T], v T, at uci.Position) Setting[struct{}] {
	before := Setting[struct{}]{Given: s.Given, Position: s.Position}
	*s = Setting[T]{Given: true, Value: v, Position: at}
	return before
}

func onOff(s *Setting[bool]) option {
	return func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
		if !p.token.is("on") && !p.token.is("off") {
			return before, wrong(p.token, "on or off")
		}
		return set(s, p.advance().is("on"), at), nil
	}
}

func number(s *Setting[uint32]) option {
	return func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
		if p.token.kind != tokenNumber {
			return before, wrong(p.token, "a number from 0 to 4294967295")
		}
		return set(s, p.advance().number, at), nil
	}
}

// lifetime is a number of seconds, or infinity.
func lifetime(s *Setting[uint32]) option {
	return func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
		if p.token.is("infinity") {
			p.advance()
			return set(s, Infinity, at), nil
		}
		if p.token.kind != tokenNumber {
			return before, wrong(p.token, "a number of seconds from 0 to 4294967295, or infinity")
		}
		return set(s, p.advance().number, at), nil
	}
}

// seconds may have decimals.
func seconds(s *Setting[time.Duration]) option {
	return func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
		switch p.token.kind {
		case tokenNumber:
			return set(s, time.Duration(p.advance().number)*time.Second, at), nil
		case tokenDecimal:
			return set(s, p.advance().duration, at), nil
		default:
			return before, wrong(p.token, "a number of seconds, such as 3 or 0.07")
		}
	}
}

// preference is low, medium or high; radvd also takes a negative number, of
// which the last two bits are sent.
func preference(s *Setting[int]) option {
	return func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
		for i, word := range []string{"low", "medium", "high"} {
			if p.token.is(word) {
				p.advance()
				return set(s, i-1, at), nil
			}
		}
		if p.token.kind == tokenSigned && p.token.text == "-1" {
			p.advance()
			return set(s, -1, at), nil
		}
		return before, wrong(p.token, "low, medium or high")
	}
}

func text(s *Setting[string], expected string) option {
	return func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
		if p.token.kind != tokenWord && p.token.kind != tokenQuoted || p.token.text == "" {
			return before, wrong(p.token, expected)
		}
		return set(s, p.advance().text, at), nil
	}
}
