#!/bin/sh
# The ride with the mobile router on emulated boards, one after the other, since they measure
# time: MIPS, little-endian and without floating point, and ARMv7. The binaries are those of
# the packages (ROUTER_TAGS and ROUTER_FLAGS of the Makefile, which calls this). Figures are of a processor
# that QEMU emulates, beside a host that does other things. Exit code 1 where one has failed.
set -eu
cd "$(dirname "$0")/../.."
GO=${GO:-go}
out=$PWD/bin/router-test
export CGO_ENABLED=0
PATH=$PATH:/usr/sbin:/sbin
for c in qemu-system-mipsel qemu-system-arm busybox depmod; do
	command -v $c >/dev/null || { echo "router-test: there is no $c: it needs the Debian packages qemu-system-mips, qemu-system-arm, busybox-static and kmod" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "router-test: only root gives a machine the interfaces of a namespace" >&2; exit 1; }
rm -rf "$out"
mkdir -p "$out"
$GO build -o "$out"/vmnode ./internal/vm/vmnode
$GO build -o "$out"/vmrun ./internal/vm/vmrun
status=0
for target in malta:mipsle:GOMIPS=softfloat virt:arm:GOARM=7; do
	board=${target%%:*} rest=${target#*:}
	arch=${rest%%:*} variant=${rest#*:}
	env GOOS=linux GOARCH="$arch" "$variant" "$GO" build $ROUTER_FLAGS -tags "$ROUTER_TAGS" -ldflags '-s -w' -o "$out/roam6-$arch" ./cmd/roam6
	"$out"/vmrun -board "$board" -fetch
	echo "== $board: roam6 for $arch"
	timeout 170 bin/roam6 lab run ride --router "$out/vmnode -board $board -binary $out/roam6-$arch" \
		--handovers "${HANDOVERS:-6}" --l2 300ms --delay-ar 40ms --delay-ha 200ms --delay-cn 40ms --dwell 3s --dwell-fast 3s \
		--probe-interval 20ms --tcp-rate 40000 --wait --dir "$out/$board" || status=1
done
exit $status
