package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/lab/netns"
	"roam6/internal/lab/report"
	"roam6/internal/sock"
	"roam6/mip6"
)

const spiNumber = 256

// What the caller asks of a node, each from a network of its own.
const (
	serviceHome    = iota // a home registration is refreshed
	serviceBinding        // a correspondent registration is refreshed
	serviceTest           // a care-of test
	serviceCount
)

func serviceNames() [serviceCount]string { return [...]string{"home BU", "CN's BU", "CoTI"} }

// caller is somebody honest with the right keys, a mobile of the home agent and
// a mobile that optimises its route to the correspondent. It asks each service
// now and then and notes when the answer comes. Nothing is asked twice, so that
// what is lost shows: a mobile node would ask again after a second.
type caller struct {
	target netip.Addr
	home   netip.Addr
	key    mip6.SecurityAssociation

	raw, packet int
	done        chan struct{}
	running     sync.WaitGroup

	mu       sync.Mutex
	sequence mip6.Sequence
	requests [serviceCount][]request
	tokens   tokens
}

// request is something asked.
type request struct {
	number         uint64 // sequence number or cookie
	sent, answered time.Time
}

// tokens are what the caller has of the correspondent.
type tokens struct {
	home   mip6.HomeTest
	careOf mip6.CareOfTest
	at     [2]time.Time // of home and care-of
}

// Addresses of the caller: networks 1, 2 and so on of its prefix.
func callerAt(network byte) netip.Addr {
	b := callerPrefix.Addr().As16()
	b[5], b[15] = network, 1
	return netip.AddrFrom16(b)
}

var (
	callerCareOf     = callerAt(1) // registered with the home agent
	callerHomeAtCN   = callerAt(2)
	callerCareOfAtCN = callerAt(3)
	callerTested     = callerAt(4)
)

var errNoAnswer = errors.New("no answer")

// What the caller asks for.
const (
	homeLifetime          = time.Hour
	correspondentLifetime = 7 * time.Minute
)

func newCaller(space *netns.Space, target, home netip.Addr, key string) (*caller, error) {
	sa, err := associationOf(key)
	if err != nil {
		return nil, fmt.Errorf("the caller's key: %w", err)
	}
	c := &caller{target: target, home: home, key: sa, raw: -1, packet: -1, done: make(chan struct{})}
	err = space.Do(func() (err error) {
		if c.raw, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
			return err
		}
		if c.packet, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(sock.NetworkOrder16(unix.ETH_P_IPV6))); err != nil {
			return err
		}
		return waitsBriefly(c.packet)
	})
	if err != nil {
		c.close()
		return nil, fmt.Errorf("the caller's sockets: %w", err)
	}
	c.running.Go(func() { answersRunLoop(c.packet, 0, target, c.done, c.take) })
	return c, nil
}

func (c *caller) close() {
	close(c.done)
	c.running.Wait()
	for _, fd := range []int{c.raw, c.packet} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// take takes in an answer.
func (c *caller) take(now time.Time, p mip6.Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m := p.Message.(type) {
	case mip6.BindingAcknowledgement:
		if !m.Status.Accepted() {
			return
		}
		switch p.To() {
		case c.home:
			c.answered(serviceHome, uint64(m.Sequence), now)
		case callerHomeAtCN:
			c.answered(serviceBinding, uint64(m.Sequence), now)
		}
	case mip6.HomeTest:
		c.tokens.home, c.tokens.at[0] = m, now
	case mip6.CareOfTest:
		if p.To() == callerTested {
			c.answered(serviceTest, numberOf(m.Cookie), now)
		} else {
			c.tokens.careOf, c.tokens.at[1] = m, now
		}
	}
}

func (c *caller) answered(service int, number uint64, now time.Time) {
	list := c.requests[service]
	for i := len(list) - 1; i >= 0; i-- {
		if r := &list[i]; r.number == number {
			if r.answered.IsZero() {
				r.answered = now
			}
			return
		}
	}
}

func numberOf(c mip6.Cookie) (n uint64) {
	for _, b := range c {
		n = n<<8 | uint64(b)
	}
	return n
}

// send gives a packet to the kernel to route.
func (c *caller) send(p mip6.Packet) error {
	b, err := p.Append(nil)
	if err != nil {
		return err
	}
	return unix.Sendto(c.raw, b, 0, &unix.SockaddrInet6{Addr: p.Destination.As16()})
}

// ask asks every service once. What cannot be sent is not answered.
func (c *caller) ask() {
	for service, p := range c.questions() {
		number := c.next(service)
		if m, err := p(number); err == nil {
			_ = c.send(m)
		}
	}
}

// next notes a request.
func (c *caller) next(service int) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sequence++
	number := uint64(c.sequence)
	c.requests[service] = append(c.requests[service], request{number: number, sent: time.Now()})
	return number
}

