package esp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"roam6/mip6"
	"roam6/overlay"
)

// regionalBits are those of an anchor's address that the regional care-of addresses of
// its mobiles begin with (RFC 5380 §6).
const regionalBits = 64

// AnchorPolicy says how local binding updates between a mobile and mobility anchor
// points, and their acknowledgements, are protected, in transport mode (RFC 5380
// §12.1). Out and In are seen from this node.
//
// An anchor does not know beforehand which regional care-of address a mobile forms, and
// two may ask for the same. So addresses do not tell whose association it is: what is
// received says so by its SPI (Received.SPI), and what is sent is given the SPI of the
// association by which the other end's messages come (Policies.ProtectBy). Which
// addresses whoever has an association may have is for the anchor to judge.
type AnchorPolicy struct {
	// Anchors are the addresses of the anchors: on their side those of this node, on the
	// mobile's any to which it may send.
	Anchors []netip.Prefix
	// Side is where this node is: overlay.MobileSide or overlay.AgentSide, the anchor's.
	Side    overlay.Side
	Out, In Association
}

// anchorRange is where some anchors of an AnchorPolicy are, and where this node is.
type anchorRange struct {
	netip.Prefix
	side overlay.Side
}

// regional is an AnchorPolicy ready for use.
type regional struct {
	anchors []netip.Prefix
	side    overlay.Side
	out     *Outbound
}

var errAnchors = errors.New("the addresses of anchors must be IPv6 prefixes, one at least")

// addAnchors adds a policy to the table.
func (b *builder) addAnchors(policy AnchorPolicy) error {
	wrong := func(p netip.Prefix) bool { return !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6() }
	switch {
	case policy.Side != overlay.MobileSide && policy.Side != overlay.AgentSide:
		return fmt.Errorf("%w: %w", ErrInvalid, errSide)
	case len(policy.Anchors) == 0 || slices.ContainsFunc(policy.Anchors, wrong):
		return fmt.Errorf("%w: %w", ErrInvalid, errAnchors)
	}
	r := &regional{anchors: slices.Clone(policy.Anchors), side: policy.Side}
	for _, p := range policy.Anchors {
		b.table.anchors[anchorRange{p, policy.Side}] = true
	}
	var err error
	if r.out, err = b.outbound(policy.Out); err != nil {
		return err
	}
	return b.inbound(policy.In, receiver{regional: r})
}

// ProtectBy is Protect for a local binding update or its acknowledgement, which leaves
// by the association whose other direction has the given inbound SPI, or not at all.
// The errors are ErrNoAssociation, ErrSelector, and those of Protect.
func (p *Policies) ProtectBy(b, packet []byte, spi uint32) ([]byte, error) {
	in, ok := p.table.Load().bySPI[spi]
	if !ok || in.regional == nil {
		return nil, ErrNoAssociation
	}
	e, err := mip6.ParseEnvelope(packet)
	switch {
	case err != nil:
		return nil, err
	case e.Protocol != mip6.ProtocolMobility || !in.regional.local(&e, e.Payload, outgoing):
		return nil, ErrSelector
	}
	return seal(b, &e, in.regional.out)
}

// openRegional opens a packet of a policy for anchors, which is to be a local binding
// update or an acknowledgement of an anchor, between the addresses of two such. t is the
// table: what a home agent and its mobile say to each other has associations of its own.
func (r receiver) openRegional(t *policyTable, e *mip6.Envelope) (Received, error) {
	payload, next, err := r.Open(nil, e.Payload)
	if err != nil {
		return Received{}, err
	}
	opened := *e
	opened.Protocol, opened.Payload = next, payload
	if next != mip6.ProtocolMobility || !r.regional.local(e, payload, incoming) || t.transport(&opened, incoming) != nil {
		return Received{}, ErrSelector
	}
	out := append(e.AppendHeaders(make([]byte, 0, len(e.Payload)+headersLen), next), payload...)
	if err := mip6.SetPayloadLength(out); err != nil {
		return Received{}, ErrMalformed
	}
	return Received{Packet: out, Regional: true, SPI: r.spi}, nil
}

// local reports whether a Mobility Header between the logical addresses of an envelope
// is a message that the associations are for.
func (r *regional) local(e *mip6.Envelope, mh []byte, d direction) bool {
	regional, anchor, kind := e.From(), e.To(), mip6.TypeBindingUpdate
	if (r.side == overlay.MobileSide) == (d == incoming) {
		regional, anchor, kind = anchor, regional, mip6.TypeBindingAcknowledgement
	}
	return mayForm(regional, anchor) &&
		slices.ContainsFunc(r.anchors, func(p netip.Prefix) bool { return p.Contains(anchor) }) && isLocal(mh, kind)
}

// mayForm reports whether an address may be a regional care-of address at an anchor.
func mayForm(regional, anchor netip.Addr) bool {
	prefix, err := anchor.Prefix(regionalBits)
	return err == nil && prefix.Contains(regional) && regional != anchor
}

// anchored reports whether there are associations for some regional care-of addresses at
// an anchor.
func (t *policyTable) anchored(regional, anchor netip.Addr, side overlay.Side) bool {
	if !mayForm(regional, anchor) {
		return false
	}
	for a := range t.anchors {
		if a.side == side && a.Contains(anchor) {
			return true
		}
	}
	return false
}

// isLocal reports whether a Mobility Header has a type, and as an update flag M, by which
// local ones are told from others (RFC 5380 §4.1).
func isLocal(mh []byte, kind mip6.MessageType) bool {
	const mhType, flags = 2, 8 // octets of the Mobility Header
	if len(mh) < flags+2 || mip6.MessageType(mh[mhType]) != kind {
		return false
	}
	return kind != mip6.TypeBindingUpdate || mip6.UpdateFlags(binary.BigEndian.Uint16(mh[flags:]))&mip6.UpdateMAP != 0
}
