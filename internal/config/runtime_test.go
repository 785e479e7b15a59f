package config

import (
	"strings"
	"testing"
)

// What the Go runtime may spend: the words, the bounds, and errors with their place.
func TestRuntime(t *testing.T) {
	for _, tt := range []struct {
		options string
		want    Runtime
		wrong   string
	}{
		{"", Runtime{GCPercent: 50}, ""},
		{"\toption gogc '10'\n\toption memory_limit '1048576'\n\toption processors '1024'\n", Runtime{10, 1 << 20, 1024}, ""},
		{"\toption memory_limit 'none'\n", Runtime{50, MemoryLimitNone, 0}, ""},
		{"\toption memory_limit 'auto'\n\toption processors 'auto'\n", Runtime{GCPercent: 50}, ""},
		{"\toption gogc '9'\n", Runtime{}, `(roam6:2:14): "9": expected an integer from 10 to 1000 (percent)`},
		{"\toption gogc '1001'\n", Runtime{}, `(roam6:2:14): "1001": expected an integer from 10 to 1000 (percent)`},
		{"\toption gogc 'off'\n", Runtime{}, `(roam6:2:14): "off": expected an integer from 10 to 1000 (percent)`},
		{"\toption memory_limit '7'\n", Runtime{}, `(roam6:2:22): "7": expected 'auto' or 'none' or an integer from 8 to 1048576 (MiB)`},
		{"\toption memory_limit '16MiB'\n", Runtime{}, `(roam6:2:22): "16MiB": expected 'auto' or 'none' or an integer from 8 to 1048576 (MiB)`},
		{"\toption memory_limit '1048577'\n", Runtime{}, `(roam6:2:22): "1048577": expected 'auto' or 'none' or an integer from 8 to 1048576 (MiB)`},
		{"\toption processors '0'\n", Runtime{}, `(roam6:2:20): "0": expected 'auto' or an integer from 1 to 1024`},
		{"\toption processors '1025'\n", Runtime{}, `(roam6:2:20): "1025": expected 'auto' or an integer from 1 to 1024`},
	} {
		c, err := Parse("roam6", []byte("config globals\n"+tt.options))
		switch {
		case tt.wrong != "":
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%q: error %v, want %s", tt.options, err, tt.wrong)
			}
		case err != nil:
			t.Errorf("%q: %v", tt.options, err)
		case c.Globals.Runtime != tt.want:
			t.Errorf("%q: %+v, want %+v", tt.options, c.Globals.Runtime, tt.want)
		}
	}
}
