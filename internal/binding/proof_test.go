package binding

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"roam6/mip6"
)

var (
	proofHome   = netip.MustParseAddr("2001:db8::1")
	proofCareOf = netip.MustParseAddr("2001:db8:1::1")
	proofSource = netip.MustParseAddr("2001:db8:2::1")
	proofSA     = mip6.SecurityAssociation{SPI: 1000, Key: mip6.SharedKey{1}}
)

// RFC 6275 §9.5.1 and RFC 4285 §6: which status a stale update gets, and that one that
// is not fresh changes nothing.
func TestTake(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	stamp := func(s mip6.Sequence, at time.Duration) Proof {
		return Proof{Sequence: s, Timestamped: true, Timestamp: mip6.TimestampFrom(now.Add(at))}
	}
	var f Freshness
	for i, step := range []struct {
		proof    Proof
		demanded bool
		want     mip6.Status
	}{
		{Proof{Sequence: 5}, true, mip6.StatusMessageIDRequired},
		{Proof{Sequence: 5}, false, mip6.StatusAccepted},
		{Proof{Sequence: 5}, false, mip6.StatusSequenceOutOfWindow},
		{stamp(5, 0), false, mip6.StatusAccepted},
		{stamp(6, 0), true, mip6.StatusIDMismatch},
		{stamp(6, time.Minute), true, mip6.StatusIDMismatch},
		{Proof{Sequence: 7}, false, mip6.StatusAccepted},
		{stamp(8, time.Second), true, mip6.StatusAccepted},
		{Proof{Sequence: 8}, false, mip6.StatusSequenceOutOfWindow},
	} {
		if got := f.Take(step.proof, now, 7*time.Second, step.demanded); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

// An update that is refused since it is of the future is not fresh either when its time
// comes, nor is one that was accepted before the time of day was set back; a mobile that
// has begun anew meanwhile is told its sequence number, and one that has its time from us
// is asked for nothing. Later on timestamps are enough again.
//
// Covers: Attack: replay.
func TestTakeOfTheFuture(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const years = 20 * 365 * 24 * time.Hour
	for name, first := range map[string]struct {
		ahead time.Duration // the mobile's clock
		clock time.Duration // ours at that time
		want  mip6.Status
	}{
		"the mobile's clock is fast by a minute": {time.Minute, 0, mip6.StatusIDMismatch},
		"by years":                               {years, 0, mip6.StatusIDMismatch},
		"ours was fast":                          {time.Hour, time.Hour, mip6.StatusAccepted},
		"ours was fast by years":                 {years, years, mip6.StatusAccepted},
	} {
		stamp := func(s mip6.Sequence, at time.Duration) Proof {
			return Proof{Sequence: s, Timestamped: true, Timestamp: mip6.TimestampFrom(now.Add(at))}
		}
		var f Freshness
		take := func(what string, p Proof, at time.Duration, want mip6.Status) {
			t.Helper()
			// What is remembered outlives the process.
			m, err := ParseMemory(Memory{Home: proofHome, Updated: now, Fresh: f}.Append(nil, now), now)
			if err != nil || m.Fresh != f {
				t.Fatalf("%s: %+v is kept as %+v, %v", name, f, m.Fresh, err)
			}
			if got := f.Take(p, now.Add(at), 7*time.Second, true); got != want {
				t.Errorf("%s, %s: %v, want %v", name, what, got, want)
			}
		}
		recorded := stamp(10, first.ahead)
		take("at first", recorded, first.clock, first.want)
		take("with our time", stamp(11, time.Second), time.Second, mip6.StatusAccepted)
		take("a node that begins anew", stamp(3, 2*time.Second), 2*time.Second, mip6.StatusSequenceOutOfWindow)
		take("it has its number", stamp(12, 3*time.Second), 3*time.Second, mip6.StatusAccepted)
		take("recorded, when its time comes", recorded, first.ahead-time.Second, mip6.StatusSequenceOutOfWindow)
		take("after that time", stamp(13, first.ahead+time.Second), first.ahead+time.Second, mip6.StatusAccepted)
		take("a node that begins anew after that time", stamp(3, first.ahead+2*time.Second), first.ahead+2*time.Second, mip6.StatusAccepted)
		take("recorded", recorded, first.ahead+2*time.Second, mip6.StatusIDMismatch)
	}
}

// RFC 4285 §5.1: the authenticator is taken over the care-of address or the source, and
// over nothing else; the answer says which.
func TestVerify(t *testing.T) {
	for _, tt := range []struct {
		over, sealed netip.Addr
		err          error
	}{
		{proofCareOf, proofCareOf, nil},
		{proofSource, proofSource, nil},
		{proofHome, proofCareOf, mip6.ErrBadAuthenticator},
	} {
		bu, err := proofSA.Seal(mip6.BindingUpdate{Sequence: 1}, tt.over, proofHome)
		if err != nil {
			t.Fatal(err)
		}
		mh, err := mip6.AppendMessage(nil, proofHome, proofCareOf, bu)
		if err != nil {
			t.Fatal(err)
		}
		if sealed, err := Verify(proofSA, mh, proofCareOf, proofSource, proofHome); !errors.Is(err, tt.err) || sealed != tt.sealed {
			t.Errorf("sealed over %v: %v, %v", tt.over, sealed, err)
		}
		other := mip6.SecurityAssociation{SPI: 1001, Key: proofSA.Key}
		if _, err := Verify(other, mh, proofCareOf, proofSource, proofHome); !errors.Is(err, mip6.ErrUnknownSPI) {
			t.Errorf("another SPI: %v", err)
		}
	}
}

// What an acknowledgement says, sealed and not (RFC 6275 §10.3.1, RFC 4285 §6).
func TestAnswer(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	old := mip6.TimestampFrom(now.Add(-time.Hour))
	a := Answer{Status: mip6.StatusIDMismatch, Flags: mip6.AckMobileRouter, Sequence: 7, Granted: 15, Proof: Proof{Timestamped: true, Timestamp: old}}
	for _, sa := range []*mip6.SecurityAssociation{nil, &proofSA} {
		m, err := a.Message(now, sa, proofCareOf, proofHome)
		if err != nil {
			t.Fatal(err)
		}
		ba := m.(mip6.BindingAcknowledgement)
		advice, _ := mip6.Find[mip6.RefreshAdvice](ba)
		replay, _ := mip6.Find[mip6.ReplayProtection](ba)
		if ba.Status != a.Status || ba.Flags != a.Flags || ba.Sequence != 7 || ba.Lifetime != 15 ||
			advice.Interval != RefreshInterval(15) || replay.Timestamp != MismatchTimestamp(old, now) {
			t.Errorf("%+v", ba)
		}
		mh, err := mip6.AppendMessage(nil, proofCareOf, proofHome, ba)
		if err != nil {
			t.Fatal(err)
		}
		if err := proofSA.Verify(mh, proofCareOf, proofHome); (err == nil) != (sa != nil) {
			t.Errorf("sealed: %v", err)
		}
	}
	m, err := Answer{}.Message(now, nil, proofCareOf, proofHome)
	if err != nil || len(m.MobilityOptions()) != 0 {
		t.Errorf("%v, %+v", err, m)
	}
}
