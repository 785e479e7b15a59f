package nd

import (
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
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
	// (MinDelayBetweenRAs): 30 ms to MaxInterval. The packets of one advertisement
	// follow each other without it.
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
	// UnicastOnly: nothing is sent unasked, and answers go to one node alone: for a
	// link without multicast. There are no final advertisements either.
	UnicastOnly bool
	// Clients, when there are any, are the only nodes that get advertisements, each by
	// unicast: their link-local addresses, without zones. Their solicitations are
	// answered; unless UnicastOnly is set, each gets the unsolicited ones, too.
	Clients []netip.Addr
	// KeepOnExit: no final advertisements.
	KeepOnExit bool
	// Farewell says what the final advertisements take back.
	Farewell Farewell
	// Advertisement is what is sent, in several packets if it does not fit one. Its
	// Interval is not used, and its HomeAgentInfo only with HomeAgent set and where it
	// differs from the defaults (RFC 6275 §7.4). With HomeAgent a prefix must have the
	// R bit (RFC 6275 §7.2), and on a link with link-layer addresses SourceLinkAddr
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

// CountDown is the Expiry of a prefix whose lifetimes decrement in real time from
// begun (RFC 4861 §6.2.1).
func CountDown(begun time.Time, p mip6.PrefixInformation) Expiry {
	return Expiry{
		Prefix: p.Prefix.Masked(), Preferred: deadline.Of(begun, p.PreferredLifetime), Valid: deadline.Of(begun, p.ValidLifetime),
	}
}

// At is what is advertised at a time while nothing is withdrawn, before it is divided
// into packets; to be read only.
func (c AdvertiserConfig) At(now time.Time) RouterAdvertisement {
	ra := c.advertisement()
	ra.Prefixes = counted(now, ra.Prefixes, c.Expiring)
	return ra
}

// advertisement is what is sent while nothing is withdrawn or counted down: a copy of
// its own.
func (c AdvertiserConfig) advertisement() RouterAdvertisement {
	ra := c.Advertisement
	ra.SourceLinkAddr = slices.Clone(ra.SourceLinkAddr)
	ra.Prefixes = slices.Clone(ra.Prefixes)
	ra.Anchors = slices.Clone(ra.Anchors)
	ra.Routes = slices.Clone(ra.Routes)
	ra.DNSServers = slices.Clone(ra.DNSServers)
	for i := range ra.DNSServers {
		ra.DNSServers[i].Servers = slices.Clone(ra.DNSServers[i].Servers)
	}
	ra.DNSSearch = slices.Clone(ra.DNSSearch)
	for i := range ra.DNSSearch {
		ra.DNSSearch[i].Domains = slices.Clone(ra.DNSSearch[i].Domains)
	}
	ra.NAT64 = slices.Clone(ra.NAT64)
	ra.BorderRouters = slices.Clone(ra.BorderRouters)
	ra.Contexts = slices.Clone(ra.Contexts)
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
