package vm

import (
	"bufio"
	"net"
	"strings"
	"testing"
)

// The monitor negotiates once, waits for its own answer, and tells of an error.
func TestMonitor(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	orders := make(chan string, 3)
	go func() {
		defer theirs.Close()
		lines := bufio.NewScanner(theirs)
		for _, answer := range []string{
			`{"QMP": {"version": {}}} {"return": {}}`,
			`{"event": "NIC_RX_FILTER_CHANGED"} {"return": {}}`,
			`{"error": {"class": "DeviceNotFound", "desc": "no card7"}}`,
		} {
			if !lines.Scan() {
				return
			}
			orders <- lines.Text()
			if _, err := theirs.Write([]byte(answer + "\n")); err != nil {
				return
			}
		}
	}()
	m := NewMonitor(ours)
	if err := m.SetLink(1, false); err != nil {
		t.Fatal(err)
	}
	if err := m.SetLink(7, true); err == nil || !strings.Contains(err.Error(), "no card7") {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{`"qmp_capabilities"`, `"name":"card1","up":false`, `"name":"card7","up":true`} {
		if got := <-orders; !strings.Contains(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if err := m.SetLink(1, true); err == nil {
		t.Error("no error from a monitor that has gone")
	}
}
