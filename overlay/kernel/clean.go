package kernel

import (
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sys/unix"

	"roam6/internal/nft"
	"roam6/internal/nlsock"
	"roam6/internal/rtnl/rtbatch"
	"roam6/overlay/xfrmro"
)

// Clean removes from the calling thread's network namespace whatever an engine of this
// package left there that was killed, for the start of another one. It must not be called
// where one runs. What there is not is no failure, and neither is a kernel that has
// nothing of it.
func Clean(log *slog.Logger) error {
	var failures []error
	note := func(what string, err error) {
		if err != nil && !nlsock.Gone(err) {
			failures = append(failures, fmt.Errorf("remove what another data plane left: %s: %w", what, err))
		}
	}
	c, err := rtbatch.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	var requests []rtbatch.Request
	err = c.Dump(unix.RTM_GETLINK, linkHeader(0, 0, 0), func(m []byte) {
		l, alias, ok := parseLink(m)
		var protocol, priority int
		if n, _ := fmt.Sscanf(alias, aliasFormat, &protocol, &priority); !ok || n != 2 {
			return
		}
		requests = append(requests, l.remove())
		if l.external { // a rule without its lower fields stands for all that have the upper ones
			requests = append(requests, rtbatch.Request{Kind: unix.RTM_DELRULE, Body: anyRule(priority, protocol)})
		}
	})
	note("list links", err)
	c.Commit(requests, func(_ int, err error) { note("devices and rules", err) })
	// The tables come last: they drop what comes out of the devices unapproved. So they go
	// even if no device is there any more.
	if s, err := nft.Open(); err == nil {
		defer s.Close()
		note("nftables", errors.Join(s.RemoveTable(tableName), s.RemoveTableOf(nft.Netdev, tableName)))
	}
	note("optimised routes", xfrmro.Clean(log))
	if len(requests) > 0 {
		log.Info("kernel state of the kernel data plane removed", "items", len(requests))
	}
	return errors.Join(failures...)
}
