package config

import (
	"fmt"
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
	// Largest HomeAgentLifetime (RFC 6275 §7.4).
	maxHomeAgentLifetime = 65520 * time.Second
	defaultPreferred     = 14400 * time.Second
)

// interfaces checks and completes the interface sections, and the sections that
// belong to one. What is not in use is left out.
func interfaces(s sections) []Interface {
	l := links{s.interfaces, linkNames(s.interfaces)}
	l.addAdvertised(s)
	var list []Interface
	names := map[string]section{}
	for i := range s.interfaces {
		e := &s.interfaces[i]
		if !e.enabled {
			continue
		}
		if e.value.Name != "" {
			distinct(names, e.value.Name, e.section, optionInterface, 0, "an interface")
		}
		e.value.KeepOnExit = !e.value.removeOnExit
		in := e.value.Interface
		if e.sound {
			completeInterface(*e, &in)
		}
		list = append(list, in)
	}
	return list
}

func orNone(word string, known []string) string {
	if len(known) == 0 {
		return "; there is none"
	}
	return didYouMean(word, known)
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
	completeAudience(e.section, i)
	e.checkUpstreams(*i)
}

// completeIntervals: RFC 4861 §6.2.1, relaxed by RFC 6275 §7.5 where the link
// serves mobiles.
func completeIntervals(s section, i *Interface, mobiles bool) {
	const hint = "; less is for links that serve mobiles: AdvIntervalOpt, AdvHomeAgentFlag, AdvHomeAgentInfo or AdvRouterAddr"
	maximum, minimum, between := maxIntervalOption(), minIntervalOption(), minDelayOption()
	// Each of the three is to be told of: no short cut.
	twofold := maximum.twofold(s)
	twofold = minimum.twofold(s) || twofold
	if between.twofold(s) || twofold {
		return
	}
	longest, floor, delay := i.MaxInterval, plainMinInterval, plainMinDelay
	if mobiles {
		floor = mobileMinInterval
	} else {
		longest = i.MaxInterval * 3 / 4
		if i.MaxInterval < plainMaxInterval {
			maximum.wrong(s, "at least ", plainMaxInterval, hint)
			return
		}
	}
	switch {
	case !minimum.given(s):
		i.MinInterval = min(max((i.MaxInterval*33/100).Truncate(time.Millisecond), floor), longest)
	case i.MinInterval < floor:
		minimum.wrong(s, "at least ", floor, hint)
	case i.MinInterval > longest && mobiles:
		minimum.wrong(s, "at most "+maximum.in(s)+", ", longest, "")
	case i.MinInterval > longest:
		minimum.wrong(s, "at most three quarters of "+maximum.in(s)+", ", longest, "")
	}
	switch {
	case !between.given(s):
		i.MinDelay = min(delay, i.MinInterval)
	case !mobiles && i.MinDelay < delay:
		between.wrong(s, "at least ", delay, hint)
	case i.MinDelay > i.MaxInterval:
		between.wrong(s, "at most "+maximum.in(s)+", ", i.MaxInterval, "")
	}
}

// in is the name by which a section gives an interval.
func (o spelling) in(s section) string {
	if !s.has(o.own) && s.has(o.radvd) {
		return o.radvd
	}
	return o.own
}

func (o spelling) given(s section) bool { return s.has(o.own) || s.has(o.radvd) }

// twofold reports an interval that is given by both of its names.
func (o spelling) twofold(s section) bool {
	if !s.has(o.own) || !s.has(o.radvd) {
		return false
	}
	s.wrong(o.radvd, 0, "no such option beside "+o.own+", which is the same in milliseconds")
	return true
}

// wrong reports an interval, with a limit in the unit in which it is given.
func (o spelling) wrong(s section, before string, limit time.Duration, after string) {
	if name := o.in(s); name == o.radvd {
		s.wrong(name, 0, before+inDecimals(limit)+" seconds"+after)
	} else {
		s.wrong(name, 0, fmt.Sprintf("%s%d%s", before, limit.Milliseconds(), after))
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
		s.wrong("AdvDefaultLifetime", 0, fmt.Sprintf("0, or at least %s: %d seconds", maxIntervalOption().in(s), shortest/time.Second))
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
		info.Lifetime = min(i.RouterLifetime, maxHomeAgentLifetime)
	}
	i.HomeAgentInfo = &info
}

// completeAudience checks what an interface section says of who hears it.
func completeAudience(s section, i *Interface) {
	twice(s, optionClient, i.Clients, "client")
	twice(s, optionSource, i.Sources, "address")
	for _, only := range []struct {
		option string
		on     bool
	}{{optionUnicastOnly, i.UnicastOnly}, {optionClient, len(i.Clients) > 0}} {
		if only.on && !i.UnicastReplies {
			s.wrong(optionUnicastReplies, 0, "1, because of "+only.option)
			break
		}
	}
	if i.UnicastOnly && i.IntervalOption {
		s.wrong(optionIntervalOption, 0, "0, because of "+optionUnicastOnly+": mobiles would wait for advertisements that nobody sends")
	}
}

// checkUpstreams checks where the anchors come from that are advertised on.
func (s section) checkUpstreams(i Interface) {
	twice(s, optionMapUpstream, i.AnchorUpstreams, "interface")
	for n, name := range i.AnchorUpstreams {
		if name == i.Name {
			s.wrong(optionMapUpstream, n, "another interface: anchors are not advertised back to where they were heard")
		}
	}
}
