package nd

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"roam6/mip6"
)

// Limits of the intervals (RFC 6275 §7.5, §13).
const (
	MinMinInterval   = 30 * time.Millisecond
	MinMaxInterval   = 70 * time.Millisecond
	MinDelayOfRAs    = 30 * time.Millisecond
	maxInterval      = 65535 * time.Second
	maxRouterLife    = 65535 * time.Second
	maxAdvertisement = 1280 - 40 // fits every link; it must not be fragmented (RFC 6980)
)

// Routers should add scheduling slack to a short interval that they tell
// (RFC 6275 §7.5), although §7.3 wants MaxRtrAdvInterval exactly: hosts that
// count missed intervals are the reason for the option.
const (
	shortInterval = 200 * time.Millisecond
	intervalSlack = 20 * time.Millisecond
)

// AdvertiserConfig is the configuration of an advertising link (RFC 4861
// §6.2.1 with the changes of RFC 6275 §7.5).
type AdvertiserConfig struct {
	// MinInterval and MaxInterval bound the random time between unsolicited
	// multicast advertisements: at least 30 and 70 ms, MinInterval ≤
	// MaxInterval ≤ 65535 s.
	MinInterval, MaxInterval time.Duration
	// MinDelay is the least time between any two multicast advertisements
	// (MinDelayBetweenRAs): 30 ms to MaxInterval.
	MinDelay time.Duration
	// SolicitedDelay bounds the random delay of an answer to a solicitation.
	// RFC 4861 §6.2.6 wants MaxRADelay; on links that serve mobiles it is zero,
	// since each millisecond of it is one of interruption.
	SolicitedDelay time.Duration
	// SolicitedUnicast: solicitations from an address are answered to that
	// address alone.
	SolicitedUnicast bool
	// TellInterval: send the Advertisement Interval option (RFC 6275 §7.3).
	TellInterval bool
	// Advertisement is what is sent. Its Interval is not used, and its
	// HomeAgentInfo only with HomeAgent set and where it differs from the
	// defaults (RFC 6275 §7.4). With HomeAgent a prefix must have the R bit
	// (RFC 6275 §7.2), and on a link with link-layer addresses SourceLinkAddr
	// must be set (§7.5).
	Advertisement RouterAdvertisement
	// Expiring says of some of the Advertisement's prefixes when they end. What is
	// sent is what remains, and never more than the prefix's own lifetimes
	// (RFC 4861 §6.2.1; RFC 9096 §3.3 wants it of delegated prefixes).
	Expiring []Expiry
}

// Expiry is when the lifetimes of a prefix end; the zero time is never.
type Expiry struct {
	Prefix           netip.Prefix // masked
	Preferred, Valid time.Time
}

// ErrTooLong is an advertisement that does not fit into the least MTU of IPv6.
var ErrTooLong = errors.New("the advertisement is longer than an IPv6 packet of 1280 octets holds: advertise fewer prefixes")

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
	if len(c.advertisement().Append(nil)) > maxAdvertisement {
		return ErrTooLong
	}
	return nil
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

// advertisement is what is sent while nothing is withdrawn: a copy of its own.
func (c AdvertiserConfig) advertisement() RouterAdvertisement {
	ra := c.Advertisement
	ra.SourceLinkAddr = slices.Clone(ra.SourceLinkAddr)
	ra.Prefixes = slices.Clone(ra.Prefixes)
	ra.Others = slices.Clone(ra.Others)
	ra.Interval = 0
	if c.TellInterval {
		ra.Interval = c.MaxInterval
		if ra.Interval < shortInterval {
			ra.Interval += intervalSlack
		}
	}
	if i := ra.HomeAgentInfo; i != nil {
		defaults := mip6.HomeAgentInformation{Lifetime: ra.RouterLifetime}
		if ra.HomeAgentInfo = nil; ra.HomeAgent && *i != defaults {
			info := *i
			ra.HomeAgentInfo = &info
		}
	}
	return ra
}

// advertises reports whether prefix is among those of the configuration.
func (c AdvertiserConfig) advertises(prefix netip.Prefix) bool {
	return slices.ContainsFunc(c.Advertisement.Prefixes, func(p mip6.PrefixInformation) bool { return p.Prefix.Masked() == prefix })
}
