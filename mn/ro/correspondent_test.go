package ro

import (
	"crypto/sha1"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"roam6/mip6"
)

// correspondent is a correspondent node (RFC 6275 §9) as strict as one may be:
// nonces change every 30 s and serve for 240 s, and those of a deleted binding do
// not serve again.
type correspondent struct {
	addr   netip.Addr
	key    mip6.NodeKey
	cache  map[netip.Addr]cached
	spent  map[uint16]bool // home nonces of deletions
	memory map[netip.Addr]mip6.Sequence

	// Settings of a test.
	silent   bool                               // answers nothing
	deaf     bool                               // answers tests, not updates
	noHome   bool                               // does not answer home tests
	noCareOf bool                               // does not answer care-of tests
	status   mip6.Status                        // of the acknowledgements
	spoil    func(*mip6.BindingAcknowledgement) // before it is sealed
	mangle   func(*mip6.Packet)                 // after

	updates []mip6.Packet
	refused int // updates that could not be verified
}

type cached struct {
	careOf  netip.Addr
	expires time.Time
}

const nonceLife = 240 * time.Second

func newCorrespondent(a netip.Addr) *correspondent {
	c := &correspondent{addr: a, cache: map[netip.Addr]cached{}}
	c.restart(0)
	return c
}

// restart loses everything, the key included.
func (c *correspondent) restart(seed byte) {
	c.key = mip6.NodeKey{c.addr.As16()[15], seed, 7}
	clear(c.cache)
	c.spent = map[uint16]bool{}
	c.memory = map[netip.Addr]mip6.Sequence{}
}

// nonceAt is the index of the nonce in use.
func nonceAt(now time.Time) uint16 { return uint16(now.Sub(epoch)/(30*time.Second)) + 100 }

func (c *correspondent) nonce(index uint16) mip6.Nonce {
	var b [22]byte
	copy(b[:], c.key[:])
	binary.BigEndian.PutUint16(b[20:], index)
	h := sha1.Sum(b[:])
	return mip6.Nonce(h[:8])
}

func fresh(now time.Time, index uint16) bool {
	age := int(nonceAt(now)) - int(index)
	return age >= 0 && age < int(nonceLife/(30*time.Second))
}

// binding is the care-of address that is bound now; invalid without one.
func (c *correspondent) binding(now time.Time) netip.Addr {
	if b := c.cache[home]; b.expires.After(now) {
		return b.careOf
	}
	return netip.Addr{}
}

// receive answers a message as it came from the wire.
func (c *correspondent) receive(t *testing.T, now time.Time, p mip6.Packet) []mip6.Packet {
	t.Helper()
	if c.silent {
		return nil
	}
	index := nonceAt(now)
	back := mip6.Packet{Source: c.addr, Destination: p.Source}
	switch m := p.Message.(type) {
	case mip6.HomeTestInit:
		if c.noHome {
			return nil
		}
		back.Message = mip6.HomeTest{NonceIndex: index, Cookie: m.Cookie, Token: c.key.HomeToken(p.Source, c.nonce(index))}
	case mip6.CareOfTestInit:
		if c.noCareOf {
			return nil
		}
		back.Message = mip6.CareOfTest{NonceIndex: index, Cookie: m.Cookie, Token: c.key.CareOfToken(p.Source, c.nonce(index))}
	case mip6.BindingUpdate:
		c.updates = append(c.updates, p)
		if c.deaf {
			return nil
		}
		return c.bind(t, now, p, m)
	default:
		t.Errorf("%v to a correspondent", p.Message.Type())
		return nil
	}
	if p.HomeAddress.IsValid() || p.RouteHome.IsValid() {
		t.Errorf("%v with a Home Address option or a type 2 routing header", p.Message.Type()) // RFC 6275 §6.1
	}
	return []mip6.Packet{back}
}

// bind handles a binding update (RFC 6275 §9.5.1–§9.5.4).
func (c *correspondent) bind(t *testing.T, now time.Time, p mip6.Packet, u mip6.BindingUpdate) []mip6.Packet {
	t.Helper()
	hoa, careOf := p.From(), p.Source
	if o, ok := mip6.Find[mip6.AlternateCareOf](u); ok {
		careOf = o.Addr
	}
	if p.HomeAddress == p.Source {
		t.Error("Home Address option with the source address")
	}
	indices, ok := mip6.Find[mip6.NonceIndices](u)
	if !ok || u.Flags&mip6.UpdateHome != 0 {
		t.Errorf("update %+v to a correspondent", u)
		return nil
	}
	deletion := u.Lifetime == 0 || careOf == hoa
	key := mip6.NewDeregistrationKey(c.key.HomeToken(hoa, c.nonce(indices.Home)))
	freshHome, freshCareOf := fresh(now, indices.Home) && (deletion || !c.spent[indices.Home]), deletion || fresh(now, indices.CareOf)
	under := hoa
	if !deletion {
		key = mip6.NewBindingKey(c.key.HomeToken(hoa, c.nonce(indices.Home)), c.key.CareOfToken(careOf, c.nonce(indices.CareOf)))
		under = careOf
	}
	a := mip6.BindingAcknowledgement{Sequence: u.Sequence, Lifetime: u.Lifetime, Status: c.status}
	if last, ok := c.memory[hoa]; ok && !u.Sequence.After(last) {
		a.Status, a.Sequence = mip6.StatusSequenceOutOfWindow, last
	}
	switch {
	case !freshHome && !freshCareOf:
		a.Status = mip6.StatusExpiredNonces
	case !freshHome:
		a.Status = mip6.StatusExpiredHomeNonce
	case !freshCareOf:
		a.Status = mip6.StatusExpiredCareOfNonce
	case key.VerifyAuthorization(p.MH, under, c.addr) != nil:
		c.refused++
		return nil
	case a.Status.Accepted():
		c.memory[hoa] = u.Sequence
		if deletion {
			delete(c.cache, hoa)
			c.spent[indices.Home] = true
			break
		}
		c.cache[hoa] = cached{careOf: careOf, expires: now.Add(u.Lifetime.Duration())}
	}
	if u.Flags&mip6.UpdateAcknowledge == 0 && a.Status.Accepted() {
		return nil
	}
	return []mip6.Packet{c.acknowledgement(t, p, a, key, under)}
}

// acknowledgement seals a and addresses it as RFC 6275 §9.5.4 wants.
func (c *correspondent) acknowledgement(t *testing.T, p mip6.Packet, a mip6.BindingAcknowledgement, key mip6.BindingKey, under netip.Addr) mip6.Packet {
	t.Helper()
	if c.spoil != nil {
		c.spoil(&a)
	}
	back := mip6.Packet{Source: c.addr, Destination: p.Source, Message: a}
	switch a.Status {
	case mip6.StatusExpiredHomeNonce, mip6.StatusExpiredCareOfNonce, mip6.StatusExpiredNonces:
	default:
		m, err := key.SealAuthorization(a, under, c.addr)
		if err != nil {
			t.Fatal(err)
		}
		back.Message = m
	}
	if p.HomeAddress.IsValid() {
		back.RouteHome = p.HomeAddress
	}
	if c.mangle != nil {
		c.mangle(&back)
	}
	return back
}
