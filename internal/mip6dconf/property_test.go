package mip6dconf

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"roam6/internal/config"
	"roam6/internal/uci"
)

// scribe writes configurations by chance, of the grammar.
type scribe struct {
	*rand.Rand
	strings.Builder
	// wild: with values that no network has, and networks in one another.
	wild bool
}

func (s *scribe) pick(words ...string) string { return words[s.IntN(len(words))] }

func (s *scribe) boolean() string {
	return s.pick("enabled", "disabled", "allow", "deny", "block", "true", "false")
}
func (s *scribe) number() string {
	return s.pick("0", "1", "2", "7", "10", "60", "420", "600", "86400", "262140", fmt.Sprint(s.Uint32N(420)))
}
func (s *scribe) seconds() string { return s.pick("0.0", "0.2", "1.5", "3.0", "40.25") }

// home is a home address; of the same number on the home links 10, 11 and 12.
func (s *scribe) home() string {
	if s.wild && s.IntN(4) == 0 {
		return s.pick("::", "::1", "ff02::1", "fe80::1", "2001:db8:100::1", "::ffff:192.0.2.1", "2001:db8:10::")
	}
	return fmt.Sprintf("2001:db8:%d::%x", 10+s.IntN(3), 0x100+s.IntN(4))
}

func (s *scribe) agent() string {
	if s.wild && s.IntN(4) == 0 {
		return s.home()
	}
	return fmt.Sprintf("2001:db8:%d::1", 10+s.IntN(3))
}

func (s *scribe) length() string {
	if s.wild {
		return s.pick("0", "1", "48", "64", "127", "128")
	}
	return "64"
}

// networks are prefixes that nobody else has, unless the scribe is wild.
func (s *scribe) networks(n *int) string {
	if s.IntN(3) == 0 {
		return ""
	}
	var all []string
	for range 1 + s.IntN(3) {
		*n++
		if s.wild {
			*n = s.IntN(3)
		}
		all = append(all, fmt.Sprintf("2001:db8:%x::/64", 0x100+*n))
	}
	return "(" + strings.Join(all, ", ") + ")"
}

func (s *scribe) options() {
	all := []func() string{
		func() string {
			return s.pick("DoRouteOptimizationCN", "DoRouteOptimizationMN", "UseCnBuAck", "SendMobPfxSols", "SendMobPfxAdvs", "SendUnsolMobPfxAdvs",
				"MobRtrUseExplicitMode", "HaAcceptMobRtr", "UseMnHaIPsec", "KeyMngMobCapability", "MnUseAllInterfaces", "NoHomeReturn",
				"OptimisticHandoff", "DefaultBindingAclPolicy", "MnFlushAllAtHome") + " " + s.boolean()
		},
		func() string {
			return s.pick("DebugLevel", "MinMobPfxAdvInterval", "MaxMobPfxAdvInterval", "HaMaxBindingLife", "MnMaxHaBindingLife", "MnRouterProbes") + " " + s.number()
		},
		func() string {
			return s.pick("InitialBindackTimeoutFirstReg", "InitialBindackTimeoutReReg", "InitialSolicitTimer") + " " + s.seconds()
		},
		func() string { return "HaServedPrefix 2001:db8:" + s.pick("10", "100") + "::/" + s.length() },
	}
	for range s.IntN(12) {
		s.WriteString(all[s.IntN(len(all))]() + ";\n")
	}
}

