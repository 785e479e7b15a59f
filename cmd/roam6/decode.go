package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"roam6/internal/pcap"
	"roam6/mip6"
)

// maxHexInput is how much hexadecimal text is read: far more than the longest
// packet needs.
const maxHexInput = 1 << 20

// decode shows what is in Mobile IPv6 packets, given as hexadecimal or as a
// capture file.
func decode(args []string, std stdio) int {
	flags := flag.NewFlagSet("decode", flag.ContinueOnError)
	flags.SetOutput(std.err)
	flags.Usage = func() {}
	d := decoder{std: std, out: bufio.NewWriter(std.out)}
	flags.BoolVar(&d.json, "json", false, "")
	bare := flags.Bool("mh", false, "")
	file := flags.String("file", "", "")
	operands, err := interspersed(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		decodeUsage(std.out)
		return 0
	case err != nil:
		decodeUsage(std.err)
		return 2
	}
	if *bare {
		if len(operands) < 2 {
			return d.misuse("--mh wants the addresses that the checksum covers: --mh SOURCE DESTINATION")
		}
		for i, a := range []*netip.Addr{&d.source, &d.destination} {
			if *a, err = netip.ParseAddr(operands[i]); err != nil || !a.Is6() || a.Zone() != "" {
				return d.misuse(fmt.Sprintf("%q is not an IPv6 address", operands[i]))
			}
		}
		operands = operands[2:]
	}
	code := d.input(*file, operands)
	if err := d.out.Flush(); err != nil {
		fmt.Fprintln(std.err, "roam6 decode:", err)
		return 1
	}
	return code
}

func decodeUsage(w io.Writer) {
	fmt.Fprint(w, `usage: roam6 decode [--json] [--mh SOURCE DESTINATION] [HEX... | FILE | --file FILE]

Shows what is in Mobile IPv6 packets: Mobility Header messages, home agent
address discovery, mobile prefix discovery, router advertisements.

HEX is an IPv6 packet in hexadecimal, with spaces, colons, newlines and 0x as
you like, also as tcpdump -x prints it. FILE, or standard input if there is
neither, is such text or a capture (pcap, pcapng), of which other packets are
skipped.

  --json   one JSON object per packet and line
  --mh     HEX is a bare Mobility Header; the addresses are those that its
           checksum covers (home address, not care-of address)

Exit code 0: all decoded. 1: something is malformed, or not Mobile IPv6 at
all. 2: wrong usage, or text that is not hexadecimal.
`)
}

// interspersed parses flags before, between and after the operands, which it
// returns.
func interspersed(flags *flag.FlagSet, args []string) ([]string, error) {
	var operands []string
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return operands, nil
		}
		operands = append(operands, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

// decoder is one run of the command.
type decoder struct {
	std                 stdio
	out                 *bufio.Writer
	json                bool
	source, destination netip.Addr // of a bare Mobility Header, if valid
}

func (d *decoder) misuse(text string) int {
	fmt.Fprintf(d.std.err, "roam6 decode: %s\n", text)
	return 2
}

// input finds out where the packets are, and decodes them.
func (d *decoder) input(file string, operands []string) int {
	if file == "" && len(operands) == 1 {
		// No packet has a slash or a full stop: that is a file, there or not.
		if info, err := os.Stat(operands[0]); err == nil && info.Mode().IsRegular() || strings.ContainsAny(operands[0], "/.") {
			file, operands = operands[0], nil
		}
	}
	switch {
	case file != "" && len(operands) > 0:
		return d.misuse(fmt.Sprintf("%q: either --file or hexadecimal, not both", operands[0]))
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			fmt.Fprintln(d.std.err, "roam6 decode:", err)
			return 1
		}
		defer f.Close()
		return d.stream(f)
	case len(operands) > 0:
		var text []byte
		for _, o := range operands {
			text = append(append(text, o...), ' ')
		}
		return d.hex(text)
	default:
		return d.stream(d.std.in)
	}
}

// stream decodes a capture or hexadecimal text, whichever it is.
func (d *decoder) stream(in io.Reader) int {
	buffered := bufio.NewReader(in)
	if head, _ := buffered.Peek(4); pcap.IsCapture(head) {
		if d.source.IsValid() { // the packets of a capture have addresses of their own
			return d.misuse("--mh is for a Mobility Header in hexadecimal, not for a capture")
		}
		return d.capture(buffered)
	}
	text, err := io.ReadAll(io.LimitReader(buffered, maxHexInput+1))
	switch {
	case err != nil:
		fmt.Fprintln(d.std.err, "roam6 decode:", err)
		return 1
	case len(text) > maxHexInput:
		return d.misuse("the input is no capture, and too long to be a packet in hexadecimal")
	}
	return d.hex(text)
}

// hex decodes one packet.
func (d *decoder) hex(text []byte) int {
	packet, err := parseHex(text)
	if err != nil {
		return d.misuse(err.Error())
	}
	if len(packet) == 0 {
		return d.misuse("there is nothing to decode")
	}
	r := newPacketReport(d.json)
	if d.source.IsValid() {
		err = r.mobilityHeader(d.source, d.destination, packet)
	} else {
		err = r.packet(packet)
	}
	if errors.Is(err, mip6.ErrNotMobility) {
		fmt.Fprintf(d.std.err, "roam6 decode: %v\n", err)
		return 1
	}
	r.writeTo(d.out)
	if err != nil {
		return 1
	}
	return 0
}

// capture decodes all packets of a capture.
func (d *decoder) capture(in io.Reader) int {
	reader, err := pcap.NewReader(in)
	if err != nil {
		fmt.Fprintln(d.std.err, "roam6 decode:", err)
		return 1
	}
	code, others := 0, 0
	for {
		p, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			d.out.Flush()
			fmt.Fprintln(d.std.err, "roam6 decode: capture:", err)
			code = 1
			break
		}
		r := newPacketReport(d.json)
		r.frame(p.Number, p.Time)
		if err := r.packet(p.Data); errors.Is(err, mip6.ErrNotMobility) {
			others++
			continue
		} else if err != nil {
			code = 1
		}
		r.writeTo(d.out)
	}
	if others += reader.Skipped(); others > 0 {
		d.out.Flush()
		fmt.Fprintf(d.std.err, "roam6 decode: skipped %d packets that are not Mobile IPv6\n", others)
	}
	return code
}
