// Stands in for the runtime of protocol buffers where Prometheus's modules need no more of
// it than a few functions and a struct: openwrt/slim.sh says why. What is not here fails to
// compile.
module google.golang.org/protobuf

go 1.26
