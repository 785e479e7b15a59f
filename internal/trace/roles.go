package trace

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"roam6/cn"
	"roam6/dhcpv6"
	"roam6/dhcpv6/delegating"
	"roam6/ha"
	"roam6/internal/role"
	anchor "roam6/map"
	"roam6/mn"
	"roam6/mr"
)

// machine makes a role of a configuration and, where it keeps something, what it has kept;
// and tells its keys.
func machine(k Kind, data json.RawMessage, saved []byte, d *drawer) (role.Machine, *keyring, error) {
	keys := newKeyring()
	switch k {
	case KindNode:
		c, err := decodeMobile(data, d)
		if err = valid(c.Config, err); err != nil {
			return nil, nil, err
		}
		keys.mobile(c.Config)
		return mn.New(c.Config, nil), keys, nil
	case KindRouter:
		c, err := decodeMobile(data, d)
		if err = valid(c, err); err != nil {
			return nil, nil, err
		}
		keys.mobile(c.Config)
		return mr.New(c), keys, nil
	case KindAgent:
		c, err := decodeAgent(data, d)
		if err = valid(c, err); err != nil {
			return nil, nil, err
		}
		keys.agent(c)
		return ha.New(c), keys, nil
	case KindAnchor:
		c, err := decodeAnchor(data, d)
		if err = valid(c, err); err != nil {
			return nil, nil, err
		}
		keys.anchor(c)
		return anchor.New(c), keys, nil
	case KindCorrespondent:
		c, err := decodeCorrespondent(data, d)
		if err = valid(c, err); err != nil {
			return nil, nil, err
		}
		keys.correspondent = cn.New(c)
		return keys.correspondent, keys, nil
	case KindClient:
		c, err := decodeClient(data, d)
		if err = valid(c, err); err != nil {
			return nil, nil, err
		}
		return dhcpv6.NewClient(c, saved), keys, nil
	case KindDelegator:
		c, err := decodeDelegator(data, d)
		if err = valid(c, err); err != nil {
			return nil, nil, err
		}
		return delegating.New(c, saved), keys, nil
	default:
		return nil, nil, fmt.Errorf("%w: kind of role %.40q is unknown", ErrFormat, k)
	}
}

// reconfigure gives a role another configuration.
func (r *player) reconfigure(now time.Time, data json.RawMessage) ([]role.Action, error) {
	switch m := r.machine.(type) {
	case *mn.Node:
		c, err := decodeMobile(data, r.drawer)
		if err = valid(c.Config, err); err != nil {
			return nil, err
		}
		r.keys.mobile(c.Config)
		return m.Reconfigure(now, c.Config), nil
	case *mr.Router:
		c, err := decodeMobile(data, r.drawer)
		if err = valid(c, err); err != nil {
			return nil, err
		}
		r.keys.mobile(c.Config)
		return m.Reconfigure(now, c), nil
	case *ha.Agent:
		c, err := decodeAgent(data, r.drawer)
		if err = valid(c, err); err != nil {
			return nil, err
		}
		r.keys.agent(c)
		return m.Reconfigure(now, c), nil
	case *anchor.Anchor:
		c, err := decodeAnchor(data, r.drawer)
		if err = valid(c, err); err != nil {
			return nil, err
		}
		r.keys.anchor(c)
		return m.Reconfigure(now, c), nil
	case *cn.Correspondent:
		c, err := decodeCorrespondent(data, r.drawer)
		if err = valid(c, err); err != nil {
			return nil, err
		}
		return m.Reconfigure(now, c), nil
	case *dhcpv6.Client:
		c, err := decodeClient(data, r.drawer)
		if err = valid(c, err); err != nil {
			return nil, err
		}
		return m.Reconfigure(now, c), nil
	case *delegating.Server:
		c, err := decodeDelegator(data, r.drawer)
		if err = valid(c, err); err != nil {
			return nil, err
		}
		return m.Reconfigure(now, c), nil
	}
	return nil, errors.New("this role cannot be reconfigured")
}

// valid is the error of what was decoded, or says what is wrong with it.
func valid(c interface{ Validate() error }, err error) error {
	if err != nil {
		return err
	}
	return c.Validate()
}
