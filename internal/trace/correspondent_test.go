package trace_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"testing"
	"time"

	"roam6/cn"
	"roam6/internal/role"
	"roam6/internal/trace"
	"roam6/mip6"
	"roam6/overlay"
)

// received is a packet as it is decoded.
func received(t *testing.T, p mip6.Packet) role.MessageReceived {
	t.Helper()
	p.HopLimit = 64
	b, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = mip6.ParsePacket(b); err != nil {
		t.Fatal(err)
	}
	return role.MessageReceived{Link: 2, Packet: p}
}

// correspondence is a correspondent that is recorded, and a mobile that talks to it. Its
// node keys and nonces, and what follows from them, are in secrets.
type correspondence struct {
	*testing.T
	now      time.Time
	node     *cn.Correspondent
	stream   *trace.Stream
	recorder *trace.Recorder
	drawn    []byte
	draws    uint64
	secrets  [][]byte

	home, careOf           mip6.KeygenToken
	homeNonce, careOfNonce uint16
	sequence               mip6.Sequence
}

func (c *correspondence) random(b []byte) {
	for i := range b {
		c.draws++
		b[i] = byte(c.draws * 77)
	}
	c.drawn = append(c.drawn, b...)
}

// secret is not among what is drawn.
func (c *correspondence) secret(b []byte) {
	for i := range b {
		c.draws++
		b[i] = byte(c.draws * 0x9e3779b97f4a7c15 >> 40)
	}
	c.secrets = append(c.secrets, bytes.Clone(b))
}

func (c *correspondence) config() cn.Config {
	return cn.Config{Optimise: true, Random: c.random, Secret: c.secret}
}

func correspond(t *testing.T) *correspondence {
	t.Helper()
	now := time.Now()
	c := &correspondence{T: t, now: now, stream: trace.NewStream(now, "test")}
	c.node = cn.New(c.config())
	var err error
	if c.recorder, err = c.stream.Correspondent(now, "correspondent", c.node, c.config(), c.drawn, nil); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *correspondence) handle(e role.Event) []role.Action {
	c.now, c.drawn = c.now.Add(100*time.Millisecond), nil
	actions := c.node.Handle(c.now, e)
	c.recorder.Handled(c.now, e, actions, trace.Drawn{Random: c.drawn}, c.node.Next())
	for _, a := range actions {
		if s, ok := a.(role.Send); ok {
			if x, ok := mip6.Find[mip6.AuthorizationData](s.Packet.Message); ok {
				c.secrets = append(c.secrets, bytes.Clone(x.Authenticator[:]))
			}
		}
	}
	return actions
}

// test has the mobile learn both tokens.
func (c *correspondence) test() {
	c.Helper()
	for _, init := range []mip6.Packet{
		{Source: homeAddr, Destination: agentAddr, Message: mip6.HomeTestInit{Cookie: mip6.Cookie{1}}},
		{Source: careOf, Destination: agentAddr, Message: mip6.CareOfTestInit{Cookie: mip6.Cookie{2}}},
	} {
		for _, a := range c.handle(received(c.T, init)) {
			s, _ := a.(role.Send)
			switch m := s.Packet.Message.(type) {
			case mip6.HomeTest:
				c.home, c.homeNonce = m.Token, m.NonceIndex
				c.secrets = append(c.secrets, bytes.Clone(m.Token[:]))
			case mip6.CareOfTest:
				c.careOf, c.careOfNonce = m.Token, m.NonceIndex
				c.secrets = append(c.secrets, bytes.Clone(m.Token[:]))
			}
		}
	}
	if c.home == (mip6.KeygenToken{}) || c.careOf == (mip6.KeygenToken{}) {
		c.Fatal("the tests were not answered")
	}
}

// update sends a binding update over an address, and returns what became of it: the status
// that was answered, or why it was dropped.
func (c *correspondence) update(key mip6.BindingKey, over netip.Addr, lifetime mip6.Lifetime) string {
	c.Helper()
	c.sequence++
	m, err := key.SealAuthorization(mip6.BindingUpdate{Sequence: c.sequence, Flags: mip6.UpdateAcknowledge, Lifetime: lifetime,
		Options: []mip6.Option{mip6.NonceIndices{Home: c.homeNonce, CareOf: c.careOfNonce}}}, over, agentAddr)
	if err != nil {
		c.Fatal(err)
	}
	x, _ := mip6.Find[mip6.AuthorizationData](m)
	c.secrets = append(c.secrets, bytes.Clone(key[:]), bytes.Clone(x.Authenticator[:]))
	became := ""
	for _, a := range c.handle(received(c.T, mip6.Packet{Source: careOf, Destination: agentAddr, HomeAddress: homeAddr, Message: m})) {
		switch a := a.(type) {
		case role.Dropped:
			became = a.Reason.String()
		case role.Acknowledged:
			became = a.Status.String()
		}
	}
	return became
}

func (c *correspondence) text() []byte {
	c.Helper()
	c.stream.End()
	var b bytes.Buffer
	if err := c.stream.Write(context.Background(), &b); err != nil {
		c.Fatal(err)
	}
	return b.Bytes()
}

