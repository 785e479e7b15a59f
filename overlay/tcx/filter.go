package tcx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/rtbatch"
)

// filters are filters of traffic control (cls_bpf with direct action), for kernels
// without tcx. They stay in the kernel without the process, whether pinned or not, and
// are recognised by their name.
//
// An interface has one queue discipline for them, which somebody else may have made: then
// the filters go there, behind others. Where there is none the device gets clsact, and
// links, where packets are only received, get ingress. That one is what scripts that shape
// received traffic replace without asking; what they remove so is not put back at once
// (patience in attach.go).
type filters struct {
	conn *rtbatch.Conn
	tag  string // name of the filters
	home string // directory for notes, which need not be there; empty: there are none
	made map[int]bool
}

const (
	// tagPrefix begins the name of a filter of ours; that of the device follows.
	tagPrefix = "roam6:"
	// filterPriority is far behind those that people and the kernel choose.
	filterPriority = 0x6275
	// noteMade begins the name of an empty directory, noting that a queue discipline is ours.
	noteMade = "qdisc-"
)

// From include/uapi/linux/pkt_sched.h and pkt_cls.h.
const (
	tcHandle  = 0xffff0000 // of either queue discipline
	tcParent  = 0xfffffff1 // TC_H_INGRESS, TC_H_CLSACT
	tcIngress = tcHandle | 0xfff2
	tcEgress  = tcHandle | 0xfff3

	sizeofTcmsg = 20

	tcaKind, tcaOptions               = 1, 2
	tcaBPFFd, tcaBPFName, tcaBPFFlags = 6, 7, 8
	tcaBPFID, tcaBPFFlagDirect        = 11, 1
	kindFilter, kindIngress, kindBoth = "bpf", "ingress", "clsact"
)

// openFilters opens them in the network namespace of the calling thread.
func openFilters(root, device string) (*filters, error) {
	home, err := pinHome(root)
	if err != nil {
		return nil, err
	}
	conn, err := rtbatch.Open()
	if err != nil {
		return nil, err
	}
	return &filters{conn: conn, tag: tagPrefix + device, home: home, made: make(map[int]bool)}, nil
}

func (*filters) name() string { return "clsact" }

func (*filters) groups() uint32 { return unix.RTMGRP_TC }

func (h *filters) close() { h.conn.Close() }

// filter is one in the kernel. It implements attachment.
type filter struct {
	hook    *filters
	link    int
	parent  uint32
	handle  uint32
	info    uint32 // priority and protocol
	program uint32 // identifier
	tag     string
	pin     string // empty: none
}

func parentOf(direction ebpf.AttachType) uint32 {
	if direction == ebpf.AttachTCXEgress {
		return tcEgress
	}
	return tcIngress
}

func (h *filters) attach(index int, direction ebpf.AttachType, p *ebpf.Program, pin string) (attachment, error) {
	info, err := p.Info()
	if err != nil {
		return nil, err
	}
	id, ok := info.ID()
	if !ok {
		return nil, errors.New("the kernel does not name the program")
	}
	if err := h.prepare(index, direction); err != nil {
		return nil, err
	}
	f := &filter{hook: h, link: index, parent: parentOf(direction), program: uint32(id), tag: h.tag}
	if pin != "" {
		_ = os.Remove(pin) // of an interface that had the same index
		noted, err := p.Clone()
		if err != nil {
			return nil, err
		}
		defer noted.Close()
		if err := noted.Pin(pin); err != nil {
			return nil, fmt.Errorf("pin %s: %w", pin, err)
		}
		f.pin = pin
	}
	protocol := uint32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IPV6)))
	body := message(index, 0, f.parent, filterPriority<<16|protocol).Bytes(tcaKind, []byte(kindFilter+"\x00"))
	options := rtbatch.Attributes(nil).Uint32(tcaBPFFd, uint32(p.FD())).Bytes(tcaBPFName, append([]byte(h.tag), 0)).Uint32(tcaBPFFlags, tcaBPFFlagDirect)
	if err := h.commit(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE, body.Bytes(tcaOptions, options)); err != nil {
		return nil, errors.Join(fmt.Errorf("filter %s: %w", kindFilter, err), f.unpin(), h.tidy(index))
	}
	if f.index() == 0 { // learns the handle, too
		return nil, errors.Join(errGone, f.unpin())
	}
	return f, nil
}

