package tcx

import (
	"net/netip"
	"unsafe"

	"github.com/cilium/ebpf"

	"roam6/overlay"
	"roam6/overlay/tun"
)

// What the programs look at. A packet finds its tunnel in two steps:
//
//	agent, mobile    inner prefix   → tunnel number     longest match
//	tunnels          tunnel number  → path number
//	paths            path number    → pathValue
//
// A pathValue never changes. A swap of paths puts another one under a new number and
// then changes the one number in tunnels; the old one is removed when no program can
// be reading it any more. The kernel may use the memory of a removed hash element
// again at once, while a program still reads it: for paths the delay excludes that,
// and what is read from tunnels is checked against the number in the pathValue.

const (
	flagWatch  = 1 << 0 // peers of the home address are to be reported
	flagMobile = 1 << 1 // of the mobile's side
)

// mostEnds is how many other ends of a tunnel the programs know. What comes from
// further ones is the engine's.
const mostEnds = 4

// pathValue is a tunnel with its present path. Numbers are in the order of the
// machine, addresses in that of the network.
type pathValue struct {
	Number uint32 // of the tunnel
	Flags  uint32
	Link   uint32 // 0: by the routing table
	MTU    uint32 // of the path
	Local  [16]byte
	Remote [16]byte
	Home   [16]byte
	Ends   [mostEnds]endValue
}

// endValue is where packets may come from, and go to.
type endValue struct{ From, To [16]byte }

// wayValue is where the kernel's routing sends packets of a path, found in one tick of
// its clock (4 ms where that has 250 in a second, at most 10) and used for the rest of
// it: to find it costs as much as all else that the program does.
type wayValue struct {
	Tick    uint64
	Path    uint32 // number
	Link    uint32
	MTU     uint32 // of the route, in octets
	_       uint32
	NextHop [16]byte
}

// Offsets for the programs.
const (
	pathNumber = int16(unsafe.Offsetof(pathValue{}.Number))
	pathFlags  = int16(unsafe.Offsetof(pathValue{}.Flags))
	pathLink   = int16(unsafe.Offsetof(pathValue{}.Link))
	pathMTU    = int16(unsafe.Offsetof(pathValue{}.MTU))
	pathLocal  = int16(unsafe.Offsetof(pathValue{}.Local))
	pathRemote = int16(unsafe.Offsetof(pathValue{}.Remote))
	pathHome   = int16(unsafe.Offsetof(pathValue{}.Home))
	pathEnds   = int16(unsafe.Offsetof(pathValue{}.Ends))
	endSize    = int16(unsafe.Sizeof(endValue{}))
)

func newPathValue(number uint32, t *tun.FastTunnel) pathValue {
	v := pathValue{
		Number: number, Link: uint32(t.Path.Link), MTU: uint32(t.MTU),
		Local: t.Path.Local.As16(), Remote: t.Path.Remote.As16(), Home: t.Home.As16(),
	}
	if t.Watch {
		v.Flags |= flagWatch
	}
	if t.Side == overlay.MobileSide {
		v.Flags |= flagMobile
	}
	for i := range v.Ends {
		// An unused place repeats the first end: zeros would be addresses, too.
		e := t.Ends[0]
		if i < len(t.Ends) {
			e = t.Ends[i]
		}
		v.Ends[i] = endValue{From: e.From.As16(), To: e.To.As16()}
	}
	return v
}

// key is whose tunnel it is.
func (v *pathValue) key() overlay.Key {
	k := overlay.Key{Home: netip.AddrFrom16(v.Home), Side: overlay.AgentSide}
	if v.Flags&flagMobile != 0 {
		k.Side = overlay.MobileSide
	}
	return k
}

// prefixKey is a key of the tries: how many bits count, and the address.
type prefixKey struct {
	Bits    uint32
	Address [16]byte
}

func prefixKeyOf(p netip.Prefix) prefixKey {
	return prefixKey{Bits: uint32(p.Bits()), Address: p.Addr().As16()}
}

func (k prefixKey) prefix() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16(k.Address), int(k.Bits))
}

// pairKey is source and destination as they stand in a packet.
type pairKey struct{ Source, Destination [16]byte }

// stateValue is what one processor has of a tunnel: inner packets and their octets
// counted, and the way that it has found last.
type stateValue struct {
	overlay.Counters
	Way wayValue
}

