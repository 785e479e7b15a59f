package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/config"
	"roam6/internal/control"
	"roam6/internal/esp"
	"roam6/internal/sock"
	"roam6/mip6"
)

// ipsecKeys are ipsec sections for the village: of the host, and of another mobile,
// which has the same home agent and is up to no good.
const (
	ipsecHost = `config ipsec
	option home_address '2001:db8:10::100'
	option home_agent '2001:db8:10::1'
	option spi_to_agent '1000'
	option key_to_agent '8e1f0a5b9c3d7e2648f0d1c2b3a49586778899aabbccddeeff102132435465768798a9bacbdcedfe0f1e2d3c4b5a6978'
	option spi_to_mobile '1001'
	option key_to_mobile '2b4d6f8193a5c7e9fb0d1f3153759b7d9fb1d3f517395b7d9fa1c3e5072941638507a9cbed0f2143658709abcdef1325'
`
	ipsecOther = `config ipsec
	option home_address '2001:db8:10::101'
	option home_agent '2001:db8:10::1'
	option spi_to_agent '1004'
	option key_to_agent 'd4c3b2a190817263544536271809f0e1d2c3b4a5968778695a4b3c2d1e0f102132435465768798a9bacbdcedfe0f1f2e'
	option spi_to_mobile '1005'
	option key_to_mobile '7163558947321615fde9cdb1a5897d615549332d1701f5e9ddc1b5a99d8175695d41352911fde1c5a99d8175695d4135'
`
	ipsecMetrics = "config metrics\n\toption enabled '1'\n"
	ipsecDebug   = "config globals 'globals'\n\toption log_level 'debug'\n"
)

// ipsecFiles are the village's configurations with IPsec in place of the key.
func ipsecFiles() (agent, host string) {
	edit := strings.NewReplacer("\toption spi '256'\n", "", "\toption key '000102030405060708090a0b0c0d0e0f'\n", "", "config globals 'globals'\n", ipsecDebug)
	other := "config mobile 'other'\n\toption home_address '2001:db8:10::101'\n"
	return edit.Replace(agentFile) + other + ipsecHost + ipsecOther + ipsecMetrics, edit.Replace(hostFile) + ipsecHost + ipsecMetrics
}

// ipsecPolicies are those of the home agent: for the host and for the other mobile.
func ipsecPolicies(t *testing.T) (host, other esp.Policy) {
	t.Helper()
	text, _ := ipsecFiles()
	c, err := config.Parse("agent", fmt.Appendf(nil, text, "/s"))
	if err != nil {
		t.Fatal(err)
	}
	return *c.Mobiles[0].ESP, *c.Mobiles[1].ESP
}

