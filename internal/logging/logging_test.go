package logging

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roam6/internal/limit"
	"roam6/internal/logging/logtest"
	"roam6/internal/role"
)

// lines is what was written to a log, without times.
func lines(b *logtest.Buffer) []string {
	text := regexp.MustCompile(`time=\S+ `).ReplaceAllString(b.String(), "")
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func TestStderr(t *testing.T) {
	var b logtest.Buffer
	level := new(slog.LevelVar)
	l := New(Options{Level: level, Writer: &b})
	l.Debug("hidden")
	l.Info("attached", "link", "wan", "message", "two\nlines")
	level.Set(slog.LevelDebug)
	l.With("mobile", "train").WithGroup("g").Debug("shown", "x", 1)
	Write(context.Background(), l, role.Log{Level: slog.LevelWarn, Message: "binding refused", Attrs: []slog.Attr{slog.Int("status", 132)}})
	equal(t, lines(&b), []string{
		`level=INFO msg=attached link=wan message="two\nlines"`,
		`level=DEBUG msg=shown mobile=train g.x=1`,
		`level=WARN msg="binding refused" status=132`,
	})
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b logtest.Buffer
		l := New(Options{Writer: &b, Limit: Limit{Message: limit.Rate{Burst: 2, Every: 4 * time.Second}, Silence: 10 * time.Second}})
		for i := range 5 {
			l.With("from", "x").Info("flood", "i", i)
		}
		l.Warn("flood") // another level is another message
		l.Info("other")
		equal(t, lines(&b), []string{
			"level=INFO msg=flood from=x i=0", "level=INFO msg=flood from=x i=1", "level=WARN msg=flood", "level=INFO msg=other",
		})
		time.Sleep(9 * time.Second)
		l.Info("flood")
		time.Sleep(time.Second)
		synctest.Wait()
		// The end of the silence is told without anything being logged, and
		// without the attributes of whoever logged first.
		equal(t, lines(&b)[4:], []string{`level=INFO msg="suppressed repeated messages" suppressed=4 message=flood within=10s`})
		l.Info("flood")
		equal(t, lines(&b)[5:], []string{"level=INFO msg=flood"})
	})
}

// What is within the rate is all there, without a word of suppression.
func TestLimitRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b logtest.Buffer
		l := New(Options{Writer: &b, Limit: Limit{Message: limit.Rate{Burst: 2, Every: time.Second}}})
		for range 4 {
			l.Info("twice")
			l.Info("twice")
			time.Sleep(2 * time.Second)
		}
		if n := len(lines(&b)); n != 8 {
			t.Errorf("%d lines, want 8: %q", n, lines(&b))
		}
	})
}

// An error is logged although others have used up what there is for all.
func TestLimitTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b logtest.Buffer
		l := New(Options{Writer: &b, Limit: Limit{Total: limit.Rate{Burst: 3, Every: time.Minute}, Silence: time.Second}})
		for i := range 5 {
			l.Info(fmt.Sprint("message ", i))
		}
		l.Error("failed")
		l.Warn("warned")
		equal(t, lines(&b), []string{`level=INFO msg="message 0"`, `level=INFO msg="message 1"`, `level=INFO msg="message 2"`, "level=ERROR msg=failed"})
		time.Sleep(time.Second)
		synctest.Wait()
		if n := strings.Count(b.String(), "suppressed=1 "); n != 3 {
			t.Errorf("%d of three are told:\n%s", n, b.String())
		}
	})
}

// Hours of a router under attack, with a hand-over every five seconds: these show, and the
// rest is bounded, whatever the attacker does.
func TestLimitHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b logtest.Buffer
		l := New(Options{Writer: &b})
		const hours, all = 4, 4 * 3600
		for second := range all {
			if second%5 == 0 {
				l.Info("registered", "care_of", "2001:db8::1")
			}
			for kind := range 8 {
				for range 2 {
					l.Warn(fmt.Sprint("something that strangers cause, kind ", kind), "source", "2001:db8::2")
				}
			}
			time.Sleep(time.Second)
		}
		if registered := strings.Count(b.String(), "msg=registered"); registered < all/5*9/10 {
			t.Errorf("%d of %d hand-overs", registered, all/5)
		}
		// One a second, and for each message one a minute that tells of its silence.
		n := len(lines(&b))
		if most := totalBurst + all + 9*all/60; n > most {
			t.Errorf("%d lines, want %d at most", n, most)
		}
		if octets := len(b.String()); octets > hours<<19 {
			t.Errorf("%d octets", octets)
		}
		t.Logf("%d lines an hour, %d octets", n/hours, len(b.String())/hours)
	})
}

func TestLimitDebug(t *testing.T) {
	var b logtest.Buffer
	l := New(Options{Level: slog.LevelDebug, Writer: &b, Limit: Limit{Message: limit.Rate{Burst: 2}}})
	for range 100 {
		l.Debug("all of them")
	}
	if n := len(lines(&b)); n != 100 {
		t.Errorf("%d lines, want 100", n)
	}
}

// However many different messages there are, memory and volume are bounded.
func TestLimitMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b logtest.Buffer
		h := newLimiter(slog.NewTextHandler(&b, nil), Limit{
			Message: limit.Rate{Burst: 1, Every: time.Second}, Total: limit.Rate{Burst: 2 * maxMessages}, Silence: time.Second})
		l := slog.New(h)
		for i := range 3 * maxMessages {
			l.Info(fmt.Sprint("message ", i))
		}
		if n := len(lines(&b)); n != maxMessages+1 {
			t.Errorf("%d lines, want %d and one of the others", n, maxMessages)
		}
		counted := func() int {
			h.state.mu.Lock()
			defer h.state.mu.Unlock()
			return len(h.state.counts)
		}
		if n := counted(); n > maxMessages+1 {
			t.Errorf("%d are counted", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		l.Info("new")
		if got := lines(&b); got[len(got)-1] != "level=INFO msg=new" || counted() != 1 {
			t.Errorf("after the silence: %d are counted, last line %q", counted(), got[len(got)-1])
		}
	})
}
