package node

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/config"
	"roam6/internal/role"
	"roam6/internal/rtnl"
	"roam6/mip6"
	"roam6/nd"
)

// advertising is what the loop remembers for the advertisements of all links. The
// zero value is ready.
type advertising struct {
	addresses  map[int][]rtnl.LinkAddress // that others have assigned, by interface
	countdowns countdowns
	relay      nd.AnchorRelay
	others     otherRouters
	listed     bool      // the links and addresses that there are at start are known
	stopBegan  time.Time // zero: the daemon is not stopping
}

// advertisementOn is what is to be advertised on a link now, if anything.
func (s *Shell) advertisementOn(name string) (a advertisement, ok bool) {
	a, ok = s.advertised[name]
	a.numbered = s.numbering.of(name)
	return a, ok || len(a.numbered) > 0
}

// wantedOn is the configuration of the advertiser of a link.
func (s *Shell) wantedOn(now time.Time, a advertisement, l role.Link) nd.AdvertiserConfig {
	a.addresses = s.addressesOf
	if a.section != nil {
		a.anchors = s.anchorsFor(a.section)
	}
	begun, done := s.advertising.countdowns.of(now, l.Name)
	defer done()
	a.begun = begun
	return a.machineConfig(l, s.networkUsable)
}

// sourcesOf are the link-local addresses to send from, where a section names some.
func (a advertisement) sourcesOf() []netip.Addr {
	if a.section == nil {
		return nil
	}
	return a.section.Sources
}

// startAdvertiser starts the advertiser of a link that is up, or gives a
// running one what has changed. A configuration that cannot be changes nothing.
func (s *Shell) startAdvertiser(c *linkConn) {
	want, ok := s.advertisementOn(c.link.Name)
	switch other, taken := s.otherAdvertisers[c.link.Name]; {
	case s.ended.Load():
		return
	case !ok:
		c.refusal = ""
		if c.advertiser != nil {
			s.retireAdvertiser(c)
		}
		return
	case taken:
		s.leaveToOther(c, other)
		return
	case c.advertiser == nil && !c.link.Up, c.advertiser == nil && want.waitsFor(s.advertising.listed):
		return
	}
	wanted := s.wantedOn(time.Now(), want, c.link)
	if err := wanted.Validate(); err != nil {
		s.refuseAdvertisement(c, err)
		return
	}
	c.refusal = ""
	c.SetSources(want.sourcesOf())
	if c.advertiser == nil {
		a, err := newAdvertiser(c.Conn, wanted, s.predecessor(c.link.Index), s.metrics.AdvertisementSent, s.metrics.Advertising(c.link.Name), s.log)
		if err != nil {
			s.refuseAdvertisement(c, err)
			return
		}
		a.up, a.carriers = true, c.link.Carriers
		s.setAdvertiser(c, a)
		s.log.LogAttrs(context.Background(), slog.LevelInfo, "router advertisements started", slog.String("link", c.link.Name))
		return
	}
	a := c.advertiser
	a.given = wanted
	a.reconfigure(wanted)
	if c.link.Up && (!a.up || a.carriers != c.link.Carriers) { // there may be others on the link now
		a.announce()
	}
	a.up, a.carriers = c.link.Up, c.link.Carriers
}

// predecessor ends the advertiser of a link that is still sending its final
// advertisements, if there is one: behind those of its successor they would take the
// router from the hosts again. It sends nothing any more.
func (s *Shell) predecessor(link int) *advertiser {
	i := slices.IndexFunc(s.leaving, func(a *advertiser) bool { return a.conn.Link().Index == link && !a.ended() })
	if i < 0 {
		return nil
	}
	a := s.leaving[i]
	s.leaving = slices.Delete(s.leaving, i, i+1)
	a.abandon()
	return a
}

// waitsFor reports whether what is to be advertised is not known before the links and
// addresses that there are at start have been listed: the prefixes of an interface
// would be missing from the first advertisement, and hosts take another router, or
// none, until the next one.
func (a advertisement) waitsFor(listed bool) bool {
	return !listed && a.section != nil && slices.ContainsFunc(a.section.Prefixes, func(p config.Prefix) bool { return p.Own })
}

