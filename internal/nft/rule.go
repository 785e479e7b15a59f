package nft

import (
	"encoding/binary"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Rule is a list of expressions: loads into registers, and comparisons and look-ups of
// them, any number of times, then what to do with the packets that pass them all. Its
// methods append one expression each.
type Rule Attributes

// Register is one of the sixteen registers of 4 octets. What is longer takes those that
// follow, too. Where no register is given it is the first one.
type Register uint32

// Base is where an offset in the packet is counted from.
type Base uint32

// Bases of offsets: the IPv6 header, and what follows its extension headers.
const (
	Network   Base = unix.NFT_PAYLOAD_NETWORK_HEADER
	Transport Base = unix.NFT_PAYLOAD_TRANSPORT_HEADER
)

// Meta is a property of a packet that is not in it.
type Meta uint32

// Properties. Mark is in the byte order of the machine.
const (
	Mark          Meta = unix.NFT_META_MARK
	InputName     Meta = unix.NFT_META_IIFNAME // 16 octets
	OutputName    Meta = unix.NFT_META_OIFNAME
	SecurityPath  Meta = 25 // NFT_META_SECPATH, one octet: the packet came out of IPsec
	firstRegister      = unix.NFT_REG32_00
)

func (r Register) number() uint32 { return firstRegister + uint32(r) }

func (r Rule) expression(name string, data Attributes) Rule {
	e := Attributes(nil).Text(unix.NFTA_EXPR_NAME, name).Nested(unix.NFTA_EXPR_DATA, data)
	// Several rules may begin with the same one: none writes behind its end.
	return Rule(Attributes(slices.Clip(r)).Nested(unix.NFTA_LIST_ELEM, e))
}

// Load loads octets of the packet, counted from the IPv6 header.
func (r Rule) Load(offset, n uint32) Rule { return r.LoadInto(0, Network, offset, n) }

// LoadInto loads octets of the packet into a register. A packet that is too short does
// not pass.
func (r Rule) LoadInto(to Register, base Base, offset, n uint32) Rule {
	return r.expression("payload", Attributes(nil).
		Uint32(unix.NFTA_PAYLOAD_DREG, to.number()).
		Uint32(unix.NFTA_PAYLOAD_BASE, uint32(base)).
		Uint32(unix.NFTA_PAYLOAD_OFFSET, offset).
		Uint32(unix.NFTA_PAYLOAD_LEN, n))
}

// Store writes a register into the packet. No checksum is changed.
func (r Rule) Store(from Register, base Base, offset, n uint32) Rule {
	return r.expression("payload", Attributes(nil).
		Uint32(unix.NFTA_PAYLOAD_SREG, from.number()).
		Uint32(unix.NFTA_PAYLOAD_BASE, uint32(base)).
		Uint32(unix.NFTA_PAYLOAD_OFFSET, offset).
		Uint32(unix.NFTA_PAYLOAD_LEN, n).
		Uint32(unix.NFTA_PAYLOAD_CSUM_TYPE, unix.NFT_PAYLOAD_CSUM_NONE).
		Uint32(unix.NFTA_PAYLOAD_CSUM_OFFSET, 0))
}

// ExtensionHeader loads octets of an extension header, wherever that stands.
func (r Rule) ExtensionHeader(kind uint8, offset, n uint32) Rule {
	return r.expression("exthdr", Attributes(nil).
		Uint32(unix.NFTA_EXTHDR_DREG, firstRegister).
		Bytes(unix.NFTA_EXTHDR_TYPE, []byte{kind}).
		Uint32(unix.NFTA_EXTHDR_OFFSET, offset).
		Uint32(unix.NFTA_EXTHDR_LEN, n))
}

// LoadMeta loads a property.
func (r Rule) LoadMeta(m Meta) Rule {
	return r.expression("meta", Attributes(nil).
		Uint32(unix.NFTA_META_DREG, firstRegister).
		Uint32(unix.NFTA_META_KEY, uint32(m)))
}

// MarkBits is a mark as Bitwise and Equal take it.
func MarkBits(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// StoreMeta changes a property to what is in the register.
func (r Rule) StoreMeta(m Meta) Rule {
	return r.expression("meta", Attributes(nil).
		Uint32(unix.NFTA_META_SREG, firstRegister).
		Uint32(unix.NFTA_META_KEY, uint32(m)))
}

// Bitwise makes of a register (register AND mask) XOR xor, which are as long as it is.
func (r Rule) Bitwise(at Register, mask, xor []byte) Rule {
	value := func(b []byte) Attributes { return Attributes(nil).Bytes(unix.NFTA_DATA_VALUE, b) }
	return r.expression("bitwise", Attributes(nil).
		Uint32(unix.NFTA_BITWISE_SREG, at.number()).
		Uint32(unix.NFTA_BITWISE_DREG, at.number()).
		Uint32(unix.NFTA_BITWISE_LEN, uint32(len(mask))).
		Nested(unix.NFTA_BITWISE_MASK, value(mask)).
		Nested(unix.NFTA_BITWISE_XOR, value(xor)))
}

// Set puts a value into the first register.
func (r Rule) Set(v ...byte) Rule {
	return r.expression("immediate", Attributes(nil).
		Uint32(unix.NFTA_IMMEDIATE_DREG, firstRegister).
		Nested(unix.NFTA_IMMEDIATE_DATA, Attributes(nil).Bytes(unix.NFTA_DATA_VALUE, v)))
}

// Equal, NotEqual and AtLeast let packets pass by what is in the first register.
func (r Rule) Equal(v ...byte) Rule    { return r.compare(unix.NFT_CMP_EQ, v) }
func (r Rule) NotEqual(v ...byte) Rule { return r.compare(unix.NFT_CMP_NEQ, v) }
func (r Rule) AtLeast(v ...byte) Rule  { return r.compare(unix.NFT_CMP_GTE, v) }

func (r Rule) compare(operator uint32, v []byte) Rule {
	return r.expression("cmp", Attributes(nil).
		Uint32(unix.NFTA_CMP_SREG, firstRegister).
		Uint32(unix.NFTA_CMP_OP, operator).
		Nested(unix.NFTA_CMP_DATA, Attributes(nil).Bytes(unix.NFTA_DATA_VALUE, v)))
}

// In passes packets whose key, from the first register on, is in a set of the table.
// Where its elements count packets, this one does.
func (r Rule) In(set string) Rule { return r.lookup(set, 0) }

// NotIn passes the others.
func (r Rule) NotIn(set string) Rule { return r.lookup(set, unix.NFT_LOOKUP_F_INV) }

func (r Rule) lookup(set string, flags uint32) Rule {
	return r.expression("lookup", Attributes(nil).
		Text(unix.NFTA_LOOKUP_SET, set).
		Uint32(unix.NFTA_LOOKUP_SREG, firstRegister).
		Uint32(unix.NFTA_LOOKUP_FLAGS, flags))
}

// Remember adds a key, from the first register on, to a set that forgets it after the
// time, unless it is there. If the set is full the packet does not pass.
func (r Rule) Remember(set string, for_ time.Duration) Rule {
	return r.expression("dynset", Attributes(nil).
		Text(unix.NFTA_DYNSET_SET_NAME, set).
		Uint32(unix.NFTA_DYNSET_OP, unix.NFT_DYNSET_OP_ADD).
		Uint32(unix.NFTA_DYNSET_SREG_KEY, firstRegister).
		Uint64(unix.NFTA_DYNSET_TIMEOUT, uint64(for_.Milliseconds())))
}

// Drop and Accept end the way of a packet through the chain's hook.
func (r Rule) Drop() Rule   { return r.verdict(0, "") } // NF_DROP
func (r Rule) Accept() Rule { return r.verdict(1, "") } // NF_ACCEPT

// Jump goes on in another chain and comes back from there, Goto does not; Return leaves
// the chain.
func (r Rule) Jump(chain string) Rule { return r.verdict(unix.NFT_JUMP, chain) }
func (r Rule) Goto(chain string) Rule { return r.verdict(unix.NFT_GOTO, chain) }
func (r Rule) Return() Rule           { return r.verdict(unix.NFT_RETURN, "") }

// Forward has a packet leave by another device, whose interface index is given, as it is.
// In chains of the family Netdev alone; at Egress from Linux 5.18 on.
func (r Rule) Forward(device int) Rule {
	return r.Set(binary.NativeEndian.AppendUint32(nil, uint32(device))...).
		expression("fwd", Attributes(nil).Uint32(unix.NFTA_FWD_SREG_DEV, firstRegister))
}

func (r Rule) verdict(code int32, chain string) Rule {
	v := Attributes(nil).Uint32(unix.NFTA_VERDICT_CODE, uint32(code))
	if chain != "" {
		v = v.Text(unix.NFTA_VERDICT_CHAIN, chain)
	}
	return r.expression("immediate", Attributes(nil).
		Uint32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT).
		Nested(unix.NFTA_IMMEDIATE_DATA, Attributes(nil).Nested(unix.NFTA_DATA_VERDICT, v)))
}
