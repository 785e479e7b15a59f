package homelink

import (
	"net/netip"
	"time"

	"roam6/internal/limit"
)

// Constants of RFC 6275 §12, and the pauses that it leaves to us.
const (
	// InitialDHAADTimeout is INITIAL_DHAAD_TIMEOUT; it doubles with each
	// retransmission (§11.4.1).
	InitialDHAADTimeout = 3 * time.Second
	// DHAADRetries is DHAAD_RETRIES.
	DHAADRetries = 4
	// InitialSolicitTimer is INITIAL_SOLICIT_TIMER; it doubles with each
	// retransmission up to MAX_BINDACK_TIMEOUT (§11.8).
	InitialSolicitTimer = 3 * time.Second
	// maxSolicitTimer is MAX_BINDACK_TIMEOUT.
	maxSolicitTimer = 32 * time.Second
	// solicitRetries bounds the solicitations of a row. RFC 6275 §11.8 allows to
	// go on at the slowest rate for ever; a home agent that does not do prefix
	// discovery would be asked 2700 times a day.
	solicitRetries = 4

	// Pause of discovery after a row of requests without an answer.
	leastDiscoveryPause = time.Minute
	mostDiscoveryPause  = 10 * time.Minute
	// Pause of prefix discovery after a row of solicitations without an answer.
	leastSolicitPause = 10 * time.Minute
	mostSolicitPause  = 6 * time.Hour
	// leastRenewal is the least time between two solicitations for a prefix that
	// is about to end.
	leastRenewal = time.Minute
	// After a failure an agent is left alone for so long, twice as long after
	// each further one. One that did not answer may have been out of reach; one
	// that refused has to be put right by somebody.
	unansweredPause = 30 * time.Second
	refusedPause    = 5 * time.Minute
	mostAgentPause  = 30 * time.Minute
)

// Bounds of what others can make us remember.
const (
	maxDiscovered = 16 // addresses taken from one reply
	maxRouters    = 16 // home agents heard on the home link
	maxPrefixes   = 8  // of the home link
	// maxGuesses is how many wrong identifiers may come before the right one:
	// then the exchange begins anew with another identifier, so that one of 16
	// bits cannot be found by trying them all.
	maxGuesses = 8
)

// Rates of what others, or a mobile that moves all the time, can cause.
var (
	requestRate = limit.Rate{Every: time.Second, Burst: 5}
	solicitRate = limit.Rate{Every: 10 * time.Second, Burst: 4}
)

// Config is what a mobile node's configuration says about its home link. The
// mobile node validates it.
type Config struct {
	Name        string
	HomeAddress netip.Addr
	HomePrefix  netip.Prefix
	// Agents are the configured home agents in order of preference.
	Agents []netip.Addr
	// Discover permits discovery (RFC 6275 §11.4.1) when no configured agent
	// serves, and agents heard on the home link.
	Discover bool
	// MobileRouter: only agents that serve mobile routers are discovered
	// (RFC 3963 §7).
	MobileRouter bool
	// Random fills a slice with octets that nobody can guess: identifiers.
	Random func([]byte)
}
