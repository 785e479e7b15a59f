package nft

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/nstest"
)

func FuzzAttribute(f *testing.F) {
	f.Add([]byte(Attributes(nil).Uint32(7, 1).Text(1, "roam6")), uint16(1))
	f.Add([]byte{0, 0, 0, 0}, uint16(0))
	f.Add([]byte{5, 0, 1, 0, 'x'}, uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, kind uint16) {
		if v := Attribute(b, kind); len(v) > len(b) {
			t.Errorf("%d octets of %d", len(v), len(b))
		}
		element(b)
	})
}

func TestAttribute(t *testing.T) {
	a := Attributes(nil).Uint32(7, 1).Text(1, "roam6").Text(2, "other").Nested(3, Attributes(nil).Uint64(1, 5))
	if got := StringAttribute(a, 1); got != "roam6" {
		t.Errorf("got %q", got)
	}
	if got := StringAttribute(a, 4); got != "" {
		t.Errorf("absent attribute gave %q", got)
	}
	if got := Attribute(Attribute(a, 3), 1); !slices.Equal(got, []byte{0, 0, 0, 0, 0, 0, 0, 5}) {
		t.Errorf("number %v", got)
	}
}

// Rules that begin with the same one do not change each other.
func TestCommonBeginning(t *testing.T) {
	begin := Rule(nil).Load(6, 1).Equal(41)
	begin = append(make(Rule, 0, 4096), begin...)
	drop := begin.Drop()
	want := slices.Clone(drop)
	begin.Goto("elsewhere")
	if !slices.Equal(drop, want) {
		t.Error("a rule has changed another")
	}
}

// world is two hosts that send each other datagrams.
type world struct {
	*testing.T
	here, there *nstest.Space
	nft         *Socket
}

const table = "nft_test"

func newWorld(t *testing.T) *world {
	w := &world{T: t, here: nstest.New(t), there: nstest.New(t)}
	nstest.Veth(w.here, "up", w.there, "up")
	w.here.Address("up", "2001:db8::1/64")
	w.there.Address("up", "2001:db8::2/64")
	w.here.Do(func() (err error) {
		w.nft, err = Open()
		return err
	})
	t.Cleanup(w.nft.Close)
	err := w.nft.Commit(func(b *Batch) { b.EmptyTable(table) })
	if err != nil {
		t.Skipf("needs nftables in the kernel (CONFIG_NF_TABLES, CONFIG_NF_TABLES_IPV6): %v", err)
	}
	return w
}

func (w *world) commit(build func(*Batch)) {
	w.Helper()
	if err := w.nft.Commit(build); err != nil {
		w.Fatal(err)
	}
}

// input makes the rules of the input hook.
func (w *world) input(rules ...Rule) {
	w.Helper()
	w.commit(func(b *Batch) {
		b.NewChain(Chain{Table: table, Name: "input", Base: true, Hook: Input, Priority: Raw})
		b.FlushChain(table, "input")
		for _, r := range rules {
			b.Append(table, "input", r)
		}
	})
}

// sends sends a datagram from there to here, and reports whether it arrives. What comes
// behind it on the other port always does.
func (w *world) sends() bool {
	w.Helper()
	listen := func(s *nstest.Space, port uint16) (c *net.UDPConn) {
		s.Do(func() (err error) {
			a := netip.MustParseAddr("2001:db8::1")
			if s == w.there {
				a = netip.MustParseAddr("2001:db8::2")
			}
			c, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port)))
			return err
		})
		return c
	}
	judged, always, from := listen(w.here, 1000), listen(w.here, 2000), listen(w.there, 3000)
	defer judged.Close()
	defer always.Close()
	defer from.Close()
	for _, to := range []*net.UDPConn{judged, always} {
		if _, err := from.WriteTo([]byte("x"), to.LocalAddr()); err != nil {
			w.Fatal(err)
		}
	}
	_ = always.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := always.Read(make([]byte, 10)); err != nil {
		w.Fatal(err)
	}
	_ = judged.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := judged.Read(make([]byte, 10))
	return err == nil
}

// judged are the datagrams of sends that may be dropped.
func judged() Rule {
	return Rule(nil).Load(6, 1).Equal(unix.IPPROTO_UDP).Load(42, 2).Equal(1000>>8, 1000&255)
}

