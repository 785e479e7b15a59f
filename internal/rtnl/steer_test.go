package rtnl

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
	"roam6/internal/role"
	"roam6/overlay/tun"
)

const (
	tcp = unix.IPPROTO_TCP
	udp = unix.IPPROTO_UDP
)

var steeredHome = ip("2001:db8:10::9")

// newSteered is a mobile that is away: its home address on the data plane's
// device, a care-of address and a default route on the uplink.
func newSteered(t *testing.T) *fixture {
	f := newFixture(t)
	f.addTUN("roam0")
	f.must(f.state.SetHomeLink(f.mr.Index("roam0")))
	f.must(f.state.AssignAddress(f.assign("2001:db8:1::c0/64")))
	// Deprecated, as a mobile has it that is not the default source.
	f.must(f.state.AssignAddress(role.AssignAddress{Prefix: pfx("2001:db8:10::9/128"), Valid: forever, Home: true}))
	f.must(f.state.AddRoute(role.AddRoute{Route: f.defaultRoute("fe80::1", "", 512)}))
	return f
}

func (f *fixture) addTUN(name string) {
	f.mr.Do(func() error {
		return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: name}, Mode: netlink.TUNTAP_MODE_TUN})
	})
	f.mr.LinkUp(name)
}

// source is the address that a socket gets by connecting.
func (f *fixture) source(kind int, to string, port int, mark int) netip.Addr {
	f.t.Helper()
	var source netip.Addr
	f.mr.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if mark != 0 {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark); err != nil {
				return err
			}
		}
		err = unix.Connect(fd, &unix.SockaddrInet6{Port: port, Addr: ip(to).As16()})
		if err != nil && !errors.Is(err, unix.EINPROGRESS) {
			return fmt.Errorf("connect: %w", err)
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		source = netip.AddrFrom16(name.(*unix.SockaddrInet6).Addr)
		return nil
	})
	return source
}

// rules are the policy rules of the namespace with our priority, in order.
func (f *fixture) rules() []string {
	f.t.Helper()
	list, err := f.mr.Handle.RuleList(unix.AF_INET6)
	f.must(err)
	var all []string
	for _, r := range list {
		if r.Priority != SteeringPriority {
			continue
		}
		text := fmt.Sprintf("iif %s proto %d", r.IifName, r.IPProto)
		if r.Dport != nil {
			text += fmt.Sprintf(" ports %d-%d", r.Dport.Start, r.Dport.End)
		}
		if r.Mask == nil {
			text += " the data plane's packets, too"
		} else if mask := *r.Mask &^ ownBit; r.Mark != 0 || mask != 0 {
			text += fmt.Sprintf(" mark %#x/%#x", r.Mark, mask)
		}
		all = append(all, fmt.Sprintf("%s table %d", text, r.Table))
	}
	return all
}

