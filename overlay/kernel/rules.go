package kernel

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/overlay"
)

// tableName is the nftables table of this engine, of which a namespace has one.
const tableName = "roam6_plane"

// handedOver is the next header of tunnel packets for the engine: one for experiments
// (RFC 3692 §2.1).
const handedOver = 253

// seenFor is how long a pair that was left to the engine once is carried here: a little
// longer than the engine keeps its report to itself, so that the next one is due then.
const seenFor = overlay.TrafficInterval + 500*time.Millisecond

// mostSeen bounds the memory of pairs. The packets of others go to the engine.
const mostSeen = 8192

// Chains. Those of hooks first. Each that is there costs every packet of the node that
// passes its hook, some hundred instructions for nothing: what concerns our devices alone
// is decided at the devices where the kernel can (hooks.go).
const (
	chainReceive  = "receive"  // input: which tunnel packets are ours
	chainArrive   = "arrive"   // prerouting: what comes out of our devices
	chainForward  = "forward"  // prerouting, behind what others do: what is not for our devices
	chainDepart   = "depart"   // output: outer packets, and errors about them
	chainOriginal = "original" // output: what this node sends and is not for our devices
	chainApprove  = "approve"
	chainWhose    = "whose"
	chainHand     = "hand_over" // to the engine
	chainTake     = "take"
	chainSeenIn   = "seen_in"
	chainSeenOut  = "seen_out"
	chainLeave    = "leave"
	chainMayLeave = "may_leave"
	chainMade     = "made"
	chainErrors   = "errors"
	chainRelayed  = "relayed"
	chainClass    = "class"
)

// chains are all chains but those at devices. unwanted are those of hooks that are not
// needed, and that a table of before may have.
func (s ruleSet) chains() (wanted, unwanted []nft.Chain) {
	base := func(needed bool, name string, h nft.Hook, priority int32) {
		c := nft.Chain{Table: tableName, Name: name, Base: true, Hook: h, Priority: priority, Reroute: name == chainOriginal}
		if needed {
			wanted = append(wanted, c)
		} else {
			unwanted = append(unwanted, c)
		}
	}
	base(true, chainReceive, nft.Input, nft.Raw)
	base(!s.at.arrive, chainArrive, nft.Prerouting, nft.Raw)
	base(!s.at.enter, chainForward, nft.Prerouting, nft.Mangle+1)
	base(true, chainDepart, nft.Output, nft.Raw)
	base(s.marks(), chainOriginal, nft.Output, nft.Mangle+1)
	for _, name := range []string{chainApprove, chainWhose, chainHand, chainTake, chainSeenIn, chainSeenOut, chainLeave, chainMayLeave, chainMade, chainErrors, chainRelayed, chainClass} {
		wanted = append(wanted, nft.Chain{Table: tableName, Name: name})
	}
	return wanted, unwanted
}

// Offsets from the start of an IPv6 header.
const (
	offsetLength      = 4
	offsetNextHeader  = 6
	offsetSource      = 8
	offsetDestination = 24
	headerLength      = 40
	addresses         = 32
	address           = 16
)

const portDHCP = 547 // of relays and servers (RFC 8415 §7.2)

// ruleSet builds the rules.
type ruleSet struct {
	shape
	at           deviceHooks
	device       string // name of the external device, and what the names of the others begin with
	sorted, left uint32 // marks
	mark, mask   uint32 // of the engine's own packets
}

// marks reports whether packets are marked so that they are routed to the TUN device.
func (s ruleSet) marks() bool { return !s.at.enter || s.yields || s.watch }

// named is a rule of a chain.
type named struct {
	chain string
	rule  nft.Rule
}

