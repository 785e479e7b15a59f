package rtnl

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
)

// steeringRule is a policy rule of ours in the kernel.
type steeringRule struct {
	table       uint32
	protocol    uint8
	first, last uint16
	mark, mask  uint32
}

func (r steeringRule) String() string {
	return fmt.Sprintf("rule protocol %d ports %d-%d mark %#x/%#x table %d", r.protocol, r.first, r.last, r.mark, r.mask, r.table)
}

// steeringRoute is a default route of ours in a table of Steer. There are two in
// each: for packets that have no source yet, which give them the home address,
// and for those that have it. Others find nothing there and go on to the next
// rule. (CONFIG_IPV6_SUBTREES, which the stock kernels have.)
type steeringRoute struct {
	table  uint32
	from   netip.Addr // /128: unspecified, or the home address
	source netip.Addr
	link   int
	via    netip.Addr
}

func (r steeringRoute) String() string {
	return fmt.Sprintf("route default from %v via %v dev if%d src %v table %d", r.from, r.via, r.link, r.source, r.table)
}

// steering returns the rules and routes of Steer that the kernel has.
func (q *requests) steering() (rules []steeringRule, routes []steeringRoute, err error) {
	body := make([]byte, sizeofRule)
	body[0] = unix.AF_INET6
	err = q.dump(unix.RTM_GETRULE, body, unix.RTM_NEWRULE, func() { rules = nil }, func(m []byte) {
		if r, ok := parseSteeringRule(m); ok {
			rules = append(rules, r)
		}
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list rules: %w", err)
	}
	body = make([]byte, unix.SizeofRtMsg)
	body[0], body[5], body[7] = unix.AF_INET6, Protocol, unix.RTN_UNICAST
	err = q.dump(unix.RTM_GETROUTE, body, unix.RTM_NEWROUTE, func() { routes = nil }, func(m []byte) {
		routes = append(routes, parseSteeringRoutes(m)...)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list routes: %w", err)
	}
	return rules, routes, nil
}

const sizeofRule = 12 // struct fib_rule_hdr

// steeringRuleBody is the body of a message that adds or removes a rule.
func steeringRuleBody(r steeringRule) []byte {
	b := []byte{unix.AF_INET6, 0, 0, 0, unix.RT_TABLE_UNSPEC, 0, 0, unix.FR_ACT_TO_TBL, 0, 0, 0, 0}
	b = nlsock.AppendUint32(b, unix.FRA_PRIORITY, SteeringPriority)
	b = nlsock.AppendUint32(b, unix.FRA_TABLE, r.table)
	b = nlsock.AppendAttribute(b, unix.FRA_PROTOCOL, []byte{Protocol})
	b = nlsock.AppendAttribute(b, unix.FRA_IIFNAME, []byte("lo\x00")) // what this host sends
	if r.protocol != 0 {
		b = nlsock.AppendAttribute(b, unix.FRA_IP_PROTO, []byte{r.protocol})
	}
	if r.first != 0 {
		ports := binary.NativeEndian.AppendUint16(nil, r.first)
		b = nlsock.AppendAttribute(b, unix.FRA_DPORT_RANGE, binary.NativeEndian.AppendUint16(ports, r.last))
	}
	if r.mask != 0 {
		b = nlsock.AppendUint32(b, unix.FRA_FWMARK, r.mark)
		b = nlsock.AppendUint32(b, unix.FRA_FWMASK, r.mask)
	}
	return b
}

// parseSteeringRule decodes a rule that carries our tag, priority and one of our
// tables.
func parseSteeringRule(data []byte) (r steeringRule, ok bool) {
	if len(data) < sizeofRule || data[0] != unix.AF_INET6 || data[7] != unix.FR_ACT_TO_TBL {
		return r, false
	}
	var tag uint8
	var priority uint32
	r.table = uint32(data[4])
	for kind, v := range nlsock.Attributes(data[sizeofRule:]) {
		switch kind {
		case unix.FRA_PRIORITY:
			priority, _ = nlsock.Uint32(v)
		case unix.FRA_TABLE:
			r.table, _ = nlsock.Uint32(v)
		case unix.FRA_PROTOCOL:
			if len(v) == 1 {
				tag = v[0]
			}
		case unix.FRA_IP_PROTO:
			if len(v) == 1 {
				r.protocol = v[0]
			}
		case unix.FRA_DPORT_RANGE:
			if len(v) == 4 {
				r.first, r.last = binary.NativeEndian.Uint16(v), binary.NativeEndian.Uint16(v[2:])
			}
		case unix.FRA_FWMARK:
			r.mark, _ = nlsock.Uint32(v)
		case unix.FRA_FWMASK:
			r.mask, _ = nlsock.Uint32(v)
		}
	}
	return r, tag == Protocol && priority == SteeringPriority && r.table >= SteeringTable
}

// steeringRouteBody is the body of a message that adds or removes a route.
func steeringRouteBody(r steeringRoute) []byte {
	b := []byte{unix.AF_INET6, 0, 128, 0, unix.RT_TABLE_UNSPEC, Protocol, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0}
	v := r.from.As16()
	b = nlsock.AppendAttribute(b, unix.RTA_SRC, v[:])
	b = nlsock.AppendUint32(b, unix.RTA_TABLE, r.table)
	b = nlsock.AppendUint32(b, unix.RTA_OIF, uint32(r.link))
	if r.via.IsValid() {
		v = r.via.As16()
		b = nlsock.AppendAttribute(b, unix.RTA_GATEWAY, v[:])
	}
	if r.source.IsValid() {
		v = r.source.As16()
		b = nlsock.AppendAttribute(b, unix.RTA_PREFSRC, v[:])
	}
	return nlsock.AppendUint32(b, unix.RTA_PRIORITY, DefaultMetric)
}

// parseSteeringRoutes decodes routes that carry our tag in one of our tables.
func parseSteeringRoutes(data []byte) []steeringRoute {
	var found []steeringRoute
	table, routes := parseTaggedRoutes(data)
	if table < SteeringTable {
		return nil
	}
	for _, r := range routes {
		if r.Destination.Bits() == 0 && r.From.Bits() == 128 {
			found = append(found, steeringRoute{table, r.From.Addr(), r.Source, r.Link, r.Via})
		}
	}
	return found
}
