package node

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/limit"
	"roam6/internal/role"
	"roam6/internal/rtnl"
	"roam6/nd"
)

// otherRouters remembers what was said of other routers whose advertisements
// contradict ours, so that each contradiction is one line in the log and not one for
// each advertisement. It is pure; the zero value is ready.
type otherRouters struct {
	said    map[contradiction]time.Time
	limiter limit.Limiter // of all lines: routers can be forged
}

// contradiction is a field of a router.
type contradiction struct {
	link   int
	router netip.Addr
	field  nd.InconsistentField
}

const (
	// A contradiction that lasts is said again after sayAgain.
	sayAgain          = time.Hour
	maxContradictions = 256
)

// contradictionLines bounds the lines about all routers together.
func contradictionLines() limit.Rate { return limit.Rate{Every: 10 * time.Second, Burst: 12} }

// say reports whether a contradiction is to be logged now.
func (x *otherRouters) say(now time.Time, c contradiction) bool {
	if at, ok := x.said[c]; ok && now.Sub(at) < sayAgain {
		return false
	}
	if len(x.said) >= maxContradictions {
		for k, at := range x.said {
			if now.Sub(at) >= sayAgain {
				delete(x.said, k)
			}
		}
	}
	if len(x.said) >= maxContradictions || !x.limiter.Allow(now, contradictionLines()) {
		return false
	}
	if x.said == nil {
		x.said = make(map[contradiction]time.Time)
	}
	x.said[c] = now
	return true
}

// forget forgets a link.
func (x *otherRouters) forget(link int) {
	for c := range x.said {
		if c.link == link {
			delete(x.said, c)
		}
	}
}

// routerHeard takes the advertisement of a router of a link on which we advertise, or
// whose anchors we advertise further.
func (s *Shell) routerHeard(now time.Time, e role.RouterHeard) {
	s.relayAnchors(now, e)
	c := s.conns[e.Link]
	if c == nil || c.advertiser == nil || s.isOurs(c.link, e.Router) {
		return
	}
	for _, i := range nd.CompareAdvertisements(now, c.advertiser.given, e.RA) {
		s.metrics.Inconsistent(i.Field)
		if !s.advertising.others.say(now, contradiction{e.Link, e.Router, i.Field}) {
			continue
		}
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "another router of the link advertises something else: hosts get both, and one of the two is wrong",
			slog.String("link", c.link.Name), slog.String("router", e.Router.String()),
			slog.String("field", i.Field.String()), slog.String("of", i.Of), slog.String("ours", i.Ours), slog.String("theirs", i.Theirs))
	}
}

// isOurs reports whether a link-local address is one of this node on that link: its own
// advertisement was given back.
func (s *Shell) isOurs(l role.Link, router netip.Addr) bool {
	return router == l.LinkLocal || slices.ContainsFunc(s.advertising.addresses[l.Index], func(a rtnl.LinkAddress) bool {
		return a.Prefix.Addr() == router
	})
}
