package node

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settleTime is how long a configuration file must rest before it is read:
// editors and `uci commit` touch it several times.
const settleTime = 200 * time.Millisecond

// watchConfigRunLoop calls changed whenever the file at path was written or
// replaced, until ctx ends. The directory is watched, not the file: uci commits
// by renaming.
func watchConfigRunLoop(ctx context.Context, path string, changed func(), log *slog.Logger) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching %s: %w", path, err)
	}
	defer w.Close()
	if err := w.Add(filepath.Dir(path)); err != nil {
		return fmt.Errorf("watching %s: %w", filepath.Dir(path), err)
	}
	settled := time.NewTimer(0)
	if !settled.Stop() {
		<-settled.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Events:
			if !ok {
				return nil
			}
			if filepath.Base(e.Name) == filepath.Base(path) && !e.Has(fsnotify.Chmod) {
				settled.Reset(settleTime)
			}
		case err, ok := <-w.Errors:
			if !ok {
				return nil
			}
			log.Warn("watching the configuration", "file", path, "reason", err)
		case <-settled.C:
			changed()
		}
	}
}
