package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/rtnl/rtbatch"
)

// Tunnels of others on this node keep their packets: what has the ends of a device of
// type ip6tnl that is not ours is not handed over to the engine. Such devices are looked
// for at Start and once a second.

// lookForeign brings the set of ends up to date.
func (p *path) lookForeign() error {
	now := make(map[string]bool)
	kind := rtbatch.Attributes(nil).Bytes(iflaInfoKind, text(tunnelKind))
	err := p.route.Dump(unix.RTM_GETLINK, linkHeader(0, 0, 0).Bytes(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, kind), func(m []byte) {
		l, _, ok := parseLink(m)
		if !ok || p.ours(l.name) || l.external || binary.NativeEndian.Uint32(m[8:])&unix.IFF_UP == 0 {
			return
		}
		if l.local.IsValid() && !l.local.IsUnspecified() {
			remote := l.remote
			if !remote.IsValid() {
				remote = netip.IPv6Unspecified() // any
			}
			now[octets(remote)+octets(l.local)] = true
		}
	})
	if err != nil {
		return fmt.Errorf("list tunnel devices: %w", err)
	}
	var remove, add []element
	for key := range p.foreign {
		if !now[key] {
			remove = append(remove, element{set: setForeign, key: key})
		}
	}
	for key := range now {
		if !p.foreign[key] {
			add = append(add, element{set: setForeign, key: key})
		}
	}
	p.foreign = now
	p.change(remove, add, func(e element, failure error) {
		err = fmt.Errorf("nftables set %s: %w", e.set, failure)
	})
	return err
}

// inheritForeign reads what a predecessor knew.
func (p *path) inheritForeign() error {
	p.foreign = make(map[string]bool)
	return p.nft.Elements(tableName, setForeign, func(e nft.Element) { p.foreign[string(e.Key)] = true })
}
