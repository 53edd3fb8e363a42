# SPDX-License-Identifier: GPL-2.0-only
#
# make			the module, for the running kernel or KDIR=...
# make install		into DKMS, for this and every later kernel (as root)
# make uninstall	the reverse
#		DROPIN=1 with these: vfio-pci.ko, in place of the kernel's own
# make demo		one device writes into another one's memory, in a guest;
#			KERNEL=7.3: a picture in a BAR, on a screen, too
# make examples		the programs of docs/examples, in build/examples
# make check		all tests; KERNELS="6.1" and TESTS=pattern narrow it
# make check-debug	the guest tests on kernels with lockdep, KASAN, kmemleak
# make check-clients	with others' programs: QEMU, DPDK, the kernel's selftests
# make mutants		can the tests fail? puts known bugs in; TESTS=part of a name
# make unit		the tests that need no guest
# make lint		static checks
#			All of these leave build/report.xml (JUnit) and build/times.md.
# make cli		the dmabuf-vfio command, in build/cli
# make install-cli	it, its man pages, completions and unit, in PREFIX (as root)
# make uninstall-cli	the reverse

KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build

NAME := $(shell sed -n 's/^PACKAGE_NAME="\(.*\)"/\1/p' dkms.conf)
ifdef DROPIN
NAME := $(NAME:%-dropin=%)-dropin
endif
VERSION := $(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)
DKMS_SRC := /usr/src/$(NAME)-$(VERSION)

PREFIX ?= /usr/local

all: modules

modules clean:
	$(MAKE) -C $(KDIR) M=$(CURDIR) $@

install:
	scripts/dkms install $(NAME) $(VERSION) $(DKMS_SRC)

uninstall:
	scripts/dkms uninstall $(NAME) $(VERSION) $(DKMS_SRC)

demo:
	@scripts/demo $(KERNEL)

examples:
	@$(MAKE) -s -C tests OUT=$(CURDIR)/build/examples examples

# The first thing that has to be there.
PYTHON = command -v python3 >/dev/null || scripts/setup guest

check mutants unit lint:
	@$(PYTHON)
	@scripts/run $@

check-debug check-clients:
	@$(PYTHON)
	@scripts/run $(@:check-%=%)

cli:
	@$(MAKE) -s -C src/cli OUT=$(CURDIR)/build/cli

.PHONY: all modules clean install uninstall demo examples check check-debug check-clients \
	mutants unit lint

install-cli: cli
	@scripts/cli install $(DESTDIR)$(PREFIX) $(PREFIX)

uninstall-cli:
	@scripts/cli uninstall $(DESTDIR)$(PREFIX) $(PREFIX)

.PHONY: cli install-cli uninstall-cli
