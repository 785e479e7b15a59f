package main

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	labworld "roam6/internal/lab/world"
)

// Where the phones of the watched estate live, and what they share with the anchor.
const (
	watchedPhones = 10
	shortLived    = 7 // of them: those without the anchor, which wants lifetimes of 20 s
	anchorAddress = "2001:db8:d005::1"
	anchorKey     = "5d0f6a2b9c1e4d7f80a3b6c9d2e5f801"
)

// watched is an estate with every role, for the alerts: a home agent, an access router
// that is an anchor too, a correspondent, a mobile router, and a machine with phones.
type watched struct {
	*watch
	// disk is what the home agent's control socket is on, nil where there is no loop device
	// to make one with.
	disk *disk
	// unproven are the alerts that nothing here can make fire, and why; promtool alone
	// proves them (contrib/prometheus/alerts_test.yml).
	unproven map[string]string
}

func phone(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 0x10, 14: 3, 15: byte(i)})
}

func (w *watched) agent(fleet int, edit ...string) string {
	mobiles := []string{w.mobile("Bus_1", estateHome, isRouter), w.mobile("Bus_2", estateHome2, isRouter)}
	for i := range fleet {
		mobiles = append(mobiles, w.mobile(fmt.Sprint("phone", i), phone(i), ""))
	}
	text := w.homeAgent(estateAgent, "\tlist delegation_pool '2001:db8:8000::/56'\n", mobiles...) + w.metrics("agent")
	return strings.NewReplacer(edit...).Replace(text)
}

func (w *watched) ar(edit ...string) string {
	text := w.accessRouter() + fmt.Sprintf(estateAdvertise, "core0") +
		"config map_option\n\toption interface 'acc0'\n\toption address '" + anchorAddress + "'\n\toption distance '1'\n" +
		"config anchor 'city'\n\toption address '" + anchorAddress + "'\n\tlist served_prefix '2001:db8:a1::/64'\n\toption max_bindings '8'\n" +
		"config visitor 'all'\n\toption spi '2000'\n\toption key '" + anchorKey + "'\n" + w.metrics("ar")
	return strings.NewReplacer(edit...).Replace(text)
}

func (w *watched) bus() string {
	return w.router("Bus_1", estateHome, toAgent+getsPrefix) + w.metrics("mr")
}

const usesAnchor = "\toption hierarchy '1'\n"

func knowsAnchor() string {
	return "config anchor_key 'city'\n\toption spi '2000'\n\toption key '" + anchorKey + "'\n\toption anchors '" + anchorAddress + "'\n"
}

// phones is the configuration of the machine with the phones, of which the first one
// optimises its routes and the last three use the anchor.
func (w *watched) phones(more string) string {
	var b strings.Builder
	for i := range watchedPhones {
		fmt.Fprintf(&b, "config mobile_node 'phone%d'\n\toption home_address '%s/64'\n\toption key '%s'\n\tlist uplink 'up0'\n%s\toption lifetime '%d'\n", i, phone(i), estateKey, toAgent, map[bool]int{true: 8, false: 20}[i < shortLived])
		switch {
		case i == 0:
			b.WriteString("\toption route_optimization 'on'\n")
		case i >= shortLived:
			b.WriteString(usesAnchor)
		}
	}
	return b.String() + knowsAnchor() + w.metrics("mr2") + more
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Skip("needs Prometheus, of the Debian package prometheus")
	}
	e := newEstate(t)
	var err error
	w := &watched{watch: e.newWatch("agent", "ar", "cn", "mr", "mr2"), unproven: map[string]string{}}
	if w.disk, err = newDisk(t); err != nil {
		w.unproven["Roam6Stuck"] = err.Error()
	} else {
		w.sockets["agent"] = w.disk.dir
	}
	w.start("ar", w.ar())
	w.must(labworld.AddAddress(w.world.Space("ar"), "lo", netip.MustParsePrefix(anchorAddress+"/128")))
	w.start("agent", w.agent(watchedPhones))
	w.start("cn", "config correspondent\n"+w.metrics("cn"))
	for _, name := range []string{"mr", "mr2"} {
		w.move(name, "ar")
	}
	w.start("mr", w.bus())
	w.start("mr2", w.phones(""))
	w.registeredAt("mr", true)
	w.reached("mnn", w.addressOf("mnn", netip.PrefixFrom(w.delegatedTo("agent", "Bus_1").Addr(), 64)))
	w.scrape(w.nodes...)
	w.begin()
	w.until("all are connected, by anchors and on optimised routes, and Prometheus sees it", func() bool {
		w.echo("mr2", phone(0), estateCN)
		return w.value("roam6_connected", "mr") == 1 && w.value("roam6_connected", "mr2") == watchedPhones &&
			w.value("roam6_bindings", "agent") == watchedPhones+1 && w.value("roam6_anchor_bindings", "ar") == watchedPhones-shortLived &&
			w.value("roam6_correspondent_bindings", "cn") == 1
	})
	return w
}

// plug sets the uplink of a node up or down.
func (w *watched) plug(node string, up bool) {
	w.Helper()
	link := w.link(node, "up0")
	if up {
		w.must(w.world.Space(node).Link.LinkSetUp(link))
	} else {
		w.must(w.world.Space(node).Link.LinkSetDown(link))
	}
}

// pause stops a daemon for a while.
func (w *watched) pause(node string, d time.Duration) {
	w.Helper()
	p := w.daemons[node].cmd.Process
	w.must(p.Signal(syscall.SIGSTOP))
	time.Sleep(d)
	w.must(p.Signal(syscall.SIGCONT))
}

// storm is more than a daemon's sockets have room for, while it does not read.
func (w *watched) storm(node string) {
	w.Helper()
	p := w.daemons[node].cmd.Process
	w.must(p.Signal(syscall.SIGSTOP))
	link := w.world.Space(node).Link
	lo := w.link(node, "lo")
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP("2001:db8:dead::1"), Mask: net.CIDRMask(128, 128)}, Flags: unix.IFA_F_NODAD}
	for range 4000 {
		w.must(link.AddrAdd(lo, address))
		w.must(link.AddrDel(lo, address))
	}
	w.must(p.Signal(syscall.SIGCONT))
}

// careOfOn is the care-of address of a node on the access link; invalid: none.
func (w *watched) careOfOn(node string) netip.Addr {
	w.Helper()
	list, err := w.world.Space(node).Link.AddrList(w.link(node, "up0"), netlink.FAMILY_V6)
	w.must(err)
	for _, x := range list {
		if a, ok := netip.AddrFromSlice(x.IP); ok && netip.MustParsePrefix("2001:db8:a1::/64").Contains(a) {
			return a
		}
	}
	return netip.Addr{}
}

// talk sends fifty datagrams a second from an address, whatever becomes of them.
func (w *watched) talk(node string, from netip.Addr) (stop func()) {
	w.Helper()
	var c *net.UDPConn
	w.must(w.world.Space(node).Do(func() (err error) {
		c, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(estateCN, 9)))
		return err
	}))
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer c.Close()
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-tick.C:
				_, _ = c.Write([]byte("hello"))
			case <-end:
				tick.Stop()
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}
