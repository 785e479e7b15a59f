package report

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/page/browsertest"
)

// rideOf is a report of a ride with n moves, 300 ms apart: each interrupts the streams
// for as long as its number is in milliseconds, and 30 ms.
func rideOf(n int) *Report {
	r := &Report{Scenario: "ride", Planes: []string{"tcx"}, TCP: TCP{Intact: true, BytesDown: 1e6, BytesUp: 1e6}, Legend: []string{"Limits & <round trips>."}}
	const interval, apart, flight = time.Millisecond, 300 * time.Millisecond, 5 * time.Millisecond
	began := time.Unix(1_700_000_000, 0)
	gap := func(i int) time.Duration { return time.Duration(30+i) * time.Millisecond }
	var record probe.Record
	record.Interval = interval
	for at := time.Duration(0); at < time.Duration(n+1)*apart; at += interval {
		number := uint32(len(record.Sent))
		record.Sent = append(record.Sent, began.Add(at).UnixNano())
		arrival := at + flight
		move := int(arrival/apart) - 1 // the first is at apart
		if move >= 0 && arrival-time.Duration(move+1)*apart < gap(move+1) {
			continue
		}
		record.Arrivals = append(record.Arrivals, probe.Arrival{At: began.Add(arrival).UnixNano(), Number: number})
	}
	for i := range n {
		left := began.Add(time.Duration(i+1) * apart)
		h := Handover{
			From: "ar1", To: "ar<2>", Completed: i != n-1, Switching: 10, LimitDown: 25, LimitUp: 20, Down: Millis(gap(i + 1)), Up: Millis(gap(i + 1)), LostDown: 30 + i + 1, LostUp: 30 + i + 1,
			Phases: Phases{LinkUp: .1, Solicited: .2, Advertised: 2.5, CareOf: 2.6, Updated: 3, Acknowledged: Millis(gap(i+1)) - 10},
			Trace:  &Trace{Down: record, Up: record, Left: left, Attached: left.Add(10 * time.Millisecond), End: left.Add(apart)},
		}
		r.Handovers = append(r.Handovers, h)
	}
	r.Handovers[n-1].Down = None()
	r.Fail("handover %d did <not> complete", n)
	r.Add(Packets("strays", "packets that went astray", 0))
	r.Summarise()
	return r
}

var ran = About{
	Command: "roam6 lab run ride --l2=10ms", Version: "1.0", Machine: "Linux 6.12, amd64", Began: time.Unix(1_700_000_000, 0),
	Parameters: []Parameter{{Name: "l2", Value: "10ms", Meaning: "time without a link at each move (L2)", Chosen: true}, {Name: "loss", Value: "0%", Meaning: "percentage"}},
}

// write writes a report where a browser finds it.
func write(t *testing.T, r *Report) (text, address string) {
	t.Helper()
	var b strings.Builder
	if err := r.WriteHTML(&b, ran); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ride.html")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return b.String(), (&url.URL{Scheme: "file", Path: path}).String()
}

