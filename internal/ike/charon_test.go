package ike

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
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

	"github.com/vishvananda/netlink"

	"roam6/internal/esp"
	"roam6/internal/logging/logtest"
	"roam6/internal/rtnl/nstest"
	"roam6/internal/xfrm"
	"roam6/overlay"
)

var (
	testHome   = netip.MustParseAddr("2001:db8:10::100")
	testAgent  = netip.MustParseAddr("2001:db8:10::1")
	testCareOf = [2]netip.Addr{netip.MustParseAddr("2001:db8:a1::7"), netip.MustParseAddr("2001:db8:a2::7")}
)

// patience is for a kernel in an emulator.
const patience = 90 * time.Second

// station is a node with a charon and a Keeper.
type station struct {
	t      *testing.T
	space  *nstest.Space
	dir    string
	charon *exec.Cmd
	log    *logtest.Buffer // the Keeper's
	keeper *Keeper
	end    func()

	mu   sync.Mutex
	keys esp.Negotiated
}

// needCharon skips where no associations can be made.
func needCharon(t *testing.T, space *nstest.Space) string {
	t.Helper()
	path := "/usr/sbin/charon-systemd"
	if _, err := os.Stat(path); err != nil {
		t.Skip("strongSwan is not here: apt-get install charon-systemd strongswan-swanctl")
	}
	if err := space.Try(func() error { return xfrm.TryESP() }); err != nil {
		t.Skipf("charon needs ESP in the kernel: %v", err)
	}
	return path
}

