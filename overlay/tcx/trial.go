package tcx

import (
	"errors"
	"fmt"
	"math"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"roam6/overlay/feature"
)

// tryTCX attaches a program to an interface that cannot be there.
func tryTCX() error {
	p, err := loadProgram("roam6_probe", idle())
	if err != nil {
		return err
	}
	defer p.Close()
	l, err := link.AttachTCX(link.TCXOptions{Interface: math.MaxInt32, Program: p, Attach: ebpf.AttachTCXIngress})
	if err == nil {
		return l.Close()
	}
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// idle is a program that leaves all packets.
func idle() asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, actionLeave), asm.Return()}
}

// tryFilters attaches a program to an interface in a namespace of its own, both ways.
func tryFilters() (outcome error) {
	err := feature.TryPrivately(func() { outcome = tryFiltersHere() })
	if err != nil {
		return fmt.Errorf("network namespace to try it in: %w", err)
	}
	return outcome
}

func tryFiltersHere() error {
	p, err := loadProgram("roam6_probe", idle())
	if err != nil {
		return err
	}
	defer p.Close()
	h, err := openFilters(bpffs, "probe")
	if err != nil {
		return err
	}
	defer h.close()
	h.home = "" // what is tried ends with the namespace
	const loopback = 1
	for _, direction := range []ebpf.AttachType{ebpf.AttachTCXEgress, ebpf.AttachTCXIngress} {
		if _, err := h.attach(loopback, direction, p, ""); err != nil {
			return err
		}
	}
	return nil
}

// probeHooks finds out how programs can be at interfaces.
func probeHooks() feature.Feature {
	f := feature.Feature{
		Name:    "eBPF programs at interfaces (tcx)",
		OpenWrt: "24.10 or later (Linux 6.6); before it kmod-sched-core and kmod-sched-bpf", Debian: "13 or later (Linux 6.6); before it modprobe sch_ingress cls_bpf",
	}
	err := tryTCX()
	if err == nil {
		return f
	}
	other := tryFilters()
	if other == nil {
		f.Instead = "filters (cls_bpf) of a clsact queue discipline"
	} else {
		err = fmt.Errorf("%w; nor filters (cls_bpf) of a clsact queue discipline: %w", err, other)
	}
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("run as root, or with CAP_BPF and CAP_NET_ADMIN: %w", err)
	}
	f.Missing = err.Error()
	return f
}
