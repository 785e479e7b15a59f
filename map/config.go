package anchor

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"roam6/internal/esp"
	"roam6/mip6"
)

// Config is what an administrator tells a mobility anchor point. Zero values of the
// durations and counts stand for their defaults.
type Config struct {
	// Name is the section's name, for the log.
	Name string
	// Link is the interface of the link of the regional care-of addresses. Without
	// one it is virtual: the prefix is routed to this node, nobody lives there, and
	// nothing is probed or defended.
	Link string
	// Address is the anchor's own, which MAP options advertise and to which local
	// binding updates go.
	Address netip.Addr
	// Prefix is that of the regional care-of addresses: a /64, masked, that contains
	// Address, because mobiles take the first 64 bits of that (RFC 5380 §6).
	Prefix netip.Prefix
	// Taken are addresses in Prefix beside Address that cannot be bound, because this
	// node or its neighbours have them for good.
	Taken []netip.Addr
	// Served are the prefixes of on-link care-of addresses that may be bound, those of
	// neighbouring domains included from which mobiles are to be forwarded to while
	// they change anchors (RFC 5380 §6.2, §8). Empty: all.
	Served []netip.Prefix
	// Barred reports whether an address is no on-link care-of address beside those of
	// Prefix, because this node has it, or itself sends what is for it into a tunnel:
	// packets could go round in circles. Nil: none is.
	Barred func(careOf netip.Addr) bool
	// MaxLifetime limits the lifetime of bindings. Default: 262140 s, the longest
	// there is.
	MaxLifetime time.Duration
	// MaxBindings limits the number of bindings; zero leaves it to the number of
	// visitors, each of which has at most four, and with Insecure 1024 more.
	MaxBindings int
	// DAD performs duplicate address detection on Link before a regional care-of
	// address is first registered (RFC 6275 §10.3.1).
	DAD bool
	// RetransTimer is the time a solicitation waits for an answer, default 1 s
	// (RFC 4861 §10); DupAddrDetectTransmits is their number, default 1
	// (RFC 4862 §5.1).
	RetransTimer           time.Duration
	DupAddrDetectTransmits int
	// ReplayWindow is how far a timestamp may be from the time of day, default 7 s
	// (RFC 4285 §6).
	ReplayWindow time.Duration
	// Insecure serves whoever sends an update without authentication, too: whoever can
	// send a packet can then take the traffic of such a mobile, and use up
	// MaxBindings. For laboratories.
	Insecure bool
	// Random fills a slice with octets that nobody can guess; of use with Insecure
	// alone. Nil: nothing is random.
	Random func([]byte)
	// Visitors are all that may use the anchor, beside those that Insecure lets in.
	Visitors []Visitor
}

// Visitor is a mobile node that the anchor serves.
type Visitor struct {
	Name string
	// SA authenticates its messages (RFC 4285). Its SPI is what it is known by, unless
	// there is ESP.
	SA *mip6.SecurityAssociation
	// ESP, when not nil, takes its messages only if they came under this IPsec
	// association (RFC 5380 §12.1), whose SPI it is known by. With SA both are asked for.
	ESP *esp.Association
	// RequireTimestamp refuses messages without a timestamp (RFC 4285 §6), with which
	// an update recorded earlier cannot be replayed even after a restart of the anchor.
	// What ESP protects may have one, too.
	RequireTimestamp bool
	// Disabled answers every registration with "administratively prohibited".
	Disabled bool
}

// Defaults and limits of a Config.
const (
	defaultRetransTimer           = time.Second     // RFC 4861 §10, RETRANS_TIMER
	defaultDupAddrDetectTransmits = 1               // RFC 4862 §5.1
	defaultReplayWindow           = 7 * time.Second // RFC 4285 §6
	minReplayWindow               = 3 * time.Second // RFC 4285 §6
	minSPI                        = 256             // RFC 4285 §5.1
	prefixBits                    = 64              // RFC 5380 §6
	insecureBindings              = 1024
)

