# roam6: build, test and demonstrate. `make help` lists the targets.

# The time of all files in packages: that of the last commit.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
# Before the first release: one that apk and opkg both take, and sort behind that of an
# earlier day and before 0.1.0. With the day of the last commit.
VERSION  ?= 0.0.0_git$(shell date -u -d @$(SOURCE_DATE_EPOCH) +%Y%m%d)
GO       ?= go
LDFLAGS  := -s -w -X main.version=$(VERSION)
# For all of them, so that lint, build and tests share what is compiled.
GOFLAGS  += -trimpath
export GOFLAGS
export CGO_ENABLED ?= 0
# The compiler and the checkers collect their garbage for a quarter of their time.
COMPILING = GOGC=$(or $(GOGC),400)
# The race detector needs a C compiler; without one the tests run without it.
RACE      = $(if $(shell command -v gcc 2>/dev/null),-race,)
# A process with the race detector would sleep for a second when it ends.
export GORACE ?= atexit_sleep_ms=10
# What a router's binary may leave out: nolab, the worlds of `roam6 lab`; noebpf, the data
# plane for kernels without ip6_tunnel; nometrics, the endpoint for Prometheus and with
# it the page for people; nopage, that alone; nomip6d, the translation of mip6d's
# configuration; noreplay, that of traces into decisions.
SMALL    := nolab,noebpf,nometrics,nomip6d,noreplay
# The packages for routers come with ip6_tunnel, and any other machine can translate and replay.
ROUTER_TAGS ?= nolab,noebpf,nomip6d,noreplay
# How their binaries are made small: no inlining but where it pays, and modules without what
# is not needed.
include openwrt/inlining.mk
SLIM         := bin/slim/go.mod
ROUTER_FLAGS  = -buildvcs=false -modfile=$(SLIM) $(ROUTER_GCFLAGS)
# Packages for `make openwrt`: opkg's architecture, GOARCH, and its variant.
OPENWRT := mipsel_24kc:mipsle:GOMIPS=softfloat mips_24kc:mips:GOMIPS=softfloat \
           arm_cortex-a7_neon-vfpv4:arm:GOARM=7 aarch64_cortex-a53:arm64:GOARM64=v8.0 x86_64:amd64:GOAMD64=v1
FUZZTIME ?= 10s

.PHONY: help build install test test-long deps unit rides worlds vm-test vm-bench router-test bigendian lint demo bench size openwrt fuzz clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## build   bin/roam6, one static binary
build:
	$(COMPILING) $(GO) build -ldflags '$(LDFLAGS)' -o bin/roam6 ./cmd/roam6

## test    lint, unit and namespace tests, short rides in the lab (as root all of it), bigendian, vm-test
test: deps lint build unit bigendian rides worlds vm-test

# What the tests use beside Go: a C compiler for the race detector, tshark to
# dissect what the lab sends, BIRD to redistribute routes of mobile networks, and
# Kea and dnsmasq to lease addresses, radvd to compare with, hosts' software that hears
# advertisements, shellcheck for OpenWrt's scripts, Prometheus to scrape and alert, mandoc to
# judge the manual page, Chromium to look at pages, systemd to run the unit for it, and for
# vm-test QEMU, what its machine is made of, and strongSwan. As root on Debian they are
# installed; elsewhere the tests that need them say that they skip. BIRD, Kea, radvd, Prometheus and strongSwan come as
# services: those are neither started (policy-rc.d) nor will they be with the next boot.
PACKAGES := gcc libc6-dev tshark bird2 kea-dhcp6-server dnsmasq-base radvd radvdump ndisc6 dhcpcd-base \
            qemu-system-x86 qemu-system-mips qemu-system-arm qemu-user busybox-static kmod xz-utils shellcheck charon-systemd strongswan-swanctl libstrongswan-standard-plugins \
            prometheus mandoc chromium e2fsprogs systemd iproute2
COMMANDS := gcc tshark bird kea-dhcp6 dnsmasq radvd radvdump rdisc6 dhcpcd \
            qemu-system-x86_64 qemu-system-mipsel qemu-system-arm qemu-mips busybox depmod xz shellcheck charon-systemd \
            prometheus promtool mandoc chromium mkfs.ext4 systemd-analyze ip
