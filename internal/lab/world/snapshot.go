package world

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"roam6/internal/lab/netns"
)

// Snapshot is the lasting state of a namespace's network, a line for each
// thing: links, addresses, routes of all tables, rules, proxied neighbours,
// nftables tables and the settings of IPv6. What comes and goes by itself is
// left out: neighbours, counters, carrier, what remains of lifetimes.
type Snapshot []string

// Snapshots are the snapshots of all nodes, by name.
type Snapshots map[string]Snapshot

// Snapshots takes a snapshot of every node.
func (w *World) Snapshots() (Snapshots, error) {
	all := Snapshots{}
	for name, s := range w.spaces {
		snapshot, err := take(s)
		if err != nil {
			return nil, fmt.Errorf("state of %s: %w", name, err)
		}
		if w.listens[name] {
			snapshot = slices.DeleteFunc(snapshot, func(line string) bool { return !standing(line) })
		}
		all[name] = snapshot
	}
	return all, nil
}

// standing reports whether a line tells of what stays as it is made in a node that
// listens to router advertisements.
func standing(line string) bool {
	return strings.HasPrefix(line, "link ") || strings.HasPrefix(line, "address fe80:")
}

// Compare tells what changed, a line for each thing: "node: + thing" for what
// is new, "node: - thing" for what is missing.
func Compare(before, after Snapshots) (changes []string) {
	var nodes []string
	for n := range before {
		nodes = append(nodes, n)
	}
	slices.Sort(nodes)
	for _, n := range nodes {
		for _, line := range after[n] {
			if !slices.Contains(before[n], line) {
				changes = append(changes, n+": + "+line)
			}
		}
		for _, line := range before[n] {
			if !slices.Contains(after[n], line) {
				changes = append(changes, n+": - "+line)
			}
		}
	}
	return changes
}

// withoutLinkLocal names an Ethernet interface that has no link-local address
// yet, or nothing.
func withoutLinkLocal(s Snapshot) string {
	for _, line := range s {
		f := strings.Fields(line)
		if f[0] != "link" || f[3] != "veth" {
			continue
		}
		if !slices.ContainsFunc(s, func(l string) bool {
			return strings.HasPrefix(l, "address fe80:") && strings.HasSuffix(l, " dev "+f[1])
		}) {
			return f[1]
		}
	}
	return ""
}

func take(s *netns.Space) (Snapshot, error) {
	var lines Snapshot
	links, err := s.Link.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		a := l.Attrs()
		names[a.Index] = a.Name
		lines = append(lines, fmt.Sprintf("link %s type %s mtu %d address %v up %t", a.Name, l.Type(), a.MTU, a.HardwareAddr, a.Flags&net.FlagUp != 0))
	}
	name := func(index int) string {
		if index == 0 {
			return "-"
		}
		return cmp.Or(names[index], strconv.Itoa(index))
	}
	addresses, err := s.Link.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		lines = append(lines, fmt.Sprintf("address %v dev %s", a.IPNet, name(a.LinkIndex)))
	}
	rules, err := s.Link.RuleList(netlink.FAMILY_V6)
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	for _, r := range rules {
		lines = append(lines, fmt.Sprintf("rule %d %v table %d", r.Priority, r, r.Table))
	}
	proxies, err := s.Link.NeighProxyList(0, netlink.FAMILY_V6)
	if err != nil {
		return nil, fmt.Errorf("list proxied neighbours: %w", err)
	}
	for _, p := range proxies {
		lines = append(lines, fmt.Sprintf("proxied neighbour %v dev %s", p.IP, name(p.LinkIndex)))
	}
	err = s.Do(func() error {
		tables, err := nftTables()
		if err != nil {
			return fmt.Errorf("list nftables tables: %w", err)
		}
		lines = append(lines, tables...)
		routes, err := routes(name)
		if err != nil {
			return fmt.Errorf("list routes: %w", err)
		}
		settings, err := settings(names)
		lines = append(append(lines, routes...), settings...)
		return err
	})
	slices.Sort(lines)
	return lines, err
}

// nftTables lists the nftables tables of the calling thread's namespace.
func nftTables() ([]string, error) {
	request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETTABLE, unix.NLM_F_DUMP)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC})
	replies, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, m := range replies {
		if len(m) < nl.SizeofNfgenmsg {
			continue
		}
		attributes, err := nl.ParseRouteAttr(m[nl.SizeofNfgenmsg:])
		if err != nil {
			return nil, err
		}
		for _, a := range attributes {
			if a.Attr.Type == unix.NFTA_TABLE_NAME {
				lines = append(lines, fmt.Sprintf("nftables table %d %s", m[0], nl.BytesToString(a.Value)))
			}
		}
	}
	return lines, nil
}

// routes lists the IPv6 routes of the calling thread's namespace, of every
// table, source routes included, which the netlink library does not read.
func routes(name func(int) string) ([]string, error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	request.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET6}})
	replies, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, b := range replies {
		m := nl.DeserializeRtMsg(b)
		if m.Flags&unix.RTM_F_CLONED != 0 {
			continue // an exception, such as a path MTU: it ages by itself
		}
		if m.Protocol == unix.RTPROT_KERNEL && m.Table == unix.RT_TABLE_LOCAL {
			continue // follows from addresses and links, on a busy machine seconds later
		}
		attrs, err := nl.ParseRouteAttr(b[m.Len():])
		if err != nil {
			return nil, err
		}
		destination, source, via, dev, table, metric, encap := "::", "::", "-", "-", uint32(m.Table), uint32(0), ""
		for _, a := range attrs {
			switch a.Attr.Type {
			case unix.RTA_DST:
				destination = address(a.Value)
			case unix.RTA_SRC:
				source = address(a.Value)
			case unix.RTA_GATEWAY:
				via = address(a.Value)
			case unix.RTA_OIF:
				dev = name(int(nl.NativeEndian().Uint32(a.Value)))
			case unix.RTA_TABLE:
				table = nl.NativeEndian().Uint32(a.Value)
			case unix.RTA_PRIORITY:
				metric = nl.NativeEndian().Uint32(a.Value)
			case unix.RTA_ENCAP:
				encap = fmt.Sprintf(" encap %x", a.Value)
			}
		}
		lines = append(lines, fmt.Sprintf("route %s/%d from %s/%d via %s dev %s table %d type %d protocol %d metric %d%s",
			destination, m.Dst_len, source, m.Src_len, via, dev, table, m.Type, m.Protocol, metric, encap))
	}
	return lines, nil
}

func address(b []byte) string {
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return fmt.Sprintf("%x", b)
	}
	return a.String()
}

// settings lists the IPv6 sysctls of all interfaces that exist.
func settings(names map[int]string) ([]string, error) {
	interfaces := []string{"all", "default"}
	for _, n := range names {
		interfaces = append(interfaces, n)
	}
	var lines []string
	for _, n := range interfaces {
		directory := filepath.Join("/proc/sys/net/ipv6/conf", n)
		for _, v := range []string{"forwarding", "accept_ra", "autoconf", "accept_dad", "dad_transmits", "proxy_ndp", "disable_ipv6", "addr_gen_mode", "accept_redirects", "mtu"} {
			b, err := os.ReadFile(filepath.Join(directory, v))
			if os.IsNotExist(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			lines = append(lines, "sysctl "+n+"/"+v+" "+strings.TrimSpace(string(b)))
		}
	}
	return lines, nil
}
