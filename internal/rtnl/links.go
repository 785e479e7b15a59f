package rtnl

import (
	"maps"
	"net/netip"
	"slices"

	"roam6/internal/role"
)

// linkTable turns what the kernel says of links and link-local addresses into
// role events. It does no I/O.
//
// A link is Up when it has a carrier and a link-local address that is not
// tentative. On a link that was up before, the address outlives the loss of the
// carrier, so that Up follows the carrier at once; after the interface was
// administratively down the kernel makes the address anew and Up waits for it.
type linkTable struct {
	links map[int]*linkEntry
}

type linkEntry struct {
	known     bool // the link itself was heard of, not only an address
	attrs     linkAttributes
	linkLocal map[netip.Addr]bool // usable: not tentative
	told      role.Link
	toldOnce  bool
}

func newLinkTable() *linkTable { return &linkTable{links: make(map[int]*linkEntry)} }

func (t *linkTable) entry(index int) *linkEntry {
	e := t.links[index]
	if e == nil {
		e = &linkEntry{linkLocal: make(map[netip.Addr]bool)}
		t.links[index] = e
	}
	return e
}

// setLink takes a link that is there.
func (t *linkTable) setLink(l linkAttributes) []role.Event {
	e := t.entry(l.index)
	e.known, e.attrs = true, l
	return e.changed()
}

// removeLink takes a link that went.
func (t *linkTable) removeLink(index int) []role.Event {
	e := t.links[index]
	delete(t.links, index)
	if e == nil || !e.toldOnce {
		return nil
	}
	return []role.Event{role.LinkGone{Index: index}}
}

// setAddress takes an address that is there or changed.
func (t *linkTable) setAddress(a kernelAddress) []role.Event {
	if !a.Prefix.Addr().IsLinkLocalUnicast() {
		return nil
	}
	e := t.entry(a.Link)
	e.linkLocal[a.Prefix.Addr()] = !a.tentative
	return e.changed()
}

// removeAddress takes an address that went.
func (t *linkTable) removeAddress(a kernelAddress) []role.Event {
	e := t.links[a.Link]
	if e == nil || !a.Prefix.Addr().IsLinkLocalUnicast() {
		return nil
	}
	delete(e.linkLocal, a.Prefix.Addr())
	if !e.known && len(e.linkLocal) == 0 {
		delete(t.links, a.Link)
	}
	return e.changed()
}

// replace takes complete dumps and returns what differs from before, links
// that went first.
func (t *linkTable) replace(links []linkAttributes, addresses []kernelAddress) []role.Event {
	var events []role.Event
	for _, index := range slices.Sorted(maps.Keys(t.links)) {
		if !slices.ContainsFunc(links, func(l linkAttributes) bool { return l.index == index }) {
			events = append(events, t.removeLink(index)...)
		}
	}
	for _, e := range t.links {
		clear(e.linkLocal)
	}
	// Addresses first, so that a link is told of once.
	for _, a := range addresses {
		if a.Prefix.Addr().IsLinkLocalUnicast() {
			t.entry(a.Link).linkLocal[a.Prefix.Addr()] = !a.tentative
		}
	}
	for _, l := range links {
		events = append(events, t.setLink(l)...)
	}
	return events
}

// changed returns an event if the link is not what was told last.
func (e *linkEntry) changed() []role.Event {
	if !e.known {
		return nil
	}
	now := e.link()
	if e.toldOnce && now == e.told {
		return nil
	}
	e.told, e.toldOnce = now, true
	return []role.Event{role.LinkChanged{Link: now}}
}

func (e *linkEntry) link() role.Link {
	a := e.attrs
	l := role.Link{Index: a.index, Name: a.name, Carriers: a.carriers, MTU: a.mtu, Ethernet: a.ethernet, LinkLocal: e.chooseLinkLocal()}
	l.Up = a.carrier && l.LinkLocal.IsValid()
	return l
}

// chooseLinkLocal keeps the address told of last while it is usable, and
// otherwise takes the lowest.
func (e *linkEntry) chooseLinkLocal() netip.Addr {
	if e.linkLocal[e.told.LinkLocal] {
		return e.told.LinkLocal
	}
	var chosen netip.Addr
	for a, usable := range e.linkLocal {
		if usable && (!chosen.IsValid() || a.Less(chosen)) {
			chosen = a
		}
	}
	return chosen
}