// questions make a request of each service.
func (c *caller) questions() [serviceCount]func(uint64) (mip6.Packet, error) {
	return [...]func(uint64) (mip6.Packet, error){
		serviceHome:    func(n uint64) (mip6.Packet, error) { return c.registration(n, mip6.LifetimeFrom(homeLifetime)) },
		serviceBinding: c.correspondentRegistration,
		serviceTest: func(n uint64) (mip6.Packet, error) {
			return mip6.Packet{Source: callerTested, Destination: c.target, Message: mip6.CareOfTestInit{Cookie: cookieFrom(n)}}, nil
		},
	}
}

// registration is a home registration (RFC 6275 §11.7.1, RFC 4285).
func (c *caller) registration(number uint64, lifetime mip6.Lifetime) (mip6.Packet, error) {
	m, err := c.key.Seal(mip6.BindingUpdate{
		Sequence: mip6.Sequence(number), Flags: mip6.UpdateAcknowledge | mip6.UpdateHome, Lifetime: lifetime,
		Options: []mip6.Option{mip6.AlternateCareOf{Addr: callerCareOf}, mip6.ReplayProtection{Timestamp: mip6.TimestampFrom(time.Now())}},
	}, callerCareOf, c.home)
	return mip6.Packet{Source: callerCareOf, Destination: c.target, HomeAddress: c.home, Message: m}, err
}

// correspondentRegistration is one with the tokens there are (RFC 6275 §11.7.2).
func (c *caller) correspondentRegistration(number uint64) (mip6.Packet, error) {
	c.mu.Lock()
	t := c.tokens
	c.mu.Unlock()
	m, err := mip6.NewBindingKey(t.home.Token, t.careOf.Token).SealAuthorization(mip6.BindingUpdate{
		Sequence: mip6.Sequence(number), Flags: mip6.UpdateAcknowledge, Lifetime: mip6.LifetimeFrom(correspondentLifetime),
		Options: []mip6.Option{mip6.NonceIndices{Home: t.home.NonceIndex, CareOf: t.careOf.NonceIndex}},
	}, callerCareOfAtCN, c.target)
	return mip6.Packet{Source: callerCareOfAtCN, Destination: c.target, HomeAddress: callerHomeAtCN, Message: m}, err
}

// authorise gets new tokens from the correspondent.
func (c *caller) authorise(ctx context.Context) error {
	const limit, again = 5 * time.Second, 100 * time.Millisecond
	start := time.Now()
	have := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.tokens.at[0].After(start) && c.tokens.at[1].After(start)
	}
	for !have() {
		if time.Since(start) > limit {
			return fmt.Errorf("home and care-of test: %w", errNoAnswer)
		}
		for from, m := range map[netip.Addr]mip6.Message{callerHomeAtCN: mip6.HomeTestInit{}, callerCareOfAtCN: mip6.CareOfTestInit{}} {
			if err := c.send(mip6.Packet{Source: from, Destination: c.target, Message: m}); err != nil {
				return fmt.Errorf("home and care-of test: %w", err)
			}
		}
		until(ctx, again, have)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// indices are those of the nonces that the tokens came from: anybody can learn
// them.
func (c *caller) indices() mip6.NonceIndices {
	c.mu.Lock()
	defer c.mu.Unlock()
	return mip6.NonceIndices{Home: c.tokens.home.NonceIndex, CareOf: c.tokens.careOf.NonceIndex}
}

// register asks the home agent for a registration until it is acknowledged; a
// lifetime of zero ends it.
func (c *caller) register(ctx context.Context, lifetime time.Duration) error {
	const limit, again = 10 * time.Second, 100 * time.Millisecond
	for start := time.Now(); ctx.Err() == nil; {
		number := c.next(serviceHome)
		p, err := c.registration(number, mip6.LifetimeFrom(lifetime))
		if err == nil {
			err = c.send(p)
		}
		switch {
		case err != nil:
			return err
		case until(ctx, again, func() bool { return c.answeredTo(serviceHome, number) }):
			return nil
		case time.Since(start) > limit:
			return errNoAnswer
		}
	}
	return ctx.Err()
}

func (c *caller) answeredTo(service int, number uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.requests[service], func(r request) bool { return r.number == number && !r.answered.IsZero() })
}

// recovered is when every service had answered a request made after some time;
// zero when one has not.
func (c *caller) recovered(since time.Time) (last time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, list := range c.requests {
		var first time.Time
		for _, r := range list {
			if r.sent.After(since) && !r.answered.IsZero() && (first.IsZero() || r.answered.Before(first)) {
				first = r.answered
			}
		}
		if first.IsZero() {
			return time.Time{}
		}
		if first.After(last) {
			last = first
		}
	}
	return last
}

// services tells how the requests of a time fared.
func (c *caller) services(from, to time.Time) (all []report.Service) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for service, name := range serviceNames() {
		asked, answers := 0, []report.Milliseconds(nil)
		for _, r := range c.requests[service] {
			if r.sent.Before(from) || !r.sent.Before(to) {
				continue
			}
			asked++
			if !r.answered.IsZero() {
				answers = append(answers, report.Millis(r.answered.Sub(r.sent)))
			}
		}
		all = append(all, report.NewService(name, asked, answers))
	}
	return all
}
