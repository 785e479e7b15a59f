package esp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"

	"roam6/internal/role"
)

// unhex reads octets written in hexadecimal, with spaces as one likes.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// given is a source of randomness that gives what is wanted.
func given(octets []byte) func([]byte) {
	return func(b []byte) { copy(b, octets) }
}

// counting is a source of randomness that does not repeat soon.
func counting() func([]byte) {
	var n byte
	return func(b []byte) {
		for i := range b {
			n += 101
			b[i] = n
		}
	}
}

// macKey is the HMAC key of the vectors with AES-CBC.
const macKey = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"

// vectors are packets that others made: with AES-CBC those of RFC 3602 §4, whose
// integrity check values, which are not there, are of openssl and Python's hmac;
// with AES-GCM those of draft-mcgrew-gcm-test-01 that have sequence numbers of 32
// bits.
func vectors(t testing.TB) []vector {
	return []vector{
		{
			name: "RFC 3602 §4 case 5, transport mode", algorithm: AESCBCSHA256, spi: 0x4321, sequence: 1, next: 1,
			key: unhex(t, "90d382b4 10eeba7a d938c46c ec1a82bf"+macKey),
			iv:  unhex(t, "e96e8c08 ab465763 fd098d45 dd3ff893"),
			payload: unhex(t, `08000ebd a70a0000 8e9c083d b95b0700 08090a0b 0c0d0e0f 10111213 14151617
				18191a1b 1c1d1e1f 20212223 24252627 28292a2b 2c2d2e2f 30313233 34353637`),
			sealed: unhex(t, `f663c25d 325c18c6 a9453e19 4e120849 a4870b66 cc6b9965 330013b4 898dc856
				a4699e52 3a55db08 0b59ec3a 8e4b7e52 775b07d1 db34ed9c 538ab50c 551b874a a269add0 47ad2d59 13ac19b7 cfbad4a6
				69d9cd39200e45eaceabeb3137577aa1`),
		}, {
			name: "RFC 3602 §4 case 6, transport mode", algorithm: AESCBCSHA256, spi: 0x4321, sequence: 8, next: 1,
			key:     unhex(t, "90d382b4 10eeba7a d938c46c ec1a82bf"+macKey),
			iv:      unhex(t, "69d08df7 d203329d b093fc49 24e5bd80"),
			payload: unhex(t, `0800b5e8 a80a0500 a69c083d 0b660e00 77777777 77777777 77777777`),
			sealed: unhex(t, `f5199588 1ec4e0c4 488987ce 742e8109 689bb379 d2d750c0 d915dca3 46a89f75
				b746a1717fb833feace3e889c6c82373`),
		}, {
			name: "RFC 3602 §4 case 7, tunnel mode", algorithm: AESCBCSHA256, spi: 0x8765, sequence: 2, next: 4,
			key: unhex(t, "01234567 89abcdef 01234567 89abcdef"+macKey),
			iv:  unhex(t, "f4e76524 4f6407ad f13dc138 0f673f37"),
			payload: unhex(t, `45000054 09040000 4001f988 c0a87b03 c0a87bc8 08009f76 a90a0100 b49c083d
				02a20400 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f 20212223 24252627 28292a2b 2c2d2e2f 30313233 34353637`),
			sealed: unhex(t, `773b5241 a4c44922 5e4f3ce5 ed611b0c 237ca96c f74a9301 3c1b0ea1 a0cf70f8
				e4ecaec7 8ac53aad 7a0f022b 859243c6 47752e94 a859352b 8a4d4d2d ecd136e5 c177f132 ad3fbfb2 201ac990 4c74ee0a
				109e0ca1 e4dfe9d5 a100b842 f1c22f0d 2a741ae179b6f8d9365156b636cebbc5`),
		}, {
			name: "RFC 3602 §4 case 8, tunnel mode", algorithm: AESCBCSHA256, spi: 0x8765, sequence: 5, next: 4,
			key: unhex(t, "01234567 89abcdef 01234567 89abcdef"+macKey),
			iv:  unhex(t, "85d47224 b5f3dd5d 2101d4ea 8dffab22"),
			payload: unhex(t, `45000044 090c0000 4001f990 c0a87b03 c0a87bc8 0800d63c aa0a0200 c69c083d
				a3de0300 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff`),
			sealed: unhex(t, `15b92683 819596a8 047232cc 00f7048f e45318e1 1f8a0f62 ede3c3fc 61203bb5
				0f980a08 c9843fd3 a1b06d5c 07ff9639 b7eb7dfb 3512e5de 435e7207 ed971ef3 d2726d9b 5ef6affc 6d17a0de cbb13892
				1eac65cee92db2792005ba97c661eb39`),
		}, {
			name: "AES-256-CBC, by openssl", algorithm: AESCBCSHA256, spi: 0x1000, sequence: 7, next: 135,
			key:     unhex(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"+macKey),
			iv:      unhex(t, "808182838485868788898a8b8c8d8e8f"),
			payload: unhex(t, "3b0105001111111111111111111111111111111111111111"),
			sealed: unhex(t, `4a07c9fe47c7bfe135d5614792315244ddf62c2480b8c9a79bf3b9c1979c2764
				14402459c8949dfa052d8a47ca05de4c`),
		}, {
			name: "GCM case 2", algorithm: AESGCM, spi: 0xa5f8, sequence: 10, next: 1,
			key: unhex(t, "feffe9928665731c6d6a8f9467308308 cafebabe"),
			iv:  unhex(t, "facedbaddecaf888"),
			payload: unhex(t, `4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d00100
				0001000000000000037369700963796265726369747902646b0000010001`),
			sealed: unhex(t, `deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c
				3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd1 83b70d3aa8bc6ee4c309e9d85a41ad4a`),
		}, {
			name: "GCM case 3, 256 bits", algorithm: AESGCM, spi: 0x4a2cbfe3, sequence: 2, next: 1,
			key: unhex(t, "abbccddef00112233445566778899aababbccddef00112233445566778899aab 11223344"),
			iv:  unhex(t, "0102030405060708"),
			payload: unhex(t, `4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000
				7002400020bf0000020405b401010402`),
			sealed: unhex(t, `ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763
				748a637985771d347f0545659f14e99def842d8e b335f4eecfdbf831824b4c4915956c96`),
		}, {
			name: "GCM case 12, no payload and the last sequence number", algorithm: AESGCM, spi: 0x335467ae, sequence: math.MaxUint32, next: 1,
			key:    unhex(t, "7d773d00c144c525ac619d18c84a3f47 d9664267"),
			iv:     unhex(t, "43457e9182443bc6"),
			sealed: unhex(t, `437f866b cb3f699fe9b0822bac961c4504bef270`),
		},
	}
}

type vector struct {
	name             string
	algorithm        Algorithm
	spi, sequence    uint32
	next             uint8
	key, iv, payload []byte
	sealed           []byte // ciphertext and integrity check value
}

func (v vector) association() Association {
	return Association{SPI: v.spi, Algorithm: v.algorithm, Key: Key(v.key)}
}

func (v vector) packet() []byte {
	h := []byte{byte(v.spi >> 24), byte(v.spi >> 16), byte(v.spi >> 8), byte(v.spi),
		byte(v.sequence >> 24), byte(v.sequence >> 16), byte(v.sequence >> 8), byte(v.sequence)}
	return slices.Concat(h, v.iv, v.sealed)
}

// RFC 3602, RFC 4106, RFC 4868: what we seal is, octet by octet, what others do,
// and we open it.
func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		out, err := NewOutbound(v.association(), given(v.iv))
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		out.sequence = v.sequence - 1
		before := []byte("before")
		got, err := out.Seal(before, v.next, v.payload)
		if want := append([]byte("before"), v.packet()...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: sealed\n%x, want\n%x (%v)", v.name, got, want, err)
		}
		in, err := NewInbound(v.association())
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		plain, next, err := in.Open([]byte("before"), v.packet())
		if want := append([]byte("before"), v.payload...); err != nil || next != v.next || !bytes.Equal(plain, want) {
			t.Errorf("%s: opened %x, next %d (%v)", v.name, plain, next, err)
		}
	}
}

