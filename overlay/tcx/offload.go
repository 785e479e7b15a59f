package tcx

import (
	"bytes"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Received packets of one TCP flow may have been joined into an aggregate, tunnel headers
// and all. When a program takes the header off, kernels still remember that the aggregate
// is one of tunnel packets. Where it is forwarded by a network card that takes such
// aggregates apart itself, the card looks for a header that is not there: some drivers
// then drop the aggregate, and one is known to hang. Elsewhere the kernel takes it apart
// and does no harm. So where there is such a card the engine takes aggregates.

// tunnelSegmentation is the feature of such a card (ethtool -k).
const tunnelSegmentation = "tx-ipxip6-segmentation"

// judgeOffloads looks at all interfaces, which may be ways out.
func (f *fastPath) judgeOffloads() {
	names, err := f.world.names()
	if err != nil {
		f.log.Warn("interfaces", "engine", Name, "reason", err)
		return
	}
	card := ""
	for _, name := range names {
		// Virtual ones only pass the aggregate on to the next.
		if physical(f.world.control, name) && segmentsTunnels(f.world.control, name) {
			card = name
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	value := uint32(0)
	if card != "" {
		value = 1
	}
	if err := f.put(mapSwitches, uint32(switchAggregates), value); err != nil {
		f.log.Warn("aggregates of received packets", "engine", Name, "reason", err)
		return
	}
	was := f.card
	f.card = card
	if card != "" && card != was {
		f.log.Info("aggregates of received packets are carried in user space because of a network card: to avoid that, switch its feature off",
			"engine", Name, "interface", card, "feature", tunnelSegmentation)
	}
}

// physical reports whether an interface is a device on a bus.
func physical(control int, name string) bool {
	info, err := unix.IoctlGetEthtoolDrvinfo(control, name)
	return err == nil && info.Bus_info[0] != 0
}

// segmentsTunnels reports whether an interface takes aggregates of IPv6-in-IPv6 apart.
func segmentsTunnels(control int, name string) bool {
	const features, length = 4, 32 // ETH_SS_FEATURES, ETH_GSTRING_LEN
	count := struct {
		command, _ uint32
		mask       uint64
		data       [1]uint32
	}{command: unix.ETHTOOL_GSSET_INFO, mask: 1 << features}
	if ethtool(control, name, unsafe.Pointer(&count)) != nil || count.mask == 0 || count.data[0] > 1024 {
		return false
	}
	n := int(count.data[0])

	type header struct{ command, set, count uint32 }
	strings := make([]byte, int(unsafe.Sizeof(header{}))+n*length)
	*(*header)(unsafe.Pointer(&strings[0])) = header{unix.ETHTOOL_GSTRINGS, features, uint32(n)}
	if ethtool(control, name, unsafe.Pointer(&strings[0])) != nil {
		return false
	}
	all := strings[unsafe.Sizeof(header{}):]
	which := -1
	for i := range n {
		if s, _, _ := bytes.Cut(all[i*length:][:length], []byte{0}); string(s) == tunnelSegmentation {
			which = i
		}
	}
	if which < 0 {
		return false
	}

	type block struct{ available, requested, active, never uint32 }
	var state struct {
		command, size uint32
		blocks        [32]block
	}
	state.command, state.size = unix.ETHTOOL_GFEATURES, uint32(n+31)/32
	if ethtool(control, name, unsafe.Pointer(&state)) != nil {
		return false
	}
	return state.blocks[which/32].active&(1<<(which%32)) != 0
}

// ethtool sends a request about an interface, through any socket.
func ethtool(control int, name string, data unsafe.Pointer) error {
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24 - unsafe.Sizeof(uintptr(0))]byte
	}{data: data}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(control), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(data)
	if e != 0 {
		return fmt.Errorf("ethtool %s: %w", name, e)
	}
	return nil
}
