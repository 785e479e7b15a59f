package tun

import (
	"os/exec"
	"strings"
	"testing"

	"roam6/internal/rtnl/nstest"
)

// The rule that keeps the kernel from answering tunnel packets is there as long as the
// engine is, and not where a fast path sorts the packets.
func TestHush(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("needs nft, of the package nftables")
	}
	s := nstest.New(t)
	tables := func() (text string) {
		s.Do(func() error {
			out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
			text = string(out)
			return err
		})
		return text
	}
	for range 2 {
		var e *Engine
		s.Do(func() (err error) {
			e, err = Open(Config{})
			return err
		})
		if text := tables(); !strings.Contains(text, hushTable) || strings.Count(text, "drop") != 2 {
			t.Errorf("while it runs:\n%s", text)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if text := tables(); text != "" {
			t.Errorf("after its end:\n%s", text)
		}
	}
}
