package xfrm

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/esp"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// Errors.
var (
	// ErrKernel: the kernel has no IPsec, or not the one that is needed.
	ErrKernel = errors.New("the kernel has no IPsec ESP for IPv6, or not with this algorithm: " +
		"on OpenWrt install kmod-ipsec6, elsewhere load the modules xfrm_user and esp6")
	// ErrTaken: the outer addresses are those of another mobile's tunnel.
	ErrTaken = errors.New("another mobile's tunnel has the same outer addresses")
	// ErrNoPolicy: a tunnel is not to be protected.
	ErrNoPolicy = errors.New("no policy for this tunnel")
)

// Linger is how long a former care-of address keeps its associations: more than the grace
// in which data planes take packets from there.
const Linger = 3 * time.Second

const (
	// mostFormer bounds the former care-of addresses of a mobile: data planes accept
	// as many.
	mostFormer = 8
	// mostPolicies is how many policies fit into the tag.
	mostPolicies = 0xffff
)

// Policy has all that a mobile and one of its home agents send each other through their
// tunnel in ESP.
type Policy struct {
	Home, Agent netip.Addr
	Side        overlay.Side // where this node is
	// Out is what is sent by, nil while there is none: nothing is sent then.
	Out *esp.Association
	// In is what is received by: several while one replaces another.
	In []esp.Association
	// Negotiated says that a key exchange makes the associations, and puts them into the
	// kernel: those here take their place.
	Negotiated bool
}

func (p Policy) equal(q Policy) bool {
	return p.Home == q.Home && p.Agent == q.Agent && p.Side == q.Side && p.Negotiated == q.Negotiated &&
		(p.Out == q.Out || p.Out != nil && q.Out != nil && *p.Out == *q.Out) && slices.Equal(p.In, q.In)
}

// Options configure a Manager.
type Options struct {
	Log *slog.Logger
	// Mark is put on packets that came in ESP; of their own marks the bits of Mask are
	// lost.
	Mark, Mask uint32
	// Adopt is how long what a predecessor that crashed left stays, for whoever sets it
	// again: as long as a data plane adopts tunnels, or they would be in clear.
	Adopt time.Duration
}

// Manager owns this node's part of the kernel's associations and policies. Any number of
// goroutines may use it.
type Manager struct {
	options Options
	conn    *rtbatch.Conn
	watch   watch

	mu       sync.Mutex
	closed   bool
	entries  map[between]*entry
	holders  map[ends]*entry
	have     map[id]item            // in the kernel, as far as we know
	left     map[id]rtbatch.Request // to remove what a predecessor left
	sweep    time.Time              // when to; zero: done
	restored time.Time              // last time
}

// between is who a policy is between.
type between struct {
	home, agent netip.Addr
	side        overlay.Side
}

// entry is a policy in force.
type entry struct {
	Policy
	number uint32 // in the tag
	static []item
	ends   map[ends]*claim
}

// Open connects to the kernel's IPsec in the network namespace of the calling thread. An
// error wraps ErrKernel where there is none.
func Open(o Options) (*Manager, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m := &Manager{
		options: o, entries: make(map[between]*entry), holders: make(map[ends]*entry),
		have: make(map[id]item), left: make(map[id]rtbatch.Request),
	}
	var err error
	if m.conn, err = rtbatch.OpenXFRM(); err != nil {
		return nil, explain("IPsec", err)
	}
	states, policies, err := m.dump()
	if err != nil {
		m.conn.Close()
		return nil, explain("IPsec", err)
	}
	if err := try(m.conn, esp.AESCBCSHA256); err != nil {
		m.conn.Close()
		return nil, err
	}
	maps.Copy(m.left, states)
	maps.Copy(m.left, policies)
	if len(m.left) > 0 {
		m.sweep = time.Now().Add(o.Adopt)
	}
	if err := m.watch.open(); err != nil {
		m.conn.Close()
		return nil, explain("IPsec", err)
	}
	m.watch.loop.Go(m.watchRunLoop)
	return m, nil
}

// explain adds to an error of the kernel what to do about it.
func explain(what string, err error) error {
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.ENOSYS),
		errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%s: %w (%w)", what, ErrKernel, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: not permitted: run as root, or give the process CAP_NET_ADMIN (%w)", what, err)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

