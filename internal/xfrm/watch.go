package xfrm

import (
	"encoding/binary"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
)

// watch is the goroutine that hears what becomes of associations and policies, and does
// what is due later.
type watch struct {
	events int // netlink socket
	bell   int // eventfd
	done   chan struct{}
	loop   sync.WaitGroup
}

// restoreInterval is the least time between two looks at the kernel: somebody who
// removes ours again and again must not make us busy.
const restoreInterval = 100 * time.Millisecond

func (w *watch) open() error {
	const groups = 1<<(nl.XFRMNLGRP_SA-1) | 1<<(nl.XFRMNLGRP_POLICY-1)
	fd, err := nlsock.Subscribe(unix.NETLINK_XFRM, groups)
	if err != nil {
		return err
	}
	if w.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("eventfd", err)
	}
	w.events, w.done = fd, make(chan struct{})
	return nil
}

// wake has the loop look again at what is due.
func (w *watch) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(w.bell, one[:]) // full: it will wake anyway
}

// stop ends the loop; nobody may wake it any more.
func (w *watch) stop() {
	close(w.done)
	w.wake()
	w.loop.Wait()
	unix.Close(w.events)
	unix.Close(w.bell)
}

// watchRunLoop runs until stop.
func (m *Manager) watchRunLoop() {
	w := &m.watch
	buffer := make([]byte, 1<<16)
	lost := false // something may have been removed
	for {
		select {
		case <-w.done:
			return
		default:
		}
		set := [2]unix.PollFd{{Fd: int32(w.events), Events: unix.POLLIN}, {Fd: int32(w.bell), Events: unix.POLLIN}}
		wait := m.due(time.Now(), lost)
		_, _ = unix.Poll(set[:], wait)
		if set[1].Revents != 0 {
			_, _ = unix.Read(w.bell, buffer[:8])
		}
		for set[0].Revents != 0 {
			n, _, err := unix.Recvfrom(w.events, buffer, unix.MSG_DONTWAIT)
			if err == unix.EAGAIN {
				break
			}
			lost = lost || err == unix.ENOBUFS || err == nil && removes(buffer[:n], m.conn.Port())
			if err != nil && err != unix.ENOBUFS && err != unix.EINTR {
				break
			}
		}
		if m.act(time.Now(), lost) {
			lost = false
		}
	}
}

// removes reports whether a notification says that somebody else than whoever has a
// netlink port has removed something.
func removes(b []byte, own uint32) bool {
	const offsetPort = 12
	if len(b) < unix.SizeofNlMsghdr || binary.NativeEndian.Uint32(b[offsetPort:]) == own {
		return false
	}
	switch binary.NativeEndian.Uint16(b[4:]) {
	case nl.XFRM_MSG_DELSA, nl.XFRM_MSG_FLUSHSA, nl.XFRM_MSG_DELPOLICY, nl.XFRM_MSG_FLUSHPOLICY, nl.XFRM_MSG_UPDPOLICY:
		return true
	default:
		return false
	}
}

// due is how long to wait for the next thing to do, in milliseconds; -1: for ever.
func (m *Manager) due(now time.Time, lost bool) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.sweep
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, e := range m.entries {
		for _, c := range e.ends {
			sooner(c.until)
		}
	}
	if lost {
		sooner(m.restored.Add(restoreInterval))
	}
	if next.IsZero() {
		return -1
	}
	return int(max(next.Sub(now), 0)/time.Millisecond) + 1
}

// act does what is due; it reports whether it has looked for what is lost.
func (m *Manager) act(now time.Time, lost bool) (looked bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return true
	}
	for _, e := range m.entries {
		for x, c := range e.ends {
			if !c.until.IsZero() && !now.Before(c.until) {
				m.release(e, x)
			}
		}
	}
	if !m.sweep.IsZero() && !now.Before(m.sweep) {
		if err := m.sweepLeft(); err != nil {
			m.options.Log.Warn("IPsec of an earlier run", "reason", err)
		}
	}
	if !lost || now.Sub(m.restored) < restoreInterval {
		return false
	}
	m.restored = now
	m.restore()
	return true
}
