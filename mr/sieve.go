package mr

import (
	"log/slog"
	"net/netip"
	"slices"

	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
)

// A home agent that refuses an update for its prefixes does not say for which one
// (RFC 3963 §6.2: it takes all or none). So that one wrong prefix does not cost the
// network all others, a router names those that were accepted before and one further
// one at a time, until it knows which are good.

// sieve tells the prefixes that a home agent takes from those that it refuses.
type sieve struct {
	good []netip.Prefix // accepted last
	bad  []netip.Prefix // refused by themselves
	// closed: bad ones are not named, and what is neither good nor bad one by one.
	closed bool
	more   bool // what was accepted is not all there is to name
}

// name returns those of all prefixes that an update is to name.
func (s *sieve) name(all []netip.Prefix) []netip.Prefix {
	if !s.closed {
		return all
	}
	var list []netip.Prefix
	trial := false
	for _, p := range all {
		if !slices.Contains(s.good, p) {
			if trial || slices.Contains(s.bad, p) {
				continue
			}
			trial = true
		}
		list = append(list, p)
	}
	return list
}

// pass notes that an update that named prefixes was accepted.
func (s *sieve) pass(named, all []netip.Prefix) {
	s.good = named
	s.more = len(s.name(all)) > len(named)
}

// hold notes that an update that named prefixes was refused, and returns the one
// that is to blame, if that is known.
func (s *sieve) hold(named []netip.Prefix) (blamed netip.Prefix, known bool) {
	s.closed = true
	unknown := without(named, s.good)
	if len(unknown) == 0 {
		// They were good, and are not any more: so others may have been blamed for
		// them, beside which they were named.
		s.good, s.bad, unknown = nil, nil, named
	}
	if len(unknown) != 1 {
		return netip.Prefix{}, false
	}
	s.bad = append(s.bad, unknown[0])
	return unknown[0], true
}

// open has all prefixes named again.
func (s *sieve) open() { s.bad, s.closed = nil, false }

// forget forgets prefixes that are no mobile networks any more.
func (s *sieve) forget(gone []netip.Prefix) {
	s.good, s.bad = without(s.good, gone), without(s.bad, gone)
}

// without is the prefixes of a that b has not.
func without(a, b []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(a), func(p netip.Prefix) bool { return slices.Contains(b, p) })
}

// prefixesRefused follows a refusal of named prefixes (RFC 3963 §5.4.2): those that
// are not known to be good leave the network, and one that is to blame and was
// delegated is sought anew. Where none is good the home agent has refused the mode.
func (r *Router) prefixesRefused(s sentUpdate, why mip6.Status) (mn.Verdict, []role.Action) {
	blamed, known := r.sieve.hold(s.prefixes)
	attr := slog.Any("prefixes", without(s.prefixes, r.sieve.good))
	if known {
		attr = slog.String("prefix", blamed.String())
		if r.delegation.has(blamed) {
			r.delegation.doubt()
		}
	}
	out := r.use(without(r.inner(), r.sieve.good))
	out = append(out, r.refusal("home agent refuses mobile network prefixes, they are no longer advertised", why, attr))
	if len(r.sieve.name(r.nameable())) > 0 {
		return mn.VerdictRetry, out
	}
	return r.deny(Explicit, why, out)
}
