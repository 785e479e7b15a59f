package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
)

// report computes the figures.
func (r *delegationRun) report(s *stage) *report.Report {
	result := &report.Report{
		Scenario: "delegation",
		Conditions: report.Conditions{
			Switching: report.Millis(r.switching), Access: report.Millis(r.access), HomeAgent: report.Millis(r.homeAgent),
			Interval: report.Millis(r.interval), LinkEvents: true, Seed: r.seed,
		},
		TCP: s.tcp(),
		Legend: []string{
			fmt.Sprintf("Milliseconds. Round trips: A %.1f to the access router, H %.1f to the home agent. Limits: downlink L2 + A + H; uplink L2 + A, and half",
				millis(r.access), millis(r.homeAgent)),
			"of the difference when the home agent gets nearer or farther. The prefix is delegated by " + r.delegatedBy() + ".",
		},
	}
	for _, p := range r.passengers {
		c := r.course(s)
		down, up := p.down.Record(), p.up.Record()
		for i := range r.moves {
			h := c.handover(i, down, up)
			h.Mobile = p.name
			if !h.Completed {
				result.Fail("handover %d, %s → %s, did not complete for %s", i+1, h.From, h.To, p.name)
			}
			result.Handovers = append(result.Handovers, h)
		}
	}
	r.beginning(result)
	result.Add(report.Number("renewals", "renewals of the lease that were noticed", "renewals", r.renewals))
	if r.renewals == 0 {
		result.Fail("the lease was not renewed")
	}
	for _, x := range r.restarts {
		r.recovery(result, x)
	}
	r.exchanged(result)
	result.Add(s.foreign(r.allowed(s)))
	if len(r.moves) > 0 {
		p := r.passengers[0]
		result.Summary.Count(r.moves[0].Left.Add(-r.settling()), r.travelled, p.down.Record(), p.up.Record())
	}
	return result
}

func (r *delegationRun) delegatedBy() string {
	if r.server == byKea {
		return "a Kea server behind the home agent"
	}
	return "the home agent"
}

// course is how the moves are measured: until the next one, or a restart.
func (r *delegationRun) course(s *stage) course {
	return course{
		moves: r.moves, told: s.told[nodeRouter], settling: r.settling(),
		end: func(i int) time.Time {
			end := next(r.moves, i, r.travelled)
			for _, x := range r.restarts {
				if x.gone.After(r.moves[i].Left) && x.gone.Before(end) {
					end = x.gone
				}
			}
			return end
		},
		flight: func(stop string) time.Duration { return r.beyond() + r.placeOf(stop).HomeAgent/2 },
		limits: func(m move) (down, up time.Duration) {
			return report.Limits(m.Attached.Sub(m.Left), r.placeOf(m.from), r.placeOf(m.to))
		},
	}
}

// beginning is how long it took until the passengers were in touch. The limits: a
// message to the home agent and back; and then the advertisement, which takes no
// time, and the packet's way.
func (r *delegationRun) beginning(result *report.Report) {
	lease := r.homeAgent
	if r.server == byKea {
		lease += serverTrip
	}
	result.Add(report.Time("prefix_after_ms", "from the registration to the prefix", report.Millis(r.delegated.Sub(r.registered)), report.Millis(lease)).AtMost(report.Millis(r.patience)))
	first := report.None()
	if arrivals := r.first.Record().Arrivals; len(arrivals) > 0 {
		first = report.Millis(time.Unix(0, arrivals[0].At).Sub(r.registered))
	}
	least := lease + r.homeAgent/2 + r.beyond()
	result.Add(report.Time("first_packet_ms", "from the registration to the first packet of a passenger", first, report.Millis(least)).AtMost(report.Millis(r.patience)))
}

// beyond is how long a packet takes between the home agent and the correspondent.
func (r *delegationRun) beyond() time.Duration {
	return (r.homeAgent - r.access + correspondentTrip) / 2
}

// recovery is how the passengers were cut off by a restart: the longest silence of
// all in each direction.
func (r *delegationRun) recovery(result *report.Report, x restart) {
	name := map[string]string{nodeRouter: "router", nodeHomeAgent: "home_agent"}[x.node]
	text := map[string]string{nodeRouter: "the mobile router", nodeHomeAgent: "the home agent"}[x.node]
	result.Add(report.Time("restart_"+name+"_gone_ms", "time for which "+text+" was gone", report.Millis(x.back.Sub(x.gone)), report.None()))
	for _, d := range []struct {
		name   string
		stream func(*passenger) *probe.Stream
	}{
		{"down", func(p *passenger) *probe.Stream { return p.down }},
		{"up", func(p *passenger) *probe.Stream { return p.up }},
	} {
		longest := report.Milliseconds(0)
		for _, p := range r.passengers {
			silence, ok := d.stream(p).Record().Silence(x.gone, x.connected, x.ended)
			if !ok {
				longest = report.None()
				break
			}
			longest = max(longest, report.Millis(silence.Length))
		}
		result.Add(report.Time("restart_"+name+"_"+d.name+"_ms", d.name+"link: silence when "+text+" restarted", longest, report.None()).AtMost(report.Millis(r.patience)))
	}
}

// exchanged is how the passengers got from one prefix to another.
func (r *delegationRun) exchanged(result *report.Report) {
	x := r.exchange
	result.Add(report.Time("new_prefix_after_ms", "from the new pool to passengers with addresses of it", report.Millis(x.renumbered.Sub(x.at)), report.None()).AtMost(report.Millis(r.preferred + r.patience)))
	result.Add(report.Time("old_deprecated_after_ms", "from the new pool to passengers whose old addresses are deprecated", report.Millis(x.withdrawn.Sub(x.at)), report.None()).AtMost(report.Millis(r.preferred + r.patience)))
	// The home agent that delegates itself forwards no more at once, another's relay
	// when it hears of it, as the router does.
	from := x.at.Add(reloadTime)
	if r.server == byKea {
		from = x.renumbered
	}
	late := 0
	for _, p := range r.passengers {
		for _, stream := range []*probe.Stream{p.down, p.up} {
			c := stream.Record().Count(from.Add(r.settling()), x.ended)
			late += c.Sent - c.Lost
		}
	}
	result.Add(report.Packets("forwarded_after", "old prefix: packets that were forwarded after its end", late).AtMost(0))
	// The router advertises the new prefix at once, and registers it.
	result.Add(report.Time("new_connected_after_ms", "from the passengers' new addresses to packets both ways", report.Millis(x.connected.Sub(x.renumbered)), report.Millis(r.homeAgent+correspondentTrip)).AtMost(report.Millis(r.patience)))
	lost := 0
	for _, stream := range x.streams {
		lost += stream.Record().Count(x.connected, x.ended.Add(-r.settling())).Lost
	}
	result.Add(report.Packets("lost_new", "new prefix: packets lost from then on", lost).AtMost(0))
}

// reloadTime is what a daemon may take to read its configuration.
const reloadTime = time.Second

// allowed are the addresses that applications may see.
func (r *delegationRun) allowed(s *stage) []netip.Addr {
	list := []netip.Addr{correspondentAddress()}
	for _, p := range r.passengers {
		list = append(list, p.address)
		for _, a := range r.pools() {
			if x, _ := s.hostAddress(p.name, "eth0", a); x.IsValid() && !slices.Contains(list, x) {
				list = append(list, x)
			}
		}
	}
	return list
}