// rules are all rules. They are the same at any time for the same shape.
func (s ruleSet) rules() (all []named) {
	add := func(chain string, rules ...nft.Rule) {
		for _, r := range rules {
			all = append(all, named{chain, r})
		}
	}
	options := next(nft.Network, 0, unix.IPPROTO_DSTOPTS).Load(headerLength, 1).Equal(unix.IPPROTO_IPV6)
	add(chainReceive,
		next(nft.Network, 0, unix.IPPROTO_IPV6).Goto(chainApprove),
		options.Goto(chainApprove), // with an encapsulation limit (RFC 2473 §5.1)
		next(nft.Network, 0, unix.IPPROTO_FRAGMENT).Goto(chainHand))
	// Where the protocol of a tunnel packet stands: without extension headers, behind
	// destination options, and in a fragment header or, in the first fragment, behind
	// destination options in that. What has others comes out of the external device,
	// and is dropped.
	const inFragment, behindFragment = headerLength, headerLength + 8
	fragment := next(nft.Network, 0, unix.IPPROTO_FRAGMENT)
	hand := func(r nft.Rule, at uint32) nft.Rule {
		return setMark(r.Set(handedOver).Store(0, nft.Network, at, 1), s.sorted).Accept()
	}
	ends := nft.Rule(nil).Load(offsetSource, addresses)
	add(chainHand,
		clearMark(nil, s.sorted), // whoever has set it
		ends.In(setForeign).Accept(),
		ends.Bitwise(0, zero(address), zero(address)).In(setForeign).Accept(),
		hand(next(nft.Network, 0, unix.IPPROTO_IPV6), offsetNextHeader),
		hand(options, headerLength),
		hand(fragment.Load(inFragment, 1).Equal(unix.IPPROTO_IPV6), inFragment),
		hand(fragment.Load(inFragment, 1).Equal(unix.IPPROTO_DSTOPTS).Load(inFragment+2, 2).Bitwise(0, []byte{0xff, 0xf8}, zero(2)).Equal(0, 0).
			Load(behindFragment, 1).Equal(unix.IPPROTO_IPV6), behindFragment))
	add(chainApprove, approve()...)
	add(chainWhose, s.whose()...)
	add(chainTake, setMark(nil, s.sorted).Accept())
	if !s.at.arrive {
		add(chainArrive, nft.Rule(nil).LoadMeta(nft.InputName).NotEqual([]byte(s.device)...).Accept())
		add(chainArrive, s.arrive()...)
	}
	if !s.at.enter {
		add(chainForward, s.forward()...)
	}
	add(chainDepart, s.depart()...)
	add(chainOriginal, s.original()...)
	add(chainMade, s.made()...)
	add(chainErrors, s.errors()...)
	add(chainClass, class()...)
	add(chainLeave, setMark(nil, s.left).Accept())
	add(chainMayLeave, s.mayLeave()...)
	add(chainRelayed, s.relayed()...)
	for chain, known := range map[string]nft.Rule{chainSeenIn: nft.Rule(nil).Return(), chainSeenOut: nft.Rule(nil).Accept()} {
		base := nft.Transport
		unseen := nft.Rule(nil).Goto(chainHand)
		if chain == chainSeenOut {
			base, unseen = nft.Network, nft.Rule(nil).Goto(chainLeave)
		}
		pair := nft.Rule(nil).LoadInto(0, base, offsetSource, addresses)
		add(chain, slices.Concat(pair.In(setSeen), known), pair.Remember(setSeen, seenFor), unseen)
	}
	return all
}

// The rules that each packet meets are the cost of this engine: those that decide about
// most packets come first, and what is masked is 4 octets long, which the kernel does in
// line.

// approve sorts out tunnel packets to this node that are never carried here; the inner
// packet is what the transport header is to others.
func approve() []nft.Rule {
	all := []nft.Rule{
		// RFC 6040 §4.2: a congestion mark may have to be dropped.
		nft.Rule(nil).Load(0, 4).Bitwise(0, []byte{0, 0x30, 0, 0}, zero(4)).Equal(0, 0x30, 0, 0).Goto(chainHand),
		next(nft.Transport, 0, unix.IPPROTO_TCP).Goto(chainWhose),
	}
	for _, r := range dhcp(nft.Transport) {
		all = append(all, r.Goto(chainHand))
	}
	return append(all,
		next(nft.Transport, 0, unix.IPPROTO_UDP).Goto(chainWhose),
		nft.Rule(nil).LoadInto(0, nft.Transport, offsetNextHeader, 1).In(setHeaders).Goto(chainHand),
		nft.Rule(nil).Goto(chainWhose))
}

