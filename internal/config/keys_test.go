package config

import (
	"strings"
	"testing"

	"roam6/mip6"
)

// A mobile and its home agent are acquainted by a key, one line on each side and
// the same on both: what the one seals the other verifies. Nobody is acquainted by
// none, and a key of a wrong length or a number that cannot go with it is told at
// once, and where. RFC 4285 §5.1: 16 octets, and an SPI that is not reserved.
//
// Covers: B8.
func TestOneKey(t *testing.T) {
	const (
		line   = " option key '3b1f0c5a9d2e4f687a8b9cadbecfd0e1'\n"
		number = " option spi '1000'\n"
		mobile = "config mobile_node 'phone'\n option home_address '2001:db8:1::2/64'\n option home_agent '2001:db8:1::1'\n list uplink 'wan'\n"
		agent  = "config home_agent 'ha'\n option interface 'lan'\n option address '2001:db8:1::1'\n option prefix '2001:db8:1::/64'\n" +
			"config mobile 'phone'\n option home_address '2001:db8:1::2'\n"
	)
	here, err := Parse("mobile", []byte(mobile+line))
	if err != nil {
		t.Fatal(err)
	}
	there, err := Parse("agent", []byte(agent+line))
	if err != nil {
		t.Fatal(err)
	}
	home, careOf := addr("2001:db8:1::2"), addr("2001:db8:a::2")
	m, err := here.MobileNodes[0].Association.Seal(mip6.BindingUpdate{Sequence: 1, Lifetime: 10, Flags: mip6.UpdateHome}, careOf, home)
	if err != nil {
		t.Fatal(err)
	}
	b, err := mip6.AppendMessage(nil, home, addr("2001:db8:1::1"), m)
	if err != nil {
		t.Fatal(err)
	}
	if err := there.Mobiles[0].Association.Verify(b, careOf, home); err != nil {
		t.Errorf("the two do not know each other: %v", err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"mobile without a key":        {mobile, "key"},
		"home agent without a key":    {agent, "key"},
		"a key of fifteen octets":     {mobile + number + strings.Replace(line, "e1'", "'", 1), ":6:13)"},
		"a key that is no key":        {agent + number + strings.Replace(line, "3b", "zz", 1), ":8:13)"},
		"a number that is reserved":   {mobile + line + " option spi '255'\n", ":6:13)"},
		"a key and also none at all":  {mobile + line + number + " option insecure '1'\n", "insecure"},
		"a number, but no key for it": {mobile + number, "key"},
	} {
		if _, err := Parse("roam6", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "1f0c5a9d") {
			t.Errorf("%s: the key is in the error: %v", name, err)
		}
	}
}
