package lab

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/lab/world"
	"roam6/mip6"
)

// What those have in common who speak for mobiles without being a roam6: the caller, the
// crowd and the attacker.

// associationOf is a mobile's with its home agent, by its key in hexadecimal.
func associationOf(key string) (mip6.SecurityAssociation, error) {
	sa := mip6.SecurityAssociation{SPI: spiNumber}
	_, err := hex.Decode(sa.Key[:], []byte(key))
	return sa, err
}

// ethernetHeader is that of IPv6 from an interface of a node to one of another, and the
// number of the former.
func ethernetHeader(w *world.World, from, ifname, to, peer string) (header []byte, index int, err error) {
	here, err := w.Space(from).Link.LinkByName(ifname)
	if err != nil {
		return nil, 0, fmt.Errorf("the interface of %s: %w", from, err)
	}
	there, err := w.Space(to).Link.LinkByName(peer)
	if err != nil {
		return nil, 0, fmt.Errorf("the other end of the interface of %s: %w", from, err)
	}
	return slices.Concat(there.Attrs().HardwareAddr, here.Attrs().HardwareAddr, []byte{unix.ETH_P_IPV6 >> 8, unix.ETH_P_IPV6 & 0xff}), here.Attrs().Index, nil
}

// waitsBriefly has a socket wait for what comes no longer than answersRunLoop may take to
// end.
func waitsBriefly(fd int) error {
	poll := unix.NsecToTimeval(int64(50 * time.Millisecond))
	return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &poll)
}

// answersRunLoop takes in, until done is closed, what a node says, by a packet socket
// whose packets begin behind so many octets. The addresses it goes to are not the kernel's,
// which drops it.
func answersRunLoop(fd, header int, from netip.Addr, done <-chan struct{}, take func(time.Time, mip6.Packet)) {
	buffer := make([]byte, 2048)
	for {
		select {
		case <-done:
			return
		default:
		}
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if err != nil || n < header {
			continue // nothing came
		}
		now := time.Now()
		if p, err := mip6.ParsePacket(buffer[header:n]); err == nil && p.Source == from {
			take(now, p)
		}
	}
}
