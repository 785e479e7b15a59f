PKG_BUILD_DIR := /build/$(PKG_NAME)-$(PKG_VERSION)

# Where the Makefile is: not below feeds/, where that is a link.
Package/Default = $(eval SOURCE := $(CURDIR))

# What is built once is built for the first package.
define BuildPackage
  $(eval $(Package/Default))
  $(eval $(Package/$(1)))
  all: $(1)
  ifeq ($(origin BUILT),undefined)
  BUILT := $(1)
  ifdef Build/InstallDev
  all: staging
  staging:
	$(call Build/InstallDev,/staging)
  endif
  $(1):
	source $(1) $(SOURCE)
	pie $(PKG_ASLR_PIE)
	$(Build/Prepare)
	$(Build/Compile)
	$(call Package/$(1)/install,/root-$(1))
  else
  $(1):
	source $(1) $(SOURCE)
	$(call Package/$(1)/install,/root-$(1))
  endif
endef
