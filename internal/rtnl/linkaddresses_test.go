package rtnl

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"roam6/internal/role"
	"roam6/mip6"
)

func formatLinkAddresses(now time.Time, list []LinkAddresses) string {
	var b strings.Builder
	for _, l := range list {
		fmt.Fprintf(&b, "%d:", l.Link)
		for _, a := range l.Addresses {
			fmt.Fprintf(&b, " %v", a.Prefix)
			if !a.ValidUntil.IsZero() {
				fmt.Fprintf(&b, " %v/%v", a.PreferredUntil.Sub(now), a.ValidUntil.Sub(now))
			}
			if a.Deprecated {
				b.WriteString(" deprecated")
			}
			if a.Temporary {
				b.WriteString(" temporary")
			}
		}
		b.WriteString("; ")
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// The addresses that others have assigned and that can be used, link-local ones too,
// are told when they change, and only then.
func TestAddressTable(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	table := newAddressTable()
	const hour = time.Hour
	tentative := foreign(2, "2001:db8::2/64", hour, 2*hour)
	tentative.tentative = true
	temporary := foreign(2, "2001:db8::3/64", hour, hour)
	temporary.temporary = true
	ours := foreign(2, "2001:db8::9/64", hour, 2*hour)
	ours.tag = Protocol
	set := func(a kernelAddress) func(time.Time) {
		return func(now time.Time) { table.set(now, a, false) }
	}
	for i, step := range []struct {
		what string
		at   time.Duration
		do   func(now time.Time)
		want string
	}{
		{"tentative", 0, set(tentative), ""},
		{"link-local", 0, set(foreign(2, "fe80::2/64", mip6.InfiniteLifetime, mip6.InfiniteLifetime)), "2: fe80::2/64"},
		{"global", 0, set(foreign(2, "2001:db8::2/64", hour, 2*hour)), "2: 2001:db8::2/64 1h0m0s/2h0m0s fe80::2/64"},
		{"ours", 0, set(ours), ""},
		{"ours without a tag", 0, func(now time.Time) { table.set(now, foreign(2, "2001:db8::8/64", hour, hour), true) }, ""},
		{"multicast and loopback", 0, func(now time.Time) {
			table.set(now, foreign(1, "::1/128", hour, hour), false)
			table.set(now, foreign(2, "ff02::1/64", hour, hour), false)
		}, ""},
		{"counted down", time.Minute, set(foreign(2, "2001:db8::2/64", 59*time.Minute, 119*time.Minute)), ""},
		{"renewed", time.Minute, set(foreign(2, "2001:db8::2/64", hour, 2*hour)), "2: 2001:db8::2/64 1h0m0s/2h0m0s fe80::2/64"},
		{"temporary", time.Minute, set(temporary), "2: 2001:db8::2/64 1h0m0s/2h0m0s 2001:db8::3/64 1h0m0s/1h0m0s temporary fe80::2/64"},
		{"deprecated", 2 * time.Minute, set(foreign(2, "2001:db8::3/64", 0, hour)),
			"2: 2001:db8::2/64 59m0s/1h59m0s 2001:db8::3/64 0s/1h0m0s deprecated fe80::2/64"},
		{"removed", 2 * time.Minute, func(time.Time) { table.remove(foreign(2, "2001:db8::3/64", 0, hour)) },
			"2: 2001:db8::2/64 59m0s/1h59m0s fe80::2/64"},
		{"removed again", 2 * time.Minute, func(time.Time) { table.remove(foreign(2, "2001:db8::3/64", 0, hour)) }, ""},
		{"a duplicate after all", 2 * time.Minute, set(tentative), "2: fe80::2/64"},
		{"listing", 2 * time.Minute, func(now time.Time) {
			table.replace(now, []kernelAddress{foreign(3, "fd00::1/64", hour, hour), ours}, func(linkAddress) bool { return false })
		}, "2:; 3: fd00::1/64 1h0m0s/1h0m0s"},
		{"interface gone", 2 * time.Minute, func(time.Time) { table.gone(3) }, ""},
	} {
		now := start.Add(step.at)
		step.do(now)
		if got := formatLinkAddresses(now, table.changed()); got != step.want {
			t.Fatalf("step %d, %s: got %q, want %q", i, step.what, got, step.want)
		}
	}
}

// The Watcher tells of the addresses of an interface before it tells of the interface,
// and then of those that come and go.
func TestWatchAddresses(t *testing.T) {
	f := newFixture(t)
	f.mr.Address("u0", "2001:db8:f::1/64")
	var mu sync.Mutex
	var last LinkAddresses
	early := false // the interface was told of without its addresses
	f.mr.Do(func() error {
		w, err := Watch(WatchOptions{State: f.state, Notify: func(e role.Event) {
			mu.Lock()
			defer mu.Unlock()
			if c, ok := e.(role.LinkChanged); ok && c.Link.Index == f.link && len(last.Addresses) == 0 {
				early = true
			}
		}, Addresses: func(a LinkAddresses) {
			mu.Lock()
			defer mu.Unlock()
			if a.Link == f.link {
				last = a
			}
		}})
		if err == nil {
			t.Cleanup(func() { w.Close() })
		}
		return err
	})
	global := func() string {
		mu.Lock()
		defer mu.Unlock()
		var list []string
		for _, a := range last.Addresses {
			if !a.Prefix.Addr().IsLinkLocalUnicast() {
				list = append(list, a.Prefix.String())
			}
		}
		return strings.Join(list, " ")
	}
	eventually(t, "the address at start", func() bool { return global() == "2001:db8:f::1/64" })
	f.must(f.state.AssignAddress(role.AssignAddress{Link: f.link, Prefix: pfx("2001:db8:f::77/64"), Preferred: time.Hour, Valid: time.Hour}))
	f.mr.Address("u0", "2001:db8:e::1/60")
	eventually(t, "the second, without ours", func() bool { return global() == "2001:db8:e::1/60 2001:db8:f::1/64" })
	a, err := netlink.ParseAddr("2001:db8:e::1/60")
	f.must(err)
	f.must(f.mr.Handle.AddrDel(f.mr.Link("u0"), a))
	eventually(t, "the first alone", func() bool { return global() == "2001:db8:f::1/64" })
	mu.Lock()
	defer mu.Unlock()
	if early || len(last.Addresses) != 2 || !last.Addresses[1].Prefix.Addr().IsLinkLocalUnicast() {
		t.Errorf("early %v, at last %+v", early, last)
	}
}
