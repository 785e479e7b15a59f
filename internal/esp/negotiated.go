package esp

// Negotiated are the associations that a key exchange has made for a policy so far
// (RFC 4877 §7.3). The zero value is none: nothing is sent then that the policy is for,
// and nothing taken.
type Negotiated struct {
	// Out and TunnelOut are what is sent by; nil: none yet.
	Out, TunnelOut *Association
	// In and TunnelIn are what is received by: of an association that has been replaced
	// packets may still be on their way (RFC 7296 §2.8).
	In, TunnelIn []Association
	// PayloadOut and PayloadIn are for all that the tunnel carries, likewise. The kernel has
	// these, and Policies nothing to do with them.
	PayloadOut *Association
	PayloadIn  []Association
}

// Complete reports whether everything that a policy is for can be sent, but for payload.
func (n Negotiated) Complete() bool {
	return n.Out != nil && n.TunnelOut != nil && len(n.In) > 0 && len(n.TunnelIn) > 0
}

// negotiated adds the associations of a policy that IKE makes.
func (b *builder) negotiated(e *protection, n *Negotiated) error {
	e.negotiated = true
	for _, way := range []struct {
		out    *Association
		in     []Association
		into   **Outbound
		tunnel bool
	}{{n.Out, n.In, &e.out, false}, {n.TunnelOut, n.TunnelIn, &e.tunnelOut, true}} {
		if way.out != nil {
			o, err := b.outbound(*way.out)
			if err != nil {
				return err
			}
			*way.into = o
		}
		for _, in := range way.in {
			if err := b.inbound(in, receiver{protection: e, tunnel: way.tunnel}); err != nil {
				return err
			}
		}
	}
	return nil
}

// PayloadComplete reports whether payload can be sent both ways.
func (n Negotiated) PayloadComplete() bool { return n.PayloadOut != nil && len(n.PayloadIn) > 0 }

// Empty reports whether there is none at all.
func (n Negotiated) Empty() bool {
	return n.Out == nil && n.TunnelOut == nil && n.PayloadOut == nil && len(n.In)+len(n.TunnelIn)+len(n.PayloadIn) == 0
}
