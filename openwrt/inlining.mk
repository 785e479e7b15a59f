# What the compiler does with the binaries of `make openwrt` and of the feed:
# functions are inlined in these packages alone, which is a sixth of a package less. They
# are the data plane, the codec, the codes that authenticate, and of Go what all of those
# and the garbage collector live in.
INLINED := runtime internal/runtime/... sync sync/atomic internal/sync internal/byteorder encoding/binary \
           roam6/overlay/... roam6/mip6 roam6/internal/esp crypto/hmac crypto/sha1 crypto/internal/fips140/hmac \
           crypto/internal/fips140/sha256 crypto/internal/fips140/aes/... crypto/internal/fips140deps/byteorder
ROUTER_GCFLAGS := -gcflags=all=-l $(INLINED:%=-gcflags=%=)
