package kernel

import (
	"cmp"
	"fmt"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay/feature"
	"roam6/overlay/tun"
	"roam6/overlay/xfrmro"
)

// Probe tells what the engine needs, and the one in user space that it is part of, and
// what of that there is. It tries in a network namespace of its own, so that nothing
// changes in the caller's; that takes CAP_SYS_ADMIN.
func Probe() []feature.Feature {
	var features []feature.Feature
	var err error
	private := feature.TryPrivately(func() { features, err = probe() })
	if err = cmp.Or(private, err); err != nil {
		features = []feature.Feature{{
			Name: "network namespace to try the kernel in", Missing: err.Error(), OpenWrt: "run as root", Debian: "run as root",
		}}
	}
	return append(tun.Probe(), features...)
}

func probe() ([]feature.Feature, error) {
	c, err := rtbatch.Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	p := path{route: c, external: link{name: "probe-k", external: true, mtu: leastMTU}}
	p.under.RouteProtocol = unix.RTPROT_STATIC
	external := p.commitAll("create a device in external mode", []rtbatch.Request{p.external.create()})
	var encapsulation, subtrees error
	if external == nil {
		if p.external.index, err = p.index(p.external.name); err != nil {
			return nil, err
		}
		encapsulation, subtrees = p.probeRoutes()
	} else {
		encapsulation = fmt.Errorf("not tried: %w", external)
		subtrees = encapsulation
	}
	const image = "linux-image-amd64 or another of Debian's kernels"
	return []feature.Feature{
		feature.Tried("ip6_tunnel in external mode", explain("ip6tnl", external, ErrNoTunnels), feature.Feature{OpenWrt: "kmod-ip6-tunnel", Debian: image}),
		feature.Tried("routes with encapsulation", encapsulation, feature.Feature{
			Instead: "agents' tunnels in user space", OpenWrt: "an image with CONFIG_LWTUNNEL", Debian: image,
		}),
		feature.Tried("routes by source prefix", subtrees, feature.Feature{
			Instead: "mobiles' tunnels in user space", OpenWrt: "an image with CONFIG_IPV6_SUBTREES", Debian: image,
		}),
		feature.Tried("nftables sets that count", probeSets(), feature.Feature{OpenWrt: "kmod-nft-core", Debian: image}),
		feature.Tried("routes by XFRM (hao, route2)", cmp.Or(xfrmro.Try(), tun.TrySpared()), feature.Feature{
			Instead: "optimised routes in user space", OpenWrt: "an image with CONFIG_XFRM_USER, CONFIG_IPV6_MIP6 and CONFIG_BPF_SYSCALL", Debian: image,
		}),
	}, nil
}

// probeRoutes tries a route with encapsulation and one by source.
func (p *path) probeRoutes() (encapsulation, subtrees error) {
	if err := p.commitAll("set the device up", p.external.up("")); err != nil {
		return err, err
	}
	to := probePrefix
	r := route{to: to, table: unix.RT_TABLE_MAIN, metric: 1, device: p.external.index}
	r.path.Local, r.path.Remote = to.Addr().Next(), to.Addr().Next().Next()
	encapsulation = explain("route", p.commitAll("route with encapsulation", []rtbatch.Request{r.add(p.under.RouteProtocol)}), ErrNoEncapsulation)
	s := route{from: to, table: unix.RT_TABLE_MAIN, metric: routeMetric, device: p.external.index}
	return encapsulation, p.commitAll("route by source", []rtbatch.Request{s.add(p.under.RouteProtocol)})
}

// probeSets makes the table of a node with everything.
func probeSets() error {
	s, err := nft.Open()
	if err != nil {
		return explain("nftables", err, ErrNoSets)
	}
	defer s.Close()
	p := path{nft: s, external: link{name: "probe-k"}, left: 2}
	p.under.Sorted = 1
	if err := p.reshape(shape{agent: []int{128, 64}, mobile: []int{128, 64}, yields: true, watch: true}); err != nil {
		return explain("nftables table", err, ErrNoSets)
	}
	return nil
}
