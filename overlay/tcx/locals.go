package tcx

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/rtbatch"
)

// addresses lists the addresses that packets may be sent from.
func (w *world) addresses() (map[netip.Addr]bool, error) {
	all := make(map[netip.Addr]bool)
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0] = unix.AF_INET6
	err := w.requests.Dump(unix.RTM_GETADDR, b, func(m []byte) {
		if a, ok := usableAddress(m); ok && len(all) < mostLocals {
			all[a] = true
		}
	})
	return all, err
}

// usableAddress reads an address; ok is false if nothing is sent from it.
func usableAddress(m []byte) (a netip.Addr, ok bool) {
	if len(m) < unix.SizeofIfAddrmsg {
		return a, false
	}
	flags := uint32(m[2])
	attributes := m[unix.SizeofIfAddrmsg:]
	if all, ok := rtbatch.Uint32Attribute(attributes, unix.IFA_FLAGS); ok {
		flags = all
	}
	tentative := flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
	if tentative || flags&unix.IFA_F_DADFAILED != 0 {
		return a, false
	}
	b := rtbatch.Attribute(attributes, unix.IFA_LOCAL)
	if len(b) != 16 {
		b = rtbatch.Attribute(attributes, unix.IFA_ADDRESS)
	}
	if a, ok = netip.AddrFromSlice(b); !ok || !a.IsGlobalUnicast() {
		return a, false
	}
	return a, true
}

// knowLocal lists the addresses of this node anew when one is not among them, so that a
// path from an address that was assigned a moment ago works at once. missing are those
// that were looked for in vain. Under the lock.
func (f *fastPath) knowLocal(a netip.Addr, missing map[netip.Addr]bool) {
	if f.locals[a] || missing[a] {
		return
	}
	f.learnLocals()
	missing[a] = !f.locals[a]
}

// learnLocals lists the addresses of this node. Under the lock.
func (f *fastPath) learnLocals() {
	now, err := f.world.addresses()
	if err != nil {
		f.log.Warn("addresses of this node", "engine", Name, "reason", err)
		return
	}
	for a := range now {
		if !f.locals[a] {
			if err := f.put(mapLocals, a.As16(), uint32(1)); err != nil {
				f.log.Warn("tunnels from an address are carried in user space", "engine", Name, "address", a, "reason", err)
				delete(now, a)
			}
		}
	}
	for a := range f.locals {
		if !now[a] {
			if err := f.delete(mapLocals, a.As16()); err != nil {
				f.log.Warn("address of this node that is none any more", "engine", Name, "address", a, "reason", err)
			}
		}
	}
	f.locals = now
}
