package dhcpv6

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"roam6/internal/role"
)

// RFC 6276 §3.1: after a restart with a prefix in the store Rebind, and the prefix is
// used when the server has confirmed it.
//
// Covers: D1, D3.
func TestRestart(t *testing.T) {
	c := prefixConfig()
	w := newWorld(t, c, nil)
	w.expect(w.do(role.ConfigureLink{}), wire.MessageTypeSolicit)
	w.reply(one, rapid(), pd(hour, delegated))
	if w.saves != 1 {
		t.Fatalf("saved %d times", w.saves)
	}
	w.pass(24 * time.Hour / 48)
	w.reply(one, pd(hour, delegated))
	if w.saves != 1 {
		t.Error("saved at a renewal, which wears out the flash")
	}

	after := newWorld(t, c, w.saved)
	list := after.do(role.ConfigureLink{})
	after.expect(list, wire.MessageTypeRebind)
	if _, prefixes := named(list[0].inner); !slices.Equal(prefixes, []prefix{delegated}) {
		t.Errorf("rebind of %v", prefixes)
	}
	after.holds()
	after.reply(one, pd(hour, delegated))
	after.state(StateBound)
	after.holds(delegated)
	if after.saves != 0 {
		t.Error("saved what was in the store")
	}

	// Nobody answers: Solicit with the old prefix as a hint.
	after = newWorld(t, c, w.saved)
	after.do(role.ConfigureLink{})
	after.pass(confirmMaxRD)
	after.state(StateSoliciting)
	after.holds()
	if _, prefixes := named(after.last().inner); after.last().inner.MessageType != wire.MessageTypeSolicit || !slices.Equal(prefixes, []prefix{delegated}) {
		t.Errorf("hints %v", prefixes)
	}

	// Of several prefixes the server confirms one: the other may be somebody else's.
	second := parsed("2001:db8:f00:100::/56")
	w.pass(hour.t1)
	w.reply(one, pd(hour, delegated, second))
	after = newWorld(t, c, w.saved)
	after.do(role.ConfigureLink{})
	after.reply(one, pd(hour, second))
	after.holds(second)

	// The server has forgotten it: Request, and then another prefix.
	other := parsed("2001:db8:e00::/56")
	after = newWorld(t, c, w.saved)
	after.do(role.ConfigureLink{})
	after.expect(after.reply(one, pdStatus(iana.StatusNoBinding)), wire.MessageTypeRequest)
	after.holds()
	after.reply(one, pd(hour, other))
	after.holds(other)

	// It cannot be longer than it was, whatever the time.
	after = newWorld(t, c, w.saved)
	after.do(down())
	after.do(role.LinkChanged{})
	after.do(role.ConfigureLink{})
	after.pass(hour.valid)
	after.expect(after.do(role.LinkChanged{Link: role.Link{Up: true}}), wire.MessageTypeSolicit)
}

// After an orderly stop the prefix is asked for again.
//
// Covers: D3.
func TestStopAndStart(t *testing.T) {
	c := prefixConfig()
	w := newWorld(t, c, nil)
	w.do(role.ConfigureLink{})
	w.reply(one, rapid(), pd(hour, delegated))
	w.do(role.Stop{})
	w.reply(one)
	after := newWorld(t, c, w.saved)
	after.expect(after.do(role.ConfigureLink{}), wire.MessageTypeSolicit)
	if _, prefixes := named(after.last().inner); !slices.Equal(prefixes, []prefix{delegated}) {
		t.Errorf("hints %v", prefixes)
	}
	// The configured hints come behind it, and ::/0 says nothing.
	c.Hints = []prefix{parsed("::/60"), parsed("::/0")}
	after = newWorld(t, c, w.saved)
	after.do(role.ConfigureLink{})
	if _, prefixes := named(after.last().inner); !slices.Equal(prefixes, []prefix{delegated, parsed("::/60")}) {
		t.Errorf("hints %v", prefixes)
	}
}

