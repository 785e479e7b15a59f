// Command expose prints what a daemon exposes to Prometheus after a bit of everything, then
// what timestamps are, and then an error of the registry. TestMetricsOfRouters compares what
// it prints with the modules of a router and with others.
package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	"roam6/internal/metrics"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/mn"
	"roam6/nd"
	"roam6/overlay"
)

func main() {
	text, err := metricsOfADaemon()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%s%s%v\n", text, timestamps(), contradiction())
}

func metricsOfADaemon() ([]byte, error) {
	start := time.Now()
	after := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	m := metrics.New(`1.2.3 "\`)
	m.Dropped(role.DropReplay)
	m.Acknowledged(metrics.RoleAgent, role.Acknowledged{Status: mip6.StatusSequenceOutOfWindow, Sent: true})
	m.Acknowledged(metrics.RoleMobile, role.Acknowledged{Status: 200})
	m.Sent(metrics.RoleMobile, mip6.TypeHomeTestInit)
	m.Received(metrics.RoleCorrespondent, mip6.TypeHomeTestInit)
	m.AdvertisementSent()
	m.Reloaded(nil)
	m.Handover(role.Handover{Trigger: role.TriggerLink, Start: start, LinkUp: after(5), Solicited: after(6),
		Advertised: after(8), CareOf: after(9), Updated: after(9), Acknowledged: after(30)})
	m.DHCPSent([]byte{1, 0xaa, 0xbb, 0xcc})
	a := m.Advertising("lan0")
	a.Gap(50 * time.Millisecond)
	a.Gap(time.Hour)
	a.Sent(true)
	a.Failed("no_buffer")
	m.Inconsistent(nd.InconsistentField(1))
	m.Observe(state{})
	return m.Text()
}

type state struct{}

func (state) State(context.Context) (metrics.State, error) {
	home := netip.MustParseAddr("2001:db8::7")
	counters := overlay.Counters{EncapPackets: 1 << 60, EncapBytes: 100, DecapPackets: 2, DecapBytes: 200}
	return metrics.State{
		Mobiles: []mn.Snapshot{{}},
		Agents:  []metrics.Agent{{Name: "a", Bindings: 7, Limit: 10, Duplicates: 3}},
		Anchors: []metrics.Anchor{{Name: "a", Bindings: 2, Limit: 8, Duplicates: 1}},
		Plane:   "tun",
		Tunnels: []overlay.Status{{Tunnel: overlay.Tunnel{Key: overlay.Key{Home: home}}, Counters: counters}},
		Routes:  []overlay.RouteStatus{{Route: overlay.Route{Pair: overlay.Pair{Home: home}}, Counters: counters}},
		Drops:   map[overlay.DropReason]uint64{overlay.DropNoTunnel: 4},
	}, nil
}

// timestamps are those of exemplars, which the text of the metrics lacks.
func timestamps() (text string) {
	for _, t := range []*timestamppb.Timestamp{
		nil, {}, {Seconds: 1, Nanos: 999999999}, {Seconds: -1, Nanos: 1}, {Nanos: -1}, {Nanos: 1e9},
		{Seconds: -62135596800}, {Seconds: -62135596801}, {Seconds: 253402300799}, {Seconds: 253402300800},
		timestamppb.New(time.Date(1969, 12, 31, 23, 59, 59, 5, time.FixedZone("", 3600))),
	} {
		text += fmt.Sprintln(t.AsTime(), t.CheckValid() == nil)
	}
	return text
}

// contradiction is what the registry says of two values for one metric.
func contradiction() error {
	r := prometheus.NewRegistry()
	r.MustRegister(twice{prometheus.NewDesc("metric", "help", []string{"interface", "kind"}, nil)})
	_, err := r.Gather()
	return err
}

type twice struct{ metric *prometheus.Desc }

func (t twice) Describe(to chan<- *prometheus.Desc) { to <- t.metric }

func (t twice) Collect(to chan<- prometheus.Metric) {
	for range 2 {
		to <- prometheus.MustNewConstMetric(t.metric, prometheus.GaugeValue, 1, "lan0", "\"")
	}
}
