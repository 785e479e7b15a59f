// Package page is what a person sees of a running daemon in a browser: mobiles and
// where they are, their moves as they happen, and how long they took. It is one HTML
// file without anything from elsewhere, and a JSON document that it asks for again and
// again; the listener of the metrics serves both.
//
// Nothing can be changed by it, and no key is in what it shows. Where the page is asked
// for by a name that is not this host's, nothing is answered: a web site whose name was
// made to lead here (DNS rebinding) would read it with the browser of somebody who may.
//
// With the build tags nopage or nometrics there is none (none.go).
package page

import (
	"context"
	"time"

	"roam6/internal/control"
)

// Source tells what the page shows. It is called by several goroutines at a time.
type Source interface {
	Overview(ctx context.Context, q Query) (control.Overview, error)
}

// Query is what somebody wants to see.
type Query struct {
	// Search, unless empty, is a part of the name of a mobile, or of an address or
	// prefix of it.
	Search string
	// Window is how far back changes of bindings are shown.
	Window time.Duration
}
