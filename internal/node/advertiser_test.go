package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"roam6/internal/logging/logtest"
	"roam6/internal/metrics"
	"roam6/internal/role"
	"roam6/internal/rtnl"
	"roam6/mip6"
	"roam6/nd"
	"roam6/nd/ndconn"
)

// air is a link that keeps what is sent, or refuses it.
type air struct {
	mu   sync.Mutex
	sent []nd.RouterAdvertisement
	err  error
	told chan struct{} // something was tried
}

func newAir() *air { return &air{told: make(chan struct{}, 1024)} }

func (a *air) SendRA(_ netip.Addr, ra nd.RouterAdvertisement) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.sent = append(a.sent, ra)
	}
	a.told <- struct{}{}
	return a.err
}

func (a *air) Link() ndconn.LinkRef { return ndconn.LinkRef{Index: 7, Name: "lan0"} }

func (a *air) refuse(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

func (a *air) all() []nd.RouterAdvertisement {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]nd.RouterAdvertisement{}, a.sent...)
}

func (a *air) wait(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-a.told:
		case <-time.After(10 * time.Second):
			t.Fatal("nothing more is sent")
		}
	}
}

func fastConfig() nd.AdvertiserConfig {
	return nd.AdvertiserConfig{
		MinInterval: 30 * time.Millisecond, MaxInterval: 70 * time.Millisecond, MinDelay: 30 * time.Millisecond,
		Advertisement: nd.RouterAdvertisement{RouterLifetime: 3 * time.Second, Prefixes: []mip6.PrefixInformation{
			{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), ValidLifetime: time.Hour, PreferredLifetime: time.Hour},
		}},
	}
}

// onAir starts an advertiser on a link that keeps what is sent.
func onAir(t *testing.T, link *air, c nd.AdvertiserConfig) (*advertiser, *metrics.Metrics, *logtest.Buffer) {
	t.Helper()
	out, m := new(logtest.Buffer), metrics.New("test")
	a, err := newAdvertiser(link, c, nil, m.AdvertisementSent, m.Advertising("lan0"), slog.New(slog.NewTextHandler(out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.abandon)
	return a, m, out
}

func (a *advertiser) waitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-a.done:
	case <-time.After(10 * time.Second):
		t.Fatal("does not end")
	}
}

// radvd sent one. RFC 4861 §6.2.5 allows three, with a router lifetime of zero.
func TestThreeFinalAdvertisements(t *testing.T) {
	link := newAir()
	a, m, _ := onAir(t, link, fastConfig())
	link.wait(t, 3)
	a.stop()
	a.waitEnd(t)
	sent := link.all()
	for i, ra := range sent {
		if final := i >= len(sent)-3; final != (ra.RouterLifetime == 0) {
			t.Errorf("advertisement %d of %d has a lifetime of %v", i, len(sent), ra.RouterLifetime)
		}
	}
	if n := m.Advertisements(); n != uint64(len(sent)) {
		t.Errorf("%d counted, %d sent", n, len(sent))
	}
	if s := a.status(); s.last.IsZero() || s.trouble != "" || s.Multicast == 0 {
		t.Errorf("%+v", s)
	}
}

// Where nothing was ever sent there is nobody to take leave of, nor where nothing can
// be: the daemon stops at once, although the next one may be sent in three seconds only.
func TestNoFarewellWithoutHosts(t *testing.T) {
	c := fastConfig()
	c.MinInterval, c.MaxInterval, c.MinDelay, c.Advertisement.RouterLifetime = 3*time.Second, time.Minute, 3*time.Second, time.Hour
	noSource := &ndconn.SendError{Reason: ndconn.SendNoSource}
	for name, before := range map[string]func(link *air){
		"never heard": func(link *air) { link.refuse(noSource) },
		"kept":        func(*air) { c.KeepOnExit = true },
	} {
		t.Run(name, func(t *testing.T) {
			link := newAir()
			before(link)
			a, _, _ := onAir(t, link, c)
			link.wait(t, 1)
			start := time.Now()
			a.stop()
			a.waitEnd(t)
			if d := time.Since(start); d > 2*time.Second || len(link.all()) > 1 {
				t.Errorf("ended after %v, sent %d", d, len(link.all()))
			}
		})
	}
	link := newAir()
	a, _, _ := onAir(t, link, fastConfig())
	link.wait(t, 2)
	link.refuse(&ndconn.SendError{Reason: ndconn.SendDown})
	a.stop()
	a.waitEnd(t)
	for _, ra := range link.all() {
		if ra.RouterLifetime == 0 {
			t.Error("sent on a link that is down")
		}
	}
}

