package kernel

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/overlay"
)

// shape is what the rules depend on.
type shape struct {
	agent, mobile []int // lengths of inner prefixes, the longest first
	yields, watch bool
	nested        bool // a prefix may be within another one, and the longest decides
}

func (s shape) equal(t shape) bool {
	return slices.Equal(s.agent, t.agent) && slices.Equal(s.mobile, t.mobile) && s.yields == t.yields && s.watch == t.watch && s.nested == t.nested
}

// and is a shape for all that is in one of two.
func (s shape) and(t shape) shape {
	merge := func(a, b []int) []int {
		all := slices.Concat(a, b)
		slices.SortFunc(all, func(x, y int) int { return y - x })
		return slices.Compact(all)
	}
	return shape{merge(s.agent, t.agent), merge(s.mobile, t.mobile), s.yields || t.yields, s.watch || t.watch, s.nested || t.nested}
}

// order is that in which lengths are looked up: the longest first where it decides;
// otherwise networks, which more packets are of, before hosts.
func (s shape) order(lengths []int) []int {
	if s.nested {
		return lengths
	}
	lengths = slices.Clone(lengths)
	slices.Reverse(lengths)
	return lengths
}

// Sets. Those of inner prefixes exist for each length of prefixes in use, since keys are
// looked up as a whole:
//
//	name             key                             of
//	agent_64         prefix                          inner prefixes
//	agent_out_64     prefix                          the same, counting what enters the tunnel
//	agent_in_64      from, to, prefix                ends, counting what comes out
//	mobile_64        prefix
//	mobile_out_64    prefix
//	mobile_in_64     from, prefix
//	yielded          source, destination             packets of optimised routes
//	watched          home address                    of tunnels with Watch
//	watched_in       from, home address              their ends
//	seen             source, destination             reported
//	foreign          remote, local                   ends of others' tunnels; remote may be any
//	headers          next header                     that are never carried here
//	scopes           first octet of an address       that is perhaps of link scope
const (
	setYielded   = "yielded"
	setWatched   = "watched"
	setWatchedIn = "watched_in"
	setSeen      = "seen"
	setForeign   = "foreign"
	setHeaders   = "headers"
	setScopes    = "scopes"
)

// Roles of the sets of a length.
const (
	inner = ""
	out   = "_out"
	in    = "_in"
)

func setName(side overlay.Side, role string, bits int) string {
	if side == overlay.AgentSide {
		return fmt.Sprintf("agent%s_%d", role, bits)
	}
	return fmt.Sprintf("mobile%s_%d", role, bits)
}

// setsOf are the sets of a length.
func setsOf(side overlay.Side, bits int) []nft.Set {
	ends := []nft.Field{nft.Address, nft.Address}
	if side == overlay.AgentSide {
		ends = append(ends, nft.Address)
	}
	return []nft.Set{
		{Table: tableName, Name: setName(side, inner, bits), Key: []nft.Field{nft.Address}},
		{Table: tableName, Name: setName(side, out, bits), Key: []nft.Field{nft.Address}, Counted: true},
		{Table: tableName, Name: setName(side, in, bits), Key: ends, Counted: true},
	}
}

// sets are those of a shape that are not there always.
func (s shape) sets() (all []nft.Set) {
	for _, b := range s.agent {
		all = append(all, setsOf(overlay.AgentSide, b)...)
	}
	for _, b := range s.mobile {
		all = append(all, setsOf(overlay.MobileSide, b)...)
	}
	return all
}

// fixedSets are there always.
func fixedSets() []nft.Set {
	pair := []nft.Field{nft.Address, nft.Address}
	return []nft.Set{
		{Table: tableName, Name: setYielded, Key: pair},
		{Table: tableName, Name: setWatched, Key: pair[:1]},
		{Table: tableName, Name: setWatchedIn, Key: pair},
		{Table: tableName, Name: setSeen, Key: pair, Most: mostSeen},
		{Table: tableName, Name: setForeign, Key: pair},
		{Table: tableName, Name: setHeaders, Key: []nft.Field{nft.Protocol}},
		{Table: tableName, Name: setScopes, Key: []nft.Field{nft.Integer}},
	}
}

// Next headers that are never carried here: they may hold what the engine must see.
var headers = [][]byte{{unix.IPPROTO_HOPOPTS}, {unix.IPPROTO_ROUTING}, {unix.IPPROTO_FRAGMENT}, {unix.IPPROTO_DSTOPTS}, {unix.IPPROTO_MH}}

// First octets of addresses that are unspecified, loopback, link-local or multicast, and
// of few others.
var scopes = [][]byte{{0x00}, {0xfe}, {0xff}}
