package esp_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/esp"
	"roam6/internal/rtnl/nstest"
	"roam6/internal/xfrm/mobility"
	"roam6/mip6"
	"roam6/overlay"
)

// kernelEnd is a mobile or a home agent that has nothing of roam6: the kernel's Mobile
// IPv6 and ESP, set up as RFC 4877 has it, and plain raw sockets.
type kernelEnd struct {
	t        *testing.T
	space    *nstest.Space
	side     overlay.Side
	policy   esp.Policy // as it would be ours
	states   *mobility.Conn
	messages *rawSocket // Mobility Headers
	icmp     *rawSocket // ICMPv6 of Mobile IPv6
	careOf   netip.Addr
	moved    bool
}

// needsKernel skips the test where the kernel has no Mobile IPv6 or no ESP for IPv6.
func needsKernel(t *testing.T, some esp.Policy) {
	t.Helper()
	space := nstest.New(t)
	err := space.Try(func() error {
		c, err := mobility.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.Add(mobility.Any(mobility.HomeAddressOption)); err != nil {
			return err
		}
		k := kernelEnd{side: some.Side, policy: some}
		return netlink.XfrmStateAdd(k.transport(some.Out, false))
	})
	switch {
	case errors.Is(err, mobility.ErrUnsupported):
		t.Skip(err)
	case errors.Is(err, unix.EPROTONOSUPPORT):
		t.Skip("needs ESP for IPv6 in the kernel: CONFIG_INET6_ESP")
	case err != nil:
		t.Fatal(err)
	}
}

