// Package style is the look that the page of a daemon and the reports of the lab have
// in common.
package style

import _ "embed"

// Common is a style sheet: colours, light and dark, text, tables and figures.
//
//go:embed common.css
var Common string
