package mip6dconf

import (
	"slices"

	"roam6/internal/uci"
)

// block reads a block whose keyword was at.
type block func(p *parser, at uci.Position) error

// blocks are the statements with a block, by their keywords.
func (f *File) blocks() map[string]block {
	return map[string]block{
		"Interface": func(p *parser, _ uci.Position) error {
			name, err := p.quoted("the name of an interface in double quotes")
			if err != nil {
				return err
			}
			i := Interface{Name: name.text, Position: name.position}
			if p.token.mark(";") {
				err = p.advance()
			} else {
				err = p.options("Interface", i.options())
			}
			f.Interfaces = append(f.Interfaces, i)
			return err
		},
		"MnHomeLink": func(p *parser, _ uci.Position) error {
			name, err := p.quoted("the name of an interface in double quotes")
			if err != nil {
				return err
			}
			h := HomeLink{Interface: name.text, Position: name.position}
			if err := p.options("MnHomeLink", h.options()); err != nil {
				return err
			}
			if unspecified(h.HomeAddress.Value.Addr()) {
				return &Error{Position: h.Position, Offending: h.Interface, Expected: "a HomeAddress in the block"}
			}
			f.HomeLinks = append(f.HomeLinks, h)
			return nil
		},
		"CnBindingPolicySet": func(p *parser, _ uci.Position) error {
			if err := p.expectMark("{"); err != nil {
				return err
			}
			for first := true; first || !p.token.mark("}"); first = false {
				x, err := p.peerPolicy()
				if err != nil {
					return err
				}
				f.PeerPolicies = append(f.PeerPolicies, x)
			}
			return p.advance()
		},
		"IPsecPolicySet": func(p *parser, at uci.Position) error {
			s := IPsecPolicySet{Position: at}
			if err := p.options("IPsecPolicySet", s.options()); err != nil {
				return err
			}
			for _, missing := range []struct {
				is   bool
				what string
			}{
				{unspecified(s.HomeAgent), "a HomeAgentAddress"},
				{len(s.HomeAddresses) == 0, "a HomeAddress"},
				{len(s.Policies) == 0, "an IPsecPolicy"},
			} {
				if missing.is {
					return &Error{Position: at, Offending: "IPsecPolicySet", Expected: missing.what + " in the set"}
				}
			}
			f.IPsecPolicySets = append(f.IPsecPolicySets, s)
			return nil
		},
		"ProxyMipLma": proxy(f, "ProxyMipLma"),
		"ProxyMipMag": proxy(f, "ProxyMipMag"),
	}
}

// proxy passes over a definition of Proxy Mobile IPv6, whatever it holds.
func proxy(f *File, keyword string) block {
	return func(p *parser, at uci.Position) error {
		f.Proxy = append(f.Proxy, Proxy{Keyword: keyword, Position: at})
		for depth := 0; ; {
			t, err := p.take()
			switch {
			case err != nil:
				return err
			case t.kind == tokenEnd || t.kind == tokenBad:
				return wrong(t, "the end of "+keyword)
			case t.mark("{"):
				depth++
			case t.mark("}") && depth <= 1, t.mark(";") && depth == 0:
				return nil
			case t.mark("}"):
				depth--
			}
		}
	}
}

// peerPolicy reads ADDRESS [ADDRESS] BOOLEAN;
func (p *parser) peerPolicy() (x PeerPolicy, err error) {
	x.Position = p.token.position
	if x.HomeAddress, err = p.address(); err != nil {
		return x, err
	}
	if x.Local, err = p.optionalAddress(); err != nil {
		return x, err
	}
	if x.Accept, err = p.boolean(); err != nil {
		return x, err
	}
	return x, p.expectMark(";")
}

// maxProtocols is how many protocols a policy may name.
const maxProtocols = 3

// ipsecPolicy reads TYPE PROTOCOL… [NUMBER [NUMBER]] [BOOLEAN].
func (p *parser) ipsecPolicy(at uci.Position) (x IPsecPolicy, err error) {
	x.Position, x.Allow = at, true
	i := slices.Index(policyTypes[:], p.token.text)
	if i < 0 || p.token.kind != tokenWord {
		return x, wrong(p.token, "HomeRegBinding, Mh, MobPfxDisc, ICMP, any, TunnelHomeTesting, TunnelMh or TunnelPayload")
	}
	x.Type = PolicyType(i)
	if err := p.advance(); err != nil {
		return x, err
	}
	n := 0
	for ; n < maxProtocols && (p.token.is("UseESP") || p.token.is("UseAH") || p.token.is("UseIPComp")); n++ {
		if p.token.is("UseESP") {
			x.ESP = true
		} else {
			x.Others = true
		}
		if err := p.advance(); err != nil {
			return x, err
		}
	}
	if n == 0 {
		return x, wrong(p.token, "UseESP")
	}
	if p.token.kind == tokenNumber {
		x.RequestID = [2]uint32{p.token.number, p.token.number}
		if err := p.advance(); err != nil {
			return x, err
		}
	}
	if p.token.kind == tokenNumber {
		x.RequestID[1] = p.token.number
		if err := p.advance(); err != nil {
			return x, err
		}
	}
	if p.isBoolean() {
		if x.Allow, err = p.boolean(); err != nil {
			return x, err
		}
	}
	return x, nil
}
