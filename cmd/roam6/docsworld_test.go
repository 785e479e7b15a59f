package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/control"
	labworld "roam6/internal/lab/world"
)

// docWorld is where the documentation's commands are run: the train of the README, its home
// agent, an access router and somebody to talk to, with the README's own configurations.
// Each node has an /etc/config, a /run and a /var/lib of its own, so that commands need no
// other paths than they have for the reader.
//
//	cn ── agent ── access ── router ── passenger
type docWorld struct {
	*testing.T
	world     *labworld.World
	directory string
	daemons   map[string]*process
	holders   map[string]int // processes whose mount namespaces are the nodes'
	configs   map[string]string
}

// docNodes are WHERE a block may be run.
var docNodes = []string{"router", "agent", "access", "passenger"}

// newDocWorld builds it.
func newDocWorld(t *testing.T, readme document) *docWorld {
	t.Helper()
	end := func(node, name string, addresses ...string) labworld.End {
		e := labworld.End{Node: node, Interface: name}
		for _, a := range addresses {
			e.Addresses = append(e.Addresses, netip.MustParsePrefix(a))
		}
		return e
	}
	w, err := labworld.Build(labworld.Topology{
		Nodes: []labworld.Node{
			{Name: "cn"}, {Name: "agent", Router: true}, {Name: "router", Router: true}, {Name: "passenger", Listens: true},
			{Name: "access", Router: true},
		},
		Wires: []labworld.Wire{
			{A: end("cn", "eth0", "2001:db8:c::2/64"), B: end("agent", "cn0", "2001:db8:c::1/64")},
			{A: end("agent", "core0", "2001:db8:c:3::1/64"), B: end("access", "core0", "2001:db8:c:3::2/64")},
			{A: end("access", "wlan0"), B: end("router", "wlan0")},
			{A: end("access", "wwan0"), B: end("router", "wwan0")},
			{A: end("router", "br-lan"), B: end("passenger", "eth0")},
		},
		LANs:    []labworld.LAN{{Name: "home", Ends: []labworld.End{end("agent", "eth0", "2001:db8:10::1/64")}}},
		Anchors: []labworld.Anchor{{Prefix: netip.MustParsePrefix("2001:db8:100::/64"), Node: "agent"}, {Prefix: netip.MustParsePrefix("2001:db8:a1::/64"), Node: "access"}},
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	for _, e := range []labworld.End{end("access", "wlan0", "2001:db8:a1::1/64"), end("router", "br-lan", "2001:db8:100::1/64")} {
		if err := labworld.AddAddress(w.Space(e.Node), e.Interface, e.Addresses[0]); err != nil {
			t.Fatal(err)
		}
	}
	v := &docWorld{T: t, world: w, directory: t.TempDir(), daemons: map[string]*process{}, holders: map[string]int{}, configs: map[string]string{}}
	for node, section := range map[string]string{"router": "config mobile_router 'train'", "agent": "config mobile 'train'", "access": "option interface 'wlan0'"} {
		i := slices.IndexFunc(readme.blocks, func(b docBlock) bool { return b.language == "uci" && strings.Contains(b.text, section) })
		if i < 0 {
			t.Fatalf("the README has no block with %s", section)
		}
		v.configs[node] = readme.blocks[i].text
	}
	for _, node := range docNodes {
		v.hold(node)
	}
	for _, node := range []string{"agent", "access", "router"} {
		v.start(node, v.configs[node])
	}
	v.works()
	return v
}

// inNode makes the mount namespace of a node, from $D, a directory of its own.
const inNode = `set -e
mkdir -p "$D/run" "$D/lib" "$D/etc" "$D/work" "$D/config" "$D/sbin"
mount -t tmpfs tmpfs "$D/etc"
mkdir "$D/etc/upper" "$D/etc/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$D/etc/upper,workdir=$D/etc/work" /etc
mkdir -p /etc/config
mount --bind "$D/config" /etc/config
mount --bind "$D/run" /run
mount --bind "$D/lib" /var/lib
mount --bind "$D/sbin" /usr/local/sbin
mount -t bpf bpf /sys/fs/bpf 2>/dev/null || true
printf 'interface wlan0 {\n\tAdvSendAdvert on;\n\tprefix 2001:db8:a1::/64 { };\n};\n' >/etc/radvd.conf
echo ready
cat`

// hold starts the process that keeps a node's mount namespace.
func (v *docWorld) hold(node string) {
	v.Helper()
	tree, err := filepath.Abs(treeTop)
	v.must(err)
	directory := v.of(node)
	v.must(os.MkdirAll(directory, 0o700))
	cmd := exec.Command("unshare", "--mount", "sh", "-c", inNode)
	cmd.Env = append(os.Environ(), "D="+directory, "TREE="+tree)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	v.must(err)
	out, err := cmd.StdoutPipe()
	v.must(err)
	v.must(v.world.Space(node).Do(cmd.Start))
	v.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	ready := make([]byte, 6)
	if _, err := io.ReadFull(out, ready); err != nil {
		v.Fatalf("the mounts of %s: %v", node, err)
	}
	v.holders[node] = cmd.Process.Pid
	v.must(os.Symlink(filepath.Join(tree, "contrib"), filepath.Join(directory, "contrib")))
	v.must(os.Mkdir(filepath.Join(directory, "bin"), 0o700))
	binary, err := os.Executable()
	v.must(err)
	v.must(os.Symlink(binary, filepath.Join(directory, "bin", "roam6")))
}

// of is the directory of a node.
func (v *docWorld) of(node string) string { return filepath.Join(v.directory, node) }

// enter is a command in a node.
func (v *docWorld) enter(node string, arguments ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--mount=/proc/" + fmt.Sprint(v.holders[node]) + "/ns/mnt", "--wd=" + v.of(node)}, arguments...)...)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(v.of(node), "bin")+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	return cmd
}

func (v *docWorld) must(err error) {
	v.Helper()
	if err != nil {
		v.Fatal(err)
	}
}

func (v *docWorld) until(what string, holds func() bool) {
	v.Helper()
	await(v.T, 20*time.Second, what, func(yield func(*process) bool) {
		for _, p := range v.daemons {
			if !yield(p) {
				return
			}
		}
	}, holds)
}

// configure writes a node's configuration.
func (v *docWorld) configure(node, text string) {
	v.Helper()
	v.must(os.WriteFile(filepath.Join(v.of(node), "config", "roam6"), []byte(text), 0o600))
}

// start starts the daemon of a node, in place of the one there is.
func (v *docWorld) start(node, text string) {
	v.Helper()
	if p := v.daemons[node]; p != nil {
		p.end(v.T)
		delete(v.daemons, node)
	}
	v.configure(node, text)
	socket := filepath.Join(v.of(node), "run", "roam6.sock")
	log, err := os.OpenFile(filepath.Join(v.of(node), "log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	v.must(err)
	p := &process{name: node, cmd: v.enter(node, append(v.privileges(), "roam6", "run")...), client: control.NewClient(socket), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	v.must(v.world.Space(node).Do(p.cmd.Start))
	go func() {
		p.result = p.cmd.Wait()
		close(p.ended)
	}()
	v.Cleanup(func() {
		p.kill()
		log.Close()
		if v.Failed() {
			v.Logf("%s:\n%s", node, v.log(node))
		}
	})
	v.daemons[node] = p
	v.until(node+" answers", p.answers)
}

// privileges are those that the unit for systemd leaves a daemon, as arguments of setpriv.
func (v *docWorld) privileges() []string {
	v.Helper()
	unit, err := os.ReadFile(filepath.Join(treeTop, "contrib", "systemd", "roam6.service"))
	v.must(err)
	set := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.*)$`).FindSubmatch(unit)
	if set == nil {
		v.Fatal("the unit keeps all capabilities")
	}
	bounding := "-all"
	for c := range strings.FieldsSeq(string(set[1])) {
		bounding += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	return []string{"setpriv", "--bounding-set", bounding, "--no-new-privs"}
}

// log is what a node's daemon has logged since its start.
func (v *docWorld) log(node string) string {
	b, _ := os.ReadFile(filepath.Join(v.of(node), "log"))
	return string(b)
}

// works waits until the router is registered and has had its answer to all it asked.
func (v *docWorld) works() {
	v.Helper()
	v.until("the router is registered", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		u, err := v.daemons["router"].client.Updates(ctx)
		return err == nil && len(u.Updates) == 1 && u.Updates[0].Registered && !u.Updates[0].Pending
	})
}

// situation is WHEN a block is run: the router's daemon began with the README's
// configuration in which something is replaced, and its log or the agent's has said what
// there is to say.
type situation struct{ old, new, node, said string }

var situations = map[string]situation{
	"wrong-key":      {"0e0f'", "0e0e'", "agent", "status=146"},
	"unknown-mobile": {"10::100/64", "10::101/64", "agent", "binding update from unknown mobile"},
	"wrong-prefix":   {"2001:db8:100::/64", "2001:db8:105::/64", "agent", "binding registered"},
}

// when brings a situation about, if it has a name; restore ends it.
func (v *docWorld) when(name string) (restore func()) {
	v.Helper()
	if name == "" {
		return func() {}
	}
	s, ok := situations[name]
	if !ok {
		v.Fatalf("there is no situation %q", name)
	}
	text := strings.Replace(v.configs["router"], s.old, s.new, 1)
	if text == v.configs["router"] {
		v.Fatalf("the README's router has no %s", s.old)
	}
	v.start("agent", v.configs["agent"])
	v.start("router", text)
	v.until(name, func() bool { return strings.Contains(v.log(s.node), s.said) })
	return func() {
		v.start("router", v.configs["router"])
		v.works()
	}
}
