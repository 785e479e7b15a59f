package xfrm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"roam6/internal/esp"
	"roam6/overlay"
)

// testManager has no kernel.
func testManager() *Manager {
	return &Manager{options: Options{Mark: 0x62750000, Mask: 0xffff0000}, entries: make(map[between]*entry), have: make(map[id]item)}
}

// items are all that a policy of a side wants with one care-of address.
func itemsOf(side overlay.Side) []item {
	e := &entry{Policy: policyOn(side), number: 7}
	x := ends{careOf1, agent}
	if side == overlay.AgentSide {
		x = ends{agent, careOf1}
	}
	m := testManager()
	return append(m.static(e), m.dynamic(e, x)...)
}

// What is found in a dump is what was added: the kernel returns the fixed part and the
// attributes as they were given. So a restart removes it, and nothing of others.
func TestDumped(t *testing.T) {
	for _, side := range []overlay.Side{overlay.MobileSide, overlay.AgentSide} {
		seen := map[id]bool{}
		for _, i := range itemsOf(side) {
			if seen[i.id()] {
				t.Errorf("side %d: twice: %s", side, i.what)
			}
			seen[i.id()] = true
			find, offset := policyOf, -1
			if i.state {
				find, offset = stateOf, stateRequest
			}
			r, ok := find(i.add.Body)
			if !ok || idOf(r) != i.id() {
				t.Errorf("side %d: %s is not found", side, i.what)
			}
			foreign := bytes.Clone(i.add.Body)
			if offset < 0 {
				offset = bytes.Index(foreign, binary.NativeEndian.AppendUint32(nil, overlay.SealRequest))
				if offset < 0 {
					offset = bytes.Index(foreign, binary.NativeEndian.AppendUint32(nil, overlay.SealRequest|7))
				}
			}
			binary.NativeEndian.PutUint32(foreign[offset:], 12345)
			if _, ok := find(foreign); ok {
				t.Errorf("side %d: somebody else's is taken for %s", side, i.what)
			}
			if _, ok := find(i.add.Body[:20]); ok {
				t.Errorf("side %d: a part of %s is taken", side, i.what)
			}
		}
	}
}

// The messages are what the field's structures say.
func TestLayout(t *testing.T) {
	for _, i := range itemsOf(overlay.MobileSide) {
		if i.state {
			s := nl.DeserializeXfrmUsersaInfo(i.add.Body)
			if s.Family != unix.AF_INET6 || s.Id.Proto != unix.IPPROTO_ESP || s.Mode != 0 || s.ReplayWindow != 0 || s.Lft.HardPacketLimit != ^uint64(0) || s.Lft.HardAddExpiresSeconds != 0 {
				t.Errorf("%s: %+v", i.what, s)
			}
			continue
		}
		p := nl.DeserializeXfrmUserpolicyInfo(i.add.Body)
		if p.Sel.Family != unix.AF_INET6 || p.Sel.Proto == 0 || p.Lft.SoftByteLimit != ^uint64(0) || p.Priority == 0 || p.Dir > directionOut {
			t.Errorf("%s: %+v", i.what, p)
		}
		if p.Sel.Proto == unix.IPPROTO_ICMPV6 && nl.Swap16(p.Sel.SportMask) != 0xff80 {
			t.Errorf("%s: ports %+v", i.what, p.Sel)
		}
	}
}

// Nothing that is printed has a key in it.
func TestNoKeyPrinted(t *testing.T) {
	for _, side := range []overlay.Side{overlay.MobileSide, overlay.AgentSide} {
		p := policyOn(side)
		if text := fmt.Sprintf("%v %+v %#v", p, p, p); strings.Contains(text, keyMark) {
			t.Errorf("a key is in %s", text)
		}
		for _, i := range itemsOf(side) {
			for _, err := range []error{explain("add "+i.what, unix.EINVAL), explain("add "+i.what, unix.EPROTONOSUPPORT)} {
				if strings.Contains(err.Error(), keyMark) {
					t.Errorf("a key is in %v", err)
				}
			}
		}
	}
}

// A kernel without IPsec says so in several ways, and what to do is told.
func TestExplain(t *testing.T) {
	for _, err := range []error{unix.EPROTONOSUPPORT, unix.ENOSYS, unix.ENOENT, unix.EAFNOSUPPORT} {
		if e := explain("IPsec", err); !errors.Is(e, ErrKernel) || !errors.Is(e, err) || !strings.Contains(e.Error(), "kmod-ipsec6") {
			t.Errorf("%v: %v", err, e)
		}
	}
	if e := explain("IPsec", unix.EPERM); errors.Is(e, ErrKernel) || !strings.Contains(e.Error(), "root") {
		t.Errorf("%v", e)
	}
}

// A policy that cannot be is refused, above all one with AES-GCM.
func TestCheck(t *testing.T) {
	gcm, gcmIn, short := policyOn(overlay.MobileSide), policyOn(overlay.MobileSide), policyOn(overlay.MobileSide)
	*gcm.Out = esp.Association{SPI: 1 << 31, Algorithm: esp.AESGCM, Key: esp.Key(strings.Repeat("k", 20))}
	gcmIn.In[0] = *gcm.Out
	short.In[0].Key = short.In[0].Key[1:]
	for name, p := range map[string]Policy{"AES-GCM": gcm, "AES-GCM to receive by": gcmIn, "short key": short} {
		if err := p.check(); !errors.Is(err, esp.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	none := policyOn(overlay.MobileSide)
	none.Out, none.In = nil, nil
	if err := none.check(); err != nil {
		t.Errorf("no associations yet: %v", err)
	}
}

// Only what somebody else has done makes us look.
func TestRemoves(t *testing.T) {
	message := func(kind uint16, port uint32) []byte {
		b := make([]byte, unix.SizeofNlMsghdr)
		binary.NativeEndian.PutUint16(b[4:], kind)
		binary.NativeEndian.PutUint32(b[12:], port)
		return b
	}
	for _, test := range []struct {
		b    []byte
		want bool
	}{
		{message(nl.XFRM_MSG_FLUSHPOLICY, 9), true},
		{message(nl.XFRM_MSG_DELSA, 9), true},
		{message(nl.XFRM_MSG_DELSA, 8), false},
		{message(nl.XFRM_MSG_NEWSA, 9), false},
		{nil, false},
	} {
		if got := removes(test.b, 8); got != test.want {
			t.Errorf("%x: %v", test.b, got)
		}
	}
}

// Former care-of addresses are as many as data planes accept, the oldest go first.
func TestFormer(t *testing.T) {
	mobile, _, _ := newWorld(t)
	k := overlay.Key{Home: home, Side: overlay.MobileSide}
	a := netip.MustParseAddr("2001:db8:a::1:0")
	for range 3 * mostFormer {
		a = a.Next()
		if err := mobile.manager.Set(k, []overlay.Path{{Local: a, Remote: agent}}); err != nil {
			t.Fatal(err)
		}
	}
	mobile.manager.mu.Lock()
	n := len(mobile.manager.holders)
	mobile.manager.mu.Unlock()
	if c, err := count(mobile); n != mostFormer+1 || c[0] != mostFormer+2 {
		t.Errorf("%d care-of addresses, %v states and policies (%v)", n, c, err)
	}
}
