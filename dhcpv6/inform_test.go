package dhcpv6

import (
	"testing"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// RFC 8415 §18.2.10.1: a router says that addresses are managed, and the servers have
// none: they are asked for information all the same, beside Solicit, which goes on.
func TestManagedWithoutAddresses(t *testing.T) {
	for name, refuse := range map[string]func(w *world){
		"advertised": func(w *world) { w.advertise(one, naStatus(iana.StatusNoAddrsAvail)) },
		"at once":    func(w *world) { w.reply(one, rapid(), naStatus(iana.StatusNoAddrsAvail)) },
		"no option":  func(w *world) { w.advertise(one, dns("2001:db8::53")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, testConfig(), nil)
			w.do(managed)
			refuse(w)
			if len(w.lease.DNS) != 0 {
				t.Errorf("information that no Reply has brought: %+v", w.lease)
			}
			w.expect(w.pass(time.Second))
			w.pass(1200 * time.Millisecond)
			kinds := w.kinds()
			if kinds[wire.MessageTypeInformationRequest] != 1 {
				t.Fatalf("sent %v", kinds)
			}
			w.receive(answer(w.lastOf(wire.MessageTypeInformationRequest), wire.MessageTypeReply, one, dns("2001:db8::53"),
				uint32Option(wire.OptionInformationRefreshTime, 1000)))
			w.state(StateSoliciting)
			if len(w.lease.DNS) != 1 {
				t.Fatalf("%+v", w.lease)
			}
			w.pass(999 * time.Second)
			if kinds := w.kinds(); kinds[wire.MessageTypeInformationRequest] != 1 || kinds[wire.MessageTypeSolicit] < 8 {
				t.Errorf("sent %v", kinds)
			}
			w.pass(2 * time.Second)
			if kinds := w.kinds(); kinds[wire.MessageTypeInformationRequest] != 2 {
				t.Errorf("not refreshed: sent %v", kinds)
			}
			w.receive(answer(w.lastOf(wire.MessageTypeSolicit), wire.MessageTypeReply, two, rapid(), na(hour, address)))
			w.state(StateBound)
			w.holds(address)
			if len(w.lease.DNS) != 0 {
				t.Errorf("what the server of the lease does not tell: %+v", w.lease)
			}
			before := w.kinds()[wire.MessageTypeInformationRequest]
			w.pass(hour.t1 - time.Second)
			if n := w.kinds()[wire.MessageTypeInformationRequest]; n != before {
				t.Errorf("%d requests for information with a lease", n-before)
			}
		})
	}
}

// Information that came beside Solicit survives that the discovery begins anew, and
// not the link. Where no server answers nothing else is asked for.
func TestInformationBesideSolicit(t *testing.T) {
	w := newWorld(t, testConfig(), nil)
	w.do(managed)
	w.pass(time.Minute)
	if n := w.kinds()[wire.MessageTypeInformationRequest]; n != 0 {
		t.Errorf("%d requests for information, and nobody is there", n)
	}
	w.advertise(one, naStatus(iana.StatusNoAddrsAvail))
	w.pass(5 * time.Minute)
	w.receive(answer(w.lastOf(wire.MessageTypeInformationRequest), wire.MessageTypeReply, one, dns("2001:db8::53")))
	w.receive(answer(w.lastOf(wire.MessageTypeSolicit), wire.MessageTypeAdvertise, two, na(hour, address)))
	w.state(StateRequesting)
	w.reply(two, naStatus(iana.StatusNoAddrsAvail))
	w.state(StateSoliciting)
	if len(w.lease.DNS) != 1 {
		t.Errorf("%+v", w.lease)
	}
	elsewhere := managed
	elsewhere.Identity = there
	w.do(elsewhere)
	if len(w.lease.DNS) != 0 || w.client.information.active() {
		t.Errorf("of another link: %+v", w.lease)
	}
}

// kinds counts what was sent.
func (w *world) kinds() map[wire.MessageType]int {
	count := make(map[wire.MessageType]int)
	for _, s := range w.sent {
		count[s.inner.MessageType]++
	}
	return count
}

// lastOf is the last message of a type.
func (w *world) lastOf(kind wire.MessageType) *wire.Message {
	w.t.Helper()
	for i := len(w.sent) - 1; i >= 0; i-- {
		if w.sent[i].inner.MessageType == kind {
			return w.sent[i].inner
		}
	}
	w.t.Fatalf("no %v was sent", kind)
	return nil
}
