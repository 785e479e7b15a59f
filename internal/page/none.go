//go:build nopage || nometrics

package page

import "roam6/internal/metrics"

// New returns nothing: there is no page in this binary. The configuration does not ask
// for it then.
func New(Source, []string) metrics.Pages { return nil }
