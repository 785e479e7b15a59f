// Package node is the shell: it owns the sockets, the netlink subscriptions,
// the timers and the goroutines, gives the roles their events and carries out
// their actions. It is the only place with concurrency, and it decides nothing
// about the protocol.
//
// One goroutine, eventRunLoop, owns the roles and all maps of the Shell that
// are not said to be guarded otherwise. Around it:
//
//	the packet socket of signalling     decodes, posts MessageReceived, ICMPReceived, PeerRefused
//	the data plane's                    post TrafficSeen, TunnelSilent and the like
//	one per link of neighbour discovery decodes, posts; solicitations go to the advertiser
//	one per advertised link             owns an nd.Advertiser and sends
//	the watcher of links                posts LinkChanged and LinkGone
//	one per charon with which keys are exchanged
//	control socket, metrics, configuration watcher: ask the loop
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"roam6/internal/config"
	"roam6/internal/control"
	"roam6/internal/esp"
	"roam6/internal/ike"
	"roam6/internal/metrics"
	"roam6/internal/mhsock"
	"roam6/internal/page"
	"roam6/internal/role"
	"roam6/internal/rtnl"
	"roam6/overlay"
	"roam6/overlay/engines"
	"roam6/overlay/tun"
)

// maxEvents bounds what waits for the loop: some milliseconds of the heaviest
// signalling.
const maxEvents = 4096

// Shell is a running node.
type Shell struct {
	path    string // of the configuration
	others  string // of Options.OtherAdvertisers
	version string

	keepPrivileges bool
	portless       bool // the ports of DHCPv6 cannot be opened any more

	started time.Time
	config  *config.Config
	log     *slog.Logger
	level   *slog.LevelVar
	metrics *metrics.Metrics

	events     chan role.Event
	requests   chan request
	lostEvents atomic.Uint64
	listed     atomic.Bool                     // the roles know the links: they may get messages
	restored   atomic.Bool                     // the roles have the bindings of an earlier process
	ended      atomic.Bool                     // the roles were stopped: nothing begins any more
	unusable   atomic.Bool                     // the configuration that was read last could not be used
	managed    atomic.Pointer[map[string]bool] // see noteManaged
	done       chan struct{}                   // closed when the loop has ended

	// Owned by the loop.
	mobiles    []*mobileHost
	successors []config.MobileNode // wait until one with their home address has ended
	holders    holders
	agents     []*agentHost
	anchors    []*anchorHost
	// correspondent is nil where nothing has to do with Mobile IPv6.
	correspondent     *correspondentHost
	outages           time.Duration // of all mobiles, those that have ended
	formed            []formed
	handOver          bool // a formed home address has settled: see handOverHomes
	inner             innerShares
	steered           []rtnl.Steering
	steerDue          bool                           // steered may not be right any more
	deprecated        map[deprecatedPrefix]time.Time // when it was first seen
	links             map[int]role.Link
	conns             map[int]*linkConn
	advertised        map[string]advertisement
	advertising       advertising
	otherAdvertisers  otherAdvertisers
	refused           map[netip.Prefix]bool        // mobile network prefixes that the home agent does not take
	leaving           []*advertiser                // sending their final advertisements
	clients           map[int]*uplinkClient        // of DHCPv6, by interface
	requested         map[string][]requestedPrefix // by uplink
	delegators        []*delegatorHost
	sockets           dhcpSockets
	foreigns          map[int]foreignLink
	numbering         numbering
	assigned          map[numberedLink]bool // addresses of numbering in the kernel
	advertisedNumbers map[string][]numbered // by name of the interface
	savedNumbers      []byte
	numbersDue        bool // numbering has changed: see renumberDue
	discarded         map[netip.Prefix]bool
	discardsDue       bool // discarded may not be right any more
	refuses           bool // the data plane refuses packets of bindings that are lost
	takenDue          bool // the anchors may not know all addresses of this node
	resolver          resolver
	resolverDue       bool                  // what it has to hold may have changed
	duid              []byte                // empty until it is needed
	forwards          bool                  // forwarding was switched on
	stopping          bool                  // the mobiles have ended, and the clients end
	following         []func(now time.Time) // see follow
	handovers         handovers
	changes           changes
	handling          time.Time                // since when the present event is handled
	memories          map[role.Machine]*memory // of the roles that keep bindings
	fresh             bool                     // the process before this one has ended just now: see restoreWithin
	remembered        string                   // how the paths of their files begin
	refusals          refusals
	tracing           *tracing // nil: no trace is being recorded
	buffer            []byte

	reloading sync.Mutex // held by Reload

	configuredMu sync.Mutex
	configured   configured

	advertisersMu sync.Mutex
	advertisers   map[int]*advertiser // by link

	kept       *keeper
	local      *rtnl.LocalAddresses
	state      *rtnl.State
	sysctls    *rtnl.Sysctls
	watcher    *rtnl.Watcher
	signalling signalling
	ipsec      protection
	exchanges  exchanges
	payload    associations // nil: none is in IPsec
	plane      overlay.Plane
	tunnel     int // the plane's device
	control    *control.Server
	scrape     net.Listener
}

