//go:build !nopage && !nometrics

package page

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"roam6/internal/metrics"
	"roam6/internal/page/style"
)

// Limits of a query.
const (
	maxSearch     = 64 // octets
	defaultWindow = 15 * time.Minute
	maxWindow     = 24 * time.Hour
)

var (
	//go:embed page.html
	html string
	//go:embed page.css
	css string
	//go:embed page.js
	script string
)

// site is the page of a daemon.
type site struct {
	source Source
	names  []string // of this host
	file   []byte
	policy string
}

// New returns the page of a daemon on a host with some names.
func New(s Source, names []string) metrics.Pages {
	look := style.Common + css
	file := strings.NewReplacer("/*style*/", look, "/*script*/", script).Replace(html)
	// What is in the file may run and no other thing; it may ask this daemon and nobody
	// else.
	policy := "default-src 'none'; script-src " + hash(script) + "; style-src " + hash(look) +
		"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return &site{source: s, names: names, file: []byte(file), policy: policy}
}

// hash is the source expression of an inline script or style (CSP Level 3 §2.3.1).
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Page implements metrics.Pages.
func (s *site) Page(ctx context.Context, q metrics.PageRequest) (metrics.PageAnswer, bool) {
	if q.Path != "/" && q.Path != "/status.json" {
		return metrics.PageAnswer{}, false
	}
	if !known(q.Host, s.names) {
		return plain(421, "Misdirected Request", "The page is there for those who ask for it by an IP address, localhost, or the name of the host.\n"), true
	}
	if q.Path == "/" {
		return metrics.PageAnswer{Status: 200, Reason: "OK", Body: s.file, Fields: append(guarded("text/html; charset=utf-8"),
			"Content-Security-Policy", s.policy, "X-Frame-Options", "DENY")}, true
	}
	wanted, err := parseQuery(q.Query)
	if err != nil {
		return plain(400, "Bad Request", "Expected search, of "+strconv.Itoa(maxSearch)+" octets at most, and seconds.\n"), true
	}
	o, err := s.source.Overview(ctx, wanted)
	if err != nil {
		return plain(503, "Service Unavailable", "The daemon is too busy to answer, or ends.\n"), true
	}
	body, err := json.Marshal(o)
	if err != nil {
		return plain(500, "Internal Server Error", err.Error()+"\n"), true
	}
	return metrics.PageAnswer{Status: 200, Reason: "OK", Body: body, Fields: guarded("application/json")}, true
}

// guarded are the header fields of every answer: it is what it says, of the moment, and
// for this page alone.
func guarded(contentType string) []string {
	return []string{
		"Content-Type", contentType, "X-Content-Type-Options", "nosniff", "Cache-Control", "no-store",
		"Cross-Origin-Resource-Policy", "same-origin", "Referrer-Policy", "no-referrer",
	}
}

func plain(status int, reason, text string) metrics.PageAnswer {
	return metrics.PageAnswer{Status: status, Reason: reason, Body: []byte(text), Fields: guarded("text/plain; charset=utf-8")}
}

// parseQuery reads what is behind the question mark: search and seconds, both optional.
func parseQuery(text string) (Query, error) {
	q := Query{Window: defaultWindow}
	values, err := url.ParseQuery(text)
	if err != nil {
		return q, err
	}
	if q.Search = values.Get("search"); len(q.Search) > maxSearch {
		return q, strconv.ErrRange
	}
	if t := values.Get("seconds"); t != "" {
		n, err := strconv.ParseUint(t, 10, 32)
		if err != nil {
			return q, err
		}
		q.Window = min(time.Duration(n)*time.Second, maxWindow)
	}
	return q, nil
}
