package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"roam6/internal/control"
	"roam6/internal/ike"
	"roam6/internal/lab/netns"
	"roam6/internal/lab/report"
	"roam6/internal/xfrm"
)

// ErrNoCharon is returned where there is no charon that can run more than once.
var ErrNoCharon = errors.New("charon-systemd is not on this machine (apt-get install charon-systemd strongswan-swanctl)")

// exchange is the key exchange between a mobile and its home agent.
type exchange struct {
	mobile    mobile
	payload   bool // with keys for what the tunnel carries
	psk       string
	directory string
	eyes      eyes
	shown     map[string]string     // by node
	children  []ike.Child           // with which all began
	started   time.Time             // the daemons
	first     report.Milliseconds   // from there until the first registration
	follows   []report.Milliseconds // from the link until IKE is where the mobile is
}

// exchangeOf has a preshared key for one run.
func exchangeOf(m mobile, directory string, payload bool) *exchange {
	return &exchange{first: report.None(), mobile: m, payload: payload, psk: newKey(), directory: directory, eyes: eyes{home: m.home.Addr(), agent: m.homeAgents[0]}}
}

// section is that of a node.
func (x *exchange) section(node string) *section {
	s := newSection("ipsec", "").
		option("home_address", x.mobile.home.Addr().String()).
		option("home_agent", x.mobile.homeAgents[0].String()).
		option("ike", "1").option("psk", x.psk).option("vici", x.socket(node))
	if x.payload {
		s.option("payload", "1")
	}
	return s
}

func (x *exchange) socket(node string) string { return filepath.Join("/", x.directory, "vici-"+node) }

// protect gives home agent and mobile the section in place of the key that they have in
// common.
func (x *exchange) protect(parts []part) {
	for i := range parts {
		parts[i].sections = protected(parts[i].sections, x.mobile, x.section(parts[i].node))
	}
}

