package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"roam6/internal/config"
	"roam6/internal/esp"
	"roam6/internal/ike"
	"roam6/internal/logging/logtest"
	"roam6/internal/rtnl/nstest"
	"roam6/internal/xfrm"
	"roam6/overlay"
)

// kernelAssociations note what they are told, beside the data plane.
type kernelAssociations struct {
	plane
	told []string
	fail error
}

func (k *kernelAssociations) SetPolicies(all []xfrm.Policy) error {
	k.told = append(k.told, fmt.Sprint("policies ", len(all)))
	return nil
}

func (k *kernelAssociations) Seal(home, agent netip.Addr, side overlay.Side) (overlay.Seal, bool) {
	if home != securedHome || agent != securedAgent {
		return overlay.Seal{}, false
	}
	return overlay.Seal{Header: 24, Block: 16, ICV: 16}, true
}

func (k *kernelAssociations) Set(key overlay.Key, paths []overlay.Path) error {
	k.told = append(k.told, fmt.Sprintf("associations of %v at %v", key.Home, paths[0].Local))
	return k.fail
}

func (k *kernelAssociations) Remove(key overlay.Key) {
	k.told = append(k.told, fmt.Sprintf("no associations of %v", key.Home))
}

func (k *kernelAssociations) Apply(changes []overlay.Change) error {
	for _, c := range changes {
		if c.Set != nil {
			k.told = append(k.told, fmt.Sprintf("tunnel of %v sealed %v", c.Set.Home, c.Set.Seal.On()))
		} else {
			k.told = append(k.told, fmt.Sprintf("no tunnel of %v", c.Remove.Home))
		}
	}
	return nil
}

func (*kernelAssociations) Close() error { return nil }

// The associations of a care-of address are there before the tunnel is, and the tunnel is
// sealed whatever becomes of them; what is not to be sealed is not.
func TestAssociationsBeforeTunnels(t *testing.T) {
	tunnel := func(home netip.Addr) *overlay.Tunnel {
		return &overlay.Tunnel{Key: overlay.Key{Home: home, Side: overlay.MobileSide}, Paths: []overlay.Path{{Local: securedAt, Remote: securedAgent}}}
	}
	other := securedHome.Next()
	for _, fail := range []error{nil, errors.New("no memory")} {
		k := &kernelAssociations{fail: fail}
		s := &Shell{plane: k, payload: k}
		secured := tunnel(securedHome)
		err := s.applyTunnels([]overlay.Change{{Set: secured}, {Set: tunnel(other)}, {Remove: overlay.Key{Home: securedHome, Side: overlay.MobileSide}}})
		want := []string{
			"associations of 2001:db8:10::100 at 2001:db8:a1::7", "no associations of 2001:db8:10::101", "no associations of 2001:db8:10::100",
			"tunnel of 2001:db8:10::100 sealed true", "tunnel of 2001:db8:10::101 sealed false", "no tunnel of 2001:db8:10::100",
		}
		if !slices.Equal(k.told, want) || !errors.Is(err, fail) || secured.Seal.On() {
			t.Errorf("%v, told\n%s", err, strings.Join(k.told, "\n"))
		}
	}
	k := &kernelAssociations{}
	s := &Shell{plane: k}
	if err := s.applyTunnels([]overlay.Change{{Set: tunnel(securedHome)}}); err != nil || !slices.Equal(k.told, []string{"tunnel of 2001:db8:10::100 sealed false"}) {
		t.Errorf("without IPsec: %v, %q", err, k.told)
	}
}

