package trace

import (
	"fmt"
	"net/netip"
)

// drawer gives a role the random octets and answers that it was given when it was recorded.
type drawer struct {
	left  []byte
	short int // how many octets were wanted and not there
	// barred are the answers; unasked is how many were wanted and not there.
	barred  map[netip.Addr]bool
	unasked int
	secret  func([]byte) // that of a correspondent
}

func newDrawer(random []byte) *drawer { return &drawer{left: random, secret: standInSecrets()} }

// begin lays out what was given for an entry.
func (d *drawer) begin(e Entry) { d.left, d.short, d.barred, d.unasked = e.Random, 0, e.Barred, 0 }

// notes say what was not as it was recorded.
func (d *drawer) notes() (list []string) {
	if d.short > 0 || len(d.left) > 0 {
		list = append(list, fmt.Sprintf("it drew %d random octets more than were recorded", d.short-len(d.left)))
	}
	if d.unasked > 0 {
		list = append(list, fmt.Sprintf("it asked about %d addresses whether they may be bound that it had not asked about: they may", d.unasked))
	}
	return list
}

// isBarred answers as was answered then. What was not asked is not barred.
func (d *drawer) isBarred(a netip.Addr) bool {
	barred, asked := d.barred[a]
	if !asked {
		d.unasked++
	}
	return barred
}

func (d *drawer) draw(b []byte) {
	n := copy(b, d.left)
	d.left = d.left[n:]
	clear(b[n:])
	d.short += len(b) - n
}
