package mhsock

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// The few nftables messages this package needs, written by hand: the general
// library adds 459 KB to a MIPS binary (90 KB compressed), which is more than
// the rest of this package and of netlink together.

const (
	sizeofNfgenmsg = 4
	chainName      = "input"
	priorityRaw    = -300 // NF_IP6_PRI_RAW: before connection tracking and the firewall
	replyTimeout   = 5    // seconds
	metaSecpath    = 25   // NFT_META_SECPATH: the packet came out of IPsec
)

// attributes is a sequence of netlink attributes under construction.
type attributes []byte

func (a attributes) bytes(kind uint16, value []byte) attributes {
	a = binary.NativeEndian.AppendUint16(a, uint16(4+len(value)))
	a = binary.NativeEndian.AppendUint16(a, kind)
	a = append(a, value...)
	for len(a)%4 != 0 {
		a = append(a, 0)
	}
	return a
}

func (a attributes) text(kind uint16, s string) attributes {
	return a.bytes(kind, append([]byte(s), 0))
}

func (a attributes) uint32(kind uint16, v uint32) attributes {
	return a.bytes(kind, binary.BigEndian.AppendUint32(nil, v))
}

func (a attributes) nested(kind uint16, inner attributes) attributes {
	return a.bytes(kind|unix.NLA_F_NESTED, inner)
}

// stringAttribute finds a zero-terminated string among attributes.
func stringAttribute(b []byte, kind uint16) string {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return ""
		}
		if binary.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED == kind {
			return unix.ByteSliceToString(b[4:n])
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return ""
}

// rule is a list of expressions: a load into register 1 and comparisons with
// it, any number of times, then a verdict.
type rule attributes

func (r rule) expression(name string, data attributes) rule {
	e := attributes(nil).text(unix.NFTA_EXPR_NAME, name).nested(unix.NFTA_EXPR_DATA, data)
	return rule(attributes(r).nested(unix.NFTA_LIST_ELEM, e))
}

// load starts a rule with octets of the packet, counted from the IPv6 header.
func load(offset, n uint32) rule { return rule(nil).load(offset, n) }

func (r rule) load(offset, n uint32) rule {
	return r.expression("payload", attributes(nil).
		uint32(unix.NFTA_PAYLOAD_DREG, unix.NFT_REG_1).
		uint32(unix.NFTA_PAYLOAD_BASE, unix.NFT_PAYLOAD_NETWORK_HEADER).
		uint32(unix.NFTA_PAYLOAD_OFFSET, offset).
		uint32(unix.NFTA_PAYLOAD_LEN, n))
}

// extensionHeader starts a rule with octets of an extension header, wherever
// that stands.
func extensionHeader(kind uint8, offset, n uint32) rule {
	return rule(nil).expression("exthdr", attributes(nil).
		uint32(unix.NFTA_EXTHDR_DREG, unix.NFT_REG_1).
		bytes(unix.NFTA_EXTHDR_TYPE, []byte{kind}).
		uint32(unix.NFTA_EXTHDR_OFFSET, offset).
		uint32(unix.NFTA_EXTHDR_LEN, n))
}

// notDecrypted continues only with packets that did not come out of IPsec,
// decrypted only with those that did.
func (r rule) notDecrypted() rule { return r.secpath().equal(0) }
func (r rule) decrypted() rule    { return r.secpath().equal(1) }

func (r rule) secpath() rule {
	return r.expression("meta", attributes(nil).
		uint32(unix.NFTA_META_DREG, unix.NFT_REG_1).
		uint32(unix.NFTA_META_KEY, metaSecpath))
}

func (r rule) equal(v ...byte) rule    { return r.compare(unix.NFT_CMP_EQ, v) }
func (r rule) notEqual(v ...byte) rule { return r.compare(unix.NFT_CMP_NEQ, v) }
func (r rule) atLeast(v ...byte) rule  { return r.compare(unix.NFT_CMP_GTE, v) }

func (r rule) compare(operator uint32, v []byte) rule {
	return r.expression("cmp", attributes(nil).
		uint32(unix.NFTA_CMP_SREG, unix.NFT_REG_1).
		uint32(unix.NFTA_CMP_OP, operator).
		nested(unix.NFTA_CMP_DATA, attributes(nil).bytes(unix.NFTA_DATA_VALUE, v)))
}

func (r rule) drop() rule   { return r.verdict(0) } // NF_DROP
func (r rule) accept() rule { return r.verdict(1) } // NF_ACCEPT

