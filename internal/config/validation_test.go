package config

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"roam6/internal/generated"
)

// TestValidation keeps what procd is told of the options what the tables say: it is for
// programs that write the file. `go test ./internal/config -update` writes it.
func TestValidation(t *testing.T) {
	path := filepath.Join("..", "..", "openwrt", "roam6", "files", "roam6.validation")
	want := validation(t)
	generated.Check(t, path, want, *update, "the tables say", "run go test ./internal/config -update")
}

// validation renders a shell function that calls uci_load_validate for each section type.
func validation(t *testing.T) []byte {
	var b bytes.Buffer
	b.WriteString(`# shellcheck shell=dash
# What programs that write /etc/config/roam6 may know of it, in the words of OpenWrt's
# validate_data. They cannot say all: roam6 check does. Made of the tables of
# internal/config by go test ./internal/config -update.

roam6_validation() {
`)
	for _, s := range Describe() {
		fmt.Fprintf(&b, "\tuci_load_validate roam6 %s '' ''", s.Type)
		for _, o := range s.Options {
			if d := datatype(t, o.Value); d != "" {
				fmt.Fprintf(&b, " \\\n\t\t'%s'", tuple(o, d))
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("}\n")
	return b.Bytes()
}

// tuple is OPTION:DATATYPE:DEFAULT. A colon would end the default.
func tuple(o OptionDescription, datatype string) string {
	if o.List {
		datatype = "list(" + datatype + ")"
	}
	if o.Default == "" || strings.Contains(o.Default, ":") {
		return o.Name + ":" + datatype
	}
	return o.Name + ":" + datatype + ":" + o.Default
}

var (
	orElseValue  = regexp.MustCompile(`^'([^']+)' or (.*)$`)
	integerValue = regexp.MustCompile(`^an integer from (-?\d+) to (\d+)`)
	lengthValue  = regexp.MustCompile(`of at most (\d+) characters$`)
)

// datatype is that of validate_data for a value described so; empty: there is none.
// Where it has no word for something it takes too much, never too little.
func datatype(t *testing.T, value string) string {
	t.Helper()
	if m := orElseValue.FindStringSubmatch(value); m != nil {
		rest := datatype(t, m[2])
		if rest == "cidr6" { // as all of those words are
			return rest
		}
		if inner, ok := strings.CutPrefix(rest, "or("); ok {
			return fmt.Sprintf(`or("%s", %s`, m[1], inner)
		}
		return fmt.Sprintf(`or("%s", %s)`, m[1], rest)
	}
	if m := integerValue.FindStringSubmatch(value); m != nil {
		if high, err := strconv.ParseInt(m[2], 10, 64); err != nil || high > math.MaxInt32 { // its ranges are C's int
			return "uinteger"
		}
		return fmt.Sprintf("range(%s, %s)", m[1], m[2])
	}
	if words, ok := strings.CutPrefix(value, "one of "); ok {
		return `or("` + strings.Join(strings.Split(words, ", "), `", "`) + `")`
	}
	if m := lengthValue.FindStringSubmatch(value); m != nil {
		return "maxlength(" + m[1] + ")"
	}
	for beginning, d := range map[string]string{
		"1 or 0 (or on":                         "bool",
		"1: roam6 waits":                        `or("1", "on", "true", "yes", "enabled")`,
		"0 for none, or a multiple of 64":       "range(0, 1024)",
		"a number from ":                        "ufloat",
		"a key of 32 hexadecimal digits":        "hexstring(32, 32)",
		"a key of 96 or 128 hexadecimal digits": "or(hexstring(96, 96), hexstring(128, 128), hexstring(40, 40), hexstring(72, 72))",
		"a secret of 16 to 1024 characters":     "minlength(16)",
		"a routable unicast IPv6 address":       "ip6addr",
		"a unicast IPv6 address":                "ip6addr",
		"a link-local IPv6 address":             "ip6addr",
		"an IPv6 or IPv4 address":               "ipaddr",
		"an IPv6 address with its prefix":       "cidr6",
		"an IPv6 prefix":                        "cidr6",
		"a port from 1 to 65535, or two":        "or(port, portrange)",
		"the name of ":                          "uciname",
		"a mark such as":                        "string",
		"a domain name":                         "string",
		"a DHCPv6 identifier":                   "string",
		"an https URI":                          "string",
		"no such option":                        "", // roam6 check says why
	} {
		if strings.HasPrefix(value, beginning) {
			return d
		}
	}
	t.Fatalf("what is %q to validate_data?", value)
	return ""
}

// checkDatatype has validate_data take what the daemon takes, of values of all kinds.
func checkDatatype(t *testing.T, where string, o OptionDescription, takes func(string) bool) {
	t.Helper()
	d := datatype(t, o.Value)
	if d == "" {
		return
	}
	if strings.ContainsAny(d, `:'\`) {
		t.Errorf("%s: %s ends the datatype", where, d)
	}
	taken := 0
	for _, v := range slices.Concat(candidates(), limits(o.Value), []string{o.Default}) {
		if v == "" || !takes(v) {
			continue
		}
		if d == "uciname" && strings.Trim(v, wordCharacters) != "" { // no section has that name
			continue
		}
		taken++
		if !validates(t, d, v) {
			t.Errorf("%s takes %q, which is no %s", where, v, d)
		}
	}
	if taken == 0 {
		t.Errorf("%s takes no value that was tried", where)
	}
	if m := integerValue.FindStringSubmatch(o.Value); m != nil && strings.HasPrefix(d, "range") {
		low, high := number(t, m[1]), number(t, m[2])
		for _, v := range []int64{low - 1, high + 1} {
			if s := strconv.FormatInt(v, 10); takes(s) || validates(t, d, s) {
				t.Errorf("%s: %s is taken", where, s)
			}
		}
	}
}

// wordCharacters are those of names in UCI.
const wordCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

// limits are the words and numbers in the description of a value.
func limits(value string) []string {
	return regexp.MustCompile(`[-\w.:/]+`).FindAllString(value, -1)
}

// candidates are values of all kinds.
func candidates() []string {
	hexadecimal := func(n int) string { return strings.Repeat("5a", n/2) }
	return []string{
		"0", "1", "-1", "2", "10", "64", "0.5", "70", "1000", "5000", "65535", "65536", "2147483648", "4294967295", "5000-5100", "0x10", "0x10/0xff",
		"yes", "off", "enabled", "auto", "train", "br-lan", "example.org", "/etc/roam6", "https://portal.example.org/", "urn:ietf:params:capport:unrestricted",
		"::", "::1", "127.0.0.1", "fe80::1", "2001:db8::1", "2001:db8:1::2/64", "2001:db8:100::/56", "64:ff9b::/96", "::/0", "::/64", "0:0:0:7::/64",
		hexadecimal(32), hexadecimal(40), hexadecimal(72), hexadecimal(96), hexadecimal(128), "00:03:00:01:02:00:5e:10:00:00", strings.Repeat("ü", 20),
	}
}

// validates does what validate_data does with those of its datatypes that are used.
func validates(t *testing.T, d, value string) bool {
	t.Helper()
	name, rest, called := strings.Cut(d, "(")
	var arguments []string
	if called {
		arguments = splitArguments(strings.TrimSuffix(rest, ")"))
	}
	length := func(i int) int { return int(number(t, arguments[i])) }
	switch name {
	case "or":
		return slices.ContainsFunc(arguments, func(a string) bool { return validates(t, a, value) })
	case "bool":
		return slices.Contains([]string{"0", "off", "false", "no", "disabled", "1", "on", "true", "yes", "enabled"}, strings.ToLower(value))
	case "range":
		n, err := strconv.ParseInt(value, 0, 64)
		return err == nil && n >= number(t, arguments[0]) && n <= number(t, arguments[1])
	case "uinteger":
		_, err := strconv.ParseUint(value, 0, 32)
		return err == nil
	case "ufloat":
		f, err := strconv.ParseFloat(value, 64)
		return err == nil && f >= 0
	case "maxlength":
		return len(value) <= length(0)
	case "minlength":
		return len(value) >= length(0)
	case "hexstring":
		return len(value) >= length(0) && len(value) <= length(1) && strings.Trim(value, "0123456789abcdefABCDEF") == ""
	case "ip6addr":
		a, err := netip.ParseAddr(value)
		return err == nil && a.Is6() && a.Zone() == ""
	case "ipaddr":
		a, err := netip.ParseAddr(value)
		return err == nil && a.Zone() == ""
	case "cidr6":
		address, bits, given := strings.Cut(value, "/")
		n, err := strconv.Atoi(bits)
		return validates(t, "ip6addr", address) && (!given || err == nil && n >= 0 && n <= 128)
	case "port":
		n, err := strconv.ParseUint(value, 10, 16)
		return err == nil && n <= 65535
	case "portrange":
		low, high, ok := strings.Cut(value, "-")
		return ok && validates(t, "port", low) && validates(t, "port", high)
	case "uciname":
		return strings.Trim(value, wordCharacters) == ""
	case "string":
		return true
	}
	word, err := strconv.Unquote(d)
	if err != nil {
		t.Fatalf("datatype %s: not one of validate_data's", d)
	}
	return value == word
}

// splitArguments splits at the commas that are in no parentheses.
func splitArguments(s string) (arguments []string) {
	depth, begin := 0, 0
	for i, r := range s + "," {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			arguments, begin = append(arguments, strings.TrimSpace(s[begin:i])), i+1
		}
	}
	return arguments
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
