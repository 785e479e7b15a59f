package trace_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/esp"
	"roam6/internal/role"
	"roam6/internal/trace"
	anchor "roam6/map"
	"roam6/mip6"
)

var (
	pointAddr = netip.MustParseAddr("2001:db8:5::1")
	regional  = netip.MustParseAddr("2001:db8:5::7")
	espKey    = esp.Key("an IPsec key: abcdef")
)

// point is an anchor that is recorded.
type point struct {
	*testing.T
	now      time.Time
	anchor   *anchor.Anchor
	stream   *trace.Stream
	recorder *trace.Recorder
	barred   netip.Addr // the address that the node has
	drawn    trace.Drawn
	sequence mip6.Sequence
	secrets  [][]byte
}

func (p *point) config() anchor.Config {
	return anchor.Config{
		Name: "city", Address: pointAddr, Prefix: netip.MustParsePrefix("2001:db8:5::/64"), Insecure: true,
		Random: func(b []byte) {
			for i := range b {
				b[i] = byte(i)
			}
			p.drawn.Random = append(p.drawn.Random, b...)
		},
		Barred: func(a netip.Addr) bool {
			if p.drawn.Barred == nil {
				p.drawn.Barred = make(map[netip.Addr]bool)
			}
			p.drawn.Barred[a] = a == p.barred
			return a == p.barred
		},
		Visitors: []anchor.Visitor{
			{Name: "bus", SA: &mip6.SecurityAssociation{SPI: 2000, Key: secret}},
			{Name: "tram", ESP: &esp.Association{SPI: 3000, Algorithm: esp.AESGCM, Key: espKey}},
		},
	}
}

// take is what was drawn since the last time.
func (p *point) take() trace.Drawn {
	d := p.drawn
	p.drawn = trace.Drawn{}
	return d
}

// recordPoint records an anchor from its start or, where start says so, when the bus is
// bound already.
func recordPoint(t *testing.T, start trace.Start) *point {
	t.Helper()
	now := time.Now()
	p := &point{T: t, now: now, barred: netip.MustParseAddr("2001:db8:a1::9"), stream: trace.NewStream(now, "test")}
	p.anchor = anchor.New(p.config())
	if start == trace.StartRestored {
		if got := p.bind(&secret, 2000, careOf, regional); got != mip6.StatusAccepted.String() {
			t.Fatal(got)
		}
	}
	var err error
	if p.recorder, err = p.stream.Anchor(p.now, "city", start, p.config(), p.take().Random, trace.Known{Memories: p.anchor.Memories()}); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *point) handle(e role.Event) []role.Action {
	p.now = p.now.Add(time.Second)
	actions := p.anchor.Handle(p.now, e)
	if p.recorder != nil {
		p.recorder.Handled(p.now, e, actions, p.take(), p.anchor.Next())
	}
	return actions
}

// bind sends a local binding update, sealed with a key under an SPI or without one, and
// returns what became of it.
func (p *point) bind(key *mip6.SharedKey, spi uint32, careOf, regional netip.Addr) (became string) {
	p.Helper()
	p.sequence++
	var m mip6.Message = mip6.BindingUpdate{Sequence: p.sequence, Flags: mip6.UpdateMAP | mip6.UpdateAcknowledge, Lifetime: 100,
		Options: []mip6.Option{mip6.AlternateCareOf{Addr: careOf}}}
	if key != nil {
		var err error
		if m, err = (mip6.SecurityAssociation{SPI: spi, Key: *key}).Seal(m, careOf, regional); err != nil {
			p.Fatal(err)
		}
		a, _ := mip6.AuthenticationOf(m)
		p.secrets = append(p.secrets, a.Data)
	}
	e := received(p.T, mip6.Packet{Source: careOf, Destination: pointAddr, HomeAddress: regional, Message: m})
	if key == nil {
		e.SPI = spi
	}
	for _, a := range p.handle(e) {
		switch a := a.(type) {
		case role.Dropped:
			became = a.Reason.String()
		case role.Acknowledged:
			became = a.Status.String()
		case role.Send:
			if x, ok := mip6.AuthenticationOf(a.Packet.Message); ok {
				p.secrets = append(p.secrets, x.Data)
			}
		}
	}
	return became
}

