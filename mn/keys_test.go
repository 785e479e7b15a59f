package mn

import (
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

func keyExchange(c *Config) {
	c.SA, c.ESP, c.Timestamps, c.KeyExchange, c.KeyMobility = nil, true, false, true, true
}

// RFC 4877 §7.3: the binding update waits for its security associations, and leaves when
// they are there. RFC 6275 §11.7.1: K says that the key exchange survives movements. The
// next move waits for nothing (RFC 4877 §7.4).
func TestUpdateWaitsForKeys(t *testing.T) {
	b := newBench(t, keyExchange)
	keys := func(present bool) role.Event {
		return role.KeysChanged{Home: homeAddress, Agent: homeAgent, Present: present}
	}
	b.carrier(true)
	out := b.hear(ar1)
	if asked := only[role.RequestKeys](out); len(updatesIn(out)) != 0 || len(asked) != 1 || asked[0] != (role.RequestKeys{Home: homeAddress, Agent: homeAgent, CareOf: careOf1}) {
		t.Fatalf("without keys: %v", out)
	}
	if out = b.handle(role.KeysChanged{Home: homeAddress.Next(), Agent: homeAgent, Present: true}); len(updatesIn(out)) != 0 {
		t.Errorf("with another mobile's keys: %v", out)
	}
	out = b.handle(keys(true))
	sent := updatesIn(out)
	if len(sent) != 1 || sent[0].Flags&mip6.UpdateKeyManagement == 0 || len(only[role.RequestKeys](out)) != 0 {
		t.Fatalf("with keys: %v", out)
	}
	if out = b.handle(keys(true)); len(updatesIn(out)) != 0 {
		t.Errorf("nothing waited, and sent is %v", out)
	}
	b.answering(time.Second)
	b.carrier(false)
	b.carrier(true)
	if out = b.hear(ar2); len(updatesIn(out)) != 1 || len(only[role.RequestKeys](out)) != 0 {
		t.Errorf("the move waits for keys: %v", out)
	}
	b.handle(keys(false))
	b.carrier(false)
	b.carrier(true)
	if out = b.hear(ar1); len(updatesIn(out)) != 0 || len(only[role.RequestKeys](out)) != 1 {
		t.Errorf("keys are gone: %v", out)
	}
}

// updatesIn are the home registrations among actions.
func updatesIn(actions []role.Action) (all []mip6.BindingUpdate) {
	for _, s := range only[role.Send](actions) {
		if u, ok := s.Packet.Message.(mip6.BindingUpdate); ok && u.Flags&mip6.UpdateHome != 0 {
			all = append(all, u)
		}
	}
	return all
}

// RFC 6275 §11.7.3: where the home agent does not answer K the key exchange is made anew
// after a move. §11.7.1: with keys that are configured K is clear.
func TestKeyMobility(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
		answer mip6.AckFlags
		k      bool
		renews int
	}{
		{"both move it", keyExchange, mip6.AckKeyManagement, true, 0},
		{"the home agent does not", keyExchange, 0, true, 1},
		{"the mobile does not", func(c *Config) { keyExchange(c); c.KeyMobility = false }, mip6.AckKeyManagement, false, 1},
		{"no key exchange", func(c *Config) { keyExchange(c); c.KeyExchange = false }, 0, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.change)
			b.handle(role.KeysChanged{Home: homeAddress, Agent: homeAgent, Present: true})
			b.carrier(true)
			b.hear(ar1)
			u, p := b.lastUpdate()
			if k := u.Flags&mip6.UpdateKeyManagement != 0; k != tt.k {
				t.Errorf("K bit %v, want %v", k, tt.k)
			}
			out := b.handle(role.MessageReceived{Link: 1, Protected: true, Packet: b.wire(mip6.Packet{Source: p.Destination, Destination: p.Source, RouteHome: homeAddress,
				Message: mip6.BindingAcknowledgement{Sequence: u.Sequence, Lifetime: u.Lifetime, Flags: tt.answer}})})
			if renewals := only[role.RenewKeys](out); !b.node.reg.registered || len(renewals) != tt.renews || tt.renews > 0 && renewals[0].CareOf != careOf1 {
				t.Errorf("renewals %v, want %d", renewals, tt.renews)
			}
		})
	}
}
