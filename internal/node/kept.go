package node

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"roam6/dhcpv6"
	"roam6/internal/limit"
	"roam6/internal/order"
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
// must not wait for flash memory. Only the latest of each name is written, and not
// more often than saveRate, since flash memory wears out; what could not be is tried
// again. The directory is opened when it is needed for the
// first time, and a node goes on without one. It may be used by several goroutines.
type keeper struct {
	directory string
	log       *slog.Logger
	wake      chan struct{}
	done      chan struct{}

	mu       sync.Mutex
	opened   bool
	store    *store.Store // nil: there is none
	writable bool
	// unsaved is what is not in the store, by name: it waits, is being written, or
	// there is no way to write it. No data forgets a name.
	unsaved map[string][]byte
	limits  map[string]limit.Limiter // by name
	closed  bool
	failing bool
}

// saveRate bounds how often what is kept under a name is written; the end of the process
// does not wait for it. Home agents have a rate of their own for what they delegate.
var saveRate = limit.Rate{Every: 5 * time.Minute, Burst: 10}

const (
	// saveAgain is the pause after which what could not be saved is tried again.
	saveAgain = time.Minute
	// lastSaves bounds the saving at the end.
	lastSaves = time.Second
)

func newKeeper(directory string, log *slog.Logger) *keeper {
	return &keeper{directory: directory, log: log, wake: make(chan struct{}, 1), done: make(chan struct{}), unsaved: make(map[string][]byte), limits: make(map[string]limit.Limiter)}
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
		k.store, _ = store.OpenReadOnly(k.directory) // what is there still counts
		close(k.done)
		return
	}
	k.store, k.writable = s, true
	go k.saveRunLoop(s)
}

// lasts reports whether what is saved survives a restart, as far as is known.
func (k *keeper) lasts() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open()
	return k.writable
}

// has reports whether something is kept under a name in the directory, which is
// not opened for that.
func (k *keeper) has(name string) bool {
	_, err := os.Stat(filepath.Join(k.directory, name))
	return k.directory != "" && err == nil
}

// load returns what is kept under a name, nil if nothing. Data that readable has an error
// for counts as nothing: its checksum is right, so another version of roam6 has written it,
// and it is set aside for that.
func (k *keeper) load(name string, readable func([]byte) error) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open()
	if data, ok := k.unsaved[name]; ok || k.store == nil {
		return data
	}
	data, err := k.store.Load(name)
	another := errors.Is(err, store.ErrVersion)
	if err == nil && data != nil {
		err = readable(data)
		another = err != nil
	}
	if err == nil {
		return data
	}
	var aside []any
	if another {
		if path, err := k.store.SetAside(name); err == nil {
			aside = []any{"set_aside", path}
		}
	}
	k.log.Warn("what an earlier run kept cannot be read", append([]any{"name", name, "reason", err}, aside...)...)
	return nil
}

// save keeps data under a name soon; none forgets it.
func (k *keeper) save(name string, data []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open(); k.closed {
		return
	}
	k.unsaved[name] = slices.Clone(data)
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// close saves what is not saved yet and ends the goroutine. It does not wait for
// ever: a broken medium must not keep the daemon from stopping.
func (k *keeper) close() {
	k.mu.Lock()
	begun := k.writable && !k.closed
	k.closed = true
	k.mu.Unlock()
	if !begun {
		return
	}
	close(k.wake)
	select {
	case <-k.done:
	case <-time.After(lastSaves):
		k.log.Warn("stopping although not everything that should survive a restart is saved")
	}
}

// saveRunLoop writes until close.
func (k *keeper) saveRunLoop(s *store.Store) {
	defer close(k.done)
	held := false // something waits for its turn
	for open := true; open; {
		var again <-chan time.Time
		switch {
		case k.isFailing():
			again = time.After(saveAgain)
		case held:
			again = time.After(saveRate.Every)
		}
		select {
		case _, open = <-k.wake:
		case <-again:
		}
		var failure error
		held = false
		for name, data, ok := k.next(""); ok; name, data, ok = k.next(name) {
			before, allowed := k.turn(name)
			if open && !allowed {
				held = true
				continue
			}
			err := s.Save(name, data)
			if err == nil {
				k.wrote(name, data)
			} else {
				k.giveBack(name, before)
			}
			failure = cmp.Or(failure, err)
		}
		k.went(failure)
	}
}

// turn takes the turn of a name, if it has one, and returns what giveBack wants.
func (k *keeper) turn(name string) (before limit.Limiter, allowed bool) {
	if strings.HasPrefix(name, keptDelegating) {
		return before, true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.limits[name]
	allowed = l.Allow(time.Now(), saveRate)
	before, k.limits[name] = k.limits[name], l
	return before, allowed
}

// giveBack gives a turn back: nothing was written.
func (k *keeper) giveBack(name string, before limit.Limiter) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.limits[name] = before
}

func (k *keeper) isFailing() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failing
}

// next is what is to be written after the name before, in the order of names.
func (k *keeper) next(before string) (name string, data []byte, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(k.unsaved)) {
		if name > before {
			return name, k.unsaved[name], true
		}
	}
	return "", nil, false
}

// wrote notes that data is in the store.
func (k *keeper) wrote(name string, data []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if bytes.Equal(k.unsaved[name], data) { // nothing newer came meanwhile
		delete(k.unsaved, name)
	}
}

// went notes how saving went, and says once that it fails, and once that it does
// not any more.
func (k *keeper) went(err error) {
	k.mu.Lock()
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

// duid is the node's DHCPv6 identifier, made once and kept. Where nothing can be
// kept it is made of the hardware, of which addresses gives what is known, so that
// it is mostly the same after a restart (RFC 8415 §11.4).
func (k *keeper) duid(addresses func() [][6]byte) []byte {
	if d := k.load(keptDUID, checkDUID); d != nil {
		return d
	}
	d := dhcpv6.NewDUID(randomOctets)
	if !k.lasts() {
		if a, ok := lastingAddress(addresses()); ok {
			d = dhcpv6.LinkLayerDUID(a)
		}
	}
	k.save(keptDUID, d)
	return d
}

// checkDUID reports an error unless octets are an identifier of DHCPv6.
func checkDUID(d []byte) error {
	const longest = 130 // RFC 8415 §11.1
	if len(d) <= 2 || len(d) > longest {
		return fmt.Errorf("no identifier of DHCPv6: it has %d octets", len(d))
	}
	return nil
}

// lastingAddress picks the link-layer address that is likeliest to stay: the first
// that a manufacturer gave, otherwise the first of all.
func lastingAddress(list [][6]byte) (a [6]byte, ok bool) {
	const local, group = 2, 1 // bits of the first octet
	for _, x := range list {
		switch {
		case x == ([6]byte{}) || x[0]&group != 0:
		case x[0]&local == 0:
			return x, true
		case !ok:
			a, ok = x, true
		}
	}
	return a, ok
}

// hardwareAddresses are those of the interfaces there are, in the order of their
// indices.
func hardwareAddresses() (list [][6]byte) {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	order.Sort(all, func(a, b net.Interface) int { return cmp.Compare(a.Index, b.Index) })
	for _, i := range all {
		if len(i.HardwareAddr) == 6 {
			list = append(list, [6]byte(i.HardwareAddr))
		}
	}
	return list
}
