package trace

import "encoding/hex"

// octets are hexadecimal in JSON, as `roam6 decode` takes them.
type octets []byte

// MarshalText implements encoding.TextMarshaler.
func (o octets) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, o), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *octets) UnmarshalText(text []byte) error {
	b, err := hex.AppendDecode(nil, text)
	*o = b
	return err
}
