package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/lab/netns"
)

// Transfer is a TCP connection on which each end sends a stream of random
// octets, repeatable from a seed, at a steady rate, and checks what it receives.
type Transfer struct {
	stop    chan struct{}
	stopped atomic.Bool
	client  *net.TCPConn
	server  *net.TCPConn
	down    flow // towards the server
	up      flow
	done    chan struct{}
}

// flow is one direction of a transfer.
type flow struct {
	sent, received atomic.Int64
	err            error
}

// Verdict is how a transfer ended.
type Verdict struct {
	// Down and Up are the octets received by the server and by the client.
	Down, Up int64
	// Err is nil when both received exactly what the other sent.
	Err error
}

// sendBuffer bounds what is still under way when the transfer ends.
const sendBuffer = 128 << 10

// Pace is that of one direction of a transfer.
type Pace struct {
	Octets int // written at once
	Every  time.Duration
}

// Rate is the pace for a number of bits a second: every 10 ms, or where that would be
// less than 250 octets less often, but once a second.
func Rate(bits int) Pace {
	const tick, least = 10 * time.Millisecond, 250
	every := min(max(tick, least*8*time.Second/time.Duration(bits)), time.Second)
	return Pace{Octets: max(1, int(int64(bits)/8*int64(every)/int64(time.Second))), Every: every}
}

// StartTransfer connects from a client to a server at an address of its own and
// begins.
func StartTransfer(ctx context.Context, client, server *netns.Space, address netip.AddrPort, pace Pace, seed uint64) (*Transfer, error) {
	var listener *net.TCPListener
	var connected, accepted *net.TCPConn
	err := server.Do(func() (err error) {
		listener, err = net.ListenTCP("tcp6", net.TCPAddrFromAddrPort(address))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("transfer: listen in %s: %w", server.Name(), err)
	}
	defer func() { _ = listener.Close() }()
	err = client.Do(func() error {
		// A literal address is dialled on the calling thread.
		connection, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp6", address.String())
		if err == nil {
			connected = connection.(*net.TCPConn)
		}
		return err
	})
	if err == nil {
		if err = listener.SetDeadline(time.Now().Add(10 * time.Second)); err == nil {
			accepted, err = listener.AcceptTCP()
		}
	}
	if err != nil {
		if connected != nil {
			_ = connected.Close()
		}
		return nil, fmt.Errorf("transfer: connect from %s to %v: %w", client.Name(), address, err)
	}
	return begin(connected, accepted, pace, seed), nil
}

// begin lets both ends of a connection send and check.
func begin(client, server *net.TCPConn, pace Pace, seed uint64) *Transfer {
	t := &Transfer{stop: make(chan struct{}), done: make(chan struct{}), client: client, server: server}
	results := make(chan struct{}, 4)
	run := func(f func()) { go func() { f(); results <- struct{}{} }() }
	var sendDown, sendUp, receiveDown, receiveUp error
	run(func() { sendDown = t.send(t.client, &t.down, pace, seed) })
	run(func() { sendUp = t.send(t.server, &t.up, pace, seed+1) })
	run(func() { receiveDown = receive(t.server, &t.down, seed) })
	run(func() { receiveUp = receive(t.client, &t.up, seed+1) })
	go func() {
		for range 4 {
			<-results
		}
		t.down.err = errors.Join(sendDown, receiveDown)
		t.up.err = errors.Join(sendUp, receiveUp)
		close(t.done)
	}()
	return t
}

// Received is how many octets arrived so far, both directions together.
func (t *Transfer) Received() int64 { return t.down.received.Load() + t.up.received.Load() }

// RoundTrip is what the client's TCP takes for the round trip at the moment; a
// receiver that waits to acknowledge is part of it. Zero when it cannot be told.
func (t *Transfer) RoundTrip() time.Duration {
	info := tcpInfo(t.client)
	if info == nil {
		return 0
	}
	return time.Duration(info.Rtt) * time.Microsecond
}

// tcpInfo is what the kernel tells of a connection; nil when it does not.
func tcpInfo(c *net.TCPConn) (info *unix.TCPInfo) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	if raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }) != nil || err != nil {
		return nil
	}
	return info
}

// Segment is what one end's TCP knows of the sizes on its connection, in octets.
type Segment struct {
	// PathMTU is what it takes for the path MTU, Payload what it puts in a full
	// segment.
	PathMTU, Payload int
	// Received is the payload of the full segments that came from the other end.
	Received int
}

// Segments are what the client's and the server's TCP know; zero when it cannot
// be told.
func (t *Transfer) Segments() (client, server Segment) {
	of := func(c *net.TCPConn) (s Segment) {
		if info := tcpInfo(c); info != nil {
			s = Segment{PathMTU: int(info.Pmtu), Payload: int(info.Snd_mss), Received: int(info.Rcv_mss)}
		}
		return s
	}
	return of(t.client), of(t.server)
}

// Ends are the addresses that the two ends see of each other: the client's and
// the server's.
func (t *Transfer) Ends() (client, server netip.Addr) {
	address := func(a net.Addr) netip.Addr { return a.(*net.TCPAddr).AddrPort().Addr().Unmap() }
	return address(t.server.RemoteAddr()), address(t.client.RemoteAddr())
}

// Finish lets both ends end their streams, waits for what is under way, and
// gives the verdict. When ctx ends first, the transfer has failed.
func (t *Transfer) Finish(ctx context.Context) Verdict {
	if !t.stopped.Swap(true) {
		close(t.stop)
	}
	var late error
	select {
	case <-t.done:
	case <-ctx.Done():
		late = fmt.Errorf("the last octets did not arrive: %w", ctx.Err())
	}
	t.close()
	<-t.done
	v := Verdict{Down: t.down.received.Load(), Up: t.up.received.Load(), Err: late}
	for _, d := range []struct {
		name string
		flow *flow
	}{{"downlink", &t.down}, {"uplink", &t.up}} {
		switch sent, received := d.flow.sent.Load(), d.flow.received.Load(); {
		case late != nil:
		case d.flow.err != nil:
			v.Err = errors.Join(v.Err, fmt.Errorf("%s: %w", d.name, d.flow.err))
		case sent != received:
			v.Err = errors.Join(v.Err, fmt.Errorf("%s: %d octets sent, %d received", d.name, sent, received))
		case received == 0:
			v.Err = errors.Join(v.Err, fmt.Errorf("%s: nothing was transferred", d.name))
		}
	}
	return v
}

func (t *Transfer) close() {
	_ = t.client.Close()
	_ = t.server.Close()
}

func (t *Transfer) send(c *net.TCPConn, f *flow, pace Pace, seed uint64) error {
	if err := c.SetWriteBuffer(sendBuffer); err != nil {
		return err
	}
	content := stream(seed)
	buffer := make([]byte, pace.Octets)
	ticker := time.NewTicker(pace.Every)
	defer ticker.Stop()
	for {
		select {
		case <-t.stop:
			return c.CloseWrite()
		case <-ticker.C:
		}
		_, _ = content.Read(buffer) // never fails
		n, err := c.Write(buffer)
		f.sent.Add(int64(n))
		if err != nil {
			return err
		}
	}
}

// receive reads to the end and compares with what the seed gives.
func receive(r io.Reader, f *flow, seed uint64) error {
	content := stream(seed)
	got, want := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := r.Read(got)
		_, _ = content.Read(want[:n]) // never fails
		if !bytes.Equal(got[:n], want[:n]) {
			return fmt.Errorf("the content differs from what was sent within %d octets after octet %d", n, f.received.Load())
		}
		f.received.Add(int64(n))
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// stream is an endless content.
func stream(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}
