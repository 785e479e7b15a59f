package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/rtnl/nstest"
	"roam6/mip6"
	"roam6/nd"
	"roam6/nd/ndconn"
)

func TestRadumpUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		out  string // somewhere in either
	}{
		{[]string{"-h"}, 0, "usage: roam6 radump"},
		{[]string{"--bogus"}, 2, "usage: roam6 radump"},
		{[]string{"--json", "--uci"}, 2, "roam6 radump: either --json or --uci\n"},
		{[]string{"--timeout", "-1s"}, 2, "roam6 radump: --timeout -1s"},
		{[]string{"--count", "-1"}, 2, "usage: roam6 radump"},
		{[]string{"nosuchinterface"}, 1, "roam6 radump: interface nosuchinterface: "},
	} {
		var out, stderr bytes.Buffer
		code := dumpRAsUntil(t.Context(), tt.args, stdio{out: &out, err: &stderr})
		if code != tt.code || !strings.Contains(out.String()+stderr.String(), tt.out) {
			t.Errorf("%q: exit code %d\n%s%s", tt.args, code, out.String(), stderr.String())
		}
	}
}

// radumpWorld is a router and a host that listens.
type radumpWorld struct {
	t            *testing.T
	router, host *nstest.Space
}

func newRadumpWorld(t *testing.T) *radumpWorld {
	w := &radumpWorld{t, nstest.New(t), nstest.New(t)}
	nstest.Veth(w.router, "r0", w.host, "h0")
	w.router.Sysctl("net/ipv6/conf/all/forwarding", "1")
	w.router.LinkLocal("r0") // the kernel delivers groups only when it is there
	w.host.LinkLocal("h0")
	return w
}

// dump runs the command at the host.
func (w *radumpWorld) dump(args ...string) (code int, out, stderr string) {
	w.t.Helper()
	var o, e bytes.Buffer
	w.host.Do(func() error {
		code = dumpRAsUntil(w.t.Context(), args, stdio{out: &o, err: &e})
		return nil
	})
	return code, o.String(), e.String()
}

