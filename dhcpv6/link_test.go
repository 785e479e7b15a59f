package dhcpv6

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"roam6/internal/role"
)

// RFC 8415 §18.2.12: on an unknown link Solicit at once; what was leased on the
// other one is not named, and remembered. Back there it is given out at once, and
// Confirm asks.
func TestMoveAndReturn(t *testing.T) {
	w := bound(t)
	w.expect(w.do(role.ConfigureLink{Link: link, Identity: there, Managed: true}), wire.MessageTypeSolicit)
	w.holds()
	w.reply(two, rapid(), na(hour, address2))
	w.holds(address2)
	w.pass(100 * time.Second)
	list := w.soon(managed)
	w.expect(list, wire.MessageTypeConfirm)
	w.holds(address)
	if w.lease.Addresses[0].Valid != hour.valid-100*time.Second {
		t.Errorf("valid for %v", w.lease.Addresses[0].Valid)
	}
	m := list[0].inner
	if got, _ := named(m); !slices.Equal(got, []prefix{address}) || m.GetOneOption(wire.OptionServerID) != nil {
		t.Errorf("confirm %v", m.Summary())
	}
	w.reply(two) // any server can say so
	w.state(StateBound)
	w.holds(address)
	// T1 and T2 are those of before.
	w.pass(hour.t1 - 100*time.Second)
	w.expect(w.last1(), wire.MessageTypeRenew)
}

// RFC 8415 §18.2.12: a link that has another router now, and the prefix of the lease,
// is one on which that may be good: it stays in use, and Confirm asks.
func TestAnotherRouterOfTheLink(t *testing.T) {
	w := bound(t)
	heir := role.ConfigureLink{Link: link, Identity: role.LinkIdentity{Router: there.Router, Prefix: here.Prefix}, Managed: true}
	told := w.leases
	w.expect(w.soon(heir), wire.MessageTypeConfirm)
	w.holds(address)
	if w.leases != told {
		t.Errorf("the lease was told %d times more", w.leases-told)
	}
	w.expect(w.reply(one))
	w.state(StateBound)
	w.holds(address)
	if n := w.client.Snapshot(w.now).Remembered; n != 0 {
		t.Errorf("%d links are remembered", n)
	}
	// What is remembered of a link comes before what the one of before had.
	w.expect(w.do(role.ConfigureLink{Link: link, Identity: there, Managed: true}), wire.MessageTypeSolicit)
	w.holds()
	w.reply(two, rapid(), na(hour, address2))
	w.expect(w.soon(heir), wire.MessageTypeConfirm)
	w.holds(address)
}

// RFC 8415 §18.2.3: Confirm goes on for CNF_MAX_RD, and without an answer the leases
// stay in use.
func TestConfirmUnanswered(t *testing.T) {
	w := bound(t)
	w.do(down())
	w.do(up(1))
	w.expect(w.soon(managed), wire.MessageTypeConfirm)
	start := w.now
	w.pass(time.Minute)
	w.state(StateBound)
	w.holds(address)
	list := w.sent[1:]
	if n := len(list); n < 4 || n > 5 {
		t.Errorf("%d messages", n)
	}
	for i, s := range list {
		if s.inner.MessageType != wire.MessageTypeConfirm || s.at.Sub(start) >= confirmMaxRD {
			t.Errorf("%v after %v", s.inner.MessageType, s.at.Sub(start))
		}
		if i > 0 && s.at.Sub(list[i-1].at) > confirmMaxRT*11/10 {
			t.Errorf("retransmission after %v", s.at.Sub(list[i-1].at))
		}
	}
}