deps:
	@[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0; \
	PATH="$$PATH:/usr/sbin:/sbin"; missing=; \
	for c in $(COMMANDS); do command -v $$c >/dev/null || missing="$$missing $$c"; done; \
	[ -n "$$missing" ] || exit 0; \
	echo "installing $(PACKAGES)"; \
	export DEBIAN_FRONTEND=noninteractive; policy=/usr/sbin/policy-rc.d; \
	if [ ! -e $$policy ]; then \
	  trap "rm -f $$policy" EXIT; trap 'exit 1' HUP INT TERM; \
	  printf '#!/bin/sh\nexit 101\n' >$$policy && chmod 755 $$policy; \
	fi; \
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $(PACKAGES); } >/dev/null || echo "could not install $(PACKAGES): some tests will skip"; \
	for c in $$missing; do \
	  case $$c in bird|radvd|prometheus) unit=$$c;; kea-dhcp6) unit=kea-dhcp6-server;; charon-systemd) unit=strongswan;; *) continue;; esac; \
	  ! command -v systemctl >/dev/null || systemctl --quiet disable $$unit 2>/dev/null || true; \
	done

# What lint has vetted is not vetted again.
GOTEST = CGO_ENABLED=$(if $(RACE),1,0) $(GO) test $(RACE) -vet=off
unit:
	$(if $(RACE),CGO_ENABLED=1 $(COMPILING) $(GO) build $(RACE) ./...)
	$(GOTEST) -timeout 15m $$($(GO) list ./... | grep -vE '^roam6/(cmd|internal/lab|overlay)(/|$$)')

# Under the race detector the simulator plays a tenth of its rides: here are all.
rides:
	$(if $(RACE),$(GO) test -vet=off -timeout 15m ./internal/sim)

# The worlds of the lab: one package after the other, since they measure time. Tests
# that measure have the machine to themselves; the others mostly wait, and run some
# at a time.
AT_ONCE ?= 4
WORLDS  := ./cmd/... ./internal/lab/... ./overlay/...
worlds:
	$(GOTEST) -p 1 -parallel $(AT_ONCE) -timeout 40m $(WORLDS)

## vm-test what needs a stock kernel, in virtual machines (QEMU); the lists are internal/vm/suites.sh and scenarios.sh
vm-test: deps build
	GO='$(GO)' internal/vm/test.sh

## vm-bench the data planes on a stock kernel, in a virtual machine, against plain routing and bare tunnels
vm-bench: deps build
	GO='$(GO)' internal/vm/test.sh benchmarks

## router-test the ride with the mobile router on emulated boards, MIPS and ARM, with 128 MB
router-test: deps build $(SLIM)
	GO='$(GO)' ROUTER_TAGS='$(ROUTER_TAGS)' ROUTER_FLAGS='$(ROUTER_FLAGS)' internal/vm/routers.sh

# What is pure and has octets in an order. QEMU's user mode cannot parse netlink there, so of
# nft and nlsock it is the encoding alone, and of esp what needs no namespaces.
WIRE := ./mip6 ./nd ./dhcpv6 ./mn/homelink ./mn/ro ./mr ./overlay ./internal/binding ./internal/control \
        ./internal/limit ./internal/metrics ./internal/pcap ./internal/store ./internal/uci ./internal/ipk
## bigendian unit tests of what is on the wire, on big-endian MIPS (qemu-user)
BIGENDIAN = CGO_ENABLED=0 GOOS=linux GOARCH=mips GOMIPS=softfloat $(GO) test -vet=off -exec qemu-mips -timeout 10m
bigendian: deps
	@if ! command -v qemu-mips >/dev/null; then \
	  echo "bigendian: skipped: there is no qemu-mips: it needs the Debian package qemu-user"; [ "$$(id -u)" != 0 ]; exit; fi; set -ex; \
	$(BIGENDIAN) $(WIRE); \
	$(BIGENDIAN) -skip 'BetweenMobileAndAgent|^TestKernel' ./internal/esp; \
	$(BIGENDIAN) -run '^(TestAttribute|TestCommonBeginning|TestAttributes|TestAttributesThatDoNotFit)$$' ./internal/nft ./internal/nlsock

## test-long  rides of the simulator: all under the race detector, ten times as many without
test-long:
	ROAM6_RIDES=10 $(GOTEST) -timeout 60m ./internal/sim
	$(if $(RACE),ROAM6_RIDES=10 $(GO) test -vet=off -timeout 60m ./internal/sim)

