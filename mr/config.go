package mr

import (
	"errors"
	"fmt"
	"net/netip"

	"roam6/mn"
)

// Mode says how the home agent learns the mobile network prefixes (RFC 3963 §5.2).
type Mode uint8

// Modes of registration.
const (
	// Explicit names the prefixes in every binding update.
	Explicit Mode = iota + 1
	// Implicit leaves them to the home agent's own configuration.
	Implicit
)

func (m Mode) String() string {
	switch m {
	case Explicit:
		return "explicit"
	case Implicit:
		return "implicit"
	default:
		return fmt.Sprintf("mode %d", uint8(m))
	}
}

// other is the mode to try when m was refused.
func (m Mode) other() Mode {
	if m == Explicit {
		return Implicit
	}
	return Explicit
}

// Config is what the administrator decides for a mobile router.
type Config struct {
	mn.Config
	// Mode is how to register. With Delegation the router registers implicitly
	// until it has a lease (RFC 6276 §3.1), and then as Mode says.
	Mode Mode
	// Prefixes are the mobile network prefixes. In implicit mode the home agent
	// has to know the same ones: here they decide what may enter the tunnel.
	Prefixes []netip.Prefix
	// Delegation asks the home agent for prefixes (RFC 6276), beside Prefixes; nil
	// does not.
	Delegation *Delegation
}

// Delegation is how a mobile router gets prefixes from its home agent.
type Delegation struct {
	// DUID and IAID identify the router to the delegating router: stable across
	// restarts.
	DUID []byte
	IAID uint32
	// Length of the prefix to ask for; 0 leaves it to the delegating router.
	Length int
	// Downstreams are the interfaces that get a /64 each, in order.
	Downstreams []string
	// Saved is what an earlier life kept by role.Save, under the node's name with
	// "delegation-" before it. Only New and the Reconfigure that brings the first
	// Delegation look at it.
	Saved []byte
}

// maxNamed is how many configured prefixes a router may name. With as many as can be
// delegated beside them an update still fits the least MTU; it is not fragmented.
const maxNamed = 32

// maxDUID is the length of the longest DUID (RFC 8415 §11.1).
const maxDUID = 130

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	errs := []error{c.Config.Validate()}
	if c.Mode != Explicit && c.Mode != Implicit {
		errs = append(errs, fmt.Errorf("unknown registration %v", c.Mode))
	}
	if c.Mode == Explicit && len(c.Prefixes) == 0 && c.Delegation == nil {
		errs = append(errs, errors.New("explicit mode needs at least one mobile network prefix, or prefix delegation"))
	}
	if c.Mode == Explicit && len(c.Prefixes) > maxNamed {
		errs = append(errs, fmt.Errorf("%d mobile network prefixes are more than the %d that an update names: let the home agent know them, and register implicitly",
			len(c.Prefixes), maxNamed))
	}
	for _, p := range c.Prefixes {
		if !p.IsValid() || !p.Addr().Is6() || p != p.Masked() || p.Bits() == 0 {
			errs = append(errs, fmt.Errorf("mobile network prefix %v is not an IPv6 prefix without host bits", p))
		}
		for _, a := range c.HomeAgents {
			if p.IsValid() && p.Contains(a) {
				errs = append(errs, fmt.Errorf("mobile network prefix %v contains the home agent %v", p, a))
			}
		}
	}
	if c.Delegation != nil {
		errs = append(errs, c.Delegation.validate())
	}
	return errors.Join(errs...)
}

func (d *Delegation) validate() error {
	var errs []error
	if len(d.DUID) == 0 || len(d.DUID) > maxDUID {
		errs = append(errs, fmt.Errorf("a DUID of %d octets is not one of 1 to %d", len(d.DUID), maxDUID))
	}
	if d.Length < 0 || d.Length > 64 {
		errs = append(errs, fmt.Errorf("delegated prefix length %d is not between 0 and 64", d.Length))
	}
	return errors.Join(errs...)
}