func newKernelEnd(t *testing.T, policy esp.Policy) *kernelEnd {
	t.Helper()
	k := &kernelEnd{t: t, space: nstest.New(t), side: policy.Side, policy: policy}
	k.space.Do(func() (err error) {
		k.states, err = mobility.Open()
		return err
	})
	t.Cleanup(k.states.Close)
	if k.side == overlay.AgentSide { // before the binding it takes updates from everywhere
		if err := k.states.Add(mobility.Any(mobility.HomeAddressOption)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*netlink.XfrmState{k.transport(policy.Out, false), k.transport(policy.In, true)} {
		k.set(fmt.Sprintf("state of SPI %d", s.Spi), func() error { return netlink.XfrmStateAdd(s) })
	}
	return k
}

// ends are the addresses that a packet has from this end to the other, or back.
func (k *kernelEnd) ends(mobile netip.Addr, in bool) (source, destination net.IP) {
	source, destination = mobile.AsSlice(), k.policy.Agent.AsSlice()
	if (k.side == overlay.AgentSide) != in {
		source, destination = destination, source
	}
	return source, destination
}

// state is what the kernel knows of an association.
func state(a esp.Association) *netlink.XfrmState {
	s := &netlink.XfrmState{Proto: netlink.XFRM_PROTO_ESP, Spi: int(a.SPI), Reqid: int(a.SPI), ReplayWindow: 32}
	key := []byte(a.Key)
	switch at := len(key) - 32; a.Algorithm {
	case esp.AESGCM: // key and salt
		s.Aead = &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: key, ICVLen: 128}
	default:
		s.Crypt = &netlink.XfrmStateAlgo{Name: "cbc(aes)", Key: key[:at]}
		s.Auth = &netlink.XfrmStateAlgo{Name: "hmac(sha256)", Key: key[at:], TruncateLen: 128}
	}
	return s
}

func (k *kernelEnd) transport(a esp.Association, in bool) *netlink.XfrmState {
	s := state(a)
	s.Src, s.Dst = k.ends(k.policy.Home, in)
	return s
}

func (k *kernelEnd) tunnel(a esp.Association, in bool) *netlink.XfrmState {
	s := state(a)
	s.Mode = netlink.XFRM_MODE_TUNNEL
	s.Src, s.Dst = k.ends(k.careOf, in)
	return s
}

func template(s *netlink.XfrmState) netlink.XfrmPolicyTmpl {
	t := netlink.XfrmPolicyTmpl{Src: net.IPv6unspecified, Dst: net.IPv6unspecified, Proto: s.Proto, Mode: s.Mode, Reqid: s.Reqid}
	if s.Mode == netlink.XFRM_MODE_TUNNEL {
		t.Src, t.Dst = s.Src, s.Dst
	}
	return t
}

func network(a net.IP) *net.IPNet {
	bits := 128
	if a.IsUnspecified() {
		bits = 0
	}
	return &net.IPNet{IP: a, Mask: net.CIDRMask(bits, 128)}
}

func (k *kernelEnd) set(what string, f func() error) {
	k.t.Helper()
	k.space.Do(func() error {
		if err := f(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// secure demands ESP in transport mode of Mobility Headers and ICMPv6 between home address
// and home agent, in front of which there may be the headers of Mobile IPv6 (RFC 4877
// §6.1, §6.3); on the way out that is so from the first care-of address on. It opens the
// sockets.
func (k *kernelEnd) secure(local netip.Addr) {
	k.t.Helper()
	ours, theirs := k.headers()
	for _, protocol := range []int{mip6.ProtocolMobility, mip6.ProtocolICMPv6} {
		for _, p := range []struct {
			dir    netlink.Dir
			state  *netlink.XfrmState
			header mobility.Header
		}{
			{netlink.XFRM_DIR_OUT, k.transport(k.policy.Out, false), ours},
			{netlink.XFRM_DIR_IN, k.transport(k.policy.In, true), theirs},
		} {
			optional := p.dir == netlink.XFRM_DIR_IN
			k.set("policy", func() error {
				return netlink.XfrmPolicyAdd(&netlink.XfrmPolicy{
					Src: network(p.state.Src), Dst: network(p.state.Dst), Proto: netlink.Proto(protocol), Dir: p.dir, Priority: 10,
					Tmpls: []netlink.XfrmPolicyTmpl{template(p.state), p.header.Template(netip.Addr{}, netip.Addr{}, 0, optional)},
				})
			})
		}
	}
	k.messages = k.openRaw(mip6.ProtocolMobility, local)
	k.icmp = k.openRaw(mip6.ProtocolICMPv6, local)
}

// headers are those of what this end sends and receives.
func (k *kernelEnd) headers() (sent, received mobility.Header) {
	if k.side == overlay.AgentSide {
		return mobility.Type2RoutingHeader, mobility.HomeAddressOption
	}
	return mobility.HomeAddressOption, mobility.Type2RoutingHeader
}

// at makes a care-of address the mobile's: of the headers, in place, and of the tunnel,
// whose associations go on with their sequence numbers.
func (k *kernelEnd) at(careOf netip.Addr) {
	k.t.Helper()
	old := *k
	k.careOf = careOf
	sent, received := k.headers()
	from, to := k.ends(k.policy.Home, false)
	source, destination := netip.AddrFrom16([16]byte(from)), netip.AddrFrom16([16]byte(to))
	headers := []mobility.State{{Header: sent, Source: source, Destination: destination, CareOf: careOf}}
	if k.side == overlay.MobileSide {
		headers = append(headers, mobility.State{Header: received, Source: destination, Destination: source, CareOf: careOf})
	}
	for _, s := range headers {
		change := k.states.Add
		if k.moved {
			change = k.states.Update
		}
		if err := change(s); err != nil {
			k.t.Fatal(err)
		}
	}
	mobileOnly, all := k.policy.Home.AsSlice(), net.IPv6unspecified
	for _, d := range []struct {
		association *esp.Association
		in          bool
		dir         netlink.Dir
	}{
		{k.policy.TunnelOut, false, netlink.XFRM_DIR_OUT},
		{k.policy.TunnelIn, true, map[overlay.Side]netlink.Dir{overlay.AgentSide: netlink.XFRM_DIR_FWD, overlay.MobileSide: netlink.XFRM_DIR_IN}[k.side]},
	} {
		s := k.tunnel(*d.association, d.in)
		p := &netlink.XfrmPolicy{Src: network(mobileOnly), Dst: network(all), Proto: mip6.ProtocolMobility, Dir: d.dir, Priority: 20, Tmpls: []netlink.XfrmPolicyTmpl{template(s)}}
		if (k.side == overlay.AgentSide) != d.in {
			p.Src, p.Dst = p.Dst, p.Src
		}
		k.set("tunnel", func() error {
			if k.moved {
				former := old.tunnel(*d.association, d.in)
				has, err := netlink.XfrmStateGet(former)
				if err != nil {
					return err
				}
				s.Replay = has.Replay
				if err := netlink.XfrmStateDel(former); err != nil {
					return err
				}
			}
			if err := netlink.XfrmStateAdd(s); err != nil {
				return err
			}
			return netlink.XfrmPolicyUpdate(p)
		})
	}
	k.moved = true
}

// counts are the packets that an inbound association has refused.
func (k *kernelEnd) counts(in *netlink.XfrmState) (replayed, forged uint32) {
	k.t.Helper()
	k.space.Do(func() error {
		s, err := netlink.XfrmStateGet(in)
		if err == nil {
			replayed, forged = s.Statistics.Replay, s.Statistics.Failed
		}
		return err
	})
	return replayed, forged
}
