package xfrm

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"roam6/internal/esp"
	"roam6/overlay"
)

// exchanged is what a key exchange has put into the kernel for an association: between
// home address and home agent, as its transport mode for proxies does.
func exchanged(a esp.Association, from, to netip.Addr) *netlink.XfrmState {
	return &netlink.XfrmState{
		Src: from.AsSlice(), Dst: to.AsSlice(), Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TRANSPORT, Spi: int(a.SPI), Reqid: 1,
		Crypt: &netlink.XfrmStateAlgo{Name: "cbc(aes)", Key: []byte(a.Key[:16])},
		Auth:  &netlink.XfrmStateAlgo{Name: "hmac(sha256)", Key: []byte(a.Key[16:]), TruncateLen: 128},
	}
}

// put puts them into a node's kernel, as of the mobile's or the agent's exchange.
func (n *node) put(toAgent, toMobile esp.Association) {
	n.t.Helper()
	n.space.Do(func() error {
		return errors.Join(netlink.XfrmStateAdd(exchanged(toAgent, home, agent)), netlink.XfrmStateAdd(exchanged(toMobile, agent, home)))
	})
}

// negotiatedBy gives a node the associations with some SPIs to the agent, each with the
// one behind it; it sends by the first.
func (n *node) negotiatedBy(spis ...uint32) {
	n.t.Helper()
	p := Policy{Home: home, Agent: agent, Side: n.side, Negotiated: true}
	for _, spi := range spis {
		by := policyBy(home, n.side, spi, true)
		if p.Out == nil {
			p.Out = by.Out
		}
		p.In = append(p.In, by.In...)
	}
	if err := n.manager.SetPolicies([]Policy{p}); err != nil {
		n.t.Fatal(err)
	}
}

// passes sends a datagram each way, and reports which arrive.
func passes(t *testing.T, mobile, homeAgent *node, text string, within time.Duration) (up, down bool) {
	t.Helper()
	_ = mobile.say(text, 200) // an error: its kernel knows that nothing passes
	_ = homeAgent.say(text, 200)
	return homeAgent.heard(text, within), mobile.heard(text, within)
}

// RFC 4877 §7.3: associations of a key exchange take the place of those that it has put
// into the kernel. Before there are any, and when they are gone, nothing passes; nothing is
// lost when others replace them, by a move or by what the exchange does to its own.
func TestNegotiated(t *testing.T) {
	mobile, homeAgent, wire := newWorld(t)
	both := []*node{mobile, homeAgent}
	for _, n := range both {
		n.negotiatedBy()
		n.set(careOf1, true)
	}
	mobile.space.Do(func() error { return errors.Join(warm(careOf1, agent), warm(careOf2, agent)) })
	wire.packets()
	const nothing = 200 * time.Millisecond
	if up, down := passes(t, mobile, homeAgent, "text too soon", nothing); up || down {
		t.Errorf("without keys: up %v, down %v", up, down)
	}
	const first, second, last = 0xc1000000, 0xc2000000, 0xc3000000
	for _, n := range both {
		n.put(association(first), association(first+1))
		n.negotiatedBy(first)
	}
	exchange(t, mobile, homeAgent, "text first")

	// The exchange makes others; the home agent has them first.
	for _, n := range []*node{homeAgent, mobile} {
		n.put(association(second), association(second+1))
	}
	homeAgent.negotiatedBy(first, second)
	exchange(t, mobile, homeAgent, "text while one is ahead")
	mobile.negotiatedBy(second, first)
	exchange(t, mobile, homeAgent, "text between")
	homeAgent.negotiatedBy(second, first)
	exchange(t, mobile, homeAgent, "text by the second")
	mobile.set(careOf2, true)
	homeAgent.set(careOf2, true)
	exchange(t, mobile, homeAgent, "text after a move")
	for _, n := range both {
		n.negotiatedBy(second)
	}
	exchange(t, mobile, homeAgent, "text without the first")

	// charon removes what was its own before it tells that that has ended.
	for _, n := range both {
		n.space.Do(func() error { return netlink.XfrmStateDel(exchanged(association(second), home, agent)) })
		for deadline := time.Now().Add(receiveTime); ; time.Sleep(10 * time.Millisecond) {
			if up, down := passes(t, mobile, homeAgent, "text again", nothing); up && down {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("they do not come back: %s", n.describe())
			}
		}
		if strings.Contains(n.log.String(), "level=WARN") {
			t.Errorf("a warning of what a key exchange does:\n%s", n.log)
		}
	}

	for _, n := range both {
		n.negotiatedBy()
	}
	if up, down := passes(t, mobile, homeAgent, "text too late", nothing); up || down {
		t.Errorf("without keys any more: up %v, down %v", up, down)
	}
	for _, n := range both {
		n.negotiatedBy(last)
	}
	exchange(t, mobile, homeAgent, "text last")
	if sent := wire.onlyESP(); len(sent) < 10 {
		t.Errorf("%d packets in ESP", len(sent))
	}
	for _, n := range both {
		if c, err := count(n); err != nil || c[0] < 2 || c[0] > 3 { // the former care-of address may have one
			t.Errorf("side %d: %v states and policies (%v)", n.side, c, err)
		}
	}
}

