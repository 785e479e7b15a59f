package tcx

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"roam6/overlay/feature"
	"roam6/overlay/tun"
)

// Probe finds out what the engine needs, and the one in user space that it is part of,
// and whether it is there, by trying it. It leaves nothing behind but, perhaps, a mounted
// BPF file system.
func Probe() []feature.Feature {
	all := []struct {
		feature.Feature
		try func() error
	}{
		{feature.Feature{
			Name: "eBPF maps", OpenWrt: "kernel option KERNEL_BPF_SYSCALL", Debian: "linux-image-amd64 and the like (CONFIG_BPF_SYSCALL)",
		}, probeMap},
		{feature.Feature{
			Name: "eBPF programs for packets", OpenWrt: "kernel option KERNEL_BPF_SYSCALL; Linux 5.12 or later", Debian: "Linux 5.12 or later",
		}, probePrograms},
		{feature.Feature{
			Name: "BPF file system", Instead: "after a crash nothing is forwarded until the tunnels are set again",
			OpenWrt: "kernel option KERNEL_BPF_SYSCALL", Debian: "mount -t bpf bpf /sys/fs/bpf",
		}, func() error { return mountBPF(bpffs) }},
	}
	features := tun.Probe()
	for _, f := range all {
		err := f.try()
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("run as root, or with CAP_BPF and CAP_NET_ADMIN: %w", err)
		}
		features = append(features, feature.Tried(f.Name, err, f.Feature))
	}
	return append(features, probeHooks())
}

func probeMap() error {
	for _, spec := range specs(1) {
		m, err := ebpf.NewMap(spec)
		if err != nil {
			return fmt.Errorf("map %s: %w", spec.Name, err)
		}
		m.Close()
	}
	return nil
}

func probePrograms() error {
	l, err := load(setting{device: 1}, 1, "")
	if err != nil {
		return err
	}
	l.close()
	return nil
}

// routesByMark finds out whether routes can be looked up for packets with a mark: the
// kernel refuses flags that it does not know before anything else.
func routesByMark() bool {
	const offset = -fibSize
	var i asm.Instructions
	for at := int16(offset); at < 0; at += 8 {
		i = append(i, asm.Mov.Imm(asm.R5, 0), asm.StoreMem(asm.RFP, at, asm.R5, asm.DWord))
	}
	i = append(i,
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, offset),
		asm.Mov.Imm(asm.R3, fibSize), asm.Mov.Imm(asm.R4, fibWithMark), asm.FnFibLookup.Call(), asm.Return(),
	)
	p, err := loadProgram("roam6_probe", i)
	if err != nil {
		return false
	}
	defer p.Close()
	result, _, err := p.Test(make([]byte, 64))
	return err == nil && unix.Errno(-int32(result)) != unix.EINVAL
}