func (c Config) withDefaults() Config {
	c.MaxLifetime = cmp.Or(c.MaxLifetime, mip6.MaxLifetime.Duration())
	c.RetransTimer = cmp.Or(c.RetransTimer, defaultRetransTimer)
	c.DupAddrDetectTransmits = cmp.Or(c.DupAddrDetectTransmits, defaultDupAddrDetectTransmits)
	c.ReplayWindow = cmp.Or(c.ReplayWindow, defaultReplayWindow)
	if c.Insecure && c.MaxBindings == 0 {
		c.MaxBindings = insecureBindings + maxBound*len(c.Visitors)
	}
	return c
}

// Validate tells everything that is wrong with the configuration, joined in one
// error. New and Reconfigure expect a valid one.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !mip6.Routable(c.Address) {
		wrong("anchor address %v is not a routable unicast IPv6 address", c.Address)
	}
	switch p := c.Prefix; {
	case !p.IsValid() || !p.Addr().Is6() || p.Bits() != prefixBits || p != p.Masked():
		wrong("prefix %v of regional care-of addresses is not an IPv6 /64 whose host bits are zero", p)
	case !p.Contains(c.Address):
		wrong("anchor address %v is not in the prefix %v, and mobiles take its first 64 bits for their regional care-of addresses (RFC 5380 §6)", c.Address, p)
	case anycast(c.Address):
		wrong("anchor address %v is an anycast address of its prefix", c.Address)
	}
	for _, p := range c.Served {
		if !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			wrong("served prefix %v is not an IPv6 prefix", p)
		}
	}
	if c.MaxLifetime != 0 && c.MaxLifetime < mip6.LifetimeUnit {
		wrong("longest binding lifetime %v is less than %v", c.MaxLifetime, mip6.LifetimeUnit)
	}
	if c.RetransTimer < 0 || c.DupAddrDetectTransmits < 0 || c.MaxBindings < 0 {
		wrong("retransmission timer, number of probes and number of bindings must not be negative")
	}
	if c.ReplayWindow != 0 && c.ReplayWindow < minReplayWindow {
		wrong("replay window %v is less than %v (RFC 4285 §6)", c.ReplayWindow, minReplayWindow)
	}
	return errors.Join(append(errs, c.validateVisitors()...)...)
}

func (c Config) validateVisitors() (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	names := make(map[string]bool, len(c.Visitors))
	indices, protected := make(map[uint32]string, len(c.Visitors)), make(map[uint32]string, len(c.Visitors))
	for _, v := range c.Visitors {
		if names[v.Name] && v.Name != "" {
			wrong("two visitors are called %q", v.Name)
		}
		names[v.Name] = true
		if v.SA == nil && v.ESP == nil {
			wrong("visitor %q: no key: nothing else tells who it is", v.Name)
		}
		if v.ESP != nil {
			if err := v.ESP.Check(); err != nil {
				wrong("visitor %q: %w", v.Name, err)
			}
			if other, taken := protected[v.ESP.SPI]; taken {
				wrong("visitors %q and %q have the same SPI %d of IPsec, by which they are known", other, v.Name, v.ESP.SPI)
			}
			protected[v.ESP.SPI] = v.Name
		}
		if v.SA == nil {
			continue
		}
		if v.SA.SPI < minSPI {
			wrong("visitor %q: SPI %d is less than %d (RFC 4285 §5.1)", v.Name, v.SA.SPI, minSPI)
		}
		if other, taken := indices[v.SA.SPI]; taken {
			wrong("visitors %q and %q have the same SPI %d, by which they are known", other, v.Name, v.SA.SPI)
		}
		indices[v.SA.SPI] = v.Name
	}
	return errs
}

// anycast reports whether an address in a /64 is the subnet-router anycast address
// (RFC 4291 §2.6.1) or one of the reserved subnet anycast addresses, that of home
// agents among them (RFC 2526 §2): no mobile may have those.
func anycast(addr netip.Addr) bool {
	prefix, err := addr.Prefix(prefixBits)
	if err != nil {
		return false
	}
	if addr == prefix.Addr() {
		return true
	}
	// All of them differ in the last seven bits alone.
	reserved, err := mip6.HomeAgentsAnycast(prefix).Prefix(128 - 7)
	return err == nil && reserved.Contains(addr)
}
