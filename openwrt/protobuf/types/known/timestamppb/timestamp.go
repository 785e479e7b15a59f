// Package timestamppb has the point in time of its namesake.
package timestamppb

import (
	"errors"
	"fmt"
	"time"
)

// Timestamp is a point in time: seconds since 1970, and nanoseconds behind those.
type Timestamp struct {
	Seconds int64
	Nanos   int32
}

// New returns that of t.
func New(t time.Time) *Timestamp {
	return &Timestamp{Seconds: t.Unix(), Nanos: int32(t.Nanosecond())}
}

// AsTime returns it in UTC; nil is the beginning of 1970.
func (t *Timestamp) AsTime() time.Time {
	if t == nil {
		return time.Unix(0, 0).UTC()
	}
	return time.Unix(t.Seconds, int64(t.Nanos)).UTC()
}

// The range of a timestamp: the years 1 to 9999.
const (
	first = -62135596800 // 0001-01-01T00:00:00Z
	last  = 253402300799 // 9999-12-31T23:59:59Z
)

// CheckValid returns an error for what is no timestamp, or out of range.
func (t *Timestamp) CheckValid() error {
	switch {
	case t == nil:
		return errors.New("no timestamp")
	case t.Seconds < first || t.Seconds > last || t.Nanos < 0 || t.Nanos >= 1e9:
		return fmt.Errorf("timestamp of %d s and %d ns is out of range", t.Seconds, t.Nanos)
	default:
		return nil
	}
}
