package relay

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/pcap"
)

// fates draws n fates.
func fates(i Impairment, seed uint64, n int) (lost, doubled, late int) {
	d := newDirection(i, seed, 0)
	for range n {
		delays, copies := d.fate()
		switch {
		case copies == 0:
			lost++
			continue
		case copies == 2:
			doubled++
		}
		if delays[0] != i.Delay {
			late++
		}
	}
	return lost, doubled, late
}

func TestFateFollowsProbabilities(t *testing.T) {
	const n = 100_000
	lost, doubled, late := fates(Impairment{Delay: time.Millisecond, Loss: .05, Duplicate: .02, Reorder: .1, ReorderBy: time.Millisecond}, 1, n)
	near := func(what string, got int, want float64) {
		t.Helper()
		if share := float64(got) / n; share < want*.9 || share > want*1.1 {
			t.Errorf("%s: %.4f, want %.4f", what, share, want)
		}
	}
	near("lost", lost, .05)
	near("doubled", doubled, .95*.02)
	near("held back", late, .95*.1)
	if lost, doubled, late := fates(Impairment{}, 1, 1000); lost+doubled+late != 0 {
		t.Errorf("a link without impairment lost %d, doubled %d, held back %d", lost, doubled, late)
	}
}

// TestFateIsOfTheSeed: the same seed decides the same, and other settings do
// not change which frames are lost.
func TestFateIsOfTheSeed(t *testing.T) {
	draw := func(i Impairment, seed, number uint64) (l []bool) {
		d := newDirection(i, seed, number)
		for range 1000 {
			_, copies := d.fate()
			l = append(l, copies == 0)
		}
		return l
	}
	plain := draw(Impairment{Loss: .1}, 7, 0)
	if !slices.Equal(plain, draw(Impairment{Loss: .1}, 7, 0)) {
		t.Error("the same seed decides differently")
	}
	if !slices.Equal(plain, draw(Impairment{Loss: .1, Duplicate: .5, Reorder: .5, Delay: time.Second}, 7, 0)) {
		t.Error("duplication and reordering change which frames are lost")
	}
	if slices.Equal(plain, draw(Impairment{Loss: .1}, 8, 0)) || slices.Equal(plain, draw(Impairment{Loss: .1}, 7, 1)) {
		t.Error("another seed or direction loses the same frames")
	}
}

func TestCutPassesNothing(t *testing.T) {
	d := newDirection(Impairment{}, 1, 0)
	d.cut = true
	if _, copies := d.fate(); copies != 0 {
		t.Error("a frame passed a partition")
	}
}

func TestImpairmentValidate(t *testing.T) {
	for _, bad := range []Impairment{{Delay: -1}, {Loss: 1.1}, {Loss: -.1}, {Duplicate: 2}, {Reorder: 2}, {ReorderBy: -1}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	if err := (Impairment{Delay: time.Second, Loss: 1}).Validate(); err != nil {
		t.Error(err)
	}
}

// TestQueueSortsAndKeepsOrder compares with a stable sort.
func TestQueueSortsAndKeepsOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var q queue
	var want []int64
	for i := range 5000 {
		due := int64(random.IntN(500))
		want = append(want, due<<32|int64(i))
		q.push(passage{due: due})
	}
	slices.Sort(want)
	for i, w := range want {
		if due, ok := q.next(); !ok || due != w>>32 {
			t.Fatalf("next is %d, %t; want %d", due, ok, w>>32)
		}
		if p := q.pop(); p.due != w>>32 || p.order != uint64(w&0xffffffff)+1 {
			t.Fatalf("passage %d: due %d order %d, want %d and %d", i, p.due, p.order, w>>32, w&0xffffffff+1)
		}
	}
	if _, ok := q.next(); ok {
		t.Error("the queue is not empty")
	}
}

func TestStoreHasALimit(t *testing.T) {
	s := store{limit: 2}
	a, b := s.take(), s.take()
	if a == nil || b == nil || s.take() != nil {
		t.Fatal("the limit of two frames does not hold")
	}
	s.put(a)
	if s.take() != a {
		t.Error("a frame given back is not lent again")
	}
}

