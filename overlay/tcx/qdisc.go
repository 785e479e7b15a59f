package tcx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/rtbatch"
)

// Filters belong to a queue discipline, of which an interface has one. Somebody else may
// have made it, and then it is left at the end; one that is ours goes with the last filter.

// prepare makes the queue discipline that filters belong to, unless there is one.
func (h *filters) prepare(index int, direction ebpf.AttachType) error {
	kind := kindIngress
	if direction == ebpf.AttachTCXEgress {
		kind = kindBoth
	}
	body := message(index, tcHandle, tcParent, 0).Bytes(tcaKind, []byte(kind+"\x00"))
	err := h.commit(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body)
	if err == nil {
		h.made[index] = true
		if h.home != "" {
			_ = os.Mkdir(h.note(index), 0o700) // without it the empty one remains after a crash
		}
		return nil
	}
	if !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("queue discipline %s: %w", kind, err)
	}
	if direction == ebpf.AttachTCXIngress {
		return nil
	}
	// A filter for what is sent would see what is received in one that is for that alone.
	all, err := h.disciplines()
	if err != nil {
		return err
	}
	if there := all[index]; there != kindBoth {
		return fmt.Errorf("the interface has the queue discipline %q: remove it, or have %s in its place", there, kindBoth)
	}
	return nil
}

// disciplines are the kinds of those that filters can belong to, by interface.
func (h *filters) disciplines() (map[int]string, error) {
	// The kernel lists all there are; when asked for one it tells only listeners.
	all := make(map[int]string)
	err := h.conn.Dump(unix.RTM_GETQDISC, message(0, 0, 0, 0), func(m []byte) {
		if len(m) >= sizeofTcmsg && binary.NativeEndian.Uint32(m[12:]) == tcParent {
			all[int(binary.NativeEndian.Uint32(m[4:]))] = unix.ByteSliceToString(rtbatch.Attribute(m[sizeofTcmsg:], tcaKind))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list queue disciplines: %w", err)
	}
	return all, nil
}

// tidy removes the queue discipline at an interface if it is ours and nobody uses it.
func (h *filters) tidy(index int) error {
	if !h.owns(index) {
		return nil
	}
	for _, parent := range []uint32{tcIngress, tcEgress} {
		used := false
		if err := h.conn.Dump(unix.RTM_GETTFILTER, message(index, 0, parent, 0), func([]byte) { used = true }); err != nil && !absent(err) {
			return fmt.Errorf("list filters: %w", err)
		}
		if used {
			return nil
		}
	}
	h.disown(index)
	all, err := h.disciplines()
	if err != nil {
		return err
	}
	kind, there := all[index]
	if !there {
		return nil
	}
	body := message(index, tcHandle, tcParent, 0).Bytes(tcaKind, []byte(kind+"\x00"))
	if err := h.commit(unix.RTM_DELQDISC, 0, body); err != nil && !absent(err) {
		return fmt.Errorf("remove queue discipline: %w", err)
	}
	return nil
}

// note is the directory that says that the queue discipline at an interface is ours.
func (h *filters) note(index int) string { return filepath.Join(h.home, fmt.Sprint(noteMade, index)) }

// owns reports whether the queue discipline at an interface is ours, or a predecessor's.
func (h *filters) owns(index int) bool {
	if h.made[index] || h.home == "" {
		return h.made[index]
	}
	_, err := os.Stat(h.note(index))
	return err == nil
}

// disown forgets that the queue discipline at an interface is ours.
func (h *filters) disown(index int) {
	delete(h.made, index)
	if h.home != "" {
		_ = os.Remove(h.note(index))
	}
}
