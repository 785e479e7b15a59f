package tun

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// slowTable is the longest prefix match that is obviously right.
type slowTable map[netip.Prefix]*tunnel

func (s slowTable) lookup(a netip.Addr) (best *tunnel) {
	longest := -1
	for p, v := range s {
		if p.Contains(a) && p.Bits() > longest {
			longest, best = p.Bits(), v
		}
	}
	return best
}

// randomPrefix is one among few enough that prefixes nest and collide.
func randomPrefix(r *rand.Rand) netip.Prefix {
	bits := []int{1, 3, 8, 29, 48, 56, 63, 64, 65, 100, 127, 128}[r.IntN(12)]
	return netip.PrefixFrom(randomAddress(r), bits).Masked()
}

func randomAddress(r *rand.Rand) netip.Addr {
	var b [16]byte
	for _, i := range []int{0, 3, 6, 7, 8, 12, 15} {
		b[i] = byte(r.IntN(4)) * 0x55
	}
	return netip.AddrFrom16(b)
}

func TestTrieAgainstSlowTable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 30 {
		var fast trie[tunnel]
		slow := slowTable{}
		for step := range 300 {
			p := randomPrefix(r)
			if r.IntN(3) == 0 {
				fast.remove(p)
				delete(slow, p)
			} else {
				v := &tunnel{}
				fast.insert(p, v)
				slow[p] = v
			}
			if got := fast.get(p); got != slow[p] {
				t.Fatalf("round %d step %d: get %v: %p, want %p", round, step, p, got, slow[p])
			}
			for range 10 {
				a := randomAddress(r)
				if got, want := fast.lookup(addressOf(a)), slow.lookup(a); got != want {
					t.Fatalf("round %d step %d: %v: %p, want %p", round, step, a, got, want)
				}
			}
		}
		for p := range slow {
			fast.remove(p)
		}
		if !fast.empty() {
			t.Fatalf("round %d: not empty when everything is removed", round)
		}
	}
}

// A reader that holds a root sees none of a later update.
func TestTrieSnapshot(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var fast, old trie[tunnel]
	slow := slowTable{}
	for range 200 {
		p, v := randomPrefix(r), &tunnel{}
		fast.insert(p, v)
		slow[p] = v
	}
	old.root.Store(fast.root.Load())
	for range 200 {
		fast.insert(randomPrefix(r), &tunnel{})
		fast.remove(randomPrefix(r))
	}
	for range 1000 {
		a := randomAddress(r)
		if got, want := old.lookup(addressOf(a)), slow.lookup(a); got != want {
			t.Fatalf("%v: %p, want %p", a, got, want)
		}
	}
}

func TestAddressAgreesWithNetip(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		a, b := randomAddress(r), randomAddress(r)
		n := r.IntN(129)
		if got, want := addressOf(a).masked(uint8(n)), addressOf(netip.PrefixFrom(a, n).Masked().Addr()); got != want {
			t.Fatalf("%v masked %d: %v, want %v", a, n, got.netip(), want.netip())
		}
		if got := netip.PrefixFrom(a, n).Contains(b); got != (addressOf(a).common(addressOf(b)) >= uint8(n)) {
			t.Fatalf("%v and %v: %d bits in common", a, b, addressOf(a).common(addressOf(b)))
		}
	}
	for text, want := range map[string]bool{ // RFC 4291 §2.7, RFC 6275 §10.4.2
		"::": true, "::1": true, "::2": false, "fe80::1": true, "febf::1": true, "fec0::1": false, "fc00::1": false,
		"ff01::1": true, "ff02::1": true, "ff12::1": true, "ff05::1": false, "ff0e::1": false, "2001:db8::1": false,
	} {
		if got := addressOf(netip.MustParseAddr(text)).linkScope(); got != want {
			t.Errorf("%s of link scope: %v, want %v", text, got, want)
		}
	}
}

// hundredThousand is a table of as many mobile network prefixes, spread over
// the operator's address space.
func hundredThousand() (*trie[tunnel], []address) {
	var t trie[tunnel]
	v := &tunnel{}
	addresses := make([]address, 100_000)
	for i := range addresses {
		var b [16]byte
		b[0], b[1], b[2], b[3] = 0x20, 0x01, 0x0d, 0xb8
		b[4], b[5], b[6] = byte(i>>16), byte(i>>8), byte(i)
		a := netip.AddrFrom16(b)
		t.insert(netip.PrefixFrom(a, 56), v)
		b[15] = 1
		addresses[i] = addressAt(b[:])
	}
	r := rand.New(rand.NewPCG(7, 8))
	r.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
	return &t, addresses
}

func BenchmarkLookup100k(b *testing.B) {
	t, addresses := hundredThousand()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if t.lookup(addresses[i]) == nil {
			b.Fatal("not found")
		}
		if i++; i == len(addresses) {
			i = 0
		}
	}
}

func BenchmarkInsert100k(b *testing.B) {
	t, addresses := hundredThousand()
	v := &tunnel{}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		t.insert(netip.PrefixFrom(addresses[i].netip(), 128), v)
		t.remove(netip.PrefixFrom(addresses[i].netip(), 128))
		if i++; i == len(addresses) {
			i = 0
		}
	}
}

// What contains a prefix and what is within it, against a list of all.
func TestTrieNeighbours(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	prefix := func() netip.Prefix {
		a := [16]byte{0x20, 0x01, byte(random.IntN(4)) << 6, byte(random.IntN(4)) << 6, 15: byte(random.IntN(2))}
		return netip.PrefixFrom(netip.AddrFrom16(a), []int{16, 18, 24, 25, 26, 32, 64, 127, 128}[random.IntN(9)]).Masked()
	}
	for range 200 {
		var tree trie[netip.Prefix]
		all := map[netip.Prefix]bool{}
		for range random.IntN(20) {
			p := prefix()
			if random.IntN(3) == 0 {
				tree.remove(p)
				delete(all, p)
			} else {
				tree.insert(p, &p)
				all[p] = true
			}
		}
		for range 20 {
			p := prefix()
			outside, inside := 0, false
			for q := range all {
				if q.Bits() < p.Bits() && q.Contains(p.Addr()) {
					outside++
				}
				inside = inside || q.Bits() > p.Bits() && p.Contains(q.Addr())
			}
			if got := tree.containing(p); len(got) != outside {
				t.Fatalf("%v of %v: contained in %d, want %d", p, all, len(got), outside)
			}
			if got := tree.within(p); got != inside {
				t.Fatalf("%v of %v: within %v, want %v", p, all, got, inside)
			}
		}
	}
}
