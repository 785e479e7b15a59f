package xfrmro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
	"roam6/internal/xfrm/mobility"
	"roam6/overlay"
)

// loss is what is known of policies that somebody else has removed. States need none: they
// are listed to be counted.
type loss struct {
	events int // netlink socket; -1: none
	doubt  bool
	looked time.Time
}

// restoreInterval is the least time between two looks at the policies: somebody who removes
// ours again and again must not make us busy.
const restoreInterval = time.Second

func (l *loss) open() (err error) {
	if l.events, err = nlsock.Subscribe(unix.NETLINK_XFRM, 1<<(nl.XFRMNLGRP_POLICY-1)); err != nil {
		return fmt.Errorf("XFRM netlink socket for policies: %w", err)
	}
	return nil
}

func (l *loss) close() {
	if l.events >= 0 {
		unix.Close(l.events)
	}
}

// hear reads what has become of policies.
func (l *loss) hear() {
	b := make([]byte, 4096)
	for {
		n, _, err := unix.Recvfrom(l.events, b, unix.MSG_DONTWAIT)
		switch {
		case err == unix.ENOBUFS:
			l.doubt = true
		case err == unix.EINTR:
		case err != nil:
			return
		case n >= unix.SizeofNlMsghdr:
			switch binary.NativeEndian.Uint16(b[4:]) {
			case nl.XFRM_MSG_DELPOLICY, nl.XFRM_MSG_FLUSHPOLICY:
				l.doubt = true
			}
		}
	}
}

// restore puts back what somebody else has removed; states are all that there are.
func (p *Path) restore(now time.Time, states map[stateKey]mobility.Status, failed func(overlay.Pair, error)) error {
	n := 0
	var failures []error
	for k, u := range p.users {
		if _, there := states[k]; there || u.users == 0 {
			continue
		}
		n++
		if err := p.states.Add(u.State); err != nil && !errors.Is(err, unix.EEXIST) {
			failures = append(failures, err)
		}
	}
	p.loss.hear()
	if p.loss.doubt && now.Sub(p.loss.looked) >= restoreInterval {
		p.loss.doubt, p.loss.looked = false, now
		lost, err := p.restorePolicies(failed)
		n += lost
		failures = append(failures, err)
	}
	if n > 0 {
		p.log.Warn("somebody else has removed states or policies of optimised routes: they are there again", "removed", n)
	}
	return errors.Join(failures...)
}

// policyKey is what tells a policy of ours from the others.
type policyKey struct {
	source, destination string
	dir                 netlink.Dir
}

func policyKeyOf(q *netlink.XfrmPolicy) policyKey {
	return policyKey{q.Src.String(), q.Dst.String(), q.Dir}
}

// restorePolicies puts policies back; a conversation for which that cannot be done fails.
func (p *Path) restorePolicies(failed func(overlay.Pair, error)) (n int, err error) {
	list, err := p.netlink.XfrmPolicyList(netlink.FAMILY_V6)
	if err != nil {
		return 0, fmt.Errorf("list XFRM policies: %w", err)
	}
	there := make(map[policyKey]bool, len(p.policies))
	spares := false
	for _, q := range list {
		switch {
		case sparesSignalling(&q):
			spares = true
		case ours(&q):
			there[policyKeyOf(&q)] = true
		}
	}
	var failures []error
	if p.spares && !spares {
		n++
		p.spares = false
		failures = append(failures, p.spareSignalling())
	}
	for k, both := range p.policies {
		var failure error
		for _, q := range both {
			if there[policyKeyOf(q)] {
				continue
			}
			n++
			if err := p.netlink.XfrmPolicyAdd(q); err != nil {
				failure = fmt.Errorf("XFRM policy from %v to %v again: %w", q.Src.IP, q.Dst.IP, err)
			}
		}
		if failure != nil {
			p.fail(k, p.between[k], failure, failed)
		}
	}
	return n, errors.Join(failures...)
}
