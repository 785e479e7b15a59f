package tcx

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"

	"roam6/overlay"
)

// Maps and programs are pinned, so that they go on without the process: its successor
// finds in the maps what they were told.

const (
	pinEgress  = "egress"
	pinIngress = "ingress-" // and the interface index
)

// preparePins finds the directory for pins and removes what is of no use in it.
func (f *fastPath) preparePins(device string) {
	fail := func(err error) {
		f.log.Warn("tunnels end with the process: after a crash nothing is forwarded until they are set again", "engine", Name, "reason", err)
	}
	if err := mountBPF(f.root); err != nil {
		fail(err)
		return
	}
	pins, err := pinDirectory(f.root, device, version(f.hook.name(), f.setting, f.capacity))
	if err != nil {
		fail(err)
		return
	}
	// Of another version, or of a device that has gone (a namespace may have the number
	// of one that was before it).
	others, _ := filepath.Glob(filepath.Join(filepath.Dir(pins), "*"))
	for _, other := range others {
		if other == pins && f.usable(pins) {
			continue
		}
		if err := unpinAll(other); err != nil {
			fail(fmt.Errorf("remove %s: %w", other, err))
			return
		}
		f.log.Info("programs of a predecessor removed: they are of another version or another device", "engine", Name, "pins", other)
	}
	if err := os.MkdirAll(pins, 0o700); err != nil {
		fail(err)
		return
	}
	f.pins = pins
}

// usable reports whether a predecessor's programs are at the present device.
func (f *fastPath) usable(pins string) bool {
	a, err := f.hook.adopt(int(f.setting.device), ebpf.AttachTCXEgress, filepath.Join(pins, pinEgress))
	if err != nil {
		return false
	}
	a.abandon()
	return true
}

// adopt takes over tunnels, pairs and attachments that are in the kernel.
func (f *fastPath) adopt() error {
	if f.pins == "" {
		return f.hook.sweep(nil)
	}
	if err := f.adoptTunnels(); err != nil {
		return err
	}
	if err := f.adoptPairs(); err != nil {
		return err
	}
	if err := f.adoptAttached(); err != nil {
		return err
	}
	f.publishAttached()
	if len(f.tunnels) > 0 {
		f.log.Info("tunnels of a predecessor go on", "engine", Name, "tunnels", len(f.tunnels), "interfaces", len(f.ingress))
	}
	return nil
}

// adoptAttached takes over programs at interfaces, and takes away those that are of no use.
func (f *fastPath) adoptAttached() error {
	var kept []attachment
	if a, err := f.hook.adopt(int(f.setting.device), ebpf.AttachTCXEgress, filepath.Join(f.pins, pinEgress)); err == nil {
		f.egress, kept = a, append(kept, a)
	}
	pinned, _ := filepath.Glob(filepath.Join(f.pins, pinIngress+"*"))
	for _, pin := range pinned {
		index, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(pin), pinIngress))
		if err != nil {
			continue // nothing of ours
		}
		a, err := f.hook.adopt(index, ebpf.AttachTCXIngress, pin)
		if err != nil {
			f.log.Debug("a predecessor's program at an interface", "engine", Name, "index", index, "reason", err)
			continue
		}
		f.ingress[index], kept = a, append(kept, a)
	}
	return f.hook.sweep(kept)
}

// adoptTunnels reads what tunnels there are.
func (f *fastPath) adoptTunnels() error {
	values := make(map[uint32]pathValue)
	var paths reader[uint32, pathValue]
	if err := paths.each(f.loaded.maps[mapPaths], func(number uint32, v []pathValue) {
		values[number] = v[0]
		f.last.path = max(f.last.path, number)
	}); err != nil {
		return err
	}
	byNumber := make(map[uint32]*tunnel)
	var numbers reader[uint32, uint32]
	if err := numbers.each(f.loaded.maps[mapTunnels], func(number uint32, path []uint32) {
		f.last.tunnel = max(f.last.tunnel, number)
		v, ok := values[path[0]]
		if !ok || v.Number != number {
			return // killed half way: no program follows it
		}
		t := &tunnel{number: number, path: path[0], value: v}
		f.tunnels[v.key()], byNumber[number] = t, t
	}); err != nil {
		return err
	}
	for _, side := range []overlay.Side{overlay.AgentSide, overlay.MobileSide} {
		owners := f.owners[side]
		var inner reader[prefixKey, uint32]
		if err := inner.each(f.loaded.maps[trieOf(side)], func(k prefixKey, number []uint32) {
			owners[k.prefix()] = number[0]
		}); err != nil {
			return err
		}
		for p, number := range owners {
			if t := byNumber[number]; t != nil {
				t.inner = append(t.inner, p)
			}
		}
	}
	return f.clean(values, byNumber)
}

// clean removes what one that was killed had no time to put together or to remove, and
// notes the counters of the others.
func (f *fastPath) clean(values map[uint32]pathValue, byNumber map[uint32]*tunnel) error {
	for number, v := range values {
		if t := byNumber[v.Number]; t == nil || t.path != number {
			f.retired = append(f.retired, retired{since: f.now(), path: number})
		}
	}
	for side, owners := range f.owners {
		for p, number := range owners {
			if byNumber[number] == nil {
				delete(owners, p)
				if err := f.delete(trieOf(side), prefixKeyOf(p)); err != nil {
					return err
				}
			}
		}
	}
	var stale []uint32
	if err := f.counting.each(f.loaded.maps[mapStates], func(number uint32, c overlay.Counters) {
		f.last.tunnel = max(f.last.tunnel, number)
		if t := byNumber[number]; t != nil {
			t.before = c
		} else {
			stale = append(stale, number)
		}
	}); err != nil {
		return err
	}
	for _, number := range stale {
		for _, name := range []string{mapStates, mapTunnels} {
			if err := f.delete(name, number); err != nil {
				return err
			}
		}
	}
	return nil
}

// adoptPairs reads what pairs are left to optimised routes.
func (f *fastPath) adoptPairs() error {
	var pairs reader[pairKey, uint32]
	if err := pairs.each(f.loaded.maps[mapPairs], func(k pairKey, _ []uint32) { f.pairs[k] = new(pair) }); err != nil {
		return err
	}
	return f.switchPairs()
}
