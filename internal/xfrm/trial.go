package xfrm

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"roam6/internal/esp"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay"
)

// TryESP reports why the kernel cannot do ESP for IPv6 with some algorithms, all of
// package esp where none is named; nil: it can. It adds an association with each, in the
// network namespace of the calling thread and with a destination that nobody has, and
// takes it back. The error wraps ErrKernel where the kernel is the reason.
func TryESP(algorithms ...esp.Algorithm) error {
	conn, err := rtbatch.OpenXFRM()
	if err != nil {
		return explain("IPsec", err)
	}
	defer conn.Close()
	return try(conn, algorithms...)
}

func try(conn *rtbatch.Conn, algorithms ...esp.Algorithm) error {
	if len(algorithms) == 0 {
		algorithms = []esp.Algorithm{esp.AESCBCSHA256, esp.AESGCM}
	}
	for _, a := range algorithms {
		key := make([]byte, a.KeyLengths()[0])
		s := state{source: netip.IPv6Unspecified(), destination: netip.IPv6Loopback(), request: overlay.SealRequest,
			Association: esp.Association{SPI: 1<<32 - 1, Algorithm: a, Key: esp.Key(key)}}.item("as a trial")
		var failure error
		conn.Commit([]rtbatch.Request{s.add, s.remove}, func(n int, err error) {
			if n == 0 && !errors.Is(err, unix.EEXIST) {
				failure = explain(fmt.Sprintf("add %s, %v", s.what, a), err)
			}
		})
		if failure != nil {
			return failure
		}
	}
	return nil
}
