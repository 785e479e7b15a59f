#!/bin/sh
# Usage: openwrt/slim.sh DIRECTORY
#
# Writes a go.mod for the builds of routers, for `go build -modfile DIRECTORY/go.mod`: the
# same versions of the same modules, but those of Prometheus lack what roam6 has no use for.
# The linker cannot leave it out by itself, since it has initialisers or is called from some:
#
#   - net/http, with TLS and what else that imports: the endpoint and the text format are
#     roam6's own, in internal/metrics;
#   - the runtime of protocol buffers, of which the library's values are messages. Here they
#     are structs with the same fields and getters, derived from the generated file; what
#     else is called of that runtime is in ./openwrt/protobuf;
#   - the library's metrics of process and Go, which it registers before anybody asks.
#
# A file or a declaration that is not there any more, or something else that needs one of
# them, is an error here or of the compiler: then a new version of the library has been put
# together otherwise, and the lists below have to follow. TestMetricsOfRouters in
# ./openwrt/strip compares what is exposed.
set -eu

go="${GO:-go}"
directory="$1" # below the module for a package: what it is called is in the binary
case "$directory" in
/*) ;;
*) directory="./$directory" ;;
esac
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
	"$go" mod edit -replace "$module=$copy" "$directory/go.mod.new"
}

# strip FILE DECLARATION...: without these, in a copy. It runs here, whatever it is for.
strip() {
	GOOS='' GOARCH='' CGO_ENABLED=0 "$go" run ./openwrt/strip "$@"
}

cp go.mod "$directory/go.mod.new"
"$go" mod edit -replace google.golang.org/protobuf=./openwrt/protobuf "$directory/go.mod.new"

without github.com/prometheus/client_model
strip "$directory/client_model/go/metrics.pb.go" '_' 'init' '[fF]ile_io_prometheus_client_*' \
	'*.state' '*.sizeCache' '*.unknownFields' '*.Reset' '*.String' '*.ProtoMessage' '*.ProtoReflect' \
	'*.Descriptor' '*.EnumDescriptor' 'MetricType.Type' 'MetricType.Number' '*.UnmarshalJSON'
# The registry's errors say so which metric they are about.
cat >"$directory/client_model/go/string.go" <<'EOF'
package io_prometheus_client

import (
	"fmt"
	"strings"
)

func (t MetricType) String() string { return MetricType_name[int32(t)] }

// String is the labels, as the text of protocol buffers has them.
func (m *Metric) String() string {
	var labels []string
	for _, l := range m.GetLabel() {
		labels = append(labels, fmt.Sprintf("label:{name:%q value:%q}", l.GetName(), l.GetValue()))
	}
	return strings.Join(labels, " ")
}
EOF

without github.com/prometheus/client_golang prometheus/expvar_collector.go \
	prometheus/go_collector.go prometheus/go_collector_latest.go prometheus/gen_go_collector_metrics_set.go \
	prometheus/internal/go_collector_options.go prometheus/internal/go_runtime_metrics.go \
	prometheus/process_collector.go prometheus/process_collector_procfsenabled.go
strip "$directory/client_golang/prometheus/registry.go" init

without github.com/prometheus/common expfmt/encode.go expfmt/decode.go expfmt/expfmt.go \
	expfmt/openmetrics_create.go expfmt/openmetrics_2_0_create.go expfmt/text_parse.go expfmt/fuzz.go \
	model/alert.go model/silence.go
strip "$directory/common/model/labels.go" LabelNameRE
strip "$directory/common/model/metric.go" MetricNameRE

cp go.sum "$directory/go.sum"
mv "$directory/go.mod.new" "$directory/go.mod"
