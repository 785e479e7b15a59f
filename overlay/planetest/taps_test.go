package planetest

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/rtnl/nstest"
	"roam6/internal/sock"
)

// BenchmarkTaps measures what it costs packets that two routers forward, each, that
// something there looks for others: packet sockets whose filter rejects them, of IPv6 as
// the engine and signalling have them or of all protocols, and nftables.
func BenchmarkTaps(b *testing.B) {
	w := makeWorld(b, false)
	w.wires()
	w.agent.Route(networkPrefix.String(), "2001:db8:1::2", "mr1")
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	kinds := []struct {
		name string
		open func() (remove func())
	}{
		{"none", func() func() { return func() {} }},
		{"socket-of-IPv6", func() func() { return w.tap(unix.ETH_P_IPV6, 1) }},
		{"two-of-IPv6", func() func() { return w.tap(unix.ETH_P_IPV6, 2) }},
		{"socket-of-all", func() func() { return w.tap(unix.ETH_P_ALL, 1) }},
		{"two-of-all", func() func() { return w.tap(unix.ETH_P_ALL, 2) }},
		{"nft-input", func() func() { return w.look(nft.Input) }},
		{"nft-prerouting", func() func() { return w.look(nft.Prerouting) }},
	}
	least := make([]time.Duration, len(kinds))
	for b.Loop() {
		for i, k := range kinds {
			remove := k.open()
			receiver := w.udp(w.node, nodeAddress)
			x := newExchange(w, w.dial(w.correspondent, correspondentAddress, receiver), receiver, 1400, 16)
			if each := x.cost(); least[i] == 0 || each < least[i] {
				least[i] = each
			}
			x.close()
			remove()
		}
	}
	for i, k := range kinds {
		b.ReportMetric(float64(least[i].Nanoseconds()), k.name+"-ns")
	}
	b.ReportMetric(0, "ns/op") // says nothing here
}

// tap opens so many packet sockets of an EtherType on both routers. None hears anything.
func (w *world) tap(kind uint16, sockets int) (remove func()) {
	w.t.Helper()
	var open []int
	nothing := []bpf.Instruction{
		bpf.LoadAbsolute{Off: 6, Size: 1}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_MH, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 18}, bpf.RetConstant{Val: 0},
	}
	for _, s := range []*nstest.Space{w.agent, w.mobile} {
		s.Do(func() error {
			for range sockets {
				fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					return err
				}
				open = append(open, fd)
				if err := sock.AttachFilter(fd, nothing); err != nil {
					return err
				}
				if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
					return err
				}
				if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: sock.NetworkOrder16(kind)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}
}

// look has nftables look at the packets of a hook on both routers.
func (w *world) look(at nft.Hook) (remove func()) {
	w.t.Helper()
	const table = "tap"
	var open []*nft.Socket
	for _, s := range []*nstest.Space{w.agent, w.mobile} {
		s.Do(func() error {
			n, err := nft.Open()
			if err != nil {
				return err
			}
			open = append(open, n)
			return n.Commit(func(t *nft.Batch) {
				t.NewTable(table)
				t.NewChain(nft.Chain{Table: table, Name: "c", Base: true, Hook: at, Priority: nft.Raw})
				t.Append(table, "c", nft.Rule(nil).Load(6, 1).Equal(unix.IPPROTO_MH).Drop())
			})
		})
	}
	return func() {
		for _, n := range open {
			if err := n.RemoveTable(table); err != nil {
				w.t.Error(err)
			}
			n.Close()
		}
	}
}
