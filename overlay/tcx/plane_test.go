package tcx

import (
	"os"
	"testing"

	"roam6/overlay/planetest"
	"roam6/overlay/tun"
)

// onlyFilters is set where tcx is not to be used. It is in the environment so that the
// engine that a test kills has it, too.
const onlyFilters = "ROAM6_TCX_ONLY_FILTERS"

// openHere is Open, with filters of a queue discipline if they are asked for.
func openHere(c tun.Config) (*tun.Engine, error) {
	if os.Getenv(onlyFilters) == "" {
		return Open(c)
	}
	f, err := newFastPath(bpffs)
	if err != nil {
		return nil, err
	}
	f.openHook = openOnlyFilters
	c.Fast = f
	return tun.Open(c)
}

var openPlane = planetest.Of(openHere)

func TestMain(m *testing.M) { planetest.Main(m, openPlane) }

func traits() planetest.Traits {
	return planetest.Traits{SurvivesCrash: mountBPF(bpffs) == nil}
}

func TestPlane(t *testing.T) {
	need(t)
	planetest.Run(t, openPlane, traits())
}

// The suite, as far as it depends on that, where the kernel has no tcx.
func TestPlaneByFilters(t *testing.T) {
	need(t)
	switch err := tryFilters(); {
	case err != nil:
		t.Skipf("needs clsact and cls_bpf: %v", err)
	case tryTCX() != nil:
		t.Skip("TestPlane is this test on this kernel, which has no tcx")
	}
	t.Setenv(onlyFilters, "1")
	traits := traits()
	traits.Again = true
	planetest.Run(t, openPlane, traits)
}

func BenchmarkThroughput(b *testing.B) {
	need(b)
	planetest.Throughput(b, openPlane)
}

func BenchmarkInstall(b *testing.B) {
	need(b)
	planetest.Install(b, openPlane)
}

func BenchmarkRebind(b *testing.B) {
	need(b)
	planetest.Rebind(b, openPlane)
}

func BenchmarkPacketRate(b *testing.B) {
	need(b)
	planetest.PacketRate(b, openPlane)
}

func BenchmarkProcessor(b *testing.B) {
	need(b)
	planetest.Processor(b, openPlane)
}
