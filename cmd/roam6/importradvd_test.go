package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	labworld "roam6/internal/lab/world"
	"roam6/nd"
	"roam6/nd/ndconn"
)

// radvdFiles are configurations with every option of radvd 2.19 that roam6 takes over
// as it is. ROUTER, OTHER and HOST are link-local addresses: two of the router's, the
// second not its main one, and the host's.
var radvdFiles = map[string]string{
	"defaults": `
interface lan0 {
	AdvSendAdvert on;
	prefix 2001:db8:1::/64 { };
};`,
	"all of the header": `
interface lan0 {
	IgnoreIfMissing on;
	AdvSendAdvert on;
	AdvIntervalOpt on;
	MinRtrAdvInterval 0.03;
	MaxRtrAdvInterval 0.07;
	MinDelayBetweenRAs 0.03;
	AdvRASolicitedUnicast on;
	AdvManagedFlag on;
	AdvOtherConfigFlag on;
	AdvLinkMTU 1400;
	AdvReachableTime 30000;
	AdvRetransTimer 1000;
	AdvCurHopLimit 33;
	AdvDefaultLifetime 1800;
	AdvDefaultPreference high;
	AdvSourceLLAddress off;
};`,
	"zeroes": `
interface lan0 {
	AdvSendAdvert on;
	UnicastOnly off;
	AdvIntervalOpt on;
	MinRtrAdvInterval 0.03;
	MaxRtrAdvInterval 0.07;
	AdvRASolicitedUnicast off;
	AdvCurHopLimit 0;
	AdvDefaultPreference low;
	AdvDefaultLifetime 9000;
	prefix 2001:db8:1::/64 { AdvPreferredLifetime 0; AdvValidLifetime 0; };
	route 2001:db8:2::/48 { AdvRouteLifetime 0; };
};`,
	"no default router": `
interface lan0 {
	AdvSendAdvert on;
	AdvDefaultLifetime 0;
	prefix 2001:db8:1::/64 { };
};`,
	"all of prefixes, routes and DNS": `
interface lan0 {
	AdvSendAdvert on;
	MaxRtrAdvInterval 10;
	MinRtrAdvInterval 5;
	MinDelayBetweenRAs 3;
	prefix 2001:db8:1::/64 { AdvOnLink off; AdvAutonomous on; AdvRouterAddr off; AdvValidLifetime infinity; AdvPreferredLifetime infinity; DeprecatePrefix on; };
	prefix 2001:db8:2::/64 { AdvOnLink on; AdvAutonomous off; AdvValidLifetime 1000; AdvPreferredLifetime 500; };
	prefix 2001:db8:3:4::/62 { AdvAutonomous off; };
	prefix 2001:db8:4::/64 { DecrementLifetimes on; AdvValidLifetime 86400; AdvPreferredLifetime 14400; };
	route 2001:db8:8000::/48 { AdvRouteLifetime infinity; AdvRoutePreference high; RemoveRoute on; };
	route 2001:db8:8001::/64 { AdvRouteLifetime 900; AdvRoutePreference low; RemoveRoute off; };
	route 2001:db8:8002::/33 { };
	route ::/0 { };
	RDNSS 2001:db8::53 2001:db8::54 fd00::53 { AdvRDNSSLifetime 600; FlushRDNSS on; };
	RDNSS 2001:db8::55 { AdvRDNSSLifetime infinity; FlushRDNSS off; };
	RDNSS 2001:db8::56 { };
	DNSSL example.net a.very.long.name.of.a.domain.example.net { AdvDNSSLLifetime 600; FlushDNSSL on; };
	DNSSL example.org { AdvDNSSLLifetime infinity; FlushDNSSL off; };
	DNSSL example.com { };
};`,
	"home agent": `
interface lan0 {
	AdvSendAdvert on;
	MinRtrAdvInterval 0.05;
	MaxRtrAdvInterval 1.5;
	AdvHomeAgentFlag on;
	AdvHomeAgentInfo on;
	HomeAgentLifetime 10000;
	HomeAgentPreference 20;
	AdvMobRtrSupportFlag on;
	AdvIntervalOpt on;
	prefix 2001:db8:1::5/64 { AdvRouterAddr on; };
};`,
	"home agent with defaults": `
interface lan0 {
	AdvSendAdvert on;
	MinRtrAdvInterval 0.03;
	MaxRtrAdvInterval 0.07;
	AdvHomeAgentFlag on;
	AdvHomeAgentInfo on;
	prefix 2001:db8:1::5/64 { AdvRouterAddr on; };
};`,
	"prefixes of the interface": `
interface lan0 {
	AdvSendAdvert on;
	AdvIntervalOpt on;
	MinRtrAdvInterval 0.03;
	MaxRtrAdvInterval 0.07;
	AdvDefaultLifetime 1800;
	prefix ::/64 { AdvValidLifetime 3600; AdvPreferredLifetime 1800; };
};`,
	"prefix of another interface": `
interface lan0 {
	AdvSendAdvert on;
	AdvIntervalOpt on;
	MinRtrAdvInterval 0.03;
	MaxRtrAdvInterval 0.07;
	AdvDefaultLifetime 1800;
	prefix ::/64 { Base6Interface wan0; AdvValidLifetime 3600; AdvPreferredLifetime 1800; };
};`,
	"no multicast": `
interface lan0 {
	AdvSendAdvert on;
	UnicastOnly on;
	AdvDefaultLifetime 1800;
	prefix 2001:db8:1::/64 { };
	abro fe80::a200:0:0:1 { AdvVersionLow 10; AdvVersionHigh 2; AdvValidLifeTime 2; };
};`,
	"one client, another source": `
interface lan0 {
	AdvSendAdvert on;
	AdvIntervalOpt on;
	MinRtrAdvInterval 0.03;
	MaxRtrAdvInterval 0.07;
	AdvDefaultLifetime 1800;
	clients { HOST; };
	AdvRASrcAddress { OTHER; };
	prefix 2001:db8:1::/64 { };
};`,
	"more than one packet holds": manyPrefixes(),
}

