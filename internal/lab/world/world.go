package world

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/lab/netns"
	"roam6/internal/lab/relay"
)

// World is a topology that exists.
type World struct {
	Relay *relay.Relay

	spaces   map[string]*netns.Space
	switches map[string]*netns.Space // LANs
	listens  map[string]bool         // Node.Listens
	fabric   *netns.Space            // where the inner ends of relayed links are
	stations map[[2]string]*station
	routers  map[string]*relay.Port // of air interfaces, by node
	wires    map[[2]string][2]*relay.Port
	plugs    map[string][]netlink.Link // the fabric's sides of a node's relayed interfaces
	created  int                       // interfaces so far
}

// station is an interface with a port in the fabric.
type station struct {
	port *relay.Port
	link netlink.Link // the fabric's side
	end  End
}

// fabricIndex is where the interface indexes in the fabric begin. An interface
// whose index equals its peer's has its carrier changes reported up to a second
// late: the kernel takes it for one without a lower layer.
const fabricIndex = 1000

// mtu of all links.
const mtu = 1500

// Build makes the world. The seed decides about every random choice of its
// links. On failure nothing remains.
func Build(t Topology, seed uint64) (w *World, err error) {
	if err := t.Validate(); err != nil {
		return nil, fmt.Errorf("topology: %w", err)
	}
	w = &World{
		spaces:   map[string]*netns.Space{},
		switches: map[string]*netns.Space{},
		listens:  map[string]bool{},
		stations: map[[2]string]*station{},
		routers:  map[string]*relay.Port{},
		wires:    map[[2]string][2]*relay.Port{},
		plugs:    map[string][]netlink.Link{},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if w.fabric, err = netns.New("fabric"); err != nil {
		return w, err
	}
	if err := w.fabric.SetSysctl("net/ipv6/conf/default/disable_ipv6", "1"); err != nil {
		return w, err
	}
	if w.Relay, err = relay.New(seed); err != nil {
		return w, err
	}
	for _, n := range t.Nodes {
		if err := w.addNode(n); err != nil {
			return w, err
		}
	}
	for _, l := range t.LANs {
		if err := w.addLAN(l); err != nil {
			return w, fmt.Errorf("LAN %s: %w", l.Name, err)
		}
	}
	for _, wire := range t.Wires {
		if err := w.addWire(wire); err != nil {
			return w, fmt.Errorf("wire %s–%s: %w", wire.A.Node, wire.B.Node, err)
		}
	}
	for _, air := range t.Airs {
		if err := w.addAir(air); err != nil {
			return w, err
		}
	}
	for node, routes := range t.Routes() {
		for _, r := range routes {
			if err := w.addRoute(w.spaces[node], r); err != nil {
				return w, fmt.Errorf("%s: route to %v: %w", node, r.Prefix, err)
			}
		}
	}
	return w, w.settle()
}

const (
	settleTime  = 10 * time.Second
	settlePause = 10 * time.Millisecond
)

// settle waits until the kernel has finished what it does behind the scenes:
// links become ready, and addresses and routes with them.
func (w *World) settle() error {
	var before Snapshots
	for start := time.Now(); ; time.Sleep(settlePause) {
		now, err := w.Snapshots()
		if err != nil {
			return err
		}
		missing := ""
		for node, snapshot := range now {
			if m := withoutLinkLocal(snapshot); m != "" {
				missing = fmt.Sprintf("%s of %s has no link-local address", m, node)
			}
		}
		if missing == "" && before != nil && len(Compare(before, now)) == 0 {
			return nil
		}
		if before = now; time.Since(start) > settleTime {
			return fmt.Errorf("the world is not ready after %v: %s", settleTime, cmp.Or(missing, "its state keeps changing"))
		}
	}
}

// Close removes the world. Processes in it must have ended.
func (w *World) Close() error {
	var err error
	if w.Relay != nil {
		err = w.Relay.Close()
	}
	for _, s := range w.spaces {
		s.Close()
	}
	for _, s := range w.switches {
		s.Close()
	}
	if w.fabric != nil {
		w.fabric.Close()
	}
	return err
}

// Space is the namespace of a node of the topology.
func (w *World) Space(node string) *netns.Space { return w.spaces[node] }

// addNode makes a namespace that behaves as a router of the field with a quick
// start: no duplicate address detection by the kernel, nothing taken from
// advertisements, as OpenWrt has it (accept_ra=0, forwarding=1).
func (w *World) addNode(n Node) error {
	s, err := netns.New(n.Name)
	if err != nil {
		return err
	}
	w.spaces[n.Name] = s
	forwarding, listens := "0", "0"
	if n.Router {
		forwarding = "1"
	}
	if n.Listens {
		listens, w.listens[n.Name] = "1", true
	}
	for _, conf := range []string{"all", "default"} {
		for _, v := range [][2]string{{"accept_ra", listens}, {"autoconf", listens}, {"accept_dad", "0"}, {"dad_transmits", "0"}, {"accept_redirects", "0"}, {"forwarding", forwarding}} {
			if err := s.SetSysctl("net/ipv6/conf/"+conf+"/"+v[0], v[1]); err != nil {
				return err
			}
		}
	}
	lo, err := s.Link.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("%s: loopback interface: %w", n.Name, err)
	}
	return s.Link.LinkSetUp(lo)
}

