//go:build nopage || nometrics

package config

// pageBuilt tells whether the page is in this binary.
const pageBuilt = false
