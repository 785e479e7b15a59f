package dhcpv6

import (
	"encoding/hex"
	"log/slog"
	"net/netip"
	"time"

	wire "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/deadline"
	"roam6/internal/limit"
	"roam6/internal/role"
)

// Client is a DHCPv6 client of one interface, or of one mobile router behind a
// relay. It is a role.Machine.
//
// It is made for nodes that move, and as fast as RFC 8415 permits. It solicits at
// once, with the Rapid Commit option: a server that has it answers with the lease,
// after one round trip. A server without it advertises. §18.2.1 has such messages
// collected for the whole first retransmission time, a little more than a second,
// unless one has the preference 255; so do we. An operator who wants handovers
// without that second configures one or the other. On a link of before the lease is
// used again at once, while the server is asked whether it is still good.
//
// A client behind a relay has Config.Link 0. It takes a role.LinkChanged of link 0 as
// word whether the relay can send, and goes on where it was when it can again: what
// the mobile's link is does not matter to it. Another home agent is another
// role.LinkIdentity.
type Client struct {
	config Config
	state  State

	// What is asked for, and where.
	begun          bool
	identity       role.LinkIdentity
	managed, other bool

	// The link. Nothing is sent while it is down, or after it came back and nobody
	// has said yet what link it is.
	up, heard bool
	carriers  uint32
	moved     bool      // waits for the ConfigureLink of a link that came back
	moveBy    time.Time // until then
	deferred  bool      // began anew while the link was down

	current    binding
	remembered []place // other links' leases, the last used last
	lost       []netip.Prefix
	given      role.Lease // as told last
	refreshAt  time.Time  // of information (RFC 8415 §21.23)

	exchange      exchange
	decline       exchange // goes on beside the other
	declined      []netip.Prefix
	information   exchange // beside Solicit, where servers give no addresses
	asked         bool     // and it was answered: refreshAt is when it is asked for again
	released      binding
	rate          limit.Limiter
	loglines      limit.Limiter
	adverts       []advertisement
	chosen        *advertisement // what is requested; nil: what there is
	avoided       []avoided
	solicits      int // without success
	strikes       int // exchanges that brought nothing of use
	struck        time.Time
	nothingToGive bool // a server said that it gives nothing
	negative      bool // Confirm: another server said that the link is the wrong one

	solMaxRT, infMaxRT time.Duration

	saver saver
	stats [statTypes]MessageCount
	out   []role.Action // of the call under way
}

// statTypes is the number of message types that are counted by themselves.
const statTypes = int(wire.MessageTypeInformationRequest) + 1

var _ role.Machine = (*Client)(nil)

// moveWait is how long a client whose link came back waits to be told what link it
// is, before it takes it for the one it was. Mobiles tell with the first router
// advertisement.
const moveWait = 3 * time.Second

// NewClient returns a client that has not begun: it waits for role.ConfigureLink.
// saved is what it saved last (role.Save); what is torn or of somebody else is
// taken for nothing.
func NewClient(c Config, saved []byte) *Client {
	client := &Client{config: c, up: true, solMaxRT: solicitMaxRT, infMaxRT: informMaxRT}
	client.saver.load(c, saved)
	return client
}

// Handle processes one event.
func (c *Client) Handle(now time.Time, e role.Event) []role.Action {
	c.begin(now)
	if _, message := e.(role.DHCPReceived); !message {
		c.saver.stale = true
	}
	switch e := e.(type) {
	case role.ConfigureLink:
		c.configure(now, e)
	case role.LinkChanged:
		c.linkChanged(now, e.Link)
	case role.LinkGone:
		if e.Index == c.config.Link && c.config.Link != 0 {
			c.linkChanged(now, role.Link{Index: e.Index})
		}
	case role.DHCPReceived:
		c.received(now, e)
	case role.DeclineAddress:
		c.declineAddress(now, e)
	case role.Stop:
		c.stop(now)
	case role.Timeout:
	default:
		return nil
	}
	return c.finish(now)
}

// begin prepares a call.
func (c *Client) begin(now time.Time) {
	c.out = nil
	c.adopt(now)
}

// finish does what is due and returns the actions of the call.
func (c *Client) finish(now time.Time) []role.Action {
	c.expire(now)
	if c.up && c.moved && deadline.Due(now, c.moveBy) {
		c.verify(now)
	}
	// An exchange that fails may begin another one, and that a third.
	for range 4 {
		c.timers(now)
		if c.quiet() || !c.step(now) {
			break
		}
	}
	c.save(now)
	return c.out
}

// quiet reports whether nothing may be sent.
func (c *Client) quiet() bool { return !c.up || c.moved }

// step carries on with exchanges that are due, and reports whether any was.
func (c *Client) step(now time.Time) bool {
	did := false
	if c.decline.active() && deadline.Due(now, c.decline.due) {
		did = true
		if c.decline.failed(now) {
			c.decline, c.declined = exchange{}, nil
		} else {
			c.transmit(now, &c.decline)
		}
	}
	if c.information.active() && deadline.Due(now, c.information.due) {
		did = true
		c.transmit(now, &c.information)
	}
	if c.exchange.active() && deadline.Due(now, c.exchange.due) {
		did = true
		c.exchangeDue(now)
	}
	return did
}

