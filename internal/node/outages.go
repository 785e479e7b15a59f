package node

import "time"

// timeOutages follows which mobiles are connected. An outage begins with the event that
// says so, or with the mobile, whatever an earlier process left in the kernel; and it ends
// with the event that says so, or when the mobile is asked to end.
func (s *Shell) timeOutages(now time.Time) {
	for _, h := range s.mobiles {
		connected := h.ending || h.machine.Connected()
		switch {
		case !connected && h.outage.IsZero():
			h.outage = now
		case connected && !h.outage.IsZero():
			d := now.Sub(h.outage)
			s.outages += d
			s.metrics.OutageEnded(d)
			h.outage = time.Time{}
		}
	}
}

// connections is how many mobiles are connected, and for how long mobiles were not, all of
// them together, outages that go on included.
func (s *Shell) connections(now time.Time) (connected int, outages time.Duration) {
	outages = s.outages
	for _, h := range s.mobiles {
		if h.machine.Connected() {
			connected++
		}
		if !h.outage.IsZero() {
			outages += max(now.Sub(h.outage), 0)
		}
	}
	return connected, outages
}
