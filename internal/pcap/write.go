package pcap

import (
	"encoding/binary"
	"io"
	"time"
)

// Writer writes Ethernet frames as a pcap file with times in nanoseconds.
type Writer struct {
	out io.Writer
	b   []byte
}

// NewWriter writes the header of the file.
func NewWriter(out io.Writer) (*Writer, error) {
	const major, minor, snapLength = 2, 4, maxRecord
	w := &Writer{out: out}
	b := binary.LittleEndian.AppendUint32(nil, magicNano)
	b = binary.LittleEndian.AppendUint16(b, major)
	b = binary.LittleEndian.AppendUint16(b, minor)
	b = append(b, make([]byte, 8)...) // time zone and accuracy, never used
	b = binary.LittleEndian.AppendUint32(b, snapLength)
	b = binary.LittleEndian.AppendUint32(b, uint32(linkEthernet))
	_, err := out.Write(b)
	return w, err
}

// Write adds a frame. It is cut at the longest record that a Reader takes.
func (w *Writer) Write(at time.Time, frame []byte) error {
	length := len(frame)
	frame = frame[:min(length, maxRecord)]
	b := binary.LittleEndian.AppendUint32(w.b[:0], uint32(at.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(at.Nanosecond()))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
	b = binary.LittleEndian.AppendUint32(b, uint32(length))
	w.b = append(b, frame...)
	_, err := w.out.Write(w.b)
	return err
}
