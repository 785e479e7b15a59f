package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/metrics"
	"roam6/internal/role"
	"roam6/nd"
)

// trainFile has a router with a network, and another one that has none of its own.
const trainFile = `
config mobile_router 'train'
	option home_address '2001:db8:10::100/64'
	option home_agent '2001:db8:10::1'
	option key '000102030405060708090a0b0c0d0e0f'
	list uplink 'up0'
	list prefix '2001:db8:100::/64'
	list downstream 'lan0'

config mobile_router 'bus'
	option home_address '2001:db8:10::200/64'
	option home_agent '2001:db8:10::1'
	option key '000102030405060708090a0b0c0d0e0f'
	list uplink 'up1'
	list prefix '2001:db8:200::/64'
	list downstream 'lan1'
`

// What the home agent has refused stays unadvertised over a reload, whichever way
// the router tells; a prefix that another router has got is not refused by what its
// former router says; and the end of a router ends what was said to it
// (RFC 3963 §5.4.2).
//
// Covers: R5.
func TestRefusedOverReload(t *testing.T) {
	s, _ := bareShell(t, trainFile)
	train, bus := new(recorder), &recorder{drops: true}
	s.mobiles = []*mobileHost{{machine: train, config: s.config.MobileNodes[0]}, {machine: bus, config: s.config.MobileNodes[1]}}
	one, two := s.config.MobileNodes[0].Prefixes[0], s.config.MobileNodes[1].Prefixes[0]
	say := func(by role.Machine, p netip.Prefix, usable bool) {
		s.carryOut(by, []role.Action{role.AdvertisePrefix{Prefix: p, Usable: usable}})
	}
	expect := func(when string, first, second bool) {
		t.Helper()
		if a, b := s.networkUsable(one), s.networkUsable(two); a != first || b != second {
			t.Errorf("%s: usable %v and %v, want %v and %v", when, a, b, first, second)
		}
	}
	say(train, one, false)
	expect("refused", false, true)
	s.applyAdvertisements(s.config)
	expect("after a reload", false, true)

	// The bus gets the prefix, and tells first; the train has another one.
	c, err := config.Parse("roam6", []byte(strings.NewReplacer("2001:db8:100::", "2001:db8:300::", "2001:db8:200::", "2001:db8:100::").Replace(trainFile)))
	if err != nil {
		t.Fatal(err)
	}
	s.config, s.mobiles[0].config, s.mobiles[1].config = c, c.MobileNodes[0], c.MobileNodes[1]
	say(bus, one, true)
	say(train, one, false)
	say(bus, two, false)
	s.applyAdvertisements(c)
	expect("another router has it", true, true)
	if len(s.refused) != 0 {
		t.Errorf("remembered: %v", s.refused)
	}

	say(bus, one, false)
	s.mobiles[1].ending, s.mobiles[1].machine = true, ended{bus}
	s.reap(testNow)
	expect("the router has ended", true, true)
}

// ended is a mobile that is done.
type ended struct{ *recorder }

func (ended) Done() bool { return true }

// A reload that comes while the node stops begins nothing: it would never end.
func TestReloadWhileStopping(t *testing.T) {
	s, log := bareShell(t, trainFile)
	m := new(recorder)
	s.mobiles = []*mobileHost{{machine: m, config: s.config.MobileNodes[0]}}
	s.stopRoles(testNow)
	reparse(t, s, testNow, trainFile)
	s.mobiles = nil
	s.reap(testNow)
	if len(s.successors)+len(s.mobiles) != 0 || !strings.Contains(log.String(), "not reloaded") {
		t.Errorf("%d mobiles, %d wait:\n%s", len(s.mobiles), len(s.successors), log)
	}
}

