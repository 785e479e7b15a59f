package node

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"roam6/internal/rtnl/nstest"
)

func TestParseOtherAdvertisers(t *testing.T) {
	got := parseOtherAdvertisers("lan0 odhcpd, by section 'lan'\n\n  lan1\t\nlan2  ra \r\nlan0 the last holds")
	want := otherAdvertisers{"lan0": "the last holds", "lan1": "another program of this machine", "lan2": "ra"}
	if !maps.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestReadOtherAdvertisers(t *testing.T) {
	directory := t.TempDir()
	large := filepath.Join(directory, "large")
	if err := os.WriteFile(large, []byte(strings.Repeat("lan0 odhcpd\n", maxOtherAdvertisers/12+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, want string }{
		{"", ""}, {filepath.Join(directory, "none"), ""},
		{directory, "is a directory"}, {large, "is larger than 65536 octets"},
	} {
		got, err := readOtherAdvertisers(tt.path)
		if len(got) != 0 || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, %v, want %q", tt.path, got, err, tt.want)
		}
	}
}

// Each section that wants advertisements on an interface is named.
func TestAdvertisedBy(t *testing.T) {
	s, _ := bareShell(t, trainFile+"\nconfig interface\n\toption interface 'lan0'\n\toption AdvSendAdvert '1'\n"+
		"\nconfig prefix_request 'guests'\n\toption uplink 'up9'\n\tlist downstream 'lan9'\n")
	for name, want := range map[string]string{
		"lan0": "AdvSendAdvert of section interface 'lan0' and downstream of section 'train'",
		"lan1": "downstream of section 'bus'", "lan9": "downstream of section 'guests'", "lan8": "what was a downstream",
	} {
		if got := strings.Join(advertisedBy(s.config, name), " and "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// Where another program advertises nothing is sent, which is said once and shown; other
// interfaces are advertised on. It begins with the reload behind the other's end, though
// the configuration is the same, and ends when the other begins, without a farewell.
func TestLeftToOtherAdvertiser(t *testing.T) {
	const other = "odhcpd, by section 'lan' of /etc/config/dhcp: uci set dhcp.lan.ra=disabled"
	router, host := nstest.New(t), nstest.New(t)
	nstest.Veth(router, "lan0", host, "h0")
	nstest.Veth(router, "lan1", host, "h1")
	ear := listen(t, host, "h0")
	// A file that is there when the node starts, where it will look.
	directory := t.TempDir()
	say := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(directory, "roam6.others"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	say("lan0 " + other + "\n")
	prefix := prefixSection("list prefix '2001:db8:1::/64'")
	r := startAt(t, directory, router, nil, globalsText+fastLink+prefix+strings.Replace(fastLink, "lan0", "lan1", 1))
	l := &lan{running: r, host: host, ear: ear}
	l.until("the other interface is advertised on", func() bool { return l.shown("lan1").Multicast > 3 })
	if a := l.shown("lan0"); a.State != "refused" || !strings.Contains(a.Trouble, other) || len(l.all()) != 0 {
		t.Errorf("%d are sent; shown %+v", len(l.all()), a)
	}
	reload := func() {
		t.Helper()
		if err := l.client.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	reload()
	log := l.log.String()
	if n := strings.Count(log, "no router advertisements on this interface"); n != 1 || !strings.Contains(log, other) ||
		!strings.Contains(log, "AdvSendAdvert of section interface 'lan0' of "+r.file) {
		t.Errorf("said %d times: %s", n, log)
	}

	say("")
	reload()
	l.until("it is advertised on", func() bool { return len(l.all()) > 3 && l.shown("lan0").State == "sending" })

	say("lan0 " + other + "\n")
	reload()
	timePasses := func() {
		sent := l.shown("lan1").Multicast
		l.until("the other interface goes on", func() bool { return l.shown("lan1").Multicast > sent+10 })
	}
	timePasses() // what was on its way has come
	n := len(l.all())
	timePasses()
	if more := len(l.all()) - n; more != 0 {
		t.Errorf("%d are sent", more)
	}
	for i, h := range l.all() {
		if h.RouterLifetime == 0 {
			t.Errorf("advertisement %d of %d says that this is no router", i, n)
		}
	}
	if a := l.shown("lan0"); a.State != "refused" {
		t.Errorf("shown: %+v", a)
	}
	l.end()
}

// A downstream of a mobile router is left as well, and by a reload of the configuration
// itself, too.
func TestDownstreamLeftToOtherAdvertiser(t *testing.T) {
	l := newLAN(t, "")
	if err := os.WriteFile(l.others(), []byte("lan0 odhcpd\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	request := "\nconfig prefix_request 'guests'\n\toption uplink 'up9'\n\tlist downstream 'lan0'\n"
	if err := l.rewrite(request + fastLink); err != nil {
		t.Fatal(err)
	}
	l.until("it is said", func() bool {
		return strings.Contains(l.log.String(), "section interface 'lan0' and downstream of section 'guests'")
	})
	if n := len(l.all()); n != 0 {
		t.Errorf("%d are sent", n)
	}
	l.end()
}
