package rtnl

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// LinkAddresses are the addresses of an interface that can be used and that others
// than State have assigned, link-local ones included: all of them, sorted.
type LinkAddresses struct {
	Link      int
	Addresses []LinkAddress
}

// LinkAddress is an address with the length of its prefix.
type LinkAddress struct {
	Prefix                     netip.Prefix
	PreferredUntil, ValidUntil time.Time // zero: for ever
	Deprecated                 bool
	Temporary                  bool // RFC 8981
}

// addressTable turns what the kernel says of addresses into LinkAddresses. It does no
// I/O. As of foreignTable, only what changes is told.
type addressTable struct {
	links map[int]*addressLink
}

type addressLink struct{ has, told map[netip.Addr]LinkAddress }

func newAddressTable() *addressTable { return &addressTable{links: make(map[int]*addressLink)} }

// set takes an address that is there or changed; ours tells whether it is State's.
func (t *addressTable) set(now time.Time, a kernelAddress, ours bool) {
	addr := a.Prefix.Addr()
	if a.tag == Protocol || ours || a.tentative || a.Valid <= 0 || addr.Is4In6() || !addr.IsGlobalUnicast() && !addr.IsLinkLocalUnicast() {
		t.remove(a)
		return
	}
	l := t.links[a.Link]
	if l == nil {
		l = &addressLink{has: make(map[netip.Addr]LinkAddress)}
		t.links[a.Link] = l
	}
	e := entryOf(now, a.Address)
	l.has[addr] = LinkAddress{
		Prefix: a.Prefix, PreferredUntil: e.preferredUntil, ValidUntil: e.validUntil, Deprecated: e.deprecated, Temporary: a.temporary,
	}
}

// remove takes an address that went.
func (t *addressTable) remove(a kernelAddress) {
	if l := t.links[a.Link]; l != nil {
		delete(l.has, a.Prefix.Addr())
	}
}

// gone forgets an interface that was removed, without a word.
func (t *addressTable) gone(index int) { delete(t.links, index) }

// replace takes a complete dump.
func (t *addressTable) replace(now time.Time, addresses []kernelAddress, ours func(linkAddress) bool) {
	for _, l := range t.links {
		clear(l.has)
	}
	for _, a := range addresses {
		t.set(now, a, ours(a.key()))
	}
}

// changed returns what is not as it was told last.
func (t *addressTable) changed() []LinkAddresses {
	var out []LinkAddresses
	for _, index := range slices.Sorted(maps.Keys(t.links)) {
		l := t.links[index]
		if maps.EqualFunc(l.has, l.told, sameLinkAddress) {
			continue
		}
		l.told = maps.Clone(l.has)
		a := LinkAddresses{Link: index}
		for _, addr := range slices.SortedFunc(maps.Keys(l.has), netip.Addr.Compare) {
			a.Addresses = append(a.Addresses, l.has[addr])
		}
		out = append(out, a)
	}
	return out
}

func sameLinkAddress(a, b LinkAddress) bool {
	return a.Prefix == b.Prefix && a.Deprecated == b.Deprecated && a.Temporary == b.Temporary &&
		sameDeadline(a.ValidUntil, b.ValidUntil) && (a.Deprecated || sameDeadline(a.PreferredUntil, b.PreferredUntil))
}

// tellAddresses tells of addresses what is new. It is told before the events of the
// same notification: who starts to use a link wants to know its addresses.
func (w *Watcher) tellAddresses() {
	if w.addresses == nil {
		return
	}
	for _, a := range w.addresses.changed() {
		select {
		case <-w.done:
			return
		default:
			w.o.Addresses(a)
		}
	}
}
