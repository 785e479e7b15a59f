package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"roam6/internal/control"
	"roam6/internal/role"
	"roam6/internal/trace"
	"roam6/mip6"
)

const tracedFile = `
config home_agent 'ha'
	option interface 'home0'
	option dad '0'
	option address '2001:db8:10::1'
	option prefix '2001:db8:10::/64'

config mobile 'train'
	option home_address '2001:db8:10::100'
	option key '000102030405060708090a0b0c0d0e0f'
	option spi '256'

config mobile_node 'walker'
	option home_address '2001:db8:20::100/64'
	option home_agent '2001:db8:20::1'
	option key '0f0e0d0c0b0a09080706050403020100'
	option spi '257'
	list uplink 'up0'
`

// tracedShell is a shell with a home agent and a mobile node, as open makes them.
func tracedShell(t *testing.T) *Shell {
	t.Helper()
	s, _ := bareShell(t, tracedFile)
	s.signalling = new(wire)
	s.config.HomeAgents[0].Interface = "" // a virtual home link: nothing of it is in the kernel
	s.agents = []*agentHost{s.newAgentHost(testNow, s.config.HomeAgents[0], s.config.Mobiles)}
	m := s.config.MobileNodes[0]
	s.mobiles = []*mobileHost{newMobileHost(m, s.surroundings(m), 1)}
	s.agents[0].random.stop()
	s.mobiles[0].random.stop()
	return s
}

