package node

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/role"
)

// numberDownstream gives a downstream interface a prefix, or takes it back. by is
// the role that wants it, nil the shell itself.
func (s *Shell) numberDownstream(now time.Time, by role.Machine, a role.NumberDownstream) {
	s.numbersDue = s.numbering.give(now, by, a) || s.numbersDue
}

// renumberDue follows what numberDownstream has noted, all at once: hosts are told
// of a new prefix and of the end of the one before in the same advertisement, since
// the next one must wait for some seconds (RFC 4861 §6.2.6).
func (s *Shell) renumberDue() {
	if s.numbersDue {
		s.numbersDue = false
		s.renumber()
	}
}

// renumber brings addresses, routes and advertisements of the downstream
// interfaces to what is remembered, and keeps that.
func (s *Shell) renumber() {
	s.assignNumbered()
	for _, l := range s.links {
		if list := s.numbering.of(l.Name); !slices.Equal(list, s.advertisedNumbers[l.Name]) {
			s.advertisedNumbers[l.Name] = list
			s.serveLink(l, l)
		}
	}
	if saved := s.numbering.save(); !bytes.Equal(saved, s.savedNumbers) {
		s.savedNumbers = saved
		s.kept.save(keptDownstreams, saved)
	}
}

// numberedLink is a prefix on an interface by its index.
type numberedLink struct {
	link   int
	prefix netip.Prefix
}

// assignNumbered assigns the address ::1 of each prefix that is given, with the
// route to its hosts, on the interfaces that are there, and takes away the others.
func (s *Shell) assignNumbered() {
	s.takenDue = true
	now := time.Now()
	want := make(map[numberedLink]numbered)
	for _, n := range s.numbering.list {
		if !n.given {
			continue
		}
		for _, l := range s.links {
			if l.Name == n.link {
				want[numberedLink{l.Index, n.prefix}] = n
			}
		}
	}
	for k := range s.assigned {
		if _, wanted := want[k]; !wanted {
			delete(s.assigned, k)
			s.tell(s.state.RemoveRoute(role.RemoveRoute{Route: numberedRoute(k)}))
			s.tell(s.state.UnassignAddress(role.UnassignAddress{Link: k.link, Prefix: firstAddress(k.prefix)}))
		}
	}
	for k, n := range want {
		s.tell(s.state.AssignAddress(role.AssignAddress{
			Link: k.link, Prefix: firstAddress(k.prefix),
			Preferred: deadline.Remaining(now, n.preferredUntil), Valid: deadline.Remaining(now, n.validUntil),
		}))
		if !s.assigned[k] {
			s.assigned[k] = true
			s.tell(s.state.AddRoute(role.AddRoute{Route: numberedRoute(k)}))
		}
	}
}

// forgetNumbered forgets what an interface had that is gone.
func (s *Shell) forgetNumbered(link int) {
	for k := range s.assigned {
		if k.link == link {
			delete(s.assigned, k)
		}
	}
}

func numberedRoute(k numberedLink) role.Route {
	return role.Route{Destination: k.prefix, Link: k.link}
}

// firstAddress is the address ::1 of a prefix, with its length.
func firstAddress(p netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(p.Masked().Addr().Next(), p.Bits())
}
