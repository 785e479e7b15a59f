package contribtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	rules     = "../../../contrib/prometheus/alerts.yml"
	ruleTests = "../../../contrib/prometheus/alerts_test.yml"
	scraping  = "../../../contrib/prometheus/prometheus.yml"
)

var boards = []string{"../../../contrib/grafana/router.json", "../../../contrib/grafana/home-agent.json"}

// promtool runs Prometheus's own checker.
func promtool(t *testing.T, args ...string) error {
	t.Helper()
	binary, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("needs promtool, of the Debian package prometheus")
	}
	out, err := exec.Command(binary, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("promtool %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

func readAlerts(t *testing.T) []Alert {
	t.Helper()
	alerts, err := Alerts(rules)
	if err != nil {
		t.Fatal(err)
	}
	if len(alerts) < 20 {
		t.Fatalf("%d alerts", len(alerts))
	}
	return alerts
}

// The alerts ask for nothing that a daemon does not tell, and each has what an operator
// needs, and a test in which it fires for one daemon and not for others.
func TestAlerts(t *testing.T) {
	v := readVocabulary(t)
	text, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	tested, err := os.ReadFile(ruleTests)
	if err != nil {
		t.Fatal(err)
	}
	tests := strings.Split(string(tested), "  - name: ")[1:]
	sections := strings.Split(string(text), "- alert: ")[1:]
	seen := map[string]bool{}
	for i, a := range readAlerts(t) {
		if seen[a.Name] {
			t.Errorf("%s is there twice", a.Name)
		}
		seen[a.Name] = true
		for _, f := range v.faults(a.Expr) {
			t.Errorf("%s: %s", a.Name, f)
		}
		for _, needs := range []string{"severity: ", "summary: ", "description: "} {
			if !strings.Contains(sections[i], needs) {
				t.Errorf("%s has no %s", a.Name, needs)
			}
		}
		if !regexp.MustCompile(`severity: (critical|warning|info)\n`).MatchString(sections[i]) {
			t.Errorf("%s: the severity is none of critical, warning and info", a.Name)
		}
		j := slices.IndexFunc(tests, func(s string) bool { return strings.HasPrefix(s, a.Name+"\n") })
		if j < 0 {
			t.Errorf("%s has no test in %s", a.Name, ruleTests)
			continue
		}
		if !strings.Contains(tests[j], `- labels: ALERTS{alertname="`+a.Name+`",alertstate="firing"`) {
			t.Errorf("%s does not fire in its test", a.Name)
		}
		if !strings.Contains(tests[j], `instance="well"`) {
			t.Errorf("%s has no daemon in its test for which it does not fire", a.Name)
		}
	}
	for _, x := range tests {
		if name, _, _ := strings.Cut(x, "\n"); !seen[name] {
			t.Errorf("%s tests %s, which is no alert", ruleTests, name)
		}
	}
}

// Prometheus takes the rules and the example of a configuration, and the rules do what
// their tests say. One that is never to fire fails its test.
func TestPromtool(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", rules}, {"check", "config", scraping}, {"test", "rules", ruleTests}} {
		if err := promtool(t, args...); err != nil {
			t.Error(err)
		}
	}
	text, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(ruleTests)
	if err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(t.TempDir(), "alerts.yml")
	copied := filepath.Join(filepath.Dir(dead), filepath.Base(ruleTests))
	if err := os.WriteFile(copied, tests, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dead, []byte(strings.Replace(string(text), "roam6_last_reload_successful == 0", "roam6_last_reload_successful == 7", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if promtool(t, "test", "rules", copied) == nil {
		t.Error("an alert that cannot fire passes its test")
	}
}

// Prometheus takes the hastened rules too, and they are other ones in nothing but time.
func TestHasten(t *testing.T) {
	text, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "hastened.yml")
	if err := os.WriteFile(file, []byte(Hasten(string(text), 60)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := promtool(t, "check", "rules", file); err != nil {
		t.Error(err)
	}
	hastened, err := Alerts(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range readAlerts(t) {
		if h := hastened[i]; h.Name != a.Name || h.For != a.For/60 {
			t.Errorf("%+v became %+v", a, h)
		}
	}
	if got, want := Hasten("  expr: rate(a[5m]) > 3 and b\n  for: 30s\n", 60), "  expr: rate(a[5000ms]) > 3 and b\n  for: 500ms\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Misprints in a rules file.
func TestAlertsFails(t *testing.T) {
	for _, text := range []string{"expr: up\n", "- alert: A\n  for: soon\n  expr: up\n", "- alert: A\n"} {
		file := filepath.Join(t.TempDir(), "rules.yml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if a, err := Alerts(file); err == nil {
			t.Errorf("%q: %+v", text, a)
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte("- alert: A\n  expr: >-\n    up ==\n      0\n  for: 5m\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := Alerts(file); err != nil || len(a) != 1 || a[0] != (Alert{"A", "up == 0", 5 * time.Minute}) {
		t.Errorf("%+v, %v", a, err)
	}
}

// The boards ask for nothing that a daemon does not tell, Prometheus takes what they ask,
// and Grafana gets what it needs: a data source that can be chosen, its own panels alone,
// a unit and a description on each, none on top of another.
func TestBoards(t *testing.T) {
	v := readVocabulary(t)
	var recorded strings.Builder
	recorded.WriteString("groups:\n  - name: boards\n    rules:\n")
	asked := map[string]bool{}
	for _, path := range boards {
		b, err := ReadBoard(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		fault := func(format string, args ...any) { t.Helper(); t.Errorf("%s: %s", path, fmt.Sprintf(format, args...)) }
		if b.SchemaVersion < 36 || b.SchemaVersion > 39 || b.Title == "" || b.UID == "" {
			fault("schema %d, title %q, uid %q", b.SchemaVersion, b.Title, b.UID)
		}
		if i := slices.IndexFunc(b.Templating.List, func(x Variable) bool { return x.Name == "datasource" && x.Type == "datasource" }); i < 0 {
			fault("the data source is no variable")
		}
		ids := map[int]bool{}
		covered := map[[2]int]string{}
		for _, p := range b.Panels {
			if ids[p.ID] {
				fault("panel %d is there twice", p.ID)
			}
			ids[p.ID] = true
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					if other := covered[at]; other != "" || at[0] >= 24 {
						fault("%q is on top of %q, or beyond the edge", p.Title, other)
					}
					covered[at] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			if !slices.Contains([]string{"timeseries", "stat", "heatmap"}, p.Type) {
				fault("%q is a %s, which not every Grafana has", p.Title, p.Type)
			}
			if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
				fault("%q lacks something: %+v", p.Title, p)
			}
			for _, q := range p.Targets {
				if q.Datasource.UID != "${datasource}" {
					fault("%q has a data source of its own", p.Title)
				}
			}
		}
		queries := b.Queries()
		if len(queries) < 30 {
			fault("%d queries", len(queries))
		}
		for _, q := range queries {
			expr := q.Plain("5m")
			for _, f := range v.faults(expr) {
				fault("%s: %s", q.Panel, f)
			}
			if strings.Contains(expr, "$") {
				fault("%s: a variable that the board has not: %s", q.Panel, expr)
			}
			for _, m := range selector.FindAllStringSubmatch(expr, -1) {
				asked[m[1]] = true
			}
			fmt.Fprintf(&recorded, "      - record: query:%d\n        expr: %q\n", len(asked)+strings.Count(recorded.String(), "record:"), expr)
		}
	}
	file := filepath.Join(t.TempDir(), "boards.yml")
	if err := os.WriteFile(file, []byte(recorded.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	// Together they show all that there is to see.
	for name := range v {
		base := name
		for _, end := range []string{"_sum", "_count", "_bucket"} {
			base = strings.TrimSuffix(base, end)
		}
		if !asked[name] && !asked[base] && !asked[base+"_bucket"] {
			t.Errorf("no board shows %s", name)
		}
	}
	if err := promtool(t, "check", "rules", file); err != nil {
		t.Error(err)
	}
}
