package tun

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
)

// fakeFast is a fast path that carries what it is not told to refuse, and counts asks.
type fakeFast struct {
	refuse  bool
	changes []FastChange
	carries overlay.Counters
}

func (f *fakeFast) Name() string                         { return "fake" }
func (f *fakeFast) Start(Underlay) error                 { return nil }
func (f *fakeFast) Sweep() error                         { return nil }
func (f *fakeFast) Received(int)                         {}
func (f *fakeFast) Drops() map[overlay.DropReason]uint64 { return nil }
func (f *fakeFast) RelaysErrors() bool                   { return false }
func (f *fakeFast) Close() error                         { return nil }
func (f *fakeFast) Counters() map[overlay.Key]overlay.Counters {
	return map[overlay.Key]overlay.Counters{{Home: netip.MustParseAddr("2001:db8:aa::5"), Side: overlay.AgentSide}: f.carries}
}

func (f *fakeFast) Apply(changes []FastChange, failed func(int, error)) {
	for i, c := range changes {
		f.changes = append(f.changes, c)
		if c.Set != nil && f.refuse {
			failed(i, errors.New("refused"))
		}
	}
}

// What a fast path refuses it is not asked for again until that changes, and what it had
// carried of it before counts on.
func TestRefusedByFastPath(t *testing.T) {
	s := nstest.New(t)
	fast := &fakeFast{}
	var e *Engine
	s.Do(func() (err error) {
		e, err = Open(Config{Fast: fast})
		return err
	})
	defer e.Close()
	home := netip.MustParseAddr("2001:db8:aa::5")
	set := func(careOf string) {
		t.Helper()
		err := e.Apply([]overlay.Change{{Set: &overlay.Tunnel{
			Key: overlay.Key{Home: home, Side: overlay.AgentSide}, Inner: []netip.Prefix{netip.PrefixFrom(home, 128)},
			Paths: []overlay.Path{{Local: netip.MustParseAddr("2001:db8:a::1"), Remote: netip.MustParseAddr(careOf)}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	kinds := func() (all []string) {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, c := range fast.changes {
			if c.Set != nil {
				all = append(all, "set")
			} else {
				all = append(all, "remove")
			}
		}
		fast.changes = nil
		return all
	}
	set("2001:db8:1::2")
	fast.carries = overlay.Counters{EncapPackets: 7, DecapBytes: 9}
	if c := e.Tunnels()[0].Counters; c != fast.carries {
		t.Errorf("carried %+v", c)
	}
	e.mu.Lock()
	fast.refuse = true
	e.mu.Unlock()
	set("2001:db8:1::3")
	set("2001:db8:1::3")
	if got, want := kinds(), []string{"set", "set", "remove"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if c := e.Tunnels()[0].Counters; c != (overlay.Counters{EncapPackets: 7, DecapBytes: 9}) {
		t.Errorf("after the refusal %+v", c)
	}
	e.mu.Lock()
	fast.refuse, fast.carries = false, overlay.Counters{EncapPackets: 1}
	e.mu.Unlock()
	set("2001:db8:1::4")
	if got, want := kinds(), []string{"set"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if c := e.Tunnels()[0].Counters; c != (overlay.Counters{EncapPackets: 8, DecapBytes: 9}) {
		t.Errorf("carried again %+v", c)
	}
}
