package nd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"roam6/mip6"
)

// ErrTooLong is an option that does not fit into the least MTU of IPv6 with the
// fields and single options that every advertisement has.
var ErrTooLong = errors.New("longer than an IPv6 packet of 1280 octets holds: divide it")

// Validate says what in the configuration cannot be.
func (c AdvertiserConfig) Validate() error {
	ra := c.Advertisement
	switch {
	case c.MinInterval < MinMinInterval:
		return fmt.Errorf("minimum advertisement interval %v is below %v", c.MinInterval, MinMinInterval)
	case c.MaxInterval < MinMaxInterval || c.MaxInterval > maxInterval:
		return fmt.Errorf("maximum advertisement interval %v is not between %v and %v", c.MaxInterval, MinMaxInterval, maxInterval)
	case c.MinInterval > c.MaxInterval:
		return fmt.Errorf("minimum advertisement interval %v is above the maximum %v", c.MinInterval, c.MaxInterval)
	case c.MinDelay < MinDelayOfRAs || c.MinDelay > c.MaxInterval:
		return fmt.Errorf("minimum delay between advertisements %v is not between %v and the maximum interval %v", c.MinDelay, MinDelayOfRAs, c.MaxInterval)
	case c.SolicitedDelay < 0 || c.SolicitedDelay > MaxRADelay:
		return fmt.Errorf("delay of solicited advertisements %v is not between 0 and %v", c.SolicitedDelay, MaxRADelay)
	case ra.RouterLifetime != 0 && (ra.RouterLifetime < time.Second || ra.RouterLifetime < c.MaxInterval || ra.RouterLifetime > maxRouterLife):
		return fmt.Errorf("router lifetime %v is not 0 nor between the maximum advertisement interval %v (at least 1s) and %v", ra.RouterLifetime, c.MaxInterval, maxRouterLife)
	case ra.HomeAgent && ra.HomeAgentInfo != nil && ra.HomeAgentInfo.Lifetime < time.Second:
		return fmt.Errorf("home agent lifetime %v is below 1s", ra.HomeAgentInfo.Lifetime)
	case ra.HomeAgent && !slices.ContainsFunc(ra.Prefixes, func(p mip6.PrefixInformation) bool { return p.RouterAddress }):
		return errors.New("a home agent must advertise its own address: set the router address flag of a prefix")
	}
	for i, p := range ra.Prefixes {
		if err := validatePrefix(p); err != nil {
			return err
		}
		if slices.ContainsFunc(ra.Prefixes[:i], func(q mip6.PrefixInformation) bool { return q.Prefix == p.Prefix }) {
			return fmt.Errorf("prefix %v is advertised twice", p.Prefix)
		}
	}
	for i, a := range c.Clients {
		switch {
		case !isUnicast(a) || a.Zone() != "":
			return fmt.Errorf("client %v cannot get advertisements: not the unicast IPv6 address of a node, without a zone", a)
		case slices.Contains(c.Clients[:i], a):
			return fmt.Errorf("client %v is there twice", a)
		}
	}
	if err := c.validateInformation(); err != nil {
		return err
	}
	return c.validateLength()
}

func validatePrefix(p mip6.PrefixInformation) error {
	a := p.Prefix.Addr()
	switch {
	case !p.Prefix.IsValid() || !a.Is6() || a.Is4In6() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.IsLoopback():
		return fmt.Errorf("prefix %v cannot be advertised: not a unicast IPv6 prefix", p.Prefix)
	case p.RouterAddress && p.Prefix == p.Prefix.Masked():
		return fmt.Errorf("prefix %v has the router address flag but not the router's whole address", p.Prefix)
	case p.PreferredLifetime > p.ValidLifetime || p.PreferredLifetime < 0:
		return fmt.Errorf("prefix %v: preferred lifetime %v is not between 0 and the valid lifetime %v", p.Prefix, p.PreferredLifetime, p.ValidLifetime)
	default:
		return nil
	}
}

