package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"roam6/internal/control"
)

// showTimeout bounds the wait for a daemon's answer, watchInterval is how often
// --watch asks.
const (
	showTimeout   = 15 * time.Second
	watchInterval = time.Second
)

// show asks the running daemon what it does.
func show(args []string, std stdio) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return showEvery(ctx, watchInterval, args, std)
}

// showEvery is show with another interval of --watch, which ends with ctx.
func showEvery(ctx context.Context, interval time.Duration, args []string, std stdio) int {
	s := shower{std: std}
	colour := colourAuto
	flags := flag.NewFlagSet("show", flag.ContinueOnError)
	flags.SetOutput(std.err)
	flags.Usage = func() {}
	flags.BoolVar(&s.json, "json", false, "")
	path := flags.String("control", control.DefaultPath, "")
	watch := flags.Bool("watch", false, "")
	flags.Var(&colour, "color", "")
	topics, err := interspersed(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		showUsage(std.out)
		return 0
	case err != nil:
		showUsage(std.err)
		return 2
	}
	switch len(topics) {
	case 0:
		topics = []string{control.TopicStatus.String()}
	case 1:
	default:
		showUsage(std.err)
		return 2
	}
	s.terminal = terminalOf(std.out, os.Getenv, colour)
	if s.topic, err = control.ParseTopic(topics[0]); err != nil {
		fmt.Fprintln(std.err, "roam6 show:", err)
		return 2
	}
	s.client = control.NewClient(*path)
	if *watch {
		err = s.watch(ctx, interval)
	} else {
		err = s.once(ctx)
	}
	if err != nil {
		fmt.Fprintln(std.err, "roam6 show:", err)
		return 1
	}
	return 0
}

func showUsage(w io.Writer) {
	topics := make([]string, 0, len(control.Topics()))
	for _, t := range control.Topics() {
		topics = append(topics, t.String())
	}
	fmt.Fprintf(w, `usage: roam6 show [%s] [OPTION...]

Asks the running daemon what it does; without a topic, for its status.

  status         what runs, which configuration is in force, and what is wrong
  bindings       the binding caches of home agent, anchor and correspondent: which mobile is where
  updates        a mobile's registration, its mobility anchor points and correspondents
  home-agents    the home agents of a home link, and those that a mobile knows
  anchors        the mobility anchor points of this node, and those that a mobile hears
  prefixes       prefixes of home links and of mobile networks
  uplinks        a mobile's interfaces, and the routers it hears there
  ra             the router advertisements that this node sends, and what they tell
  leases         addresses and prefixes that DHCPv6 servers gave to this node
  delegations    prefixes that a home agent gave to mobile routers
  tunnels        what the data plane forwards, through tunnels and past them
  handovers      the timeline of the last moves, drawn
  stats          counters

  --json         JSON instead of a table, as docs/show.md has it
  --watch        again each second, in place on a terminal; with --json, a line each time
  --color WHEN   always, never, or auto: on a terminal, unless NO_COLOR is set
  --control PATH the daemon's control socket (%s)
`, strings.Join(topics, "|"), control.DefaultPath)
}

// shower shows one topic.
type shower struct {
	std      stdio
	client   *control.Client
	topic    control.Topic
	json     bool
	terminal terminal
}

func (s *shower) ask(ctx context.Context) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, showTimeout)
	defer cancel()
	return s.client.Show(ctx, s.topic)
}

func (s *shower) once(ctx context.Context) error {
	data, err := s.ask(ctx)
	if err != nil {
		return err
	}
	if !s.json {
		text, err := s.table(data)
		if err != nil {
			return err
		}
		_, err = io.WriteString(s.std.out, text) // at once
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err = s.std.out.Write(b.Bytes())
	return err
}

// table is the document as people read it.
func (s *shower) table(data json.RawMessage) (string, error) {
	document, err := control.Decode(s.topic, data)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = document.Render(control.Styled{Writer: &b, Style: s.terminal.style})
	return b.String(), err
}

// watch shows the topic again and again until ctx ends. A daemon that cannot
// be asked at first is an error; one that goes away later, as in a restart, is
// waited for.
func (s *shower) watch(ctx context.Context, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for asked := false; ; asked = true {
		data, err := s.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !asked:
			return err
		case err != nil:
			fmt.Fprintln(s.std.err, "roam6 show:", err)
		case s.json:
			_, err = s.std.out.Write(append(data, '\n'))
		default:
			err = s.again(data, asked)
		}
		if err != nil && data != nil { // nobody reads any more
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// again writes a table once more: in the place of the last one, or below it.
func (s *shower) again(data json.RawMessage, asked bool) error {
	text, err := s.table(data)
	if err != nil {
		return err
	}
	text = time.Now().Format(time.TimeOnly) + "\n\n" + text
	switch {
	case s.terminal.redraws() && !asked:
		const clearAll = "\x1b[2J"
		text = clearAll + s.terminal.screen(text)
	case s.terminal.redraws():
		text = s.terminal.screen(text)
	case asked:
		text = "\n" + text
	}
	_, err = io.WriteString(s.std.out, text)
	return err
}
