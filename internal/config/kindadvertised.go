package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// decimalSeconds is an interval as radvd writes it; low and high are in
// milliseconds, the smallest unit.
func decimalSeconds(low, high int64) kind[time.Duration] {
	return kind[time.Duration]{
		name: fmt.Sprintf("a number from %s to %s (seconds)", inDecimals(time.Duration(low)*time.Millisecond), inDecimals(time.Duration(high)*time.Millisecond)),
		parse: func(s string) (time.Duration, error) {
			whole, decimals, pointed := strings.Cut(s, ".")
			if pointed && decimals == "" || len(whole) > 9 {
				return 0, errMalformed
			}
			const digits = 3
			if len(decimals) > digits {
				return 0, errors.New("there are at most three decimals")
			}
			number := whole + decimals + strings.Repeat("0", digits-len(decimals))
			if whole == "" || strings.Trim(number, "0123456789") != "" {
				return 0, errMalformed
			}
			n, err := decimal(number)
			if err != nil || n < low || n > high {
				return 0, errMalformed
			}
			return time.Duration(n) * time.Millisecond, nil
		},
	}
}

// inDecimals writes an interval as decimalSeconds reads it.
func inDecimals(d time.Duration) string {
	ms := d.Milliseconds()
	if ms%1000 == 0 {
		return fmt.Sprint(ms / 1000)
	}
	return strings.TrimRight(fmt.Sprintf("%d.%03d", ms/1000, ms%1000), "0")
}

func minutes(low, high int64) kind[time.Duration] {
	return interval(low, high, time.Minute, "minutes")
}

// linkLocalAddress is a node's address on a link, which another option names.
func linkLocalAddress() kind[netip.Addr] {
	return kind[netip.Addr]{
		name: "a link-local IPv6 address, such as fe80::1",
		parse: func(s string) (netip.Addr, error) {
			a, err := netip.ParseAddr(s)
			switch {
			case err != nil:
				return a, errMalformed
			case a.Zone() != "":
				return a, errors.New("this has a zone")
			case !a.Is6() || a.Is4In6() || !a.IsLinkLocalUnicast():
				return a, errMalformed
			}
			return a, nil
		},
	}
}

// serverAddress is an address that hosts of a link can reach: a routable one, or
// one of the link.
func serverAddress() kind[netip.Addr] {
	return kind[netip.Addr]{
		name: "a unicast IPv6 address",
		parse: func(s string) (netip.Addr, error) {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return a, errMalformed
			}
			if a.IsLinkLocalUnicast() && a.Is6() && !a.Is4In6() && a.Zone() == "" {
				return a, nil
			}
			return a, routable(a)
		},
	}
}

// isOwn reports whether a prefix stands for those that an interface has.
func isOwn(p netip.Prefix) bool { return p.Addr() == netip.IPv6Unspecified() }

// advertisedPrefix may carry host bits, which are a router's whole address, and may
// stand for the prefixes of an interface.
func advertisedPrefix() kind[netip.Prefix] {
	return kind[netip.Prefix]{
		name: "an IPv6 prefix, such as 2001:db8:1::/64, or ::/64 for those of the interface",
		parse: func(s string) (netip.Prefix, error) {
			p, err := netip.ParsePrefix(s)
			switch {
			case err != nil || !isOwn(p.Masked()) || p.Bits() == 0 || p.Bits() == 128:
				return parsePrefix(s)
			case p != p.Masked():
				return p, fmt.Errorf("bits beyond the length are set; %v?", p.Masked())
			}
			return p, nil
		},
	}
}

// orAnywhere also takes ::/0, which is no network.
func orAnywhere(k kind[netip.Prefix]) kind[netip.Prefix] {
	return orElse(k, "::/0", netip.PrefixFrom(netip.IPv6Unspecified(), 0))
}

// translationPrefix is one of a NAT64 (RFC 8781 §4, RFC 6052 §2.2).
func translationPrefix() kind[netip.Prefix] {
	whole := network()
	return kind[netip.Prefix]{
		name: "an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits, such as 64:ff9b::/96",
		parse: func(s string) (netip.Prefix, error) {
			p, err := whole.parse(s)
			if err != nil {
				return p, err
			}
			switch p.Bits() {
			case 32, 40, 48, 56, 64, 96:
			default:
				return p, fmt.Errorf("this has %d bits", p.Bits())
			}
			if p.Addr().As16()[8] != 0 {
				return p, errors.New("bits 64 to 71 are not zero (RFC 6052 §2.2)")
			}
			return p, nil
		},
	}
}

// prefixOrAddress is an address with or without the length of a prefix.
type prefixOrAddress struct {
	addr netip.Addr
	bits int // -1: none
}

// contextPrefix is the prefix of a context, whose length may stand elsewhere.
func contextPrefix() kind[prefixOrAddress] {
	whole := network()
	return kind[prefixOrAddress]{
		name: "an IPv6 prefix, such as 2001:db8:1::/64",
		parse: func(s string) (prefixOrAddress, error) {
			if a, err := netip.ParseAddr(s); err == nil {
				return prefixOrAddress{a, -1}, routable(a)
			}
			p, err := whole.parse(s)
			return prefixOrAddress{p.Addr(), p.Bits()}, err
		},
	}
}

// domainName is a DNS domain in ASCII; the final dot is left out.
func domainName() kind[string] {
	return kind[string]{
		name: "a domain name, such as example.org",
		parse: func(s string) (string, error) {
			const longest = 253 // without the final dot, RFC 1035 §2.3.4
			name := strings.TrimSuffix(s, ".")
			if len(name) > longest {
				return "", fmt.Errorf("this has more than %d characters", longest)
			}
			for label := range strings.SplitSeq(name, ".") {
				if label == "" || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, labelCharacters) != "" {
					return "", errMalformed
				}
				if len(label) > 63 {
					return "", errors.New("a part between dots has more than 63 characters")
				}
			}
			return name, nil
		},
	}
}

const labelCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// Says that there is no captive portal (RFC 8910 §2).
const unrestricted = "urn:ietf:params:capport:unrestricted"

// captivePortal is the URI of a captive portal's API.
func captivePortal() kind[string] {
	const longest = maxOption - 2 // type and length
	return kind[string]{
		name: "an https URI, or " + unrestricted + " where there is no portal",
		parse: func(s string) (string, error) {
			if s == unrestricted {
				return s, nil
			}
			if len(s) > longest {
				return "", fmt.Errorf("this has more than %d characters and does not fit into a packet", longest)
			}
			for i := range len(s) {
				if s[i] <= ' ' || s[i] > '~' {
					return "", fmt.Errorf("character %d is not one of a URI", i+1)
				}
			}
			u, err := url.Parse(s)
			switch {
			case err != nil || u.Scheme == "" || u.Scheme == "https" && u.Hostname() == "":
				return "", errMalformed
			case u.Scheme != "https":
				return "", errors.New("hosts ask the API over TLS only (RFC 8908 §4.1)")
			}
			return s, nil
		},
	}
}
