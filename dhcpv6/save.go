package dhcpv6

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"roam6/internal/deadline"
	"roam6/internal/limit"
	"roam6/internal/role"
	"roam6/mip6"
)

// A client saves what it has when the leases change, not with each renewal: flash
// memory wears out, and a router that renews every few minutes for years would
// write the same prefix again and again. What is saved are lifetimes that remained
// then. A router has no clock of its own, so nobody knows how long it was off: after
// a restart a lease ends after that lifetime at the latest, and it is not used
// before a server has confirmed it.

const (
	savedVersion = 1
	maxSaved     = 64 << 10 // octets that are read
)

// saveRate bounds how often a client saves, for nodes that get another address on
// every link they come by.
var saveRate = limit.Rate{Every: 5 * time.Minute, Burst: 4}

// saver is what a client knows of its storage.
type saver struct {
	rate    limit.Limiter
	content string    // what is in the store, lifetimes left out
	due     time.Time // of what had to wait; zero: nothing
	stale   bool      // something may have changed
	loaded  *savedState
	ignored string // why what was in the store is not used
}

// savedState is the format of the store.
type savedState struct {
	Version  int            `json:"version"`
	DUID     string         `json:"duid"`
	IAID     uint32         `json:"iaid"`
	SolMaxRT int64          `json:"sol_max_rt,omitempty"` // seconds
	Links    []savedLink    `json:"links,omitempty"`      // the present one last
	Hints    []netip.Prefix `json:"hints,omitempty"`
}

type savedLink struct {
	Router    netip.Addr   `json:"router"`
	Prefix    netip.Prefix `json:"prefix"`
	Server    string       `json:"server"`
	Addresses []savedLease `json:"addresses,omitempty"`
	Prefixes  []savedLease `json:"prefixes,omitempty"`
}

// savedLease has lifetimes in seconds; those of mip6.InfiniteLifetime are for ever.
type savedLease struct {
	Prefix    netip.Prefix `json:"prefix"`
	Preferred int64        `json:"preferred"`
	Valid     int64        `json:"valid"`
}

// CheckSaved reports an error unless NewClient can read what was saved, be it of this
// node's identifier or of another one.
func CheckSaved(b []byte) error {
	_, err := readSaved(b)
	return err
}

// readSaved reads what was saved, which is not empty.
func readSaved(b []byte) (state savedState, err error) {
	switch {
	case len(b) > maxSaved, json.Unmarshal(b, &state) != nil:
		return savedState{}, errUnreadable
	case state.Version != savedVersion:
		return savedState{}, errVersion
	}
	return state, nil
}

var (
	errUnreadable = errors.New("it cannot be read")
	errVersion    = errors.New("it is of another version")
)

// load reads the store. It has no time yet: adopt follows.
func (s *saver) load(c Config, data []byte) {
	if len(data) == 0 {
		return
	}
	state, err := readSaved(data)
	switch {
	case err != nil:
		s.ignored = err.Error()
	case state.DUID != hex.EncodeToString(c.DUID) || state.IAID != c.IAID:
		s.ignored = "this node's identifier is another one now"
	default:
		s.loaded = &state
	}
}

// adopt makes leases of what was loaded, at the first call that has a time.
func (c *Client) adopt(now time.Time) {
	if c.saver.ignored != "" {
		c.log(now, slog.LevelWarn, "what an earlier run has kept is not used", slog.String("reason", c.saver.ignored))
		c.saver.ignored = ""
	}
	state := c.saver.loaded
	if state == nil {
		return
	}
	c.saver.loaded = nil
	if d := time.Duration(state.SolMaxRT) * time.Second; d >= 60*time.Second && d <= 86400*time.Second {
		c.solMaxRT = d
	}
	for _, p := range state.Hints[:min(len(state.Hints), maxLeases)] {
		if delegable(p) && !slices.Contains(c.lost, p) {
			c.lost = append(c.lost, p)
		}
	}
	for _, l := range state.Links[max(len(state.Links)-maxRemembered, 0):] {
		server, err := hex.DecodeString(l.Server)
		if err != nil || len(server) < minDUID || len(server) > maxDUID {
			continue
		}
		b := binding{server: server, unproven: true, restored: true}
		b.addresses.leases = revive(now, l.Addresses, assignable)
		b.prefixes.leases = revive(now, l.Prefixes, delegable)
		b.addresses.schedule(now, 0, 0)
		b.prefixes.schedule(now, 0, 0)
		identity := role.LinkIdentity{Router: l.Router, Prefix: l.Prefix}
		c.forget(identity)
		if !b.empty() {
			c.remembered = append(c.remembered, place{identity: identity, binding: b})
		}
	}
	c.saver.content = c.contents(now)
}

