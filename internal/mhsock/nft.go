package mhsock

import "roam6/internal/nft"

const chainName = "input"

// load starts a rule with octets of the packet, counted from the IPv6 header.
func load(offset, n uint32) nft.Rule { return nft.Rule(nil).Load(offset, n) }

// notDecrypted continues only with packets that did not come out of IPsec,
// decrypted only with those that did.
func notDecrypted(r nft.Rule) nft.Rule { return r.LoadMeta(nft.SecurityPath).Equal(0) }
func decrypted(r nft.Rule) nft.Rule    { return r.LoadMeta(nft.SecurityPath).Equal(1) }

// replaceTable puts the table in place of whatever has its name, in one
// transaction: there is no moment without rules.
func replaceTable(s *nft.Socket, name string, rules []nft.Rule) error {
	return s.Commit(func(t *nft.Batch) {
		t.EmptyTable(name)
		t.NewChain(nft.Chain{Table: name, Name: chainName, Base: true, Hook: nft.Input, Priority: nft.Raw})
		for _, r := range rules {
			t.Append(name, chainName, r)
		}
	})
}
