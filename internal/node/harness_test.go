package node

import (
	"bytes"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"roam6/internal/config"
	"roam6/internal/metrics"
	"roam6/internal/role"
	"roam6/internal/rtnl"
	"roam6/mip6"
	"roam6/mn"
	"roam6/overlay"
)

// recorder is a mobile that remembers its events.
type recorder struct {
	home, careOf netip.Addr
	regional     netip.Addr // care-of address at an anchor
	attachment   role.Attachment
	agent        netip.Addr
	events       []role.Event
	drops        bool // everything
	connected    bool
}

func (r *recorder) Handle(_ time.Time, e role.Event) []role.Action {
	r.events = append(r.events, e)
	if r.drops {
		return []role.Action{role.Dropped{Reason: role.DropUnsolicited, From: foreign}}
	}
	return nil
}
func (*recorder) Next() time.Time { return time.Time{} }
func (*recorder) Done() bool      { return false }
func (r *recorder) Snapshot(time.Time) mn.Snapshot {
	return mn.Snapshot{Attachment: r.attachment, HomeAgent: r.agent}
}
func (r *recorder) Connected() bool             { return r.connected }
func (r *recorder) HasCareOf(a netip.Addr) bool { return a == r.careOf || a == r.regional }
func (r *recorder) Takes(p mip6.Packet) bool    { return p.To() == r.home || r.HasCareOf(p.To()) }

// plane is a data plane that remembers its changes.
type plane struct{ changes []overlay.Change }

func (p *plane) Apply(c []overlay.Change) error {
	p.changes = append(p.changes, c...)
	return nil
}
func (*plane) Name() string                         { return "test" }
func (*plane) Tunnels() []overlay.Status            { return nil }
func (*plane) Routes() []overlay.RouteStatus        { return nil }
func (*plane) Drops() map[overlay.DropReason]uint64 { return nil }
func (*plane) Close() error                         { return nil }

// wire is where messages end.
type wire struct {
	packets [][]byte
	spis    []uint32 // of the packets
	joined  []netip.Addr
}

func (w *wire) Send(packet []byte, link int, source netip.Addr) error {
	return w.SendBy(0, packet, link, source)
}

func (w *wire) SendBy(spi uint32, packet []byte, _ int, _ netip.Addr) error {
	w.packets, w.spis = append(w.packets, bytes.Clone(packet)), append(w.spis, spi)
	return nil
}

func (w *wire) JoinAnycast(_ int, a netip.Addr) error {
	w.joined = append(w.joined, a)
	return nil
}

func (w *wire) LeaveAnycast(_ int, a netip.Addr) error {
	w.joined = slices.DeleteFunc(w.joined, func(b netip.Addr) bool { return b == a })
	return nil
}

func (*wire) Close() error { return nil }

// bareShell is a shell without anything of the kernel: what it does to the
// outside must not be needed.
func bareShell(t *testing.T, text string) (*Shell, *bytes.Buffer) {
	t.Helper()
	c, err := config.Parse("roam6", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out := new(bytes.Buffer)
	s := &Shell{
		config: c, log: slog.New(slog.NewTextHandler(out, nil)), level: new(slog.LevelVar), metrics: metrics.New("test"),
		links: make(map[int]role.Link), conns: make(map[int]*linkConn), refused: make(map[netip.Prefix]bool),
		advertised: make(map[string]advertisement), deprecated: make(map[deprecatedPrefix]time.Time),
		plane: new(plane), started: testNow, local: new(rtnl.LocalAddresses),
	}
	s.fresh = true
	s.kept, s.remembered = newKeeper(t.TempDir(), s.log), filepath.Join(t.TempDir(), "s.")
	t.Cleanup(s.kept.close)
	s.makeMaps()
	return s, out
}
