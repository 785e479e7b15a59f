// Package browsertest lets tests look at pages with a real browser: headless Chromium,
// by the DevTools protocol over a pipe. Nobody else can reach a browser that is driven
// so, and it needs no port.
package browsertest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait: a busy machine needs some seconds to start a browser.
const patience = 60 * time.Second

// Browser is a running browser. It ends with the test.
type Browser struct {
	t    testing.TB
	pipe io.Writer
	log  string // file of its standard error

	mu      sync.Mutex
	number  int
	waiting map[int]chan reply
	pages   map[string]*Page // by session
	ended   chan struct{}
}

type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

type reply struct {
	result json.RawMessage
	err    error
}

// Start starts a browser. start is what starts its process, such as in a namespace; nil:
// as any. Without Chromium the test skips, or fails as root, who is to have installed it.
func Start(t testing.TB, start func(*exec.Cmd) error) *Browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	switch {
	case err != nil && os.Getuid() == 0:
		t.Fatal("there is no chromium, which is to look at pages: apt-get install chromium")
	case err != nil:
		t.Skip("NOT TESTED: there is no chromium (apt-get install chromium), which is to look at pages")
	}
	profile := t.TempDir()
	cmd := exec.Command(path, "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--user-data-dir="+profile,
		"--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--no-proxy-server", "--force-color-profile=srgb", "--hide-scrollbars", "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+profile, "XDG_CONFIG_HOME="+profile, "XDG_CACHE_HOME="+profile)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, toBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromBrowser, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.CreateTemp(profile, "log")
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles, cmd.Stderr = []*os.File{in, out}, log
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(cmd); err != nil {
		t.Fatal(err)
	}
	_, _, _ = in.Close(), out.Close(), log.Close()
	b := &Browser{t: t, pipe: toBrowser, log: log.Name(), waiting: map[int]chan reply{}, pages: map[string]*Page{}, ended: make(chan struct{})}
	go b.readRunLoop(fromBrowser)
	t.Cleanup(func() {
		// Its children are of its process group.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		<-b.ended
		_, _ = toBrowser.Close(), fromBrowser.Close()
	})
	return b
}

// readRunLoop reads what the browser says: messages that end with a zero octet.
func (b *Browser) readRunLoop(from io.Reader) {
	defer close(b.ended)
	r := bufio.NewReader(from)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			message
			Params json.RawMessage `json:"params"`
		}
		if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
			continue
		}
		b.mu.Lock()
		if m.ID != 0 {
			answer := reply{result: m.Result}
			if m.Error != nil {
				answer.err = errors.New(m.Error.Message)
			}
			if c := b.waiting[m.ID]; c != nil {
				c <- answer
				delete(b.waiting, m.ID)
			}
		} else if p := b.pages[m.Session]; p != nil {
			p.event(m.Method, m.Params)
		}
		b.mu.Unlock()
	}
}

// call asks for something and reads the answer into result, unless that is nil.
func (b *Browser) call(session, method string, params, result any) {
	b.t.Helper()
	if err := b.try(session, method, params, result); err != nil {
		b.t.Fatalf("%s: %v\n%s", method, err, b.said())
	}
}

func (b *Browser) try(session, method string, params, result any) error {
	c := make(chan reply, 1)
	b.mu.Lock()
	b.number++
	m := message{ID: b.number, Session: session, Method: method, Params: params}
	b.waiting[m.ID] = c
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.pipe.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case answer := <-c:
		if answer.err != nil || result == nil {
			return answer.err
		}
		return json.Unmarshal(answer.result, result)
	case <-b.ended:
		return errors.New("the browser has ended")
	case <-time.After(patience):
		return fmt.Errorf("no answer within %v", patience)
	}
}

// said is the end of what the browser wrote to its standard error.
func (b *Browser) said() string {
	text, _ := os.ReadFile(b.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
