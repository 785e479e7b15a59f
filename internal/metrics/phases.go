package metrics

import (
	"time"

	"roam6/internal/role"
)

// Phases of a handover. Each lasts from the latest moment before it that
// happened; together they are the total.
const (
	phaseLink        = "link"        // until the carrier came
	phaseSolicit     = "solicit"     // until the router solicitation was sent
	phaseAdvertise   = "advertise"   // until the new router's advertisement
	phaseConfigure   = "configure"   // until the care-of address was usable
	phaseUpdate      = "update"      // until the binding update was sent
	phaseAcknowledge = "acknowledge" // until its acknowledgement
	phaseTotal       = "total"
)

func phaseNames() []string {
	return []string{phaseLink, phaseSolicit, phaseAdvertise, phaseConfigure, phaseUpdate, phaseAcknowledge, phaseTotal}
}

// durations returns the time that each phase took; one that did not happen is
// absent.
func durations(h role.Handover) map[string]time.Duration {
	d := make(map[string]time.Duration, len(phaseNames()))
	last := h.Start
	for _, p := range [...]struct {
		name string
		end  time.Time
	}{
		{phaseLink, h.LinkUp},
		{phaseSolicit, h.Solicited},
		{phaseAdvertise, h.Advertised},
		{phaseConfigure, h.CareOf},
		{phaseUpdate, h.Updated},
		{phaseAcknowledge, h.Acknowledged},
	} {
		if p.end.IsZero() {
			continue
		}
		// What was already there when the phase began (a care-of address that
		// was kept) took no time.
		d[p.name] = max(p.end.Sub(last), 0)
		if p.end.After(last) {
			last = p.end
		}
	}
	if !h.Acknowledged.IsZero() {
		d[phaseTotal] = max(h.Acknowledged.Sub(h.Start), 0)
	}
	return d
}
