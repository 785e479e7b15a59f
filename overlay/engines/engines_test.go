package engines

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"roam6/overlay/tun"
)

var errMissing = errors.New("no such device")

// Which engine is opened, and whose leftovers go.
func TestOpen(t *testing.T) {
	for _, test := range []struct {
		name    string
		broken  string // engines that do not open
		want    string
		cleaned string
		err     string
	}{
		{"auto", "", "fast", "middle", ""},
		{"auto", "fast", "middle", "fast", ""},
		{"auto", "fast middle", "slow", "fast middle", ""},
		{"middle", "", "middle", "fast", ""},
		{"slow", "", "slow", "fast middle", ""},
		{"middle", "middle", "", "", `data plane "middle", which the configuration asks for: no such device`},
		{"auto", "fast middle slow", "", "", "no data plane works here: fast: no such device\nmiddle: no such device\nslow: no such device"},
		{"other", "", "", "", `there is no data plane "other"`},
	} {
		var opened string
		var cleaned []string
		make := func(name string, cleans bool) Engine {
			e := Engine{Name: name, Open: func(tun.Config) (*tun.Engine, error) {
				if strings.Contains(test.broken, name) {
					return nil, errMissing
				}
				opened = name
				return nil, nil
			}}
			if cleans {
				e.Clean = func(*slog.Logger) error { cleaned = append(cleaned, name); return nil }
			}
			return e
		}
		_, err := open([]Engine{make("fast", true), make("middle", true), make("slow", false)}, test.name, tun.Config{})
		switch {
		case test.err != "" && (err == nil || !strings.HasPrefix(err.Error(), test.err)):
			t.Errorf("%s without %q: error %v, want %q", test.name, test.broken, err, test.err)
		case test.err == "" && err != nil:
			t.Errorf("%s without %q: %v", test.name, test.broken, err)
		}
		if got := strings.Join(cleaned, " "); opened != test.want || got != test.cleaned {
			t.Errorf("%s without %q: opened %q and cleaned %q, want %q and %q", test.name, test.broken, opened, got, test.want, test.cleaned)
		}
	}
}

// What could not be cleaned is no reason to fail, and said.
func TestCleanFails(t *testing.T) {
	var log bytes.Buffer
	_, err := open([]Engine{
		{Name: "one", Open: func(tun.Config) (*tun.Engine, error) { return nil, nil }},
		{Name: "two", Clean: func(*slog.Logger) error { return errMissing }},
	}, "one", tun.Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil || !strings.Contains(log.String(), "engine=two") {
		t.Errorf("error %v, log %s", err, log.String())
	}
}

// The engines have names that a configuration can have, the last needs no more than
// the others, and all that is missing anywhere says what brings it.
func TestAll(t *testing.T) {
	for _, e := range All() {
		for _, f := range e.Probe() {
			if f.Name == "" || f.OpenWrt == "" || f.Debian == "" {
				t.Errorf("%s: %+v", e.Name, f)
			}
		}
	}
}
