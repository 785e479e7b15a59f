package main

import (
	"encoding/hex"
	"testing"

	"roam6/nd"
)

// Options of router advertisements beside Mobile IPv6's are named; unknown and
// malformed ones are left as they are.
func TestExplainOption(t *testing.T) {
	for _, tt := range []struct {
		kind       uint8
		data       string
		name, text string
	}{
		{25, "0000" + "00000708" + "20010db8000000000000000000000053", "DNS servers", "2001:db8::53, lifetime 30m0s"},
		{24, "4008" + "ffffffff" + "20010db8000a0000", "route", "2001:db8:a::/64, high preference, lifetime infinite"},
		{31, "0000" + "00000708" + "076578616d706c6500" + "00000000000000", "DNS search list", "example, lifetime 30m0s"},
		{25, "0000" + "00000708", "", ""},
		{253, "000000000000", "", ""},
	} {
		data, err := hex.DecodeString(tt.data)
		if err != nil {
			t.Fatal(err)
		}
		if name, text := explainOption(nd.RawOption{Type: tt.kind, Data: data}); name != tt.name || text != tt.text {
			t.Errorf("type %d: %q %q, want %q %q", tt.kind, name, text, tt.name, tt.text)
		}
	}
}
