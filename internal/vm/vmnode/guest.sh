# What runs in the machine: makes the interfaces, then roam6, and answers questions on
# standard input. Each answer ends with a line "= STATUS"; "ready" tells that roam6 answers,
# "ended STATUS" that it has ended. What people are to read goes to standard error.
conf=/proc/sys/net/ipv6/conf

setting() {
	for of in $conf/*; do echo "$2" >"$of/$1"; done
}

# card MAC NAME MTU: the card with a link-layer address gets a name.
card() {
	for c in /sys/class/net/*; do
		[ "$(cat "$c/address")" != "$1" ] || ip link set "${c##*/}" name "$2" || exit
	done
	ip link set "$2" mtu "$3" up || exit
}

run() {
	sh -c 'echo $$ >/run/daemon; exec roam6 run --config "$0"' "$config" </dev/null >&2
	status=$?
	echo "ended $status"
	return $status
}

. /node/setup
mkdir -p "$state"
roam6 doctor >&2 || exit
run &
daemon=$!
until [ -S "$control" ]; do
	kill -0 $daemon 2>/dev/null || exit 1
	sleep 0.1
done
echo ready
while read -r what topic; do
	case $what in
	show) roam6 show "$topic" --json --control "$control" ;;
	status) cat "/proc/$(cat /run/daemon)/status" ;;
	*) break ;;
	esac
	echo "= $?"
done
kill -TERM "$(cat /run/daemon)"
wait $daemon
