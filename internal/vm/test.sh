#!/bin/sh
# Runs what the lists suites.sh and scenarios.sh name in virtual machines with Debian's
# stock kernel, one for each list, at the same time, or with the argument "benchmarks" what
# that list does. Where that is not possible it says so and ends well, but not in CI (where
# CI is set), and not as root on Debian, where what it needs can be had.
set -eu
cd "$(dirname "$0")/../.."
GO=${GO:-go}
case ${1:-} in
'') me=vm-test lists="suites scenarios" flags= ;;
# An instruction takes so long that a rate is measured with few of them; and there are a
# hundred thousand bindings.
benchmarks) me=vm-bench lists=benchmarks flags="-instruction 4ns -memory 2048" ;;
*) echo "usage: $0 [benchmarks]" >&2; exit 2 ;;
esac
# On a host that does much else besides the same takes longer, and fails no more for that.
timeout=30m
out=bin/$me
export CGO_ENABLED=0

cannot() {
	if [ -n "${CI:-}" ] || { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }; then
		echo "$me: $1" >&2
		exit 1
	fi
	echo "$me: skipped: $1"
	exit 0
}

if [ "$($GO env GOARCH)" != amd64 ]; then
	echo "$me: skipped: the kernel and what is tested in it are of amd64"
	exit 0
fi
PATH=$PATH:/usr/sbin:/sbin
for c in qemu-system-x86_64 busybox depmod xz; do
	command -v $c >/dev/null || cannot "there is no $c: it needs the Debian packages qemu-system-x86, busybox-static, kmod and xz-utils"
done

rm -rf $out
mkdir -p $out
gotest() {
	[ -e "$dir/$1/test" ] && return
	mkdir -p "$dir/$1"
	$GO test -vet=off -c -o "$dir/$1/test" "./$1"
	[ ! -d "$1/testdata" ] || cp -r "$1/testdata" "$dir/$1"
}
gobench() { gotest "$1"; }
roam6() { :; }
file() { files="$files -file $1"; }
$GO build -o bin/vmrun ./internal/vm/vmrun
bin/vmrun -fetch || cannot "no kernel, as said above"

machines=
trap '[ -z "$machines" ] || kill $machines 2>/dev/null' EXIT
trap 'exit 1' HUP INT TERM
for list in $lists; do
	dir=$out/$list files=
	mkdir $dir
	cp internal/vm/$list.sh $dir/list.sh
	cp internal/vm/inside.sh bin/roam6 $dir
	. internal/vm/$list.sh
	bin/vmrun -v -timeout $timeout $flags ${VM_FLAGS:-} $files -file $dir:/test -- sh /test/inside.sh >$dir/log 2>&1 &
	machines="$machines $!"
done
echo "$me: what the machines say is shown when they have ended: $lists"
status=0
set -- $machines
for list in $lists; do
	ended=0
	wait $1 || ended=$?
	shift
	machines=$*
	cat $out/$list/log
	[ $ended != 126 ] || cannot "no machine, as said above"
	[ $ended = 0 ] || status=$ended
done
exit $status
