package ike

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/strongswan/govici/vici"
)

// Session is a connection to charon. Commands go one after the other.
type Session interface {
	// Call carries out a command; err tells of a command that failed, too.
	Call(ctx context.Context, command string, m *vici.Message) (*vici.Message, error)
	// Associations lists the IKE associations.
	Associations(ctx context.Context) ([]IKEAssociation, error)
	// Events has a value whenever associations may have changed, and is closed when
	// charon ends.
	Events() <-chan struct{}
	Close() error
}

// Dial opens a session at the path of a vici socket. A charon that does not answer within
// callTimeout is an error.
func Dial(path string) (Session, error) { return dial(path, callTimeout) }

func dial(path string, limit time.Duration) (_ Session, err error) {
	v := &viciSession{changed: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			v.Close()
		}
	}()
	if v.commands, err = vici.NewSession(vici.WithSocketPath(path)); err != nil {
		return nil, err
	}
	for _, name := range []string{"ike-updown", "ike-rekey", "ike-update", "child-updown", "child-rekey"} {
		if err := v.subscribe(path, name, limit); err != nil {
			return nil, fmt.Errorf("subscribe to %s: %w", name, err)
		}
	}
	go v.eventRunLoop()
	return v, nil
}

// viciSession is a Session by package vici. Each kind of event comes by a connection of its
// own: a connection of that package that already hears events stands still for ever when
// one comes while it waits for the answer to a further subscription, or to a command that
// is answered by events.
type viciSession struct {
	commands *vici.Session
	changed  chan struct{}

	mu sync.Mutex // one command at a time, its events included

	listeners []listener
}

// listener is the connection for one kind of event.
type listener struct {
	*vici.Session
	events chan vici.Event
}

// subscribe opens the connection for the events of a name.
func (v *viciSession) subscribe(path, name string, limit time.Duration) error {
	s, err := vici.NewSession(vici.WithSocketPath(path))
	if err != nil {
		return err
	}
	events := make(chan vici.Event, 16)
	s.NotifyEvents(events)
	v.listeners = append(v.listeners, listener{s, events})
	// Package vici would wait for ever.
	silent := time.AfterFunc(limit, func() { s.Close() })
	err = s.Subscribe(name)
	if !silent.Stop() {
		return fmt.Errorf("charon accepts a connection at %s, and does not answer within %v: is it stuck? (%w)", path, limit, cmp.Or(err, errEnded))
	}
	return err
}

// eventRunLoop makes one of many events: all ask for the same, to look again. Those of all
// connections end when charon does.
func (v *viciSession) eventRunLoop() {
	defer close(v.changed)
	var running sync.WaitGroup
	for _, l := range v.listeners {
		running.Go(func() {
			for range l.events {
				select {
				case v.changed <- struct{}{}:
				default:
				}
			}
		})
	}
	running.Wait()
}

func (v *viciSession) Call(ctx context.Context, command string, m *vici.Message) (*vici.Message, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	answer, err := v.commands.Call(ctx, command, m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	return answer, nil
}

func (v *viciSession) Associations(ctx context.Context) (all []IKEAssociation, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	// Package vici drops what is not taken at once.
	var told []*vici.Message
	for m, err := range v.commands.CallStreaming(ctx, "list-sas", "list-sa", nil) {
		if err != nil {
			return nil, fmt.Errorf("list-sas: %w", err)
		}
		told = append(told, m)
	}
	for _, m := range told {
		all = append(all, ParseAssociations(m)...)
	}
	return all, nil
}

func (v *viciSession) Events() <-chan struct{} { return v.changed }

func (v *viciSession) Close() error {
	var failures []error
	for _, l := range v.listeners {
		failures = append(failures, l.Close())
	}
	if v.commands != nil {
		failures = append(failures, v.commands.Close())
	}
	return errors.Join(failures...)
}