func manyPrefixes() string {
	var b strings.Builder
	b.WriteString("interface lan0 {\n\tAdvSendAdvert on;\n\tAdvIntervalOpt on;\n\tMinRtrAdvInterval 0.03;\n\tMaxRtrAdvInterval 0.07;\n\tAdvDefaultLifetime 1800;\n")
	for i := range 60 {
		fmt.Fprintf(&b, "\tprefix 2001:db8:%x::/64 { };\n", 0x100+i)
	}
	return b.String() + "};"
}

// told is what advertisements tell, a line for each thing; those that take several
// packets tell it together.
type told struct {
	source string
	lines  []string
}

// lines are the things that an advertisement tells. What counts down is told in
// minutes, since no two daemons start at the same time.
func lines(ra nd.RouterAdvertisement) (all []string) {
	minutes := func(d time.Duration) time.Duration {
		if d > 2*time.Hour {
			d = (d + time.Minute - 1).Truncate(time.Minute)
		}
		return d
	}
	all = append(all, fmt.Sprintf("header: hop limit %d M %t O %t H %t preference %v lifetime %v reachable %v retransmit %v",
		ra.CurHopLimit, ra.Managed, ra.OtherConfig, ra.HomeAgent, ra.Preference, ra.RouterLifetime, ra.ReachableTime, ra.RetransTimer))
	add := func(there bool, format string, args ...any) {
		if there {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(ra.SourceLinkAddr != nil, "link-layer address %v", ra.SourceLinkAddr)
	add(ra.MTU != 0, "MTU %d", ra.MTU)
	add(ra.Interval != 0, "interval %v", ra.Interval)
	add(ra.HomeAgentInfo != nil, "home agent %+v", ra.HomeAgentInfo)
	add(ra.CaptivePortal != "", "captive portal %s", ra.CaptivePortal)
	for _, p := range ra.Prefixes {
		p.ValidLifetime, p.PreferredLifetime = minutes(p.ValidLifetime), minutes(p.PreferredLifetime)
		add(true, "prefix %+v", p)
	}
	for _, r := range ra.Routes {
		add(true, "route %v preference %v lifetime %v", r.Prefix, r.Preference, r.Lifetime)
	}
	for _, d := range ra.DNSServers {
		for _, s := range d.Servers {
			add(true, "DNS server %v lifetime %v", s, d.Lifetime)
		}
	}
	for _, d := range ra.DNSSearch {
		for _, s := range d.Domains {
			add(true, "DNS domain %s lifetime %v", s, d.Lifetime)
		}
	}
	for _, b := range ra.BorderRouters {
		add(true, "border router %+v", b)
	}
	for _, c := range ra.Contexts {
		add(true, "context %+v", c)
	}
	for _, n := range ra.NAT64 {
		add(true, "NAT64 %+v", n)
	}
	for _, o := range ra.Others {
		add(true, "option %+v", o)
	}
	add(ra.Malformed > 0, "%d options that cannot be read", ra.Malformed)
	return all
}

// listener hears advertisements on the host.
type listener struct {
	conn *ndconn.Conn
	mu   sync.Mutex
	all  []ndconn.Received
}

func (l *lan) listen() *listener {
	l.Helper()
	h := &listener{}
	link, err := l.host.Link.LinkByName(lanHost)
	l.must(err)
	ref := ndconn.LinkRef{Index: link.Attrs().Index, Name: lanHost, MTU: link.Attrs().MTU}
	l.must(l.host.Do(func() (err error) {
		h.conn, err = ndconn.Open(ref, h.hear)
		return err
	}))
	l.Cleanup(func() { h.conn.Close() })
	return h
}

func (h *listener) hear(r ndconn.Received) {
	if _, ok := r.Message.(nd.RouterAdvertisement); ok {
		h.mu.Lock()
		h.all = append(h.all, r)
		h.mu.Unlock()
	}
}

// forget begins anew.
func (h *listener) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = nil
}

// since are the advertisements heard since forget.
func (h *listener) since() []ndconn.Received {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

// together is what packets tell.
func together(packets []ndconn.Received) (t told) {
	for _, r := range packets {
		ra, _ := r.Message.(nd.RouterAdvertisement) // see hear
		t.source = r.Header.Source.String()
		t.lines = append(t.lines, lines(ra)...)
	}
	slices.Sort(t.lines)
	t.lines = slices.Compact(t.lines)
	return t
}

// twice is what the last packets tell, if those before them told the same: all the
// packets of an advertisement are between two of a kind.
func twice(packets []ndconn.Received) (t told, ok bool) {
	var ends []int // of what ends with the same packet as all of it
	for i := range packets {
		if slices.Equal(together(packets[i:i+1]).lines, together(packets[len(packets)-1:]).lines) {
			ends = append(ends, i+1)
		}
	}
	n := len(ends)
	if n < 3 {
		return t, false
	}
	t = together(packets[ends[n-2]:])
	return t, slices.Equal(t.lines, together(packets[ends[n-3]:ends[n-2]]).lines)
}

// farewell is what those with a router lifetime of zero tell.
func (h *listener) farewell() (t told, ok bool) {
	packets := slices.DeleteFunc(h.since(), func(r ndconn.Received) bool {
		ra, _ := r.Message.(nd.RouterAdvertisement) // see hear
		return ra.RouterLifetime != 0
	})
	return together(packets), len(packets) > 0
}

// atEnd is what a final advertisement tells without what roam6 leaves out of it: the
// time until a next one, and the home agent.
func (t told) atEnd() told {
	t.lines = slices.Clone(t.lines)
	for i, l := range t.lines {
		t.lines[i] = strings.Replace(l, " H true ", " H false ", 1)
	}
	t.lines = slices.DeleteFunc(t.lines, func(l string) bool { return strings.HasPrefix(l, "interval ") || strings.HasPrefix(l, "home agent ") })
	return t
}

// differences are the lines that one of two has, and where they come from if that
// differs.
func differences(radvd, roam6 told) (all []string) {
	note := func(who string, a, b told) {
		for _, l := range a.lines {
			if !slices.Contains(b.lines, l) {
				all = append(all, "only "+who+": "+l)
			}
		}
	}
	note("radvd", radvd, roam6)
	note("roam6", roam6, radvd)
	if radvd.source != roam6.source {
		all = append(all, "radvd's come from "+radvd.source+", roam6's from "+roam6.source)
	}
	return all
}

// hears solicits until a daemon has told the same twice, and returns it.
func (l *lan) hears(h *listener, who string) (t told) {
	l.Helper()
	defer func() {
		if l.Failed() {
			l.Logf("heard of %s: %+v", who, together(h.since()))
		}
	}()
	asked := time.Time{}
	l.until(who+" tells the same twice", func() (ok bool) {
		if time.Since(asked) > 600*time.Millisecond { // no more than a router has to answer
			asked = time.Now()
			l.must(h.conn.SendRS())
		}
		t, ok = twice(h.since())
		return ok
	})
	return t
}

// TestImportedAdvertisements: what radvd advertises with a configuration, and says at
// its end, and what roam6 does with its translation, are the same.
func TestImportedAdvertisements(t *testing.T) {
	t.Parallel()
	for name, text := range radvdFiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLAN(t, false)
			path := l.find("radvd", "radvd")
			l.must(labworld.AddAddress(l.router, lanRouter, netip.MustParsePrefix("fe80::1/64")))
			if strings.Contains(text, "Base6Interface") {
				// Of a prefix that is shorter radvd 2.19 makes no networks, whatever its
				// manual says, and it adds those of lan0.
				l.dummy("wan0", "2001:db8:ff00:12::1/64")
			} else {
				for _, a := range []string{"2001:db8:a1::1/64", "2001:db8:a2::1/64"} {
					l.must(labworld.AddAddress(l.router, lanRouter, netip.MustParsePrefix(a)))
				}
			}
			h := l.listen()
			text := strings.NewReplacer("HOST", l.linkLocal(l.host, lanHost).String(), "OTHER", "fe80::1").Replace(text)
			conf := filepath.Join(t.TempDir(), "radvd.conf")
			l.must(os.WriteFile(conf, []byte(text), 0o600))

			radvd := exec.Command(path, "--nodaemon", "--logmethod", "stderr_clean", "--config", conf, "--pidfile", conf+".pid")
			var log strings.Builder
			radvd.Stderr, radvd.Stdout = &log, &log
			l.must(l.router.Do(radvd.Start))
			ended := false
			t.Cleanup(func() {
				if !ended {
					_ = radvd.Process.Kill()
					_ = radvd.Wait()
				}
				if t.Failed() {
					t.Logf("radvd: %s", log.String())
				}
			})
			theirs := l.hears(h, "radvd")
			h.forget()
			l.must(radvd.Process.Signal(syscall.SIGTERM))
			l.must(radvd.Wait())
			ended = true
			says := !strings.Contains(text, "UnicastOnly on") && !strings.Contains(text, "AdvDefaultLifetime 0;")
			var theirEnd, ourEnd told
			if says {
				l.until("radvd's end is told", func() (ok bool) { theirEnd, ok = h.farewell(); return ok })
			}

			h.forget()
			l.advertise(l.translated(text))
			ours := l.hears(h, "roam6")
			if d := differences(theirs, ours); len(d) > 0 {
				t.Errorf("they do not tell the same:\n%s", strings.Join(d, "\n"))
			}
			h.forget()
			l.stop()
			if says {
				l.until("roam6's end is told", func() (ok bool) { ourEnd, ok = h.farewell(); return ok })
				if d := differences(theirEnd.atEnd(), ourEnd.atEnd()); len(d) > 0 {
					t.Errorf("at the end they do not tell the same:\n%s", strings.Join(d, "\n"))
				}
			}
		})
	}
}
