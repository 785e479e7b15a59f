package node

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"roam6/dhcpv6"
	"roam6/internal/store"
)

// Names under which the shell keeps what survives a restart; the roles' follow
// from those of interfaces and sections.
const (
	keptDUID        = "duid"
	keptDownstreams = "downstreams"
	keptUplink      = "uplink-"     // and the interface
	keptDelegation  = "delegation-" // and a mobile router
	keptDelegating  = "delegating-" // and a home agent
)

// keptName makes a name that a store takes of one that holds the name of an
// interface or a section. What has other characters, or is long, is told apart by
// a hash.
func keptName(name string) string {
	const most = 50
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	if plain == name && len(name) <= most {
		return name
	}
	return fmt.Sprintf("%.*s-%08x", most, plain, dhcpv6.IAIDOf(name))
}

// keeper saves what has to survive a restart in a goroutine of its own: the roles
// must not wait for flash memory. Only the latest of each name is written. The
// directory is opened when it is needed for the first time, and a node goes on
// without one. It may be used by several goroutines.
type keeper struct {
	directory string
	log       *slog.Logger
	wake      chan struct{}
	done      chan struct{}

	mu      sync.Mutex
	opened  bool
	store   *store.Store // nil: there is none
	pending map[string][]byte
	writing string // the name that is being written
	closed  bool
	idle    *sync.Cond
	failing bool
}

func newKeeper(directory string, log *slog.Logger) *keeper {
	k := &keeper{directory: directory, log: log, wake: make(chan struct{}, 1), done: make(chan struct{}), pending: make(map[string][]byte)}
	k.idle = sync.NewCond(&k.mu)
	return k
}

// open opens the directory, once, and begins to save. It is called with the lock.
func (k *keeper) open() {
	if k.opened {
		return
	}
	k.opened = true
	s, err := store.Open(k.directory)
	if err != nil {
		k.log.Warn("identifiers and leases will not survive a restart", "reason", err)
		close(k.done)
		return
	}
	k.store = s
	go k.saveRunLoop(s)
}

// load returns what is kept under a name, nil if nothing.
func (k *keeper) load(name string) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open(); k.store == nil {
		return nil
	}
	for k.writing == name {
		k.idle.Wait()
	}
	if data, ok := k.pending[name]; ok {
		return data
	}
	data, err := k.store.Load(name)
	if err != nil {
		k.log.Warn("what an earlier run kept cannot be read", "name", name, "reason", err)
	}
	return data
}

// save keeps data under a name soon; none forgets it.
func (k *keeper) save(name string, data []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open(); k.store == nil || k.closed {
		return
	}
	k.pending[name] = slices.Clone(data)
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// close saves what is pending and ends the goroutine.
func (k *keeper) close() {
	k.mu.Lock()
	begun := k.store != nil && !k.closed
	k.closed = true
	k.mu.Unlock()
	if begun {
		close(k.wake)
		<-k.done
	}
}

// saveRunLoop writes until close.
func (k *keeper) saveRunLoop(s *store.Store) {
	defer close(k.done)
	for open := true; open; {
		_, open = <-k.wake
		for {
			name, data, ok := k.next()
			if !ok {
				break
			}
			k.wrote(s.Save(name, data))
		}
	}
}

// next takes something that is to be written.
func (k *keeper) next() (name string, data []byte, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	names := slices.Sorted(maps.Keys(k.pending))
	if len(names) == 0 {
		return "", nil, false
	}
	name, data = names[0], k.pending[names[0]]
	delete(k.pending, name)
	k.writing = name
	return name, data, true
}

// wrote notes how writing went, and says once that it fails, and once that it does
// not any more.
func (k *keeper) wrote(err error) {
	k.mu.Lock()
	k.writing = ""
	k.idle.Broadcast()
	changed := k.failing != (err != nil)
	k.failing = err != nil
	k.mu.Unlock()
	switch {
	case changed && err != nil:
		k.log.Warn("what should survive a restart cannot be saved", "reason", err)
	case changed:
		k.log.Info("what should survive a restart is saved again")
	}
}

// duid is the node's DHCPv6 identifier, made once and kept.
func (k *keeper) duid() []byte {
	const longest = 130 // RFC 8415 §11.1
	if d := k.load(keptDUID); len(d) > 2 && len(d) <= longest {
		return d
	}
	d := dhcpv6.NewDUID(randomOctets)
	k.save(keptDUID, d)
	return d
}
