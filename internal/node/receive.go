package node

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"roam6/internal/role"
	"roam6/mip6"
)

// deliver decodes a captured packet and posts it. It runs in the signalling
// socket's goroutine. What comes before the roles know their links is as if it
// had come before the start: a home agent that does not know its home link yet
// would refuse, and a refused mobile waits long.
func (s *Shell) deliver(packet []byte, link int) {
	if !s.listed.Load() {
		return
	}
	p, err := mip6.ParsePacket(packet)
	if err != nil {
		s.damaged(err)
		s.refuse(packet, err)
		return
	}
	s.post(role.MessageReceived{Link: link, Packet: p})
}

// deliverICMP is deliver for ICMPv6 messages, which are never answered with an
// error.
func (s *Shell) deliverICMP(packet []byte, link int) {
	if !s.listed.Load() {
		return
	}
	p, err := mip6.ParseICMPPacket(packet)
	if err != nil {
		s.damaged(err)
		return
	}
	s.post(role.ICMPReceived{Link: link, Packet: p})
}

// damaged counts a message that cannot be decoded.
func (s *Shell) damaged(err error) {
	s.metrics.Dropped(malformed(err))
	s.log.LogAttrs(context.Background(), slog.LevelDebug, "message dropped", slog.String("reason", err.Error()))
}

// refuse answers a packet with a wrong header, if that is due (RFC 6275 §9.2).
func (s *Shell) refuse(packet []byte, err error) {
	var p *mip6.ParseError
	if !errors.As(err, &p) {
		return
	}
	if code, pointer, ok := p.ParameterProblem(); ok {
		if b := s.refusals.parameterProblem(time.Now(), packet, code, pointer); b != nil {
			_ = s.signalling.Send(b, 0, netip.Addr{}) // counted there
		}
	}
}

// malformed tells a bad checksum from other damage.
func malformed(err error) role.DropReason {
	var p *mip6.ParseError
	if errors.As(err, &p) && p.Reason == mip6.ReasonChecksum {
		return role.DropChecksum
	}
	return role.DropMalformed
}
