package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"roam6/internal/config"
)

// otherAdvertisers are the interfaces on which another program of this machine sends
// router advertisements, with who that is and what the operator may do about it. Both
// would speak for the same router, from the same address, and take each other's prefixes
// and lifetimes back: we do not advertise there.
type otherAdvertisers map[string]string

// maxOtherAdvertisers is the largest file of them, in octets.
const maxOtherAdvertisers = 64 << 10

// parseOtherAdvertisers reads lines of an interface's name, a space and the text about
// it.
func parseOtherAdvertisers(text string) otherAdvertisers {
	all := make(otherAdvertisers)
	for line := range strings.Lines(text) {
		name, about, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		if about = strings.TrimSpace(about); about == "" {
			about = "another program of this machine"
		}
		all[name] = about
	}
	return all
}

// readOtherAdvertisers reads the file at path. One that is not there names nobody, and
// an empty path no file.
func readOtherAdvertisers(path string) (otherAdvertisers, error) {
	if path == "" {
		return nil, nil
	}
	text, err := readAtMost(path, maxOtherAdvertisers)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("interfaces on which other programs advertise: %w", err)
	}
	return parseOtherAdvertisers(string(text)), nil
}

// readAtMost reads a file that is to have no more than limit octets.
func readAtMost(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is larger than %d octets", path, limit)
	}
	return text, err
}

// setOtherAdvertisers reports whether they are others than before, so that what is
// advertised has to follow. It runs in the loop.
func (s *Shell) setOtherAdvertisers(all otherAdvertisers) bool {
	before := s.otherAdvertisers
	s.otherAdvertisers = all
	return !maps.Equal(before, all)
}

// leaveToOther ends the advertisements on a link that another program advertises on, and
// says why. There is no farewell: hosts would take it for the other's, which is the same
// router to them, and have none until its next advertisement.
func (s *Shell) leaveToOther(c *linkConn, other string) {
	s.predecessor(c.link.Index)
	if c.advertiser != nil {
		c.advertiser.abandon()
		s.setAdvertiser(c, nil)
	}
	reason := fmt.Sprintf("another program sends them there: %s; they are wanted here by %s of %s", other, strings.Join(advertisedBy(s.config, c.link.Name), " and "), s.path)
	if c.refusal == reason {
		return
	}
	c.refusal = reason
	s.log.LogAttrs(context.Background(), slog.LevelError, "no router advertisements on this interface", slog.String("link", c.link.Name), slog.String("reason", reason))
}

// advertisedBy are the sections that want advertisements on an interface.
func advertisedBy(c *config.Config, name string) (sections []string) {
	for _, in := range c.Interfaces {
		if in.Advertise && in.Name == name {
			sections = append(sections, fmt.Sprintf("AdvSendAdvert of section interface '%s'", name))
		}
	}
	for _, m := range c.MobileNodes {
		if slices.Contains(m.Downstreams, name) {
			sections = append(sections, fmt.Sprintf("downstream of section '%s'", m.Name))
		}
	}
	for _, r := range c.PrefixRequests {
		if slices.Contains(r.Downstreams, name) {
			sections = append(sections, fmt.Sprintf("downstream of section '%s'", r.Name))
		}
	}
	if sections == nil { // deprecated prefixes of what was configured
		sections = []string{"what was a downstream"}
	}
	return sections
}