// signalling is where messages go out; see mhsock.Conn.
type signalling interface {
	Send(packet []byte, link int, source netip.Addr) error
	SendBy(spi uint32, packet []byte, link int, source netip.Addr) error
	JoinAnycast(link int, a netip.Addr) error
	LeaveAnycast(link int, a netip.Addr) error
	Close() error
}

// Options are what the command line decides.
type Options struct {
	Config  string // path of the configuration
	Version string
	// OtherAdvertisers is the path of a file that names the interfaces on which other
	// programs of this machine send router advertisements: see readOtherAdvertisers.
	// Empty: there are none.
	OtherAdvertisers string
	// Began is when the process began, before it read the configuration; zero: now.
	Began time.Time
	// KeepPrivileges leaves the process the capabilities it has: for tests, whose
	// process does more than to run a node.
	KeepPrivileges bool
}

// Run runs a node until ctx ends, and then takes everything back. An error
// means that the node could not start.
func Run(ctx context.Context, o Options, log *slog.Logger, level *slog.LevelVar, c *config.Config) error {
	s, err := open(o, log, level, c)
	if err != nil {
		return err
	}
	defer s.close()
	return s.run(ctx)
}

// open makes the sockets and the roles. What fails here ends the process with
// a sentence for the operator, and leaves nothing behind.
func open(o Options, log *slog.Logger, level *slog.LevelVar, c *config.Config) (_ *Shell, err error) {
	if o.Began.IsZero() {
		o.Began = time.Now()
	}
	s := &Shell{
		path: o.Config, others: o.OtherAdvertisers, version: o.Version, keepPrivileges: o.KeepPrivileges, started: o.Began, config: c, log: log, level: level,
		events: make(chan role.Event, maxEvents), requests: make(chan request), done: make(chan struct{}),
		links: make(map[int]role.Link), conns: make(map[int]*linkConn),
		refused:     make(map[netip.Prefix]bool),
		advertisers: make(map[int]*advertiser), advertised: advertisements(c),
		local: new(rtnl.LocalAddresses), deprecated: make(map[deprecatedPrefix]time.Time),
		remembered: c.Globals.Control + ".", kept: newKeeper(c.Globals.StateDirectory, log), resolver: resolver{path: c.Globals.ResolverFile, log: log},
	}
	s.makeMaps()
	if s.otherAdvertisers, err = readOtherAdvertisers(s.others); err != nil {
		log.Error("interfaces are advertised on whoever else does", "reason", err)
	}
	applyBudget(config.Runtime{}, c.Globals.Runtime, log)
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.control, err = control.Listen(c.Globals.Control); err != nil {
		return nil, err
	}
	if c.Metrics.Enabled {
		if s.scrape, err = net.Listen("tcp", c.Metrics.Listen.String()); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	s.metrics = metrics.New(o.Version)
	s.metrics.Observe(metricsSource{s})
	if c.Globals.Page {
		s.metrics.ServePages(page.New(s, hostNames()))
	}
	if s.sysctls, err = rtnl.NewSysctls(c.Globals.Control + ".settings"); err != nil {
		return nil, err
	}
	if s.state, err = rtnl.NewState(rtnl.StateOptions{Log: log, Local: s.local}); err != nil {
		return nil, err
	}
	if mobility(c) {
		if err := s.openMobility(); err != nil {
			return nil, err
		}
	}
	// What a predecessor that was killed has left.
	if err := s.state.Reconcile(); err != nil {
		log.Warn("kernel state of an earlier run could not be removed", "reason", err)
	}
	if err := s.restoreKept(); err != nil {
		log.Warn("prefixes of an earlier run are forgotten", "reason", err)
	}
	for _, m := range c.MobileNodes {
		h := newMobileHost(m, s.surroundings(m), rand.Uint64())
		h.random.stop()
		s.mobiles = append(s.mobiles, h)
	}
	for _, c := range c.HomeAgents {
		h := s.newAgentHost(s.started, c, s.config.Mobiles)
		h.random.stop()
		s.agents = append(s.agents, h)
	}
	for _, a := range c.Anchors {
		h := s.newAnchorHost(a)
		h.random.stop()
		s.anchors = append(s.anchors, h)
	}
	s.warnInsecure()
	s.forwarding()
	return s, nil
}

// makeMaps makes what is empty at first.
func (s *Shell) makeMaps() {
	s.clients, s.requested = make(map[int]*uplinkClient), make(map[string][]requestedPrefix)
	s.exchanges.keepers, s.exchanges.negotiated = make(map[string]*ike.Keeper), make(map[ike.Ends]esp.Negotiated)
	s.sockets, s.foreigns = newDHCPSockets(), make(map[int]foreignLink)
	s.memories = make(map[role.Machine]*memory)
	s.assigned, s.advertisedNumbers = make(map[numberedLink]bool), make(map[string][]numbered)
}

// restoreKept takes over what an earlier life has kept, before privileges are
// given up with which its directory can be made.
func (s *Shell) restoreKept() error {
	c := s.config
	numbers := len(c.PrefixRequests) > 0 || slices.ContainsFunc(c.MobileNodes, func(m config.MobileNode) bool { return m.Delegation })
	delegates := slices.ContainsFunc(c.HomeAgents, func(h config.HomeAgent) bool { return h.Delegation != nil })
	leases := slices.ContainsFunc(c.Uplinks, func(u config.UplinkOptions) bool { return u.Addressing == config.AddressingDHCP })
	if numbers || delegates || leases {
		s.identifier()
	}
	if !numbers && !s.kept.has(keptDownstreams) {
		return nil
	}
	s.savedNumbers, s.numbersDue = s.kept.load(keptDownstreams, checkNumbers), true
	return s.numbering.restore(s.started, s.savedNumbers, func(link string) bool {
		// Where nothing is numbered any more, somebody else may be the router now.
		_, advertised := s.advertised[link]
		return numbers || advertised
	})
}

// openMobility opens what only the roles of Mobile IPv6 need.
func (s *Shell) openMobility() error {
	s.ipsec.policies = esp.NewPolicies(randomOctets)
	s.refuses = refusesTunnels(s.config)
	plane, err := engines.Open(s.config.Globals.Plane.String(), tun.Config{
		Device: s.config.Globals.TunnelDevice, Log: s.log, Refuse: s.refuses, Ready: s.serves,
		Local: s.local.Contains, Signalling: s.ipsec.policies.Has, HomeTest: s.homeTest, Relayed: s.ipsec.relays,
		Refused: func(home netip.Addr) { s.post(role.TunnelRefused{Home: home}) },
		Silent:  func(home netip.Addr) { s.post(role.TunnelSilent{Home: home}) },
		TrafficSeen: func(home, peer netip.Addr, side overlay.Side) {
			s.post(role.TrafficSeen{Home: home, Peer: peer, Side: side})
		},
		UnknownHomeAddress: func(source, destination, home netip.Addr) {
			s.post(role.UnknownHomeAddress{Source: source, Destination: destination, Home: home})
		},
		RouteUnreachable: func(p overlay.Pair, careOf netip.Addr, received uint64) {
			s.post(role.RouteUnreachable{Home: p.Home, Peer: p.Peer, CareOf: careOf, Received: received})
		},
	})
	if err != nil {
		return err
	}
	s.plane, s.ipsec.engine = plane, plane
	s.correspondent = newCorrespondentHost(s.config.Correspondent)
	s.correspondent.random.stop()
	s.tunnel = plane.Link()
	if err := s.state.SetHomeLink(s.tunnel); err != nil {
		return err
	}
	conn, err := mhsock.Open(mhsock.Options{
		Log: s.log, Mark: tun.DefaultMark, RouteMark: plane.RouteMark(), Local: s.local.Contains, Deliver: s.deliver, ICMP: s.deliverICMP, IPsec: s.protect(),
		Refused: func(local, peer netip.Addr) { s.post(role.PeerRefused{Local: local, Peer: peer}) },
	})
	if err != nil {
		return err
	}
	s.signalling, s.ipsec.conn = conn, conn
	if err := s.openPayload(s.config); err != nil {
		return err
	}
	if s.payload != nil {
		if err := s.payload.SetPolicies(s.payloadPolicies(s.config)); err != nil {
			return err
		}
	}
	s.applyPolicies(s.config)
	return nil
}

// refusesTunnels reports whether packets of mobiles that no binding is there for are to
// be refused, so that they register again: where mobiles are served.
func refusesTunnels(c *config.Config) bool { return len(c.HomeAgents)+len(c.Anchors) > 0 }

// serves reports whether an update that comes now is answered.
func (s *Shell) serves() bool { return s.listed.Load() && s.restored.Load() && !s.ended.Load() }

// run starts the goroutines around the loop and runs it.
func (s *Shell) run(ctx context.Context) error {
	s.noteManaged()
	var err error
	s.watcher, err = rtnl.Watch(rtnl.WatchOptions{
		Log: s.log, Local: s.local, State: s.state, Sysctls: s.sysctls,
		OptimisticLinkLocal: s.isManaged, ForeignAddresses: true, Addresses: s.tellAddresses,
		Notify: func(e role.Event) {
			select { // links must not be lost: wait for the loop
			case s.events <- e:
			case <-s.done:
			}
		},
		Listed: func() { s.listed.Store(true); s.tellListed() },
	})
	if err != nil {
		return err
	}
	if !s.keepPrivileges {
		kept := uint32(keptCapabilities)
		if needsPort(s.config) {
			kept |= portCapability
		}
		s.portless = kept&portCapability == 0
		if err := dropPrivileges(kept); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	around, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	if len(s.agents)+len(s.anchors) > 0 {
		s.fresh = succeeds(s.aliveFile(), bootID(), bootTime(), time.Since(s.started))
		running.Go(func() { s.beatRunLoop(around) })
	}
	running.Go(func() {
		if err := s.control.Serve(around, s); err != nil {
			s.log.Error("control socket", "reason", err)
		}
	})
	running.Go(func() {
		if err := watchConfigRunLoop(around, s.path, func() { _ = s.Reload(around) }, s.log); err != nil {
			s.log.Warn("changes of the configuration are not noticed: reload by SIGHUP", "reason", err)
		}
	})
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	running.Go(func() {
		for {
			select {
			case <-hangup:
				_ = s.Reload(around) // says itself what is wrong
			case <-around.Done():
				return
			}
		}
	})
	if s.scrape != nil {
		running.Go(func() {
			if err := s.metrics.Serve(around, s.scrape, s.log); err != nil {
				s.log.Error("metrics", "reason", err)
			}
		})
	}
	s.beginExchanges(around, running.Go)
	s.noteAbsent(s.config)
	s.log.Info("roam6 started", "mobiles", len(s.mobiles), "home_agents", len(s.agents), "anchors", len(s.anchors), "advertised", len(s.advertised))
	s.tell(tellSupervisor(supervisorReady))
	context.AfterFunc(ctx, func() { s.tell(tellSupervisor(supervisorStopping)) })
	s.eventRunLoop(ctx)
	s.finishTrace()
	close(s.done)
	cancel()
	running.Wait()
	s.log.Info("roam6 stopped")
	return nil
}

// noteManaged notes the uplinks whose link-local address must not wait for the
// kernel's duplicate address detection.
func (s *Shell) noteManaged() {
	names := make(map[string]bool)
	for _, m := range s.config.MobileNodes {
		for _, u := range m.Uplinks {
			names[u] = s.addressing(u) != config.AddressingForeign
		}
	}
	s.managed.Store(&names)
}

// isManaged is what noteManaged has noted. It is asked from the watcher's
// goroutine.
func (s *Shell) isManaged(name string) bool { return (*s.managed.Load())[name] }

// close takes everything back, in the reverse order of open. It serves a Shell
// that was opened only in part, too.
func (s *Shell) close() {
	s.stopAdvertisers()
	var errs []error
	keep := func(err error) { errs = append(errs, err) }
	if s.watcher != nil {
		keep(s.watcher.Close())
	}
	s.closeSockets()
	s.kept.close()
	keep(s.closeMemories())
	s.resolver.close()
	for index := range s.conns {
		s.closeLink(index)
	}
	if s.signalling != nil {
		keep(s.signalling.Close())
	}
	if s.plane != nil {
		keep(s.plane.Close())
	}
	if s.payload != nil { // behind the tunnels, which must not be without
		keep(s.payload.Close())
	}
	if s.state != nil {
		keep(s.state.Close())
	}
	if s.sysctls != nil {
		keep(s.sysctls.Close())
	}
	if s.scrape != nil {
		if err := s.scrape.Close(); !errors.Is(err, net.ErrClosed) {
			keep(err)
		}
	}
	if s.control != nil {
		keep(s.control.Close())
	}
	if err := errors.Join(errs...); err != nil {
		s.log.Warn("not everything could be taken back", "reason", err)
	}
}
