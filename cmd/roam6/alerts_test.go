package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	labworld "roam6/internal/lab/world"
	"roam6/internal/metrics/contribtest"
	"roam6/mip6"
)

// TestAlerts: Prometheus scrapes a lab in which everything is well, and nothing fires;
// then one thing after the other goes wrong, and the alerts of contrib say so. The queries
// of the boards have answers.
func TestAlerts(t *testing.T) {
	w := newWatched(t)
	w.well()
	for _, part := range []struct {
		name  string
		wrong func()
	}{
		{"strangers", w.strangers},
		{"configurations", w.configurations},
		{"the home link and the access link", w.links},
		{"the home agent stands still", w.still},
		{"back and forth", w.backAndForth},
		{"more than the home agent can take", w.overload},
		{"boards", w.boards},
		{"a disk stands still", w.stuck},
		{"gone", w.gone},
	} {
		began := time.Now()
		part.wrong()
		t.Logf("%s: %v", part.name, time.Since(began).Round(100*time.Millisecond))
	}
	alerts, err := contribtest.Alerts("../../contrib/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range alerts {
		if why, but := w.unproven[a.Name]; but {
			t.Logf("%s: nothing here can make it fire: %s", a.Name, why)
		} else if len(w.fired[a.Name]) == 0 {
			t.Errorf("%s has not fired", a.Name)
		}
	}
}

// well: a ride home and back, with pauses of more than HandoversFrequent wants.
func (w *watched) well() {
	w.Helper()
	but := []string{
		"Roam6MemoryHigh",           // the daemons are the test's binary, which is larger than roam6
		"Roam6AdvertisementsMissed", // depends on what else the machine does
	}
	for _, place := range []string{estateHomeLAN, "ar"} {
		w.move("mr", place)
		w.registeredAt("mr", place == "ar")
		w.quiet(7*time.Second, but...)
	}
	w.quiet(3*time.Second, but...)
	w.fires("Roam6MemoryHigh", "mr")
}

// update is a binding update of a phone, sealed by a key, as anybody may send it.
func (w *watched) update(home netip.Addr, key mip6.SharedKey, sequence uint16) []byte {
	w.Helper()
	sa := mip6.SecurityAssociation{SPI: 256, Key: key}
	m, err := sa.Seal(mip6.BindingUpdate{
		Sequence: mip6.Sequence(sequence), Flags: mip6.UpdateHome | mip6.UpdateAcknowledge, Lifetime: 2,
		Options: []mip6.Option{mip6.AlternateCareOf{Addr: estateCN}},
	}, estateCN, home)
	w.must(err)
	b, err := mip6.Packet{Source: estateCN, Destination: estateAgent, HomeAddress: home, Message: m}.Append(nil)
	w.must(err)
	return b
}

// strangers send what is forged, recorded, unknown and too much to the home agent.
func (w *watched) strangers() {
	w.Helper()
	var right mip6.SharedKey
	for i := range right {
		right[i] = byte(i) // estateKey
	}
	unknown := w.update(netip.MustParseAddr("2001:db8:10::dead"), right, 1)
	forged := w.update(phone(4), mip6.SharedKey{7}, 1)
	recorded := w.update(phone(5), right, 1)
	inner := packet(phone(4), estateCN, 59, nil)
	spoofed := packet(estateCN, estateAgent, 41, inner)
	last := time.Time{}
	attack := func() {
		if time.Since(last) < 50*time.Millisecond {
			return
		}
		last = time.Now()
		w.inject("cn", unknown, forged, recorded, spoofed)
	}
	for _, name := range []string{"Roam6UnknownMobile", "Roam6AuthenticationFailures", "Roam6Replay", "Roam6TunnelSpoofing", "Roam6Flood"} {
		w.fires(name, "agent", attack)
	}
}

