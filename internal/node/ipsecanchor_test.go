package node

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/esp"
	"roam6/internal/role"
	"roam6/mip6"
)

// sharedText are the options of IPsec of visitor and anchor_key sections.
func sharedText(first int, key string) string {
	return fmt.Sprintf("\toption spi_to_anchor '%d'\n\toption key_to_anchor '%s'\n\toption spi_to_mobile '%d'\n\toption key_to_mobile '%s'\n",
		first, strings.Repeat(key, 48), first+1, strings.Repeat(key[1:]+key[:1], 48))
}

// protectedCity is cityFile with two visitors more, who have IPsec alone.
func protectedCity(tram, taxi string) string {
	return cityFile + "\nconfig visitor 'tram'\n" + tram + "\nconfig visitor 'taxi'\n" + taxi
}

// mobileWith is a mobile that uses anchors by IPsec.
func mobileWith(t *testing.T, options string) *config.Config {
	t.Helper()
	c, err := config.Parse("roam6", []byte(strings.Replace(trainFile, "config mobile_router 'train'", "config mobile_router 'train'\n\toption hierarchy '1'", 1)+
		"\nconfig anchor_key 'city'\n\toption mobile 'train'\n"+options))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func policiesOf(t *testing.T, c *config.Config) *esp.Policies {
	t.Helper()
	p := esp.NewPolicies(randomOctets)
	if err := p.Replace(policies(c), anchorPolicies(c)...); err != nil {
		t.Fatal(err)
	}
	return p
}

// espUpdate is a local binding update before ESP.
func espUpdate(t *testing.T, regional, onLink netip.Addr, sequence mip6.Sequence) []byte {
	t.Helper()
	b, err := mip6.Packet{Source: onLink, Destination: cityAddr, HomeAddress: regional, Message: mip6.BindingUpdate{
		Sequence: sequence, Flags: mip6.UpdateAcknowledge | mip6.UpdateMAP, Lifetime: mip6.LifetimeFrom(10 * time.Minute),
		Options: []mip6.Option{mip6.AlternateCareOf{Addr: onLink}},
	}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Keys of a configuration reach the anchor and the socket: two visitors with IPsec ask
// for one regional care-of address, and each gets an answer that it can read and the
// other cannot. Keys are exchanged by a reload of both sides, and the binding stays; what
// was recorded under the former ones opens nothing any more.
//
// Covers: P9, Attack: replay.
func TestAnchorKeysExchangedByReload(t *testing.T) {
	tram, taxi := mobileWith(t, sharedText(3000, "1a")), mobileWith(t, sharedText(3010, "2b"))
	c := newCity(t, protectedCity(sharedText(3000, "1a"), sharedText(3010, "2b")))
	here := policiesOf(t, c.config)
	regional, onLink := netip.MustParseAddr("2001:db8:5::77"), netip.MustParseAddr("2001:db8:a1::7")
	// say sends an update by the association of a mobile, and returns the answer that the
	// mobile reads; others cannot.
	say := func(packet []byte, by *config.Config, others ...*config.Config) (answer mip6.BindingAcknowledgement, err error) {
		t.Helper()
		mobile := by.MobileNodes[0]
		key := mobileConfig(mobile, surroundings{keys: by.AnchorKeysOf(mobile.Name)}, 1).Hierarchy.Keys[0]
		sealed, err := policiesOf(t, by).ProtectBy(nil, packet, key.ESP)
		if err != nil {
			t.Fatal(err)
		}
		r, err := here.Unprotect(sealed)
		if err != nil {
			return answer, err
		}
		s, _ := bareShell(t, "")
		s.events, s.done = make(chan role.Event, 1), make(chan struct{})
		s.listed.Store(true)
		s.protect().Local(r.Packet, 2, r.SPI)
		c.wire.packets, c.wire.spis = nil, nil
		c.dispatch(c.now, <-s.events)
		if len(c.wire.packets) != 1 {
			t.Fatalf("%d answers\n%s", len(c.wire.packets), c.log)
		}
		back, err := here.ProtectBy(nil, c.wire.packets[0], c.wire.spis[0])
		if err != nil {
			return answer, err
		}
		for _, other := range others {
			if r, err := policiesOf(t, other).Unprotect(back); err == nil {
				t.Errorf("the other one reads %+v", r)
			}
		}
		got, err := policiesOf(t, by).Unprotect(back)
		if err != nil || got.SPI != key.ESP {
			t.Fatalf("the answer comes under %d: %v", got.SPI, err)
		}
		p, err := mip6.ParsePacket(got.Packet)
		if err != nil {
			t.Fatal(err)
		}
		return p.Message.(mip6.BindingAcknowledgement), nil
	}
	check := func(what string, a mip6.BindingAcknowledgement, err error, want mip6.Status) {
		t.Helper()
		if err != nil || a.Status != want {
			t.Errorf("%s: %v (%v), want %v\n%s", what, a.Status, err, want, c.log)
		}
	}
	bound := func(want string) {
		t.Helper()
		if got := c.bound(); got != want {
			t.Errorf("bound %q, want %q", got, want)
		}
	}
	recorded := espUpdate(t, regional, onLink, 1)
	a, err := say(recorded, tram, taxi)
	check("the first", a, err, mip6.StatusAccepted)
	a, err = say(recorded, taxi, tram)
	check("the second", a, err, mip6.StatusDuplicateAddress)
	a, err = say(recorded, tram)
	check("the first again", a, err, mip6.StatusSequenceOutOfWindow)
	bound("city: tram 2001:db8:5::77 to 2001:db8:a1::7")

	c.reload(protectedCity(sharedText(3000, "3c"), sharedText(3010, "2b")))
	here = policiesOf(t, c.config)
	if _, err := say(espUpdate(t, regional, onLink, 2), tram); !errors.Is(err, esp.ErrIntegrity) {
		t.Errorf("under the former keys: %v", err)
	}
	bound("city: tram 2001:db8:5::77 to 2001:db8:a1::7")
	tram = mobileWith(t, sharedText(3000, "3c"))
	a, err = say(recorded, tram)
	check("recorded", a, err, mip6.StatusSequenceOutOfWindow)
	a, err = say(espUpdate(t, regional, netip.MustParseAddr("2001:db8:a2::7"), 3), tram, taxi)
	check("under the new keys", a, err, mip6.StatusAccepted)
	bound("city: tram 2001:db8:5::77 to 2001:db8:a2::7")

	c.reload(cityFile)
	bound("")
	here = policiesOf(t, c.config)
	if !here.Empty() {
		t.Error("there are associations of visitors that are gone")
	}
}

// All policies of a configuration are put in force: those of both anchors for a visitor
// of all, that of a mobile for the anchors that have its key. Roles that have none are as
// before.
func TestAnchorPoliciesOfTheConfiguration(t *testing.T) {
	s, _ := bareShell(t, protectedCity("\toption anchor 'port'\n"+sharedText(3000, "1a"), sharedText(3010, "2b")))
	all := anchorPolicies(s.config)
	if len(all) != 2 || !slices.Equal(all[0].Anchors, []netip.Prefix{netip.PrefixFrom(portAddr, 128)}) ||
		!slices.Equal(all[1].Anchors, []netip.Prefix{netip.PrefixFrom(cityAddr, 128), netip.PrefixFrom(portAddr, 128)}) {
		t.Errorf("policies %+v", all)
	}
	for i, want := range [][]uint32{{0, 3010}, {0, 0, 3000, 3010}} {
		a := anchorConfig(s.config.Anchors[i], s.config.Visitors, nil, nil)
		var got []uint32
		for _, v := range a.Visitors {
			spi := uint32(0)
			if v.ESP != nil {
				spi = v.ESP.SPI
			}
			if got = append(got, spi); (v.SA == nil) != (spi != 0) || v.RequireTimestamp && spi != 0 {
				t.Errorf("visitor %+v", v)
			}
		}
		if !slices.Equal(got, want) || a.Validate() != nil {
			t.Errorf("anchor %s: visitors by %v, want %v", a.Name, got, want)
		}
	}
	m := mobileWith(t, "\toption anchors '2001:db8:5::1'\n"+sharedText(3000, "1a"))
	if all := anchorPolicies(m); len(all) != 1 || !slices.Equal(all[0].Anchors, []netip.Prefix{netip.PrefixFrom(cityAddr, 128)}) || all[0].In.SPI != 3001 {
		t.Errorf("policies %+v", all)
	}
	if all := anchorPolicies(&config.Config{Visitors: []config.Visitor{{Name: "plain"}}, AnchorKeys: []config.AnchorKey{{Name: "plain"}}}); len(all) != 0 {
		t.Errorf("policies of nothing: %+v", all)
	}
}
