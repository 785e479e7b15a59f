package tun

import "roam6/internal/nft"

// Where ip6_tunnel is loaded, as it is wherever another plane could be used, the kernel
// answers tunnel packets that none of its own devices takes with Port Unreachable, although
// the engine's socket has taken them. A rule on the way out keeps these answers back. Kernels
// without nftables go on answering: peers that run roam6 know what that means (see
// received).

// hushTable is the nftables table of the engine.
const hushTable = "roam6_tun"

// hush keeps the kernel from answering tunnel packets, or removes the rule of a
// predecessor where a fast path sees to that.
func (e *Engine) hush() error {
	var err error
	if e.nft, err = nft.Open(); err != nil {
		return err
	}
	if e.fast.traits.NextHeader != 0 {
		return e.nft.RemoveTable(hushTable)
	}
	const chain = "output"
	return e.nft.Commit(func(b *nft.Batch) {
		b.EmptyTable(hushTable)
		b.NewChain(nft.Chain{Table: hushTable, Name: chain, Base: true, Hook: nft.Output, Priority: nft.Raw})
		const quoted, options = headerLength + icmpHeaderLength, 2*headerLength + icmpHeaderLength
		answer := func() nft.Rule {
			return nft.Rule(nil).Load(offsetNextHeader, 1).Equal(protocolICMPv6).Load(headerLength, 2).Equal(icmpUnreachable, icmpCodePortUnreachable)
		}
		b.Append(hushTable, chain, answer().Load(quoted+offsetNextHeader, 1).Equal(protocolIPv6).Drop())
		b.Append(hushTable, chain, answer().Load(quoted+offsetNextHeader, 1).Equal(protocolDestinationOptions).
			Load(options, 1).Equal(protocolIPv6).Drop()) // behind an encapsulation limit
	})
}

// unhush undoes hush.
func (e *Engine) unhush() error {
	if e.nft == nil {
		return nil
	}
	defer e.nft.Close()
	return e.nft.RemoveTable(hushTable)
}
