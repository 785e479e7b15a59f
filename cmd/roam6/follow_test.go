package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roam6/internal/control"
)

func seconds(n float64) *control.Seconds {
	s := control.Seconds(n * float64(time.Second))
	return &s
}

// network is a mobile network prefix as the daemon tells of it, without a
// downstream and for ever.
func network(prefix string) control.NetworkPrefix {
	return control.NetworkPrefix{
		Side: control.SideMobile, Name: "train", HomeAddress: netip.MustParseAddr("2001:db8:1::2"),
		Prefix: netip.MustParsePrefix(prefix), State: "usable", Origin: control.OriginConfigured,
	}
}

// leased is one that is delegated for a while.
func leased(prefix string, preferred, valid float64) control.NetworkPrefix {
	p := network(prefix)
	p.Origin, p.Preferred, p.Valid = control.OriginDelegated, seconds(preferred), seconds(valid)
	return p
}

func on(downstream string, p control.NetworkPrefix) control.NetworkPrefix {
	p.Downstream = downstream
	return p
}

// followBench is a follower with a daemon, a clock and a command of its own.
type followBench struct {
	follower
	at       time.Time
	mobiles  []string // homes of the mobile
	networks []control.NetworkPrefix
	gone     error // the daemon does not answer
	fails    error // the command fails
	ran      []string
	log      bytes.Buffer
}

func newFollowBench() *followBench {
	b := &followBench{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), mobiles: []string{"2001:db8:1::2"}}
	b.follower = follower{
		mobile: "train", now: func() time.Time { return b.at }, err: &b.log,
		ask: func(context.Context) (control.Updates, control.Prefixes, error) {
			u := control.Updates{Updates: []control.Update{{Mobile: "bus", HomeAddress: netip.MustParseAddr("2001:db8:1::99")}}}
			for _, home := range b.mobiles {
				u.Updates = append(u.Updates, control.Update{Mobile: "train", HomeAddress: netip.MustParseAddr(home)})
			}
			return u, control.Prefixes{Network: b.networks}, b.gone
		},
		run: func(_ context.Context, event string, environment []string) error {
			b.ran = append(b.ran, strings.Join(append([]string{event}, environment...), "|"))
			return b.fails
		},
	}
	return b
}

// after lets time pass and steps; it returns what was run.
func (b *followBench) after(d time.Duration) []string {
	b.at, b.ran = b.at.Add(d), nil
	b.step(context.Background())
	return b.ran
}

func upWith(homes, prefixes string) string {
	return "up|ROAM6_MOBILE=train|ROAM6_HOME_ADDRESSES=" + homes + "|ROAM6_PREFIXES=" + prefixes
}

func TestOffer(t *testing.T) {
	stranger := network("2001:db8:999::/56")
	stranger.Name = "bus"
	served := network("2001:db8:998::/56")
	served.Side = control.SideAgent
	refused := network("2001:db8:997::/56")
	refused.State = "refused"
	for _, tt := range []struct {
		name     string
		homes    []string
		networks []control.NetworkPrefix
		want     string
	}{
		{"host", []string{"2001:db8:1::2"}, nil, upWith("2001:db8:1::2", "")},
		{"configured", []string{"2001:db8:1::2"}, []control.NetworkPrefix{network("2001:db8:100::/56")},
			upWith("2001:db8:1::2", "2001:db8:100::/56,4294967295,4294967295")},
		{"delegated", []string{"2001:db8:1::2"}, []control.NetworkPrefix{leased("2001:db8:8000::/56", 1800.9, 3600)},
			upWith("2001:db8:1::2", "2001:db8:8000::/56,1800,3600")},
		{"deprecated", []string{"2001:db8:1::2"}, []control.NetworkPrefix{leased("2001:db8:8000::/56", 0, 60)},
			upWith("2001:db8:1::2", "2001:db8:8000::/56,0,60")},
		{"over", []string{"2001:db8:1::2"}, []control.NetworkPrefix{leased("2001:db8:8000::/56", 0, 0)}, upWith("2001:db8:1::2", "")},
		{"a lifetime that looks infinite", []string{"2001:db8:1::2"}, []control.NetworkPrefix{leased("2001:db8:8000::/56", 5e9, 5e9)},
			upWith("2001:db8:1::2", "2001:db8:8000::/56,4294967294,4294967294")},
		{"numbered by roam6", []string{"2001:db8:1::2"}, []control.NetworkPrefix{
			on("br-lan", network("2001:db8:100::/64")), leased("2001:db8:8000::/56", 60, 60), on("br-lan", leased("2001:db8:8000::/64", 60, 60)),
		}, upWith("2001:db8:1::2", "")},
		{"numbered by roam6 in part", []string{"2001:db8:1::2"}, []control.NetworkPrefix{
			leased("2001:db8:8000::/56", 60, 60), network("2001:db8:200::/56"), on("br-lan", leased("2001:db8:8000:1::/64", 60, 60)),
		}, upWith("2001:db8:1::2", "2001:db8:200::/56,4294967295,4294967295")},
		{"no interface can have it", []string{"2001:db8:1::2"}, []control.NetworkPrefix{network("2001:db8:100::/65"), network("2001:db8:101::/64")},
			upWith("2001:db8:1::2", "2001:db8:101::/64,4294967295,4294967295")},
		{"others'", []string{"2001:db8:1::2"}, []control.NetworkPrefix{stranger, served, refused}, upWith("2001:db8:1::2", "")},
		{"renumbered home", []string{"2001:db8:2::2", "2001:db8:1::2"}, []control.NetworkPrefix{network("2001:db8:100::/56"), network("2001:db8:100::/56")},
			upWith("2001:db8:1::2 2001:db8:2::2", "2001:db8:100::/56,4294967295,4294967295")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newFollowBench()
			b.mobiles, b.networks = tt.homes, tt.networks
			if got := b.after(0); len(got) != 1 || got[0] != tt.want {
				t.Errorf("ran %q, want %q", got, tt.want)
			}
			if got := b.after(0); len(got) != 0 {
				t.Errorf("ran %q although nothing has changed", got)
			}
		})
	}
}