const (
	stateEncap   = int16(unsafe.Offsetof(stateValue{}.EncapPackets))
	stateDecap   = int16(unsafe.Offsetof(stateValue{}.DecapPackets))
	stateTick    = int16(unsafe.Offsetof(stateValue{}.Way) + unsafe.Offsetof(wayValue{}.Tick))
	statePath    = int16(unsafe.Offsetof(stateValue{}.Way) + unsafe.Offsetof(wayValue{}.Path))
	stateLink    = int16(unsafe.Offsetof(stateValue{}.Way) + unsafe.Offsetof(wayValue{}.Link))
	stateMTU     = int16(unsafe.Offsetof(stateValue{}.Way) + unsafe.Offsetof(wayValue{}.MTU))
	stateNextHop = int16(unsafe.Offsetof(stateValue{}.Way) + unsafe.Offsetof(wayValue{}.NextHop))
	stateSize    = int16(unsafe.Sizeof(stateValue{}))
)

// Places in the map of drops.
const (
	dropNoRoom = iota // no memory for the headers: overlay.DropQueueFull
	dropPlaces
)

// Names of the maps, which are also those of their pins.
const (
	mapAgent    = "agent"
	mapMobile   = "mobile"
	mapTunnels  = "tunnels"
	mapPaths    = "paths"
	mapStates   = "states"
	mapLocals   = "locals"
	mapPairs    = "pairs"
	mapSeen     = "seen"
	mapDrops    = "drops"
	mapSwitches = "switches"
)

// Places in the map of switches.
const (
	switchAggregates = iota // not 0: received aggregates are the engine's
	switchPairs             // not 0: there are pairs with optimised routes
	switchPlaces
)

const (
	mostLocals = 1024    // addresses of this node
	mostPairs  = 1 << 16 // with optimised routes
	mostSeen   = 2048    // pairs that were reported not long ago
	// prefixesEach is how many inner prefixes a tunnel may have on the average.
	prefixesEach = 16
)

// specs are the maps for so many tunnels. All but the small ones take memory for what
// is in them alone, and 16 octets for each place.
func specs(tunnels uint32) []*ebpf.MapSpec {
	const noPreallocation = 1 // BPF_F_NO_PREALLOC
	size := func(v uintptr) uint32 { return uint32(v) }
	address, number := size(unsafe.Sizeof([16]byte{})), size(unsafe.Sizeof(uint32(0)))
	return []*ebpf.MapSpec{
		{Name: mapAgent, Type: ebpf.LPMTrie, KeySize: size(unsafe.Sizeof(prefixKey{})), ValueSize: number, MaxEntries: prefixesEach * tunnels, Flags: noPreallocation},
		{Name: mapMobile, Type: ebpf.LPMTrie, KeySize: size(unsafe.Sizeof(prefixKey{})), ValueSize: number, MaxEntries: prefixesEach * tunnels, Flags: noPreallocation},
		{Name: mapTunnels, Type: ebpf.Hash, KeySize: number, ValueSize: number, MaxEntries: tunnels, Flags: noPreallocation},
		// Twice: what is replaced or removed stays for a moment longer.
		{Name: mapPaths, Type: ebpf.Hash, KeySize: number, ValueSize: size(unsafe.Sizeof(pathValue{})), MaxEntries: 2 * tunnels, Flags: noPreallocation},
		{Name: mapStates, Type: ebpf.PerCPUHash, KeySize: number, ValueSize: size(unsafe.Sizeof(stateValue{})), MaxEntries: 2 * tunnels, Flags: noPreallocation},
		{Name: mapLocals, Type: ebpf.Hash, KeySize: address, ValueSize: number, MaxEntries: mostLocals, Flags: noPreallocation},
		{Name: mapPairs, Type: ebpf.Hash, KeySize: 2 * address, ValueSize: number, MaxEntries: mostPairs, Flags: noPreallocation},
		{Name: mapSeen, Type: ebpf.LRUHash, KeySize: 2 * address, ValueSize: size(unsafe.Sizeof(uint64(0))), MaxEntries: mostSeen},
		{Name: mapDrops, Type: ebpf.PerCPUArray, KeySize: number, ValueSize: size(unsafe.Sizeof(uint64(0))), MaxEntries: dropPlaces},
		{Name: mapSwitches, Type: ebpf.Array, KeySize: number, ValueSize: number, MaxEntries: switchPlaces},
	}
}
