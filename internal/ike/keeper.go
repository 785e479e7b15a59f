package ike

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/strongswan/govici/vici"

	"roam6/internal/esp"
)

// Options are what a Keeper works with.
type Options struct {
	Log    *slog.Logger
	Kernel Kernel
	Dial   func() (Session, error)
	// Told learns of the associations between two ends whenever they have changed.
	Told func(Ends, esp.Negotiated)
}

// Keeper keeps associations with peers by one charon: it loads their connections, begins
// key exchanges where the mobile is here, and tells what came of them. What charon has is
// looked at anew after each of its events, so that none of them is needed for more, and
// everything begins again when charon was restarted.
type Keeper struct {
	options Options
	wake    chan struct{}

	mu    sync.Mutex
	peers []Peer
	begin map[Ends]netip.Addr // asked for, and from where
	renew map[Ends]renewal

	// Owned by RunLoop.
	loaded   map[string]Peer
	keys     map[string]string // identifiers of private keys in charon, by connection
	told     map[Ends]esp.Negotiated
	known    map[state]esp.Association // of the kernel's, what the last look found
	trying   map[Ends]trial
	failures map[Ends]failure
	absent   bool // charon does not answer, and that was said
	stranger bool // associations of an earlier life may be there
}

// renewal is where the IKE association of a peer should be by some time.
type renewal struct {
	careOf netip.Addr
	by     time.Time
}

// failure is how often in a row something did not work, and until when it rests.
type failure struct {
	count int
	until time.Time
}

// NewKeeper makes a Keeper without peers.
func NewKeeper(o Options) *Keeper {
	return &Keeper{
		options: o, wake: make(chan struct{}, 1), begin: map[Ends]netip.Addr{}, renew: map[Ends]renewal{},
		loaded: map[string]Peer{}, keys: map[string]string{}, told: map[Ends]esp.Negotiated{},
		trying: map[Ends]trial{}, failures: map[Ends]failure{}, stranger: true,
	}
}

// SetPeers says with whom there are to be associations.
func (k *Keeper) SetPeers(peers []Peer) {
	k.mu.Lock()
	k.peers = slices.Clone(peers)
	k.mu.Unlock()
	k.poke()
}

// Request has a key exchange begin at once if there are no associations: somebody waits
// for them, at a care-of address. One that is under way from another place is given up.
func (k *Keeper) Request(e Ends, careOf netip.Addr) {
	k.mu.Lock()
	k.begin[e] = careOf
	k.mu.Unlock()
	k.poke()
}

// Renew has the IKE association of a peer made anew unless it has followed the mobile to
// a care-of address by then.
func (k *Keeper) Renew(e Ends, careOf netip.Addr) {
	k.mu.Lock()
	k.renew[e] = renewal{careOf, time.Now().Add(followTime)}
	k.mu.Unlock()
	k.poke()
}

func (k *Keeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Times of the Keeper.
const (
	// attemptTimeout is how long a key exchange may take: a slow router needs seconds for
	// one, and charon would go on for minutes.
	attemptTimeout = 20 * time.Second
	// leastPause and mostPause bound the pause after one that failed, which doubles.
	leastPause = 5 * time.Second
	mostPause  = 5 * time.Minute
	// busyPause is the longest pause between looks at what charon has while something is
	// wanted of it, idlePause otherwise: it tells of changes by itself, and each look
	// leaves lines in its log.
	busyPause = 2 * time.Second
	idlePause = 5 * time.Minute
	// dialPause is the pause between looks for charon.
	dialPause = time.Second
	// followTime is how long MOBIKE is given to follow a move.
	followTime = 3 * time.Second
	// callTimeout bounds a command that charon answers by itself.
	callTimeout = 10 * time.Second
	// farewellTimeout bounds what is taken back at the end.
	farewellTimeout = 2 * time.Second
)

// RunLoop keeps associations until ctx ends, and takes everything back. What there is
// stays in use while charon is away.
func (k *Keeper) RunLoop(ctx context.Context) {
	for ctx.Err() == nil {
		session, err := k.options.Dial()
		if err == nil {
			err = k.serve(ctx, session)
			_ = session.Close()
		}
		clear(k.loaded)
		clear(k.keys)
		if ctx.Err() != nil {
			return
		}
		if !k.absent {
			k.absent = true
			k.options.Log.Error("no key exchange: charon does not answer on its vici socket; is strongSwan running, and its vici plugin loaded?", "reason", err)
		}
		select {
		case <-time.After(dialPause):
		case <-ctx.Done():
		}
	}
}

// tell passes on what has changed.
func (k *Keeper) tell(e Ends, n esp.Negotiated) {
	if same(k.told[e], n) {
		return
	}
	k.told[e] = n
	k.options.Told(e, n)
}

// same reports whether two are the same associations.
func same(a, b esp.Negotiated) bool {
	equal := func(x, y *esp.Association) bool { return x == y || x != nil && y != nil && *x == *y }
	return equal(a.Out, b.Out) && equal(a.TunnelOut, b.TunnelOut) && equal(a.PayloadOut, b.PayloadOut) &&
		slices.Equal(a.In, b.In) && slices.Equal(a.TunnelIn, b.TunnelIn) && slices.Equal(a.PayloadIn, b.PayloadIn)
}

// errEnded is a charon that has ended.
var errEnded = errors.New("charon has ended")

// serve works with one session until it ends.
func (k *Keeper) serve(ctx context.Context, session Session) error {
	attempts, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	ended := make(chan attempt)
	defer func() {
		cancel()
		go func() { running.Wait(); close(ended) }()
		for range ended {
		}
		clear(k.trying)
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			k.farewell(ctx, session)
			return ctx.Err()
		case _, ok := <-session.Events():
			if !ok {
				return errEnded
			}
		case <-k.wake:
		case a := <-ended:
			k.noteAttempt(a)
		case <-timer.C:
		}
		switch err := k.look(ctx, session); {
		case ctx.Err() != nil:
			continue
		case err != nil:
			return err
		}
		if k.absent {
			k.absent = false
			k.options.Log.Info("charon answers")
		}
		for _, p := range k.due() {
			attempting, giveUp := context.WithCancel(attempts)
			k.trying[p.Ends] = trial{k.trying[p.Ends].careOf, giveUp}
			running.Go(func() {
				defer giveUp()
				ended <- attempt{p.Ends, k.attempt(attempting, p)}
			})
		}
		timer.Reset(k.pause())
	}
}

