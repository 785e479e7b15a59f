package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"roam6/mip6"
)

// kind is a way to write a value of type T.
type kind[T any] struct {
	// name completes "expected …" and describes the value in the documentation.
	name string
	// parse reads a value. errMalformed says no more than that it is not of
	// this kind; any other error is the reason to give.
	parse func(string) (T, error)
	// secret values are never shown.
	secret bool
}

var errMalformed = errors.New("malformed")

// expected completes "expected …" for a value that parse refused.
func (k kind[T]) expected(err error) string {
	if errors.Is(err, errMalformed) {
		return k.name
	}
	return k.name + ": " + err.Error()
}

// boolean is as UCI has it.
func boolean() kind[bool] {
	return kind[bool]{
		name: "1 or 0 (or on, true, yes, enabled; off, false, no, disabled)",
		parse: func(s string) (bool, error) {
			switch s {
			case "1", "on", "true", "yes", "enabled":
				return true, nil
			case "0", "off", "false", "no", "disabled":
				return false, nil
			default:
				return false, errMalformed
			}
		},
	}
}

// integer is a decimal number from low to high; unit is "" or what it counts.
func integer[T int | int16 | uint8 | uint16 | uint32](low, high int64, unit string) kind[T] {
	name := fmt.Sprintf("an integer from %d to %d", low, high)
	if unit != "" {
		name += " (" + unit + ")"
	}
	return kind[T]{name: name, parse: func(s string) (T, error) {
		n, err := decimal(s)
		if err != nil || n < low || n > high {
			return 0, errMalformed
		}
		return T(n), nil
	}}
}

// decimal refuses what ParseInt takes and UCI's validation does not: a plus
// sign.
func decimal(s string) (int64, error) {
	if strings.HasPrefix(s, "+") {
		return 0, errMalformed
	}
	return strconv.ParseInt(s, 10, 64)
}

// interval is a whole number of units from low to high.
func interval(low, high int64, unit time.Duration, unitName string) kind[time.Duration] {
	return kind[time.Duration]{
		name: fmt.Sprintf("an integer from %d to %d (%s)", low, high, unitName),
		parse: func(s string) (time.Duration, error) {
			n, err := decimal(s)
			if err != nil || n < low || n > high {
				return 0, errMalformed
			}
			return time.Duration(n) * unit, nil
		},
	}
}

func seconds(low, high int64) kind[time.Duration] {
	return interval(low, high, time.Second, "seconds")
}

func milliseconds(low, high int64) kind[time.Duration] {
	return interval(low, high, time.Millisecond, "milliseconds")
}

// orElse also takes one word, which stands for a value.
func orElse[T any](k kind[T], word string, value T) kind[T] {
	parse := k.parse
	k.name = "'" + word + "' or " + k.name
	k.parse = func(s string) (T, error) {
		if s == word {
			return value, nil
		}
		return parse(s)
	}
	return k
}

// choice is one word of an enumeration.
type choice[T any] struct {
	word  string
	value T
}

func oneOf[T any](choices ...choice[T]) kind[T] {
	words := make([]string, len(choices))
	for i, c := range choices {
		words[i] = c.word
	}
	return kind[T]{
		name: "one of " + strings.Join(words, ", "),
		parse: func(s string) (T, error) {
			for _, c := range choices {
				if c.word == s {
					return c.value, nil
				}
			}
			var none T
			if m := Suggest(s, words); m != "" {
				return none, fmt.Errorf("did you mean '%s'?", m)
			}
			return none, errMalformed
		},
	}
}

// portRange are the ports from first to last.
type portRange struct{ first, last uint16 }

func ports() kind[portRange] {
	one := integer[uint16](1, 65535, "")
	return kind[portRange]{
		name: "a port from 1 to 65535, or two such as 5000-5100",
		parse: func(s string) (portRange, error) {
			first, last, ranged := strings.Cut(s, "-")
			if !ranged {
				last = first
			}
			var r portRange
			var err error
			if r.first, err = one.parse(first); err != nil {
				return r, err
			}
			if r.last, err = one.parse(last); err != nil {
				return r, err
			}
			if r.last < r.first {
				return r, errors.New("the last is before the first")
			}
			return r, nil
		},
	}
}

// markMask is a firewall mark and the bits of it that count.
type markMask struct{ mark, mask uint32 }

// ownMark is the mark of the packets that roam6 itself sends.
const ownMark = 0x62750000

