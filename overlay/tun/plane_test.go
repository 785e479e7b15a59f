package tun

import (
	"testing"

	"roam6/overlay/planetest"
)

func openPlane(o planetest.Options) (planetest.Engine, error) {
	e, err := Open(Config{
		Log: o.Log, Adopt: o.Adopt, Local: o.Local, TrafficSeen: o.TrafficSeen, Silent: o.Silent, UnknownHomeAddress: o.UnknownHomeAddress,
		RouteUnreachable: o.RouteUnreachable,
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func TestMain(m *testing.M) { planetest.Main(m, openPlane) }

func TestPlane(t *testing.T) { planetest.Run(t, openPlane, planetest.Traits{}) }

func BenchmarkThroughput(b *testing.B) { planetest.Throughput(b, openPlane) }

func BenchmarkInstall(b *testing.B) { planetest.Install(b, openPlane) }

func BenchmarkRebind(b *testing.B) { planetest.Rebind(b, openPlane) }

func BenchmarkPacketRate(b *testing.B) { planetest.PacketRate(b, openPlane) }

// It needs a kernel with CONFIG_IPV6_MIP6.
func BenchmarkAgainstXFRM(b *testing.B) { planetest.AgainstXFRM(b, openPlane) }
