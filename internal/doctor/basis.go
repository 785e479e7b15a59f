package doctor

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roam6/internal/mhsock"
	"roam6/internal/rtnl/rtbatch"
	"roam6/internal/xfrm"
	"roam6/overlay/feature"
)

// basis is what every role needs. private says that what is tried harms nobody.
func basis(private bool) []feature.Feature {
	f := []feature.Feature{
		feature.Tried("IPv6", ipv6(), feature.Feature{OpenWrt: "kmod-ipv6", Debian: "boot without ipv6.disable=1; sysctl net.ipv6.conf.all.disable_ipv6=0"}),
		feature.Tried("packet sockets (CAP_NET_RAW)", packetSocket(), feature.Feature{OpenWrt: "run as root", Debian: "run as root, or give CAP_NET_RAW"}),
		feature.Tried("policy rules", policyRules(), feature.Feature{OpenWrt: "a kernel with CONFIG_IPV6_MULTIPLE_TABLES, as all releases have", Debian: "a kernel with CONFIG_IPV6_MULTIPLE_TABLES"}),
	}
	if !private {
		return f
	}
	return append(f,
		feature.Tried("source-specific routes", sourceRoutes(), feature.Feature{
			Instead: "one uplink at a time",
			OpenWrt: "a kernel with CONFIG_IPV6_SUBTREES, as all releases have", Debian: "a kernel with CONFIG_IPV6_SUBTREES",
		}),
		feature.Tried("nftables with exthdr and rt", mhsock.TrySilence(), feature.Feature{
			Instead: "the kernel answers signalling with ICMPv6 errors, which some peers take for the truth",
			OpenWrt: "kmod-nft-core", Debian: "modprobe nf_tables",
		}),
		feature.Tried("IPsec ESP in the kernel", xfrm.TryESP(), feature.Feature{
			Instead: "ESP in user space, for signalling; neither IKEv2 nor payload",
			OpenWrt: "kmod-ipsec kmod-ipsec6", Debian: "modprobe esp6 xfrm_user",
		}),
		feature.Tried("Mobile IPv6 in the kernel", mhsock.TryMobileIPv6(), feature.Feature{
			Instead: "all of it in roam6, which is as good",
			OpenWrt: "not in any release", Debian: "modprobe mip6",
		}),
	)
}

func ipv6() error {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return fmt.Errorf("not in this kernel")
	}
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/all/disable_ipv6")
	if err == nil && len(b) > 0 && b[0] == '1' {
		return fmt.Errorf("disabled")
	}
	return nil
}

func packetSocket() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func policyRules() error {
	n, err := rtbatch.Open()
	if err != nil {
		return err
	}
	defer n.Close()
	rules := 0
	header := make([]byte, unix.SizeofRtMsg)
	header[0] = unix.AF_INET6
	if err := n.Dump(unix.RTM_GETRULE, header, func([]byte) { rules++ }); err != nil {
		return err
	}
	if rules == 0 { // there always are those of the local and the main table
		return unix.EOPNOTSUPP
	}
	return nil
}

// trial is a prefix for documentation.
var trial = netip.MustParsePrefix("2001:db8:feed::/64")

// sourceRoutes tries a route with a source prefix, on the loopback interface of the
// private namespace.
func sourceRoutes() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	n, err := rtbatch.Open()
	if err != nil {
		return err
	}
	defer n.Close()
	a := trial.Addr().As16()
	body := rtbatch.Attributes{unix.AF_INET6, 0, byte(trial.Bits()), 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0}
	body = body.Bytes(unix.RTA_SRC, a[:]).Uint32(unix.RTA_OIF, uint32(lo.Attrs().Index))
	var failure error
	n.Commit([]rtbatch.Request{{Kind: unix.RTM_NEWROUTE, Flags: unix.NLM_F_CREATE, Body: body}}, func(_ int, err error) { failure = err })
	return failure
}