// tellListed lets the advertisements begin that wait for the listing at start. It is
// called behind its last event, from the watcher's goroutine.
func (s *Shell) tellListed() {
	select {
	case s.requests <- request{do: s.takeListed, done: make(chan struct{})}:
	case <-s.done:
	}
}

// takeListed takes the events of the listing that still wait, and begins.
func (s *Shell) takeListed(now time.Time) {
	for range len(s.events) {
		s.dispatch(now, <-s.events)
		s.reap(now)
	}
	s.advertising.listed = true
	s.followAdvertisements()
}

// refuseAdvertisement says, once for each reason, that a link goes on as before.
func (s *Shell) refuseAdvertisement(c *linkConn, err error) {
	if c.refusal == err.Error() {
		return
	}
	c.refusal = err.Error()
	message := "router advertisements not started"
	if c.advertiser != nil {
		message = "router advertisements not changed: those of before go on"
	}
	s.log.LogAttrs(context.Background(), slog.LevelError, message, slog.String("link", c.link.Name), slog.String("reason", err.Error()))
}

// followAdvertisements brings what is advertised on every link up to date. Links on
// which nothing has changed say nothing.
func (s *Shell) followAdvertisements() {
	for _, c := range s.conns {
		s.startAdvertiser(c)
	}
}

// retireAdvertiser ends the advertiser of a link on which nothing is advertised any
// more, while the daemon goes on: hosts learn that its prefixes are deprecated.
func (s *Shell) retireAdvertiser(c *linkConn) {
	c.advertiser.reconfigure(farewellOf(c.advertiser.given))
	s.endAdvertiser(c)
}

// endAdvertiser lets the advertiser of a link send its final advertisements.
func (s *Shell) endAdvertiser(c *linkConn) {
	c.advertiser.stop()
	s.leaving = append(slices.DeleteFunc(s.leaving, (*advertiser).ended), c.advertiser)
	s.setAdvertiser(c, nil)
}

// setAdvertiser publishes a link's advertiser to the goroutine that hears
// solicitations there.
func (s *Shell) setAdvertiser(c *linkConn, a *advertiser) {
	c.advertiser = a
	s.advertisersMu.Lock()
	defer s.advertisersMu.Unlock()
	if a == nil {
		delete(s.advertisers, c.link.Index)
	} else {
		s.advertisers[c.link.Index] = a
	}
}

func (s *Shell) advertiserOf(link int) *advertiser {
	s.advertisersMu.Lock()
	defer s.advertisersMu.Unlock()
	return s.advertisers[link]
}

// advertisePrefix starts or ends the advertising of a mobile network prefix, as a
// mobile wants it, or nil the shell itself. That a mobile does not have a prefix any
// more is nothing to the one that the configuration gave it to.
func (s *Shell) advertisePrefix(by role.Machine, a role.AdvertisePrefix) {
	if h := s.mobileOf(by); !a.Usable && h != nil && !slices.Contains(h.config.Prefixes, a.Prefix) {
		return
	}
	if s.refused[a.Prefix] == !a.Usable {
		return
	}
	if a.Usable {
		delete(s.refused, a.Prefix)
	} else {
		s.refused[a.Prefix] = true
	}
	s.followAdvertisements()
}

// networkUsable reports whether the home agent takes a mobile network prefix: a
// delegated one is refused as a whole, and advertised by its parts.
func (s *Shell) networkUsable(p netip.Prefix) bool {
	for r := range s.refused {
		if r.Bits() <= p.Bits() && r.Contains(p.Addr()) {
			return false
		}
	}
	return true
}

// addressesOf are the addresses that others have assigned to an interface.
func (s *Shell) addressesOf(name string) []rtnl.LinkAddress {
	for _, l := range s.links {
		if l.Name == name {
			return s.advertising.addresses[l.Index]
		}
	}
	return nil
}

