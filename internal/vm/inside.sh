#!/bin/sh
# Runs the suites in the virtual machine and prints a line for each. Exit code 1 where
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
	(cd "$folder" && ./test "$@" -test.v >"$log" 2>&1)
	status=$?
	count() { grep -c "^ *--- $1" "$log"; }
	remark="$(count PASS) passed, $(count SKIP) skipped, $(count FAIL) failed"
	[ "$(count SKIP)" = 0 ] || status=1
	[ "$(count PASS)" != 0 ] || status=1
	[ "$status" = 0 ] || cat "$log"
	record "$folder" "$start" "$status" "$remark"
}

roam6() {
	start=$(uptime)
	echo "== roam6 $*"
	command roam6 "$@"
	record "roam6-$3" "$start" $?
}

file() { :; }

. ./suites.sh

echo
echo "Linux $(uname -r), $(nproc) processor"
printf '%s' "$table"
exit $bad
