package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"roam6/internal/config"
	"roam6/internal/esp"
)

// check validates a configuration file: everything that is wrong with it, a
// line an error, before a restart or reload finds out.
func check(args []string, std stdio) int {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	flags.SetOutput(std.err)
	flags.Usage = func() {}
	asJSON := flags.Bool("json", false, "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		checkUsage(std.out)
		return 0
	case err != nil:
		checkUsage(std.err)
		return 2
	case flags.NArg() > 1:
		fmt.Fprintf(std.err, "roam6 check: %q: one file at a time\n", flags.Arg(1))
		return 2
	}
	path := config.DefaultPath
	if flags.NArg() == 1 {
		path = flags.Arg(0)
	}
	c, err := config.Load(path)
	report := checkReport(path, c, err)
	if *asJSON {
		e := json.NewEncoder(std.out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(report); err != nil {
			fmt.Fprintln(std.err, "roam6 check:", err)
			return 1
		}
	} else {
		report.print(std)
	}
	if !report.OK {
		return 1
	}
	return 0
}

func checkUsage(w io.Writer) {
	fmt.Fprintf(w, `usage: roam6 check [--json] [FILE]

Tells whether FILE (%s) is a valid configuration. Exit code 0: it is.
1: it is not, or cannot be read; standard error has a line for each error,
FILE:LINE:COLUMN first.

  --json   the same as JSON on standard output
`, config.DefaultPath)
}

// checked is the outcome of a check, and its JSON.
type checked struct {
	File     string         `json:"file"`
	OK       bool           `json:"ok"`
	Errors   []checkedError `json:"errors,omitempty"`
	Warnings []string       `json:"warnings,omitempty"`
	// Sections counts the enabled sections by type.
	Sections map[string]int `json:"sections,omitempty"`
	Disabled []string       `json:"disabled,omitempty"`

	summary string
}

// checkedError is one error. Without a line the file could not be read.
type checkedError struct {
	Line      int    `json:"line,omitempty"`
	Column    int    `json:"column,omitempty"`
	Section   string `json:"section,omitempty"`
	Option    string `json:"option,omitempty"`
	Offending string `json:"offending,omitempty"`
	Expected  string `json:"expected,omitempty"`
	Message   string `json:"message"`

	text string // as a line
}

func checkReport(path string, c *config.Config, err error) checked {
	r := checked{File: path, OK: err == nil}
	var list config.Errors
	switch {
	case errors.As(err, &list):
		for _, e := range list {
			r.Errors = append(r.Errors, checkedError{
				Line: e.Line, Column: e.Column, Section: e.Section, Option: e.Option,
				Offending: e.Offending, Expected: e.Expected, Message: e.Message(),
				text: e.Position.String() + ": " + e.Message(),
			})
		}
	case err != nil:
		r.Errors = []checkedError{{Message: err.Error(), text: "roam6 check: " + err.Error()}}
	default:
		r.count(c)
		r.warn(c)
		r.warnIPsec(c)
	}
	return r
}

// count counts what is configured, as JSON and in words.
func (r *checked) count(c *config.Config) {
	routers, nodes := 0, 0
	for _, m := range c.MobileNodes {
		if m.Router {
			routers++
		} else {
			nodes++
		}
	}
	correspondents := 0
	if c.Correspondent.Enabled {
		correspondents = 1
	}
	r.Sections = map[string]int{}
	r.Disabled = c.Disabled
	var words []string
	for _, n := range []struct {
		count                  int
		section, singular, all string
	}{
		{routers, "mobile_router", "mobile router", "mobile routers"},
		{nodes, "mobile_node", "mobile node", "mobile nodes"},
		{len(c.Uplinks), "uplink", "uplink", "uplinks"},
		{len(c.PrefixRequests), "prefix_request", "prefix request", "prefix requests"},
		{len(c.HomeAgents), "home_agent", "home agent", "home agents"},
		{len(c.Mobiles), "mobile", "mobile", "mobiles"},
		{len(c.Policies), "policy", "policy", "policies"},
		{len(c.Anchors), "anchor", "mobility anchor point", "mobility anchor points"},
		{len(c.Visitors), "visitor", "visitor", "visitors"},
		{len(c.AnchorKeys), "anchor_key", "anchor key", "anchor keys"},
		{correspondents, "correspondent", "correspondent", "correspondents"},
		{len(c.Interfaces), "interface", "interface", "interfaces"},
	} {
		r.Sections[n.section] = n.count
		switch n.count {
		case 0:
		case 1:
			words = append(words, "1 "+n.singular)
		default:
			words = append(words, fmt.Sprintf("%d %s", n.count, n.all))
		}
	}
	if len(words) == 0 {
		words = append(words, "nothing to do")
	}
	if n := len(c.Disabled); n > 0 {
		words = append(words, fmt.Sprintf("%d disabled", n))
	}
	r.summary = strings.Join(words, ", ")
}

// warn names what is valid and yet should not stay.
func (r *checked) warn(c *config.Config) {
	insecure := func(section string) {
		r.Warnings = append(r.Warnings, fmt.Sprintf("section '%s' runs without authentication: anybody can redirect its traffic", section))
	}
	for _, m := range c.MobileNodes {
		if m.Association == nil && len(m.ESP) == 0 {
			insecure(m.Name)
		}
	}
	served := map[string]bool{}
	for _, m := range c.Mobiles {
		if m.Association == nil && m.ESP == nil {
			insecure(m.Name)
		}
		served[m.HomeAgent] = served[m.HomeAgent] || m.Delegate
	}
	for _, m := range c.MobileNodes {
		if m.Hierarchy && m.InsecureAnchors {
			r.Warnings = append(r.Warnings, fmt.Sprintf("section '%s' trusts mobility anchor points without a key: whoever advertises one can carry its traffic", m.Name))
		}
	}
	for _, a := range c.Anchors {
		if a.Insecure {
			r.Warnings = append(r.Warnings, fmt.Sprintf("section '%s' serves whoever asks, without authentication: anybody can redirect a visitor's traffic", a.Name))
		}
	}
	for _, h := range c.HomeAgents {
		if h.Delegation != nil && !served[h.Name] {
			r.Warnings = append(r.Warnings, fmt.Sprintf("section '%s' delegates prefixes, and no mobile gets any: a mobile section with option router '1' does", h.Name))
		}
	}
}

// warnIPsec names what IPsec does not protect as it should.
func (r *checked) warnIPsec(c *config.Config) {
	warn := func(format string, section string) {
		r.Warnings = append(r.Warnings, fmt.Sprintf("section '%s' "+format, section))
	}
	gcm := func(p esp.Policy) bool { return p.Out.Algorithm == esp.AESGCM }
	local := func(p *esp.AnchorPolicy) bool { return p != nil && p.Out.Algorithm == esp.AESGCM }
	for _, m := range c.MobileNodes {
		if m.HomeTestsReadable() {
			warn("optimises routes, and its ipsec section does not protect home tests: who reads them on the mobile's link can redirect its traffic; spi_tunnel_to_agent and the three options like it do (RFC 6275 §10.4.6)", m.Name)
		}
		if slices.ContainsFunc(m.ESP, gcm) {
			warn(gcmWarning, m.Name)
		}
	}
	for _, m := range c.Mobiles {
		if m.ESP != nil && gcm(*m.ESP) {
			warn(gcmWarning, m.Name)
		}
	}
	for _, v := range c.Visitors {
		if local(v.ESP) {
			warn(gcmWarning, v.Name)
		}
	}
	for _, k := range c.AnchorKeys {
		if local(k.ESP) {
			warn(gcmWarning, k.Name)
		}
	}
}

const gcmWarning = "uses AES-GCM with configured keys, which RFC 4106 §2 and RFC 8221 §3 forbid: algorithm 'aes-cbc-sha256' is what such keys are for"

func (r *checked) print(std stdio) {
	for _, e := range r.Errors {
		fmt.Fprintln(std.err, e.text)
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(std.err, "%s: warning: %s\n", r.File, w)
	}
	if r.OK {
		fmt.Fprintf(std.out, "%s: ok: %s\n", r.File, r.summary)
	}
}
