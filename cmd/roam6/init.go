package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"roam6/internal/config"
)

// initial is what `roam6 init` writes for a role. KEY in it becomes a key.
type initial struct {
	role, short, what, text string
}

// initials are the roles in the order of the usage. What is effective of their
// texts stands in README.md, too; what is commented out are defaults, or examples
// of what has none.
func initials() []initial {
	return []initial{
		{"mobile-router", "mr", "a router that moves with its network", mobileRouterText},
		{"mobile-node", "mn", "a host that keeps its address", mobileNodeText},
		{"home-agent", "ha", "the home agent of a mobile router", homeAgentText},
		{"correspondent", "cn", "a host to which mobiles optimise their routes", correspondentText},
		{"anchor", "map", "a mobility anchor point", anchorText},
		{"access-router", "ar", "router advertisements for mobiles", accessRouterText},
	}
}

const mobileRouterText = `config mobile_router 'train'
	# The router's permanent address, with the length of the home prefix.
	option home_address '2001:db8:10::100/64'
	# Without this line the home agent is discovered.
	option home_agent '2001:db8:10::1'
	# Devices that lead outside, the preferred one first; roam6 configures IPv6 there.
	list uplink 'wwan0'
	list uplink 'wlan0'
	# The network that moves, as the home agent has it in its file.
	list prefix '2001:db8:100::/64'
	# Its device, which has an address of the network; roam6 advertises there.
	list downstream 'br-lan'
	# Made for this file just now. The same line belongs into the home agent's file.
	option key 'KEY'
	#option spi '256'
	#option lifetime '600'
	#option route_optimization 'off'
	#option hysteresis_ms '1000'
`

const mobileNodeText = `config mobile_node 'phone'
	# The permanent address, with the length of the home prefix.
	option home_address '2001:db8:10::200/64'
	# The home agent is discovered; or name it, with 0 here.
	option discover '1'
	#list home_agent '2001:db8:10::1'
	# Devices that lead outside, the preferred one first; roam6 configures IPv6 there.
	list uplink 'eth0'
	list uplink 'wlan0'
	list uplink 'wwan0'
	# Packets take the direct way to correspondents that can do that.
	option route_optimization 'on'
	# Made for this file just now. The same line belongs into the home agent's file.
	option key 'KEY'
	#option spi '256'
	#option lifetime '600'
`

const homeAgentText = `config home_agent 'ha'
	# The device of the home link, and this machine's address on it.
	option interface 'eth0'
	option address '2001:db8:10::1'
	# The home prefix; all home addresses are in it.
	option prefix '2001:db8:10::/64'
	#option max_lifetime '3600'
	#option dad '1'

# One section a mobile; nobody else is served.
config mobile 'train'
	option home_address '2001:db8:10::100'
	# Its mobile network; leave the line out for a host. Other routers route it here.
	list prefix '2001:db8:100::/64'
	# Made for this file just now. The same line belongs into the mobile's file.
	option key 'KEY'
	#option spi '256'
	#option replay 'sequence'

# Advertisements on the home link, by which mobiles know that they are at home and
# discover home agents. Not needed where another router advertises there.
#config interface
#	option interface 'eth0'
#	option AdvSendAdvert '1'
#	option AdvHomeAgentFlag '1'
#	option AdvHomeAgentInfo '1'
#	option AdvMobRtrSupportFlag '1'

#config prefix
#	option interface 'eth0'
#	list prefix '2001:db8:10::1/64'
#	option AdvRouterAddr '1'
`

const correspondentText = `# Mobiles may optimise their routes to this host: nothing has to be changed.
config correspondent
	#option max_bindings '1000'
	#option max_lifetime '420'
`

const anchorText = `config anchor 'city'
	# This machine's address. The /64 around it is routed here by the other routers.
	option address '2001:db8:5::1'
	# The access networks around it: care-of addresses elsewhere are refused.
	list served_prefix '2001:db8:a000::/36'
	#option max_lifetime '600'

# One section a mobile; the mobile has the two lines in its section anchor_key.
config visitor 'bus'
	option spi '2000'
	# Made for this file just now.
	option key 'KEY'
	#option replay 'timestamp'

# Access routers tell of the anchor by a section map_option of their own.
`

const accessRouterText = `config interface
	# The device of the access network.
	option interface 'wlan0'
	option AdvSendAdvert '1'
	# Mobiles learn how often to expect advertisements, and so notice missing ones.
	option AdvIntervalOpt '1'
	option min_interval_ms '30'
	option max_interval_ms '70'
	#option AdvDefaultPreference 'medium'
	#option AdvRASolicitedUnicast '1'

config prefix
	option interface 'wlan0'
	# Mobiles form their care-of addresses in it.
	list prefix '2001:db8:a1::/64'
	#option AdvValidLifetime '86400'
`

// keyLength is the length of a key in octets.
const keyLength = 16

// initialise writes the configuration of a role to begin with.
func initialise(args []string, std stdio) int {
	flags := flag.NewFlagSet("init", flag.ContinueOnError)
	flags.SetOutput(std.err)
	flags.Usage = func() {}
	path := flags.String("o", "", "")
	operands, err := interspersed(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		initUsage(std.out)
		return 0
	case err != nil || len(operands) != 1:
		initUsage(std.err)
		return 2
	}
	all := initials()
	i := slices.IndexFunc(all, func(i initial) bool { return operands[0] == i.role || operands[0] == i.short })
	if i < 0 {
		fmt.Fprintf(std.err, "roam6 init: %q is no role; roam6 init -h lists them\n", operands[0])
		return 2
	}
	text := []byte(all[i].file())
	if *path == "" {
		_, err = std.out.Write(text)
	} else {
		err = writeNew(*path, text)
	}
	if err != nil {
		fmt.Fprintln(std.err, "roam6 init:", err)
		return 1
	}
	return 0
}

// file is the whole file, with a key of its own.
func (i initial) file() string {
	var key [keyLength]byte
	rand.Read(key[:]) // never fails
	head := fmt.Sprintf(`# roam6: %s. For %s, mode 0600.
# To change: addresses of 2001:db8::/32, which are documentation's, names of devices,
# and the key, where the other side has one already. What begins with # are defaults
# and examples. roam6 check says what is wrong; docs/configuration.md has all options.

`, i.what, config.DefaultPath)
	return head + strings.ReplaceAll(i.text, "KEY", hex.EncodeToString(key[:]))
}

// writeNew writes a file that is not there yet and that only its owner may read.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already, and is left as it is", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path) // half of a file is of no use
	}
	return err
}

func initUsage(w io.Writer) {
	fmt.Fprint(w, `usage: roam6 init [-o FILE] ROLE

Writes a configuration to begin with, with comments, and with a new key where the
role has one. It asks nothing. roam6 check takes it as it is.

`)
	for _, i := range initials() {
		fmt.Fprintf(w, "  %-14s %-4s %s\n", i.role, i.short, i.what)
	}
	fmt.Fprint(w, `
  -o FILE  a file that is not there yet, which only its owner may read; without
           it the configuration goes to standard output

Exit code 0: written. 1: it cannot be written. 2: wrong usage.
`)
}