// charons are the key exchange's processes in nodes.
func (x *exchange) charons(s *stage, names ...string) (all []*daemon, err error) {
	path := findCharon()
	if path == "" {
		return nil, ErrNoCharon
	}
	for _, node := range names {
		space := s.world.Space(node)
		if err := space.Do(tryESP); err != nil {
			return nil, err
		}
		file := filepath.Join(s.env.Directory, "strongswan-"+node+".conf")
		if err := os.WriteFile(file, []byte(x.strongswan(node)), 0o600); err != nil {
			return nil, fmt.Errorf("configuration of charon: %w", err)
		}
		d, err := newForeign(s.env, space, "charon-"+node, program{
			path: path, env: []string{"STRONGSWAN_CONF=" + file},
			ready: func() bool { _, err := os.Stat(x.socket(node)); return err == nil },
			tidy:  afterCharon, // version 5.9 hangs now and then
		})
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// tryESP reports why charon cannot keep in this kernel what it negotiates.
func tryESP() error { return xfrm.TryESP() }

// CanExchangeKeys reports why this machine cannot do what --ike needs; nil: it can. It
// needs the privileges of the lab.
func CanExchangeKeys() error {
	if findCharon() == "" {
		return ErrNoCharon
	}
	space, err := netns.New("ike")
	if err != nil {
		return err
	}
	defer space.Close()
	return space.Do(tryESP)
}

// findCharon finds the charon that needs no file of its process, of which there could be
// one only.
func findCharon() string {
	const name = "charon-systemd"
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	return ""
}

// afterCharon removes the rules for charon's routing table, which it does at its end.
func afterCharon(space *netns.Space) error {
	const priority = 220
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rules, err := space.Link.RuleListFiltered(family, &netlink.Rule{Priority: priority}, netlink.RT_FILTER_PRIORITY)
		if err != nil {
			return fmt.Errorf("rules that charon left in %s: %w", space.Name(), err)
		}
		for _, r := range rules {
			r.Family = family
			if err := space.Link.RuleDel(&r); err != nil {
				return fmt.Errorf("remove a rule that charon left in %s: %w", space.Name(), err)
			}
		}
	}
	return nil
}

// strongswan is what charon has to know: no more than that the tunnel is not its affair,
// where its socket is, and not to wait for long at a place that the mobile has left.
func (x *exchange) strongswan(node string) string {
	return fmt.Sprintf(`charon-systemd {
	interfaces_ignore = roam6
	retransmit_timeout = 2
	retransmit_base = 1.5
	plugins {
		include /etc/strongswan.d/charon/*.conf
		vici { socket = unix://%s }
		bypass-lan { load = no }
		kernel-libipsec { load = no }
	}
	filelog { stderr {
		default = 1
		time_format = %%T
		time_add_ms = yes
		flush_line = yes
	} }
	journal { default = -1 }
}
`, x.socket(node))
}

// begin waits until keys for everything are there, and the mobile is registered from a
// place away.
func (x *exchange) begin(ctx context.Context, s *stage, place netip.Prefix) error {
	const limit = 90 * time.Second
	x.started = time.Now()
	children := 2 // for signalling and for home tests
	if x.payload {
		children++
	}
	if err := s.until(ctx, limit, func() bool {
		for _, a := range x.associations(nodeMobile) {
			if a.Established && len(a.Children) == children && !slices.ContainsFunc(a.Children, func(c ike.Child) bool { return c.In == 0 }) {
				x.children = a.Children
				return true
			}
		}
		return false
	}); err != nil {
		return fmt.Errorf("%s and %s have no keys: %w", nodeMobile, nodeHomeAgent, err)
	}
	err := s.registered(ctx, nodeMobile, x.mobile.home.Addr(), limit, "from where it began", func(g Registration) bool { return place.Contains(g.CareOf) })
	x.first = report.Millis(time.Since(x.started))
	x.eyes.secrets = x.secrets(s)
	return err
}

// associations are those that charon has in a node.
func (x *exchange) associations(node string) []ike.IKEAssociation {
	session, err := ike.Dial(x.socket(node))
	if err != nil {
		return nil
	}
	defer session.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	all, err := session.Associations(ctx)
	if err != nil {
		return nil
	}
	return all
}

// payloadSPIs are those of the associations for what the tunnel carries, from begin on.
func (x *exchange) payloadSPIs() (all []uint32) {
	for _, c := range x.children {
		if c.Name == "payload" {
			all = append(all, c.In, c.Out)
		}
	}
	return all
}

// followed waits until IKE is at an address of a prefix, on both sides.
func (x *exchange) followed(ctx context.Context, s *stage, to netip.Prefix, since time.Time) error {
	const limit = time.Minute
	const pause = 500 * time.Millisecond // each look is work, and lines in a log, for charon
	at := func(node string, address func(ike.IKEAssociation) netip.Addr) bool {
		for _, a := range x.associations(node) {
			if a.Established && to.Contains(address(a)) {
				return true
			}
		}
		return false
	}
	asked := time.Time{}
	err := s.until(ctx, limit, func() bool {
		if time.Since(asked) < pause {
			return false
		}
		asked = time.Now()
		return at(nodeMobile, func(a ike.IKEAssociation) netip.Addr { return a.Local }) &&
			at(nodeHomeAgent, func(a ike.IKEAssociation) netip.Addr { return a.Remote })
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		s.fail("the key exchange did not follow to %v: %v: %+v", to, err, x.associations(nodeMobile))
		return nil
	}
	x.follows = append(x.follows, report.Millis(time.Since(since)))
	return nil
}

// report adds what the lab has seen.
func (x *exchange) report(result *report.Report, s *stage) {
	result.Add(report.Number("ike_messages", "IKE messages on the links", "packets", x.eyes.ike()))
	result.Add(report.Time("ike_first_ms", "from the start, away, until the first registration", x.first, report.None()))
	result.Add(report.Time("ike_follows_ms", "from the link until IKE is there", median(x.follows), report.None()))
	protected, readable := x.eyes.signalling()
	result.Add(report.Number("protected_messages", "signalling in ESP on the links", "packets", protected))
	result.Add(report.Number("readable_messages", "signalling of mobile and home agent that anybody can read", "packets", readable).AtMost(0))
	if protected == 0 {
		s.fail("there was no signalling in ESP")
	}
	x.searchKeys(s)
	if len(x.eyes.secrets) < 2 || x.shown[nodeMobile] == "" {
		s.fail("there were no keys, or nowhere to look for them")
	}
}

// secrets are what must be in no log: the preshared key, and each key that has been
// negotiated, as octets and in hexadecimal digits.
func (x *exchange) secrets(s *stage) (all []string) {
	all = append(all, x.psk)
	for _, node := range []string{nodeMobile, nodeHomeAgent} {
		_ = s.world.Space(node).Do(func() error {
			states, err := netlink.XfrmStateList(netlink.FAMILY_V6)
			for _, state := range states {
				for _, a := range []*netlink.XfrmStateAlgo{state.Aead, state.Auth, state.Crypt} {
					if a != nil {
						all = append(all, string(a.Key), fmt.Sprintf("%x", a.Key))
					}
				}
			}
			return err
		})
	}
	return all
}

// searchKeys looks for keys in what the daemons have said.
func (x *exchange) searchKeys(s *stage) {
	for _, d := range s.crew {
		if d.program.path != "" {
			continue
		}
		text, err := os.ReadFile(d.log.Name())
		if err != nil {
			s.fail("log of %s: %v", d.name, err)
		}
		x.search(s, "the log of "+d.name, string(text))
		x.search(s, "what "+d.name+" shows", x.shown[d.name])
	}
}

// search looks for keys in a text.
func (x *exchange) search(s *stage, where, text string) {
	for _, secret := range x.eyes.secrets {
		if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
			s.fail("there is a key in %s", where)
		}
	}
}

// show asks the daemons everything that they show, while the keys are in use.
func (x *exchange) show(ctx context.Context, s *stage) {
	x.shown = map[string]string{}
	for _, node := range []string{nodeMobile, nodeHomeAgent} {
		for _, topic := range control.Topics() {
			text, err := control.NewClient(controlSocket(s.env.Directory, node)).Show(ctx, topic)
			if err != nil {
				s.fail("show %v of %s: %v", topic, node, err)
			}
			x.shown[node] += string(text)
		}
	}
}
