# What `make vm-test` runs on a stock kernel, one after the other in one machine. The
# same list is read twice: before the boot, for what has to be built, and inside.
#
#	gotest FOLDER [FLAG...]	tests of a package, with its testdata; a test that
#				skips has failed, since this is where it can run
#	roam6 [ARGUMENT...]	the binary
#	file PATH		a file or folder of the host that is to be inside
#
# The processor is 28 times slower than the host's and there is one: suites are to be
# light, and times mean little.

# The data plane in the kernel: the whole suite, and what is its own.
gotest overlay/kernel

# The others where ip6_tunnel is loaded and the kernel has Mobile IPv6.
gotest overlay/tun -test.run '^TestPlane$/^(Forwarding|SourceCheck|PacketTooBig|Unreachable|Crash|Adopt|Optimised|Stacked)$'
gotest overlay/tcx -test.run '^TestPlane$/^(Forwarding|SourceCheck|PacketTooBig|Unreachable|Crash|Adopt|Watch)$'

# ESP for signalling, with the kernel's Mobile IPv6 and ESP at the other end.
gotest internal/esp -test.run '^TestKernel'

# ESP for payload, which the kernel does.
gotest internal/xfrm

# Round trips that are long beside what the machine itself takes.
roam6 doctor
roam6 lab run ride --plane kernel --handovers 4 --dwell 4s --dwell-fast 4s \
	--delay-ar 20ms --delay-ha 100ms --delay-cn 20ms --probe-interval 20ms --tcp-rate 50000

# Keys by IKEv2, of strongSwan's charon, which puts them into the kernel.
file /usr/sbin/charon-systemd
file /usr/lib/ipsec
file /etc/strongswan.d
gotest internal/ike
roam6 lab run host --ike --untimed --handovers 4 --dwell 4s --probe-interval 50ms --tcp-rate 20000 \
	--delay-ha 200ms --delay-cn 60ms --delay-ar 20ms
roam6 lab run host --ike --payload --no-ro --untimed --handovers 2 --dwell 4s --probe-interval 100ms --tcp-rate 10000 \
	--delay-ha 200ms --delay-cn 60ms --delay-ar 20ms
