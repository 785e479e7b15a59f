// Package tcx is the data plane engine whose common packets never leave the kernel: two
// eBPF programs carry them, on kernels without a tunnel driver, too. It is the engine
// of overlay/tun with a fast path, so that whatever the programs do not know how to do
// is done there.
//
// One program is at the egress of the TUN device: packets that the kernel routes into it
// get their tunnel header and leave by the link of the path (egress.go). The other one
// is at the ingress of the links that tunnel packets come in by: it tests where they
// come from, takes the header off, and lets them continue as if they had been read from
// the device (ingress.go). A packet that either does not take goes on as if there were
// no program: into the device or to the raw socket, and so to the engine.
//
// What the programs know is in maps (layout.go), which the fast path writes (fastpath.go)
// and the programs only read, except for counters. Maps and programs are pinned in the
// BPF file system, so that they outlive a crash (adopt.go). A thread follows addresses
// and interfaces (world.go, attach.go). Programs are at interfaces by tcx, or by filters of
// traffic control where the kernel does not have that (hook.go, filter.go, qdisc.go).
//
// Aggregates of TCP go through as they are. Those of UDP, which cannot get a header as a
// whole, are the engine's, and so are received ones on some network cards (offload.go).
//
// Packets on the fast path pass the forwarding rules of the firewall with the device as
// one of their interfaces, as the engine's do. Their tunnel packets pass no rules, no
// ingress queue discipline and no IPsec policy: only the egress queue of the link.
package tcx

import (
	"fmt"
	"log/slog"
	"math/bits"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"roam6/overlay"
	"roam6/overlay/tun"
)

// Open opens an engine as tun.Open does, with the fast path of this package in place of
// Config.Fast. An error says what the kernel lacks if it is for that.
func Open(c tun.Config) (*tun.Engine, error) {
	f, err := newFastPath(bpffs)
	if err != nil {
		return nil, fmt.Errorf("tcx data plane: %w", err)
	}
	c.Fast = f
	return tun.Open(c)
}

func newFastPath(root string) (*fastPath, error) {
	counting, err := newCounting()
	if err != nil {
		return nil, err
	}
	capacity, err := capacityHere()
	if err != nil {
		return nil, err
	}
	return &fastPath{
		capacity: capacity, root: root, log: slog.New(slog.DiscardHandler), counting: counting,
		tunnels: make(map[overlay.Key]*tunnel), pairs: make(map[pairKey]*pair), locals: make(map[netip.Addr]bool),
		owners:  map[overlay.Side]map[netip.Prefix]uint32{overlay.AgentSide: {}, overlay.MobileSide: {}},
		ingress: make(map[int]attachment), refused: make(map[int]bool), lost: make(map[int]time.Duration),
		openHook: openHook,
	}, nil
}

// capacityHere is how many tunnels the maps have places for: a power of two, with at
// most a two hundredth of the memory for the places, 131072 on a machine of 2 GB.
func capacityHere() (uint32, error) {
	const each, least, most = 16 << 10, 1 << 10, 1 << 17
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return 0, fmt.Errorf("size of the memory: %w", err)
	}
	n := uint64(s.Totalram) * uint64(s.Unit) / each
	return uint32(min(max(1<<(bits.Len64(n+n/2)-1), least), most)), nil
}

// Clean removes the programs and maps that engines of the calling thread's network
// namespace may have left, of whatever version. No engine may be running.
func Clean(log *slog.Logger) error {
	return clean(bpffs, log)
}

func clean(root string, log *slog.Logger) error {
	home, err := pinHome(root)
	if err != nil {
		return fmt.Errorf("tcx data plane: %w", err)
	}
	if err := cleanFilters(root); err != nil {
		return fmt.Errorf("tcx data plane: %w", err)
	}
	if _, err := os.Stat(home); err != nil {
		return nil // nothing, or nothing that could be seen
	}
	if err := unpinAll(home); err != nil {
		return fmt.Errorf("tcx data plane: remove programs and maps: %w", err)
	}
	log.Info("programs and maps of a predecessor removed", "engine", Name, "pins", home)
	return nil
}
