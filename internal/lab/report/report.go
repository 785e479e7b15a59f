package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"roam6/internal/lab/probe"
)

// Milliseconds is a time as the JSON shows it: milliseconds with a fraction to
// the microsecond. NaN, where nothing was measured, becomes null.
type Milliseconds float64

// None stands for a time that was not measured.
func None() Milliseconds { return Milliseconds(math.NaN()) }

// Millis converts a duration.
func Millis(d time.Duration) Milliseconds {
	return Milliseconds(float64(d) / float64(time.Millisecond))
}

// Known reports whether m was measured.
func (m Milliseconds) Known() bool { return !math.IsNaN(float64(m)) }

// MarshalJSON rounds to the microsecond.
func (m Milliseconds) MarshalJSON() ([]byte, error) {
	if !m.Known() || math.IsInf(float64(m), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(math.Round(float64(m)*1000) / 1000)
}

// Report is the outcome of a run.
type Report struct {
	Scenario   string     `json:"scenario"`
	Untimed    bool       `json:"untimed,omitempty"` // figures of time are not judged
	Conditions Conditions `json:"conditions"`
	Handovers  []Handover `json:"handovers"`
	Kills      []Kill     `json:"kills,omitempty"`
	Floods     []Flood    `json:"floods,omitempty"`
	// Advertising is of the daemons that were compared, the first one ours.
	Advertising []Advertising `json:"advertising,omitempty"`
	Figures     []Figure      `json:"figures,omitempty"`
	TCP         TCP           `json:"tcp"`
	Summary     Summary       `json:"summary"`
	Relay       Relay         `json:"relay"`
	// Planes are the data planes of the daemons, each once.
	Planes []string `json:"planes,omitempty"`
	// Failures say why the run as a whole did not succeed.
	Failures []string `json:"failures"`
	// Legend explains the table.
	Legend []string `json:"-"`
	// Brief leaves the lines of the handovers out of the table.
	Brief bool `json:"-"`
	// Unmoved leaves the summary of streams and handovers out of the table: there are none.
	Unmoved bool `json:"-"`
}

// Fail notes a reason why the run did not succeed.
func (r *Report) Fail(format string, args ...any) {
	r.Failures = append(r.Failures, fmt.Sprintf(format, args...))
}

// Conditions are what the run was made under.
type Conditions struct {
	Switching Milliseconds `json:"switching_ms"`  // asked for
	Access    Milliseconds `json:"access_ms"`     // round trip A
	HomeAgent Milliseconds `json:"home_agent_ms"` // round trip H, away from home
	// Correspondent is the direct round trip C to the correspondent, away from
	// home, where it matters.
	Correspondent Milliseconds `json:"correspondent_ms,omitempty"`
	// Anchor is the round trip M to the mobility anchor point, where there is one.
	Anchor     Milliseconds `json:"anchor_ms,omitempty"`
	Interval   Milliseconds `json:"probe_interval_ms"`
	Loss       float64      `json:"loss"`
	LinkEvents bool         `json:"link_events"`
	Seed       uint64       `json:"seed"`
}

// Handover is one move. Interruptions are gaps at the receiver less the
// interval of sending.
type Handover struct {
	Mobile    string       `json:"mobile,omitempty"` // where there are several
	From      string       `json:"from"`
	To        string       `json:"to"`
	Kind      string       `json:"kind,omitempty"` // where there are several
	Completed bool         `json:"completed"`
	Switching Milliseconds `json:"switching_ms"` // measured: link lost to link ready
	LimitDown Milliseconds `json:"limit_down_ms"`
	Down      Milliseconds `json:"down_ms"`
	LimitUp   Milliseconds `json:"limit_up_ms"`
	Up        Milliseconds `json:"up_ms"`
	LostDown  int          `json:"lost_down"`
	LostUp    int          `json:"lost_up"`
	// LimitPlain is LimitDown without a mobility anchor point, and HomeUpdates how many
	// binding updates the home agent was given, where there are anchors.
	LimitPlain  *Milliseconds `json:"limit_plain_down_ms,omitempty"`
	HomeUpdates *int          `json:"home_updates,omitempty"`
	// Direct is the time from the new link on until the round trip is that of the
	// direct way, where routes are optimised; not measured otherwise.
	LimitDirect *Milliseconds `json:"limit_direct_ms,omitempty"`
	Direct      *Milliseconds `json:"direct_ms,omitempty"`
	// Phases are counted from the moment the new link was ready.
	Phases Phases `json:"phases_ms"`
	// Lease is how the address there was asked for, if it was.
	Lease *Lease `json:"lease,omitempty"`
	// Trigger is what the router took for the sign of its move.
	Trigger string `json:"trigger,omitempty"`
	// Updates is how many binding updates it took.
	Updates int `json:"updates,omitempty"`
	// Trace is what it was measured in, for plots; nil: nothing to plot.
	Trace *Trace `json:"-"`
}

// Trace is what a handover was measured in: the two streams, which handovers of one
// mobile share, and when it was what.
type Trace struct {
	Down, Up probe.Record
	// Left and Attached are when the link was lost and when the new one was ready; End is
	// when the measuring of the move ended.
	Left, Attached, End time.Time
}

// Phases is the router's own timeline of a handover.
type Phases struct {
	LinkUp       Milliseconds `json:"link_up"`
	Solicited    Milliseconds `json:"rs"`
	Advertised   Milliseconds `json:"ra"`
	CareOf       Milliseconds `json:"coa"`
	Updated      Milliseconds `json:"bu"`
	Acknowledged Milliseconds `json:"ba"`
}

// NoPhases is the timeline of a handover that the router did not tell of.
func NoPhases() Phases {
	n := None()
	return Phases{n, n, n, n, n, n}
}

// Known reports whether the router told of the handover.
func (p Phases) Known() bool {
	for _, m := range []Milliseconds{p.LinkUp, p.Solicited, p.Advertised, p.CareOf, p.Updated, p.Acknowledged} {
		if m.Known() {
			return true
		}
	}
	return false
}

// Lease is the DHCPv6 of a move. Times are counted from the moment the new link was
// ready.
type Lease struct {
	Message  string       `json:"message"`  // the first that the mobile sent
	Messages int          `json:"messages"` // in both directions, until the answer
	Asked    Milliseconds `json:"asked_ms"`
	Answered Milliseconds `json:"answered_ms"`
	// Server is how long the server had the mobile's messages.
	Server Milliseconds `json:"server_ms"`
}

// RatioDown is the downlink interruption as a ratio to its limit.
func (h Handover) RatioDown() float64 { return float64(h.Down / h.LimitDown) }

// RatioUp is the uplink interruption as a ratio to its limit.
func (h Handover) RatioUp() float64 { return float64(h.Up / h.LimitUp) }

// Kill is a process that was killed and started again in mid-ride.
type Kill struct {
	Role string `json:"role"`
	// RecoveredDown and RecoveredUp are the times from the kill until packets
	// that were sent after it arrived.
	RecoveredDown Milliseconds `json:"recovered_down_ms"`
	RecoveredUp   Milliseconds `json:"recovered_up_ms"`
	LostDown      int          `json:"lost_down"`
	LostUp        int          `json:"lost_up"`
}

// TCP is the verdict on the transfer.
type TCP struct {
	Bytes     int64  `json:"bytes"`
	BytesDown int64  `json:"bytes_down"`
	BytesUp   int64  `json:"bytes_up"`
	Intact    bool   `json:"intact"`
	Error     string `json:"error,omitempty"`
}

// Summary is over all handovers that completed.
type Summary struct {
	Handovers       int          `json:"handovers"`
	Completed       int          `json:"completed"`
	MedianDown      Milliseconds `json:"median_down_ms"`
	P99Down         Milliseconds `json:"p99_down_ms"`
	MedianRatioDown Milliseconds `json:"median_ratio_down"`
	P99RatioDown    Milliseconds `json:"p99_ratio_down"`
	MedianUp        Milliseconds `json:"median_up_ms"`
	P99Up           Milliseconds `json:"p99_up_ms"`
	MedianRatioUp   Milliseconds `json:"median_ratio_up"`
	P99RatioUp      Milliseconds `json:"p99_ratio_up"`
	// ExcessDown is the median of what the downlink took beyond its limit.
	ExcessDown Milliseconds `json:"median_excess_down_ms"`
	ExcessUp   Milliseconds `json:"median_excess_up_ms"`
	SentDown   int          `json:"sent_down"`
	SentUp     int          `json:"sent_up"`
	LostDown   int          `json:"lost_down"`
	LostUp     int          `json:"lost_up"`
	// Duplicates and Reordered count both directions.
	Duplicates int `json:"duplicates"`
	Reordered  int `json:"reordered"`
	// Strays counts packets that came to an access router with a source of
	// another network and were refused there: tunnel packets from the care-of
	// address that was just left, and any that went beside the tunnel.
	Strays uint64 `json:"strays"`
}

// Relay is the lab's own error.
type Relay struct {
	Frames     uint64       `json:"frames"`
	Discarded  uint64       `json:"discarded"`
	MedianLate Milliseconds `json:"median_late_ms"`
	P99Late    Milliseconds `json:"p99_late_ms"`
	MaxLate    Milliseconds `json:"max_late_ms"`
	// MaxWait is for how long the threads of the lab or of a daemon stood ready without a processor, in
	// the half of a second when it was most; zero where the kernel does not tell.
	MaxWait  Milliseconds `json:"max_wait_ms"`
	RealTime bool         `json:"real_time_priority"`
}

// Summarise fills the figures of the summary that follow from the handovers.
func (r *Report) Summarise() {
	s := &r.Summary
	s.Handovers, s.Completed = len(r.Handovers), 0
	var down, up, ratioDown, ratioUp, excessDown, excessUp []float64
	for _, h := range r.Handovers {
		if h.Completed {
			s.Completed++
		}
		if h.Down.Known() {
			down = append(down, float64(h.Down))
			if h.LimitDown > 0 {
				ratioDown = append(ratioDown, h.RatioDown())
			}
			excessDown = append(excessDown, float64(h.Down-h.LimitDown))
		}
		if h.Up.Known() {
			up = append(up, float64(h.Up))
			if h.LimitUp > 0 {
				ratioUp = append(ratioUp, h.RatioUp())
			}
			excessUp = append(excessUp, float64(h.Up-h.LimitUp))
		}
	}
	s.MedianDown, s.P99Down = Milliseconds(quantile(down, .5)), Milliseconds(quantile(down, .99))
	s.MedianUp, s.P99Up = Milliseconds(quantile(up, .5)), Milliseconds(quantile(up, .99))
	s.MedianRatioDown, s.P99RatioDown = Milliseconds(quantile(ratioDown, .5)), Milliseconds(quantile(ratioDown, .99))
	s.MedianRatioUp, s.P99RatioUp = Milliseconds(quantile(ratioUp, .5)), Milliseconds(quantile(ratioUp, .99))
	s.ExcessDown, s.ExcessUp = Milliseconds(quantile(excessDown, .5)), Milliseconds(quantile(excessUp, .5))
}

// Count counts what was sent and lost in a time, both ways.
func (s *Summary) Count(from, to time.Time, down, up probe.Record) {
	d, u := down.Count(from, to), up.Count(from, to)
	s.SentDown, s.SentUp, s.LostDown, s.LostUp = d.Sent, u.Sent, d.Lost, u.Lost
	s.Duplicates, s.Reordered = d.Duplicate+u.Duplicate, d.Reordered+u.Reordered
}

// quantile is the value that the fraction q of the values does not exceed; for
// one half it is the median, the mean of the middle two. NaN without values.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if q == .5 && n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[max(0, min(n-1, int(math.Ceil(q*float64(n)))-1))]
}

// Quantile is the value that the fraction q of the values does not exceed; None
// without values.
func Quantile(values []Milliseconds, q float64) Milliseconds {
	var plain []float64
	for _, v := range values {
		plain = append(plain, float64(v))
	}
	return Milliseconds(quantile(plain, q))
}

// WriteJSON writes the report as indented JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if r.Failures == nil {
		r.Failures = []string{}
	}
	return e.Encode(r)
}