// configurations are reloaded that are broken, or that refuse or limit who is there.
func (w *watched) configurations() {
	w.Helper()
	// The prefix that there is has been delegated, and no server of the access link answers.
	w.reload("mr2", w.phones(w.router("Bus_2", estateHome2, toAgent+getsPrefix+"\toption default_source '0'\n")+
		"config prefix_request 'guests'\n\toption uplink 'up0'\n\tlist downstream 'lan1'\n"))
	w.reload("ar", w.ar("max_bindings '8'", "max_bindings '3'"))
	w.reload("cn", "config correspondent\n\toption max_bindings '1'\n"+w.metrics("cn"))
	w.must(os.WriteFile(w.daemons["mr"].paths.config, []byte("config mobile_router\n\toption home_address 'nowhere'\n"), 0o600))
	w.must(w.daemons["mr"].cmd.Process.Signal(syscall.SIGHUP))
	w.fires("Roam6ReloadFailed", "mr")
	w.fires("Roam6PrefixPoolExhausted", "agent")
	w.fires("Roam6DHCPUnanswered", "mr2")
	w.fires("Roam6CorrespondentBindingsNearLimit", "cn", func() { w.echoWithin(time.Millisecond, "mr2", phone(0), estateCN) })
	w.fires("Roam6AnchorBindingsNearLimit", "ar")
	w.reload("mr", w.bus())
	// Bus_2 is no router any more, the anchor serves another network, and all have a reason
	// to talk to them.
	w.reload("agent", w.agent(watchedPhones, w.mobile("Bus_2", estateHome2, isRouter), w.mobile("Bus_2", estateHome2, "\toption router '0'\n")))
	w.reload("ar", w.ar("served_prefix '2001:db8:a1::/64'", "served_prefix '2001:db8:a2::/64'"))
	w.plug("mr2", false)
	w.plug("mr2", true)
	w.fires("Roam6AnchorFailing", "mr2")
	w.fires("Roam6Refused", "agent", func() { w.echoWithin(time.Millisecond, "mr2", estateHome2, estateCN) })
	w.fires("Roam6Refused", "mr2")
	w.reload("agent", w.agent(watchedPhones))
}

// links: another router with other values, an access router that stands still now and
// then, an interface without a link-local address, a storm of notifications.
func (w *watched) links() {
	w.Helper()
	w.start("agent2", fmt.Sprintf(estateAdvertise, "home0")+"\toption AdvCurHopLimit '32'\n")
	space := w.world.Space("ar")
	core := w.link("ar", "core0")
	local := w.linkLocals("ar", "core0")
	for _, a := range local {
		w.must(space.Link.AddrDel(core, ipAddr(netip.PrefixFrom(a, 64))))
	}
	w.storm("mr2")
	last := time.Now()
	doze := func() { // for longer than mobiles wait
		if time.Since(last) > 500*time.Millisecond {
			last = time.Now()
			w.pause("ar", 150*time.Millisecond)
		}
	}
	w.fires("Roam6AdvertisementsMissed", "ar", doze)
	w.fires("Roam6AdvertisementsFail", "ar")
	for _, a := range local { // without, it resolves no neighbours for what it forwards
		w.must(labworld.AddAddress(space, "core0", netip.PrefixFrom(a, 64)))
	}
	w.fires("Roam6AdvertisementsInconsistent", "agent")
	w.fires("Roam6NetlinkOverruns", "mr2")
	w.end("agent2")
}

// still: the home agent does nothing for so long that registrations end, and comes back
// when the phones have no uplink any more.
func (w *watched) still() {
	w.Helper()
	w.move("mr", estateHomeLAN)
	w.registeredAt("mr", false)
	w.until("Prometheus sees the phones connected", func() bool { return w.value("roam6_connected", "mr2") >= watchedPhones })
	// The expiry of bindings is the home agent's to notice, when it runs again.
	p := w.daemons["agent"].cmd.Process
	w.must(p.Signal(syscall.SIGSTOP))
	w.move("mr", "ar")
	w.fires("Roam6NotConnected", "mr")
	w.fires("Roam6RegistrationExpiring", "mr2")
	w.fires("Roam6Retransmitting", "mr2")
	stop := w.talk("mr2", phone(4))
	w.plug("mr2", false)
	w.must(p.Signal(syscall.SIGCONT))
	w.fires("Roam6HandoverSlow", "mr")
	w.fires("Roam6BindingsExpire", "agent")
	w.fires("Roam6BindingsFell", "agent")
	w.fires("Roam6NoUplink", "mr2")
	w.fires("Roam6OutagesLong", "mr2")
	w.fires("Roam6PacketsDropped", "mr2")
	stop()
}

