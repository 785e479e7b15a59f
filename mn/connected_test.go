package mn

import (
	"testing"
	"time"
)

// What a node knows of its connection: from the acknowledgement on, not while a link or
// an answer is missing, and without a gap where another link took over in time.
func TestConnected(t *testing.T) {
	b := newBench(t, nil)
	is := func(what string, want bool) {
		t.Helper()
		if got := b.node.Connected(); got != want {
			t.Errorf("%s: connected %t, want %t", what, got, want)
		}
	}
	is("before anything", false)
	b.carrier(true)
	b.hear(ar1)
	is("not acknowledged", false)
	b.acknowledge()
	is("acknowledged", true)
	b.pass(3 * time.Second)
	b.carrier(false)
	is("without a carrier", false)
	b.pass(50 * time.Millisecond)
	b.carrier(true)
	b.hear(ar2)
	is("at another router, not acknowledged", false)
	b.acknowledge()
	is("at another router", true)
	b.carrier(false)
	b.pass(20 * time.Millisecond)
	b.carrier(true)
	b.hear(atHome)
	is("at home, the home agent has not answered", false)
	b.acknowledge()
	is("at home", true)
}

// A home agent that never answers: the home address serves all the same.
func TestConnectedAtHomeAlone(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.carrier(false)
	b.carrier(true)
	b.hear(atHome)
	for end := b.now.Add(time.Minute); !b.node.Connected(); b.pass(time.Second) {
		if b.now.After(end) {
			t.Fatal("never")
		}
	}
}

// Make before break interrupts nothing.
func TestConnectedMeanwhile(t *testing.T) {
	b := newBench(t, nil)
	b.prepared()
	for range 20 {
		if !b.node.Connected() {
			t.Fatal("the link in use works, and the next one is being prepared")
		}
		b.pass(time.Millisecond)
	}
	b.acknowledge()
	if !b.node.Connected() {
		t.Error("the next link has been acknowledged")
	}
}

// A registration that has run out is none, however well the link is.
func TestConnectedExpires(t *testing.T) {
	b := newBench(t, nil)
	b.away()
	b.answering(config().Lifetime - 10*time.Second) // the router, not the home agent
	if !b.node.Connected() {
		t.Error("the registration lasts for a while yet")
	}
	b.answering(20 * time.Second)
	if b.node.Connected() {
		t.Error("the registration has run out")
	}
}
