package xfrm

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"roam6/internal/esp"
	"roam6/internal/nlsock"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// Layout of struct xfrm_usersa_info, xfrm_userpolicy_info, xfrm_user_tmpl and
// xfrm_selector, which are the same on all architectures that are 64-bit aligned where it
// matters, as these are by their padding.
const (
	stateLength    = nl.SizeofXfrmUsersaInfo
	stateID        = 56 // xfrm_id: destination, SPI, protocol
	stateSource    = 80
	stateLimits    = 96
	stateRequest   = 208
	stateFamily    = 212
	stateMode      = 214
	offsetSPI      = 16 // in xfrm_id
	offsetProtocol = 20

	policyLength    = nl.SizeofXfrmUserpolicyInfo
	policyLimits    = 56
	policyPriority  = 152
	policyDirection = 160
	policyAction    = 161
	selectorLength  = nl.SizeofXfrmSelector
	policyIDLength  = nl.SizeofXfrmUserpolicyId

	templateLength     = nl.SizeofXfrmUserTmpl
	templateFamily     = 24
	templateRequest    = 44
	templateMode       = 48
	templateAlgorithms = 52

	directionIn, directionOut = 0, 1
	actionBlock               = 1
	modeTransport             = 0
)

// Priorities, the lower first: before those of policies of tunnels between networks.
const (
	priorityRequire = 627
	priorityBlock   = 628
)

// tagMask are the bits of request identifiers that are the same in all of ours.
const tagMask = 0xffff0000

func tagged(request uint32) bool { return request&tagMask == overlay.SealRequest&tagMask }

// unlimited fills in lifetimes: no limit of octets or packets; of time zero is none.
func unlimited(b []byte) {
	for i := range 4 {
		binary.NativeEndian.PutUint64(b[8*i:], ^uint64(0))
	}
}

func put(b []byte, a netip.Addr) {
	octets := a.As16()
	copy(b, octets[:])
}

// state is a security association; source may be the unspecified address.
type state struct {
	source, destination netip.Addr
	esp.Association
	negotiated bool // the sequence number must not wrap
	request    uint32
	mark, mask uint32 // to put on packets; mask 0: none
}

func (s state) item(what string) item {
	b := make(rtbatch.Attributes, stateLength)
	const selectorFamily = 40
	binary.NativeEndian.PutUint16(b[selectorFamily:], unix.AF_INET6)
	put(b[stateID:], s.destination)
	binary.BigEndian.PutUint32(b[stateID+offsetSPI:], s.SPI)
	b[stateID+offsetProtocol] = unix.IPPROTO_ESP
	put(b[stateSource:], s.source)
	unlimited(b[stateLimits:])
	binary.NativeEndian.PutUint32(b[stateRequest:], s.request)
	binary.NativeEndian.PutUint16(b[stateFamily:], unix.AF_INET6)
	b[stateMode] = modeTransport
	const hmacKey, check = 32, 128 // octets, bits (RFC 4868 §2.1.1, §2.3, RFC 4106 §6)
	if key := []byte(s.Key); s.Algorithm == esp.AESGCM {
		b = b.Bytes(nl.XFRMA_ALG_AEAD, algorithm("rfc4106(gcm(aes))", key, check))
	} else {
		encryption, integrity := key[:len(key)-hmacKey], key[len(key)-hmacKey:]
		b = b.Bytes(nl.XFRMA_ALG_CRYPT, algorithm("cbc(aes)", encryption))
		b = b.Bytes(nl.XFRMA_ALG_AUTH_TRUNC, algorithm("hmac(sha256)", integrity, check))
	}
	if !s.negotiated {
		b = b.Uint32(nl.XFRMA_SA_EXTRA_FLAGS, nl.XFRM_SA_XFLAG_OSEQ_MAY_WRAP)
	}
	if s.mask != 0 {
		b = b.Uint32(nl.XFRMA_SET_MARK, s.mark).Uint32(nl.XFRMA_SET_MARK_MASK, s.mask)
	}
	return item{
		add: rtbatch.Request{Kind: nl.XFRM_MSG_NEWSA, Body: b}, remove: removeState(s.destination, s.SPI),
		what: fmt.Sprintf("IPsec association with SPI %d to %v %s", s.SPI, s.destination, what), state: true, negotiated: s.negotiated,
	}
}

