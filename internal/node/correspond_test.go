package node

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"roam6/internal/control"
	"roam6/mip6"
)

// await waits for a message of a kind.
func await[M mip6.Message](v *visitor) M {
	v.Helper()
	for {
		select {
		case p := <-v.answers:
			if m, ok := p.Message.(M); ok {
				return m
			}
		case <-time.After(10 * time.Second):
			v.Fatalf("no such message\n%s", v.log)
		}
	}
}

// optimise makes a binding at the node as a correspondent, by the return
// routability procedure (RFC 6275 §5.2.5).
func (v *visitor) optimise() mip6.BindingAcknowledgement {
	v.Helper()
	v.send(v.encode(mip6.Packet{Source: visitorHome, Destination: agentAddr, Message: mip6.HomeTestInit{Cookie: mip6.Cookie{1}}}))
	v.send(v.encode(mip6.Packet{Source: visiting, Destination: agentAddr, Message: mip6.CareOfTestInit{Cookie: mip6.Cookie{2}}}))
	home, careOf := await[mip6.HomeTest](v), await[mip6.CareOfTest](v)
	v.tokens = append(v.tokens, home.Token, careOf.Token)
	v.nonces = mip6.NonceIndices{Home: home.NonceIndex, CareOf: careOf.NonceIndex}
	return v.optimised(mip6.NewBindingKey(home.Token, careOf.Token))
}

// optimised sends the binding update with a key, and the nonces that were heard last.
func (v *visitor) optimised(key mip6.BindingKey) mip6.BindingAcknowledgement {
	v.Helper()
	v.sequence++
	sealed, err := key.SealAuthorization(mip6.BindingUpdate{
		Sequence: v.sequence, Flags: mip6.UpdateAcknowledge, Lifetime: mip6.LifetimeFrom(100 * time.Second),
		Options: []mip6.Option{v.nonces},
	}, visiting, agentAddr)
	if err != nil {
		v.Fatal(err)
	}
	v.send(v.encode(mip6.Packet{Source: visiting, Destination: agentAddr, HomeAddress: visitorHome, Message: sealed}))
	return await[mip6.BindingAcknowledgement](v)
}

// A home agent is a correspondent too. What a mobile node has made there by
// return routability is seen, lives through a reload, and ends when the
// administrator does not want it any more (RFC 6275 §9; requirement C13).
//
// Covers: C5, C13.
func TestCorrespondent(t *testing.T) {
	const section = "\nconfig correspondent\n\toption max_lifetime '60'\n"
	v := newVisitor(t, section)
	if a := v.optimise(); a.Status != mip6.StatusAccepted || a.Lifetime.Duration() != 60*time.Second {
		t.Fatalf("acknowledgement %+v", a)
	}
	bindings := func() []control.CorrespondentBinding {
		t.Helper()
		d, err := v.client.Bindings(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return d.Correspondent
	}
	first := bindings()
	if len(first) != 1 || first[0].HomeAddress != visitorHome || first[0].CareOf != visiting || first[0].Address != agentAddr {
		t.Fatalf("bindings %+v", first)
	}
	d, err := v.client.Tunnels(context.Background())
	if err != nil || len(d.Routes) != 1 || d.Routes[0].CareOf != visiting || d.Routes[0].Side != control.SideCorrespondent {
		t.Errorf("routes %+v, %v", d.Routes, err)
	}
	page := v.scrape()
	for _, want := range []string{
		"roam6_correspondent_bindings 1", `roam6_optimised_routes{side="correspondent"} 1`,
		`roam6_messages_total{direction="received",role="correspondent",type="home_test_init"} 1`,
		`roam6_messages_total{direction="sent",role="correspondent",type="care_of_test"} 1`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("the metrics lack %s:\n%s", want, page)
		}
	}
	good, err := os.ReadFile(v.file)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text string) {
		t.Helper()
		v.write(text)
		if err := v.client.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	reload(strings.Replace(string(good), "max_lifetime '60'", "max_lifetime '420'", 1))
	if again := bindings(); len(again) != 1 || again[0].Created != first[0].Created {
		t.Errorf("bindings after a reload: %+v", again)
	}
	reload(strings.Replace(string(good), "max_lifetime '60'", "enabled '0'", 1))
	if again := bindings(); len(again) != 0 {
		t.Errorf("bindings although switched off: %+v", again)
	}
	s, err := v.client.Stats(context.Background())
	if err != nil || s.Correspondent == nil || s.Correspondent.Enabled {
		t.Errorf("stats %+v, %v", s.Correspondent, err)
	}
	v.end()
}

// scrape returns the page of metrics.
func (r *running) scrape() (page string) {
	r.Helper()
	r.space.Do(func() error {
		c, err := net.Dial("tcp", "[::1]:9706")
		if err != nil {
			return err
		}
		defer c.Close()
		fmt.Fprint(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
		b, err := io.ReadAll(c)
		page = string(b)
		return err
	})
	return page
}

// A node that is nothing but a correspondent runs, and takes everything back.
func TestOnlyCorrespondent(t *testing.T) {
	r := start(t, "config globals\n\toption control '%s'\nconfig correspondent\n")
	links := func() bool {
		_, err := r.space.Handle.LinkByName("roam6")
		return err == nil
	}
	if !links() {
		t.Error("no data plane")
	}
	r.end()
	if links() {
		t.Error("the data plane's device is left")
	}
}

// The home agent answers at the home agents' anycast address of each home prefix,
// as long as it has the prefix (RFC 6275 §10.5.1), and shows what it knows.
//
// Covers: H12.
func TestHomeAgentsAnycast(t *testing.T) {
	v := newVisitor(t)
	joined := func(prefix string) bool {
		var b []byte
		v.space.Do(func() (err error) {
			b, err = os.ReadFile("/proc/thread-self/net/anycast6")
			return err
		})
		return strings.Contains(string(b), prefix+"fdfffffffffffffe")
	}
	const first, second = "20010db800100000", "20010db800110000"
	v.until("it listens there", func() bool { return joined(first) })
	if joined(second) {
		t.Error("it listens under a prefix that it does not have")
	}
	good, err := os.ReadFile(v.file)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text string) {
		t.Helper()
		v.write(text)
		if err := v.client.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	reload(strings.Replace(string(good), "option prefix '2001:db8:10::/64'", "list prefix '2001:db8:10::/64'\n\tlist deprecated_prefix '2001:db8:11::/64'", 1))
	v.until("it listens under the second prefix", func() bool { return joined(second) })
	p, err := v.client.Prefixes(context.Background())
	if err != nil || len(p.Home) != 2 || !p.Home[0].Main || p.Home[0].Valid != nil ||
		p.Home[1].Preferred == nil || *p.Home[1].Preferred != 0 || p.Home[1].Valid == nil || len(p.Network) != 1 || p.Network[0].State != "absent" {
		t.Errorf("prefixes %+v, %v", p, err)
	}
	a, err := v.client.HomeAgents(context.Background())
	if err != nil || len(a.Links) != 1 || !a.Links[0].Own || a.Links[0].Addresses[0] != agentAddr || !a.Links[0].MobileRouter {
		t.Errorf("home agents %+v, %v", a, err)
	}
	reload(string(good))
	v.until("it does not listen any more", func() bool { return !joined(second) })
	v.end()
	if joined(first) {
		t.Error("it listens beyond its end")
	}
}
