package mip6dconf

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/uci"
)

// option reads the value of an option whose name was at, and reports whether it
// was given before, and where. A list never was.
type option func(p *parser, at uci.Position) (before Setting[struct{}], err error)

// options are the options outside of blocks.
func (f *File) options() map[string]option {
	return map[string]option{
		"NodeConfig":                    entity(&f.NodeConfig),
		"DebugLevel":                    number(&f.DebugLevel, 0, unlimited),
		"DebugLogFile":                  text(&f.DebugLogFile, "the path of a file in double quotes"),
		"NonVolatileBindingCache":       boolean(&f.NonVolatileBindingCache),
		"UseMovementModule":             module(&f.UseMovementModule, true),
		"UsePolicyModule":               module(&f.UsePolicyModule, false),
		"UseMnHaIPsec":                  boolean(&f.UseMnHaIPsec),
		"KeyMngMobCapability":           boolean(&f.KeyMngMobCapability),
		"TunnelPayloadForceSANego":      boolean(&f.TunnelPayloadForceSANego),
		"SendMobPfxSols":                boolean(&f.SendMobPfxSols),
		"SendMobPfxAdvs":                boolean(&f.SendMobPfxAdvs),
		"SendUnsolMobPfxAdvs":           boolean(&f.SendUnsolMobPfxAdvs),
		"MinMobPfxAdvInterval":          number(&f.MinMobPfxAdvInterval, 0, unlimited),
		"MaxMobPfxAdvInterval":          number(&f.MaxMobPfxAdvInterval, 0, unlimited),
		"HaMaxBindingLife":              number(&f.HaMaxBindingLife, 0, maxBindingLifetime),
		"MnMaxHaBindingLife":            number(&f.MnMaxHaBindingLife, 0, maxBindingLifetime),
		"MnMaxCnBindingLife":            number(&f.MnMaxCnBindingLife, 0, maxRoutedBindingLifetime),
		"HaAcceptMobRtr":                boolean(&f.HaAcceptMobRtr),
		"DefaultBindingAclPolicy":       verdict(&f.DefaultBindingAclPolicy),
		"DoRouteOptimizationCN":         boolean(&f.DoRouteOptimizationCN),
		"DoRouteOptimizationMN":         boolean(&f.DoRouteOptimizationMN),
		"UseCnBuAck":                    boolean(&f.UseCnBuAck),
		"MobRtrUseExplicitMode":         boolean(&f.MobRtrUseExplicitMode),
		"MnUseAllInterfaces":            boolean(&f.MnUseAllInterfaces),
		"MnDiscardHaParamProb":          boolean(&f.MnDiscardHaParamProb),
		"MnResetDhaadAtHome":            boolean(&f.MnResetDhaadAtHome),
		"MnFlushAllAtHome":              boolean(&f.MnFlushAllAtHome),
		"MnMaxHaConsecutiveResends":     number(&f.MnMaxHaConsecutiveResends, 0, unlimited),
		"MnMaxCnConsecutiveResends":     number(&f.MnMaxCnConsecutiveResends, 0, unlimited),
		"OptimisticHandoff":             boolean(&f.OptimisticHandoff),
		"NoHomeReturn":                  boolean(&f.NoHomeReturn),
		"MnRouterProbes":                number(&f.MnRouterProbes, 0, unlimited),
		"MnRouterProbeTimeout":          seconds(&f.MnRouterProbeTimeout),
		"InterfaceInitialInitDelay":     seconds(&f.InterfaceInitialInitDelay),
		"InitialBindackTimeoutFirstReg": seconds(&f.InitialBindackTimeoutFirstReg),
		"InitialBindackTimeoutReReg":    seconds(&f.InitialBindackTimeoutReReg),
		"InitialSolicitTimer":           seconds(&f.InitialSolicitTimer),
		"HaServedPrefix": item(func(p *parser, _ uci.Position) error {
			x, err := p.prefix()
			f.ServedPrefixes = append(f.ServedPrefixes, x)
			return err
		}),
		"BindingAclPolicy": item(func(p *parser, at uci.Position) (err error) {
			b := Binding{Position: at}
			if b.HomeAddress, err = p.address(); err != nil {
				return err
			}
			if b.Networks, err = p.prefixes(); err != nil {
				return err
			}
			b.Verdict, err = p.verdict()
			f.BindingACL = append(f.BindingACL, b)
			return err
		}),
	}
}

func (i *Interface) options() map[string]option {
	return map[string]option{
		"IfType":         entity(&i.IfType),
		"MnIfPreference": number(&i.MnIfPreference, 0, worstPreference),
		"Tunnel":         boolean(&i.Tunnel),
		"LinkUpDelay":    number(&i.LinkUpDelay, 0, unlimited),
	}
}