// What cannot be sent is said once, and once that it is over; it is counted each time.
func TestAdvertiserSaysTroubleOnce(t *testing.T) {
	link := newAir()
	link.refuse(&ndconn.SendError{Reason: ndconn.SendNoSource})
	a, m, log := onAir(t, link, fastConfig())
	link.wait(t, 4)
	if s := a.status(); !strings.Contains(s.trouble, "AdvRASrcAddress") {
		t.Errorf("shown as %q", s.trouble)
	}
	link.refuse(nil)
	for len(link.all()) < 3 {
		link.wait(t, 1)
	}
	a.abandon()
	if n := strings.Count(log.String(), "are not sent"); n != 1 || strings.Count(log.String(), "are sent again") != 1 {
		t.Errorf("log:\n%s", log)
	}
	if s := a.status(); s.trouble != "" {
		t.Errorf("shown as %q", s.trouble)
	}
	page, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`roam6_ra_send_errors_total{interface="lan0",reason="no_source"}`, fmt.Sprintf(`roam6_ra_sent_total{destination="multicast",interface="lan0"} %d`, len(link.all()))} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// The gaps that are observed are those between packets that were sent.
func TestAdvertiserObservesGaps(t *testing.T) {
	link := newAir()
	a, m, _ := onAir(t, link, fastConfig())
	link.wait(t, 12)
	a.abandon()
	page, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	if want := fmt.Sprintf(`roam6_ra_gap_seconds_count{interface="lan0"} %d`, len(link.all())-1); !strings.Contains(text, want) {
		t.Errorf("lacks %s", want)
	}
	if !strings.Contains(text, `roam6_ra_gap_seconds_bucket{interface="lan0",le="0.029"} 0`) {
		t.Error("a gap is below 29 ms")
	}
}

// However many routers contradict us, each thing is said once, and only so many at a
// time; RFC 4861 §6.2.7 wants it logged.
func TestOtherRouters(t *testing.T) {
	var x otherRouters
	one := contradiction{2, netip.MustParseAddr("fe80::1"), nd.InconsistentMTU}
	other := one
	other.field = nd.InconsistentManaged
	if !x.say(testNow, one) || x.say(testNow.Add(time.Minute), one) || !x.say(testNow.Add(time.Minute), other) {
		t.Error("not once for each field")
	}
	if !x.say(testNow.Add(sayAgain), one) {
		t.Error("not again when it lasts")
	}
	x.forget(2)
	if !x.say(testNow.Add(sayAgain+time.Second), one) {
		t.Error("not on a new link")
	}
	said := 0
	now := testNow.Add(2 * sayAgain)
	router := netip.MustParseAddr("fe80::").As16()
	for i := range 10 * maxContradictions {
		router[14], router[15] = byte(i>>8), byte(i)
		if x.say(now, contradiction{2, netip.AddrFrom16(router), nd.InconsistentMTU}) {
			said++
		}
		now = now.Add(time.Second)
	}
	if len(x.said) > maxContradictions || said > 10*maxContradictions/10+20 {
		t.Errorf("%d are remembered, %d said", len(x.said), said)
	}
}

