package control

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Status is what to look at first: what the daemon is, what it does, and what is wrong.
type Status struct {
	Version string  `json:"version"`
	Uptime  Seconds `json:"uptime_seconds"`
	Plane   string  `json:"plane,omitempty"` // data plane engine; absent where there is none
	// Configuration is what is in force, and what became of the last attempt to change it.
	Configuration Configuration `json:"configuration"`
	Roles         []RoleStatus  `json:"roles"`
	// Trouble are sentences about what an operator should look at; none: nothing is known.
	Trouble []string `json:"trouble"`
}

// Configuration is where the running configuration is from.
type Configuration struct {
	File   string       `json:"file"`
	Loaded Time         `json:"loaded"` // since when it is in force
	Age    Milliseconds `json:"age_ms"` // since Loaded
	// Failed tells of an attempt to reload after Loaded, which changed nothing; null: none.
	Failed *FailedReload `json:"failed_reload"`
}

// FailedReload is a configuration that was not taken.
type FailedReload struct {
	Time  Time         `json:"time"`
	Age   Milliseconds `json:"age_ms"` // since Time
	Error string       `json:"error"`
}

// RoleStatus is what one role of the daemon does.
type RoleStatus struct {
	// Kind is "mobile node", "mobile router", "home agent", "anchor", "correspondent",
	// "advertiser" or "DHCPv6 client".
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"` // of the section, or of the interface
	// State is in words, and may change with versions: programs ask for the topic of the
	// role.
	State string `json:"state"`
	Good  bool   `json:"good"` // it does what it is there for
}

// MobileStatus is the status of a mobile, of which kind says what it is.
func MobileStatus(kind string, u Update) RoleStatus {
	s := RoleStatus{Kind: kind, Name: u.Mobile, State: u.state()}
	at := u.Attachment
	s.Good = at != nil && !u.Lost && !u.Halted && (u.Registered || at.AtHome)
	if at != nil && !at.AtHome {
		s.State += " by " + at.String()
	}
	if u.Registered {
		s.State += ", " + span(time.Duration(u.Remaining)) + " left"
	}
	return s
}

// Render writes a few lines, a row for each role, and what is wrong.
func (d Status) Render(w io.Writer) error {
	style := styleOf(w)
	var b strings.Builder
	fmt.Fprintf(&b, "roam6 %s, up %s", d.Version, span(time.Duration(d.Uptime)))
	if d.Plane != "" {
		fmt.Fprintf(&b, ", data plane %s", d.Plane)
	}
	c := d.Configuration
	fmt.Fprintf(&b, "\nconfiguration %s, in force for %s\n", c.File, span(time.Duration(c.Age)))
	if f := c.Failed; f != nil {
		b.WriteString(style.paint(toneBad, fmt.Sprintf("  not reloaded %s ago:", span(time.Duration(f.Age)))))
		for line := range strings.Lines(f.Error) {
			b.WriteString("\n    " + strings.TrimRight(line, "\n"))
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	t := newTable("ROLE", "NAME", "STATE")
	for _, r := range d.Roles {
		t.row(r.Kind, r.Name, r.State)
		as := toneGood
		if !r.Good {
			as = toneBad
		}
		t.mark("STATE", as)
	}
	if err := t.write(w, "no roles"); err != nil || len(d.Trouble) == 0 {
		return err
	}
	trouble := newTable("TROUBLE")
	for _, line := range d.Trouble {
		trouble.row(line)
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return trouble.write(w, "")
}
