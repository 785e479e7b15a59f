package delegating

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	codec "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/role"
)

// After a crash a lease lasts at least as long as its client was told, also by a
// renewal that was not saved, whatever the clock says then; after an orderly stop as
// long as remained.
//
// Covers: D3.
func TestSavedLifetimes(t *testing.T) {
	w := newWorld(t, testConfig())
	p := w.obtain(homeA, duidA, 1)
	w.sleep(10*time.Minute + 500*time.Millisecond)
	w.obtain(homeB, duidB, 1) // saves
	w.sleep(5 * time.Minute)
	w.away(homeA, w.client(codec.MessageTypeRenew, duidA, pd(1, p.String()))) // not saved
	w.restart(testConfig())
	l := w.s.Leases(w.now)
	if len(l) != 2 || l[0].Prefix != p || l[0].Valid != valid || l[0].Preferred != 30*time.Minute ||
		!bytes.Equal(l[0].DUID, duidA) || l[1].Valid != valid {
		t.Fatalf("leases %+v", l)
	}
	if w.until[homeA] != w.now.Add(l[0].Valid) || w.s.Next() != w.until[homeA] {
		t.Errorf("until %v, next %v", w.until[homeA], w.s.Next())
	}
	// An orderly stop saves what remains then.
	w.sleep(time.Minute + 500*time.Millisecond)
	w.handle(role.Stop{})
	if !w.s.Next().IsZero() || w.s.Handle(w.now, role.Timeout{}) != nil {
		t.Error("not stopped")
	}
	w.restart(testConfig())
	if l := w.s.Leases(w.now); len(l) != 2 || l[0].Valid != valid-time.Minute-time.Second {
		t.Errorf("leases %+v", l)
	}
}

// Nothing is saved where there is nothing, and little where there is much.
func TestSavedSize(t *testing.T) {
	w := newWorld(t, testConfig())
	w.handle(role.Stop{})
	if w.saves != 0 {
		t.Errorf("saved %q", w.saved)
	}
	w = newWorld(t, testConfig())
	for iaid := range uint32(100) {
		w.away(homeA, w.client(codec.MessageTypeRequest, duidA, pd(0xf0000000+iaid)))
		w.sleep(time.Second)
	}
	if len(w.saved) > 1000 {
		t.Errorf("%d octets of one mobile: %s", len(w.saved), w.saved)
	}
}

// A mobile that asks and releases without end wears out no flash memory; nothing
// is left unsaved.
func TestSavesAreLimited(t *testing.T) {
	w := newWorld(t, testConfig())
	begin := w.now
	for range 1000 {
		p := w.obtain(homeA, duidA, 1)
		w.away(homeA, w.client(codec.MessageTypeRelease, duidA, pd(1, p.String())))
		w.sleep(time.Second)
	}
	if most := saves.Burst + int(w.now.Sub(begin)/saves.Every) + 1; w.saves > most {
		t.Errorf("saved %d times, more than %d", w.saves, most)
	}
	p := w.obtain(homeA, duidA, 1)
	w.sleep(saves.Every)
	if w.s.unsaved {
		t.Error("something is not saved, and nothing reminds of it")
	}
	if w.restart(testConfig()); !slices.Contains(w.told[homeA], p) {
		t.Errorf("told %v", w.told)
	}
}

// Data that was cut or changed anywhere starts clean or as before: nothing is
// believed that cannot be.
func TestSavedTorn(t *testing.T) {
	w := newWorld(t, testConfig())
	w.obtain(homeA, duidA, 1)
	w.obtain(homeB, duidB, 1)
	whole := w.saved
	try := func(data []byte) {
		t.Helper()
		w.saved, w.logs = data, nil
		w.restart(testConfig())
		for _, l := range w.s.Leases(w.now) {
			if !pool.Contains(l.Prefix.Addr()) || l.Prefix.Bits() < 56 || l.Prefix.Bits() > 64 {
				t.Errorf("%s: %+v", data, l)
			}
		}
	}
	for i := range whole {
		try(whole[:i])
		if len(w.told) != 0 || len(w.logs) != 1 && i > 0 {
			t.Errorf("cut at %d: told %v, logs %v", i, w.told, w.logs)
		}
		for bit := range 8 {
			wrong := bytes.Clone(whole)
			wrong[i] ^= 1 << bit
			try(wrong)
		}
	}
	first := string(w.s.order[0].HomeAddress.String())
	for _, change := range [][2]string{
		{`"version":1`, `"version":2`}, {`/56`, `/8`}, {`/56`, `/128`}, {`2001:db8:1`, `fe80:db8:1`},
		{first, "2001:db8:1::99"}, {`"duid":"0003`, `"duid":"xx`}, {`"mobiles":[`, `"mobiles":[{},`},
	} {
		if !strings.Contains(string(whole), change[0]) {
			t.Fatalf("%q is not in %s", change[0], whole)
		}
		try([]byte(strings.ReplaceAll(string(whole), change[0], change[1])))
	}
	// A DUID that is another mobile's by now.
	config := testConfig()
	config.Mobiles[1].DUID, config.Mobiles[2].DUID = duidA, duidX
	w.saved = whole
	w.restart(config)
	if w.s.identifiers[string(duidA)] != w.s.mobiles[homeB] || w.s.mobiles[homeA].learned != nil || w.s.mobiles[homeB].learned != nil {
		t.Errorf("DUID %x is that of %+v", duidA, w.s.identifiers[string(duidA)])
	}
	// The same prefix twice, and more leases than there may be.
	lease := `{"iaid":1,"prefix":"2001:db8:100::/56","preferred":5,"valid":10}`
	try([]byte(`{"version":1,"mobiles":[{"home":"2001:db8:1::a","leases":[` + lease + `]},{"home":"2001:db8:1::b","leases":[` + lease + `]}]}`))
	if len(w.told) != 1 {
		t.Errorf("told %v", w.told)
	}
	var many []string
	for i := range 10 {
		many = append(many, strings.ReplaceAll(strings.ReplaceAll(lease, `"iaid":1`, `"iaid":`+string(rune('0'+i))), "100::", "10"+string(rune('0'+i))+"::"))
	}
	try([]byte(`{"version":1,"mobiles":[{"home":"2001:db8:1::a","leases":[` + strings.Join(many, ",") + `]}]}`))
	if len(w.told[homeA]) != maxLeases {
		t.Errorf("told %v", w.told)
	}
}
