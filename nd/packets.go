package nd

import (
	"slices"

	"roam6/mip6"
)

// packets divides the advertisement into as many as its options need: none may be
// longer than what fits every link, because neighbour discovery is not fragmented
// (RFC 6980), and a router may send its options in several advertisements
// (RFC 4861 §6.2.3). Each has the same fields, the options that are single and those
// that say what the others belong to (RFC 6775 §4.3), so that it misleads nobody who
// hears it alone; and the first prefix with the router's address, where there is one
// (RFC 6275 §7.2). The options that may come several times are divided in the order of
// Append. Only an option that is too long by itself makes a packet that is too long.
func (ra RouterAdvertisement) packets() []RouterAdvertisement {
	if len(ra.Append(nil)) <= maxAdvertisement {
		return []RouterAdvertisement{ra}
	}
	common := ra
	common.Prefixes, common.Anchors, common.Routes, common.DNSServers, common.DNSSearch = nil, nil, nil, nil, nil
	common.NAT64, common.CaptivePortal, common.Contexts, common.Others = nil, "", nil, nil
	if i := slices.IndexFunc(ra.Prefixes, func(p mip6.PrefixInformation) bool { return p.RouterAddress }); i >= 0 {
		common.Prefixes = slices.Clip(slices.Clone(ra.Prefixes[i : i+1]))
		ra.Prefixes = slices.Delete(slices.Clone(ra.Prefixes), i, i+1)
	}
	base := len(common.Append(nil))
	d := division{packets: []RouterAdvertisement{common}, common: common, base: base, used: base}
	divide(&d, ra.Prefixes, func(r *RouterAdvertisement, o mip6.PrefixInformation) { r.Prefixes = append(r.Prefixes, o) })
	divide(&d, ra.Anchors, func(r *RouterAdvertisement, o mip6.MobilityAnchorPoint) { r.Anchors = append(r.Anchors, o) })
	divide(&d, ra.Routes, func(r *RouterAdvertisement, o RouteInformation) { r.Routes = append(r.Routes, o) })
	divide(&d, ra.DNSServers, func(r *RouterAdvertisement, o RecursiveDNS) { r.DNSServers = append(r.DNSServers, o) })
	divide(&d, ra.DNSSearch, func(r *RouterAdvertisement, o DNSSearch) { r.DNSSearch = append(r.DNSSearch, o) })
	divide(&d, ra.NAT64, func(r *RouterAdvertisement, o NAT64Prefix) { r.NAT64 = append(r.NAT64, o) })
	d.take(len(appendCaptivePortal(nil, ra.CaptivePortal))).CaptivePortal = ra.CaptivePortal
	divide(&d, ra.Contexts, func(r *RouterAdvertisement, o Context) { r.Contexts = append(r.Contexts, o) })
	divide(&d, ra.Others, func(r *RouterAdvertisement, o RawOption) { r.Others = append(r.Others, o) })
	return d.packets
}

// division is an advertisement while it is divided.
type division struct {
	packets []RouterAdvertisement
	common  RouterAdvertisement // what each of them has, of base octets; its lists are full
	base    int
	used    int // octets of the last packet
}

// take returns the packet that has room for an option of n octets.
func (d *division) take(n int) *RouterAdvertisement {
	if d.used+n > maxAdvertisement && d.used > d.base {
		d.packets = append(d.packets, d.common)
		d.used = d.base
	}
	d.used += n
	return &d.packets[len(d.packets)-1]
}

func divide[T wireOption](d *division, list []T, add func(*RouterAdvertisement, T)) {
	for _, o := range list {
		add(d.take(len(o.Append(nil))), o)
	}
}