// Lifetimes count down without a word; a renewal is told, and each change of a prefix
// or home address.
func TestFollowChanges(t *testing.T) {
	b := newFollowBench()
	remaining := 3600.0
	for i, tt := range []struct {
		after  time.Duration
		change func()
		want   string // empty: nothing is run
	}{
		{0, func() {}, upWith("2001:db8:1::2", "2001:db8:8000::/56,3600,3600")},
		{time.Minute, func() { remaining -= 60 }, ""},
		{10 * time.Minute, func() { remaining -= 601.5 }, ""}, // within the slack
		{time.Second, func() { remaining = 3600 }, upWith("2001:db8:1::2", "2001:db8:8000::/56,3600,3600")},
		{time.Hour, func() { remaining = 0 }, upWith("2001:db8:1::2", "")},
		{time.Hour, func() {}, ""},
		{time.Second, func() { b.mobiles = []string{"2001:db8:2::2"} }, upWith("2001:db8:2::2", "")},
	} {
		tt.change()
		b.networks = []control.NetworkPrefix{leased("2001:db8:8000::/56", remaining, remaining)}
		if got := strings.Join(b.after(tt.after), "\n"); got != tt.want {
			t.Errorf("step %d: ran %q, want %q", i, got, tt.want)
		}
	}
	if b.log.Len() > 0 {
		t.Errorf("log %q", b.log.String())
	}
}

// A deprecated prefix is not told each time it is looked at.
func TestFollowDeprecated(t *testing.T) {
	b := newFollowBench()
	for i, want := range []int{1, 0, 0} {
		b.networks = []control.NetworkPrefix{leased("2001:db8:8000::/56", 0, 3600-float64(i)*60)}
		if got := b.after(time.Minute); len(got) != want {
			t.Errorf("step %d: ran %q", i, got)
		}
	}
}

// A daemon that is restarted changes nothing but its device, so it is told again; one
// that stays away takes the mobile down, once.
func TestFollowRestart(t *testing.T) {
	b := newFollowBench()
	up := upWith("2001:db8:1::2", "")
	away := fmt.Errorf("control socket: %w", control.ErrNotRunning)
	for i, tt := range []struct {
		after time.Duration
		gone  error
		homes int
		want  string
	}{
		{0, away, 1, ""}, // not there yet
		{time.Minute, nil, 1, up},
		{time.Second, away, 1, ""},
		{8 * time.Second, away, 1, ""},
		{time.Second, nil, 1, up}, // its device is a new one
		{time.Second, nil, 1, ""},
		{time.Second, away, 1, ""},
		{9 * time.Second, away, 1, "down"},
		{time.Second, away, 1, ""},
		{time.Hour, nil, 1, up},
		{time.Second, nil, 0, ""}, // a reload without the section
		{followGrace, nil, 0, "down"},
		{time.Second, nil, 1, up},
	} {
		b.gone, b.mobiles = tt.gone, []string{"2001:db8:1::2"}[:tt.homes]
		if got := strings.Join(b.after(tt.after), "\n"); got != tt.want {
			t.Errorf("step %d: ran %q, want %q", i, got, tt.want)
		}
	}
	if got := strings.Count(b.log.String(), "\n"); got != 4 { // one for each outage
		t.Errorf("%d lines of log:\n%s", got, b.log.String())
	}
	if !strings.Contains(b.log.String(), `no mobile "train"`) || !strings.Contains(b.log.String(), "is roam6 running?") {
		t.Errorf("log %q", b.log.String())
	}
}

