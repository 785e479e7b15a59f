package trace_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net/netip"
	"testing"
	"time"

	"roam6/dhcpv6"
	"roam6/dhcpv6/delegating"
	"roam6/internal/role"
	"roam6/internal/trace"
)

// A DHCPv6 client and the delegating router that serves it decide the same in the play, from
// the first message to the last, and after a restart with what they had saved.
func TestDHCP(t *testing.T) {
	duid := []byte{0, 4, 1, 2, 3, 4}
	var drawn []byte
	random := func(b []byte) {
		for i := range b {
			b[i] = byte(len(drawn) + i*3)
		}
		drawn = append(drawn, b...)
	}
	client := dhcpv6.Config{Name: "wan", Store: "uplink-wan", Link: 2, DUID: duid, IAID: 7, Prefixes: true, Random: random}
	server := delegating.Config{Name: "ha", Address: agentAddr, DUID: []byte{0, 4, 9, 9}, Pools: []netip.Prefix{netip.MustParsePrefix("2001:db8:f000::/40")},
		Length: 56, Preferred: time.Hour, Valid: 2 * time.Hour, Mobiles: []delegating.Mobile{{Name: "train", HomeAddress: homeAddr, DUID: duid}}}
	local := netip.MustParseAddr("fe80::7")

	now := time.Now()
	stream := trace.NewStream(now, "test")
	var saved [2][]byte // of the client and of the server
	leased := 0
	for range 2 {
		c, s := dhcpv6.NewClient(client, saved[0]), delegating.New(server, saved[1])
		rc, err := stream.Client(now, "dhcpv6:wan", client, saved[0], drawn, nil)
		if err != nil {
			t.Fatal(err)
		}
		rs, err := stream.Delegator(now, "delegation:ha", server, saved[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		handle := func(m role.Machine, r *trace.Recorder, e role.Event) []role.Action {
			now, drawn = now.Add(time.Millisecond), nil
			actions := m.Handle(now, e)
			r.Handled(now, e, actions, trace.Drawn{Random: drawn}, m.Next())
			return actions
		}
		var toClient, toServer func([]role.Action)
		toServer = func(actions []role.Action) {
			for _, a := range actions {
				switch a := a.(type) {
				case role.SendDHCP:
					toClient(handle(s, rs, role.DHCPReceived{Link: 2, From: netip.AddrPortFrom(local, dhcpv6.ClientPort), To: a.To, Message: a.Message}))
				case role.LeaseChanged:
					leased += len(a.Lease.Prefixes)
				case role.Save:
					saved[0] = a.Data
				}
			}
		}
		toClient = func(actions []role.Action) {
			for _, a := range actions {
				switch a := a.(type) {
				case role.SendDHCP:
					toServer(handle(c, rc, role.DHCPReceived{Link: 2, From: netip.AddrPortFrom(agentAddr, dhcpv6.ServerPort), To: netip.AddrPortFrom(local, dhcpv6.ClientPort), Message: a.Message}))
				case role.Save:
					saved[1] = a.Data
				}
			}
		}
		toClient(handle(s, rs, role.Timeout{}))
		toServer(handle(c, rc, role.LinkChanged{Link: role.Link{Index: 2, Name: "wan", Up: true, Carriers: 1, MTU: 1500}}))
		toServer(handle(c, rc, role.ConfigureLink{Link: 2, Managed: true}))
		now, drawn = now.Add(time.Minute), nil
		other := client
		other.NoRapidCommit = true
		actions := c.Reconfigure(now, other)
		rc.ClientReconfigured(now, other, actions, trace.Drawn{Random: drawn}, c.Next())
		toServer(actions)
		shorter := server
		shorter.Preferred = 30 * time.Minute
		actions = s.Reconfigure(now, shorter)
		rs.DelegatorReconfigured(now, shorter, actions, trace.Drawn{}, s.Next())
		toClient(actions)
		now = now.Add(time.Until(c.Next()) + time.Minute)
		toServer(handle(c, rc, role.Timeout{}))
		toClient(handle(s, rs, role.Stop{}))
		rc.Ended(now)
		rs.Ended(now)
		drawn = nil
	}
	stream.End()
	var b bytes.Buffer
	if err := stream.Write(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	if leased < 2 || len(saved[0]) == 0 || len(saved[1]) == 0 {
		t.Fatalf("%d leases, saved %q and %q", leased, saved[0], saved[1])
	}
	steps, err := play(t, b.Bytes())
	if err != io.EOF || len(steps) < 20 {
		t.Fatalf("%d steps, %v", len(steps), err)
	}
	begun := 0
	for i, s := range steps {
		if s.Difference != nil || len(s.Notes) > 0 || s.Played == s.Entry.End {
			t.Errorf("step %d: %s: %v %v", i, s.Entry.Role, s.Difference, s.Notes)
		}
		if s.Entry.Begin != nil && len(s.Entry.Begin.Saved) > 0 {
			begun++
		}
	}
	if begun != 2 {
		t.Errorf("%d roles began with what they had saved", begun)
	}

	// Of one that runs nothing is played.
	stream = trace.NewStream(now, "test")
	r, err := stream.Client(now, "dhcpv6:wan", client, nil, nil, []byte(`{"state":"bound"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Handled(now, role.Timeout{}, nil, trace.Drawn{}, time.Time{})
	stream.End()
	b.Reset()
	if err := stream.Write(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	if steps, err := play(t, b.Bytes()); err != io.EOF || len(steps) != 2 || steps[0].Entry.Begin.Start != trace.StartUnknown || steps[1].Played {
		t.Errorf("%v, %+v", err, steps)
	}
}

// A key that a server sends through relays is not in a trace either.
func TestRelayedAuthentication(t *testing.T) {
	key := []byte("a reconfigure key of a server")
	option := func(kind byte, data []byte) []byte { return append([]byte{0, kind, 0, byte(len(data))}, data...) }
	reply := append([]byte{7, 1, 2, 3}, option(11, key)...)
	relay := func(inner []byte) []byte { return append(append([]byte{13}, make([]byte, 33)...), option(9, inner)...) }
	for name, message := range map[string][]byte{"to the client": reply, "by a relay": relay(reply), "by two": relay(relay(reply)), "to a relay": append(relay(nil), option(11, key)...)} {
		now := time.Now()
		stream := trace.NewStream(now, "test")
		r, err := stream.Client(now, "dhcpv6:wan", dhcpv6.Config{Name: "wan", DUID: []byte{0, 4, 1}}, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Handled(now, role.DHCPReceived{Link: 2, Message: message}, []role.Action{role.SendDHCP{Link: 2, Message: message}}, trace.Drawn{}, time.Time{})
		stream.End()
		var b bytes.Buffer
		if err := stream.Write(context.Background(), &b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b.Bytes(), hex.AppendEncode(nil, message[:4])) {
			t.Errorf("%s: the message is not in %s", name, b.Bytes())
		}
		checkSecrets(t, b.Bytes(), [][]byte{key})
	}
}
