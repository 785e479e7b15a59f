package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/config"
	"roam6/internal/control"
	"roam6/internal/logging/logtest"
	"roam6/internal/rtnl/nstest"
)

const agentFile = `
config globals 'globals'
	option control '%s'
	option log_level 'debug'

config metrics 'metrics'
	option enabled '1'
	option listen_address '::1'
	option listen_port '9706'

config interface
	option interface 'home0'
	option AdvSendAdvert '1'
	option AdvIntervalOpt '1'
	option min_interval_ms '30'
	option max_interval_ms '70'

config prefix
	option interface 'home0'
	list prefix '2001:db8:10::/64'

config home_agent 'ha'
	option interface 'home0'
	option address '2001:db8:10::1'
	option prefix '2001:db8:10::/64'

config mobile 'train'
	option home_address '2001:db8:10::100'
	option key '000102030405060708090a0b0c0d0e0f'
	option spi '256'
	list prefix '2001:db8:100::/64'
`

// running is a node in a namespace of its own.
type running struct {
	*testing.T
	space  *nstest.Space
	peer   *nstest.Space // at the other end of home0
	file   string        // configuration
	log    *logtest.Buffer
	client *control.Client
	stop   context.CancelFunc
	ended  chan error
}

// start runs a node with a configuration, in whose place for one value the
// path of the control socket stands, in a namespace that is prepared before.
func start(t *testing.T, text string, prepare ...func(*nstest.Space)) *running {
	t.Helper()
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("needs a TUN device: %v", err)
	}
	here, there := nstest.New(t), nstest.New(t)
	nstest.Veth(here, "home0", there, "peer0")
	for _, p := range prepare {
		p(here)
	}
	return startIn(t, here, there, text)
}

// startIn is start in a namespace that is there.
func startIn(t *testing.T, here, there *nstest.Space, text string) *running {
	t.Helper()
	return startAt(t, t.TempDir(), here, there, text)
}

// startAt is startIn with the control socket, and what is beside it, in a directory, and
// a configuration that is adapted.
func startAt(t *testing.T, dir string, here, there *nstest.Space, text string, adapt ...func(*config.Config)) *running {
	t.Helper()
	r := &running{T: t, space: here, peer: there, file: filepath.Join(dir, "roam6"), log: new(logtest.Buffer), ended: make(chan error, 1)}
	socket := filepath.Join(dir, "s")
	r.write(fmt.Sprintf(text, socket))
	r.client = control.NewClient(socket)
	c, err := config.Load(r.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range adapt {
		a(c)
	}
	level := new(slog.LevelVar)
	level.Set(c.Globals.LogLevel)
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: level}))
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	over := make(chan struct{})
	go func() {
		defer close(over)
		r.ended <- here.Try(func() error {
			return Run(ctx, Options{Config: r.file, Version: "test", OtherAdvertisers: r.others(), KeepPrivileges: true}, log, level, c)
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-over // it writes in the directory until then
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	r.until("it answers", func() bool { return r.client.Ping(context.Background()) == nil })
	return r
}

// others is where the node reads which interfaces others advertise on.
func (r *running) others() string { return r.file + ".others" }

func (r *running) write(text string) {
	r.Helper()
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

func (r *running) until(what string, holds func() bool) {
	r.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("waited in vain until %s\n%s", what, r.log)
		}
		select {
		case err := <-r.ended:
			r.Fatalf("ended: %v\n%s", err, r.log)
		default:
		}
	}
}

func (r *running) end() {
	r.Helper()
	r.stop()
	select {
	case err := <-r.ended:
		if err != nil {
			r.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		r.Fatalf("does not end\n%s", r.log)
	}
}

// leftovers lists what is in a namespace's kernel.
func leftovers(t *testing.T, s *nstest.Space) string {
	t.Helper()
	var b strings.Builder
	links, err := s.Handle.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		fmt.Fprintln(&b, "link", l.Attrs().Name)
		addrs, err := s.Handle.AddrList(l, unix.AF_INET6)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			fmt.Fprintln(&b, "address", l.Attrs().Name, a.IPNet)
		}
	}
	routes, err := s.Handle.RouteList(nil, unix.AF_INET6)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range routes {
		fmt.Fprintln(&b, "route", x.Dst, x.LinkIndex, x.Protocol)
	}
	rules, err := s.Handle.RuleList(unix.AF_INET6)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range rules {
		fmt.Fprintln(&b, "rule", x.Priority, x.Table)
	}
	fmt.Fprintln(&b, "forwarding", s.ReadSysctl("net/ipv6/conf/all/forwarding"))
	return b.String()
}

// A node starts, answers, is scraped, and leaves nothing when it ends
// (requirement B2).
//
// Covers: B2.
func TestStartAndStop(t *testing.T) {
	r := start(t, agentFile)
	r.until("it advertises", func() bool {
		s, err := r.client.Stats(context.Background())
		return err == nil && s.Daemon.RouterAdvertisementsSent > 0
	})
	before := func() string { // as it was without us
		s := nstest.New(t)
		o := nstest.New(t)
		nstest.Veth(s, "home0", o, "peer0")
		return leftovers(t, s)
	}()
	if during := leftovers(t, r.space); !strings.Contains(during, "link roam6") {
		t.Errorf("no tunnel device while it runs:\n%s", during)
	}
	page := r.scrape()
	for _, want := range []string{"HTTP/1.1 200", `roam6_build_info{version="test"} 1`, "roam6_bindings 0", "roam6_router_advertisements_sent_total"} {
		if !strings.Contains(page, want) {
			t.Errorf("the metrics lack %q:\n%s", want, page)
		}
	}
	r.end()
	// Link-local addresses differ from one veth to the next.
	if after := leftovers(t, r.space); strip(after) != strip(before) {
		t.Errorf("left:\n%s\nwant:\n%s", strip(after), strip(before))
	}
}

