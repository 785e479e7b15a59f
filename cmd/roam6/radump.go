package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os/signal"
	"syscall"
	"time"

	"roam6/internal/radump"
	"roam6/nd"
	"roam6/nd/ndconn"
)

// dumpRAs shows the router advertisements that are heard.
func dumpRAs(args []string, std stdio) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return dumpRAsUntil(ctx, args, std)
}

// dumpRAsUntil is dumpRAs until ctx is done. It listens in the network namespace
// of the calling thread.
func dumpRAsUntil(ctx context.Context, args []string, std stdio) int {
	flags := flag.NewFlagSet("radump", flag.ContinueOnError)
	flags.SetOutput(std.err)
	flags.Usage = func() {}
	d := dumper{std: std, heard: make(chan radump.Heard)}
	flags.BoolVar(&d.json, "json", false, "")
	flags.BoolVar(&d.uci, "uci", false, "")
	count := flags.Uint("count", 0, "")
	timeout := flags.Duration("timeout", 0, "")
	solicit := flags.Bool("solicit", false, "")
	names, err := interspersed(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		dumpUsage(std.out)
		return 0
	case err != nil:
		dumpUsage(std.err)
		return 2
	case d.json && d.uci:
		return d.failed(2, errors.New("either --json or --uci"))
	case *timeout < 0:
		return d.failed(2, fmt.Errorf("--timeout %v: a time to wait, such as 30s", *timeout))
	}
	if *timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, *timeout, errTimeout)
		defer cancel()
	}
	listening, stop := context.WithCancel(ctx)
	defer d.close()
	defer stop() // before close, which waits for what is blocked in hear
	if err := d.open(listening, names); err != nil {
		return d.failed(1, err)
	}
	if *solicit {
		for _, c := range d.conns {
			if err := c.SendRS(); err != nil {
				d.failed(1, err) // it may come up, and a router speak by itself
			}
		}
	}
	return d.run(listening, *count)
}

// errTimeout ends the command after --timeout.
var errTimeout = errors.New("no router advertisement was heard; --solicit asks for one")

func dumpUsage(w io.Writer) {
	fmt.Fprint(w, `usage: roam6 radump [OPTION...] [INTERFACE...]

Shows the router advertisements that are heard on the interfaces, or on all that
are up. It changes nothing there, and works where a router, this one or the
kernel, ignores advertisements. It needs root, or CAP_NET_RAW and CAP_NET_ADMIN.

  --json       a line of JSON for each
  --uci        what would make roam6 advertise the same, to paste into its
               configuration; each router once, and again when it says another thing
  --count N    end after N advertisements
  --timeout D  end after a time such as 30s
  --solicit    ask the routers of the link for an advertisement (one solicitation)

Exit code 0: something was heard, or the command was interrupted. 1: nothing was
heard before the timeout, or it is not possible to listen. 2: wrong usage.
`)
}

// dumper is one run of the command.
type dumper struct {
	std       stdio
	json, uci bool
	conns     []*ndconn.Conn
	heard     chan radump.Heard
	history   radump.History
}

func (d *dumper) failed(code int, err error) int {
	fmt.Fprintln(d.std.err, "roam6 radump:", err)
	return code
}

// open listens on the interfaces of those names, or on all where that is possible,
// until ctx is done.
func (d *dumper) open(ctx context.Context, names []string) error {
	links, err := linksNamed(names)
	if err != nil {
		return err
	}
	var problems []error
	for _, l := range links {
		c, err := ndconn.Open(ndconn.LinkRef{Index: l.Index, Name: l.Name, MTU: l.MTU}, func(r ndconn.Received) { d.hear(ctx, l.Name, r) })
		if err == nil {
			d.conns = append(d.conns, c)
			continue
		}
		if problems = append(problems, err); len(names) > 0 {
			break
		}
	}
	if len(problems) > 0 && (len(names) > 0 || len(d.conns) == 0) {
		return problems[0]
	}
	for _, err := range problems {
		d.failed(1, err)
	}
	return nil
}

// linksNamed returns the interfaces of those names, each once, or all that can
// have routers.
func linksNamed(names []string) ([]net.Interface, error) {
	if len(names) == 0 {
		all, err := net.Interfaces()
		if err != nil {
			return nil, fmt.Errorf("interfaces: %w", err)
		}
		var links []net.Interface
		for _, l := range all {
			if l.Flags&net.FlagUp != 0 && l.Flags&net.FlagLoopback == 0 {
				links = append(links, l)
			}
		}
		if len(links) == 0 {
			return nil, errors.New("no interface is up")
		}
		return links, nil
	}
	var links []net.Interface
	given := map[string]bool{}
	for _, name := range names {
		if given[name] {
			continue
		}
		given[name] = true
		l, err := net.InterfaceByName(name)
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", name, err)
		}
		links = append(links, *l)
	}
	return links, nil
}

func (d *dumper) close() {
	for _, c := range d.conns {
		c.Close()
	}
}

// hear hands an advertisement over. It is called by the reader of a link.
func (d *dumper) hear(ctx context.Context, link string, r ndconn.Received) {
	ra, ok := r.Message.(nd.RouterAdvertisement)
	if !ok {
		return
	}
	h := radump.Heard{Time: time.Now(), Link: link, Source: r.Header.Source, Destination: r.Header.Destination, LinkAddr: r.LinkAddr, RA: ra}
	select {
	case d.heard <- h:
	case <-ctx.Done():
	}
}

// run shows what is heard: count advertisements, or with 0 without end.
func (d *dumper) run(ctx context.Context, count uint) int {
	gone := make(chan error)
	for _, c := range d.conns {
		go func() {
			<-c.Done()
			select {
			case gone <- fmt.Errorf("%v: %w", c.Link(), c.Err()):
			case <-ctx.Done():
			}
		}()
	}
	links := len(d.conns)
	for n := uint(0); ; {
		select {
		case h := <-d.heard:
			if err := d.show(h); err != nil {
				return d.failed(1, err)
			}
			if n++; n == count {
				return 0
			}
		case err := <-gone:
			d.failed(1, err)
			if links--; links == 0 {
				return 1
			}
		case <-ctx.Done():
			if err := context.Cause(ctx); n == 0 && errors.Is(err, errTimeout) {
				return d.failed(1, err)
			}
			return 0
		}
	}
}

// show prints an advertisement in the form that was asked for.
func (d *dumper) show(h radump.Heard) error {
	gap := d.history.Hear(h)
	text := ""
	switch {
	case d.json:
		text = h.JSON(gap)
	case d.uci:
		var err error
		if text, err = h.UCI(); err != nil {
			return err
		}
		if !d.history.News(h, text) {
			return nil
		}
		text += "\n"
	default:
		text = h.Text(gap)
	}
	_, err := io.WriteString(d.std.out, text)
	return err
}
