package lab

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"

	"roam6/internal/lab/dhcpserver"
)

// serversBoth stands for all programs.
const serversBoth = "both"

// pick chooses the server of a link from those that are here. dnsmasq always
// commits rapidly when it is asked to, so four messages are Kea's.
func (a addressing) pick(programs map[dhcpserver.Kind]string) dhcpserver.Kind {
	var order []dhcpserver.Kind
	switch a {
	case formedOnly:
	case leasedRapid:
		order = []dhcpserver.Kind{dhcpserver.Dnsmasq, dhcpserver.Kea}
	case formedFirst:
		order = []dhcpserver.Kind{dhcpserver.Kea, dhcpserver.Dnsmasq}
	case leasedSlow:
		order = []dhcpserver.Kind{dhcpserver.Kea}
	}
	for _, k := range order {
		if programs[k] != "" {
			return k
		}
	}
	return ""
}

// serverConfig is what the server of a link does. On the link where addresses can be
// formed it advertises without a preference, for which clients have to wait, and
// nobody waits for the client.
func (r *managedRun) serverConfig(l accessLink) dhcpserver.Config {
	last := l.pool().Addr().As16()
	last[14], last[15] = 0x1f, 0xff
	return dhcpserver.Config{
		Interface: linkAccess, Subnet: l.prefix(), First: l.pool().Addr(), Last: netip.AddrFrom16(last),
		DNS: l.dns(), Domain: l.domain(), T1: r.renew, Valid: r.valid(), Number: uint32(l.number),
		Rapid: l.addressing == leasedRapid, AtOnce: l.addressing == leasedSlow && !r.noPreference,
	}
}

// findServers returns where the wanted programs are, and what is to be said about
// those that cannot be used.
func (r *managedRun) findServers(s *stage) (paths map[dhcpserver.Kind]string, missing []string) {
	paths = map[dhcpserver.Kind]string{}
	for _, k := range dhcpserver.Kinds() {
		if r.servers != serversBoth && r.servers != string(k) {
			continue
		}
		path := k.Find()
		if path == "" {
			missing = append(missing, fmt.Sprintf("%s is not on this machine (apt-get install %s)", k.File(), k.Package()))
			continue
		}
		if err := r.usable(s, k, path); err != nil {
			missing = append(missing, fmt.Sprintf("%s cannot be used here: %v", k.File(), err))
			continue
		}
		paths[k] = path
	}
	return paths, missing
}

// usable lets a program check a configuration in the scenario's directory. Where a
// security module confines it to directories of its own, it cannot read it.
func (r *managedRun) usable(s *stage, k dhcpserver.Kind, path string) error {
	l := r.links[len(r.links)-1]
	c, err := k.Write(path, s.env.Directory, string(k)+"-check", r.serverConfig(l))
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd := exec.Command(path, c.Check...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err = s.world.Space(l.node).Do(cmd.Start); err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
		return fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	return nil
}

// newServer makes the process of a link's server.
func (r *managedRun) newServer(s *stage, l accessLink, path string) (*daemon, error) {
	name := string(l.server) + "-" + l.node
	c, err := l.server.Write(path, s.env.Directory, name, r.serverConfig(l))
	if err != nil {
		return nil, err
	}
	return newForeign(s.env, s.world.Space(l.node), name, program{path: c.Path, args: c.Args, env: c.Env, ready: dhcpserver.Ready})
}