func (h *filters) adopt(index int, direction ebpf.AttachType, pin string) (attachment, error) {
	p, err := ebpf.LoadPinnedProgram(pin, nil)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return nil, err
	}
	id, _ := info.ID()
	f := &filter{hook: h, link: index, parent: parentOf(direction), program: uint32(id), tag: h.tag, pin: pin}
	if f.index() == 0 {
		return nil, errors.Join(errGone, os.Remove(pin))
	}
	return f, nil
}

func (h *filters) sweep(kept []attachment) error {
	return h.removeAll(func(f *filter) bool {
		if f.tag != h.tag {
			return false
		}
		for _, k := range kept {
			if k, ok := k.(*filter); ok && k.link == f.link && k.parent == f.parent && k.handle == f.handle {
				return false
			}
		}
		return true
	})
}

// cleanFilters removes those of all engines, of whatever device.
func cleanFilters(root string) error {
	h, err := openFilters(root, "")
	if err != nil {
		return err
	}
	defer h.close()
	return h.removeAll(func(*filter) bool { return true })
}

// removeAll removes those filters of ours that it is asked for, at all interfaces.
func (h *filters) removeAll(which func(*filter) bool) error {
	all, err := h.disciplines()
	if err != nil {
		return err
	}
	var failures []error
	for index, kind := range all {
		parents := []uint32{tcIngress, tcEgress}
		if kind == kindIngress {
			parents = parents[:1] // it would list the same twice
		}
		for _, parent := range parents {
			there, err := h.list(index, parent)
			failures = append(failures, err)
			for _, f := range there {
				if strings.HasPrefix(f.tag, tagPrefix) && which(f) {
					failures = append(failures, f.detach())
				}
			}
		}
	}
	return errors.Join(failures...)
}

// list returns the filters with a program in one direction of an interface; none where
// there is no such interface.
func (h *filters) list(index int, parent uint32) (all []*filter, err error) {
	err = h.conn.Dump(unix.RTM_GETTFILTER, message(index, 0, parent, 0), func(m []byte) {
		if len(m) < sizeofTcmsg || unix.ByteSliceToString(rtbatch.Attribute(m[sizeofTcmsg:], tcaKind)) != kindFilter {
			return
		}
		options := rtbatch.Attribute(m[sizeofTcmsg:], tcaOptions)
		if options == nil {
			return // the head of the list
		}
		f := &filter{
			hook: h, link: index, parent: parent, handle: binary.NativeEndian.Uint32(m[8:]), info: binary.NativeEndian.Uint32(m[16:]),
			tag: unix.ByteSliceToString(rtbatch.Attribute(options, tcaBPFName)),
		}
		f.program, _ = rtbatch.Uint32Attribute(options, tcaBPFID)
		all = append(all, f)
	})
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list filters: %w", err)
	}
	return all, nil
}

// index looks for the filter by its program, and notes what else names it.
func (f *filter) index() int {
	all, _ := f.hook.list(f.link, f.parent)
	for _, g := range all {
		if g.tag == f.tag && g.program == f.program && (f.handle == 0 || g.handle == f.handle) {
			f.handle, f.info = g.handle, g.info
			return f.link
		}
	}
	return 0
}

func (f *filter) detach() error {
	if err := f.unpin(); err != nil {
		return err
	}
	if f.index() == 0 {
		f.hook.disown(f.link) // most likely it went with the queue discipline
		return nil
	}
	body := message(f.link, f.handle, f.parent, f.info).Bytes(tcaKind, []byte(kindFilter+"\x00"))
	if err := f.hook.commit(unix.RTM_DELTFILTER, 0, body); err != nil && !absent(err) {
		return fmt.Errorf("remove filter: %w", err)
	}
	return f.hook.tidy(f.link)
}

func (f *filter) unpin() error {
	if f.pin == "" {
		return nil
	}
	if err := os.Remove(f.pin); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove pin: %w", err)
	}
	return nil
}

func (*filter) abandon() {}

// absent reports whether a removal failed because there was nothing.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL)
}

func (h *filters) commit(kind, flags uint16, body []byte) (failure error) {
	h.conn.Commit([]rtbatch.Request{{Kind: kind, Flags: flags, Body: body}}, func(_ int, err error) { failure = err })
	return failure
}

// message begins a request with struct tcmsg.
func message(index int, handle, parent, info uint32) rtbatch.Attributes {
	b := make(rtbatch.Attributes, sizeofTcmsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], handle)
	binary.NativeEndian.PutUint32(b[12:], parent)
	binary.NativeEndian.PutUint32(b[16:], info)
	return b
}
