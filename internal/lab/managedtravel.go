package lab

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"roam6/internal/lab/dhcpserver"
	"roam6/internal/lab/probe"
	"roam6/internal/role"
)

// act rides and measures.
func (r *managedRun) act(ctx context.Context, s *stage) error {
	if err := r.depart(ctx, s); err != nil {
		return err
	}
	s.tell("%d moves, link gone for %v at each, round trips %v to the access router and %v to the home agent",
		r.handovers, r.switching, r.access, r.homeAgent)
	visited := map[string]bool{r.stops[0].node: true}
	for i := range r.handovers {
		from, to := r.stops[i%len(r.stops)], r.stops[(i+1)%len(r.stops)]
		moved, err := s.world.Move(nodeMobile, linkUp, to.node, r.switching, !r.noLinkEvents)
		if err != nil {
			return err
		}
		m := managedMove{move: move{from: from.node, to: to.node, Switch: moved}, link: to, known: visited[to.node]}
		visited[to.node] = true
		if err := r.stay(ctx, s, &m); err != nil {
			return err
		}
		r.moves = append(r.moves, m)
		s.progress(i, r.handovers, m.move, r.settling(), r.down, r.up)
	}
	r.ended = time.Now()
	s.finish(ctx, 10*time.Second, r.settling())
	return nil
}

// depart starts the measuring at the first stop.
func (r *managedRun) depart(ctx context.Context, s *stage) error {
	const limit, calm = 15 * time.Second, 500 * time.Millisecond
	const port, transferPort = 9001, 9002
	var err error
	if r.down, err = s.late(ctx, func() (*probe.Stream, error) {
		return s.stream(nodeCorrespondent, r.node(), r.address(), port, r.interval)
	}); err != nil {
		return err
	}
	if r.up, err = s.stream(r.node(), nodeCorrespondent, correspondentAddress(), port, r.interval); err != nil {
		return err
	}
	if err := s.hear(ctx, limit, r.down, r.up); err != nil {
		return fmt.Errorf("%s and %s do not hear each other: %w (%s)", nodeCorrespondent, r.node(), err, heard(r.down, r.up))
	}
	if err := s.connect(ctx, nodeCorrespondent, r.node(), r.address(), transferPort, r.rate, r.seed); err != nil {
		return err
	}
	if !sleep(ctx, calm) {
		return ctx.Err()
	}
	return nil
}

// stay waits until the home agent knows the address that belongs to a link, and
// until it is time to go.
func (r *managedRun) stay(ctx context.Context, s *stage, m *managedMove) error {
	const limit = 10 * time.Second
	if o := s.observer(nodeMobile); o != nil {
		err := s.registered(ctx, nodeMobile, r.site().mobile().Addr(), limit, "by "+m.to, func(g Registration) bool { return m.link.gives(g.CareOf) })
		if err != nil {
			return err
		}
	}
	if !sleep(ctx, time.Until(m.Attached.Add(r.dwell))) && ctx.Err() != nil {
		return ctx.Err()
	}
	m.end = time.Now()
	s.observe(ctx, nodeMobile)
	r.look(ctx, s, m)
	return s.crew.check()
}

// look compares what the mobile has at a stop with what the servers gave it:
// there the same address as the first time, and their DNS.
func (r *managedRun) look(ctx context.Context, s *stage, m *managedMove) {
	if s.observer(nodeMobile) == nil {
		return
	}
	careOf := s.registration(ctx, nodeMobile, r.site().mobile().Addr()).CareOf
	if first, known := r.careOfs[m.to]; known && careOf != first {
		s.fail("at %s the mobile has %v, and the first time it had %v", m.to, careOf, first)
	}
	r.careOfs[m.to] = careOf
	b, err := os.ReadFile(resolverFile(s.env.Directory, nodeMobile))
	if err != nil && !os.IsNotExist(err) {
		s.fail("the resolver file: %v", err)
	}
	var want []string
	if m.link.managed() {
		want = []string{"nameserver " + m.link.dns().String(), "search " + m.link.domain()}
	}
	var got []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		s.fail("at %s the resolver file has %q, want %q", m.to, got, want)
	}
}

// settling is the time after a break within which its silence begins at the
// receivers.
func (r *managedRun) settling() time.Duration { return r.homeAgent + slack }

// flight is how long a datagram from the correspondent takes at most.
func (r *managedRun) flight(string) time.Duration { return r.homeAgent }

// readdressed reports whether a handover was to another address at the same
// router.
func readdressed(h role.Handover) bool {
	return h.From.Link == h.To.Link && h.From.Router == h.To.Router && h.From.CareOf.IsValid() && h.From.CareOf != h.To.CareOf &&
		h.Updated.After(h.Start.Add(-closeTo)) && h.LinkUp.IsZero()
}

// trips is the number of round trips on a link until the mobile has its address:
// one for the advertisement, and what DHCPv6 takes. Known leases are used at once.
func (m managedMove) trips() int {
	switch {
	case m.known:
		return 1
	case m.link.addressing == leasedRapid:
		return 2
	case m.link.addressing == leasedSlow:
		return 3
	default:
		return 1
	}
}

// The ways to an address, as people call them.
const (
	wayFormed      = "formed"
	wayKnown       = "known lease"
	wayRapid       = "leased by 2"
	waySlow        = "leased by 4"
	wayFormedFirst = "formed first"   // and a second later replaced
	wayBoth        = "formed, leased" // perhaps before the home agent has answered
	wayReplaced    = "replaced"
)

// way is the way to the address.
func (m managedMove) way() string {
	switch {
	case !m.link.managed():
		return wayFormed
	case m.known:
		return wayKnown
	case m.link.addressing == leasedRapid:
		return wayRapid
	case m.link.addressing == leasedSlow:
		return waySlow
	case m.link.server == dhcpserver.Dnsmasq:
		return wayBoth
	default:
		return wayFormedFirst
	}
}

// limits are the shortest interruptions that are possible.
func (r *managedRun) limits(m managedMove) (down, up time.Duration) {
	up = m.Attached.Sub(m.Left) + time.Duration(m.trips())*r.access
	if m.link.addressing == leasedSlow && !m.known && r.noPreference {
		up += solicitWait
	}
	return up + r.homeAgent, up
}
