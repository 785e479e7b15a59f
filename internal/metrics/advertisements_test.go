//go:build !nometrics

package metrics

import (
	"fmt"
	"testing"
	"time"

	"roam6/nd"
)

// Each interface has its own numbers, and gaps of 30 to 70 ms are as visible as those of
// 200 to 600 s.
func TestAdvertisements(t *testing.T) {
	m := New("1")
	want := map[string]string{}
	for f := range nd.NumInconsistentFields {
		want[fmt.Sprintf("roam6_ra_inconsistent_total{field=%q}", f)] = "0"
	}
	expect(t, samples(t, m), want)

	fast, slow := m.Advertising("lan0"), m.Advertising("lan1")
	if m.Advertising("lan0") != fast {
		t.Error("an interface has two")
	}
	for _, ms := range []int{30, 45, 65, 80} {
		fast.Gap(time.Duration(ms) * time.Millisecond)
	}
	slow.Gap(250 * time.Second)
	slow.Gap(601 * time.Second)
	fast.Sent(true)
	fast.Sent(true)
	fast.Sent(false)
	fast.Failed("no_source")
	fast.SolicitationLost()
	before := nd.AdvertiserStatistics{Missed: 1, Solicitations: 5}
	fast.Count(before, nd.AdvertiserStatistics{Missed: 3, Solicitations: 12, Refused: 1, LimitedBySource: 2, LimitedByLink: 3, Overflowed: 4})
	m.Inconsistent(nd.InconsistentMTU)
	m.Inconsistent(nd.NumInconsistentFields)
	expect(t, samples(t, m), map[string]string{
		`roam6_ra_gap_seconds_bucket{interface="lan0",le="0.029"}`:                        "0",
		`roam6_ra_gap_seconds_bucket{interface="lan0",le="0.03"}`:                         "1",
		`roam6_ra_gap_seconds_bucket{interface="lan0",le="0.05"}`:                         "2",
		`roam6_ra_gap_seconds_bucket{interface="lan0",le="0.07"}`:                         "3",
		`roam6_ra_gap_seconds_bucket{interface="lan0",le="0.09"}`:                         "4",
		`roam6_ra_gap_seconds_bucket{interface="lan1",le="200"}`:                          "0",
		`roam6_ra_gap_seconds_bucket{interface="lan1",le="300"}`:                          "1",
		`roam6_ra_gap_seconds_bucket{interface="lan1",le="600"}`:                          "1",
		`roam6_ra_gap_seconds_count{interface="lan1"}`:                                    "2",
		`roam6_ra_sent_total{destination="multicast",interface="lan0"}`:                   "2",
		`roam6_ra_sent_total{destination="unicast",interface="lan0"}`:                     "1",
		`roam6_ra_sent_total{destination="unicast",interface="lan1"}`:                     "0",
		`roam6_ra_missed_total{interface="lan0"}`:                                         "2",
		`roam6_ra_solicitations_total{interface="lan0"}`:                                  "8",
		`roam6_ra_solicitations_unanswered_total{interface="lan0",reason="refused"}`:      "1",
		`roam6_ra_solicitations_unanswered_total{interface="lan0",reason="source_limit"}`: "2",
		`roam6_ra_solicitations_unanswered_total{interface="lan0",reason="link_limit"}`:   "3",
		`roam6_ra_solicitations_unanswered_total{interface="lan0",reason="memory"}`:       "4",
		`roam6_ra_solicitations_unanswered_total{interface="lan0",reason="queue"}`:        "1",
		`roam6_ra_send_errors_total{interface="lan0",reason="no_source"}`:                 "1",
		`roam6_ra_inconsistent_total{field="mtu"}`:                                        "1",
	})
}
