package ike

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// attempt is how the beginning of a key exchange ended.
type attempt struct {
	ends Ends
	err  error
}

// trial is an attempt under way.
type trial struct {
	careOf netip.Addr // invalid: nobody had asked
	giveUp context.CancelFunc
}

// due are the peers with which a key exchange is to begin now.
func (k *Keeper) due() (peers []Peer) {
	if k.stranger {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.loaded {
		n := k.told[p.Ends]
		careOf, asked := k.begin[p.Ends]
		asked = asked && n.Out == nil
		if t, ok := k.trying[p.Ends]; ok {
			switch {
			case !asked:
			case !t.careOf.IsValid():
				k.trying[p.Ends] = trial{careOf, t.giveUp}
				delete(k.begin, p.Ends)
			case t.careOf != careOf:
				t.giveUp() // and begins again when that has ended
			}
			continue
		}
		if !p.initiates() || p.complete(n) || !asked && k.pausing(p.Ends) {
			continue
		}
		delete(k.begin, p.Ends)
		k.trying[p.Ends] = trial{careOf: careOf}
		peers = append(peers, p)
	}
	return peers
}

// pausing reports whether what has failed between two ends rests.
func (k *Keeper) pausing(e Ends) bool { return time.Now().Before(k.failures[e].until) }

func (k *Keeper) failed(e Ends) {
	f := k.failures[e]
	f.until = time.Now().Add(min(leastPause<<min(f.count, 10), mostPause))
	f.count++
	k.failures[e] = f
}

func (k *Keeper) noteAttempt(a attempt) {
	delete(k.trying, a.ends)
	if a.err == nil {
		// Should its keys not be found, that is no reason to begin again at once.
		k.failures[a.ends] = failure{until: time.Now().Add(leastPause)}
		return
	}
	if !errors.Is(a.err, context.Canceled) {
		k.options.Log.Warn("key exchange failed", "home", a.ends.Home, "home_agent", a.ends.Agent, "reason", a.err)
	}
	k.failed(a.ends)
}

// attempt begins a key exchange, in a session of its own, since charon answers when it
// has ended. One that fails leaves nothing that goes on from a former care-of address.
func (k *Keeper) attempt(ctx context.Context, p Peer) error {
	session, err := k.options.Dial()
	if err != nil {
		return err
	}
	defer session.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*attemptTimeout+callTimeout)
	defer cancel()
	have, err := session.Associations(ctx)
	if err != nil {
		return err
	}
	for _, child := range p.children() {
		if slices.ContainsFunc(have, func(a IKEAssociation) bool {
			return a.Connection == p.Name() && slices.ContainsFunc(a.Children, func(c Child) bool { return c.Name == child && c.State == childInstalled })
		}) {
			continue
		}
		request := section("ike", p.Name(), "child", child, "timeout", fmt.Sprint(attemptTimeout.Milliseconds()), "loglevel", "-1")
		if _, err := session.Call(ctx, "initiate", request); err != nil {
			if child == childSignalling {
				k.abandon(context.WithoutCancel(ctx), p)
			}
			return fmt.Errorf("%w; charon's log says why", err)
		}
	}
	return nil
}

// abandon ends a key exchange that has not succeeded, in a session of its own: the one
// that began it may still wait for it.
func (k *Keeper) abandon(ctx context.Context, p Peer) {
	session, err := k.options.Dial()
	if err != nil {
		return
	}
	defer session.Close()
	_, _ = call(ctx, session, "terminate", "ike", p.Name(), "force", "yes", "timeout", "-1", "loglevel", "-1")
}
