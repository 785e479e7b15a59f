package node

import (
	"maps"
	"slices"
	"time"

	"roam6/internal/control"
	"roam6/nd"
)

// States of control.AdvertisedInterface.
const (
	stateSending = "sending"
	stateMissing = "missing"
	stateDown    = "down"
	stateSilent  = "silent"
	stateRefused = "refused"
)

// showAdvertisements tells what is advertised on each link, also on those that are not
// there.
func (s *Shell) showAdvertisements(now time.Time) control.Advertisements {
	d := control.Advertisements{Interfaces: []control.AdvertisedInterface{}}
	names := make(map[string]*linkConn)
	for name := range s.advertised {
		names[name] = nil
	}
	for _, c := range s.conns {
		if _, ok := s.advertisementOn(c.link.Name); ok || c.advertiser != nil {
			names[c.link.Name] = c
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d.Interfaces = append(d.Interfaces, s.showAdvertised(now, name, names[name]))
	}
	return d
}

// showAdvertised tells what is advertised on one link; c is nil where that is not
// there.
func (s *Shell) showAdvertised(now time.Time, name string, c *linkConn) control.AdvertisedInterface {
	a := control.AdvertisedInterface{Interface: name, State: stateMissing}
	if c == nil || c.advertiser == nil {
		a.AdvertisedBy(now, nd.AdvertiserConfig{}, nd.AdvertiserStatistics{})
		if c != nil {
			a.State, a.Trouble = stateDown, c.refusal
			if c.link.Up && c.refusal != "" {
				a.State = stateRefused
			}
		}
		return a
	}
	x := c.advertiser.status()
	a.AdvertisedBy(now, c.advertiser.given, x.AdvertiserStatistics)
	a.Packets = x.sent
	a.Sending(now, x.last, x.next)
	if source := c.AdvertisingSource(); source.IsValid() {
		a.Source = &source
	}
	switch a.State = stateSending; {
	case !c.link.Up:
		a.State = stateDown
	case x.trouble != "":
		a.State, a.Trouble = stateSilent, x.trouble
	case c.refusal != "":
		a.State, a.Trouble = stateRefused, c.refusal
	}
	return a
}
