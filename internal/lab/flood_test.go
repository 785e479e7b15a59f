package lab

import (
	"errors"
	"flag"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
	"roam6/mip6"
)

// TestFloodPackets: a flood is of well-formed packets, from where the attacker
// hears the answers, and to the home agent; one that is dropped at the first
// glance would measure nothing.
func TestFloodPackets(t *testing.T) {
	r := &floodRun{floodOptions: chosen(t, (*floodOptions).declare), caller: &caller{}}
	random := rand.New(rand.NewPCG(1, 1))
	for _, k := range r.kinds() {
		for _, many := range []bool{false, true} {
			networks := map[netip.Prefix]bool{}
			for range 100 {
				source := floodSource(random, many)
				b, err := k.packet(floodOf{kind: k, many: many, run: r}, random, source)
				if err != nil {
					t.Fatalf("%s: %v", k.name, err)
				}
				network, _ := source.Prefix(64)
				networks[network] = true
				if from := netip.AddrFrom16([16]byte(b[8:24])); from != source || !floodPrefix.Contains(from) {
					t.Errorf("%s: a packet from %v", k.name, from)
				}
				p, err := mip6.ParsePacket(b)
				i, icmpErr := mip6.ParseICMPPacket(b)
				switch {
				case k.name == "data with HAO":
					if !errors.Is(err, mip6.ErrNotMobility) || len(b) != 40+24+40 || b[40+6] != mip6.OptionTypeHomeAddress {
						t.Errorf("%s: %v, % x", k.name, err, b)
					}
				case err == nil:
					if p.Destination != r.target() {
						t.Errorf("%s: a message to %v", k.name, p.Destination)
					}
				case icmpErr == nil:
					if i.Destination != r.target() && i.Destination != mip6.HomeAgentsAnycast(r.site().mobile().Masked()) {
						t.Errorf("%s: a message to %v", k.name, i.Destination)
					}
				default:
					t.Errorf("%s: %v, %v", k.name, err, icmpErr)
				}
			}
			if want := map[bool]int{false: 1, true: 100}[many]; len(networks) != want {
				t.Errorf("%s: %d networks, want %d", k.name, len(networks), want)
			}
		}
	}
}

func TestFloodOptions(t *testing.T) {
	if n, all := len(chosen(t, (*floodOptions).declare, "--only", "CN,HAO").kinds()), len(floodKinds()); n != 3 || all < 10 {
		t.Errorf("%d kinds chosen of %d", n, all)
	}
	scenario, err := Find("flood")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"--rate 10", "--duration 1ms", "--duration 2h", "--probe-interval 1ms", "--only rain"} {
		f := flag.NewFlagSet("flood", flag.ContinueOnError)
		run := scenario.Prepare(f)
		if err := f.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if _, err := run(t.Context(), Environment{}); !errors.Is(err, ErrOption) {
			t.Errorf("%s: %v, want a wrong option", args, err)
		}
	}
}

// TestFloodReport: what the floods did decides about success.
func TestFloodReport(t *testing.T) {
	good := func() []report.Flood {
		return []report.Flood{
			{Kind: "a", Peak: 20_000, After: 19_000, Recovered: 3, Services: []report.Service{{Asked: 10, Answered: 10}}},
			{Kind: "b", Peak: 20_500, After: 20_000, Recovered: 4, Services: []report.Service{{Asked: 10, Answered: 8}}},
		}
	}
	for name, c := range map[string]struct {
		change func([]report.Flood)
		failed string
	}{
		"good":             {func([]report.Flood) {}, ""},
		"grows":            {func(f []report.Flood) { f[0].Peak = 40_000 }, "memory of the daemon"},
		"keeps growing":    {func(f []report.Flood) { f[1].After = 25_000 }, "memory after the last flood"},
		"starves":          {func(f []report.Flood) { f[0].Services[0].Answered = 2 }, "not answered"},
		"does not recover": {func(f []report.Flood) { f[0].Recovered = report.None() }, "not every service"},
		"recovers late":    {func(f []report.Flood) { f[0].Recovered = 1500 }, "until every service"},
	} {
		r := &floodRun{start: usage{resident: 14_000}, floods: good()}
		c.change(r.floods)
		result := r.report(&stage{verdict: probe.Verdict{}})
		if all := strings.Join(result.Failures, "\n"); (all == "") != (c.failed == "") || !strings.Contains(all, c.failed) {
			t.Errorf("%s: failures %q", name, all)
		}
	}
}

// TestCaller: an answer counts for the request that it answers, once, and a
// service has recovered when all of them answer.
func TestCaller(t *testing.T) {
	c := &caller{target: netip.MustParseAddr("2001:db8:10::1"), home: netip.MustParseAddr("2001:db8:10::200")}
	start := time.Now()
	home, binding, test := c.next(serviceHome), c.next(serviceBinding), c.next(serviceTest)
	at := func(ms int) time.Time { return time.Now().Add(time.Duration(ms) * time.Millisecond) }
	acknowledge := func(to netip.Addr, number uint64, status mip6.Status) mip6.Packet {
		return mip6.Packet{Source: c.target, RouteHome: to, Message: mip6.BindingAcknowledgement{Status: status, Sequence: mip6.Sequence(number)}}
	}
	c.take(at(1), acknowledge(c.home, home, mip6.StatusAuthenticationFailed))
	c.take(at(1), acknowledge(c.home, binding, mip6.StatusAccepted)) // nobody asked that
	if c.answeredTo(serviceHome, home) {
		t.Error("a refusal counts as an answer")
	}
	c.take(at(2), acknowledge(c.home, home, mip6.StatusAccepted))
	c.take(at(3), acknowledge(callerHomeAtCN, binding, mip6.StatusAccepted))
	if !c.recovered(start).IsZero() {
		t.Error("recovered without an answer to the test")
	}
	last := at(50)
	c.take(last, mip6.Packet{Source: c.target, Destination: callerTested, Message: mip6.CareOfTest{Cookie: cookieFrom(test)}})
	c.take(at(90), mip6.Packet{Source: c.target, Destination: callerTested, Message: mip6.CareOfTest{Cookie: cookieFrom(test)}})
	if got := c.recovered(start); !got.Equal(last) {
		t.Errorf("recovered at %v, want %v", got, last)
	}
	if !c.recovered(at(10)).IsZero() {
		t.Error("recovered, though nothing was asked any more")
	}
	c.next(serviceTest)
	services := c.services(start, at(10))
	if s := services[serviceTest]; s.Asked != 2 || s.Answered != 1 || s.Share() != .5 || s.Median < 40 {
		t.Errorf("the tests: %+v", s)
	}
}