var (
	one, two = netip.MustParseAddr("2001:db8::1").AsSlice(), netip.MustParseAddr("2001:db8::2").AsSlice()
	pairs    = Set{Table: table, Name: "pairs", Key: []Field{Address, Address, Address}, Counted: true}
)

// Concatenated keys with masks are found, count what finds them, and go.
func TestSet(t *testing.T) {
	w := newWorld(t)
	prefix := func(a []byte) []byte { return append(slices.Clone(a[:8]), make([]byte, 8)...) }
	mask := append(bytes.Repeat([]byte{255}, 8), make([]byte, 8)...)
	key := slices.Concat(two, one, prefix(two))
	w.commit(func(b *Batch) {
		b.NewSet(pairs)
		b.NewSet(pairs) // again: as it is
		b.AddElements(table, pairs.Name, [][]byte{key, slices.Concat(one, two, prefix(one))})
	})
	loads := judged().LoadInto(0, Network, 8, 32).LoadInto(8, Network, 8, 16).Bitwise(8, mask, make([]byte, 16))
	w.input(loads.In(pairs.Name).Drop())
	for range 2 {
		if w.sends() {
			t.Error("not found in the set")
		}
	}
	found := 0
	look := func(e Element) {
		found++
		want := map[bool][2]uint64{true: {2, 2 * 49}}[bytes.Equal(e.Key, key)]
		if got := [2]uint64{e.Packets, e.Bytes}; got != want {
			t.Errorf("%x has counted %v, want %v", e.Key, got, want)
		}
	}
	if err := w.nft.Elements(table, pairs.Name, look); err != nil || found != 2 {
		t.Errorf("%d elements: %v", found, err)
	}
	if err := w.nft.Get(table, pairs.Name, [][]byte{key}, look); err != nil || found != 3 {
		t.Errorf("one element: %d, %v", found-2, err)
	}
	if err := w.nft.Get(table, pairs.Name, [][]byte{slices.Concat(one, one, one)}, look); !errors.Is(err, unix.ENOENT) {
		t.Errorf("an element that is not there: %v", err)
	}
	// Adding what is there keeps its count.
	w.commit(func(b *Batch) { b.AddElements(table, pairs.Name, [][]byte{key}) })
	if err := w.nft.Get(table, pairs.Name, [][]byte{key}, look); err != nil {
		t.Error(err)
	}
	// In a transaction that fails nothing happens.
	err := w.nft.Commit(func(b *Batch) {
		b.DeleteElements(table, pairs.Name, [][]byte{key})
		b.DeleteElements(table, pairs.Name, [][]byte{slices.Concat(one, one, one)})
	})
	if !errors.Is(err, unix.ENOENT) || w.sends() {
		t.Errorf("a removal that fails: %v", err)
	}
	w.commit(func(b *Batch) { b.DeleteElements(table, pairs.Name, [][]byte{key}) })
	if !w.sends() {
		t.Error("still in the set")
	}
	w.input(loads.NotIn(pairs.Name).Drop())
	if w.sends() {
		t.Error("not in the set, and it passed")
	}
	names, err := w.nft.Sets(table)
	if err != nil || !slices.Equal(names, []string{pairs.Name}) {
		t.Errorf("sets %v, %v", names, err)
	}
	w.input()
	w.commit(func(b *Batch) { b.DeleteSet(table, pairs.Name) })
	if names, err := w.nft.Sets(table); err != nil || len(names) != 0 {
		t.Errorf("sets %v, %v", names, err)
	}
	w.commit(func(b *Batch) { b.DeleteTable(table) })
	if names, err := w.nft.Sets(table); err != nil || len(names) != 0 {
		t.Errorf("sets of no table %v, %v", names, err)
	}
}

