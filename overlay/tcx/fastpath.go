package tcx

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"

	"roam6/overlay"
	"roam6/overlay/tun"
)

// Name is that of the engine in the configuration.
const Name = "tcx"

// fastPath carries packets in programs. It implements tun.FastPath.
type fastPath struct {
	capacity uint32 // tunnels
	root     string // of the BPF file system
	log      *slog.Logger
	loaded   *loaded
	setting  setting
	pins     string // directory; empty: nothing outlives the process
	start    time.Time

	mu       sync.Mutex
	tunnels  map[overlay.Key]*tunnel
	owners   map[overlay.Side]map[netip.Prefix]uint32 // of the prefixes in the tries, by tunnel number
	pairs    map[pairKey]*pair
	locals   map[netip.Addr]bool // addresses of this node
	retired  []retired           // in the order of time
	last     numbers
	openHook func(root, device string) (hook, error)
	hook     hook
	egress   attachment            // nil: none
	ingress  map[int]attachment    // by interface index
	refused  map[int]bool          // interfaces that no program can be at
	lost     map[int]time.Duration // interfaces that somebody has taken the program off, and when
	attached atomic.Pointer[map[int]bool]
	counting counting
	card     string // the network card because of which aggregates are left; empty: none

	world *world // the thread that looks at links and addresses
}

var _ tun.FastPath = (*fastPath)(nil)

// Name is "tcx".
func (f *fastPath) Name() string { return Name }

// Traits are none.
func (f *fastPath) Traits() tun.Traits { return tun.Traits{} }

// Start loads the programs, or takes over what a predecessor that crashed left.
func (f *fastPath) Start(u tun.Underlay) (err error) {
	f.log, f.start = u.Log, time.Now()
	f.setting = setting{device: int32(u.Index), mark: u.Mark, markMask: u.MarkMask, routeByMark: routesByMark()}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if f.hook, err = f.openHook(f.root, u.Device); err != nil {
		return fmt.Errorf("programs at interfaces: %w", err)
	}
	f.preparePins(u.Device)
	// Without it the look-up for a path without a link refuses. The device has no routers
	// to listen to, so that nothing else depends on it.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+u.Device+"/forwarding", []byte("1"), 0); err != nil {
		f.log.Warn("tunnels without a link are carried in user space where this node is no router", "engine", Name, "reason", err)
	}
	if f.loaded, err = load(f.setting, f.capacity, f.pins); err != nil {
		return err
	}
	if err := f.adopt(); err != nil {
		return fmt.Errorf("what a predecessor left: %w", err)
	}
	if f.egress == nil {
		if f.egress, err = f.attachEgress(); err != nil {
			return fmt.Errorf("device %s: %w", u.Device, err)
		}
	}
	if err := openWorld(f); err != nil {
		return err
	}
	f.takeAhead()
	f.log.Debug("programs are at interfaces", "engine", Name, "by", f.hook.name(), "interfaces", len(f.ingress))
	go f.world.runLoop()
	return nil
}

// Drops returns packets for whose headers there was no memory.
func (f *fastPath) Drops() map[overlay.DropReason]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var each []uint64
	if f.loaded == nil {
		return nil
	}
	if err := f.loaded.maps[mapDrops].Lookup(uint32(dropNoRoom), &each); err != nil {
		return nil
	}
	n := uint64(0)
	for _, v := range each {
		n += v
	}
	if n == 0 {
		return nil
	}
	return map[overlay.DropReason]uint64{overlay.DropQueueFull: n}
}

// Close takes programs and maps out of the kernel. It may be called again.
func (f *fastPath) Close() error {
	if f.world != nil {
		f.world.close()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var failures []error
	if f.egress != nil {
		failures = append(failures, f.egress.detach())
		f.egress = nil
	}
	for i, a := range f.ingress {
		failures = append(failures, a.detach())
		delete(f.ingress, i)
	}
	if f.hook != nil {
		f.hook.close()
		f.hook = nil
	}
	if f.pins != "" {
		if err := unpinAll(f.pins); err != nil {
			failures = append(failures, fmt.Errorf("remove pins: %w", err))
		}
		// The directories above, if there is nothing else in them.
		_ = os.Remove(filepath.Dir(f.pins))
		_ = os.Remove(filepath.Dir(filepath.Dir(f.pins)))
		f.pins = ""
	}
	if f.loaded != nil {
		f.loaded.close()
		f.loaded = nil
	}
	clear(f.tunnels)
	return errors.Join(failures...)
}

// reap removes what has been retired for long enough. Under the lock.
func (f *fastPath) reap() {
	n := 0
	for _, r := range f.retired {
		if f.now()-r.since < retirement {
			break
		}
		n++
		failures := []error{f.delete(mapPaths, r.path)}
		if r.tunnel != 0 {
			failures = append(failures, f.delete(mapStates, r.tunnel))
		}
		if err := errors.Join(failures...); err != nil {
			f.log.Warn("entry of a map not removed", "engine", Name, "reason", err)
		}
	}
	f.retired = f.retired[n:]
}

func (f *fastPath) now() time.Duration { return time.Since(f.start) }

func (f *fastPath) put(name string, key, value any) error {
	if err := f.loaded.maps[name].Put(key, value); err != nil {
		return fmt.Errorf("map %s: %w", name, err)
	}
	return nil
}

// delete removes an entry; none is none.
func (f *fastPath) delete(name string, key any) error {
	err := f.loaded.maps[name].Delete(key)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("map %s: %w", name, err)
	}
	return nil
}