// whose approves of packets between the ends of the tunnel that they belong to. An
// address that is looked up in a tunnel's prefixes is not of link scope.
func (s ruleSet) whose() (all []nft.Rule) {
	if len(s.mobile) > 0 {
		all = append(all, scoped(offsetSource).Goto(chainHand))
	}
	if s.yields {
		all = append(all, nft.Rule(nil).LoadInto(0, nft.Transport, offsetSource, addresses).In(setYielded).Goto(chainHand))
	}
	// A packet out of a mobile's tunnel may be of another on that.
	if s.watch {
		all = append(all, notNext(nft.Transport, unix.IPPROTO_IPV6).LoadInto(0, nft.Network, offsetSource, address).
			LoadInto(4, nft.Transport, offsetDestination, address).In(setWatchedIn).Jump(chainSeenIn))
	}
	for i, bits := range s.order(s.mobile) {
		from := notNext(nft.Transport, unix.IPPROTO_IPV6).LoadInto(0, nft.Network, offsetSource, address)
		all = append(all, masked(from, 4, nft.Transport, offsetDestination, bits).In(setName(overlay.MobileSide, in, bits)).Goto(chainTake))
		if s.nested && i < len(s.mobile)-1 { // a longer prefix decides
			all = append(all, masked(nil, 0, nft.Transport, offsetDestination, bits).In(setName(overlay.MobileSide, inner, bits)).Goto(chainHand))
		}
	}
	if len(s.agent) > 0 {
		all = append(all, scoped(offsetDestination).Goto(chainHand))
	}
	for i, bits := range s.order(s.agent) {
		ends := nft.Rule(nil).LoadInto(0, nft.Network, offsetSource, addresses)
		all = append(all, masked(ends, 8, nft.Transport, offsetSource, bits).In(setName(overlay.AgentSide, in, bits)).Goto(chainTake))
		if s.nested && i < len(s.agent)-1 {
			all = append(all, masked(nil, 0, nft.Transport, offsetSource, bits).In(setName(overlay.AgentSide, inner, bits)).Goto(chainHand))
		}
	}
	return append(all, nft.Rule(nil).Goto(chainHand))
}

// scoped passes packets with an address within that is perhaps of link scope: most are
// of 2000::/3, and are known for that without a look-up.
func scoped(at uint32) nft.Rule {
	return nft.Rule(nil).LoadInto(0, nft.Transport, at, 4).Bitwise(0, []byte{0xe0, 0, 0, 0}, zero(4)).NotEqual(0x20, 0, 0, 0).
		LoadInto(0, nft.Transport, at, 1).In(setScopes)
}

// arrive drops what comes out of our devices and was not approved.
func (s ruleSet) arrive() []nft.Rule {
	return []nft.Rule{
		nft.Rule(nil).LoadMeta(nft.Mark).Bitwise(0, nft.MarkBits(s.sorted), zero(4)).Equal(zero(4)...).Drop(),
		clearMark(nil, s.sorted),
	}
}

// forward finds packets that are forwarded and must not enter our devices.
func (s ruleSet) forward() []nft.Rule {
	if len(s.agent)+len(s.mobile) == 0 {
		return nil
	}
	all := []nft.Rule{next(nft.Network, 0, unix.IPPROTO_TCP).Accept()}
	for _, r := range dhcp(nft.Network) {
		all = append(all, r.Goto(chainMayLeave))
	}
	all = append(all, next(nft.Network, 0, unix.IPPROTO_UDP).Accept())
	if len(s.mobile) > 0 {
		all = append(all, next(nft.Network, 0, unix.IPPROTO_IPV6).Goto(chainMayLeave))
	}
	return append(all, nft.Rule(nil).Load(offsetNextHeader, 1).In(setHeaders).Goto(chainMayLeave))
}

// mayLeave marks those of them that belong to a tunnel.
func (s ruleSet) mayLeave() (all []nft.Rule) {
	for _, bits := range s.mobile { // stays within
		all = append(all, masked(nil, 0, nft.Network, offsetDestination, bits).In(setName(overlay.MobileSide, inner, bits)).Accept())
	}
	for _, bits := range s.mobile {
		all = append(all, masked(nil, 0, nft.Network, offsetSource, bits).In(setName(overlay.MobileSide, inner, bits)).Goto(chainLeave))
	}
	all = append(all, next(nft.Network, 0, unix.IPPROTO_IPV6).Accept())
	for _, bits := range s.agent {
		all = append(all, masked(nil, 0, nft.Network, offsetDestination, bits).In(setName(overlay.AgentSide, inner, bits)).Goto(chainLeave))
	}
	return all
}

