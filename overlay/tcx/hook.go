package tcx

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// hook is a way of the kernel's to give the packets of an interface to a program. With
// either the program sees the same packets, and what it returns means the same.
type hook interface {
	// name tells apart what the ways leave in the kernel.
	name() string
	// groups are the netlink groups that tell of what others remove there.
	groups() uint32
	// attach puts a program at an interface, behind what others have there, and notes that
	// for a successor in a file of the BPF file system, unless pin is empty.
	attach(index int, direction ebpf.AttachType, p *ebpf.Program, pin string) (attachment, error)
	// adopt finds what a predecessor has attached and noted. The error says that it is not
	// there any more.
	adopt(index int, direction ebpf.AttachType, pin string) (attachment, error)
	// sweep takes away what a predecessor has attached and is not among those.
	sweep(kept []attachment) error
	close()
}

// attachment is a program at an interface.
type attachment interface {
	// index is the interface, 0 if it has gone or the program is not there any more.
	index() int
	// detach takes the program off, which may have gone.
	detach() error
	// abandon closes what the process has open, as its death would.
	abandon()
}

// openHook opens the best way there is for an engine with a device, in the network
// namespace of the calling thread. root is that of the BPF file system.
func openHook(root, device string) (hook, error) {
	err := tryTCX()
	if err == nil {
		return tcxLinks{}, nil
	}
	h, other := openFilters(root, device)
	if other != nil {
		return nil, errors.Join(fmt.Errorf("tcx: %w", err), fmt.Errorf("filters of a queue discipline: %w", other))
	}
	return h, nil
}

// tcxLinks are the links of tcx (Linux 6.6). They are attached in the network namespace
// of the calling thread, and end with the process where they are not pinned.
type tcxLinks struct{}

func (tcxLinks) name() string { return "tcx" }

// groups are none: there are no such messages.
func (tcxLinks) groups() uint32 { return 0 }

func (tcxLinks) attach(index int, direction ebpf.AttachType, p *ebpf.Program, pin string) (attachment, error) {
	l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: p, Attach: direction, Anchor: link.Tail()})
	if err != nil {
		return nil, err
	}
	if pin != "" {
		_ = os.Remove(pin) // of an interface that had the same index
		if err := l.Pin(pin); err != nil {
			return nil, errors.Join(fmt.Errorf("pin %s: %w", pin, err), l.Close())
		}
	}
	return tcxLink{l}, nil
}

func (tcxLinks) adopt(index int, _ ebpf.AttachType, pin string) (attachment, error) {
	l, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return nil, err
	}
	t := tcxLink{l}
	if t.index() != index {
		return nil, errors.Join(errGone, t.detach())
	}
	return t, nil
}

// sweep has nothing to do: what is not pinned is not there, and pins are known.
func (tcxLinks) sweep([]attachment) error { return nil }

func (tcxLinks) close() {}

var errGone = errors.New("the program is not at the interface any more")

// tcxLink is a program at an interface by tcx.
type tcxLink struct{ link link.Link }

func (l tcxLink) index() int {
	info, err := l.link.Info()
	if err != nil || info.TCX() == nil {
		return 0
	}
	return int(info.TCX().Ifindex)
}

func (l tcxLink) detach() error {
	_ = l.link.Unpin() // not pinned, or the directory goes anyway
	if err := l.link.Close(); err != nil {
		return fmt.Errorf("detach program: %w", err)
	}
	return nil
}

func (l tcxLink) abandon() { l.link.Close() }
