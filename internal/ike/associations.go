package ike

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/strongswan/govici/vici"

	"roam6/internal/esp"
	"roam6/internal/order"
)

// IKEAssociation is an IKE association of a connection, as charon lists it.
type IKEAssociation struct {
	Connection    string
	ID            string // that charon gave it
	Established   bool
	Local, Remote netip.Addr // where IKE is
	Children      []Child
}

// Child is a pair of ESP associations.
type Child struct {
	Name    string // of the connection's child
	ID      int    // a later one has a greater one
	State   string
	In, Out uint32 // SPIs
}

// childInstalled is the state of a child that is in the kernel in both directions.
// Others have been replaced, or are about to be.
const childInstalled = "INSTALLED"

// ParseAssociations reads an event of vici's list-sas, with an IKE association to a
// name. What is not understood is left out.
func ParseAssociations(m *vici.Message) []IKEAssociation {
	var all []IKEAssociation
	for _, name := range m.Keys() {
		s, ok := m.Get(name).(*vici.Message)
		if !ok {
			continue
		}
		a := IKEAssociation{Connection: name, ID: text(s, "uniqueid"), Established: text(s, "state") == "ESTABLISHED"}
		a.Local, _ = netip.ParseAddr(text(s, "local-host"))
		a.Remote, _ = netip.ParseAddr(text(s, "remote-host"))
		if children, ok := s.Get("child-sas").(*vici.Message); ok {
			for _, key := range children.Keys() {
				if c, ok := children.Get(key).(*vici.Message); ok {
					a.Children = append(a.Children, parseChild(c))
				}
			}
		}
		all = append(all, a)
	}
	return all
}

func parseChild(m *vici.Message) Child {
	c := Child{Name: text(m, "name"), State: text(m, "state")}
	c.ID, _ = strconv.Atoi(text(m, "uniqueid"))
	spi := func(name string) uint32 {
		n, _ := strconv.ParseUint(text(m, name), 16, 32)
		return uint32(n)
	}
	c.In, c.Out = spi("spi-in"), spi("spi-out")
	return c
}

// text is a value of a message; empty: there is none.
func text(m *vici.Message, name string) string {
	s, _ := m.Get(name).(string)
	return s
}

// ErrNoState is an association that the kernel does not have (any more).
var ErrNoState = errors.New("the kernel has no such association")

// Kernel tells the keys of associations.
type Kernel interface {
	// Association is the ESP association to an address with an SPI. The error is
	// ErrNoState where there is none.
	Association(to netip.Addr, spi uint32) (esp.Association, error)
}

// window is the anti-replay window, which keys that never outlive a start can have
// (RFC 4303 §3.4.3).
const window = 128

// Associate gives the associations that there are of a peer, with their keys. Those that
// are gone, or cannot be used, are left out; err says why of one of the latter.
func Associate(e Ends, all []IKEAssociation, kernel Kernel) (n esp.Negotiated, err error) {
	for _, sa := range all {
		children := slices.Clone(sa.Children)
		order.Sort(children, func(a, b Child) int { return cmp.Compare(b.ID, a.ID) })
		for _, c := range children {
			own, other := e.Home, e.Agent
			if !(Peer{Ends: e}).initiates() {
				own, other = other, own
			}
			out, in, window := &n.Out, &n.In, window
			switch c.Name {
			case childSignalling:
			case childPayload:
				// Each care-of address has an association of its own, whose sequence numbers
				// begin anew.
				out, in, window = &n.PayloadOut, &n.PayloadIn, 0
			case childTests:
				own, other = sa.Local, sa.Remote
				out, in = &n.TunnelOut, &n.TunnelIn
			default:
				continue
			}
			if a, e := association(kernel, own, c.In, window); e == nil {
				*in = append(*in, a)
			} else if !errors.Is(e, ErrNoState) {
				err = fmt.Errorf("%s: %w", c.Name, e)
			}
			if *out != nil || c.State != childInstalled {
				continue
			}
			if a, e := association(kernel, other, c.Out, 0); e == nil {
				*out = &a
			} else if !errors.Is(e, ErrNoState) {
				err = fmt.Errorf("%s: %w", c.Name, e)
			}
		}
	}
	return n, err
}

func association(kernel Kernel, to netip.Addr, spi uint32, window int) (esp.Association, error) {
	if spi == 0 || !to.IsValid() {
		return esp.Association{}, ErrNoState
	}
	a, err := kernel.Association(to, spi)
	a.Window = window
	return a, err
}

// state names an association of the kernel.
type state struct {
	to  netip.Addr
	spi uint32
}

// remembering is a Kernel that is asked once for each association.
type remembering struct {
	Kernel
	before, next map[state]esp.Association
}

func (r remembering) Association(to netip.Addr, spi uint32) (a esp.Association, err error) {
	s := state{to, spi}
	a, ok := r.before[s]
	if !ok {
		if a, err = r.Kernel.Association(to, spi); err != nil {
			return a, err
		}
	}
	r.next[s] = a
	return a, nil
}
