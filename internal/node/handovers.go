package node

import "roam6/internal/role"

// keptHandovers is how many timelines a node remembers for show.
const keptHandovers = 256

// handovers remembers the last moves, oldest first.
type handovers struct{ last []role.Handover }

func (h *handovers) add(x role.Handover) {
	if len(h.last) == keptHandovers {
		copy(h.last, h.last[1:])
		h.last = h.last[:keptHandovers-1]
	}
	h.last = append(h.last, x)
}
