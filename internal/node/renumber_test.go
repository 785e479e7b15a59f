package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/role"
	"roam6/overlay"
)

const renumberedFile = `
config mobile_node 'laptop'
	option home_address '2001:db8:10::100/64'
	option home_agent '2001:db8:10::1'
	option spi '256'
	option key '000102030405060708090a0b0c0d0e0f'
	list uplink 'wan'

config policy
	option mobile_node 'laptop'
	option proto 'tcp'
`

var renumbered = netip.MustParsePrefix("2001:db8:11::100/64")

// mobileList renders the mobiles of a shell: home address, and what is special.
func mobileList(s *Shell) string {
	var list []string
	for _, h := range s.mobiles {
		line := h.config.Name + " " + h.config.HomeAddress.String()
		if h.config.DefaultSource {
			line += " source"
		}
		if h.config.Discover {
			line += " discover"
		}
		if h.ending {
			line += " ending"
		}
		list = append(list, line)
	}
	return strings.Join(list, ", ")
}

func reparse(t *testing.T, s *Shell, now time.Time, text string) {
	t.Helper()
	c, err := config.Parse("roam6", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s.apply(now, c, mobilesByAgent(c))
}

// A home link that is renumbered gives a mobile a second home address, for which
// a second mobile node begins; when the home agent has acknowledged it, it gets
// what only one can have. Reloads keep it as long as its section is there
// (RFC 6275 §11.4.1).
//
// Covers: M11.
func TestHomeAddressFormed(t *testing.T) {
	s, log := bareShell(t, renumberedFile)
	s.mobiles = []*mobileHost{newMobileHost(s.config.MobileNodes[0], s.surroundings(s.config.MobileNodes[0]), 1)}
	old := s.mobiles[0]
	now := testNow
	form := func(from, to string) {
		t.Helper()
		a := role.HomeAddressFormed{From: netip.MustParseAddr(from), To: netip.MustParsePrefix(to), Valid: time.Hour}
		s.carryOut(s.mobiles[0].machine, []role.Action{a})
		s.reap(now)
	}
	expect := func(when, want string) {
		t.Helper()
		if got := mobileList(s); got != want {
			t.Errorf("%s: %s\nwant %s", when, got, want)
		}
	}
	form("2001:db8:10::100", "2001:db8:11::100/64")
	expect("formed", "laptop 2001:db8:10::100/64 source, laptop 2001:db8:11::100/64 discover")
	if !strings.Contains(log.String(), `change="option home_address '2001:db8:11::100/64' in section 'laptop'"`) {
		t.Errorf("the operator is not told:\n%s", log)
	}
	form("2001:db8:10::100", "2001:db8:11::100/64")
	expect("formed again", "laptop 2001:db8:10::100/64 source, laptop 2001:db8:11::100/64 discover")

	reparse(t, s, now, renumberedFile)
	expect("reloaded", "laptop 2001:db8:10::100/64 source, laptop 2001:db8:11::100/64 discover")

	if s.homeInUse(s.config.MobileNodes[0]) != home {
		t.Error("the policies follow a home address that does not work yet")
	}
	s.settled(renumbered.Addr())
	s.reap(now)
	expect("settled", "laptop 2001:db8:10::100/64, laptop 2001:db8:11::100/64 source discover")
	if s.homeInUse(s.config.MobileNodes[0]) != renumbered.Addr() {
		t.Error("the policies stay with the old home address")
	}
	reparse(t, s, now, renumberedFile)
	expect("settled and reloaded", "laptop 2001:db8:10::100/64, laptop 2001:db8:11::100/64 source discover")
	if s.mobiles[0] != old {
		t.Error("the old mobile node began anew")
	}
	second := s.mobiles[1]

	// The operator does as told: the new one goes on, the old one ends.
	reparse(t, s, now, strings.Replace(renumberedFile, "10::100/64", "11::100/64", 1))
	expect("configured", "laptop 2001:db8:11::100/64 source")
	if s.mobiles[0] != second || len(s.formed) != 0 {
		t.Errorf("it began anew, or is still taken for a formed one: %+v", s.formed)
	}
	form("2001:db8:11::100", "2001:db8:12::100/64")
	reparse(t, s, now, "")
	expect("without the section", "")
}

// What makes a mobile form home addresses comes from the network, so their number
// has a bound.
func TestHomeAddressesBounded(t *testing.T) {
	s, log := bareShell(t, renumberedFile)
	s.mobiles = []*mobileHost{newMobileHost(s.config.MobileNodes[0], s.surroundings(s.config.MobileNodes[0]), 1)}
	for i := range 3 * maxFormed {
		s.homeAddressFormed(role.HomeAddressFormed{From: home, To: netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::100/64", 0x20+i))})
		s.reap(testNow)
	}
	if len(s.mobiles) != 1+maxFormed || len(s.formed) != maxFormed {
		t.Errorf("%d mobiles, %d formed addresses", len(s.mobiles), len(s.formed))
	}
	if n := strings.Count(log.String(), "no further home address is formed"); n != 2*maxFormed {
		t.Errorf("told %d times", n)
	}
	// From an address of nobody nothing comes.
	s.homeAddressFormed(role.HomeAddressFormed{From: foreign, To: netip.MustParsePrefix("2001:db8:30::100/64")})
	if len(s.formed) != maxFormed {
		t.Error("formed for nobody")
	}
}

// A mobile network that two home addresses of a router have is that of one tunnel
// at a time: the data plane is never asked for it twice, and never left without.
func TestInnerShares(t *testing.T) {
	var x innerShares
	network := netip.MustParsePrefix("2001:db8:100::/64")
	other := netip.MustParsePrefix("2001:db8:200::/64")
	a, b := home, renumbered.Addr()
	set := func(home netip.Addr, networks ...netip.Prefix) overlay.Change {
		return overlay.Change{Set: &overlay.Tunnel{
			Key:   overlay.Key{Home: home, Side: overlay.MobileSide},
			Inner: append([]netip.Prefix{netip.PrefixFrom(home, 128)}, networks...),
		}}
	}
	remove := func(home netip.Addr) overlay.Change {
		return overlay.Change{Remove: overlay.Key{Home: home, Side: overlay.MobileSide}}
	}
	// has is what the data plane holds: as the engine, it refuses a prefix twice.
	has := map[netip.Addr][]netip.Prefix{}
	apply := func(changes []overlay.Change) (told int) {
		t.Helper()
		for _, c := range changes {
			if c.Set == nil {
				delete(has, c.Remove.Home)
				continue
			}
			for other, inner := range has {
				for _, p := range c.Set.Inner {
					if other != c.Set.Home && slices.Contains(inner, p) {
						t.Fatalf("%v is asked for by %v and %v", p, other, c.Set.Home)
					}
				}
			}
			has[c.Set.Home] = c.Set.Inner
		}
		return len(changes)
	}
	expect := func(when string, wantA, wantB []netip.Prefix) {
		t.Helper()
		for home, want := range map[netip.Addr][]netip.Prefix{a: wantA, b: wantB} {
			if got := has[home]; len(got) != len(want)+1 && len(got)+len(want) > 0 || len(want) > 0 && !slices.Equal(got[1:], want) {
				t.Errorf("%s: %v has %v, want %v", when, home, got, want)
			}
		}
	}
	n := func(p ...netip.Prefix) []netip.Prefix { return p }
	if told := apply(x.change([]overlay.Change{set(a, network)})); told != 1 {
		t.Errorf("%d changes for one", told)
	}
	expect("one", n(network), nil)
	x.rank(map[netip.Addr]int{b: -1})
	apply(x.change([]overlay.Change{set(b, network, other)}))
	expect("two", n(network), n(other))
	apply(x.rank(map[netip.Addr]int{b: 1}))
	expect("the second is settled", []netip.Prefix{}, n(network, other))
	apply(x.change([]overlay.Change{set(a, network)})) // moves
	expect("the first moves", []netip.Prefix{}, n(network, other))
	apply(x.change([]overlay.Change{remove(b)}))
	expect("the second is gone", n(network), nil)
	apply(x.change([]overlay.Change{set(b, network)}))
	apply(x.change([]overlay.Change{remove(a)}))
	expect("the first is gone", nil, n(network))
	if told := apply(x.change([]overlay.Change{remove(b), remove(b)})); told != 2 {
		t.Errorf("%d changes for two removals", told)
	}
	// What is not a tunnel of the mobile side passes as it is.
	agentSide := overlay.Change{Set: &overlay.Tunnel{Key: overlay.Key{Home: a, Side: overlay.AgentSide}, Inner: n(network)}}
	route := overlay.Change{Optimise: &overlay.Route{Pair: overlay.Pair{Home: a, Side: overlay.MobileSide}}}
	if got := x.change([]overlay.Change{agentSide, route}); len(got) != 2 || got[0].Set != agentSide.Set || got[1].Optimise != route.Optimise {
		t.Errorf("%+v", got)
	}
}
