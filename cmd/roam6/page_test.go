//go:build !nopage && !nometrics

package main

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	labworld "roam6/internal/lab/world"
	"roam6/internal/page/browsertest"
)

// TestPage: the pages of a home agent and of a mobile router show in a browser what
// happens, as it happens: registration, move, return home, and the end of the daemon.
// Nothing on them is secret, the console has no complaint, and nobody else is asked.
func TestPage(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	const served = "config metrics\n\toption enabled '1'\n"
	agent := "\toption page '1'\n" + e.homeAgent(estateAgent, "", e.mobile("Bus_1", estateHome, "\tlist prefix '"+estateNets[0].String()+"'\n"), e.mobile("Bus_2", estateHome2, "")) + served
	router := "\toption page '1'\n" + e.router("Bus_1", estateHome, toAgent+"\tlist prefix '"+estateNets[0].String()+"'\n") + served
	e.start("ar", e.accessRouter())
	e.start("agent", agent)
	open := func(node string) *browsertest.Page {
		b := browsertest.Start(t, func(c *exec.Cmd) error { return e.world.Space(node).Do(c.Start) })
		p := b.Open("http://[::1]:9706/", browsertest.View{Width: 1000, Height: 800})
		p.Until("it is live", "document.body.className === 'live'")
		return p
	}
	at := open("agent")
	if got := at.Text("#mobiles"); strings.Count(got, "not registered") != 2 {
		t.Errorf("before anybody came: %q", got)
	}
	marks := func(n string) string { return "document.querySelectorAll('#moves .mark').length === " + n }

	e.move("mr", "ar")
	e.start("mr", router)
	e.registeredAt("mr", true)
	at.Until("Bus_1 is registered", "document.querySelector('#mobiles tr').innerText.includes('2001:db8:a1:') && "+marks("1"))
	on := open("mr")
	on.Until("its handover is there", "document.querySelectorAll('#handovers .bar').length === 1 && document.querySelector('#uplinks').innerText.includes('in use')")
	if got := on.Text("#updates"); !strings.Contains(got, "registered") || !strings.Contains(got, estateHome.String()) {
		t.Errorf("the router's registration: %q", got)
	}

	// Elsewhere is the same access router with another prefix, to which the mobile moves as
	// soon as it hears of it.
	other := netip.MustParsePrefix("2001:db8:d000::/64")
	there := e.accessRouter()
	e.must(labworld.AddAddress(e.world.Space("ar"), "acc0", netip.PrefixFrom(other.Addr().Next(), 64)))
	last := "[...document.querySelectorAll('#moves .mark')].pop().getAttribute('aria-label')"
	e.reload("ar", strings.ReplaceAll(there, "2001:db8:a1::/64", other.String()))
	at.Until("Bus_1 is elsewhere", "document.querySelector('#mobiles tr').innerText.includes('2001:db8:d000:') && "+marks("2")+" && "+last+".includes('moved from 2001:db8:a1:')")
	at.Until("what the move took is shown", "document.querySelector('#took svg').getAttribute('aria-label').startsWith('Processing of moves: median ')")
	e.move("mr", estateHomeLAN)
	e.registeredAt("mr", false)
	at.Until("Bus_1 has gone home", "document.querySelector('#mobiles tr').innerText.includes('not registered') || document.querySelector('#mobiles tr').innerText.includes('deleted')")
	at.Until("its end is shown", marks("3")+" && document.querySelector('#moves .mark.end').getAttribute('aria-label').includes('and de-registered')")
	e.move("mr", "ar")
	e.registeredAt("mr", true)
	at.Until("Bus_1 is back", marks("4"))
	e.reload("ar", there)
	at.Until("Bus_1 is where it was at first", marks("5")+" && "+last+".includes('moved from 2001:db8:d000:')")
	on.Until("its handovers are there", "document.querySelectorAll('#handovers .bar').length >= 3")
	for _, bar := range []string{"acknowledge ", "s (", "binding update"} {
		var label string
		if on.Eval("document.querySelector('#handovers .bar').getAttribute('aria-label')", &label); !strings.Contains(label, bar) {
			t.Errorf("the last handover tells of no %s: %q", bar, label)
		}
	}

	for name, p := range map[string]*browsertest.Page{"agent": at, "router": on} {
		var all string
		if p.Eval("fetch('status.json').then(r => r.text())", &all); strings.Contains(strings.ToLower(all), estateKey) || !strings.Contains(all, estateHome.String()) {
			t.Errorf("%s: %s", name, all)
		}
		if c := p.Complaints(); len(c) > 0 {
			t.Errorf("%s: the console complains: %q", name, c)
		}
		if i := slices.IndexFunc(p.Requests(), func(r string) bool {
			return !strings.HasPrefix(r, "http://[::1]:9706/") && !strings.HasPrefix(r, "data:")
		}); i >= 0 {
			t.Errorf("%s: asked %s", name, p.Requests()[i])
		}
	}
	e.end("agent")
	at.Until("nobody answers", "document.getElementById('since').innerText.startsWith('no answer since ')")
	e.start("agent", agent)
	at.Until("the new process answers", "document.body.className === 'live'")
}