// pause is how long there is nothing to do unless something happens.
func (k *Keeper) pause() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stranger || len(k.renew) > 0 || len(k.loaded) < len(k.peers) {
		return busyPause
	}
	for _, p := range k.loaded {
		if n := k.told[p.Ends]; p.initiates() && !p.complete(n) || replaced(n) {
			return busyPause
		}
	}
	return idlePause
}

// replaced reports whether some associations are received by still, although others have
// replaced them: charon keeps these for some seconds, and does not tell when they go.
func replaced(n esp.Negotiated) bool { return max(len(n.In), len(n.TunnelIn), len(n.PayloadIn)) > 1 }

// call carries out a command that charon answers by itself.
func call(ctx context.Context, session Session, command string, items ...any) (*vici.Message, error) {
	return send(ctx, session, command, section(items...))
}

func send(ctx context.Context, session Session, command string, m *vici.Message) (*vici.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return session.Call(ctx, command, m)
}

// look loads what is not loaded yet, and sees which associations there are.
func (k *Keeper) look(ctx context.Context, session Session) error {
	if err := k.load(ctx, session); err != nil {
		return err
	}
	listing, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	all, err := session.Associations(listing)
	if err != nil {
		return err
	}
	if k.stranger {
		k.endStrangers(ctx, session, all)
		return nil
	}
	kernel := remembering{k.options.Kernel, k.known, map[state]esp.Association{}}
	k.known = kernel.next
	for _, p := range k.loaded {
		own := slices.DeleteFunc(slices.Clone(all), func(a IKEAssociation) bool { return a.Connection != p.Name() })
		n, err := Associate(p.Ends, own, kernel)
		if err != nil {
			k.options.Log.Warn("an association cannot be used", "home", p.Home, "home_agent", p.Agent, "reason", err)
		}
		k.tell(p.Ends, n)
		k.settleRenewal(ctx, session, p, own)
	}
	return nil
}

// endStrangers ends the associations of an earlier life: their sequence numbers are not
// known any more, and the other end would take what begins anew for replays. The mobile
// then begins again.
func (k *Keeper) endStrangers(ctx context.Context, session Session, all []IKEAssociation) {
	for _, a := range all {
		if _, ours := k.loaded[a.Connection]; ours {
			if _, err := call(ctx, session, "terminate", "ike-id", a.ID, "timeout", "-1", "loglevel", "-1"); err != nil {
				k.options.Log.Debug("an association of before did not end in order", "reason", err)
			}
		}
	}
	k.stranger = false
	k.poke()
}

// settleRenewal makes an IKE association anew that is not where the mobile is.
func (k *Keeper) settleRenewal(ctx context.Context, session Session, p Peer, own []IKEAssociation) {
	k.mu.Lock()
	r, wanted := k.renew[p.Ends]
	there := slices.ContainsFunc(own, func(a IKEAssociation) bool { return a.Established && a.Local == r.careOf })
	wanted = wanted && !there && !time.Now().Before(r.by)
	if wanted || there {
		delete(k.renew, p.Ends)
	}
	k.mu.Unlock()
	if !wanted {
		return
	}
	for _, a := range own {
		if a.Established {
			k.options.Log.Info("the key exchange is made anew from another care-of address", "home", p.Home, "home_agent", p.Agent, "care_of", r.careOf)
			if _, err := call(ctx, session, "rekey", "ike-id", a.ID, "reauth", "yes"); err != nil {
				k.options.Log.Warn("the key exchange cannot be made anew", "reason", err)
			}
		}
	}
}
