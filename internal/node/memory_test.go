package node

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/ha"
	"roam6/internal/binding"
	"roam6/internal/config"
	"roam6/internal/role"
	"roam6/internal/rtnl/nstest"
	"roam6/internal/store"
	"roam6/mip6"
	"roam6/overlay"
)

var (
	townHome  = netip.MustParseAddr("2001:db8:20::2")
	townAgent = netip.MustParseAddr("2001:db8:20::1")
	townSA    = mip6.SecurityAssociation{SPI: 256, Key: mip6.SharedKey{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}
	rcoa      = netip.MustParseAddr("2001:db8:5::7")
	lcoa      = netip.MustParseAddr("2001:db8:a1::7")
)

// homeUpdate is a binding update of the mobile 'm' of cityFile as it arrives.
func homeUpdate(t *testing.T, careOf netip.Addr, sequence mip6.Sequence) mip6.Packet {
	t.Helper()
	m, err := townSA.Seal(mip6.BindingUpdate{
		Sequence: sequence, Flags: mip6.UpdateAcknowledge | mip6.UpdateHome, Lifetime: mip6.LifetimeFrom(10 * time.Minute),
		Options: []mip6.Option{mip6.AlternateCareOf{Addr: careOf}},
	}, careOf, townHome)
	if err != nil {
		t.Fatal(err)
	}
	b, err := mip6.Packet{Source: careOf, Destination: townAgent, HomeAddress: townHome, Message: m}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := mip6.ParsePacket(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// life is a process of cityFile, whose memories begin with a path; the one before it was
// killed.
func life(t *testing.T, remembered, text string) *city {
	t.Helper()
	c := newCity(t, text)
	c.now, c.remembered = time.Now(), remembered
	for _, h := range c.agents { // without a home link, where it would do things to the kernel
		conf := agentConfig(h.config, c.config.Mobiles, nil)
		conf.HomeLink = ""
		h.machine = ha.New(conf)
	}
	c.restoreBindings(c.now)
	t.Cleanup(func() { _ = c.closeMemories() })
	return c
}

// bindAll registers both, and fails unless the answers are as wanted.
func (c *city) bindAll(careOf netip.Addr, sequence mip6.Sequence, want mip6.Status) {
	c.t.Helper()
	if a, b := c.send(localUpdate(c.t, cityAddr, rcoa, careOf, sequence)), c.send(homeUpdate(c.t, careOf, sequence)); a != want || b != want {
		c.t.Errorf("update %d is answered %v and %v, want %v\n%s", sequence, a, b, want, c.log)
	}
}

// A process that was killed leaves its bindings to the next one, which forwards as it did,
// and takes no update twice; also where it had no time to do anything.
func TestMemories(t *testing.T) {
	remembered := filepath.Join(t.TempDir(), "s.")
	first := life(t, remembered, cityFile)
	first.bindAll(lcoa, 1, mip6.StatusAccepted)
	moved := netip.MustParseAddr("2001:db8:a2::7")
	first.bindAll(moved, 2, mip6.StatusAccepted)
	for round := range 2 {
		c := life(t, remembered, cityFile)
		changes := c.plane.(*plane).changes
		if got := c.tunnelled(); !slices.Equal(got, []netip.Addr{rcoa, townHome}) || len(changes) != 2 || changes[0].Set.Paths[0].Remote != moved {
			t.Fatalf("life %d forwards %v: %+v\n%s", round, got, changes, c.log)
		}
		if len(c.wire.packets) > 0 {
			t.Errorf("%d messages are sent", len(c.wire.packets))
		}
		if d := c.agents[0].machine.Bindings(); len(d) != 1 || d[0].Expires.Sub(c.now) > 10*time.Minute || d[0].Expires.Sub(c.now) < 9*time.Minute {
			t.Errorf("bindings %+v", d)
		}
		c.bindAll(moved, 2, mip6.StatusSequenceOutOfWindow)
	}
	for _, name := range []string{"bindings-city", "bindings-h"} {
		info, err := os.Stat(remembered + name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		content, err := os.ReadFile(remembered + name)
		if err != nil || bytes.Contains(content, townSA.Key[:]) || bytes.Contains(content, busSA.Key[:]) {
			t.Errorf("%s has a key: %v", name, err)
		}
	}
	// Of another run of the host only what tells old updates from new ones counts.
	for _, name := range []string{"bindings-city", "bindings-h"} {
		content, err := os.ReadFile(remembered + name)
		if err != nil {
			t.Fatal(err)
		}
		content = bytes.Replace(content, []byte(bootID()), []byte("00000000-0000-0000-0000-000000000000"), 1)
		if err := os.WriteFile(remembered+name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := life(t, remembered, cityFile)
	if got := c.tunnelled(); len(got) != 0 {
		t.Errorf("after a start of the host it forwards %v", got)
	}
	c.bindAll(moved, 2, mip6.StatusSequenceOutOfWindow)
	c.bindAll(moved, 3, mip6.StatusAccepted)
}

// What was changed in the configuration meanwhile holds; what is not a journal is said, and
// is a clean start.
func TestMemoriesOfAnotherConfiguration(t *testing.T) {
	for name, test := range map[string]struct {
		text   func(string) string
		spoil  func(content []byte) []byte
		bound  []netip.Addr
		logged string
	}{
		"the same":        {bound: []netip.Addr{rcoa, townHome}, logged: "restored"},
		"mobile removed":  {text: func(s string) string { s, _, _ = strings.Cut(s, "config mobile "); return s }, bound: []netip.Addr{rcoa}, logged: "mobile removed"},
		"another address": {text: func(s string) string { return strings.ReplaceAll(s, "2001:db8:20::1'", "2001:db8:20::3'") }, bound: []netip.Addr{rcoa}, logged: "address changed"},
		"visitor for another": {text: func(s string) string {
			return strings.Replace(s, "option spi '2000'", "option spi '2000'\n\toption anchor 'port'", 1)
		}, bound: []netip.Addr{townHome}, logged: "visitor removed"},
		"the last is torn": {spoil: func(b []byte) []byte { return append(b, 0, 0, 0, 90, 1, 2, 3, 4, 5) }, bound: []netip.Addr{rcoa, townHome}, logged: "restored"},
		"damaged":          {spoil: func(b []byte) []byte { b[len(b)-3] ^= 1; return b }, logged: "damaged"},
		"something else":   {spoil: func([]byte) []byte { return bytes.Repeat([]byte("roam6 "), 1000) }, logged: "damaged"},
		"another version":  {spoil: func(b []byte) []byte { return bytes.Replace(b, []byte("journal 1 "), []byte("journal 2 "), 1) }, logged: "of another version"},
		"empty":            {spoil: func([]byte) []byte { return nil }, logged: "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			remembered := filepath.Join(t.TempDir(), "s.")
			life(t, remembered, cityFile).bindAll(lcoa, 1, mip6.StatusAccepted)
			for _, file := range []string{"bindings-city", "bindings-h"} {
				content, err := os.ReadFile(remembered + file)
				if err == nil && test.spoil != nil {
					err = os.WriteFile(remembered+file, test.spoil(content), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			text := cityFile
			if test.text != nil {
				text = test.text(text)
			}
			c := life(t, remembered, text)
			if got := c.tunnelled(); !slices.Equal(got, test.bound) {
				t.Errorf("forwards %v, want %v", got, test.bound)
			}
			if !strings.Contains(c.log.String(), test.logged) {
				t.Errorf("nobody says %q:\n%s", test.logged, c.log)
			}
		})
	}
}

// A process that comes too late has no bindings, and says how many there were.
func TestMemoriesLapse(t *testing.T) {
	remembered := filepath.Join(t.TempDir(), "s.")
	c := life(t, remembered, cityFile)
	c.bindAll(lcoa, 1, mip6.StatusAccepted)
	c.fresh = false
	c.restoreBindings(c.now)
	for _, section := range []string{"city", "h"} {
		if want := "msg=\"bindings of an earlier run have lapsed: the mobiles have to register anew\" section=" + section + " bindings=1 "; !strings.Contains(c.log.String(), want) {
			t.Errorf("nobody says %q:\n%s", want, c.log)
		}
	}
}

// before is a wire that looks at something before a message leaves.
type before struct {
	*wire
	look func()
}

func (b before) SendBy(spi uint32, packet []byte, link int, source netip.Addr) error {
	b.look()
	return b.wire.SendBy(spi, packet, link, source)
}

func (b before) Send(packet []byte, link int, source netip.Addr) error {
	return b.SendBy(0, packet, link, source)
}

// When an acknowledgement leaves, what it says is in the file: whatever happens then, the
// mobile and the next process agree.
func TestMemoriesComeBeforeAnswers(t *testing.T) {
	remembered := filepath.Join(t.TempDir(), "s.")
	c := life(t, remembered, cityFile)
	var sequence mip6.Sequence
	looked := 0
	c.signalling = before{c.wire, func() {
		t.Helper()
		for _, file := range []string{"bindings-city", "bindings-h"}[looked%2:][:1] {
			list, err := readMemories(remembered+file, bootID(), hostStarted(c.now))
			if err != nil || len(list) != 1 || list[0].State != binding.Active || list[0].Sequence != sequence {
				t.Errorf("update %d is acknowledged, and %s has %+v, %v", sequence, file, list, err)
			}
		}
		looked++
	}}
	for sequence = 1; sequence < 5; sequence++ {
		c.bindAll(lcoa, sequence, mip6.StatusAccepted)
	}
	if looked != 8 {
		t.Errorf("%d answers", looked)
	}
}

// A medium that takes nothing is said once, leaves no file that is out of date, and is
// tried again.
func TestMemoriesCannotBeWritten(t *testing.T) {
	remembered := filepath.Join(t.TempDir(), "s.")
	c := life(t, remembered, cityFile)
	c.bindAll(lcoa, 1, mip6.StatusAccepted)
	for _, k := range c.memories {
		if err := k.journal.Close(); err != nil { // as if the medium was full
			t.Fatal(err)
		}
	}
	for n := range mip6.Sequence(3) {
		c.bindAll(lcoa, 2+n, mip6.StatusAccepted)
	}
	if !gone(remembered+"bindings-h") || !gone(remembered+"bindings-city") {
		t.Error("a file that is out of date is left")
	}
	if n := strings.Count(c.log.String(), "would not survive a restart"); n != 2 {
		t.Errorf("said %d times of two sections:\n%s", n, c.log)
	}
	for _, k := range c.memories {
		k.again = time.Now()
	}
	c.bindAll(lcoa, 9, mip6.StatusAccepted)
	if n := strings.Count(c.log.String(), "are kept for a restart again"); n != 2 {
		t.Errorf("said %d times of two sections that it works again:\n%s", n, c.log)
	}
	if got := life(t, remembered, cityFile).tunnelled(); !slices.Equal(got, []netip.Addr{rcoa, townHome}) {
		t.Errorf("the next life forwards %v", got)
	}
}

// What a section that is gone has remembered goes with it; one that comes begins to.
func TestMemoriesFollowReloads(t *testing.T) {
	remembered := filepath.Join(t.TempDir(), "s.")
	c := life(t, remembered, cityFile)
	c.bindAll(lcoa, 1, mip6.StatusAccepted)
	agents := strings.Index(cityFile, "config home_agent")
	c.reload(cityFile[:agents])
	if !gone(remembered + "bindings-h") {
		t.Error("the home agent is gone and its bindings are kept")
	}
	_, rest, _ := strings.Cut(cityFile[:agents], "config anchor 'port'")
	c.reload("config anchor 'port'" + rest)
	if !gone(remembered + "bindings-city") {
		t.Error("the anchor is gone and its bindings are kept")
	}
	c.reload(cityFile)
	c.linked()
	if a := c.send(localUpdate(t, cityAddr, rcoa, lcoa, 2)); a != mip6.StatusAccepted || gone(remembered+"bindings-h") {
		t.Errorf("answer %v, and nothing is kept of the home agent: %v", a, gone(remembered+"bindings-h"))
	}
	if got := life(t, remembered, cityFile).tunnelled(); !slices.Equal(got, []netip.Addr{rcoa}) {
		t.Errorf("the next life forwards %v", got)
	}
}

// A journal does not grow with the number of updates: again and again a shorter one takes
// its place, which nobody waits for, and in which everything is.
func TestMemoriesAreCondensed(t *testing.T) {
	remembered := filepath.Join(t.TempDir(), "s.")
	c := life(t, remembered, cityFile)
	c.bindAll(lcoa, 1, mip6.StatusAccepted)
	size, shrunk := int64(0), 0
	sequence := mip6.Sequence(1)
	for ; shrunk < 3 && sequence < 60_000; sequence++ {
		if a := c.send(homeUpdate(t, lcoa, sequence+1)); a != mip6.StatusAccepted {
			t.Fatalf("update %d: %v", sequence, a)
		}
		info, err := os.Stat(remembered + "bindings-h")
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() < size {
			shrunk++
		}
		size = info.Size()
	}
	list, err := readMemories(remembered+"bindings-h", bootID(), hostStarted(c.now))
	if err != nil || shrunk < 3 || len(list) != 1 || list[0].Sequence != sequence {
		t.Errorf("after %d updates it was condensed %d times and has %+v, %v", sequence, shrunk, list, err)
	}
	if got := life(t, remembered, cityFile).tunnelled(); !slices.Equal(got, []netip.Addr{rcoa, townHome}) {
		t.Errorf("the next life forwards %v", got)
	}
}

// A stop in order and a start, as in an upgrade: the binding that a real packet has made is
// there again, and so is the route to the mobile network.
func TestBindingSurvivesRestart(t *testing.T) {
	v := newVisitor(t)
	v.send(v.encode(v.update(&visitorSA)))
	if a := v.answer(); a.Status != mip6.StatusAccepted {
		t.Fatalf("acknowledgement %+v", a)
	}
	b := v.bindings()
	text, err := os.ReadFile(v.file)
	if err != nil {
		t.Fatal(err)
	}
	v.end()
	if after := leftovers(t, v.space); strings.Contains(after, "route 2001:db8:100::/64") {
		t.Errorf("a stop leaves\n%s", after)
	}
	next := startAt(t, filepath.Dir(v.file), v.space, v.peer, strings.Replace(string(text), filepath.Join(filepath.Dir(v.file), "s"), "%s", 1))
	v.running = next
	if again := v.bindings(); len(again) != 1 || again[0].State != "active" || again[0].CareOf[0].Address != visiting || again[0].Created.Sub(b[0].Created.Time).Abs() > time.Second {
		t.Errorf("bindings after the restart: %+v, before %+v\n%s", again, b, next.log)
	}
	if during := leftovers(t, v.space); !strings.Contains(during, "route 2001:db8:100::/64") {
		t.Errorf("no route to the mobile network:\n%s", during)
	}
	s, err := next.client.Stats(context.Background())
	if err != nil || s.Agent.Restored != 1 || s.Agent.Registrations != 0 {
		t.Errorf("%+v, %v", s.Agent, err)
	}
	next.end()
}

// thousands are mobile routers of the home agent of agentFile, and what an earlier process
// has remembered of them.
func thousands(n int, now time.Time) (mobiles []config.Mobile, memories []binding.Memory) {
	for i := range n {
		home := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0x10, 8: 1, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
		network := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 1, byte(i >> 16), byte(i >> 8), byte(i)}), 64)
		name := fmt.Sprintf("m%d", i)
		mobiles = append(mobiles, config.Mobile{Name: name, HomeAgent: "ha", HomeAddress: home, Association: &visitorSA, Router: true, Prefixes: []netip.Prefix{network}})
		m := binding.Memory{
			Home: home, Mobile: fmt.Sprintf("%v %s", home, name), State: binding.Active, Updated: now, Created: now, Expires: now.Add(10 * time.Minute),
			Flags: mip6.UpdateAcknowledge | mip6.UpdateHome | mip6.UpdateMobileRouter, Sequence: 1, Lifetime: mip6.LifetimeFrom(10 * time.Minute),
			Paths: []overlay.Path{{Local: agentAddr, Remote: netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0xa1, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})}},
		}
		m.Fresh.AcceptSequence(1)
		memories = append(memories, m)
	}
	return mobiles, memories
}

// writeMemories makes the journal of a process that was killed.
func writeMemories(t testing.TB, path string, now time.Time, memories []binding.Memory) {
	t.Helper()
	started := hostStarted(now)
	j, err := store.CreateJournal(path, bootID(), func(yield func([]byte) bool) {
		for _, m := range memories {
			if !yield(m.Append(nil, started)) {
				return
			}
		}
	})
	if err == nil {
		err = j.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// died writes when the process was killed that left the journals in a directory.
func died(t testing.TB, dir string, ago time.Duration) {
	t.Helper()
	if err := beat(filepath.Join(dir, "s.alive"), bootID(), bootTime()-ago); err != nil {
		t.Fatal(err)
	}
}

// Bindings of an agent that was gone for long are another's by now, and are not restored.
func TestRestoreLate(t *testing.T) {
	here, there, dir, now := nstest.New(t), nstest.New(t), t.TempDir(), time.Now()
	nstest.Veth(here, "home0", there, "peer0")
	assign(t, here, "home0", "2001:db8:10::1/64")
	mobiles, memories := thousands(3, now)
	writeMemories(t, filepath.Join(dir, "s.bindings-ha"), now, memories)
	died(t, dir, restoreWithin+time.Second)
	r := startAt(t, dir, here, there, agentFile, func(c *config.Config) { c.Mobiles = mobiles })
	if s, err := r.client.Stats(context.Background()); err != nil || s.Agent.Restored != 0 || s.Agent.Bindings != 0 {
		t.Errorf("%+v, %v\n%s", s.Agent, err, r.log)
	}
}

// Somebody on the home link has one of the restored home addresses by now, here a host whose
// kernel answers: that binding ends, and the others stay.
func TestRestoredElsewhere(t *testing.T) {
	here, there, dir, now := nstest.New(t), nstest.New(t), t.TempDir(), time.Now()
	nstest.Veth(here, "home0", there, "peer0")
	assign(t, here, "home0", "2001:db8:10::1/64")
	mobiles, memories := thousands(3, now)
	assign(t, there, "peer0", netip.PrefixFrom(memories[1].Home, 64).String())
	writeMemories(t, filepath.Join(dir, "s.bindings-ha"), now, memories)
	died(t, dir, time.Second)
	r := startAt(t, dir, here, there, agentFile, func(c *config.Config) { c.Mobiles = mobiles })
	r.until("the binding of a home address in use has ended", func() bool {
		s, err := r.client.Stats(context.Background())
		return err == nil && s.Agent.Restored == 3 && s.Agent.Bindings == 2
	})
	list, err := r.client.Bindings(context.Background())
	if b := list.Bindings; err != nil || len(b) != 2 || b[0].HomeAddress != memories[0].Home || b[1].HomeAddress != memories[2].Home {
		t.Errorf("bindings %+v, %v\n%s", list, err, r.log)
	}
	if want := "in use on the home link, by " + memories[1].Home.String(); !strings.Contains(r.log.String(), want) {
		t.Errorf("no %q in\n%s", want, r.log)
	}
}

// 10,000 bindings are restored when the node answers, and all their routes are in the
// kernel, where none was left. It logs how long that takes.
func TestRestoreThousands(t *testing.T) {
	const n = 10_000
	here, there, dir, now := nstest.New(t), nstest.New(t), t.TempDir(), time.Now()
	nstest.Veth(here, "home0", there, "peer0")
	assign(t, here, "home0", "2001:db8:10::1/64")
	mobiles, memories := thousands(n, now)
	writeMemories(t, filepath.Join(dir, "s.bindings-ha"), now, memories)
	died(t, dir, time.Second)
	begin := time.Now()
	r := startAt(t, dir, here, there, agentFile, func(c *config.Config) { c.Mobiles = mobiles })
	s, err := r.client.Stats(context.Background())
	took := time.Since(begin)
	if err != nil || s.Agent.Restored != n {
		t.Fatalf("%+v, %v\n%s", s.Agent, err, r.log)
	}
	routes := strings.Count(leftovers(t, here), "route 2001:db8:1")
	if routes < 2*n {
		t.Errorf("%d routes to home addresses and mobile networks", routes)
	}
	t.Logf("%d bindings restored %v after the start, %d routes", n, took, routes)
	r.end()
}

// What the journal of 10,000 and 100,000 bindings costs, apart from the data plane: to
// read it and to restore the role's, to write it, which the loop waits for once, and what
// the loop waits for at most where a shorter one takes its place.
func BenchmarkMemories(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		now := time.Now()
		mobiles, memories := thousands(n, now)
		path := filepath.Join(b.TempDir(), "s.bindings-ha")
		writeMemories(b, path, now, memories)
		c := agentConfig(config.HomeAgent{Name: "ha", Address: agentAddr, Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:10::/64")}}, mobiles, nil)
		a := ha.New(c)
		a.Restore(now, memories)
		b.Run(fmt.Sprintf("read and restore %d", n), func(b *testing.B) {
			for b.Loop() {
				list, err := readMemories(path, bootID(), hostStarted(now))
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				next := ha.New(c)
				b.StartTimer()
				next.Restore(now, list)
				if next.Stats().Bindings != n {
					b.Fatal(next.Stats())
				}
			}
		})
		b.Run(fmt.Sprintf("write %d", n), func(b *testing.B) {
			s, k := &Shell{}, &memory{path: path}
			for b.Loop() {
				s.recordAll(now, a, k)
			}
			if k.journal == nil {
				b.Fatal("nothing is written")
			}
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Size())/float64(n), "octets/binding")
		})
		b.Run(fmt.Sprintf("longest of %d appends", 2*n), func(b *testing.B) {
			s, k := &Shell{memories: map[role.Machine]*memory{}}, &memory{path: path}
			s.memories[a] = k
			s.recordAll(now, a, k)
			longest := time.Duration(0)
			for b.Loop() {
				for i := range 2 * n {
					began := time.Now()
					s.remember(a, memories[i%n])
					longest = max(longest, time.Since(began))
				}
			}
			if k.journal == nil {
				b.Fatal("nothing is written")
			}
			k.journal.Close()
			b.ReportMetric(float64(longest.Milliseconds()), "ms/longest")
		})
	}
}
