package node

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"roam6/internal/metrics"
	"roam6/nd"
	"roam6/nd/ndconn"
)

// advertiser drives an nd.Advertiser on a link in a goroutine of its own: an
// interval of 30 ms must not wait for somebody else's netlink call.
type advertiser struct {
	conn          advertisingConn
	machine       *nd.Advertiser
	solicitations chan netip.Addr // of hosts; what does not fit is lost, as on the link
	wake          chan struct{}   // there is an order
	quit          chan struct{}   // closed by abandon
	abandoned     sync.Once
	done          chan struct{} // closed when the loop has ended
	sent          func()
	counters      *metrics.Advertising
	log           *slog.Logger

	// Of the loop.
	failing  bool      // the last packet was not sent
	lastSent time.Time // to all
	spoke    bool      // something was sent: hosts may know of this router
	stopping bool

	mu        sync.Mutex // of the orders, and of what is shown
	wanted    *nd.AdvertiserConfig
	announced bool
	ending    bool
	shown     advertiserStatus

	// Of the shell's loop.
	given    nd.AdvertiserConfig // the latest that was valid
	up       bool                // the link, when it was looked at last
	carriers uint32
}

// advertisingConn is where advertisements go out; see ndconn.Conn.
type advertisingConn interface {
	SendRA(destination netip.Addr, ra nd.RouterAdvertisement) error
	Link() ndconn.LinkRef
}

// advertiserStatus is what an advertiser tells of itself.
type advertiserStatus struct {
	nd.AdvertiserStatistics
	sent     uint64    // packets
	last     time.Time // when the last was sent; zero: none yet
	next     time.Time // to be sent unasked; zero: none
	trouble  string    // why nothing is sent; empty: it is
	withdraw bool      // the final advertisements are under way
}

// newAdvertiser starts an advertiser. before, if not nil, is the one that it succeeds on
// the link, whose loop has ended.
func newAdvertiser(conn advertisingConn, c nd.AdvertiserConfig, before *advertiser, sent func(), counters *metrics.Advertising, log *slog.Logger) (*advertiser, error) {
	now := time.Now()
	m, err := nd.NewAdvertiser(now, c, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	if err != nil {
		return nil, err
	}
	if before != nil {
		m.Succeed(now, before.machine)
	}
	a := &advertiser{
		conn: conn, machine: m, sent: sent, counters: counters, log: log, given: c,
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
	for !a.machine.Done() {
		next := a.machine.Next()
		a.show(next)
		wait := time.Hour
		if !next.IsZero() {
			wait = max(time.Until(next), 0)
		}
		timer.Reset(wait)
		before := a.machine.Statistics()
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
		a.counters.Count(before, a.machine.Statistics())
		a.transmit(out)
		if a.stopping && (!a.spoke || a.failing) {
			return // nobody has heard of this router, or hears it now
		}
	}
}

// show notes what others may ask.
func (a *advertiser) show(next time.Time) {
	s := a.machine.Statistics()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shown.AdvertiserStatistics, a.shown.next, a.shown.withdraw = s, next, a.stopping
}

// status is what the advertiser tells of itself.
func (a *advertiser) status() advertiserStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.shown
}

// transmit sends what the machine made. Failures are said once, and once that they are
// over.
func (a *advertiser) transmit(out []nd.Transmission) {
	var now time.Time
	unasked := false
	defer func() {
		if unasked {
			a.machine.Sent(now)
		}
	}()
	for _, t := range out {
		err := a.conn.SendRA(t.Destination, t.Advertisement)
		now = time.Now()
		unasked = unasked || t.Gap > 0 || t.Destination.IsMulticast()
		a.account(now, t, err)
		if (err != nil) == a.failing {
			continue
		}
		if a.failing = err != nil; a.failing {
			a.log.LogAttrs(context.Background(), slog.LevelWarn, "router advertisements are not sent",
				slog.String("link", a.conn.Link().Name), slog.String("reason", trouble(err)))
		} else {
			a.log.LogAttrs(context.Background(), slog.LevelInfo, "router advertisements are sent again",
				slog.String("link", a.conn.Link().Name))
		}
	}
}

// account counts a packet that was sent or was not.
func (a *advertiser) account(now time.Time, t nd.Transmission, err error) {
	if err != nil {
		reason := ndconn.SendFailed
		var e *ndconn.SendError
		if errors.As(err, &e) {
			reason = e.Reason
		}
		a.counters.Failed(reason.String())
		a.mu.Lock()
		a.shown.trouble = trouble(err)
		a.mu.Unlock()
		return
	}
	multicast := t.Destination.IsMulticast()
	a.sent()
	a.counters.Sent(multicast)
	if t.Gap > 0 && !a.lastSent.IsZero() {
		a.counters.Gap(now.Sub(a.lastSent))
	}
	if t.Gap > 0 || multicast && a.lastSent.IsZero() {
		a.lastSent = now
	}
	a.spoke = true
	a.mu.Lock()
	a.shown.trouble, a.shown.last = "", now
	a.shown.sent++
	a.mu.Unlock()
}

// trouble says what to do about an advertisement that was not sent.
func trouble(err error) string {
	var e *ndconn.SendError
	if errors.As(err, &e) && e.Reason == ndconn.SendNoSource {
		return "the interface has no link-local address that can be used, or none of AdvRASrcAddress: they begin when it has"
	}
	return err.Error()
}

// solicited takes a router solicitation; it never blocks.
func (a *advertiser) solicited(from netip.Addr) {
	select {
	case a.solicitations <- from:
	default:
		a.counters.SolicitationLost()
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

// announce begins a burst as at the beginning.
func (a *advertiser) announce() { a.order(func() { a.announced = true }) }

// stop begins the final advertisements; done tells when they are sent.
func (a *advertiser) stop() { a.order(func() { a.ending = true }) }

// obey carries out what was ordered. It runs in the loop.
func (a *advertiser) obey(now time.Time) (out []nd.Transmission) {
	a.mu.Lock()
	c, announced, ending := a.wanted, a.announced, a.ending
	a.wanted, a.announced = nil, false
	a.mu.Unlock()
	if c != nil {
		var err error
		if out, err = a.machine.Reconfigure(now, *c); err != nil { // was looked at before
			a.log.LogAttrs(context.Background(), slog.LevelError, "router advertisements not changed",
				slog.String("link", a.conn.Link().Name), slog.String("reason", err.Error()))
		}
	}
	if announced {
		out = append(out, a.machine.Announce(now)...)
	}
	if ending {
		a.stopping = true
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
