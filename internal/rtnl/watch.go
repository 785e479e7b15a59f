package rtnl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"roam6/internal/role"
	"roam6/internal/sock"
)

// WatchOptions configure a Watcher. Notify is required.
type WatchOptions struct {
	Log *slog.Logger // nil is silent
	// Notify takes a role.LinkChanged or role.LinkGone, and with ForeignAddresses
	// that. It is called from one
	// goroutine; at start once for every link. While it blocks, events queue in
	// the kernel, and if those overflow the links are listed anew: none is
	// missed for good. It must not call Close.
	Notify func(role.Event)
	// Listed, when not nil, is called once, after Notify has been told of the
	// links there are at start.
	Listed func()
	// ForeignAddresses: Notify is told of the global addresses that others assign.
	ForeignAddresses bool
	// Addresses, when not nil, takes the addresses of an interface whenever they
	// change. It is called as Notify is, before Notify hears of the interface.
	Addresses func(LinkAddresses)
	// Local and State, when not nil, learn of addresses and losses.
	Local *LocalAddresses
	State *State
	// OptimisticLinkLocal names the uplinks whose link-local address shall be
	// usable as soon as the interface is up, without the kernel's duplicate
	// address detection, which takes a second or two: for those the sysctl
	// accept_dad is switched off through Sysctls until that is closed.
	OptimisticLinkLocal func(name string) bool
	Sysctls             *Sysctls
	// ReceiveBuffer is the size in octets of the notification sockets' buffers;
	// zero means 1 MiB.
	ReceiveBuffer int
}

// WatchCounters are a Watcher's totals.
type WatchCounters struct {
	Resubscribed uint64 // times notifications were lost (ENOBUFS) or the socket failed
	Foreign      uint64 // netlink messages that did not come from the kernel
}

// Watcher follows the links and addresses of a network namespace.
//
// The kernel reports a carrier that appears at once (linkwatch treats it as
// urgent); a carrier that goes may be reported up to a second late when the
// link flaps.
type Watcher struct {
	o         WatchOptions
	namespace *namespace
	requests  *requests
	table     *linkTable
	foreigns  *foreignTable  // nil without ForeignAddresses
	addresses *addressTable  // nil without Addresses
	names     map[int]string // whose sysctls were set, by the name at the time

	resubscribed, foreign atomic.Uint64

	mu      sync.Mutex
	links   *nl.NetlinkSocket
	routes  *nl.NetlinkSocket // nil without State
	closed  bool
	done    chan struct{}
	running sync.WaitGroup
}

const defaultWatchBuffer = 1 << 20

// Watch subscribes in the calling thread's network namespace, lists what is
// there, and starts to notify.
func Watch(o WatchOptions) (_ *Watcher, err error) {
	if o.Notify == nil {
		return nil, errors.New("watch links: options lack Notify")
	}
	if o.OptimisticLinkLocal != nil && o.Sysctls == nil {
		return nil, errors.New("watch links: OptimisticLinkLocal needs Sysctls")
	}
	if o.ReceiveBuffer <= 0 {
		o.ReceiveBuffer = defaultWatchBuffer
	}
	o.Log = orSilent(o.Log)
	w := &Watcher{o: o, table: newLinkTable(), names: make(map[int]string), done: make(chan struct{})}
	if o.ForeignAddresses {
		w.foreigns = newForeignTable()
	}
	if o.Addresses != nil {
		w.addresses = newAddressTable()
	}
	defer func() {
		if err != nil {
			w.closeSockets()
		}
	}()
	if w.namespace, err = currentNamespace(); err != nil {
		return nil, err
	}
	if w.requests, err = openRequests(); err != nil {
		return nil, err
	}
	if w.links, err = w.subscribeLinks(); err != nil {
		return nil, err
	}
	if o.State != nil {
		if w.routes, err = w.subscribeRoutes(); err != nil {
			return nil, err
		}
	}
	// The first listing is done here, so that LocalAddresses is complete when
	// Watch returns and that what cannot work fails now.
	events, err := w.list()
	if err != nil {
		return nil, err
	}
	w.running.Add(1)
	go w.linksRunLoop(events)
	if o.State != nil {
		w.running.Add(1)
		go w.routesRunLoop()
	}
	return w, nil
}

// Counters returns a snapshot.
func (w *Watcher) Counters() WatchCounters {
	return WatchCounters{Resubscribed: w.resubscribed.Load(), Foreign: w.foreign.Load()}
}

// Close ends the notifications; after it returns Notify is not called any more.
func (w *Watcher) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	close(w.done)
	for _, s := range []*nl.NetlinkSocket{w.links, w.routes} {
		if s != nil {
			s.Close()
		}
	}
	w.mu.Unlock()
	w.running.Wait()
	w.links, w.routes = nil, nil
	w.closeSockets()
	return nil
}

