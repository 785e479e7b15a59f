package config

import (
	"errors"
	"fmt"
	"net/netip"
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
func integer[T int16 | uint8 | uint16 | uint32](low, high int64, unit string) kind[T] {
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
			if m := suggest(s, words); m != "" {
				return none, fmt.Errorf("did you mean '%s'?", m)
			}
			return none, errMalformed
		},
	}
}

// unicastAddress is an address that can be a home address or a home agent's
// (RFC 6275 §4.6).
func unicastAddress() kind[netip.Addr] {
	return kind[netip.Addr]{
		name: "a routable unicast IPv6 address",
		parse: func(s string) (netip.Addr, error) {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return a, errMalformed
			}
			return a, routable(a)
		},
	}
}

// routable says why an address is not unicast routable, or nothing.
func routable(a netip.Addr) error {
	switch {
	case a.Is4():
		return errors.New("this is an IPv4 address")
	case a.Is4In6():
		return errors.New("this is an IPv4-mapped address")
	case a.Zone() != "":
		return errors.New("this has a zone")
	case a.IsUnspecified():
		return errors.New("this is the unspecified address")
	case a.IsLoopback():
		return errors.New("this is the loopback address")
	case a.IsMulticast():
		return errors.New("this is a multicast address")
	case a.IsLinkLocalUnicast():
		return errors.New("this is a link-local address")
	default:
		return nil
	}
}

// listenAddress is an address to listen on, of either family.
func listenAddress() kind[netip.Addr] {
	return kind[netip.Addr]{
		name: "an IPv6 or IPv4 address to listen on",
		parse: func(s string) (netip.Addr, error) {
			a, err := netip.ParseAddr(s)
			if err != nil || a.IsMulticast() || a.Is4In6() {
				return a, errMalformed
			}
			return a, nil
		},
	}
}

// hostAddress is an address with the length of its prefix.
func hostAddress() kind[netip.Prefix] {
	return kind[netip.Prefix]{
		name: "an IPv6 address with its prefix length, such as 2001:db8:1::2/64",
		parse: func(s string) (netip.Prefix, error) {
			p, err := netip.ParsePrefix(s)
			if err != nil {
				if _, err := netip.ParseAddr(s); err == nil {
					return p, errors.New("the length is missing")
				}
				return p, errMalformed
			}
			if err := routable(p.Addr()); err != nil {
				return p, err
			}
			if p.Bits() == 0 {
				return p, errors.New("the length is zero")
			}
			if routerAnycast(p) {
				return p, errors.New("this is the subnet-router anycast address of its prefix")
			}
			return p, nil
		},
	}
}

// routerAnycast reports whether a prefix with host bits is the subnet-router
// anycast address (RFC 4291 §2.6.1), which no single node can have.
func routerAnycast(p netip.Prefix) bool { return p.Bits() < 127 && p == p.Masked() }

// network is a prefix without host bits.
func network() kind[netip.Prefix] {
	return kind[netip.Prefix]{
		name: "an IPv6 prefix, such as 2001:db8:100::/56",
		parse: func(s string) (netip.Prefix, error) {
			p, err := parsePrefix(s)
			if err == nil && p != p.Masked() {
				return p, fmt.Errorf("bits beyond the length are set; %v?", p.Masked())
			}
			return p, err
		},
	}
}

// advertisedPrefix may carry host bits: a router's whole address.
func advertisedPrefix() kind[netip.Prefix] {
	return kind[netip.Prefix]{
		name:  "an IPv6 prefix, such as 2001:db8:1::/64",
		parse: parsePrefix,
	}
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		if _, err := netip.ParseAddr(s); err == nil {
			return p, errors.New("the length is missing")
		}
		return p, errMalformed
	}
	if p.Addr().Is4() {
		return p, errors.New("this is an IPv4 prefix")
	}
	for _, special := range []struct{ prefix, name string }{
		{"ff00::/8", "multicast"},
		{"fe80::/10", "link-local"},
		{"::ffff:0:0/96", "IPv4-mapped"},
		{"::/127", "the unspecified and the loopback"},
	} {
		if p.Overlaps(netip.MustParsePrefix(special.prefix)) {
			return p, fmt.Errorf("it includes %s addresses", special.name)
		}
	}
	return p, nil
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
		name: "the name of a " + what + " section",
		parse: func(s string) (string, error) {
			if s == "" {
				return "", errMalformed
			}
			return s, nil
		},
	}
}

// socketPath is a path that fits into a socket address.
func socketPath() kind[string] {
	return kind[string]{
		name: "an absolute path of at most 107 characters",
		parse: func(s string) (string, error) {
			if !strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || len(s) > 107 {
				return "", errMalformed
			}
			return s, nil
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
