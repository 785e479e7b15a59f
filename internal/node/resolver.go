package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// Bounds of what is written: what the servers of the network say.
	maxResolvers = 8
	maxDomains   = 16
	maxDomain    = 253 // octets (RFC 1035 §2.3.4, without the last dot)
)

// resolver is the file with the DNS servers and search domains that DHCPv6
// servers told. It is written by a goroutine of its own, the latest of what it is to hold:
// it may be on a medium that stands still, and no handover waits for that.
type resolver struct {
	path string // empty: there is none
	log  *slog.Logger

	mu      sync.Mutex
	wanted  []byte        // nil: no file
	writing chan struct{} // closed when wanted has been written; nil: nobody writes

	written bool // there is a file of ours; of the goroutine that writes
}

// resolve writes the resolver file, if what it has to hold may have changed.
func (s *Shell) resolve() {
	if !s.resolverDue {
		return
	}
	s.resolverDue = false
	var servers []string
	var domains []string
	for _, index := range slices.Sorted(maps.Keys(s.clients)) {
		u := s.clients[index]
		for _, a := range u.lease.DNS {
			if a.IsLinkLocalUnicast() {
				a = a.WithZone(u.link.Name)
			}
			if name := a.String(); usableResolver(a) && !slices.Contains(servers, name) && len(servers) < maxResolvers {
				servers = append(servers, name)
			}
		}
		for _, d := range u.lease.Domains {
			if d = strings.TrimSuffix(d, "."); usableDomain(d) && !slices.Contains(domains, d) && len(domains) < maxDomains {
				domains = append(domains, d)
			}
		}
	}
	s.resolver.set(resolverText(servers, domains))
}

// resolverText is the file in the form of resolv.conf(5); nil without anything.
func resolverText(servers, domains []string) []byte {
	if len(servers) == 0 && len(domains) == 0 {
		return nil
	}
	var b bytes.Buffer
	fmt.Fprintln(&b, "# Written by roam6: what DHCPv6 servers told.")
	for _, a := range servers {
		fmt.Fprintln(&b, "nameserver", a)
	}
	if len(domains) > 0 {
		fmt.Fprintln(&b, "search", strings.Join(domains, " "))
	}
	return b.Bytes()
}

func usableResolver(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}

// usableDomain reports whether a name from the network can stand in a file of
// words and lines.
func usableDomain(d string) bool {
	if d == "" || len(d) > maxDomain || d[0] == '-' || d[0] == '.' {
		return false
	}
	return !strings.ContainsFunc(d, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

// set has the file replaced where its content is not what it should be. Nothing is
// written where there is nothing to tell and no file of ours.
func (r *resolver) set(text []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.path == "" || bytes.Equal(text, r.wanted) {
		return
	}
	if r.wanted = text; r.writing == nil {
		r.writing = make(chan struct{})
		go r.writeRunLoop(text)
	}
}

// writeRunLoop writes until the file is what it should be, or could not be made so.
func (r *resolver) writeRunLoop(text []byte) {
	for latest := false; !latest; {
		if err := r.write(text); err != nil {
			r.log.Warn("the resolver file cannot be written", "reason", err)
		}
		r.mu.Lock()
		if latest = bytes.Equal(text, r.wanted); latest {
			close(r.writing)
			r.writing = nil
		}
		text = r.wanted
		r.mu.Unlock()
	}
}

// write replaces the file, or removes it if it is ours.
func (r *resolver) write(text []byte) error {
	if text == nil {
		return r.remove()
	}
	half := r.path + ".roam6"
	f, err := os.OpenFile(half, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(half, r.path)
	}
	if err != nil {
		os.Remove(half) // what counts is why it could not be written
		return err
	}
	r.written = true
	return nil
}

func (r *resolver) remove() error {
	if !r.written {
		return nil
	}
	r.written = false
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// close removes the file, if there is one of ours. It does not wait for ever: a broken
// medium must not keep the daemon from stopping.
func (r *resolver) close() {
	r.set(nil)
	r.mu.Lock()
	writing := r.writing
	r.mu.Unlock()
	if writing == nil {
		return
	}
	select {
	case <-writing:
	case <-time.After(lastSaves):
		r.log.Warn("stopping although the resolver file could not be removed", "file", r.path)
	}
}