// The kernel gets the policies for payload of both sides, and of no more.
func TestPayloadOfTheConfiguration(t *testing.T) {
	with := securedPolicy(overlay.AgentSide, false)
	with.PayloadOut, with.PayloadIn = ptr(esp.Association{SPI: 1 << 31}), ptr(esp.Association{SPI: 1<<31 + 1})
	c := &config.Config{
		MobileNodes: []config.MobileNode{{Name: "train", ESP: []esp.Policy{securedPolicy(overlay.MobileSide, true)}}},
		Mobiles:     []config.Mobile{{Name: "bus", HomeAgent: "home", ESP: &with}},
	}
	s := &Shell{}
	s.makeMaps()
	want := []xfrm.Policy{{Home: securedHome, Agent: securedAgent, Side: overlay.AgentSide, Out: with.PayloadOut, In: []esp.Association{*with.PayloadIn}}}
	if got := s.payloadPolicies(c); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	// Negotiated ones are in force before there are keys, and have them then.
	own := &c.MobileNodes[0].ESP[0]
	*own = esp.Policy{Home: securedHome, Agent: securedAgent, Side: overlay.MobileSide, Negotiated: &esp.Negotiated{}, Payload: true}
	want = slices.Insert(want, 0, xfrm.Policy{Home: securedHome, Agent: securedAgent, Side: overlay.MobileSide, Negotiated: true})
	if got := s.payloadPolicies(c); !reflect.DeepEqual(got, want) {
		t.Errorf("without keys: %+v", got)
	}
	keys := esp.Negotiated{PayloadOut: ptr(esp.Association{SPI: 1000}), PayloadIn: []esp.Association{{SPI: 1001}, {SPI: 1002}}}
	s.exchanges.negotiated[ike.Ends{Home: securedHome, Agent: securedAgent, Side: overlay.MobileSide}] = keys
	want[0].Out, want[0].In = keys.PayloadOut, keys.PayloadIn
	if got := s.payloadPolicies(c); !reflect.DeepEqual(got, want) {
		t.Errorf("with keys: %+v", got)
	}
	own.Payload = false
	if got := s.payloadPolicies(c); !reflect.DeepEqual(got, want[1:]) {
		t.Errorf("for signalling only: %+v", got)
	}
}

// payloadFile is a home agent with a mobile whose payload is to be in IPsec.
const payloadFile = `
config globals
	option control '%s'

config home_agent 'home'
	option interface 'home0'
	option address '2001:db8:10::1'
	option prefix '2001:db8:10::/64'

config mobile 'train'
	option home_address '2001:db8:10::100'

config ipsec
	option home_address '2001:db8:10::100'
	option home_agent '2001:db8:10::1'
	option spi_to_agent '1000'
	option key_to_agent '%[2]s'
	option spi_to_mobile '1001'
	option key_to_mobile '%[2]s'
	option payload '1'
	option spi_payload_to_agent '2147483648'
	option key_payload_to_agent '%[2]s'
	option spi_payload_to_mobile '2147483649'
	option key_payload_to_mobile '%[2]s'
`

// Without IPsec in the kernel the node does not start, says what to do, and leaves
// nothing; with it, it starts, and leaves nothing when it ends.
func TestPayloadNeedsTheKernel(t *testing.T) {
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("needs a TUN device: %v", err)
	}
	here, there := nstest.New(t), nstest.New(t)
	nstest.Veth(here, "home0", there, "peer0")
	assign(t, here, "home0", "2001:db8:10::1/64")
	before := leftovers(t, here)
	text := fmt.Sprintf(payloadFile, filepath.Join(t.TempDir(), "s"), strings.Repeat("c0ffee", 16))
	c, err := config.Parse("roam6", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c.Globals.StateDirectory = t.TempDir()
	var log logtest.Buffer
	here.Do(func() error {
		s, err := open(Options{KeepPrivileges: true}, slog.New(slog.NewTextHandler(&log, nil)), new(slog.LevelVar), c)
		if err == nil {
			s.close()
			return nil
		}
		if !errors.Is(err, xfrm.ErrKernel) || !strings.Contains(err.Error(), "option payload") || !strings.Contains(err.Error(), "kmod-ipsec6") {
			return fmt.Errorf("refused with %w", err)
		}
		return nil
	})
	if strings.Contains(log.String(), "c0ffee") {
		t.Errorf("a key is in the log:\n%s", log.String())
	}
	if after := leftovers(t, here); after != before {
		t.Errorf("left:\n%s\nbefore:\n%s", after, before)
	}
}
