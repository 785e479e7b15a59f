package trace

import (
	"encoding/json"
	"fmt"

	"roam6/cn"
	"roam6/dhcpv6"
	"roam6/dhcpv6/delegating"
	"roam6/ha"
	anchor "roam6/map"
	"roam6/mip6"
	"roam6/mn/region"
	"roam6/mr"
)

// The configuration of a role is in a trace as its package has it, but for its keys, of
// which only the SPIs are there, and for the functions that it calls. A member of the same
// name that is declared further outside takes the place of an embedded one.

// spi is a security association without its key.
type spi struct{ SPI uint32 }

func ofAssociation(sa *mip6.SecurityAssociation) *spi {
	if sa == nil {
		return nil
	}
	return &spi{sa.SPI}
}

func (s *spi) association() *mip6.SecurityAssociation {
	if s == nil {
		return nil
	}
	return standIn(s.SPI)
}

// absent takes the place of what JSON cannot have.
type absent = *struct{}

type mobileConfig struct {
	mr.Config
	Random    absent `json:",omitempty"`
	SA        *spi
	Hierarchy hierarchy
}

type hierarchy struct {
	region.Config
	Keys []anchorKey
}

type anchorKey struct {
	region.Key
	SA *spi
}

type agentConfig struct {
	ha.Config
	Random  absent `json:",omitempty"`
	Mobiles []agentMobile
}

type agentMobile struct {
	ha.Mobile
	SA *spi
}

type anchorConfig struct {
	anchor.Config
	Random   absent `json:",omitempty"`
	Barred   absent `json:",omitempty"`
	Visitors []anchorVisitor
}

// anchorVisitor is one of an anchor. In a play it has another key only with another SPI.
type anchorVisitor struct {
	anchor.Visitor
	SA, ESP *spi
}

type correspondentConfig struct {
	cn.Config
	Random absent `json:",omitempty"`
	Secret absent `json:",omitempty"`
}

type clientConfig struct {
	dhcpv6.Config
	Random absent `json:",omitempty"`
}

type delegatorConfig struct {
	delegating.Config
	Random absent `json:",omitempty"`
}

// encodeMobile makes the JSON of the configuration of a mobile router; that of a mobile
// node is in it.
func encodeMobile(c mr.Config) (json.RawMessage, error) {
	m := mobileConfig{Config: c, SA: ofAssociation(c.SA), Hierarchy: hierarchy{Config: c.Hierarchy}}
	for _, k := range c.Hierarchy.Keys {
		if k.SA != nil {
			k.Seed = region.SeedOf(k.SA.Key[:]) // of which the regional care-of addresses are made
		}
		m.Hierarchy.Keys = append(m.Hierarchy.Keys, anchorKey{Key: k, SA: ofAssociation(k.SA)})
	}
	return json.Marshal(m)
}

// decodeMobile reads it, with keys that stand in, and with d for what it draws.
func decodeMobile(data json.RawMessage, d *drawer) (mr.Config, error) {
	var m mobileConfig
	if err := strict(data, &m); err != nil {
		return mr.Config{}, fmt.Errorf("configuration: %w", err)
	}
	c := m.Config
	c.Random, c.SA, c.Hierarchy = d.draw, m.SA.association(), m.Hierarchy.Config
	c.Hierarchy.Keys = nil
	for _, k := range m.Hierarchy.Keys {
		k.Key.SA = k.SA.association()
		c.Hierarchy.Keys = append(c.Hierarchy.Keys, k.Key)
	}
	return c, nil
}

func encodeAgent(c ha.Config) (json.RawMessage, error) {
	a := agentConfig{Config: c}
	for _, m := range c.Mobiles {
		a.Mobiles = append(a.Mobiles, agentMobile{Mobile: m, SA: ofAssociation(m.SA)})
	}
	return json.Marshal(a)
}

func decodeAgent(data json.RawMessage, d *drawer) (ha.Config, error) {
	var a agentConfig
	if err := strict(data, &a); err != nil {
		return ha.Config{}, fmt.Errorf("configuration: %w", err)
	}
	c := a.Config
	c.Random, c.Mobiles = d.draw, nil
	for _, m := range a.Mobiles {
		m.Mobile.SA = m.SA.association()
		c.Mobiles = append(c.Mobiles, m.Mobile)
	}
	return c, nil
}

func encodeAnchor(c anchor.Config) (json.RawMessage, error) {
	a := anchorConfig{Config: c}
	for _, v := range c.Visitors {
		x := anchorVisitor{Visitor: v, SA: ofAssociation(v.SA)}
		if v.ESP != nil {
			x.ESP = &spi{v.ESP.SPI}
		}
		a.Visitors = append(a.Visitors, x)
	}
	return json.Marshal(a)
}

func decodeAnchor(data json.RawMessage, d *drawer) (anchor.Config, error) {
	var a anchorConfig
	if err := strict(data, &a); err != nil {
		return anchor.Config{}, fmt.Errorf("configuration: %w", err)
	}
	c := a.Config
	c.Random, c.Barred, c.Visitors = d.draw, d.isBarred, nil
	for _, v := range a.Visitors {
		v.Visitor.SA = v.SA.association()
		if v.ESP != nil {
			v.Visitor.ESP = standInESP(v.ESP.SPI)
		}
		c.Visitors = append(c.Visitors, v.Visitor)
	}
	return c, nil
}

func encodeCorrespondent(c cn.Config) (json.RawMessage, error) {
	return json.Marshal(correspondentConfig{Config: c})
}

func decodeCorrespondent(data json.RawMessage, d *drawer) (cn.Config, error) {
	var x correspondentConfig
	if err := strict(data, &x); err != nil {
		return cn.Config{}, fmt.Errorf("configuration: %w", err)
	}
	c := x.Config
	c.Random, c.Secret = d.draw, d.secret
	return c, nil
}

func encodeClient(c dhcpv6.Config) (json.RawMessage, error) {
	return json.Marshal(clientConfig{Config: c})
}

func decodeClient(data json.RawMessage, d *drawer) (dhcpv6.Config, error) {
	var x clientConfig
	if err := strict(data, &x); err != nil {
		return dhcpv6.Config{}, fmt.Errorf("configuration: %w", err)
	}
	c := x.Config
	c.Random = d.draw
	return c, nil
}

func encodeDelegator(c delegating.Config) (json.RawMessage, error) {
	return json.Marshal(delegatorConfig{Config: c})
}

func decodeDelegator(data json.RawMessage, d *drawer) (delegating.Config, error) {
	var x delegatorConfig
	if err := strict(data, &x); err != nil {
		return delegating.Config{}, fmt.Errorf("configuration: %w", err)
	}
	c := x.Config
	c.Random = d.draw
	return c, nil
}
