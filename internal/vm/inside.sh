#!/bin/sh
# Runs a list in the virtual machine and prints a line for each of what is in it. Exit code 1 where
# one has failed.
cd "$(dirname "$0")" || exit
PATH=$PWD:$PATH
table= bad=0

uptime() { read -r now _ </proc/uptime; echo "$now"; }

# record NAME START STATUS [REMARK]
record() {
	result=passed
	[ "$3" = 0 ] || { result=FAILED; bad=1; }
	table="$table$(echo "$1 $2 $(uptime) $result" | awk '{ printf "%-24s %-6s %6.1f s", $1, $4, $3 - $2 }')  ${4:-}
"
}

gotest() {
	folder=$1 start=$(uptime)
	shift
	echo "== $folder: go test $*"
	log=/tmp/$(echo "$folder" | tr / -).log
	(cd "$folder" && ./test "$@" -test.v -test.timeout 10m >"$log" 2>&1)
	status=$?
	count() { grep -c "^ *--- $1" "$log"; }
	remark="$(count PASS) passed, $(count SKIP) skipped, $(count FAIL) failed"
	[ "$(count SKIP)" = 0 ] || status=1
	[ "$(count PASS)" != 0 ] || status=1
	[ "$status" = 0 ] || cat "$log"
	record "$folder" "$start" "$status" "$remark"
}

gobench() {
	folder=$1 start=$(uptime)
	echo "== $folder: go test -bench $2 -benchtime $3"
	log=/tmp/$(echo "$folder-bench" | tr / -).log
	(cd "$folder" && ./test -test.run '^$' -test.bench "$2" -test.benchtime "$3" >"$log" 2>&1)
	status=$?
	grep -Eq '^Benchmark[^[:space:]]+[[:space:]]+[0-9]' "$log" || status=1
	if [ "$status" = 0 ]; then
		# A line for each figure: there are too many for one.
		awk '/^Benchmark/ && NF > 2 { print $1; for (i = 3; i < NF; i += 2) printf "  %14s  %s\n", $i, $(i+1) }' "$log"
	else
		cat "$log"
	fi
	record "$folder" "$start" "$status"
}

roam6() {
	start=$(uptime)
	echo "== roam6 $*"
	command roam6 "$@"
	record "roam6-$3" "$start" $?
}

file() { :; }

. ./list.sh

echo
echo "Linux $(uname -r), $(nproc) processor"
printf '%s' "$table"
exit $bad
