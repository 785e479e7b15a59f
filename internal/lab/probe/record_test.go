package probe

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func at(ms float64) time.Time { return time.Unix(0, int64(ms*1e6)) }

// record sends a datagram each millisecond from 0 to n-1 ms; each takes the
// delay that flight gives, and is lost where that is negative.
func record(n int, flight func(i int) float64) Record {
	r := Record{Interval: time.Millisecond}
	for i := range n {
		r.Sent = append(r.Sent, at(float64(i)).UnixNano())
		if f := flight(i); f >= 0 {
			r.Arrivals = append(r.Arrivals, Arrival{At: at(float64(i) + f).UnixNano(), Number: uint32(i)})
		}
	}
	return r
}

// TestSilence: a break from 100 to 130 ms on a way of 5 ms.
func TestSilence(t *testing.T) {
	r := record(300, func(i int) float64 {
		if i >= 100 && i < 130 {
			return -1
		}
		return 5
	})
	for name, c := range map[string]struct {
		from, until, end float64
		length           time.Duration
		ok               bool
	}{
		"found":                      {100, 120, 250, 30 * time.Millisecond, true},
		"begins after the window":    {50, 60, 250, 0, true},
		"ends after the end":         {100, 120, 134, 0, false},
		"nothing before":             {-10, 4, 250, 0, false},
		"nothing after":              {290, 400, 500, 0, false},
		"window inside the silence":  {110, 120, 250, 30 * time.Millisecond, true},
		"steady around an event":     {200, 220, 250, 0, true},
		"the end of the observation": {100, 120, 135, 30 * time.Millisecond, true},
	} {
		s, ok := r.Silence(at(c.from), at(c.until), at(c.end))
		if ok != c.ok || s.Length != c.length {
			t.Errorf("%s: %v, %t; want %v, %t", name, s.Length, ok, c.length, c.ok)
		}
		if ok && c.length > 0 && (!s.Last.Equal(at(104)) || !s.First.Equal(at(135))) {
			t.Errorf("%s: from %v to %v", name, s.Last, s.First)
		}
	}
	if _, ok := (Record{}).Silence(at(0), at(1), at(2)); ok {
		t.Error("a silence in an empty record")
	}
}

func TestCount(t *testing.T) {
	r := record(100, func(i int) float64 {
		switch {
		case i >= 20 && i < 25:
			return -1
		case i == 50:
			return 7.5 // overtaken
		}
		return 5
	})
	// Arrivals are in the order of their time, as a receiver notes them.
	for i := 1; i < len(r.Arrivals); i++ {
		for j := i; j > 0 && r.Arrivals[j].At < r.Arrivals[j-1].At; j-- {
			r.Arrivals[j], r.Arrivals[j-1] = r.Arrivals[j-1], r.Arrivals[j]
		}
	}
	r.Arrivals = append(r.Arrivals, Arrival{At: at(200).UnixNano(), Number: 60})
	if c, want := r.Count(at(0), at(100)), (Count{Sent: 100, Lost: 5, Duplicate: 1, Reordered: 1}); c != want {
		t.Errorf("all: %+v, want %+v", c, want)
	}
	if c, want := r.Count(at(22), at(50)), (Count{Sent: 28, Lost: 3}); c != want {
		t.Errorf("part: %+v, want %+v", c, want)
	}
	// Parts that adjoin count everything once.
	if a, b := r.Count(at(0), at(23)), r.Count(at(23), at(100)); a.Lost+b.Lost != 5 || a.Sent+b.Sent != 100 {
		t.Errorf("%+v and %+v do not add up", a, b)
	}
	if c := (Record{}).Count(at(0), at(100)); c != (Count{}) {
		t.Errorf("an empty record counts %+v", c)
	}
	if d := r.Delay(at(0), at(100)); d != 5*time.Millisecond {
		t.Errorf("delay %v, want 5 ms", d)
	}
}

