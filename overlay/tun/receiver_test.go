package tun

import (
	"bytes"
	"math"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The buffers of a receiver are not in Go's heap, keep packets apart, and are given back
// with the socket.
func TestReceiverBuffers(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	const size, length = 32, maximumPacket
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := newReceiver(pair[0], size, length)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > size*length/8 {
		t.Errorf("%d octets of heap for a receiver", grown)
	}
	packets := [][]byte{bytes.Repeat([]byte{1}, length), bytes.Repeat([]byte{2}, 100), bytes.Repeat([]byte{3}, length)}
	for _, p := range packets {
		if _, err := unix.Write(pair[1], p); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := r.receive(); n != len(packets) || err != nil {
		t.Fatalf("%d packets, %v", n, err)
	}
	for i, p := range packets {
		if got := r.buffers[i][receiveHeadroom : receiveHeadroom+int(r.messages[i].length)]; !bytes.Equal(got, p) {
			t.Errorf("packet %d: %d octets, not the %d that were sent", i, len(got), len(p))
		}
		if cap(r.buffers[i]) != receiveHeadroom+length {
			t.Errorf("buffer %d reaches into the next one: %d octets", i, cap(r.buffers[i]))
		}
	}
	r.close()
	if _, err := unix.Write(pair[1], []byte{1}); err == nil {
		t.Error("the socket is still open")
	}
}

func TestReceiverWithoutMemory(t *testing.T) {
	if _, err := newReceiver(-1, 1, math.MaxInt-receiveHeadroom-4096); err == nil { // more than an address space
		t.Error("no error")
	}
}
