package relay

import (
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/lab/netns"
)

// maxInFlight limits the frames on their way: 64 MB.
const maxInFlight = 32768

// Relay carries frames between its ports on one thread. Its methods may be
// called from any goroutine.
type Relay struct {
	seed uint64

	mu         sync.Mutex // guards what follows, and the ports
	ports      []*Port
	directions uint64
	queue      queue
	store      store
	stats      Stats
	capture    *capture // nil: none
	stopped    bool
	failed     error

	wake     int // an eventfd: the set of ports changed, or stop
	done     chan struct{}
	realtime bool
}

// Stats are a relay's counters since its start.
type Stats struct {
	Frames     uint64 // received
	Delivered  uint64
	Lost       uint64 // by impairment
	Unheard    uint64 // for a station that is elsewhere, or from one that is nowhere
	Refused    uint64 // by a network, for their source
	Discarded  uint64 // for want of room, too long, or refused by the kernel: the lab's own fault
	Late       Lateness
	HasRTClass bool // the thread has a real-time priority
	// Refusals are whose packets were refused, the first ones of very many.
	Refusals map[Refusal]uint64
}

// Refusal is a packet that a network refused: its source, and between which ports.
type Refusal struct {
	From, To string
	Source   netip.Addr
}

// maxRefusals is how many different ones are remembered.
const maxRefusals = 256

// refuse counts a packet that a network refused.
func (s *Stats) refuse(from, to string, f *frame) {
	s.Refused++
	r := Refusal{from, to, sourceOf(f)}
	if _, known := s.Refusals[r]; !known && len(s.Refusals) >= maxRefusals {
		return
	}
	if s.Refusals == nil {
		s.Refusals = map[Refusal]uint64{}
	}
	s.Refusals[r]++
}

// New starts a relay without ports.
func New(seed uint64) (*Relay, error) {
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("relay: eventfd: %w", err)
	}
	r := &Relay{seed: seed, store: store{limit: maxInFlight}, wake: wake, done: make(chan struct{})}
	go r.run()
	return r, nil
}

// Connect joins two ports: a wire, or a place of a station at a router. The
// impairment holds for each direction. The ports now belong to the relay.
func (r *Relay) Connect(a, b *Port, i Impairment) error {
	if err := i.Validate(); err != nil {
		return fmt.Errorf("link %s–%s: %w", a.name, b.name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a.hops = append(a.hops, hop{b, newDirection(i, r.seed, r.directions)})
	b.hops = append(b.hops, hop{a, newDirection(i, r.seed, r.directions+1)})
	r.directions += 2
	for _, p := range []*Port{a, b} {
		if !slices.Contains(r.ports, p) {
			p.joined = time.Now().UnixNano()
			r.ports = append(r.ports, p)
		}
	}
	r.kick()
	return nil
}

// Tune moves a station to a router; a nil router leaves it nowhere. Frames that
// left the station before still arrive; frames that were on their way to it do
// not. It returns the time of the change.
func (r *Relay) Tune(station, router *Port) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	station.station, station.tuned = true, router
	return time.Now()
}

// Partition cuts the link between two ports in both directions, or heals it.
func (r *Relay) Partition(a, b *Port, cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, pair := range [][2]*Port{{a, b}, {b, a}} {
		for _, h := range pair[0].hops {
			if h.to == pair[1] {
				h.cut = cut
			}
		}
	}
}

// Stats returns the counters.
func (r *Relay) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.HasRTClass = r.realtime
	s.Refusals = maps.Clone(s.Refusals)
	return s
}

// Close stops the relay and closes its ports. It returns the error that had
// ended the relay before, if any.
func (r *Relay) Close() error {
	r.mu.Lock()
	again := r.stopped
	r.stopped = true
	r.mu.Unlock()
	if again {
		<-r.done
		return r.failed
	}
	r.kick()
	<-r.done
	for _, p := range r.ports {
		p.Close()
	}
	_ = unix.Close(r.wake)
	return r.failed
}

func (r *Relay) kick() {
	_, _ = unix.Write(r.wake, []byte{1, 0, 0, 0, 0, 0, 0, 1})
}

// run is the relay's thread: sleep until a frame comes or is due.
func (r *Relay) run() {
	defer close(r.done)
	runtime.LockOSThread() // never unlocked: the thread's priority is its own
	precise := netns.Precise()
	r.mu.Lock()
	r.realtime = precise
	r.mu.Unlock()
	w := worker{Relay: r, in: new(batcher), out: new(batcher)}
	for {
		fds, timeout, stop := w.prepare()
		if stop {
			return
		}
		_, err := unix.Ppoll(fds, timeout, nil)
		if err != nil && err != unix.EINTR {
			r.mu.Lock()
			r.failed = fmt.Errorf("relay: ppoll: %w", err)
			r.mu.Unlock()
			return
		}
		w.turn(err == nil)
	}
}

// worker is what only the relay's thread uses.
type worker struct {
	*Relay
	in, out  *batcher
	fds      []unix.PollFd
	sources  []*Port // of fds[1:]
	frames   [batch]*frame
	arrivals [batch]int64
	due      []passage
	timeout  unix.Timespec
}

