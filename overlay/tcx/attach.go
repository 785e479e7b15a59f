package tcx

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// mostInterfaces is how many interfaces received packets are taken from.
const mostInterfaces = 64

// mostAhead is how many of them at most are prepared at the start.
const mostAhead = 16

// patience is how long a program that somebody has removed from an interface is not put
// back there: mostly they are about to put something in its place.
const patience = 5 * time.Second

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

// takeAhead puts the program at the interfaces that tunnel packets most likely come in by,
// before there is a tunnel: the kernel takes an RCU grace period for the first program at
// each, up to some ten milliseconds, and lets nobody else configure the network meanwhile.
func (f *fastPath) takeAhead() {
	for _, index := range f.world.likely() {
		f.takeFrom(index)
	}
}

// takeFrom puts the program at an interface, unless it is there. From the world's thread,
// which is the only one to change what is attached; without the lock while it takes time.
func (f *fastPath) takeFrom(index int) {
	if f.knows(index) || index == int(f.setting.device) {
		return
	}
	name, a, err := f.attachIngress(index)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.log.Warn("tunnel packets from an interface are received in user space", "engine", Name, "interface", name, "index", index, "reason", err)
		f.refused[index] = true
	} else {
		f.log.Debug("tunnel packets from an interface are taken by the kernel", "engine", Name, "interface", name, "index", index)
		f.ingress[index] = a
	}
	f.publishAttached()
}

var (
	errManyInterfaces = fmt.Errorf("there are %d interfaces already", mostInterfaces)
	errLinkLayer      = errors.New("its link layer is none that the program knows")
)

func (f *fastPath) attachIngress(index int) (name string, a attachment, err error) {
	name, kind, err := f.world.link(index)
	if err != nil {
		return name, nil, err
	}
	if len(f.ingress) >= mostInterfaces {
		return name, nil, errManyInterfaces
	}
	l2, ok := headerOf(kind)
	if !ok {
		return name, nil, fmt.Errorf("%w: type %d", errLinkLayer, kind)
	}
	a, err = f.hook.attach(index, ebpf.AttachTCXIngress, f.loaded.ingress[l2], f.pin(fmt.Sprint(pinIngress, index)))
	return name, a, err
}

// headerOf is the length of the link layer header on an interface of an ARPHRD type; ok
// is false if the program does not know it.
func headerOf(kind uint16) (octets int32, ok bool) {
	switch kind {
	case unix.ARPHRD_ETHER:
		return ethernetLength, true
	case unix.ARPHRD_NONE, unix.ARPHRD_PPP, unix.ARPHRD_RAWIP: // the packet alone
		return 0, true
	default:
		return 0, false
	}
}

// pin is the file for one, empty where there are none.
func (f *fastPath) pin(name string) string {
	if f.pins == "" {
		return ""
	}
	return filepath.Join(f.pins, name)
}

// followAttached forgets about interfaces that have gone and programs that somebody has
// removed. The one at the device is put back, others when packets come in again that they
// would have taken and patience has ended. From the world's thread.
func (f *fastPath) followAttached() {
	gone := make(map[int]attachment)
	for index, a := range f.ingress {
		if a.index() == 0 { // also where another interface has the number now
			gone[index] = a
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for index, a := range gone {
		if err := a.detach(); err != nil {
			f.log.Debug("program at an interface", "engine", Name, "index", index, "reason", err)
		}
		delete(f.ingress, index)
		if f.world.there(index) {
			f.lost[index] = f.now()
		}
	}
	maps.DeleteFunc(f.refused, func(index int, _ bool) bool { return !f.world.there(index) })
	maps.DeleteFunc(f.lost, func(index int, since time.Duration) bool { return f.now()-since >= patience })
	f.publishAttached()
	if f.egress == nil || f.egress.index() != 0 {
		return
	}
	_ = f.egress.detach()
	var err error
	if f.egress, err = f.attachEgress(); err != nil {
		f.log.Warn("packets are carried in user space: the program at the device was removed and cannot be put back", "engine", Name, "reason", err)
	}
}

// misses reports whether programs have been lost that may be put back soon.
func (f *fastPath) misses() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.lost) > 0
}

func (f *fastPath) attachEgress() (attachment, error) {
	return f.hook.attach(int(f.setting.device), ebpf.AttachTCXEgress, f.loaded.egress, f.pin(pinEgress))
}

// publishAttached lets Received know without the lock.
func (f *fastPath) publishAttached() {
	known := maps.Clone(f.refused)
	for index := range f.ingress {
		known[index] = true
	}
	for index := range f.lost {
		known[index] = true
	}
	f.attached.Store(&known)
}
