package nft

import (
	"os"

	"golang.org/x/sys/unix"

	"roam6/internal/nlsock"
)

// Events is what others do to the ruleset.
type Events struct {
	file   *os.File
	buffer []byte
}

// OpenEvents opens a socket in the network namespace of the calling thread that hears
// of changes there.
func OpenEvents() (*Events, error) {
	fd, err := nlsock.Subscribe(unix.NETLINK_NETFILTER, 1<<(unix.NFNLGRP_NFTABLES-1))
	if err != nil {
		return nil, err
	}
	return &Events{file: os.NewFile(uintptr(fd), "nftables events"), buffer: make([]byte, 1<<15)}, nil
}

// File is the socket.
func (e *Events) File() *os.File { return e.file }

// Close ends a Deleted that waits.
func (e *Events) Close() error { return e.file.Close() }

// Deleted waits for news, and reports whether somebody else than the socket with a port
// has deleted a table of that name, or may have: news can be lost. err is not nil when the socket was
// closed.
func (e *Events) Deleted(table string, port uint32) (deleted bool, err error) {
	rc, err := e.file.SyscallConn()
	if err != nil {
		return false, err
	}
	var n int
	var from unix.Sockaddr
	var failure error
	err = rc.Read(func(fd uintptr) bool {
		n, from, failure = unix.Recvfrom(int(fd), e.buffer, 0)
		return failure != unix.EAGAIN
	})
	if err != nil {
		return false, err
	}
	if failure != nil {
		return failure != unix.EINTR, nil // ENOBUFS above all
	}
	messages, err := nlsock.FromKernel(e.buffer[:n], from)
	if err != nil {
		return false, nil
	}
	for _, m := range messages {
		if m.Header.Type == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE && m.Header.Pid != port &&
			len(m.Data) >= sizeofNfgenmsg && (Family(m.Data[0]) == IPv6 || Family(m.Data[0]) == Netdev) &&
			StringAttribute(m.Data[sizeofNfgenmsg:], unix.NFTA_TABLE_NAME) == table {
			return true, nil
		}
	}
	return false, nil
}
