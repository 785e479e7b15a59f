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

func dial(path string, limit time.Duration) (Session, error) {
	s, err := vici.NewSession(vici.WithSocketPath(path))
	if err != nil {
		return nil, err
	}
	v := &viciSession{session: s, changed: make(chan struct{}, 1)}
	events := make(chan vici.Event, 16)
	s.NotifyEvents(events)
	// Package vici would wait for ever.
	silent := time.AfterFunc(limit, func() { s.Close() })
	err = s.Subscribe("ike-updown", "ike-rekey", "ike-update", "child-updown", "child-rekey")
	if !silent.Stop() {
		return nil, fmt.Errorf("charon accepts a connection at %s, and does not answer within %v: is it stuck? (%w)", path, limit, cmp.Or(err, errEnded))
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	go v.eventRunLoop(events)
	return v, nil
}

// viciSession is a Session by package vici.
type viciSession struct {
	session *vici.Session
	changed chan struct{}

	mu sync.Mutex // one command at a time, its events included
}

// eventRunLoop makes one of many events: all ask for the same, to look again.
func (v *viciSession) eventRunLoop(events <-chan vici.Event) {
	defer close(v.changed)
	for range events {
		select {
		case v.changed <- struct{}{}:
		default:
		}
	}
}

func (v *viciSession) Call(ctx context.Context, command string, m *vici.Message) (*vici.Message, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	answer, err := v.session.Call(ctx, command, m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	return answer, nil
}

func (v *viciSession) Associations(ctx context.Context) (all []IKEAssociation, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for m, err := range v.session.CallStreaming(ctx, "list-sas", "list-sa", nil) {
		if err != nil {
			return nil, fmt.Errorf("list-sas: %w", err)
		}
		all = append(all, ParseAssociations(m)...)
	}
	return all, nil
}

func (v *viciSession) Events() <-chan struct{} { return v.changed }

func (v *viciSession) Close() error { return v.session.Close() }
