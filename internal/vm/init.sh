#!/usr/bin/busybox sh
# The first process of the machine: makes it one in which a command can run, runs the
# command, and tells by its port of results how that ended. The root file system stays
# the initramfs: modules are loaded on demand by a helper that sees what this process sees.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmp /dev/shm
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
mkdir -p /run/netns /run/lock
ln -s /run /var/run
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
hostname vm
ulimit -n 65536
ip link set lo up
. /board
if ! modprobe -a $(cat /load); then
	echo "init: a module could not be loaded, as said above" >&2
	poweroff -f
fi
mkdir -p /dev/net
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200

# A port can be opened by one only, and what runs in the machine may open /dev/stdout
# again: so it has pipes, and the ports have readers of these.
port=$(echo /dev/vport*p1) && port=${port%1}
mkfifo /run/stdout /run/stderr
cat /run/stdout >${port}1 & out=$!
cat /run/stderr >${port}2 & err=$!
exec 3>${port}3
input=/dev/null
[ ! -e ${port}4 ] || input=${port}4
echo ready >&3
(cd /tmp && exec /command <$input >/run/stdout 2>/run/stderr 3>&-)
status=$?

# What the command has left running may keep the pipes open.
for p in /proc/[0-9]*; do
	case ${p#/proc/} in 1|$out|$err) ;; *) left="$left ${p#/proc/}" ;; esac
done
kill -9 $left 2>/dev/null
wait $out $err
echo "exit $status" >&3
exec 3>&-
poweroff -f