// The report is to be read in a browser that runs no scripts and asks nobody, on a large
// screen and on a small one, and with the ears.
func TestHTML(t *testing.T) {
	text, address := write(t, rideOf(6))
	for _, no := range []string{"<script", "http:", "https:", "<2>", "<not>", "NaN", "Inf"} {
		if strings.Contains(strings.ReplaceAll(text, "http-equiv", ""), no) {
			t.Errorf("there is %q in it", no)
		}
	}
	b := browsertest.Start(t, nil)
	for _, v := range []browsertest.View{{Width: 360, Height: 740}, {Width: 800, Height: 900, Dark: true}, {Width: 1400, Height: 900}, {Width: 1400, Height: 900, Dark: true}} {
		v.NoScript = true
		t.Run(fmt.Sprintf("%d-%t", v.Width, v.Dark), func(t *testing.T) {
			p := b.Open(address, v)
			var wide int
			if p.Eval("document.documentElement.scrollWidth - screen.width", &wide); wide > 0 {
				t.Errorf("%d pixels wider than the screen", wide)
			}
			for _, want := range []string{"5 of 6", "ar1", "ar<2>", "did <not> complete", "--l2", "Linux 6.12", "not completed", "packets that went astray", "roam6 lab run ride --l2=10ms"} {
				if !strings.Contains(p.Text("body"), want) {
					t.Errorf("there is no %q", want)
				}
			}
			nodes := p.Nodes()
			images := 0
			for _, n := range nodes {
				if n.Role == "image" || n.Role == "img" {
					images++
				}
				if slices.Contains([]string{"image", "img", "region", "heading", "columnheader"}, n.Role) && n.Name == "" && n.Role != "columnheader" {
					t.Errorf("%s without a name", n.Role)
				}
			}
			// Two distributions, the phases, the run both ways, and each handover both ways.
			if images != 2+1+2+12 {
				t.Errorf("%d figures", images)
			}
			if c := p.Complaints(); len(c) > 0 {
				t.Errorf("the console complains: %q", c)
			}
			if q := p.Requests(); slices.ContainsFunc(q, func(r string) bool { return r != address && !strings.HasPrefix(r, "data:") }) {
				t.Errorf("asked %q", q)
			}
			if dir := os.Getenv("ROAM6_PICTURES"); dir != "" {
				p.Screenshot(filepath.Join(dir, fmt.Sprintf("report-%d-%t.png", v.Width, v.Dark)))
			}
			p.Close()
		})
	}
}

// Of a long ride some handovers are drawn, the worst among them, and the file stays one
// that a browser can show; the table has all.
func TestHTMLOfLongRide(t *testing.T) {
	text, _ := write(t, rideOf(3000))
	if n := len(text); n > 4<<20 {
		t.Errorf("%d octets", n)
	}
	if n := strings.Count(text, "<h3>"); n > mostSequences || !strings.Contains(text, "<h3>3000  ar1 → ar&lt;2&gt; (not completed)</h3>") || !strings.Contains(text, "<h3>2999  ar1") {
		t.Errorf("%d handovers are drawn", n)
	}
	if !strings.Contains(text, "Of 3000 handovers 24 are drawn") || strings.Count(text, "<tr>") < 3000 {
		t.Error("it does not say what it leaves out")
	}
}

// Of a steady stream packets are left out of a figure, but none beside a gap, none out of
// order, and no loss.
func TestArrivals(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	r := probe.Record{Interval: time.Millisecond}
	for i := range 10_000 {
		r.Sent = append(r.Sent, at(i).UnixNano())
		n := i
		switch {
		case i == 4000:
			n = 4001
		case i == 4001:
			n = 4000
		case i >= 5000 && i < 5100, i == 7000:
			continue
		}
		r.Arrivals = append(r.Arrivals, probe.Arrival{At: at(i + 3).UnixNano(), Number: uint32(n)})
	}
	list, left := arrivals(r, at(0), at(20_000), 500)
	if len(list) > 600 || len(list)+left != len(r.Arrivals) {
		t.Errorf("%d drawn, %d left out of %d", len(list), left, len(r.Arrivals))
	}
	for _, n := range []uint32{0, 3999, 4000, 4001, 4002, 4999, 5100, 6999, 7001, 9999} {
		if !slices.ContainsFunc(list, func(a probe.Arrival) bool { return a.Number == n }) {
			t.Errorf("%d is left out", n)
		}
	}
	if lost := losses(r, at(0), at(20_000)); len(lost) != 101 || lost[0] != 5000 || lost[100] != 7000 {
		t.Errorf("lost: %v", lost)
	}
	if lost := losses(r, at(5050), at(5060)); len(lost) != 10 {
		t.Errorf("lost in ten milliseconds: %v", lost)
	}
	all, left := arrivals(r, at(4900), at(5200), 500)
	if left != 0 || len(all) != 200 {
		t.Errorf("of a short time %d are drawn, %d left out", len(all), left)
	}
}

// A report without handovers has its figures all the same.
func TestHTMLWithoutHandovers(t *testing.T) {
	r := &Report{Scenario: "flood"}
	r.Add(Packets("lost", "packets lost", 3))
	text, _ := write(t, r)
	if !strings.Contains(text, "packets lost") || !strings.Contains(text, "<details open>") {
		t.Error(text)
	}
}
