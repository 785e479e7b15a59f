package node

import (
	"slices"
	"time"

	"roam6/internal/role"
)

// isAnchorUpstream reports whether mobility anchor points that are heard on a link of
// this name are advertised on another.
func (s *Shell) isAnchorUpstream(name string) bool {
	for _, a := range s.advertised {
		if a.section != nil && slices.Contains(a.section.AnchorUpstreams, name) {
			return true
		}
	}
	return false
}

// relayAnchors takes the anchors that a router upstream advertises, and advertises them
// further at once (RFC 5380 §7).
func (s *Shell) relayAnchors(now time.Time, e role.RouterHeard) {
	l, known := s.links[e.Link]
	if known && s.isAnchorUpstream(l.Name) && s.advertising.relay.Heard(now, e.Link, e.Router, e.RA) {
		s.followAdvertisements()
	}
}

// expireAnchors ends what was heard of anchors when its time has come.
func (s *Shell) expireAnchors(now time.Time) {
	if s.advertising.relay.Expire(now) {
		s.followAdvertisements()
	}
}
