package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	labworld "roam6/internal/lab/world"
)

// kea runs a Kea server on the access link, which delegates prefixes of 60 bits from
// what is routed to the access router, until it is stopped or the test ends.
func (e *estate) kea(pool netip.Prefix) (stop func()) {
	e.Helper()
	type object = map[string]any
	text, err := json.Marshal(object{"Dhcp6": object{
		"interfaces-config": object{"interfaces": []string{"acc0"}},
		"lease-database":    object{"type": "memfile", "persist": false},
		"server-id":         object{"type": "EN", "enterprise-id": 32473, "identifier": "ACCE55", "persist": false},
		"renew-timer":       2, "rebind-timer": 4, "preferred-lifetime": 20, "valid-lifetime": 40,
		"subnet6": []object{{"id": 1, "subnet": "2001:db8:a1::/64", "interface": "acc0",
			"pd-pools": []object{{"prefix": pool.Addr().String(), "prefix-len": pool.Bits(), "delegated-len": 60}}}},
	}})
	e.must(err)
	file := filepath.Join(e.state, "kea.json")
	e.must(os.WriteFile(file, text, 0o600))
	log, err := os.OpenFile(filepath.Join(e.state, "kea.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	e.must(err)
	path, err := exec.LookPath("kea-dhcp6")
	if err != nil {
		path = "/usr/sbin/kea-dhcp6"
	}
	cmd := exec.Command(path, "-c", file)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = os.Environ()
	for _, v := range []string{"KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR", "KEA_DHCP_DATA_DIR", "KEA_LOG_FILE_DIR"} {
		cmd.Env = append(cmd.Env, v+"="+e.state)
	}
	e.must(e.world.Space("ar").Do(cmd.Start))
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		log.Close()
	}
	e.Cleanup(func() {
		stop()
		if b, err := os.ReadFile(log.Name()); err == nil && e.Failed() {
			e.Logf("Kea:\n%s", b)
		}
	})
	return stop
}

// TestPrefixRequest: a router that is no mobile gets a prefix of the access network
// from a Kea server, numbers a network with it, renews it, and follows when the
// server gives another one: hosts learn at once that the old one is deprecated
// (RFC 8415 §6.3, RFC 7084 §4.3).
func TestPrefixRequest(t *testing.T) {
	needKea(t)
	t.Parallel()
	e := newEstate(t)
	before := e.snapshots()
	first, second := netip.MustParsePrefix("2001:db8:d000::/48"), netip.MustParsePrefix("2001:db8:d001::/48")
	e.start("ar", e.accessRouter())
	stop := e.kea(first)
	e.move("mr", "ar")
	const request = "config prefix_request 'Guests_1'\n\toption uplink 'up0'\n\tlist downstream 'lan0'\n\tlist downstream 'lan1'\n" +
		"config interface\n\toption interface 'lan0'\n\toption AdvSendAdvert '1'\n\toption max_interval_ms '4000'\n"
	e.start("mr", request)
	leased := func(pool netip.Prefix) (p netip.Prefix) {
		e.until("a prefix is delegated", func() bool {
			for _, c := range e.leases("mr") {
				for _, l := range c.Prefixes {
					if p = l.Prefix; pool.Overlaps(p) {
						return true
					}
				}
			}
			return false
		})
		return p
	}
	p := leased(first)
	subnet := func(p netip.Prefix, i byte) netip.Prefix {
		b := p.Addr().As16()
		b[7] += i
		return netip.PrefixFrom(netip.AddrFrom16(b), 64)
	}
	for i := range byte(2) {
		e.addressOf("mnn", subnet(p, i))
	}
	// The access router has to know where its prefixes are; the node's default route
	// is the router's.
	e.must(e.world.AddRoute("ar", labworld.Route{Prefix: estateLocal, Via: e.linkLocals("mr", "up0")[0], Interface: "acc0"}))
	e.must(e.world.AddRoute("mr", labworld.Route{Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Via: e.linkLocals("ar", "acc0")[0], Interface: "up0"}))
	node := e.addressOf("mnn", subnet(p, 0))
	e.reached("mnn", node)
	// What is delegated and on no link goes nowhere.
	if outcome := e.echo("cn", estateCN, subnet(p, 7).Addr().Next()); outcome != echoUnreachable+"0" {
		t.Errorf("an address that is on no link: %s", outcome)
	}
	e.until("the lease is renewed", func() bool {
		s, err := e.daemons["mr"].client.Stats(t.Context())
		if err != nil {
			return false
		}
		for _, m := range s.DHCP {
			if m.Type == "renew" && m.Sent > 1 {
				return true
			}
		}
		return false
	})

	stop()
	e.kea(second)
	p = leased(second)
	e.addressOf("mnn", subnet(p, 0))
	e.until("the old prefix is deprecated", func() bool {
		_, deprecated := e.hostAddress("mnn", subnet(netip.PrefixFrom(first.Addr(), 60), 0))
		return deprecated
	})
	e.reached("mnn", e.addressOf("mnn", subnet(p, 0)))

	e.end("mr")
	e.end("ar")
	left := slices.DeleteFunc(labworld.Compare(before, e.snapshots()), func(line string) bool { return strings.Contains(line, " protocol 4 ") }) // this test's own
	if len(left) > 0 {
		t.Errorf("left:\n%s", strings.Join(left, "\n"))
	}
	complaints(t, e.captured())
}