// trainUpdate is a binding update of the train's.
func trainUpdate(t *testing.T, sequence mip6.Sequence) role.MessageReceived {
	t.Helper()
	home, careOf := netip.MustParseAddr("2001:db8:10::100"), netip.MustParseAddr("2001:db8:a1::7")
	key := mip6.SharedKey{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	m, err := mip6.SecurityAssociation{SPI: 256, Key: key}.Seal(mip6.BindingUpdate{
		Sequence: sequence, Flags: mip6.UpdateHome | mip6.UpdateAcknowledge, Lifetime: 100, Options: []mip6.Option{mip6.AlternateCareOf{Addr: careOf}}}, careOf, home)
	if err != nil {
		t.Fatal(err)
	}
	b, err := mip6.Packet{Source: careOf, Destination: netip.MustParseAddr("2001:db8:10::1"), HomeAddress: home, Message: m}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := mip6.ParsePacket(b)
	if err != nil {
		t.Fatal(err)
	}
	return role.MessageReceived{Link: 2, Packet: p}
}

// playTrace is what a trace has when it is ended, played.
func (s *Shell) playTrace(t *testing.T) []trace.Step {
	t.Helper()
	x := s.tracing
	s.endTrace(x)
	var b bytes.Buffer
	if err := x.stream.Write(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"000102030405060708090a0b0c0d0e0f", "0f0e0d0c0b0a09080706050403020100"} {
		if strings.Contains(b.String(), key) {
			t.Error("a key is in the trace")
		}
	}
	p, err := trace.NewPlayer(&b)
	if err != nil {
		t.Fatal(err)
	}
	var steps []trace.Step
	for {
		step, err := p.Next()
		if err == io.EOF {
			return steps
		}
		if err != nil {
			t.Fatal(err)
		}
		if step.Difference != nil {
			t.Errorf("%s: %v", step.Entry.Role, step.Difference)
		}
		steps = append(steps, step)
	}
}

func (s *Shell) registrations() int {
	n := 0
	for _, h := range s.agents {
		n += h.machine.Stats().Bindings
	}
	return n
}

// A home agent is recorded in mid-run, and begun anew with its bindings; both play.
func TestTraceAgent(t *testing.T) {
	for name, anew := range map[string]bool{"as it runs": false, "anew": true} {
		t.Run(name, func(t *testing.T) {
			s := tracedShell(t)
			now := testNow
			s.dispatch(now, trainUpdate(t, 1))
			if s.registrations() != 1 {
				t.Fatal("not registered")
			}
			before := s.agents[0].machine
			s.memories[before] = &memory{path: t.TempDir() + "/m"}
			if _, err := s.beginTrace(now.Add(time.Second), control.TraceRequest{Role: "ha", Anew: anew}); err != nil {
				t.Fatal(err)
			}
			if after := s.agents[0].machine; (after != before) != anew || s.memories[after] == nil || s.registrations() != 1 {
				t.Fatalf("another home agent: %t, %d registered", after != before, s.registrations())
			}
			s.dispatch(now.Add(2*time.Second), trainUpdate(t, 2))
			s.dispatch(now.Add(3*time.Second), trainUpdate(t, 2)) // a copy
			steps := s.playTrace(t)
			start := trace.StartRestored
			if anew {
				start = trace.StartNew
			}
			if b := steps[0].Entry.Begin; len(steps) != 3 || b.Start != start || len(b.Memories) != 1 || !steps[2].Played || !steps[2].Entry.Authentic {
				t.Errorf("%d steps, begin %+v", len(steps), b)
			}
			if s.agents[0].random.keep || s.tracing != nil {
				t.Error("goes on after the end")
			}
		})
	}
}

// A mobile that runs is read; one that is begun anew is played, from the start to the end.
func TestTraceMobile(t *testing.T) {
	s := tracedShell(t)
	now := testNow
	up := role.Link{Index: 2, Name: "up1", Up: true, Carriers: 1, MTU: 1500}
	s.broadcast(now, role.LinkChanged{Link: up})
	if _, err := s.beginTrace(now, control.TraceRequest{Role: "walker"}); err != nil {
		t.Fatal(err)
	}
	s.broadcast(now, role.LinkChanged{Link: up})
	if steps := s.playTrace(t); len(steps) != 2 || steps[0].Entry.Begin.Start != trace.StartUnknown || steps[1].Played || len(steps[0].Entry.Begin.State) == 0 {
		t.Errorf("%+v", steps)
	}

	if _, err := s.beginTrace(now, control.TraceRequest{Anew: true}); err != nil {
		t.Fatal(err)
	}
	before := s.mobiles[0].machine
	s.mobiles = nil // it has ended: nothing was registered
	for _, c := range s.successors {
		s.begin(now, c)
	}
	h := s.mobiles[0]
	if h.machine == before {
		t.Fatal("it is not another one")
	}
	s.broadcast(now.Add(time.Second), role.LinkChanged{Link: up})
	if _, ok := s.reconfigureMobile(now.Add(2*time.Second), h, h.config); !ok {
		t.Fatal("not reconfigured")
	}
	s.broadcast(now.Add(3*time.Second), role.Stop{})
	s.traceEnd(now.Add(4*time.Second), h.machine)
	played, ended := 0, false
	for _, step := range s.playTrace(t) {
		if step.Entry.Role == "walker" {
			if step.Played {
				played++
			}
			ended = step.Entry.End
		}
	}
	if played != 4 || !ended {
		t.Errorf("%d steps played, ended: %t", played, ended)
	}
}

func TestTraceRefused(t *testing.T) {
	s := tracedShell(t)
	if _, err := s.beginTrace(testNow, control.TraceRequest{Role: "bus"}); err == nil || !strings.Contains(err.Error(), `"bus"`) {
		t.Errorf("%v", err)
	}
	if _, err := s.beginTrace(testNow, control.TraceRequest{}); err != nil || len(s.tracing.roles) != 2 {
		t.Errorf("%v", err)
	}
	if _, err := s.beginTrace(testNow, control.TraceRequest{}); !errors.Is(err, errTracing) {
		t.Errorf("%v", err)
	}
	bare, _ := bareShell(t, "")
	if _, err := bare.beginTrace(testNow, control.TraceRequest{}); err == nil {
		t.Error("a trace of nothing")
	}
}

// Where nothing is recorded, recording costs nothing.
func TestTraceOff(t *testing.T) {
	s := tracedShell(t)
	quiet := quietMachine{}
	var m role.Machine = quiet
	var e role.Event = role.Timeout{}
	if n := testing.AllocsPerRun(100, func() { s.handle(testNow, m, e) }); n != 0 {
		t.Errorf("%v allocations for an event", n)
	}
	b := make([]byte, 8)
	if n := testing.AllocsPerRun(100, func() { s.mobiles[0].random.octets(b) }); n != 0 || s.mobiles[0].random.drawn.Random != nil {
		t.Errorf("%v allocations for randomness", n)
	}
}

type quietMachine struct{}

func (quietMachine) Handle(time.Time, role.Event) []role.Action { return nil }
func (quietMachine) Next() time.Time                            { return time.Time{} }

// A status says what runs, and what became of a reload.
func TestStatus(t *testing.T) {
	s := tracedShell(t)
	s.path = "/etc/config/roam6"
	s.dispatch(testNow, trainUpdate(t, 1))
	d := s.status(testNow.Add(time.Minute))
	if len(d.Roles) != 2 || d.Roles[0].Name != "walker" || d.Roles[0].Good || d.Roles[1].State != "1 of 1 mobiles registered" || !d.Roles[1].Good || d.Configuration.Failed != nil || len(d.Trouble) != 0 {
		t.Errorf("%+v", d)
	}
	s.noteReload(errors.New("line 3: no such option"))
	s.dropped(role.Dropped{Reason: role.DropReplay})
	d = s.status(testNow)
	if f := d.Configuration.Failed; f == nil || !strings.Contains(f.Error, "no such option") || len(d.Trouble) != 1 || d.Trouble[0] != "signalling messages dropped since the start: replay 1" {
		t.Errorf("%+v", d)
	}
	s.noteReload(nil)
	if d = s.status(time.Now()); d.Configuration.Failed != nil || d.Configuration.Loaded.IsZero() {
		t.Errorf("%+v", d.Configuration)
	}
}
