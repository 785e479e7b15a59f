//go:build noebpf

package engines

// ebpf is not in the binary: where the package brings ip6_tunnel, nothing is lost.
func ebpf() []Engine { return nil }
