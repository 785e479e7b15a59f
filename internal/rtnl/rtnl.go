// Package rtnl is the node's view of, and hand on, the kernel's network state:
//
//	Watcher         links as role events, and everything others change
//	State           addresses and routes the node wants, kept as values and
//	                reconciled with what the kernel has; learned neighbours;
//	                rules that lead chosen traffic to a home address (Steer)
//	LocalAddresses  is this address ours?
//	Sysctls         settings of net.ipv6, restored at the end
//
// Everything is made in the calling thread's network namespace and stays there,
// whichever thread uses it later.
//
// What State puts into the kernel carries a tag (Protocol), so that an
// instance that starts after a crash can tell its predecessor's from
// everybody else's. Decisions are pure functions of values (links.go, diff.go);
// messages.go and requests.go turn them into netlink.
//
// The only goroutines are the Watcher's two, linksRunLoop and routesRunLoop.
package rtnl

import (
	"errors"
	"log/slog"
	"time"
)

// Protocol is the tag of what roam6 puts into the kernel: the protocol of its
// routes (RTPROT) and addresses (IFA_PROTO). 136 is free in iproute2's
// rt_protos and rt_addrprotos and in use by no routing daemon that we know of;
// 16, which earlier Mobile IPv6 daemons took, has become DHCP's.
const Protocol = 136

// DefaultMetric is the metric of a route that asks for none: the kernel's own
// default (IP6_RT_PRIO_USER).
const DefaultMetric = 1024

// Errors of State. They come wrapped with what was attempted.
var (
	// ErrDeferred: the interface is down or does not exist yet. What was asked
	// for is remembered and applied as soon as it can be.
	ErrDeferred = errors.New("interface is down or absent: applied when it is up")
	// ErrClosed: the State was closed.
	ErrClosed = errors.New("kernel state is closed")
)

// retryPause is between attempts at what failed and must succeed in the end.
const retryPause = 100 * time.Millisecond

func orSilent(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
