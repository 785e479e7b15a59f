package config

import (
	"fmt"
	"net/netip"
	"time"

	"roam6/mip6"
)

// Limits of the intervals on a link that does not serve mobiles
// (RFC 4861 §6.2.1, §10).
const (
	plainMaxInterval = 4 * time.Second
	plainMinInterval = 3 * time.Second
	plainMinDelay    = 3 * time.Second
	// Shortest MinRtrAdvInterval where mobiles are served (RFC 6275 §7.5).
	mobileMinInterval = 30 * time.Millisecond
	// Largest value of a lifetime field of 16 bits in seconds.
	maxRouterLifetime = 65535 * time.Second
	defaultPreferred  = 14400 * time.Second
)

// interfaces checks and completes the interface and prefix sections.
func interfaces(entries []entry[interfaceDraft], prefixes []entry[prefixDraft]) []Interface {
	known := links(entries)
	byLink := map[string][]Prefix{}
	seen := map[string]map[netip.Prefix]section{}
	for _, e := range prefixes {
		link := e.value.link
		if link != "" && indexOf(known, link) < 0 {
			e.wrong("interface", 0, "the interface of an interface section"+orNone(link, known))
		}
		if seen[link] == nil {
			seen[link] = map[netip.Prefix]section{}
		}
		for i, prefix := range e.value.prefixes {
			distinct(seen[link], prefix.Masked(), e.section, "prefix", i, "a prefix")
		}
		byLink[link] = append(byLink[link], informations(e)...)
	}
	var list []Interface
	names := map[string]section{}
	for _, e := range entries {
		if e.value.Name != "" {
			distinct(names, e.value.Name, e.section, "interface", 0, "an interface")
		}
		i := e.value.Interface
		i.Prefixes = byLink[i.Name]
		if e.sound {
			completeInterface(e, &i)
		}
		list = append(list, i)
	}
	return list
}

func orNone(word string, known []string) string {
	if len(known) == 0 {
		return "; there is none"
	}
	return didYouMean(word, known)
}

// informations checks a prefix section and gives the options it makes.
func informations(e entry[prefixDraft]) []Prefix {
	d := e.value
	if !e.has("AdvPreferredLifetime") {
		d.information.PreferredLifetime = min(defaultPreferred, d.information.ValidLifetime)
	} else if e.sound && d.information.PreferredLifetime > d.information.ValidLifetime {
		e.wrong("AdvPreferredLifetime", 0, "at most AdvValidLifetime, "+inSeconds(d.information.ValidLifetime))
	}
	var list []Prefix
	for i, prefix := range d.prefixes {
		switch router := d.information.RouterAddress; {
		case router && routerAnycast(prefix):
			e.wrong("prefix", i, "the router's whole address with the length of the prefix, because of AdvRouterAddr")
		case router && routable(prefix.Addr()) != nil:
			e.wrong("prefix", i, "a routable unicast address with the length of the prefix, because of AdvRouterAddr")
		case !router && prefix != prefix.Masked():
			e.wrong("prefix", i, fmt.Sprintf("%v; the router's whole address goes with AdvRouterAddr", prefix.Masked()))
		}
		information := d.information
		information.Prefix = prefix
		list = append(list, Prefix{PrefixInformation: information})
	}
	return list
}