// RFC 4303 §3.4.4: any bit that another has changed, or that is missing, and the
// packet is nothing.
func TestForged(t *testing.T) {
	for _, v := range vectors(t)[:6] {
		in, err := NewInbound(v.association())
		if err != nil {
			t.Fatal(err)
		}
		packet := v.packet()
		for i := range len(packet) * 8 {
			forged := slices.Clone(packet)
			forged[i/8] ^= 1 << (i % 8)
			want := ErrIntegrity
			if i/8 < 4 {
				want = ErrUnknownSPI
			}
			if out, _, err := in.Open([]byte("b"), forged); !errors.Is(err, want) || string(out) != "b" {
				t.Fatalf("%s: bit %d: %v, %q", v.name, i, err, out)
			}
		}
		for n := range packet {
			if out, _, err := in.Open(nil, packet[:n]); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrIntegrity) || len(out) != 0 {
				t.Fatalf("%s: %d octets: %v", v.name, n, err)
			}
		}
		if _, _, err := in.Open(nil, packet); err != nil {
			t.Errorf("%s: afterwards: %v", v.name, err)
		}
	}
}

// algorithms are an association of each.
func algorithms() map[string]Association {
	all := map[string]Association{}
	for _, a := range []Algorithm{AESCBCSHA256, AESGCM} {
		for i, n := range a.KeyLengths() {
			all[fmt.Sprintf("%v %d", a, 128<<i)] = Association{SPI: 256, Algorithm: a, Key: Key(strings.Repeat("k", n))}
		}
	}
	return all
}