// revive makes leases of saved ones, as far as they make sense.
func revive(now time.Time, saved []savedLease, ok func(netip.Prefix) bool) []lease {
	var list []lease
	for _, s := range saved[:min(len(saved), maxLeases)] {
		twice := slices.ContainsFunc(list, func(l lease) bool { return l.prefix == s.Prefix })
		if s.Valid <= 0 || s.Preferred < 0 || s.Preferred > s.Valid || twice || !ok(s.Prefix) {
			continue
		}
		end := func(seconds int64) time.Time {
			return deadline.Of(now, time.Duration(min(seconds, int64(mip6.InfiniteLifetime/time.Second)))*time.Second)
		}
		list = append(list, lease{s.Prefix, end(s.Preferred), end(s.Valid)})
	}
	return list
}

// document is what there is to save. Without lifetimes it is the same for the same
// leases.
func (c *Client) document(now time.Time, lifetimes bool) savedState {
	state := savedState{
		Version: savedVersion,
		DUID:    hex.EncodeToString(c.config.DUID),
		IAID:    c.config.IAID,
		Hints:   c.lost,
	}
	if c.solMaxRT != solicitMaxRT {
		state.SolMaxRT = int64(c.solMaxRT / time.Second)
	}
	leases := func(a *association) (list []savedLease) {
		for _, l := range a.leases {
			s := savedLease{Prefix: l.prefix}
			if lifetimes {
				s.Preferred = int64(deadline.Remaining(now, l.preferred) / time.Second)
				s.Valid = int64(deadline.Remaining(now, l.valid) / time.Second)
			}
			list = append(list, s)
		}
		return list
	}
	places := c.remembered
	if c.begun && !c.current.empty() {
		places = append(slices.Clone(places), place{identity: c.identity, binding: c.current})
	}
	for _, p := range places {
		state.Links = append(state.Links, savedLink{
			Router:    p.identity.Router,
			Prefix:    p.identity.Prefix,
			Server:    hex.EncodeToString(p.binding.server),
			Addresses: leases(&p.binding.addresses),
			Prefixes:  leases(&p.binding.prefixes),
		})
	}
	return state
}

// contents is the document without lifetimes, to be compared.
func (c *Client) contents(now time.Time) string {
	octets, err := json.Marshal(c.document(now, false))
	if err != nil {
		return "" // cannot be: nothing in it has a form that JSON does not know
	}
	return string(octets)
}

// save asks to keep the leases if they are others than those in the store. When
// the client stops that does not wait.
func (c *Client) save(now time.Time) {
	s := &c.saver
	if c.config.Store == "" || !s.stale && !deadline.Due(now, s.due) {
		return
	}
	s.stale = false
	content := c.contents(now)
	if content == s.content || s.content == "" && c.nothing() {
		s.due = time.Time{}
		return
	}
	if c.state != StateDone && !s.rate.Allow(now, saveRate) {
		if s.due.IsZero() || deadline.Due(now, s.due) {
			s.due = now.Add(saveRate.Every)
		}
		return
	}
	octets, err := json.Marshal(c.document(now, true))
	if err != nil {
		return
	}
	s.content, s.due = content, time.Time{}
	c.out = append(c.out, role.Save{Name: c.config.Store, Data: octets})
}

// nothing reports whether there is nothing that would be worth saving.
func (c *Client) nothing() bool {
	return c.current.empty() && len(c.remembered) == 0 && len(c.lost) == 0 && c.solMaxRT == solicitMaxRT
}
