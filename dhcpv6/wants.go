package dhcpv6

import "roam6/internal/role"

// Wants is what mobiles want of the client of an uplink, of which there is one for all
// of them. K tells them apart. The zero value is that of nobody.
type Wants[K comparable] struct {
	// Link is the index of the uplink's interface.
	Link int

	asked map[K]wanted
	round int
	told  role.ConfigureLink // what the client was told last
	due   bool               // there is something that it was not told
}

// wanted is what a mobile has asked for last, and in which round: a round is one link
// event, of which each mobile tells.
type wanted struct {
	role.ConfigureLink
	round int
}

// together is what a client is to do for all mobiles. The newest identity counts: it was
// formed last.
func (w *Wants[K]) together() role.ConfigureLink {
	c := role.ConfigureLink{Link: w.Link, Identity: w.told.Identity}
	for _, a := range w.asked {
		c.Managed = c.Managed || a.Managed
		c.Other = c.Other || a.Other
	}
	return c
}

// Ask notes what a mobile wants. The client is to be told where that changes what it has
// to do, and once for each link event, of whichever mobile tells first.
func (w *Wants[K]) Ask(by K, c role.ConfigureLink) {
	if w.asked == nil {
		w.asked = make(map[K]wanted)
	}
	before := w.together()
	last, again := w.asked[by]
	w.asked[by] = wanted{c, last.round}
	if after := w.together(); c.Managed || c.Other || !after.Managed && !after.Other {
		w.told.Identity = c.Identity
	}
	if again && last.round == w.round || w.together() != before {
		w.LinkEvent()
	}
	w.asked[by] = wanted{c, w.round}
}

// LinkEvent begins a round: the client is to be told that the link came up.
func (w *Wants[K]) LinkEvent() {
	w.round++
	w.due = true
}

// Forget forgets what a mobile wanted, and reports whether it did.
func (w *Wants[K]) Forget(by K) bool {
	if _, asked := w.asked[by]; !asked {
		return false
	}
	before := w.together()
	delete(w.asked, by)
	w.due = w.due || w.together() != before
	return true
}

// Any reports whether there is a mobile that has asked, if only for nothing any more.
func (w *Wants[K]) Any() bool { return len(w.asked) > 0 }

// Due reports whether there is something to Tell the client.
func (w *Wants[K]) Due() bool { return w.due }

// Tell returns what the client is to be told now.
func (w *Wants[K]) Tell() role.ConfigureLink {
	w.due = false
	w.told = w.together()
	return w.told
}

// Told is what the client was told last.
func (w *Wants[K]) Told() role.ConfigureLink { return w.told }