func (p *point) text() []byte {
	p.Helper()
	p.stream.End()
	var b bytes.Buffer
	if err := p.stream.Write(context.Background(), &b); err != nil {
		p.Fatal(err)
	}
	return b.Bytes()
}

// An anchor serves its visitors in the play as it did when it was recorded: by key, by IPsec
// and without either; it asks its node which addresses may be bound, and has the answers of
// then. No key is in the trace.
func TestAnchor(t *testing.T) {
	for _, start := range []trace.Start{trace.StartNew, trace.StartRestored} {
		t.Run(string(start), func(t *testing.T) {
			p := recordPoint(t, start)
			wrong := secret
			wrong[0]++
			other, third := netip.MustParseAddr("2001:db8:a1::8"), netip.MustParseAddr("2001:db8:a1::10")
			for i, x := range []struct{ got, want string }{
				{p.bind(&secret, 2000, careOf, regional), mip6.StatusAccepted.String()},
				{p.bind(&wrong, 2000, other, regional), mip6.StatusAuthenticationFailed.String()},
				{p.bind(&secret, 2000, p.barred, regional), mip6.StatusInvalidCareOfAddress.String()},
				{p.bind(&secret, 2001, other, regional), role.DropUnknownMobile.String()},
				{p.bind(nil, 3000, other, regional.Next()), mip6.StatusAccepted.String()},
				{p.bind(nil, 3001, other, regional.Next()), role.DropUnknownMobile.String()},
				{p.bind(nil, 0, third, regional.Next().Next()), mip6.StatusAccepted.String()},
			} {
				if x.got != x.want {
					t.Errorf("update %d: %s, want %s", i, x.got, x.want)
				}
			}
			// The node gets the address of a mobile, and another visitor.
			p.barred = third
			c := p.config()
			c.Visitors[0].Name = "coach"
			p.now = p.now.Add(time.Second)
			p.take()
			p.recorder.AnchorReconfigured(p.now, c, p.anchor.Reconfigure(p.now, c), p.take(), p.anchor.Next())
			if n := p.anchor.Stats().Bindings; n != 2 {
				t.Errorf("%d bindings are left", n)
			}
			p.handle(role.Stop{})

			text := p.text()
			steps, err := play(t, text)
			if err != io.EOF || len(steps) != 10 {
				t.Fatalf("%d steps, %v", len(steps), err)
			}
			asked := make(map[netip.Addr]bool)
			for i, s := range steps {
				if s.Difference != nil || !s.Played || len(s.Notes) > 0 && i > 0 {
					t.Errorf("step %d: %v %v", i, s.Difference, s.Notes)
				}
				maps.Copy(asked, s.Entry.Barred)
			}
			if !asked[third] || len(asked) != 4 {
				t.Errorf("answers %v", asked)
			}
			if b := steps[0].Entry.Begin; b.Kind != trace.KindAnchor || (len(b.Memories) == 1) != (start == trace.StartRestored) {
				t.Errorf("%+v", b)
			}
			checkSecrets(t, text, append(p.secrets, secret[:], []byte(espKey)))
			if len(p.secrets) < 6 {
				t.Errorf("%d authenticators", len(p.secrets))
			}
		})
	}
}

// A version that asks about an address that nobody had asked about is told so.
func TestUnasked(t *testing.T) {
	p := recordPoint(t, trace.StartNew)
	p.bind(&secret, 2000, careOf, regional)
	text := p.text()
	without := bytes.Replace(text, []byte(`"barred":{"2001:db8:a1::7":false},`), nil, 1)
	if len(without) == len(text) {
		t.Fatalf("no answers in %s", text)
	}
	steps, err := play(t, without)
	if err != io.EOF || len(steps) != 2 || steps[1].Difference != nil || !slices.ContainsFunc(steps[1].Notes, func(n string) bool { return strings.Contains(n, "asked about 1 addresses") }) {
		t.Errorf("%v, %+v", err, steps)
	}
	barred := bytes.Replace(text, []byte(`"2001:db8:a1::7":false`), []byte(`"2001:db8:a1::7":true`), 1)
	if steps, err := play(t, barred); err != io.EOF || len(steps) != 2 || steps[1].Difference == nil {
		t.Errorf("%v: the answer makes no difference", err)
	}
}