// RFC 8415 §18.2.10.3: NotOnLink takes the lease back and solicits; of another
// server's only if none says otherwise.
func TestConfirmNotOnLink(t *testing.T) {
	confirming := func() *world {
		w := bound(t)
		w.do(up(1))
		w.do(up(2)) // away and back within one notification
		w.expect(w.soon(managed), wire.MessageTypeConfirm)
		return w
	}
	w := confirming()
	w.expect(w.reply(one, status(iana.StatusNotOnLink)), wire.MessageTypeSolicit)
	w.holds()

	w = confirming()
	w.expect(w.reply(two, status(iana.StatusNotOnLink)))
	w.holds(address)
	w.expect(w.reply(one))
	w.state(StateBound)
	w.holds(address)

	w = confirming()
	w.reply(two, status(iana.StatusNotOnLink))
	w.expect(w.pass(confirmTimeout*11/10), wire.MessageTypeSolicit)
	w.holds()
}

// RFC 8415 §18.2.12: with delegated prefixes Rebind, with the times of Confirm.
func TestLinkEventWithPrefixes(t *testing.T) {
	w := boundBoth(t)
	w.do(down())
	w.do(up(1))
	list := w.do(managed)
	w.expect(list, wire.MessageTypeRebind)
	w.holds(address, delegated)
	addresses, prefixes := named(list[0].inner)
	if len(addresses) != 1 || len(prefixes) != 1 {
		t.Errorf("rebind of %v %v", addresses, prefixes)
	}
	w.pass(time.Minute)
	w.state(StateBound)
	w.holds(address, delegated)
	if n := len(w.sent); n < 5 || n > 6 {
		t.Errorf("%d messages", n)
	}

	w = boundBoth(t)
	w.do(down())
	w.do(up(1))
	w.do(managed)
	w.expect(w.reply(two, na(times{}, address), pd(times{}, delegated)), wire.MessageTypeSolicit)
	w.holds()
}

// Nothing is sent on a link that is down, and nothing after it came back before it
// is known which link it is, or a while has passed.
func TestLinkDown(t *testing.T) {
	w := bound(t)
	w.do(down())
	w.expect(w.pass(hour.t2))
	w.holds(address)
	w.expect(w.do(up(1)))
	w.expect(w.pass(moveWait-1), nil...)
	w.expect(w.pass(1))
	w.expect(w.pass(w.client.Next().Sub(w.now)), wire.MessageTypeConfirm)
	w.expect(w.reply(one), wire.MessageTypeRebind) // T2 has passed meanwhile

	// What ends while the link is down ends.
	w = bound(t)
	w.do(down())
	w.pass(hour.valid)
	w.holds()
	w.do(managed)
	w.expect(w.do(up(1)))
	w.expect(w.pass(moveWait), wire.MessageTypeSolicit)

	// A link that is configured while it is down begins when it comes up.
	w = newWorld(t, testConfig(), nil)
	w.do(down())
	w.expect(w.do(managed))
	w.expect(w.pass(time.Hour))
	w.expect(w.do(up(1)), wire.MessageTypeSolicit)
	// Another link is none of ours.
	w.do(role.LinkChanged{Link: role.Link{Index: link + 1}})
	w.expect(w.pass(1200*time.Millisecond), wire.MessageTypeSolicit)
	w.do(role.LinkGone{Index: link})
	w.expect(w.pass(time.Hour))
}

// The same link, the same flags: nothing. Other flags: what they ask for.
func TestConfigureAgain(t *testing.T) {
	w := bound(t)
	w.expect(w.do(managed))
	w.expect(w.do(role.ConfigureLink{Link: link, Identity: here, Managed: true, Other: true}))
	w.holds(address)
	w.expect(w.soon(otherOnly), wire.MessageTypeInformationRequest)
	w.holds()
	w.expect(w.do(managed), wire.MessageTypeSolicit)
	// Nothing any more: silent, but remembered.
	w.reply(one, rapid(), na(hour, address))
	w.expect(w.do(role.ConfigureLink{Link: link, Identity: here}))
	w.state(StateIdle)
	w.holds()
	w.expect(w.pass(hour.t2))
	w.expect(w.soon(managed), wire.MessageTypeConfirm)
	w.holds(address)
	w.expect(w.do(role.ConfigureLink{Link: link + 1, Identity: there, Managed: true}))
	w.holds(address)
}