// A file that is the same as before is not reloaded again, whoever has noticed it: a
// commit on OpenWrt is noticed here and by procd. It is when the last one could not be
// used, since somebody waits to see that it can again.
func TestSameFileIsReloadedOnce(t *testing.T) {
	const first = "config mobile_node 'n'\n\toption enabled '0'\n\toption key '000102030405060708090a0b0c0d0e0f'\n"
	const second = first + "config correspondent\n"
	s, log := bareShell(t, "")
	s.path, s.requests = filepath.Join(t.TempDir(), "roam6"), make(chan request)
	go func() {
		for r := range s.requests {
			r.do(testNow)
			close(r.done)
		}
	}()
	defer close(s.requests)
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(s.path, []byte(text), 0o600), os.Chmod(s.path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write(first, 0o600)
	var err error
	if s.config, err = config.Load(s.path); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what, text       string
		mode             os.FileMode
		reloads, failure uint64
	}{
		{"as at the start", first, 0o600, 0, 0},
		{"another one", second, 0o600, 1, 0},
		{"the same again", second, 0o600, 1, 0},
		{"an error", "config nothing\n", 0o600, 1, 1},
		{"the error again", "config nothing\n", 0o600, 1, 2},
		{"the error mended", second, 0o600, 2, 2},
		{"that again", second, 0o600, 2, 2},
		{"keys that others can read", second, 0o644, 2, 3},
		{"the first one", first, 0o600, 3, 3},
	} {
		write(step.text, step.mode)
		err := s.Reload(t.Context())
		reloads, failures := s.metrics.Reloads()
		if reloads != step.reloads || failures != step.failure || uint64(strings.Count(log.String(), "configuration reloaded")) != step.reloads {
			t.Errorf("%s: %d reloads and %d failures (%v), want %d and %d:\n%s", step.what, reloads, failures, err, step.reloads, step.failure, log)
		}
	}
}

// What cannot be changed in a running node is named.
func TestTellRestarts(t *testing.T) {
	s, log := bareShell(t, "")
	s.plane, s.portless = nil, true
	c, err := config.Parse("roam6", []byte(trainFile))
	if err != nil {
		t.Fatal(err)
	}
	s.tellRestarts(s.config, c)
	for _, want := range []string{"first mobile node", "needs DHCPv6"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("lacks %q: %s", want, log)
		}
	}
	if strings.Contains(log.String(), "section globals") || strings.Contains(log.String(), "refusal of packets") {
		t.Errorf("says too much: %s", log)
	}
	s, log = bareShell(t, "")
	if c, err = config.Parse("roam6", []byte("config anchor 'city'\n\toption address '2001:db8:5::1'\n")); err != nil {
		t.Fatal(err)
	}
	s.tellRestarts(s.config, c)
	if !strings.Contains(log.String(), "refusal of packets") || strings.Contains(log.String(), "first mobile node") {
		t.Errorf("of the first anchor: %s", log)
	}
}

// However many solicitations wait, an advertiser gets its orders: the latest
// configuration, and its end.
func TestAdvertiserOrders(t *testing.T) {
	now := time.Now()
	configOf := func(prefix string) nd.AdvertiserConfig {
		a := advertisement{networks: []netip.Prefix{netip.MustParsePrefix(prefix)}}
		return a.machineConfig(role.Link{Name: "lan0", Ethernet: [6]byte{2}}, func(netip.Prefix) bool { return true })
	}
	m, err := nd.NewAdvertiser(now, configOf("2001:db8:1::/64"), rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	a := &advertiser{machine: m, solicitations: make(chan netip.Addr, 64), wake: make(chan struct{}, 1), counters: metrics.New("test").Advertising("lan0")}
	for i := range 1000 {
		a.solicited(netip.MustParseAddr(fmt.Sprintf("fe80::%x", i+1)))
	}
	a.reconfigure(configOf("2001:db8:2::/64"))
	a.reconfigure(configOf("2001:db8:3::/64"))
	select {
	case <-a.wake:
	default:
		t.Fatal("not woken")
	}
	a.obey(now)
	a.stop()
	out := a.obey(now)
	for len(out) == 0 && !m.Done() {
		out = m.Expire(m.Next())
	}
	if len(out) == 0 {
		t.Fatal("no final advertisement")
	}
	ra := out[0].Advertisement
	var prefixes []string
	for _, p := range ra.Prefixes {
		prefixes = append(prefixes, p.Prefix.String())
	}
	if ra.RouterLifetime != 0 || !slices.Contains(prefixes, "2001:db8:3::/64") || slices.Contains(prefixes, "2001:db8:2::/64") {
		t.Errorf("final advertisement with lifetime %v and %v", ra.RouterLifetime, prefixes)
	}
}

// A reload counts as what became of it, not of the file: one that the roles did not take
// has failed.
func TestReloadCountsItsOutcome(t *testing.T) {
	s, _ := bareShell(t, "")
	s.path = filepath.Join(t.TempDir(), "roam6")
	if err := os.WriteFile(s.path, []byte(trainFile), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nobody answers
	if err := s.Reload(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if succeeded, failed := s.metrics.Reloads(); succeeded != 0 || failed != 1 {
		t.Errorf("%d successes, %d failures", succeeded, failed)
	}
}
