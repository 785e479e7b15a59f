package ike

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A charon that is stuck takes connections and says nothing: nobody waits for it for ever.
func TestDialStuck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vici")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if s, err := dial(path, 20*time.Millisecond); err == nil || !strings.Contains(err.Error(), "does not answer within 20ms") {
		t.Errorf("session %v, error %v", s, err)
	}
}
