//go:build !nomip6d

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"roam6/internal/mip6dconf"
	"roam6/internal/translation"
)

// mip6dBegins reports whether a configuration of mip6d can begin with a word.
func mip6dBegins(word string) bool { return mip6dconf.Begins(word) }

// translateMip6d reads mip6d's configuration.
func translateMip6d(name string, src []byte) (t translation.Translation, err error) {
	file, err := mip6dconf.Parse(mip6dconf.Source{Name: name, Text: src}, includeFiles)
	if err != nil {
		return t, err
	}
	return mip6dconf.Translate(file), nil
}

// includeFiles reads the files that fit a pattern, sorted.
func includeFiles(pattern string) (files []mip6dconf.Source, err error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", pattern, err)
	}
	if len(paths) > mip6dconf.MaxIncluded {
		return nil, fmt.Errorf("%q: %d files; at most %d can be included", pattern, len(paths), mip6dconf.MaxIncluded)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is no file", path)
		}
		_, text, err := readConfig(path, nil)
		if err != nil {
			return nil, err
		}
		files = append(files, mip6dconf.Source{Name: path, Text: text})
	}
	return files, nil
}
