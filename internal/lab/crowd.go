package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/lab/report"
	"roam6/internal/lab/world"
	"roam6/internal/sock"
	"roam6/mip6"
)

// crowd is all mobiles of a home agent: it sends their binding updates, and hears the
// acknowledgements. All have the same key.
type crowd struct {
	agent   netip.Addr
	key     mip6.SecurityAssociation
	header  []byte // Ethernet's
	packet  int
	done    chan struct{}
	running sync.WaitGroup

	mu   sync.Mutex
	asks map[netip.Addr]*asked
}

// asked is the last binding update of a mobile.
type asked struct {
	sequence       mip6.Sequence
	round          int
	sent, answered time.Time
}

// crowdWindow is how many updates are under way at a time when they are sent as fast as
// they are answered, and crowdAgain when one is sent again.
const (
	crowdWindow = 128
	crowdAgain  = time.Second
)

func newCrowd(w *world.World, agent netip.Addr, key string) (*crowd, error) {
	sa, err := associationOf(key)
	if err != nil {
		return nil, fmt.Errorf("the crowd's key: %w", err)
	}
	header, index, err := ethernetHeader(w, nodeCrowd, "eth0", nodeHomeAgent, "wan0")
	if err != nil {
		return nil, err
	}
	c := &crowd{agent: agent, key: sa, header: header, packet: -1, done: make(chan struct{}), asks: map[netip.Addr]*asked{}}
	err = w.Space(nodeCrowd).Do(func() (err error) {
		protocol := sock.NetworkOrder16(unix.ETH_P_IPV6)
		if c.packet, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		_ = unix.SetsockoptInt(c.packet, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
		if err := waitsBriefly(c.packet); err != nil {
			return err
		}
		return unix.Bind(c.packet, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: index})
	})
	if err != nil {
		if c.packet >= 0 {
			_ = unix.Close(c.packet)
		}
		return nil, fmt.Errorf("the crowd's socket: %w", err)
	}
	c.running.Go(func() { answersRunLoop(c.packet, len(c.header), agent, c.done, c.take) })
	return c, nil
}

func (c *crowd) close() {
	close(c.done)
	c.running.Wait()
	_ = unix.Close(c.packet)
}

// take takes in an acknowledgement that a mobile is bound.
func (c *crowd) take(now time.Time, p mip6.Packet) {
	m, ok := p.Message.(mip6.BindingAcknowledgement)
	if !ok || !m.Status.Accepted() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.asks[p.To()]; a != nil && a.sequence == m.Sequence && a.answered.IsZero() {
		a.answered = now
	}
}

// ask sends the binding update of a mobile from where it is in a round of moves
// (RFC 6275 §11.7.1, RFC 3963 §4.1, RFC 4285).
func (c *crowd) ask(home netip.Addr, round int) error {
	b := home.As16()
	at := careOf(int(b[13])<<16|int(b[14])<<8|int(b[15]), round)
	c.mu.Lock()
	a := c.asks[home]
	if a == nil {
		a = &asked{}
		c.asks[home] = a
	}
	a.sequence++
	a.round, a.sent, a.answered = round, time.Now(), time.Time{}
	sequence := a.sequence
	c.mu.Unlock()
	m, err := c.key.Seal(mip6.BindingUpdate{
		Sequence: sequence, Flags: mip6.UpdateAcknowledge | mip6.UpdateHome | mip6.UpdateMobileRouter, Lifetime: mip6.LifetimeFrom(homeLifetime),
		Options: []mip6.Option{mip6.AlternateCareOf{Addr: at}, mip6.ReplayProtection{Timestamp: mip6.TimestampFrom(time.Now())}},
	}, at, home)
	if err != nil {
		return err
	}
	frame, err := mip6.Packet{Source: at, Destination: c.agent, HomeAddress: home, Message: m}.Append(slices.Clone(c.header))
	if err != nil {
		return err
	}
	_, err = unix.Write(c.packet, frame)
	return err
}

// state is the last update of a mobile.
func (c *crowd) state(home netip.Addr) asked {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.asks[home]; a != nil {
		return *a
	}
	return asked{}
}

// bound reports whether a mobile's update of a round was accepted.
func (c *crowd) bound(home netip.Addr, round int) bool {
	a := c.state(home)
	return a.round == round && !a.answered.IsZero()
}

// register binds all mobiles where they are in a round, as fast as they are answered.
func (c *crowd) register(ctx context.Context, limit time.Duration, homes []netip.Addr, round int) error {
	var underway []netip.Addr
	deadline := time.Now().Add(limit)
	for len(homes) > 0 || len(underway) > 0 {
		for len(homes) > 0 && len(underway) < crowdWindow {
			if err := c.ask(homes[0], round); err != nil {
				return err
			}
			underway, homes = append(underway, homes[0]), homes[1:]
		}
		before := len(underway)
		underway = slices.DeleteFunc(underway, func(h netip.Addr) bool { return c.bound(h, round) })
		switch now := time.Now(); {
		case len(underway) < before:
		case now.After(deadline):
			return fmt.Errorf("%w within %v, of %d mobiles", errNoAnswer, limit, len(homes)+len(underway))
		default:
			for _, h := range underway {
				if now.Sub(c.state(h).sent) > crowdAgain {
					if err := c.ask(h, round); err != nil {
						return err
					}
				}
			}
			if !sleep(ctx, 100*time.Microsecond) {
				return ctx.Err()
			}
		}
	}
	return nil
}

// paced sends updates of one mobile after the other at a rate, for a time or until
// ended, and times the answers.
func (c *crowd) paced(ctx context.Context, homes []netip.Addr, round, rate int, duration time.Duration, ended func() bool) (u updates, err error) {
	var sent []netip.Addr
	start := time.Now()
	for elapsed := time.Duration(0); elapsed < duration && len(sent) < len(homes); elapsed = time.Since(start) {
		for due := int(float64(rate) * elapsed.Seconds()); len(sent) < min(due, len(homes)); {
			if err := c.ask(homes[len(sent)], round); err != nil {
				return u, err
			}
			sent = append(sent, homes[len(sent)])
		}
		if ended != nil && ended() || !sleep(ctx, time.Millisecond) {
			break
		}
	}
	const grace = 2 * time.Second
	until(ctx, grace, func() bool { return len(sent) == 0 || c.bound(sent[len(sent)-1], round) })
	u.asked = len(sent)
	for _, h := range sent {
		if a := c.state(h); a.round == round && !a.answered.IsZero() {
			u.answers = append(u.answers, report.Millis(a.answered.Sub(a.sent)))
		}
	}
	return u, ctx.Err()
}
