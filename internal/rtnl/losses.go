package rtnl

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"roam6/internal/role"
)

// What the Watcher tells a State.

// linkAdmin notes whether an interface is administratively up, and reports
// whether it has just come up, so that what is wanted there must be applied.
func (s *State) linkAdmin(index int, up bool) (reconcile bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.down[index]
	if up {
		delete(s.down, index)
	} else {
		s.down[index] = true
	}
	return was && up
}

// wants reports whether anything is wanted on an interface. It is applied when the
// interface gets its link-local address: IPv6 may have been switched off there and on
// again, which the interface being up does not tell.
func (s *State) wants(index int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.wantedAddresses {
		if s.resolve(k).link == index {
			return true
		}
	}
	for k := range s.wantedRoutes {
		if k.link == index {
			return true
		}
	}
	return false
}

// linkGone forgets what was wanted on an interface that was removed: its index
// does not come back.
func (s *State) linkGone(index int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.down, index)
	for k := range s.wantedAddresses {
		if s.resolve(k).link == index {
			s.local.withdrawn(s.resolve(k))
		}
		if k.link == index {
			delete(s.wantedAddresses, k)
		}
	}
	for k := range s.wantedRoutes {
		if k.link == index {
			delete(s.wantedRoutes, k)
		}
	}
	for k := range s.addresses {
		if k.link == index {
			delete(s.addresses, k)
		}
	}
	for k := range s.routes {
		if k.link == index {
			delete(s.routes, k)
		}
	}
	for k := range s.neighbors {
		if k.link == index {
			delete(s.neighbors, k)
		}
	}
	s.steering = slices.DeleteFunc(s.steering, func(g Steering) bool { return g.Device == index })
	if s.homeLink == index {
		s.homeLink = 0
	}
}

// addressGone reports whether the kernel lost an address that is wanted. One
// that has expired is not wanted any more.
func (s *State) addressGone(k linkAddress) (reconcile bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, wanted := s.wantedEntry(k)
	if wanted {
		if _, valid := e.at(s.now().Add(time.Second), k.link); !valid {
			delete(s.wantedAddresses, k)
			delete(s.wantedAddresses, linkAddress{0, k.addr})
			wanted = false
		}
	}
	if !wanted {
		delete(s.addresses, k)
		s.local.withdrawn(k)
		_ = s.ignore(k) // or a reconciliation does it
		return false
	}
	return s.usable(k.link)
}

// routeGone reports whether the kernel lost a route that is wanted.
func (s *State) routeGone(r role.Route) (reconcile bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, wanted := s.wantedRoute(r)
	return wanted && s.usable(r.Link)
}

// restore reconciles on the Watcher's behalf.
func (s *State) restore(why string) {
	s.mu.Lock()
	err := ErrClosed
	if !s.closed {
		err = s.reconcile()
	}
	s.mu.Unlock()
	switch {
	case err == nil:
		s.log.LogAttrs(context.Background(), slog.LevelDebug, "kernel state restored", slog.String("after", why))
	case errors.Is(err, ErrClosed), errors.Is(err, ErrDeferred):
	default:
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "kernel state could not be restored completely",
			slog.String("after", why), slog.Any("error", err))
	}
}
