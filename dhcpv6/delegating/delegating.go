// Package delegating gives prefixes to mobile routers (RFC 6276): the delegating
// router of DHCPv6 prefix delegation (RFC 8415 §6.3), or a relay to a server
// elsewhere. A pure state machine that a home agent's node hosts beside package ha.
//
// A message passes three gates. Whose is it? A mobile router that is away sends
// from its home address, which the home agent's tunnel vouches for; one that is at
// home is known by its DUID, or by its interface identifier. Whoever is no
// configured mobile is not answered. Is it well-formed, and for this server? Then
// it is served from the pools, or passed to the external server, whose Replies are
// read as they pass.
//
// Both fill the same table of leases, in which no two prefixes overlap, and each
// change of it is told to the home agent before the answer leaves: the tunnel is
// there when the mobile router begins to use its prefix. A lease from the pools
// that ends is kept for its mobile until somebody else needs it. So is what was
// offered only: an offer costs no more memory than the lease it becomes, and the
// number of leases of one mobile is bounded.
//
// What is saved are remaining lifetimes, since a router's clock may stand in 1970
// after a restart. They count again from the first event.
package delegating
