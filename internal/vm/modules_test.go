package vm

import (
	"slices"
	"strings"
	"testing"
)

const dep = `kernel/net/ipv6/ip6_tunnel.ko: kernel/net/ipv6/tunnel6.ko
kernel/net/ipv6/tunnel6.ko:
kernel/net/ipv6/esp6.ko: kernel/net/xfrm/xfrm_algo.ko
kernel/net/xfrm/xfrm_algo.ko:
kernel/drivers/net/tun.ko:
kernel/drivers/net/ethernet/x-card.ko: kernel/drivers/net/mdio.ko
kernel/drivers/net/mdio.ko:
kernel/lib/chained.ko: kernel/net/ipv6/ip6_tunnel.ko
`

func parsed(t *testing.T) modules {
	t.Helper()
	m, err := readModules(strings.NewReader(dep))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestClosure(t *testing.T) {
	m := parsed(t)
	for _, test := range []struct {
		name string
		of   []string
		want []string
	}{
		{"none", nil, nil},
		{"alone", []string{"kernel/drivers/net/tun.ko"}, []string{"kernel/drivers/net/tun.ko"}},
		// depmod lists all that is needed; if it did not, nothing would be missing.
		{"indirectly", []string{"kernel/lib/chained.ko"}, []string{"kernel/lib/chained.ko", "kernel/net/ipv6/ip6_tunnel.ko", "kernel/net/ipv6/tunnel6.ko"}},
		{"shared", []string{"kernel/net/ipv6/ip6_tunnel.ko", "kernel/net/ipv6/tunnel6.ko"}, []string{"kernel/net/ipv6/ip6_tunnel.ko", "kernel/net/ipv6/tunnel6.ko"}},
	} {
		got, err := m.closure(test.of)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
		}
	}
	if got, err := m.closure([]string{"kernel/net/nothing.ko"}); err == nil {
		t.Errorf("of an unknown module: %q", got)
	}
}

func TestModuleNames(t *testing.T) {
	m := parsed(t)
	for name, want := range map[string]string{
		"tun": "kernel/drivers/net/tun.ko", "x_card": "kernel/drivers/net/ethernet/x-card.ko", "x-card": "kernel/drivers/net/ethernet/x-card.ko",
		"xfrm-algo": "kernel/net/xfrm/xfrm_algo.ko", "nothing": "",
	} {
		if got, ok := m.find(name); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
	for file, want := range map[string]string{"kernel/a/b-c.ko.xz": "b_c", "b.ko.zst": "b", "/x/b.ko": "b"} {
		if got := moduleName(file); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}

func TestBelow(t *testing.T) {
	got := parsed(t).below([]string{"kernel/net/xfrm", "kernel/drivers/net/*"})
	want := []string{"kernel/drivers/net/mdio.ko", "kernel/drivers/net/tun.ko", "kernel/net/xfrm/xfrm_algo.ko"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDep(t *testing.T) {
	m := parsed(t)
	got := m.dep([]string{"kernel/net/ipv6/ip6_tunnel.ko", "kernel/net/ipv6/tunnel6.ko"})
	if want := "kernel/net/ipv6/ip6_tunnel.ko: kernel/net/ipv6/tunnel6.ko\nkernel/net/ipv6/tunnel6.ko:\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if m, err := readModules(strings.NewReader("no colon\n")); err == nil {
		t.Errorf("read from nonsense: %+v", m)
	}
}

func TestAliases(t *testing.T) {
	const list = "# Aliases.\nalias rtnl-link-ip6tnl ip6_tunnel\nalias pci:v0* x_card\nalias xfrm-type-10-50 esp6\nsoftdep esp6 pre: algo\nsoftdep x_card pre: y\n"
	got, err := aliases(strings.NewReader(list), []string{"kernel/net/ipv6/ip6_tunnel.ko", "kernel/net/ipv6/esp6.ko"})
	if want := "alias rtnl-link-ip6tnl ip6_tunnel\nalias xfrm-type-10-50 esp6\nsoftdep esp6 pre: algo\n"; err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}
