package esp

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"roam6/internal/limit"
	"roam6/overlay"
)

// Policy says how the signalling between a mobile and one of its home agents is
// protected. Out and In are seen from this node.
type Policy struct {
	Home, Agent netip.Addr
	// Side is where this node is: overlay.MobileSide or overlay.AgentSide.
	Side overlay.Side
	// Out and In, in transport mode, are for binding updates and acknowledgements,
	// for mobile prefix solicitations and advertisements, and, while the mobile is
	// away, for DHCPv6 messages between its relay and the agent.
	Out, In Association
	// TunnelOut and TunnelIn, in tunnel mode, are for home test init and home test
	// messages; nil where these are not protected. Both or none.
	TunnelOut, TunnelIn *Association
	// Negotiated, when not nil, says that a key exchange makes the associations, and
	// which there are: in place of the four above.
	Negotiated *Negotiated
	// PayloadOut and PayloadIn are for all that the tunnel carries; nil where that is not
	// protected. Both or none. The kernel has these associations, and Policies nothing to
	// do with them.
	PayloadOut, PayloadIn *Association
	// Payload, with Negotiated, says that the exchange makes those for payload, too.
	Payload bool
}

// Policies are the policies of a node, with the state of their associations: its
// security policy database and security association database at once (RFC 4301
// §4.4). The zero value is not usable; any number of goroutines may use what
// NewPolicies makes.
type Policies struct {
	random func([]byte)
	table  atomic.Pointer[policyTable]
	mu     sync.Mutex // held by one who replaces the table
}

// NewPolicies makes an empty database. random fills in octets that nobody can
// guess, and may be called by several goroutines.
func NewPolicies(random func([]byte)) *Policies {
	p := &Policies{random: random}
	p.table.Store(&policyTable{})
	return p
}

// endpoints are whom a policy is between, and who of them this node is.
type endpoints struct {
	home, agent netip.Addr
	side        overlay.Side
}

// policyTable does not change, but for the state of the associations.
type policyTable struct {
	protected map[endpoints]*protection
	bySPI     map[uint32]receiver
	// Whom unknown associations may be meant for: the home agents that this node is, and
	// the anchors that it is, or sends to.
	agents  map[netip.Addr]bool
	anchors map[anchorRange]bool
	// The associations, so that they outlive a change of others.
	out map[Association]*Outbound
	in  map[Association]*Inbound
}

// protection is a policy ready for use.
type protection struct {
	endpoints
	out        *Outbound // nil: none yet, of a negotiated one
	tunnelOut  *Outbound // nil: none
	negotiated bool      // also home tests go in ESP, or not at all

	mu    sync.Mutex
	tests limit.Limiter // of what the tunnel's association sends
}

// receiver is an association to receive by: that of a protection, or of a regional.
type receiver struct {
	*Inbound
	*protection
	tunnel   bool
	regional *regional
}

// testRate bounds what goes through a tunnel's association: strangers can send home
// test messages to a mobile, and its sequence numbers must last. They do for seven
// weeks of nothing else. A flood above it does to route optimisation what one does to
// the mobile's link.
var testRate = limit.Rate{Every: time.Millisecond, Burst: 2000}

// Replace puts other policies in place of those there are. Associations that stay
// keep their state. Of policies that cannot be none is taken; the error wraps
// ErrInvalid: inbound SPIs must be different, a home address and an agent may have
// one policy on each side (RFC 3776 §4.2), and with AESGCM no two associations may
// have the same key, salt included (RFC 4106 §10).
func (p *Policies) Replace(policies []Policy, anchors ...AnchorPolicy) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := builder{random: p.random, old: p.table.Load(), used: make(map[Key]bool), table: &policyTable{
		protected: make(map[endpoints]*protection, len(policies)), bySPI: make(map[uint32]receiver, 2*len(policies)),
		agents: make(map[netip.Addr]bool), anchors: make(map[anchorRange]bool),
		out: make(map[Association]*Outbound, 2*len(policies)), in: make(map[Association]*Inbound, 2*len(policies)),
	}}
	for _, policy := range policies {
		if err := b.add(policy); err != nil {
			return fmt.Errorf("ESP between %v and %v: %w", policy.Home, policy.Agent, err)
		}
	}
	for _, policy := range anchors {
		if err := b.addAnchors(policy); err != nil {
			return fmt.Errorf("ESP with mobility anchor points %v: %w", policy.Anchors, err)
		}
	}
	p.table.Store(b.table)
	return nil
}

// Empty reports whether there are no policies.
func (p *Policies) Empty() bool { return p.table.Load().empty() }

func (t *policyTable) empty() bool { return len(t.bySPI)+len(t.protected) == 0 }

// SPIs are the inbound SPIs, sorted.
func (p *Policies) SPIs() []uint32 { return slices.Sorted(maps.Keys(p.table.Load().bySPI)) }

// Has reports whether an SPI names an inbound association: what tun.Config.Signalling
// asks.
func (p *Policies) Has(spi uint32) bool {
	_, ok := p.table.Load().bySPI[spi]
	return ok
}

// Tunnelled reports whether home test init and home test messages of a home
// address to and from an agent are protected: what overlay.Tunnel.Protected is to
// be.
func (p *Policies) Tunnelled(home, agent netip.Addr, side overlay.Side) bool {
	e := p.table.Load().protected[endpoints{home, agent, side}]
	return e != nil && (e.negotiated || e.tunnelOut != nil)
}