// original finds what this node sends by our devices and must not.
func (s ruleSet) original() []nft.Rule {
	if !s.marks() {
		return nil
	}
	all := []nft.Rule{nft.Rule(nil).LoadMeta(nft.OutputName).NotEqual([]byte(s.device)...).Accept()}
	if !s.at.enter {
		all = append(all,
			nft.Rule(nil).Load(offsetNextHeader, 1).In(setHeaders).Goto(chainLeave),
			next(nft.Network, 0, unix.IPPROTO_IPV6).LoadMeta(nft.OutputName).NotEqual(zeroTerminated(s.device)...).Goto(chainLeave))
		for _, r := range dhcp(nft.Network) {
			all = append(all, r.Goto(chainLeave))
		}
	}
	if s.yields {
		all = append(all, nft.Rule(nil).Load(offsetSource, addresses).In(setYielded).Goto(chainLeave))
	}
	if s.watch {
		all = append(all, nft.Rule(nil).Load(offsetSource, address).In(setWatched).Goto(chainSeenOut))
	}
	return all
}

// depart finds tunnel packets, and errors about them.
func (s ruleSet) depart() []nft.Rule {
	if len(s.agent)+len(s.mobile) == 0 {
		return nil
	}
	return []nft.Rule{
		next(nft.Network, 0, unix.IPPROTO_IPV6).Goto(chainMade),
		next(nft.Network, 0, unix.IPPROTO_ICMPV6).Goto(chainErrors),
	}
}

// made counts the tunnel packets that our devices make, and gives them the traffic class
// of what is in them. The engine does that for its own: they have its mark, and so have
// those that such a packet is in.
func (s ruleSet) made() []nft.Rule {
	all := []nft.Rule{
		nft.Rule(nil).LoadMeta(nft.Mark).Bitwise(0, nft.MarkBits(s.mask), zero(4)).Equal(nft.MarkBits(s.mark)...).
			Load(headerLength+offsetNextHeader, 1).NotEqual(unix.IPPROTO_IPV6).Accept(),
	}
	for _, bits := range s.order(s.agent) {
		all = append(all, masked(nil, 0, nft.Network, headerLength+offsetDestination, bits).In(setName(overlay.AgentSide, out, bits)).Goto(chainClass))
	}
	for _, bits := range s.order(s.mobile) {
		all = append(all, masked(nil, 0, nft.Network, headerLength+offsetSource, bits).In(setName(overlay.MobileSide, out, bits)).Goto(chainClass))
	}
	return all
}

// class gives a tunnel packet the traffic class of what is in it, congestion mark and all
// (RFC 6040 §4.1, normal mode), where the kernel's tunnels do less. They make the outer
// one 0 where the inner one is.
func class() []nft.Rule {
	const classAndVersion = 2 // octets, with four bits of the flow label
	inner := nft.Rule(nil).Load(headerLength, 4).Bitwise(0, []byte{0x0f, 0xf0, 0, 0}, zero(4)).NotEqual(zero(4)...)
	return []nft.Rule{inner.Load(headerLength, classAndVersion).Bitwise(0, []byte{0xff, 0xf0}, zero(classAndVersion)).
		Store(0, nft.Network, 0, classAndVersion)}
}

// errors finds what the kernel would tell of errors on the way of tunnel packets: the
// engine tells it, and knows better what. Those are Destination Unreachable, code 3, and
// Packet Too Big that quote a packet which they saw quoted, and so are not full; those of
// the way into the tunnel, which the engine does not see, quote a whole packet, and fill
// the 1280 octets.
func (s ruleSet) errors() []nft.Rule {
	const (
		addressUnreachable  = 3
		unreachable, tooBig = 1, 2
		full                = 1280 - headerLength
	)
	icmp := func(octets ...byte) nft.Rule {
		return nft.Rule(nil).LoadInto(0, nft.Transport, 0, uint32(len(octets))).Equal(octets...)
	}
	return []nft.Rule{
		icmp(unreachable, addressUnreachable).Goto(chainRelayed),
		icmp(tooBig).Load(offsetLength, 2).NotEqual(full>>8, full&255).Goto(chainRelayed),
	}
}

// relayed drops an ICMPv6 error about a packet that went into a tunnel.
func (s ruleSet) relayed() (all []nft.Rule) {
	const quoted = 8
	for _, bits := range s.agent {
		all = append(all, masked(nil, 0, nft.Transport, quoted+offsetDestination, bits).In(setName(overlay.AgentSide, inner, bits)).Drop())
	}
	for _, bits := range s.mobile { // stayed within
		all = append(all, masked(nil, 0, nft.Transport, quoted+offsetDestination, bits).In(setName(overlay.MobileSide, inner, bits)).Accept())
	}
	for _, bits := range s.mobile {
		all = append(all, masked(nil, 0, nft.Transport, quoted+offsetSource, bits).In(setName(overlay.MobileSide, inner, bits)).Drop())
	}
	return all
}
