package world

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"

	"roam6/internal/lab/netns"
)

// Switch is a move of a station that happened.
type Switch struct {
	// Left is when the station could no longer be reached, Attached when its
	// new link was ready.
	Left, Attached time.Time
}

// Move takes a station from where it is to a router, which takes the switching
// time. With events the station's carrier goes and comes; without, the
// interface sees nothing of the change.
func (w *World) Move(node, ifname, router string, switching time.Duration, events bool) (Switch, error) {
	if w.routers[router] == nil {
		return Switch{}, fmt.Errorf("no air interface between %s of %s and %s", ifname, node, router)
	}
	// The caller's goroutine sleeps on whatever thread it has; a few
	// microseconds more are measured and belong to the switching time.
	left, err := w.Detach(node, ifname, events)
	if err != nil {
		return Switch{Left: left}, err
	}
	netns.SleepUntil(left.Add(switching))
	attached, err := w.Attach(node, ifname, router, events)
	return Switch{Left: left, Attached: attached}, err
}

// Detach takes a station away from where it is, and returns the moment. With
// events its carrier goes; without, the interface notices nothing but silence.
func (w *World) Detach(node, ifname string, events bool) (time.Time, error) {
	s := w.stations[[2]string{node, ifname}]
	if s == nil {
		return time.Time{}, fmt.Errorf("%s of %s is no air interface", ifname, node)
	}
	left := w.Relay.Tune(s.port, nil)
	if events {
		if err := w.fabric.Link.LinkSetDown(s.link); err != nil {
			return left, fmt.Errorf("take the carrier from %s of %s: %w", ifname, node, err)
		}
	}
	return left, nil
}

// Attach brings a station to a router, and returns the moment. With events its
// carrier comes; it must have gone with events as well.
func (w *World) Attach(node, ifname, router string, events bool) (time.Time, error) {
	s, to := w.stations[[2]string{node, ifname}], w.routers[router]
	if s == nil || to == nil {
		return time.Time{}, fmt.Errorf("no air interface between %s of %s and %s", ifname, node, router)
	}
	if !events {
		return w.Relay.Tune(s.port, to), nil
	}
	if err := w.awaitCarrierLoss(s.end); err != nil {
		return time.Time{}, err
	}
	w.Relay.Tune(s.port, to)
	if err := w.fabric.Link.LinkSetUp(s.link); err != nil {
		return time.Time{}, fmt.Errorf("give %s of %s its carrier: %w", ifname, node, err)
	}
	return time.Now(), nil
}

// Unplug takes the carrier from all relayed interfaces of a node, or gives it
// back: the node is cut off from everybody.
func (w *World) Unplug(node string, cut bool) error {
	set, what := w.fabric.Link.LinkSetUp, "plug in"
	if cut {
		set, what = w.fabric.Link.LinkSetDown, "unplug"
	}
	for _, l := range w.plugs[node] {
		if err := set(l); err != nil {
			return fmt.Errorf("%s %s: %w", what, node, err)
		}
	}
	if len(w.plugs[node]) == 0 {
		return fmt.Errorf("%s %s: it has no relayed interface", what, node)
	}
	return nil
}

// awaitCarrierLoss waits until the kernel has noticed that a carrier is gone. It
// does so in the background, and a carrier that is back before is an event that
// never happened.
func (w *World) awaitCarrierLoss(e End) error {
	const pause, limit = 200 * time.Microsecond, 5 * time.Second
	for start := time.Now(); ; netns.SleepUntil(time.Now().Add(pause)) {
		link, err := w.spaces[e.Node].Link.LinkByName(e.Interface)
		if err != nil {
			return fmt.Errorf("%s: interface %s: %w", e.Node, e.Interface, err)
		}
		if link.Attrs().OperState != netlink.OperUp {
			return nil
		}
		if time.Since(start) > limit {
			return fmt.Errorf("%s of %s still has a carrier %v after it lost its link", e.Interface, e.Node, limit)
		}
	}
}
