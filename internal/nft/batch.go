package nft

import (
	"cmp"
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
)

const sizeofNfgenmsg = 4

// Batch is a transaction under construction: all of it happens, or nothing.
type Batch struct {
	b      []byte
	seq    uint32
	set    uint32 // identifiers of new sets
	family Family // 0: IPv6
}

// Family is one of tables. Those of different families share nothing, names included.
type Family uint8

// Families: what passes the hooks of IPv6, and what passes a device.
const (
	IPv6   Family = unix.NFPROTO_IPV6
	Netdev Family = unix.NFPROTO_NETDEV
)

// Use has the commands that follow be about tables of a family; before that it is IPv6.
func (t *Batch) Use(f Family) { t.family = f }

func (t *Batch) message(kind, flags uint16, family uint8, resource uint16, a Attributes) {
	t.seq++
	header := unix.NlMsghdr{Type: kind, Flags: unix.NLM_F_REQUEST | flags, Seq: t.seq}
	t.b = nlsock.AppendHeader(t.b, header, sizeofNfgenmsg+len(a))
	t.b = append(t.b, family, unix.NFNETLINK_V0)
	t.b = binary.BigEndian.AppendUint16(t.b, resource)
	t.b = append(t.b, a...)
}

func (t *Batch) command(kind, flags uint16, a Attributes) {
	t.message(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags|unix.NLM_F_ACK, uint8(cmp.Or(t.family, IPv6)), 0, a)
}

// NewTable makes a table; one that is there stays as it is.
func (t *Batch) NewTable(name string) {
	t.command(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, Attributes(nil).Text(unix.NFTA_TABLE_NAME, name))
}

// DeleteTable removes a table with everything in it.
func (t *Batch) DeleteTable(name string) {
	t.command(unix.NFT_MSG_DELTABLE, 0, Attributes(nil).Text(unix.NFTA_TABLE_NAME, name))
}

// EmptyTable makes a table in place of whatever has its name.
func (t *Batch) EmptyTable(name string) {
	t.NewTable(name) // so that the deletion finds one
	t.DeleteTable(name)
	t.NewTable(name)
}

// Hook is a place in a packet's way through the kernel.
type Hook uint32

// Hooks.
const (
	Prerouting  Hook = unix.NF_INET_PRE_ROUTING
	Input       Hook = unix.NF_INET_LOCAL_IN
	Output      Hook = unix.NF_INET_LOCAL_OUT
	Postrouting Hook = unix.NF_INET_POST_ROUTING
)

// Hooks of the family Netdev, at one device: what comes in by it, and what leaves by it
// (Linux 5.16, with CONFIG_NETFILTER_EGRESS).
const (
	Ingress Hook = unix.NF_NETDEV_INGRESS
	Egress  Hook = unix.NF_NETDEV_EGRESS
)

// Priorities in a hook.
const (
	Raw    = -300 // before connection tracking and the firewall
	Mangle = -150 // behind connection tracking, before the firewall
)

// Chain is a list of rules.
type Chain struct {
	Table, Name string
	// Base says that packets come to it by themselves, at Hook with Priority; otherwise
	// by Jump and Goto alone.
	Base     bool
	Hook     Hook
	Priority int32
	// Device is the name of the one whose packets come; of the family Netdev, where the
	// chain goes with it.
	Device string
	// Reroute looks the route of a packet up again that has another mark behind the
	// chain. At Output only.
	Reroute bool
}

// NewChain makes a chain; one that is there stays as it is.
func (t *Batch) NewChain(c Chain) {
	a := Attributes(nil).Text(unix.NFTA_CHAIN_TABLE, c.Table).Text(unix.NFTA_CHAIN_NAME, c.Name)
	if c.Base {
		kind := "filter"
		if c.Reroute {
			kind = "route"
		}
		hook := Attributes(nil).
			Uint32(unix.NFTA_HOOK_HOOKNUM, uint32(c.Hook)).
			Uint32(unix.NFTA_HOOK_PRIORITY, uint32(c.Priority))
		if c.Device != "" {
			hook = hook.Text(unix.NFTA_HOOK_DEV, c.Device)
		}
		a = a.Nested(unix.NFTA_CHAIN_HOOK, hook).Text(unix.NFTA_CHAIN_TYPE, kind)
	}
	t.command(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, a)
}

// DeleteChain removes a chain that no rule leads to, and that has none.
func (t *Batch) DeleteChain(table, chain string) {
	t.command(unix.NFT_MSG_DELCHAIN, 0, Attributes(nil).Text(unix.NFTA_CHAIN_TABLE, table).Text(unix.NFTA_CHAIN_NAME, chain))
}

// FlushChain removes the rules of a chain.
func (t *Batch) FlushChain(table, chain string) {
	t.command(unix.NFT_MSG_DELRULE, 0, Attributes(nil).Text(unix.NFTA_RULE_TABLE, table).Text(unix.NFTA_RULE_CHAIN, chain))
}

// Append puts a rule at the end of a chain.
func (t *Batch) Append(table, chain string, r Rule) {
	t.command(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, Attributes(nil).
		Text(unix.NFTA_RULE_TABLE, table).
		Text(unix.NFTA_RULE_CHAIN, chain).
		Nested(unix.NFTA_RULE_EXPRESSIONS, Attributes(r)))
}

// Field is a type of what keys consist of, for whoever lists the table.
type Field uint32

