package config

import (
	"slices"

	"roam6/internal/uci"
)

// Effect is what a reload does about a changed option.
type Effect uint8

// Effects of a reload.
const (
	EffectLive    Effect = iota // taken over; registrations and bindings live on
	EffectSection               // the section's role ends in order and begins anew
	EffectDaemon                // waits for a restart of the daemon
)

func (e Effect) String() string {
	switch e {
	case EffectLive:
		return "at once"
	case EffectSection:
		return "restarts the section"
	case EffectDaemon:
		return "needs a restart of roam6"
	default:
		return "unknown"
	}
}

// SectionDescription describes a section type.
type SectionDescription struct {
	Type    string
	Help    string
	Named   bool // needs a name
	Single  bool // at most one of the type
	Options []OptionDescription
}

// OptionDescription describes an option.
type OptionDescription struct {
	Name     string
	Value    string // completes "the value is …"
	List     bool   // may be given several times
	Required bool
	Default  string // as it would be written; empty where there is none
	// DefaultHelp says in words what the default is where it depends.
	DefaultHelp string
	Help        string
	Effect      Effect
	Secret      bool
	blank       bool // a list of empty items is as good as none
}

// option is an option of a section that is read into an S.
type option[S any] struct {
	OptionDescription
	// set reads the values and stores them. It returns the index of the value
	// that is wrong and what was expected; expected is empty when all is well.
	set func(into *S, values []uci.Value) (wrong int, expected string)
}

// one is an option with one value.
func one[S, T any](name string, k kind[T], field func(*S) *T) option[S] {
	return option[S]{
		OptionDescription: OptionDescription{Name: name, Value: k.name, Secret: k.secret},
		set: func(into *S, values []uci.Value) (int, string) {
			v, err := k.parse(values[0].Text)
			if err != nil {
				return 0, k.expected(err)
			}
			*field(into) = v
			return 0, ""
		},
	}
}

// many is an option with a list of values.
func many[S, T any](name string, k kind[T], field func(*S) *[]T) option[S] {
	return option[S]{
		OptionDescription: OptionDescription{Name: name, Value: k.name, List: true},
		set: func(into *S, values []uci.Value) (int, string) {
			var list []T
			for i, value := range values {
				v, err := k.parse(value.Text)
				if err != nil {
					return i, k.expected(err)
				}
				list = append(list, v)
			}
			*field(into) = list
			return 0, ""
		},
	}
}

// The methods below complete a description, in a table's own words.

func (o option[S]) required() option[S]          { o.Required = true; return o }
func (o option[S]) fallback(s string) option[S]  { o.Default = s; return o }
func (o option[S]) dependent(s string) option[S] { o.DefaultHelp = s; return o }
func (o option[S]) help(s string) option[S]      { o.Help = s; return o }
func (o option[S]) onReload(e Effect) option[S]  { o.Effect = e; return o }

// orBlank also takes a list of nothing but empty items, which says as much as none:
// the file that OpenWrt's radvd package came with had such lists.
func (o option[S]) orBlank() option[S] {
	set := o.set
	o.blank = true
	o.set = func(into *S, values []uci.Value) (int, string) {
		if blank(values) {
			return 0, ""
		}
		return set(into, values)
	}
	return o
}

func blank(values []uci.Value) bool {
	return !slices.ContainsFunc(values, func(v uci.Value) bool { return v.Text != "" })
}

// settled is an option of which roam6 takes one value only, whose kind says why.
func settled[S any](name string, k kind[struct{}]) option[S] {
	return option[S]{
		OptionDescription: OptionDescription{Name: name, Value: k.name},
		set: func(_ *S, values []uci.Value) (int, string) {
			if _, err := k.parse(values[0].Text); err != nil {
				return 0, k.expected(err)
			}
			return 0, ""
		},
	}
}

// schema is the table of a section type.
type schema[S any] struct {
	SectionDescription // Options stays empty: see describe
	options            []option[S]
	// enabled tells whether a section is in use. One that is not need not be
	// complete. nil: always.
	enabled func(*S) bool
}

func (sc schema[S]) describe() SectionDescription {
	d := sc.SectionDescription
	for _, o := range sc.options {
		d.Options = append(d.Options, o.OptionDescription)
	}
	return d
}