// RFC 4303 §2.4: every length of payload has the least padding that fits, and
// comes out again.
func TestEveryLength(t *testing.T) {
	for name, a := range algorithms() {
		out, in := pair(t, a)
		for n := range 70 {
			payload := bytes.Repeat([]byte{0xab}, n)
			packet, err := out.Seal(nil, 135, payload)
			if err != nil {
				t.Fatal(err)
			}
			if over := (len(packet) - headerLen - icvLen - out.suite.ivLen()) % out.suite.align(); over != 0 || len(packet)%4 != 0 {
				t.Errorf("%s: %d octets make %d", name, n, len(packet))
			}
			got, next, err := in.Open(nil, packet)
			if err != nil || next != 135 || !bytes.Equal(got, payload) {
				t.Errorf("%s: %d octets come out as %x, next %d (%v)", name, n, got, next, err)
			}
		}
	}
}

func pair(t testing.TB, a Association) (*Outbound, *Inbound) {
	t.Helper()
	in, err := NewInbound(a)
	if err != nil {
		t.Fatal(err)
	}
	a.Window = 0
	out, err := NewOutbound(a, counting())
	if err != nil {
		t.Fatal(err)
	}
	return out, in
}

// RFC 4303 §2.4 to §2.6: the padding is looked at, and dummy packets are dropped
// whatever is in them; both only of packets that verify.
func TestPaddingAndDummies(t *testing.T) {
	for name, a := range algorithms() {
		out, in := pair(t, a)
		seal := func(plain ...byte) []byte {
			text := headerLen + out.suite.ivLen()
			b := append(make([]byte, text, text+len(plain)+icvLen), plain...)
			b[2] = 1 // SPI 256
			return out.suite.seal(b, text)
		}
		block := func(last ...byte) []byte {
			return append(bytes.Repeat([]byte{1}, 16-len(last)), last...)
		}
		for _, test := range []struct {
			name  string
			plain []byte
			want  error
		}{
			{"right", block(1, 2, 3, 3, 135), nil},
			{"none", block(9, 9, 9, 0, 135), nil},
			{"wrong values", block(1, 2, 4, 3, 135), ErrPadding},
			{"zeros", block(0, 0, 0, 3, 135), ErrPadding},
			{"all of it", append([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}, 14, 135), nil},
			{"longer than the packet", block(15, 135), ErrPadding},
			{"longest", block(255, 135), ErrPadding},
			{"dummy", block(0, 59), ErrDummy},
			{"dummy of anything", block(77, 255, 59), ErrDummy},
		} {
			if got, _, err := in.Open(nil, seal(test.plain...)); !errors.Is(err, test.want) || err != nil && len(got) != 0 {
				t.Errorf("%s: %s: %v", name, test.name, err)
			}
		}
	}
}

