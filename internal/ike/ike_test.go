package ike

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/strongswan/govici/vici"
	"github.com/vishvananda/netlink"

	"roam6/internal/esp"
	"roam6/overlay"
)

// flat is a message as lines, sections in braces.
func flat(m *vici.Message) (lines []string) {
	for _, k := range m.Keys() {
		if s, ok := m.Get(k).(*vici.Message); ok {
			for _, l := range flat(s) {
				lines = append(lines, k+"/"+l)
			}
			continue
		}
		lines = append(lines, fmt.Sprintf("%s=%v", k, m.Get(k)))
	}
	return lines
}

// RFC 4877 §7.2: selectors with the home address, message types in the upper half of the
// port; §4.4: IKE itself runs from the care-of address, whatever that is. Nothing weak is
// offered (RFC 8247, RFC 8221).
func TestConnection(t *testing.T) {
	mobile, agent := peers("a secret of two, 0123456789abcdef")
	const name, other = "roam6-mobile-2001:db8:10::100-2001:db8:10::1/", "roam6-agent-2001:db8:10::100-2001:db8:10::1/"
	home := "[2001:db8:10::100[135/1280-1791] 2001:db8:10::100[58/37376-37887] 2001:db8:10::100[17/547]]"
	there := "[2001:db8:10::1[135/1280-1791] 2001:db8:10::1[58/37376-37887] 2001:db8:10::1[17/547]]"
	for _, tt := range []struct {
		name string
		peer Peer
		want []string
	}{
		{"mobile", mobile, []string{
			name + "version=2", name + "mobike=yes", name + "local_addrs=[%any]", name + "remote_addrs=[2001:db8:10::1]",
			name + "local/id=2001:db8:10::100", name + "local/auth=psk", name + "remote/id=2001:db8:10::1", name + "remote/auth=psk",
			name + "children/signalling/mode=transport_proxy", name + "children/signalling/policies=no",
			name + "children/signalling/local_ts=" + home, name + "children/signalling/remote_ts=" + there,
			name + "children/tests/mode=tunnel", name + "children/tests/policies=no",
			name + "children/tests/local_ts=[2001:db8:10::100[135/256-511] 2001:db8:10::100[135/768-1023]]",
			name + "children/tests/remote_ts=[::/0[135/256-511] ::/0[135/768-1023]]",
		}},
		{"agent", agent, []string{
			other + "local_addrs=[2001:db8:10::1]", other + "remote_addrs=[%any]", other + "local/id=2001:db8:10::1", other + "remote/id=2001:db8:10::100",
			other + "children/signalling/local_ts=" + there, other + "children/signalling/remote_ts=" + home,
		}},
		{"another algorithm, without MOBIKE", Peer{Ends: mobile.Ends, PSK: mobile.PSK, Algorithm: esp.AESCBCSHA256, LocalID: "mn.example", RemoteID: "ha.example"}, []string{
			name + "mobike=no", name + "local/id=mn.example", name + "remote/id=ha.example",
			name + "children/tests/esp_proposals=[aes256-sha256-ecp256-modp3072 aes256-sha256]",
		}},
		{"payload, of the mobile", Peer{Ends: mobile.Ends, PSK: mobile.PSK, Payload: true}, []string{
			name + "children/payload/mode=transport_proxy", name + "children/payload/policies=no",
			name + "children/payload/local_ts=[2001:db8:10::100[41]]", name + "children/payload/remote_ts=[2001:db8:10::1[41]]",
			name + "children/payload/esp_proposals=[aes256-sha256-ecp256-modp3072 aes256-sha256]",
			name + "children/signalling/esp_proposals=[aes128gcm16-ecp256-modp3072 aes128gcm16 aes256-sha256-ecp256-modp3072 aes256-sha256]",
		}},
		{"payload, of the agent", Peer{Ends: agent.Ends, PSK: mobile.PSK, Payload: true}, []string{
			other + "children/payload/local_ts=[2001:db8:10::1[41]]", other + "children/payload/remote_ts=[2001:db8:10::100[41]]",
		}},
		{"certificates", Peer{Ends: mobile.Ends}, []string{
			name + "local/auth=pubkey", name + "local/certs=[own]", name + "remote/auth=pubkey", name + "remote/cacerts=[theirs]",
		}},
	} {
		got := flat(Connection(tt.peer, Credentials{Certificate: "own", Key: "private", Authority: "theirs"}))
		for _, w := range tt.want {
			if !slices.Contains(got, w) {
				t.Errorf("%s: there is no %s in\n%s", tt.name, w, strings.Join(got, "\n"))
			}
		}
		all := strings.Join(got, "\n")
		if strings.Contains(all, "children/payload/") != tt.peer.Payload {
			t.Errorf("%s: payload in\n%s", tt.name, all)
		}
		for _, never := range []string{"sha1", "md5", "3des", "modp1024", "modp1536", "modp2048", "null", "private", string(mobile.PSK)} {
			if strings.Contains(all, never) {
				t.Errorf("%s: there is %q in the connection", tt.name, never)
			}
		}
	}
	if got := strings.Join(flat(SharedSecret(agent)), " "); got != "id=roam6-agent-2001:db8:10::100-2001:db8:10::1 type=IKE data="+string(agent.PSK)+" owners=[2001:db8:10::1 2001:db8:10::100]" {
		t.Errorf("secret %s", got)
	}
}

