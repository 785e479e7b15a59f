package node

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/order"
	"roam6/internal/role"
)

// numbering remembers the /64s of delegated prefixes that downstream interfaces
// have, and those that they had: these are advertised as deprecated until no host
// has them any more (RFC 7084 §4.3 L-13, RFC 9096 §3.4). It is pure; the zero value
// is ready.
type numbering struct {
	list []numbered
}

// numbered is a prefix of an interface.
type numbered struct {
	link   string // name of the interface
	prefix netip.Prefix
	by     role.Machine // who gave it; nil: nobody that still runs, or the shell itself
	// given: it is assigned and routed; otherwise it is only advertised as
	// deprecated.
	given                      bool
	preferredUntil, validUntil time.Time // zero: for ever
	// after is until when one of an earlier life waits to be given again; it is
	// advertised neither as valid nor as deprecated meanwhile. Zero: it does not wait.
	after time.Time
}

const (
	// advertisedPreferred and advertisedValid bound what is advertised of a
	// delegated prefix, so that hosts lose one soon that goes without a word
	// (RFC 9096 §3.3, ND_PREFERRED_LIMIT and ND_VALID_LIMIT).
	advertisedPreferred = 45 * time.Minute
	advertisedValid     = 90 * time.Minute
	// longestDeprecated is for how long hosts may keep an address that they were
	// told is deprecated (RFC 4862 §5.5.3 e).
	longestDeprecated = 2 * time.Hour
	// patienceForOld is how long a prefix of before a restart may take to come
	// back until its hosts are told that it does not.
	patienceForOld = time.Minute
	// maxNumbered and maxNumberedOn bound what is remembered, and of one interface:
	// prefixes come from the network, and those of an interface have to fit into an
	// advertisement beside those of the configuration.
	maxNumbered   = 64
	maxNumberedOn = 16
)

func (x *numbering) find(link string, prefix netip.Prefix) *numbered {
	i := slices.IndexFunc(x.list, func(n numbered) bool { return n.link == link && n.prefix == prefix })
	if i < 0 {
		return nil
	}
	return &x.list[i]
}

// give notes what a role or a prefix request wants; it reports whether anything
// is different now.
func (x *numbering) give(now time.Time, by role.Machine, a role.NumberDownstream) bool {
	prefix := a.Prefix.Masked()
	n := x.find(a.Interface, prefix)
	if a.Valid <= 0 {
		if n == nil || !n.given || n.by != by { // who has it now may be another
			return false
		}
		n.deprecate(now)
		return true
	}
	if n == nil {
		n = x.add(numbered{link: a.Interface, prefix: prefix})
	}
	n.by, n.given, n.after = by, true, time.Time{}
	n.preferredUntil, n.validUntil = deadline.Of(now, min(a.Preferred, a.Valid)), deadline.Of(now, a.Valid)
	// What the interface had in an earlier life has not come back.
	for i := range x.list {
		if o := &x.list[i]; o.link == a.Interface && !o.after.IsZero() {
			o.endWait(now)
		}
	}
	return true
}

// deprecate takes a prefix back.
func (n *numbered) deprecate(now time.Time) {
	n.given, n.by = false, nil
	n.preferredUntil = now
	if limit := now.Add(longestDeprecated); n.validUntil.IsZero() || n.validUntil.After(limit) {
		n.validUntil = limit
	}
}

// endWait begins to advertise a prefix of an earlier life as deprecated, for as
// long as a host can have it that heard of it then.
func (n *numbered) endWait(now time.Time) {
	n.after, n.preferredUntil, n.validUntil = time.Time{}, now, now.Add(advertisedValid)
}

// add enters a prefix. Where there are too many already another one is forgotten:
// the oldest that is deprecated, if there is any.
func (x *numbering) add(n numbered) *numbered {
	if len(x.list) >= maxNumbered {
		x.forgetOne(func(numbered) bool { return true })
	}
	beside := func(o numbered) bool { return o.link == n.link }
	count := 0
	for _, o := range x.list {
		if beside(o) {
			count++
		}
	}
	if count >= maxNumberedOn {
		x.forgetOne(beside)
	}
	x.list = append(x.list, n)
	return &x.list[len(x.list)-1]
}

// forgetOne makes room among some of the prefixes.
func (x *numbering) forgetOne(among func(numbered) bool) {
	i := slices.IndexFunc(x.list, func(n numbered) bool { return !n.given && among(n) })
	if i < 0 {
		i = slices.IndexFunc(x.list, among)
	}
	x.list = slices.Delete(x.list, i, i+1)
}

// takeBack takes back all that a role has given.
func (x *numbering) takeBack(now time.Time, by role.Machine) (changed bool) {
	for i := range x.list {
		if n := &x.list[i]; n.given && n.by == by && by != nil {
			n.deprecate(now)
			changed = true
		}
	}
	return changed
}

// next is when expire is to be called; zero: never.
func (x *numbering) next() time.Time {
	var next time.Time
	for _, n := range x.list {
		if n.after.IsZero() {
			next = deadline.Earlier(next, n.validUntil)
		} else {
			next = deadline.Earlier(next, n.after)
		}
	}
	return next
}

// expire drops what is over, and reports whether anything changed.
func (x *numbering) expire(now time.Time) (changed bool) {
	for i := range x.list {
		if n := &x.list[i]; deadline.Due(now, n.after) {
			n.endWait(now)
			changed = true
		}
	}
	before := len(x.list)
	x.list = slices.DeleteFunc(x.list, func(n numbered) bool { return n.after.IsZero() && deadline.Due(now, n.validUntil) })
	return changed || len(x.list) != before
}

// of are the prefixes of an interface that are known to its hosts.
func (x *numbering) of(link string) []numbered {
	var list []numbered
	for _, n := range x.list {
		if n.link == link && n.after.IsZero() {
			list = append(list, n)
		}
	}
	return list
}

// keptPrefix is what is kept of a prefix. Without its lifetimes: routers have no
// clock that survives a reboot.
type keptPrefix struct {
	Interface string       `json:"interface"`
	Prefix    netip.Prefix `json:"prefix"`
}

// save encodes what an instance after this one has to know; nothing gives nil.
func (x *numbering) save() []byte {
	var list []keptPrefix
	for _, n := range x.list {
		list = append(list, keptPrefix{n.link, n.prefix})
	}
	if list == nil {
		return nil
	}
	order.Sort(list, func(a, b keptPrefix) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), a.Prefix.Compare(b.Prefix))
	})
	b, err := json.Marshal(list)
	if err != nil {
		return nil // of strings alone: cannot be
	}
	return b
}

// checkNumbers reports an error unless saved is what save has encoded.
func checkNumbers(saved []byte) error {
	return json.Unmarshal(saved, new([]keptPrefix))
}

// restore takes what an earlier life saved, of the interfaces that it may be about.
func (x *numbering) restore(now time.Time, saved []byte, about func(link string) bool) error {
	if len(saved) == 0 {
		return nil
	}
	var list []keptPrefix
	if err := json.Unmarshal(saved, &list); err != nil {
		return err
	}
	for _, k := range list[:min(len(list), maxNumbered)] {
		if k.Interface == "" || !about(k.Interface) || !k.Prefix.IsValid() || !k.Prefix.Addr().Is6() || x.find(k.Interface, k.Prefix.Masked()) != nil {
			continue
		}
		x.add(numbered{link: k.Interface, prefix: k.Prefix.Masked(), after: now.Add(patienceForOld)})
	}
	return nil
}
