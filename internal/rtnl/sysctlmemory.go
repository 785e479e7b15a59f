package rtnl

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
)

// A process that is killed leaves settings changed, and its successor would take
// them for what was there before. So what was there is kept in a file, for as long
// as the system runs, next to the control socket.

// maxMemory bounds what is read of the file: some hundred settings.
const maxMemory = 1 << 20

// sysctlMemory is the content of the file.
type sysctlMemory struct {
	Boot     string // of the system; another one has settings of its own
	Settings []rememberedSysctl
}

type rememberedSysctl struct {
	Link          int
	Name          string // of the interface: its index may be somebody else's by now
	Path          string
	Original, Set string
	Interfaces    map[string]string `json:",omitempty"`
}

// recall takes over what a predecessor has changed and not restored. A file that
// cannot be read, or is of no use, is none.
func (s *Sysctls) recall() {
	f, err := os.Open(s.memory)
	if err != nil {
		return
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMemory))
	var m sysctlMemory
	if err != nil || json.Unmarshal(b, &m) != nil || m.Boot != bootID() {
		return
	}
	for _, r := range m.Settings {
		now, err := s.read(r.Link, r.Path)
		if err != nil || now != r.Set {
			continue
		}
		if name, err := s.linkName(r.Link); err != nil || name != r.Name {
			continue
		}
		s.saved = append(s.saved, savedSysctl{link: r.Link, path: r.Path, original: r.Original, set: r.Set, interfaces: r.Interfaces})
	}
}

// remember writes down what is to be restored. Without the file a restart after a
// crash takes our settings for the administrator's: that is no reason to fail.
func (s *Sysctls) remember() {
	if s.memory == "" {
		return
	}
	if len(s.saved) == 0 {
		_ = os.Remove(s.memory)
		return
	}
	m := sysctlMemory{Boot: bootID()}
	for _, v := range s.saved {
		name, err := s.linkName(v.link)
		if err != nil {
			continue // gone, and its settings with it
		}
		m.Settings = append(m.Settings, rememberedSysctl{v.link, name, v.path, v.original, v.set, v.interfaces})
	}
	b, err := json.Marshal(m)
	if err != nil {
		return
	}
	// Not synced: it need not survive the system.
	next := s.memory + ".new"
	if err := os.WriteFile(next, b, 0o600); err == nil {
		_ = os.Rename(next, s.memory)
	}
}

// linkName is the name of an interface; of none, for settings of the whole node, it
// is empty.
func (s *Sysctls) linkName(link int) (string, error) {
	if link == 0 {
		return "", nil
	}
	return s.name(link)
}

// bootID tells one run of the system from another.
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(bytes.TrimSpace(b))
}