// validateInformation sees to what the options beside prefixes tell.
func (c AdvertiserConfig) validateInformation() error {
	ra, seen := c.Advertisement, make(map[subject]bool)
	for _, t := range ra.tellings() {
		if t.subject.option != optionPrefix && seen[t.subject] {
			return fmt.Errorf("%v is advertised twice", t.subject)
		}
		seen[t.subject] = true
	}
	for _, m := range ra.Anchors {
		if err := validateAnchor(m); err != nil {
			return err
		}
	}
	for _, r := range ra.Routes {
		switch a := r.Prefix.Addr(); {
		case !r.Prefix.IsValid() || !a.Is6() || a.Is4In6() || a.IsMulticast() || a.IsLinkLocalUnicast():
			return fmt.Errorf("route %v cannot be advertised: not an IPv6 prefix that routers forward to", r.Prefix)
		case r.Prefix != r.Prefix.Masked():
			return fmt.Errorf("route %v has bits behind its prefix: write %v", r.Prefix, r.Prefix.Masked())
		case r.Preference < PreferenceLow || r.Preference > PreferenceHigh:
			return fmt.Errorf("route %v: preference %d is not low, medium or high", r.Prefix, r.Preference)
		}
		if err := validateLifetime(r.Lifetime, time.Second, mip6.InfiniteLifetime); err != nil {
			return fmt.Errorf("route %v: %w", r.Prefix, err)
		}
	}
	for _, n := range ra.NAT64 {
		if err := validateNAT64(n); err != nil {
			return err
		}
	}
	if err := c.validateDNS(); err != nil {
		return err
	}
	if u := ra.CaptivePortal; u != "" && (!isVisible(u) || !strings.Contains(u, ":")) {
		return fmt.Errorf("captive portal %q is not a URI", u)
	}
	return validateLowPAN(ra)
}

// String tells of what the subject is, for a message.
func (s subject) String() string {
	switch s.option {
	case optionAnchor:
		return fmt.Sprintf("anchor %v", s.prefix.Addr())
	case optionRoute:
		return fmt.Sprintf("route %v", s.prefix)
	case optionDNSServers:
		return fmt.Sprintf("DNS server %v", s.prefix.Addr())
	case optionDNSSearch:
		return fmt.Sprintf("search domain %v", s.name)
	case optionNAT64:
		return fmt.Sprintf("NAT64 prefix %v", s.prefix)
	case optionContext:
		return fmt.Sprintf("context %d", s.id)
	default:
		return fmt.Sprintf("prefix %v", s.prefix)
	}
}

// validateLifetime: what is below its unit would be sent as zero.
func validateLifetime(d, unit, most time.Duration) error {
	if d < 0 || d > 0 && d < unit || d > most {
		return fmt.Errorf("lifetime %v is not 0 nor between %v and %v", d, unit, most)
	}
	return nil
}

// validateAnchor is RFC 5380 §5.
func validateAnchor(m mip6.MobilityAnchorPoint) error {
	const most = 15
	switch {
	case !mip6.Routable(m.Address):
		return fmt.Errorf("anchor %v cannot be advertised: not a global address", m.Address)
	case m.Distance < 1 || m.Distance > most:
		return fmt.Errorf("anchor %v: distance %d is not between 1 and %d", m.Address, m.Distance, most)
	case m.Preference > most:
		return fmt.Errorf("anchor %v: preference %d is above %d", m.Address, m.Preference, most)
	}
	if err := validateLifetime(m.ValidLifetime, time.Second, mip6.InfiniteLifetime); err != nil {
		return fmt.Errorf("anchor %v: %w", m.Address, err)
	}
	return nil
}

