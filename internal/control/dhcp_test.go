package control

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"roam6/dhcpv6"
	"roam6/dhcpv6/delegating"
	"roam6/internal/role"
	"roam6/mip6"
)

// sampleLeases are clients with and without leases. A server may send any octets
// as a domain.
func sampleLeases() Leases {
	hour := func(p string, preferred, valid time.Duration) role.LeasedPrefix {
		return role.LeasedPrefix{Prefix: prefix(p), Preferred: preferred, Valid: valid}
	}
	return Leases{Clients: []LeaseClient{
		LeaseClientOf(ForUplink, dhcpv6.Snapshot{
			Name: "eth0", State: dhcpv6.StateBound, Server: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 0xa1}, T1: 30 * time.Minute, T2: 48 * time.Minute,
			Lease: role.Lease{
				Addresses: []role.LeasedPrefix{hour("2001:db8:a1::1f/128", time.Hour, 2*time.Hour), hour("2001:db8:a1::2f/128", 0, 61*time.Second)},
				DNS:       []netip.Addr{addr("2001:db8:a1::53"), addr("2001:db8:a2::53"), addr("2001:db8:a3::53")},
				Domains:   []string{"example.org", "\x1b[2J bad"},
			},
		}),
		LeaseClientOf(ForUplink, dhcpv6.Snapshot{Name: "wwan0", State: dhcpv6.StateSoliciting}),
		LeaseClientOf(ForUplink, dhcpv6.Snapshot{
			Name: "lte0", State: dhcpv6.StateRenewing, Server: []byte{0, 2, 0xff}, T1: 0, T2: mip6.InfiniteLifetime,
			Lease: role.Lease{Prefixes: []role.LeasedPrefix{hour("2001:db8:a1:100::/60", mip6.InfiniteLifetime, mip6.InfiniteLifetime)}},
		}),
		LeaseClientOf(ForMobileRouter, dhcpv6.Snapshot{
			Name: "train", State: dhcpv6.StateRebinding, Server: []byte{0, 2, 0xff}, T2: -time.Second,
			Lease: role.Lease{Prefixes: []role.LeasedPrefix{hour("2001:db8:8000::/56", 10*time.Minute, 70*time.Minute)}},
		}),
	}}
}

func sampleDelegations() Delegations {
	leases := []delegating.Lease{
		{Mobile: "train", Home: addr("2001:db8:1::2"), DUID: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1}, IAID: 1, Prefix: prefix("2001:db8:8000::/56"),
			Preferred: 59 * time.Minute, Valid: 119 * time.Minute, State: delegating.Delegated},
		{Mobile: "bus", Home: addr("2001:db8:1::3"), IAID: 1, Prefix: prefix("2001:db8:8000:100::/56"), State: delegating.Kept},
		{Mobile: "van", Home: addr("2001:db8:1::4"), DUID: []byte{0, 2, 0xff}, IAID: 4294967295, Prefix: prefix("2001:db8:f000::/56"),
			Preferred: mip6.InfiniteLifetime, Valid: mip6.InfiniteLifetime, State: delegating.Relayed},
	}
	return Delegations{
		Delegations: DelegationsOf("depot", leases),
		Pools:       PoolsOf("depot", []netip.Prefix{prefix("2001:db8:8000::/40"), prefix("2001:db8:9000::/56")}, 56, leases),
	}
}

// How many prefixes a pool holds, and which are of it.
func TestPools(t *testing.T) {
	leases := []delegating.Lease{{Prefix: prefix("2001:db8::/64")}, {Prefix: prefix("2001:db8:0:1::/64")}, {Prefix: prefix("2001:db8:1::/48")}, {Prefix: prefix("2001::/16")}}
	for _, tt := range []struct {
		pool           string
		length         int
		used, capacity uint64
	}{
		{"2001:db8::/48", 64, 2, 1 << 16},
		{"2001:db8::/32", 64, 3, 1 << 32},
		{"2001:db8::/64", 64, 1, 1},
		{"2001:db8:2::/48", 56, 0, 256},
		{"2001:db8::/64", 56, 1, 0},         // longer than what is delegated: nothing fits
		{"::/0", 64, 4, 0xffffffffffffffff}, // all that a number can say
	} {
		d := PoolsOf("ha", []netip.Prefix{prefix(tt.pool)}, tt.length, leases)
		if len(d) != 1 || d[0].Used != tt.used || d[0].Capacity != tt.capacity {
			t.Errorf("%s of /%d: %+v", tt.pool, tt.length, d)
		}
	}
}

// What a stranger sent cannot move the cursor, nor make a row of its own.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"example.org": "example.org", "xn--bcher-kva.example": "xn--bcher-kva.example", "": "",
		"a b": `"a b"`, "\x1b[2J": `"\x1b[2J"`, "a\nb": `"a\nb"`, "a\tb": `"a\tb"`, "\xff": `"\xff"`, `a"b`: `"a\"b"`, "é": `"\u00e9"`,
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	var b strings.Builder
	if err := sampleLeases().Render(&b); err != nil || strings.ContainsAny(b.String(), "\x1b\t") {
		t.Errorf("%q, %v", b.String(), err)
	}
}
