package binding

import (
	"net/netip"
	"time"

	"roam6/mip6"
)

// Answer is what a binding acknowledgement says.
type Answer struct {
	Status   mip6.Status
	Flags    mip6.AckFlags
	Sequence mip6.Sequence
	Granted  mip6.Lifetime // zero: no binding
	Proof    Proof         // of the update that is answered
}

// Message makes the acknowledgement: with a refresh advice where one is worth it,
// and a timestamp where the update had one, corrected by the time of day if it was
// not valid (RFC 4285 §6). It is sealed over these addresses (RFC 4285 §5.1) unless
// sa is nil.
func (a Answer) Message(now time.Time, sa *mip6.SecurityAssociation, sealed, home netip.Addr) (mip6.Message, error) {
	ba := mip6.BindingAcknowledgement{Status: a.Status, Flags: a.Flags, Sequence: a.Sequence, Lifetime: a.Granted}
	if interval := RefreshInterval(a.Granted); interval != 0 {
		ba.Options = append(ba.Options, mip6.RefreshAdvice{Interval: interval})
	}
	if a.Proof.Timestamped {
		t := a.Proof.Timestamp
		if a.Status == mip6.StatusIDMismatch {
			t = MismatchTimestamp(t, now)
		}
		ba.Options = append(ba.Options, mip6.ReplayProtection{Timestamp: t})
	}
	if sa == nil {
		return ba, nil
	}
	return sa.Seal(ba, sealed, home)
}
