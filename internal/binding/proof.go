package binding

import (
	"errors"
	"net/netip"
	"time"

	"roam6/mip6"
)

// Proof is what a binding update brings to show that it is fresh: always a
// sequence number, and a timestamp where the mobile node sends one (RFC 4285 §6).
type Proof struct {
	Sequence    mip6.Sequence
	Timestamped bool
	Timestamp   mip6.Timestamp
}

// ProofOf reads the proof of a binding update.
func ProofOf(bu mip6.BindingUpdate) Proof {
	p := Proof{Sequence: bu.Sequence}
	if replay, ok := mip6.Find[mip6.ReplayProtection](bu); ok {
		p.Timestamp, p.Timestamped = replay.Timestamp, true
	}
	return p
}

// Take judges whether an authentic update is fresh, and remembers it if so, or if it is
// one that might seem fresh later. now is
// the time of day, window how far a timestamp may be from it, and demanded tells
// that an update needs one. The status is accepted, or that of the answer: 144,
// 145 (RFC 4285 §6) or 135 (RFC 6275 §9.5.1).
func (f *Freshness) Take(p Proof, now time.Time, window time.Duration, demanded bool) mip6.Status {
	switch {
	case p.Timestamped:
		switch err := f.CheckTimestamp(p.Timestamp, p.Sequence, now, window); {
		case errors.Is(err, ErrSequence):
			return mip6.StatusSequenceOutOfWindow
		case err != nil:
			f.refuse(p.Timestamp, p.Sequence, now, window)
			return mip6.StatusIDMismatch
		}
		f.AcceptTimestamp(p.Timestamp, p.Sequence)
	case demanded:
		return mip6.StatusMessageIDRequired
	default:
		if f.CheckSequence(p.Sequence) != nil {
			return mip6.StatusSequenceOutOfWindow
		}
		f.AcceptSequence(p.Sequence)
	}
	return mip6.StatusAccepted
}

// Verify checks the authenticator of a binding update in its octets, mh, over the
// care-of address the update asks for or, where that is an alternate one, over the
// source of the packet: RFC 4285 §5.1 says "care-of address" and mobiles read it
// either way. It returns the one that was covered, over which the answer is to be
// sealed. The errors are those of mip6.SecurityAssociation.Verify.
func Verify(sa mip6.SecurityAssociation, mh []byte, careOf, source, home netip.Addr) (sealed netip.Addr, err error) {
	err = sa.Verify(mh, careOf, home)
	if errors.Is(err, mip6.ErrBadAuthenticator) && source != careOf && sa.Verify(mh, source, home) == nil {
		return source, nil
	}
	return careOf, err
}
