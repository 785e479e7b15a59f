// Package xfrm is IPsec for what tunnels carry, in the kernel: security associations
// and policies of ESP in transport mode around the outer packets of tunnels (RFC 4877
// §4.3), with keys that both ends are configured with, or that a key exchange makes. [outer IPv6 | ESP | inner IPv6]
// is octet for octet what tunnel mode would make; but the outer addresses stay those of
// the tunnel, so that whatever data plane makes the packets, a move is nothing to the
// associations but one more pair of addresses.
//
// What is in the kernel of a mobile, for each home agent:
//
//	state  out  :: → agent          SPI to the agent: serves all care-of addresses
//	policy in   agent → ::/0        protocols 41, 43, 44, 60 in ESP
//	 and for each care-of address:
//	state  in   agent → care-of     SPI to the mobile
//	policy out  care-of → agent     protocol 41, and ICMPv6 errors, in ESP
//
// and of a home agent, for each mobile:
//
//	state  in   :: → agent          SPI to the agent: serves all care-of addresses
//	policy in   ::/0 → agent        protocols 41, 43, 44, 60 that were in ESP: none passes
//	policy out  agent → ::/0        ICMPv6 Port Unreachable: none passes
//	 and for each care-of address, before these:
//	state  out  :: → care-of        SPI to the mobile
//	policy in   care-of → agent     protocols 41, 43, 44, 60 in ESP
//	policy out  agent → care-of     protocol 41, and ICMPv6 errors, in ESP
//
// The kernel finds inbound states by destination and SPI, and outbound ones, where none
// has the right source, by a wildcard source. So a move only adds; nothing is replaced,
// no sequence number is carried over, and nothing is lost between. What belongs to a
// former care-of address goes a while later (Linger), when nothing of it is under way.
//
// Linux 6.12 looks for the protocol of a received packet no further than the header
// behind an atomic fragment header, and finds no policy for a tunnel packet that hides
// behind destination options there: hence the policies for extension headers, which no
// other packet between the two has that the kernel is to take.
//
// ICMPv6 errors quote what was in ESP: those of a kernel whose roam6 has crashed, and
// Port Unreachable, with which one that has a tunnel driver answers whatever none of its
// own tunnels takes. To a mobile they go in ESP. Before a home agent knows where the mobile
// is, nothing of what was in ESP may get so far, and its address sends no Port Unreachable
// at all, whatever that would be about.
//
// The request identifier (reqid) is the tag of all this, and on inbound states and
// policies tells mobiles apart: who has keys of his own cannot send in the name of
// another one. Inbound states put a mark on packets, by which a data plane knows that
// they were in ESP.
//
// A key exchange puts associations of its own into the kernel, between home address and
// home agent, and those of here take their place: an SPI is a receiver's once. Without keys
// there are policies only, and nothing passes. When keys are replaced, the new states are
// there before the old ones go (RFC 7296 §2.8). The exchange does not write into the
// kernel when the mobile moves, and when it removes what it takes for its own, that comes
// back until it says that it has ended.
//
// There is no anti-replay window, since each care-of address of a mobile has a state with
// sequence numbers of its own. They may wrap where keys are configured (RFC 4303 §3.3.3),
// not where they are negotiated. The initialization vectors of AES-CBC are the
// kernel's, encrypted and with a random start for each state (echainiv), so that a new
// state with an old key means nothing to them. That cannot be said of AES-GCM: each
// state, and so each restart and each move of each mobile, draws one of 2^64 places to
// count from, and one initialization vector twice is the end. Hence no AES-GCM here, with
// fresh keys neither: those are the same for all care-of addresses.
package xfrm
