package relay

// frame is a buffer for one Ethernet frame.
type frame struct {
	data [maxFrame]byte
	n    int
}

// passage is a frame on its way.
type passage struct {
	due      int64  // nanoseconds of the real-time clock
	order    uint64 // first in, first out among equals
	frame    *frame
	from, to *Port
}

// queue is a heap of passages, the next due first.
type queue struct {
	heap  []passage
	order uint64
}

func (q *queue) push(p passage) {
	q.order++
	p.order = q.order
	q.heap = append(q.heap, p)
	for i := len(q.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !q.before(i, parent) {
			return
		}
		q.heap[i], q.heap[parent] = q.heap[parent], q.heap[i]
		i = parent
	}
}

// next is the earliest due time; ok is false when the queue is empty.
func (q *queue) next() (due int64, ok bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].due, true
}

// pop removes and returns the earliest; the queue must not be empty.
func (q *queue) pop() passage {
	p, last := q.heap[0], len(q.heap)-1
	q.heap[0], q.heap[last] = q.heap[last], passage{}
	q.heap = q.heap[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return p
		}
		if child+1 < last && q.before(child+1, child) {
			child++
		}
		if !q.before(child, i) {
			return p
		}
		q.heap[i], q.heap[child] = q.heap[child], q.heap[i]
		i = child
	}
}

func (q *queue) before(i, j int) bool {
	a, b := &q.heap[i], &q.heap[j]
	return a.due < b.due || a.due == b.due && a.order < b.order
}

// store lends frames. It never holds more than its limit.
type store struct {
	free  []*frame
	made  int
	limit int
}

// take returns nil when all frames are in use.
func (s *store) take() *frame {
	if n := len(s.free); n > 0 {
		f := s.free[n-1]
		s.free = s.free[:n-1]
		return f
	}
	if s.made == s.limit {
		return nil
	}
	s.made++
	return new(frame)
}

func (s *store) put(f *frame) { s.free = append(s.free, f) }
