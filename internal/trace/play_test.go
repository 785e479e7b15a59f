package trace_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"roam6/cn"
	"roam6/dhcpv6"
	"roam6/dhcpv6/delegating"
	"roam6/ha"
	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/internal/trace"
	"roam6/internal/trace/tracetest"
	anchor "roam6/map"
	"roam6/mip6"
	"roam6/mn"
	"roam6/mr"
	"roam6/nd"
)

// Traces of the lab: a mobile router and its home agent, a mobile node that optimises routes,
// a correspondent that begins anew while a mobile uses its route, and an anchor.
func TestRides(t *testing.T) {
	for file, want := range map[string]struct{ handovers, optimised, tunnels int }{
		"testdata/router.trace":        {handovers: 5, tunnels: 4},
		"testdata/agent.trace":         {tunnels: 6},
		"testdata/node.trace":          {handovers: 3, optimised: 4, tunnels: 2},
		"testdata/correspondent.trace": {optimised: 2},
		"testdata/anchor.trace":        {tunnels: 3},
	} {
		t.Run(file, func(t *testing.T) {
			handovers, optimised, tunnels := 0, 0, 0
			for _, s := range tracetest.Same(t, file) {
				for _, a := range s.Actions {
					switch a := a.(type) {
					case role.HandoverDone:
						handovers++
					case role.Forward:
						for _, c := range a.Changes {
							if c.Optimise != nil {
								optimised++
							}
							if c.Set != nil {
								tunnels++
							}
						}
					}
				}
			}
			if handovers != want.handovers || optimised != want.optimised || tunnels != want.tunnels {
				t.Errorf("%d handovers, %d optimised routes and %d tunnels set, want %+v", handovers, optimised, tunnels, want)
			}
		})
	}
}

var (
	agentAddr = netip.MustParseAddr("2001:db8:10::1")
	homeAddr  = netip.MustParseAddr("2001:db8:10::100")
	careOf    = netip.MustParseAddr("2001:db8:a1::7")
	secret    = mip6.SharedKey{0xde, 0xad, 0xbe, 0xef, 'r', 'o', 'a', 'm', '6', '-', 's', 'e', 'c', 'r', 'e', 't'}
)

func agentConfig() ha.Config {
	return ha.Config{Name: "ha", Address: agentAddr, Prefix: netip.MustParsePrefix("2001:db8:10::/64"),
		Mobiles: []ha.Mobile{{Name: "train", HomeAddress: homeAddr, SA: &mip6.SecurityAssociation{SPI: 256, Key: secret}}}}
}

// update is a binding update as it is received, sealed with a key or not.
func update(t *testing.T, sequence mip6.Sequence, key *mip6.SharedKey) mip6.Packet {
	t.Helper()
	p := mip6.Packet{Source: careOf, Destination: agentAddr, HomeAddress: homeAddr, HopLimit: 64, Message: mip6.BindingUpdate{
		Sequence: sequence, Flags: mip6.UpdateHome | mip6.UpdateAcknowledge, Lifetime: 100, Options: []mip6.Option{mip6.AlternateCareOf{Addr: careOf}}}}
	if key != nil {
		var err error
		if p.Message, err = (mip6.SecurityAssociation{SPI: 256, Key: *key}).Seal(p.Message, careOf, homeAddr); err != nil {
			t.Fatal(err)
		}
	}
	b, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = mip6.ParsePacket(b); err != nil {
		t.Fatal(err)
	}
	return p
}

var noMemories iter.Seq[binding.Memory] = func(func(binding.Memory) bool) {}

// recording is a home agent that is recorded.
type recording struct {
	*testing.T
	now      time.Time
	agent    *ha.Agent
	stream   *trace.Stream
	recorder *trace.Recorder
	drawn    []byte
}

// random is some randomness.
func (r *recording) random(b []byte) {
	for i := range b {
		b[i] = byte(i + len(r.drawn))
	}
	r.drawn = append(r.drawn, b...)
}

