//go:build !nopage && !nometrics

package page

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/control"
	"roam6/internal/page/browsertest"
)

// router is a mobile router with two uplinks that has moved.
func router(now time.Time) control.Overview {
	home, agent := netip.MustParseAddr("2001:db8:10::100"), netip.MustParseAddr("2001:db8:10::1")
	careOf := netip.MustParseAddr("2001:db8:f1::a:1")
	m := &control.MobileOverview{
		Updates: []control.Update{{
			Mobile: "Bus_A", HomeAddress: home, HomeAgent: agent, Attachment: &control.Attachment{Link: "wwan0", CareOf: careOf},
			Registered: true, CareOf: careOf, Sequence: 7, Granted: control.Seconds(time.Minute), Remaining: control.Seconds(42 * time.Second),
			CareOfs: []control.CareOfCandidate{}, Uplinks: []control.Uplink{},
		}},
		Uplinks: []control.MobileUplink{
			{Mobile: "Bus_A", HomeAddress: home, Preference: 1, Uplink: control.Uplink{Name: "wlan1", Routers: []control.Router{}}, CareOfs: []control.CareOfCandidate{}},
			{Mobile: "Bus_A", HomeAddress: home, Preference: 2, InUse: true, Uplink: control.Uplink{Name: "wwan0", Up: true, Routers: []control.Router{{Address: netip.MustParseAddr("fe80::1")}}},
				CareOfs: []control.CareOfCandidate{{Address: careOf, Origin: control.CareOfFormed}}},
			{Mobile: "Bus_A", HomeAddress: home, Preference: 3, Uplink: control.Uplink{Name: "wwan1", Missing: true, Routers: []control.Router{}}, CareOfs: []control.CareOfCandidate{}},
		},
	}
	point := func(us int) *control.Milliseconds {
		m := control.Milliseconds(time.Duration(us) * time.Microsecond)
		return &m
	}
	for i := range 24 {
		age := time.Duration(i*47+5) * time.Second
		more := 137 * (i * i % 11)
		total := 12400 + 3*more
		if i == 20 {
			total = 214000
		}
		m.Handovers = append(m.Handovers, control.Handover{
			HomeAddress: home, From: &control.Attachment{Link: "wlan1"}, To: &control.Attachment{Link: "wwan0", CareOf: careOf}, Trigger: "link",
			Start: control.Time{Time: now.Add(-age)}, Age: control.Milliseconds(age), Total: point(total), Updates: 1,
			Phases: control.Phases{LinkUp: point(0), Solicited: point(110 + more/8), Advertised: point(2300 + more), CareOf: point(2450 + more), Updated: point(2700 + more), Acknowledged: point(total)},
		})
	}
	return control.Overview{Version: "1.0", Uptime: control.Seconds(26 * time.Hour), Now: control.Time{Time: now}, Mobile: m}
}

// pictures is where screenshots go; empty: nowhere.
var pictures = os.Getenv("ROAM6_PICTURES")

// sound checks what holds of every page: the console has no complaint, nobody else was
// asked anything, nothing is wider than the window, and what can be reached or read by
// assistive technologies has a name.
func sound(t *testing.T, p *browsertest.Page, origin string) {
	t.Helper()
	if c := p.Complaints(); len(c) > 0 {
		t.Errorf("the console complains: %q", c)
	}
	for _, r := range p.Requests() {
		if !strings.HasPrefix(r, origin+"/") && !strings.HasPrefix(r, "data:") && r != "about:blank" {
			t.Errorf("asked %s", r)
		}
	}
	var wide int // than the screen: on a small one the window grows with what is in it
	if p.Eval("document.documentElement.scrollWidth - screen.width", &wide); wide > 0 {
		t.Errorf("%d pixels wider than the screen", wide)
	}
	for _, n := range p.Nodes() {
		if slices.Contains([]string{"link", "button", "searchbox", "combobox", "img", "image", "table", "columnheader", "heading", "region"}, n.Role) && n.Name == "" {
			t.Errorf("%s without a name", n.Role)
		}
	}
	checkContrast(t, p)
}

