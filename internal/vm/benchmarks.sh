# What `make vm-bench` measures on a stock kernel, as suites.sh has what `make vm-test`
# tests there. Beside what that knows:
#
#	gobench FOLDER PATTERN ROUNDS	benchmarks of a package, each with so many rounds
#					(3x), of which the medians are shown
#
# The machine's clock counts instructions: a rate is how few of them a packet takes, and
# does not depend on the host. Ratios are of one run.

# The kernel's tunnels as the engine uses them, against the same with nothing else and
# against plain routing.
gobench overlay/kernel '^BenchmarkAgainstBareTunnel$' 3x

# What bindings cost: to install 1,000, 10,000 and 100,000, and to change one.
gobench overlay/kernel '^BenchmarkInstall$' 1x
gobench overlay/kernel '^BenchmarkRebind$' 20x

# The other engines, against plain routing.
gobench overlay/tcx '^BenchmarkThroughput$/^(Aggregates|Wires)$|^BenchmarkPacketRate$' 3x
gobench overlay/tun '^BenchmarkThroughput$/^(Aggregates|Wires)$|^BenchmarkPacketRate$' 3x

# Optimised routes by the engine with the kernel's XFRM, against that in user space and
# against XFRM alone.
gobench overlay/kernel '^BenchmarkAgainstXFRM$' 3x
