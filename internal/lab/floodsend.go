package lab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"roam6/internal/lab/netns"
	"roam6/internal/lab/world"
	"roam6/internal/sock"
)

// attacker sends frames from memory.
type attacker struct {
	space  *netns.Space
	fd     int
	header []byte // Ethernet's
	random *rand.Rand

	frames   [][]byte
	messages []mmsghdr
	vectors  []unix.Iovec
}

// mmsghdr is the kernel's struct of that name.
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

// floodFrames is how many different packets a flood has.
const floodFrames = 4096

func newAttacker(w *world.World, seed uint64) (*attacker, error) {
	a := &attacker{space: w.Space(nodeAttacker), fd: -1, random: rand.New(rand.NewPCG(seed, 0)),
		messages: make([]mmsghdr, floodFrames), vectors: make([]unix.Iovec, floodFrames)}
	header, index, err := ethernetHeader(w, nodeAttacker, "eth0", nodeHomeAgent, linkAttacker)
	if err != nil {
		return nil, err
	}
	a.header = header
	err = a.space.Do(func() (err error) {
		// Protocol 0: it receives nothing.
		if a.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		_ = unix.SetsockoptInt(a.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
		return unix.Bind(a.fd, &unix.SockaddrLinklayer{Protocol: sock.NetworkOrder16(0), Ifindex: index})
	})
	if err != nil {
		a.close()
		return nil, fmt.Errorf("the attacker's socket: %w", err)
	}
	return a, nil
}

func (a *attacker) close() {
	if a.fd >= 0 {
		_ = unix.Close(a.fd)
		a.fd = -1
	}
}

// load makes the packets of a flood.
func (a *attacker) load(f floodOf) error {
	a.frames = a.frames[:0]
	for i := range floodFrames {
		packet, err := f.kind.packet(f, a.random, floodSource(a.random, f.many))
		if err != nil {
			return err
		}
		frame := slices.Concat(a.header, packet)
		a.frames = append(a.frames, frame)
		a.vectors[i] = unix.Iovec{Base: &frame[0]}
		a.vectors[i].SetLen(len(frame))
		a.messages[i].header = unix.Msghdr{Iov: &a.vectors[i]}
		a.messages[i].header.SetIovlen(1)
	}
	return nil
}

// pour sends at a rate for a time, or until ctx ends, and then says how many
// packets it sent.
func (a *attacker) pour(ctx context.Context, rate int, duration time.Duration) <-chan int {
	done := make(chan int, 1)
	go func() { done <- a.send(ctx, rate, duration) }()
	return done
}

func (a *attacker) send(ctx context.Context, rate int, duration time.Duration) (sent int) {
	const tick = time.Millisecond
	start := time.Now()
	for {
		elapsed := time.Since(start)
		if elapsed >= duration || ctx.Err() != nil {
			return sent
		}
		// What a busy machine had no time for is made up for, but not all at once.
		due := min(int(float64(rate)*elapsed.Seconds())-sent, 4*max(1, rate/1000))
		for due > 0 {
			at := sent % floodFrames
			n := a.batch(a.messages[at:min(at+due, floodFrames)])
			sent, due = sent+n, due-n
			if n == 0 {
				break
			}
		}
		time.Sleep(tick)
	}
}

// batch sends packets and returns how many went.
func (a *attacker) batch(messages []mmsghdr) int {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(a.fd), uintptr(unsafe.Pointer(&messages[0])), uintptr(len(messages)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// received counts the packets that came to the attacker.
func (a *attacker) received() (uint64, error) {
	link, err := a.space.Link.LinkByName("eth0")
	if err != nil {
		return 0, fmt.Errorf("the attacker's interface: %w", err)
	}
	return link.Attrs().Statistics.RxPackets, nil
}

// usage is what a process uses.
type usage struct {
	resident  int // kilobytes
	processor time.Duration
}

// usageOf asks the kernel about a daemon.
func usageOf(d *daemon) (u usage, err error) {
	d.mu.Lock()
	directory := fmt.Sprintf("/proc/%d/", d.process.Process.Pid)
	d.mu.Unlock()
	memory, err := os.ReadFile(directory + "statm")
	if err != nil {
		return u, fmt.Errorf("memory of %s: %w", d.name, err)
	}
	if f := strings.Fields(string(memory)); len(f) > 1 {
		pages, _ := strconv.Atoi(f[1])
		u.resident = pages * os.Getpagesize() / 1024
	}
	stat, err := os.ReadFile(directory + "stat")
	if err != nil {
		return u, fmt.Errorf("processor time of %s: %w", d.name, err)
	}
	// Behind the name in brackets, which may hold anything: utime and stime in
	// ticks of a hundredth of a second, the same on every Linux.
	const userTime, systemTime, tick = 11, 12, 10 * time.Millisecond
	_, rest, _ := strings.Cut(string(stat), ") ")
	if f := strings.Fields(rest); len(f) > systemTime {
		user, _ := strconv.Atoi(f[userTime])
		system, _ := strconv.Atoi(f[systemTime])
		u.processor = time.Duration(user+system) * tick
	}
	return u, nil
}