// RFC 4303 §3.3.3: the sequence number counts from 1, and never comes back.
func TestSequence(t *testing.T) {
	out, _ := pair(t, algorithms()["aes-cbc-sha256 128"])
	for want := uint32(1); want < 4; want++ {
		packet, err := out.Seal(nil, 135, nil)
		if err != nil || sequenceOf(packet) != want || spiOf(packet) != 256 {
			t.Errorf("packet %d: %x (%v)", want, packet[:8], err)
		}
	}
	out.sequence = math.MaxUint32 - 1
	if packet, err := out.Seal(nil, 135, nil); err != nil || sequenceOf(packet) != math.MaxUint32 {
		t.Errorf("the last one: %v", err)
	}
	for range 2 {
		if b, err := out.Seal([]byte("b"), 135, nil); !errors.Is(err, ErrExhausted) || string(b) != "b" {
			t.Errorf("one more: %v, %q", err, b)
		}
	}
}

// RFC 4106 §3.1, RFC 3602 §3: no initialization vector comes twice; those of GCM
// count from a random one, those of CBC are random.
func TestInitializationVectors(t *testing.T) {
	out, err := NewOutbound(algorithms()["aes-gcm 128"], given(bytes.Repeat([]byte{0xff}, 8)))
	if err != nil {
		t.Fatal(err)
	}
	var ivs []string
	for range 3 {
		packet, err := out.Seal(nil, 135, nil)
		if err != nil {
			t.Fatal(err)
		}
		ivs = append(ivs, hex.EncodeToString(packet[8:16]))
	}
	if want := []string{"ffffffffffffffff", "0000000000000000", "0000000000000001"}; !slices.Equal(ivs, want) {
		t.Errorf("GCM: %v, want %v", ivs, want)
	}
	asked := 0
	out, err = NewOutbound(algorithms()["aes-cbc-sha256 128"], func(b []byte) { asked += len(b) })
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := out.Seal(nil, 135, nil); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 3*16 {
		t.Errorf("CBC took %d random octets", asked)
	}
}

// Without a window, which is the default with keys that never change (RFC 4303
// §3.3.3, §5), a router that rebooted is heard at once.
func TestRebootedPeer(t *testing.T) {
	a := algorithms()["aes-cbc-sha256 128"]
	out, in := pair(t, a)
	for range 100 {
		if _, _, err := in.Open(nil, first(t, out)); err != nil {
			t.Fatal(err)
		}
	}
	again, _ := pair(t, a)
	if _, _, err := in.Open(nil, first(t, again)); err != nil {
		t.Errorf("after the reboot: %v", err)
	}
}