// algorithm is struct xfrm_algo, or with the length of the check value xfrm_algo_auth or
// xfrm_algo_aead.
func algorithm(name string, key []byte, bits ...uint32) []byte {
	const nameLength = 64
	b := make([]byte, nameLength, nl.SizeofXfrmAlgoAuth+len(key))
	copy(b, name)
	b = binary.NativeEndian.AppendUint32(b, uint32(8*len(key)))
	for _, n := range bits {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	return append(b, key...)
}

func removeState(destination netip.Addr, spi uint32) rtbatch.Request {
	const offsetFamily, offsetProtocol = 20, 22
	b := make([]byte, nl.SizeofXfrmUsersaId)
	put(b, destination)
	binary.BigEndian.PutUint32(b[offsetSPI:], spi)
	binary.NativeEndian.PutUint16(b[offsetFamily:], unix.AF_INET6)
	b[offsetProtocol] = unix.IPPROTO_ESP
	return rtbatch.Request{Kind: nl.XFRM_MSG_DELSA, Body: b}
}

// stateOf is the request that removes a state of a dump; ok is false if it is not ours.
func stateOf(b []byte) (r rtbatch.Request, ok bool) {
	if len(b) < stateLength || binary.NativeEndian.Uint16(b[stateFamily:]) != unix.AF_INET6 || b[stateID+offsetProtocol] != unix.IPPROTO_ESP ||
		!tagged(binary.NativeEndian.Uint32(b[stateRequest:])) {
		return r, false
	}
	destination := netip.AddrFrom16([16]byte(b[stateID:]))
	return removeState(destination, binary.BigEndian.Uint32(b[stateID+offsetSPI:])), true
}

// policy requires ESP of packets, or lets none pass.
type policy struct {
	direction           byte
	source, destination netip.Prefix
	protocol            byte
	errors              bool // of ICMPv6 only the errors
	noPort              bool // of those only Port Unreachable
	request             uint32
	// block: none passes; with a mask, of those that have the mark.
	block      bool
	mark, mask uint32
}

func (p policy) item(what string) item {
	b := make(rtbatch.Attributes, policyLength)
	p.putSelector(b)
	unlimited(b[policyLimits:])
	binary.NativeEndian.PutUint32(b[policyPriority:], priorityRequire)
	if p.block {
		binary.NativeEndian.PutUint32(b[policyPriority:], priorityBlock)
		b[policyAction] = actionBlock
	}
	b[policyDirection] = p.direction
	t := make([]byte, templateLength)
	t[offsetProtocol] = unix.IPPROTO_ESP
	binary.NativeEndian.PutUint16(t[templateFamily:], unix.AF_INET6)
	binary.NativeEndian.PutUint32(t[templateRequest:], p.request)
	t[templateMode] = modeTransport
	for i := range 3 { // of integrity, encryption and compression: all
		binary.NativeEndian.PutUint32(t[templateAlgorithms+4*i:], ^uint32(0))
	}
	b = b.Bytes(nl.XFRMA_TMPL, t) // of one that blocks it is no more than the tag
	var mark []byte
	if p.mask != 0 {
		mark = binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, p.mark), p.mask)
		b = b.Bytes(nl.XFRMA_MARK, mark)
	}
	selector := make([]byte, selectorLength)
	p.putSelector(selector)
	return item{
		add: rtbatch.Request{Kind: nl.XFRM_MSG_UPDPOLICY, Body: b}, remove: removePolicy(selector, p.direction, mark),
		what: fmt.Sprintf("IPsec policy for protocol %d from %v to %v %s", p.protocol, p.source, p.destination, what),
	}
}

func (p policy) putSelector(b []byte) {
	const offsetSource, offsetPorts, offsetPortMask, offsetFamily, offsetBits, offsetProtocol = 16, 32, 38, 40, 42, 44
	put(b, p.destination.Addr())
	put(b[offsetSource:], p.source.Addr())
	binary.NativeEndian.PutUint16(b[offsetFamily:], unix.AF_INET6)
	b[offsetBits], b[offsetBits+1] = byte(p.destination.Bits()), byte(p.source.Bits())
	b[offsetProtocol] = p.protocol
	if p.noPort { // type and code are in place of the ports (RFC 4443 §3.1)
		const unreachable, noPort, all = 1, 4, 0xffff
		for i, v := range []uint16{noPort, all, unreachable, all} { // destination first
			binary.BigEndian.PutUint16(b[offsetPorts+2*i:], v)
		}
	}
	if p.errors { // the type is in place of the source port; errors are those below 128
		const informational = 0x80
		binary.BigEndian.PutUint16(b[offsetPortMask:], 0xff00|informational)
	}
}

// removePolicy removes the policy with a selector and a mark; without one mark is nil.
func removePolicy(selector []byte, direction byte, mark []byte) rtbatch.Request {
	const offsetDirection = 60
	b := make(rtbatch.Attributes, policyIDLength)
	copy(b, selector)
	b[offsetDirection] = direction
	if mark != nil {
		b = b.Bytes(nl.XFRMA_MARK, mark)
	}
	return rtbatch.Request{Kind: nl.XFRM_MSG_DELPOLICY, Body: b}
}

// policyOf is the request that removes a policy of a dump; ok is false if it is not ours:
// those of sockets, which have directions of their own, are not.
func policyOf(b []byte) (r rtbatch.Request, ok bool) {
	if len(b) < policyLength || b[policyDirection] > directionOut {
		return r, false
	}
	var mark []byte
	for kind, value := range nlsock.Attributes(b[policyLength:]) {
		switch {
		case kind == nl.XFRMA_TMPL && len(value) >= templateLength:
			ok = tagged(binary.NativeEndian.Uint32(value[templateRequest:]))
		case kind == nl.XFRMA_MARK:
			mark = value
		}
	}
	return removePolicy(b[:selectorLength], b[policyDirection], mark), ok
}
