//go:build !nometrics

package metrics

import (
	"fmt"
	"math"
	"strconv"

	dto "github.com/prometheus/client_model/go"
)

// contentType is that of the text format.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// Text returns all metrics in Prometheus's text format 0.0.4, and what is wrong
// with those that could not be had.
func (m *Metrics) Text() ([]byte, error) {
	families, err := m.exposition.registry.Gather() // gives what there is, with or without an error
	var b []byte
	for _, f := range families {
		b = appendFamily(b, f)
	}
	if err != nil {
		return b, fmt.Errorf("gathering metrics: %w", err)
	}
	return b, nil
}

// appendFamily appends a family of counters, gauges, untyped metrics, summaries
// or classic histograms. Names are letters, digits, _ and :, as the registry's
// are here.
func appendFamily(b []byte, f *dto.MetricFamily) []byte {
	name := f.GetName()
	if f.Help != nil {
		b = append(b, "# HELP "...)
		b = append(b, name...)
		b = append(b, ' ')
		b = appendEscaped(b, f.GetHelp(), false)
		b = append(b, '\n')
	}
	b = append(b, "# TYPE "...)
	b = append(b, name...)
	b = append(b, ' ')
	b = append(b, typeName(f.GetType())...)
	b = append(b, '\n')
	for _, m := range f.GetMetric() {
		b = appendMetric(b, name, m)
	}
	return b
}

func typeName(t dto.MetricType) string {
	switch t {
	case dto.MetricType_COUNTER:
		return "counter"
	case dto.MetricType_GAUGE:
		return "gauge"
	case dto.MetricType_SUMMARY:
		return "summary"
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		return "histogram"
	case dto.MetricType_UNTYPED:
		return "untyped"
	default:
		return "untyped"
	}
}

// appendMetric appends the sample, or the samples, of one metric.
func appendMetric(b []byte, name string, m *dto.Metric) []byte {
	s := sample{name: name, metric: m}
	switch {
	case m.Counter != nil:
		return s.append(b, "", m.Counter.GetValue())
	case m.Gauge != nil:
		return s.append(b, "", m.Gauge.GetValue())
	case m.Untyped != nil:
		return s.append(b, "", m.Untyped.GetValue())
	case m.Summary != nil:
		for _, q := range m.Summary.GetQuantile() {
			b = s.with("quantile", q.GetQuantile()).append(b, "", q.GetValue())
		}
		b = s.append(b, "_sum", m.Summary.GetSampleSum())
		return s.appendCount(b, "_count", m.Summary.GetSampleCount())
	case m.Histogram != nil:
		infinite := false
		for _, k := range m.Histogram.GetBucket() {
			b = s.with("le", k.GetUpperBound()).appendCount(b, "_bucket", k.GetCumulativeCount())
			infinite = infinite || math.IsInf(k.GetUpperBound(), +1)
		}
		if !infinite { // required by the format, implied in the registry
			b = s.with("le", math.Inf(+1)).appendCount(b, "_bucket", m.Histogram.GetSampleCount())
		}
		b = s.append(b, "_sum", m.Histogram.GetSampleSum())
		return s.appendCount(b, "_count", m.Histogram.GetSampleCount())
	default:
		return b
	}
}

// sample is what the lines of a metric have in common.
type sample struct {
	name   string
	metric *dto.Metric
	extra  string // name of a label more, or empty
	value  float64
}

func (s sample) with(label string, value float64) sample {
	s.extra, s.value = label, value
	return s
}

func (s sample) append(b []byte, suffix string, v float64) []byte {
	return s.end(appendFloat(s.begin(b, suffix), v))
}

// appendCount appends a count, which the format has as a floating point number
// like any other.
func (s sample) appendCount(b []byte, suffix string, n uint64) []byte {
	return s.append(b, suffix, float64(n))
}

// begin appends the name, the labels and a blank.
func (s sample) begin(b []byte, suffix string) []byte {
	b = append(b, s.name...)
	b = append(b, suffix...)
	separator := byte('{')
	for _, l := range s.metric.GetLabel() {
		b = append(b, separator)
		b = append(b, l.GetName()...)
		b = append(b, `="`...)
		b = appendEscaped(b, l.GetValue(), true)
		b = append(b, '"')
		separator = ','
	}
	if s.extra != "" {
		b = append(b, separator)
		b = append(b, s.extra...)
		b = append(b, `="`...)
		b = appendFloat(b, s.value)
		b = append(b, '"')
		separator = ','
	}
	if separator == ',' {
		b = append(b, '}')
	}
	return append(b, ' ')
}

// end appends the time, where there is one, and ends the line.
func (s sample) end(b []byte) []byte {
	if s.metric.TimestampMs != nil {
		b = append(b, ' ')
		b = strconv.AppendInt(b, s.metric.GetTimestampMs(), 10)
	}
	return append(b, '\n')
}

func appendFloat(b []byte, f float64) []byte {
	if f == 0 { // without the sign of a negative zero
		return append(b, '0')
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64) // NaN, +Inf and -Inf are as the format has them
}

// appendEscaped escapes backslash and newline and, in label values, the quote.
func appendEscaped(b []byte, s string, quote bool) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			b = append(b, `\\`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '"' && quote:
			b = append(b, `\"`...)
		default:
			b = append(b, c)
		}
	}
	return b
}
