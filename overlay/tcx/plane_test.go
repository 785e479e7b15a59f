package tcx

import (
	"testing"

	"roam6/overlay/planetest"
	"roam6/overlay/tun"
)

func openPlane(o planetest.Options) (planetest.Engine, error) {
	e, err := Open(tun.Config{
		Log: o.Log, Adopt: o.Adopt, Local: o.Local, TrafficSeen: o.TrafficSeen, Silent: o.Silent, UnknownHomeAddress: o.UnknownHomeAddress,
		RouteUnreachable: o.RouteUnreachable,
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func TestMain(m *testing.M) { planetest.Main(m, openPlane) }

func TestPlane(t *testing.T) {
	need(t)
	planetest.Run(t, openPlane, planetest.Traits{SurvivesCrash: mountBPF(bpffs) == nil})
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