// A host hears the advertisements of a router, in each form.
func TestRadump(t *testing.T) {
	w := newRadumpWorld(t)
	var conn *ndconn.Conn
	asked := make(chan struct{}, 16)
	w.router.Do(func() (err error) {
		conn, err = ndconn.Open(ndconn.LinkRef{Index: w.router.Index("r0"), Name: "r0", MTU: 1500}, func(r ndconn.Received) {
			if _, ok := r.Message.(nd.RouterSolicitation); ok {
				asked <- struct{}{}
			}
		})
		return err
	})
	ra := nd.RouterAdvertisement{
		RouterLifetime: 30 * time.Second, SourceLinkAddr: w.router.Link("r0").Attrs().HardwareAddr, Interval: 10 * time.Second,
		DNSSearch: []nd.DNSSearch{{Domains: []string{"example.org"}, Lifetime: time.Minute}},
		Anchors:   []mip6.MobilityAnchorPoint{{Address: netip.MustParseAddr("2001:db8:a::1"), Distance: 1, Preference: 10, ValidLifetime: time.Hour}},
	}
	answered := make(chan struct{})
	go func() { // twice for each question
		defer close(answered)
		for range asked {
			for range 2 {
				if err := conn.SendRA(nd.AllNodes(), ra); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	defer func() { conn.Close(); close(asked); <-answered }()

	code, out, stderr := w.dump("--solicit", "--count", "2", "--timeout", "10s", "h0", "h0")
	source := w.router.LinkLocal("r0").String()
	if code != 0 || stderr != "" || strings.Count(out, "h0: router advertisement "+source+" > ff02::1, ") != 2 ||
		strings.Count(out, "the first of this router") != 1 || strings.Count(out, "after the one before") != 1 ||
		strings.Count(out, "DNS search list: example.org, lifetime 1m0s\n") != 2 {
		t.Errorf("exit code %d\n%s%s", code, out, stderr)
	}
	code, out, stderr = w.dump("--json", "--solicit", "--count", "1", "--timeout", "10s") // on all interfaces
	if code != 0 || stderr != "" || !json.Valid([]byte(out)) || !strings.Contains(out, `"source":"`+source+`"`) {
		t.Errorf("exit code %d\n%s%s", code, out, stderr)
	}
	// The second says nothing new.
	code, out, stderr = w.dump("--uci", "--solicit", "--count", "2", "--timeout", "10s", "h0")
	c, err := config.Parse("roam6", []byte(out))
	if code != 0 || stderr != "" || err != nil || len(c.Interfaces) != 1 || len(c.Interfaces[0].Anchors) != 1 {
		t.Errorf("exit code %d, %v\n%s%s", code, err, out, stderr)
	}
}

func TestRadumpSilence(t *testing.T) {
	w := newRadumpWorld(t)
	code, out, stderr := w.dump("--timeout", "50ms", "h0")
	if code != 1 || out != "" || stderr != "roam6 radump: no router advertisement was heard; --solicit asks for one\n" {
		t.Errorf("exit code %d\n%s%s", code, out, stderr)
	}
	w.host.Do(func() error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if code := dumpRAsUntil(ctx, []string{"h0"}, stdio{out: io.Discard, err: io.Discard}); code != 0 {
			return fmt.Errorf("interrupted: exit code %d", code)
		}
		return nil
	})
}

// radvdConfig is what radvd is to advertise; awkward, but it starts.
const radvdConfig = `interface r0 {
	RDNSS 2001:db8::51 { };
	AdvSendAdvert on;
	MinRtrAdvInterval 0.3;
	MaxRtrAdvInterval 0.5;
	AdvManagedFlag on;
	AdvLinkMTU 1400;
	AdvReachableTime 30000;
	AdvDefaultLifetime 600;
	AdvDefaultPreference high;
	AdvHomeAgentFlag on;
	AdvHomeAgentInfo on;
	HomeAgentPreference 65531;
	AdvMobRtrSupportFlag on;
	AdvIntervalOpt on;
	prefix 2001:db8:1::1/64 { AdvRouterAddr on; AdvValidLifetime infinity; };
	prefix 2001:db8:2::9/64 { AdvAutonomous off; AdvPreferredLifetime 60; };
	prefix ::/64 { AdvOnLink off; };
	route 2001:db8:100::7/48 { AdvRoutePreference low; };
	route ::/0 { AdvRouteLifetime infinity; };
	RDNSS 2001:db8::52 2001:db8::53 { AdvRDNSSLifetime 1000; };
	DNSSL example.org branch.example.org { AdvDNSSLLifetime 20; };
	abro fe80::a200:0:0:1 { AdvVersionLow 10; AdvVersionHigh 2; AdvValidLifeTime 5; };
};
`

// What radvd advertises by its configuration, as it is heard, is what roam6 is
// configured to advertise by the import of the same file.
func TestRadumpOfRadvd(t *testing.T) {
	radvd, err := exec.LookPath("radvd")
	if err != nil {
		t.Skipf("needs radvd: %v", err)
	}
	w := newRadumpWorld(t)
	w.router.Address("r0", "2001:db8:7::1/64")
	dir := t.TempDir()
	path := filepath.Join(dir, "radvd.conf")
	if err := os.WriteFile(path, []byte(radvdConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	command := exec.Command(radvd, "--nodaemon", "--logmethod", "stderr", "--config", path, "--pidfile", filepath.Join(dir, "pid"))
	command.Stderr = &said
	w.router.Do(command.Start)
	code, out, stderr := w.dump("--uci", "--solicit", "--count", "1", "--timeout", "20s", "h0")
	_ = command.Process.Signal(os.Interrupt)
	_ = command.Wait()
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d\n%s%s\n%s", code, out, stderr, said.String())
	}
	heard := configured(t, out)

	_, imported, notes := runImport(strings.Replace(radvdConfig, "interface r0", "interface h0", 1), "-")
	wanted := configured(t, imported)
	if want := "stdin:2:2: AdvRDNSSLifetime 600: radvd computes it from 10m0s"; !strings.HasPrefix(notes, want) || strings.Count(notes, "\n") != 1 {
		t.Errorf("notes %q, want %q", notes, want)
	}
	// ::/64 stands for the prefix that the interface has.
	for i := range wanted.Prefixes {
		if p := &wanted.Prefixes[i]; p.Own {
			p.Own, p.Prefix = false, netip.MustParsePrefix("2001:db8:7::/64")
		}
	}
	// These are not told.
	wanted.MinInterval, wanted.MinDelay = heard.MinInterval, heard.MinDelay
	if !reflect.DeepEqual(heard, wanted) {
		t.Errorf("heard\n%+v\nconfigured\n%+v\nof\n%s", heard, wanted, out)
	}
}

// configured is the one interface that a configuration has.
func configured(t *testing.T, text string) config.Interface {
	t.Helper()
	c, err := config.Parse("roam6", []byte(text))
	if err != nil || len(c.Interfaces) != 1 {
		t.Fatalf("%v in\n%s", err, text)
	}
	return c.Interfaces[0]
}
