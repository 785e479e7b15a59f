package nd

import (
	"net/netip"
	"testing"
	"time"

	"roam6/mip6"
)

// forged is one of the many sources of a flood.
func forged(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
}

// A flood of solicitations from forged sources, which takes all the answers that the
// link bears, does not keep others without a router until the next unsolicited
// advertisement: one to all comes as soon as it may, and no sooner (RFC 4861 §6.2.6).
func TestFloodOfSolicitationsStarvesNobody(t *testing.T) {
	for name, delay := range map[string]time.Duration{"at once": 0, "delayed": MaxRADelay} {
		c := plainConfig()
		c.SolicitedUnicast, c.SolicitedDelay = true, delay
		a := newAdvertiser(t, c)
		for range initialRAs {
			a.wake()
		}
		var all []time.Time
		note := func(out []Transmission) {
			for _, o := range out {
				if o.Destination == AllNodes() {
					all = append(all, a.now)
				}
			}
		}
		begun := a.now
		for i := range 10000 { // ten seconds
			a.now = begun.Add(time.Duration(i) * time.Millisecond)
			note(a.Expire(a.now))
			note(a.Solicited(a.now, forged(i)))
		}
		if len(all) < 2 {
			t.Errorf("%s: %d advertisements to all in ten seconds", name, len(all))
		}
		for i, at := range all {
			if before := begun; i == 0 && at.Sub(before) < c.MinDelay || i > 0 && at.Sub(all[i-1]) < c.MinDelay {
				t.Errorf("%s: to all at %v, the one before %v", name, at.Sub(begun), all[:i])
			}
		}
	}
}

// Nor does it bring anything to all where only some are to hear it.
func TestFloodWithClients(t *testing.T) {
	c := plainConfig()
	for i := range 200 {
		c.Clients = append(c.Clients, forged(i+1))
	}
	c.SolicitedDelay = 0
	a := newAdvertiser(t, c)
	a.wake()
	next := a.Next()
	for i := range 200 {
		for _, o := range a.Solicited(a.now, forged(i+1)) {
			if o.Destination != forged(i+1) {
				t.Fatalf("to %v", o.Destination)
			}
		}
	}
	if a.Statistics().LimitedByLink == 0 || !a.Next().Equal(next) {
		t.Errorf("%+v, next in %v", a.Statistics(), a.Next().Sub(a.now))
	}
}

// RFC 6275 §7.2: each packet of an advertisement that is divided has a prefix with the
// router's address, the same in all; and the flag for a home agent is never alone.
func TestEveryPacketHasRouterAddress(t *testing.T) {
	c := crowded()
	c.Advertisement.Prefixes = append(c.Advertisement.Prefixes[1:], c.Advertisement.Prefixes[0])
	a := newAdvertiser(t, c)
	out := a.wake()
	if len(out) < 5 {
		t.Fatalf("%d packets", len(out))
	}
	var address netip.Prefix
	for i, o := range out {
		var with []mip6.PrefixInformation
		for _, p := range o.Advertisement.Prefixes {
			if p.RouterAddress {
				with = append(with, p)
			}
		}
		if len(with) != 1 || i > 0 && with[0].Prefix != address {
			t.Fatalf("packet %d: %+v", i, with)
		}
		address = with[0].Prefix
		if n := len(o.Advertisement.Append(nil)); n > maxAdvertisement {
			t.Errorf("packet %d: %d octets", i, n)
		}
	}
}
