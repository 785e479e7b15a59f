#!/bin/sh
# What is to be there before systemd, in its namespaces and its root directory: file systems,
# and a network of an agent, which is the access router too, and a router.
set -e
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf -o mode=700 bpf sys/fs/bpf
mount -t tmpfs -o mode=755 tmpfs dev
mount -t tmpfs -o mode=755 tmpfs run
mkdir dev/net dev/shm
while read -r name major minor; do
	mknod -m 666 "dev/$name" c "$major" "$minor"
done <<END
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
net/tun 10 200
END
ln -s /proc/self/fd dev/fd
ln -s /run var/run
echo 0123456789abcdef0123456789abcdef >etc/machine-id
echo root:x:0:0:root:/root:/bin/sh >etc/passwd
echo root:x:0: >etc/group
chroot . /bin/sh -e <<'END'
ip netns add router
ip link set lo up
ip link add home0 type veth peer name nobody0
ip address add 2001:db8:10::1/64 dev home0 nodad
ip link add wan0 type veth peer name wlan0 netns router
ip address add 2001:db8:a1::1/64 dev wan0 nodad
for d in home0 nobody0 wan0; do ip link set $d up; done
ip -n router link add lan0 type veth peer name passenger0
for d in lo wlan0 lan0 passenger0; do ip -n router link set $d up; done
END
mount --move . /
exec env -i container=namespaces SYSTEMD_UNIT_PATH=/etc/systemd PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	chroot . /lib/systemd/systemd --unit=machine.target --show-status=no
