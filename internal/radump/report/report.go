// Package report collects what is to be said of a packet: for people lines, for
// programs a JSON object with the same content.
package report

import (
	"fmt"
	"strings"
	"time"

	"roam6/mip6"
)

// Report is what is said of one packet.
type Report struct {
	Lines  []string
	Object Object
}

// Line adds a line for people.
func (r *Report) Line(label, format string, values ...any) {
	r.Lines = append(r.Lines, label+": "+fmt.Sprintf(format, values...))
}

// Octets adds octets as hexadecimal digits.
func (r *Report) Octets(name string, b []byte) {
	r.Line(name, "%x", b)
	r.Object.Hex(Identifier(name), b)
}

// Integer adds a number.
func (r *Report) Integer(name string, n int) {
	r.Line(name, "%d", n)
	r.Object.Number(Identifier(name), int64(n))
}

// Flag is a flag of a message.
type Flag struct {
	Set          bool
	Letter, Name string
}

// Flags adds those flags that are set.
func (r *Report) Flags(flags ...Flag) {
	letters := ""
	var names, identifiers []string
	for _, f := range flags {
		if f.Set {
			letters += f.Letter
			names = append(names, f.Name)
			identifiers = append(identifiers, Identifier(f.Name))
		}
	}
	if letters == "" {
		r.Line("flags", "none")
	} else {
		r.Line("flags", "%s (%s)", letters, strings.Join(names, ", "))
	}
	r.Object.Texts("flags", identifiers)
}

// Prefixes adds Prefix Information options.
func (r *Report) Prefixes(prefixes []mip6.PrefixInformation) {
	objects := make([]Object, len(prefixes))
	for i, p := range prefixes {
		text := fmt.Sprintf("%v, valid %s, preferred %s", p.Prefix, Lifetime(p.ValidLifetime), Lifetime(p.PreferredLifetime))
		for _, f := range []struct {
			set  bool
			name string
		}{{p.OnLink, "on-link"}, {p.Autonomous, "autonomous"}, {p.RouterAddress, "router address"}, {p.PreferDelegation, "delegation preferred"}} {
			if f.set {
				text += ", " + f.name
			}
		}
		r.Line("prefix", "%s", text)
		o := &objects[i]
		o.Text("prefix", p.Prefix.String())
		o.Boolean("on_link", p.OnLink)
		o.Boolean("autonomous", p.Autonomous)
		o.Boolean("router_address", p.RouterAddress)
		o.Boolean("delegation_preferred", p.PreferDelegation)
		o.Seconds("valid_lifetime_seconds", p.ValidLifetime)
		o.Seconds("preferred_lifetime_seconds", p.PreferredLifetime)
	}
	r.Object.Objects("prefixes", objects)
}

// Lifetime words a lifetime of neighbour discovery.
func Lifetime(d time.Duration) string {
	if d >= mip6.InfiniteLifetime {
		return "for ever"
	}
	return d.String()
}

// Identifier makes a name one for programs: snake_case.
func Identifier(name string) string {
	return strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(name))
}
