package ike

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	"roam6/internal/esp"
)

// load makes charon's connections those of the peers.
func (k *Keeper) load(ctx context.Context, session Session) error {
	k.mu.Lock()
	peers := slices.Clone(k.peers)
	k.mu.Unlock()
	wanted := make(map[string]Peer, len(peers))
	for _, p := range peers {
		wanted[p.Name()] = p
	}
	for _, name := range slices.Sorted(maps.Keys(k.loaded)) {
		if wanted[name] != k.loaded[name] {
			k.unload(ctx, session, k.loaded[name])
		}
	}
	for e := range k.told {
		if !slices.ContainsFunc(peers, func(p Peer) bool { return p.Ends == e }) {
			k.tell(e, esp.Negotiated{})
			delete(k.told, e)
			delete(k.failures, e)
		}
	}
	for _, p := range peers {
		if _, done := k.loaded[p.Name()]; done || k.pausing(p.Ends) {
			continue
		}
		if err := k.loadPeer(ctx, session, p); err != nil {
			if ctx.Err() != nil {
				return err
			}
			k.options.Log.Error("no key exchange", "home", p.Home, "home_agent", p.Agent, "reason", err)
			k.failed(p.Ends)
			continue
		}
		k.loaded[p.Name()] = p
	}
	return nil
}

func (k *Keeper) loadPeer(ctx context.Context, session Session, p Peer) error {
	c, err := p.credentials()
	if err != nil {
		return err
	}
	if p.PSK != "" {
		if _, err := send(ctx, session, "load-shared", SharedSecret(p)); err != nil {
			return err
		}
	} else {
		answer, err := call(ctx, session, "load-key", "type", "any", "data", c.Key)
		if err != nil {
			return fmt.Errorf("private key %s: %w", p.Key, err)
		}
		k.keys[p.Name()] = text(answer, "id")
		if _, err := call(ctx, session, "load-cert", "type", "X509", "flag", "CA", "data", c.Authority); err != nil {
			return fmt.Errorf("authority's certificate %s: %w", p.Authority, err)
		}
	}
	_, err = send(ctx, session, "load-conn", Connection(p, c))
	return err
}

// credentials reads a peer's files.
func (p Peer) credentials() (c Credentials, err error) {
	if p.PSK != "" {
		return c, nil
	}
	for _, f := range []struct {
		path string
		into *string
	}{{p.Certificate, &c.Certificate}, {p.Key, &c.Key}, {p.Authority, &c.Authority}} {
		b, err := os.ReadFile(f.path)
		if err != nil {
			return c, err
		}
		*f.into = string(b)
	}
	return c, nil
}

// unload takes a peer's connection, secret and associations back. What charon does not
// have any more is no failure.
func (k *Keeper) unload(ctx context.Context, session Session, p Peer) {
	name := p.Name()
	_, _ = call(ctx, session, "unload-conn", "name", name)
	_, _ = call(ctx, session, "terminate", "ike", name, "timeout", "-1", "loglevel", "-1")
	if p.PSK != "" {
		_, _ = call(ctx, session, "unload-shared", "id", name)
	} else if id := k.keys[name]; id != "" && !k.shares(name, id) {
		_, _ = call(ctx, session, "unload-key", "id", id)
	}
	delete(k.loaded, name)
	delete(k.keys, name)
}

// shares reports whether another connection has the same private key.
func (k *Keeper) shares(name, id string) bool {
	for other, its := range k.keys {
		if other != name && its == id {
			return true
		}
	}
	return false
}

func (k *Keeper) farewell(ctx context.Context, session Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTimeout)
	defer cancel()
	for _, p := range k.loaded {
		k.unload(ctx, session, p)
	}
}