// tellAddresses takes the addresses of an interface from the watcher's goroutine to
// the loop.
func (s *Shell) tellAddresses(a rtnl.LinkAddresses) {
	select { // none must be lost: wait for the loop
	case s.requests <- request{do: func(time.Time) { s.takeAddresses(a) }, done: make(chan struct{})}:
	case <-s.done:
	}
}

// takeAddresses notes the addresses of an interface, and advertises what follows on
// this and on others.
func (s *Shell) takeAddresses(a rtnl.LinkAddresses) {
	before := linkLocals(s.advertising.addresses[a.Link])
	if s.advertising.addresses == nil {
		s.advertising.addresses = make(map[int][]rtnl.LinkAddress)
	}
	s.advertising.addresses[a.Link] = a.Addresses
	s.followAdvertisements()
	c := s.conns[a.Link]
	if c == nil || slices.Equal(before, linkLocals(a.Addresses)) {
		return
	}
	if err := c.Refresh(); err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "neighbour discovery",
			slog.String("link", c.link.Name), slog.String("reason", err.Error()))
	}
	if w, _ := s.advertisementOn(c.link.Name); c.advertiser != nil && len(w.sourcesOf()) > 0 && c.AdvertisingSource().IsValid() {
		c.advertiser.announce() // perhaps from another address than before
	}
}

func linkLocals(list []rtnl.LinkAddress) (addrs []netip.Addr) {
	for _, a := range list {
		if addr := a.Prefix.Addr(); addr.IsLinkLocalUnicast() {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// followLink lets the advertisements of other links follow a link that was as before,
// and is gone where l is the zero Link.
func (s *Shell) followLink(before, l role.Link) {
	gone := l.Index == 0
	if gone {
		delete(s.advertising.addresses, before.Index)
		s.advertising.others.forget(before.Index)
	}
	if before.Index != 0 && (gone || before.Up && !l.Up || before.Name != l.Name) {
		s.advertising.relay.LinkGone(before.Index)
	}
	if gone || before.Index == 0 || before.Name != l.Name || before.Up != l.Up {
		s.followAdvertisements()
	}
}

// advertisementsReloaded drops what was remembered for links that are not advertised
// any more, or whose anchors nobody advertises further.
func (s *Shell) advertisementsReloaded() {
	for _, l := range s.links {
		if !s.isAnchorUpstream(l.Name) {
			s.advertising.relay.LinkGone(l.Index)
		}
		if _, ok := s.advertised[l.Name]; !ok {
			_, done := s.advertising.countdowns.of(time.Time{}, l.Name)
			done()
			s.advertising.others.forget(l.Index)
		}
	}
}

// finalTime bounds the final advertisements, from the beginning of the stop. There are
// three (RFC 4861 §6.2.5), as far apart as any to all nodes have to be (§6.2.6): they
// take six seconds where that is three, and up to three more where one has been sent a
// moment ago. Who stops the daemon gives it ten: the third may be left out.
const finalTime = 7 * time.Second

// beginFarewell begins the final advertisements on every link, while the roles take
// leave in their way. What they take back from now on is not told: prefixes stay what
// they are, unless the configuration says otherwise, since the daemon mostly comes back.
func (s *Shell) beginFarewell(now time.Time) {
	s.advertising.stopBegan = now
	for _, c := range s.conns {
		if c.advertiser != nil {
			s.endAdvertiser(c)
		}
	}
}

// stopAdvertisers waits for the final advertisements, within bounds.
func (s *Shell) stopAdvertisers() {
	limit := time.After(finalTime - time.Since(s.advertising.stopBegan))
	for _, a := range s.leaving {
		select {
		case <-a.done:
		case <-limit:
			a.abandon()
			limit = time.After(0)
		}
	}
	s.leaving = nil
}

// anchorsFor are the mobility anchor points to advertise on a link: those that its
// section names, and those heard where it says (requirement P10).
func (s *Shell) anchorsFor(section *config.Interface) []mip6.MobilityAnchorPoint {
	var upstream []int
	for _, l := range s.links {
		if slices.Contains(section.AnchorUpstreams, l.Name) {
			upstream = append(upstream, l.Index)
		}
	}
	return s.advertising.relay.Anchors(section.Anchors, upstream...)
}
