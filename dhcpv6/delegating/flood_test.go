package delegating

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	codec "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/role"
)

// A flood of one mobile is limited, costs no other mobile anything, and leaves no
// more than one mobile may have. On the home link, where anybody can use its DUID,
// it does not cost the mobile what it sends from away.
func TestFlood(t *testing.T) {
	for name, config := range map[string]Config{"pools": testConfig(), "server": relayConfig()} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, config)
			w.handle(received(homeA, forward(homeA, w.client(codec.MessageTypeInformationRequest, duidA))))
			answers, limited := 0, 0
			for i := range uint32(10000) {
				m := w.client(codec.MessageTypeSolicit, duidA, rapid(), pd(i))
				w.handle(onLink(localX, m))
				answers += len(w.sent)
				if w.reason() == role.DropRateLimited {
					limited++
				}
			}
			if answers != messages.Burst || limited != 10000-messages.Burst {
				t.Errorf("%d answers, %d limited", answers, limited)
			}
			if n := len(w.s.table.sorted); n > maxLeases || len(w.s.exchanges) > maxExchanges {
				t.Errorf("%d leases, %d exchanges", n, len(w.s.exchanges))
			}
			for _, m := range []*codec.Message{w.client(codec.MessageTypeSolicit, duidA, pd(0)), w.client(codec.MessageTypeSolicit, duidB, pd(0))} {
				home := homeA
				if string(m.GetOneOption(codec.OptionClientID).ToBytes()) == string(duidB) {
					home = homeB
				}
				if w.handle(received(home, forward(home, m))); len(w.sent) != 1 {
					t.Errorf("%v is not served: dropped for %v", home, w.drops)
				}
			}
			w.sleep(time.Minute)
			if w.handle(onLink(localX, w.client(codec.MessageTypeSolicit, duidA, pd(0)))); len(w.sent) != 1 {
				t.Errorf("not served after the flood: dropped for %v", w.drops)
			}
		})
	}
}

// Names that are compressed, where no name belongs, are not expanded: the
// codec makes gigabytes of a few kilobytes of them.
func TestCompressedNames(t *testing.T) {
	w := newWorld(t, testConfig())
	const half = 900
	names := append(bytes.Repeat([]byte{1, 'a'}, half), 0) // one long name
	names = append(names, bytes.Repeat([]byte{0xc0, 0}, half)...)
	ia := &codec.OptIAPD{IaId: [4]byte{3: 1}}
	ia.Options.Add(&codec.OptionGeneric{OptionCode: codec.OptionDomainSearchList, OptionData: names})
	e := received(homeA, forward(homeA, w.client(codec.MessageTypeSolicit, duidA, ia)))
	const bound = 1 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w.s.Handle(w.now, e)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > bound {
		t.Errorf("%d octets of memory for a message of %d", n, len(e.Message))
	}
}

// FuzzReceived: nothing that arrives makes the server panic, send what the codec
// cannot read, tell of what overlaps, or answer somebody else.
func FuzzReceived(f *testing.F) {
	w := newWorld(f, testConfig())
	for _, m := range []*codec.Message{
		w.client(codec.MessageTypeSolicit, duidA, rapid(), pd(1, "2001:db8:100::/56", "::/60"), na(2)),
		w.client(codec.MessageTypeRequest, duidA, pd(1), pd(2)), w.client(codec.MessageTypeRenew, duidA, pd(1, "2001:db8:100::/56")),
		w.client(codec.MessageTypeRelease, duidB, pd(1, "2001:db8:aa00::/56")), w.client(codec.MessageTypeRebind, duidA, pd(1, "2001:db8:ff00::/56")),
		w.client(codec.MessageTypeInformationRequest, nil),
	} {
		f.Add(m.ToBytes())
		f.Add(forward(homeA, m).encode())
		f.Add(back(envelope{link: agentAddr, peer: localA}, says(codec.MessageTypeReply, m, given(1, preferred, valid, outside)).ToBytes()).encode())
		f.Add(back(envelope{link: homeA, peer: homeA, encapsulating: true, message: forward(homeA, m).encode()}, m.ToBytes()).encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, config := range []Config{testConfig(), relayConfig()} {
			w := newWorld(t, config)
			if config.relays() { // so that some transactions are under way
				for range 3 {
					w.up(homeA, w.client(codec.MessageTypeRequest, duidA, pd(1)))
					w.upHome(localA, w.client(codec.MessageTypeRequest, duidA, pd(1)))
				}
			}
			relayed := forward(homeA, w.client(0, nil))
			relayed.message = b
			for _, e := range []role.DHCPReceived{
				{Link: homeLink, From: port547(homeA), To: port547(agentAddr), Message: b},
				{Link: homeLink, From: port547(localA), To: port547(agentAddr), Message: b},
				{Link: homeLink, From: port547(localA), To: onLink(localA, w.client(0, nil)).To, Message: b},
				{From: port547(serverAddr), To: port547(agentAddr), Message: b},
				received(homeA, relayed),
			} {
				w.handle(e)
				for _, a := range w.sent {
					if to := a.To.Addr(); to != homeA && to != localA && to != config.Server {
						t.Errorf("sent %+v for %+v", a, e)
					}
				}
			}
			for _, l := range w.s.Leases(w.now) {
				if l.Home != homeA {
					t.Errorf("lease %+v", l)
				}
			}
			w.handle(role.Stop{})
			w.restart(config)
		}
	})
}
