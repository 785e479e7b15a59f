package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"roam6/dhcpv6"
	"roam6/internal/config"
	"roam6/internal/role"
)

// roleErrors is what the roles would say of a configuration that is accepted.
func roleErrors(s *Shell) error {
	var errs []error
	duid := dhcpv6.NewDUID(randomOctets)
	for _, m := range s.config.MobileNodes {
		around := surroundings{uplinks: s.config.Uplinks, keys: s.config.AnchorKeysOf(m.Name), duid: duid}
		if m.Router {
			errs = append(errs, routerConfig(m, around, 1).Validate())
		} else {
			errs = append(errs, mobileConfig(m, around, 1).Validate())
		}
	}
	for _, h := range s.config.HomeAgents {
		errs = append(errs, agentConfig(h, s.config.Mobiles, s.deprecatedSince(testNow, h.Name)).Validate())
		if h.Delegation != nil {
			errs = append(errs, delegatingConfig(h, s.config.Mobiles, duid, s.formedHomes(h.Name)).Validate())
		}
	}
	for _, a := range s.config.Anchors {
		errs = append(errs, anchorConfig(a, s.config.Visitors, s.takenIn(a), s.barred).Validate())
	}
	for i, r := range s.config.PrefixRequests {
		errs = append(errs, s.clientConfig(role.Link{Index: i + 1, Name: r.Uplink}).Validate())
	}
	return errors.Join(errs...)
}

