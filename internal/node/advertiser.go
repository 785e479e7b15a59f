package node

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"roam6/internal/config"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
	"roam6/nd/ndconn"
)

// advertiser drives an nd.Advertiser on a link in a goroutine of its own: an
// interval of 30 ms must not wait for somebody else's netlink call.
type advertiser struct {
	conn          *ndconn.Conn
	machine       *nd.Advertiser
	solicitations chan netip.Addr // of hosts; what does not fit is lost, as on the link
	wake          chan struct{}   // there is an order
	quit          chan struct{}   // closed by abandon
	abandoned     sync.Once
	done          chan struct{} // closed when the loop has ended
	sent          func()
	log           *slog.Logger

	mu     sync.Mutex // of the orders
	wanted *nd.AdvertiserConfig
	ending bool
}

// finalTime bounds the final advertisements when the daemon stops.
const finalTime = time.Second

func newAdvertiser(conn *ndconn.Conn, c nd.AdvertiserConfig, sent func(), log *slog.Logger) (*advertiser, error) {
	m, err := nd.NewAdvertiser(time.Now(), c, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	if err != nil {
		return nil, err
	}
	a := &advertiser{
		conn: conn, machine: m, sent: sent, log: log,
		solicitations: make(chan netip.Addr, 64), wake: make(chan struct{}, 1),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	go a.sendRunLoop()
	return a, nil
}

// sendRunLoop owns the machine.
func (a *advertiser) sendRunLoop() {
	defer close(a.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	failing := false
	for !a.machine.Done() {
		if next := a.machine.Next(); !next.IsZero() {
			timer.Reset(max(time.Until(next), 0))
		}
		var out []nd.Transmission
		select {
		case <-a.quit:
			return
		case <-a.wake:
			out = a.obey(time.Now())
		case from := <-a.solicitations:
			out = a.machine.Solicited(time.Now(), from)
		case <-timer.C:
			out = a.machine.Expire(time.Now())
		}
		for _, t := range out {
			err := a.conn.SendRA(t.Destination, t.Advertisement)
			if err == nil {
				a.sent()
			}
			if (err != nil) != failing { // say it once, and once that it is over
				failing = err != nil
				if failing {
					a.log.LogAttrs(context.Background(), slog.LevelWarn, "router advertisements are not sent",
						slog.String("link", a.conn.Link().Name), slog.String("reason", err.Error()))
				} else {
					a.log.LogAttrs(context.Background(), slog.LevelInfo, "router advertisements are sent again",
						slog.String("link", a.conn.Link().Name))
				}
			}
		}
	}
}

// solicited takes a router solicitation; it never blocks.
func (a *advertiser) solicited(from netip.Addr) {
	select {
	case a.solicitations <- from:
	default:
	}
}

// order notes what the loop is to do, and wakes it. However many solicitations
// there are, no order is lost: of two configurations the later one counts.
func (a *advertiser) order(note func()) {
	a.mu.Lock()
	note()
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *advertiser) reconfigure(c nd.AdvertiserConfig) { a.order(func() { a.wanted = &c }) }

// stop begins the final advertisements; done tells when they are sent.
func (a *advertiser) stop() { a.order(func() { a.ending = true }) }

// obey carries out what was ordered. It runs in the loop.
func (a *advertiser) obey(now time.Time) (out []nd.Transmission) {
	a.mu.Lock()
	c, ending := a.wanted, a.ending
	a.wanted = nil
	a.mu.Unlock()
	if c != nil {
		var err error
		if out, err = a.machine.Reconfigure(now, *c); err != nil {
			a.log.LogAttrs(context.Background(), slog.LevelError, "router advertisements not changed",
				slog.String("link", a.conn.Link().Name), slog.String("reason", err.Error()))
		}
	}
	if ending {
		out = append(out, a.machine.Stop(now)...)
	}
	return out
}

// abandon ends the loop at once and waits for it.
func (a *advertiser) abandon() {
	a.abandoned.Do(func() { close(a.quit) })
	<-a.done
}

// ended reports whether the final advertisements are sent.
func (a *advertiser) ended() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// advertisement says what is to be advertised on a link: its section of the
// configuration, the mobile network prefixes of a router whose downstream it
// is, or both.
type advertisement struct {
	section  *config.Interface // nil: a downstream without one
	networks []netip.Prefix    // mobile network prefixes
	numbered []numbered        // of delegated prefixes
}

// advertisementOn is what is to be advertised on a link now, if anything.
func (s *Shell) advertisementOn(name string) (a advertisement, ok bool) {
	a, ok = s.advertised[name]
	a.numbered = s.numbering.of(name)
	return a, ok || len(a.numbered) > 0
}

// advertisements collects what is to be advertised, by interface name. Each
// mobile network prefix goes to one downstream: the first to the first, and
// what is left over to the last.
func advertisements(c *config.Config) map[string]advertisement {
	all := make(map[string]advertisement)
	for i := range c.Interfaces {
		if in := &c.Interfaces[i]; in.Advertise {
			all[in.Name] = advertisement{section: in}
		}
	}
	for _, m := range c.MobileNodes {
		for i, p := range m.Prefixes {
			name := downstreamOf(m, i)
			if name == "" {
				break
			}
			a := all[name]
			a.networks = append(a.networks, p)
			all[name] = a
		}
	}
	return all
}

// Advertisements on a downstream without a section of its own. The nodes there
// do not move, but one that is switched on should not wait.
const (
	downstreamMin      = 10 * time.Second
	downstreamMax      = 30 * time.Second
	downstreamLifetime = 1800 * time.Second
	networkValid       = 24 * time.Hour
	networkPreferred   = 4 * time.Hour
)

// machineConfig is the advertiser's configuration for a link; usable tells
// which mobile network prefixes the home agent takes.
func (a advertisement) machineConfig(l role.Link, usable func(netip.Prefix) bool) nd.AdvertiserConfig {
	c, linkAddr := a.sectionConfig()
	ra := &c.Advertisement
	if linkAddr && l.Ethernet != ([6]byte{}) {
		ra.SourceLinkAddr = l.Ethernet[:]
	}
	is := func(p netip.Prefix) func(mip6.PrefixInformation) bool {
		return func(q mip6.PrefixInformation) bool { return q.Prefix.Masked() == p }
	}
	add := func(p netip.Prefix, preferred, valid time.Duration) {
		if !slices.ContainsFunc(ra.Prefixes, is(p)) { // the section may say other things of it
			ra.Prefixes = append(ra.Prefixes, mip6.PrefixInformation{
				Prefix: p, OnLink: true, Autonomous: p.Bits() == 64, ValidLifetime: valid, PreferredLifetime: preferred,
			})
		}
	}
	for _, p := range a.networks {
		if usable(p) {
			add(p, networkPreferred, networkValid)
		} else { // RFC 3963 §5.4.2
			ra.Prefixes = slices.DeleteFunc(ra.Prefixes, is(p))
		}
	}
	reachable := a.section != nil || len(a.networks) > 0
	for _, n := range a.numbered {
		reachable = reachable || n.given
		if usable(n.prefix) {
			add(n.prefix, advertisedPreferred, advertisedValid)
		}
	}
	c.Expiring = expiries(a.numbered)
	if !reachable { // RFC 7084 §4.3 L-4, L-13: with nothing but deprecated prefixes it leads nowhere
		ra.RouterLifetime = 0
	}
	return c
}

// sectionConfig is what a link's section says, or the defaults of a downstream
// without one; linkAddr tells whether the link-layer address belongs to it.
func (a advertisement) sectionConfig() (c nd.AdvertiserConfig, linkAddr bool) {
	in := a.section
	if in == nil {
		return nd.AdvertiserConfig{
			MinInterval: downstreamMin, MaxInterval: downstreamMax, MinDelay: 3 * time.Second,
			SolicitedUnicast: true,
			Advertisement:    nd.RouterAdvertisement{RouterLifetime: downstreamLifetime},
		}, true
	}
	c = nd.AdvertiserConfig{
		MinInterval: in.MinInterval, MaxInterval: in.MaxInterval, MinDelay: in.MinDelay,
		SolicitedUnicast: in.UnicastReplies, TellInterval: in.IntervalOption,
		Advertisement: nd.RouterAdvertisement{
			CurHopLimit: in.CurHopLimit, Managed: in.Managed, OtherConfig: in.OtherConfig, HomeAgent: in.HomeAgent,
			Preference: in.Preference, RouterLifetime: in.RouterLifetime, ReachableTime: in.ReachableTime,
			RetransTimer: in.RetransTimer, MTU: in.MTU, HomeAgentInfo: in.HomeAgentInfo,
		},
	}
	for _, p := range in.Prefixes {
		c.Advertisement.Prefixes = append(c.Advertisement.Prefixes, p.PrefixInformation)
	}
	if in.MinDelay >= 3*time.Second { // not configured for mobility: RFC 4861 §6.2.6
		c.SolicitedDelay = nd.MaxRADelay
	}
	return c, in.SourceLinkAddr
}

// startAdvertiser starts the advertiser of a link that is up, or gives a
// running one what has changed.
func (s *Shell) startAdvertiser(c *linkConn) {
	want, ok := s.advertisementOn(c.link.Name)
	switch {
	case !ok && c.advertiser != nil:
		s.retireAdvertiser(c)
	case !ok || !c.link.Up && c.advertiser == nil:
	case c.advertiser == nil:
		a, err := newAdvertiser(c.Conn, want.machineConfig(c.link, s.networkUsable), s.metrics.AdvertisementSent, s.log)
		if err != nil {
			s.log.LogAttrs(context.Background(), slog.LevelError, "router advertisements not started",
				slog.String("link", c.link.Name), slog.String("reason", err.Error()))
			return
		}
		s.setAdvertiser(c, a)
		s.log.LogAttrs(context.Background(), slog.LevelInfo, "router advertisements started", slog.String("link", c.link.Name))
	default:
		c.advertiser.reconfigure(want.machineConfig(c.link, s.networkUsable))
	}
}

// retireAdvertiser ends the advertiser of a link on which nothing is advertised any
// more, while the daemon goes on: hosts learn that its prefixes are deprecated.
func (s *Shell) retireAdvertiser(c *linkConn) {
	c.advertiser.reconfigure(advertisement{}.machineConfig(c.link, s.networkUsable))
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
	for _, c := range s.conns {
		w, _ := s.advertisementOn(c.link.Name)
		if slices.Contains(w.networks, a.Prefix) || slices.ContainsFunc(w.numbered, func(n numbered) bool { return a.Prefix.Overlaps(n.prefix) }) {
			s.startAdvertiser(c)
		}
	}
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

// stopAdvertisers sends the final advertisements on every link and waits for
// them, within bounds.
func (s *Shell) stopAdvertisers() {
	for _, c := range s.conns {
		if c.advertiser != nil {
			s.endAdvertiser(c)
		}
	}
	limit := time.After(finalTime)
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