func inSeconds(d time.Duration) string {
	if d == mip6.InfiniteLifetime {
		return "infinity"
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}

// completeInterface checks what concerns several options of an interface
// section and computes the defaults that depend on others.
func completeInterface(e entry[interfaceDraft], i *Interface) {
	routerAddress := false
	for _, prefix := range i.Prefixes {
		routerAddress = routerAddress || prefix.RouterAddress
	}
	mobiles := i.IntervalOption || i.HomeAgent || e.value.homeAgentInfo || routerAddress
	completeIntervals(e.section, i, mobiles)
	completeRouterLifetime(e.section, i)
	completeHomeAgent(e, i, routerAddress)
}

// completeIntervals: RFC 4861 §6.2.1, relaxed by RFC 6275 §7.5 where the link
// serves mobiles.
func completeIntervals(s section, i *Interface, mobiles bool) {
	const hint = "; less is for links that serve mobiles: AdvIntervalOpt, AdvHomeAgentFlag, AdvHomeAgentInfo or AdvRouterAddr"
	longest, floor, delay := i.MaxInterval, plainMinInterval, plainMinDelay
	if mobiles {
		floor = mobileMinInterval
	} else {
		longest = i.MaxInterval * 3 / 4
		if i.MaxInterval < plainMaxInterval {
			s.wrong("max_interval_ms", 0, fmt.Sprintf("at least %d%s", plainMaxInterval.Milliseconds(), hint))
			return
		}
	}
	switch {
	case !s.has("min_interval_ms"):
		i.MinInterval = min(max((i.MaxInterval*33/100).Truncate(time.Millisecond), floor), longest)
	case i.MinInterval < floor:
		s.wrong("min_interval_ms", 0, fmt.Sprintf("at least %d%s", floor.Milliseconds(), hint))
	case i.MinInterval > longest && mobiles:
		s.wrong("min_interval_ms", 0, fmt.Sprintf("at most max_interval_ms, %d", longest.Milliseconds()))
	case i.MinInterval > longest:
		s.wrong("min_interval_ms", 0, fmt.Sprintf("at most three quarters of max_interval_ms, %d", longest.Milliseconds()))
	}
	switch {
	case !s.has("min_delay_between_ras_ms"):
		i.MinDelay = min(delay, i.MinInterval)
	case !mobiles && i.MinDelay < delay:
		s.wrong("min_delay_between_ras_ms", 0, fmt.Sprintf("at least %d%s", delay.Milliseconds(), hint))
	}
}

// completeRouterLifetime: RFC 4861 §6.2.1, and at least a second by
// RFC 6275 §7.5.
func completeRouterLifetime(s section, i *Interface) {
	shortest := max(roundUp(i.MaxInterval), time.Second)
	switch {
	case !s.has("AdvDefaultLifetime"):
		i.RouterLifetime = min(max(roundUp(3*i.MaxInterval), time.Second), maxRouterLifetime)
	case i.RouterLifetime != 0 && i.RouterLifetime < shortest:
		s.wrong("AdvDefaultLifetime", 0, fmt.Sprintf("0, or at least max_interval_ms: %d seconds", shortest/time.Second))
	}
}

// completeHomeAgent: RFC 6275 §7.2, §7.4 and §7.5, RFC 3963 §4.4.
func completeHomeAgent(e entry[interfaceDraft], i *Interface, routerAddress bool) {
	info := e.value.info
	if i.HomeAgent {
		if !routerAddress {
			e.wrong("AdvHomeAgentFlag", 0, "a prefix of the interface with AdvRouterAddr '1', by which mobiles learn the home agent's address")
		}
		if !i.SourceLinkAddr {
			e.wrong("AdvSourceLLAddress", 0, "1, because of AdvHomeAgentFlag")
		}
	}
	if !e.value.homeAgentInfo {
		for _, option := range []string{"HomeAgentLifetime", "HomeAgentPreference"} {
			if e.has(option) {
				e.wrong(option, 0, "AdvHomeAgentInfo '1' in the section, without which it is not sent")
			}
		}
		if info.MobileRouter {
			e.wrong("AdvMobRtrSupportFlag", 0, "AdvHomeAgentInfo '1' in the section, without which it is not sent")
		}
		return
	}
	if !i.HomeAgent {
		e.wrong("AdvHomeAgentInfo", 0, "AdvHomeAgentFlag '1' in the section")
	}
	if !e.has("HomeAgentLifetime") {
		if i.RouterLifetime == 0 {
			e.wrong("HomeAgentLifetime", 0, "a lifetime, because AdvDefaultLifetime is 0")
		}
		info.Lifetime = i.RouterLifetime
	}
	i.HomeAgentInfo = &info
}
