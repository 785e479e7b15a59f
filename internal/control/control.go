// Package control is how a person, or a program, asks a running daemon: a unix
// socket on which one JSON line is asked and one is answered, the documents
// that are the answers, and their rendering as tables.
//
// The documents are the stable interface: fields are added, never renamed or
// given another meaning. Durations are numbers whose field name ends in _ms or
// _seconds, moments are RFC 3339 in UTC, always with an age beside them: many
// routers have no clock that can be trusted.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// DefaultPath is where the daemon listens unless its configuration says
// otherwise.
const DefaultPath = "/var/run/roam6.sock"

// Topic is what can be shown.
type Topic uint8

// Topics.
const (
	TopicBindings       Topic = iota + 1 // the binding caches
	TopicUpdates                         // the binding update lists of mobile nodes and routers
	TopicHomeAgents                      // home agents of home links
	TopicPrefixes                        // prefixes of home links and mobile networks
	TopicUplinks                         // the interfaces of mobile nodes and routers
	TopicTunnels                         // what the data plane carries out
	TopicHandovers                       // the timeline of the last moves
	TopicStats                           // counters
	TopicLeases                          // what DHCPv6 servers gave to this node
	TopicDelegations                     // the prefixes that home agents delegated
	TopicAnchors                         // mobility anchor points
	TopicAdvertisements                  // the router advertisements of this node
	TopicStatus                          // what to look at first
)

// Topics lists all topics, in the order of the help text.
func Topics() []Topic {
	return []Topic{TopicStatus, TopicBindings, TopicUpdates, TopicHomeAgents, TopicAnchors, TopicPrefixes, TopicUplinks, TopicAdvertisements, TopicLeases, TopicDelegations, TopicTunnels, TopicHandovers, TopicStats}
}

// String returns the word for the topic in requests and on the command line.
func (t Topic) String() string {
	switch t {
	case TopicBindings:
		return "bindings"
	case TopicUpdates:
		return "updates"
	case TopicHomeAgents:
		return "home-agents"
	case TopicPrefixes:
		return "prefixes"
	case TopicUplinks:
		return "uplinks"
	case TopicTunnels:
		return "tunnels"
	case TopicHandovers:
		return "handovers"
	case TopicStats:
		return "stats"
	case TopicLeases:
		return "leases"
	case TopicDelegations:
		return "delegations"
	case TopicAnchors:
		return "anchors"
	case TopicAdvertisements:
		return "ra"
	case TopicStatus:
		return "status"
	default:
		return "unknown"
	}
}

// ErrUnknownTopic is returned by ParseTopic.
var ErrUnknownTopic = errors.New("unknown topic")

// ParseTopic is the inverse of String.
func ParseTopic(s string) (Topic, error) {
	var all []string
	for _, t := range Topics() {
		if t.String() == s {
			return t, nil
		}
		all = append(all, t.String())
	}
	return 0, fmt.Errorf("%w %q: one of %s", ErrUnknownTopic, s, strings.Join(all, ", "))
}

// Document is the answer to a question about a topic. The set is closed.
type Document interface {
	// Render writes the document as a table for people.
	Render(w io.Writer) error
	isDocument()
}

func (Bindings) isDocument()    {}
func (Updates) isDocument()     {}
func (HomeAgents) isDocument()  {}
func (Prefixes) isDocument()    {}
func (Uplinks) isDocument()     {}
func (Tunnels) isDocument()     {}
func (Handovers) isDocument()   {}
func (Stats) isDocument()       {}
func (Leases) isDocument()      {}
func (Delegations) isDocument() {}
func (Anchors) isDocument()     {}
func (Status) isDocument()      {}

// Handler is the daemon as the socket sees it. It is called by several
// goroutines at a time, with a context that has a deadline.
type Handler interface {
	// Show returns the document of a topic. A role that the daemon does not
	// host gives an empty document, not an error.
	Show(ctx context.Context, t Topic) (Document, error)
	// Reload reads the configuration again. On an error the running
	// configuration is still in force.
	Reload(ctx context.Context) error
}

// Decode reads the JSON of a topic's document.
func Decode(t Topic, data json.RawMessage) (Document, error) {
	switch t {
	case TopicBindings:
		return decode[Bindings](data)
	case TopicUpdates:
		return decode[Updates](data)
	case TopicHomeAgents:
		return decode[HomeAgents](data)
	case TopicPrefixes:
		return decode[Prefixes](data)
	case TopicUplinks:
		return decode[Uplinks](data)
	case TopicTunnels:
		return decode[Tunnels](data)
	case TopicHandovers:
		return decode[Handovers](data)
	case TopicStats:
		return decode[Stats](data)
	case TopicLeases:
		return decode[Leases](data)
	case TopicDelegations:
		return decode[Delegations](data)
	case TopicAdvertisements:
		return decode[Advertisements](data)
	case TopicAnchors:
		return decode[Anchors](data)
	case TopicStatus:
		return decode[Status](data)
	default:
		return nil, ErrUnknownTopic
	}
}

func decode[D Document](data json.RawMessage) (Document, error) {
	var d D
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("the daemon's answer: %w", err)
	}
	return d, nil
}
