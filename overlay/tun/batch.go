package tun

const (
	// maximumInnerHeaders bounds the headers of an aggregate that are copied into
	// each of its packets: IPv6, some extension headers, TCP with all its options.
	maximumInnerHeaders = 192
	// maximumHeaders is with the headers of two tunnels, each with an encapsulation
	// limit and in fragments, and those of route optimisation.
	maximumHeaders = mostStacked*(headerLength+fragmentLength+limitLength) + maximumInnerHeaders + routeHeaderLength + homeHeaderLength
)

// datagram is one outer packet: headers built here, and the payload where it
// was read.
type datagram struct {
	path    *path
	headers [maximumHeaders]byte
	length  int // of headers
	payload []byte
}

// batch is a run of outer packets on their way to the socket. Payloads refer to
// the buffers of the packets read, so that it must be flushed before those are
// read into again.
type batch struct {
	datagrams []datagram
	n         int
	flush     func(full []datagram) // sends them
}

func newBatch(size int, flush func([]datagram)) *batch {
	return &batch{datagrams: make([]datagram, size), flush: flush}
}

// next returns the datagram to fill in.
func (b *batch) next() *datagram {
	if b.n == len(b.datagrams) {
		b.send()
	}
	b.n++
	return &b.datagrams[b.n-1]
}

// last returns the datagram that next returned.
func (b *batch) last() *datagram { return &b.datagrams[b.n-1] }

func (b *batch) send() {
	if b.n == 0 {
		return
	}
	b.flush(b.datagrams[:b.n])
	for i := range b.datagrams[:b.n] {
		b.datagrams[i].payload, b.datagrams[i].path = nil, nil
	}
	b.n = 0
}