func (r rule) verdict(code uint32) rule {
	v := attributes(nil).uint32(unix.NFTA_VERDICT_CODE, code)
	return r.expression("immediate", attributes(nil).
		uint32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT).
		nested(unix.NFTA_IMMEDIATE_DATA, attributes(nil).nested(unix.NFTA_DATA_VERDICT, v)))
}

// batch is a transaction under construction.
type batch struct {
	b   []byte
	seq uint32
}

func (t *batch) message(kind, flags uint16, family uint8, resource uint16, a attributes) {
	t.seq++
	const header = unix.SizeofNlMsghdr + sizeofNfgenmsg
	t.b = binary.NativeEndian.AppendUint32(t.b, uint32(header+len(a)))
	t.b = binary.NativeEndian.AppendUint16(t.b, kind)
	t.b = binary.NativeEndian.AppendUint16(t.b, unix.NLM_F_REQUEST|flags)
	t.b = binary.NativeEndian.AppendUint32(t.b, t.seq)
	t.b = binary.NativeEndian.AppendUint32(t.b, 0)
	t.b = append(t.b, family, unix.NFNETLINK_V0)
	t.b = binary.BigEndian.AppendUint16(t.b, resource)
	t.b = append(t.b, a...)
}

func (t *batch) table(kind, flags uint16, name string) {
	t.command(kind, flags, attributes(nil).text(unix.NFTA_TABLE_NAME, name))
}

func (t *batch) command(kind, flags uint16, a attributes) {
	t.message(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags|unix.NLM_F_ACK, unix.NFPROTO_IPV6, 0, a)
}

// nftSocket sends transactions.
type nftSocket struct {
	mu   sync.Mutex
	fd   int // -1 when closed
	port uint32
	seq  uint32
}

func openNftSocket() (*nftSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	s := &nftSocket{fd: fd}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		s.close()
		return nil, os.NewSyscallError("bind", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		s.close()
		return nil, os.NewSyscallError("getsockname", err)
	}
	if n, ok := name.(*unix.SockaddrNetlink); ok {
		s.port = n.Pid
	}
	timeout := unix.Timeval{Sec: replyTimeout}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	return s, nil
}

func openNftEvents() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return newFile(fd, "mhsock nftables events"), nil
}

// replaceTable puts the table in place of whatever has its name, in one
// transaction: there is no moment without rules.
func (s *nftSocket) replaceTable(name string, rules []rule) error {
	return s.commit(func(t *batch) {
		t.table(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, name) // so that the deletion finds one
		t.table(unix.NFT_MSG_DELTABLE, 0, name)
		t.table(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, name)
		hook := int32(priorityRaw)
		t.command(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, attributes(nil).
			text(unix.NFTA_CHAIN_TABLE, name).
			text(unix.NFTA_CHAIN_NAME, chainName).
			nested(unix.NFTA_CHAIN_HOOK, attributes(nil).
				uint32(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_LOCAL_IN).
				uint32(unix.NFTA_HOOK_PRIORITY, uint32(hook))).
			text(unix.NFTA_CHAIN_TYPE, "filter"))
		for _, r := range rules {
			t.command(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, attributes(nil).
				text(unix.NFTA_RULE_TABLE, name).
				text(unix.NFTA_RULE_CHAIN, chainName).
				nested(unix.NFTA_RULE_EXPRESSIONS, attributes(r)))
		}
	})
}

func (s *nftSocket) deleteTable(name string) error {
	return s.commit(func(t *batch) { t.table(unix.NFT_MSG_DELTABLE, 0, name) })
}

// commit sends one transaction and waits for its outcome.
func (s *nftSocket) commit(build func(*batch)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return os.ErrClosed
	}
	t := &batch{seq: s.seq}
	t.message(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	first := t.seq
	build(t)
	last := t.seq
	t.message(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	s.seq = t.seq
	if err := unix.Sendto(s.fd, t.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	return s.outcome(first, last)
}

// outcome reads answers until the last command is acknowledged or one fails:
// a failure undoes the whole transaction.
func (s *nftSocket) outcome(first, last uint32) error {
	buffer := make([]byte, 1<<14)
	for {
		n, from, err := unix.Recvfrom(s.fd, buffer, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if k, ok := from.(*unix.SockaddrNetlink); !ok || k.Pid != 0 {
			continue // not from the kernel
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return fmt.Errorf("netfilter netlink: %w", err)
		}
		for _, m := range messages {
			if m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 || m.Header.Seq < first || m.Header.Seq > last {
				continue // an answer to an earlier transaction that failed
			}
			if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
				return syscall.Errno(-code)
			}
			if m.Header.Seq == last {
				return nil
			}
		}
	}
}

func (s *nftSocket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
}
