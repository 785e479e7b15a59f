// Package kernel is the data plane engine whose packets pass in the kernel: by ip6tnl
// devices, routes and nftables sets. It is the engine of package tun with a fast path,
// so that all that the kernel cannot do is carried beside it in user space. Optimised
// routes are XFRM's while they are busy, where the kernel has Mobile IPv6 (package xfrmro).
//
// In the kernel is, besides what the engine of package tun has there (D is the name of
// its TUN device, P an inner prefix, T its table, N its rule priority, M its metric):
//
//	one device D-k of type ip6tnl in external mode
//	mobile side, for each tunnel a device D-k1, D-k2, … of type ip6tnl
//	agent side:   route P encap ip6 … dev D-k metric M−1     main table
//	mobile side:  route default from P dev D-k1              table T
//	one nftables table (rules.go, sets.go), and one of the family netdev with chains at
//	the devices, where the kernel has that (hooks.go)
//	where packets are marked L, which is where it has not, and beside optimised routes:
//	              rule  N−1: fwmark L/L lookup T+2
//	              route default dev D                        table T+2
//
// The routes of the engine to its TUN device stay behind ours: what we take back, or
// never had, goes there.
//
// A tunnel packet to this node passes the input hook first. What the sets approve, by
// the addresses without and within, is marked K, and a tunnel device takes it apart: the
// one that has its ends, or else D-k. All else is for the engine, and gets another next
// header, so that no device takes it. What comes out of a device without K is dropped
// there, or else before it is routed.
//
// A packet into a tunnel is routed to one of our devices. What must not go there
// (tun.FastPath says what) leaves by the TUN device instead: at the egress hook of the
// device for what it is, which costs other packets nothing, or else, and for whom it is of,
// it is marked L in the prerouting or output hook and routed.
package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay/tun"
	"roam6/overlay/xfrmro"
)

// Name is that of the engine in the configuration.
const Name = "kernel"

// Errors of Open. They come wrapped with what was attempted.
var (
	// ErrNoTunnels: the kernel has no tunnels of IPv6 in IPv6.
	ErrNoTunnels = errors.New("no ip6_tunnel in this kernel: load the module (on OpenWrt: install kmod-ip6-tunnel; on Debian: use a kernel image with it)")
	// ErrExternalTaken: a namespace has at most one device in external mode.
	ErrExternalTaken = errors.New("somebody else has an ip6tnl device in external mode: remove it, or choose another engine")
	// ErrNoEncapsulation: the kernel has no routes that encapsulate.
	ErrNoEncapsulation = errors.New("no routes with encapsulation in this kernel: it needs CONFIG_LWTUNNEL")
	// ErrNoSets: the kernel has no nftables, or too old ones.
	ErrNoSets = errors.New("no nftables with counting sets in this kernel: it needs Linux 5.11 and nf_tables (on OpenWrt: install kmod-nft-core)")
	// ErrNoMark: all bits of the mark's mask are in use.
	ErrNoMark = errors.New("the mark leaves less than two bits of its mask free")
)

// Open opens the engine. What it has in the kernel is made in the network namespace of
// the calling thread and stays there. Errors are those of tun.Open, and those above. A
// kernel without tunnels is found out before anything is made.
func Open(c tun.Config) (*tun.Engine, error) {
	if err := knowsTunnels(); err != nil {
		return nil, err
	}
	c.Fast, c.Routes = &path{}, xfrmro.New()
	return tun.Open(c)
}

// knowsTunnels asks the kernel for a device that it cannot make. One that knows the kind
// of device, or can load its module, looks at what is asked for, and refuses that.
func knowsTunnels() error {
	c, err := rtbatch.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	c.Commit([]rtbatch.Request{impossibleLink()}, func(_ int, e error) { err = e })
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return explain("ask for ip6tnl devices", err, ErrNoTunnels)
}

// explain adds to an error of the kernel what to do about it.
func explain(what string, err error, missing error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: %w (%w)", what, tun.ErrPrivilege, err)
	case missing != nil && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ENOENT) ||
		errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EAFNOSUPPORT)):
		return fmt.Errorf("%s: %w (%w)", what, missing, err)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

// ipv6Disabled reports whether new interfaces of the calling thread's namespace have no
// IPv6.
func ipv6Disabled() bool {
	b, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv6/conf", "default", "disable_ipv6"))
	return err == nil && len(b) > 0 && b[0] != '0'
}