func validateNAT64(n NAT64Prefix) error {
	lengths := nat64Bits()
	switch a := n.Prefix.Addr(); {
	case !n.Prefix.IsValid() || !a.Is6() || a.Is4In6() || a.IsMulticast() || !slices.Contains(lengths[:], uint8(max(n.Prefix.Bits(), 0))):
		return fmt.Errorf("NAT64 prefix %v is not an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits", n.Prefix)
	case n.Prefix != n.Prefix.Masked():
		return fmt.Errorf("NAT64 prefix %v has bits behind its prefix: write %v", n.Prefix, n.Prefix.Masked())
	case a.As16()[8] != 0:
		return fmt.Errorf("NAT64 prefix %v: bits 64 to 71 are not zero (RFC 6052)", n.Prefix)
	}
	if err := validateLifetime(n.Lifetime, time.Second, maxNAT64Lifetime); err != nil {
		return fmt.Errorf("NAT64 prefix %v: %w", n.Prefix, err)
	}
	return nil
}

// validateDNS is RFC 8106 §5. What hosts forget before they hear of it again does
// not serve them.
func (c AdvertiserConfig) validateDNS() error {
	least := max(c.MaxInterval, time.Second)
	for _, d := range c.Advertisement.DNSServers {
		if n := len(d.Servers); n == 0 || n > maxServers {
			return fmt.Errorf("%d DNS servers in an option that holds 1 to %d", n, maxServers)
		}
		for _, a := range d.Servers {
			if !isUnicast(a) || a.Zone() != "" {
				return fmt.Errorf("DNS server %v cannot be advertised: not a unicast IPv6 address without a zone", a)
			}
		}
		if err := validateLifetime(d.Lifetime, least, mip6.InfiniteLifetime); err != nil {
			return fmt.Errorf("DNS servers %v: %w", d.Servers, err)
		}
	}
	for _, d := range c.Advertisement.DNSSearch {
		if len(d.Domains) == 0 {
			return errors.New("a DNS search list without domains")
		}
		for _, name := range d.Domains {
			if !isDomain(name) {
				return fmt.Errorf("search domain %q is not a domain name without the final dot", name)
			}
		}
		if err := validateLifetime(d.Lifetime, least, mip6.InfiniteLifetime); err != nil {
			return fmt.Errorf("search domains %v: %w", d.Domains, err)
		}
	}
	return nil
}

// validateLowPAN is RFC 6775 §4.2 and §4.3.
func validateLowPAN(ra RouterAdvertisement) error {
	for _, r := range ra.BorderRouters {
		if !isUnicast(r.Router) || r.Router.Zone() != "" {
			return fmt.Errorf("border router %v cannot be advertised: not a unicast IPv6 address without a zone", r.Router)
		}
		if err := validateLifetime(r.ValidLifetime, time.Minute, maxMinutes); err != nil {
			return fmt.Errorf("border router %v: %w", r.Router, err)
		}
	}
	for _, x := range ra.Contexts {
		switch {
		case !x.Prefix.IsValid() || !x.Prefix.Addr().Is6() || x.Prefix != x.Prefix.Masked():
			return fmt.Errorf("context %d: %v is not an IPv6 prefix without bits behind it", x.ID, x.Prefix)
		case x.ID > maxContext:
			return fmt.Errorf("context %d is above %d", x.ID, maxContext)
		}
		if err := validateLifetime(x.ValidLifetime, time.Minute, maxMinutes); err != nil {
			return fmt.Errorf("context %d: %w", x.ID, err)
		}
	}
	return nil
}

// validateLength sees whether every packet fits.
func (c AdvertiserConfig) validateLength() error {
	ra := c.advertisement()
	for _, d := range ra.DNSSearch { // what an option cannot hold is not appended
		if len(d.Append(nil)) == 0 {
			return fmt.Errorf("search domains %v: %w", d.Domains, ErrTooLong)
		}
	}
	if u := ra.CaptivePortal; len(u) > maxOptionData {
		return fmt.Errorf("captive portal %v: %w", u, ErrTooLong)
	}
	for _, p := range ra.packets() {
		if len(p.Append(nil)) > maxAdvertisement {
			return fmt.Errorf("router advertisement with an option %w", ErrTooLong)
		}
	}
	return nil
}
