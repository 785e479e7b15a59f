package dhcpv6

import (
	"bytes"
	"slices"
	"time"

	"roam6/internal/deadline"
)

// avoided is a server that gave nothing of use.
type avoided struct {
	server []byte
	until  time.Time
}

const (
	maxAvoided = 8
	avoidFor   = 2 * time.Minute
	// strikesLast is for how long failures make the client slower.
	strikesLast = 10 * time.Minute
)

// avoid notes that a server was of no use, so that another one is tried before.
func (c *Client) avoid(now time.Time, server []byte) {
	c.avoided = slices.DeleteFunc(c.avoided, func(a avoided) bool {
		return deadline.Due(now, a.until) || bytes.Equal(a.server, server)
	})
	if len(c.avoided) >= maxAvoided {
		c.avoided = slices.Delete(c.avoided, 0, 1)
	}
	c.avoided = append(c.avoided, avoided{server: bytes.Clone(server), until: now.Add(avoidFor)})
}

func (c *Client) avoids(now time.Time, server []byte) bool {
	return slices.ContainsFunc(c.avoided, func(a avoided) bool {
		return !deadline.Due(now, a.until) && bytes.Equal(a.server, server)
	})
}

// strike counts a failure and returns how long to wait before beginning anew:
// nothing the first time, then longer and longer (RFC 8415 §14.1).
func (c *Client) strike(now time.Time) time.Duration {
	if deadline.Due(now, c.struck.Add(strikesLast)) {
		c.strikes = 0
	}
	c.strikes, c.struck = c.strikes+1, now
	if c.strikes == 1 {
		return 0
	}
	return min(solicitTimeout<<min(c.strikes-2, 12), c.solMaxRT)
}