// Fields, with the numbers of the nft tool.
const (
	Address  Field = 8  // ipv6_addr
	Protocol Field = 12 // inet_proto
	Integer  Field = 4  // a number of one octet
)

func (f Field) length() uint32 {
	if f == Address {
		return 16
	}
	return 1
}

// Set is a set of keys that are looked up as a whole: the time for that, and for adding
// and removing one, does not grow with their number.
type Set struct {
	Table, Name string
	Key         []Field // at most 64 octets; a field of one octet is alone
	Counted     bool    // each element counts the packets that find it
	// Most, when not zero, is how many elements rules may add, each for a time.
	Most uint32
}

// Length is that of a key in octets.
func (s Set) Length() (n int) {
	for _, f := range s.Key {
		n += int(f.length())
	}
	return n
}

// Numbers that golang.org/x/sys/unix lacks.
const (
	setExpression     = 17 // NFTA_SET_EXPR
	setPad            = 6  // bits of a field's type
	elementExpression = 7  // NFTA_SET_ELEM_EXPR
	// NFTA_SET_ELEM_EXPRESSIONS holds several; the kernel lists one as above.
)

// collectEvery is how often the kernel looks for elements whose time is over, which
// nobody finds any more: it goes through a table for as many as there may be, and each
// second is too often for that.
const collectEvery = 10 * time.Second

// NewSet makes a set; one that is there and is like this stays as it is.
func (t *Batch) NewSet(s Set) {
	var kind uint32
	for _, f := range s.Key {
		kind = kind<<setPad | uint32(f)
	}
	var flags uint32
	if s.Most != 0 {
		flags = unix.NFT_SET_TIMEOUT | unix.NFT_SET_EVAL
	}
	t.set++
	a := Attributes(nil).
		Text(unix.NFTA_SET_TABLE, s.Table).
		Text(unix.NFTA_SET_NAME, s.Name).
		Uint32(unix.NFTA_SET_FLAGS, flags).
		Uint32(unix.NFTA_SET_KEY_TYPE, kind).
		Uint32(unix.NFTA_SET_KEY_LEN, uint32(s.Length())).
		Uint32(unix.NFTA_SET_ID, t.set)
	if s.Most != 0 {
		a = a.Nested(unix.NFTA_SET_DESC, Attributes(nil).Uint32(unix.NFTA_SET_DESC_SIZE, s.Most)).
			Uint32(unix.NFTA_SET_GC_INTERVAL, uint32(collectEvery.Milliseconds()))
	}
	if s.Counted {
		counter := Attributes(nil).Text(unix.NFTA_EXPR_NAME, "counter").
			Nested(unix.NFTA_EXPR_DATA, Attributes(nil).Uint64(unix.NFTA_COUNTER_BYTES, 0).Uint64(unix.NFTA_COUNTER_PACKETS, 0))
		a = a.Nested(setExpression, counter)
	}
	t.command(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, a)
}

// DeleteSet removes a set that no rule uses.
func (t *Batch) DeleteSet(table, name string) {
	t.command(unix.NFT_MSG_DELSET, 0, Attributes(nil).Text(unix.NFTA_SET_TABLE, table).Text(unix.NFTA_SET_NAME, name))
}

// MostElements is how many elements one AddElements or DeleteElements may have: the
// list is an attribute, and no attribute is longer than 64 KB.
const MostElements = 700

// AddElements adds keys to a set; those that are there stay, and so do their counters.
func (t *Batch) AddElements(table, set string, keys [][]byte) {
	t.command(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, elements(table, set, keys))
}

// DeleteElements removes keys, which must all be there.
func (t *Batch) DeleteElements(table, set string, keys [][]byte) {
	t.command(unix.NFT_MSG_DELSETELEM, 0, elements(table, set, keys))
}

func elements(table, set string, keys [][]byte) Attributes {
	list := make(Attributes, 0, len(keys)*80)
	for _, k := range keys {
		key := Attributes(nil).Nested(unix.NFTA_SET_ELEM_KEY, Attributes(nil).Bytes(unix.NFTA_DATA_VALUE, k))
		list = list.Nested(unix.NFTA_LIST_ELEM, key)
	}
	return Attributes(nil).
		Text(unix.NFTA_SET_ELEM_LIST_TABLE, table).
		Text(unix.NFTA_SET_ELEM_LIST_SET, set).
		Nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, list)
}

// Element is a key of a set, with what it has counted: packets, and their octets from
// the IPv6 header on.
type Element struct {
	Key            []byte
	Packets, Bytes uint64
	Expires        time.Duration // of one that rules have added
}

func element(b []byte) Element {
	var e Element
	e.Key = Attribute(Attribute(b, unix.NFTA_SET_ELEM_KEY), unix.NFTA_DATA_VALUE)
	number := func(b []byte) uint64 {
		if len(b) != 8 {
			return 0
		}
		return binary.BigEndian.Uint64(b)
	}
	if x := Attribute(b, elementExpression); StringAttribute(x, unix.NFTA_EXPR_NAME) == "counter" {
		d := Attribute(x, unix.NFTA_EXPR_DATA)
		e.Packets, e.Bytes = number(Attribute(d, unix.NFTA_COUNTER_PACKETS)), number(Attribute(d, unix.NFTA_COUNTER_BYTES))
	}
	e.Expires = time.Duration(number(Attribute(b, unix.NFTA_SET_ELEM_EXPIRATION))) * time.Millisecond
	return e
}
