package node

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"roam6/dhcpv6"
	"roam6/internal/config"
	"roam6/internal/role"
)

// uplinkClient is the DHCPv6 client of an interface: one for all mobiles that
// have it as an uplink, and for the prefix requests on it.
type uplinkClient struct {
	link    role.Link
	machine *dhcpv6.Client // nil: none runs
	random  *tap           // of that
	ending  bool           // Stop was delivered

	wants dhcpv6.Wants[role.Machine]

	lease  role.Lease
	leased time.Time // when lease was told; zero: never
}

// holds reports whether there is something to give back.
func (u *uplinkClient) holds() bool { return len(u.lease.Addresses)+len(u.lease.Prefixes) > 0 }

// leaseAt is the lease with the lifetimes that remain.
func (u *uplinkClient) leaseAt(now time.Time) role.Lease {
	l := u.lease
	l.Addresses = remaining(l.Addresses, now.Sub(u.leased))
	l.Prefixes = remaining(l.Prefixes, now.Sub(u.leased))
	return l
}

// configureLink notes what a mobile wants of the client of an uplink.
func (s *Shell) configureLink(now time.Time, by role.Machine, c role.ConfigureLink) {
	link, known := s.links[c.Link]
	if !known || s.addressing(link.Name) == config.AddressingForeign {
		return
	}
	if h := s.mobileOf(by); h == nil || h.ending || !h.attaches(link.Name) {
		s.forgetWant(now, c.Link, by) // for good: if nobody else wants it, the client gives its leases back
		return
	}
	if _, requested := s.requestOn(link.Name); requested {
		// A prefix is asked for with the carrier, before anybody knows what link it
		// is: to learn its name is no reason to begin anew.
		c.Identity = role.LinkIdentity{}
	}
	u := s.clients[c.Link]
	if u == nil {
		if !c.Managed && !c.Other {
			return
		}
		u = newUplinkClient(link)
		s.clients[c.Link] = u
	}
	u.wants.Ask(by, c)
	s.serveUplink(now, u)
}

func newUplinkClient(l role.Link) *uplinkClient {
	return &uplinkClient{link: l, wants: dhcpv6.Wants[role.Machine]{Link: l.Index}}
}

// wanted reports whether an uplink is to have a client. A mobile that has once
// wanted one may want it again, on another link, as long as the configuration allows.
func (s *Shell) wanted(u *uplinkClient) bool {
	if s.stopping {
		return false
	}
	_, requested := s.requestOn(u.link.Name)
	switch s.addressing(u.link.Name) {
	case config.AddressingForeign:
		return false
	case config.AddressingSLAAC:
		return requested
	case config.AddressingAuto, config.AddressingDHCP:
	}
	return requested || u.wants.Any()
}

// serveUplink begins, tells or ends the client of an uplink, as it is wanted now.
func (s *Shell) serveUplink(now time.Time, u *uplinkClient) {
	wanted := s.wanted(u)
	switch {
	case u.machine == nil && !wanted, u.ending:
	case !wanted:
		s.endClient(now, u)
	case u.machine == nil:
		u.random = &tap{keep: true} // as for a mobile
		c := s.clientConfig(u.link)
		c.Random = u.random.octets
		saved := s.kept.load(c.Store, dhcpv6.CheckSaved)
		u.machine = dhcpv6.NewClient(c, saved)
		s.traceClient(now, u, saved, nil)
		s.carryOut(u.machine, s.handle(now, u.machine, role.LinkChanged{Link: u.link}))
		s.carryOut(u.machine, s.handle(now, u.machine, u.wants.Tell()))
	case u.wants.Due():
		s.carryOut(u.machine, s.handle(now, u.machine, u.wants.Tell()))
	}
}

// endClient has a client give back what it has, and end.
func (s *Shell) endClient(now time.Time, u *uplinkClient) {
	u.ending = true
	if u.holds() { // what is released is not used any more (RFC 8415 §18.2.7)
		s.leaseChanged(now, u.machine, role.LeaseChanged{Link: u.link.Index})
		s.renumberDue()
	}
	s.carryOut(u.machine, s.handle(now, u.machine, role.Stop{}))
}

// clientConfig is the client's view of an uplink.
func (s *Shell) clientConfig(l role.Link) dhcpv6.Config {
	request, requested := s.requestOn(l.Name)
	c := dhcpv6.Config{
		Name: l.Name, Store: keptName(keptUplink + l.Name), Link: l.Index,
		DUID: s.identifier(), IAID: dhcpv6.IAIDOf(l.Name),
		Prefixes: requested, NoRapidCommit: s.uplinkOptions(l.Name).NoRapidCommit, Random: randomOctets,
	}
	if request.Length > 0 {
		c.Hints = []netip.Prefix{netip.PrefixFrom(netip.IPv6Unspecified(), request.Length)}
	}
	return c
}

// identifier is the node's DHCPv6 identifier.
func (s *Shell) identifier() []byte {
	if s.duid == nil {
		s.duid = s.kept.duid(hardwareAddresses)
	}
	return s.duid
}

