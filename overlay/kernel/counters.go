package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// counted reports whether the elements of a set count packets, and which.
func counted(set string) bool { return strings.Contains(set, in) || strings.Contains(set, out) }

// addElement adds what an element has counted: packets with the tunnel header. An
// aggregate of several is one.
func addElement(c *overlay.Counters, set string, e nft.Element) {
	if strings.Contains(set, out) {
		c.EncapPackets += e.Packets
		c.EncapBytes += e.Bytes - headerLength*e.Packets
		return
	}
	c.DecapPackets += e.Packets
	c.DecapBytes += e.Bytes - headerLength*e.Packets
}

// Counters returns what was carried.
func (p *path) Counters() map[overlay.Key]overlay.Counters {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[overlay.Key]overlay.Counters, len(p.tunnels))
	for k, t := range p.tunnels {
		all[k] = t.base
	}
	if p.closed {
		return all
	}
	for l, n := range p.lengths {
		if n == 0 {
			continue
		}
		for _, role := range []string{out, in} {
			set := setName(l.side, role, l.bits)
			err := p.nft.Elements(tableName, set, func(e nft.Element) {
				if len(e.Key) < address {
					return
				}
				t := p.owners[owned{l.side, netip.PrefixFrom(addrOf(e.Key), l.bits)}]
				if t == nil {
					return // a predecessor's
				}
				c := all[t.Key]
				addElement(&c, set, e)
				all[t.Key] = c
			})
			if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, os.ErrClosed) {
				p.log().Warn("counters of tunnels cannot be read", "engine", Name, "set", set, "reason", err)
			}
		}
	}
	return all
}

// deviceDrops are the errors of a tunnel device as the kernel counts them.
type deviceDrops struct{ errors, aborted, carrier, collisions uint64 }

// Drops returns what the devices of mobiles' tunnels have dropped. The kernel does not
// say which tunnel of an agent a packet was for that it could not send, nor why.
func (p *path) Drops() map[overlay.DropReason]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		for _, t := range p.mobiles {
			p.countDrops(t)
		}
	}
	all := make(map[overlay.DropReason]uint64, len(p.drops))
	for r, n := range p.drops {
		all[r] = n
	}
	return all
}

// countDrops adds what a device has dropped since the last time.
func (p *path) countDrops(t *tunnel) {
	now, ok := p.deviceDrops(t.device.index)
	if !ok {
		return
	}
	was := t.seen
	t.seen = now
	note := func(r overlay.DropReason, n uint64) {
		if n > 0 && n < 1<<63 {
			p.drops[r] += n
		}
	}
	carrier := now.carrier - was.carrier
	if carrier > 0 {
		// The kernel counts a missing source and a missing route alike.
		reason := overlay.DropUnreachable
		if !p.local(t.device.local) {
			reason = overlay.DropNoSource
		}
		note(reason, carrier)
	}
	note(overlay.DropLoop, now.collisions-was.collisions)
	note(overlay.DropQueueFull, now.aborted-was.aborted)
	note(overlay.DropTooBig, (now.errors-was.errors)-carrier-(now.aborted-was.aborted))
}

func (p *path) deviceDrops(index int) (d deviceDrops, ok bool) {
	const transmitErrors, collisions, aborted, carrier = 5, 9, 16, 17 // fields of struct rtnl_link_stats64
	err := p.route.Get(unix.RTM_GETLINK, linkHeader(index, 0, 0), func(m []byte) {
		if len(m) < unix.SizeofIfInfomsg {
			return
		}
		s := rtbatch.Attribute(m[unix.SizeofIfInfomsg:], unix.IFLA_STATS64)
		if len(s) < 8*(carrier+1) {
			return
		}
		field := func(i int) uint64 { return binary.NativeEndian.Uint64(s[8*i:]) }
		d, ok = deviceDrops{errors: field(transmitErrors), aborted: field(aborted), carrier: field(carrier), collisions: field(collisions)}, true
	})
	return d, ok && err == nil
}

// local reports whether an address is this node's.
func (p *path) local(a netip.Addr) (yes bool) {
	b := make(rtbatch.Attributes, unix.SizeofRtMsg)
	b[0], b[1] = unix.AF_INET6, 128
	to := a.As16()
	_ = p.route.Get(unix.RTM_GETROUTE, b.Bytes(unix.RTA_DST, to[:]), func(m []byte) {
		yes = len(m) >= unix.SizeofRtMsg && m[7] == unix.RTN_LOCAL
	})
	return yes
}
