package sock

import (
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func TestNetworkOrder16(t *testing.T) {
	v := NetworkOrder16(0x86dd)
	if b := *(*[2]byte)(unsafe.Pointer(&v)); b != [2]byte{0x86, 0xdd} {
		t.Errorf("% x in memory", b)
	}
}

// A filter that passes only what begins with a 7.
func TestAttachFilter(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	in, out := os.NewFile(uintptr(fds[0]), "in"), os.NewFile(uintptr(fds[1]), "out")
	defer in.Close()
	defer out.Close()
	if err := AttachFilter(fds[1], []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 7, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 18},
		bpf.RetConstant{Val: 0},
	}); err != nil {
		t.Fatal(err)
	}
	for _, b := range []byte{1, 7} {
		if _, err := in.Write([]byte{b}); err != nil && b == 7 {
			t.Fatal(err)
		}
	}
	if err := out.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := out.Read(b[:]); err != nil || b[0] != 7 {
		t.Errorf("read %d, %v", b[0], err)
	}
	if err := AttachFilter(-1, nil); err == nil {
		t.Error("a filter on no socket")
	}
}
