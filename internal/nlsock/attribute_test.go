package nlsock

import (
	"bytes"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAttributes(t *testing.T) {
	b := AppendUint32(nil, 7, 0x01020304)
	b = AppendAttribute(b, 1, []byte("roam6"))
	b = AppendAttribute(b, 1, []byte("again"))
	b = AppendAttribute(b, 3|unix.NLA_F_NESTED, AppendAttribute(nil, 1, nil))
	b = AppendAttribute(b, 4|unix.NLA_F_NET_BYTEORDER, []byte{0, 9})
	if len(b)%4 != 0 {
		t.Errorf("%d octets", len(b))
	}
	var kinds []uint16
	for kind, v := range Attributes(b) {
		kinds = append(kinds, kind)
		_ = append(v, 0xff) // must not reach the next one
	}
	if want := []uint16{7, 1, 1, 3, 4}; !slices.Equal(kinds, want) {
		t.Errorf("kinds %v, want %v", kinds, want)
	}
	if v, ok := Uint32(Attribute(b, 7)); !ok || v != 0x01020304 {
		t.Errorf("number %#x, %v", v, ok)
	}
	if got := Attribute(b, 1); string(got) != "roam6" {
		t.Errorf("the first of two: %q", got)
	}
	if got := Attribute(b, 3); !bytes.Equal(got, AppendAttribute(nil, 1, nil)) {
		t.Errorf("nested: % x", got)
	}
	if got := Attribute(b, 4); !bytes.Equal(got, []byte{0, 9}) {
		t.Errorf("in network order: % x", got)
	}
	if got := Attribute(b, 5); got != nil {
		t.Errorf("absent: % x", got)
	}
	if _, ok := Uint32([]byte{1, 2, 3}); ok {
		t.Error("a number of three octets")
	}
}

// What does not fit ends the list, and what was before counts.
func TestAttributesThatDoNotFit(t *testing.T) {
	first := AppendAttribute(nil, 9, []byte{1, 2, 3, 4})
	length := func(n byte) []byte { return []byte{n, n, 0, 0, 0, 0, 0, 0} } // both byte orders
	for name, rest := range map[string][]byte{
		"nothing":           nil,
		"half a header":     {4, 4, 1},
		"length zero":       length(0),
		"within its header": AppendAttribute(nil, 2, nil)[:3],
		"longer than there": length(200),
	} {
		var kinds []uint16
		for kind := range Attributes(slices.Concat(first, rest)) {
			kinds = append(kinds, kind)
		}
		if !slices.Equal(kinds, []uint16{9}) {
			t.Errorf("%s: kinds %v", name, kinds)
		}
	}
	// The last one need not be filled up.
	if got := Attribute(AppendAttribute(nil, 1, []byte{5})[:5], 1); !bytes.Equal(got, []byte{5}) {
		t.Errorf("not filled up: % x", got)
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add(AppendUint32(AppendAttribute(nil, 1, []byte("roam6")), 7, 1))
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{5, 0, 1, 0, 'x'})
	f.Add([]byte{0, 5, 0, 1, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		octets, again := 0, []byte(nil)
		for kind, v := range Attributes(b) {
			octets += attributeHeader + len(v)
			again = AppendAttribute(again, kind, v)
			if kind&^attributeKind != 0 {
				t.Errorf("kind %#x with flags", kind)
			}
			if first := Attribute(b, kind); first == nil {
				t.Errorf("kind %d is not found", kind)
			}
		}
		if octets > len(b) {
			t.Errorf("%d octets of %d", octets, len(b))
		}
		// What was read, written, reads the same.
		rest := again
		for kind, v := range Attributes(b) {
			n := (attributeHeader + len(v) + 3) &^ 3
			if got := Attribute(rest[:n], kind); !bytes.Equal(got, v) {
				t.Fatalf("kind %d: % x became % x", kind, v, got)
			}
			rest = rest[n:]
		}
	})
}
