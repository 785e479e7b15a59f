// Package nstest gives tests network namespaces of their own: nameless, so
// that nothing can be left behind, and joined by veth pairs.
package nstest

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Space is a network namespace. It disappears at the end of the test.
type Space struct {
	// Handle does netlink requests in the namespace.
	Handle *netlink.Handle
	ns     netns.NsHandle
	t      testing.TB
	veths  int
}

// New makes a namespace with its loopback interface up and duplicate address
// detection off for new interfaces. It skips the test where that takes a
// privilege the process does not have.
func New(t testing.TB) *Space {
	t.Helper()
	s := &Space{ns: netns.None(), t: t}
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			s.ns, err = netns.Get()
		}
	}()
	<-done
	if err != nil {
		t.Skipf("needs a network namespace: %v: run as root (CAP_SYS_ADMIN) on a kernel with CONFIG_NET_NS", err)
	}
	if s.Handle, err = netlink.NewHandleAt(s.ns, unix.NETLINK_ROUTE); err != nil {
		t.Fatalf("netlink handle: %v", err)
	}
	t.Cleanup(func() {
		s.Handle.Close()
		s.ns.Close()
	})
	s.Sysctl("net/ipv6/conf/default/accept_dad", "0")
	s.LinkUp("lo")
	return s
}

// Do runs f on a thread in the namespace and waits for it. f must not end the
// test; it returns an error instead, which does.
func (s *Space) Do(f func() error) {
	s.t.Helper()
	if err := s.Try(f); err != nil {
		s.t.Fatal(err)
	}
}

// Try is Do for an error that is expected.
func (s *Space) Try(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := netns.Set(s.ns); err != nil {
			result <- fmt.Errorf("setns: %w", err)
			return
		}
		result <- f()
	}()
	return <-result
}

// Sysctl writes a file under /proc/sys.
func (s *Space) Sysctl(path, value string) {
	s.t.Helper()
	s.Do(func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0) })
}

// ReadSysctl reads a file under /proc/sys.
func (s *Space) ReadSysctl(path string) string {
	s.t.Helper()
	var b []byte
	s.Do(func() (err error) {
		b, err = os.ReadFile("/proc/sys/" + path)
		return err
	})
	return strings.TrimSpace(string(b))
}

// Veth joins two namespaces; both ends are up. Their indices differ: where the
// two ends of a pair have the same index, the kernel (linkwatch) does not see
// that it is a pair, and reports a lost carrier up to a second late.
func Veth(a *Space, nameA string, b *Space, nameB string) {
	a.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = nameA
	a.veths++
	attrs.Index = 1000 + a.veths
	if err := a.Handle.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: nameB, PeerNamespace: netlink.NsFd(b.ns)}); err != nil {
		a.t.Fatalf("veth %s: %v", nameA, err)
	}
	a.LinkUp(nameA)
	b.LinkUp(nameB)
	a.settle(nameA)
	b.settle(nameB)
}

// settle waits until an interface has its link-local address: without duplicate
// address detection too the kernel makes it a moment after the interface is up.
func (s *Space) settle(name string) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		list, err := s.Handle.AddrList(s.Link(name), unix.AF_INET6)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(list) > 0 && list[0].Flags&unix.IFA_F_TENTATIVE == 0 {
			return
		}
	}
	s.t.Fatalf("%s gets no link-local address", name)
}

// Link returns an interface.
func (s *Space) Link(name string) netlink.Link {
	s.t.Helper()
	l, err := s.Handle.LinkByName(name)
	if err != nil {
		s.t.Fatalf("link %s: %v", name, err)
	}
	return l
}

// Index returns an interface's index.
func (s *Space) Index(name string) int {
	s.t.Helper()
	return s.Link(name).Attrs().Index
}

// LinkUp sets an interface administratively up.
func (s *Space) LinkUp(name string) {
	s.t.Helper()
	if err := s.Handle.LinkSetUp(s.Link(name)); err != nil {
		s.t.Fatalf("link %s up: %v", name, err)
	}
}

// LinkDown sets an interface administratively down.
func (s *Space) LinkDown(name string) {
	s.t.Helper()
	if err := s.Handle.LinkSetDown(s.Link(name)); err != nil {
		s.t.Fatalf("link %s down: %v", name, err)
	}
}

// Rename gives an interface another name, while it is down for a moment:
// kernels before 6.2 demand that.
func (s *Space) Rename(old, name string) {
	s.t.Helper()
	s.LinkDown(old)
	if err := s.Handle.LinkSetName(s.Link(old), name); err != nil {
		s.t.Fatalf("rename %s to %s: %v", old, name, err)
	}
	s.LinkUp(name)
}

// Address assigns an address, without duplicate address detection, and waits
// until the kernel receives for it.
func (s *Space) Address(name, prefix string) netip.Addr {
	s.t.Helper()
	a := s.Assign(name, prefix)
	s.Local(a)
	return a
}

// Local waits until the kernel receives for an address.
func (s *Space) Local(a netip.Addr) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if r, err := s.Handle.RouteGet(a.AsSlice()); err == nil && len(r) > 0 && r[0].Type == unix.RTN_LOCAL {
			return
		}
	}
	s.t.Fatalf("%v does not become local", a)
}

// Assign is Address without the wait: the address is a source at once, but its
// local route comes by the kernel's work queue.
func (s *Space) Assign(name, prefix string) netip.Addr {
	s.t.Helper()
	a, err := netlink.ParseAddr(prefix)
	if err != nil {
		s.t.Fatal(err)
	}
	a.Flags = unix.IFA_F_NODAD
	if err := s.Handle.AddrAdd(s.Link(name), a); err != nil {
		s.t.Fatalf("address %s on %s: %v", prefix, name, err)
	}
	return netip.MustParsePrefix(prefix).Addr()
}

// Route adds a route; via may be empty.
func (s *Space) Route(destination, via, name string) {
	s.t.Helper()
	d, err := netlink.ParseIPNet(destination)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &netlink.Route{Dst: d, LinkIndex: s.Index(name)}
	if via != "" {
		r.Gw = netip.MustParseAddr(via).AsSlice()
	}
	// Append: the kernel may have learned a route to there by another interface.
	if err := s.Handle.RouteAppend(r); err != nil {
		s.t.Fatalf("route %s: %v", destination, err)
	}
}

// LinkLocal returns the link-local address of an interface.
func (s *Space) LinkLocal(name string) netip.Addr {
	s.t.Helper()
	list, err := s.Handle.AddrList(s.Link(name), unix.AF_INET6)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, a := range list {
		if p, ok := netip.AddrFromSlice(a.IP); ok && p.IsLinkLocalUnicast() {
			return p
		}
	}
	s.t.Fatalf("%s has no link-local address", name)
	return netip.Addr{}
}
