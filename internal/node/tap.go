package node

import (
	"net/netip"

	"roam6/internal/trace"
)

// tap is where a role draws what it does not decide by itself: its randomness and, for an
// anchor, which addresses may not be bound. As long as it keeps, take has what it gave.
type tap struct {
	keep  bool
	drawn trace.Drawn
}

func (t *tap) octets(b []byte) {
	randomOctets(b)
	if t.keep {
		t.drawn.Random = append(t.drawn.Random, b...)
	}
}

// answers is ask, as a role is to have it.
func (t *tap) answers(ask func(netip.Addr) bool) func(netip.Addr) bool {
	return func(a netip.Addr) bool {
		answer := ask(a)
		if t.keep {
			if t.drawn.Barred == nil {
				t.drawn.Barred = make(map[netip.Addr]bool)
			}
			t.drawn.Barred[a] = answer
		}
		return answer
	}
}

func (t *tap) take() trace.Drawn {
	drawn := t.drawn
	t.drawn = trace.Drawn{}
	return drawn
}

// begin keeps what is drawn from now on.
func (t *tap) begin() { t.keep, t.drawn = true, trace.Drawn{} }

// stop ends the keeping.
func (t *tap) stop() { t.keep, t.drawn = false, trace.Drawn{} }