// backAndForth: somebody takes the address that the mobile router has on the access link
// while it is switched off, and then it moves as soon as it has arrived.
func (w *watched) backAndForth() {
	w.Helper()
	w.registeredAt("mr", true)
	taken := w.careOfOn("mr")
	w.end("mr")
	w.must(labworld.AddAddress(w.world.Space("ar"), "acc0", netip.PrefixFrom(taken, 64)))
	w.start("mr", w.bus())
	w.fires("Roam6DuplicateAddress", "mr")
	places := []string{estateHomeLAN, "ar"}
	last := time.Time{}
	w.fires("Roam6HandoversFrequent", "mr", func() {
		if time.Since(last) < 1500*time.Millisecond {
			return
		}
		last = time.Now()
		w.move("mr", places[0])
		slices.Reverse(places)
	})
}

// stuck: the home agent's control socket is on a disk, and not in memory as it should be.
// It acknowledges nothing that is not noted there, so it waits for the disk, and all ask in
// vain meanwhile.
func (w *watched) stuck() {
	w.Helper()
	if w.disk == nil {
		return
	}
	w.scrapePatiently("agent")
	thaw := w.disk.freeze()
	w.move("mr", estateHomeLAN)
	w.fires("Roam6Stuck", "agent")
	thaw()
	w.ends("Roam6Stuck", "agent")
	w.registeredAt("mr", false)
	w.list(w.patient)
}

// overload sends binding updates faster than anybody can look at them.
func (w *watched) overload() {
	w.Helper()
	burst := slices.Repeat([][]byte{w.update(netip.MustParseAddr("2001:db8:10::dead"), mip6.SharedKey{}, 1)}, 20_000)
	w.fires("Roam6EventsLost", "agent", func() { w.inject("cn", burst...) })
}

// gone: a daemon that is killed again and again, then for good, then all.
func (w *watched) gone() {
	w.Helper()
	began := w.value("process_start_time_seconds", "cn")
	for range 3 {
		w.kill("cn")
		w.start("cn", "config correspondent\n"+w.metrics("cn"))
		before := began
		w.until("Prometheus sees the start", func() bool {
			began = w.value("process_start_time_seconds", "cn")
			return began > before
		})
	}
	w.fires("Roam6Restarting", "cn")
	w.kill("cn")
	w.fires("Roam6Down", "cn")
	w.scrape()
	w.fires("Roam6Absent", "")
}

// boards asks Prometheus what Grafana would, when the mobiles have come back. All has data
// by now.
func (w *watched) boards() {
	w.Helper()
	w.plug("mr2", true)
	w.move("mr", "ar")
	w.until("Prometheus sees registrations again", func() bool {
		return w.value("roam6_registered", "mr") == 1 && w.value("roam6_registered", "mr2") > 0
	})
	for _, name := range []string{"router", "home-agent"} {
		b, err := contribtest.ReadBoard("../../contrib/grafana/" + name + ".json")
		w.must(err)
		answered := 0
		for _, q := range b.Queries() {
			samples, err := w.ask(q.Plain("2m"))
			switch {
			case err != nil:
				w.Errorf("%s, %s: %s: %v", name, q.Panel, q.Expr, err)
			case len(samples) == 0:
				w.Errorf("%s, %s: no data: %s", name, q.Panel, q.Expr)
			default:
				answered++
			}
		}
		w.Logf("board %s: %d queries with data", name, answered)
	}
}