func mark() kind[markMask] {
	return kind[markMask]{
		name: "a mark such as 0x10, or 0x10/0xff with its mask",
		parse: func(s string) (markMask, error) {
			value, mask, masked := strings.Cut(s, "/")
			if !masked {
				mask = "0xffffffff"
			}
			var m markMask
			var err error
			if m.mark, err = word32(value); err != nil {
				return m, err
			}
			if m.mask, err = word32(mask); err != nil {
				return m, err
			}
			switch {
			case m.mask == 0:
				return m, errors.New("the mask is zero")
			case m.mark&^m.mask != 0:
				return m, errors.New("bits beyond the mask are set")
			case ownMark&m.mask == m.mark:
				return m, fmt.Errorf("roam6's own packets have the mark %#x, which this covers", uint32(ownMark))
			}
			return m, nil
		},
	}
}

// word32 reads a decimal number, or a hexadecimal one after 0x.
func word32(s string) (uint32, error) {
	base := 10
	if digits, ok := strings.CutPrefix(s, "0x"); ok {
		s, base = digits, 16
	}
	n, err := strconv.ParseUint(s, base, 32)
	if err != nil {
		return 0, errMalformed
	}
	return uint32(n), nil
}

// interfaceName is what Linux takes as the name of a device.
func interfaceName() kind[string] {
	return kind[string]{
		name: "an interface name of at most 15 characters",
		parse: func(s string) (string, error) {
			if s == "" || len(s) > 15 || s == "." || s == ".." || strings.ContainsAny(s, "/: \t\n\v\f\r") {
				return "", errMalformed
			}
			return s, nil
		},
	}
}

// sectionName is a reference to another section.
func sectionName(what string) kind[string] {
	return kind[string]{
		name: "the name of " + what + " section",
		parse: func(s string) (string, error) {
			if s == "" {
				return "", errMalformed
			}
			return s, nil
		},
	}
}

// socketPath is a path that fits into a socket address.
func socketPath() kind[string] { return absolutePath(107) }

// absolutePath is a path of at most limit octets.
func absolutePath(limit int) kind[string] {
	return kind[string]{
		name: fmt.Sprintf("an absolute path of at most %d characters", limit),
		parse: func(s string) (string, error) {
			if !strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || len(s) > limit {
				return "", errMalformed
			}
			return s, nil
		},
	}
}

// Lengths of a DHCPv6 identifier in octets: a type of two, and 1 to 128 more
// (RFC 8415 §11.1).
const minDUID, maxDUID = 2 + 1, 2 + 128

// duid is a DHCPv6 identifier.
func duid() kind[[]byte] {
	return kind[[]byte]{
		name: fmt.Sprintf("a DHCPv6 identifier (DUID) of %d to %d octets in hexadecimal, with or without colons between them", minDUID, maxDUID),
		parse: func(s string) ([]byte, error) {
			digits := s
			if strings.Contains(s, ":") {
				octets := strings.Split(s, ":")
				for _, o := range octets {
					if len(o) != 2 {
						return nil, errors.New("colons stand between octets of two digits each")
					}
				}
				digits = strings.Join(octets, "")
			}
			b, err := hex.DecodeString(digits)
			switch {
			case errors.Is(err, hex.ErrLength):
				return nil, fmt.Errorf("this has %d digits, an odd number", len(digits))
			case err != nil:
				return nil, errMalformed
			case len(b) < minDUID || len(b) > maxDUID:
				return nil, fmt.Errorf("this has %d octets", len(b))
			}
			return b, nil
		},
	}
}

// sharedKey is the key of a security association (RFC 4285 §5.1).
func sharedKey() kind[mip6.SharedKey] {
	return kind[mip6.SharedKey]{
		name:   "a key of 32 hexadecimal digits (16 octets)",
		secret: true,
		parse: func(s string) (mip6.SharedKey, error) {
			var key mip6.SharedKey
			for i := range len(s) {
				if !hexDigit(s[i]) {
					return key, fmt.Errorf("character %d is not a digit from 0 to 9 or a to f", i+1)
				}
			}
			if len(s) != 2*len(key) {
				return key, fmt.Errorf("this has %d digits", len(s))
			}
			for i := range key {
				octet, err := strconv.ParseUint(s[2*i:2*i+2], 16, 8)
				if err != nil {
					return key, errMalformed
				}
				key[i] = byte(octet)
			}
			if key == (mip6.SharedKey{}) {
				return key, errors.New("this is all zeros")
			}
			return key, nil
		},
	}
}
