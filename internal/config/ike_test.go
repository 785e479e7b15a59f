package config

import (
	"strings"
	"testing"

	"roam6/internal/esp"
	"roam6/internal/ike"
	"roam6/overlay"
)

// One section, the same on both sides, makes a key exchange that fits. RFC 4877 §7: the
// keys of everything are negotiated.
func TestIKE(t *testing.T) {
	here, there := parseTestdata(t, "ike.conf"), parseTestdata(t, "ike_agent.conf")
	m, a := here.MobileNodes[0], there.Mobiles[0]
	if len(m.IKE) != 1 || len(m.ESP) != 1 || a.IKE == nil || a.ESP == nil || m.Association != nil || m.HomeTestsReadable() {
		t.Fatalf("mobile %+v\nagent %+v", m, a)
	}
	for _, p := range []esp.Policy{m.ESP[0], *a.ESP} {
		if p.Negotiated == nil || !p.Negotiated.Empty() || p.Out != (esp.Association{}) || p.Home != m.HomeAddress.Addr() || p.Agent != m.HomeAgents[0] {
			t.Errorf("policy %+v", p)
		}
	}
	want := ike.Peer{
		Ends:   ike.Ends{Home: m.HomeAddress.Addr(), Agent: m.HomeAgents[0], Side: overlay.MobileSide},
		Socket: ike.DefaultSocket, PSK: "Zq3Yd0pXy8mL2nB7vT5kR1wU9sJ4hC6f", MOBIKE: true,
	}
	if m.IKE[0] != want {
		t.Errorf("the mobile's peer %+v, want %+v", m.IKE[0], want)
	}
	if want.Side = overlay.AgentSide; *a.IKE != want {
		t.Errorf("the agent's peer %+v, want %+v", *a.IKE, want)
	}
	c, err := Parse("roam6", []byte(unkeyed(node)+certificates+" option algorithm 'aes-cbc-sha256'\n option mobike '0'\n option vici '/run/vici'\n option local_id 'mn.example'\n option remote_id 'ha.example'\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := c.MobileNodes[0].IKE[0]
	if p.PSK != "" || p.Certificate != "/etc/mn.pem" || p.Key != "/etc/mn.key" || p.Authority != "/etc/ca.pem" || p.MOBIKE ||
		p.Algorithm != esp.AESCBCSHA256 || p.Socket != "/run/vici" || p.LocalID != "mn.example" || p.RemoteID != "ha.example" {
		t.Errorf("peer %+v", p)
	}
}

// A section for the home address and home agent of the sections of errors_test.go.
const (
	exchangeSection = "config ipsec\n option home_address '2001:db8:1::2'\n option home_agent '2001:db8:1::1'\n option ike '1'\n"
	certificates    = exchangeSection + " option local_cert '/etc/mn.pem'\n option local_key '/etc/mn.key'\n option ca '/etc/ca.pem'\n"
	preshared       = exchangeSection + " option psk 'a secret of two, long enough'\n"
)

// Each case has exactly one thing wrong, and no error has anything of a secret.
func TestIKEErrors(t *testing.T) {
	n := unkeyed(node)
	if _, err := Parse("roam6", []byte(n+preshared)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, in, want string }{
		{"short secret", n + exchangeSection + " option psk 'short secret'\n", `option 'psk' in section '@ipsec[0]' (roam6:9:13): "***": expected a secret of 16 to 1024 characters: this has 12`},
		{"neither", n + exchangeSection, `option 'psk' in section '@ipsec[0]' (roam6:5:1): expected with ike a secret that both have; or local_cert, local_key and ca; it is missing`},
		{"both", n + preshared + " option ca '/etc/ca.pem'\n", `option 'ca' in section '@ipsec[0]' (roam6:10:12): "/etc/ca.pem": expected nothing, because there is a psk; or no psk`},
		{"no authority", n + strings.Replace(certificates, " option ca '/etc/ca.pem'\n", "", 1), `option 'ca' in section '@ipsec[0]' (roam6:5:1): expected without psk all of local_cert, local_key and ca; it is missing`},
		{"relative path", n + strings.Replace(certificates, "/etc/mn.key", "mn.key", 1), `option 'local_key' in section '@ipsec[0]' (roam6:10:19): "mn.key": expected an absolute path of at most 4095 characters`},
		{"keys, too", n + preshared + " option spi_to_agent '256'\n", `option 'spi_to_agent' in section '@ipsec[0]' (roam6:10:22): "256": expected nothing, because of ike '1'; or no ike`},
		{"a window, too", n + preshared + " option window '64'\n", `option 'window' in section '@ipsec[0]' (roam6:10:16): "64": expected nothing, because of ike '1'; or no ike`},
		{"keys for payload, too", n + preshared + " option payload '1'\n option spi_payload_to_agent '2147483648'\n", `option 'spi_payload_to_agent' in section '@ipsec[0]' (roam6:11:30): "2147483648": expected nothing, because of ike '1'; or no ike`},
		{"payload by AES-GCM", n + preshared + " option payload '1'\n option algorithm 'aes-gcm'\n", `option 'algorithm' in section '@ipsec[0]' (roam6:11:19): "aes-gcm": expected aes-cbc-sha256, because of payload: a hand-over begins the initialization vectors of a key anew, and with AES-GCM one that comes twice lets others read and forge (RFC 4106 §2)`},
		{"payload with optimised routes", n + " option route_optimization 'on'\n" + preshared + " option payload '1'\n", `option 'route_optimization' in section 'n' (roam6:5:28): "on": expected off, because section '@ipsec[0]' (roam6:6:1) has payload: optimised routes are beside the tunnel, and not encrypted`},
		{"no exchange", n + ipsecSection(256, cbcKey) + " option psk 'a secret of two, long enough'\n", `option 'psk' in section '@ipsec[0]' (roam6:12:13): "***": expected ike '1' in the section, which it is for; or nothing`},
	} {
		_, err := Parse("roam6", []byte(tt.in))
		if err == nil || err.Error() != tt.want || strings.Contains(err.Error(), "secret of two") {
			t.Errorf("%s:\n got %v\nwant %s", tt.name, err, tt.want)
		}
	}
	if _, err := parse("roam6", []byte(n+preshared), 0o644); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that all can read: %v", err)
	}
}

// RFC 4877 §4.3: keys of payload are negotiated, too, on both sides; not unless that is
// wanted.
func TestIKEPayload(t *testing.T) {
	for _, on := range []bool{false, true} {
		section := preshared + " option payload '0'\n"
		if on {
			section = preshared + " option payload '1'\n"
		}
		here, there := bothSides(t, section)
		m, a := here.MobileNodes[0], there.Mobiles[0]
		for _, p := range []esp.Policy{m.ESP[0], *a.ESP} {
			if p.Payload != on || p.Negotiated == nil || p.PayloadOut != nil || p.PayloadIn != nil {
				t.Errorf("payload %v: policy %+v", on, p)
			}
		}
		if m.IKE[0].Payload != on || a.IKE.Payload != on {
			t.Errorf("payload %v: peers %+v, %+v", on, m.IKE[0], a.IKE)
		}
	}
}
