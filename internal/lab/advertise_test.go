package lab

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/config"
	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
	"roam6/internal/radvdconf"
	"roam6/nd"
)

// TestAdvertiseConfigurations: both daemons are told the same, and that they should
// answer at once as far as they can.
func TestAdvertiseConfigurations(t *testing.T) {
	r := newAdvertiseRun(chosen(t, (*advertiseOptions).declare, "--links", "2"))
	file, err := radvdconf.Parse("radvd.conf", []byte(r.radvdConfig()))
	if err != nil {
		t.Fatal(err)
	}
	translation := radvdconf.Translate(file)
	text, err := translation.Text()
	if err != nil || translation.NeedsLook() {
		t.Fatalf("%v, %v", err, translation.Notes)
	}
	theirs, err := config.Parse("radvd", text)
	if err != nil {
		t.Fatal(err)
	}
	ours := valid(t, "advertise", accessRouterName(1), r.sections())
	if len(ours.Interfaces) != 2 || len(theirs.Interfaces) != 2 {
		t.Fatalf("%d and %d interfaces", len(ours.Interfaces), len(theirs.Interfaces))
	}
	for i, o := range ours.Interfaces {
		h := theirs.Interfaces[i]
		if o.Name != h.Name || o.MinInterval != h.MinInterval || o.MaxInterval != h.MaxInterval || o.MinDelay != h.MinDelay ||
			o.RouterLifetime != h.RouterLifetime || !o.UnicastReplies || !h.UnicastReplies || len(o.Prefixes) != 1 || len(h.Prefixes) != 1 ||
			o.Prefixes[0].PrefixInformation != h.Prefixes[0].PrefixInformation || o.IntervalOption != h.IntervalOption {
			t.Errorf("%+v\n%+v", o, h)
		}
		if o.MinInterval != advertisedMin || o.MaxInterval != advertisedMax {
			t.Errorf("an interval of %v to %v", o.MinInterval, o.MaxInterval)
		}
	}
}

func TestAdvertiseOptions(t *testing.T) {
	scenario, err := Find("advertise")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"--links 0", "--links 201", "--rounds 0", "--solicit 100ms", "--solicit 2m --duration 3m", "--duration 500ms", "--duration 2h"} {
		f := flag.NewFlagSet("advertise", flag.ContinueOnError)
		run := scenario.Prepare(f)
		if err := f.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if _, err := run(t.Context(), Environment{}); !errors.Is(err, ErrOption) {
			t.Errorf("%s: %v, want a wrong option", args, err)
		}
	}
}

// TestClassify: what a packet is goes by its own octets and its direction.
func TestClassify(t *testing.T) {
	s := &sniffer{number: map[int]int{7: 2}}
	packet := func(destination byte, m nd.Message) []byte {
		b := make([]byte, 40)
		b[24] = destination
		return m.Append(b)
	}
	in, out := &unix.SockaddrLinklayer{Ifindex: 7}, &unix.SockaddrLinklayer{Ifindex: 7, Pkttype: unix.PACKET_OUTGOING}
	alive, gone := nd.RouterAdvertisement{RouterLifetime: time.Minute}, nd.RouterAdvertisement{}
	for name, c := range map[string]struct {
		packet []byte
		from   *unix.SockaddrLinklayer
		want   overheard
		ok     bool
	}{
		"to all":                  {packet(0xff, alive), in, overheard{link: 2, kind: heardToAll}, true},
		"to one":                  {packet(0xfe, alive), in, overheard{link: 2, kind: heardToOne}, true},
		"the last":                {packet(0xff, gone), in, overheard{link: 2, kind: heardToAll, last: true}, true},
		"solicitation":            {packet(0xff, nd.RouterSolicitation{}), out, overheard{link: 2, kind: heardSolicitation}, true},
		"somebody's solicitation": {packet(0xff, nd.RouterSolicitation{}), in, overheard{}, false},
		"an advertisement of ours": {packet(0xff, alive), out,
			overheard{}, false},
		"another link": {packet(0xff, alive), &unix.SockaddrLinklayer{Ifindex: 8}, overheard{}, false},
		"cut off":      {packet(0xff, alive)[:50], in, overheard{}, false},
		"empty":        {nil, in, overheard{}, false},
		"neighbour":    {packet(0xff, nd.NeighborSolicitation{}), in, overheard{}, false},
	} {
		got, ok := s.classify(c.packet, c.from)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %+v, %t", name, got, ok)
		}
	}
}