// checkContrast looks that all text is told from what is behind it: 4.5 to 1, as WCAG 2.2
// §1.4.3 has it.
func checkContrast(t *testing.T, p *browsertest.Page) {
	t.Helper()
	var poor []string
	p.Eval(`(() => {
		const rgb = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
		const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
		const poor = [];
		const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		for (let n; n = walk.nextNode();) {
			const e = n.parentElement, s = getComputedStyle(e);
			if (!n.data.trim() || !e.getClientRects().length || ['SCRIPT', 'STYLE', 'OPTION'].includes(e.tagName) || e.closest('.unseen')) continue;
			let behind = [255, 255, 255];
			for (let b = e; b; b = b.parentElement) { const c = rgb(getComputedStyle(b).backgroundColor); if (c[3] === 1) { behind = c.slice(0, 3); break; } }
			const a = light(rgb(e instanceof SVGElement ? s.fill : s.color).slice(0, 3)), b = light(behind);
			const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
			if (ratio < 4.5) poor.push(ratio.toFixed(2) + ' ' + n.data.trim().slice(0, 30));
		}
		return poor;
	})()`, &poor)
	if len(poor) > 0 {
		t.Errorf("contrast: %q", poor)
	}
}

var views = []browsertest.View{{Width: 360, Height: 740}, {Width: 800, Height: 900}, {Width: 1400, Height: 900}}

// The page of a home agent and that of a mobile router, narrow and wide, light and dark.
func TestLook(t *testing.T) {
	b := browsertest.Start(t, nil)
	for name, o := range map[string]control.Overview{"agent": fleet(12, time.Now()), "router": router(time.Now()), "neither": {Version: "1.0"}} {
		t.Run(name, func(t *testing.T) {
			s := &stand{show: o}
			address, _ := serve(t, s, "127.0.0.1:0")
			origin := "http://" + address
			for _, v := range views {
				for _, v.Dark = range []bool{false, true} {
					t.Run(fmt.Sprintf("%d-%t", v.Width, v.Dark), func(t *testing.T) {
						p := b.Open(origin+"/", v)
						p.Until("it is live", "document.body.className === 'live'")
						sound(t, p, origin)
						if got := strings.Join(strings.Fields(p.Text("#uplinks")), " "); name == "router" && !strings.Contains(got, "3 wwan1 – missing") {
							t.Errorf("uplinks: %q", got)
						}
						if pictures != "" {
							p.Screenshot(filepath.Join(pictures, fmt.Sprintf("%s-%d-%t.png", name, v.Width, v.Dark)))
						}
						p.Close()
					})
				}
			}
		})
	}
}

// What a home agent's page shows, by what there is to read and by what assistive
// technologies are told; and by the keyboard alone.
func TestAgent(t *testing.T) {
	s := &stand{show: fleet(12, time.Now())}
	address, _ := serve(t, s, "127.0.0.1:0")
	p := browsertest.Start(t, nil).Open("http://"+address+"/", browsertest.View{Width: 1000, Height: 800})
	p.Until("the mobiles are there", "document.querySelectorAll('#mobiles tr').length === 12")
	for selector, want := range map[string]string{
		"#mobiles tr": "Bus_A0 (router)", "#mobiles tr:nth-child(2)": "not registered", "#moves-count": "60 changes",
		"#took": "of 47", "#agent-figures": "registered\n11",
	} {
		if got := p.Text(selector); !strings.Contains(got, want) {
			t.Errorf("%s is %q, without %q", selector, got, want)
		}
	}
	nodes := p.Nodes()
	for _, n := range []browsertest.Node{
		{Role: "heading", Name: "Moves"}, {Role: "table", Name: "Mobiles"}, {Role: "columnheader", Name: "Care-of address"}, {Role: "searchbox", Name: "Search"},
		{Role: "combobox", Name: "Moves of the last"}, {Role: "main"}, {Role: "banner"}, {Role: "search"}, {Role: "contentinfo"},
	} {
		if !slices.Contains(nodes, n) {
			t.Errorf("there is no %s %q", n.Role, n.Name)
		}
	}
	marks := 0
	for _, n := range nodes {
		if (n.Role == "image" || n.Role == "img") && strings.Contains(n.Name, "Bus_") {
			marks++
		}
	}
	if marks != 60 {
		t.Errorf("%d marks of moves have a name", marks)
	}
	// Search and window, then one stop for all marks, in which arrow keys lead on.
	focus := func() (what string) {
		p.Eval("document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.tagName", &what)
		return what
	}
	for _, want := range []string{"search", "window", "Bus_"} {
		if p.Press("Tab"); !strings.HasPrefix(focus(), want) {
			t.Errorf("Tab leads to %s, not %s", focus(), want)
		}
	}
	first := focus()
	p.Press("ArrowRight")
	if second := focus(); second == first || p.Text("#moves-read") != second {
		t.Errorf("from %q to %q; to be read: %q", first, second, p.Text("#moves-read"))
	}
	second := focus()
	asked := func() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.asked) }
	for n := asked(); asked() < n+2; { // what has the focus keeps it
		time.Sleep(20 * time.Millisecond)
	}
	if now := focus(); now != second {
		t.Errorf("the focus went from %q to %q by itself", second, now)
	}
	if p.Press("Tab"); focus() != "SUMMARY" {
		t.Errorf("behind the marks Tab leads to %s", focus())
	}
	p.Eval("document.getElementById('search').focus()", nil)
	p.Type("Bus_C")
	p.Until("the daemon is asked for it", "performance.getEntriesByType('resource').some(r => r.name.endsWith('search=Bus_C'))")
	sound(t, p, "http://"+address)
}

