package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/control"
	"roam6/internal/lab/netns"
	labworld "roam6/internal/lab/world"
)

// village is a world of two nodes: a home agent that is the access router too,
// and a host that is away from home.
type village struct {
	*testing.T
	world        *labworld.World
	before       labworld.Snapshots
	agent, host  *process
	agentSpace   *netns.Space
	hostSpace    *netns.Space
	hostEthernet net.HardwareAddr
	raw          int    // sends to the host's link whatever one likes
	directory    string // for what is of one daemon and of the next
}

const (
	agentFile = `config globals 'globals'
	option control '%s'
config interface
	option interface 'wan0'
	option AdvSendAdvert '1'
	option AdvIntervalOpt '1'
	option min_interval_ms '30'
	option max_interval_ms '70'
config prefix
	option interface 'wan0'
	list prefix '2001:db8:a1::/64'
config home_agent 'ha'
	option interface 'home0'
	option address '2001:db8:10::1'
	list prefix '2001:db8:10::/64'
	option dad '0'
config mobile 'phone'
	option home_address '2001:db8:10::100'
	option spi '256'
	option key '000102030405060708090a0b0c0d0e0f'
`
	hostFile = `config globals 'globals'
	option control '%s'
config mobile_node 'phone'
	option home_address '2001:db8:10::100/64'
	option home_agent '2001:db8:10::1'
	list uplink 'up0'
	option spi '256'
	option key '000102030405060708090a0b0c0d0e0f'
`
)

var (
	villageHome  = netip.MustParseAddr("2001:db8:10::100")
	villageAgent = netip.MustParseAddr("2001:db8:10::1")
	villageAR    = netip.MustParseAddr("2001:db8:a1::1")
	// villagePeer is beyond the home agent.
	villagePeer = netip.MustParseAddrPort("[2001:db8:c::1]:9007")
)

// newVillage builds the world and starts the daemons, of a binary.
func newVillage(t *testing.T, binary string) *village {
	t.Helper()
	return newVillageOf(t, binary, agentFile, hostFile)
}

// newVillageOf does so with other configurations, in which %s is the control socket.
func newVillageOf(t *testing.T, binary, agentFile, hostFile string) *village {
	t.Helper()
	v := emptyVillage(t)
	v.agent = v.start(v.agentSpace, binary, "agent", agentFile)
	v.until("the home agent knows its links", v.advertises)
	v.host = v.start(v.hostSpace, binary, "host", hostFile)
	v.works()
	return v
}

