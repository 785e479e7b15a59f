//go:build !noebpf

package engines

import "roam6/overlay/tcx"

// ebpf is the data plane for kernels without ip6_tunnel.
func ebpf() []Engine {
	return []Engine{{Name: tcx.Name, Probe: tcx.Probe, Open: tcx.Open, Clean: tcx.Clean}}
}
