package tcx

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// mostInterfaces is how many interfaces received packets are taken from.
const mostInterfaces = 64

// Received has the program put at an interface that a packet came in by.
func (f *fastPath) Received(index int) {
	if index > 0 && !f.knows(index) {
		f.world.want(index)
	}
}

// knows reports whether the program is at an interface, or cannot be. Any goroutine may
// call it.
func (f *fastPath) knows(index int) bool {
	known := f.attached.Load()
	return known != nil && (*known)[index]
}

// attach puts a program at an interface of the calling thread's namespace, behind those
// that are there, and pins that under a name.
func (f *fastPath) attach(index int, direction ebpf.AttachType, p *ebpf.Program, name string) (link.Link, error) {
	l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: p, Attach: direction, Anchor: link.Tail()})
	if err != nil {
		return nil, err
	}
	if f.pins != "" {
		pin := filepath.Join(f.pins, name)
		_ = os.Remove(pin) // of an interface that had the same index
		if err := l.Pin(pin); err != nil {
			return nil, errors.Join(fmt.Errorf("pin %s: %w", pin, err), l.Close())
		}
	}
	return l, nil
}

// detach takes a program off its interface, which may have gone.
func detach(l link.Link) error {
	_ = l.Unpin() // not pinned, or the directory goes anyway
	if err := l.Close(); err != nil {
		return fmt.Errorf("detach program: %w", err)
	}
	return nil
}

// linkIndex is the interface that a program is at, 0 if that has gone.
func linkIndex(l link.Link) int {
	info, err := l.Info()
	if err != nil || info.TCX() == nil {
		return 0
	}
	return int(info.TCX().Ifindex)
}

// takeFrom puts the program at an interface, unless it is there. From the world's thread.
func (f *fastPath) takeFrom(index int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ingress[index] != nil || f.refused[index] || index == int(f.setting.device) {
		return
	}
	name, err := f.attachIngress(index)
	if err != nil {
		f.log.Warn("tunnel packets from an interface are received in user space", "engine", Name, "interface", name, "index", index, "reason", err)
		f.refused[index] = true
	} else {
		f.log.Debug("tunnel packets from an interface are taken by the kernel", "engine", Name, "interface", name, "index", index)
	}
	f.publishAttached()
}

var (
	errManyInterfaces = fmt.Errorf("there are %d interfaces already", mostInterfaces)
	errLinkLayer      = errors.New("its link layer is none that the program knows")
)

func (f *fastPath) attachIngress(index int) (name string, err error) {
	name, kind, err := f.world.link(index)
	if err != nil {
		return name, err
	}
	if len(f.ingress) >= mostInterfaces {
		return name, errManyInterfaces
	}
	var l2 int32
	switch kind {
	case unix.ARPHRD_ETHER:
		l2 = ethernetLength
	case unix.ARPHRD_NONE, unix.ARPHRD_PPP, unix.ARPHRD_RAWIP: // the packet alone
	default:
		return name, fmt.Errorf("%w: type %d", errLinkLayer, kind)
	}
	l, err := f.attach(index, ebpf.AttachTCXIngress, f.loaded.ingress[l2], fmt.Sprint(pinIngress, index))
	if err != nil {
		return name, err
	}
	f.ingress[index] = l
	return name, nil
}

// leaveGone forgets about interfaces that are no longer there.
func (f *fastPath) leaveGone(there func(index int) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for index, l := range f.ingress {
		if linkIndex(l) == 0 { // also where another has the number now
			_ = detach(l)
			delete(f.ingress, index)
			if f.pins != "" {
				_ = os.Remove(filepath.Join(f.pins, fmt.Sprint(pinIngress, index)))
			}
		}
	}
	maps.DeleteFunc(f.refused, func(index int, _ bool) bool { return !there(index) })
	f.publishAttached()
}

// publishAttached lets Received know without the lock.
func (f *fastPath) publishAttached() {
	known := maps.Clone(f.refused)
	for index := range f.ingress {
		known[index] = true
	}
	f.attached.Store(&known)
}
