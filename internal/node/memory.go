package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"strings"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/internal/store"
)

// What home agents and anchors remember (role.Remember) is in a journal for each beside
// the control socket, and so in memory mostly: it is for a restart of the process, not of
// the host. A change is with the kernel before it is acknowledged, in one write of some
// hundred octets, for which the loop waits: otherwise a mobile that has come home might
// have its de-registration acknowledged, and be drawn into a tunnel by the next process.
//
// Times are those of the clock that runs on while the host sleeps (CLOCK_BOOTTIME), which
// nobody can set, and are good until the host is started again. Then bindings are not
// restored, although a host with a clock chip could tell how old they are: a time of day
// that jumps would lengthen them, the mobiles were cut off for longer than they wait, and
// by then have asked anew. What tells a fresh update from a repeated one has no age and is
// always taken over.

// rememberer is a role that keeps bindings.
type rememberer interface {
	role.Machine
	Memories() iter.Seq[binding.Memory]
	Restore(now time.Time, memories []binding.Memory) []role.Action
}

// memory is the journal of one role.
type memory struct {
	path    string
	journal *store.Journal // nil: nothing can be remembered at present
	again   time.Time      // when that is tried again
	buffer  []byte
}

// rememberAgain is the pause after which a journal that could not be written is tried
// again.
const rememberAgain = time.Minute

const bootIdentity = "/proc/sys/kernel/random/boot_id"

// bootID tells one start of the host from another; empty: nobody knows.
func bootID() string {
	b, err := os.ReadFile(bootIdentity)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// hostStarted is when the host was started, by the clock of now.
func hostStarted(now time.Time) time.Time { return now.Add(-bootTime()) }

// restoreBindings gives the home agents and anchors what earlier processes have kept for
// them.
func (s *Shell) restoreBindings(now time.Time) {
	for _, h := range s.agents {
		s.restore(now, h.machine, h.config.Name)
	}
	for _, h := range s.anchors {
		s.restore(now, h.machine, h.config.Name)
	}
	s.restored.Store(true)
}

// restore begins the memory of a role, which its section's name tells, with what an
// earlier process has left there, and returns that.
func (s *Shell) restore(now time.Time, m rememberer, section string) []binding.Memory {
	k := &memory{path: s.remembered + keptName("bindings-"+section)}
	memories, err := readMemories(k.path, bootID(), hostStarted(now))
	if err != nil {
		s.log.Warn("bindings of an earlier run are not restored: the mobiles have to register anew", "section", section, "reason", err)
	}
	if !s.fresh {
		lapsed := 0
		for i, m := range memories {
			if m.State == binding.Active && m.Lasts(now) {
				lapsed++
			}
			memories[i] = m.Unbound()
		}
		if lapsed > 0 {
			s.log.Warn("bindings of an earlier run have lapsed: the mobiles have to register anew", "section", section, "bindings", lapsed, "within", restoreWithin)
		}
	}
	if len(memories) > 0 {
		s.carryOut(m, m.Restore(now, memories))
	}
	s.memories[m] = k
	s.recordAll(now, m, k)
	return memories
}

// readMemories reads what is in a journal that was begun in the same run of the host, or
// what of it is good in any other. What is not as it was written is an error.
func readMemories(path, boot string, started time.Time) ([]binding.Memory, error) {
	stamp, records, err := store.ReadJournal(path)
	if err != nil {
		return nil, err
	}
	latest := binding.NewLatest[binding.Memory](len(records))
	for i, r := range records {
		m, err := binding.ParseMemory(r, started)
		if err != nil {
			return nil, fmt.Errorf("%s: record %d: %w", path, i, err)
		}
		if boot == "" || stamp != boot {
			m = m.Unbound()
		}
		latest.Put(m.Key(), m)
	}
	return latest.All(), nil
}

// remember keeps what a role has said. Where that cannot be done nothing is kept, which is
// better than what is not true any more, and it is said once.
func (s *Shell) remember(by role.Machine, m binding.Memory) {
	k := s.memories[by]
	now := time.Now()
	switch {
	case k == nil: // it is being restored
		return
	case k.journal == nil && now.Before(k.again):
		return
	case k.journal == nil:
		s.recordAll(now, by.(rememberer), k) // m is in it
		return
	case k.journal.Grown():
		k.journal.Condense(binding.LatestMemories)
	}
	k.buffer = m.Append(k.buffer[:0], hostStarted(now))
	if err := k.journal.Append(k.buffer); err != nil {
		s.cannotRemember(now, k, err)
	}
}

// recordAll writes all that a role remembers in place of what is there.
func (s *Shell) recordAll(now time.Time, m rememberer, k *memory) {
	started := hostStarted(now)
	records := func(yield func([]byte) bool) {
		for r := range m.Memories() {
			if k.buffer = r.Append(k.buffer[:0], started); !yield(k.buffer) {
				return
			}
		}
	}
	var err error
	switch k.journal, err = store.CreateJournal(k.path, bootID(), records); {
	case err != nil:
		s.cannotRemember(now, k, err)
	case !k.again.IsZero():
		s.log.Info("bindings are kept for a restart again", "file", k.path)
		k.again = time.Time{}
	}
}

// cannotRemember gives a journal up for a while: its file would be out of date.
func (s *Shell) cannotRemember(now time.Time, k *memory, err error) {
	var gone error
	if k.journal != nil {
		gone = k.journal.Remove()
	} else {
		gone = os.Remove(k.path)
	}
	if errors.Is(gone, fs.ErrNotExist) {
		gone = nil
	}
	if k.again.IsZero() {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "bindings would not survive a restart, their mobiles would have to register anew: look at the directory of the control socket",
			slog.Any("reason", errors.Join(err, gone)))
	}
	k.journal, k.again = nil, now.Add(rememberAgain)
}

// forgetBindings ends the memory of a role that is not configured any more.
func (s *Shell) forgetBindings(m role.Machine) {
	if k := s.memories[m]; k != nil && k.journal != nil {
		s.tell(k.journal.Remove())
	}
	delete(s.memories, m)
}

// closeMemories leaves what is remembered to the next process.
func (s *Shell) closeMemories() error {
	var errs []error
	for _, k := range s.memories {
		if k.journal != nil {
			errs = append(errs, k.journal.Close())
		}
	}
	clear(s.memories)
	return errors.Join(errs...)
}