// A name is text, whatever is in it.
func TestNamesAreText(t *testing.T) {
	o := fleet(2, time.Now())
	evil := `<img src=x onerror="document.title='gone'">`
	o.Version, o.HomeAgents.Mobiles[0].Mobile, o.HomeAgents.Changes[0].Mobile = evil, evil, evil
	address, _ := serve(t, &stand{show: o}, "127.0.0.1:0")
	p := browsertest.Start(t, nil).Open("http://"+address+"/", browsertest.View{Width: 1000, Height: 800})
	p.Until("the mobiles are there", "document.querySelectorAll('#mobiles tr').length === 2")
	var title string
	if p.Eval("document.title", &title); title != "roam6" || !strings.Contains(p.Text("#mobiles"), evil) {
		t.Errorf("title %q, %s", title, p.Text("#mobiles"))
	}
	sound(t, p, "http://"+address)
}

// When the daemon is gone the page says since when; when it is back it goes on.
func TestRestart(t *testing.T) {
	s := &stand{show: fleet(3, time.Now())}
	address, stop := serve(t, s, "127.0.0.1:0")
	p := browsertest.Start(t, nil).Open("http://"+address+"/", browsertest.View{Width: 1000, Height: 800})
	p.Until("it is live", "document.body.className === 'live'")
	stop()
	p.Until("it says that there is no answer", "document.getElementById('since').innerText.startsWith('no answer since ')")
	if said := p.Text("#said"); said != "The daemon does not answer." {
		t.Errorf("told to those who hear: %q", said)
	}
	if !strings.Contains(p.Text("#mobiles"), "Bus_A0") {
		t.Error("what was known is gone")
	}
	o := fleet(4, time.Now())
	o.Uptime = control.Seconds(time.Second)
	s.set(o)
	serve(t, s, address)
	p.Until("it is live again", "document.body.className === 'live' && document.querySelectorAll('#mobiles tr').length === 4")
	if said := p.Text("#said"); said != "The daemon answers again." {
		t.Errorf("told to those who hear: %q", said)
	}
}

// A fleet of a hundred thousand is as quick to show as a hundred.
func TestManyMobiles(t *testing.T) {
	o := fleet(100, time.Now())
	o.HomeAgents.Stats.Mobiles, o.HomeAgents.Matched, o.HomeAgents.Changed = 100_000, 100_000, 2_345
	address, _ := serve(t, &stand{show: o}, "127.0.0.1:0")
	p := browsertest.Start(t, nil).Open("http://"+address+"/", browsertest.View{Width: 1400, Height: 900})
	p.Until("the mobiles are there", "document.querySelectorAll('#mobiles tr').length === 100")
	if got := p.Text("#mobiles-count"); got != "The first 100 of 100,000 mobiles; search for others." {
		t.Error(got)
	}
	if got := p.Text("#moves-count"); !strings.Contains(got, "The newest 500 are shown. Of the mobiles those 40 that moved last; search for others.") {
		t.Error(got)
	}
	var rows int
	if p.Eval("document.querySelectorAll('#moves .row').length", &rows); rows != 41 {
		t.Errorf("%d rows", rows)
	}
}
