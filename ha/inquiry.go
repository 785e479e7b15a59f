package ha

import (
	"time"

	"roam6/internal/binding"
	"roam6/internal/deadline"
	"roam6/internal/role"
)

// A home address that this agent has not defended for a while, since its process was away
// or the home link, may have gone to somebody else meanwhile: the mobile has registered
// with another home agent of the link, or is at home. Announcing it would draw the
// mobile's packets here, to a care-of address that it may have left. So the link is asked
// first, as in duplicate address detection (RFC 4862 §5.4). What answers has the address
// for a newer reason than ours, and the binding ends; without an answer the address is
// announced. It is forwarded and defended meanwhile: packets that still come here come to
// the newest care-of address that this agent knows.

// inquiry is such a question for a home address. The zero value is none.
type inquiry struct {
	at   time.Time // when the next solicitation is due, or the last one is unanswered
	sent int
}

func (q inquiry) pending() bool { return !q.at.IsZero() }

// inquire asks for the addresses of active entries, a little apart.
func (a *Agent) inquire(entries []*binding.Entry) {
	for i, e := range entries {
		h := a.homes[e.Home]
		h.inquiry = inquiry{at: a.now.Add(time.Duration(i) * announcementSpread)}
		a.schedule(e, h)
	}
}

// continueInquiry does what is due for an active entry.
func (a *Agent) continueInquiry(e *binding.Entry, h *home) {
	switch {
	case !deadline.Due(a.now, h.inquiry.at):
	case !a.link.Up: // it is asked when it comes back
		h.inquiry = inquiry{}
	case h.inquiry.sent < a.config.DupAddrDetectTransmits:
		a.do(role.ProbeAddress{Link: a.link.Index, Addr: e.Home})
		h.inquiry = inquiry{at: a.now.Add(a.config.RetransTimer), sent: h.inquiry.sent + 1}
	default:
		a.confirm(h)
	}
}

// confirm ends the question: the address is the agent's to announce.
func (a *Agent) confirm(h *home) {
	if h.inquiry.pending() {
		h.inquiry = inquiry{}
		h.announcements.Again(a.now)
	}
}

// answered reports whether a neighbour's claim of an address answers the question. A
// solicitation does not: who asks does not have the address.
func (q inquiry) answered(n role.NeighborHeard) bool { return q.pending() && !n.Solicitation }
