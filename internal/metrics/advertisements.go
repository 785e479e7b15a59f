package metrics

import (
	"sync"
	"sync/atomic"
	"time"

	"roam6/nd"
)

// Advertising counts the router advertisements of one interface. Interfaces have
// their own numbers: those that serve mobiles advertise a thousand times as often as
// others. Their names are those of the configuration.
type Advertising struct {
	gap                           observer
	multicast, unicast, missed    atomic.Uint64
	solicitations                 atomic.Uint64
	refused, source, link, memory atomic.Uint64
	queue                         atomic.Uint64

	mu     sync.Mutex
	errors map[string]uint64
}

// Gap observes the time between two advertisements to all nodes, as they were sent.
func (a *Advertising) Gap(d time.Duration) { a.gap.Observe(d.Seconds()) }

// Sent counts a packet that was sent to all nodes or to one.
func (a *Advertising) Sent(multicast bool) {
	if multicast {
		a.multicast.Add(1)
	} else {
		a.unicast.Add(1)
	}
}

// Failed counts a packet that could not be sent, by a short name of the reason.
func (a *Advertising) Failed(reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.errors == nil {
		a.errors = make(map[string]uint64)
	}
	a.errors[reason]++
}

// SolicitationLost counts a solicitation that had no room among those that wait for
// the advertiser.
func (a *Advertising) SolicitationLost() {
	a.solicitations.Add(1)
	a.queue.Add(1)
}

// Count adds what an advertiser's statistics are more than they were before.
func (a *Advertising) Count(before, now nd.AdvertiserStatistics) {
	for _, x := range [...]struct {
		counter     *atomic.Uint64
		before, now uint64
	}{
		{&a.missed, before.Missed, now.Missed},
		{&a.solicitations, before.Solicitations, now.Solicitations},
		{&a.refused, before.Refused, now.Refused},
		{&a.source, before.LimitedBySource, now.LimitedBySource},
		{&a.link, before.LimitedByLink, now.LimitedByLink},
		{&a.memory, before.Overflowed, now.Overflowed},
	} {
		if x.now > x.before {
			x.counter.Add(x.now - x.before)
		}
	}
}

// advertisements are the router advertisements of all interfaces, and what other
// routers' contradict.
type advertisements struct {
	inconsistent [nd.NumInconsistentFields]atomic.Uint64

	mu    sync.Mutex
	links map[string]*Advertising
}

// Advertising returns the counters of an interface.
func (m *Metrics) Advertising(name string) *Advertising {
	a := &m.advertisements
	a.mu.Lock()
	defer a.mu.Unlock()
	x := a.links[name]
	if x == nil {
		if a.links == nil {
			a.links = make(map[string]*Advertising)
		}
		x = &Advertising{gap: m.exposition.gap(name)}
		a.links[name] = x
	}
	return x
}

// Inconsistent counts a field in which an advertisement of another router contradicts
// ours.
func (m *Metrics) Inconsistent(f nd.InconsistentField) {
	if f < nd.NumInconsistentFields {
		m.advertisements.inconsistent[f].Add(1)
	}
}