// newStation begins a charon in a namespace.
func newStation(t *testing.T, space *nstest.Space, path string) *station {
	s := &station{t: t, space: space, dir: t.TempDir(), log: new(logtest.Buffer)}
	conf := fmt.Sprintf(`charon-systemd {
	interfaces_ignore = roam6
	retransmit_timeout = 2
	plugins {
		include /etc/strongswan.d/charon/*.conf
		vici { socket = unix://%s }
		bypass-lan { load = no }
		kernel-libipsec { load = no }
	}
	filelog { stderr { default = 1
	cfg = 2 } }
}
`, s.socket())
	if err := os.WriteFile(filepath.Join(s.dir, "strongswan.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(path)
	t.Cleanup(s.stop)
	return s
}

func (s *station) socket() string { return filepath.Join(s.dir, "vici") }

func (s *station) start(path string) {
	s.t.Helper()
	_ = os.Remove(s.socket())
	log, err := os.OpenFile(filepath.Join(s.dir, "charon.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.charon = exec.Command(path)
	s.charon.Env = append(os.Environ(), "STRONGSWAN_CONF="+filepath.Join(s.dir, "strongswan.conf"))
	s.charon.Stdout, s.charon.Stderr = log, log
	s.charon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.space.Do(s.charon.Start)
	eventually(s.t, "charon listens", func() bool { _, err := os.Stat(s.socket()); return err == nil })
}

func (s *station) stop() {
	if s.charon == nil {
		return
	}
	// Now and then it hangs when it is to end.
	process := s.charon.Process
	hanging := time.AfterFunc(10*time.Second, func() { _ = process.Kill() })
	_ = process.Signal(syscall.SIGTERM)
	_ = s.charon.Wait()
	hanging.Stop()
	s.charon = nil
	if s.t.Failed() {
		text, _ := os.ReadFile(filepath.Join(s.dir, "charon.log"))
		lines := strings.Split(string(text), "\n")
		s.t.Logf("charon:\n%s\nkeeper:\n%s", strings.Join(lines[max(0, len(lines)-60):], "\n"), s.log)
	}
}

// keep begins a Keeper for a peer, as roam6 does when it starts.
func (s *station) keep(p Peer) {
	p.Socket = s.socket()
	s.keeper = NewKeeper(Options{
		Log: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Kernel: within{s.space},
		Dial: func() (Session, error) { return Dial(s.socket()) },
		Told: func(_ Ends, n esp.Negotiated) { s.mu.Lock(); s.keys = n; s.mu.Unlock() },
	})
	s.keeper.SetPeers([]Peer{p})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.keeper.RunLoop(ctx); close(done) }()
	s.end = sync.OnceFunc(func() { cancel(); <-done })
	s.t.Cleanup(s.end)
}

func (s *station) negotiated() esp.Negotiated {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

// within is the kernel of a namespace.
type within struct{ space *nstest.Space }

func (w within) Association(to netip.Addr, spi uint32) (a esp.Association, err error) {
	if e := w.space.Try(func() error { a, err = XFRM{}.Association(to, spi); return nil }); e != nil {
		return a, e
	}
	return a, err
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// pair is a mobile, at the first of two links, and its home agent.
type pair struct{ mobile, agent *station }

func newPair(t *testing.T) *pair {
	t.Helper()
	mobile, agent := nstest.New(t), nstest.New(t)
	path := needCharon(t, mobile)
	for i, careOf := range testCareOf {
		names := [2]string{fmt.Sprintf("m%d", i), fmt.Sprintf("a%d", i)}
		nstest.Veth(mobile, names[0], agent, names[1])
		gateway := netip.PrefixFrom(careOf, 64).Masked().Addr().Next()
		mobile.Address(names[0], netip.PrefixFrom(careOf, 64).String())
		agent.Address(names[1], netip.PrefixFrom(gateway, 64).String())
	}
	agent.Address("lo", netip.PrefixFrom(testAgent, 128).String())
	p := &pair{newStation(t, mobile, path), newStation(t, agent, path)}
	p.attach(0)
	return p
}

// attach gives the mobile one of its care-of addresses, and takes the other.
func (p *pair) attach(i int) {
	p.mobile.t.Helper()
	p.mobile.space.Do(func() error {
		for k, careOf := range testCareOf {
			link, err := netlink.LinkByName(fmt.Sprintf("m%d", k))
			if err != nil {
				return err
			}
			gateway := netip.PrefixFrom(careOf, 64).Masked().Addr().Next()
			address := &netlink.Addr{IPNet: &net.IPNet{IP: careOf.AsSlice(), Mask: net.CIDRMask(64, 128)}, Flags: syscall.IFA_F_NODAD}
			if k != i {
				_ = netlink.AddrDel(link, address)
				continue
			}
			if err := netlink.AddrReplace(link, address); err != nil {
				return err
			}
			if err := netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice(),
				Dst: &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}}); err != nil {
				return err
			}
		}
		return nil
	})
}

// peers are the two views of a section.
func peers(psk Secret) (mobile, agent Peer) {
	mobile = Peer{Ends: Ends{Home: testHome, Agent: testAgent, Side: overlay.MobileSide}, PSK: psk, MOBIKE: true}
	agent = mobile
	agent.Side = overlay.AgentSide
	return mobile, agent
}

// agreed waits until both have the same associations, and returns the mobile's.
func (p *pair) agreed(what string, more func(esp.Negotiated) bool) esp.Negotiated {
	p.mobile.t.Helper()
	var m esp.Negotiated
	eventually(p.mobile.t, what, func() bool {
		m = p.mobile.negotiated()
		a := p.agent.negotiated()
		return m.Complete() && a.Complete() && more(m) && matches(m.Out, a.In, window) && matches(a.Out, m.In, window) && matches(m.TunnelOut, a.TunnelIn, window) && matches(a.TunnelOut, m.TunnelIn, window) &&
			m.PayloadComplete() == a.PayloadComplete() && (!m.PayloadComplete() || matches(m.PayloadOut, a.PayloadIn, 0) && matches(a.PayloadOut, m.PayloadIn, 0))
	})
	return m
}

// matches reports whether what one sends by the other receives by.
func matches(out *esp.Association, in []esp.Association, window int) bool {
	for _, a := range in {
		if a.SPI == out.SPI && a.Algorithm == out.Algorithm && a.Key == out.Key && a.Window == window && out.Window == 0 {
			return true
		}
	}
	return false
}

func always(esp.Negotiated) bool { return true }

// silent fails if a secret was said: the preshared key, and all that were negotiated.
func (p *pair) silent(psk Secret, all ...esp.Negotiated) {
	p.mobile.t.Helper()
	secrets := []string{string(psk)}
	for _, n := range all {
		all := slices.Concat([]esp.Association{*n.Out, *n.TunnelOut}, n.In, n.TunnelIn, n.PayloadIn)
		if n.PayloadOut != nil {
			all = append(all, *n.PayloadOut)
		}
		for _, a := range all {
			secrets = append(secrets, string(a.Key), fmt.Sprintf("%x", string(a.Key)), fmt.Sprintf("%x", string(a.Key[:16])))
		}
	}
	said := p.mobile.log.String() + p.agent.log.String() + fmt.Sprintf("%v %+v %#v", all, all, all) + fmt.Sprintf("%v %+v %#v %x", psk, psk, psk, psk)
	for _, s := range secrets {
		if s != "" && strings.Contains(strings.ToLower(said), strings.ToLower(s)) {
			p.mobile.t.Error("a key was said")
		}
	}
}

// RFC 4877 §7: a mobile and a home agent get their associations by IKEv2 with an
// unmodified strongSwan: with a preshared key; after a move the IKE association follows
// and the others stay (§7.4); they are replaced before they end; and everything comes
// back when charon was restarted, or roam6 was.
//
// Covers: H1, H11.
func TestCharonPSK(t *testing.T) {
	p := newPair(t)
	const psk = Secret("a secret of two, 0123456789abcdef")
	mobile, agent := peers(psk)
	p.agent.keep(agent)
	p.mobile.keep(mobile)
	first := p.agreed("keys", always)
	if first.Out.Algorithm != esp.AESGCM || len(first.In) != 1 || len(first.TunnelIn) != 1 {
		t.Errorf("negotiated %+v", first)
	}
	policies := esp.NewPolicies(func(b []byte) { _, _ = rand.Read(b) })
	if err := policies.Replace([]esp.Policy{{Home: testHome, Agent: testAgent, Side: overlay.MobileSide, Negotiated: &first}}); err != nil {
		t.Errorf("the associations are no policy: %v", err)
	}

	p.attach(1)
	eventually(t, "IKE follows the care-of address", func() bool {
		return p.mobile.ikeAt(func(a IKEAssociation) netip.Addr { return a.Local }, testCareOf[1]) && p.agent.ikeAt(func(a IKEAssociation) netip.Addr { return a.Remote }, testCareOf[1])
	})
	if moved := p.agreed("keys after a move", always); !same(moved, first) {
		t.Errorf("a move has changed the associations: %+v, were %+v", moved, first)
	}

	p.mobile.command("rekey", "child", childSignalling)
	rekeyed := p.agreed("other keys", func(n esp.Negotiated) bool { return n.Out.SPI != first.Out.SPI })
	if rekeyed.TunnelOut.SPI != first.TunnelOut.SPI {
		t.Error("those for home tests were replaced, too")
	}

	p.mobile.stop()
	p.mobile.start("/usr/sbin/charon-systemd")
	restarted := p.agreed("keys from another charon", func(n esp.Negotiated) bool {
		return n.Out.SPI != rekeyed.Out.SPI && n.TunnelOut.SPI != first.TunnelOut.SPI
	})

	// A Keeper that begins anew knows no sequence numbers of before.
	p.agent.end()
	if sas := p.agent.list(); len(sas) > 0 {
		eventually(t, "what roam6 has made is gone", func() bool { return len(p.agent.list()) == 0 })
	}
	p.agent.keep(agent)
	last := p.agreed("keys for another home agent process", func(n esp.Negotiated) bool { return n.Out.SPI != restarted.Out.SPI })
	p.silent(psk, first, rekeyed, restarted, last)
	if !strings.Contains(p.mobile.log.String(), "charon does not answer") {
		t.Error("nobody was told that charon was away")
	}
}

// RFC 4877 §4.2: nobody gets keys for a home address but the identity that belongs to it.
func TestCharonRefuses(t *testing.T) {
	p := newPair(t)
	mobile, agent := peers("a secret of two, 0123456789abcdef")
	mobile.PSK = "a secret of others, 0123456789abcdef"
	p.agent.keep(agent)
	p.mobile.keep(mobile)
	eventually(t, "the failure is told", func() bool { return strings.Contains(p.mobile.log.String(), "key exchange failed") })
	if !p.mobile.negotiated().Empty() || !p.agent.negotiated().Empty() {
		t.Error("there are keys")
	}
}

// RFC 4877 §7.3: certificates, and identities that are not addresses. RFC 6275 §11.7.3:
// without MOBIKE the key exchange is made anew after a move.
func TestCharonCertificates(t *testing.T) {
	p := newPair(t)
	mobile, agent := peers("")
	mobile.MOBIKE, agent.MOBIKE = false, false
	mobile.Algorithm, agent.Algorithm = esp.AESCBCSHA256, esp.AESCBCSHA256
	mobile.LocalID, mobile.RemoteID, agent.LocalID, agent.RemoteID = "mn.example", "ha.example", "ha.example", "mn.example"
	authority := newAuthority(t)
	authority.issue(t, &mobile)
	authority.issue(t, &agent)
	p.agent.keep(agent)
	p.mobile.keep(mobile)
	first := p.agreed("keys", always)
	if first.Out.Algorithm != esp.AESCBCSHA256 {
		t.Errorf("negotiated %+v", first)
	}
	p.attach(1)
	p.mobile.keeper.Renew(mobile.Ends, testCareOf[1])
	eventually(t, "IKE is made anew", func() bool {
		return p.mobile.ikeAt(func(a IKEAssociation) netip.Addr { return a.Local }, testCareOf[1])
	})
	second := p.agreed("keys after a move", func(n esp.Negotiated) bool { return n.Out.SPI != first.Out.SPI })
	key, err := os.ReadFile(mobile.Key)
	if err != nil {
		t.Fatal(err)
	}
	p.silent(Secret(key), first, second)
}

func (s *station) list() []IKEAssociation {
	session, err := Dial(s.socket())
	if err != nil {
		return nil
	}
	defer session.Close()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	all, _ := session.Associations(ctx)
	return all
}

func (s *station) ikeAt(address func(IKEAssociation) netip.Addr, want netip.Addr) bool {
	for _, a := range s.list() {
		if a.Established && address(a) == want {
			return true
		}
	}
	return false
}

// command gives charon a command beside the Keeper, as an administrator does.
func (s *station) command(name string, items ...any) {
	s.t.Helper()
	session, err := Dial(s.socket())
	if err == nil {
		defer session.Close()
		_, err = call(context.Background(), session, name, items...)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// authority issues certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	path string
	last int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{last: 1}
	a.key = newECDSA(t)
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.path = a.write(t, "CERTIFICATE", a.sign(t, a.cert, &a.key.PublicKey))
	return a
}

func newECDSA(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (a *authority) sign(t *testing.T, c *x509.Certificate, public *ecdsa.PublicKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (a *authority) write(t *testing.T, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// issue gives a peer a certificate for its identity.
func (a *authority) issue(t *testing.T, p *Peer) {
	t.Helper()
	a.last++
	key := newECDSA(t)
	p.Certificate = a.write(t, "CERTIFICATE", a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(a.last), Subject: pkix.Name{CommonName: p.LocalID}, DNSNames: []string{p.LocalID},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}, &key.PublicKey))
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p.Key, p.Authority = a.write(t, "EC PRIVATE KEY", der), a.path
}