// SetPolicies replaces the policies. The paths of those that stay keep their
// associations, which have the new keys if those are others. The error joins one for each
// policy that could not be put in force; it stays wanted, and what it is for does not
// get through.
func (m *Manager) SetPolicies(all []Policy) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return os.ErrClosed
	}
	var failures []error
	wanted := make(map[between]Policy, len(all))
	for _, p := range all {
		wanted[between{p.Home, p.Agent, p.Side}] = p
	}
	for b, e := range m.entries {
		if p, ok := wanted[b]; !ok || !p.equal(e.Policy) && !(p.Negotiated && e.Negotiated) {
			m.uninstall(e)
			if !ok {
				for x := range e.ends {
					delete(m.holders, x)
				}
				delete(m.entries, b)
			}
		}
	}
	for b, p := range wanted {
		e := m.entries[b]
		switch {
		case e == nil:
			number, err := m.number()
			if err != nil {
				failures = append(failures, err)
				continue
			}
			// Without associations nothing passes; so it is with ones that cannot be.
			e = &entry{Policy: Policy{Home: p.Home, Agent: p.Agent, Side: p.Side, Negotiated: p.Negotiated}, number: number, ends: make(map[ends]*claim)}
			m.entries[b] = e
		case e.equal(p):
			failures = append(failures, m.install(e.static)...) // what failed before
			continue
		}
		if err := p.check(); err != nil {
			failures = append(failures, err)
			p.Out, p.In = nil, nil
		}
		e.Policy = p
		failures = append(failures, m.renew(e)...)
	}
	return errors.Join(failures...)
}

// renew gives a policy and its paths the associations that it has now. New ones are there
// before old ones go, so that nothing is lost between.
func (m *Manager) renew(e *entry) (failures []error) {
	before := slices.Clone(e.static)
	e.static = m.static(e)
	failures = m.install(e.static)
	after := slices.Clone(e.static)
	for x, c := range e.ends {
		before = append(before, c.items...)
		c.items = m.dynamic(e, x)
		failures = append(failures, m.install(c.items)...)
		after = append(after, c.items...)
	}
	wanted := make(map[id]bool, len(after))
	for _, i := range after {
		wanted[i.id()] = true
	}
	m.remove(slices.DeleteFunc(before, func(i item) bool { return wanted[i.id()] }))
	return failures
}

func (p Policy) check() error {
	all := slices.Clone(p.In)
	if p.Out != nil {
		all = append(all, *p.Out)
	}
	for _, a := range all {
		if err := a.Check(); err != nil {
			return fmt.Errorf("payload of %v: %w", p.Home, err)
		}
		if a.Algorithm != esp.AESCBCSHA256 {
			return fmt.Errorf("payload of %v: %w: %v, whose initialization vectors begin anew with each care-of address", p.Home, esp.ErrInvalid, a.Algorithm)
		}
	}
	return nil
}

// number finds a free number for a policy.
func (m *Manager) number() (uint32, error) {
	used := make(map[uint32]bool, len(m.entries))
	for _, e := range m.entries {
		used[e.number] = true
	}
	for n := uint32(1); n <= mostPolicies; n++ {
		if !used[n] {
			return n, nil
		}
	}
	return 0, fmt.Errorf("more than %d mobiles with payload in IPsec", mostPolicies)
}

// Seal tells what a tunnel between a home address and its agent has to be sealed with;
// ok is false if it is not to be.
func (m *Manager) Seal(home, agent netip.Addr, side overlay.Side) (s overlay.Seal, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok = m.entries[between{home, agent, side}]
	return seal, ok
}

// seal is AES-CBC with HMAC-SHA-256-128 (RFC 3602 §2, RFC 4868 §2.3).
var seal = overlay.Seal{Header: 8 + 16, Block: 16, ICV: 16}

// uninstall removes all that a policy has in the kernel, and no other one needs.
func (m *Manager) uninstall(e *entry) {
	for _, c := range e.ends {
		m.remove(c.items)
	}
	shared := false
	for _, o := range m.entries {
		shared = shared || o != e && o.Side == overlay.AgentSide && o.Agent == e.Agent
	}
	m.remove(slices.DeleteFunc(slices.Clone(e.static), func(i item) bool { return shared && !i.state }))
}

// Close removes everything from the kernel, also what a predecessor left. The tunnels
// must be gone.
func (m *Manager) Close() error {
	m.mu.Lock()
	before := m.closed
	m.closed = true
	m.mu.Unlock()
	if before {
		return nil
	}
	m.watch.stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	err := errors.Join(m.remove(slices.Collect(maps.Values(m.have))), m.sweepLeft())
	m.conn.Close()
	return err
}
