package main

import (
	"context"
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/control"
	labworld "roam6/internal/lab/world"
)

// maySetClock is asked for where the machine's clock is nobody else's: it has no namespaces.
var maySetClock = flag.Bool("set-clock", false, "set this machine's clock, forward and back by decades, and not back to what is right")

// clockAgentFile and clockHostFile have everything with a lifetime: registrations of eight
// seconds, prefixes that are delegated for twenty and advertised, advertisements every
// 30 to 70 ms whose prefixes count down.
var (
	clockAgentFile = strings.NewReplacer(
		"option dad '0'", "option dad '0'\n\tlist delegation_pool '2001:db8:8000::/56'\n\toption delegation_preferred '10'\n\toption delegation_lifetime '20'",
		"option spi", "option router '1'\n\toption spi",
		"list prefix '2001:db8:a1::/64'", "list prefix '2001:db8:a1::/64'\n\toption DecrementLifetimes '1'",
	).Replace(agentFile)
	clockHostFile = strings.NewReplacer(
		"mobile_node", "mobile_router",
		"option spi", "option lifetime '8'\n\toption prefix_delegation '1'\n\tlist downstream 'lan0'\n\toption spi",
	).Replace(hostFile)
)

// A clock that jumps by years, forward, back to the seventies and to what was right, with
// both daemons running, is noticed by no timer: registrations and leases are renewed when
// they are due and never end, advertisements go on at their pace, no lifetime is negative or
// longer than was granted, and the next hand-over is one. A home agent that is killed and
// started again after a jump restores its bindings. It is the real clock, which is why this
// runs in a machine of its own: `make vm-test`.
//
// Covers: B10, H4, M2, D3.
func TestClockJumps(t *testing.T) {
	if !*maySetClock {
		t.Skip("needs -set-clock, and a machine whose clock it may set: make vm-test")
	}
	needWorlds(t)
	v := emptyVillage(t)
	v.lan()
	v.agent = v.start(v.agentSpace, os.Args[0], "agent", clockAgentFile)
	v.until("the home agent knows its links", v.advertises)
	v.host = v.start(v.hostSpace, os.Args[0], "host", clockHostFile)
	v.works()
	v.until("it has a prefix", func() bool { return v.numbered() != nil })
	for _, day := range []string{"2046-01-01", "1971-01-01", "2026-07-01"} {
		at, err := time.Parse(time.DateOnly, day)
		v.must(err)
		setClock(t, at)
		v.undisturbed(day)
		v.replug()
		v.works()
	}
	killed := v.agent
	killed.kill()
	v.agent = nil
	setClock(t, time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
	v.agent = startProcess(t, v.agentSpace, os.Args[0], killed.name, killed.paths)
	v.until("the home agent answers", v.agent.answers)
	if s := v.stats(v.agent); s.Agent == nil || s.Agent.Restored != 1 {
		t.Errorf("restored: %+v", s.Agent)
	}
	v.works()
	v.undisturbed("a restart")
	v.end()
}

// replug takes the carrier away until the host has noticed.
func (v *village) replug() {
	v.Helper()
	v.up(v.agentSpace, "wan0", false)
	v.until("the carrier is gone", func() bool { u := v.update(); return u.Lost || u.Attachment == nil })
	v.up(v.agentSpace, "wan0", true)
	v.must(labworld.AddAddress(v.agentSpace, "wan0", netip.PrefixFrom(villageAR, 64)))
}

// lan gives the host a network behind it.
func (v *village) lan() {
	v.Helper()
	v.makeLAN()
	v.until("the world is at rest", func() bool {
		last := v.before
		v.before = v.snapshots()
		return len(labworld.Compare(last, v.before)) == 0
	})
}

// undisturbed looks for ten seconds, which is longer than a registration lasts and as long
// as a delegated prefix is preferred, that all goes on.
func (v *village) undisturbed(when string) {
	v.Helper()
	const watched = 10 * time.Second
	a, h, begin := v.stats(v.agent), v.stats(v.host), time.Now()
	for time.Since(begin) < watched {
		u := v.update()
		if !u.Registered || u.Lost || u.Remaining <= 0 || time.Duration(u.Remaining) > 8*time.Second {
			v.Fatalf("%s: %v later: %+v", when, time.Since(begin), u)
		}
		p := v.numbered()
		if p == nil || p.Valid == nil || *p.Valid <= 0 || time.Duration(*p.Valid) > 20*time.Second {
			v.Fatalf("%s: %v later: prefix %+v", when, time.Since(begin), p)
		}
		b, err := v.agent.client.Bindings(context.Background())
		if err != nil || len(b.Bindings) != 1 || b.Bindings[0].Remaining <= 0 || time.Duration(b.Bindings[0].Remaining) > 8*time.Second ||
			b.Bindings[0].UpdateAge < 0 || time.Duration(b.Bindings[0].Age) > time.Hour {
			v.Fatalf("%s: %v later: bindings %+v, %v", when, time.Since(begin), b.Bindings, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	took := time.Since(begin)
	if !v.reaches() {
		v.Errorf("%s: the peer is not reached", when)
	}
	a2, h2 := v.stats(v.agent), v.stats(v.host)
	ras := a2.Daemon.RouterAdvertisementsSent - a.Daemon.RouterAdvertisementsSent
	updates := h2.Mobile.UpdatesSent - h.Mobile.UpdatesSent
	v.Logf("%s: %d advertisements and %d updates in %v", when, ras, updates, took)
	if most, least := uint64(took/(30*time.Millisecond)), uint64(took/(100*time.Millisecond)); ras < least || ras > most {
		v.Errorf("%s: %d advertisements in %v", when, ras, took)
	}
	// One each six seconds, and another one where the home agent's time is not the
	// mobile's any more (RFC 4285 §6).
	if updates < 1 || updates > 4 {
		v.Errorf("%s: %d updates in %v", when, updates, took)
	}
}

func (v *village) stats(p *process) control.Stats {
	v.Helper()
	s, err := p.client.Stats(context.Background())
	v.must(err)
	return s
}

// numbered is the prefix that the host was delegated and has on its network.
func (v *village) numbered() *control.NetworkPrefix {
	v.Helper()
	p, err := v.host.client.Prefixes(context.Background())
	v.must(err)
	for _, n := range p.Network {
		if n.Downstream == "lan0" && n.State == "usable" {
			return &n
		}
	}
	return nil
}

func setClock(t *testing.T, to time.Time) {
	t.Helper()
	tv := unix.NsecToTimeval(to.UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		t.Fatal("the clock cannot be set: ", err)
	}
	if got := time.Now(); got.Round(0).Sub(to).Abs() > time.Minute {
		t.Fatalf("the clock was set to %v and says %v", to, got)
	}
}
