package tun

import (
	"net/netip"
	"slices"
	"testing"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
)

// fakeFast is a recorder that keeps the changes as they are and says that it has carried
// something of a tunnel, whatever it was told.
type fakeFast struct {
	*recorder
	changes []FastChange
	carries overlay.Counters
}

func (f *fakeFast) Counters() map[overlay.Key]overlay.Counters {
	return map[overlay.Key]overlay.Counters{{Home: netip.MustParseAddr("2001:db8:aa::5"), Side: overlay.AgentSide}: f.carries}
}

func (f *fakeFast) Apply(changes []FastChange, failed func(int, error)) {
	f.changes = append(f.changes, changes...)
	f.recorder.Apply(changes, failed)
}

// What a fast path refuses it is not asked for again until that changes, and what it had
// carried of it before counts on.
func TestRefusedByFastPath(t *testing.T) {
	s := nstest.New(t)
	fast := &fakeFast{recorder: newRecorder()}
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
