package control

import (
	"net/netip"
	"time"

	"roam6/internal/role"
)

// Handovers are the last moves of the mobiles of a daemon, the oldest first.
type Handovers struct {
	Handovers []Handover `json:"handovers"`
}

// Handover is the timeline of one move.
type Handover struct {
	HomeAddress netip.Addr  `json:"home_address"`
	From        *Attachment `json:"from"` // null: nowhere
	To          *Attachment `json:"to"`
	Trigger     string      `json:"trigger"`
	// Start is the event that began the move.
	Start Time         `json:"start"`
	Age   Milliseconds `json:"age_ms"` // since Start
	// Phases are counted from Start; null is what did not happen.
	Phases Phases `json:"phases_ms"`
	// Total is from Start to the acknowledgement; null without one.
	Total *Milliseconds `json:"total_ms"`
	// Updates is how many binding updates it took, retransmissions included.
	Updates int `json:"updates"`
}

// Phases are the points of a handover's timeline.
type Phases struct {
	LinkUp       *Milliseconds `json:"link_up"`      // the carrier came
	Solicited    *Milliseconds `json:"solicited"`    // router solicitation sent
	Advertised   *Milliseconds `json:"advertised"`   // router advertisement of the new router
	CareOf       *Milliseconds `json:"care_of"`      // new care-of address usable
	Updated      *Milliseconds `json:"updated"`      // first binding update sent
	Acknowledged *Milliseconds `json:"acknowledged"` // binding acknowledgement accepted
}

// HandoverOf converts a handover as seen at a moment.
func HandoverOf(h role.Handover, now time.Time) Handover {
	since := func(t time.Time) *Milliseconds {
		if t.IsZero() {
			return nil
		}
		m := Milliseconds(t.Sub(h.Start))
		return &m
	}
	return Handover{
		HomeAddress: h.Home, From: attachmentOf(h.From), To: attachmentOf(h.To), Trigger: h.Trigger.String(),
		Start: Time{h.Start}, Age: ageOf(now, h.Start),
		Phases: Phases{
			LinkUp: since(h.LinkUp), Solicited: since(h.Solicited), Advertised: since(h.Advertised),
			CareOf: since(h.CareOf), Updated: since(h.Updated), Acknowledged: since(h.Acknowledged),
		},
		Total: since(h.Acknowledged), Updates: h.Updates,
	}
}

// Role converts back, to the microsecond. A trigger that this version does not
// know is zero.
func (h Handover) Role() role.Handover {
	at := func(m *Milliseconds) time.Time {
		if m == nil {
			return time.Time{}
		}
		return h.Start.Add(time.Duration(*m))
	}
	return role.Handover{
		Home: h.HomeAddress, From: h.From.role(), To: h.To.role(), Trigger: parseTrigger(h.Trigger),
		Start: h.Start.Time, LinkUp: at(h.Phases.LinkUp), Solicited: at(h.Phases.Solicited),
		Advertised: at(h.Phases.Advertised), CareOf: at(h.Phases.CareOf), Updated: at(h.Phases.Updated),
		Acknowledged: at(h.Phases.Acknowledged), Updates: h.Updates,
	}
}

func parseTrigger(s string) role.Trigger {
	for t := role.TriggerStart; t.String() != role.Trigger(0).String(); t++ {
		if t.String() == s {
			return t
		}
	}
	return 0
}
