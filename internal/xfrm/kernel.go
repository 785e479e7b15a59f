package xfrm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"

	"roam6/internal/nlsock"
	"roam6/internal/order"
	"roam6/internal/rtnl/rtbatch"
)

// item is a state or policy of ours.
type item struct {
	add, remove rtbatch.Request
	what        string // for errors
	state       bool
	negotiated  bool // the key exchange may have it in the kernel, and removes it at its end
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
			_, left := m.left[i.id()]
			delete(m.left, i.id())
			if i.state && (left || i.negotiated) { // with a key nobody knows, or as the key exchange needs it
				requests, of = append(requests, i.remove), append(of, item{what: i.what})
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
	order.Sort(requests, func(a, b rtbatch.Request) int { return cmp.Compare(a.Kind, b.Kind) }) // states first
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
	level := slog.LevelDebug
	for _, i := range lost {
		delete(m.have, i.id())
		if !i.negotiated { // otherwise it may be the key exchange, which tells later that it has ended
			level = slog.LevelWarn
		}
	}
	failures := m.install(lost)
	m.options.Log.Log(context.Background(), level, "somebody else has removed IPsec associations or policies of roam6: they are there again", "removed", len(lost), "failed", len(failures))
}
