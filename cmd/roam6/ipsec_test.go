package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"roam6/internal/config"
	"roam6/internal/esp"
)

// Types of Mobility Header messages.
const (
	mhHomeTestInit = "1"
	mhHomeTest     = "3"
	mhUpdate       = "5"
	mhAcknowledge  = "6"
)

// decryption tells tshark the keys of a policy.
func decryption(p esp.Policy) []string {
	options := []string{"-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE"}
	all := []esp.Association{p.Out, p.In}
	if p.TunnelOut != nil {
		all = append(all, *p.TunnelOut, *p.TunnelIn)
	}
	for _, a := range all {
		const aes = 16
		key := hex.EncodeToString([]byte(a.Key))
		options = append(options, "-o", fmt.Sprintf(`uat:esp_sa:"IPv6","*","*","0x%08x","AES-CBC [RFC3602]","0x%s","HMAC-SHA-256-128 [RFC4868]","0x%s"`,
			a.SPI, key[:2*aes], key[2*aes:]))
	}
	return options
}

// TestHostIPsec: a mobile node and its home agent have IPsec and no other
// authentication. It registers, moves, optimises its routes and comes home, as
// without; and tshark, which gets the keys, finds the updates, acknowledgements and
// home tests in ESP, and none of them between the two without (RFC 3776 §4.1,
// RFC 6275 §10.4.6). The keys are in no log.
//
// Covers: H1, H11.
func TestHostIPsec(t *testing.T) {
	needWorlds(t)
	files := t.TempDir()
	_, capture := worldIn(t, files, "host --ipsec --handovers 4 --dwell 1s",
		expected(4, "round_trip_home_ms", "round_trip_direct_ms", "optimised_after_ms", "foreign_addresses"), optimised(true))
	c, err := config.Load(filepath.Join(files, "mn"))
	if err != nil {
		t.Fatal(err)
	}
	m := c.MobileNodes[0]
	if len(m.ESP) != 1 || m.Association != nil || m.ESP[0].TunnelOut == nil {
		t.Fatalf("the mobile node is configured otherwise: %+v", m)
	}
	for name, text := range logsIn(t, files) {
		withoutKeys(t, name, text, m.ESP[0])
	}
	t.Run("tshark", func(t *testing.T) { onTheWire(t, capture, m.ESP[0]) })
}

// onTheWire looks at the signalling of a mobile, of which there is one in a capture.
func onTheWire(t *testing.T, capture string, p esp.Policy) {
	dissect(t, capture)

	// What anybody can read. Only hosts solicit routers, and here only the mobile
	// has a router to ask.
	mobile := ""
	for _, row := range readings(t, capture, "icmpv6.type == 133", "eth.src") {
		if mobile != "" && row[0] != mobile {
			t.Fatalf("the mobile node is %s or %s", mobile, row[0])
		}
		mobile = row[0]
	}
	if mobile == "" {
		t.Fatal("nobody solicits a router")
	}
	if plain := readings(t, capture, fmt.Sprintf("mip6.mhtype in {%s, %s} && ipv6.addr == %v", mhUpdate, mhAcknowledge, p.Agent), "frame.number", "mip6.mhtype"); len(plain) > 0 {
		t.Errorf("updates or acknowledgements without ESP: %v", plain)
	}
	if plain := readings(t, capture, fmt.Sprintf("mip6.mhtype in {%s, %s} && eth.addr == %s", mhHomeTestInit, mhHomeTest, mobile), "frame.number", "mip6.mhtype"); len(plain) > 0 {
		t.Errorf("home tests without ESP on the mobile's link: %v", plain)
	}
	if readable := readings(t, capture, fmt.Sprintf("mip6.mhtype in {%s, %s}", mhHomeTestInit, mhHomeTest), "frame.number"); len(readable) == 0 {
		t.Error("no home tests between home agent and correspondent: nothing was to be hidden")
	}

	// What somebody with the keys can read.
	keys := decryption(p)
	complaints(t, capture, keys...)
	found := map[string]int{}
	for _, row := range readingsWith(t, keys, capture, "esp", "frame.number", "frame.protocols", "mip6.mhtype", "icmpv6.type", "esp.icv_good", "eth.addr") {
		protocols := strings.TrimPrefix(row[1], "eth:ethertype:")
		if row[4] != "1" && row[4] != "True" {
			t.Errorf("frame %s: the integrity check value is wrong: %v", row[0], row)
		}
		if strings.Contains(row[5], mobile) {
			found[protocols+" "+row[2]+row[3]]++
		}
	}
	for _, want := range []struct {
		what, kind string
		least      int
	}{
		{"binding updates away, of three moves", "ipv6:ipv6.dstopts:esp:mipv6 " + mhUpdate, 3},
		{"acknowledgements away", "ipv6:ipv6.routing:esp:mipv6 " + mhAcknowledge, 3},
		{"binding updates at home", "ipv6:esp:mipv6 " + mhUpdate, 1},
		{"acknowledgements at home", "ipv6:esp:mipv6 " + mhAcknowledge, 1},
		{"home test init messages to two correspondents", "ipv6:esp:ipv6:mipv6 " + mhHomeTestInit, 2},
		{"home test messages", "ipv6:esp:ipv6:mipv6 " + mhHomeTest, 2},
		{"mobile prefix solicitations", "ipv6:ipv6.dstopts:esp:icmpv6 146", 1},
		{"mobile prefix advertisements", "ipv6:ipv6.routing:esp:icmpv6 147", 1},
	} {
		if found[want.kind] < want.least {
			t.Errorf("%s in ESP on the mobile's link: %d, want %d; there is %v", want.what, found[want.kind], want.least, found)
		}
		delete(found, want.kind)
	}
	if len(found) > 0 {
		t.Errorf("there is more in ESP than signalling: %v", found)
	}
}

