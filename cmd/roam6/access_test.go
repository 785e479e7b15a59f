package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"golang.org/x/sys/unix"

	"roam6/dhcpv6/dhcpconn"
	"roam6/internal/control"
	"roam6/internal/lab/dhcpserver"
	labworld "roam6/internal/lab/world"
	"roam6/internal/role"
)

// access is a village whose access link has DHCPv6 servers, of all kinds.
type access struct {
	*village
	directory string // of the host's state
}

// accessPrefix is that of the link; what servers lease has other identifiers than
// what the host forms.
var accessPrefix = netip.MustParsePrefix("2001:db8:a1::/64")

// pooled is an address that a server leases.
func pooled(n int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("2001:db8:a1::1%03x", n))
}

const (
	formable = "option AdvAutonomous '1'"
	managed  = "option AdvManagedFlag '1'"
	informed = "option AdvOtherConfigFlag '1'"
)

// newAccess starts the home agent, whose access link is advertised with options,
// and without addresses to be formed unless that is among them.
func newAccess(t *testing.T, more string, options ...string) *access {
	t.Helper()
	a := &access{village: emptyVillage(t), directory: t.TempDir()}
	prefix := "option AdvAutonomous '0'"
	flags := ""
	for _, o := range options {
		if o == formable {
			prefix = o
		} else {
			flags += "\n\t" + o
		}
	}
	text := strings.Replace(agentFile, "option AdvIntervalOpt '1'", "option AdvIntervalOpt '1'"+flags, 1)
	text = strings.Replace(text, "list prefix '2001:db8:a1::/64'", "list prefix '2001:db8:a1::/64'\n\t"+prefix, 1)
	a.agent = a.start(a.agentSpace, os.Args[0], "agent", text+more)
	a.until("the home agent knows its links", a.advertises)
	return a
}

// join starts the host.
func (a *access) join(more string) {
	a.Helper()
	globals := fmt.Sprintf("\toption state_directory '%s'\n\toption resolver_file '%s'\n\toption log_level 'debug'\n", filepath.Join(a.directory, "state"), a.resolver())
	a.host = a.start(a.hostSpace, os.Args[0], "host", strings.Replace(hostFile, "config mobile_node", globals+"config mobile_node", 1)+more)
}

func (a *access) resolver() string { return filepath.Join(a.directory, "resolv.conf") }

// leave ends the host in order.
func (a *access) leave() {
	a.Helper()
	a.host.end(a.T)
	a.host = nil
}

// saves waits until the host has saved a lease.
func (a *access) saves(address netip.Addr) {
	a.Helper()
	a.until("the lease is saved", func() bool {
		b, err := os.ReadFile(filepath.Join(a.directory, "state", "uplink-up0"))
		return err == nil && strings.Contains(string(b), address.String())
	})
}

// crash kills the host.
func (a *access) crash() {
	a.Helper()
	a.must(a.host.cmd.Process.Kill())
	<-a.host.ended
	a.host = nil
}

// end ends everything and looks what is left. An address that the test has put
// somewhere is not.
func (a *access) end() {
	a.Helper()
	a.village.end()
}

// registers waits until the host is registered with an address, and reaches its
// peer.
func (a *access) registers(what string, with func(netip.Addr) bool) netip.Addr {
	a.Helper()
	a.until(what, func() bool {
		u := a.update()
		return u.Registered && !u.Lost && !u.Pending && with(u.CareOf) && a.reaches()
	})
	return a.update().CareOf
}

func (a *access) registersAt(careOf netip.Addr) {
	a.Helper()
	a.registers("it is registered at "+careOf.String(), func(b netip.Addr) bool { return b == careOf })
}

// dropped are the DHCPv6 messages that the host did not accept, by reason.
func (a *access) dropped() map[string]uint64 { return a.stats().DHCPDropped }

func (a *access) stats() control.Stats {
	a.Helper()
	s, err := a.host.client.Stats(context.Background())
	a.must(err)
	return s
}

// clients are the DHCPv6 clients of the host.
func (a *access) clients() []control.LeaseClient {
	a.Helper()
	raw, err := a.host.client.Show(context.Background(), control.TopicLeases)
	a.must(err)
	d, err := control.Decode(control.TopicLeases, raw)
	a.must(err)
	return d.(control.Leases).Clients
}

// taken lets somebody else on the link have an address.
func (a *access) taken(address netip.Addr) {
	a.Helper()
	a.must(labworld.AddAddress(a.agentSpace, "wan0", netip.PrefixFrom(address, 64)))
	before := a.before["agent"]
	a.before["agent"] = append(slices.Clone(before), slices.DeleteFunc(slices.Clone(a.snapshots()["agent"]), func(line string) bool {
		return slices.Contains(before, line) || !strings.Contains(line, address.String())
	})...)
}

// asked is a message of a client, and when it came.
type asked struct {
	*dhcpv6.Message
	at time.Time
}

// server is a DHCPv6 server that answers as the test wants.
type server struct {
	name string
	conn *dhcpconn.Conn
	// answer makes the answers to a message. n is how many of its type came, with
	// this one.
	answer func(m *dhcpv6.Message, n int) [][]byte

	mu   sync.Mutex
	came []asked
}

// serve answers on the access link until the test ends.
func (a *access) serve(s *server) *server {
	a.Helper()
	link, err := a.agentSpace.Link.LinkByName("wan0")
	a.must(err)
	ready := make(chan struct{})
	a.must(a.agentSpace.Do(func() (err error) {
		s.conn, err = dhcpconn.OpenGroup(link.Attrs().Index, func(r role.DHCPReceived) {
			<-ready
			s.received(r)
		})
		return err
	}))
	close(ready)
	a.Cleanup(func() { s.conn.Close() })
	return s
}