// recorded is what charon 5.9.8 said of a mobile that has moved, in the moment after its
// signalling association was replaced.
func recorded() *vici.Message {
	child := func(name, id, state, in, out string) *vici.Message {
		return section("name", name, "uniqueid", id, "reqid", "1", "state", state, "mode", "TRANSPORT_PROXY", "protocol", "ESP",
			"spi-in", in, "spi-out", out, "encr-alg", "AES_GCM_16", "encr-keysize", "128", "local-ts", []string{"2001:db8:10::100/128[mobility-header/1280-1791]"})
	}
	return section("roam6-mobile-2001:db8:10::100-2001:db8:10::1", section(
		"uniqueid", "1", "version", "2", "state", "ESTABLISHED", "local-host", "2001:db8:a2::7", "local-port", "4500", "remote-host", "2001:db8:10::1",
		"remote-port", "4500", "initiator", "yes", "encr-alg", "AES_CBC", "established", "12",
		"child-sas", section(
			"signalling-1", child("signalling", "1", "DELETED", "c3e7eb6e", "ca10ad27"),
			"tests-2", child("tests", "2", "INSTALLED", "c6f52701", "c82a79b1"),
			"signalling-13", child("signalling", "13", "INSTALLED", "c1f70d58", "cd8a433a"),
			"signalling-9", child("signalling", "9", "INSTALLING", "", ""),
		)))
}

// states are those of a kernel.
type states map[state]esp.Association

func (s states) Association(to netip.Addr, spi uint32) (esp.Association, error) {
	a, ok := s[state{to, spi}]
	if !ok {
		return esp.Association{}, ErrNoState
	}
	return a, nil
}

// with adds an association, with a key by its SPI.
func (s states) with(to netip.Addr, spi uint32) states {
	s[state{to, spi}] = esp.Association{SPI: spi, Algorithm: esp.AESGCM, Key: esp.Key(strings.Repeat(fmt.Sprintf("%08x", spi), 3)[:20])}
	return s
}

// Those for signalling are found by home address and home agent, those for home tests by
// the present ends of IKE. The newest that is complete is sent by; all that the kernel
// still has are received by.
func TestAssociate(t *testing.T) {
	careOf := netip.MustParseAddr("2001:db8:a2::7")
	kernel := states{}.with(testHome, 0xc3e7eb6e).with(testHome, 0xc1f70d58).with(testAgent, 0xcd8a433a).
		with(testAgent, 0xc82a79b1).with(careOf, 0xc6f52701)
	all := ParseAssociations(recorded())
	if len(all) != 1 || !all[0].Established || all[0].ID != "1" || all[0].Local != careOf || all[0].Remote != testAgent || len(all[0].Children) != 4 {
		t.Fatalf("%+v", all)
	}
	ends := Ends{Home: testHome, Agent: testAgent, Side: overlay.MobileSide}
	n, err := Associate(ends, all, kernel)
	if err != nil || !n.Complete() {
		t.Fatalf("%+v, %v", n, err)
	}
	var in []uint32
	for _, a := range n.In {
		in = append(in, a.SPI)
		if a.Window != window {
			t.Errorf("%08x has a window of %d", a.SPI, a.Window)
		}
	}
	if n.Out.SPI != 0xcd8a433a || n.TunnelOut.SPI != 0xc82a79b1 || n.Out.Window != 0 || !slices.Equal(in, []uint32{0xc1f70d58, 0xc3e7eb6e}) ||
		len(n.TunnelIn) != 1 || n.TunnelIn[0].SPI != 0xc6f52701 {
		t.Errorf("%+v", n)
	}
	policies := esp.NewPolicies(func([]byte) {})
	if err := policies.Replace([]esp.Policy{{Home: testHome, Agent: testAgent, Side: overlay.MobileSide, Negotiated: &n}}); err != nil {
		t.Errorf("no policy can be made of that: %v", err)
	}
	// The agent sees its own end as the receiver.
	if n, _ := Associate(Ends{testHome, testAgent, overlay.AgentSide}, all, states{}.with(testAgent, 0xc1f70d58).with(testHome, 0xcd8a433a)); n.Out == nil || n.Out.SPI != 0xcd8a433a || len(n.In) != 1 {
		t.Errorf("the agent's: %+v", n)
	}
	// Those for payload are found by home address and home agent, too, and have no window.
	payload := []IKEAssociation{{Established: true, Local: careOf, Remote: testAgent, Children: []Child{
		{childPayload, 3, childInstalled, 0xc3e7eb6e, 0xcd8a433a}, {childPayload, 2, "REKEYED", 0xc1f70d58, 0}}}}
	switch n, err := Associate(ends, payload, kernel); {
	case err != nil || !n.PayloadComplete() || n.Complete() || n.Out != nil || len(n.In) > 0:
		t.Errorf("payload: %+v, %v", n, err)
	case n.PayloadOut.SPI != 0xcd8a433a || len(n.PayloadIn) != 2 || n.PayloadIn[0].SPI != 0xc3e7eb6e || n.PayloadIn[1].SPI != 0xc1f70d58 || n.PayloadIn[0].Window != 0:
		t.Errorf("payload: %+v", n)
	}
	if n, err := Associate(ends, all, states{}); err != nil || !n.Empty() {
		t.Errorf("without the kernel's: %+v, %v", n, err)
	}
	if n, err := Associate(ends, ParseAssociations(section("x", "y")), kernel); err != nil || !n.Empty() {
		t.Errorf("of nonsense: %+v, %v", n, err)
	}
}

