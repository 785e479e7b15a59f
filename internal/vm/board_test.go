package vm

import (
	"slices"
	"strings"
	"testing"
)

// Each board has its own kernels: not those of another, nor of a variant of its own.
func TestBoardReleases(t *testing.T) {
	names := append(slices.Clone(listing),
		"linux-image-6.1.0-47-4kc-malta", "linux-image-6.1.0-50-4kc-malta", "linux-image-6.1.0-50-4kc-malta-dbg", "linux-image-4kc-malta",
		"linux-image-6.1.0-50-armmp", "linux-image-6.1.0-50-rt-armmp", "linux-image-6.1.0-51-armmp-lpae", "linux-image-armmp")
	for board, want := range map[Board][]string{
		Malta: {"6.1.0-50-4kc-malta", "6.1.0-47-4kc-malta"},
		Virt:  {"6.1.0-50-armmp"},
	} {
		if got := releases(board, names, ""); !slices.Equal(got, want) {
			t.Errorf("%v: %q, want %q", board, got, want)
		}
	}
}

func TestParseBoard(t *testing.T) {
	for _, b := range Boards() {
		if got, err := ParseBoard(b.String()); err != nil || got != b {
			t.Errorf("%v: %v, %v", b, got, err)
		}
	}
	if _, err := ParseBoard("toaster"); err == nil || !strings.Contains(err.Error(), "malta") {
		t.Errorf("an unknown board: error %v", err)
	}
}

// What QEMU inherits has the descriptors that its arguments name: ports, cards, monitor.
func TestCardArguments(t *testing.T) {
	m := testMachine(t)
	m.Input = strings.NewReader("")
	m.Cards = []Card{{MAC: []byte{2, 0, 0, 0, 0, 1}}, {MAC: []byte{2, 0, 0, 0, 0, 2}}}
	got := strings.Join(m.arguments("initrd", "log"), " ")
	for _, want := range []string{"id=port4,fd=6", "id=frames0,local.type=fd,local.str=7", "id=frames1,local.type=fd,local.str=8", "id=card1,netdev=frames1,mac=02:00:00:00:00:02"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s: not %s", got, want)
		}
	}
	if strings.Contains(got, "-mon ") {
		t.Errorf("%s: a monitor that nobody asked for", got)
	}
}

// A foreign board's apt asks its own lists, and leaves this machine's alone.
func TestForeignApt(t *testing.T) {
	s := Store{Dir: t.TempDir(), Say: quiet}
	a, err := s.apt(Malta)
	if err != nil {
		t.Fatal(err)
	}
	options := strings.Join(a.options, " ")
	for _, want := range []string{"APT::Architecture=mipsel", "Dir::State::lists=" + s.Dir, "Dir::Etc::SourceParts=-"} {
		if !strings.Contains(options, want) {
			t.Errorf("%s: not %s", options, want)
		}
	}
	if a.own() {
		t.Error("the lists of a foreign architecture are taken for this machine's")
	}
}
