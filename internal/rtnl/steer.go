package rtnl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Priority of the rules of Steer, behind those of the data plane, and the first
// of the routing tables they lead to.
const (
	SteeringPriority = 630
	SteeringTable    = 6300
)

// ownMark is the firewall mark of what the data plane and signalling send
// (tun.DefaultMark), and ownBit its highest bit. What the data plane sends from a
// home address would come back to it by our tables.
const (
	ownMark = 0x62750000
	ownBit  = 1 << 30
)

// Steering chooses traffic of this host that is to use a home address: by
// protocol and destination port, by firewall mark, or both. What forwards
// through this host, what has another source address already, and what carries
// the mark of this program, is not touched: signalling and tunnels leave as they
// would without. (Of that mark its highest bit, 30, is looked at, unless Mask has
// it.)
type Steering struct {
	Home     netip.Addr
	Protocol uint8 // 0: any
	// FirstPort to LastPort are the destination ports; both zero: any. A LastPort
	// of zero is FirstPort.
	FirstPort, LastPort uint16
	// Mark and Mask choose packets by firewall mark (SO_MARK); both zero: any. A
	// Mask of zero is all bits.
	Mark, Mask uint32
	// Device is where the traffic leaves: the data plane's device (0, as in
	// role.AssignAddress), or the interface of the home link.
	Device int
	// Via is the router on the home link; invalid for the data plane's device.
	Via netip.Addr
}

// normal returns the Steering with its defaults filled in.
func (g Steering) normal() (Steering, error) {
	if g.LastPort == 0 {
		g.LastPort = g.FirstPort
	}
	if g.Mark != 0 && g.Mask == 0 {
		g.Mask = ^uint32(0)
	}
	g.Via = g.Via.WithZone("")
	switch {
	case !g.Home.Is6() || g.Home.Is4In6() || g.Home.IsUnspecified() || g.Home.IsMulticast():
		return g, fmt.Errorf("steer: home address %v is not an IPv6 unicast address", g.Home)
	case g.LastPort < g.FirstPort || g.FirstPort == 0 && g.LastPort != 0:
		return g, fmt.Errorf("steer to %v: ports %d to %d are no range", g.Home, g.FirstPort, g.LastPort)
	case g.Mark&^g.Mask != 0:
		return g, fmt.Errorf("steer to %v: mark %#x has bits outside the mask %#x", g.Home, g.Mark, g.Mask)
	case g.Mask&ownBit != 0 && ownMark&g.Mask == g.Mark:
		return g, fmt.Errorf("steer to %v: mark %#x with mask %#x is that of the packets this program sends: choose another", g.Home, g.Mark, g.Mask)
	}
	return g, nil
}

