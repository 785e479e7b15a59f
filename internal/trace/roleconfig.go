package trace

import (
	"encoding/json"
	"fmt"

	"roam6/ha"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
	"roam6/mn/region"
	"roam6/mr"
)

// The configuration of a role is in a trace as package mn, mr or ha has it, but for its
// keys, of which only the SPIs are there, and for the source of randomness. A member of
// the same name that is declared further outside takes the place of an embedded one.

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

// decodeMobile reads it, with keys that stand in and a source of randomness.
func decodeMobile(data json.RawMessage, random func([]byte)) (mr.Config, error) {
	var m mobileConfig
	if err := strict(data, &m); err != nil {
		return mr.Config{}, fmt.Errorf("configuration: %w", err)
	}
	c := m.Config
	c.Random, c.SA, c.Hierarchy = random, m.SA.association(), m.Hierarchy.Config
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

func decodeAgent(data json.RawMessage, random func([]byte)) (ha.Config, error) {
	var a agentConfig
	if err := strict(data, &a); err != nil {
		return ha.Config{}, fmt.Errorf("configuration: %w", err)
	}
	c := a.Config
	c.Random, c.Mobiles = random, nil
	for _, m := range a.Mobiles {
		m.Mobile.SA = m.SA.association()
		c.Mobiles = append(c.Mobiles, m.Mobile)
	}
	return c, nil
}

// machine makes a role of a configuration, and tells its keys.
func machine(k Kind, data json.RawMessage, random func([]byte)) (role.Machine, *keyring, error) {
	switch k {
	case KindNode, KindRouter:
		c, err := decodeMobile(data, random)
		if err != nil {
			return nil, nil, err
		}
		keys := newKeyring()
		keys.mobile(c.Config)
		if k == KindNode {
			if err := c.Config.Validate(); err != nil {
				return nil, nil, err
			}
			return mn.New(c.Config, nil), keys, nil
		}
		if err := c.Validate(); err != nil {
			return nil, nil, err
		}
		return mr.New(c), keys, nil
	case KindAgent:
		c, err := decodeAgent(data, random)
		if err != nil {
			return nil, nil, err
		}
		if err := c.Validate(); err != nil {
			return nil, nil, err
		}
		keys := newKeyring()
		keys.agent(c)
		return ha.New(c), keys, nil
	default:
		return nil, nil, fmt.Errorf("%w: kind of role %.40q is unknown", ErrFormat, k)
	}
}
