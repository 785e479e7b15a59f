package kernel

import (
	"errors"
	"os"
	"sync"
	"time"

	"roam6/internal/nft"
)

// restorePause limits how often a table is put back that somebody keeps deleting.
const restorePause = time.Second

// guard puts the nftables table back when somebody else deletes it, as `nft flush
// ruleset` does.
type guard struct {
	events  *nft.Events // nil: nobody knows
	ended   chan struct{}
	running sync.WaitGroup
}

func (p *path) watch() *guard {
	g := &guard{ended: make(chan struct{})}
	var err error
	if g.events, err = nft.OpenEvents(); err != nil {
		p.log().Warn("nftables changes by others cannot be watched: our table is not put back if somebody flushes the ruleset",
			"engine", Name, "reason", err)
		return g
	}
	g.running.Go(func() { p.guardRunLoop(g) })
	return g
}

func (p *path) guardRunLoop(g *guard) {
	for {
		deleted, err := g.events.Deleted(tableName, p.nft.Port())
		if err != nil {
			return // closed
		}
		if !deleted {
			continue
		}
		p.restore()
		select {
		case <-g.ended:
			return
		case <-time.After(restorePause):
		}
	}
}

// restore makes the table anew. What it had counted is lost.
func (p *path) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.inherited.shape, p.inherited.elements = shape{}, nil
	p.shape, p.shaped = shape{}, false
	err := errors.Join(p.reshape(p.wantedShape()), p.hookAll())
	if err == nil {
		var all []element
		for _, t := range p.tunnels {
			if !t.lost {
				each(t.FastTunnel, func(set, key string) { all = append(all, element{set: set, key: key}) })
			}
		}
		for pair := range p.pairs {
			for _, key := range yielded(pair) {
				all = append(all, element{set: setYielded, key: key})
			}
		}
		p.change(nil, all, func(_ element, e error) { err = e })
		p.foreign = nil
		err = errors.Join(err, p.lookForeign())
	}
	switch {
	case errors.Is(err, os.ErrClosed):
	case err != nil:
		p.log().Warn("nftables table was deleted by another program and cannot be put back: tunnels are carried in user space",
			"engine", Name, "table", tableName, "reason", err)
	default:
		p.log().Info("nftables table was deleted by another program and is back", "engine", Name, "table", tableName)
	}
}

func (g *guard) close() {
	close(g.ended)
	if g.events != nil {
		g.events.Close()
	}
}