// Steer makes the wanted set of rules the given one, in this order: the first
// that matches a packet decides. A home address has one device and one router.
// What cannot be installed yet, because the device is down or the home address
// is not assigned, gives ErrDeferred and is installed as soon as it can be.
func (s *State) Steer(rules []Steering) error {
	wanted := make([]Steering, 0, len(rules))
	for _, g := range rules {
		g, err := g.normal()
		if err != nil {
			return err
		}
		for _, h := range wanted {
			if h.Home == g.Home && (h.Device != g.Device || h.Via != g.Via) {
				return fmt.Errorf("steer to %v: two ways, by interface %d via %v and by interface %d via %v", g.Home, h.Device, h.Via, g.Device, g.Via)
			}
		}
		if !slices.Contains(wanted, g) {
			wanted = append(wanted, g)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.steering, s.steered = wanted, true
	s.assignTables()
	return s.applySteering()
}

// assignTables gives each home address a table that it keeps.
func (s *State) assignTables() {
	tables := make(map[netip.Addr]uint32)
	used := make(map[uint32]bool)
	for _, g := range s.steering {
		if t, ok := s.tables[g.Home]; ok {
			tables[g.Home], used[t] = t, true
		}
	}
	next := uint32(SteeringTable)
	for _, g := range s.steering {
		if _, ok := tables[g.Home]; ok {
			continue
		}
		for used[next] {
			next++
		}
		tables[g.Home], used[next] = next, true
	}
	s.tables = tables
}

// wantedSteering returns what is to be in the kernel, and whether something has
// to wait for its interface. (That the home address is assigned is seen later.)
func (s *State) wantedSteering() (rules []steeringRule, routes []steeringRoute, waits bool) {
	for _, g := range s.steering {
		table := s.tables[g.Home]
		rules = append(rules, steeringRule{table, g.Protocol, g.FirstPort, g.LastPort, g.Mark, g.Mask | ownBit})
		link := g.Device
		if link == 0 {
			link = s.homeLink
		}
		if !s.usable(link) {
			waits = true
			continue
		}
		fresh := steeringRoute{table, netip.IPv6Unspecified(), g.Home, link, g.Via}
		if !slices.Contains(routes, fresh) {
			sourced := fresh
			sourced.from = g.Home
			routes = append(routes, fresh, sourced)
		}
	}
	return rules, routes, waits
}

// applySteering brings the kernel's rules and tables to what is wanted: routes
// before the rules that lead to them, and the other way round at the end. Rules
// keep their order: those behind the first that differs are made anew.
func (s *State) applySteering() error {
	if len(s.steering) == 0 && s.unsteered {
		return nil // nothing is wanted and nothing there
	}
	rules, routes, waits := s.wantedSteering()
	hasRules, hasRoutes, err := s.requests.steering()
	if err != nil {
		return fmt.Errorf("steer: %w", err)
	}
	s.unsteered = len(rules) == 0 && len(hasRules) == 0 && len(hasRoutes) == 0
	var failures []error
	do := func(what fmt.Stringer, kind, flags int, body []byte, harmless syscall.Errno) {
		err := s.requests.command(kind, flags, body)
		switch {
		case errors.Is(err, harmless):
			err = nil
		case errorIs(err, unix.ENODEV, unix.ENETDOWN):
			err = fmt.Errorf("%w (%w)", ErrDeferred, err)
		case errors.Is(err, unix.EPERM):
			err = fmt.Errorf("%w: run as root or with CAP_NET_ADMIN", err)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("%s %v: %w", steeringVerb(kind), what, err))
		}
		s.log.LogAttrs(context.Background(), slog.LevelDebug, "kernel state",
			slog.String("operation", steeringVerb(kind)+" "+what.String()), slog.Any("error", err))
	}
	for _, r := range routes {
		if !s.assigned(r.source) { // the kernel does not take it as a source
			waits = true
			continue
		}
		if i := slices.Index(hasRoutes, r); i >= 0 {
			hasRoutes = slices.Delete(hasRoutes, i, i+1)
			continue
		}
		// The kernel holds those to be the same that differ in the source alone,
		// which it takes away when the address goes.
		hasRoutes = slices.DeleteFunc(hasRoutes, func(h steeringRoute) bool {
			same := h.table == r.table && h.from == r.from && h.link == r.link && h.via == r.via
			if same {
				do(h, unix.RTM_DELROUTE, 0, steeringRouteBody(h), unix.ESRCH)
			}
			return same
		})
		do(r, unix.RTM_NEWROUTE, unix.NLM_F_CREATE, steeringRouteBody(r), unix.EEXIST)
	}
	same := 0
	for same < len(rules) && same < len(hasRules) && rules[same] == hasRules[same] {
		same++
	}
	stale := s.steered || s.settled // until then a predecessor's may be wanted again
	if stale {
		for _, r := range hasRules[same:] {
			do(r, unix.RTM_DELRULE, 0, steeringRuleBody(r), unix.ENOENT)
		}
	}
	for _, r := range rules[same:] {
		do(r, unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, steeringRuleBody(r), unix.EEXIST)
	}
	if stale {
		for _, r := range hasRoutes {
			do(r, unix.RTM_DELROUTE, 0, steeringRouteBody(r), unix.ESRCH)
		}
	}
	if waits {
		failures = append(failures, ErrDeferred)
	}
	return errors.Join(failures...)
}

func steeringVerb(kind int) string {
	if kind == unix.RTM_NEWRULE || kind == unix.RTM_NEWROUTE {
		return "add"
	}
	return "remove"
}

// steeringGone reports whether a rule or route that somebody removed is wanted.
func (s *State) steeringGone(kind uint16, data []byte) (reconcile bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rules, routes, _ := s.wantedSteering()
	if kind == unix.RTM_DELRULE {
		r, ok := parseSteeringRule(data)
		return ok && slices.Contains(rules, r)
	}
	for _, r := range parseSteeringRoutes(data) {
		if slices.Contains(routes, r) {
			return true
		}
	}
	return false
}

// assigned reports whether an address is this node's.
func (s *State) assigned(a netip.Addr) bool {
	for k := range s.addresses {
		if k.addr == a {
			return true
		}
	}
	return s.local != nil && s.local.Contains(a)
}

// steers reports whether traffic is steered to an address.
func (s *State) steers(home netip.Addr) bool {
	return slices.ContainsFunc(s.steering, func(g Steering) bool { return g.Home == home })
}
