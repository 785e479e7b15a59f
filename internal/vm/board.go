package vm

import (
	"fmt"
	"regexp"
	"runtime"
	"strings"
)

// Board is a kind of machine that QEMU emulates, with the kernel of Debian that it boots.
type Board uint8

// Boards.
const (
	PC    Board = iota // x86-64
	Malta              // a board of MIPS, 32 bits, little-endian, MIPS32 release 2: an OpenWrt router of the ramips and ath79 kind
	Virt               // ARMv7, a Cortex-A7: QEMU's own board
)

// Boards lists them all.
func Boards() []Board { return []Board{PC, Malta, Virt} }

// board is what is known of one.
type board struct {
	name     string
	arch     string // Debian's
	goarch   string // Go's, of the programs that run on it
	flavour  string // of the kernel: the end of its release
	emulator string // program of QEMU
	from     string // Debian's package with that
	hardware []string
	console  string // of the kernel
	card     string // QEMU's model of its network cards, and the kernel's module for them
	driver   string
	append   string // to the kernel's command line
	// firmware is a shell script that does what the board's firmware would have done, before
	// any module is loaded.
	firmware string
	// folders have modules that an image has, loaded or not: what a network can ask for.
	// "/*" stands for the folder without those in it: the drivers of network cards are for
	// machines that have some. None: an image has those alone that are named, since the
	// board has little memory.
	folders []string
}

// details are what is known of a board. The PC has HPET: QEMU's microvm hangs in one of
// eight boots. A kernel on a busy host would not believe in a PC's timer, which it need not
// check in a machine (no_timer_check). ARM's board has its PCI below 4 GB: Debian's kernel
// finds no room above.
func (b Board) details() board {
	switch b {
	case Malta:
		return board{
			name: "malta", arch: "mipsel", goarch: "mipsle", flavour: "4kc-malta", emulator: "qemu-system-mipsel", from: "qemu-system-mips",
			hardware: []string{"-machine", "malta", "-cpu", "24Kf"}, console: "ttyS0",
			card: "virtio-net-pci", driver: "virtio_net", firmware: maltaFirmware,
		}
	case Virt:
		return board{
			name: "virt", arch: "armhf", goarch: "arm", flavour: "armmp", emulator: "qemu-system-arm", from: "qemu-system-arm",
			hardware: []string{"-machine", "virt,highmem=off", "-cpu", "cortex-a7"}, console: "ttyAMA0", card: "virtio-net-pci", driver: "virtio_net",
		}
	default:
		return board{
			name: "pc", arch: "amd64", goarch: "amd64", flavour: "cloud-amd64", emulator: "qemu-system-x86_64", from: "qemu-system-x86",
			hardware: []string{"-machine", "pc,hpet=on", "-cpu", "max"}, console: "ttyS0", card: "virtio-net-pci", driver: "virtio_net",
			append: "no_timer_check mitigations=off random.trust_cpu=on",
			folders: []string{
				"kernel/net", "kernel/crypto", "kernel/lib", "kernel/arch/x86/crypto",
				"kernel/drivers/net/*", "kernel/drivers/net/wireguard", "kernel/drivers/net/vxlan",
				"kernel/drivers/char/hw_random",
			},
		}
	}
}

// maltaFirmware does for a Malta what its firmware, which QEMU has not, leaves for Linux.
// PCI's devices share interrupts 10 and 11, which have to be triggered by level: bits 2 and
// 3 of the PIIX4's register ELCR2 at 0x4d1. As edges they get lost. Beside that the timer of
// the processor is given up for the board's (PIT): with it all stood still for up to its
// 26 s round in the middle of a ride, for a reason that was not found. With either of the
// two alone rides still stalled; with both none has.
const maltaFirmware = `printf '\014' | dd of=/dev/port bs=1 seek=1233 conv=notrunc 2>/dev/null
echo MIPS >/sys/devices/system/clockevents/clockevent0/unbind_device
`

// String is the name of a board.
func (b Board) String() string { return b.details().name }

// ParseBoard is the inverse of String.
func ParseBoard(name string) (Board, error) {
	var all []string
	for _, b := range Boards() {
		if b.String() == name {
			return b, nil
		}
		all = append(all, b.String())
	}
	return PC, fmt.Errorf("there is no board %q: it is one of %s", name, strings.Join(all, ", "))
}

// Architecture is Go's name of the architecture that programs for the board have.
func (b Board) Architecture() string { return b.details().goarch }

// Foreign reports whether this machine's own programs cannot run on the board.
func (b Board) Foreign() bool { return b.details().goarch != runtime.GOARCH }

// UsualModules are what roam6 uses on a board. On a PC they are those of its data planes
// and of the worlds of the lab; most would come on demand, but not all: nobody asks for
// ip6_tunnel, whose presence changes how the kernel answers tunnel packets. Another board
// has what OpenWrt's packages of roam6 depend on, and nothing on demand.
func (b Board) UsualModules() []string {
	if b != PC {
		return []string{"crc32c_generic", b.details().driver, "tun", "ip6_tunnel", "nf_tables"}
	}
	return []string{
		"veth", "tun", "bridge", "dummy", "macvlan", "vrf", "ip6_tunnel",
		"xfrm_user", "esp6", "esp4",
		"nf_tables", "nft_ct", "nft_reject_ipv6", "nft_log", "nft_queue", "nfnetlink_queue", "nft_chain_nat",
		"sch_netem", "sch_ingress", "cls_bpf", "act_bpf",
	}
}

// packageName is that of the board's kernels in Debian: linux-image-6.12.117+deb12-cloud-amd64
// is the one for clouds, the smallest. Packages that only depend on another have a version
// of less than three numbers.
func (b Board) packageName() *regexp.Regexp {
	return regexp.MustCompile(`^linux-image-((\d+)\.\d+\.\S*\d-` + regexp.QuoteMeta(b.details().flavour) + `)$`)
}