// uplinkOptions are those of an interface, configured or not.
func (s *Shell) uplinkOptions(name string) config.UplinkOptions {
	if i := slices.IndexFunc(s.config.Uplinks, func(u config.UplinkOptions) bool { return u.Name == name }); i >= 0 {
		return s.config.Uplinks[i]
	}
	return config.UplinkOptions{Name: name}
}

func (s *Shell) addressing(name string) config.Addressing { return s.uplinkOptions(name).Addressing }

// clientLinkChanged tells the client of a link that changed, and begins one where a
// prefix is requested. For a client that came up is a link event, of which no
// mobile tells where there is none.
func (s *Shell) clientLinkChanged(now time.Time, before, l role.Link) {
	u := s.clients[l.Index]
	if u != nil && u.link.Name != l.Name {
		s.clientLinkGone(now, l.Index) // it was another's
		u, before = nil, role.Link{}
	}
	_, requested := s.requestOn(l.Name)
	if u == nil {
		if !requested || !l.Up {
			return
		}
		u = newUplinkClient(l)
		s.clients[l.Index] = u
	}
	u.link = l
	if u.machine != nil {
		s.carryOut(u.machine, s.handle(now, u.machine, role.LinkChanged{Link: l}))
	}
	if cameUp := l.Up && (!before.Up || before.Carriers != l.Carriers); requested && cameUp {
		u.wants.LinkEvent()
	}
	s.serveUplink(now, u)
}

// clientLinkGone forgets the client of an interface that was removed. What it has
// saved, the one of the next interface of that name will read.
func (s *Shell) clientLinkGone(now time.Time, index int) {
	u := s.clients[index]
	if u == nil {
		return
	}
	delete(s.clients, index)
	if u.machine != nil {
		s.traceEnd(now, u.machine)
	}
	s.resolverDue = s.resolverDue || !u.leased.IsZero()
}

// forgetWants forgets what a mobile that has ended wanted.
func (s *Shell) forgetWants(now time.Time, by role.Machine) {
	for _, index := range slices.Sorted(maps.Keys(s.clients)) {
		s.forgetWant(now, index, by)
	}
}

// forgetWant forgets what a mobile wanted on one link.
func (s *Shell) forgetWant(now time.Time, index int, by role.Machine) {
	u := s.clients[index]
	if u == nil {
		return
	}
	if u.wants.Forget(by) {
		s.serveUplink(now, u)
	}
}

// leaseChanged takes what a client has now to the mobiles, the downstream
// interfaces of a prefix request, and the resolver.
func (s *Shell) leaseChanged(now time.Time, by role.Machine, e role.LeaseChanged) {
	u := s.clientOf(by)
	if u == nil {
		return // its interface is gone
	}
	u.lease, u.leased = e.Lease, now
	s.toMobiles(now, e, func(h *mobileHost) bool { return h.attaches(u.link.Name) })
	s.numberRequest(now, u.link.Name, e.Lease.Prefixes)
	s.resolverDue, s.discardsDue = true, true
}

// declineAddress tells the client of a link that somebody else has an address.
func (s *Shell) declineAddress(now time.Time, e role.DeclineAddress) {
	if u := s.clients[e.Link]; u != nil && u.machine != nil {
		s.carryOut(u.machine, s.handle(now, u.machine, e))
	}
}

// clientOf finds the uplink whose client is m; nil: none.
func (s *Shell) clientOf(m role.Machine) *uplinkClient {
	for _, u := range s.clients {
		if u.machine != nil && role.Machine(u.machine) == m {
			return u
		}
	}
	return nil
}

// stopClients ends the clients, which return what they have, when the mobiles need
// it no more.
func (s *Shell) stopClients(now time.Time) {
	for _, index := range slices.Sorted(maps.Keys(s.clients)) {
		u := s.clients[index]
		if s.serveUplink(now, u); u.machine == nil {
			delete(s.clients, index)
		}
	}
}

// reapClients forgets clients that have ended, and begins those that are wanted
// again by now.
func (s *Shell) reapClients(now time.Time) {
	for _, index := range slices.Sorted(maps.Keys(s.clients)) {
		u := s.clients[index]
		if !u.ending || !u.machine.Done() {
			continue
		}
		s.traceEnd(now, u.machine)
		u.machine, u.ending, u.lease, u.leased = nil, false, role.Lease{}, time.Time{}
		s.resolverDue = true
		if s.serveUplink(now, u); u.machine == nil {
			delete(s.clients, index)
			s.syncSockets() // the port may be wanted by another client now
		}
	}
}

// introduceLeases tells a mobile that has just begun, or has other uplinks, what
// addresses there are on them already. To be told again harms nothing.
func (s *Shell) introduceLeases(now time.Time, h *mobileHost) {
	for _, index := range slices.Sorted(maps.Keys(s.clients)) {
		if u := s.clients[index]; !u.leased.IsZero() && h.attaches(u.link.Name) {
			s.carryOut(h.machine, s.handle(now, h.machine, role.LeaseChanged{Link: index, Lease: u.leaseAt(now)}))
		}
	}
	for _, index := range slices.Sorted(maps.Keys(s.foreigns)) {
		if e, ok := s.foreignAt(now, index); ok && h.attaches(s.links[index].Name) {
			s.carryOut(h.machine, s.handle(now, h.machine, e))
		}
	}
}
