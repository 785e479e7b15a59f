package binding

import (
	"errors"
	"testing"
	"time"

	"roam6/mip6"
)

// RFC 6275 §9.5.1: with 15 accepted last, 0 through 15 and 32783 through 65535
// are less than or equal.
func TestSequenceWindow(t *testing.T) {
	var f Freshness
	if err := f.CheckSequence(40000); err != nil {
		t.Errorf("first sequence number: %v", err)
	}
	f.AcceptSequence(15)
	for s := range 1 << 16 {
		want := s > 15 && s < 32783
		if err := f.CheckSequence(mip6.Sequence(s)); (err == nil) != want {
			t.Fatalf("after 15, %d: %v", s, err)
		}
	}
	if f.Sequence() != 15 {
		t.Errorf("last accepted is %d", f.Sequence())
	}
}

// RFC 4285 §6: close enough to the time of day, and greater than all before.
func TestTimestamp(t *testing.T) {
	const window = 7 * time.Second
	at := func(d time.Duration) mip6.Timestamp { return mip6.TimestampFrom(start.Add(d)) }
	accepted := func(d time.Duration, s mip6.Sequence) (f Freshness) {
		f.AcceptTimestamp(at(d), s)
		return f
	}
	for _, tt := range []struct {
		name      string
		before    Freshness
		timestamp mip6.Timestamp
		sequence  mip6.Sequence
		want      error
	}{
		{"first", Freshness{}, at(0), 1, nil},
		{"slow clock within the window", Freshness{}, at(-7 * time.Second), 1, nil},
		{"slow clock", Freshness{}, at(-7001 * time.Millisecond), 1, ErrTimestamp},
		{"fast clock within the window", Freshness{}, at(7 * time.Second), 1, nil},
		{"fast clock", Freshness{}, at(7001 * time.Millisecond), 1, ErrTimestamp},
		{"same again", accepted(0, 1), at(0), 2, ErrTimestamp},
		{"older", accepted(0, 1), at(-time.Second), 2, ErrTimestamp},
		{"newer by the least bit", accepted(0, 1), at(0) + 1, 2, nil},
		{"newer, sequence number not used", accepted(0, 10), at(time.Second), 3, nil},
		{"epoch", Freshness{}, 0, 1, ErrTimestamp},
		// The time of day was set back by an hour since the last one.
		{"clock set back", accepted(time.Hour, 10), at(0), 11, nil},
		{"clock set back by years", accepted(20*365*24*time.Hour, 10), at(0), 11, nil},
		{"clock set forward by years, past the wrap of 2036", accepted(-20*365*24*time.Hour, 10), at(0), 3, nil},
		{"clock set back, replay", accepted(time.Hour, 10), at(0), 10, ErrSequence},
		{"within the window of a small step", accepted(5*time.Second, 10), at(0), 11, ErrTimestamp},
	} {
		err := tt.before.CheckTimestamp(tt.timestamp, tt.sequence, start, window)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// An update with a timestamp and a low sequence number does not make the
// numbers above it fresh again.
func TestTimestampKeepsSequence(t *testing.T) {
	var f Freshness
	f.AcceptSequence(100)
	f.AcceptTimestamp(mip6.TimestampFrom(start), 5)
	if err := f.CheckSequence(50); !errors.Is(err, ErrSequence) {
		t.Errorf("sequence number 50 after 100: %v", err)
	}
}

// RFC 4285 §6: the low-order 32 bits are copied, the high-order ones are ours.
func TestMismatchTimestamp(t *testing.T) {
	here := mip6.TimestampFrom(start)
	got := MismatchTimestamp(0x1234567889abcdef, start)
	if uint32(got) != 0x89abcdef || got>>32 != here>>32 {
		t.Errorf("%#x with time of day %#x", got, here)
	}
}
