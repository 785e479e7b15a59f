package tun_test

import (
	"testing"

	"roam6/overlay/planetest"
	"roam6/overlay/tun"
)

var openPlane = planetest.Of(tun.Open)

func TestMain(m *testing.M) { planetest.Main(m, openPlane) }

func TestPlane(t *testing.T) { planetest.Run(t, openPlane, planetest.Traits{}) }

func BenchmarkThroughput(b *testing.B) { planetest.Throughput(b, openPlane) }

func BenchmarkInstall(b *testing.B) { planetest.Install(b, openPlane) }

func BenchmarkRebind(b *testing.B) { planetest.Rebind(b, openPlane) }

func BenchmarkPacketRate(b *testing.B) { planetest.PacketRate(b, openPlane) }

func BenchmarkProcessor(b *testing.B) { planetest.Processor(b, openPlane) }