func first(t testing.TB, out *Outbound) []byte {
	t.Helper()
	packet, err := out.Seal(nil, 135, []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

// RFC 4303 §3.4.3: with a window each packet is taken once, however late within it;
// one that does not verify moves nothing.
func TestWindow(t *testing.T) {
	a := algorithms()["aes-gcm 128"]
	a.Window = 64
	out, in := pair(t, a)
	packets := map[uint32][]byte{}
	seal := func(n uint32) []byte {
		if packets[n] == nil {
			out.sequence = n - 1
			packets[n] = first(t, out)
		}
		return packets[n]
	}
	for _, step := range []struct {
		n    uint32
		want error
	}{
		{1, nil}, {1, ErrReplay}, {3, nil}, {2, nil}, {2, ErrReplay}, {3, ErrReplay},
		{66, nil}, {3, ErrReplay}, {2, ErrReplay}, {4, nil}, {4, ErrReplay},
		{65, nil}, {63, nil}, {64, nil}, {64, ErrReplay}, {66, ErrReplay},
		{1000, nil}, {936, ErrReplay}, {937, nil}, {937, ErrReplay}, {999, nil}, {1000, ErrReplay},
		{math.MaxUint32, nil}, {math.MaxUint32 - 63, nil}, {math.MaxUint32 - 64, ErrReplay}, {math.MaxUint32, ErrReplay}, {5, ErrReplay},
	} {
		forged := slices.Clone(seal(step.n))
		forged[len(forged)-1] ^= 1
		want := ErrIntegrity
		if step.want != nil {
			want = step.want
		}
		if _, _, err := in.Open(nil, forged); !errors.Is(err, want) {
			t.Errorf("forged %d: %v", step.n, err)
		}
		if _, _, err := in.Open(nil, seal(step.n)); !errors.Is(err, step.want) {
			t.Errorf("%d: %v, want %v", step.n, err, step.want)
		}
	}
	w := newWindow(64)
	if w.fresh(0) {
		t.Error("0 is never sent")
	}
}

// The window against a slow model of it, over numbers that wander.
func TestWindowModel(t *testing.T) {
	const width = 128
	w, seen, highest := newWindow(width), map[uint32]bool{}, uint32(0)
	x := uint32(1)
	for range 20000 {
		x = x*1664525 + 1013904223
		n := highest + x>>16%300
		n = max(n, 200) - 199
		if x>>30 == 0 && x&0xff == 0 {
			n += 5000
		}
		fresh := !seen[n] && (n > highest || highest-n < width)
		if got := w.fresh(n); got != fresh {
			t.Fatalf("%d at %d: fresh %v, want %v", n, highest, got, fresh)
		}
		if fresh {
			w.note(n)
			seen[n], highest = true, max(highest, n)
		}
	}
}

func TestCheck(t *testing.T) {
	good := Association{SPI: 256, Algorithm: AESGCM, Key: Key(strings.Repeat("k", 20))}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Association){
		"reserved SPI":       func(a *Association) { a.SPI = 255 },
		"no algorithm":       func(a *Association) { a.Algorithm = 0 },
		"unknown algorithm":  func(a *Association) { a.Algorithm = 9 },
		"no salt":            func(a *Association) { a.Key = a.Key[:16] },
		"no key":             func(a *Association) { a.Key = "" },
		"192 bits":           func(a *Association) { a.Key += "kkkkkkkk" },
		"key of another":     func(a *Association) { a.Algorithm = AESCBCSHA256 },
		"window too wide":    func(a *Association) { a.Window = 2048 },
		"window in part":     func(a *Association) { a.Window = 65 },
		"window of less yet": func(a *Association) { a.Window = -64 },
	} {
		a := good
		change(&a)
		err := a.Check()
		if !errors.Is(err, ErrInvalid) || strings.Contains(fmt.Sprint(err), "kkkk") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := NewOutbound(a, counting()); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: outbound: %v", name, err)
		}
		if _, err := NewInbound(a); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: inbound: %v", name, err)
		}
	}
}

