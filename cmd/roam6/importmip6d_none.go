//go:build nomip6d

package main

import (
	"errors"

	"roam6/internal/translation"
)

// mip6dBegins reports whether a configuration of mip6d can begin with a word, as far
// as that is known here.
func mip6dBegins(word string) bool {
	return word == "NodeConfig" || word == "Interface" || word == "include"
}

// translateMip6d is left out of this binary.
func translateMip6d(string, []byte) (t translation.Translation, err error) {
	return t, errors.New("roam6 import: this binary does without mip6d's configuration; the one that `make build` makes reads it, on any machine")
}
