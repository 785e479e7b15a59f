package xfrm

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"roam6/internal/esp"
	"roam6/internal/nlsock"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// item is a state or policy of ours.
type item struct {
	add, remove rtbatch.Request
	what        string // for errors
	state       bool
}

// id is which state or policy it is: the request that removes it.
type id string

func idOf(remove rtbatch.Request) id { return id(rune(remove.Kind)) + id(remove.Body) }

func (i item) id() id { return idOf(i.remove) }

// install adds what is not there: policies first, so that nothing passes without a state.
func (m *Manager) install(items []item) (failures []error) {
	var requests []rtbatch.Request
	var of []item
	for _, state := range []bool{false, true} {
		for _, i := range items {
			_, there := m.have[i.id()]
			if i.state != state || there {
				continue
			}
			if r, left := m.left[i.id()]; left {
				delete(m.left, i.id())
				if i.state { // nobody knows its key
					requests, of = append(requests, r), append(of, item{what: i.what})
				}
			}
			requests, of = append(requests, i.add), append(of, i)
			m.have[i.id()] = i
		}
	}
	m.conn.Commit(requests, func(n int, err error) {
		if of[n].add.Kind == 0 { // a removal: the addition tells
			return
		}
		delete(m.have, of[n].id())
		failures = append(failures, explain("add "+of[n].what, err))
	})
	return failures
}

// remove removes what is there: states first, so that what is left lets nothing pass.
func (m *Manager) remove(items []item) error {
	var requests []rtbatch.Request
	var of []item
	for _, state := range []bool{true, false} {
		for _, i := range items {
			if _, there := m.have[i.id()]; i.state == state && there {
				requests, of = append(requests, i.remove), append(of, i)
				delete(m.have, i.id())
			}
		}
	}
	var failures []error
	m.conn.Commit(requests, func(n int, err error) {
		if !nlsock.Gone(err) {
			failures = append(failures, fmt.Errorf("remove %s: %w", of[n].what, err))
		}
	})
	err := errors.Join(failures...)
	if err != nil {
		m.options.Log.Warn("not everything of IPsec could be removed", "reason", err)
	}
	return err
}

// sweepLeft removes what a predecessor left and nobody wants.
func (m *Manager) sweepLeft() error {
	m.sweep = time.Time{}
	requests := slices.Collect(maps.Values(m.left))
	slices.SortFunc(requests, func(a, b rtbatch.Request) int { return cmp.Compare(a.Kind, b.Kind) }) // states first
	clear(m.left)
	var failures []error
	m.conn.Commit(requests, func(_ int, err error) {
		if !nlsock.Gone(err) {
			failures = append(failures, fmt.Errorf("remove what an earlier run left of IPsec: %w", err))
		}
	})
	return errors.Join(failures...)
}

// dump finds what has our tag in the kernel, as the requests that remove it.
func (m *Manager) dump() (states, policies map[id]rtbatch.Request, err error) {
	states, policies = make(map[id]rtbatch.Request), make(map[id]rtbatch.Request)
	err = m.conn.Dump(nl.XFRM_MSG_GETSA, nil, func(b []byte) {
		if r, ok := stateOf(b); ok {
			states[idOf(r)] = r
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return states, policies, m.conn.Dump(nl.XFRM_MSG_GETPOLICY, nil, func(b []byte) {
		if r, ok := policyOf(b); ok {
			policies[idOf(r)] = r
		}
	})
}

// restore adds again what somebody else has removed.
func (m *Manager) restore() {
	states, policies, err := m.dump()
	if err != nil {
		m.options.Log.Warn("IPsec of the kernel cannot be read", "reason", err)
		return
	}
	var lost []item
	for k, i := range m.have {
		_, state := states[k]
		if _, policy := policies[k]; !state && !policy {
			lost = append(lost, i)
		}
	}
	if len(lost) == 0 {
		return
	}
	for _, i := range lost {
		delete(m.have, i.id())
	}
	failures := m.install(lost)
	m.options.Log.Warn("somebody else has removed IPsec associations or policies of roam6: they are there again", "removed", len(lost), "failed", len(failures))
}

// probe tells whether the kernel has the associations that are needed.
func (m *Manager) probe() error {
	key := make([]byte, esp.AESCBCSHA256.KeyLengths()[0])
	s := state{source: netip.IPv6Unspecified(), destination: netip.IPv6Loopback(), request: overlay.SealRequest,
		Association: esp.Association{SPI: 1<<32 - 1, Algorithm: esp.AESCBCSHA256, Key: esp.Key(key)}}.item("as a trial")
	var failure error
	m.conn.Commit([]rtbatch.Request{s.add, s.remove}, func(n int, err error) {
		if n == 0 && !errors.Is(err, unix.EEXIST) {
			failure = explain("add "+s.what, err)
		}
	})
	return failure
}
