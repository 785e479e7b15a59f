package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// rewrite gives a daemon another configuration, and waits until it has it.
func (v *village) rewrite(p *process, text string) {
	v.Helper()
	reloads := func() uint64 {
		s, err := p.client.Stats(context.Background())
		v.must(err)
		return s.Daemon.Reloads
	}
	before := reloads()
	v.must(os.WriteFile(p.paths.config+".new", fmt.Appendf(nil, text, p.paths.socket), 0o600))
	v.must(os.Rename(p.paths.config+".new", p.paths.config))
	v.must(p.cmd.Process.Signal(syscall.SIGHUP))
	v.until(p.name+" has its new configuration", func() bool { return reloads() > before })
}

// move gives the host another interface, with one of two care-of addresses in turn,
// so that it registers again.
func (v *village) move() {
	v.Helper()
	v.remove("up0")
	v.hostEthernet[5] ^= 1
	v.plug("up0")
}

// A reload begins with IPsec, or changes its keys or SPIs, while the binding lives on: as
// soon as both sides have it updates are taken, and in between none is (RFC 3776
// §4.1).
//
// Covers: H1.
func TestIPsecReload(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	agentText, hostText := ipsecFiles()
	v := newVillage(t, os.Args[0])
	created := v.binding().Created
	registersAgain := func(when string) {
		t.Helper()
		sequence := v.binding().Sequence
		v.move()
		v.until("a new update is taken "+when, func() bool { return v.binding().Sequence != sequence })
		v.works()
	}
	refused := func(when, reason string) {
		t.Helper()
		sequence, earlier := v.binding().Sequence, v.dropped(v.agent)[reason]
		v.move()
		v.until("an update is dropped "+when, func() bool { return v.dropped(v.agent)[reason] > earlier })
		if v.binding().Sequence != sequence {
			t.Errorf("%s an update is taken", when)
		}
	}
	other := strings.NewReplacer("5a6978'", "5a6979'", "ef1325'", "ef1326'").Replace // the last octets of the host's keys
	withoutMetrics := strings.NewReplacer(ipsecMetrics, "").Replace                  // they need a restart
	agentText, hostText = withoutMetrics(agentText), withoutMetrics(hostText)

	v.rewrite(v.agent, agentText)
	refused("without IPsec", "unauthenticated")
	v.rewrite(v.host, hostText)
	registersAgain("with IPsec")

	v.rewrite(v.agent, other(agentText))
	refused("under the old keys", "bad_authenticator")
	v.rewrite(v.host, other(hostText))
	registersAgain("under the new keys")
	spis := strings.NewReplacer("spi_to_agent '1000'", "spi_to_agent '2000'", "spi_to_mobile '1001'", "spi_to_mobile '2001'").Replace
	v.rewrite(v.agent, spis(other(agentText)))
	refused("by the old SPIs", "unknown_spi")
	v.rewrite(v.host, spis(other(hostText)))
	registersAgain("by the new SPIs")
	if now := v.binding().Created; now != created {
		t.Errorf("the binding is of %v, not of %v any more", now, created)
	}

	v.rewrite(v.host, hostFile)
	v.rewrite(v.agent, agentFile)
	registersAgain("without IPsec again")
	v.move() // to where it began
	v.works()
	v.end()
}
