#!/bin/sh
# A machine made of namespaces, with systemd as its first process: machine.sh FOLDER PROGRAM.
# It is run in a mount namespace of its own. FOLDER has units, which become the only ones,
# and configurations; PROGRAM becomes /roam6. Where the host lets nobody mount or make a
# control group it ends with 77.
set -e
here=$(cd "$(dirname "$0")" && pwd)
root=$1/root
mount -t tmpfs -o mode=755 tmpfs "$root" || exit 77
cd "$root"
mkdir proc sys dev run tmp etc root var var/lib var/log cgroup
: >roam6
mount --bind "$2" roam6
for d in /usr /bin /sbin /lib /lib64; do
	if [ -L $d ]; then
		cp -P $d .$d
	elif [ -d $d ]; then
		mkdir .$d
		mount --bind $d .$d
	fi
done
cp -R "$1/units" etc/systemd
cp -R "$1/config" etc/config
mount -t cgroup2 cgroup2 cgroup || exit 77
group=cgroup/roam6-test-$$
mkdir "$group" || exit 77
sh -c 'echo $$ >"$1/cgroup.procs" && exec unshare --cgroup --pid --net --uts --ipc --mount --fork --kill-child sh "$2"' \
	sh "$group" "$here/first.sh" || echo "the machine has ended: $?"
until find "$group" -depth -type d -exec rmdir {} \; ; do sleep .1; done
