package node

import (
	"strings"
	"testing"
	"time"
)

// Outages are counted while they last, once for each mobile, and stay counted when the
// mobile has gone; one that is asked to end is not cut off by that.
func TestOutages(t *testing.T) {
	s, _ := bareShell(t, trainFile)
	train, bus := new(recorder), &recorder{connected: true}
	s.mobiles = []*mobileHost{{machine: train, config: s.config.MobileNodes[0]}, {machine: bus, config: s.config.MobileNodes[1]}}
	at := func(seconds float64) time.Time { return testNow.Add(time.Duration(seconds * float64(time.Second))) }
	expect := func(when float64, connected int, outages time.Duration) {
		t.Helper()
		if c, o := s.connections(at(when)); c != connected || o != outages {
			t.Errorf("after %v s: %d connected, outages of %v, want %d, %v", when, c, o, connected, outages)
		}
	}
	s.timeOutages(at(0))
	expect(0, 1, 0)
	expect(2, 1, 2*time.Second)
	s.timeOutages(at(3)) // nothing new
	expect(3, 1, 3*time.Second)
	train.connected = true
	s.timeOutages(at(4))
	expect(10, 2, 4*time.Second)
	train.connected, bus.connected = false, false
	s.timeOutages(at(10))
	expect(11, 0, 6*time.Second)
	s.mobiles[0].ending = true
	s.timeOutages(at(11))
	expect(12, 0, 7*time.Second)
	s.mobiles = s.mobiles[1:]
	expect(13, 0, 8*time.Second)
	bus.connected = true
	s.timeOutages(at(13))
	expect(20, 1, 8*time.Second)

	text, err := s.metrics.Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"roam6_outage_duration_seconds_count 3\n", "roam6_outage_duration_seconds_sum 8\n", `roam6_outage_duration_seconds_bucket{le="2"} 1` + "\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
