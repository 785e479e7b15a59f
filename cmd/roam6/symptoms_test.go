package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/lab/netns"
	labworld "roam6/internal/lab/world"
)

// Nothing that happens to its sockets and interfaces ends a daemon, or keeps it
// from coming back to work: the uplink pulled in the middle of sending, no route
// to the home agent, notifications lost in a storm of changes, the interface
// removed and another one plugged in or renamed to its name, advertisements that
// say nothing. It is the same process all the time, and leaves nothing.
//
// Covers: B10, B5, B2.
func TestNothingEndsIt(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	v := newVillage(t, os.Args[0])
	for _, c := range []struct {
		name   string
		happen func(*village)
	}{
		{"uplink pulled while sending", (*village).pulled},
		{"network unreachable", (*village).unreachable},
		{"notifications lost", (*village).storm},
		{"interface removed and plugged in again", (*village).unplugged},
		{"interface renamed", (*village).renamed},
		{"advertisements without prefixes", (*village).emptyAdvertisements},
	} {
		t.Run(c.name, func(t *testing.T) {
			here := *v
			here.T = t
			c.happen(&here)
			here.works()
		})
		if t.Failed() {
			return
		}
	}
	v.end()
}

// pulled: datagrams and signalling are on the way when the carrier goes.
func (v *village) pulled() {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				v.reaches()
			}
		}
	}()
	for range 5 {
		v.up(v.agentSpace, "wan0", false)
		v.until("the host notices that the carrier is gone", func() bool { u := v.update(); return u.Lost || u.Attachment == nil })
		v.up(v.agentSpace, "wan0", true)
		v.must(labworld.AddAddress(v.agentSpace, "wan0", netip.PrefixFrom(villageAR, 64)))
		v.until("the host is back", func() bool { u := v.update(); return u.Registered && !u.Lost })
	}
	close(stop)
	<-stopped
}

// unreachable: every update is refused by the host's own kernel.
func (v *village) unreachable() {
	wall := netlink.NewRule()
	wall.Family, wall.Priority, wall.Type = unix.AF_INET6, 5, unix.RTN_UNREACHABLE
	wall.Dst = &net.IPNet{IP: villageAgent.AsSlice(), Mask: net.CIDRMask(128, 128)}
	v.must(v.hostSpace.Link.RuleAdd(wall))
	u := v.update()
	v.refuse(u.CareOf) // a reason to register anew
	v.until("updates are tried and repeated", func() bool { return v.update().Sequence-u.Sequence >= 2 })
	v.must(v.hostSpace.Link.RuleDel(wall))
}

// storm: while the daemon does not get to read, more happens than its sockets
// have room for, and its carrier goes and comes among it.
func (v *village) storm() {
	overruns := func() uint64 {
		s, err := v.host.client.Stats(context.Background())
		if err != nil {
			return 0
		}
		return s.Daemon.NetlinkOverruns
	}
	before := overruns()
	v.must(v.host.cmd.Process.Signal(syscall.SIGSTOP))
	lo, err := v.hostSpace.Link.LinkByName("lo")
	v.must(err)
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP("2001:db8:dead::1"), Mask: net.CIDRMask(128, 128)}, Flags: unix.IFA_F_NODAD}
	for range 4000 {
		v.must(v.hostSpace.Link.AddrAdd(lo, address))
		v.must(v.hostSpace.Link.AddrDel(lo, address))
	}
	v.up(v.agentSpace, "wan0", false)
	v.up(v.agentSpace, "wan0", true)
	v.must(labworld.AddAddress(v.agentSpace, "wan0", netip.PrefixFrom(villageAR, 64)))
	v.must(v.host.cmd.Process.Signal(syscall.SIGCONT))
	v.until("notifications were lost (ENOBUFS)", func() bool { return overruns() > before })
}

func (v *village) remove(name string) {
	v.Helper()
	link, err := v.hostSpace.Link.LinkByName(name)
	v.must(err)
	v.must(v.hostSpace.Link.LinkDel(link)) // and its other end
}

// unplugged: both daemons lose the interface under their sockets.
func (v *village) unplugged() {
	v.remove("up0")
	v.until("the host is nowhere", func() bool { u := v.update(); return u.Lost || u.Attachment == nil })
	v.plug("up0")
}

// renamed: what is plugged in gets the right name later.
func (v *village) renamed() {
	v.remove("up0")
	v.plug("usb0")
	v.rename("usb0", "up0")
	v.works()
	v.rename("up0", "usb0")
	v.until("the host is nowhere", func() bool { u := v.update(); return u.Lost || u.Attachment == nil })
	v.rename("usb0", "up0")
}

func (v *village) rename(from, to string) {
	v.Helper()
	link, err := v.hostSpace.Link.LinkByName(from)
	v.must(err)
	// Kernels before 6.2 rename only what is down.
	v.must(v.hostSpace.Link.LinkSetDown(link))
	v.must(v.hostSpace.Link.LinkSetName(link, to))
	v.must(v.hostSpace.Link.LinkSetUp(link))
}