func (s *scribe) file() {
	n := 0
	fmt.Fprintf(s, "NodeConfig %s;\n", s.pick("CN", "HA", "MN", "MN", "HA"))
	s.options()
	for i := range s.IntN(4) {
		name := fmt.Sprint("eth", i)
		if s.wild {
			name = s.pick("eth0", "eth0", "a b", "averyveryverylongname")
		}
		fmt.Fprintf(s, "Interface %q { IfType %s; MnIfPreference %d; Tunnel %s; }\n", name, s.pick("MN", "HA", "CN"), s.IntN(11), s.boolean())
	}
	for range s.IntN(4) {
		fmt.Fprintf(s, "MnHomeLink \"eth%d\" { HomeAddress %s/%s %s; HomeAgentAddress %s; IsMobRtr %s;\n", s.IntN(3), s.home(), s.length(), s.networks(&n), s.pick("::", s.agent()), s.boolean())
		for range s.IntN(3) {
			fmt.Fprintf(s, "MnRoPolicy %s %s;\n", s.pick("", "2001:db8:c::1", "2001:db8:c::2"), s.boolean())
		}
		s.WriteString("}\n")
	}
	for range s.IntN(4) {
		fmt.Fprintf(s, "BindingAclPolicy %s %s %s;\n", s.home(), s.networks(&n), s.pick(s.boolean(), "0", "1", "132"))
	}
	for range s.IntN(3) {
		fmt.Fprintf(s, "IPsecPolicySet { HomeAgentAddress %s;\n", strings.Replace(s.agent(), "::\n", "2001:db8::1", 1))
		for range 1 + s.IntN(2) {
			fmt.Fprintf(s, "HomeAddress %s/%s;\n", s.home(), s.length())
		}
		for range 1 + s.IntN(3) {
			fmt.Fprintf(s, "IPsecPolicy %s %s %s %s;\n", s.pick(policyTypes[:]...), s.pick("UseESP", "UseESP", "UseAH", "UseESP UseIPComp"), s.pick("", "3", "3 4"), s.pick("", s.boolean()))
		}
		s.WriteString("}\n")
	}
	s.options()
}

// Of files that a network could have roam6 takes the translation, but for what has
// to be filled in, and then there is a note. Of others it takes it, or there is a note.
func TestEveryTranslation(t *testing.T) {
	for seed := range uint64(2000) {
		s := scribe{Rand: rand.New(rand.NewPCG(seed, 6)), wild: seed%2 == 1}
		s.file()
		f, err := parse(s.String())
		if err != nil {
			if !s.wild {
				t.Fatalf("%v in\n%s", err, s.String())
			}
			continue // an unspecified home agent's address
		}
		translation := Translate(f)
		text, err := translation.Text()
		if err != nil {
			t.Fatal(err)
		}
		_, err = config.Parse("roam6", text)
		if err != nil && !translation.NeedsLook() {
			t.Fatalf("%v, and no note, in\n%s\nof\n%s", err, text, s.String())
		}
		if !s.wild {
			missing(t, text)
		}
		if t.Failed() {
			t.Fatalf("of\n%s\nnotes\n%v", s.String(), translation.Notes)
		}
	}
}

// FuzzParse: no panic, bounded, and what is read becomes UCI that can be read.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"agent", "router", "mobile", "correspondent", "everything"} {
		src, err := os.ReadFile("testdata/" + name + ".conf")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte("MnHomeLink \"a\rb\" { HomeAddress ::2:1/64; } include \"x\nconfig y\" DebugLogFile \"\x00\";"))
	f.Fuzz(func(t *testing.T, src []byte) {
		file, err := Parse(Source{Name: "f", Text: src}, include)
		var e *Error
		switch {
		case err == nil:
		case errors.Is(err, os.ErrPermission):
			return
		case !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Expected == "" || strings.Contains(err.Error(), "\n"):
			t.Fatalf("error %#v", err)
		default:
			return
		}
		translation := Translate(file)
		if len(translation.Notes) > 2*len(src)+10 {
			t.Fatalf("%d notes", len(translation.Notes))
		}
		text, err := translation.Text("heading\nx")
		if err != nil {
			return // longer than UCI's files may be
		}
		again, err := uci.Parse("out", text)
		if err != nil || len(again.Sections) != len(translation.Sections) {
			t.Fatalf("%v, %d sections of %d:\n%s", err, len(again.Sections), len(translation.Sections), text)
		}
		if _, err := config.Parse("roam6", text); err != nil && !translation.NeedsLook() {
			t.Fatalf("%v, and no note, in\n%s", err, text)
		}
	})
}