func TestLateness(t *testing.T) {
	var l Lateness
	if l.Quantile(.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	for i := range 100 {
		l.add(time.Duration(i) * 10 * time.Microsecond)
	}
	l.add(-time.Second) // a clock set back
	if q := l.Quantile(.5); q < 490*time.Microsecond || q > 505*time.Microsecond {
		t.Errorf("median %v", q)
	}
	if l.Count() != 101 || l.Max() != 990*time.Microsecond || l.Quantile(1) != l.Max() {
		t.Errorf("%d values up to %v, quantile %v", l.Count(), l.Max(), l.Quantile(1))
	}
}

// TestRouteOfTheAir: two stations, two routers.
func TestRouteOfTheAir(t *testing.T) {
	port := func(name string, last byte) *Port { return &Port{name: name, ethernet: [6]byte{2, 0, 0, 0, 0, last}} }
	r1, r2, a, b := port("r1", 1), port("r2", 2), port("a", 3), port("b", 4)
	w := worker{Relay: &Relay{store: store{limit: 100}}}
	for _, station := range []*Port{a, b} {
		station.station = true
		for _, router := range []*Port{r1, r2} {
			router.hops = append(router.hops, hop{station, newDirection(Impairment{}, 1, 1)})
			station.hops = append(station.hops, hop{router, newDirection(Impairment{}, 1, 2)})
		}
	}
	send := func(from *Port, destination [6]byte) (to []string) {
		t.Helper()
		f := w.store.take()
		f.n = copy(f.data[:], destination[:]) + 8
		if !w.route(from, f, 1) {
			w.store.put(f)
		}
		for len(w.queue.heap) > 0 {
			p := w.queue.pop()
			if [6]byte(p.frame.data[:6]) != destination || p.from != from {
				t.Errorf("a frame from %s changed on its way", from.name)
			}
			to = append(to, p.to.name)
			w.store.put(p.frame)
		}
		return to
	}
	everybody := [6]byte{0x33, 0x33, 0, 0, 0, 1}
	for _, c := range []struct {
		name  string
		tuned *Port // of station a
		from  *Port
		frame [6]byte
		want  []string
	}{
		{"a station that is nowhere", nil, a, everybody, nil},
		{"a station is heard where it is", r2, a, everybody, []string{"r2"}},
		{"a router's multicast", r1, r1, everybody, []string{"a", "b"}},
		{"a router's unicast", r1, r1, b.ethernet, []string{"b"}},
		{"a unicast for nobody here", r1, r1, [6]byte{2, 9}, nil},
	} {
		a.tuned = c.tuned
		if to := send(c.from, c.frame); !slices.Equal(to, c.want) {
			t.Errorf("%s: to %q, want %q", c.name, to, c.want)
		}
	}
	if len(w.store.free) != w.store.made {
		t.Errorf("%d of %d frames were not given back", w.store.made-len(w.store.free), w.store.made)
	}
}

// TestFramesInFlight: what a station sent before it left arrives; what was on
// its way to the station does not.
func TestFramesInFlight(t *testing.T) {
	router, station := &Port{name: "router", fd: -1}, &Port{name: "station", fd: -1, station: true}
	w := worker{Relay: &Relay{store: store{limit: 10}}, in: new(batcher), out: new(batcher)}
	w.queue.push(passage{due: 1, frame: w.store.take(), from: router, to: station})
	w.deliver()
	if w.stats.Unheard != 1 || w.stats.Discarded != 0 {
		t.Errorf("towards a station that left: %+v", w.stats)
	}
	w.queue.push(passage{due: 1, frame: w.store.take(), from: station, to: router})
	w.deliver()
	if w.stats.Unheard != 1 || w.stats.Discarded != 1 {
		t.Errorf("from a station that left, into a closed socket: %d unheard, %d discarded", w.stats.Unheard, w.stats.Discarded)
	}
	if len(w.store.free) != w.store.made {
		t.Error("frames were not given back")
	}
}

func TestAdmit(t *testing.T) {
	packet := func(source string) *frame {
		f := new(frame)
		f.data[12], f.data[13] = 0x86, 0xdd
		a := netip.MustParseAddr(source).As16()
		copy(f.data[14+8:], a[:])
		f.n = 14 + 40
		return f
	}
	p := &Port{}
	if !p.admits(packet("2001:db8:100::2")) {
		t.Error("a port without a filter refuses")
	}
	p.Admit(netip.MustParsePrefix("2001:db8:a1::/64"))
	for source, want := range map[string]bool{"2001:db8:a1::9": true, "fe80::1": true, "::": true, "2001:db8:100::2": false} {
		if p.admits(packet(source)) != want {
			t.Errorf("%s is admitted: %t", source, !want)
		}
	}
	solicitation := packet("2001:db8:100::2")
	group := netip.MustParseAddr("ff02::1:ff00:1").As16()
	copy(solicitation.data[14+24:], group[:])
	if !p.admits(solicitation) {
		t.Error("what is for the link alone is refused")
	}
	other := packet("2001:db8:100::2")
	other.data[13] = 0x00
	if !p.admits(other) {
		t.Error("what is not IPv6 is refused")
	}
	short := packet("2001:db8:100::2")
	short.n = 20
	if !p.admits(short) {
		t.Error("a frame without a source is refused for it")
	}
}

// TestCaptureSamplesData: signalling is captured whole, data in part.
func TestCaptureSamplesData(t *testing.T) {
	frame := func(next ...byte) []byte {
		b := make([]byte, 14, 200)
		b[12], b[13] = 0x86, 0xdd
		for _, n := range next {
			switch {
			case len(b) == 14, b[len(b)-40+6] == protoIPv6:
				header := make([]byte, 40)
				header[0], header[6] = 0x60, n
				b = append(b, header...)
			}
		}
		return append(b, make([]byte, 64)...)
	}
	var file bytes.Buffer
	r := &Relay{}
	if err := r.Capture(&file); err != nil {
		t.Fatal(err)
	}
	const mobility, icmp = 135, 58
	for range 150 {
		for _, f := range [][]byte{frame(protoUDP), frame(protoIPv6, protoTCP), frame(mobility), frame(protoIPv6, icmp), make([]byte, 60)} {
			r.capture.take(f, 1)
		}
	}
	extension := frame(protoDestination)
	extension[14+40] = protoUDP // then options of eight octets
	for range 150 {
		r.capture.take(extension, 1)
	}
	if err := r.EndCapture(); err != nil {
		t.Fatal(err)
	}
	reader, err := pcap.NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	got := map[byte]int{}
	for {
		p, err := reader.Next()
		if err != nil {
			break
		}
		got[p.Data[6]]++
	}
	if want := map[byte]int{protoUDP: 2, protoIPv6: 2 + 150, mobility: 150, protoDestination: 2}; !maps.Equal(got, want) {
		t.Errorf("captured: %v, want %v", got, want)
	}
	r.capture.take(frame(mobility), 1) // ended: nothing happens
}

// TestTap: who taps is shown every frame, with a capture and without one, until
// that ends.
func TestTap(t *testing.T) {
	for _, captured := range []bool{false, true} {
		r, seen := &Relay{}, 0
		r.Tap(func(frame []byte, at time.Time) {
			if seen++; len(frame) != 60 || at.UnixNano() != 7 {
				t.Errorf("a frame of %d octets at %v", len(frame), at)
			}
		})
		if captured {
			if err := r.Capture(new(bytes.Buffer)); err != nil {
				t.Fatal(err)
			}
		}
		r.capture.take(make([]byte, 60), 7)
		r.capture.take(make([]byte, 60), 7)
		if err := r.EndCapture(); err != nil {
			t.Fatal(err)
		}
		r.capture.take(make([]byte, 60), 7)
		if seen != 2 {
			t.Errorf("capture %t: %d frames seen", captured, seen)
		}
	}
}

// TestRefusals: a packet with a foreign source is refused by the router that it is
// for, remembered with its way, and of very many no more than a limit; one for a
// router that was left is heard by nobody.
func TestRefusals(t *testing.T) {
	station, router := &Port{name: "mr/up0", station: true}, &Port{name: "ar1/acc0", ethernet: [6]byte{2, 0, 0, 0, 0, 1}}
	router.Admit(netip.MustParsePrefix("2001:db8:a1::/64"))
	station.hops, station.tuned = []hop{{to: router}}, router
	w := worker{Relay: &Relay{}}
	send := func(to [6]byte, source netip.Addr) {
		f := &frame{n: 14 + 40}
		copy(f.data[:], to[:])
		f.data[12], f.data[13] = 0x86, 0xdd
		a := source.As16()
		copy(f.data[14+8:], a[:])
		if w.route(station, f, 0) {
			t.Errorf("a packet from %v is on its way", source)
		}
	}
	foreign := netip.MustParseAddr("2001:db8:100::2")
	send(router.ethernet, foreign)
	send(router.ethernet, foreign)
	send([6]byte{2, 0, 0, 0, 0, 9}, foreign)
	s := w.Stats()
	if want := map[Refusal]uint64{{From: "mr/up0", To: "ar1/acc0", Source: foreign}: 2}; s.Refused != 2 || s.Unheard != 1 || !maps.Equal(s.Refusals, want) {
		t.Errorf("%d refused, %d unheard: %v", s.Refused, s.Unheard, s.Refusals)
	}
	for a := range 2 * maxRefusals {
		send(router.ethernet, netip.AddrFrom16([16]byte{0x20, 1, 14: byte(a >> 8), 15: byte(a)}))
	}
	if s := w.Stats(); len(s.Refusals) != maxRefusals || s.Refused != 2+2*maxRefusals {
		t.Errorf("%d refused, %d remembered", s.Refused, len(s.Refusals))
	}
}