// A link of which nothing is known is not taken for one of before: the lease is
// not named until a server has said that it is good.
func TestUnknownLink(t *testing.T) {
	w := newWorld(t, testConfig(), nil)
	unknown := role.ConfigureLink{Link: link, Managed: true}
	w.do(unknown)
	w.reply(one, rapid(), na(hour, address))
	w.holds(address)
	w.do(down())
	w.do(up(1))
	w.expect(w.do(unknown), wire.MessageTypeConfirm)
	w.holds()
	w.reply(one)
	w.holds(address)
	// Recalled it may be of any link.
	w.do(role.ConfigureLink{Link: link, Identity: there, Managed: true})
	w.reply(two, rapid(), na(hour, address2))
	w.expect(w.do(unknown), wire.MessageTypeConfirm)
	w.holds()
	w.reply(one)
	w.holds(address)
	// Prefixes stay: networks are not renumbered because a carrier was away.
	c := testConfig()
	c.Prefixes = true
	w = newWorld(t, c, nil)
	w.do(unknown)
	w.reply(one, rapid(), na(hour, address), pd(hour, delegated))
	w.do(down())
	w.do(up(1))
	w.expect(w.do(unknown), wire.MessageTypeRebind)
	w.holds(delegated)
	w.pass(confirmMaxRD)
	w.holds(address, delegated)
}

// RFC 8415 §18.2.2: a link turns out to have addresses when there are prefixes already.
func TestAddressesLater(t *testing.T) {
	c := testConfig()
	c.Prefixes = true
	w := newWorld(t, c, nil)
	w.do(role.ConfigureLink{Link: link})
	if m := w.last().inner; len(m.Options.IANA()) != 0 || len(m.Options.IAPD()) != 1 {
		t.Errorf("solicit %v", m.Summary())
	}
	w.reply(one, rapid(), pd(hour, delegated))
	w.expect(w.do(role.ConfigureLink{Link: link, Managed: true}), wire.MessageTypeRequest)
	w.holds(delegated)
	w.reply(one, naStatus(iana.StatusNoAddrsAvail), pd(hour, delegated))
	w.state(StateBound)
	w.holds(delegated)
	w.do(role.ConfigureLink{Link: link})
	w.do(role.ConfigureLink{Link: link, Managed: true})
	w.reply(one, na(hour, address), pd(hour, delegated))
	w.holds(address, delegated)
}

// A prefix is asked for again on the link it is of, not on another one.
func TestHintsOfOtherLink(t *testing.T) {
	w := boundBoth(t)
	w.pass(hour.valid)
	if _, prefixes := named(w.last().inner); !slices.Equal(prefixes, []prefix{delegated}) {
		t.Errorf("hints %v", prefixes)
	}
	w.do(role.ConfigureLink{Link: link, Identity: there, Managed: true})
	if _, prefixes := named(w.last().inner); len(prefixes) != 0 {
		t.Errorf("hints %v", prefixes)
	}
}

// The memory of links is bounded, the least recently used one goes, and expired
// leases do.
func TestRemembered(t *testing.T) {
	w := newWorld(t, testConfig(), nil)
	at := func(i int) role.ConfigureLink {
		return role.ConfigureLink{Link: link, Managed: true, Identity: role.LinkIdentity{
			Router: netip.MustParseAddr(fmt.Sprintf("fe80::%d", i+1)),
			Prefix: parsed(fmt.Sprintf("2001:db8:%d::/64", i+1)),
		}}
	}
	visit := func(i int) {
		w.expect(w.do(at(i)), wire.MessageTypeSolicit)
		w.reply(one, rapid(), na(hour, parsed(fmt.Sprintf("2001:db8:%d::5/128", i+1))))
		w.pass(10 * time.Second)
	}
	for i := range 12 {
		visit(i)
	}
	if n := w.client.Snapshot(w.now).Remembered; n != maxRemembered {
		t.Errorf("%d links remembered", n)
	}
	w.expect(w.soon(at(4)), wire.MessageTypeConfirm)
	w.holds(parsed("2001:db8:5::5/128"))
	w.expect(w.do(at(0)), wire.MessageTypeSolicit)
	w.pass(hour.valid)
	w.expect(w.do(at(6)), wire.MessageTypeSolicit)
	w.do(at(99))
	if n := w.client.Snapshot(w.now).Remembered; n != 0 {
		t.Errorf("%d links remembered", n)
	}
}

