PKG_BUILD_DIR := /build/$(PKG_NAME)-$(PKG_VERSION)

# What is built once is built for the first package.
define BuildPackage
  all: $(1)
  ifeq ($(origin BUILT),undefined)
  BUILT := $(1)
  $(1):
	pie $(PKG_ASLR_PIE)
	$(Build/Prepare)
	$(Build/Compile)
	$(call Package/$(1)/install,/root-$(1))
  else
  $(1):
	$(call Package/$(1)/install,/root-$(1))
  endif
endef
