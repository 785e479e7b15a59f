package tun

import (
	"log/slog"
	"testing"

	"roam6/overlay/planetest"
)

func openPlane(log *slog.Logger) (planetest.Engine, error) {
	e, err := Open(Config{Log: log})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func TestMain(m *testing.M) { planetest.Main(m, openPlane) }

func TestPlane(t *testing.T) { planetest.Run(t, openPlane) }

func BenchmarkThroughput(b *testing.B) { planetest.Throughput(b, openPlane) }
