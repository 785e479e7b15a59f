package rtnl

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const sysctlRoot = "/proc/sys/net/ipv6"

// Sysctls reads and sets what is under /proc/sys/net/ipv6 in one network
// namespace, remembers what was there, and restores it at Close: only what is
// still as it was set here, so that an administrator's later change stands. It
// may be used by several goroutines.
type Sysctls struct {
	namespace *namespace

	mu    sync.Mutex
	ioctl int // a socket in the namespace, for names of interfaces
	saved []savedSysctl

	memory string // file of what to restore; empty: none
}

// savedSysctl is a setting that was changed. Interfaces are remembered by index:
// they may be renamed.
type savedSysctl struct {
	link          int // 0: path is below sysctlRoot; otherwise below the interface's directory
	path          string
	original, set string
	// interfaces are the settings of single interfaces that a write to conf/all
	// has overwritten.
	interfaces map[string]string
}

// NewSysctls is for the calling thread's network namespace. memory is a file in
// which it keeps what it has to restore, for the case that the process is killed;
// empty: none. What a predecessor has left there is restored at Close.
func NewSysctls(memory string) (*Sysctls, error) {
	n, err := currentNamespace()
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		n.close()
		return nil, fmt.Errorf("sysctls: %w", os.NewSyscallError("socket", err))
	}
	s := &Sysctls{namespace: n, ioctl: fd, memory: memory}
	s.recall()
	return s, nil
}

// Get reads a setting, such as "conf/all/forwarding".
func (s *Sysctls) Get(path string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read(0, path)
}

// Original reads what a setting was before anything here has changed it.
func (s *Sysctls) Original(path string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.saved {
		if v.link == 0 && v.path == path {
			return v.original, nil
		}
		if original, ok := v.interfaces[path]; ok {
			return original, nil
		}
	}
	return s.read(0, path)
}

// GetLink reads a setting of an interface, such as "accept_ra".
func (s *Sysctls) GetLink(index int, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read(index, name)
}

// Set changes a setting, such as "conf/all/forwarding".
func (s *Sysctls) Set(path, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set(0, path, value)
}

// SetLink changes a setting of an interface, such as "accept_dad".
func (s *Sysctls) SetLink(index int, name, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set(index, name, value)
}

// PutBack sets what a Set of "conf/all/..." has changed for one interface back to
// what it was. It is not remembered: nothing of it has to be restored.
func (s *Sysctls) PutBack(path, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, err := s.read(0, path)
	if err != nil || was == value {
		return err
	}
	return s.write(0, path, value)
}

// RestoreLink restores what was changed of an interface, under the conditions of
// Close.
func (s *Sysctls) RestoreLink(index int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var failures []error
	kept := s.saved[:0]
	for _, v := range s.saved {
		if v.link != index {
			kept = append(kept, v)
		} else if err := s.restore(v); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failures = append(failures, err)
		}
	}
	s.saved = kept
	s.remember()
	return errors.Join(failures...)
}

// Close restores what was changed, the last change first. Settings of
// interfaces that are gone went with them.
func (s *Sysctls) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.namespace == nil {
		return nil
	}
	var failures []error
	for i := len(s.saved) - 1; i >= 0; i-- {
		if err := s.restore(s.saved[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failures = append(failures, err)
		}
	}
	s.saved = nil
	s.remember()
	unix.Close(s.ioctl)
	s.namespace.close()
	s.namespace = nil
	return errors.Join(failures...)
}

func (s *Sysctls) set(link int, path, value string) error {
	original, err := s.read(link, path)
	if err != nil {
		return err
	}
	if original == value {
		return nil
	}
	v := savedSysctl{link: link, path: path, original: original, set: value}
	if setting, ok := strings.CutPrefix(path, "conf/all/"); ok && link == 0 {
		if v.interfaces, err = s.perInterface(setting); err != nil {
			return err
		}
	}
	if err := s.write(link, path, value); err != nil {
		return err
	}
	for i, e := range s.saved {
		if e.link == link && e.path == path {
			s.saved[i].set = value // the first original is the one to restore
			s.remember()
			return nil
		}
	}
	s.saved = append(s.saved, v)
	s.remember()
	return nil
}

func (s *Sysctls) restore(v savedSysctl) error {
	now, err := s.read(v.link, v.path)
	if err != nil || now != v.set {
		return err
	}
	if err := s.write(v.link, v.path, v.original); err != nil {
		return err
	}
	var failures []error
	for path, original := range v.interfaces {
		if now, err := s.read(0, path); err == nil && now != original {
			failures = append(failures, s.write(0, path, original))
		}
	}
	return errors.Join(failures...)
}

// perInterface reads a setting of every interface and of conf/default.
func (s *Sysctls) perInterface(setting string) (map[string]string, error) {
	all := make(map[string]string)
	err := s.namespace.do(func() error {
		files, err := filepath.Glob(sysctlRoot + "/conf/*/" + setting)
		for _, f := range files {
			path := strings.TrimPrefix(f, sysctlRoot+"/")
			if b, err := os.ReadFile(f); err == nil && path != "conf/all/"+setting {
				all[path] = string(bytes.TrimSpace(b))
			}
		}
		return err
	})
	return all, err
}

func (s *Sysctls) read(link int, path string) (value string, err error) {
	err = s.at(link, path, func(file string) error {
		b, err := os.ReadFile(file)
		value = string(bytes.TrimSpace(b))
		return err
	})
	return value, err
}

func (s *Sysctls) write(link int, path, value string) error {
	return s.at(link, path, func(file string) error {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString(value)
		return errors.Join(err, f.Close())
	})
}

// at calls f, in the namespace, with the file of a setting.
func (s *Sysctls) at(link int, path string, f func(file string) error) error {
	if s.namespace == nil {
		return fmt.Errorf("sysctl %s: %w", path, os.ErrClosed)
	}
	if !filepath.IsLocal(path) {
		return fmt.Errorf("sysctl %q: not a path below %s", path, sysctlRoot)
	}
	return s.namespace.do(func() error {
		file := filepath.Join(sysctlRoot, path)
		if link != 0 {
			name, err := s.name(link)
			if err != nil {
				return fmt.Errorf("sysctl %s of interface %d: %w", path, link, err)
			}
			file = filepath.Join(sysctlRoot, "conf", name, path)
		}
		err := f(file)
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%w: run as root with CAP_NET_ADMIN, and where /proc/sys is writable", err)
		}
		return err
	})
}

// name returns an interface's present name.
func (s *Sysctls) name(link int) (string, error) {
	name, err := interfaceName(s.ioctl, link)
	if errors.Is(err, unix.ENODEV) {
		return "", fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return name, err
}
