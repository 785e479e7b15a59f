#!/bin/sh
# Usage: openwrt/slim.sh DIRECTORY
#
# Writes a go.mod for builds without net/http, for `go build -modfile DIRECTORY/go.mod`:
# the same versions of the same modules, of which the two of Prometheus lack the files that
# are about HTTP. roam6 has no use for them: its endpoint and its text format are in
# internal/metrics. The linker cannot leave them out by itself, since net/http and what it
# imports (TLS, elliptic curves, IDNA) have initialisers; they are an eighth of a package.
#
# A file that is not there any more, or another one that needs what is in it, is an error
# here or of the compiler: then a new version of the library has been put together
# otherwise, and the lists below have to follow.
set -eu

go="${GO:-go}"
directory="$1" # below the module: what it is called is in the binary
# A copy of the tree is not in a repository, and module caches are read-only.
rm -rf "$directory"
mkdir -p "$directory"

# without MODULE FILE...: a copy of the module without these files, and without its tests,
# in place of the one that go.mod names.
without() {
	module="$1"
	shift
	"$go" mod download "$module"
	copy="$directory/${module##*/}"
	cp -R "$("$go" list -m -f '{{.Dir}}' "$module")" "$copy"
	chmod -R u+w "$copy"
	for file in "$@"; do
		rm "$copy/$file"
	done
	find "$copy" -name '*_test.go' -exec rm {} +
	"$go" mod edit -replace "$module=./$copy" "$directory/go.mod.new"
}

cp go.mod "$directory/go.mod.new"
without github.com/prometheus/client_golang prometheus/expvar_collector.go
without github.com/prometheus/common expfmt/encode.go expfmt/decode.go expfmt/expfmt.go \
	expfmt/openmetrics_create.go expfmt/openmetrics_2_0_create.go expfmt/text_parse.go expfmt/fuzz.go
cp go.sum "$directory/go.sum"
mv "$directory/go.mod.new" "$directory/go.mod"
