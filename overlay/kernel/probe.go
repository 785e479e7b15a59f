package kernel

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/rtnl/rtbatch"
)

// Feature is something of the kernel that this engine uses.
type Feature struct {
	Name string
	// Missing is why it is not there, nil if it is.
	Missing error
	// Required: the engine does not open without it. Otherwise Instead is what is done.
	Required bool
	Instead  string
	// OpenWrt and Debian are what to install to have it.
	OpenWrt, Debian string
}

// Probe tries what the kernel can, in a network namespace of its own, so that nothing
// changes in the caller's. It needs CAP_SYS_ADMIN for that; err is not nil if it cannot
// try.
func Probe() (features []Feature, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("network namespace for trying the kernel's features: %w", err)
			return
		}
		features, err = probe()
	}()
	<-done
	return features, err
}

func probe() ([]Feature, error) {
	const instead = "the engine in user space"
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
	return []Feature{
		{
			Name: "ip6_tunnel: tunnels of IPv6 in IPv6, in external mode", Missing: explain("ip6tnl", external, ErrNoTunnels), Required: true,
			Instead: instead, OpenWrt: "kmod-ip6-tunnel", Debian: "linux-image-amd64 or another of Debian's kernels",
		},
		{
			Name: "lightweight tunnels: a route for each binding", Missing: encapsulation, Instead: "agents' tunnels " + instead,
			OpenWrt: "(CONFIG_LWTUNNEL of the image)", Debian: "linux-image-amd64 or another of Debian's kernels",
		},
		{
			Name: "source routing: routes by source prefix", Missing: subtrees, Instead: "mobiles' tunnels " + instead,
			OpenWrt: "(CONFIG_IPV6_SUBTREES of the image)", Debian: "linux-image-amd64 or another of Debian's kernels",
		},
		{
			Name: "nftables: sets that count, marks and header changes", Missing: probeSets(), Required: true,
			Instead: instead, OpenWrt: "kmod-nft-core", Debian: "linux-image-amd64 or another of Debian's kernels",
		},
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

// Missing joins what is missing of what the engine cannot do without.
func Missing(features []Feature) error {
	var all []error
	for _, f := range features {
		if f.Required && f.Missing != nil {
			all = append(all, fmt.Errorf("%s: %w", f.Name, f.Missing))
		}
	}
	return errors.Join(all...)
}
