package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/control"
	"roam6/internal/lab/netns"
	labworld "roam6/internal/lab/world"
)

// watchWrites counts by name the files that are put in place in a directory, which it
// makes, or removed from it, since it was called.
func watchWrites(t *testing.T, directory string) func() map[string]int {
	t.Helper()
	if err := os.MkdirAll(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, directory, unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_CLOSE_WRITE); err != nil {
		t.Fatal(err)
	}
	writes := make(map[string]int)
	return func() map[string]int {
		for b := make([]byte, 1<<16); ; {
			n, err := unix.Read(fd, b)
			if err != nil || n <= 0 {
				return writes
			}
			for rest := b[:n]; len(rest) >= unix.SizeofInotifyEvent; {
				length := int(rest[12]) | int(rest[13])<<8
				name, _, _ := strings.Cut(string(rest[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+length]), "\x00")
				writes[name]++
				rest = rest[unix.SizeofInotifyEvent+length:]
			}
		}
	}
}

// A router that has moved fifty times has written to its flash memory what it was when it
// came: its identifier, the prefix that it was delegated, and where it has that. No
// hand-over, no renewal and no registration writes. The home agent has written once what it
// has delegated.
//
// Covers: D3.
func TestFlashIsSpared(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	v := emptyVillage(t)
	v.lan()
	v.must(v.agentSpace.Link.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "wan1", Index: 2000, TxQLen: -1}, PeerName: "up1", PeerTxQLen: -1, PeerNamespace: netlink.NsFd(v.hostSpace.FD()),
	}))
	v.up(v.hostSpace, "up1", true)
	state := func(name string) (directory, option string) {
		directory = filepath.Join(t.TempDir(), name)
		return directory, "option control '%s'\n\toption state_directory '" + directory + "'"
	}
	agentState, agentOption := state("agent")
	hostState, hostOption := state("host")
	agentWrites, hostWrites := watchWrites(t, agentState), watchWrites(t, hostState)
	v.agent = v.start(v.agentSpace, os.Args[0], "agent", strings.Replace(clockAgentFile, "option control '%s'", agentOption, 1)+
		strings.NewReplacer("wan0", "wan1", "db8:a1:", "db8:a2:").Replace(accessSections(clockAgentFile)))
	v.until("the home agent knows its links", v.advertises)
	v.host = v.start(v.hostSpace, os.Args[0], "host", strings.NewReplacer("option control '%s'", hostOption, "list uplink", "list uplink 'up1'\n\tlist uplink").Replace(clockHostFile))
	v.works()
	v.until("it has a prefix", func() bool { return v.numbered() != nil })
	const moves = 50
	places := []struct{ wan, address string }{{"wan1", "2001:db8:a2::1/64"}, {"wan0", villageAR.String() + "/64"}}
	for i := range moves {
		there, left := places[i%2], places[(i+1)%2]
		v.up(v.agentSpace, left.wan, false)
		v.up(v.agentSpace, there.wan, true)
		prefix := netip.MustParsePrefix(there.address)
		v.must(labworld.AddAddress(v.agentSpace, there.wan, prefix))
		v.until("the host is in the other place", func() bool {
			u := v.update()
			return u.Registered && !u.Lost && !u.Pending && prefix.Masked().Contains(u.CareOf)
		})
	}
	v.works()
	if s := v.stats(v.host); s.Mobile.UpdatesSent < moves {
		t.Errorf("%d updates", s.Mobile.UpdatesSent)
	}
	lines, octets := logged(t, v.host)
	v.host.end(t)
	v.agent.end(t)
	t.Logf("%d moves: the router has written %v, the home agent %v; the router's log has %d lines, %d octets", moves, hostWrites(), agentWrites(), lines, octets)
	// Each file is written once, under another name, and put in place. What is delegated
	// is saved again at the end, with what remains of its lifetime.
	for name, most := range map[string]int{"duid": 1, "downstreams": 1, "delegation-phone": 2} {
		if n := hostWrites()[name]; n < 1 || n > most {
			t.Errorf("the router has put %s in place %d times, want %d at most", name, n, most)
		}
	}
	if n := total(hostWrites()); n > 10 {
		t.Errorf("the router has written %v", hostWrites())
	}
	if n := total(agentWrites()); n > 6 {
		t.Errorf("the home agent has written %v", agentWrites())
	}
	// A move is told in a few lines, and a router keeps its log in memory.
	if most := 5*(moves+1) + 20; lines > most || octets > 200*most {
		t.Errorf("%d lines, %d octets for %d moves", lines, octets, moves)
	}
}