// A correspondent accepts and refuses in the play what it did when it was recorded, with
// secrets of its own; none of those of then is in the trace, nor anything to try them with.
func TestCorrespondent(t *testing.T) {
	c := correspond(t)
	const lifetime = 50
	forged := mip6.BindingKey{1, 2, 3}
	binding := func() mip6.BindingKey { return mip6.NewBindingKey(c.home, c.careOf) }
	deletion := func() mip6.BindingKey { return mip6.NewDeregistrationKey(c.home) }
	c.handle(role.UnknownHomeAddress{Source: careOf, Destination: agentAddr, Home: homeAddr})
	c.test()
	for i, want := range []struct{ got, want string }{
		{c.update(binding(), careOf, lifetime), mip6.StatusAccepted.String()},
		{c.update(forged, careOf, lifetime), role.DropBadAuthenticator.String()},
		{c.update(deletion(), homeAddr, 0), mip6.StatusAccepted.String()},
		{c.update(deletion(), careOf, 0), mip6.StatusAccepted.String()}, // sealed as some do
		{c.update(deletion(), agentAddr, 0), role.DropBadAuthenticator.String()},
		{c.update(binding(), careOf, lifetime), mip6.StatusExpiredCareOfNonce.String()}, // not the same nonces again
	} {
		if want.got != want.want {
			t.Errorf("update %d: %s, want %s", i, want.got, want.want)
		}
	}
	first := c.homeNonce
	c.now = c.now.Add(40 * time.Second)
	c.test()
	if c.homeNonce == first {
		t.Fatal("no other nonce")
	}
	if got := c.update(binding(), careOf, lifetime); got != mip6.StatusAccepted.String() {
		t.Errorf("with other nonces: %s", got)
	}
	c.handle(role.TrafficSeen{Home: homeAddr, Peer: agentAddr, Side: overlay.CorrespondentSide})
	limited := c.config()
	limited.MaxLifetime = 20 * time.Second
	c.now, c.drawn = c.now.Add(time.Second), nil
	c.recorder.CorrespondentReconfigured(c.now, limited, c.node.Reconfigure(c.now, limited), trace.Drawn{}, c.node.Next())
	if got := c.update(binding(), careOf, lifetime); got != mip6.StatusAccepted.String() {
		t.Errorf("with another configuration: %s", got)
	}
	c.now = c.now.Add(5 * time.Minute)
	c.handle(role.Timeout{})
	if got := c.update(binding(), careOf, lifetime); got != mip6.StatusExpiredNonces.String() {
		t.Errorf("too late: %s", got)
	}
	c.handle(role.Stop{})

	text := c.text()
	steps, err := play(t, text)
	if err != io.EOF {
		t.Fatal(err)
	}
	authentic, changes := 0, 0
	for i, s := range steps {
		if s.Difference != nil || len(s.Notes) > 0 || !s.Played {
			t.Errorf("step %d: %v %v", i, s.Difference, s.Notes)
		}
		if s.Entry.Authentic {
			authentic++
		}
		for _, a := range s.Actions {
			if f, ok := a.(role.Forward); ok {
				changes += len(f.Changes)
			}
		}
	}
	if len(c.secrets) < 2*2+4+2*8 {
		t.Fatalf("%d secrets", len(c.secrets))
	}
	checkSecrets(t, text, c.secrets)
	if authentic != 6 || changes != 4 {
		t.Errorf("%d authentic updates and %d changes of the data plane", authentic, changes)
	}
}

// Tokens of a play are others, but the same where they were the same.
func TestTokens(t *testing.T) {
	c := correspond(t)
	for range 2 {
		c.test() // the same nonce, and so the same tokens
	}
	text := c.text()
	if steps, err := play(t, text); err != io.EOF || len(steps) != 5 || steps[4].Difference != nil {
		t.Fatalf("%v", err)
	}
	sent := regexp.MustCompile(`"Send":{"Packet":"([0-9a-f]+)"`).FindAllSubmatch(text, -1)
	if len(sent) != 4 {
		t.Fatalf("%d tests answered in %s", len(sent), text)
	}
	for name, tt := range map[string]struct {
		test  int // of which the token is changed
		token mip6.KeygenToken
	}{
		"another one for the same address":    {2, mip6.KeygenToken{1}},
		"the same one for the second address": {1, tokenIn(t, sent[0][1])},
	} {
		t.Run(name, func(t *testing.T) {
			at := bytes.Index(text, sent[tt.test][0])
			if tt.test >= 2 { // the same packet as one before
				at = bytes.LastIndex(text, sent[tt.test][0])
			}
			changed := slices.Concat(text[:at], bytes.Replace(text[at:], sent[tt.test][1], withToken(t, sent[tt.test][1], tt.token), 1))
			steps, err := play(t, changed)
			if err != io.EOF {
				t.Fatal(err)
			}
			for i, s := range steps {
				if (s.Difference != nil) != (i == tt.test+1) {
					t.Errorf("step %d: %v", i, s.Difference)
				}
			}
		})
	}
}

func packetOf(t *testing.T, text []byte) mip6.Packet {
	t.Helper()
	b, err := hex.AppendDecode(nil, text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := mip6.ParsePacket(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tokenIn is the keygen token of a packet in hexadecimal, withToken such a packet with
// another one.
func tokenIn(t *testing.T, text []byte) mip6.KeygenToken {
	t.Helper()
	switch m := packetOf(t, text).Message.(type) {
	case mip6.HomeTest:
		return m.Token
	case mip6.CareOfTest:
		return m.Token
	default:
		t.Fatalf("%T", m)
		return mip6.KeygenToken{}
	}
}

func withToken(t *testing.T, text []byte, token mip6.KeygenToken) []byte {
	t.Helper()
	p := packetOf(t, text)
	switch m := p.Message.(type) {
	case mip6.HomeTest:
		m.Token = token
		p.Message = m
	case mip6.CareOfTest:
		m.Token = token
		p.Message = m
	}
	b, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return hex.AppendEncode(nil, b)
}