func (h *HomeLink) options() map[string]option {
	return map[string]option{
		"HomeAddress": func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
			x, err := p.prefix()
			if err != nil {
				return before, err
			}
			h.Networks, err = p.prefixes()
			return set(&h.HomeAddress, x.Prefix, at), err
		},
		"HomeAgentAddress": func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
			a, err := p.address()
			return set(&h.HomeAgentAddress, a, at), err
		},
		"HomePrefix": func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
			x, err := p.prefix()
			return set(&h.HomePrefix, x.Prefix, at), err
		},
		"UseAltCoa": boolean(&h.UseAltCoa),
		"IsMobRtr":  boolean(&h.IsMobRtr),
		"MnRoPolicy": item(func(p *parser, at uci.Position) (err error) {
			r := RoutePolicy{Position: at}
			if r.Peer, err = p.optionalAddress(); err != nil {
				return err
			}
			r.Optimise, err = p.boolean()
			h.RoutePolicies = append(h.RoutePolicies, r)
			return err
		}),
	}
}

func (s *IPsecPolicySet) options() map[string]option {
	return map[string]option{
		"HomeAgentAddress": item(func(p *parser, _ uci.Position) (err error) {
			if s.HomeAgent.IsValid() {
				return wrong(p.token, "one HomeAgentAddress in the set")
			}
			s.HomeAgent, err = p.address()
			return err
		}),
		"HomeAddress": item(func(p *parser, _ uci.Position) error {
			x, err := p.prefix()
			s.HomeAddresses = append(s.HomeAddresses, x)
			return err
		}),
		"IPsecPolicy": item(func(p *parser, at uci.Position) error {
			x, err := p.ipsecPolicy(at)
			s.Policies = append(s.Policies, x)
			return err
		}),
	}
}

// item makes an option of what may be given more than once.
func item(read func(p *parser, at uci.Position) error) option {
	return func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
		return before, read(p, at)
	}
}

// set stores a value and returns the setting of before.
func set[T any](s *Setting[T], v T, at uci.Position) Setting[struct{}] {
	before := Setting[struct{}]{Given: s.Given, Position: s.Position}
	*s = Setting[T]{Given: true, Value: v, Position: at}
	return before
}

// Words of a boolean.
func trueWords() []string  { return []string{"enabled", "allow", "true"} }
func falseWords() []string { return []string{"disabled", "deny", "block", "false"} }

func (p *parser) isBoolean() bool {
	return p.token.kind == tokenWord && (slices.Contains(trueWords(), p.token.text) || slices.Contains(falseWords(), p.token.text))
}

func (p *parser) boolean() (bool, error) {
	if !p.isBoolean() {
		return false, wrong(p.token, "enabled or disabled (or allow, true; deny, block, false)")
	}
	t, err := p.take()
	return slices.Contains(trueWords(), t.text), err
}

func boolean(s *Setting[bool]) option {
	return func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
		v, err := p.boolean()
		return set(s, v, at), err
	}
}

func (p *parser) verdict() (Verdict, error) {
	if p.token.kind == tokenNumber {
		t, err := p.take()
		return Verdict(t.number), err
	}
	if !p.isBoolean() {
		return 0, wrong(p.token, "allow, deny or the number of a status")
	}
	yes, err := p.boolean()
	if yes {
		return Accepted, err
	}
	return Prohibited, err
}

func verdict(s *Setting[Verdict]) option {
	return func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
		v, err := p.verdict()
		return set(s, v, at), err
	}
}

const unlimited = 1<<32 - 1

func number(s *Setting[uint32], least, most uint32) option {
	return func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
		if p.token.kind != tokenNumber || p.token.number < least || p.token.number > most {
			return before, wrong(p.token, fmt.Sprintf("a number from %d to %d", least, most))
		}
		t, err := p.take()
		return set(s, t.number, at), err
	}
}

// seconds have decimals, which mip6d insists on.
func seconds(s *Setting[time.Duration]) option {
	return func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
		var d time.Duration
		switch p.token.kind {
		case tokenNumber:
			d = time.Duration(p.token.number) * time.Second
		case tokenDecimal:
			d = p.token.duration
		default:
			return before, wrong(p.token, "a number of seconds, such as 1.5")
		}
		return set(s, d, at), p.advance()
	}
}

func text(s *Setting[string], expected string) option {
	return func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
		t, err := p.quoted(expected)
		return set(s, t.text, at), err
	}
}

// module is a shared object, or the word internal.
func module(s *Setting[string], internal bool) option {
	expected := "the path of a module in double quotes"
	if internal {
		expected = "internal, or " + expected
	}
	return func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
		if internal && p.token.is("internal") {
			return set(s, "", at), p.advance()
		}
		t, err := p.quoted(expected)
		return set(s, t.text, at), err
	}
}

func entity(s *Setting[Entity]) option {
	return func(p *parser, at uci.Position) (before Setting[struct{}], err error) {
		i := slices.Index(entities[:], p.token.text)
		if i < 0 || p.token.kind != tokenWord {
			return before, wrong(p.token, "CN, HA or MN")
		}
		return set(s, Entity(i), at), p.advance()
	}
}

// unspecified reports whether an address says nothing.
func unspecified(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() }
