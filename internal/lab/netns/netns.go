// Package netns gives a lab its network namespaces and the threads in them.
// A namespace is anonymous: it has no name in the file system, so that labs
// running side by side do not clash and nothing remains when a lab ends,
// however it ends.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ErrClosed is returned by Do after Close.
var ErrClosed = errors.New("network namespace is closed")

// Space is a network namespace with a thread of its own inside. The thread
// lives until Close: processes started through Do may rely on it for their
// parent-death signal.
type Space struct {
	name   string
	handle vnetns.NsHandle
	// Link is a netlink handle that works in this namespace from any thread.
	Link *netlink.Handle

	jobs   chan func()
	closed chan struct{}
	once   sync.Once
}

// New makes an empty network namespace. The name is for messages only.
func New(name string) (*Space, error) {
	s := &Space{name: name, handle: vnetns.None(), jobs: make(chan func()), closed: make(chan struct{})}
	started := make(chan error)
	onOwnThread(func() {
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err != nil {
			started <- fmt.Errorf("new network namespace for %s: %w", name, err)
			return
		}
		if s.handle, err = vnetns.Get(); err != nil {
			started <- fmt.Errorf("open network namespace of %s: %w", name, err)
			return
		}
		started <- nil
		for {
			select {
			case job := <-s.jobs:
				job()
			case <-s.closed:
				return
			}
		}
	})
	if err := <-started; err != nil {
		return nil, err
	}
	var err error
	if s.Link, err = netlink.NewHandleAt(s.handle, unix.NETLINK_ROUTE); err != nil {
		s.Close()
		return nil, fmt.Errorf("netlink socket in %s: %w", name, err)
	}
	return s, nil
}

// Name is the name given to New.
func (s *Space) Name() string { return s.name }

// FD is the file descriptor that refers to the namespace.
func (s *Space) FD() int { return int(s.handle) }

// Do runs f on the namespace's own thread and returns its error. Sockets that f
// opens and processes that it starts are inside. Goroutines that f starts are
// not. f must not call Do of the same Space.
func (s *Space) Do(f func() error) error {
	result := make(chan error, 1)
	select {
	case s.jobs <- func() { result <- f() }:
		return <-result
	case <-s.closed:
		return fmt.Errorf("%s: %w", s.name, ErrClosed)
	}
}

// Go runs f on a new thread inside the namespace; the thread ends with f.
func (s *Space) Go(f func()) error {
	started := make(chan error)
	onOwnThread(func() {
		if err := vnetns.Set(s.handle); err != nil {
			started <- fmt.Errorf("enter network namespace of %s: %w", s.name, err)
			return
		}
		started <- nil
		f()
	})
	return <-started
}

// Close ends the namespace's thread. The namespace is gone when the last
// process in it has ended.
func (s *Space) Close() {
	s.once.Do(func() {
		close(s.closed)
		if s.Link != nil {
			s.Link.Close()
		}
		_ = s.handle.Close()
	})
}

// SetSysctl writes a variable below /proc/sys, named with slashes.
func (s *Space) SetSysctl(name, value string) error {
	return s.Do(func() error {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
			return fmt.Errorf("set %s to %s in %s: %w", name, value, s.name, err)
		}
		return nil
	})
}

// Sysctl reads a variable below /proc/sys, named with slashes.
func (s *Space) Sysctl(name string) (value string, err error) {
	err = s.Do(func() error {
		b, err := os.ReadFile("/proc/sys/" + name)
		value = strings.TrimSpace(string(b))
		return err
	})
	return value, err
}

// onOwnThread runs f on an operating system thread that nobody else uses and
// that ends with f: it may be in any state afterwards. The process's first
// thread is left alone, since it is what /proc/self shows.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			f() // never unlocked: the runtime ends the thread
			return
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // another thread: the first one is taken
			f()
		}()
		<-done
		runtime.UnlockOSThread()
	}()
}