func TestReceiveFindsWhatDiffers(t *testing.T) {
	content := make([]byte, 100_000)
	_, _ = stream(3).Read(content)
	var f flow
	if err := receive(strings.NewReader(string(content)), &f, 3); err != nil || f.received.Load() != int64(len(content)) {
		t.Errorf("the right content: %v after %d octets", err, f.received.Load())
	}
	content[70_000] ^= 1
	if err := receive(strings.NewReader(string(content)), &f, 3); err == nil {
		t.Error("a changed octet is not noticed")
	}
	if err := receive(strings.NewReader("x"), &f, 3); err == nil {
		t.Error("other content is not noticed")
	}
}

// TestTransferOverLoopback has no namespaces: both ends of one connection here.
func TestTransferOverLoopback(t *testing.T) {
	listener, err := net.ListenTCP("tcp6", &net.TCPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skip("no IPv6 loopback:", err)
	}
	defer func() { _ = listener.Close() }()
	dial := func() *Transfer {
		client, err := net.DialTCP("tcp6", nil, listener.Addr().(*net.TCPAddr))
		if err != nil {
			t.Fatal(err)
		}
		server, err := listener.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		return begin(client, server, Rate(50_000_000), 1)
	}
	good := dial()
	for good.Received() < 200_000 {
		time.Sleep(time.Millisecond)
	}
	if v := good.Finish(t.Context()); v.Err != nil || v.Down+v.Up < 200_000 {
		t.Errorf("an undisturbed transfer of %d + %d octets failed: %v", v.Down, v.Up, v.Err)
	}
	broken := dial()
	for broken.Received() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := broken.server.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = broken.server.Close()
	if v := broken.Finish(t.Context()); v.Err == nil {
		t.Error("a reset connection is called intact")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if v := dial().Finish(ended); v.Err == nil {
		t.Error("a transfer that was given no time is called intact")
	}
}

func TestTimestampOfForeignData(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 4), make([]byte, os.Getpagesize())} {
		if ts := timestamp(b); ts != 0 {
			t.Errorf("%d octets of nothing are the time %d", len(b), ts)
		}
	}
}

// TestSince: the way becomes short with the datagram of 50 ms, for good with
// that of 60 ms.
func TestSince(t *testing.T) {
	r := record(100, func(i int) float64 {
		switch {
		case i == 55:
			return -1 // lost
		case i < 50 || i == 59:
			return 20
		}
		return 5
	})
	for name, c := range map[string]struct {
		from, end float64
		row       int
		sent      float64
		ok        bool
	}{
		"one is enough":         {0, 100, 1, 50, true},
		"five in a row":         {0, 100, 5, 50, true},
		"ten in a row":          {0, 100, 10, 60, true},
		"from a time on":        {52, 100, 1, 52, true},
		"not before the end":    {0, 50, 1, 0, false},
		"not so many in a row":  {0, 100, 41, 0, false},
		"not so many to an end": {0, 65, 10, 0, false},
	} {
		first, ok := r.Since(at(c.from), at(c.end), 10*time.Millisecond, c.row)
		if ok != c.ok || ok && (!first.Sent.Equal(at(c.sent)) || first.Taken != 5*time.Millisecond) {
			t.Errorf("%s: %v, %t", name, first, ok)
		}
	}
}

// TestRate: a transfer keeps its rate, and writes as seldom as makes packets worth it.
func TestRate(t *testing.T) {
	for _, c := range []struct {
		bits int
		want Pace
	}{
		{1_000_000_000, Pace{1_250_000, 10 * time.Millisecond}},
		{2_000_000, Pace{2500, 10 * time.Millisecond}},
		{200_000, Pace{250, 10 * time.Millisecond}},
		{50_000, Pace{250, 40 * time.Millisecond}},
		{20_000, Pace{250, 100 * time.Millisecond}},
		{1000, Pace{125, time.Second}},
		{1, Pace{1, time.Second}},
	} {
		if got := Rate(c.bits); got != c.want {
			t.Errorf("%d bits a second: %+v, want %+v", c.bits, got, c.want)
		}
	}
}