// Between finds the policy for what this node sends from local to remote, and takes
// the other way, by their logical addresses: of those DHCPv6 messages have no other way
// than ESP (RFC 6276 §4). ok is false if there is none.
func (p *Policies) Between(local, remote netip.Addr) (home overlay.Key, ok bool) {
	t := p.table.Load()
	if t.protected[endpoints{local, remote, overlay.MobileSide}] != nil {
		return overlay.Key{Home: local, Side: overlay.MobileSide}, true
	}
	if t.protected[endpoints{remote, local, overlay.AgentSide}] != nil {
		return overlay.Key{Home: remote, Side: overlay.AgentSide}, true
	}
	return overlay.Key{}, false
}

// builder makes a table.
type builder struct {
	random func([]byte)
	old    *policyTable
	table  *policyTable
	used   map[Key]bool // with AESGCM
}

var (
	errSide     = errors.New("the side is neither the mobile's nor the agent's")
	errAddress  = errors.New("home address and home agent must be different unicast IPv6 addresses")
	errSecond   = errors.New("second policy for the same home address and agent")
	errHalf     = errors.New("tunnel mode needs an association in each direction")
	errBoth     = errors.New("keys are either configured or negotiated")
	errSPI      = errors.New("inbound SPI is used twice")
	errGCMKey   = errors.New("key and salt are used twice")
	errSequence = errors.New("the anti-replay window is the receiver's")
)

func (b *builder) add(policy Policy) error {
	k := endpoints{policy.Home, policy.Agent, policy.Side}
	switch {
	case k.side != overlay.MobileSide && k.side != overlay.AgentSide:
		return fmt.Errorf("%w: %w", ErrInvalid, errSide)
	case !unicast(k.home) || !unicast(k.agent) || k.home == k.agent:
		return fmt.Errorf("%w: %w", ErrInvalid, errAddress)
	case b.table.protected[k] != nil:
		return fmt.Errorf("%w: %w", ErrInvalid, errSecond)
	case (policy.TunnelOut == nil) != (policy.TunnelIn == nil):
		return fmt.Errorf("%w: %w", ErrInvalid, errHalf)
	case policy.Negotiated != nil && (policy.Out != Association{} || policy.In != Association{} || policy.TunnelOut != nil):
		return fmt.Errorf("%w: %w", ErrInvalid, errBoth)
	}
	if k.side == overlay.AgentSide {
		b.table.agents[k.agent] = true
	}
	e := &protection{endpoints: k}
	if old := b.old.protected[k]; old != nil {
		e = old.renewed()
	}
	if policy.Negotiated != nil {
		if err := b.negotiated(e, policy.Negotiated); err != nil {
			return err
		}
		b.table.protected[k] = e
		return nil
	}
	var err error
	if e.out, err = b.outbound(policy.Out); err != nil {
		return err
	}
	if err = b.inbound(policy.In, receiver{protection: e}); err != nil {
		return err
	}
	if policy.TunnelOut != nil {
		if e.tunnelOut, err = b.outbound(*policy.TunnelOut); err != nil {
			return err
		}
		if err = b.inbound(*policy.TunnelIn, receiver{protection: e, tunnel: true}); err != nil {
			return err
		}
	}
	b.table.protected[k] = e
	return nil
}

// renewed is the protection of the same endpoints by another policy.
func (e *protection) renewed() *protection {
	e.mu.Lock()
	defer e.mu.Unlock()
	return &protection{endpoints: e.endpoints, tests: e.tests}
}

func (b *builder) outbound(a Association) (*Outbound, error) {
	if a.Window != 0 {
		return nil, fmt.Errorf("SPI %d: %w: %w", a.SPI, ErrInvalid, errSequence)
	}
	if err := b.keyOnce(a); err != nil {
		return nil, err
	}
	o := b.old.out[a]
	if o == nil {
		var err error
		if o, err = NewOutbound(a, b.random); err != nil {
			return nil, err
		}
	}
	b.table.out[a] = o
	return o, nil
}

// inbound adds an association to receive by; r says whose it is.
func (b *builder) inbound(a Association, r receiver) error {
	if err := b.keyOnce(a); err != nil {
		return err
	}
	if _, taken := b.table.bySPI[a.SPI]; taken {
		return fmt.Errorf("SPI %d: %w: %w", a.SPI, ErrInvalid, errSPI)
	}
	in := b.old.in[a]
	if in == nil {
		var err error
		if in, err = NewInbound(a); err != nil {
			return err
		}
	}
	b.table.in[a], r.Inbound = in, in
	b.table.bySPI[a.SPI] = r
	return nil
}

// keyOnce refuses a second association with a key that must have one only.
func (b *builder) keyOnce(a Association) error {
	if a.Algorithm != AESGCM {
		return nil
	}
	if b.used[a.Key] {
		return fmt.Errorf("SPI %d: %w: %w", a.SPI, ErrInvalid, errGCMKey)
	}
	b.used[a.Key] = true
	return nil
}

// unicast reports whether an address can be a home address or an agent's.
func unicast(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.Zone() == "" && a.IsGlobalUnicast()
}
