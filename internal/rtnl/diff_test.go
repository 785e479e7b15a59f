package rtnl

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func ip(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}

func addr(link int, prefix string, valid, preferred time.Duration) Address {
	return Address{Link: link, Prefix: pfx(prefix), Valid: valid, Preferred: preferred}
}

func route(destination, via string, link int, source string, metric int) role.Route {
	return role.Route{Destination: pfx(destination), Via: ip(via), Link: link, Source: ip(source), Metric: metric}
}

const forever = mip6.InfiniteLifetime

func TestDiff(t *testing.T) {
	hour := time.Hour
	for _, tt := range []struct {
		name            string
		wanted, present Snapshot
		want            string
	}{
		{name: "nothing"},
		{
			name: "first care-of address: address before routes, on-link before via",
			wanted: Snapshot{
				[]Address{addr(2, "2001:db8:1::c0/64", hour, hour/2)},
				[]role.Route{route("::/0", "fe80::1", 2, "2001:db8:1::c0", 512), route("2001:db8:1::/64", "", 2, "", 256)},
			},
			want: `
set address 2001:db8:1::c0/64 dev if2 valid 3600sec preferred 1800sec
add route 2001:db8:1::/64 dev if2 metric 256
add route default via fe80::1 dev if2 src 2001:db8:1::c0 metric 512
`,
		},
		{
			name: "the same",
			wanted: Snapshot{
				[]Address{addr(2, "2001:db8:1::c0/64", hour, forever)},
				[]role.Route{route("::/0", "fe80::1", 2, "", 512)},
			},
			present: Snapshot{
				[]Address{addr(2, "2001:db8:1::c0/64", hour-2*time.Second, forever)},
				[]role.Route{route("::/0", "fe80::1", 2, "", 512)},
			},
		},
		{
			name: "a move: the new before the old goes, routes before addresses",
			wanted: Snapshot{
				[]Address{addr(3, "2001:db8:2::c0/64", hour, hour)},
				[]role.Route{route("::/0", "fe80::2", 3, "", 512)},
			},
			present: Snapshot{
				[]Address{addr(2, "2001:db8:1::c0/64", hour, hour)},
				[]role.Route{route("::/0", "fe80::1", 2, "", 512)},
			},
			want: `
set address 2001:db8:2::c0/64 dev if3 valid 3600sec preferred 3600sec
add route default via fe80::2 dev if3 metric 512
remove route default via fe80::1 dev if2 metric 512
remove address 2001:db8:1::c0/64 dev if2 valid 3600sec preferred 3600sec
`,
		},
		{
			name:    "lifetimes: renewed, deprecated, unlimited",
			wanted:  Snapshot{Addresses: []Address{addr(2, "2001:db8::1/64", hour, hour), addr(2, "2001:db8::2/64", hour, 0), addr(2, "2001:db8::3/64", forever, forever)}},
			present: Snapshot{Addresses: []Address{addr(2, "2001:db8::1/64", hour/2, hour/2), addr(2, "2001:db8::2/64", hour, time.Second), addr(2, "2001:db8::3/64", forever, hour)}},
			want: `
set address 2001:db8::1/64 dev if2 valid 3600sec preferred 3600sec
set address 2001:db8::2/64 dev if2 valid 3600sec preferred 0sec deprecated
set address 2001:db8::3/64 dev if2 valid forever preferred forever
`,
		},
		{
			name:    "home address",
			wanted:  Snapshot{Addresses: []Address{{Link: 5, Prefix: pfx("2001:db8::9/128"), Valid: forever, Preferred: forever, Home: true}}},
			present: Snapshot{Addresses: []Address{addr(5, "2001:db8::9/128", forever, forever)}},
			want:    "\nset address 2001:db8::9/128 dev if5 valid forever preferred forever home\n",
		},
		{
			name:    "home address comes home: another link, both for a moment",
			wanted:  Snapshot{Addresses: []Address{addr(2, "2001:db8::9/64", forever, forever)}},
			present: Snapshot{Addresses: []Address{addr(5, "2001:db8::9/128", forever, forever)}},
			want: `
set address 2001:db8::9/64 dev if2 valid forever preferred forever
remove address 2001:db8::9/128 dev if5 valid forever preferred forever
`,
		},
		{
			name:    "prefix length",
			wanted:  Snapshot{Addresses: []Address{addr(2, "2001:db8::9/64", forever, forever)}},
			present: Snapshot{Addresses: []Address{addr(2, "2001:db8::9/128", forever, forever)}},
			want: `
remove address 2001:db8::9/128 dev if2 valid forever preferred forever
set address 2001:db8::9/64 dev if2 valid forever preferred forever
`,
		},
		{
			name:    "metric of a route: added before the old one goes",
			wanted:  Snapshot{Routes: []role.Route{route("::/0", "fe80::1", 2, "", 100)}},
			present: Snapshot{Routes: []role.Route{route("::/0", "fe80::1", 2, "", 200)}},
			want: `
add route default via fe80::1 dev if2 metric 100
remove route default via fe80::1 dev if2 metric 200
`,
		},
		{
			name:    "source of a route: the same to the kernel, so removed first",
			wanted:  Snapshot{Routes: []role.Route{route("::/0", "fe80::1", 2, "2001:db8::2", 100)}},
			present: Snapshot{Routes: []role.Route{route("::/0", "fe80::1", 2, "2001:db8::1", 100), route("::/0", "fe80::1", 2, "", 50)}},
			want: `
remove route default via fe80::1 dev if2 src 2001:db8::1 metric 100
add route default via fe80::1 dev if2 src 2001:db8::2 metric 100
remove route default via fe80::1 dev if2 metric 50
`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := formatOperations(diff(tt.wanted, tt.present))
			if want := strings.TrimPrefix(tt.want, "\n"); got != want {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

func formatOperations(ops []operation) string {
	var b strings.Builder
	for _, o := range ops {
		b.WriteString(o.format(linkNumber) + "\n")
	}
	return b.String()
}

// simulate does operations on a snapshot as the kernel would, and fails where
// the kernel would.
func simulate(t *testing.T, present Snapshot, ops []operation) Snapshot {
	t.Helper()
	addresses := make(map[linkAddress]Address)
	for _, a := range present.Addresses {
		addresses[a.key()] = a
	}
	type kernelKey struct {
		routeKey
		metric int
	}
	routes := make(map[kernelKey]role.Route)
	for _, r := range present.Routes {
		routes[kernelKey{keyOf(r), r.Metric}] = r
	}
	for _, o := range ops {
		switch o.kind {
		case setAddress:
			if old, ok := addresses[o.address.key()]; ok && old.Prefix != o.address.Prefix {
				t.Fatalf("prefix length changed in place: %v", o.address)
			}
			addresses[o.address.key()] = o.address
		case removeAddress:
			if _, ok := addresses[o.address.key()]; !ok {
				t.Fatalf("removes an address that is not there: %v", o.address)
			}
			delete(addresses, o.address.key())
		case addRoute:
			k := kernelKey{keyOf(o.route), o.route.Metric}
			if _, ok := routes[k]; ok {
				t.Fatalf("adds a route that is there: %v", o.route)
			}
			routes[k] = o.route
		case removeRoute:
			k := kernelKey{keyOf(o.route), o.route.Metric}
			if _, ok := routes[k]; !ok {
				t.Fatalf("removes a route that is not there: %v", o.route)
			}
			delete(routes, k)
		}
	}
	var s Snapshot
	for _, a := range addresses {
		s.Addresses = append(s.Addresses, a)
	}
	for _, r := range routes {
		s.Routes = append(s.Routes, r)
	}
	return s
}

// Whatever is there, the operations lead to what is wanted, and then there are
// no more.
func TestDiffConverges(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(duplicates bool) Snapshot {
		var s Snapshot
		seenA := make(map[linkAddress]bool)
		for range rng.IntN(5) {
			a := addr(1+rng.IntN(2), fmt.Sprintf("2001:db8::%d/%d", rng.IntN(3), 64*(1+rng.IntN(2))),
				time.Duration(rng.IntN(3)+1)*time.Hour, time.Duration(rng.IntN(2))*time.Hour)
			if !seenA[a.key()] {
				seenA[a.key()] = true
				s.Addresses = append(s.Addresses, a)
			}
		}
		seenR := make(map[routeKey]bool)
		seenM := make(map[string]bool)
		for range rng.IntN(6) {
			r := route("::/0", fmt.Sprintf("fe80::%d", rng.IntN(2)), 1+rng.IntN(2), fmt.Sprintf("2001:db8::%d", rng.IntN(2)), 1+rng.IntN(2))
			m := fmt.Sprint(keyOf(r), r.Metric)
			if seenM[m] || !duplicates && seenR[keyOf(r)] {
				continue
			}
			seenM[m], seenR[keyOf(r)] = true, true
			s.Routes = append(s.Routes, r)
		}
		return s
	}
	for range 2000 {
		wanted, present := random(false), random(true)
		got := simulate(t, present, diff(wanted, present))
		if g, w := got.Format(nil), wanted.Format(nil); g != w {
			t.Fatalf("from\n%sto\n%sgot\n%s", present.Format(nil), w, g)
		}
		if ops := diff(wanted, got); len(ops) != 0 {
			t.Fatalf("does not rest:\n%s", formatOperations(ops))
		}
	}
}

func TestSnapshotFormat(t *testing.T) {
	s := Snapshot{
		[]Address{
			{Link: 3, Prefix: pfx("2001:db8::9/128"), Valid: forever, Preferred: forever, Home: true},
			addr(2, "2001:db8:2::c0/64", 90*time.Second, 0),
			addr(2, "2001:db8:1::c0/64", 7200*time.Second, 3600*time.Second+time.Millisecond),
		},
		[]role.Route{
			route("2001:db8:1::/64", "", 2, "", 256),
			route("::/0", "fe80::1", 2, "2001:db8:1::c0", 512),
		},
	}
	names := map[int]string{2: "wlan0", 3: "roam0"}
	const want = `address 2001:db8:1::c0/64 dev wlan0 valid 7200sec preferred 3600sec
address 2001:db8:2::c0/64 dev wlan0 valid 90sec preferred 0sec deprecated
address 2001:db8::9/128 dev roam0 valid forever preferred forever home
route default via fe80::1 dev wlan0 src 2001:db8:1::c0 metric 512
route 2001:db8:1::/64 dev wlan0 metric 256
`
	if got := s.Format(func(i int) string { return names[i] }); got != want {
		t.Errorf("got:\n%s", got)
	}
}
