package kernel

import (
	"testing"

	"roam6/overlay/planetest"
)

var openPlane = planetest.Of(Open)

func TestMain(m *testing.M) { planetest.Main(m, openPlane) }

func TestPlane(t *testing.T) {
	needed(t)
	planetest.Run(t, openPlane, planetest.Traits{SurvivesCrash: true, NoLimit: true, Delegates: true})
}

func BenchmarkThroughput(b *testing.B) {
	needed(b)
	planetest.Throughput(b, openPlane)
}

func BenchmarkInstall(b *testing.B) {
	needed(b)
	planetest.Install(b, openPlane)
}

func BenchmarkRebind(b *testing.B) {
	needed(b)
	planetest.Rebind(b, openPlane)
}

func BenchmarkPacketRate(b *testing.B) {
	needed(b)
	planetest.PacketRate(b, openPlane)
}

func BenchmarkProcessor(b *testing.B) {
	needed(b)
	planetest.Processor(b, openPlane)
}