func (w *Watcher) closeSockets() {
	for _, s := range []*nl.NetlinkSocket{w.links, w.routes} {
		if s != nil {
			s.Close()
		}
	}
	if w.requests != nil {
		w.requests.close()
	}
	if w.namespace != nil {
		w.namespace.close()
	}
}

// subscribe opens a notification socket in the Watcher's namespace. The filter,
// if any, is on before the subscription.
func (w *Watcher) subscribe(filter []bpf.Instruction, groups ...uint) (s *nl.NetlinkSocket, err error) {
	err = w.namespace.do(func() error {
		s, err = nl.Subscribe(unix.NETLINK_ROUTE, groups...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to rtnetlink: %w", err)
	}
	if s.SetReceiveBufferSize(w.o.ReceiveBuffer, true) != nil {
		_ = s.SetReceiveBufferSize(w.o.ReceiveBuffer, false)
	}
	if filter == nil {
		return s, nil
	}
	raw, err := bpf.Assemble(filter)
	if err == nil {
		program := make([]unix.SockFilter, len(raw))
		for i, in := range raw {
			program[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
		}
		err = unix.SetsockoptSockFprog(s.GetFd(), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("filter rtnetlink: %w", err)
	}
	return s, nil
}

func (w *Watcher) subscribeLinks() (*nl.NetlinkSocket, error) {
	return w.subscribe(nil, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV6_IFADDR)
}

// subscribeRoutes hears of removed routes that carry our tag, of removed rules
// and, in the kernel already, of nothing else: a router may see many other
// routes come and go.
func (w *Watcher) subscribeRoutes() (*nl.NetlinkSocket, error) {
	const offsetType, offsetProtocol = 4, unix.SizeofNlMsghdr + 5
	return w.subscribe([]bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetType, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(sock.NetworkOrder16(unix.RTM_DELRULE)), SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(sock.NetworkOrder16(unix.RTM_DELROUTE)), SkipTrue: 3},
		bpf.LoadAbsolute{Off: offsetProtocol, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: Protocol, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 18},
		bpf.RetConstant{Val: 0},
	}, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_RULE)
}

// list takes stock of links and addresses and returns what is new.
func (w *Watcher) list() ([]role.Event, error) {
	links, err := w.requests.links()
	if err != nil {
		return nil, err
	}
	addresses, err := w.requests.addresses()
	if err != nil {
		return nil, err
	}
	present := make(map[linkAddress]struct{}, len(addresses))
	for _, a := range addresses {
		if !a.tentative {
			present[a.key()] = struct{}{}
			w.o.Local.kernelHas(a.key())
		}
	}
	w.o.Local.kernelOnly(present)
	for _, l := range links {
		w.manage(l)
		if w.o.State != nil {
			w.o.State.linkAdmin(l.index, l.adminUp)
		}
	}
	events := w.table.replace(links, addresses)
	for _, e := range events {
		if gone, ok := e.(role.LinkGone); ok {
			w.gone(gone.Index)
		}
	}
	if w.foreigns != nil {
		events = append(events, w.foreigns.replace(time.Now(), addresses, w.o.State.owns)...)
	}
	if w.addresses != nil {
		w.addresses.replace(time.Now(), addresses, w.o.State.owns)
	}
	return events, nil
}

// manage switches off duplicate address detection where that is wanted. It is
// done when the interface appears, usually before it is up.
func (w *Watcher) manage(l linkAttributes) {
	if w.o.OptimisticLinkLocal == nil || l.loopback || w.names[l.index] == l.name || !w.o.OptimisticLinkLocal(l.name) {
		return
	}
	w.names[l.index] = l.name
	if err := w.o.Sysctls.SetLink(l.index, "accept_dad", "0"); err != nil {
		w.o.Log.LogAttrs(context.Background(), slog.LevelWarn,
			"duplicate address detection cannot be switched off: after the interface comes up, the first second or two are lost",
			slog.String("interface", l.name), slog.Any("error", err))
	}
}

func (w *Watcher) gone(index int) {
	delete(w.names, index)
	if w.foreigns != nil {
		w.foreigns.gone(index)
	}
	if w.addresses != nil {
		w.addresses.gone(index)
	}
	if w.o.State != nil {
		w.o.State.linkGone(index)
	}
}

// linksRunLoop owns the link table.
func (w *Watcher) linksRunLoop(events []role.Event) {
	defer w.running.Done()
	w.notify(events)
	if w.o.Listed != nil {
		w.o.Listed()
	}
	if w.o.State != nil {
		w.o.State.restore("start")
	}
	w.receive(w.links, func(messages []syscall.NetlinkMessage) {
		// The role first, the kernel's losses after: a link that is up is what
		// everybody waits for.
		reconcile := false
		for _, m := range messages {
			events, again := w.handle(m)
			w.notify(events)
			reconcile = reconcile || again
		}
		if reconcile {
			w.o.State.restore("loss of addresses or of the interface")
		}
	}, func() (*nl.NetlinkSocket, error) {
		s, err := w.subscribeLinks()
		if err != nil {
			return nil, err
		}
		w.exchange(&w.links, s)
		events, err := w.list()
		if err != nil {
			return nil, err
		}
		w.notify(events)
		if w.o.State != nil {
			w.o.State.restore("lost notifications")
		}
		return s, nil
	})
}

// routesRunLoop puts back what somebody else removes.
func (w *Watcher) routesRunLoop() {
	defer w.running.Done()
	w.receive(w.routes, func(messages []syscall.NetlinkMessage) {
		for _, m := range messages {
			if m.Header.Pid == w.o.State.requests.port {
				continue
			}
			if w.o.State.steeringGone(m.Header.Type, m.Data) {
				w.o.State.restore("loss of a rule or of its table")
				continue
			}
			if m.Header.Type != unix.RTM_DELROUTE {
				continue
			}
			for _, r := range parseRoutes(m.Data) {
				if w.o.State.routeGone(r) {
					w.o.State.restore("loss of a route")
					break
				}
			}
		}
	}, func() (*nl.NetlinkSocket, error) {
		s, err := w.subscribeRoutes()
		if err != nil {
			return nil, err
		}
		w.exchange(&w.routes, s)
		w.o.State.restore("lost notifications")
		return s, nil
	})
}

func (w *Watcher) notify(events []role.Event) {
	w.tellAddresses()
	for _, e := range events {
		select {
		case <-w.done:
			return
		default:
			w.o.Notify(e)
		}
	}
}

// handle takes one notification.
func (w *Watcher) handle(m syscall.NetlinkMessage) (events []role.Event, reconcile bool) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK:
		l, ok := parseLink(m.Data)
		if !ok {
			return nil, false
		}
		w.manage(l)
		reconcile = w.o.State != nil && w.o.State.linkAdmin(l.index, l.adminUp)
		return w.table.setLink(l), reconcile
	case unix.RTM_DELLINK:
		l, ok := parseLink(m.Data)
		if !ok {
			return nil, false
		}
		w.gone(l.index)
		return w.table.removeLink(l.index), false
	case unix.RTM_NEWADDR:
		a, ok := parseAddress(m.Data)
		if !ok {
			return nil, false
		}
		if a.tentative {
			w.o.Local.kernelLost(a.key())
		} else {
			w.o.Local.kernelHas(a.key())
		}
		events = w.table.setAddress(a)
		if w.foreigns != nil {
			events = append(events, w.foreigns.set(time.Now(), a, w.o.State.owns(a.key()))...)
		}
		if w.addresses != nil {
			w.addresses.set(time.Now(), a, w.o.State.owns(a.key()))
		}
		reconcile = w.o.State != nil && !a.tentative && a.Prefix.Addr().IsLinkLocalUnicast() && w.o.State.wants(a.Link)
		return events, reconcile
	case unix.RTM_DELADDR:
		a, ok := parseAddress(m.Data)
		if !ok {
			return nil, false
		}
		w.o.Local.kernelLost(a.key())
		reconcile = w.o.State != nil && w.o.State.addressGone(a.key())
		events = w.table.removeAddress(a)
		if w.foreigns != nil {
			events = append(events, w.foreigns.remove(time.Now(), a)...)
		}
		if w.addresses != nil {
			w.addresses.remove(a)
		}
		return events, reconcile
	default:
		return nil, false
	}
}

