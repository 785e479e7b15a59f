package radvdconf

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// scribe writes radvd configurations by chance: of the grammar, but with whatever
// values.
type scribe struct {
	*rand.Rand
	strings.Builder
}

func (s *scribe) pick(words ...string) string { return words[s.IntN(len(words))] }

func (s *scribe) number() string {
	return s.pick("0", "1", "3", "7", "10", "255", "256", "600", "1280", "1500", "7000", "14400", "65527", "65535", "65536", "3600001", "4294967294", "4294967295",
		fmt.Sprint(s.Uint32N(100)))
}

func (s *scribe) interval() string {
	return s.pick("0", "0.03", "0.07", "0.0301", "0.5", "1", "3", "4", "10", "10.5", "100.0005", "600", "1800", "65535", "65536", "4294967295")
}

func (s *scribe) lifetime() string { return s.pick("infinity", s.number(), s.number()) }
func (s *scribe) onOff() string    { return s.pick("on", "off", "on") }
func (s *scribe) level() string    { return s.pick("low", "medium", "high", "-1") }

func (s *scribe) address() string {
	return s.pick("2001:db8::1", "2001:db8::2", "fe80::1", "fe80::2", "::1", "::", "ff02::1", "::ffff:1.2.3.4", "0:0:0:5::", "2001:db8::", "64:ff9b::", "2002::7", "64:ff9b:0:0:100::")
}

func (s *scribe) prefix() string {
	return s.address() + "/" + s.pick("0", "8", "32", "48", "64", "64", "64", "64", "96", "127", "128")
}

func (s *scribe) name() string {
	return s.pick("eth0", "ppp0", "br-lan", "e0:1", "averyveryverylongname")
}

// options writes some of the options, each with its value.
func (s *scribe) options(all ...func() string) {
	for range s.IntN(len(all) + 1) {
		s.WriteString(all[s.IntN(len(all))]() + "; ")
	}
}

func option2(name string, value func() string) func() string {
	return func() string { return name + " " + value() }
}

func (s *scribe) block() {
	o := option2
	switch s.IntN(11) {
	case 0, 1:
		s.WriteString("prefix " + s.prefix() + " { ")
		s.options(o("AdvOnLink", s.onOff), o("AdvAutonomous", s.onOff), o("AdvRouterAddr", s.onOff), o("AdvDHCPv6PDPreferred", s.onOff),
			o("AdvValidLifetime", s.lifetime), o("AdvPreferredLifetime", s.lifetime), o("DeprecatePrefix", s.onOff), o("DecrementLifetimes", s.onOff),
			o("Base6Interface", s.name))
	case 2:
		s.WriteString("route " + s.prefix() + " { ")
		s.options(o("AdvRouteLifetime", s.lifetime), o("AdvRoutePreference", s.level), o("RemoveRoute", s.onOff))
	case 3:
		s.WriteString("RDNSS")
		for range 1 + s.IntN(100) {
			s.WriteString(" " + s.pick(s.address(), fmt.Sprintf("2001:db8::%x", s.IntN(4096))))
		}
		s.WriteString(" { ")
		s.options(o("AdvRDNSSLifetime", s.lifetime), o("FlushRDNSS", s.onOff), o("AdvRDNSSOpen", s.onOff))
	case 4:
		s.WriteString("DNSSL")
		for range 1 + s.IntN(50) {
			s.WriteString(" " + s.pick("example.org", "example.org.", "-x", "a..b", strings.Repeat("x", s.IntN(70))+".example", fmt.Sprint("d", s.IntN(99))))
		}
		s.WriteString(" { ")
		s.options(o("AdvDNSSLLifetime", s.lifetime), o("FlushDNSSL", s.onOff))
	case 5:
		s.WriteString("clients { " + s.pick("", "!") + s.address() + "; fe80::3; ")
	case 6:
		s.WriteString("AdvRASrcAddress { " + s.address() + "; ")
	case 7:
		s.WriteString("abro " + s.address() + " { ")
		s.options(o("AdvVersionLow", s.number), o("AdvVersionHigh", s.number), o("AdvValidLifeTime", s.number))
	case 8:
		s.WriteString("lowpanco { ")
		s.options(o("AdvContextLength", s.number), o("AdvContextID", s.number), o("AdvLifeTime", s.number), o("AdvContextCompressionFlag", s.onOff))
	case 9:
		s.WriteString("nat64prefix " + s.prefix() + " { ")
		s.options(o("AdvValidLifetime", s.number))
	default:
		s.WriteString("autoignoreprefixes { " + s.prefix() + "; ")
	}
	s.WriteString("};\n")
}

func (s *scribe) settings() {
	o := option2
	s.options(o("AdvSendAdvert", s.onOff), o("IgnoreIfMissing", s.onOff), o("UnicastOnly", s.onOff), o("AdvRASolicitedUnicast", s.onOff),
		o("UnrestrictedUnicast", s.onOff), o("MaxRtrAdvInterval", s.interval), o("MaxRtrAdvInterval", s.interval), o("MinRtrAdvInterval", s.interval),
		o("MinDelayBetweenRAs", s.interval), o("AdvManagedFlag", s.onOff), o("AdvOtherConfigFlag", s.onOff), o("AdvSourceLLAddress", s.onOff),
		o("AdvLinkMTU", s.number), o("AdvRAMTU", s.number), o("AdvReachableTime", s.number), o("AdvRetransTimer", s.number), o("AdvCurHopLimit", s.number),
		o("AdvDefaultLifetime", s.number), o("AdvDefaultPreference", s.level), o("RemoveAdvOnExit", s.onOff), o("AdvHomeAgentFlag", s.onOff),
		o("AdvHomeAgentInfo", s.onOff), o("AdvIntervalOpt", s.onOff), o("AdvMobRtrSupportFlag", s.onOff), o("HomeAgentLifetime", s.number),
		o("HomeAgentPreference", s.number), o("AdvCaptivePortalAPI", func() string { return s.pick(`"https://a.example/"`, `"http:"`, `"https://"`, `"https://a b/"`) }))
	s.WriteString("\n")
}

// Whatever a file of the grammar says, roam6 takes the translation, and has as many
// interfaces.
func TestEveryTranslationIsAccepted(t *testing.T) {
	for seed := range uint64(3000) {
		s := scribe{Rand: rand.New(rand.NewPCG(seed, 5))}
		n := 1 + s.IntN(2)
		for i := range n {
			fmt.Fprintf(&s, "interface e%d {\n", i)
			for range s.IntN(12) {
				if s.IntN(3) == 0 {
					s.settings()
				} else {
					s.block()
				}
			}
			s.WriteString("};\n")
		}
		text, notes, _ := translate(t, "f", []byte(s.String()))
		if c := accepted(t, text); len(c.Interfaces) != n {
			t.Fatalf("%d interfaces of %d; notes\n%s", len(c.Interfaces), n, notes)
		}
	}
}
