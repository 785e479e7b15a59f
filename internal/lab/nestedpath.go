package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"roam6/internal/lab/probe"
	"roam6/internal/lab/report"
	"roam6/overlay/kernel"
)

const (
	linkMTU = 1500
	// tunnelHeader is what a tunnel takes of the path MTU, and limitOption what a
	// tunnel in a tunnel takes beside: the destination options header with the
	// encapsulation limit (RFC 2473 §4.1.1 (d), §6.6).
	tunnelHeader, limitOption = 40, 8
	// segmentHeaders are those of IPv6 and of TCP with a timestamp option.
	segmentHeaders = 40 + 20 + 12
)

// tunnelledMTU is the path MTU of what goes through tunnels. limited tells whether those
// that are around others have an encapsulation limit.
func tunnelledMTU(tunnels int, limited bool) int {
	mtu := linkMTU - tunnels*tunnelHeader
	if limited && tunnels > 1 {
		mtu -= (tunnels - 1) * limitOption
	}
	return mtu
}

// limits reports whether an agent adds an encapsulation limit to tunnel packets that its
// tunnel takes in. One whose tunnels are the kernel's does not; the kernel has no way to
// for a device in external mode.
func (s *stage) limits(agent string) bool { return s.plane(agent) != kernel.Name }

// pathFigure is what was found of a path MTU.
type pathFigure struct {
	name, text string
	want, got  int
	lost       int // packets until it was found
}

// discover has everybody find the path MTU, with datagrams and with TCP, and
// notes what they found with the train there. Nobody has known a smaller one yet:
// ends remember that for ten minutes (RFC 8201 §4).
func (r *nestedRun) discover(ctx context.Context, s *stage, there string) error {
	const port, transferPort = 9011, 9012
	const limit = 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for i, e := range r.ends {
		if err := r.segments(ctx, s, e, netip.AddrPortFrom(e.address, transferPort), there); err != nil {
			return err
		}
		down, up := r.pathMTU(s, e)
		for _, d := range []struct {
			name, from, to string
			address        netip.Addr
			mtu            int
		}{{"down", nodeCorrespondent, e.node, e.address, down}, {"up", e.node, nodeCorrespondent, correspondentAddress(), up}} {
			found, err := probe.DiscoverPathMTU(ctx, s.world.Space(d.from), s.world.Space(d.to), netip.AddrPortFrom(d.address, port+uint16(10*i)))
			if err != nil {
				return fmt.Errorf("path MTU from %s to %s: %w (after %+v)", d.from, d.to, err, found)
			}
			r.paths = append(r.paths, pathFigure{
				name: fmt.Sprintf("path_mtu_%s_%s_%s", d.name, e.node, there),
				text: fmt.Sprintf("path MTU from %s to %s, the train %s", d.from, d.to, there),
				want: d.mtu, got: found.MTU, lost: found.Lost,
			})
		}
	}
	return nil
}

// pathMTU are the path MTUs to and from an end. The outer tunnel is the train's: its home
// agent makes it on the way down, and the train, whose engine adds a limit on any plane,
// on the way up.
func (r *nestedRun) pathMTU(s *stage, e *far) (down, up int) {
	tunnels := r.at.tunnels(e.mover)
	return tunnelledMTU(tunnels, s.limits(nodeHomeAgent)), tunnelledMTU(tunnels, true)
}

// segments opens a TCP connection of its own, and looks at the segments.
func (r *nestedRun) segments(ctx context.Context, s *stage, e *far, to netip.AddrPort, there string) error {
	// Each portion fills two segments.
	pace := probe.Pace{Octets: 3000, Every: 10 * time.Millisecond}
	const pause, limit = 20 * time.Millisecond, 5 * time.Second
	t, err := probe.StartTransfer(ctx, s.world.Space(nodeCorrespondent), s.world.Space(e.node), to, pace, r.seed+1)
	if err != nil {
		return err
	}
	down, up := r.pathMTU(s, e)
	down, up = down-segmentHeaders, up-segmentHeaders
	// Until both ends have sent and have got full segments.
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var client, server probe.Segment
	for done := false; !done; {
		client, server = t.Segments()
		done = client.Payload == down && server.Payload == up && client.Received == up && server.Received == down || !sleep(limited, pause)
	}
	v := t.Finish(ctx)
	if v.Err != nil {
		s.fail("the TCP connection that looks for the path MTU to %s is not intact: %v", e.node, v.Err)
	}
	for _, d := range []struct {
		name, from, to string
		sent, received probe.Segment
		full           int
	}{{"down", nodeCorrespondent, e.node, client, server, down}, {"up", e.node, nodeCorrespondent, server, client, up}} {
		r.paths = append(r.paths, pathFigure{
			name: fmt.Sprintf("tcp_segment_%s_%s_%s", d.name, e.node, there),
			text: fmt.Sprintf("TCP payload in the segments from %s to %s, the train %s", d.from, d.to, there),
			want: d.full, got: d.received.Received,
		})
		if d.sent.Payload != d.full {
			s.fail("TCP of %s has a path MTU of %d to %s and puts %d octets in a segment, not %d", d.from, d.sent.PathMTU, d.to, d.sent.Payload, d.full)
		}
	}
	return nil
}

// pathFigures are exact or wrong.
func pathFigures(result *report.Report, paths []pathFigure) {
	lost := 0
	for _, p := range paths {
		f := report.Number(p.name, p.text, "octets", p.got)
		f.Limit = report.Milliseconds(p.want)
		result.Add(f)
		if p.got != p.want {
			result.Fail("%s: %d octets, not %d", p.text, p.got, p.want)
		}
		lost += p.lost
	}
	result.Add(report.Packets("lost_path_mtu", "lost until the path MTU was found, in all", lost))
}
