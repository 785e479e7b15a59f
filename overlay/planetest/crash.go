package planetest

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"roam6/internal/rtnl/nstest"
	"roam6/overlay"
)

// crashVariable tells a test process to be the engine that is killed.
const crashVariable = "ROAM6_PLANETEST_CRASH"

// Main is the TestMain of an engine's tests: the test of a crash runs the test
// binary again as the engine that is to be killed.
func Main(m *testing.M, open Open) {
	side := os.Getenv(crashVariable)
	if side == "" {
		os.Exit(m.Run())
	}
	if err := victim(side, open); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// victim opens an engine with a tunnel, says so, and waits to be killed.
func victim(side string, open Open) error {
	e, err := open(Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	w := &world{}
	changes := map[string][]overlay.Change{
		"agent":       {{Set: w.tunnel(overlay.AgentSide, 0)}},
		"mobile only": {{Set: w.tunnel(overlay.MobileSide, 0)}},
		"mobile": {{Set: w.tunnel(overlay.MobileSide, 0)}, {Optimise: &overlay.Route{
			Pair: overlay.Pair{Home: homeAddress, Peer: correspondentAddress, Side: overlay.MobileSide}, CareOf: firstCareOf,
		}}},
		"correspondent": {{Optimise: &overlay.Route{
			Pair: overlay.Pair{Home: homeAddress, Peer: correspondentAddress, Side: overlay.CorrespondentSide}, CareOf: firstCareOf,
		}}},
	}
	if err := e.Apply(changes[side]); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin) // until killed, or the test has ended
	return err
}

// An engine that opens after one that was killed adopts or removes what that
// left: nothing is there twice, everything works, and nothing remains at the end.
func crash(t *testing.T, open Open) {
	w := newWorld(t)
	before := map[*nstest.Space]string{w.agent: Snapshot(w.agent), w.mobile: Snapshot(w.mobile), w.correspondent: Snapshot(w.correspondent)}
	for _, c := range []struct {
		s    *nstest.Space
		side string
	}{{w.agent, "agent"}, {w.mobile, "mobile"}, {w.correspondent, "correspondent"}} {
		killed(t, c.s, c.side, open)
	}
	w.openBoth(open)
	correspondentEngine := w.open(w.correspondent, open)
	w.attach(0)
	correspondent, node := w.udp(w.correspondent, correspondentAddress), w.udp(w.node, nodeAddress)
	w.passes(correspondent, node)
	w.passes(node, correspondent)
	for s, e := range map[*nstest.Space]Engine{w.agent: w.agentEngine, w.mobile: w.mobileEngine, w.correspondent: correspondentEngine} {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if after := Snapshot(s); after != before[s] {
			t.Errorf("left behind:\n%s", difference(before[s], after))
		}
	}
}

// killed runs an engine in another process and kills it.
func killed(t *testing.T, s *nstest.Space, side string, open Open) {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(executable)
	child.Env = append(os.Environ(), crashVariable+"="+side)
	child.Stderr = testWriter{t}
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.Do(child.Start) // in the namespace of this thread
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Errorf("%s: the engine to be killed said %q: %v", side, line, err)
	}
	// While it lives, a second one is refused and harms nothing.
	if line == "ready\n" {
		alive := Snapshot(s)
		err := s.Try(func() error {
			second, err := open(Options{Log: slog.New(slog.DiscardHandler)})
			if err == nil {
				second.Close()
			}
			return err
		})
		if err == nil {
			t.Errorf("%s: a second engine opened beside the first", side)
		}
		if now := Snapshot(s); now != alive {
			t.Errorf("%s: a second engine changed the state of the first:\n%s", side, difference(alive, now))
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Errorf("kill: %v", err)
	}
	_ = child.Wait()
}
