package rtnl

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const threadNamespace = "/proc/thread-self/ns/net"

// namespace is a network namespace that outlives the thread it was taken from.
type namespace struct {
	file *os.File
	id   namespaceID
}

type namespaceID struct {
	device, inode uint64
}

// currentNamespace returns the calling thread's.
func currentNamespace() (*namespace, error) {
	f, err := os.Open(threadNamespace)
	if err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	return &namespace{f, namespaceID{uint64(st.Dev), st.Ino}}, nil
}

// do runs f in the namespace. A daemon lives in one namespace and its threads
// are there already; entering another one takes CAP_SYS_ADMIN and a thread that
// is thrown away afterwards.
func (n *namespace) do(f func() error) error {
	runtime.LockOSThread()
	var st unix.Stat_t
	if err := unix.Stat(threadNamespace, &st); err == nil && n.id == (namespaceID{uint64(st.Dev), st.Ino}) {
		defer runtime.UnlockOSThread()
		return f()
	}
	runtime.UnlockOSThread()
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("network namespace: %w", os.NewSyscallError("setns", err))
			return
		}
		result <- f()
	}()
	return <-result
}

func (n *namespace) close() { n.file.Close() }