// exchangeDue ends, fails or repeats the main exchange, whose time has come.
func (c *Client) exchangeDue(now time.Time) {
	x := &c.exchange
	switch {
	case x.kind == wire.MessageTypeSolicit:
		c.solicitDue(now)
		return
	case x.kind == wire.MessageTypeConfirm && c.negative:
		c.notOnLink(now)
		return
	case !x.failed(now):
		c.transmit(now, x)
		return
	}
	switch c.state {
	case StateRequesting:
		c.requestFailed(now)
	case StateConfirming:
		c.unconfirmed(now)
	case StateReleasing:
		c.log(now, slog.LevelWarn, "server did not confirm the release", slog.String("server", hex.EncodeToString(x.server)))
		c.finished(now)
	case StateRenewing, StateRebinding, StateInforming, StateSoliciting,
		StateIdle, StateInformed, StateBound, StateEnded, StateDone:
		// Those exchanges have no limit; they end when T2 or the leases do.
		c.transmit(now, x)
	}
}

// transmit sends the message of an exchange, or puts it off when there were too
// many (RFC 8415 §14.1).
func (c *Client) transmit(now time.Time, x *exchange) {
	if !c.rate.Allow(now, sendRate) {
		x.due = now.Add(sendRate.Every)
		return
	}
	octets := c.encode(now, x)
	x.transmitted(now, c.random(x))
	if x.kind == wire.MessageTypeSolicit {
		c.solicits++
	}
	c.count(x.kind).Sent++
	c.out = append(c.out, role.SendDHCP{
		Link:    c.config.Link,
		From:    netip.AddrPortFrom(netip.Addr{}, ClientPort),
		To:      netip.AddrPortFrom(AllRelayAgentsAndServers(), ServerPort),
		Message: octets,
	})
}

// timers begins what T1, T2 and the refresh time ask for.
func (c *Client) timers(now time.Time) {
	t1, t2 := c.current.times()
	switch c.state {
	case StateBound:
		switch {
		case deadline.Due(now, t2):
			c.rebind(now)
		case deadline.Due(now, t1):
			c.renew(now)
		}
	case StateRenewing:
		if deadline.Due(now, t2) {
			c.rebind(now)
		}
	case StateInformed:
		if deadline.Due(now, c.refreshAt) {
			c.inform(now)
		}
	case StateSoliciting:
		if deadline.Due(now, c.refreshAt) {
			c.informBeside(now)
		}
	case StateIdle, StateRequesting, StateConfirming, StateInforming,
		StateRebinding, StateEnded, StateReleasing, StateDone:
	}
}

// Next is the earliest time at which Timeout must be delivered.
func (c *Client) Next() time.Time {
	next := c.current.expiry()
	next = deadline.Earlier(next, c.saver.due)
	if !c.up {
		return next
	}
	if c.moved {
		return deadline.Earlier(next, c.moveBy)
	}
	if c.exchange.active() {
		next = deadline.Earlier(next, c.exchange.due)
	}
	for _, x := range []*exchange{&c.decline, &c.information} {
		if x.active() {
			next = deadline.Earlier(next, x.due)
		}
	}
	t1, t2 := c.current.times()
	switch c.state {
	case StateBound:
		next = deadline.Earlier(next, deadline.Earlier(t1, t2))
	case StateRenewing:
		next = deadline.Earlier(next, t2)
	case StateInformed, StateSoliciting:
		next = deadline.Earlier(next, c.refreshAt)
	case StateIdle, StateRequesting, StateConfirming, StateInforming,
		StateRebinding, StateEnded, StateReleasing, StateDone:
	}
	return next
}

// Done reports whether the client has stopped (role.Stop).
func (c *Client) Done() bool { return c.state == StateDone }

// logRate bounds the lines that strangers can cause.
var logRate = limit.Rate{Every: 10 * time.Second, Burst: 10}

// log adds a line for the operator.
func (c *Client) log(now time.Time, level slog.Level, message string, attrs ...slog.Attr) {
	if !c.loglines.Allow(now, logRate) {
		return
	}
	attrs = append([]slog.Attr{slog.String("client", c.config.Name)}, attrs...)
	c.out = append(c.out, role.Log{Level: level, Message: "dhcpv6: " + message, Attrs: attrs})
}

// drop counts a message that was not accepted.
func (c *Client) drop(reason role.DropReason, from netip.Addr) {
	c.out = append(c.out, role.Dropped{Reason: reason, From: from})
}

// count is the counter of a type; all that clients do not have share the first.
func (c *Client) count(kind wire.MessageType) *MessageCount {
	if int(kind) >= statTypes {
		kind = wire.MessageTypeNone
	}
	s := &c.stats[kind]
	s.Type = kind.String()
	return s
}
