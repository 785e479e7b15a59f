package mhsock

import (
	"encoding/binary"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/rtnl/nstest"
)

// That our table was deleted, and that a transaction of ours failed, is believed
// of the kernel alone.
//
// Covers: Attack: forged netlink.
func TestForgedNetlink(t *testing.T) {
	w := newWorld(t)
	c := w.openSilent()
	deletion := nft.Attributes(nil).Text(unix.NFTA_TABLE_NAME, DefaultTableName)
	forged := make([]byte, 0, 64)
	forged = binary.NativeEndian.AppendUint32(forged, uint32(unix.SizeofNlMsghdr+4+len(deletion)))
	forged = binary.NativeEndian.AppendUint16(forged, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE)
	forged = append(forged, make([]byte, unix.SizeofNlMsghdr-len(forged))...)
	forged = append(forged, unix.NFPROTO_IPV6, unix.NFNETLINK_V0, 0, 0)
	forge(w.router, portOf(t, c.silencer.events.File()), append(forged, deletion...))

	// Of whichever of the next transactions' commands.
	for seq := range uint32(100) {
		failure := make([]byte, unix.SizeofNlMsghdr+4)
		binary.NativeEndian.PutUint32(failure, uint32(len(failure)))
		binary.NativeEndian.PutUint16(failure[4:], unix.NLMSG_ERROR)
		binary.NativeEndian.PutUint32(failure[8:], seq)
		binary.NativeEndian.PutUint32(failure[unix.SizeofNlMsghdr:], 0xffffffff-uint32(unix.EPERM)+1)
		forge(w.router, c.silencer.nft.Port(), failure)
	}
	if err := replaceTable(c.silencer.nft, DefaultTableName, rules(false, 0)); err != nil {
		t.Errorf("believed that the kernel refused: %v", err)
	}

	// The kernel's word comes behind the forged one.
	if !tableExists(t, w.router, DefaultTableName) { // and deletes it
		t.Fatal("no table")
	}
	for deadline := time.Now().Add(patience); c.Counters().Restored == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not restored")
		}
	}
	// Who believed the forged one was busy then, and pauses now.
	if !tableExists(t, w.router, DefaultTableName) {
		t.Error("restored before the table was deleted: believed a forged message")
	}
}

// portOf is the netlink address of a socket.
func portOf(t *testing.T, f *os.File) (port uint32) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		name, err := unix.Getsockname(int(fd))
		if n, ok := name.(*unix.SockaddrNetlink); err == nil && ok {
			port = n.Pid
		}
	})
	if err != nil || port == 0 {
		t.Fatalf("port %d, %v", port, err)
	}
	return port
}

// forge sends a netlink message from this process to a socket of a namespace.
func forge(s *nstest.Space, port uint32, message []byte) {
	s.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port})
	})
}
