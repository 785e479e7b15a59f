package node

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"roam6/dhcpv6/dhcpconn"
	"roam6/internal/role"
	"roam6/internal/rtnl/nstest"
)

// asDHCPClient makes the test binary give up its privileges, and then do what a
// DHCPv6 client needs, with its files in the directory of that name.
const asDHCPClient = "ROAM6_TEST_DHCP_PRIVILEGES"

// A node that has given up its privileges still opens the sockets of DHCPv6, if
// they were asked for, and writes its state and the resolver file; one that has
// nothing to do with DHCPv6 cannot open them.
func TestPrivilegesOfDHCP(t *testing.T) {
	if dir := os.Getenv(asDHCPClient); dir != "" {
		actAsDHCPClient(dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: who has no privileges cannot give them up")
	}
	space := nstest.New(t)
	dir := t.TempDir()
	var out []byte
	space.Do(func() (err error) {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestPrivilegesOfDHCP$", "-test.v")
		cmd.Env = append(os.Environ(), asDHCPClient+"="+dir)
		out, err = cmd.CombinedOutput()
		return err
	})
	text := string(out)
	if strings.Contains(text, errors.ErrUnsupported.Error()) {
		t.Skip("not in a binary with cgo: go test with CGO_ENABLED=0")
	}
	for _, want := range []string{"client: <nil>", "server: <nil>", "resolver: <nil>", "kept: 1234\n", "again: 1234\n", "without: permission denied"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
}

func actAsDHCPClient(dir string) {
	k := newKeeper(filepath.Join(dir, "state"), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err := dropPrivileges(keptCapabilities | portCapability); err != nil {
		fmt.Println(err)
		return
	}
	hear := func(role.DHCPReceived) {}
	c, err := dhcpconn.OpenClient(1, hear)
	fmt.Printf("client: %v\n", err)
	g, err := dhcpconn.OpenServer(netip.IPv6Loopback(), hear)
	fmt.Printf("server: %v\n", err)
	if c != nil && g != nil {
		c.Close()
		g.Close()
	}
	r := resolver{path: filepath.Join(dir, "resolv.conf")}
	fmt.Printf("resolver: %v\n", r.write([]byte("nameserver ::1\n")))
	k.save("lease", []byte("1234"))
	fmt.Printf("kept: %s\n", k.load("lease", anything))
	k.close()
	k = newKeeper(filepath.Join(dir, "state"), slog.New(slog.NewTextHandler(os.Stdout, nil)))
	fmt.Printf("again: %s\n", k.load("lease", anything))
	k.close()
	if err := dropPrivileges(keptCapabilities); err != nil {
		fmt.Println(err)
		return
	}
	_, err = dhcpconn.OpenClient(1, hear)
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	fmt.Printf("without: %v\n", err)
}