// A command that fails is run again until it succeeds, and complained of once.
func TestFollowCommandFails(t *testing.T) {
	b := newFollowBench()
	b.fails = errors.New("exit status 1")
	for range 3 {
		if got := b.after(time.Second); len(got) != 1 {
			t.Fatalf("ran %q", got)
		}
	}
	b.fails = nil
	if got := b.after(time.Second); len(got) != 1 {
		t.Errorf("ran %q", got)
	}
	if got := b.after(time.Second); len(got) != 0 {
		t.Errorf("ran %q again", got)
	}
	if got := b.log.String(); strings.Count(got, "exit status 1") != 1 {
		t.Errorf("log %q", got)
	}
	b.gone, b.fails = control.ErrNotRunning, errors.New("exit status 2")
	b.after(followGrace)
	if got := b.after(time.Second); len(got) != 1 || got[0] != "down" {
		t.Errorf("ran %q, want down again", got)
	}
}

func TestFollowUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-h"}, 0, "usage: roam6 follow"},
		{nil, 2, "a mobile and a command are needed"},
		{[]string{"train"}, 2, "a mobile and a command are needed"},
		{[]string{"--nonsense", "train", "true"}, 2, "nonsense"},
	} {
		var out, err bytes.Buffer
		if code := dispatch(append([]string{"follow"}, tt.args...), stdio{out: &out, err: &err}); code != tt.code {
			t.Errorf("%q: exit code %d, want %d", tt.args, code, tt.code)
		}
		if got := out.String() + err.String(); !strings.Contains(got, tt.want) {
			t.Errorf("%q: said %q, want %q", tt.args, got, tt.want)
		}
	}
}

// followedDaemon has one mobile router.
type followedDaemon struct{ home netip.Addr }

func (d followedDaemon) Show(_ context.Context, t control.Topic) (control.Document, error) {
	if t == control.TopicUpdates {
		return control.Updates{Updates: []control.Update{{Mobile: "train", HomeAddress: d.home}}}, nil
	}
	return control.Prefixes{Network: []control.NetworkPrefix{network("2001:db8:100::/56"), leased("2001:db8:8000::/60", 60, 90)}}, nil
}

func (d followedDaemon) Reload(context.Context) error { return nil }

// All of it, over a control socket, until it is told to end.
func TestFollow(t *testing.T) {
	directory := t.TempDir()
	path, record := filepath.Join(directory, "s"), filepath.Join(directory, "record")
	s, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served, followed := make(chan error, 1), make(chan struct{})
	go func() { served <- s.Serve(ctx, followedDaemon{netip.MustParseAddr("2001:db8:1::2")}) }()
	var log bytes.Buffer
	f := newFollower(path, "train", []string{"/bin/sh", "-c", `printf '%s\n' "$1 $ROAM6_HOME_ADDRESSES $ROAM6_PREFIXES" >>` + record, "script"}, stdio{out: &log, err: &log})
	told := make(chan struct{}, 1)
	run := f.run
	f.run = func(ctx context.Context, event string, environment []string) error {
		defer func() { told <- struct{}{} }()
		return run(ctx, event, environment)
	}
	go func() { f.followRunLoop(ctx, time.Millisecond); close(followed) }()
	<-told
	cancel()
	<-followed
	if err := errors.Join(<-served, s.Close()); err != nil {
		t.Error(err)
	}
	got, err := os.ReadFile(record)
	if want := "up 2001:db8:1::2 2001:db8:100::/56,4294967295,4294967295 2001:db8:8000::/60,60,90\n"; err != nil || string(got) != want {
		t.Errorf("recorded %q (%v), want %q; log %q", got, err, want, log.String())
	}
}

// The command gets the event behind its own arguments, the environment beside the one
// it would have anyway, and its failure is told.
func TestFollowCommand(t *testing.T) {
	record := filepath.Join(t.TempDir(), "record")
	t.Setenv("INTERFACE", "roam")
	run := commandRunner([]string{"/bin/sh", "-c", `printf '%s\n' "$1 $2 $INTERFACE $ROAM6_PREFIXES" >>` + record + `; [ "$2" = up ]`, "script", "own"}, stdio{out: os.Stdout, err: os.Stderr})
	if err := run(context.Background(), "up", []string{"ROAM6_PREFIXES=2001:db8:100::/56,1,2"}); err != nil {
		t.Error(err)
	}
	if err := run(context.Background(), "down", nil); err == nil || !strings.Contains(err.Error(), "/bin/sh down: exit status 1") {
		t.Errorf("error %v", err)
	}
	got, err := os.ReadFile(record)
	if want := "own up roam 2001:db8:100::/56,1,2\nown down roam \n"; err != nil || string(got) != want {
		t.Errorf("recorded %q (%v), want %q", got, err, want)
	}
}
