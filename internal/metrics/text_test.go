//go:build !nometrics

package metrics

import (
	"bytes"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"roam6/internal/role"
	"roam6/mip6"
)

// reference is the text format by Prometheus's own library.
func reference(t testing.TB, families []*dto.MetricFamily) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// ours is the text format by this package.
func ours(families []*dto.MetricFamily) []byte {
	var b []byte
	for _, f := range families {
		b = appendFamily(b, f)
	}
	return b
}

func TestTextFormat(t *testing.T) {
	r := prometheus.NewRegistry()
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "g", Help: "back\\slash, \"quotes\" and\nnewline; ünïcode"}, []string{"a", "b"})
	for i, v := range []float64{0, math.Copysign(0, -1), 1, -1, 0.1, 1e300, 1e-300, 123456789, 1 << 62, math.NaN(), math.Inf(1), math.Inf(-1), math.Pi} {
		gauge.WithLabelValues("x\\y\"z\nw", string(rune('a'+i))).Set(v)
	}
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "c_total"}) // without help
	counter.Add(math.MaxUint32 + 0.5)
	histogram := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "h_seconds", Help: "h", Buckets: []float64{.005, 1}}, []string{"phase"})
	for _, v := range []float64{0.001, 0.5, 7, math.Inf(1)} {
		histogram.WithLabelValues("x").Observe(v)
	}
	histogram.WithLabelValues("empty")
	unlabelled := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h2", Help: "with an infinite bucket", Buckets: []float64{1, math.Inf(1)}})
	unlabelled.Observe(2)
	summary := prometheus.NewSummaryVec(prometheus.SummaryOpts{Name: "s", Help: "s", Objectives: map[float64]float64{.5: .05, .99: .001}}, []string{"l"})
	summary.WithLabelValues("none")
	summary.WithLabelValues("some").Observe(3)
	untyped := prometheus.NewUntypedFunc(prometheus.UntypedOpts{Name: "u"}, func() float64 { return 5 })
	timed := collector{prometheus.NewMetricWithTimestamp(time.UnixMilli(-1500),
		prometheus.MustNewConstMetric(prometheus.NewDesc("timed", "t", nil, nil), prometheus.GaugeValue, 1))}
	r.MustRegister(gauge, counter, histogram, unlabelled, summary, untyped, timed)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ours(families), reference(t, families); !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// collector is one metric.
type collector struct{ prometheus.Metric }

func (c collector) Describe(to chan<- *prometheus.Desc) { to <- c.Desc() }
func (c collector) Collect(to chan<- prometheus.Metric) { to <- c.Metric }

// The same metrics by Prometheus's own HTTP handler.
func TestTextAgainstHandler(t *testing.T) {
	m := New(`0.1.0 "quoted" \`)
	m.Observe(&source{state: State{Plane: "tun"}})
	m.Dropped(role.DropMalformed)
	m.Acknowledged(RoleMobile, role.Acknowledged{Status: mip6.StatusAccepted})
	m.Handover(role.Handover{Trigger: role.TriggerLink, Start: time.Unix(1, 0), Acknowledged: time.Unix(1, 23456789)})
	m.exposition.registry.Unregister(m.exposition.state) // the memory changes from scrape to scrape
	text, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(m.exposition.registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if !bytes.Equal(text, w.Body.Bytes()) {
		t.Errorf("got\n%s\nwant\n%s", text, w.Body)
	}
}

// Names, help and types are as Prometheus's linter wants them.
func TestLint(t *testing.T) {
	m := New("1")
	m.Observe(&source{state: State{Plane: "tun"}})
	families, err := m.exposition.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Whatever the strings and numbers are, the text is the library's.
func FuzzText(f *testing.F) {
	f.Add("help", "value", 1.5, uint64(3), int64(0))
	f.Add("a\\b\nc\"d", "\\\n\"", math.NaN(), uint64(0), int64(-1))
	f.Add("", "", math.Inf(-1), uint64(math.MaxUint64), int64(math.MaxInt64))
	f.Add("\xff", "\x00", math.Copysign(0, -1), uint64(1), int64(1))
	f.Fuzz(func(t *testing.T, help, value string, v float64, n uint64, at int64) {
		name, label := "m", "l"
		labels := []*dto.LabelPair{{Name: &label, Value: &value}, {Name: &name, Value: &help}}
		kinds := map[dto.MetricType]*dto.Metric{
			dto.MetricType_COUNTER: {Counter: &dto.Counter{Value: &v}},
			dto.MetricType_GAUGE:   {Gauge: &dto.Gauge{Value: &v}, TimestampMs: &at},
			dto.MetricType_UNTYPED: {Untyped: &dto.Untyped{Value: &v}},
			dto.MetricType_SUMMARY: {Summary: &dto.Summary{SampleCount: &n, SampleSum: &v, Quantile: []*dto.Quantile{{Quantile: &v, Value: &v}}}},
			dto.MetricType_HISTOGRAM: {TimestampMs: &at,
				Histogram: &dto.Histogram{SampleCount: &n, SampleSum: &v, Bucket: []*dto.Bucket{{CumulativeCount: &n, UpperBound: &v}}}},
		}
		for kind, m := range kinds {
			m.Label = labels
			f := []*dto.MetricFamily{{Name: &name, Help: &help, Type: &kind, Metric: []*dto.Metric{m, {Label: labels[:1], Counter: m.Counter, Gauge: m.Gauge, Untyped: m.Untyped, Summary: m.Summary, Histogram: m.Histogram}}}}
			if got, want := ours(f), reference(t, f); !bytes.Equal(got, want) {
				t.Errorf("%v: got\n%q\nwant\n%q", kind, got, want)
			}
		}
	})
}
