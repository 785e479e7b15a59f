package radvdconf

import (
	"net/netip"

	"roam6/internal/translation"
)

// Defaults of radvd.
const (
	defaultValid     = 86400
	defaultPreferred = 14400
)

// prefixes translates the prefixes, and reports whether one tells the router's
// whole address.
func (l *link) prefixes() (sections []translation.Section, routerAddress bool) {
	type numbered struct {
		prefix netip.Prefix
		from   string
	}
	seen := map[numbered]bool{}
	for n := range l.Prefixes {
		x := &l.Prefixes[n]
		key := numbered{x.Prefix.Masked(), x.Base6Interface.Value}
		why := notAdvertisable(x)
		switch {
		case seen[key]:
			why = "the interface has the prefix already"
		case x.Base6Interface.Value == l.Name:
			why = "Base6Interface is the interface itself, whose prefixes are ::/64 without it"
		}
		if why != "" {
			l.leftOut("prefix "+x.Prefix.String(), x.Head, why)
			continue
		}
		seen[key] = true
		s := l.section("prefix")
		whole := s.prefixHead(x)
		routerAddress = routerAddress || whole
		s.flag("AdvOnLink", x.AdvOnLink)
		s.flag("AdvAutonomous", x.AdvAutonomous)
		if whole {
			s.Switch("AdvRouterAddr", true)
		}
		s.flag("AdvDHCPv6PDPreferred", x.AdvDHCPv6PDPreferred)
		s.prefixLifetimes(x)
		l.farewell(s, "DeprecatePrefix", x.DeprecatePrefix)
		if v := x.DecrementLifetimes; v.Value && x.AdvPreferredLifetime.Value == Infinity {
			s.Harmless(v.Position, "DecrementLifetimes: left out, because lifetimes of infinity do not end")
		} else {
			s.flag("DecrementLifetimes", v)
		}
		if v := x.Base6Interface; v.Given {
			s.Set("Base6Interface", v.Value)
		}
		sections = append(sections, s.Section)
	}
	return sections, routerAddress
}

// own reports whether a prefix stands for those of an interface.
func (x *Prefix) own() bool { return x.Prefix.Addr().IsUnspecified() || x.Base6Interface.Given }

// notAdvertisable says why a prefix cannot be carried over, or nothing.
func notAdvertisable(x *Prefix) string {
	// Of a prefix within these there is nothing but the number of a subnet.
	subnet := netip.PrefixFrom(netip.IPv6Unspecified(), 32)
	switch bits := x.Prefix.Bits(); {
	case x.Base6to4Interface.Given:
		return "roam6 makes no 6to4 prefixes, whose public relays are withdrawn (RFC 7526); Base6Interface numbers from a delegated prefix"
	case x.Base6Interface.Given && !translation.IsDevice(x.Base6Interface.Value):
		return "its Base6Interface cannot be the name of a network device"
	case x.Base6Interface.Given && bits != 64:
		return "its length has to be 64 with Base6Interface"
	case x.own() && (bits == 0 || bits == 128):
		return "no prefix of an interface has this length"
	case x.Base6Interface.Given && !subnet.Contains(x.Prefix.Addr()):
		return "with Base6Interface it is ::/64 or the number of a subnet, such as 0:0:0:1::/64"
	case x.own():
		return ""
	case subnet.Contains(x.Prefix.Addr()):
		return "it has no network but only the number of a subnet, which goes with Base6Interface"
	default:
		return special(x.Prefix)
	}
}

// prefixHead writes the prefix, and reports whether it is the router's whole
// address.
func (s *section) prefixHead(x *Prefix) (whole bool) {
	masked := x.Prefix.Masked()
	switch router := x.AdvRouterAddr; {
	case router.Value && x.own():
		s.Remark(router.Position, "AdvRouterAddr: the interface's own addresses are sent, where radvd sends zeroes behind the prefix")
		s.List("prefix", masked.String())
		return true
	case router.Value && x.Prefix == masked:
		s.Note(router.Position, "AdvRouterAddr: left out, because %v is no whole address: write the router's own, such as %v", x.Prefix,
			netip.PrefixFrom(x.Prefix.Addr().Next(), x.Prefix.Bits()))
	case router.Value:
		s.List("prefix", x.Prefix.String())
		return true
	case x.Prefix != masked:
		s.Remark(x.Position, "prefix %v: written without the bits beyond its length, which nobody reads without AdvRouterAddr", x.Prefix)
	}
	s.List("prefix", masked.String())
	return false
}

func (s *section) prefixLifetimes(x *Prefix) {
	valid := x.AdvValidLifetime.or(defaultValid)
	if x.AdvValidLifetime.Given {
		s.seconds("AdvValidLifetime", valid)
	}
	v := x.AdvPreferredLifetime
	if preferred := v.or(defaultPreferred); preferred > valid {
		at := v.Position
		if !v.Given {
			at = x.AdvValidLifetime.Position
		}
		s.Note(at, "AdvPreferredLifetime %d: %d was written, because it is at most AdvValidLifetime", preferred, valid)
		s.seconds("AdvPreferredLifetime", valid)
	} else if v.Given {
		s.seconds("AdvPreferredLifetime", preferred)
	}
}
