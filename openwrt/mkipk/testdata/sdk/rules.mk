# Stand-ins for what the feed's Makefile uses of OpenWrt's build system, for `make -n`:
# what it would do is written, a line each.
INCLUDE_DIR := $(TOPDIR)
TAR := tar
INSTALL_DIR := install-dir
INSTALL_BIN := install-bin
INSTALL_DATA := install-data
INSTALL_CONF := install-conf
SOURCE_DATE_EPOCH := 1760000000