// RFC 4106, RFC 3602 with RFC 4868: what package esp can do, and nothing else; no key is
// in an error.
func TestFromState(t *testing.T) {
	const aes, mac = "0123456789abcdef", "hmac hmac hmac hmac hmac hmac 32"
	algo := func(name, key string, icv, truncate int) *netlink.XfrmStateAlgo {
		return &netlink.XfrmStateAlgo{Name: name, Key: []byte(key), ICVLen: icv, TruncateLen: truncate}
	}
	for _, tt := range []struct {
		name  string
		state netlink.XfrmState
		want  esp.Association
	}{
		{"GCM", netlink.XfrmState{Spi: 300, Aead: algo("rfc4106(gcm(aes))", aes+"salt", 128, 0)}, esp.Association{SPI: 300, Algorithm: esp.AESGCM, Key: aes + "salt"}},
		{"CBC", netlink.XfrmState{Spi: 300, Crypt: algo("cbc(aes)", aes, 0, 0), Auth: algo("hmac(sha256)", mac, 0, 128)}, esp.Association{SPI: 300, Algorithm: esp.AESCBCSHA256, Key: aes + mac}},
		{"short check value", netlink.XfrmState{Spi: 300, Aead: algo("rfc4106(gcm(aes))", aes+"salt", 64, 0)}, esp.Association{}},
		{"the draft's check value", netlink.XfrmState{Spi: 300, Crypt: algo("cbc(aes)", aes, 0, 0), Auth: algo("hmac(sha256)", mac, 0, 96)}, esp.Association{}},
		{"not encrypted", netlink.XfrmState{Spi: 300, Crypt: algo("ecb(cipher_null)", "", 0, 0), Auth: algo("hmac(sha256)", mac, 0, 128)}, esp.Association{}},
		{"redacted by a locked kernel", netlink.XfrmState{Spi: 300, Aead: algo("rfc4106(gcm(aes))", "", 128, 0)}, esp.Association{}},
	} {
		got, err := fromState(&tt.state)
		switch {
		case tt.want.SPI != 0 && (err != nil || got != tt.want):
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		case tt.want.SPI == 0 && (err == nil || strings.Contains(err.Error(), aes) || strings.Contains(err.Error(), mac)):
			t.Errorf("%s: %v", tt.name, err)
		case tt.want.SPI == 0 && !errors.Is(err, errAlgorithm) && !errors.Is(err, esp.ErrInvalid):
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// A secret is printed by no verb.
func TestSecretIsNotPrinted(t *testing.T) {
	p, _ := peers("a secret of two")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if said := fmt.Sprintf(verb, p.PSK); said != redacted {
			t.Errorf("%s: %s", verb, said)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if said := fmt.Sprintf(verb, p); strings.Contains(said, "secret") {
			t.Errorf("%s: %s", verb, said)
		}
	}
}
