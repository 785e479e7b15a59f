package xfrmro

import (
	"time"

	"roam6/internal/xfrm/mobility"
	"roam6/overlay"
)

// Counters are those of the states. Where a route and another one to the care-of address
// of its peer share a state, what comes is counted for both.
func (p *Path) Counters(carried func(overlay.Pair, overlay.Counters), failed func(overlay.Pair, error)) error {
	now := time.Now()
	p.expire(now)
	all := make(map[stateKey]mobility.Status, len(p.users))
	for _, h := range headers() {
		list, err := p.states.States(h)
		if err != nil {
			return err
		}
		for _, s := range list {
			if s.Request == request {
				all[keyOf(s.State)] = s
			}
		}
	}
	for k, c := range p.between {
		p.tell(c, k, func(s mobility.State) mobility.Status { return all[keyOf(s)] }, carried)
	}
	return p.restore(now, all, failed)
}

// status is a state as the kernel has it, the zero value if it has none.
func (p *Path) status(s mobility.State) mobility.Status {
	status, err := p.states.Get(s)
	if err != nil {
		return mobility.Status{} // somebody has removed it: the next Counters puts it back
	}
	return status
}

// tell tells what the routes of a conversation, which may be nil, have carried since it was
// told; carried may be nil.
func (p *Path) tell(c *conversation, k ends, status func(mobility.State) mobility.Status, carried func(overlay.Pair, overlay.Counters)) {
	if c == nil {
		return
	}
	for i, r := range c.routes {
		if r == nil {
			continue
		}
		out, in := status(p.sent(c, k, r.Side)), status(p.taken(c, k, r.Side))
		now := overlay.Counters{EncapPackets: out.Packets, EncapBytes: out.Octets, DecapPackets: in.Packets, DecapBytes: in.Octets}
		last := c.told[i]
		if now == last {
			continue
		}
		c.told[i] = now
		since := overlay.Counters{
			EncapPackets: since(last.EncapPackets, now.EncapPackets), EncapBytes: since(last.EncapBytes, now.EncapBytes),
			DecapPackets: since(last.DecapPackets, now.DecapPackets), DecapBytes: since(last.DecapBytes, now.DecapBytes),
		}
		if carried != nil && since != (overlay.Counters{}) {
			carried(r.Pair, since)
		}
	}
}

// since is how much has been added to a count, which begins anew when somebody removes the
// state.
func since(last, now uint64) uint64 {
	if now < last {
		return now
	}
	return now - last
}
