package node

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/role"
	"roam6/internal/rtnl"
)

// What radvd's users met, one test each. Three more are TestThreeFinalAdvertisements,
// TestBadFileDoesNotEndAdvertisements and TestRemovedPrefixIsDeprecatedOnReload; what
// they asked for is in TestOwnPrefixAtHost, TestLifetimesFollowKernel and
// TestDeprecatedPrefixKeptUntilItsEnd.

// radvd's check of a file skips ranges: it accepts what it then refuses to send.
func TestRangesAreChecked(t *testing.T) {
	for _, bad := range []string{
		lanSection + "\toption MaxRtrAdvInterval '3'\n",
		lanSection + "\toption max_interval_ms '65535001'\n",
		lanSection + "\toption MinRtrAdvInterval '2'\n",
		lanSection + "\toption AdvDefaultLifetime '65536'\n",
		lanSection + "\toption AdvDefaultLifetime '10'\n",
		lanSection + "\toption AdvLinkMTU '1279'\n",
		lanSection + "\toption AdvReachableTime '3600001'\n",
		lanSection + "\toption AdvCurHopLimit '256'\n",
		lanSection + prefixSection("list prefix '2001:db8:1::/64'", "option AdvPreferredLifetime '100'", "option AdvValidLifetime '99'"),
		lanSection + prefixSection("list prefix '2001:db8:1::/129'"),
		lanSection + "\toption AdvHomeAgentFlag '1'\n\toption AdvHomeAgentInfo '1'\n\toption HomeAgentLifetime '65521'\n" + prefixSection("option AdvRouterAddr '1'"),
	} {
		if _, err := config.Parse("roam6", []byte(bad)); err == nil {
			t.Errorf("accepted:\n%s", bad)
		}
	}
}

// radvd's defaults depend on the order in the file: those that follow from other
// options are of what is read before.
func TestDefaultsDoNotDependOnOrder(t *testing.T) {
	lines := []string{"option AdvSendAdvert '1'", "option MaxRtrAdvInterval '0.07'", "option AdvIntervalOpt '1'", "option interface 'lan0'"}
	sections := []string{"", prefixSection("list prefix '2001:db8:1::/64'"), "config route\n\toption interface 'lan0'\n\tlist prefix '2001:db8:2::/64'\n"}
	var first *config.Interface
	for shift := range lines {
		text := "config interface\n"
		for i := range lines {
			text += "\t" + lines[(i+shift)%len(lines)] + "\n"
		}
		for i := range sections {
			list := append(append([]string{}, sections[:i]...), text)
			list = append(list, sections[i:]...)
			c, err := config.Parse("roam6", []byte(strings.Join(list, "\n")))
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = &c.Interfaces[0]
			} else if !reflect.DeepEqual(*first, c.Interfaces[0]) {
				t.Errorf("%+v, and in another order %+v", *first, c.Interfaces[0])
			}
		}
	}
	if first.MinInterval != 30*time.Millisecond || first.RouterLifetime != time.Second {
		t.Errorf("%+v", first)
	}
}

// radvd sends `::/64` with AdvRouterAddr and a host part of zeroes.
func TestRouterAddressOfOwnPrefixIsWhole(t *testing.T) {
	s, _ := bareShell(t, lanSection+prefixSection("option AdvRouterAddr '1'"))
	a := advertisements(s.config)["lan0"]
	a.addresses = func(string) []rtnl.LinkAddress { return []rtnl.LinkAddress{linkAddress("2001:db8:1::5/64", -1, -1)} }
	p := a.machineConfig(role.Link{Name: "lan0"}, s.networkUsable).Advertisement.Prefixes
	if len(p) != 1 || !p[0].RouterAddress || p[0].Prefix != netip.MustParsePrefix("2001:db8:1::5/64") {
		t.Errorf("%+v", p)
	}
}

// radvd answers solicitations by unicast without a limit.
func TestUnicastRepliesAreLimited(t *testing.T) {
	link := newAir()
	c := fastConfig()
	c.MinInterval, c.MaxInterval, c.MinDelay, c.SolicitedUnicast = 200*time.Second, 600*time.Second, 3*time.Second, true
	c.Advertisement.RouterLifetime = time.Hour
	a, m, _ := onAir(t, link, c)
	link.wait(t, 1)
	const asked = 2000
	for i := range asked {
		a.solicited(netip.MustParseAddr(fmt.Sprintf("fe80::%x", 1+i%1000)))
	}
	for end := time.Now().Add(10 * time.Second); len(a.solicitations) > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	a.abandon()
	if n := len(link.all()) - 1; n == 0 || n > asked/4 {
		t.Errorf("%d answers to %d", n, asked)
	}
	page, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(page), `roam6_ra_solicitations_unanswered_total{interface="lan0",reason="link_limit"} 0`) &&
		strings.Contains(string(page), `roam6_ra_solicitations_unanswered_total{interface="lan0",reason="queue"} 0`) {
		t.Error("what is not answered is not counted")
	}
}

// radvd refuses a negative HomeAgentPreference, which RFC 6275 §7.4 has signed.
func TestNegativeHomeAgentPreference(t *testing.T) {
	s, _ := bareShell(t, lanSection+"\toption AdvHomeAgentFlag '1'\n\toption AdvHomeAgentInfo '1'\n\toption HomeAgentPreference '-7'\n"+
		prefixSection("option AdvRouterAddr '1'", "list prefix '2001:db8:1::1/64'"))
	a := advertisements(s.config)["lan0"]
	c := a.machineConfig(role.Link{Name: "lan0", Ethernet: [6]byte{2}}, s.networkUsable)
	if i := c.Advertisement.HomeAgentInfo; c.Validate() != nil || i == nil || i.Preference != -7 {
		t.Errorf("%+v, %v", i, c.Validate())
	}
}

// A prefix that has left the interface is told of as deprecated until no host can have
// it any more, and not only once.
func TestDeprecatedPrefixKeptUntilItsEnd(t *testing.T) {
	l := newLAN(t, fastLink+prefixSection("list prefix '2001:db8:1::/64'", "option AdvValidLifetime '4'", "option AdvPreferredLifetime '3'"))
	l.until("it is advertised", func() bool { _, v, ok := l.last().prefixOf("2001:db8:1::/64"); return ok && v > 0 })
	if err := l.rewrite(fastLink); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l.until("it is told of no more", func() bool { _, _, ok := l.last().prefixOf("2001:db8:1::/64"); return len(l.all()) > 0 && !ok })
	if d := time.Since(began); d < 3*time.Second {
		t.Errorf("forgotten after %v", d)
	}
	l.end()
}