// section is a section being checked: where errors about it go.
type section struct {
	*uci.Section
	problems *problems
}

// entry is a section that was read.
type entry[S any] struct {
	section
	value S
	// enabled: the section is in use.
	enabled bool
	// sound: every option could be read and none is missing. Checks that
	// compare options make sense only then.
	sound bool
}

// read reads a section by its table.
func read[S any](p *problems, sc schema[S], src *uci.Section) entry[S] {
	e := entry[S]{section: section{src, p}}
	e.enabled, e.sound = e.fill(sc.SectionDescription, len(sc.options),
		func(option int) *OptionDescription { return &sc.options[option].OptionDescription },
		func(option int, values []uci.Value) (int, string) { return sc.options[option].set(&e.value, values) },
		func() bool { return sc.enabled == nil || sc.enabled(&e.value) })
	return e
}

// fill reads the options of a section, of which the table has so many. It is read without
// what depends on the type of the value, which the binary has once for each: option is the
// description of one, set stores its values, and enabled tells, when all is read, whether the
// section is in use. It reports that, and whether every option could be read and none is
// missing. There may be a hundred thousand sections: the table is not copied for each.
func (s section) fill(d SectionDescription, options int, option func(i int) *OptionDescription,
	set func(option int, values []uci.Value) (wrong int, expected string), enabled func() bool) (inUse, sound bool) {
	p, before := s.problems, len(s.problems.list)
	if d.Named && s.Anonymous {
		p.add(&Error{Position: s.NamePosition, Section: s.Ref(), Offending: s.Type,
			Expected: "a name after the type: config " + s.Type + " 'NAME'"})
	}
	for i := range options {
		if o := option(i); o.Default != "" {
			set(i, []uci.Value{{Text: o.Default}})
		}
	}
	for _, given := range s.Options {
		i := 0
		for i < options && option(i).Name != given.Name {
			i++
		}
		if i == options {
			known := make([]string, options)
			for i := range known {
				known[i] = option(i).Name
			}
			p.add(&Error{Position: given.Position, Section: s.Ref(), Option: given.Name, Offending: given.Name,
				Expected: "an option of the section type " + d.Type + didYouMean(given.Name, known)})
			continue
		}
		o := option(i)
		if given.List && !o.List {
			p.add(&Error{Position: given.Position, Section: s.Ref(), Option: o.Name, Offending: "list",
				Expected: "a single value: option " + o.Name})
			continue
		}
		wrong, expected := set(i, given.Values)
		if expected == "" {
			continue
		}
		offending := given.Values[wrong].Text
		if o.Secret {
			offending = withheld
		}
		p.add(&Error{Position: given.Values[wrong].Position, Section: s.Ref(), Option: o.Name,
			Offending: offending, Expected: expected})
	}
	inUse = enabled()
	for i := range options {
		o := option(i)
		if given, ok := s.Option(o.Name); inUse && o.Required && (!ok || o.blank && blank(given.Values)) {
			s.missing(o.Name, o.Value)
		}
	}
	return inUse, len(p.list) == before
}

func indexOf(list []string, s string) int {
	for i, x := range list {
		if x == s {
			return i
		}
	}
	return -1
}

// has reports whether the section gives an option.
func (s section) has(name string) bool {
	_, ok := s.Option(name)
	return ok
}

// missing reports that an option is not there.
func (s section) missing(name, expected string) {
	s.problems.add(&Error{Position: s.Position, Section: s.Ref(), Option: name, Expected: expected + "; it is missing"})
}

// wrong reports an option whose value does not go with others; item is the
// index in its list. An option that is not there is reported at the section.
func (s section) wrong(name string, item int, expected string) {
	o, ok := s.Option(name)
	if !ok || item >= len(o.Values) {
		s.problems.add(&Error{Position: s.Position, Section: s.Ref(), Option: name, Expected: expected})
		return
	}
	offending := o.Values[item].Text
	if secret(name) {
		offending = withheld
	}
	s.problems.add(&Error{Position: o.Values[item].Position, Section: s.Ref(), Option: name,
		Offending: offending, Expected: expected})
}

// superfluous reports a section that may not be there.
func (s section) superfluous(expected string) {
	s.problems.add(&Error{Position: s.Position, Section: s.Ref(), Offending: s.Type, Expected: expected})
}