// No packet is lost while associations replace others, at either end first.
func TestRekey(t *testing.T) {
	mobile, homeAgent, wire := newWorld(t)
	both := []*node{mobile, homeAgent}
	const first, step, rounds, each = 0xc1000000, 0x10000, 4, 20
	for _, n := range both {
		n.negotiatedBy(first)
		n.set(careOf1, true)
	}
	exchange(t, mobile, homeAgent, "text first")
	wire.packets()
	spi := uint32(first)
	for round := range rounds {
		ahead, behind := both[round%2], both[1-round%2]
		before := spi
		spi += step
		for _, change := range []func(){
			func() { behind.negotiatedBy(before, spi) },
			func() { ahead.negotiatedBy(spi, before) },
			func() { behind.negotiatedBy(spi, before) },
			func() { ahead.negotiatedBy(spi) },
			func() { behind.negotiatedBy(spi) },
		} {
			for i := range each {
				for _, n := range both {
					if err := n.say(fmt.Sprint("text ", i), 200); err != nil {
						t.Fatal(err)
					}
				}
				if i == each/2 {
					change()
				}
			}
			for _, n := range both {
				if got := received(n, each); got != each {
					t.Fatalf("round %d: %d of %d arrive\n%v\n%v", round, got, each, mobile.describe(), homeAgent.describe())
				}
			}
		}
	}
	wire.onlyESP()
}

// received waits for so many datagrams, and says how many have come.
func received(n *node, wanted int) (got int) {
	b := make([]byte, 2048)
	_ = n.socket.SetReadDeadline(time.Now().Add(receiveTime))
	for got < wanted {
		k, _, err := n.socket.ReadFrom(b)
		if err != nil {
			return got
		}
		if bytes.HasPrefix(b[:k], []byte("text ")) {
			got++
		}
	}
	return got
}

// A policy whose associations cannot be is in force all the same: nothing passes, rather
// than in clear.
func TestRefused(t *testing.T) {
	mobile, homeAgent, wire := newWorld(t)
	for _, n := range []*node{mobile, homeAgent} {
		if err := n.manager.SetPolicies(nil); err != nil {
			t.Fatal(err)
		}
		p := policyOn(n.side)
		p.Out.Algorithm, p.Out.Key = esp.AESGCM, p.Out.Key[:20]
		if err := n.manager.SetPolicies([]Policy{p}); !errors.Is(err, esp.ErrInvalid) || strings.Contains(err.Error(), keyMark) {
			t.Errorf("side %d: %v", n.side, err)
		}
		if s, ok := n.manager.Seal(home, agent, n.side); !ok || !s.On() {
			t.Errorf("side %d: not to be sealed", n.side)
		}
		n.set(careOf1, true)
	}
	if up, down := passes(t, mobile, homeAgent, "text", 200*time.Millisecond); up || down {
		t.Errorf("up %v, down %v", up, down)
	}
	wire.onlyESP()
	if err := mobile.manager.SetPolicies([]Policy{policyOn(overlay.MobileSide)}); err != nil {
		t.Fatal(err)
	}
	if err := homeAgent.manager.SetPolicies([]Policy{policyOn(overlay.AgentSide)}); err != nil {
		t.Fatal(err)
	}
	exchange(t, mobile, homeAgent, "text")
}

// What is tried is taken back, and the other way round.
func TestTryESP(t *testing.T) {
	mobile, _, _ := newWorld(t)
	for range 2 {
		mobile.space.Do(func() error { return TryESP() })
	}
	mobile.space.Do(func() error { return TryESP(esp.AESGCM) })
	if c, err := count(mobile); err != nil || c != [2]int{1, 4} {
		t.Errorf("%v states and policies (%v)", c, err)
	}
}