// prepare gives what to wait for.
func (w *worker) prepare() (fds []unix.PollFd, timeout *unix.Timespec, stop bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.sources) != len(w.ports) || len(w.fds) == 0 {
		w.fds = append(w.fds[:0], unix.PollFd{Fd: int32(w.wake), Events: unix.POLLIN})
		w.sources = append(w.sources[:0], w.ports...)
		for _, p := range w.sources {
			w.fds = append(w.fds, unix.PollFd{Fd: int32(p.fd), Events: unix.POLLIN})
		}
	}
	if due, ok := w.queue.next(); ok {
		w.timeout = unix.NsecToTimespec(max(0, due-time.Now().UnixNano()))
		timeout = &w.timeout
	}
	return w.fds, timeout, w.stopped
}

// turn takes in what came and sends what is due.
func (w *worker) turn(polled bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deliver()
	if !polled {
		return
	}
	if w.fds[0].Revents != 0 {
		var b [8]byte
		_, _ = unix.Read(w.wake, b[:])
	}
	for i, p := range w.sources {
		if w.fds[i+1].Revents != 0 {
			w.take(p)
		}
	}
	w.deliver() // links without delay
}

// take reads a batch from a port and puts it on its way.
func (w *worker) take(p *Port) {
	room := 0
	for ; room < batch; room++ {
		if w.frames[room] == nil {
			if w.frames[room] = w.store.take(); w.frames[room] == nil {
				break
			}
		}
	}
	if room == 0 {
		// Nothing free: throw one away, or the socket would keep us awake.
		var b [1]byte
		_, _, _ = unix.Recvfrom(p.fd, b[:], unix.MSG_DONTWAIT)
		w.stats.Discarded++
		return
	}
	n, err := w.in.receive(p.fd, w.frames[:room], w.arrivals[:room])
	if err != nil && !gone(err) {
		w.stats.Discarded++
	}
	now := time.Now().UnixNano()
	for i := range n {
		f := w.frames[i]
		w.stats.Frames++
		if f.n < 14 {
			w.stats.Discarded++
			continue // the frame stays in its place for the next batch
		}
		arrival := w.arrivals[i]
		if arrival == 0 || arrival > now {
			arrival = now
		}
		w.capture.take(f.data[:f.n], arrival)
		if w.route(p, f, max(arrival, p.joined)) {
			w.frames[i] = nil
		}
	}
}

// route queues a frame towards everybody who may hear it. It reports whether
// the frame is in use.
func (w *worker) route(p *Port, f *frame, arrival int64) (used bool) {
	if p.station && p.tuned == nil {
		w.stats.Unheard++
		return false
	}
	for _, h := range p.hops {
		if p.station && h.to != p.tuned {
			continue
		}
		if len(p.hops) > 1 && !p.station && f.data[0]&1 == 0 && [6]byte(f.data[:6]) != h.to.ethernet {
			continue // a router with several stations: for another one
		}
		if !h.to.admits(f) {
			if f.data[0]&1 == 0 && [6]byte(f.data[:6]) != h.to.ethernet {
				w.stats.Unheard++ // for the router that was left: nobody here takes it
				continue
			}
			w.stats.refuse(p.name, h.to.name, f)
			continue
		}
		delays, copies := h.fate()
		if copies == 0 {
			w.stats.Lost++
		}
		for c := range copies {
			out := f
			if used {
				if out = w.store.take(); out == nil {
					w.stats.Discarded++
					continue
				}
				out.n = copy(out.data[:], f.data[:f.n])
			}
			used = true
			w.queue.push(passage{due: arrival + int64(delays[c]), frame: out, from: p, to: h.to})
		}
	}
	return used
}

// deliver sends all frames that are due, in order.
func (w *worker) deliver() {
	for {
		now := time.Now().UnixNano()
		w.due = w.due[:0]
		for len(w.due) < batch {
			due, ok := w.queue.next()
			if !ok || due > now {
				break
			}
			p := w.queue.pop()
			if p.to.station && p.to.tuned != p.from {
				w.stats.Unheard++
				w.store.put(p.frame)
				continue
			}
			w.due = append(w.due, p)
		}
		if len(w.due) == 0 {
			return
		}
		for rest := w.due; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].to == rest[0].to {
				n++
			}
			w.send(rest[:n])
			rest = rest[n:]
		}
		for _, p := range w.due {
			w.store.put(p.frame)
		}
	}
}

// send sends frames of one port.
func (w *worker) send(passages []passage) {
	for len(passages) > 0 {
		n, err := w.out.send(passages[0].to.fd, passages)
		now := time.Now().UnixNano()
		for _, p := range passages[:n] {
			w.stats.Delivered++
			w.stats.Late.add(time.Duration(now - p.due))
		}
		passages = passages[n:]
		if n > 0 {
			continue
		}
		if gone(err) {
			w.stats.Unheard++
		} else {
			w.stats.Discarded++
		}
		passages = passages[1:]
	}
}