// After fifty moves, the last of them home, with the process of the mobile router
// killed and started again on the way, and then ended in order, there are the
// same addresses, routes, rules, tunnels and nftables as before: the lab compares
// them in every namespace. A mobile router does all that a mobile node does, and
// finds its way by what it hears on the uplink. The stops are long enough for
// three updates a second, which RFC 6275 §11.8 allows.
//
// Covers: B2, R1, R6, R7.
func TestFiftyMoves(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	r, _ := world(t, "ride --handovers 52 --dwell 700ms --dwell-fast 700ms --probe-interval 4ms --kill mr")
	if n := len(r.Handovers); n != 52 || r.Handovers[n-1].To != "home" {
		t.Errorf("%d moves, the last to %q", n, r.Handovers[n-1].To)
	}
}

// A kernel without Mobile IPv6, IPv6 tunnels and IPsec is enough: the daemons
// use none of them where they are, load nothing, and what they keep beside
// sockets is a TUN device and one table of nftables, which OpenWrt has.
//
// Covers: B7.
func TestStockKernel(t *testing.T) {
	needWorlds(t)
	modules := func() string { b, _ := os.ReadFile("/proc/modules"); return loaded(string(b)) }
	before := modules()
	v := newVillage(t, os.Args[0])
	for name, s := range map[string]*netns.Space{"agent": v.agentSpace, "host": v.hostSpace} {
		for _, l := range v.links(s) {
			if kind := l.Type(); !slices.Contains([]string{"veth", "tuntap", "device"}, kind) {
				t.Errorf("%s has %s, of the kind %s", name, l.Attrs().Name, kind)
			}
		}
		states, err := s.Link.XfrmStateList(netlink.FAMILY_V6)
		if err == nil && len(states) > 0 {
			t.Errorf("%s has IPsec states: %v", name, states)
		}
		policies, err := s.Link.XfrmPolicyList(netlink.FAMILY_V6)
		if err == nil && len(policies) > 0 {
			t.Errorf("%s has IPsec policies: %v", name, policies)
		}
	}
	for node, snapshot := range v.snapshots() {
		tables := slices.DeleteFunc(slices.Clone(snapshot), func(line string) bool { return !strings.HasPrefix(line, "nftables ") })
		if len(tables) > 2 { // of signalling, and of the data plane
			t.Errorf("%s has the tables %q", node, tables)
		}
	}
	if after := modules(); after != before {
		t.Errorf("kernel modules now:\n%s\nbefore:\n%s", after, before)
	}
	v.end()
}

// loaded are the names of the modules in /proc/modules.
func loaded(text string) string {
	var names []string
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, " ")
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, "\n")
}

// The running daemons have two capabilities, and a mobile node the ports of DHCPv6,
// on every thread, and can get no other.
//
// Covers: Attack: kept privileges.
func TestKeptPrivileges(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	v := newVillage(t, withoutCgo(t))
	for _, p := range []*process{v.agent, v.host} {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.cmd.Process.Pid))
		v.must(err)
		if len(threads) < 2 {
			t.Errorf("%s has %d threads", p.name, len(threads))
		}
		for _, file := range threads {
			status, err := os.ReadFile(file)
			if errors.Is(err, os.ErrNotExist) {
				continue // it has ended
			}
			v.must(err)
			kept := 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW
			if p == v.host {
				kept |= 1 << unix.CAP_NET_BIND_SERVICE
			}
			for name, want := range map[string]string{
				"CapEff": fmt.Sprintf("%016x", kept), "CapPrm": fmt.Sprintf("%016x", kept),
				"CapInh": fmt.Sprintf("%016x", 0), "CapAmb": fmt.Sprintf("%016x", 0), "NoNewPrivs": "1",
			} {
				if !bytes.Contains(status, []byte("\n"+name+":\t"+want+"\n")) {
					t.Errorf("%s, %s: %s is not %s\n%s", p.name, file, name, want, status)
				}
			}
		}
	}
	v.end() // and can still do all it has to
}

// withoutCgo is a binary without cgo, as it is delivered: Go cannot give up the
// privileges of threads that it has not made.
func withoutCgo(t *testing.T) string {
	t.Helper()
	binary, err := binaryWithoutCgo()
	if err != nil {
		t.Skip("needs the go tool to build a binary without cgo:", err)
	}
	return binary
}

// binaryWithoutCgo is built once, in the directory for temporary files of the tests.
var binaryWithoutCgo = sync.OnceValues(func() (string, error) {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "CGO_ENABLED", Value: "0"}) {
		return os.Args[0], nil
	}
	binary := filepath.Join(filesOfAll, "roam6")
	cmd := exec.Command("go", "build", "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return binary, nil
})
