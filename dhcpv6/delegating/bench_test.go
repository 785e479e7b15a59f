package delegating

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	codec "github.com/insomniacslk/dhcp/dhcpv6"

	"roam6/internal/role"
)

// manyMobiles is a configuration with n mobiles, and its server's clients.
func manyMobiles(b *testing.B, n int) *world {
	b.Helper()
	c := testConfig()
	c.Pools, c.Mobiles = prefixes("2001:db8:8000::/33"), nil
	for i := range n {
		a := homeA.As16()
		binary.BigEndian.PutUint32(a[8:], uint32(i))
		c.Mobiles = append(c.Mobiles, Mobile{Name: fmt.Sprint(i), HomeAddress: netip.AddrFrom16(a)})
	}
	w := newWorld(b, c)
	for i, m := range c.Mobiles {
		duid := binary.BigEndian.AppendUint32([]byte{0, 3, 0, 1, 2, 0}, uint32(i))
		q := w.client(codec.MessageTypeSolicit, duid, rapid(), pd(1))
		w.s.Handle(w.now, received(m.HomeAddress, forward(m.HomeAddress, q)))
	}
	return w
}

// BenchmarkRenew: one message of one among many mobiles.
func BenchmarkRenew(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := manyMobiles(b, n)
			home := w.s.order[n/2].HomeAddress
			e := received(home, forward(home, w.client(codec.MessageTypeRenew, w.s.mobiles[home].learned, pd(1))))
			b.ReportAllocs()
			for b.Loop() {
				w.now = w.now.Add(time.Second)
				w.s.Handle(w.now, e)
			}
		})
	}
}

// BenchmarkRestart: what many mobiles have is saved and taken over again.
func BenchmarkRestart(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := manyMobiles(b, n)
			config := w.s.config
			for _, m := range w.s.order {
				config.Mobiles = append(config.Mobiles, m.Mobile)
			}
			var size int
			for b.Loop() {
				saved := w.s.state()
				size = len(saved)
				s := New(config, saved)
				s.Handle(w.now, role.Timeout{})
				if s.Counters().Bound != n {
					b.Fatalf("counters %+v", s.Counters())
				}
			}
			b.ReportMetric(float64(size)/float64(n), "octets/mobile")
		})
	}
}