func (s *server) received(r role.DHCPReceived) {
	m, err := dhcpv6.MessageFromBytes(r.Message)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.came = append(s.came, asked{m, time.Now()})
	s.mu.Unlock()
	for _, b := range s.answer(m, len(s.was(m.MessageType))) {
		// What is lost is asked for again.
		_ = s.conn.Send(role.SendDHCP{From: netip.AddrPortFrom(netip.Addr{}, 547), To: r.From, Message: b})
	}
}

// was are the messages of a type that came.
func (s *server) was(kind dhcpv6.MessageType) (list []asked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.came {
		if m.MessageType == kind {
			list = append(list, m)
		}
	}
	return list
}

// duid is the server's identifier.
func (s *server) duid() dhcpv6.Option {
	return dhcpv6.OptServerID(&dhcpv6.DUIDEN{EnterpriseNumber: 32473, EnterpriseIdentifier: []byte(s.name)})
}

// reply is the server's message of a kind in answer to another one.
func (s *server) reply(kind dhcpv6.MessageType, m *dhcpv6.Message, options ...dhcpv6.Option) *dhcpv6.Message {
	r := &dhcpv6.Message{MessageType: kind, TransactionID: m.TransactionID}
	r.AddOption(dhcpv6.OptClientID(m.Options.ClientID()))
	r.AddOption(s.duid())
	for _, o := range options {
		r.AddOption(o)
	}
	return r
}

func rapidCommit() dhcpv6.Option { return &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit} }

func status(code iana.StatusCode) dhcpv6.Option { return &dhcpv6.OptStatusCode{StatusCode: code} }

// leases is an association with an address, as the client named it.
func leases(m *dhcpv6.Message, address netip.Addr, t1, preferred, valid time.Duration) dhcpv6.Option {
	ia := &dhcpv6.OptIANA{T1: t1, T2: 2 * t1}
	if asked := m.Options.OneIANA(); asked != nil {
		ia.IaId = asked.IaId
	}
	ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.IP(address.AsSlice()), PreferredLifetime: preferred, ValidLifetime: valid})
	return ia
}

// leasing answers as a server should that has one address for everybody, and may be
// asked for the next one.
func (s *server) leasing(address func() netip.Addr) func(*dhcpv6.Message, int) [][]byte {
	return func(m *dhcpv6.Message, _ int) [][]byte {
		const hour = time.Hour
		if id := m.Options.ServerID(); id != nil && !id.Equal(&dhcpv6.DUIDEN{EnterpriseNumber: 32473, EnterpriseIdentifier: []byte(s.name)}) {
			return nil
		}
		switch m.MessageType {
		case dhcpv6.MessageTypeSolicit:
			return [][]byte{s.reply(dhcpv6.MessageTypeReply, m, rapidCommit(), leases(m, address(), hour/2, hour, hour)).ToBytes()}
		case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
			return [][]byte{s.reply(dhcpv6.MessageTypeReply, m, leases(m, address(), hour/2, hour, hour)).ToBytes()}
		default: // Confirm, Release, Decline
			return [][]byte{s.reply(dhcpv6.MessageTypeReply, m, status(iana.StatusSuccess)).ToBytes()}
		}
	}
}

// foreignServer is a server of other people.
type foreignServer struct {
	*access
	kind dhcpserver.Kind
	dhcpserver.Command
	log string
}

// run starts a server of other people in the access router, which ends with the
// test.
func (a *access) run(k dhcpserver.Kind, c dhcpserver.Config) *foreignServer {
	a.Helper()
	path := needServer(a.T, k)
	directory := a.TempDir()
	c.Interface, c.Subnet, c.DNS, c.Domain, c.Verbose = "wan0", accessPrefix, netip.MustParseAddr("2001:db8:53::9"), "example.net", true
	command, err := k.Write(path, directory, string(k), c)
	a.must(err)
	f := &foreignServer{access: a, kind: k, Command: command, log: filepath.Join(directory, "log")}
	log, err := os.Create(f.log)
	a.must(err)
	cmd := exec.Command(command.Path, command.Args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), command.Env...), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	a.must(a.agentSpace.Do(cmd.Start))
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // ended by a signal
		close(ended)
	}()
	a.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		<-ended
		log.Close()
		if a.Failed() {
			a.Logf("%s:\n%s", k, f.text())
		}
	})
	a.until(string(k)+" is ready", func() bool {
		ready := false
		_ = a.agentSpace.Do(func() error { ready = dhcpserver.Ready(); return nil })
		select {
		case <-ended:
			a.Fatalf("%s ended:\n%s", k, f.text())
		default:
		}
		return ready
	})
	return f
}

func (f *foreignServer) text() string {
	b, err := os.ReadFile(f.log)
	f.must(err)
	return string(b)
}

// logs waits until the server has logged what it says of a message of a kind.
func (f *foreignServer) logs(kea, dnsmasq string) {
	f.Helper()
	want := kea
	if f.kind == dhcpserver.Dnsmasq {
		want = dnsmasq
	}
	f.until(fmt.Sprintf("%s logs %s", f.kind, want), func() bool { return strings.Contains(f.text(), want) })
}

// eachServer runs a test with each kind of server.
func eachServer(t *testing.T, f func(*testing.T, dhcpserver.Kind)) {
	for _, k := range dhcpserver.Kinds() {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			needServer(t, k)
			f(t, k)
		})
	}
}