func record(t *testing.T) *recording {
	t.Helper()
	now := time.Now()
	r := &recording{T: t, now: now, stream: trace.NewStream(now, "test")}
	c := agentConfig()
	c.Random = r.random
	r.agent = ha.New(c)
	var err error
	if r.recorder, err = r.stream.Agent(now, "ha", trace.StartNew, c, r.drawn, trace.Known{Memories: noMemories}); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *recording) handle(e role.Event) []role.Action {
	r.now, r.drawn = r.now.Add(time.Second), nil
	actions := r.agent.Handle(r.now, e)
	r.recorder.Handled(r.now, e, actions, trace.Drawn{Random: r.drawn}, r.agent.Next())
	return actions
}

func (r *recording) text() []byte {
	r.Helper()
	r.stream.End()
	var b bytes.Buffer
	if err := r.stream.Write(context.Background(), &b); err != nil {
		r.Fatal(err)
	}
	return b.Bytes()
}

// play plays a trace to its end.
func play(t *testing.T, text []byte) (steps []trace.Step, err error) {
	t.Helper()
	p, err := trace.NewPlayer(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	for {
		s, err := p.Next()
		if err != nil {
			return steps, err
		}
		steps = append(steps, s)
	}
}

// What is authentic and what is forged is so in the play, too, and neither the key nor
// anything to try keys with is in the trace.
func TestKeys(t *testing.T) {
	r := record(t)
	wrong := secret
	wrong[0]++
	var sealed [][]byte
	for i, tt := range []struct {
		key  *mip6.SharedKey
		drop role.DropReason // 0: accepted
	}{{&secret, 0}, {&wrong, role.DropBadAuthenticator}, {nil, role.DropUnauthenticated}, {&secret, 0}} {
		p := update(t, mip6.Sequence(i+1), tt.key)
		if a, ok := mip6.AuthenticationOf(p.Message); ok {
			sealed = append(sealed, a.Data)
		}
		var dropped role.DropReason
		for _, a := range r.handle(role.MessageReceived{Link: 2, Packet: p}) {
			switch a := a.(type) {
			case role.Dropped:
				dropped = a.Reason
			case role.Send:
				if x, ok := mip6.AuthenticationOf(a.Packet.Message); ok {
					sealed = append(sealed, x.Data)
				}
			}
		}
		if dropped != tt.drop {
			t.Fatalf("update %d: dropped for %v, want %v", i, dropped, tt.drop)
		}
	}
	text := r.text()
	steps, err := play(t, text)
	if err != io.EOF || len(steps) != 5 {
		t.Fatalf("%d steps, %v", len(steps), err)
	}
	for i, s := range steps {
		if s.Difference != nil || len(s.Notes) > 0 {
			t.Errorf("step %d: %v %v", i, s.Difference, s.Notes)
		}
	}
	secrets := append(sealed, secret[:])
	if len(secrets) != 7 {
		t.Fatalf("%d secrets", len(secrets))
	}
	checkSecrets(t, text, secrets)
}

// checkSecrets fails where one of some secrets is in a trace, in whatever form.
func checkSecrets(t *testing.T, text []byte, secrets [][]byte) {
	t.Helper()
	for _, s := range secrets {
		for _, form := range []string{string(s), hex.EncodeToString(s), strings.ToUpper(hex.EncodeToString(s)), base64.StdEncoding.EncodeToString(s), strings.Trim(fmt.Sprint(s), "[]"), strings.ReplaceAll(strings.Trim(fmt.Sprint(s), "[]"), " ", ",")} {
			if bytes.Contains(text, []byte(form)) {
				t.Errorf("%x is in the trace as %q", s, form)
			}
		}
	}
}

// A field of a role's configuration that could have a key is known here, so that somebody
// who adds one looks whether it gets into traces.
func TestConfigurationsWithKeys(t *testing.T) {
	known := map[string]bool{
		"mr.Config.Config.SA": true, "mr.Config.Config.Hierarchy.Keys.SA": true, "ha.Config.Mobiles.SA": true, // left out
		"anchor.Config.Visitors.SA": true, "anchor.Config.Visitors.ESP": true,
		"mr.Config.Config.Random": true, "ha.Config.Random": true, "anchor.Config.Random": true, "anchor.Config.Barred": true,
		"cn.Config.Random": true, "cn.Config.Secret": true,
		"dhcpv6.Config.Random": true, "delegating.Config.Random": true,
		"dhcpv6.Config.DUID": true, "delegating.Config.DUID": true, "delegating.Config.Mobiles.DUID": true,
		"mr.Config.Delegation.DUID": true, "mr.Config.Delegation.Saved": true, // no secrets
	}
	var walk func(path string, of reflect.Type)
	walk = func(path string, of reflect.Type) {
		if known[path] || strings.HasPrefix(of.PkgPath(), "net/") {
			return
		}
		switch of.Kind() {
		case reflect.Struct:
			for i := range of.NumField() {
				walk(path+"."+of.Field(i).Name, of.Field(i).Type)
			}
		case reflect.Map, reflect.Pointer:
			walk(path, of.Elem())
		case reflect.Slice, reflect.Array:
			if of.Elem().Kind() == reflect.Uint8 {
				t.Errorf("%s has octets: see that no key gets into traces, and add it here", path)
			}
			walk(path, of.Elem())
		case reflect.Func, reflect.Interface, reflect.Chan:
			t.Errorf("%s is a %v, which no trace can have", path, of)
		}
	}
	walk("mr.Config", reflect.TypeFor[mr.Config]())
	walk("ha.Config", reflect.TypeFor[ha.Config]())
	walk("anchor.Config", reflect.TypeFor[anchor.Config]())
	walk("cn.Config", reflect.TypeFor[cn.Config]())
	walk("dhcpv6.Config", reflect.TypeFor[dhcpv6.Config]())
	walk("delegating.Config", reflect.TypeFor[delegating.Config]())
}

// A version that decides otherwise is found out.
func TestDifference(t *testing.T) {
	r := record(t)
	r.handle(role.MessageReceived{Packet: update(t, 1, &secret)})
	r.handle(role.MessageReceived{Packet: update(t, 2, &secret)})
	text := r.text()
	for name, tt := range map[string]struct {
		old, new string
		index    int
	}{
		"an action is another":  {`"message":"binding registered"`, `"message":"binding thrown away"`, 4},
		"an action is missing":  {`{"Acknowledged":{"Status":0,"Sent":true}},`, ``, 3},
		"the waking is another": {`"next_ns":`, `"next_ns":1`, -1},
	} {
		t.Run(name, func(t *testing.T) {
			tt.old = strings.ReplaceAll(tt.old, `"message"`, `"Message"`)
			tt.new = strings.ReplaceAll(tt.new, `"message"`, `"Message"`)
			if !bytes.Contains(text, []byte(tt.old)) {
				t.Fatalf("no %s in %s", tt.old, text)
			}
			steps, err := play(t, bytes.Replace(text, []byte(tt.old), []byte(tt.new), 1))
			if err != io.EOF || steps[1].Difference == nil || steps[1].Difference.Index != tt.index {
				t.Errorf("%v, %v", err, steps[1].Difference)
			}
		})
	}
}

// What is lost is told, and what follows is not compared.
func TestGap(t *testing.T) {
	r := record(t)
	const events = 5000 // more than are queued while nobody writes
	for range events {
		r.handle(role.Timeout{})
	}
	steps, err := play(t, r.text())
	if err != io.EOF {
		t.Fatal(err)
	}
	gap := steps[len(steps)-1]
	if gap.Entry.Gap == 0 || len(steps)-2+int(gap.Entry.Gap) != events || len(gap.Notes) != 1 {
		t.Errorf("%d steps, the last %+v", len(steps), gap)
	}
	// The queue was emptied; what comes then has a gap before it.
	now := time.Now()
	s := trace.NewStream(now, "test")
	recorder, err := s.Agent(now, "ha", trace.StartNew, agentConfig(), nil, trace.Known{Memories: noMemories})
	if err != nil {
		t.Fatal(err)
	}
	for range events {
		recorder.Handled(now, role.Timeout{}, nil, trace.Drawn{}, time.Time{})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var b bytes.Buffer
	if err := s.Write(ctx, &b); err != nil {
		t.Fatal(err)
	}
	recorder.Handled(now, role.Timeout{}, nil, trace.Drawn{}, time.Time{})
	s.End()
	if err := s.Write(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	steps, err = play(t, b.Bytes())
	if err != io.EOF || len(steps) < 2 {
		t.Fatalf("%d steps, %v", len(steps), err)
	}
	if last := steps[len(steps)-1]; last.Played || last.Difference != nil || steps[len(steps)-2].Entry.Gap == 0 {
		t.Errorf("after the gap: %+v", last)
	}
}

// Of a home agent with many mobiles everything is told; of one with too many nothing, and
// why.
func TestLargeAgent(t *testing.T) {
	for mobiles, fits := range map[int]bool{10_000: true, 80_000: false} {
		c := agentConfig()
		for i := range mobiles {
			m := c.Mobiles[0]
			m.Name = fmt.Sprintf("train%d", i)
			m.HomeAddress = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 0x10, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
			if m.HomeAddress.Compare(agentAddr) > 0 && m.HomeAddress != homeAddr {
				c.Mobiles = append(c.Mobiles, m)
			}
		}
		s := trace.NewStream(time.Now(), "test")
		_, err := s.Agent(time.Now(), "ha", trace.StartNew, c, nil, trace.Known{Memories: noMemories})
		if (err == nil) != fits {
			t.Fatalf("%d mobiles: %v", mobiles, err)
		}
		s.End()
		var b bytes.Buffer
		if err := s.Write(context.Background(), &b); err != nil {
			t.Fatal(err)
		}
		want := 0
		if fits {
			want = 1
		}
		if steps, err := play(t, b.Bytes()); err != io.EOF || len(steps) != want {
			t.Errorf("%d mobiles: %d steps, %v", mobiles, len(steps), err)
		}
	}
}

// What recording an event takes of the loop.
func BenchmarkRecorder(b *testing.B) {
	now := time.Now()
	s := trace.NewStream(now, "test")
	r, err := s.Agent(now, "ha", trace.StartNew, agentConfig(), nil, trace.Known{Memories: noMemories})
	if err != nil {
		b.Fatal(err)
	}
	ra := role.RouterHeard{Link: 2, Router: netip.MustParseAddr("fe80::1"), RA: nd.RouterAdvertisement{RouterLifetime: time.Minute, Prefixes: []mip6.PrefixInformation{{Prefix: netip.MustParsePrefix("2001:db8::/64")}}}}
	written := make(chan error)
	go func() { written <- s.Write(context.Background(), io.Discard) }()
	b.ReportAllocs()
	for b.Loop() {
		r.Handled(now, ra, nil, trace.Drawn{}, now)
	}
	s.End()
	if err := <-written; err != nil {
		b.Fatal(err)
	}
}

// A home agent that ran before the trace has announced the addresses of its mobiles. That the
// one of the play does so again is no other decision.
func TestAnnouncedBefore(t *testing.T) {
	r := record(t)
	c := agentConfig()
	c.HomeLink, c.Random = "home0", r.random
	r.agent = ha.New(c)
	link := role.Link{Index: 3, Name: "home0", Up: true, MTU: 1500}
	announced := 0
	handle := func(e role.Event) {
		for _, a := range r.handle(e) {
			if _, ok := a.(role.AnnounceAddress); ok {
				announced++
			}
		}
	}
	handle(role.LinkChanged{Link: link})
	handle(role.MessageReceived{Packet: update(t, 1, &secret)})
	for range 5 {
		handle(role.Timeout{})
	}
	if announced == 0 {
		t.Fatal("nothing was announced before")
	}
	r.stream = trace.NewStream(r.now, "test")
	var err error
	if r.recorder, err = r.stream.Agent(r.now, "ha", trace.StartRestored, c, nil, trace.Known{Memories: r.agent.Memories(), Links: []role.Link{link}}); err != nil {
		t.Fatal(err)
	}
	announced = 0
	handle(role.Timeout{})
	handle(role.MessageReceived{Packet: update(t, 2, &secret)})
	steps, err := play(t, r.text())
	if err != io.EOF || len(steps) != 3 || announced != 0 {
		t.Fatalf("%d steps, %d announced: %v", len(steps), announced, err)
	}
	for i, s := range steps {
		if s.Difference != nil {
			t.Errorf("step %d: %v", i, s.Difference)
		}
	}
}

// A mobile that ran before the trace is read, not played.
func TestUnknownState(t *testing.T) {
	now := time.Now()
	c := mr.Config{Mode: mr.Implicit, Config: mn.Config{Name: "train", HomeAddress: homeAddr, HomePrefix: netip.PrefixFrom(homeAddr, 64).Masked(),
		HomeAgents: []netip.Addr{agentAddr}, Lifetime: time.Minute, Uplinks: []string{"wan"}}}
	s := trace.NewStream(now, "test")
	r, err := s.Mobile(now, "train", trace.KindNode, c, nil, []byte(`{"mobile":"train"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Handled(now, role.LinkChanged{Link: role.Link{Index: 2, Name: "wan", Up: true}}, []role.Action{role.SolicitRouter{Link: 2}}, trace.Drawn{}, time.Time{})
	r.Ended(now)
	s.End()
	var b bytes.Buffer
	if err := s.Write(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	steps, err := play(t, b.Bytes())
	if err != io.EOF || len(steps) != 3 || len(steps[0].Notes) != 1 || steps[1].Played || len(steps[1].Recorded) != 1 {
		t.Errorf("%v, %+v", err, steps)
	}
}

func TestBrokenTraces(t *testing.T) {
	r := record(t)
	r.handle(role.MessageReceived{Packet: update(t, 1, &secret)})
	text := string(r.text())
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	for name, tt := range map[string]struct{ text, want string }{
		"empty":          {"", "it is empty"},
		"no trace":       {"hello\n", "line 1"},
		"another format": {strings.Replace(text, `"roam6_trace":1`, `"roam6_trace":2`, 1), "format 2"},
		"a long line":    {lines[0] + strings.Repeat("x", trace.MaxLine+1) + "\n", "longer than"},
		"no begin":       {lines[0] + lines[2], `role "ha" has no begin`},
		"nothing in it":  {lines[0] + `{"at_ns":1,"wall":"2026-01-01T00:00:00Z","role":"ha"}` + "\n", "an entry is one of"},
		"back in time":   {text + `{"at_ns":1,"wall":"2026-01-01T00:00:00Z","role":"ha","event":{"Timeout":{}}}`, "before the entry"},
		"invalid role":   {strings.Replace(text, `"Prefix":"2001:db8:10::/64"`, `"Prefix":""`, 1), "is not an IPv6 prefix"},
		"unknown kind":   {strings.Replace(text, `"home_agent"`, `"weather"`, 1), "kind of role"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := play(t, []byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	if _, err := play(t, []byte(text[:len(text)-40])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an incomplete last line: %v", err)
	}
}

// Whatever is in a file, it is read and played, or refused.
func FuzzPlayer(f *testing.F) {
	for _, file := range []string{"testdata/agent.trace", "testdata/router.trace", "testdata/correspondent.trace", "testdata/anchor.trace"} {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		lines := bytes.SplitAfter(b, []byte("\n"))
		f.Add(bytes.Join(lines[:min(len(lines), 12)], nil))
	}
	f.Add([]byte(`{"roam6_trace":1,"version":"x","start":"2026-05-04T03:02:01Z"}` + "\n" + `{"at_ns":1,"wall":"2026-05-04T03:02:01Z","gap":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := trace.NewPlayer(bytes.NewReader(b))
		for range 64 {
			if err != nil {
				return
			}
			_, err = p.Next()
		}
	})
}