// tables are the routes of our tables.
func (f *fixture) tables() []string {
	f.t.Helper()
	var all []string
	for table := SteeringTable; table < SteeringTable+4; table++ {
		list, err := f.mr.Handle.RouteListFiltered(unix.AF_INET6, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
		f.must(err)
		for _, r := range list {
			l, err := f.mr.Handle.LinkByIndex(r.LinkIndex)
			f.must(err)
			text := fmt.Sprintf("%d dev %s", table, l.Attrs().Name)
			if r.Gw != nil {
				text += " via " + r.Gw.String()
			}
			if r.Src != nil {
				text += " src " + r.Src.String()
			}
			all = append(all, text)
		}
	}
	slices.Sort(all)
	return all
}

func (f *fixture) checkLines(what string, got []string, want ...string) {
	f.t.Helper()
	if !slices.Equal(got, want) {
		f.t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What an application connects to by a chosen port, protocol or mark comes from
// the home address, and nothing else does.
func TestSteerSource(t *testing.T) {
	f := newSteered(t)
	careOf := ip("2001:db8:1::c0")
	const peer = "2001:db8:99::1"
	if got := f.source(unix.SOCK_STREAM, peer, 22, 0); got != careOf {
		t.Fatalf("before: source %v, want the care-of address", got)
	}
	f.must(f.state.Steer([]Steering{
		{Home: steeredHome, Protocol: tcp, FirstPort: 22},
		{Home: steeredHome, Protocol: udp, FirstPort: 5000, LastPort: 5009},
		{Home: steeredHome, Mark: 0x100, Mask: 0xf00},
	}))
	for _, tt := range []struct {
		name       string
		kind, port int
		mark       int
		want       netip.Addr
	}{
		{"tcp 22", unix.SOCK_STREAM, 22, 0, steeredHome},
		{"tcp 23", unix.SOCK_STREAM, 23, 0, careOf},
		{"udp 22", unix.SOCK_DGRAM, 22, 0, careOf},
		{"udp 4999", unix.SOCK_DGRAM, 4999, 0, careOf},
		{"udp 5000", unix.SOCK_DGRAM, 5000, 0, steeredHome},
		{"udp 5009", unix.SOCK_DGRAM, 5009, 0, steeredHome},
		{"udp 5010", unix.SOCK_DGRAM, 5010, 0, careOf},
		{"tcp 5000", unix.SOCK_STREAM, 5000, 0, careOf},
		{"mark", unix.SOCK_STREAM, 80, 0x1f1, steeredHome},
		{"other mark", unix.SOCK_STREAM, 80, 0x200, careOf},
	} {
		if got := f.source(tt.kind, peer, tt.port, tt.mark); got != tt.want {
			t.Errorf("%s: source %v, want %v", tt.name, got, tt.want)
		}
	}
	// Whoever chose another source, as signalling and tunnels do, keeps his way.
	if dev := f.device(careOf, peer, 22); dev != "u0" {
		t.Errorf("from the care-of address by %s", dev)
	}
	if dev := f.device(steeredHome, peer, 22); dev != "roam0" {
		t.Errorf("from the home address by %s", dev)
	}
	f.must(f.state.Steer(nil))
	if got := f.source(unix.SOCK_STREAM, peer, 22, 0); got != careOf {
		t.Errorf("after: source %v, want the care-of address", got)
	}
}

// device is by which interface a packet to a TCP port leaves.
func (f *fixture) device(from netip.Addr, to string, port int) string {
	f.t.Helper()
	var index int
	f.mr.Do(func() error {
		q, err := openRequests()
		if err != nil {
			return err
		}
		defer q.close()
		b := []byte{unix.AF_INET6, 128, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		v := ip(to).As16()
		b = nlsock.AppendAttribute(b, unix.RTA_DST, v[:])
		v = from.As16()
		b = nlsock.AppendAttribute(b, unix.RTA_SRC, v[:])
		b = nlsock.AppendAttribute(b, unix.RTA_IP_PROTO, []byte{tcp})
		b = nlsock.AppendAttribute(b, unix.RTA_DPORT, []byte{byte(port >> 8), byte(port)})
		return q.do(unix.RTM_GETROUTE, 0, b, unix.RTM_NEWROUTE, func(m []byte) {
			for kind, v := range nlsock.Attributes(m[unix.SizeofRtMsg:]) {
				if kind == unix.RTA_OIF {
					i, _ := nlsock.Uint32(v)
					index = int(i)
				}
			}
		})
	})
	l, err := f.mr.Handle.LinkByIndex(index)
	f.must(err)
	return l.Attrs().Name
}

// The set is wanted state: the same again changes nothing, another one replaces
// it, rules keep their order, and at home the traffic leaves by the home link.
func TestSteerChanges(t *testing.T) {
	f := newSteered(t)
	f.must(f.state.Reconcile())
	before := f.tables()
	ssh := Steering{Home: steeredHome, Protocol: tcp, FirstPort: 22}
	web := Steering{Home: steeredHome, Protocol: tcp, FirstPort: 80, LastPort: 81}
	f.must(f.state.Steer([]Steering{ssh, web, ssh}))
	const sshRule, webRule = "iif lo proto 6 ports 22-22 table 6300", "iif lo proto 6 ports 80-81 table 6300"
	f.checkLines("rules", f.rules(), sshRule, webRule)
	away := []string{"6300 dev roam0 src " + steeredHome.String(), "6300 dev roam0 src " + steeredHome.String()}
	f.checkLines("tables", f.tables(), away...)
	f.must(f.state.Steer([]Steering{ssh, web}))
	f.must(f.state.Reconcile())
	f.checkLines("rules", f.rules(), sshRule, webRule)
	f.checkLines("tables", f.tables(), away...)

	f.must(f.state.Steer([]Steering{web, ssh}))
	f.checkLines("rules in another order", f.rules(), webRule, sshRule)

	// A second home address has a table of its own, and the first keeps its.
	other := ip("2001:db8:11::9")
	f.must(f.state.AssignAddress(role.AssignAddress{Prefix: pfx("2001:db8:11::9/128"), Valid: forever, Preferred: forever, Home: true}))
	dns := Steering{Home: other, Protocol: udp, FirstPort: 53}
	f.must(f.state.Steer([]Steering{dns, ssh}))
	f.checkLines("rules of two", f.rules(), "iif lo proto 17 ports 53-53 table 6301", sshRule)
	if got := f.source(unix.SOCK_DGRAM, "2001:db8:99::1", 53, 0); got != other {
		t.Errorf("source %v, want %v", got, other)
	}
	f.must(f.state.Steer([]Steering{ssh}))
	f.checkLines("tables", f.tables(), away...)

	// Returning home, as the mobile node does it.
	atHome := ssh
	atHome.Device, atHome.Via = f.link, ip("fe80::1")
	f.must(f.state.AssignAddress(role.AssignAddress{Link: f.link, Prefix: pfx("2001:db8:10::9/64"), Valid: forever, Preferred: forever, Home: true}))
	f.must(f.state.Steer([]Steering{atHome}))
	f.must(f.state.UnassignAddress(role.UnassignAddress{Prefix: pfx("2001:db8:10::9/128")}))
	f.checkLines("tables at home", f.tables(), "6300 dev u0 via fe80::1 src 2001:db8:10::9", "6300 dev u0 via fe80::1 src 2001:db8:10::9")
	if got := f.source(unix.SOCK_STREAM, "2001:db8:99::1", 22, 0); got != steeredHome {
		t.Errorf("source at home %v", got)
	}

	f.must(f.state.Close())
	f.checkLines("rules after Close", f.rules())
	f.checkLines("tables after Close", f.tables(), before...)
	if err := f.state.Steer(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// What cannot be installed yet is installed when it can be.
func TestSteerDeferred(t *testing.T) {
	f := newFixture(t)
	home := role.AssignAddress{Prefix: pfx("2001:db8:10::9/128"), Valid: forever, Preferred: forever, Home: true}
	ssh := []Steering{{Home: steeredHome, Protocol: tcp, FirstPort: 22}}
	if err := f.state.Steer(ssh); !errors.Is(err, ErrDeferred) {
		t.Errorf("without a device: %v", err)
	}
	f.addTUN("roam0")
	if err := f.state.SetHomeLink(f.mr.Index("roam0")); !errors.Is(err, ErrDeferred) {
		t.Errorf("without the home address: %v", err)
	}
	f.must(f.state.AssignAddress(home))
	if n := len(f.tables()); n != 2 {
		t.Errorf("%d routes", n)
	}
	if got := f.source(unix.SOCK_STREAM, "2001:db8:99::1", 22, 0); got != steeredHome {
		t.Errorf("source %v", got)
	}
}

func TestSteerRejects(t *testing.T) {
	f := newSteered(t)
	for name, rules := range map[string][]Steering{
		"no home address": {{Protocol: tcp, FirstPort: 22}},
		"IPv4":            {{Home: ip("192.0.2.1")}},
		"ports reversed":  {{Home: steeredHome, FirstPort: 23, LastPort: 22}},
		"last port alone": {{Home: steeredHome, LastPort: 22}},
		"mark and mask":   {{Home: steeredHome, Mark: 0x10, Mask: 0x1}},
		"our mark":        {{Home: steeredHome, Mark: tun.DefaultMark}},
		"a part of it":    {{Home: steeredHome, Mark: ownBit, Mask: ownBit}},
		"two ways":        {{Home: steeredHome, FirstPort: 1}, {Home: steeredHome, FirstPort: 2, Device: f.link}},
	} {
		if err := f.state.Steer(rules); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	f.checkLines("rules", f.rules())
	if err := f.state.Steer([]Steering{{Home: steeredHome, Mark: ownBit, Mask: tun.DefaultMarkMask}}); err != nil {
		t.Errorf("another mark with a bit of ours: %v", err)
	}
	if ownMark != tun.DefaultMark || ownBit > ownMark || 2*ownBit <= ownMark {
		t.Error("our mark is not the data plane's")
	}
}

// A killed instance's rules and tables are adopted or removed (B2), and what
// somebody flushes comes back.
func TestSteerCrashAndRestore(t *testing.T) {
	f := newSteered(t)
	ssh := Steering{Home: steeredHome, Protocol: tcp, FirstPort: 22}
	web := Steering{Home: steeredHome, Protocol: tcp, FirstPort: 80}
	f.must(f.state.Steer([]Steering{web, ssh}))
	f.kill()
	f.start()
	f.must(f.state.SetHomeLink(f.mr.Index("roam0")))
	f.checkLines("rules before the roles have spoken", f.rules(), "iif lo proto 6 ports 80-80 table 6300", "iif lo proto 6 ports 22-22 table 6300")
	f.must(f.state.AssignAddress(f.assign("2001:db8:1::c0/64")))
	// Deprecated, as a mobile has it that is not the default source.
	f.must(f.state.AssignAddress(role.AssignAddress{Prefix: pfx("2001:db8:10::9/128"), Valid: forever, Home: true}))
	f.must(f.state.Steer([]Steering{ssh}))
	f.checkLines("rules", f.rules(), "iif lo proto 6 ports 22-22 table 6300")

	f.startWatch(WatchOptions{})
	f.must(f.state.Reconcile())
	rules, tables := f.rules(), f.tables()
	restored := func() bool { return slices.Equal(f.rules(), rules) && slices.Equal(f.tables(), tables) }
	t.Run("rule deleted", func(t *testing.T) {
		list, err := f.mr.Handle.RuleList(unix.AF_INET6)
		f.must(err)
		for _, r := range list {
			if r.Priority == SteeringPriority {
				r.Family = unix.AF_INET6
				f.must(f.mr.Handle.RuleDel(&r))
			}
		}
		eventually(t, "the rule is back", restored)
	})
	t.Run("table flushed", func(t *testing.T) {
		f.mr.Do(func() error {
			q, err := openRequests()
			if err != nil {
				return err
			}
			defer q.close()
			for _, from := range []netip.Addr{netip.IPv6Unspecified(), steeredHome} {
				r := steeringRoute{table: SteeringTable, from: from, link: f.mr.Index("roam0")}
				if err := q.command(unix.RTM_DELROUTE, 0, steeringRouteBody(r)); err != nil {
					return err
				}
			}
			return nil
		})
		eventually(t, "the routes are back", restored)
	})
	t.Run("device down and up", func(t *testing.T) {
		f.mr.LinkDown("roam0")
		f.mr.LinkUp("roam0")
		eventually(t, "all is back", restored)
	})
	t.Run("device gone", func(t *testing.T) {
		f.must(f.mr.Handle.LinkDel(f.mr.Link("roam0")))
		eventually(t, "no routes", func() bool { return len(f.tables()) == 0 })
	})
	f.kill()

	// Killed again, and nothing is wanted any more.
	f.start()
	f.must(f.state.Reconcile())
	f.checkLines("rules", f.rules())
	f.checkLines("tables", f.tables())
}

// Somebody else's rules and routes with our numbers are left alone.
func TestSteerForeign(t *testing.T) {
	f := newSteered(t)
	rule := netlink.NewRule()
	rule.Family, rule.Priority, rule.Table, rule.IifName = unix.AF_INET6, SteeringPriority, SteeringTable+3, "lo"
	f.must(f.mr.Handle.RuleAdd(rule))
	theirs := f.rules()
	f.must(f.state.Steer([]Steering{{Home: steeredHome, Protocol: tcp, FirstPort: 22}}))
	if len(f.rules()) != 2 {
		t.Errorf("rules %q", f.rules())
	}
	f.must(f.state.Close())
	f.checkLines("rules", f.rules(), theirs...)
}

// RFC 6724 §5 leaves the choice of the source to whoever knows better: the
// preferred source of a default route, which may be an address of another
// device.
func TestPreferredSource(t *testing.T) {
	f := newSteered(t)
	const peer = "2001:db8:99::1"
	f.must(f.state.AddRoute(role.AddRoute{Route: f.defaultRoute("fe80::1", steeredHome.String(), 512)}))
	if got := f.source(unix.SOCK_STREAM, peer, 80, 0); got != steeredHome {
		t.Errorf("source %v, want the home address, which is on another device", got)
	}
	// Back to the kernel's own choice.
	f.must(f.state.AddRoute(role.AddRoute{Route: f.defaultRoute("fe80::1", "", 512)}))
	if got := f.source(unix.SOCK_STREAM, peer, 80, 0); got != ip("2001:db8:1::c0") {
		t.Errorf("source %v, want the care-of address", got)
	}
	absent := f.defaultRoute("fe80::2", "2001:db8:77::1", 600)
	if err := f.state.AddRoute(role.AddRoute{Route: absent}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a source that is not assigned: %v", err)
	}
}

// RFC 8028 §3.2: each of two uplinks has a default route for its own prefix, and
// the route without a source is for the rest.
func TestSourceSpecificRoutes(t *testing.T) {
	f := newFixture(t)
	f.startWatch(WatchOptions{})
	f.must(f.state.Reconcile())
	f.must(f.state.AssignAddress(f.assign("2001:db8:1::c0/64")))
	f.must(f.state.AssignAddress(f.assign("2001:db8:2::c0/64")))
	first, second := f.defaultRoute("fe80::1", "", 512), f.defaultRoute("fe80::2", "", 512)
	first.From, second.From = pfx("2001:db8:1::77/64"), pfx("2001:db8:2::/64")
	add := func(r role.Route) { t.Helper(); f.must(f.state.AddRoute(role.AddRoute{Route: r})) }
	add(f.defaultRoute("fe80::1", "", 512))
	add(first)
	add(second)
	add(second)
	const addresses = `
address 2001:db8:1::c0/64 dev u0 valid 3600sec preferred 3600sec
address 2001:db8:2::c0/64 dev u0 valid 3600sec preferred 3600sec
`
	all := addresses + `route default via fe80::1 dev u0 metric 512
route default from 2001:db8:1::/64 via fe80::1 dev u0 metric 512
route default from 2001:db8:2::/64 via fe80::2 dev u0 metric 512
`
	f.check(all)
	for from, via := range map[string]string{"2001:db8:1::c0": "fe80::1", "2001:db8:2::c0": "fe80::2"} {
		routes, err := f.mr.Handle.RouteGetWithOptions(ip("2001:db8:99::1").AsSlice(), &netlink.RouteGetOptions{SrcAddr: ip(from).AsSlice()})
		f.must(err)
		if len(routes) != 1 || routes[0].Gw.String() != via {
			t.Errorf("from %s: %v, want via %s", from, routes, via)
		}
	}
	if got := f.source(unix.SOCK_STREAM, "2001:db8:99::1", 80, 0); !got.IsValid() {
		t.Error("no source without a choice")
	}
	f.mr.Do(func() error { // somebody else
		q, err := openRequests()
		if err != nil {
			return err
		}
		defer q.close()
		return q.deleteRoute(second)
	})
	eventually(t, "the route is back", func() bool { return f.present() == all[1:] })
	anywhere := first
	anywhere.From = pfx("::/0") // the same as none
	f.must(f.state.RemoveRoute(role.RemoveRoute{Route: anywhere}))
	f.must(f.state.RemoveRoute(role.RemoveRoute{Route: second}))
	f.check(addresses + "route default from 2001:db8:1::/64 via fe80::1 dev u0 metric 512\n")
	if err := f.state.AddRoute(role.AddRoute{Route: role.Route{Destination: pfx("::/0"), From: pfx("192.0.2.0/24"), Link: f.link}}); err == nil {
		t.Error("an IPv4 source accepted")
	}
	f.must(f.state.Close())
	f.start()
	f.check("")
}

// What is written can be read back, on either byte order.
func TestSteeringMessages(t *testing.T) {
	for _, r := range []steeringRule{
		{table: 6300, protocol: tcp, first: 22, last: 22},
		{table: 6300 + 1<<16, first: 1, last: 65535, mark: 0, mask: 0xff},
		{table: 6301, mark: 0x62750000, mask: 0xffff0000},
	} {
		if got, ok := parseSteeringRule(steeringRuleBody(r)); !ok || got != r {
			t.Errorf("%v became %v, %v", r, got, ok)
		}
	}
	other := steeringRule{table: 6275, protocol: tcp}
	if _, ok := parseSteeringRule(steeringRuleBody(other)); ok {
		t.Error("a rule to another table taken for ours")
	}
	if _, ok := parseSteeringRule(nil); ok {
		t.Error("nothing taken for a rule")
	}
	for _, r := range []steeringRoute{
		{6300, netip.IPv6Unspecified(), steeredHome, 7, netip.Addr{}},
		{6301, steeredHome, steeredHome, 1 << 20, ip("fe80::1")},
	} {
		got := parseSteeringRoutes(steeringRouteBody(r))
		if len(got) != 1 || got[0] != r {
			t.Errorf("%v became %v", r, got)
		}
	}
	if got := parseSteeringRoutes(routeBody(route("::/0", "fe80::1", 7, "", 512))); got != nil {
		t.Errorf("a route of the main table: %v", got)
	}
}