// Addresses kept across a restart are asked for with Confirm (RFC 8415 §18.2.12), after
// a random delay since others may have been switched on, too. The answer says that the
// link is the one of before, and nothing of lifetimes: they come by Rebind.
func TestRestartWithAddresses(t *testing.T) {
	w := bound(t)
	after := newWorld(t, testConfig(), w.saved)
	after.expect(after.soon(managed), wire.MessageTypeConfirm)
	after.holds()
	after.expect(after.reply(two), wire.MessageTypeRebind)
	after.holds()
	after.reply(one, na(hour, address))
	after.holds(address)
	after.do(down())
	after.do(up(1))
	after.expect(after.soon(managed), wire.MessageTypeConfirm)
	after.reply(one)
	after.state(StateBound)

	// On another link that looks the same every server says so, at once.
	after = newWorld(t, testConfig(), w.saved)
	after.soon(managed)
	after.expect(after.reply(one, status(iana.StatusNotOnLink)), wire.MessageTypeSolicit)
	// Nobody knows the lease: it is not used, however long ago it may have ended.
	after = newWorld(t, testConfig(), w.saved)
	after.soon(managed)
	after.reply(two)
	after.pass(confirmMaxRD)
	after.state(StateSoliciting)
	after.holds()
	after = newWorld(t, testConfig(), w.saved)
	after.expect(after.do(role.ConfigureLink{Link: link, Identity: there, Managed: true}), wire.MessageTypeSolicit)
}

// A node that comes by many links does not write its flash each time.
func TestSaveRate(t *testing.T) {
	w := newWorld(t, testConfig(), nil)
	places := []role.LinkIdentity{here, there}
	for i := range 600 {
		w.do(role.ConfigureLink{Link: link, Identity: places[i%2], Managed: true})
		if w.last().inner.MessageType == wire.MessageTypeSolicit {
			w.reply(one, rapid(), na(hour, address))
		}
		w.pass(10 * time.Second)
	}
	if w.saves > saveRate.Burst+21 {
		t.Errorf("saved %d times in 100 minutes", w.saves)
	}
	// What had to wait is saved in the end.
	w.pass(saveRate.Every)
	if content := w.client.contents(w.now); content != w.client.saver.content {
		t.Errorf("not saved: %s", content)
	}
}

// A store that is torn, foreign or absurd is as none, or as what makes sense of it.
func TestForeignStore(t *testing.T) {
	w := bound(t)
	good := w.saved
	if !bytes.Contains(good, []byte(address.String())) {
		t.Fatalf("%s", good)
	}
	// What can be read and is not believed in parts is nothing to tell of.
	named := map[string]bool{"multicast": true, "a prefix": true, "no server": true, "ended": true}
	clean := func(name string, c Config, data []byte) {
		t.Helper()
		after := newWorld(t, c, data)
		if list := after.do(managed); len(list) != 1 || list[0].inner.MessageType != wire.MessageTypeSolicit {
			t.Errorf("%s: %v", name, list)
		}
		if told, damaged := after.logged["dhcpv6: what an earlier run has kept is not used"], !named[name]; len(data) > 0 && told != damaged {
			t.Errorf("%s: said that it is not used: %v", name, told)
		}
	}
	for i := range good {
		clean("torn", testConfig(), good[:i])
	}
	other := testConfig()
	other.DUID = []byte{0, 99, 77}
	clean("another node's", other, good)
	other = testConfig()
	other.IAID++
	clean("another interface's", other, good)
	replace := func(from, to string) []byte { return []byte(strings.Replace(string(good), from, to, 1)) }
	clean("another version", testConfig(), replace(`"version":1`, `"version":2`))
	clean("multicast", testConfig(), replace(address.String(), "ff02::1/128"))
	clean("a prefix", testConfig(), replace(address.String(), "2001:db8::/64"))
	clean("no server", testConfig(), replace(`"server":"00630101`, `"server":"zz`))
	clean("long", testConfig(), append(slices.Clone(good), bytes.Repeat([]byte{' '}, maxSaved)...))
	clean("ended", testConfig(), replace(`"valid":7200`, `"valid":-1`))
	after := newWorld(t, testConfig(), replace(`"valid":7200`, `"valid":9223372036854775807`))
	after.expect(after.soon(managed), wire.MessageTypeConfirm)
	if v := after.client.Snapshot(after.now).Lease.Addresses[0].Valid; v != forever || v > math.MaxInt64/2 {
		t.Errorf("valid for %v", v)
	}
}

// RFC 8415 §21.24: SOL_MAX_RT is to be kept for as long as possible.
func TestSavedMaxRT(t *testing.T) {
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	w.reply(one, rapid(), na(hour, address), uint32Option(wire.OptionSolMaxRT, 7200))
	after := newWorld(t, testConfig(), w.saved)
	after.do(managed)
	if after.client.solMaxRT != 2*time.Hour {
		t.Errorf("SOL_MAX_RT %v", after.client.solMaxRT)
	}
}
