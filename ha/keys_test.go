package ha

import (
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// RFC 6275 §10.3.1, §10.3.2: bit K is answered where the mobile has set it, the keys were
// negotiated, and this end of the key exchange follows the mobile; at its return home,
// too. A refusal has none.
//
// Covers: H5.
func TestKeyMobility(t *testing.T) {
	for _, tt := range []struct {
		name         string
		asked, moves bool
		want         mip6.AckFlags
	}{
		{"both", true, true, mip6.AckKeyManagement},
		{"the mobile does not ask", false, true, 0},
		{"keys that are configured, or stay behind", true, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig()
			c.DAD = false
			c.Mobiles[2].SA, c.Mobiles[2].ESP, c.Mobiles[2].KeyMobility = nil, true, tt.moves // n
			w := newWorld(t, c)
			w.run(time.Second)
			flags := flagsNode
			if tt.asked {
				flags |= mip6.UpdateKeyManagement
			}
			answer := func(r request) mip6.BindingAcknowledgement {
				t.Helper()
				r.home, r.flags, r.unsealed = homeN, flags, true
				w.alternate = r.alternate
				return onlyAck(t, w.handle(role.MessageReceived{Link: 1, Packet: r.packet(t), Protected: true}))
			}
			for i, r := range []request{
				{source: careOf1, alternate: careOf1, sequence: 1, lifetime: time.Minute},
				{source: careOf1, alternate: careOf1, sequence: 2, lifetime: time.Minute},
				{sequence: 3, atHome: true},
			} {
				if ba := answer(r); ba.Status != mip6.StatusAccepted || ba.Flags&mip6.AckKeyManagement != tt.want {
					t.Errorf("answer %d: %+v", i+1, ba)
				}
			}
		})
	}
}