func (w *World) addWire(wire Wire) error {
	if wire.Path.Zero() {
		a, b := w.newEthernet(), w.newEthernet()
		pair := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: wire.A.Interface, MTU: mtu, TxQLen: -1, HardwareAddr: a[:],
				Namespace: netlink.NsFd(w.spaces[wire.A.Node].FD())},
			PeerName: wire.B.Interface, PeerHardwareAddr: b[:], PeerTxQLen: -1, PeerMTU: mtu,
			PeerNamespace: netlink.NsFd(w.spaces[wire.B.Node].FD()),
		}
		if err := w.fabric.Link.LinkAdd(pair); err != nil {
			return fmt.Errorf("create veth pair: %w", err)
		}
		return errors.Join(w.configure(wire.A), w.configure(wire.B))
	}
	a, err := w.relayed(wire.A)
	if err != nil {
		return err
	}
	b, err := w.relayed(wire.B)
	if err != nil {
		return err
	}
	w.wires[[2]string{wire.A.Node, wire.B.Node}] = [2]*relay.Port{a.port, b.port}
	return w.Relay.Connect(a.port, b.port, wire.Path)
}

// Partition cuts the wire between two nodes, or heals it. Neither of them
// notices anything but the silence. The wire must be one with an impairment.
func (w *World) Partition(a, b string, cut bool) error {
	ports, ok := w.wires[[2]string{a, b}]
	if !ok {
		if ports, ok = w.wires[[2]string{b, a}]; !ok {
			return fmt.Errorf("there is no relayed wire between %s and %s", a, b)
		}
	}
	w.Relay.Partition(ports[0], ports[1], cut)
	return nil
}

func (w *World) addAir(air Air) error {
	var routers []*station
	for _, e := range air.Routers {
		r, err := w.relayed(e)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", e.Interface, e.Node, err)
		}
		if slices.Contains(air.Strict, e.Node) {
			var own []netip.Prefix
			for _, a := range e.Addresses {
				own = append(own, a.Masked())
			}
			r.port.Admit(own...)
		}
		routers = append(routers, r)
		w.routers[e.Node] = r.port
	}
	for _, e := range air.Stations {
		s, err := w.relayed(e)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", e.Interface, e.Node, err)
		}
		w.stations[[2]string{e.Node, e.Interface}] = s
		w.Relay.Tune(s.port, nil)
		for _, r := range routers {
			if err := w.Relay.Connect(s.port, r.port, air.Path); err != nil {
				return err
			}
		}
	}
	return nil
}

