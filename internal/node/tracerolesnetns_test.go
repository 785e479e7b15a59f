package node

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"roam6/internal/control"
	"roam6/internal/trace"
	"roam6/mip6"
)

// anchorSections make the node of newVisitor an anchor, too.
const anchorSections = `
config anchor 'city'
	option address '2001:db8:5::1'

config visitor 'bus'
	option spi '2000'
	option key '5d0f6a2b9c1e4d7f80a3b6c9d2e5f801'
	option replay 'sequence'
`

// A node that is a correspondent and an anchor is traced, as it runs and anew: what can be
// played decides the same, and no key and no token that was given out is in the trace. Anew,
// the anchor keeps its bindings; the correspondent loses its own, says so to the mobile that
// goes on with the nonces of before, and is tested again.
func TestTraceOfRoutes(t *testing.T) {
	for name, anew := range map[string]bool{"as it runs": false, "anew": true} {
		t.Run(name, func(t *testing.T) {
			v := newVisitor(t, "\nconfig correspondent\n", anchorSections)
			assign(t, v.space, "home0", cityAddr.String()+"/128")
			v.until("the anchor is ready", func() bool {
				d, err := v.client.Anchors(t.Context())
				return err == nil && len(d.Anchors) == 1 && d.Anchors[0].Ready
			})
			regional := netip.MustParseAddr("2001:db8:5::7")
			if v.bind(regional) != mip6.StatusAccepted || v.optimise().Status != mip6.StatusAccepted {
				t.Fatal("not bound before the trace")
			}

			lines, ended := make(chan []byte, 4096), make(chan error, 1)
			go func() {
				ended <- v.client.Trace(t.Context(), control.TraceRequest{Anew: anew}, func(b []byte) error { lines <- bytes.Clone(b); return nil })
			}()
			text := <-lines // it has begun
			d, err := v.client.Bindings(t.Context())
			if err != nil || len(d.Anchors) != 1 || d.Anchors[0].Regional != regional || (len(d.Correspondent) == 0) != anew {
				t.Fatalf("bindings %+v, %v", d, err)
			}
			want := mip6.StatusAccepted
			if anew {
				want = mip6.StatusExpiredNonces
			}
			if a := v.optimised(mip6.NewBindingKey(v.tokens[0], v.tokens[1])); a.Status != want {
				t.Errorf("with the nonces of before: %v", a.Status)
			}
			if a := v.optimise(); a.Status != mip6.StatusAccepted {
				t.Errorf("after new tests: %v", a.Status)
			}
			if v.bind(regional) != mip6.StatusAccepted || v.bind(regional.Next()) != mip6.StatusAccepted {
				t.Error("the anchor refuses")
			}
			v.end()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			close(lines)
			for l := range lines {
				text = append(text, l...)
			}

			secrets := [][]byte{busSA.Key[:], visitorSA.Key[:]}
			for _, token := range v.tokens {
				secrets = append(secrets, bytes.Clone(token[:]))
			}
			for _, s := range secrets {
				if len(secrets) != 6 || bytes.Contains(text, hex.AppendEncode(nil, s)) || bytes.Contains(text, s) {
					t.Errorf("%x is in the trace", s)
				}
			}
			checkTracedRoutes(t, text, anew)
		})
	}
}

func checkTracedRoutes(t *testing.T, text []byte, anew bool) {
	t.Helper()
	p, err := trace.NewPlayer(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	starts := make(map[string]trace.Start)
	var bound, optimised []string
	for {
		s, err := p.Next()
		if err == io.EOF {
			break
		}
		if err != nil || s.Difference != nil || len(s.Notes) > 0 && s.Entry.Begin == nil {
			t.Fatalf("%s: %v, %v %v", s.Entry.Role, err, s.Difference, s.Notes)
		}
		if b := s.Entry.Begin; b != nil {
			starts[s.Entry.Role] = b.Start
			if s.Entry.Role == correspondentRole && !anew && !strings.Contains(string(b.State), visitorHome.String()) {
				t.Errorf("state %s", b.State)
			}
		}
		if !s.Entry.Authentic {
			continue
		}
		for _, a := range s.Recorded {
			switch text := trace.DescribeAction(a); {
			case !strings.HasPrefix(text, "send binding acknowledgement"):
			case s.Entry.Role == correspondentRole:
				optimised = append(optimised, text)
			case s.Played:
				bound = append(bound, text)
			}
		}
		if s.Played != (s.Entry.Role != correspondentRole || anew) {
			t.Errorf("%s: played: %t", s.Entry.Role, s.Played)
		}
	}
	kept, lost, updates := trace.StartRestored, trace.StartUnknown, 2
	if anew {
		kept, lost, updates = trace.StartNew, trace.StartNew, 1
	}
	if starts["city"] != kept || starts["ha"] != kept || starts[correspondentRole] != lost {
		t.Errorf("starts %v", starts)
	}
	if accepted := func(s string) bool { return strings.Contains(s, "accepted") }; len(bound) != 2 || len(optimised) != updates || !slices.ContainsFunc(bound, accepted) || !slices.ContainsFunc(optimised, accepted) {
		t.Errorf("the anchor's answers %q, the correspondent's %q", bound, optimised)
	}
}
