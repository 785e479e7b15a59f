package node

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/control"
	"roam6/internal/rtnl/nstest"
	"roam6/nd"
	"roam6/nd/ndconn"
)

// lan is a node that advertises on lan0, and a host there.
type lan struct {
	*running
	host *nstest.Space
	*ear
}

// ear hears the advertisements on an interface.
type ear struct {
	mu    sync.Mutex
	heard []heardRA
}

type heardRA struct {
	at time.Time
	to netip.Addr
	nd.RouterAdvertisement
	router netip.Addr
}

func (e *ear) all() []heardRA {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.heard)
}

// last is the latest advertisement, the zero value before the first.
func (e *ear) last() heardRA {
	list := e.all()
	if len(list) == 0 {
		return heardRA{}
	}
	return list[len(list)-1]
}

// listen hears the advertisements that reach an interface.
func listen(t *testing.T, s *nstest.Space, name string) *ear {
	t.Helper()
	e := new(ear)
	index := s.Index(name)
	s.Do(func() error {
		c, err := ndconn.Open(ndconn.LinkRef{Index: index, Name: name, MTU: 1500}, func(r ndconn.Received) {
			if ra, ok := r.Message.(nd.RouterAdvertisement); ok {
				e.mu.Lock()
				defer e.mu.Unlock()
				e.heard = append(e.heard, heardRA{time.Now(), r.Header.Destination, ra, r.Header.Source})
			}
		})
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return err
	})
	return e
}

const globalsText = "config globals 'globals'\n\toption control '%s'\n"

// fastLink is an interface section whose advertisements come quickly, so that tests
// need not wait.
const fastLink = "\nconfig interface\n\toption interface 'lan0'\n\toption AdvSendAdvert '1'\n\toption AdvIntervalOpt '1'\n" +
	"\toption min_interval_ms '30'\n\toption max_interval_ms '70'\n"

func newLAN(t *testing.T, text string, prepare ...func(router *nstest.Space)) *lan {
	t.Helper()
	router, host := nstest.New(t), nstest.New(t)
	host.Sysctl("net/ipv6/conf/default/accept_ra", "2")
	host.Sysctl("net/ipv6/conf/default/accept_ra_rt_info_max_plen", "64")
	nstest.Veth(router, "lan0", host, "h0")
	for _, p := range prepare {
		p(router)
	}
	l := &lan{host: host, ear: listen(t, host, "h0")}
	l.running = startIn(t, router, nil, globalsText+text)
	return l
}

// rewrite changes the configuration and reloads it.
func (l *lan) rewrite(text string) error {
	l.Helper()
	b, err := os.ReadFile(l.file)
	if err != nil {
		l.Fatal(err)
	}
	lines := strings.SplitAfterN(string(b), "\n", 3)
	l.write(lines[0] + lines[1] + text)
	return l.client.Reload(context.Background())
}

// prefixOf is what an advertisement tells of a prefix.
func (h heardRA) prefixOf(p string) (preferred, valid time.Duration, ok bool) {
	for _, q := range h.Prefixes {
		if q.Prefix.Masked() == netip.MustParsePrefix(p) {
			return q.PreferredLifetime, q.ValidLifetime, true
		}
	}
	return 0, 0, false
}

// unassign takes an address from an interface.
func unassign(t *testing.T, s *nstest.Space, name, prefix string) {
	t.Helper()
	a, err := netlink.ParseAddr(prefix)
	if err == nil {
		err = s.Handle.AddrDel(s.Link(name), a)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// formed is an address that the host has made of a prefix; its router part is not
// looked at.
func (l *lan) formed(prefix string) (preferred int, ok bool) {
	list, err := l.host.Handle.AddrList(l.host.Link("h0"), unix.AF_INET6)
	if err != nil {
		l.Fatal(err)
	}
	for _, a := range list {
		if addr, _ := netip.AddrFromSlice(a.IP); netip.MustParsePrefix(prefix).Contains(addr) {
			return a.PreferedLft, true
		}
	}
	return 0, false
}

func (l *lan) hostRoutes() string {
	var b strings.Builder
	routes, err := l.host.Handle.RouteList(l.host.Link("h0"), unix.AF_INET6)
	if err != nil {
		l.Fatal(err)
	}
	for _, r := range routes {
		fmt.Fprintln(&b, r.Dst, r.Gw, r.Priority)
	}
	return b.String()
}

// hasRouter reports whether the host has a default route.
func (l *lan) hasRouter() bool {
	routes, err := l.host.Handle.RouteList(l.host.Link("h0"), unix.AF_INET6)
	if err != nil {
		l.Fatal(err)
	}
	return slices.ContainsFunc(routes, func(r netlink.Route) bool {
		if r.Dst == nil {
			return r.Gw != nil
		}
		bits, _ := r.Dst.Mask.Size()
		return bits == 0 && r.Gw != nil
	})
}

func (l *lan) shown(name string) control.AdvertisedInterface {
	l.Helper()
	d, err := l.client.Advertisements(context.Background())
	if err != nil {
		l.Fatal(err)
	}
	i := slices.IndexFunc(d.Interfaces, func(a control.AdvertisedInterface) bool { return a.Interface == name })
	if i < 0 {
		l.Fatalf("%s is not shown: %+v", name, d)
	}
	return d.Interfaces[i]
}

// rdisc asks for routers as a stranger's tool does.
func (l *lan) rdisc() string {
	l.Helper()
	path, err := exec.LookPath("rdisc6")
	if err != nil {
		l.Skip("needs rdisc6 of the package ndisc6")
	}
	var out []byte
	l.until("rdisc6 hears the router", func() bool {
		l.host.Do(func() error {
			out, _ = exec.Command(path, "-1", "-w", "1000", "h0").CombinedOutput() // what it says is looked at
			return nil
		})
		return strings.Contains(string(out), "from fe80::")
	})
	return string(out)
}

// socketOf is the control socket of a node.
func socketOf(r *running) string { return filepath.Join(filepath.Dir(r.file), "s") }