// relayed makes an interface whose other end is a port in the fabric.
func (w *World) relayed(e End) (*station, error) {
	ethernet := w.newEthernet()
	inner := fmt.Sprintf("f%d", w.created)
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: inner, Index: fabricIndex + w.created, MTU: mtu, TxQLen: -1},
		PeerName:  e.Interface, PeerHardwareAddr: ethernet[:], PeerTxQLen: -1, PeerMTU: mtu,
		PeerNamespace: netlink.NsFd(w.home(e).FD()),
	}
	if err := w.fabric.Link.LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("create veth pair: %w", err)
	}
	s := &station{link: pair, end: e}
	if err := w.fabric.Link.LinkSetUp(pair); err != nil {
		return nil, fmt.Errorf("set %s up: %w", inner, err)
	}
	if err := w.configure(e); err != nil {
		return nil, err
	}
	w.plugs[e.Node] = append(w.plugs[e.Node], pair)
	err := w.fabric.Do(func() (err error) {
		if err = disableOffloads(inner); err == nil {
			s.port, err = relay.OpenPort(e.Node+"/"+e.Interface, pair.Attrs().Index, ethernet)
		}
		return err
	})
	return s, err
}

// configure gives a node's interface its addresses and sets it up.
func (w *World) configure(e End) error {
	s := w.home(e)
	link, err := s.Link.LinkByName(e.Interface)
	if err != nil {
		return fmt.Errorf("%s: interface %s: %w", e.Node, e.Interface, err)
	}
	if err := s.Do(func() error { return disableOffloads(e.Interface) }); err != nil {
		return fmt.Errorf("%s: %w", e.Node, err)
	}
	if w.switches[e.Node] != nil {
		return w.enslave(e)
	}
	if err := s.Link.LinkSetUp(link); err != nil {
		return fmt.Errorf("%s: set %s up: %w", e.Node, e.Interface, err)
	}
	for _, a := range e.Addresses {
		if err := AddAddress(s, e.Interface, a); err != nil {
			return err
		}
	}
	return nil
}

// AddAddress puts an address on an interface, without duplicate address
// detection.
func AddAddress(s *netns.Space, ifname string, a netip.Prefix) error {
	link, err := s.Link.LinkByName(ifname)
	if err == nil {
		err = s.Link.AddrReplace(link, &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NODAD})
	}
	if err != nil {
		return fmt.Errorf("%s: address %v on %s: %w", s.Name(), a, ifname, err)
	}
	return nil
}

// AddRoute installs a static route in a node.
func (w *World) AddRoute(node string, r Route) error {
	return w.addRoute(w.spaces[node], r)
}

func (w *World) addRoute(s *netns.Space, r Route) error {
	link, err := s.Link.LinkByName(r.Interface)
	if err != nil {
		return fmt.Errorf("interface %s: %w", r.Interface, err)
	}
	route := &netlink.Route{
		Family: netlink.FAMILY_V6, LinkIndex: link.Attrs().Index, Dst: ipNet(r.Prefix),
		Priority: r.Metric, Protocol: unix.RTPROT_STATIC,
	}
	if r.Via.IsValid() {
		route.Gw = r.Via.AsSlice()
		// A next hop need not be there yet: a mobile's home address.
		route.Flags = int(netlink.FLAG_ONLINK)
	}
	return s.Link.RouteAdd(route)
}

// Neighbours sets how long nodes on an interface believe in a neighbour that
// they have heard of, and how long they then wait for it: net.ipv6.neigh's
// base_reachable_time_ms, delay_first_probe_time and retrans_time_ms.
func (w *World) Neighbours(node, ifname string, reachable, delay, retransmit time.Duration) error {
	directory := "net/ipv6/neigh/" + ifname + "/"
	return errors.Join(
		w.spaces[node].SetSysctl(directory+"base_reachable_time_ms", strconv.FormatInt(reachable.Milliseconds(), 10)),
		w.spaces[node].SetSysctl(directory+"delay_first_probe_time", strconv.FormatInt(int64(delay/time.Second), 10)),
		w.spaces[node].SetSysctl(directory+"retrans_time_ms", strconv.FormatInt(retransmit.Milliseconds(), 10)))
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 128)}
}

// newEthernet counts locally administered addresses.
func (w *World) newEthernet() [6]byte {
	w.created++
	return [6]byte{0x02, 0x06, 0x06, 0x00, byte(w.created >> 8), byte(w.created)}
}
