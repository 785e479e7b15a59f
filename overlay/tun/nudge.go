package tun

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/rtnl/rtbatch"
)

// A socket that is connected keeps the route it has found. The kernel has it look
// again when that route goes, or one comes in the same table that is better; one
// in another table, as those of bound home addresses are, it does not see. But any
// change of policy rules makes all sockets look again. So with new routes there, a
// rule that hardly anything matches comes and goes. (On the mobile side the routes
// to peers are in the table whose default route their sockets use.)

const (
	// nudgeInterval is the least time between two nudges, and nudgeShare of them the
	// part of the time that they may take: the kernel goes through all routes of the
	// namespace at each.
	nudgeInterval = 5 * time.Millisecond
	nudgeShare    = 20
	// remindAfter is how long several messages about a path MTU gather: strangers can
	// forge what causes them.
	remindAfter = 20 * time.Millisecond
)

// nudging is when sockets were made to look again, and when they will be.
type nudging struct {
	next  time.Duration // not before
	timer *time.Timer   // of the one that is due; nil: none
	owed  bool          // that one is due for a path MTU
}

// nudge makes the kernel's sockets look their routes up again, in a moment if they
// did so a moment ago. Under the engine's lock.
func (e *Engine) nudge() {
	if e.nudging.timer != nil {
		return
	}
	if wait := e.nudging.next - e.now(); wait > 0 {
		e.nudging.timer = time.AfterFunc(wait, e.nudgeLate)
		return
	}
	e.nudgeNow()
}

func (e *Engine) nudgeLate() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.nudging.timer = nil
	if (e.steered || e.nudging.owed) && !e.closed { // otherwise the rule of all has gone, which did it
		e.nudgeNow()
	}
}

// remind makes the kernel's sockets look again, in a moment, since one of them was
// told of a path MTU. A socket that was connected without an address of its own
// keeps the default route of the main table; the kernel notes the path MTU where
// the home address leads, in the table of the tunnel, and the socket would send too
// large packets for ever (RFC 8201 §4). Any goroutine may call it.
func (e *Engine) remind() {
	if e.reminding.Swap(true) {
		return
	}
	time.AfterFunc(remindAfter, func() {
		e.reminding.Store(false)
		e.mu.Lock()
		defer e.mu.Unlock()
		if !e.closed {
			e.nudging.owed = true
			e.nudge()
		}
	})
}

// informed injects an ICMPv6 error about a packet of ours, and has its sender take
// it in.
func (e *Engine) informed(reply []byte) {
	e.inject(reply)
	if e.table.tellsOwn(reply) {
		e.remind()
	}
}

// tellsOwn reports whether an error for the device is a Packet Too Big for a home
// address of this node.
func (t *table) tellsOwn(reply []byte) bool {
	packet := reply[virtioLength:]
	if packet[headerLength] != icmpPacketTooBig {
		return false
	}
	d := destination(packet)
	u := t.mobile.lookup(d)
	return u != nil && u.home == d
}

func (e *Engine) nudgeNow() {
	e.nudging.owed = false
	start := e.now()
	e.netlink.Commit(e.kernel.nudge(), func(_ int, err error) {
		e.config.Log.Warn("connections that exist may go on through home agents", "engine", e.Name(), "reason", err)
	})
	end := e.now()
	e.nudging.next = end + max(nudgeInterval, nudgeShare*(end-start))
}

// stop ends it.
func (n *nudging) stop() {
	if n.timer != nil {
		n.timer.Stop()
		n.timer = nil
	}
}

// nudge is a rule for what this node sends to itself, which finds nothing where it
// leads, and its end. It is not the rule of all a second time: if its coming
// failed, its end would take that away.
func (k *kernel) nudge() []rtbatch.Request {
	loopback := netip.PrefixFrom(netip.IPv6Loopback(), 128)
	b := rtbatch.Attributes(k.ruleBody(k.config.RulePriority+2, k.config.Table+1, loopback, netip.Prefix{}))
	b = b.Bytes(unix.FRA_IIFNAME, []byte("lo\x00"))
	return []rtbatch.Request{{Kind: unix.RTM_NEWRULE, Flags: unix.NLM_F_CREATE, Body: b}, {Kind: unix.RTM_DELRULE, Flags: 0, Body: b}}
}
