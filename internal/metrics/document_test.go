//go:build !nometrics

package metrics

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"roam6/internal/generated"
	"roam6/internal/role"
	"roam6/nd"
	"roam6/nd/ndconn"
	"roam6/overlay"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

const documentHead = `# Metrics

What a daemon tells Prometheus, at ` + "`/metrics`" + ` of the address that the section ` + "`metrics`" + `
names (docs/configuration.md), in the text format 0.0.4. No metric has a label for a mobile or
an address: ` + "`roam6 show`" + ` has those. Alerts and boards made of them are in ` + "`contrib/prometheus/`" + `
and ` + "`contrib/grafana/`" + `; docs/monitoring.md tells how to use them.

Counters are there from the start, so that a rate is right from the first scrape on. What
the mobiles, home agents and anchors of the daemon are asked for at a scrape is absent where
they do not answer within two seconds.

Written by ` + "`go test ./internal/metrics -update`" + `.

| Metric | Kind | Labels | Meaning |
|---|---|---|---|
`

// docs/metrics.md lists every metric that a daemon may tell, with all its labels.
func TestDocument(t *testing.T) {
	m := New("1.2.3")
	state := aState()
	for _, r := range overlay.DropReasons() {
		state.Drops[r] = 1
	}
	m.Observe(&source{state: state})
	a := m.Advertising("lan0")
	a.Gap(50 * time.Millisecond)
	a.Failed(ndconn.SendFailed.String())
	for r := ndconn.SendFailed + 1; r.String() != ndconn.SendFailed.String(); r++ {
		a.Failed(r.String())
	}
	for f := range nd.NumInconsistentFields {
		m.Inconsistent(f)
	}
	m.Handover(role.Handover{Trigger: role.TriggerLink})
	families, err := m.exposition.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	var b strings.Builder
	b.WriteString(documentHead)
	for _, f := range families {
		told[f.GetName()] = true
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), typeName(f.GetType()), documentLabels(f), f.GetHelp())
	}
	for _, name := range described(t, m.exposition.registry) {
		if !told[name] {
			t.Errorf("%s can be told, and is not in the document: the state of this test lacks it", name)
		}
	}
	const path = "../../docs/metrics.md"
	generated.Check(t, path, []byte(b.String()), *update, "the metrics are", "go test ./internal/metrics -update")
}

// documentLabels are the labels of a family with their values, where these are few.
func documentLabels(f *dto.MetricFamily) string {
	const few = 32
	var names []string
	values := map[string][]string{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			n, v := l.GetName(), l.GetValue()
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
			if !slices.Contains(values[n], v) {
				values[n] = append(values[n], v)
			}
		}
	}
	var out []string
	for _, n := range names {
		v := values[n]
		slices.Sort(v)
		switch {
		case n == "version" || n == "interface" || n == "plane": // what is told here is an example
			out = append(out, "`"+n+"`")
		case len(v) > few:
			out = append(out, fmt.Sprintf("`%s`: %s, … (%d)", n, strings.Join(v[:few], ", "), len(v)))
		default:
			out = append(out, fmt.Sprintf("`%s`: %s", n, strings.Join(v, ", ")))
		}
	}
	return strings.Join(out, "; ")
}

// described are the names of all that a registry can tell.
func described(t *testing.T, r *prometheus.Registry) (names []string) {
	t.Helper()
	to := make(chan *prometheus.Desc)
	go func() {
		r.Describe(to)
		close(to)
	}()
	for d := range to {
		_, rest, ok := strings.Cut(d.String(), `fqName: "`)
		name, _, closed := strings.Cut(rest, `"`)
		if !ok || !closed {
			t.Fatalf("%s", d)
		}
		names = append(names, name)
	}
	return names
}