// Thousands of elements are added, asked for, exchanged and removed.
func TestManyElements(t *testing.T) {
	w := newWorld(t)
	var keys, others [][]byte
	for i := range 3000 {
		key := make([]byte, 48)
		key[0], key[1] = byte(i>>8), byte(i)
		keys = append(keys, key)
		key = slices.Clone(key)
		key[47] = 1
		others = append(others, key)
	}
	each := func(keys [][]byte, f func([][]byte)) {
		for some := range slices.Chunk(keys, MostElements) {
			f(some)
		}
	}
	w.commit(func(b *Batch) {
		b.NewSet(pairs)
		each(keys, func(k [][]byte) { b.AddElements(table, pairs.Name, k) })
	})
	found := 0
	if err := w.nft.Get(table, pairs.Name, keys, func(Element) { found++ }); err != nil || found != len(keys) {
		t.Errorf("%d found: %v", found, err)
	}
	w.commit(func(b *Batch) {
		each(keys, func(k [][]byte) { b.DeleteElements(table, pairs.Name, k) })
		each(others, func(k [][]byte) { b.AddElements(table, pairs.Name, k) })
	})
	found = 0
	err := w.nft.Elements(table, pairs.Name, func(e Element) { found += int(e.Key[47]) })
	if err != nil || found != len(others) {
		t.Errorf("%d of the others: %v", found, err)
	}
}

// What a rule remembers is found for a time; when there is no more room, the rule does
// not go on.
func TestRemember(t *testing.T) {
	w := newWorld(t)
	seen := Set{Table: table, Name: "seen", Key: []Field{Address, Address}, Most: 1}
	w.commit(func(b *Batch) { b.NewSet(seen) })
	pair := judged().LoadInto(0, Network, 8, 32)
	w.input(pair.In(seen.Name).Accept(), pair.Remember(seen.Name, time.Second).Drop())
	if w.sends() || !w.sends() {
		t.Error("the first must be dropped, the second not")
	}
	var left time.Duration
	if err := w.nft.Elements(table, seen.Name, func(e Element) { left = e.Expires }); err != nil || left <= 0 || left > time.Second {
		t.Errorf("expires in %v: %v", left, err)
	}
	w.input(judged().LoadInto(0, Network, 24, 16).LoadInto(4, Network, 24, 16).Remember(seen.Name, time.Hour).Drop())
	if !w.sends() {
		t.Error("remembered more than there is room for")
	}
	for deadline := time.Now().Add(6 * collectEvery); w.sends(); {
		if time.Now().After(deadline) {
			t.Fatal("not forgotten")
		}
	}
}

// Marks are set bit by bit, read, and change the route; chains are called; octets are
// copied within the packet.
func TestMark(t *testing.T) {
	w := newWorld(t)
	bit := MarkBits(0x20000)
	keep := MarkBits(^uint32(0x20000))
	none := MarkBits(0)
	set := Rule(nil).LoadMeta(Mark).Bitwise(0, keep, bit).StoreMeta(Mark)
	w.commit(func(b *Batch) {
		b.NewChain(Chain{Table: table, Name: "sub"})
		b.Append(table, "sub", set)
		b.NewChain(Chain{Table: table, Name: "unused"})
		b.Append(table, "unused", Rule(nil).Drop())
	})
	marked := judged().LoadMeta(Mark).Bitwise(0, bit, none)
	w.input(judged().Jump("sub"), marked.Equal(none...).Accept(), judged().Drop())
	if w.sends() {
		t.Error("not marked")
	}
	w.input(judged().Goto("sub"), judged().Drop())
	if !w.sends() {
		t.Error("came back from where it went to")
	}
	// The source address by the destination's, seen by the next rule.
	w.input(judged().LoadInto(0, Network, 24, 16).Store(0, Network, 8, 16), judged().LoadInto(0, Network, 8, 16).Equal(one...).Drop())
	if w.sends() {
		t.Error("not copied")
	}
	w.input(judged().Set(two[15]).Store(0, Network, 23, 1), judged().Set(9).Store(0, Network, 8, 1), judged().Load(8, 1).Equal(9).Load(9, 15).Equal(two[1:]...).Drop())
	if w.sends() {
		t.Error("not written")
	}
	w.input(judged().LoadMeta(InputName).Equal('u', 'p', 0).Drop())
	if w.sends() {
		t.Error("interface name not found")
	}
	w.input(judged().LoadInto(0, Transport, 2, 2).Equal(1000>>8, 1000&255).Drop())
	if w.sends() {
		t.Error("port not found behind the IPv6 header")
	}
}

