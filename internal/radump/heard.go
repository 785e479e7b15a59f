package radump

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"roam6/internal/radump/report"
	"roam6/nd"
)

// Heard is an advertisement that was heard on a link.
type Heard struct {
	Time                time.Time
	Link                string // name of the interface
	Source, Destination netip.Addr
	LinkAddr            net.HardwareAddr // that the frame came from; empty on links that have none
	RA                  nd.RouterAdvertisement
}

// Gap is the time since the router's advertisement before, if there was one.
type Gap struct {
	Known bool
	Time  time.Duration
}

// Text words what was heard for people: a heading, and indented lines.
func (h Heard) Text(g Gap) string {
	since := "the first of this router"
	if g.Known {
		since = fmt.Sprintf("%v after the one before", g.Time.Round(time.Millisecond))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: router advertisement %v > %v, %s\n", h.Time.Format("2006-01-02T15:04:05.000Z07:00"), h.Link, h.Source, h.Destination, since)
	var r report.Report
	if len(h.LinkAddr) > 0 {
		r.Line("link-layer source", "%v", h.LinkAddr)
	}
	Describe(&r, h.RA)
	for _, line := range r.Lines {
		b.WriteString("  " + line + "\n")
	}
	return b.String()
}

// JSON is the same as one line of JSON.
func (h Heard) JSON(g Gap) string {
	var r report.Report
	r.Object.Text("time", h.Time.Format(time.RFC3339Nano))
	r.Object.Text("interface", h.Link)
	r.Object.Addr("source", h.Source)
	r.Object.Addr("destination", h.Destination)
	if len(h.LinkAddr) > 0 {
		r.Object.Text("link_layer_source", h.LinkAddr.String())
	}
	if g.Known {
		r.Object.Milliseconds("since_last_milliseconds", g.Time)
	}
	Describe(&r, h.RA)
	return string(r.Object.End()) + "\n"
}

// maxRouters bounds what a History remembers: routers that somebody invents push
// each other out, the one not heard for the longest time first.
const maxRouters = 1024

// History remembers the routers heard. The zero History is empty.
type History struct {
	routers map[router]seen
}

type router struct {
	link string
	addr netip.Addr
}

type seen struct {
	at   time.Time
	said string
}

// Hear takes an advertisement in and returns the time since the one before of the
// same router on the same link.
func (s *History) Hear(h Heard) Gap {
	last := s.touch(h)
	if last.at.IsZero() {
		return Gap{}
	}
	return Gap{Known: true, Time: h.Time.Sub(last.at)}
}

// News takes in what was said of an advertisement, and reports whether the router
// has not said that the last time. It comes after Hear.
func (s *History) News(h Heard, text string) bool {
	key := router{h.Link, h.Source}
	last := s.routers[key]
	s.routers[key] = seen{h.Time, text}
	return last.said != text
}

func (s *History) touch(h Heard) seen {
	if s.routers == nil {
		s.routers = map[router]seen{}
	}
	key := router{h.Link, h.Source}
	last, known := s.routers[key]
	if !known && len(s.routers) == maxRouters {
		s.forgetOldest()
	}
	s.routers[key] = seen{h.Time, last.said}
	return last
}

func (s *History) forgetOldest() {
	var oldest router
	var at time.Time
	for k, v := range s.routers {
		if at.IsZero() || v.at.Before(at) {
			oldest, at = k, v.at
		}
	}
	delete(s.routers, oldest)
}