// injectAgent puts a packet on the access link, from the host's place to its router,
// which is the home agent.
func (v *village) injectAgent(packet []byte) {
	v.Helper()
	link, err := v.hostSpace.Link.LinkByName("up0")
	v.must(err)
	var raw int
	v.must(v.hostSpace.Do(func() (err error) {
		raw, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	defer unix.Close(raw)
	to := &unix.SockaddrLinklayer{Protocol: sock.NetworkOrder16(unix.ETH_P_IPV6), Ifindex: link.Attrs().Index, Halen: 6, Addr: [8]byte{2, 6, 6, 0, 0, 1}}
	v.must(unix.Sendto(raw, packet, 0, to))
}

// dropped is how many signalling messages a daemon has dropped, by reason.
func (v *village) dropped(p *process) map[string]uint64 {
	v.Helper()
	s, err := p.client.Stats(context.Background())
	v.must(err)
	return s.MessagesDropped
}

// binding is what the home agent has for the host.
func (v *village) binding() control.Binding {
	v.Helper()
	d, err := v.agent.client.Bindings(context.Background())
	v.must(err)
	if len(d.Bindings) != 1 {
		v.Fatalf("bindings %+v", d.Bindings)
	}
	return d.Bindings[0]
}

// An update that is not in ESP, or in ESP with a wrong key, or with the key of
// another mobile, is dropped and counted, and the binding stays (RFC 6275 §10.3.1,
// RFC 4877 §4.2); and so with acknowledgements at the mobile. What the daemons log,
// show and export has nothing of the keys.
//
// Covers: H1, Attack: BU spoofing, Attack: forged answers.
func TestForgedUnderIPsec(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	agentText, hostText := ipsecFiles()
	v := newVillageOf(t, os.Args[0], agentText, hostText)
	ofHost, ofOther := ipsecPolicies(t)
	careOf, before := v.update().CareOf, v.binding()

	// wrong is an association of another key.
	wrong := func(a esp.Association) esp.Association {
		key := []byte(a.Key)
		key[0] ^= 1          // another AES key
		key[len(key)-1] ^= 1 // and another HMAC key
		a.Key = esp.Key(key)
		return a
	}
	whole := func(p mip6.Packet) []byte {
		t.Helper()
		b, err := p.Append(nil)
		v.must(err)
		return b
	}
	elsewhere := netip.MustParseAddr("2001:db8:a1::bad")
	update := func(lifetime mip6.Lifetime, sequence uint16) []byte {
		return whole(mip6.Packet{Source: careOf, Destination: villageAgent, HomeAddress: villageHome, Message: mip6.BindingUpdate{
			Sequence: mip6.Sequence(sequence), Flags: mip6.UpdateHome | mip6.UpdateAcknowledge, Lifetime: lifetime,
			Options: []mip6.Option{mip6.AlternateCareOf{Addr: elsewhere}},
		}})
	}
	next := before.Sequence + 1
	acknowledgement := whole(mip6.Packet{Source: villageAgent, Destination: careOf, RouteHome: villageHome,
		Message: mip6.BindingAcknowledgement{Status: mip6.StatusNotHomeAgent, Sequence: mip6.Sequence(before.Sequence)}})
	unknown := func(a esp.Association) esp.Association { a.SPI = 4000; return a }
	undecipherable := func() []byte { // one of 128 has by chance a padding that is right
		other := ofHost.In
		other.Key = esp.Key([]byte{other.Key[0] ^ 1}) + other.Key[1:]
		policies := esp.NewPolicies(func([]byte) {})
		v.must(policies.Replace([]esp.Policy{ofHost}))
		for sequence := next; ; sequence++ {
			b := seal(t, update(150, sequence), other)
			if _, err := policies.Unprotect(b); errors.Is(err, esp.ErrPadding) {
				return b
			}
		}
	}
	const copies = 20
	for _, c := range []struct {
		name   string
		packet []byte
		to     *process
		reason string
	}{
		{"an update to another care-of address", update(150, next), v.agent, "unauthenticated"},
		{"a de-registration", update(0, next), v.agent, "unauthenticated"},
		{"an update under a wrong key", seal(t, update(150, next), wrong(ofHost.In)), v.agent, "bad_authenticator"},
		{"an update under the other direction's key", seal(t, update(150, next), esp.Association{SPI: ofHost.In.SPI, Algorithm: ofHost.In.Algorithm, Key: ofHost.Out.Key}), v.agent, "bad_authenticator"},
		{"an update under another mobile's key", seal(t, update(150, next), ofOther.In), v.agent, "prohibited"},
		{"an update that decrypts to nonsense", undecipherable(), v.agent, "undecipherable"},
		{"an update by an SPI that nobody has", seal(t, update(150, next), unknown(ofHost.In)), v.agent, "unknown_spi"},
		{"an acknowledgement", acknowledgement, v.host, "unauthenticated"},
		{"an acknowledgement under a wrong key", seal(t, acknowledgement, wrong(ofHost.Out)), v.host, "bad_authenticator"},
		{"an acknowledgement by an SPI that nobody has", seal(t, acknowledgement, unknown(ofHost.Out)), v.host, "unknown_spi"},
	} {
		send := v.injectAgent
		if c.to == v.host {
			send = v.inject
		}
		earlier := v.dropped(c.to)[c.reason]
		for range copies {
			send(c.packet)
		}
		v.until(c.name+" is counted", func() bool { return v.dropped(c.to)[c.reason] >= earlier+copies })
		if b := v.binding(); !slices.Equal(b.CareOf, before.CareOf) || b.Sequence != before.Sequence || b.Created != before.Created {
			t.Errorf("%s has changed the binding from %+v to %+v", c.name, before, b)
		}
		if u := v.update(); !u.Registered || u.Pending || u.CareOf != careOf {
			t.Errorf("%s has changed the registration: %+v", c.name, u)
		}
	}
	v.works()
	for _, p := range []*process{v.agent, v.host} {
		for where, text := range v.everything(p) {
			withoutKeys(t, where+" of "+p.name, text, ofHost, ofOther)
		}
	}
	v.end()
}

// seal puts the payload of a packet in ESP by an association, whoever's it is.
func seal(t *testing.T, packet []byte, a esp.Association) []byte {
	t.Helper()
	a.Window = 0
	out, err := esp.NewOutbound(a, func(b []byte) { copy(b, "a vector of sorts") })
	if err != nil {
		t.Fatal(err)
	}
	e, err := mip6.ParseEnvelope(packet)
	if err != nil {
		t.Fatal(err)
	}
	b, err := out.Seal(e.AppendHeaders(nil, mip6.ProtocolESP), e.Protocol, e.Payload)
	if err == nil {
		err = mip6.SetPayloadLength(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// everything is all that a daemon tells: its log, what it shows as a table and as
// JSON, and its metrics.
func (v *village) everything(p *process) map[string]string {
	v.Helper()
	all := map[string]string{}
	for _, topic := range control.Topics() {
		for _, format := range [][]string{nil, {"--json"}} {
			var out, errs bytes.Buffer
			args := append([]string{topic.String(), "--control", p.paths.socket}, format...)
			if code := show(args, stdio{nil, &out, &errs}); code != 0 || out.Len() == 0 {
				v.Errorf("show %q: exit code %d, %s", args, code, errs.String())
			}
			all[strings.Join(append([]string{"show", topic.String()}, format...), " ")] = out.String()
		}
	}
	space := v.agentSpace
	if p == v.host {
		space = v.hostSpace
	}
	var conn net.Conn
	v.must(space.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", "[::1]:9706", 5*time.Second)
		return err
	}))
	defer conn.Close()
	v.must(conn.SetDeadline(time.Now().Add(5 * time.Second)))
	_, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	v.must(err)
	text, err := io.ReadAll(conn)
	v.must(err)
	if !bytes.Contains(text, []byte("roam6_")) {
		v.Errorf("metrics: %s", text)
	}
	all["the metrics"] = string(text)
	log, err := os.ReadFile(p.cmd.Stderr.(*os.File).Name())
	v.must(err)
	if !bytes.Contains(log, []byte("level=DEBUG")) {
		v.Errorf("the log has nothing for debugging:\n%s", log)
	}
	all["the log"] = string(log)
	return all
}
