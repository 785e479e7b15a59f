package ike

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/esp"
)

// XFRM is the kernel's database of associations. Reading keys takes CAP_NET_ADMIN.
type XFRM struct{}

// Association implements Kernel.
func (XFRM) Association(to netip.Addr, spi uint32) (esp.Association, error) {
	state, err := netlink.XfrmStateGet(&netlink.XfrmState{Dst: to.AsSlice(), Proto: netlink.XFRM_PROTO_ESP, Spi: int(spi)})
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.ENOENT):
		return esp.Association{}, ErrNoState
	case err != nil:
		return esp.Association{}, fmt.Errorf("reading the ESP association with SPI %08x to %v from the kernel: %w", spi, to, err)
	}
	return fromState(state)
}

// errAlgorithm is an association whose algorithms are not package esp's.
var errAlgorithm = errors.New("its algorithms are neither AES-GCM with a check value of 16 octets nor AES-CBC with HMAC-SHA-256-128")

// fromState takes algorithm and keys of a kernel's association. The error has nothing of
// the keys in it.
func fromState(s *netlink.XfrmState) (esp.Association, error) {
	const icvBits = 128
	a := esp.Association{SPI: uint32(s.Spi)}
	switch {
	case s.Aead != nil && s.Aead.Name == "rfc4106(gcm(aes))" && s.Aead.ICVLen == icvBits:
		a.Algorithm, a.Key = esp.AESGCM, esp.Key(s.Aead.Key)
	case s.Crypt != nil && s.Auth != nil && s.Crypt.Name == "cbc(aes)" && s.Auth.Name == "hmac(sha256)" && s.Auth.TruncateLen == icvBits:
		a.Algorithm, a.Key = esp.AESCBCSHA256, esp.Key(s.Crypt.Key)+esp.Key(s.Auth.Key)
	default:
		return esp.Association{}, fmt.Errorf("the ESP association with SPI %08x cannot be used: %w", a.SPI, errAlgorithm)
	}
	return a, a.Check()
}
