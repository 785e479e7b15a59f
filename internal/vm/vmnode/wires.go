package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/vm"
)

// wire carries frames between an interface here and a card of the machine, as they are.
type wire struct {
	here, there *os.File // a packet socket at the interface, and our end of the card's pair
}

// longest is room for a frame of any interface.
const longest = 1 << 16

// newWire returns a wire and QEMU's end of it.
func newWire(c card) (w wire, theirs *os.File, err error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return wire{}, nil, fmt.Errorf("packet socket for %s: %w", c.name, err)
	}
	w.here = os.NewFile(uintptr(fd), c.name)
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: c.index}))
	if err != nil {
		w.here.Close()
		return wire{}, nil, fmt.Errorf("packet socket for %s: %w", c.name, err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		w.here.Close()
		return wire{}, nil, fmt.Errorf("sockets for the card of %s: %w", c.name, err)
	}
	w.there = os.NewFile(uintptr(pair[0]), "card of "+c.name)
	return w, os.NewFile(uintptr(pair[1]), "card of "+c.name), nil
}

// carry carries frames until the wire is closed. An interface that is down for a moment
// loses them, as any does.
func (w wire) carry() {
	var both sync.WaitGroup
	for _, way := range [][2]*os.File{{w.here, w.there}, {w.there, w.here}} {
		both.Go(func() {
			frame := make([]byte, longest)
			for {
				n, err := way[0].Read(frame)
				if err == nil && n > 0 {
					_, _ = way[1].Write(frame[:n]) // lost
					continue
				}
				if !errors.Is(err, unix.ENETDOWN) {
					return
				}
			}
		})
	}
	both.Wait()
}

func (w wire) close() {
	_ = w.here.Close()
	_ = w.there.Close()
}

func networkOrder(v uint16) uint16 {
	b := [2]byte{byte(v >> 8), byte(v)}
	return *(*uint16)(unsafe.Pointer(&b))
}

// monitorPair makes the pair of sockets of a machine's monitor.
func monitorPair() (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("sockets for QEMU's monitor: %w", err)
	}
	return os.NewFile(uintptr(pair[0]), "monitor"), os.NewFile(uintptr(pair[1]), "monitor"), nil
}

// follow gives the machine's cards the carriers of the interfaces here until ctx ends.
func (t taken) follow(ctx context.Context, m *vm.Monitor, log io.Writer) error {
	updates := make(chan netlink.LinkUpdate, 64)
	var failed error
	err := netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{
		ListExisting:  true,
		ErrorCallback: func(err error) { failed = err },
	})
	if err != nil {
		return fmt.Errorf("follow carriers: %w", err)
	}
	carriers := make([]bool, len(t))
	for i := range carriers {
		carriers[i] = true // as QEMU begins
	}
	for u := range updates {
		for i, c := range t {
			has := u.IfInfomsg.Flags&unix.IFF_LOWER_UP != 0
			if int(u.Index) != c.index || carriers[i] == has {
				continue
			}
			if err := m.SetLink(i, has); err != nil {
				return err
			}
			carriers[i] = has
			fmt.Fprintf(log, "vmnode: %v the carrier of %s: %t\n", time.Now().UTC().Format(time.RFC3339Nano), c.name, has)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("follow carriers: %w", errors.Join(failed, io.ErrUnexpectedEOF))
}