// receive reads a notification socket until Close. Any error, be it that the
// kernel had no room for a notification (ENOBUFS), leads to a new subscription
// and a new listing, by renew.
func (w *Watcher) receive(s *nl.NetlinkSocket, handle func([]syscall.NetlinkMessage), renew func() (*nl.NetlinkSocket, error)) {
	for {
		messages, from, err := s.Receive()
		if w.isClosed() {
			return
		}
		if err == nil {
			if from.Pid != 0 {
				w.foreign.Add(1)
			}
			handle(fromKernel(messages, from))
			continue
		}
		w.resubscribed.Add(1)
		w.o.Log.LogAttrs(context.Background(), slog.LevelWarn, "network notifications lost: listing anew", slog.Any("error", err))
		for {
			if s, err = renew(); err == nil {
				break
			}
			if w.isClosed() {
				return
			}
			w.o.Log.LogAttrs(context.Background(), slog.LevelWarn, "network notifications cannot be resumed: trying again", slog.Any("error", err))
			select {
			case <-w.done:
				return
			case <-time.After(retryPause):
			}
		}
	}
}

func (w *Watcher) isClosed() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// exchange puts a new socket in the place of a failed one, for Close to find.
func (w *Watcher) exchange(place **nl.NetlinkSocket, s *nl.NetlinkSocket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	(*place).Close()
	*place = s
	if w.closed {
		s.Close()
	}
}