// logsIn are the logs that a world has left in a folder, by their names.
func logsIn(t *testing.T, folder string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.log"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d logs, %v", len(paths), err)
	}
	logs := make(map[string]string, len(paths))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		logs[filepath.Base(path)] = string(text)
	}
	return logs
}

// withoutKeys checks that no key of a policy is in a text.
func withoutKeys(t *testing.T, where, text string, policies ...esp.Policy) {
	t.Helper()
	for _, p := range policies {
		all := []esp.Association{p.Out, p.In}
		if p.TunnelOut != nil {
			all = append(all, *p.TunnelOut, *p.TunnelIn)
		}
		for _, a := range all {
			if betrays(text, a.Key) {
				t.Errorf("a part of the key of SPI %d is in %s", a.SPI, where)
			}
		}
	}
}

// betrays reports whether a part of a key is in a text, in any of the forms in which
// octets are printed.
func betrays(text string, key esp.Key) bool {
	letters := strings.NewReplacer(" ", "", ":", "", ",", "", "0x", "").Replace(strings.ToLower(text))
	const part = 8 // octets, which do not come by chance
	for octets := range slices.Chunk([]byte(key), part) {
		decimal := strings.ReplaceAll(strings.Trim(fmt.Sprint(octets), "[]"), " ", "")
		source := strings.Trim(strings.TrimPrefix(fmt.Sprintf("%#v", octets), "[]byte"), "{}")
		if strings.Contains(text, string(octets)) || strings.Contains(text, source) ||
			strings.Contains(letters, hex.EncodeToString(octets)) || strings.Contains(letters, decimal) {
			return true
		}
	}
	return strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(key))[:2*part])
}

func TestBetrays(t *testing.T) {
	key := esp.Key("\x01\x92\xa3\xb4\xc5\xd6\xe7\xf8\x09\x1a\x2b\x3c\x4d\x5e\x6f\x70")
	octets := []byte(key)
	for text, want := range map[string]bool{
		fmt.Sprintf("key %x", octets):                                                 true,
		fmt.Sprintf("key % X", octets[:8]):                                            true,
		fmt.Sprintf("half of a key %x", octets[8:]):                                   true,
		fmt.Sprint("key", octets):                                                     true,
		fmt.Sprintf("key %#v", octets):                                                true,
		"key " + base64.StdEncoding.EncodeToString(octets):                            true,
		"key " + string(octets):                                                       true,
		fmt.Sprintf("key %v", key):                                                    false,
		fmt.Sprintf("%+v %#v", esp.Association{Key: key}, &esp.Association{Key: key}): false,
		fmt.Sprintf("seven octets %x", octets[:7]):                                    false,
	} {
		if betrays(text, key) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}
