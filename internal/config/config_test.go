package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"roam6/internal/uci"
	"roam6/mip6"
	"roam6/nd"
)

// values are the values of an option, as a file would give them.
func values(texts ...string) []uci.Value {
	var list []uci.Value
	for _, s := range texts {
		list = append(list, uci.Value{Text: s})
	}
	return list
}

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func parseTestdata(t *testing.T, name string) *Config {
	t.Helper()
	c, err := Parse(name, testdata(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var (
	exampleKey = mip6.SharedKey{0x3b, 0x1f, 0x0c, 0x5a, 0x9d, 0x2e, 0x4f, 0x68, 0x7a, 0x8b, 0x9c, 0xad, 0xbe, 0xcf, 0xd0, 0xe1}
	exampleSA  = &mip6.SecurityAssociation{SPI: 1000, Key: exampleKey}
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

// same compares a part of a configuration; keys are compared too.
func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func TestDefaults(t *testing.T) {
	c, err := Parse("roam6", nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "empty file", *c, Config{
		Globals: Globals{LogLevel: slog.LevelInfo, LogTarget: LogStderr, Control: "/var/run/roam6.sock", Plane: PlaneAuto, TunnelDevice: "roam6", StateDirectory: "/var/lib/roam6", Runtime: Runtime{GCPercent: 50}},
		Metrics: Metrics{Listen: netip.MustParseAddrPort("[::1]:9706")},
	})
}

func TestMobileRouter(t *testing.T) {
	c := parseTestdata(t, "mobile_router.conf")
	same(t, "mobile nodes", c.MobileNodes, []MobileNode{{
		Name: "train", Router: true,
		HomeAddress: prefix("2001:db8:1::2/64"), HomeAgents: []netip.Addr{addr("2001:db8:1::1")},
		Uplinks: []string{"wwan0", "wlan0"}, Hysteresis: time.Second, DefaultSource: true, Association: exampleSA,
		Replay: ReplayTimestamp, Lifetime: 600 * time.Second, InitialTimeout: 1500 * time.Millisecond, DAD: DADOptimistic,
		Mode: ModeExplicit, Prefixes: []netip.Prefix{prefix("2001:db8:100::/64")}, Downstreams: []string{"br-lan"},
	}})
	if c.MobileNodes[0].Association.Key != exampleKey {
		t.Error("the key is another")
	}
}

// RFC 6275 §11.4.1 (discovery), §8.5 (route optimisation can be chosen).
//
// Covers: M10, M14, C13.
func TestMobileNode(t *testing.T) {
	c := parseTestdata(t, "mobile_node.conf")
	same(t, "mobile nodes", c.MobileNodes, []MobileNode{
		{
			Name: "laptop", HomeAddress: prefix("2001:db8:1::7/64"), Discover: true,
			Uplinks: []string{"eth0", "wlan0"}, Hysteresis: time.Second, DefaultSource: true, RouteOptimisation: OptimisedRoutes,
			Association: &mip6.SecurityAssociation{SPI: 1001, Key: c.MobileNodes[0].Association.Key},
			Lifetime:    600 * time.Second, InitialTimeout: 1500 * time.Millisecond,
		},
		{
			Name: "phone", HomeAddress: prefix("2001:db8:2::7/64"), HomeAgents: []netip.Addr{addr("2001:db8:2::1")},
			Uplinks: []string{"eth0", "wlan0"}, Hysteresis: time.Second,
			Association: &mip6.SecurityAssociation{SPI: 1002, Key: c.MobileNodes[1].Association.Key},
			Lifetime:    600 * time.Second, InitialTimeout: 1500 * time.Millisecond,
		},
	})
	same(t, "policies", c.Policies, []Policy{{Name: "@policy[0]", Mobile: "phone", Protocol: ProtocolUDP, FirstPort: 5060, LastPort: 5061}})
	same(t, "correspondent", c.Correspondent, Correspondent{Enabled: true, MaxBindings: 1000, MaxLifetime: 420 * time.Second})
}

// One mobile at most has the default source: the first, unless another says so.
func TestDefaultSource(t *testing.T) {
	for _, tt := range []struct {
		name, first, second string
		want                [2]bool
	}{
		{"nobody says", "", "", [2]bool{true, false}},
		{"the second says so", "", "1", [2]bool{false, true}},
		{"the first says no", "0", "", [2]bool{false, false}},
		{"the first says so", "1", "0", [2]bool{true, false}},
	} {
		option := func(value string) string {
			if value == "" {
				return ""
			}
			return " option default_source '" + value + "'\n"
		}
		// A section that is not enabled does not count.
		c, err := Parse("roam6", []byte("config mobile_node 'off'\n option enabled '0'\n option default_source '1'\n"+node+option(tt.first)+router+option(tt.second)))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := [2]bool{c.MobileNodes[0].DefaultSource, c.MobileNodes[1].DefaultSource}; got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestHomeAgent(t *testing.T) {
	c := parseTestdata(t, "home_agent.conf")
	same(t, "home agents", c.HomeAgents, []HomeAgent{{
		Name: "depot", Interface: "eth1", Address: addr("2001:db8:1::1"),
		Prefixes: []netip.Prefix{prefix("2001:db8:1::/64")}, DeprecatedLifetime: 2 * time.Hour,
		PrefixAdvertisements: true, PrefixMinInterval: 10 * time.Minute, PrefixMaxInterval: 24 * time.Hour,
		Information: &mip6.HomeAgentInformation{Lifetime: 9 * time.Second, MobileRouter: true},
		MaxLifetime: time.Hour, DAD: true, ReplayWindow: 7 * time.Second,
	}})
	same(t, "mobiles", c.Mobiles, []Mobile{{
		Name: "train", HomeAgent: "depot", HomeAddress: addr("2001:db8:1::2"), Association: exampleSA, Replay: ReplaySequence,
		Router: true, Prefixes: []netip.Prefix{prefix("2001:db8:100::/64")},
	}})
	same(t, "interfaces", c.Interfaces, []Interface{{
		Name: "eth1", Advertise: true,
		MinInterval: time.Second, MaxInterval: 3 * time.Second, MinDelay: time.Second,
		RouterLifetime: 9 * time.Second, CurHopLimit: 64, SourceLinkAddr: true, IntervalOption: true, UnicastReplies: true,
		HomeAgent: true, HomeAgentInfo: &mip6.HomeAgentInformation{Lifetime: 9 * time.Second, MobileRouter: true},
		Prefixes: []Prefix{{PrefixInformation: mip6.PrefixInformation{
			Prefix: prefix("2001:db8:1::1/64"), OnLink: true, Autonomous: true, RouterAddress: true,
			ValidLifetime: 24 * time.Hour, PreferredLifetime: 4 * time.Hour,
		}}},
	}})
	same(t, "metrics", c.Metrics, Metrics{Enabled: true, Listen: netip.MustParseAddrPort("[::1]:9706")})
}

// RFC 6275 §7.5: the shortest intervals, the router lifetime at least a second.
func TestAccessRouter(t *testing.T) {
	c := parseTestdata(t, "access_router.conf")
	same(t, "interfaces", c.Interfaces, []Interface{{
		Name: "wlan0", Advertise: true,
		MinInterval: 30 * time.Millisecond, MaxInterval: 70 * time.Millisecond, MinDelay: 30 * time.Millisecond,
		RouterLifetime: time.Second, CurHopLimit: 64, SourceLinkAddr: true, IntervalOption: true, UnicastReplies: true,
		Prefixes: []Prefix{{PrefixInformation: mip6.PrefixInformation{
			Prefix: prefix("2001:db8:a::/64"), OnLink: true, Autonomous: true,
			ValidLifetime: 24 * time.Hour, PreferredLifetime: 4 * time.Hour,
		}}},
	}})
}

// Everything that is not a default.
func TestEveryOption(t *testing.T) {
	c, err := Parse("roam6", []byte(`
config globals 'any'
	option log_level 'debug'
	option log_target 'syslog'
	option control '/tmp/x.sock'
	option plane 'tun'
	option tunnel_device 'mip0'
	option state_directory '/etc/roam6'
	option resolver_file '/tmp/resolv.conf.roam6'
	option gogc '1000'
	option memory_limit '8'
	option processors '1'

config metrics
	option enabled 'yes'
	option listen_address '192.0.2.1'
	option listen_port '80'

config mobile_node 'phone'
	option enabled 'on'
	option home_address '2001:db8:2::7/48'
	list home_agent '2001:db8:2::1'
	list home_agent '2001:db8:2::2'
	option discover '1'
	option route_optimization 'list'
	list correspondent '2001:db8:5::/48'
	list correspondent '2001:db8:6::1'
	option hysteresis_ms '0'
	option default_source '0'
	option uplink 'eth0'
	option insecure 'true'
	option replay 'sequence'
	option lifetime '8'
	option initial_timeout_ms '1000'
	option dad 'wait'

config mobile_router 'bus'
	option home_address '2001:db8:3::7/64'
	option home_agent '2001:db8:3::1'
	list uplink 'eth0'
	option spi '4294967295'
	option key '3B1F0C5A9D2E4F687A8B9CADBECFD0E1'
	option mode 'implicit'
	list prefix '2001:db8:300::/56'
	list prefix '2001:db8:400::/64'

config policy 'marked'
	option mobile_node 'bus'
	option mark '0x10/0xff'

config policy
	option mobile_node 'phone'
	option proto 'tcp'
	option port '22'
	option mark '16'

config policy
	option mobile_node 'spare'
	option proto 'udp'

config correspondent
	option enabled '0'
	option max_bindings '65535'
	option max_lifetime '8'

config mobile_router 'spare'
	option enabled '0'

config home_agent 'depot'
	option interface 'eth1'
	option address '2001:db8:1::1'
	list prefix '2001:db8:1::/64'
	list prefix '2001:db8:7::/64'
	list prefix '2001:db8:8::/64'
	list deprecated_prefix '2001:db8:9::/64'
	list deprecated_prefix '2001:db8:a::/64'
	option deprecated_lifetime '60'
	option prefix_advertisements '0'
	option prefix_min_interval '1'
	option prefix_max_interval '1'
	option max_lifetime '262140'
	option dad 'no'
	option replay_window_ms '3000'

config home_agent 'closed'
	option enabled 'off'
	option address '2001:db8:9::1'

config mobile 'guest'
	option home_agent 'closed'
	option home_address '2001:db8:9::2'

config mobile 'plain'
	option home_agent 'depot'
	option home_address '2001:db8:1::2'
	option insecure '1'

config mobile 'router'
	option home_agent 'depot'
	option home_address '2001:db8:9::3'
	option insecure '1'
	option replay 'timestamp'
	option router '1'

config interface
	option interface 'eth2'
	option max_interval_ms '4000'
	option AdvDefaultLifetime '0'
	option AdvDefaultPreference 'high'
	option AdvManagedFlag '1'
	option AdvOtherConfigFlag '1'
	option AdvLinkMTU '1400'
	option AdvCurHopLimit '0'
	option AdvReachableTime '3600000'
	option AdvRetransTimer '1000'
	option AdvSourceLLAddress '0'
	option AdvRASolicitedUnicast '0'

config interface
	option interface 'eth1'
	option AdvSendAdvert '1'
	option AdvHomeAgentFlag '1'
	option AdvHomeAgentInfo '1'
	option HomeAgentLifetime '65520'
	option HomeAgentPreference '-5'
	option min_delay_between_ras_ms '30'

config prefix
	option interface 'eth1'
	list prefix '2001:db8:1::1/64'
	option AdvOnLink '0'
	option AdvAutonomous '0'
	option AdvRouterAddr '1'
	option AdvValidLifetime 'infinity'
	option AdvPreferredLifetime 'infinity'

config prefix
	option interface 'eth1'
	list prefix '2001:db8:7::/64'
	option AdvValidLifetime '600'

config prefix
	option interface 'eth1'
	list prefix '2001:db8:a::/64'
	option AdvPreferredLifetime '0'
`))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "globals", c.Globals, Globals{LogLevel: slog.LevelDebug, LogTarget: LogSyslog, Control: "/tmp/x.sock", Plane: PlaneTUN, TunnelDevice: "mip0", StateDirectory: "/etc/roam6", ResolverFile: "/tmp/resolv.conf.roam6",
		Runtime: Runtime{GCPercent: 1000, MemoryLimit: 8, Processors: 1}})
	same(t, "metrics", c.Metrics, Metrics{Enabled: true, Listen: netip.MustParseAddrPort("192.0.2.1:80")})
	same(t, "mobile nodes", c.MobileNodes, []MobileNode{
		{Name: "phone", HomeAddress: prefix("2001:db8:2::7/48"), HomeAgents: []netip.Addr{addr("2001:db8:2::1"), addr("2001:db8:2::2")}, Discover: true, Uplinks: []string{"eth0"},
			RouteOptimisation: ListedRoutes, Correspondents: []netip.Prefix{prefix("2001:db8:5::/48"), prefix("2001:db8:6::1/128")},
			Replay: ReplaySequence, Lifetime: 8 * time.Second, InitialTimeout: time.Second, DAD: DADWait},
		{Name: "bus", Router: true, HomeAddress: prefix("2001:db8:3::7/64"), HomeAgents: []netip.Addr{addr("2001:db8:3::1")}, Uplinks: []string{"eth0"}, Hysteresis: time.Second,
			Association: &mip6.SecurityAssociation{SPI: 4294967295, Key: exampleKey}, Lifetime: 600 * time.Second, InitialTimeout: 1500 * time.Millisecond,
			Mode: ModeImplicit, Prefixes: []netip.Prefix{prefix("2001:db8:300::/56"), prefix("2001:db8:400::/64")}},
	})
	same(t, "policies", c.Policies, []Policy{
		{Name: "marked", Mobile: "bus", Mark: 0x10, Mask: 0xff},
		{Name: "@policy[1]", Mobile: "phone", Protocol: ProtocolTCP, FirstPort: 22, LastPort: 22, Mark: 16, Mask: 0xffffffff},
	})
	same(t, "correspondent", c.Correspondent, Correspondent{MaxBindings: 65535, MaxLifetime: 8 * time.Second})
	same(t, "home agents", c.HomeAgents, []HomeAgent{{Name: "depot", Interface: "eth1", Address: addr("2001:db8:1::1"),
		Prefixes:           []netip.Prefix{prefix("2001:db8:1::/64"), prefix("2001:db8:7::/64"), prefix("2001:db8:8::/64")},
		Deprecated:         []netip.Prefix{prefix("2001:db8:9::/64"), prefix("2001:db8:a::/64")},
		DeprecatedLifetime: time.Minute, PrefixMinInterval: time.Second, PrefixMaxInterval: time.Second,
		Information: &mip6.HomeAgentInformation{Preference: -5, Lifetime: 65520 * time.Second},
		MaxLifetime: 262140 * time.Second, ReplayWindow: 3 * time.Second}})
	same(t, "mobiles", c.Mobiles, []Mobile{
		{Name: "plain", HomeAgent: "depot", HomeAddress: addr("2001:db8:1::2"), Replay: ReplaySequence},
		{Name: "router", HomeAgent: "depot", HomeAddress: addr("2001:db8:9::3"), Replay: ReplayTimestamp, Router: true},
	})
	same(t, "interfaces", c.Interfaces, []Interface{
		{Name: "eth2", MinInterval: 3 * time.Second, MaxInterval: 4 * time.Second, MinDelay: 3 * time.Second,
			Managed: true, OtherConfig: true, MTU: 1400, ReachableTime: time.Hour, RetransTimer: time.Second, Preference: nd.PreferenceHigh},
		{Name: "eth1", Advertise: true, MinInterval: 198 * time.Second, MaxInterval: 600 * time.Second, MinDelay: 30 * time.Millisecond,
			RouterLifetime: 1800 * time.Second, CurHopLimit: 64, SourceLinkAddr: true, UnicastReplies: true, HomeAgent: true,
			HomeAgentInfo: &mip6.HomeAgentInformation{Preference: -5, Lifetime: 65520 * time.Second},
			Prefixes: []Prefix{
				{PrefixInformation: mip6.PrefixInformation{Prefix: prefix("2001:db8:1::1/64"), RouterAddress: true, ValidLifetime: mip6.InfiniteLifetime, PreferredLifetime: mip6.InfiniteLifetime}},
				{PrefixInformation: mip6.PrefixInformation{Prefix: prefix("2001:db8:7::/64"), OnLink: true, Autonomous: true, ValidLifetime: 600 * time.Second, PreferredLifetime: 600 * time.Second}},
				{PrefixInformation: mip6.PrefixInformation{Prefix: prefix("2001:db8:a::/64"), OnLink: true, Autonomous: true, ValidLifetime: 24 * time.Hour}},
			}},
	})
	same(t, "disabled", c.Disabled, []string{"spare", "closed", "guest"})
}

// A key stands in no file that others can read.
func TestFileMode(t *testing.T) {
	withKey, without := testdata(t, "mobile_router.conf"), testdata(t, "access_router.conf")
	for _, tt := range []struct {
		mode fs.FileMode
		src  []byte
		ok   bool
	}{
		{0o600, withKey, true},
		{0o400, withKey, true},
		{0o640, withKey, false},
		{0o604, withKey, false},
		{0o620, withKey, false},
		{0o644, without, true},
	} {
		_, err := parse("roam6", tt.src, tt.mode)
		if (err == nil) != tt.ok {
			t.Errorf("mode %v: %v", tt.mode, err)
		}
	}
	_, err := parse("/etc/config/roam6", withKey, 0o644)
	want := `option 'key' in section 'train' (/etc/config/roam6:5:9): "-rw-r--r--": expected a file that only its owner can read, because it holds a key: chmod 600 /etc/config/roam6`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "roam6")
	if _, err := Load(path); err == nil || err.Error() != "there is no configuration "+path+": write one, or name another file" {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load(filepath.Dir(path)); err == nil || !strings.HasSuffix(err.Error(), "is not a regular file") {
		t.Errorf("directory: %v", err)
	}
	if err := os.WriteFile(path, testdata(t, "mobile_router.conf"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil || len(c.MobileNodes) != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
		t.Errorf("readable by others: %v", err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("\n", uci.MaxSize+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("at most %d octets", uci.MaxSize)) {
		t.Errorf("too large: %v", err)
	}
}

// All errors are told at once, in the order of the file, and errors.As finds
// each.
func TestErrorsTogether(t *testing.T) {
	_, err := Parse("roam6", []byte(`config globals
	option log_level 'loud'
	option plane 'fast'
config mobile_router 'train'
	option home_address '2001:db8:1::2'
	list uplink 'wan'
	list uplink 'way/too/long'
	option spi '12'
	option insecure 'maybe'
config home_agent
`))
	want := `option 'log_level' in section '@globals[0]' (roam6:2:19): "loud": expected one of debug, info, warn, error
option 'plane' in section '@globals[0]' (roam6:3:15): "fast": expected one of auto, kernel, tcx, tun
option 'key' in section 'train' (roam6:4:1): expected a key of 32 hexadecimal digits; without one, option insecure '1' says that this is meant
option 'prefix' in section 'train' (roam6:4:1): expected an IPv6 prefix, such as 2001:db8:100::/56, or prefix_delegation '1'; it is missing
option 'home_address' in section 'train' (roam6:5:22): "2001:db8:1::2": expected an IPv6 address with its prefix length, such as 2001:db8:1::2/64: the length is missing
option 'uplink' in section 'train' (roam6:7:14): "way/too/long": expected an interface name of at most 15 characters
option 'spi' in section 'train' (roam6:8:13): "12": expected an integer from 256 to 4294967295
option 'insecure' in section 'train' (roam6:9:18): "maybe": expected 1 or 0 (or on, true, yes, enabled; off, false, no, disabled)
option 'interface' in section '@home_agent[0]' (roam6:10:1): expected an interface name of at most 15 characters; it is missing
option 'address' in section '@home_agent[0]' (roam6:10:1): expected a routable unicast IPv6 address; it is missing
option 'prefix' in section '@home_agent[0]' (roam6:10:1): expected an IPv6 prefix, such as 2001:db8:100::/56; it is missing
section '@home_agent[0]' (roam6:10:8): "home_agent": expected a name after the type: config home_agent 'NAME'`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	var all Errors
	var first *Error
	if !errors.As(err, &all) || !errors.As(err, &first) || len(all) != 12 || first != all[0] {
		t.Errorf("%d errors, first %v", len(all), first)
	}
	if got, want := all[1].Message(), `option 'plane' in section '@globals[0]': "fast": expected one of auto, kernel, tcx, tun`; got != want {
		t.Errorf("message %s, want %s", got, want)
	}
}