// TestAnswers: an answer is the first advertisement on the link behind the
// solicitation.
func TestAnswers(t *testing.T) {
	const ms = int64(time.Millisecond)
	got := answers([]overheard{
		{at: 0, link: 0, kind: heardToOne}, // before anybody asked
		{at: 1 * ms, link: 0, kind: heardSolicitation},
		{at: 2 * ms, link: 1, kind: heardToOne}, // elsewhere
		{at: 3 * ms, link: 0, kind: heardToAll},
		{at: 5 * ms, link: 0, kind: heardToOne},
		{at: 6 * ms, link: 0, kind: heardToOne},
		{at: 10 * ms, link: 1, kind: heardSolicitation},
		{at: 11 * ms, link: 1, kind: heardSolicitation},
		{at: 13 * ms, link: 1, kind: heardToOne},
		{at: 20 * ms, link: 0, kind: heardSolicitation},
		{at: 30 * ms, link: 0, kind: heardSolicitation}, // too late to count
		{at: 31 * ms, link: 0, kind: heardToAll},
	}, 2, 30*ms)
	want := []solicited{{4, 2}, {3, 3}, {2, 2}, {report.None(), 11}}
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i].first != want[i].first || got[i].unicast != want[i].unicast && (got[i].unicast.Known() || want[i].unicast.Known()) {
			t.Errorf("solicitation %d: %v, want %v", i, got[i], want[i])
		}
	}
}

// TestAdvertiseReport: what is no matter of the machine's decides about success.
func TestAdvertiseReport(t *testing.T) {
	at := func(ms ...int64) (l []int64) {
		for _, m := range ms {
			l = append(l, m*int64(time.Millisecond))
		}
		return l
	}
	start := time.Unix(0, 0)
	good := func() *contender {
		st := stint{from: start, to: start.Add(time.Second), advertised: [][]int64{at(0, 50, 100), at(10, 45, 110)},
			used: consumption{processor: 10 * time.Millisecond, resident: 100, proportional: 50, anonymous: 20}}
		return &contender{name: programRoam6, quiet: []stint{st}, asked: []stint{st}, solicited: []solicited{{1, 1}, {2, 1}}, farewells: [][]int{{3, 3}}}
	}
	for name, c := range map[string]struct {
		change func(*contender)
		failed string
	}{
		"good":                {func(*contender) {}, ""},
		"a silent link":       {func(c *contender) { c.quiet[0].advertised[1] = nil }, "link 2 got no"},
		"late without reason": {func(c *contender) { c.quiet[0].advertised[0][2] += 30e6 }, "link 1: gaps outside"},
		"early":               {func(c *contender) { c.asked[0].advertised[1][1] -= 6e6 }, "link 2: an advertisement 29.000 ms after"},
		"late for want of a processor": {func(c *contender) {
			c.quiet[0].advertised[0][2] += 30e6
			c.quiet[0].used.waiting = 20 * time.Millisecond
			c.quiet[0].stalled = 10 * time.Millisecond
		}, ""},
		"no answer":       {func(c *contender) { c.solicited[1].unicast = report.None() }, "of 2 solicitations 1"},
		"a link not told": {func(c *contender) { c.farewells[0][1] = 1 }, "1 last advertisements"},
	} {
		r := newAdvertiseRun(chosen(t, (*advertiseOptions).declare))
		r.loads, r.version = []float64{1.5, 1.5, 2}, "2.19"
		ours, theirs := good(), good()
		theirs.name = programRadvd
		c.change(ours)
		r.contenders = []*contender{ours, theirs}
		result := r.report(&stage{verdict: probe.Verdict{}})
		if all := strings.Join(result.Failures, "\n"); (all == "") != (c.failed == "") || !strings.Contains(all, c.failed) {
			t.Errorf("%s: failures %q", name, all)
		}
		// What radvd does is not for us to judge.
		r.contenders = []*contender{theirs, ours}
		if result = r.report(&stage{}); len(result.Failures) > 0 || !strings.Contains(strings.Join(result.Legend, " "), "1.5, 2.0") {
			t.Errorf("%s: %q", name, result.Failures)
		}
		a := result.Advertising[0]
		if a.Processor != .01 || a.PerSecond != 3 || a.Unicast != 2 || a.MedianUnicast != 1.5 || a.Quiet.Count != 4 || a.Resident != 100 {
			t.Errorf("%+v", a)
		}
	}
}

// TestConsumed: a process of which something is known.
func TestConsumed(t *testing.T) {
	before, err := consumedBy(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); time.Since(start) < 20*time.Millisecond; {
	}
	after, err := consumedBy(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if c := after.since(before); c.processor <= 0 || c.resident < 1000 || c.proportional > c.resident || c.anonymous > c.resident || c.waiting < 0 {
		t.Errorf("%+v", c)
	}
	if _, err := consumedBy(1 << 30); err == nil {
		t.Error("a process that cannot be there")
	}
	if n := field("Rss:   12 kB\nPss:  7 kB\n", "Pss:"); n != 7 {
		t.Errorf("field: %d", n)
	}
	if all := family(os.Getpid()); len(all) == 0 || all[0] != os.Getpid() {
		t.Errorf("family: %v", all)
	}
}