// Keys are in no log and in no document.
func TestKeyIsNotPrinted(t *testing.T) {
	a := Association{SPI: 256, Algorithm: AESGCM, Key: "secret"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", a.Key, "association", a)
	document, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	for _, printed := range []string{
		fmt.Sprint(a.Key), fmt.Sprintf("%v %+v %#v %s %q %x %X %d", a.Key, a.Key, a.Key, a.Key, a.Key, a.Key, a.Key, a.Key),
		fmt.Sprintf("%v %+v %#v %x", a, a, a, a), fmt.Sprintf("%v %x", &a, []Association{a}),
		fmt.Sprintf("%+v", Policy{Out: a, TunnelOut: &a}), log.String(), string(document), a.Key.String(), fmt.Errorf("%w: %v", ErrInvalid, a).Error(),
	} {
		if strings.Contains(printed, "secret") || strings.Contains(printed, hex.EncodeToString([]byte("secret"))) ||
			strings.Contains(printed, fmt.Sprintf("%X", []byte("secret"))) {
			t.Errorf("printed: %s", printed)
		}
	}
}

func TestDropReason(t *testing.T) {
	for err, want := range map[error]role.DropReason{
		ErrUnprotected: role.DropUnauthenticated, ErrUnknownSPI: role.DropUnknownSPI, ErrIntegrity: role.DropBadAuthenticator,
		ErrReplay: role.DropReplay, ErrSelector: role.DropProhibited, ErrPadding: role.DropUndecipherable, ErrMalformed: role.DropMalformed,
		ErrDummy: 0, ErrForeign: 0, nil: 0,
	} {
		if got := DropReason(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

// Keys of AES-CBC that differ in their first part verify, and decrypt to nonsense: nothing
// comes of it, and nearly all of it is said to be undecipherable. Where the other part
// differs, or the algorithm authenticates with the same key, it does not verify.
func TestWrongKey(t *testing.T) {
	for _, test := range []struct {
		algorithm Algorithm
		at        int // octet of the key
		want      role.DropReason
	}{
		{AESCBCSHA256, 0, role.DropUndecipherable}, {AESCBCSHA256, 15, role.DropUndecipherable},
		{AESCBCSHA256, 16, role.DropBadAuthenticator}, {AESGCM, 0, role.DropBadAuthenticator}, {AESGCM, 19, role.DropBadAuthenticator},
	} {
		ofMobile, ofAgent := policies(home, test.algorithm, 128, 1000)
		other := []byte(ofAgent.In.Key)
		other[test.at] ^= 1
		ofAgent.In.Key = Key(other)
		mobileSide, agentSide := database(t, ofMobile), database(t, ofAgent)
		reasons := map[role.DropReason]int{}
		const packets = 1000
		for range packets {
			sealed, _, err := mobileSide.Protect(nil, whole(t, update()))
			if err != nil {
				t.Fatal(err)
			}
			r, err := agentSide.Unprotect(sealed)
			if err == nil {
				t.Fatalf("%v, octet %d: opened as %x", test.algorithm, test.at, r.Packet)
			}
			reasons[DropReason(err)]++
		}
		if n := reasons[test.want]; n < packets*95/100 {
			t.Errorf("%v, octet %d: %v", test.algorithm, test.at, reasons)
		}
	}
}

// Whatever comes, nothing breaks, and only what was sealed opens.
func FuzzOpen(f *testing.F) {
	for _, v := range vectors(f)[:7] {
		f.Add(v.packet())
	}
	f.Add([]byte{0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		known := vectors(t)[:7]
		for _, v := range known {
			in, err := NewInbound(v.association())
			if err != nil {
				t.Fatal(err)
			}
			given := slices.Clone(b)
			out, _, err := in.Open(nil, b)
			if !bytes.Equal(b, given) {
				t.Error("the packet was changed")
			}
			if err == nil && !slices.ContainsFunc(known, func(v vector) bool { return bytes.Equal(v.packet(), b) }) {
				t.Errorf("opened %x as %x", b, out)
			}
		}
	})
}
