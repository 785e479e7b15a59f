// Package generated is test support: it keeps files that are made of the code, such as
// tables of the documentation, what the code says.
package generated

import (
	"bytes"
	"os"
	"testing"
)

// Check compares the file at path with want, after it has written that there if update
// says so. source is what the file is made of, and again the command that makes it anew.
func Check(t testing.TB, path string, want []byte, update bool, source, again string) {
	t.Helper()
	if update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s is not what %s: %s", path, source, again)
	}
}
