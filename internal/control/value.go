package control

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Milliseconds is a duration that is a number of milliseconds in JSON, with a
// fraction to the microsecond.
type Milliseconds time.Duration

// Seconds is a duration that is a number of seconds in JSON, with a fraction
// to the millisecond.
type Seconds time.Duration

// MarshalJSON rounds to the microsecond.
func (m Milliseconds) MarshalJSON() ([]byte, error) {
	return appendScaled(nil, time.Duration(m), time.Millisecond, time.Microsecond), nil
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (m *Milliseconds) UnmarshalJSON(b []byte) error {
	d, err := parseScaled(b, time.Millisecond)
	*m = Milliseconds(d)
	return err
}

// MarshalJSON rounds to the millisecond.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return appendScaled(nil, time.Duration(s), time.Second, time.Millisecond), nil
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	d, err := parseScaled(b, time.Second)
	*s = Seconds(d)
	return err
}

func appendScaled(b []byte, d, unit, resolution time.Duration) []byte {
	return strconv.AppendFloat(b, float64(d.Round(resolution))/float64(unit), 'f', -1, 64)
}

func parseScaled(b []byte, unit time.Duration) (time.Duration, error) {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return 0, err
	}
	f = math.Round(f * float64(unit))
	if math.Abs(f) >= math.MaxInt64 {
		return 0, fmt.Errorf("%s: longer than a duration can be", b)
	}
	return time.Duration(f), nil
}

// Time is a moment: RFC 3339 in UTC with a fraction to the microsecond, fine
// enough to hold the timeline of a handover against other observations.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.000000Z"

// MarshalJSON cuts to the microsecond.
func (t Time) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(timeLayout)+2)
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, timeLayout)
	return append(b, '"'), nil
}
