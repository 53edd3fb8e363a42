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
# make check-kcsan	those with much at a time on a kernel that looks for data races
# make check-clients	with others' programs: QEMU, DPDK, the kernel's selftests
# make check-arm64	in guests that are arm64 machines, pages of 4 and 16 KiB
# make check-kernels	other versions, flavours and options: 7.2, PREEMPT_RT, cloud, those of
#			other distributions; scripts/newest is for the newest one
# make endurance	an hour of everything at once, functions unplugged, on each kernel
# make faults		each allocation fails once, on the kernels of check-debug
# make mutants		checks that the tests notice known bugs; TESTS=part of a name
# make fuzz		everything a user can call, at random: SEED=1 SECONDS=60, and
#			KERNELS as above; COVERAGE=1: guided by what it reaches
# make unit		the tests that need no guest
# make lint		static checks
# make static		gcc's analyzer and the kernel's semantic patches
# make model		the models of a revoke, by spin
#			All checks but fuzz leave build/report.xml (JUnit) and
#			build/times.md.
# make bench		beside the kernel's own driver: docs/benchmarks.md
# make cli		the dmabuf-vfio command, in build/cli
# make install-cli	it, its man pages, completions and unit, in PREFIX (as root)
# make uninstall-cli	the reverse
# make lib		libdmabuf-vfio, in build/lib; install-lib, uninstall-lib
# make deb		Debian packages of all of that, in build/deb
# make rpm		RPM packages, in build/dist/RPMS
# make dist		the sources' archive, the spec and the PKGBUILD, in build/dist
# make check-install	the packages in clean systems, from install to purge

KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build

NAME := $(shell sed -n 's/^PACKAGE_NAME="\(.*\)"/\1/p' dkms.conf)
ifdef DROPIN
NAME := $(NAME:%-dropin=%)-dropin
endif
VERSION := $(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)
DKMS_SRC := /usr/src/$(NAME)-$(VERSION)

PREFIX ?= /usr/local
export PREFIX DESTDIR SBINDIR LIBDIR INCLUDEDIR UNITDIR

all: modules

# Of all targets only those of the module cannot do with a blank in the path.
modules:
	$(if $(word 2,$(CURDIR)),$(error \
		the kernel's build takes no path with a blank: move this tree out of "$(CURDIR)", or install by DKMS: make install))
	$(MAKE) -C "$(KDIR)" M=$(CURDIR) $@

# Without a kernel's headers, or below such a path, there is nothing of a module.
clean:
	@[ ! -e '$(KDIR)/Makefile' ] || $(if $(word 2,$(CURDIR)),:,$(MAKE) -C "$(KDIR)" M=$(CURDIR) $@)

install:
	scripts/dkms install $(NAME) $(VERSION) $(DKMS_SRC)

uninstall:
	scripts/dkms uninstall $(NAME) $(VERSION) $(DKMS_SRC)

demo:
	@scripts/demo $(KERNEL)

examples:
	@$(MAKE) -s -C tests OUT=../build/examples examples

# scripts/run is Python: install it before anything else.
PYTHON = command -v python3 >/dev/null || scripts/setup guest

check mutants faults unit lint static model endurance:
	@$(PYTHON)
	@scripts/run $@

check-debug check-kcsan check-install check-arm64 check-kernels:
	@$(PYTHON)
	@scripts/run $(@:check-%=%)

check-clients:
	@$(PYTHON)
	@scripts/run all-clients
fuzz:
	@$(PYTHON)
	@scripts/fuzz $(or $(SEED),1) $(or $(SECONDS),60)

bench:
	@$(PYTHON)
	@scripts/bench

cli:
	@$(MAKE) -s -C src/cli

.PHONY: all modules clean install uninstall demo examples check check-debug check-clients check-install \
	check-arm64 check-kernels check-kcsan \
	mutants faults unit lint static model endurance fuzz bench

lib:
	@$(MAKE) -s -C src/lib

install-cli: cli
install-lib: lib
install-cli install-lib:
	@scripts/place install $(@:install-%=%)

uninstall-cli uninstall-lib:
	@scripts/place uninstall $(@:uninstall-%=%)

deb:
	@scripts/deb

dist:
	@scripts/dist

rpm:
	@scripts/dist rpm

.PHONY: cli lib deb dist rpm install-cli install-lib uninstall-cli uninstall-lib
