package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"roam6/internal/lab/dhcpserver"
)

// ErrNoKea is returned where there is no Kea server.
var ErrNoKea = errors.New("kea-dhcp6 is not on this machine (apt-get install " + dhcpserver.Kea.Package() + ")")

// keaDaemon is the name of Kea's process, and of its log.
const keaDaemon = "kea"

// support is Kea, where it delegates.
func (r *delegationRun) support(s *stage) ([]*daemon, error) {
	if r.server != byKea {
		return nil, nil
	}
	path := dhcpserver.Kea.Find()
	if path == "" {
		return nil, ErrNoKea
	}
	p := program{path: path, args: []string{"-c", r.keaFile(s)}, ready: dhcpserver.Ready}
	// Kea's directories, of which later releases allow no others.
	for _, v := range []string{"KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR", "KEA_DHCP_DATA_DIR", "KEA_LOG_FILE_DIR"} {
		p.env = append(p.env, v+"="+s.env.Directory)
	}
	if err := r.configureKea(s, r.pools()[0]); err != nil {
		return nil, err
	}
	d, err := newForeign(s.env, s.world.Space(nodeServer), keaDaemon, p)
	if err != nil {
		return nil, err
	}
	return []*daemon{d}, nil
}

func (r *delegationRun) keaFile(s *stage) string { return filepath.Join(s.env.Directory, "kea.json") }

// configureKea writes its configuration: no more than what makes it delegate from a
// pool. It finds the subnet by the link address of the relay next to the client:
// the home address of a mobile router that is away (RFC 6276 §3.1.2), or the home
// agent's.
func (r *delegationRun) configureKea(s *stage, pool netip.Prefix) error {
	const length = 56 // of delegated prefixes
	type object = map[string]any
	seconds := func(d time.Duration) int { return int(d / time.Second) }
	text, err := json.MarshalIndent(object{"Dhcp6": object{
		"interfaces-config": object{"interfaces": []string{linkServer + "/" + r.serverAddress().String()}},
		"lease-database":    object{"type": "memfile", "persist": false},
		"server-id":         object{"type": "EN", "enterprise-id": 32473, "identifier": "0DE1E6A7E5", "persist": false},
		"renew-timer":       seconds(r.preferred) / 2, "rebind-timer": seconds(r.preferred) * 8 / 10,
		"preferred-lifetime": seconds(r.preferred), "valid-lifetime": seconds(r.valid),
		"subnet6": []object{{
			"id": 1, "subnet": r.site().mobile().Masked().String(), "rapid-commit": true,
			"pd-pools": []object{{"prefix": pool.Addr().String(), "prefix-len": pool.Bits(), "delegated-len": length}},
		}},
		"loggers": []object{{"name": "kea-dhcp6", "severity": "INFO", "output_options": []object{{"output": "stdout"}}}},
	}}, "", "  ")
	if err == nil {
		err = os.WriteFile(r.keaFile(s), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("configuration of Kea: %w", err)
	}
	return nil
}

// replacePool gives whoever delegates another pool.
func (r *delegationRun) replacePool(s *stage, pool netip.Prefix) error {
	if r.server != byKea {
		sections := r.agent(pool).sections()
		if r.keys != nil {
			sections = protected(sections, r.router(), r.keys)
		}
		return s.daemon(nodeHomeAgent).reload(sections...)
	}
	if err := r.configureKea(s, pool); err != nil {
		return err
	}
	d := s.daemon(keaDaemon)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.process.Process.Signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("tell Kea to reload: %w", err)
	}
	return nil
}
