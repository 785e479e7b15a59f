package dhcpv6

import (
	"slices"
	"testing"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"roam6/internal/role"
)

// RFC 8415 §18.2.7, §18.2.10.2: what is leased is given back, after it was taken from
// those that use it, and any Reply ends that.
func TestRelease(t *testing.T) {
	w := boundBoth(t)
	actions := w.client.Handle(w.now, role.Stop{})
	withdrawn := slices.IndexFunc(actions, func(a role.Action) bool { _, ok := a.(role.LeaseChanged); return ok })
	sending := slices.IndexFunc(actions, func(a role.Action) bool { _, ok := a.(role.SendDHCP); return ok })
	if withdrawn < 0 || sending < withdrawn {
		t.Fatalf("actions %+v", actions)
	}
	w.expect(w.take(actions), wire.MessageTypeRelease)
	w.holds()
	m := w.last().inner
	addresses, prefixes := named(m)
	if !slices.Equal(addresses, []prefix{address}) || !slices.Equal(prefixes, []prefix{delegated}) ||
		!slices.Equal(m.GetOneOption(wire.OptionServerID).ToBytes(), one) {
		t.Errorf("release %v", m.Summary())
	}
	if w.client.Done() {
		t.Error("done before the Reply")
	}
	w.reply(one, status(iana.StatusNoBinding))
	if !w.client.Done() || !w.client.Next().IsZero() {
		t.Error("not done")
	}
	w.expect(w.do(managed))
	w.expect(w.do(role.Stop{}))
}

// An unanswered Release is repeated, and does not hold anybody for more than about a
// second.
func TestReleaseUnanswered(t *testing.T) {
	w := bound(t)
	w.do(role.Stop{})
	w.expect(w.pass(time.Second), wire.MessageTypeRelease)
	if !w.client.Done() || !w.client.Next().IsZero() {
		t.Error("not done after a second")
	}
	// A link that goes or was another one for a moment ends the waiting.
	for name, e := range map[string]role.Event{"down": down(), "another carrier": up(2), "gone": role.LinkGone{Index: link}} {
		w = bound(t)
		w.do(up(1))
		w.expect(w.do(role.Stop{}), wire.MessageTypeRelease)
		w.do(e)
		if !w.client.Done() || !w.client.Next().IsZero() {
			t.Errorf("%s: not done", name)
		}
	}
	// Without a lease, or without a link, there is nothing to wait for.
	w = newWorld(t, testConfig(), nil)
	w.do(managed)
	w.expect(w.do(role.Stop{}))
	if !w.client.Done() {
		t.Error("not done without a lease")
	}
	w = bound(t)
	w.do(down())
	w.expect(w.do(role.Stop{}))
	if !w.client.Done() {
		t.Error("not done without a link")
	}
	w = bound(t)
	w.do(down())
	w.do(up(1))
	w.expect(w.do(role.Stop{}))
	if !w.client.Done() || !w.client.Next().IsZero() {
		t.Error("not done on a link that came back")
	}
	w = newWorld(t, testConfig(), nil)
	w.do(role.Stop{})
	if !w.client.Done() {
		t.Error("not done before it began")
	}
}

// RFC 8415 §18.2.8: Decline for an address, without prefixes; another one is asked
// for, and other leases stay.
func TestDecline(t *testing.T) {
	w := bound(t)
	w.expect(w.do(role.DeclineAddress{Link: link, Addr: address2.Addr()})) // not ours
	list := w.do(role.DeclineAddress{Link: link, Addr: address.Addr()})
	w.expect(list, wire.MessageTypeDecline, wire.MessageTypeSolicit)
	w.holds()
	decline := list[0].inner
	if got, _ := named(decline); !slices.Equal(got, []prefix{address}) || len(decline.Options.IAPD()) != 0 ||
		!slices.Equal(decline.GetOneOption(wire.OptionServerID).ToBytes(), one) {
		t.Errorf("decline %v", decline.Summary())
	}
	w.reply(one, rapid(), na(hour, address2))
	w.holds(address2)
	w.receive(answer(decline, wire.MessageTypeReply, one, status(iana.StatusNoBinding)))
	w.state(StateBound)
	w.expect(w.pass(time.Minute))

	// Unanswered: DEC_MAX_RC times.
	w = bound(t)
	w.do(role.DeclineAddress{Link: link, Addr: address.Addr()})
	w.reply(one, rapid(), na(hour, address2))
	w.expect(w.pass(time.Minute), wire.MessageTypeDecline, wire.MessageTypeDecline, wire.MessageTypeDecline)

	// On the return to a link, while it is asked whether the lease is good there: the
	// mobile node has used it at once, and probed it (§18.2.10.1).
	w = bound(t)
	w.do(down())
	w.do(up(1))
	w.expect(w.soon(managed), wire.MessageTypeConfirm)
	w.expect(w.do(role.DeclineAddress{Link: link, Addr: address.Addr()}), wire.MessageTypeDecline, wire.MessageTypeSolicit)
	w.holds()
	w.reply(one, rapid(), na(hour, address2))
	w.holds(address2)

	w = boundBoth(t)
	w.expect(w.do(role.DeclineAddress{Link: link, Addr: address.Addr()}), wire.MessageTypeDecline, wire.MessageTypeRenew)
	w.holds(delegated)
	w.reply(one, na(hour, address2), pd(hour, delegated))
	w.holds(address2, delegated)
}

// RFC 8415 §14.1: a server that leases the declined address again and again.
func TestDeclineLoop(t *testing.T) {
	w := bound(t)
	start, before := w.now, len(w.sent)
	for w.now.Before(start.Add(time.Hour)) {
		for _, s := range w.do(role.DeclineAddress{Link: link, Addr: address.Addr()}) {
			if s.inner.MessageType == wire.MessageTypeDecline {
				w.receive(answer(s.inner, wire.MessageTypeReply, one))
			}
		}
		if w.last().inner.MessageType == wire.MessageTypeSolicit {
			w.reply(one, rapid(), na(hour, address))
		}
		w.pass(time.Second)
	}
	if n := len(w.sent) - before; n > 100 {
		t.Errorf("%d messages in an hour", n)
	}
}
