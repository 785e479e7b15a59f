package nd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"roam6/mip6"
)

// InconsistentField is a thing of which two routers of a link tell hosts different
// things. Its String is a metric label.
type InconsistentField uint8

// What is compared.
const (
	InconsistentHopLimit InconsistentField = iota // RFC 4861 §6.2.7, as the next seven
	InconsistentManaged
	InconsistentOtherConfig
	InconsistentReachableTime
	InconsistentRetransTimer
	InconsistentMTU
	InconsistentPreferredLifetime
	InconsistentValidLifetime
	InconsistentDNSServer
	InconsistentDNSSearch
	InconsistentNAT64         // RFC 8781 §5.2
	InconsistentCaptivePortal // RFC 8910 §3
	NumInconsistentFields
)

func (f InconsistentField) String() string {
	switch f {
	case InconsistentHopLimit:
		return "cur_hop_limit"
	case InconsistentManaged:
		return "managed"
	case InconsistentOtherConfig:
		return "other_config"
	case InconsistentReachableTime:
		return "reachable_time"
	case InconsistentRetransTimer:
		return "retrans_timer"
	case InconsistentMTU:
		return "mtu"
	case InconsistentPreferredLifetime:
		return "preferred_lifetime"
	case InconsistentValidLifetime:
		return "valid_lifetime"
	case InconsistentDNSServer:
		return "dns_server"
	case InconsistentDNSSearch:
		return "dns_search"
	case InconsistentNAT64:
		return "nat64"
	case InconsistentCaptivePortal:
		return "captive_portal"
	default:
		return "unknown"
	}
}

// Inconsistency is one thing in which another router's advertisement contradicts
// ours.
type Inconsistency struct {
	Field InconsistentField
	// Of is the prefix, server or domain; empty where the advertisement has only one.
	Of           string
	Ours, Theirs string
}

func (i Inconsistency) String() string {
	what := i.Field.String()
	if i.Of != "" {
		what += " of " + i.Of
	}
	return fmt.Sprintf("%s: %s here, %s there", what, i.Ours, i.Theirs)
}

// lifetimeSkew is by how much lifetimes that count down may differ: they are rounded,
// clocks run differently, and packets take their time.
const lifetimeSkew = 5 * time.Second

// maxInconsistencies of one advertisement are reported: a log line holds no more, and
// what is forged costs no more.
const maxInconsistencies = 16

// CompareAdvertisements tells how the advertisement of another router, heard now on a
// link, contradicts what c advertises there, so that hosts switch from one to the
// other with each advertisement (RFC 4861 §6.2.7). Values that are unspecified, and
// things that one of them only tells of, contradict nothing. Lifetimes of prefixes are
// compared as they are now, within a few seconds where ours count down. DNS servers
// and domains have a lifetime of each router's own (RFC 8106 §5.1); what one of the
// routers takes back while the other advertises it is inconsistent.
func CompareAdvertisements(now time.Time, c AdvertiserConfig, theirs RouterAdvertisement) []Inconsistency {
	ours := c.At(now)
	var out inconsistencies
	if a, b := ours.CurHopLimit, theirs.CurHopLimit; a != 0 && b != 0 {
		differ(&out, InconsistentHopLimit, "", a, b)
	}
	differ(&out, InconsistentManaged, "", ours.Managed, theirs.Managed)
	differ(&out, InconsistentOtherConfig, "", ours.OtherConfig, theirs.OtherConfig)
	if a, b := ours.ReachableTime, theirs.ReachableTime; a != 0 && b != 0 {
		differ(&out, InconsistentReachableTime, "", a, b)
	}
	if a, b := ours.RetransTimer, theirs.RetransTimer; a != 0 && b != 0 {
		differ(&out, InconsistentRetransTimer, "", a, b)
	}
	if a, b := ours.MTU, theirs.MTU; a != 0 && b != 0 {
		differ(&out, InconsistentMTU, "", a, b)
	}
	for _, p := range ours.Prefixes {
		skew := time.Second - 1 // of a field in seconds
		if slices.ContainsFunc(c.Expiring, func(e Expiry) bool { return e.Prefix == p.Prefix.Masked() }) {
			skew = lifetimeSkew
		}
		if i := slices.IndexFunc(theirs.Prefixes, func(q mip6.PrefixInformation) bool { return q.Prefix.Masked() == p.Prefix.Masked() }); i >= 0 {
			out.lifetimes(p, theirs.Prefixes[i], skew)
		}
	}
	out.withdrawn(InconsistentDNSServer, serverLifetimes(ours), serverLifetimes(theirs))
	out.withdrawn(InconsistentDNSSearch, searchLifetimes(ours), searchLifetimes(theirs))
	if a, b := nat64Set(ours), nat64Set(theirs); len(ours.NAT64) > 0 && len(theirs.NAT64) > 0 {
		differ(&out, InconsistentNAT64, "", a, b)
	}
	if a, b := ours.CaptivePortal, theirs.CaptivePortal; a != "" && b != "" {
		differ(&out, InconsistentCaptivePortal, "", a, b)
	}
	return out
}

type inconsistencies []Inconsistency

func differ[T comparable](out *inconsistencies, f InconsistentField, of string, ours, theirs T) {
	if ours != theirs && len(*out) < maxInconsistencies {
		*out = append(*out, Inconsistency{Field: f, Of: of, Ours: clip(fmt.Sprint(ours)), Theirs: clip(fmt.Sprint(theirs))})
	}
}

// clip shortens what is too long for a line.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

func (out *inconsistencies) lifetimes(ours, theirs mip6.PrefixInformation, skew time.Duration) {
	of := ours.Prefix.Masked().String()
	if (ours.PreferredLifetime - theirs.PreferredLifetime).Abs() > skew {
		differ(out, InconsistentPreferredLifetime, of, ours.PreferredLifetime.Truncate(time.Second), theirs.PreferredLifetime)
	}
	if (ours.ValidLifetime - theirs.ValidLifetime).Abs() > skew {
		differ(out, InconsistentValidLifetime, of, ours.ValidLifetime.Truncate(time.Second), theirs.ValidLifetime)
	}
}

// named is the lifetime of a server or domain.
type named struct {
	name     string
	lifetime time.Duration
}

func serverLifetimes(ra RouterAdvertisement) (out []named) {
	for _, d := range ra.DNSServers {
		for _, a := range d.Servers {
			out = append(out, named{a.String(), d.Lifetime})
		}
	}
	return out
}

func searchLifetimes(ra RouterAdvertisement) (out []named) {
	for _, d := range ra.DNSSearch {
		for _, name := range d.Domains {
			out = append(out, named{strings.ToLower(name), d.Lifetime})
		}
	}
	return out
}

// withdrawn reports what one takes back and the other advertises.
func (out *inconsistencies) withdrawn(f InconsistentField, ours, theirs []named) {
	for _, a := range ours {
		i := slices.IndexFunc(theirs, func(b named) bool { return a.name == b.name })
		if i >= 0 && (a.lifetime == 0) != (theirs[i].lifetime == 0) {
			differ(out, f, a.name, a.lifetime, theirs[i].lifetime)
		}
	}
}

// nat64Set are the NAT64 prefixes in use and those not to be used any more, as text
// that is the same for the same sets.
func nat64Set(ra RouterAdvertisement) string {
	var used, ended []string
	for _, n := range ra.NAT64 {
		if text := n.Prefix.String(); n.Lifetime == 0 {
			ended = append(ended, text+" (ended)")
		} else {
			used = append(used, text)
		}
	}
	all := append(used, ended...)
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}
