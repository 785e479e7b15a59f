package config

import (
	"fmt"
	"strings"
	"testing"

	"roam6/internal/esp"
	"roam6/overlay"
)

// payloadLines are the options for payload.
func payloadLines(first uint32, key func(int) string) string {
	return fmt.Sprintf(" option payload '1'\n option spi_payload_to_agent '%d'\n option key_payload_to_agent '%s'\n option spi_payload_to_mobile '%d'\n option key_payload_to_mobile '%s'\n",
		first, key(5), first+1, key(6))
}

// bothSides are the configurations of a mobile node and of its home agent that have a
// section in place of a key.
func bothSides(t *testing.T, section string) (here, there *Config) {
	t.Helper()
	here, err := Parse("roam6", []byte(unkeyed(node)+section))
	if err != nil {
		t.Fatal(err)
	}
	if there, err = Parse("roam6", []byte(agent+unkeyed(mobile)+section)); err != nil {
		t.Fatal(err)
	}
	return here, there
}

// One section, the same on both sides, makes associations that fit.
func TestPayload(t *testing.T) {
	const first = 1 << 31
	section := ipsecSection(256, cbcKey) + payloadLines(first, cbcKey)
	here, there := bothSides(t, section)
	m, a := here.MobileNodes[0].ESP[0], there.Mobiles[0].ESP
	key := func(text string) esp.Key {
		k, err := espKey().parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	toAgent := esp.Association{SPI: first, Algorithm: esp.AESCBCSHA256, Key: key(cbcKey(5))}
	toMobile := esp.Association{SPI: first + 1, Algorithm: esp.AESCBCSHA256, Key: key(cbcKey(6))}
	if m.Side != overlay.MobileSide || *m.PayloadOut != toAgent || *m.PayloadIn != toMobile {
		t.Errorf("the mobile's: %v %v", m.PayloadOut.SPI, m.PayloadIn.SPI)
	}
	if a.Side != overlay.AgentSide || *a.PayloadOut != toMobile || *a.PayloadIn != toAgent {
		t.Errorf("the agent's: %v %v", a.PayloadOut.SPI, a.PayloadIn.SPI)
	}
	off, err := Parse("roam6", []byte(unkeyed(node)+strings.Replace(section, "payload '1'", "payload '0'", 1)))
	if err != nil || off.MobileNodes[0].ESP[0].PayloadOut != nil || off.MobileNodes[0].ESP[0].PayloadIn != nil {
		t.Errorf("switched off: %v", err)
	}
	// The window is for signalling, where senders may keep their numbers.
	window, err := Parse("roam6", []byte(unkeyed(node)+section+" option window '64'\n"))
	if err != nil || window.MobileNodes[0].ESP[0].PayloadIn.Window != 0 || window.MobileNodes[0].ESP[0].In.Window != 64 {
		t.Errorf("window: %v", err)
	}
	// Below, where there is no payload, any SPI is right.
	if _, err := Parse("roam6", []byte(unkeyed(node)+strings.Replace(ipsecSection(256, cbcKey), "'256'", "'3000000000'", 1))); err != nil {
		t.Error(err)
	}
}

// Each case has exactly one thing wrong, and no error has anything of a key.
func TestPayloadErrors(t *testing.T) {
	const first = 1 << 31
	n := unkeyed(node)
	section := ipsecSection(256, cbcKey)
	payload := payloadLines(first, cbcKey)
	line := func(s, name string) string {
		for l := range strings.Lines(s) {
			if strings.HasPrefix(l, " option "+name+" ") {
				return l
			}
		}
		t.Fatalf("no %s", name)
		return ""
	}
	without := func(s, name string) string { return strings.Replace(s, line(s, name), "", 1) }
	all := "with payload all of spi_payload_to_agent, key_payload_to_agent, spi_payload_to_mobile and key_payload_to_mobile; it is missing"
	for _, tt := range []struct{ name, in, want string }{
		{"not said", n + section + without(payload, "payload"), `option 'payload' in section '@ipsec[0]' (roam6:5:1): expected 1, or 0 for none, because there is spi_payload_to_agent; it is missing`},
		{"no SPI", n + section + without(payload, "spi_payload_to_mobile"), `option 'spi_payload_to_mobile' in section '@ipsec[0]' (roam6:5:1): expected ` + all},
		{"no key", n + section + without(payload, "key_payload_to_agent"), `option 'key_payload_to_agent' in section '@ipsec[0]' (roam6:5:1): expected ` + all},
		{"SPI of signalling", n + section + strings.Replace(payload, "'2147483648'", "'2147483647'", 1), `option 'spi_payload_to_agent' in section '@ipsec[0]' (roam6:13:30): "2147483647": expected an integer from 2147483648 to 4294967295`},
		{"signalling in the half of payload", n + strings.Replace(section, "'257'", "'3000000000'", 1) + payload, `option 'spi_to_mobile' in section '@ipsec[0]' (roam6:10:23): "3000000000": expected an integer from 256 to 2147483647, because a section has payload, whose SPIs are those above`},
		{"AES-GCM", n + ipsecSection(256, gcmKey) + payloadLines(first, gcmKey) + " option algorithm 'aes-gcm'\n", `option 'algorithm' in section '@ipsec[0]' (roam6:17:19): "aes-gcm": expected aes-cbc-sha256, because of payload: a configured key outlives restarts and hand-overs, each of which begins its initialization vectors anew, and with AES-GCM one that comes twice lets others read and forge (RFC 8221 §3)`},
		{"key of another length", n + section + strings.Replace(payload, cbcKey(6), gcmKey(6), 1), `option 'key_payload_to_mobile' in section '@ipsec[0]' (roam6:16:31): "***": expected a key of 96 or 128 hexadecimal digits, because of algorithm 'aes-cbc-sha256'`},
		{"optimised routes", n + " option route_optimization 'on'\n" + section + ipsecTunnel(256, cbcKey) + payload, `option 'route_optimization' in section 'n' (roam6:5:28): "on": expected off, because section '@ipsec[0]' (roam6:6:1) has payload: optimised routes are beside the tunnel, and not encrypted`},
		{"anchors", n + " option hierarchy '1'\n option insecure_anchors '1'\n" + section + payload, `option 'hierarchy' in section 'n' (roam6:5:19): "1": expected 0, because section '@ipsec[0]' (roam6:7:1) has payload: a tunnel through that of an anchor cannot be encrypted`},
		{"another mobile of this node", n + router + section + payload, `option 'payload' in section '@ipsec[0]' (roam6:18:17): "1": expected 0, because section 'r' (roam6:5:1) has the same home agent: the kernel could not tell the packets of both tunnels apart, which have the same outer addresses`},
		{"the same SPI for both receivers is right", n + section + strings.Replace(payload, "'2147483649'", "'2147483648'", 1), ""},
	} {
		_, err := Parse("roam6", []byte(tt.in))
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || err.Error() != tt.want):
			t.Errorf("%s:\n got %v\nwant %s", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), keyMark) {
			t.Errorf("%s: a key is in %v", tt.name, err)
		}
	}
}