// A configuration that is accepted is one that the roles take: they expect a valid
// one and do not look twice. So whatever the roles refuse has to be refused before.
func TestAcceptedConfigurations(t *testing.T) {
	texts := map[string]string{"train": trainFile, "renumbered": renumberedFile, "two": twoMobiles}
	files, err := filepath.Glob("../config/testdata/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts[f] = string(b)
	}
	const agent = `
config home_agent 'ha'
	option interface 'home0'
	option address '2001:db8:10::1'
	list prefix '2001:db8:10::/64'
%s
config mobile 'one'
	option home_address '2001:db8:10::100'
	option key '000102030405060708090a0b0c0d0e0f'
	option router '1'
%s
config mobile 'two'
	option home_address '2001:db8:10::200'
	option key '000102030405060708090a0b0c0d0e0f'
	option router '1'
%s
`
	pools := []string{
		"2001:db8:f000::/40", "2001:db8:10::/56", "2001:db8:10::/64", "2001:db8::/32", "::/8", "::/48", "::/1", "2000::/3", "4000::/2", "8000::/1",
		"fe80::/10", "fe80::/48", "fe00::/8", "fec0::/10", "fc00::/7", "ff00::/8", "ff00::/48", "::ffff:0:0/96", "64:ff9b::/48", "2001:db8:f000::/64", "2001:db8:f000::1/56",
	}
	for _, pool := range pools {
		for _, length := range []string{"", "48", "56", "64"} {
			more := fmt.Sprintf("\tlist delegation_pool '%s'\n", pool)
			if length != "" {
				more += fmt.Sprintf("\toption delegation_length '%s'\n", length)
			}
			texts["pool "+pool+" "+length] = fmt.Sprintf(agent, more, "", "")
		}
		for _, other := range pools {
			texts["pools "+pool+" "+other] = fmt.Sprintf(agent, fmt.Sprintf("\tlist delegation_pool '%s'\n\tlist delegation_pool '%s'\n\toption delegation_length '64'\n", pool, other), "", "")
		}
	}
	for _, server := range []string{"2001:db8:77::1", "2001:db8:10::1", "2001:db8:10::100", "::1", "::", "ff02::1:2", "fe80::1", "::ffff:192.0.2.1"} {
		texts["server "+server] = fmt.Sprintf(agent, fmt.Sprintf("\toption delegation_server '%s'\n", server), "", "")
	}
	for _, times := range [][2]string{{"8", "8"}, {"9", "8"}, {"8", "31536000"}, {"7", "8"}, {"31536000", "31536000"}} {
		texts["lifetimes "+times[0]+" "+times[1]] = fmt.Sprintf(agent, fmt.Sprintf(
			"\tlist delegation_pool '2001:db8:f000::/40'\n\toption delegation_preferred '%s'\n\toption delegation_lifetime '%s'\n", times[0], times[1]), "", "")
	}
	pool := "\tlist delegation_pool '2001:db8:f000::/40'\n"
	for _, duid := range []string{"", "00", "0004", "000401", "00040a0b0c0d", fmt.Sprintf("0004%0254d", 1), fmt.Sprintf("0004%0256d", 1), fmt.Sprintf("0004%0258d", 1)} {
		option := fmt.Sprintf("\toption duid '%s'\n", duid)
		texts["duid "+duid] = fmt.Sprintf(agent, pool, option, "")
		texts["duids "+duid] = fmt.Sprintf(agent, pool, option, option)
		texts["duid of one without "+duid] = fmt.Sprintf(agent, pool, option+"\toption delegate '0'\n", "")
	}
	for _, prefix := range []string{"2001:db8:100::/64", "2001:db8:f000::/60", "2001:db8:f0ff:ff00::/56"} {
		texts["prefix "+prefix] = fmt.Sprintf(agent, pool, fmt.Sprintf("\tlist prefix '%s'\n", prefix), "")
	}
	for _, length := range []string{"47", "48", "63", "64", "65"} {
		for _, downstreams := range []string{"", "\tlist downstream 'a'\n", "\tlist downstream 'a'\n\tlist downstream 'b'\n"} {
			texts["request "+length+downstreams] = fmt.Sprintf("config prefix_request 'r'\n\toption uplink 'up0'\n\toption length '%s'\n%s", length, downstreams)
			texts["router "+length+downstreams] = fmt.Sprintf(`
config mobile_router 'train'
	option home_address '2001:db8:10::100/64'
	option home_agent '2001:db8:10::1'
	option key '000102030405060708090a0b0c0d0e0f'
	list uplink 'up0'
	option prefix_delegation '1'
	option delegation_length '%s'
%s`, length, downstreams)
		}
	}
	for _, address := range []string{"2001:db8:5::1", "2001:db8:5::", "2001:db8:5:0:fdff:ffff:ffff:fffe", "2001:db8:5:0:fdff:ffff:ffff:ff80", "fe80::1", "::1", "ff02::1", "::ffff:192.0.2.1", "fd00::1"} {
		for _, more := range []string{"", "\toption max_bindings '1'\n", "\toption insecure '1'\n", "\tlist served_prefix '::/0'\n", "\toption replay_window_ms '3000'\n", "\toption max_lifetime '262140'\n", "\toption interface 'eth0'\n"} {
			texts["anchor "+address+more] = fmt.Sprintf("config anchor 'city'\n\toption address '%s'\n%s\nconfig visitor 'bus'\n\toption spi '256'\n\toption key '5d0f6a2b9c1e4d7f80a3b6c9d2e5f801'\n", address, more)
		}
	}
	for _, anchors := range []string{"::/0", "2001:db8:5::1", "2001:db8::/32"} {
		for _, lifetime := range []string{"19", "20", "600"} {
			texts["hierarchy "+anchors+lifetime] = fmt.Sprintf(`
config mobile_node 'phone'
	option home_address '2001:db8:10::100/64'
	option home_agent '2001:db8:10::1'
	option key '000102030405060708090a0b0c0d0e0f'
	option hierarchy '1'
	option lifetime '%s'
	list uplink 'up0'

config anchor_key
	option anchors '%s'
	option spi '256'
	option key '5d0f6a2b9c1e4d7f80a3b6c9d2e5f801'
`, lifetime, anchors)
		}
	}
	accepted := 0
	for name, text := range texts {
		c, err := config.Parse("roam6", []byte(text))
		if err != nil {
			continue
		}
		accepted++
		s := &Shell{config: c, deprecated: make(map[deprecatedPrefix]time.Time), duid: dhcpv6.NewDUID(randomOctets)}
		if err := roleErrors(s); err != nil {
			t.Errorf("%s: accepted, and refused by the roles: %v", name, err)
		}
	}
	if accepted < 40 {
		t.Errorf("only %d of %d are accepted", accepted, len(texts))
	}
}