// Chains at a device see what comes in and leaves by it, and can send that elsewhere.
func TestDevice(t *testing.T) {
	w := newWorld(t)
	nstest.Veth(w.here, "side", w.there, "side")
	for _, c := range []struct {
		name  string
		hook  Hook
		rule  Rule
		needs string
	}{
		{"ingress", Ingress, judged().Drop(), "CONFIG_NETFILTER_INGRESS"},
		{"egress", Egress, Rule(nil).Load(6, 1).Equal(unix.IPPROTO_UDP).Forward(w.here.Index("side")), "Linux 5.18 with CONFIG_NETFILTER_EGRESS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := w.here.Link("side").Attrs().Statistics.TxPackets
			err := w.nft.Commit(func(b *Batch) {
				b.Use(Netdev)
				b.NewTable(table)
				b.NewChain(Chain{Table: table, Name: "c", Base: true, Hook: c.hook, Device: "up"})
				b.Append(table, "c", c.rule)
			})
			if err != nil {
				t.Skipf("needs %s: %v", c.needs, err)
			}
			// Here receives by the one, and sends by the other.
			if c.hook == Ingress && w.sends() {
				t.Error("comes in")
			}
			if c.hook == Egress {
				w.here.Do(func() error {
					c, err := net.Dial("udp6", "[2001:db8::2]:1000")
					if err == nil {
						defer c.Close()
						_, err = c.Write([]byte("x"))
					}
					return err
				})
				for end := time.Now().Add(10 * time.Second); w.here.Link("side").Attrs().Statistics.TxPackets == before; {
					if time.Now().After(end) {
						t.Fatal("does not leave by the other device")
					}
				}
			}
			if err := w.nft.Commit(func(b *Batch) { b.Use(Netdev); b.FlushChain(table, "c"); b.DeleteChain(table, "c") }); err != nil {
				t.Fatal(err)
			}
			if !w.sends() {
				t.Error("without the chain nothing comes in")
			}
			for _, when := range []string{"there", "not there"} {
				if err := w.nft.RemoveTableOf(Netdev, table); err != nil {
					t.Errorf("the table is %s: %v", when, err)
				}
			}
		})
	}
	if err := w.nft.Commit(func(b *Batch) { b.DeleteTable(table) }); err != nil {
		t.Errorf("the table of the same name of the family IPv6: %v", err)
	}
}

// Deletions by others are told, and of one's own are not.
func TestEvents(t *testing.T) {
	w := newWorld(t)
	var events *Events
	var other *Socket
	w.here.Do(func() (err error) {
		if events, err = OpenEvents(); err != nil {
			return err
		}
		other, err = Open()
		return err
	})
	defer other.Close()
	told := make(chan bool, 10)
	go func() {
		defer close(told)
		for {
			deleted, err := events.Deleted(table, w.nft.Port())
			if err != nil {
				return
			}
			told <- deleted
		}
	}()
	w.commit(func(b *Batch) { b.DeleteTable(table); b.NewTable(table) })
	if err := other.Commit(func(b *Batch) { b.DeleteTable(table) }); err != nil {
		t.Fatal(err)
	}
	for said := false; !said; {
		select {
		case said = <-told:
		case <-time.After(10 * time.Second):
			t.Fatal("the deletion by another was not told")
		}
	}
	w.commit(func(b *Batch) { b.NewTable(table); b.DeleteTable(table) })
	if err := other.Commit(func(b *Batch) { b.NewTable(table) }); err != nil {
		t.Fatal(err)
	}
	for quiet := time.After(50 * time.Millisecond); ; {
		select {
		case said := <-told:
			if said {
				t.Error("our own deletion was told")
			}
			continue
		case <-quiet:
		}
		break
	}
	events.Close()
	for range told {
	}
}

// A table is removed with what is in it, and one that is not there need not be.
func TestRemoveTable(t *testing.T) {
	w := newWorld(t)
	w.commit(func(b *Batch) { b.NewSet(pairs) })
	for _, when := range []string{"there", "not there"} {
		if err := w.nft.RemoveTable(table); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if err := w.nft.Commit(func(b *Batch) { b.DeleteTable(table) }); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s, and then a deletion: %v", when, err)
		}
	}
	w.nft.Close()
	if err := w.nft.RemoveTable(table); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestClosed(t *testing.T) {
	w := newWorld(t)
	w.nft.Close()
	w.nft.Close()
	if err := w.nft.Commit(func(b *Batch) { b.NewTable(table) }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("commit: %v", err)
	}
	if _, err := w.nft.Sets(table); !errors.Is(err, os.ErrClosed) {
		t.Errorf("sets: %v", err)
	}
}