// accessSections are those of the access link in a configuration.
func accessSections(text string) string {
	_, rest, _ := strings.Cut(text, "config interface")
	sections, _, _ := strings.Cut(rest, "config home_agent")
	return "config interface" + sections
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// logged is how much a daemon has logged.
func logged(t *testing.T, p *process) (lines, octets int) {
	t.Helper()
	b, err := os.ReadFile(p.paths.log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "\n"), len(b)
}

// Whatever a power cut leaves in the state directory, of all files or what was being
// written, both daemons start, say which file they do not use, and come to work as at the
// first time.
//
// Covers: B5.
func TestTornState(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	v := emptyVillage(t)
	v.lan()
	begin := func() {
		v.agent = v.again("agent", v.agentSpace, clockAgentFile)
		v.until("the home agent knows its links", v.advertises)
		v.host = v.again("host", v.hostSpace, clockHostFile)
		v.works()
		v.until("it has a prefix", func() bool { return v.numbered() != nil })
	}
	stop := func() {
		v.host.end(t)
		v.agent.end(t)
		v.host, v.agent = nil, nil
	}
	begin()
	stop()
	for name, tear := range map[string]func([]byte) []byte{
		"empty":           func([]byte) []byte { return nil },
		"cut in the head": func(b []byte) []byte { return b[:10] },
		"cut":             func(b []byte) []byte { return b[:len(b)-1] },
		"zeros":           func(b []byte) []byte { return make([]byte, len(b)) },
		"a bit":           func(b []byte) []byte { b[len(b)-2] ^= 4; return b },
		"another's":       func([]byte) []byte { return []byte("GIF89a") },
	} {
		files, err := filepath.Glob(filepath.Join(v.stateOf("*"), "*"))
		v.must(err)
		if len(files) != 5 { // duid, delegation, downstreams; duid, delegating
			t.Fatalf("%s: there are %q", name, files)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			v.must(err)
			v.must(os.WriteFile(f, tear(b), 0o600))
			v.must(os.WriteFile(f+".new", b[:len(b)/2], 0o600)) // was being written
		}
		begin()
		for _, f := range files {
			log, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(f)), "log"))
			v.must(err)
			if n := strings.Count(string(log), "cannot be read\" name="+filepath.Base(f)+" "); n != 1 {
				t.Errorf("%s: that %s is not used is said %d times", name, f, n)
			}
			v.until(f+".new is gone", func() bool { // there is one while it is saved anew
				_, err := os.Stat(f + ".new")
				return errors.Is(err, os.ErrNotExist)
			})
		}
		stop()
	}
}

// again starts a daemon whose state directory is that of the one of this name before, with
// a new log.
func (v *village) again(name string, s *netns.Space, text string) *process {
	v.Helper()
	directory := filepath.Dir(v.stateOf(name))
	v.must(os.MkdirAll(directory, 0o700))
	paths := daemonPaths{config: filepath.Join(directory, "roam6"), socket: filepath.Join(directory, "s"), log: filepath.Join(directory, "log")}
	globals := "option control '" + paths.socket + "'\n\toption state_directory '" + v.stateOf(name) + "'"
	v.must(os.WriteFile(paths.config, []byte(strings.Replace(text, "option control '%s'", globals, 1)), 0o600))
	if err := os.Remove(paths.log); err != nil && !errors.Is(err, os.ErrNotExist) {
		v.Fatal(err)
	}
	p := startProcess(v.T, s, os.Args[0], name, paths)
	v.until(name+" answers", p.answers)
	return p
}

// stateOf is the state directory of a daemon that was started by again.
func (v *village) stateOf(name string) string {
	return filepath.Join(v.directory, name, "state")
}