// strip leaves out what differs between two fresh namespaces.
func strip(s string) string {
	var kept []string
	for _, line := range strings.Split(s, "\n") {
		if !strings.Contains(line, "fe80::") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// A bad file on reload changes nothing and says where it is bad; a good one
// is applied.
func TestReload(t *testing.T) {
	r := start(t, agentFile)
	mobiles := func() int {
		s, err := r.client.Stats(context.Background())
		if err != nil || s.Agent == nil {
			return -1
		}
		return s.Agent.Mobiles
	}
	if n := mobiles(); n != 1 {
		t.Fatalf("%d mobiles", n)
	}
	good, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	r.write(strings.Replace(string(good), "2001:db8:10::100", "2001:db8:99::100", 1))
	err = r.client.Reload(context.Background())
	if err == nil || !strings.Contains(err.Error(), "2001:db8:99::100") || !strings.Contains(err.Error(), "roam6:28:22") {
		t.Errorf("the error does not name the place: %v", err)
	}
	if n := mobiles(); n != 1 {
		t.Errorf("%d mobiles after a bad reload", n)
	}
	r.write(string(good) + "\nconfig mobile 'second'\n\toption home_address '2001:db8:10::200'\n\toption key '0f0e0d0c0b0a09080706050403020100'\n\toption spi '300'\n")
	r.until("the file is noticed", func() bool { return mobiles() == 2 })
	s, err := r.client.Stats(context.Background())
	if err != nil || s.Daemon.Reloads < 1 || s.Daemon.ReloadsFailed < 1 {
		t.Errorf("reloads %+v, %v", s.Daemon, err)
	}
	if strings.Contains(r.log.String(), "0f0e0d0c") {
		t.Error("a key is in the log")
	}
	r.end()
}

// An interface that disappears and one that comes back under another name do
// not end the node (requirements B5, B10).
//
// Covers: B5, B10.
func TestInterfacesComeAndGo(t *testing.T) {
	r := start(t, agentFile)
	started := func() int { return strings.Count(r.log.String(), "router advertisements started") }
	r.until("the first interface is used", func() bool { return started() == 1 })
	link, err := r.space.Handle.LinkByName("home0")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.space.Handle.LinkDel(link); err != nil {
		t.Fatal(err)
	}
	there := nstest.New(t)
	nstest.Veth(r.space, "other0", there, "peer1")
	again, err := r.space.Handle.LinkByName("other0")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.space.Handle.LinkSetDown(again); err != nil {
		t.Fatal(err)
	}
	if err := r.space.Handle.LinkSetName(again, "home0"); err != nil {
		t.Fatal(err)
	}
	if err := r.space.Handle.LinkSetUp(again); err != nil {
		t.Fatal(err)
	}
	sent := func() uint64 {
		s, err := r.client.Stats(context.Background())
		if err != nil {
			return 0
		}
		return s.Daemon.RouterAdvertisementsSent
	}
	r.until("the new interface is used", func() bool { return started() == 2 })
	n := sent()
	r.until("advertisements go on", func() bool { return sent() > n+3 })
	r.end()
}

const routerFile = `
config globals 'globals'
	option control '%s'

config mobile_router 'train'
	option home_address '2001:db8:10::100/64'
	option home_agent '2001:db8:10::1'
	option key '000102030405060708090a0b0c0d0e0f'
	option spi '256'
	list uplink 'home0'
	list prefix '2001:db8:100::/64'
`

// Another home agent ends the mobile in order and begins it anew; a changed
// lifetime is taken over in place; a removed section ends the mobile.
func TestReloadMobile(t *testing.T) {
	r := start(t, routerFile)
	good, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	updates := func() []control.Update {
		u, err := r.client.Updates(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return u.Updates
	}
	reload := func(text string) {
		t.Helper()
		r.write(text)
		if err := r.client.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if u := updates(); len(u) != 1 || u[0].HomeAgent.String() != "2001:db8:10::1" {
		t.Fatalf("%+v", u)
	}
	reload(strings.Replace(string(good), "2001:db8:10::1'", "2001:db8:10::2'", 1))
	r.until("the other home agent is used", func() bool {
		u := updates()
		return len(u) == 1 && u[0].HomeAgent.String() == "2001:db8:10::2" && len(u[0].Uplinks) == 1 && u[0].Uplinks[0].Up
	})
	if ra := r.space.ReadSysctl("net/ipv6/conf/home0/accept_ra"); ra != "0" {
		t.Errorf("accept_ra of the uplink is %s", ra)
	}
	globals, _, _ := strings.Cut(string(good), "config mobile_router")
	reload(globals)
	r.until("the mobile is gone", func() bool { return len(updates()) == 0 })
	r.end()
}
