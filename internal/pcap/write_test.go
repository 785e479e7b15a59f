package pcap

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"
)

// TestWriterAndReader: what is written is read again.
func TestWriterAndReader(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_700_000_000, 123_456_789).UTC()
	packet := append([]byte{0x60}, bytes.Repeat([]byte{7}, 59)...)
	frame := append(append(make([]byte, 12), 0x86, 0xdd), packet...)
	for range 2 {
		if err := w.Write(at, frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(at, append(frame, make([]byte, maxRecord)...)); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		p, err := r.Next()
		if err != nil || p.Number != i+1 || !p.Time.Equal(at) || !bytes.Equal(p.Data, packet) {
			t.Errorf("packet %d: %v %+v", i+1, err, p)
		}
	}
	if p, err := r.Next(); err != nil || len(p.Data) != maxRecord-14 {
		t.Errorf("one that is too long: %v, %d octets", err, len(p.Data))
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}