// emptyVillage builds the world.
func emptyVillage(t *testing.T) *village {
	t.Helper()
	w, err := labworld.Build(labworld.Topology{Nodes: []labworld.Node{{Name: "agent", Router: true}, {Name: "host"}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	v := &village{T: t, world: w, agentSpace: w.Space("agent"), hostSpace: w.Space("host"), hostEthernet: net.HardwareAddr{2, 6, 6, 0, 0, 2}, directory: t.TempDir()}
	v.homeLink()
	v.plug("up0")
	v.must(v.agentSpace.Do(func() (err error) {
		v.raw, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	t.Cleanup(func() { unix.Close(v.raw) })
	v.echo()
	v.until("the world is at rest", func() bool {
		last := v.before
		v.before = v.snapshots()
		return last != nil && len(labworld.Compare(last, v.before)) == 0 && strings.Contains(strings.Join(v.before["host"], "\n"), "fe80::")
	})
	return v
}

// advertises reports whether the access router has sent advertisements.
func (v *village) advertises() bool {
	s, err := v.agent.client.Stats(context.Background())
	return err == nil && s.Daemon.RouterAdvertisementsSent > 0
}

func (v *village) must(err error) {
	v.Helper()
	if err != nil {
		v.Fatal(err)
	}
}

func (v *village) until(what string, holds func() bool) {
	v.Helper()
	await(v.T, 20*time.Second, what, func(yield func(*process) bool) {
		for _, p := range []*process{v.agent, v.host} {
			if p != nil && !yield(p) {
				return
			}
		}
	}, holds)
}

func (v *village) snapshots() labworld.Snapshots {
	v.Helper()
	s, err := v.world.Snapshots()
	v.must(err)
	return s
}

// up sets an interface up or down.
func (v *village) up(s *netns.Space, name string, up bool) {
	v.Helper()
	link, err := s.Link.LinkByName(name)
	v.must(err)
	if up {
		v.must(s.Link.LinkSetUp(link))
	} else {
		v.must(s.Link.LinkSetDown(link))
	}
}

// plug connects the host with the access router by a new cable.
func (v *village) plug(name string) {
	v.Helper()
	// Other indices at one end than at the other: see nstest.Veth.
	index := 1000 + len(v.links(v.agentSpace))
	v.must(v.agentSpace.Link.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "wan0", Index: index, TxQLen: -1, HardwareAddr: net.HardwareAddr{2, 6, 6, 0, 0, 1}},
		PeerName:  name, PeerHardwareAddr: v.hostEthernet, PeerTxQLen: -1, PeerNamespace: netlink.NsFd(v.hostSpace.FD()),
	}))
	v.up(v.agentSpace, "wan0", true)
	v.up(v.hostSpace, name, true)
	v.must(labworld.AddAddress(v.agentSpace, "wan0", netip.PrefixFrom(villageAR, 64)))
}

func (v *village) links(s *netns.Space) []netlink.Link {
	v.Helper()
	list, err := s.Link.LinkList()
	v.must(err)
	return list
}

// echo answers datagrams at the peer until the test ends.
func (v *village) echo() {
	v.Helper()
	var c net.PacketConn
	v.must(v.agentSpace.Do(func() (err error) {
		c, err = net.ListenPacket("udp", villagePeer.String())
		return err
	}))
	v.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 64)
		for {
			n, from, err := c.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = c.WriteTo(b[:n], from)
			}
		}
	}()
}

// reaches sends a datagram from the home address to the peer and waits for its
// echo.
func (v *village) reaches() bool {
	return v.hostSpace.Do(func() error {
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(villageHome, 0)), net.UDPAddrFromAddrPort(villagePeer))
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			return err
		}
		if _, err := c.Write([]byte("anybody there?")); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 64))
		return err
	}) == nil
}

// update is what the host's daemon says of its registration.
func (v *village) update() control.Update {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	u, err := v.host.client.Updates(ctx)
	if err != nil || len(u.Updates) != 1 {
		return control.Update{}
	}
	return u.Updates[0]
}

// works waits until the host is registered and reaches its peer.
func (v *village) works() {
	v.Helper()
	v.until("the host is registered and reaches its peer", func() bool {
		u := v.update()
		return u.Registered && !u.Lost && !u.Pending && v.reaches()
	})
}

// end ends the daemons in order and looks that nothing is left of them.
func (v *village) end() {
	v.Helper()
	for _, p := range []*process{v.host, v.agent} {
		if p.over() {
			v.Fatalf("the daemon of %s had ended: %v", p.name, p.result)
		}
		p.end(v.T)
	}
	if left := labworld.Compare(v.before, v.snapshots()); len(left) > 0 {
		v.Errorf("left:\n%s", strings.Join(left, "\n"))
	}
}

// start starts a daemon of a configuration, in which %s is the control socket.
func (v *village) start(s *netns.Space, binary, name, text string) *process {
	v.Helper()
	directory := v.TempDir()
	paths := daemonPaths{config: filepath.Join(directory, "roam6"), socket: filepath.Join(directory, "s"), log: filepath.Join(directory, "log")}
	v.must(os.WriteFile(paths.config, fmt.Appendf(nil, text, paths.socket), 0o600))
	p := startProcess(v.T, s, binary, name, paths)
	v.until(name+" answers", p.answers)
	return p
}