// An advertisement of our own that comes back contradicts nothing; one of another
// router that does is counted each time and logged once.
func TestRouterHeard(t *testing.T) {
	s, log := bareShell(t, "")
	link := role.Link{Index: 7, Name: "lan0", LinkLocal: netip.MustParseAddr("fe80::1")}
	c := fastConfig()
	c.Advertisement.MTU = 1400
	s.conns[7] = &linkConn{link: link, advertiser: &advertiser{given: c}}
	s.advertising.addresses = map[int][]rtnl.LinkAddress{7: {{Prefix: netip.MustParsePrefix("fe80::2/64")}}}
	theirs := nd.RouterAdvertisement{RouterLifetime: time.Hour, MTU: 1500}
	hear := func(router string, ra nd.RouterAdvertisement) {
		s.dispatch(testNow, role.RouterHeard{Link: 7, Router: netip.MustParseAddr(router), RA: ra})
	}
	hear("fe80::1", theirs)
	hear("fe80::2", theirs)
	hear("fe80::3", c.Advertisement)
	if strings.Contains(log.String(), "another router") {
		t.Errorf("said without reason: %s", log)
	}
	for range 5 {
		hear("fe80::3", theirs)
	}
	s.dispatch(testNow, role.RouterHeard{Link: 8, Router: netip.MustParseAddr("fe80::3"), RA: theirs})
	if n := strings.Count(log.String(), "field=mtu ours"); n != 0 {
		t.Errorf("%d lines without the place", n)
	}
	if n := bytes.Count(log.Bytes(), []byte("field=mtu")); n != 1 || !strings.Contains(log.String(), "router=fe80::3 field=mtu of=\"\" ours=1400 theirs=1500") {
		t.Errorf("%d lines: %s", n, log)
	}
	page, err := s.metrics.Text()
	if err != nil || !strings.Contains(string(page), `roam6_ra_inconsistent_total{field="mtu"} 5`) {
		t.Errorf("not counted, %v", err)
	}
}

// The anchors of a router upstream are advertised further, one hop away from it, as
// long as it is there, and those of this node as they are configured.
//
// Covers: P10.
func TestRelayAnchors(t *testing.T) {
	s, _ := bareShell(t, lanSection+"\tlist map_upstream 'wan0'\n\nconfig map_option\n\toption interface 'lan0'\n\toption address '2001:db8:5::1'\n")
	s.advertised = advertisements(s.config)
	wan := role.Link{Index: 3, Name: "wan0", Up: true}
	s.links[3], s.links[4] = wan, role.Link{Index: 4, Name: "other0"}
	section := s.advertised["lan0"].section
	told := func() string {
		var list []string
		for _, m := range s.anchorsFor(section) {
			list = append(list, fmt.Sprintf("%v@%d", m.Address, m.Distance))
		}
		return strings.Join(list, " ")
	}
	ra := nd.RouterAdvertisement{RouterLifetime: time.Minute, Anchors: []mip6.MobilityAnchorPoint{
		{Address: netip.MustParseAddr("2001:db8:9::1"), Distance: 2, Preference: 5, ValidLifetime: time.Hour},
		{Address: netip.MustParseAddr("2001:db8:5::1"), Distance: 3, Preference: 5, ValidLifetime: time.Hour},
	}}
	hear := func(link int) {
		s.dispatch(testNow, role.RouterHeard{Link: link, Router: netip.MustParseAddr("fe80::9"), RA: ra})
	}
	const own, both = "2001:db8:5::1@1", "2001:db8:5::1@1 2001:db8:9::1@3"
	if !s.needed("wan0") || s.needed("other0") {
		t.Error("not heard where they come from, or elsewhere")
	}
	if hear(4); told() != own {
		t.Errorf("from elsewhere: %s", told())
	}
	if hear(3); told() != both {
		t.Errorf("heard: %s", told())
	}
	if s.expireAnchors(s.advertising.relay.Next()); told() != own {
		t.Errorf("the router is gone: %s", told())
	}
	hear(3)
	down := wan
	down.Up = false
	if s.followLink(wan, down); told() != own {
		t.Errorf("without a carrier: %s", told())
	}
	hear(3)
	s.advertised = map[string]advertisement{}
	if s.advertisementsReloaded(); told() != own {
		t.Errorf("upstream no more: %s", told())
	}
}
