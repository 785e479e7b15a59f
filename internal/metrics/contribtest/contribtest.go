// Package contribtest reads what contrib has for Prometheus and Grafana, for the tests
// that prove it: the alerts, and the queries of the boards.
package contribtest

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// Alert is an alerting rule.
type Alert struct {
	Name string
	Expr string
	For  time.Duration
}

// Alerts reads the rules of a file for Prometheus. It knows of YAML what that file needs
// and no more: a key on each line, and folded text for long expressions.
func Alerts(path string) ([]Alert, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var alerts []Alert
	folded := -1 // indentation of the key whose folded text is being read
	for number, line := range strings.Split(string(text), "\n") {
		trimmed := strings.TrimSpace(line)
		indentation := len(line) - len(strings.TrimLeft(line, " "))
		if folded >= 0 && indentation > folded {
			a := &alerts[len(alerts)-1]
			a.Expr = strings.TrimSpace(a.Expr + " " + trimmed)
			continue
		}
		folded = -1
		if name, ok := strings.CutPrefix(trimmed, "- alert: "); ok {
			alerts = append(alerts, Alert{Name: name})
			continue
		}
		expr, isExpr := strings.CutPrefix(trimmed, "expr: ")
		hold, isFor := strings.CutPrefix(trimmed, "for: ")
		if (isExpr || isFor) && len(alerts) == 0 {
			return nil, fmt.Errorf("%s:%d: belongs to no alert: %s", path, number+1, trimmed)
		}
		switch {
		case isExpr && expr == ">-":
			folded = indentation
		case isExpr:
			alerts[len(alerts)-1].Expr = expr
		case isFor:
			if alerts[len(alerts)-1].For, err = time.ParseDuration(hold); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", path, number+1, err)
			}
		}
	}
	for _, a := range alerts {
		if a.Expr == "" {
			return nil, fmt.Errorf("%s: alert %s has no expression", path, a.Name)
		}
	}
	return alerts, nil
}

// durations are the times of a rules file that Hasten divides: how long an alert has to
// hold, and the ranges of its expression.
var durations = regexp.MustCompile(`(for: |\[)([0-9]+[smh])\b`)

// Hasten divides every `for` and every range of a rules file by a number, so that what
// takes minutes in the field can be seen in a test. Thresholds stay: those of rates are for
// each second anyhow, and those of increases are counts.
func Hasten(rules string, by int) string {
	return durations.ReplaceAllStringFunc(rules, func(s string) string {
		m := durations.FindStringSubmatch(s)
		d, err := time.ParseDuration(m[2])
		if err != nil {
			return s
		}
		return fmt.Sprintf("%s%dms", m[1], (d / time.Duration(by)).Milliseconds())
	})
}

// Query is what a panel or an annotation of a board asks Prometheus.
type Query struct {
	Panel string
	Expr  string // with the variables of Grafana
}

// Plain is the query with values for Grafana's variables: all instances, and a range.
func (q Query) Plain(interval string) string {
	return strings.NewReplacer("$__rate_interval", interval, "$instance", ".+").Replace(q.Expr)
}

// Board is a dashboard of Grafana, as far as tests look at it.
type Board struct {
	UID           string
	Title         string
	SchemaVersion int
	Panels        []Panel
	Templating    struct{ List []Variable }
	Annotations   struct {
		List []struct {
			Name, Expr string
			Datasource Datasource
		}
	}
}

// Panel is one of a board's; a row has no queries.
type Panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               Datasource
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		Expr       string
		Datasource Datasource
	}
}

// Variable is one that the reader of a board may choose.
type Variable struct {
	Name, Type string
	Query      json.RawMessage
	Regex      string
}

// Datasource is where a panel's data come from.
type Datasource struct{ Type, UID string }

// ReadBoard reads a dashboard.
func ReadBoard(path string) (b Board, err error) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &b)
	}
	return b, err
}

// Queries are all of a board.
func (b Board) Queries() (list []Query) {
	for _, p := range b.Panels {
		for _, t := range p.Targets {
			list = append(list, Query{p.Title, t.Expr})
		}
	}
	for _, a := range b.Annotations.List {
		list = append(list, Query{"annotation " + a.Name, a.Expr})
	}
	return list
}
