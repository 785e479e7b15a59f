#!/bin/sh
# Runs the suites of suites.sh in a virtual machine with Debian's stock kernel. Where
# that is not possible it says so and ends well, but not in CI (where CI is set), and
# not as root on Debian, where what it needs can be had.
set -eu
cd "$(dirname "$0")/../.."
GO=${GO:-go}
out=bin/vm
export CGO_ENABLED=0

cannot() {
	if [ -n "${CI:-}" ] || { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }; then
		echo "vm-test: $1" >&2
		exit 1
	fi
	echo "vm-test: skipped: $1"
	exit 0
}

if [ "$($GO env GOARCH)" != amd64 ]; then
	echo "vm-test: skipped: the kernel and what is tested in it are of amd64"
	exit 0
fi
PATH=$PATH:/usr/sbin:/sbin
for c in qemu-system-x86_64 busybox depmod xz; do
	command -v $c >/dev/null || cannot "there is no $c: it needs the Debian packages qemu-system-x86, busybox-static, kmod and xz-utils"
done

rm -rf $out
mkdir -p $out
cp internal/vm/suites.sh internal/vm/inside.sh bin/roam6 $out
gotest() {
	mkdir -p "$out/$1"
	$GO test -vet=off -c -o "$out/$1/test" "./$1"
	[ ! -d "$1/testdata" ] || cp -r "$1/testdata" "$out/$1"
}
roam6() { :; }
files=
file() { files="$files -file $1"; }
. internal/vm/suites.sh
$GO build -o bin/vmrun ./internal/vm/vmrun

status=0
bin/vmrun -v -timeout 15m ${VM_FLAGS:-} $files -file $out:/test -- sh /test/inside.sh || status=$?
[ $status != 126 ] || cannot "no machine, as said above"
exit $status