// RFC 8415 §18.2.6, §21.23, §18.2.12: information only.
func TestInformation(t *testing.T) {
	w := newWorld(t, testConfig(), nil)
	list := w.soon(otherOnly)
	w.expect(list, wire.MessageTypeInformationRequest)
	want := wire.OptionCodes{wire.OptionDNSRecursiveNameServer, wire.OptionDomainSearchList, wire.OptionInformationRefreshTime, wire.OptionInfMaxRT}
	if m := list[0].inner; !slices.Equal(m.Options.RequestedOptions(), want) || len(m.Options.IANA()) != 0 || m.Options.ClientID() == nil {
		t.Errorf("%v", m.Summary())
	}
	w.reply(one, dns("2001:db8::53"), uint32Option(wire.OptionInformationRefreshTime, 10))
	w.state(StateInformed)
	if len(w.lease.DNS) != 1 {
		t.Errorf("%+v", w.lease)
	}
	// Less than IRT_MINIMUM is IRT_MINIMUM, and the delay is a MUST.
	w.expect(w.pass(informationRefreshMinimum - 1))
	w.expect(w.pass(maxDelay + 1)[:1], wire.MessageTypeInformationRequest)
	// What is not told any more is not used any more (§18.2.10).
	w.reply(one, uint32Option(wire.OptionInformationRefreshTime, 1<<32-1))
	if len(w.lease.DNS) != 0 {
		t.Errorf("%+v", w.lease)
	}
	w.expect(w.pass(informationRefreshMaximum-1), nil...)
	w.expect(w.pass(maxDelay + 1)[:1], wire.MessageTypeInformationRequest)
	w.reply(one, dns("2001:db8::53"))
	// A link event.
	w.expect(w.soon(role.ConfigureLink{Link: link, Identity: there, Other: true}), wire.MessageTypeInformationRequest)
	if len(w.lease.DNS) != 0 {
		t.Errorf("the other link's %+v", w.lease)
	}
	// INF_MAX_RT as told.
	w.client.infMaxRT = 90 * time.Second
	w.do(role.ConfigureLink{Link: link, Identity: here, Other: true})
	w.pass(time.Hour)
	n := len(w.sent)
	if gap := w.sent[n-1].at.Sub(w.sent[n-2].at); gap > 99*time.Second {
		t.Errorf("retransmission after %v", gap)
	}
}

// A mobile router that comes home goes on with its prefixes on the home link
// (RFC 6276 §3.2): verified there, with another Config.Link.
func TestReconfigure(t *testing.T) {
	c := prefixConfig()
	w := newWorld(t, c, nil)
	w.do(role.ConfigureLink{})
	w.reply(one, rapid(), pd(hour, delegated))
	// Behind a relay a handover is nothing; a link that is down is silent.
	w.do(role.LinkChanged{})
	w.expect(w.pass(hour.t1))
	w.expect(w.do(role.LinkChanged{Link: role.Link{Up: true, Carriers: 9}}), wire.MessageTypeRenew)
	w.reply(one, pd(hour, delegated))
	w.holds(delegated)

	home := c
	home.Link = link
	w.expect(w.take(w.client.Reconfigure(w.now, home)), wire.MessageTypeRebind)
	w.reply(one, pd(hour, delegated))
	w.holds(delegated)
	w.expect(w.take(w.client.Reconfigure(w.now, home)))
	// Another identity has no leases.
	home.DUID = []byte{0, 99, 8}
	w.expect(w.take(w.client.Reconfigure(w.now, home)), wire.MessageTypeSolicit)
	w.holds()
	// No prefixes any more, and nothing else asked for.
	home.Prefixes = false
	w.take(w.client.Reconfigure(w.now, home))
	w.state(StateIdle)
}
