package contribtest

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// vocabulary is what a daemon may tell: the labels of each metric with their values, nil
// where any may occur. It is that of docs/metrics.md, which the code has written.
type vocabulary map[string]map[string][]string

func readVocabulary(t *testing.T) vocabulary {
	t.Helper()
	text, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	v := vocabulary{
		"up":     {},                                                      // Prometheus's own
		"ALERTS": {"alertname": nil, "alertstate": {"firing", "pending"}}, // likewise
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		if len(cells) != 4 || !strings.HasPrefix(line, "| `") {
			continue
		}
		labels := map[string][]string{}
		for part := range strings.SplitSeq(cells[2], "; ") {
			name, values, listed := strings.Cut(part, ": ")
			if name = strings.Trim(name, "` "); name == "" {
				continue
			}
			labels[name] = nil
			if listed {
				labels[name] = strings.Split(strings.TrimSpace(values), ", ")
			}
		}
		name := strings.Trim(cells[0], "| `")
		v[name] = labels
		if cells[1] == "histogram" {
			v[name+"_sum"], v[name+"_count"] = labels, labels
			buckets := map[string][]string{"le": nil}
			for k, values := range labels {
				buckets[k] = values
			}
			v[name+"_bucket"] = buckets
		}
	}
	if len(v) < 60 {
		t.Fatalf("docs/metrics.md has %d metrics", len(v))
	}
	return v
}

// ofTarget are labels that Prometheus adds.
var ofTarget = []string{"job", "instance"}

var (
	quoted   = regexp.MustCompile(`"[^"]*"`)
	selector = regexp.MustCompile(`\b((?:roam6|process)_\w+|up|ALERTS)\b\s*(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
)

// faults are what an expression asks for that no daemon tells: metrics, labels, values of
// labels. Of a pattern each alternative must be one that occurs.
func (v vocabulary) faults(expr string) (list []string) {
	used := map[string]bool{}
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		labels, ok := v[m[1]]
		if !ok {
			list = append(list, "there is no metric "+m[1])
			continue
		}
		for name := range labels {
			used[name] = true
		}
		for _, x := range matcher.FindAllStringSubmatch(m[2], -1) {
			name, pattern := x[1], strings.HasSuffix(x[2], "~")
			values, ok := labels[name]
			switch {
			case slices.Contains(ofTarget, name):
				continue
			case !ok:
				list = append(list, fmt.Sprintf("%s has no label %s", m[1], name))
				continue
			case values == nil:
				continue
			}
			wanted := []string{x[3]}
			if pattern {
				wanted = strings.Split(x[3], "|")
			}
			for _, w := range wanted {
				is := func(s string) bool { return s == w }
				if re, err := regexp.Compile("^(?:" + w + ")$"); pattern && err == nil {
					is = re.MatchString
				}
				if !slices.ContainsFunc(values, is) {
					list = append(list, fmt.Sprintf("label %s of %s is never %s", name, m[1], w))
				}
			}
		}
	}
	if len(selector.FindAllString(quoted.ReplaceAllString(expr, ""), -1)) == 0 {
		list = append(list, "no metric of roam6 at all")
	}
	for _, m := range grouping.FindAllStringSubmatch(quoted.ReplaceAllString(expr, `""`), -1) {
		for name := range strings.SplitSeq(m[1], ",") {
			if name = strings.TrimSpace(name); name != "" && !used[name] && !slices.Contains(ofTarget, name) {
				list = append(list, "no metric here has a label "+name)
			}
		}
	}
	return list
}

// What a misprint in an alert looks like.
func TestFaults(t *testing.T) {
	v := readVocabulary(t)
	for _, c := range []struct{ expr, want string }{
		{`rate(roam6_messages_dropped_total{reason="replay"}[5m])`, ""},
		{`sum by (job, le) (rate(roam6_handover_phase_seconds_bucket{phase="total",job="x"}[5m]))`, ""},
		{`roam6_ra_sent_total{interface="anything"}`, ""},
		{`roam6_binding_acknowledgements_total{status=~"1[34].|0"}`, ""},
		{`rate(roam6_messages_droped_total[5m])`, "there is no metric roam6_messages_droped_total"},
		{`roam6_messages_dropped_total{reason="reply"}`, "label reason of roam6_messages_dropped_total is never reply"},
		{`roam6_messages_dropped_total{reason!~"replay|reply"}`, "label reason of roam6_messages_dropped_total is never reply"},
		{`roam6_registered{home="x"}`, "roam6_registered has no label home"},
		{`sum by (interface) (roam6_registered)`, "no metric here has a label interface"},
		{`roam6_connected_bucket`, "there is no metric roam6_connected_bucket"},
		{`vector(1) == on (job) time()`, "no metric of roam6 at all"},
	} {
		if got := strings.Join(v.faults(c.expr), "; "); got != c.want {
			t.Errorf("%s: %q, want %q", c.expr, got, c.want)
		}
	}
}
