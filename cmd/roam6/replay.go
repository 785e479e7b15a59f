//go:build !noreplay

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"roam6/internal/trace"
)

// replay has the roles of a trace decide again.
func replay(args []string, std stdio) int {
	flags := flag.NewFlagSet("replay", flag.ContinueOnError)
	flags.SetOutput(std.err)
	flags.Usage = func() {}
	var r replayer
	flags.BoolVar(&r.json, "json", false, "")
	flags.BoolVar(&r.all, "all", false, "")
	flags.BoolVar(&r.quiet, "quiet", false, "")
	files, err := interspersed(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		replayUsage(std.out)
		return 0
	case err != nil || len(files) != 1:
		replayUsage(std.err)
		return 2
	}
	in := std.in
	if files[0] != "-" {
		f, err := os.Open(files[0])
		if err != nil {
			fmt.Fprintln(std.err, "roam6 replay:", err)
			return 1
		}
		defer f.Close()
		in = f
	}
	out := bufio.NewWriter(std.out)
	r.out = out
	same, err := r.play(in)
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	if err != nil {
		fmt.Fprintf(std.err, "roam6 replay: %s: %v\n", files[0], err)
		return 1
	}
	if !same {
		return 1
	}
	return 0
}

func replayUsage(w io.Writer) {
	fmt.Fprint(w, `usage: roam6 replay [OPTION...] FILE

Has the roles of a trace (roam6 trace) decide again what they decided when it was recorded.
It prints each event and what was decided, and why as far as the role says, and then
whether that was the same. FILE is - for standard input.

  --all    goes on where a role decides otherwise; else that is the end
  --quiet  only the differences, and the result
  --json   a JSON object in each line

Exit code: 0 the same decisions, 1 others, or no trace.
`)
}

// replayer prints what a trace plays.
type replayer struct {
	out              io.Writer
	json, all, quiet bool
	roles            map[string]*replayed
}

// replayed counts what became of one role.
type replayed struct {
	Events  int    `json:"events"`
	Actions int    `json:"actions"`
	Played  int    `json:"played_events"`
	Differs int    `json:"different"`
	Result  string `json:"result"`
}

// play plays a trace to its end, or to the first difference.
func (r *replayer) play(in io.Reader) (same bool, err error) {
	r.roles = make(map[string]*replayed)
	p, err := trace.NewPlayer(in)
	if err != nil {
		return false, err
	}
	h := p.Header()
	if !r.json {
		fmt.Fprintf(r.out, "trace of roam6 %s, begun %s; this is roam6 %s\n\n", h.Version, h.Start.UTC().Format("2006-01-02 15:04:05.000 UTC"), version)
	}
	for {
		s, err := p.Next()
		if err == io.EOF {
			break
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			if !r.json {
				fmt.Fprintln(r.out, "the last line is incomplete, and left out")
			}
			break
		}
		if err != nil {
			return false, err
		}
		if err := r.step(s); err != nil {
			return false, err
		}
		if s.Difference != nil && !r.all {
			break
		}
	}
	return r.summary()
}

// step prints an entry.
func (r *replayer) step(s trace.Step) error {
	name := s.Entry.Role
	x := r.roles[name]
	if x == nil && name != "" {
		x = new(replayed)
		r.roles[name] = x
	}
	if s.Entry.Event != nil || s.Entry.Reconfigure != nil {
		x.Events++
		x.Actions += len(s.Recorded)
		if s.Played {
			x.Played++
		}
	}
	if s.Difference != nil {
		x.Differs++
	}
	if r.json {
		return r.stepJSON(s)
	}
	if r.quiet && s.Difference == nil {
		return nil
	}
	fmt.Fprintf(r.out, "%s %s: %s\n", since(s.Entry.At), name, happened(s))
	for _, n := range s.Notes {
		fmt.Fprintf(r.out, "      (%s)\n", n)
	}
	decided := s.Recorded
	if s.Played {
		decided = s.Actions
	}
	for i, a := range decided {
		mark := "  "
		if s.Difference != nil && s.Difference.Index == i {
			mark = "! "
		}
		fmt.Fprintf(r.out, "    %s%s\n", mark, trace.DescribeAction(a))
	}
	if s.Difference != nil {
		_, err := fmt.Fprintf(r.out, "  DIFFERENT: %v\n", s.Difference)
		return err
	}
	return nil
}

// since is a time since the start of the trace, to the microsecond.
func since(at int64) string { return fmt.Sprintf("+%.6fs", time.Duration(at).Seconds()) }

// happened says what an entry tells of.
func happened(s trace.Step) string {
	e := s.Entry
	switch {
	case e.Begin != nil:
		return fmt.Sprintf("%s begins, %s", e.Begin.Kind, e.Begin.Start)
	case e.Event != nil:
		return trace.DescribeEvent(s.Event)
	case e.Reconfigure != nil:
		return "has another configuration"
	case e.End:
		return "has ended"
	default:
		return "entries are missing"
	}
}

// stepJSON prints an entry as it is, with what was played where that is different.
func (r *replayer) stepJSON(s trace.Step) error {
	type difference struct {
		Action   int    `json:"action"` // its index; -1: the time of the next waking
		Recorded string `json:"recorded"`
		Played   string `json:"played"`
	}
	out := struct {
		trace.Entry
		Played     bool        `json:"played"`
		Difference *difference `json:"difference"` // null: none
		Notes      []string    `json:"notes,omitempty"`
	}{Entry: s.Entry, Played: s.Played, Notes: s.Notes}
	if d := s.Difference; d != nil {
		out.Difference = &difference{d.Index, d.Recorded, d.Played}
	}
	if r.quiet && s.Difference == nil {
		return nil
	}
	return json.NewEncoder(r.out).Encode(out)
}

// summary says for each role whether it has decided the same.
func (r *replayer) summary() (same bool, err error) {
	same = true
	names := make([]string, 0, len(r.roles))
	for name, x := range r.roles {
		names = append(names, name)
		switch {
		case x.Differs > 0:
			x.Result = "other decisions"
			same = false
		case x.Played == x.Events:
			x.Result = "same decisions"
		case x.Played > 0:
			x.Result = "same decisions as far as its state was known"
		default:
			x.Result = "not played: its state was not known"
		}
	}
	slices.Sort(names)
	if r.json {
		return same, json.NewEncoder(r.out).Encode(struct {
			Roles map[string]*replayed `json:"roles"`
			Same  bool                 `json:"same"`
		}{r.roles, same})
	}
	if !r.quiet {
		fmt.Fprintln(r.out)
	}
	for _, name := range names {
		x := r.roles[name]
		fmt.Fprintf(r.out, "%s: %s (%d events, %d actions, %d of the events played)\n", name, x.Result, x.Events, x.Actions, x.Played)
	}
	return same, nil
}
