package mr

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// TestRandom: whatever happens in whatever order, no interface is numbered from a
// prefix that is not leased or is refused, all that is leased is in the tunnel, the
// route to the home agent is that of the tunnel, and a stop leaves nothing.
func TestRandom(t *testing.T) {
	statuses := []mip6.Status{mip6.StatusAccepted, mip6.StatusAccepted, mip6.StatusAccepted, mip6.StatusNotAuthorizedForPrefix,
		mip6.StatusInvalidPrefix, mip6.StatusForwardingSetupFailed, mip6.StatusRouterNotPermitted, mip6.StatusReasonUnspecified}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		d := newDelegating(t, func(c *Config) {
			c.Mode = []Mode{Explicit, Implicit}[r.IntN(2)]
			c.HomeAgents = []netip.Addr{agent, another}[:1+r.IntN(2)]
			c.Prefixes = []netip.Prefix{prefix, second}[:r.IntN(3)]
		})
		d.valid = time.Duration(60+r.IntN(300)) * time.Second
		carriers := uint32(0)
		link := func(up bool) {
			carriers++
			d.do(role.LinkChanged{Link: role.Link{Index: 1, Name: "up0", Up: up, Carriers: carriers, Ethernet: [6]byte{2, 0, 0, 0, 0, 7}}})
		}
		link(true)
		for range 150 {
			switch n := r.IntN(100); {
			case n < 15:
				link(r.IntN(4) > 0)
			case n < 30:
				d.do(advertisement("fe80::a1", "2001:db8:a1::/64"))
			case n < 40:
				d.do(advertisement("fe80::a2", "2001:db8:a2::/64"))
			case n < 45:
				d.do(advertisement("fe80::1", "2001:db8:10::/64"))
			case n < 75:
				if slices.ContainsFunc(d.all, func(a role.Action) bool { _, ok := a.(role.Send); return ok }) {
					d.carryOut(d.answer(statuses[r.IntN(len(statuses))], []mip6.AckFlags{mip6.AckMobileRouter, mip6.AckMobileRouter, 0}[r.IntN(3)]))
				}
			case n < 80:
				d.prefixes = []netip.Prefix{delegated, netip.MustParsePrefix("2001:db8:e00::/60")}[:r.IntN(3)]
			case n < 83:
				c := d.router.config
				c.Prefixes = []netip.Prefix{prefix, second}[:r.IntN(3)]
				did := d.router.Reconfigure(d.now, c)
				d.all = append(d.all, did...)
				d.carryOut(did)
			default:
				d.now = d.now.Add(time.Duration(r.IntN(40)) * time.Second)
				d.do(role.Timeout{})
			}
			d.checkRandom(seed)
		}
		d.do(role.Stop{})
		for !d.router.Done() {
			d.now = d.router.Next()
			d.do(role.Timeout{})
		}
		if len(d.numbered)+len(d.routes) > 0 || d.inner != nil || !d.router.Next().IsZero() {
			t.Errorf("seed %d leaves %v, %v, %v", seed, d.numbered, d.routes, d.inner)
		}
		if t.Failed() {
			return
		}
	}
}

func (d *delegating) checkRandom(seed uint64) {
	d.Helper()
	r := d.router
	for s := range d.numbered {
		if !slices.ContainsFunc(r.delegation.leases, func(l lease) bool { return l.prefix.Overlaps(s.prefix) && r.usable(l.prefix) }) {
			d.Errorf("seed %d: %v is numbered, leases %v, refused %v", seed, s, r.delegation.leases, r.unusable)
		}
	}
	place := r.node.Place()
	if place.CareOf.IsValid() && d.inner != nil && !slices.Equal(d.inner[1:], r.inner()) {
		d.Errorf("seed %d: tunnel of %v, networks %v", seed, d.inner, r.inner())
	}
	if want := place.CareOf.IsValid() && place.Bound; want != (len(d.routes) == 1) || len(d.routes) > 1 {
		d.Errorf("seed %d: at %+v with routes %v", seed, place, d.routes)
	}
	for pair, route := range d.routes {
		if pair.Peer != place.Agent || route.CareOf != place.CareOf {
			d.Errorf("seed %d: at %+v with route %v", seed, place, route)
		}
	}
	if next := r.Next(); next.IsZero() && len(r.delegation.leases) > 0 {
		d.Errorf("seed %d: leases, and nothing to wait for", seed)
	}
}
