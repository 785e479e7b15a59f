package anchor

import (
	"testing"
	"time"

	"roam6/mip6"
)

// Mobiles of one key, such as those of one host, move at the same moment and send at the
// same moment, or are overtaken on the way: each has its own address, and timestamps say
// nothing of that of another.
// Covers: P9.
func TestVisitorsShareKey(t *testing.T) {
	w := newWorld(t, testConfig())
	w.registered(stamped(alice, rcoaA, lcoa1, 1, w.now))
	w.registered(stamped(alice, rcoaB, lcoa1, 1, w.now.Add(-time.Second))) // a second of detection ago
	w.now = w.now.Add(time.Minute)
	w.registered(stamped(alice, rcoaA, lcoa2, 2, w.now))
	w.registered(stamped(alice, rcoaB, lcoa2, 2, w.now))
	w.now = w.now.Add(time.Second)
	ahead := w.now.Add(5 * time.Second)
	w.registered(stamped(alice, rcoaB, lcoa1, 3, ahead)) // its clock is
	w.registered(stamped(alice, rcoaA, lcoa1, 3, w.now))
	w.refused(stamped(alice, rcoaB, lcoa2, 4, ahead), mip6.StatusIDMismatch)
}

// An address that is not known any more may be one of those that were forgotten: a
// timestamp is fresh if it is later than all of those.
// Covers: P9, Attack: replay.
func TestForgottenTimestamps(t *testing.T) {
	c := testConfig()
	c.DAD = false
	w := newWorld(t, c)
	var recorded []request
	for i := range 3 * maxRemembered {
		w.now = w.now.Add(100 * time.Millisecond)
		r := stamped(alice, rcoaNumber(i), lcoa1, mip6.Sequence(i+1), w.now)
		recorded = append(recorded, r)
		w.registered(r)
		w.now = w.now.Add(time.Millisecond)
		r.lifetime, r.timestamp, r.sequence = 0, w.now, mip6.Sequence(i+2)
		w.registered(r)
	}
	for _, r := range recorded {
		if ba := onlyAck(t, w.send(r)); ba.Status.Accepted() {
			t.Fatalf("%v is bound again", r.home)
		}
		w.now = w.now.Add(time.Second / 3)
		w.registered(stamped(alice, rcoaA, lcoa1, 1, w.now)) // goes on
	}
}
