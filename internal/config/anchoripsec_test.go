package config

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"roam6/internal/esp"
	"roam6/overlay"
)

// localESP are the options of IPsec in visitor and anchor_key sections.
func localESP(first int, key func(int) string) string {
	return fmt.Sprintf(" option spi_to_anchor '%d'\n option key_to_anchor '%s'\n option spi_to_mobile '%d'\n option key_to_mobile '%s'\n",
		first, key(1), first+1, key(2))
}

const (
	bareVisitor = "config visitor 'v'\n"
	bareKey     = "config anchor_key 'k'\n"
)

// The same options on both sides make policies that fit: what one sends by the other
// receives by (RFC 5380 §12.1). A visitor of all anchors has one policy for them.
//
// Covers: P9.
func TestAnchorIPsec(t *testing.T) {
	key := func(text string) esp.Key {
		k, err := espKey().parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	parse := func(in string) *Config {
		t.Helper()
		c, err := Parse("roam6", []byte(in))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	options := localESP(2000, cbcKey)
	there := parse(anchor + bareVisitor + options + " option window '64'\n")
	toAnchor := esp.Association{SPI: 2000, Algorithm: esp.AESCBCSHA256, Key: key(cbcKey(1))}
	toMobile := esp.Association{SPI: 2001, Algorithm: esp.AESCBCSHA256, Key: key(cbcKey(2))}
	windowed := toAnchor
	windowed.Window = 64
	same(t, "visitors", there.Visitors, []Visitor{{Name: "v", Replay: ReplaySequence, ESP: &esp.AnchorPolicy{
		Anchors: []netip.Prefix{prefix("2001:db8:5::1/128")}, Side: overlay.AgentSide, Out: toMobile, In: windowed}}})
	here := parse(local + bareKey + options)
	same(t, "anchor keys", here.AnchorKeys, []AnchorKey{{Name: "k", Anchors: prefix("::/0"), ESP: &esp.AnchorPolicy{
		Anchors: []netip.Prefix{prefix("::/0")}, Side: overlay.MobileSide, Out: toAnchor, In: toMobile}}})

	second := strings.NewReplacer("'a'", "'b'", "5::1", "6::1").Replace(anchor)
	off := strings.NewReplacer("'a'", "'c'", "5::1", "7::1").Replace(anchor) + " option enabled '0'\n"
	both := parse(anchor + second + off + visitor + " option replay 'timestamp'\n" + options)
	v := both.Visitors[0]
	same(t, "anchors", v.ESP.Anchors, []netip.Prefix{prefix("2001:db8:5::1/128"), prefix("2001:db8:6::1/128")})
	if v.Association == nil || v.Replay != ReplayTimestamp {
		t.Errorf("visitor with both %+v", v)
	}
	one := parse(anchor + second + bareVisitor + " option anchor 'b'\n option replay 'timestamp'\n" + options)
	same(t, "anchors", one.Visitors[0].ESP.Anchors, []netip.Prefix{prefix("2001:db8:6::1/128")})
	if v := one.Visitors[0]; v.Replay != ReplayTimestamp || v.Association != nil {
		t.Errorf("%+v", v)
	}
	gcm := parse(local + bareKey + " option anchors '2001:db8:5::1'\n option algorithm 'aes-gcm'\n option window '128'\n" + localESP(2000, gcmKey))
	if p := gcm.AnchorKeys[0].ESP; p.In.Window != 128 || p.Out.Window != 0 || p.In.Algorithm != esp.AESGCM {
		t.Errorf("%+v", p)
	}
	for _, c := range []*Config{there, here, both, one, gcm} {
		var all []esp.AnchorPolicy
		for _, v := range c.Visitors {
			all = append(all, *v.ESP)
		}
		for _, k := range c.AnchorKeys {
			all = append(all, *k.ESP)
		}
		if err := esp.NewPolicies(nil).Replace(nil, all...); err != nil {
			t.Error(err)
		}
	}
	if off := parse(anchor + " option enabled '0'\n" + bareVisitor + options); len(off.Visitors) != 0 {
		t.Errorf("visitors of a disabled anchor: %+v", off.Visitors)
	}
}

// The example of the documentation: what it says of the visitor a mobile can say of its
// key.
func TestAnchorIPsecExample(t *testing.T) {
	there := parseTestdata(t, "anchor_ipsec.conf")
	_, options, ok := strings.Cut(string(testdata(t, "anchor_ipsec.conf")), "config visitor 'bus'\n")
	if !ok {
		t.Fatal("no visitor")
	}
	here, err := Parse("roam6", []byte(local+bareKey+options))
	if err != nil {
		t.Fatal(err)
	}
	v, k := there.Visitors[0].ESP, here.AnchorKeys[0].ESP
	if v == nil || k == nil || v.In != k.Out || v.Out != k.In || there.Visitors[0].Association != nil {
		t.Errorf("%+v and %+v", v, k)
	}
}

// Each case has exactly one thing wrong, and no error has anything of a key. The SPIs
// that a machine receives by are different, whatever section they are in.
func TestAnchorIPsecErrors(t *testing.T) {
	options := localESP(2000, cbcKey)
	without := func(option string) (left string) {
		for line := range strings.Lines(options) {
			if !strings.Contains(line, " "+option+" ") {
				left += line
			}
		}
		return left
	}
	second := strings.Replace(bareVisitor, "'v'", "'w'", 1)
	user, other := unkeyed(node)+" option hierarchy '1'\n", strings.Replace(bareKey, "'k'", "'l'", 1)
	const all = "spi_to_anchor, key_to_anchor, spi_to_mobile and key_to_mobile"
	tests := []struct{ name, in, want string }{
		{"half of them", anchor + bareVisitor + without("spi_to_mobile"), `option 'spi_to_mobile' in section 'v' (roam6:3:1): expected with spi_to_anchor all of ` + all + `; it is missing`},
		{"half of them, of a mobile", local + bareKey + without("key_to_anchor"), `option 'key_to_anchor' in section 'k' (roam6:7:1): expected with spi_to_anchor all of ` + all + `; it is missing`},
		{"algorithm of nothing", anchor + visitor + " option algorithm 'aes-gcm'\n", `option 'algorithm' in section 'v' (roam6:5:19): "aes-gcm": expected the options of IPsec in the section, ` + all + `, without which this means nothing`},
		{"window of nothing", local + keyed + " option window '64'\n", `option 'window' in section 'k' (roam6:9:16): "64": expected the options of IPsec in the section, ` + all + `, without which this means nothing`},
		{"number of no key", anchor + bareVisitor + " option spi '300'\n" + options, `option 'spi' in section 'v' (roam6:4:13): "300": expected a key in the section, whose number this would be; or no SPI, because IPsec has its own`},
		{"reserved SPI", anchor + bareVisitor + strings.Replace(options, "'2000'", "'255'", 1), `option 'spi_to_anchor' in section 'v' (roam6:4:23): "255": expected an integer from 256 to 4294967295`},
		{"key of no algorithm", anchor + bareVisitor + strings.Replace(options, cbcKey(1), cbcKey(1)[2:], 1), `option 'key_to_anchor' in section 'v' (roam6:5:23): "***": expected a key of 96 or 128 hexadecimal digits with aes-cbc-sha256, or 40 or 72 hexadecimal digits with aes-gcm: this has 94 digits`},
		{"key of the other algorithm", local + bareKey + strings.Replace(options, cbcKey(2), gcmKey(2), 1), `option 'key_to_mobile' in section 'k' (roam6:11:23): "***": expected a key of 96 or 128 hexadecimal digits, because of algorithm 'aes-cbc-sha256'`},

		{"one SPI for two visitors", anchor + bareVisitor + options + second + strings.Replace(localESP(3000, cbcKey), "'3000'", "'2000'", 1), `option 'spi_to_anchor' in section 'w' (roam6:9:23): "2000": expected an SPI that spi_to_anchor of section 'v' (roam6:3:1) does not have`},
		{"one SPI for a visitor and a mobile", agent + unkeyed(mobile) + ipsecSection(2000, cbcKey) + anchor + bareVisitor + options, `option 'spi_to_anchor' in section 'v' (roam6:18:23): "2000": expected an SPI that spi_to_agent of section '@ipsec[0]' (roam6:8:1) does not have`},
		{"one SPI for two keys", local + bareKey + options + other + " option anchors '2001:db8:5::1'\n" + strings.Replace(localESP(3000, cbcKey), "'3001'", "'2001'", 1), `option 'spi_to_mobile' in section 'l' (roam6:16:23): "2001": expected an SPI that spi_to_mobile of section 'k' (roam6:7:1) does not have`},
		{"one SPI for an anchor and the home agent", user + ipsecSection(256, cbcKey) + bareKey + strings.Replace(options, "'2001'", "'257'", 1), `option 'spi_to_mobile' in section 'k' (roam6:16:23): "257": expected an SPI that spi_to_mobile of section '@ipsec[0]' (roam6:6:1) does not have`},
		{"one GCM key for two", anchor + bareVisitor + " option algorithm 'aes-gcm'\n" + strings.Replace(localESP(2000, gcmKey), gcmKey(2), gcmKey(1), 1), `option 'key_to_mobile' in section 'v' (roam6:8:23): "***": expected with algorithm 'aes-gcm' a key that is not that of key_to_anchor, too`},
		{"one GCM key for several anchors", local + bareKey + " option anchors '2001:db8:5::/64'\n option algorithm 'aes-gcm'\n" + localESP(2000, gcmKey), `option 'anchors' in section 'k' (roam6:8:17): "2001:db8:5::/64": expected the address of one anchor, because of algorithm 'aes-gcm': several that encrypt with one key make it readable`},
		{"one window for several anchors", local + bareKey + " option window '64'\n" + options, `option 'anchors' in section 'k' (roam6:7:1): expected the address of one anchor, because of window '64': each anchor counts its own packets`},
	}
	checkErrors(t, tests)
	for _, x := range tests {
		if _, err := Parse("roam6", []byte(x.in)); err != nil && strings.Contains(err.Error(), keyMark) {
			t.Errorf("%s: a key is in %v", x.name, err)
		}
	}
}

// A file with keys of IPsec is nobody else's to read.
func TestAnchorIPsecFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "roam6")
	for mode, ok := range map[fs.FileMode]bool{0o600: true, 0o644: false, 0o640: false} {
		if err := os.WriteFile(path, []byte(local+bareKey+localESP(2000, cbcKey)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); (err == nil) != ok {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
}

// What the tests above spoil is right, and some that looks odd.
func TestAnchorIPsecTolerance(t *testing.T) {
	options := localESP(2000, cbcKey)
	second := strings.Replace(bareVisitor, "'v'", "'w'", 1)
	for name, in := range map[string]string{
		"both authentications":      local + keyed + options,
		"timestamps under IPsec":    anchor + bareVisitor + " option replay 'timestamp'\n" + options,
		"IPsec beside a key":        anchor + visitor + second + options,
		"one SPI in both ways":      local + bareKey + strings.Replace(options, "'2001'", "'2000'", 1),
		"the SPIs of two anchors":   local + bareKey + " option anchors '2001:db8:5::1'\n" + options + strings.Replace(bareKey, "'k'", "'l'", 1) + " option anchors '2001:db8:6::1'\n" + strings.Replace(options, "'2001'", "'2002'", 1),
		"one SPI of a visitor's":    anchor + bareVisitor + options + second + strings.Replace(localESP(3000, cbcKey), "'3001'", "'2001'", 1),
		"a visitor and a mobile":    anchor + bareVisitor + options + local + bareKey + strings.Replace(options, "'2001'", "'2002'", 1),
		"a visitor of no anchor":    anchor + " option enabled '0'\n" + bareVisitor + options,
		"a visitor that is not on":  anchor + bareVisitor + " option enabled '0'\n" + options + second + options,
		"AES-GCM with one anchor":   local + bareKey + " option anchors '2001:db8:5::1'\n option algorithm 'aes-gcm'\n" + localESP(2000, gcmKey),
		"AES-GCM of a visitor":      anchor + bareVisitor + " option algorithm 'aes-gcm'\n" + localESP(2000, gcmKey),
		"IPsec and anchors without": local + " option insecure_anchors '1'\n" + bareKey + " option anchors '2001:db8:5::1'\n" + options,
	} {
		if _, err := Parse("roam6", []byte(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
