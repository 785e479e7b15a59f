package planetest

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"roam6/internal/rtnl/nstest"
)

func ZZ(b *testing.T, open Open) {
	w := optimise(makeWorld(b, false), open)
	stat := func(s *nstest.Space) (m map[string]string) {
		m = map[string]string{}
		s.Do(func() error {
			for _, f := range []string{"snmp", "netstat"} {
				x, _ := os.ReadFile("/proc/thread-self/net/" + f)
				l := strings.Split(string(x), "\n")
				for i := 0; i+1 < len(l); i += 2 {
					k, v := strings.Fields(l[i]), strings.Fields(l[i+1])
					for j := range k {
						m[k[0]+k[j]] = v[j]
					}
				}
			}
			return nil
		})
		return m
	}
	show := func(what string, f func() float64) {
		a, c := stat(w.mobile), stat(w.correspondent)
		r := f()
		x, y := stat(w.mobile), stat(w.correspondent)
		fmt.Printf("%s %.3f Gbit/s\n", what, r*8/1e9)
		for k := range x {
			if x[k] != a[k] && strings.HasPrefix(k, "Tcp") {
				fmt.Println("  mobile", k, a[k], x[k])
			}
		}
		for k := range y {
			if y[k] != c[k] && strings.HasPrefix(k, "Tcp") {
				fmt.Println("  corr", k, c[k], y[k])
			}
		}
	}
	up := func(at netip.Addr) func() float64 {
		return func() float64 { return w.rate(w.mobile, at, w.correspondent, correspondentAddress, time.Second) }
	}
	show("tunnel", up(homeAddress))
	w.bind(0)
	show("optimised", up(homeAddress))
	for _, r := range w.correspondentEngine.Routes() { fmt.Printf("%+v\n", r.Counters) }
	fmt.Println(w.correspondentEngine.Drops(), w.mobileEngine.Drops())
}
