package node

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"roam6/internal/logging/logtest"
	"roam6/internal/role"
)

// The resolver file holds what all clients were told, is written when that changes
// only, and takes nothing that would not be one word of it.
//
// Covers: Attack: malformed options.
func TestResolverFile(t *testing.T) {
	s, _ := bareShell(t, "")
	path := filepath.Join(t.TempDir(), "resolv.conf")
	s.resolver.path, s.resolver.log = path, s.log
	content := func() string {
		s.resolverDue = true
		s.resolve()
		s.resolver.settled()
		b, err := os.ReadFile(path)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	if _, err := os.Stat(path); err == nil || content() == "" {
		t.Error("a file without anything to tell")
	}
	dns := func(list ...string) (out []netip.Addr) {
		for _, a := range list {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	s.clients[7] = &uplinkClient{link: role.Link{Index: 7, Name: "up1"}, lease: role.Lease{
		DNS: dns("2001:db8::2", "2001:db8::1", "::", "ff02::1", "::1"), Domains: []string{"b.example", "a.example", "", "-x", "with space", "new\nline", "x\x00"},
	}}
	s.clients[3] = &uplinkClient{link: role.Link{Index: 3, Name: "up0"}, lease: role.Lease{
		DNS: dns("fe80::53", "2001:db8::1"), Domains: []string{"a.example."},
	}}
	want := "# Written by roam6: what DHCPv6 servers told.\nnameserver fe80::53%up0\nnameserver 2001:db8::1\nnameserver 2001:db8::2\nsearch a.example b.example\n"
	if got := content(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := os.WriteFile(path, []byte("somebody's"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := content(); got != "somebody's" {
		t.Errorf("written without a change: %q", got)
	}
	clear(s.clients)
	if content(); !gone(path) {
		t.Error("with nothing to tell any more the file is there")
	}
	s.clients[3] = &uplinkClient{link: role.Link{Index: 3, Name: "up0"}, lease: role.Lease{DNS: dns("2001:db8::1")}}
	content()
	if s.resolver.close(); !gone(path) {
		t.Error("the file is left")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}

// A file that cannot be written is not ours: what somebody else has there stays.
func TestResolverFileOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("somebody's"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".roam6", 0o755); err != nil {
		t.Fatal(err)
	}
	r := resolver{path: path}
	if err := r.write([]byte("nameserver ::1\n")); err == nil {
		t.Fatal("written")
	}
	if r.close(); gone(path) {
		t.Error("removed")
	}
}

// A medium that stands still holds up neither who tells what the file is to hold, nor the
// end for long, and when it goes on the file holds what was told last.
func TestResolverFileStandsStill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := unix.Mkfifo(path+".roam6", 0o600); err != nil {
		t.Fatal(err)
	}
	out := new(logtest.Buffer)
	r := resolver{path: path, log: slog.New(slog.NewTextHandler(out, nil))}
	r.set([]byte("nameserver ::1\n")) // waits for a reader of the pipe
	r.set([]byte("nameserver ::2\n"))
	r.close()
	if !strings.Contains(out.String(), "stopping although") {
		t.Errorf("said %q", out)
	}
	r.set([]byte("nameserver ::3\n"))
	reader, err := os.Open(path + ".roam6")
	if err != nil {
		t.Fatal(err)
	}
	r.settled()
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); string(b) != "nameserver ::3\n" || err != nil {
		t.Errorf("holds %q, %v", b, err)
	}
	if r.close(); !gone(path) {
		t.Error("the file is left")
	}
}

// settled waits until nothing is being written.
func (r *resolver) settled() {
	r.mu.Lock()
	writing := r.writing
	r.mu.Unlock()
	if writing != nil {
		<-writing
	}
}

func gone(path string) bool {
	_, err := os.Stat(path)
	return os.IsNotExist(err)
}
