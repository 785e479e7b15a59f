package main

import (
	"io"
	"strings"
	"testing"
)

// TestSession: answers end with their status, and roam6's end is told whatever was asked.
func TestSession(t *testing.T) {
	said, machine := io.Pipe()
	asked, ask := io.Pipe()
	s := newSession(ask)
	go s.listen(t.Context(), said)
	go func() {
		b := make([]byte, 64)
		for _, answer := range []string{"{\n}\n= 0\n", "cannot\n= 1\n"} {
			if _, err := asked.Read(b); err != nil {
				return
			}
			_, _ = io.WriteString(machine, answer)
		}
		_, _ = io.WriteString(machine, "ended 0\n")
		machine.Close()
	}()
	_, _ = io.WriteString(machine, "ready\n")
	<-s.ready
	if text, err := s.question(t.Context(), "show stats"); err != nil || text != "{\n}\n" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := s.question(t.Context(), "show x"); err == nil || !strings.Contains(err.Error(), "cannot") {
		t.Errorf("error %v", err)
	}
	if status, ok := <-s.ended; !ok || status != "0" {
		t.Errorf("ended with %q, %t", status, ok)
	}
}

func TestOctets(t *testing.T) {
	const status = "Name:\troam6\nVmHWM:\t   20000 kB\nVmRSS:\t   18000 kB\n"
	if n, err := octets(status, "VmRSS"); err != nil || n != 18000*1024 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := octets(status, "RssAnon"); err == nil {
		t.Error("no error for what is not there")
	}
}

func TestParse(t *testing.T) {
	for _, args := range [][]string{nil, {"-binary", "x"}, {"-binary", "x", "run"}, {"run", "--config", "y"}, {"-board", "toaster", "-binary", "x", "run", "--config", "y"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
	if o, err := parse([]string{"-board", "virt", "-binary", "x", "run", "--config", "y"}, io.Discard); err != nil || o.config != "y" || o.memory != 128 {
		t.Errorf("%+v, %v", o, err)
	}
}
