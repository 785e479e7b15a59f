package rtnl

import (
	"net/netip"
	"sync"
)

// LocalAddresses knows this node's IPv6 addresses: those the kernel has, as
// the Watcher hears of them, and those State has just assigned. Contains may be
// called by any goroutine. The zero value is empty and ready.
type LocalAddresses struct {
	mu     sync.RWMutex
	kernel map[linkAddress]struct{}
	ours   map[linkAddress]struct{}
	count  map[netip.Addr]int // in both
}

// linkAddress is what makes an address unique in the kernel.
type linkAddress struct {
	link int
	addr netip.Addr
}

// Contains reports whether the address is this node's and not tentative.
func (l *LocalAddresses) Contains(a netip.Addr) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.count[a] > 0
}

func (l *LocalAddresses) add(set *map[linkAddress]struct{}, k linkAddress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := (*set)[k]; ok {
		return
	}
	if *set == nil {
		*set = make(map[linkAddress]struct{})
	}
	if l.count == nil {
		l.count = make(map[netip.Addr]int)
	}
	(*set)[k] = struct{}{}
	l.count[k.addr]++
}

func (l *LocalAddresses) remove(set *map[linkAddress]struct{}, k linkAddress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := (*set)[k]; !ok {
		return
	}
	delete(*set, k)
	if l.count[k.addr]--; l.count[k.addr] == 0 {
		delete(l.count, k.addr)
	}
}

// The Watcher's side.

func (l *LocalAddresses) kernelHas(k linkAddress) {
	if l != nil {
		l.add(&l.kernel, k)
	}
}

func (l *LocalAddresses) kernelLost(k linkAddress) {
	if l != nil {
		l.remove(&l.kernel, k)
	}
}

// kernelOnly removes what is not among the addresses of a complete dump.
func (l *LocalAddresses) kernelOnly(present map[linkAddress]struct{}) {
	if l == nil {
		return
	}
	var gone []linkAddress
	l.mu.RLock()
	for k := range l.kernel {
		if _, ok := present[k]; !ok {
			gone = append(gone, k)
		}
	}
	l.mu.RUnlock()
	for _, k := range gone {
		l.kernelLost(k)
	}
}

// State's side. An address that State withdraws is no longer ours at once,
// although the kernel's notification is still to come.

func (l *LocalAddresses) assigned(k linkAddress) {
	if l != nil {
		l.add(&l.ours, k)
	}
}

func (l *LocalAddresses) withdrawn(k linkAddress) {
	if l != nil {
		l.remove(&l.ours, k)
		l.remove(&l.kernel, k)
	}
}
