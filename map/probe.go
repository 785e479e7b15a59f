package anchor

import (
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
)

// probe is duplicate address detection in progress (RFC 6275 §10.3.1, RFC 4862 §5.4)
// and the newest binding update that waits for it.
type probe struct {
	update update
	sent   int // solicitations
}

func (a *Anchor) startProbe(e *binding.Entry, r *regional, u *update) {
	r.probe = &probe{update: *u}
	a.continueProbe(e, r)
}

// continueProbe sends the next solicitation, or ends the detection with success when
// the last one was not answered.
func (a *Anchor) continueProbe(e *binding.Entry, r *regional) {
	if !a.link.Up {
		// Nothing can be probed now; the mobile will ask again.
		a.endProbe(e, r, mip6.StatusInsufficientResources)
		return
	}
	if r.probe.sent < a.config.DupAddrDetectTransmits {
		r.probe.sent++
		a.do(role.ProbeAddress{Link: a.link.Index, Addr: e.Home})
		a.bindings.Wake(e, a.now.Add(a.config.RetransTimer))
		return
	}
	// What the newest update may have was judged when it came; Reconfigure ends what a
	// new configuration does not permit.
	u := r.probe.update
	a.activate(e, r, &u)
}

// endProbe gives up a registration and tells the mobile.
func (a *Anchor) endProbe(e *binding.Entry, r *regional, status mip6.Status) {
	u := r.probe.update
	a.forget(e, r)
	a.refuse(r, &u, status)
}

// neighborHeard looks whether somebody on the link uses an address that is probed or
// defended.
func (a *Anchor) neighborHeard(n role.NeighborHeard) {
	r := a.held[n.Target]
	if r == nil || a.link.Index == 0 || n.Link != a.link.Index {
		return
	}
	e := a.bindings.Get(n.Target)
	if e.State == binding.Probing {
		// RFC 4862 §5.4.3, §5.4.4: an advertisement, or another's probe.
		a.counts.Duplicates++
		a.endProbe(e, r, mip6.StatusDuplicateAddress)
		return
	}
	// Somebody has taken the address: RFC 6275 leaves the binding as it is.
	a.counts.Conflicts++
	if a.conflicts.Allow(a.now, complaints) {
		a.log(slog.LevelWarn, "regional care-of address in use on its link", slog.String("visitor", r.visitor.Name),
			slog.Any("regional_care_of", r.addr), slog.Any("from", n.From))
	}
}

// defend answers for the address of a mobile (RFC 5380 §6.2, RFC 6275 §10.4.1).
func (a *Anchor) defend(e *binding.Entry) {
	if a.link.Index != 0 {
		a.do(role.DefendAddress{Link: a.link.Index, Addr: e.Home})
	}
}

func (a *Anchor) undefend(addr netip.Addr) {
	if a.link.Index != 0 {
		a.do(role.UndefendAddress{Link: a.link.Index, Addr: addr})
	}
}

// announce sends the unsolicited advertisement that is due.
func (a *Anchor) announce(e *binding.Entry, r *regional) {
	if r.announcements.Take(a.now) && a.link.Up {
		a.do(role.AnnounceAddress{Link: a.link.Index, Addr: e.Home})
	}
}

// findLink looks for the link of the regional care-of addresses among the links,
// after one has changed or the configuration has. A link that came back is told again
// whom it hosts.
func (a *Anchor) findLink() {
	before := a.link
	a.link = role.Link{}
	for _, l := range a.links {
		if l.Name == a.config.Link && a.config.Link != "" && l.Index > a.link.Index {
			a.link = l
		}
	}
	moved := a.link.Index != before.Index
	if a.link.Index == 0 || !moved && (before.Up || !a.link.Up) {
		return
	}
	told := 0
	for _, e := range a.bindings.Sorted() {
		r := a.held[e.Home]
		if e.State == binding.Probing {
			if moved {
				r.probe.sent = 0 // what was sent was on another link
			}
			continue
		}
		if moved {
			a.defend(e)
		}
		r.announcements.Again(a.now.Add(time.Duration(told) * announcementSpread))
		a.schedule(e, r)
		told++
	}
}
