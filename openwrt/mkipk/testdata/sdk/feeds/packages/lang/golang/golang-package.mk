# As far as the feed's Makefile depends on golang-package.mk of OpenWrt's packages feed.
GO_ARCH_DEPENDS := @(mipsel||x86_64)
GO_PKG_VARS = CGO_ENABLED=1
GO_PKG_DEFAULT_LDFLAGS = -linkmode external
GO_PKG_ENABLE_SPECTRE := $(CONFIG_GOLANG_SPECTRE)

define GoPackage/Build/Compile
	$(GO_PKG_VARS) go-install -ldflags "$(patsubst %,-X %,$(GO_PKG_LDFLAGS_X)) $(GO_PKG_DEFAULT_LDFLAGS)" -tags "$(GO_PKG_TAGS)" $(1) $(GO_PKG_BUILD_PKG)
endef
Build/Compile = $(call GoPackage/Build/Compile)
Build/InstallDev = install-sources $(1)/usr/share/gocode

define GoPackage/Package/Install/Bin
	install-program $(1)$(GO_PKG_INSTALL_BIN_PATH)
endef

define GoBinPackage
endef
