# What `make vm-test` runs on a stock kernel, one after the other in one machine; what is in
# scenarios.sh runs in another at the same time. Each list is read twice: before the boot,
# for what has to be built, and inside.
#
#	gotest FOLDER [FLAG...]	tests of a package, with its testdata; a test that
#				skips has failed, since this is where it can run
#	roam6 [ARGUMENT...]	the binary
#	file PATH		a file or folder of the host that is to be inside
#
# The machine's clock counts instructions: to wait costs nothing, what the host does
# besides changes nothing, and times are those of one processor of 1,000 MIPS. What many
# instructions take takes the host twenty times as long as its own: suites are to be light.

# The data plane in the kernel: the whole suite, and what is its own.
gotest overlay/kernel
gotest overlay/xfrmro

# The others where ip6_tunnel is loaded and the kernel has Mobile IPv6.
gotest overlay/tun -test.run '^(TestPlane|TestCaptureOnLinks)$/^(Forwarding|SourceCheck|PacketTooBig|Unreachable|Crash|Adopt|Optimised|Stacked|Ethernet|VLAN|tunnel)$'
gotest overlay/tcx -test.run '^TestPlane$/^(Forwarding|SourceCheck|PacketTooBig|Unreachable|Crash|Adopt|Watch)$'

# ESP for signalling, with the kernel's Mobile IPv6 and ESP at the other end.
gotest internal/esp -test.run '^TestKernel'

# Addresses, routes and rules where the kernel prefers home addresses (RFC 6724 §5 rule 4).
gotest internal/rtnl

# States of XFRM for Mobile IPv6.
gotest internal/xfrm/mobility

# ESP for payload, which the kernel does.
gotest internal/xfrm

# Daemons on a machine whose clock jumps by decades.
gotest cmd/roam6 -test.run '^TestClockJumps$' -set-clock

# The unit for systemd, with all of its restrictions, and modules that are loaded on demand.
file contrib/systemd/roam6.service:/test/contrib/systemd/roam6.service
file /lib/systemd/systemd
file /lib/systemd/systemd-journald
for unit in basic.target sysinit.target sockets.target shutdown.target \
	systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket; do
	file /lib/systemd/system/$unit
done
for command in systemctl journalctl unshare nsenter env ip; do
	file $command:/usr/bin/$command
done
gotest cmd/roam6 -test.run '^TestServiceUnderSystemd$'

# Keys by IKEv2, of strongSwan's charon, which puts them into the kernel.
file /usr/sbin/charon-systemd
file /usr/lib/ipsec
file /etc/strongswan.d
gotest internal/ike