## lint    gofmt, go vet, staticcheck, and vet for 32-bit and big-endian routers
lint:
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(COMPILING) $(GO) vet ./...
	GOOS=linux GOARCH=mips GOMIPS=softfloat $(COMPILING) $(GO) vet ./...
	$(COMPILING) $(GO) tool staticcheck ./...
	$(COMPILING) $(GO) tool staticcheck -tests=false -tags $(SMALL) ./cmd/...

## demo    the train ride: a moving network on one machine, and its table
demo: build
	bin/roam6 lab run ride

## bench   benchmarks, figures as ratios of one run; then vm-bench
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(MAKE) vm-bench

## size    size of the binary for each router architecture and what has a share in it: all, the package, without metrics
# Each is linked twice: without symbols, as it is shipped, and with, which tell whose the
# octets are.
VARIANTS := all: package:$(ROUTER_TAGS) small:$(SMALL)
size: $(SLIM)
	@mkdir -p bin/size
	@set --; for t in $(OPENWRT); do for variant in $(VARIANTS); do \
	  a=$${t%%:*}; v=$${t#*:}; name=$${variant%%:*}; tags=$${variant#*:}; out=bin/size/$$a-$$name; flags='$(ROUTER_FLAGS)'; \
	  [ "$$name" != all ] || flags=; \
	  for stripped in "$$out" ''; do \
	    env GOOS=linux GOARCH=$${v%%:*} $${v#*:} $(GO) build $$flags -tags "$$tags" \
	      -ldflags "$${stripped:+-s -w }-X main.version=$(VERSION)" -o "$${stripped:-$$out.symbols}" ./cmd/roam6 || exit 1; \
	  done; set -- "$$@" "$$out"; \
	done; done; $(GO) run ./openwrt/sizes "$$@"

# go.mod for the binaries of routers: openwrt/slim.sh says what of its modules is not there.
$(SLIM): go.mod openwrt/slim.sh $(wildcard openwrt/strip/*.go) $(wildcard openwrt/protobuf/*/*.go openwrt/protobuf/types/known/*/*.go)
	GO='$(GO)' openwrt/slim.sh $(@D)

## openwrt packages for OpenWrt routers (.ipk), without its SDK, in bin/openwrt: docs/openwrt.md
openwrt: $(SLIM)
	@mkdir -p bin/openwrt
	@for t in $(OPENWRT); do \
	  a=$${t%%:*}; v=$${t#*:}; out=bin/openwrt/roam6-$$a; \
	  env GOOS=linux GOARCH=$${v%%:*} $${v#*:} CGO_ENABLED=0 $(GO) build $(ROUTER_FLAGS) -tags '$(ROUTER_TAGS)' -ldflags '$(LDFLAGS)' -o $$out ./cmd/roam6 && \
	  $(GO) run ./openwrt/mkipk -arch $$a -version '$(VERSION)' -epoch '$(SOURCE_DATE_EPOCH)' -binary $$out -out bin/openwrt || exit 1; \
	done

## fuzz    every fuzz target for FUZZTIME each (default 10s)
fuzz:
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; \
	done

# What to install, and where. A BINARY of somebody else's making is not built here.
BINARY  ?= bin/roam6
PREFIX  ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
MANDIR  ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
## install program, manual pages and systemd unit below PREFIX (/usr/local), for servers; DESTDIR goes in front
install: $(if $(filter bin/roam6,$(BINARY)),build)
	install -d '$(DESTDIR)$(SBINDIR)' '$(DESTDIR)$(MANDIR)/man5' '$(DESTDIR)$(MANDIR)/man8' '$(DESTDIR)$(UNITDIR)' '$(DESTDIR)/etc/config'
	install -m 755 '$(BINARY)' '$(DESTDIR)$(SBINDIR)/roam6'
	install -m 644 docs/man/roam6.5 '$(DESTDIR)$(MANDIR)/man5/roam6.5'
	install -m 644 docs/man/roam6.8 '$(DESTDIR)$(MANDIR)/man8/roam6.8'
	sed 's|/usr/sbin/roam6|$(SBINDIR)/roam6|' contrib/systemd/roam6.service >'$(DESTDIR)$(UNITDIR)/roam6.service'
	chmod 644 '$(DESTDIR)$(UNITDIR)/roam6.service'

## clean   remove what the build made
clean:
	rm -rf bin