// A router is switched on before there is any interface of those that its configuration
// names: neither uplink nor the network behind it, at the home agent neither the home link
// nor the one it advertises on. All are used as they come, in any order, and again when
// they are made anew with another index, or come back under their name; it is the same
// process all the time, and it leaves nothing.
//
// Covers: B5, B10, B2.
func TestInterfacesComeAfterBoot(t *testing.T) {
	needWorlds(t)
	t.Parallel()
	v := emptyVillage(t)
	v.remove("up0") // and wan0
	v.lan()
	bare := v.before
	home, err := v.agentSpace.Link.LinkByName("home0")
	v.must(err)
	v.must(v.agentSpace.Link.LinkDel(home))
	v.remove("lan0")
	v.agent = v.start(v.agentSpace, os.Args[0], "agent", clockAgentFile)
	v.host = v.start(v.hostSpace, os.Args[0], "host", clockHostFile)
	if u := v.update(); u.Registered || u.Attachment != nil {
		t.Errorf("without an interface: %+v", u)
	}

	v.plug("up0")
	v.until("the host is attached, though its home agent has no home link", func() bool { return v.update().Attachment != nil })
	v.homeLink()
	v.works()
	v.makeLAN()
	v.until("the network has the delegated prefix", func() bool { return v.numbered() != nil && v.hasPrefix("lan0") })

	before := v.indexOf("lan0")
	v.remove("lan0")
	v.must(v.hostSpace.Link.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "spare", TxQLen: -1}, PeerName: "sparex"}))
	v.makeLAN()
	if again := v.indexOf("lan0"); again == before {
		t.Fatalf("the interface that was made anew has index %d, as before", again)
	}
	v.until("the network that was made anew has the prefix", func() bool { return v.hasPrefix("lan0") })
	v.rename("lan0", "lan9")
	v.until("under another name it has none", func() bool { return !v.hasPrefix("lan9") })
	v.rename("lan9", "lan0")
	v.until("it has the prefix again", func() bool { return v.hasPrefix("lan0") })
	v.works()

	v.remove("up0")
	v.until("the host is nowhere", func() bool { u := v.update(); return u.Lost || u.Attachment == nil })
	v.plug("up0")
	v.works()

	v.host.end(t)
	v.agent.end(t)
	v.remove("up0")
	v.remove("spare")
	// Indices, and with them link-local addresses and their routes, are other ones.
	ours := func(line string) bool {
		return strings.Contains(line, "roam6") || strings.Contains(line, "2001:db8:8000") || strings.Contains(line, "2001:db8:a1")
	}
	for _, line := range labworld.Compare(bare, v.snapshots()) {
		if ours(line) {
			t.Errorf("left: %s", line)
		}
	}
}

// homeLink gives the home agent its home link, with its address and the peer's.
func (v *village) homeLink() {
	v.Helper()
	v.must(v.agentSpace.Link.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "home0", TxQLen: -1}, PeerName: "home1"}))
	for _, name := range []string{"home0", "home1"} {
		v.up(v.agentSpace, name, true)
	}
	v.must(labworld.AddAddress(v.agentSpace, "home0", netip.MustParsePrefix("2001:db8:10::1/64")))
	v.must(labworld.AddAddress(v.agentSpace, "home0", netip.PrefixFrom(villagePeer.Addr(), 128)))
}

func (v *village) makeLAN() {
	v.Helper()
	v.must(v.hostSpace.Link.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "lan0", TxQLen: -1}, PeerName: "lan0x"}))
	for _, name := range []string{"lan0", "lan0x"} {
		v.up(v.hostSpace, name, true)
	}
}

func (v *village) indexOf(name string) int {
	v.Helper()
	link, err := v.hostSpace.Link.LinkByName(name)
	v.must(err)
	return link.Attrs().Index
}

// hasPrefix reports whether the host has an address of the delegated prefix on a link, and
// says so in advertisements.
func (v *village) hasPrefix(name string) bool {
	v.Helper()
	link, err := v.hostSpace.Link.LinkByName(name)
	v.must(err)
	list, err := v.hostSpace.Link.AddrList(link, netlink.FAMILY_V6)
	v.must(err)
	if !slices.ContainsFunc(list, func(a netlink.Addr) bool { return strings.HasPrefix(a.IP.String(), "2001:db8:8000:") }) {
		return false
	}
	ads, err := v.host.client.Advertisements(context.Background())
	v.must(err)
	return slices.ContainsFunc(ads.Interfaces, func(i control.AdvertisedInterface) bool {
		return i.Interface == name && i.State == "sending"
	})
}
