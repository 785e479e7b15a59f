package rtnl

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"roam6/internal/role"
	"roam6/mip6"
)

func foreign(index int, a string, preferred, valid time.Duration) kernelAddress {
	return kernelAddress{Address: Address{Link: index, Prefix: pfx(a), Preferred: preferred, Valid: valid}}
}

func formatForeign(events []role.Event) string {
	var b strings.Builder
	for _, e := range events {
		f := e.(role.ForeignAddresses)
		fmt.Fprintf(&b, "%d:", f.Link)
		for _, a := range f.Addresses {
			fmt.Fprintf(&b, " %v %v/%v", a.Prefix, a.Preferred, a.Valid)
		}
		b.WriteString("; ")
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// What others assign is told when it changes, and only then: the kernel notifies
// at every advertisement.
func TestForeignTable(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	table := newForeignTable()
	const hour = time.Hour
	tentative := foreign(2, "2001:db8::2/64", hour, 2*hour)
	tentative.tentative = true
	ours := foreign(2, "2001:db8::9/64", hour, 2*hour)
	ours.tag = Protocol
	nobodys := func(linkAddress) bool { return false }
	for i, step := range []struct {
		what string
		at   time.Duration
		do   func(now time.Time) []role.Event
		want string
	}{
		{"tentative", 0, func(now time.Time) []role.Event { return table.set(now, tentative, false) }, ""},
		{"usable", 0, func(now time.Time) []role.Event {
			return table.set(now, foreign(2, "2001:db8::2/64", hour, 2*hour), false)
		}, "2: 2001:db8::2/64 1h0m0s/2h0m0s"},
		{"ours", 0, func(now time.Time) []role.Event { return table.set(now, ours, false) }, ""},
		{"ours without a tag", 0, func(now time.Time) []role.Event {
			return table.set(now, foreign(2, "2001:db8::8/64", hour, hour), true)
		}, ""},
		{"link-local", 0, func(now time.Time) []role.Event {
			return table.set(now, foreign(2, "fe80::2/64", mip6.InfiniteLifetime, mip6.InfiniteLifetime), false)
		}, ""},
		{"counted down", time.Minute, func(now time.Time) []role.Event {
			return table.set(now, foreign(2, "2001:db8::2/64", 59*time.Minute, 119*time.Minute), false)
		}, ""},
		{"renewed", time.Minute, func(now time.Time) []role.Event {
			return table.set(now, foreign(2, "2001:db8::2/64", hour, 2*hour), false)
		}, "2: 2001:db8::2/64 1h0m0s/2h0m0s"},
		{"a second, for ever", time.Minute, func(now time.Time) []role.Event {
			return table.set(now, foreign(2, "2001:db8:1::2/128", mip6.InfiniteLifetime, mip6.InfiniteLifetime), false)
		}, "2: 2001:db8::2/64 1h0m0s/2h0m0s 2001:db8:1::2/128 " + mip6.InfiniteLifetime.String() + "/" + mip6.InfiniteLifetime.String()},
		{"deprecated", 2 * time.Minute, func(now time.Time) []role.Event {
			return table.set(now, foreign(2, "2001:db8:1::2/128", 0, mip6.InfiniteLifetime), false)
		}, "2: 2001:db8::2/64 59m0s/1h59m0s 2001:db8:1::2/128 0s/" + mip6.InfiniteLifetime.String()},
		{"tentative again: a duplicate", 2 * time.Minute, func(now time.Time) []role.Event { return table.set(now, tentative, false) },
			"2: 2001:db8:1::2/128 0s/" + mip6.InfiniteLifetime.String()},
		{"removed", 2 * time.Minute, func(now time.Time) []role.Event {
			return table.remove(now, foreign(2, "2001:db8:1::2/128", 0, mip6.InfiniteLifetime))
		}, "2:"},
		{"removed again", 2 * time.Minute, func(now time.Time) []role.Event {
			return table.remove(now, foreign(2, "2001:db8:1::2/128", 0, mip6.InfiniteLifetime))
		}, ""},
		{"listing", 3 * time.Minute, func(now time.Time) []role.Event {
			return table.replace(now, []kernelAddress{foreign(3, "2001:db8:3::1/64", hour, hour), ours, foreign(2, "2001:db8::2/64", hour, hour)}, nobodys)
		}, "2: 2001:db8::2/64 1h0m0s/1h0m0s; 3: 2001:db8:3::1/64 1h0m0s/1h0m0s"},
		{"the same listing", 3 * time.Minute, func(now time.Time) []role.Event {
			return table.replace(now, []kernelAddress{foreign(3, "2001:db8:3::1/64", hour, hour), ours, foreign(2, "2001:db8::2/64", hour, hour)}, nobodys)
		}, ""},
		{"interface gone, listing without it", 3 * time.Minute, func(now time.Time) []role.Event {
			table.gone(3)
			return table.replace(now, nil, nobodys)
		}, "2:"},
	} {
		if got := formatForeign(step.do(start.Add(step.at))); got != step.want {
			t.Fatalf("step %d, %s: got %q, want %q", i, step.what, got, step.want)
		}
	}
}

// The Watcher tells of addresses that are there at start and of those that come
// and go, and not of those that State assigns.
func TestWatchForeignAddresses(t *testing.T) {
	f := newFixture(t)
	first := f.mr.Address("u0", "2001:db8:f::1/64")
	told := make(chan role.ForeignAddresses, 64)
	f.mr.Do(func() error {
		w, err := Watch(WatchOptions{ForeignAddresses: true, State: f.state, Notify: func(e role.Event) {
			if a, ok := e.(role.ForeignAddresses); ok {
				told <- a
			}
		}})
		if err == nil {
			t.Cleanup(func() { w.Close() })
		}
		return err
	})
	expect := func(what string, want ...string) {
		t.Helper()
		var last role.ForeignAddresses
		for deadline := time.After(10 * time.Second); ; {
			select {
			case last = <-told:
			case <-deadline:
				t.Fatalf("waited in vain for %s; last %+v", what, last)
			}
			var got []string
			for _, a := range last.Addresses {
				got = append(got, a.Prefix.String())
			}
			if last.Link == f.link && fmt.Sprint(got) == fmt.Sprint(want) {
				return
			}
		}
	}
	expect("the address at start", first.String()+"/64")
	f.must(f.state.AssignAddress(role.AssignAddress{Link: f.link, Prefix: pfx("2001:db8:f::77/64"), Preferred: time.Hour, Valid: time.Hour}))
	f.mr.Address("u0", "2001:db8:e::1/64")
	expect("the second, without ours", "2001:db8:e::1/64", first.String()+"/64")
	a, err := netlink.ParseAddr("2001:db8:e::1/64")
	f.must(err)
	f.must(f.mr.Handle.AddrDel(f.mr.Link("u0"), a))
	expect("the first alone", first.String()+"/64")
}

// What was set on one interface is put back without the others, and a setting that
// a change of all has taken along can be put back by itself.
func TestSysctlsOfOneInterface(t *testing.T) {
	f := newFixture(t)
	f.mr.Do(func() error {
		s, err := NewSysctls("")
		if err != nil {
			return err
		}
		path := "conf/u0/forwarding"
		f.must(s.SetLink(f.link, "accept_ra", "0"))
		f.must(s.Set("conf/all/forwarding", "1"))
		if v, _ := s.Get(path); v != "1" {
			t.Errorf("the interface's is %q", v)
		}
		if v, _ := s.Original(path); v != "0" {
			t.Errorf("the interface's was %q", v)
		}
		f.must(s.PutBack(path, "0"))
		f.must(s.RestoreLink(f.link))
		if v, _ := s.GetLink(f.link, "accept_ra"); v != "1" {
			t.Errorf("accept_ra is %q after RestoreLink", v)
		}
		if v, _ := s.Get("conf/all/forwarding"); v != "1" {
			t.Errorf("forwarding of all is %q after RestoreLink", v)
		}
		f.must(s.Close())
		for _, p := range []string{path, "conf/all/forwarding"} {
			if v := f.mr.ReadSysctl("net/ipv6/" + p); v != "0" {
				t.Errorf("%s is %q after Close", p, v)
			}
		}
		return nil
	})
}
