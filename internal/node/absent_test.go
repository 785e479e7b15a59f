package node

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"roam6/internal/config"
)

// Interfaces that there are not are named in the log, each once.
func TestAbsentInterfaces(t *testing.T) {
	c := &config.Config{
		MobileNodes:    []config.MobileNode{{Uplinks: []string{"no-up", "lo"}, Downstreams: []string{"no-lan"}}, {Uplinks: []string{"no-up"}}},
		PrefixRequests: []config.PrefixRequest{{Uplink: "no-up", Downstreams: []string{"no-guest"}}},
		HomeAgents:     []config.HomeAgent{{Interface: "no-home"}},
		Interfaces:     []config.Interface{{Name: "no-lan"}},
	}
	var b bytes.Buffer
	s := &Shell{log: slog.New(slog.NewTextHandler(&b, nil))}
	s.noteAbsent(c)
	var named []string
	for line := range strings.Lines(b.String()) {
		_, name, _ := strings.Cut(strings.TrimSpace(line), "interface=")
		named = append(named, name)
	}
	if want := []string{"no-guest", "no-home", "no-lan", "no-up"}; !slices.Equal(named, want) {
		t.Errorf("named are %q, want %q:\n%s", named, want, b.String())
	}
}
