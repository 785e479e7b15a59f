package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
)

// deviceHooks tell what the kernel can decide at our devices, in a table of its own
// family, so that other packets of the node do not pass the rules. Where it cannot there
// are chains in the hooks of IPv6 that all packets pass.
type deviceHooks struct {
	arrive bool // what comes out of a device: CONFIG_NETFILTER_INGRESS
	enter  bool // what enters one: CONFIG_NETFILTER_EGRESS, Linux 5.18; kernels of OpenWrt may lack it
}

// findHooks tries them at the TUN device.
func (p *path) findHooks() (at deviceHooks, err error) {
	if p.without {
		return deviceHooks{}, nil
	}
	const name = "trial"
	try := func(h nft.Hook, r nft.Rule) bool {
		// In two transactions: of what does not outlive its own the kernel does not ask
		// whether a rule may be there.
		err := p.nft.Commit(func(b *nft.Batch) {
			b.Use(nft.Netdev)
			b.NewTable(tableName)
			b.NewChain(nft.Chain{Table: tableName, Name: name, Base: true, Hook: h, Device: p.under.Device})
			b.Append(tableName, name, r)
		})
		if err != nil {
			return false
		}
		err = p.nft.Commit(func(b *nft.Batch) {
			b.Use(nft.Netdev)
			b.FlushChain(tableName, name)
			b.DeleteChain(tableName, name)
		})
		return err == nil
	}
	none := nft.Rule(nil).LoadMeta(nft.Mark).NotEqual(nft.MarkBits(0)...).Equal(nft.MarkBits(0)...)
	at = deviceHooks{arrive: try(nft.Ingress, none.Drop()), enter: try(nft.Egress, none.Forward(p.under.Index))}
	if at == (deviceHooks{}) {
		err = p.nft.RemoveTableOf(nft.Netdev, tableName)
	}
	p.log().Debug("nftables at devices", "engine", Name, "ingress", at.arrive, "egress", at.enter)
	return at, err
}

// hookAll makes the chains at all devices that are there. A predecessor's stay, with new
// rules: two at a device, were it for a moment, would take the mark from each other.
func (p *path) hookAll() error {
	if p.at == (deviceHooks{}) {
		return nil
	}
	devices := slices.Clone(p.inherited.devices)
	if p.external.index != 0 {
		devices = append(devices, p.external)
	}
	for _, t := range p.mobiles {
		if t.device.index != 0 {
			devices = append(devices, t.device)
		}
	}
	for _, l := range devices {
		if err := p.hook(l); err != nil {
			return err
		}
	}
	return nil
}

// hook makes the chains at a device. What passes it goes with it; the chains do not with
// some kernels, and those of another device that had the name are in the way then.
func (p *path) hook(l link) error {
	if p.at == (deviceHooks{}) {
		return nil
	}
	commit := func() error {
		return p.nft.Commit(func(b *nft.Batch) {
			b.Use(nft.Netdev)
			p.hookInto(b, l)
		})
	}
	err := commit()
	if errors.Is(err, unix.EEXIST) {
		for _, what := range []string{arriveAt, enterAt} {
			err = p.nft.Commit(func(b *nft.Batch) {
				b.Use(nft.Netdev)
				b.FlushChain(tableName, chainAt(what, l))
				b.DeleteChain(tableName, chainAt(what, l))
			})
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("remove a chain of nftables at a former %s: %w", l.name, err)
			}
		}
		err = commit()
	}
	if err != nil {
		return fmt.Errorf("nftables at %s: %w", l.name, err)
	}
	return nil
}

// Chains at a device, by what its name comes behind.
const (
	arriveAt = "arrive"
	enterAt  = "enter"
)

func chainAt(what string, l link) string { return what + "_" + strings.ReplaceAll(l.name, "-", "_") }

func (p *path) hookInto(b *nft.Batch, l link) {
	set := p.ruleSet(shape{})
	b.NewTable(tableName)
	chain := func(what string, h nft.Hook, rules []nft.Rule) {
		name := chainAt(what, l)
		b.NewChain(nft.Chain{Table: tableName, Name: name, Base: true, Hook: h, Priority: nft.Raw, Device: l.name})
		b.FlushChain(tableName, name)
		for _, r := range rules {
			b.Append(tableName, name, r)
		}
	}
	if p.at.arrive {
		chain(arriveAt, nft.Ingress, set.arrive())
	}
	if p.at.enter {
		chain(enterAt, nft.Egress, enter(p.under.Index, !l.external))
	}
}

// enter sends what must not enter a device to the TUN device instead.
func enter(tun int, mobile bool) []nft.Rule {
	all := []nft.Rule{next(nft.Network, 0, unix.IPPROTO_TCP).Accept()}
	for _, r := range dhcp(nft.Network) {
		all = append(all, r.Forward(tun))
	}
	all = append(all, next(nft.Network, 0, unix.IPPROTO_UDP).Accept())
	if mobile {
		all = append(all, next(nft.Network, 0, unix.IPPROTO_IPV6).Forward(tun))
	}
	for _, h := range headers {
		all = append(all, next(nft.Network, 0, h[0]).Forward(tun))
	}
	return all
}
