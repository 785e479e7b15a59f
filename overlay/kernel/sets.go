package kernel

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/overlay"
	"roam6/overlay/tun"
)

// element is a key of a set, and the tunnel of a change, by its place, that it is for.
type element struct {
	set string
	key string
	of  int
}

// transaction bounds the elements of one: the kernel holds its lock for so long.
const transaction = 4 * nft.MostElements

func octets(a netip.Addr) string {
	b := a.As16()
	return string(b[:])
}

// each calls f for the elements of a tunnel.
func each(t *tun.FastTunnel, f func(set, key string)) {
	for _, p := range t.Inner {
		prefix := octets(p.Masked().Addr())
		f(setName(t.Side, inner, p.Bits()), prefix)
		f(setName(t.Side, out, p.Bits()), prefix)
		set := setName(t.Side, in, p.Bits())
		for i, e := range t.Ends {
			if t.Side == overlay.AgentSide {
				f(set, octets(e.From)+octets(e.To)+prefix)
			} else if !slices.ContainsFunc(t.Ends[:i], func(o tun.End) bool { return o.From == e.From }) {
				f(set, octets(e.From)+prefix)
			}
		}
	}
	if !watches(t) {
		return
	}
	home := octets(t.Home)
	f(setWatched, home)
	for i, e := range t.Ends {
		if !slices.ContainsFunc(t.Ends[:i], func(o tun.End) bool { return o.From == e.From }) {
			f(setWatchedIn, octets(e.From)+home)
		}
	}
}

func watches(t *tun.FastTunnel) bool { return t.Watch && t.Side == overlay.MobileSide }

// yielded are the elements of a pair: its packets, one way and the other.
func yielded(p overlay.Pair) [2]string {
	home, peer := octets(p.Home), octets(p.Peer)
	return [2]string{home + peer, peer + home}
}

// change carries out removals and additions, in one transaction if they are few. It
// calls failed for those that cannot be; what cannot be removed because it is not there
// is no failure.
func (p *path) change(remove, add []element, failed func(element, error)) {
	if len(remove)+len(add) <= transaction {
		if p.commit(remove, add) == nil {
			return
		}
	}
	for _, c := range []struct {
		elements []element
		commit   func([]element) error
	}{
		{remove, func(e []element) error { return p.commit(e, nil) }},
		{add, func(e []element) error { return p.commit(nil, e) }},
	} {
		for some := range slices.Chunk(c.elements, transaction) {
			p.split(some, c.commit, failed)
		}
	}
}

// split finds those elements of a transaction that fail.
func (p *path) split(some []element, commit func([]element) error, failed func(element, error)) {
	err := commit(some)
	switch {
	case err == nil, len(some) == 1 && errors.Is(err, unix.ENOENT):
	case len(some) == 1:
		failed(some[0], err)
	default:
		p.split(some[:len(some)/2], commit, failed)
		p.split(some[len(some)/2:], commit, failed)
	}
}

func (p *path) commit(remove, add []element) error {
	return p.nft.Commit(func(b *nft.Batch) {
		run(remove, func(set string, keys [][]byte) { b.DeleteElements(tableName, set, keys) })
		run(add, func(set string, keys [][]byte) { b.AddElements(tableName, set, keys) })
	})
}

// run calls f for the keys of each set, not too many at a time.
func run(elements []element, f func(set string, keys [][]byte)) {
	bySet := make(map[string][][]byte)
	var order []string
	for _, e := range elements {
		if bySet[e.set] == nil {
			order = append(order, e.set)
		}
		bySet[e.set] = append(bySet[e.set], []byte(e.key))
	}
	for _, set := range order {
		for keys := range slices.Chunk(bySet[set], nft.MostElements) {
			f(set, keys)
		}
	}
}

// reshape makes the sets that a shape needs and the rules that go with it, and removes
// the sets that it does not need, in one transaction: no packet sees half of it.
func (p *path) reshape(s shape) error {
	if p.shaped && p.shape.equal(s) {
		return nil
	}
	err := p.nft.Commit(func(b *nft.Batch) { p.build(b, s) })
	if err == nil {
		p.shape, p.shaped = s, true
	}
	return err
}

func (p *path) build(b *nft.Batch, s shape) {
	b.NewTable(tableName)
	used := make(map[string]bool)
	for _, set := range slices.Concat(fixedSets(), s.sets()) {
		b.NewSet(set)
		used[set.Name] = true
	}
	b.AddElements(tableName, setHeaders, headers)
	b.AddElements(tableName, setScopes, scopes)
	set := p.ruleSet(s)
	wanted, unwanted := set.chains()
	for _, c := range slices.Concat(wanted, unwanted) {
		b.NewChain(c) // so that the deletion finds one
		b.FlushChain(tableName, c.Name)
	}
	for _, c := range unwanted {
		b.DeleteChain(tableName, c.Name)
	}
	for _, r := range set.rules() {
		b.Append(tableName, r.chain, r.rule)
	}
	for _, set := range p.shape.sets() {
		if !used[set.Name] {
			b.DeleteSet(tableName, set.Name)
		}
	}
}

func (p *path) ruleSet(s shape) ruleSet {
	return ruleSet{
		shape: s, at: p.at, device: p.external.name, sorted: p.under.Sorted, left: p.left,
		mark: p.under.Mark, mask: p.under.MarkMask &^ p.under.Sorted,
	}
}

// wantedShape is the shape of all tunnels and pairs, and of what a predecessor left.
func (p *path) wantedShape() shape {
	var s shape
	for l, n := range p.lengths {
		if n == 0 {
			continue
		}
		if l.side == overlay.AgentSide {
			s.agent = append(s.agent, l.bits)
		} else {
			s.mobile = append(s.mobile, l.bits)
		}
	}
	s.yields, s.watch, s.nested = len(p.pairs) > 0, p.watched > 0, p.nests.any()
	return s.and(p.inherited.shape)
}

// length is one of inner prefixes.
type length struct {
	side overlay.Side
	bits int
}
