#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# probe.sh OUTPUT SYMVERS COMPILER [FLAG...]: what does the target kernel have?
#
# Compiles each probes/NAME.c with the target kernel's own flags and writes
# OUTPUT with "#define DVP_HAVE_NAME 1" for each that passes. A probe that
# names a symbol ("symbol: NAME") also wants it among the exported ones.
# Two canaries tell a broken set-up from a missing feature: one must pass, one
# must fail. Two more lines of a probe keep a new form from being taken for an
# old kernel: "one-of: NAME" says that it and NAME cannot both be missing,
# "form: SYMBOL" that it cannot fail where that symbol is exported.
set -eu

out=$1 symvers=$2
shift 2
probes=$(dirname "$0")/probes
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# dash does not run that one when a signal ends it.
trap 'exit 130' HUP INT TERM

die() {
	echo "dmabuf-vfio-pci: $*" >&2
	exit 1
}

[ -s "$symvers" ] ||
	die "the kernel's Module.symvers is missing ($symvers): install the complete headers of the target kernel"

field() { # FILE NAME: the values of "NAME: value" in comments
	grep -o "\<$2: [a-z_A-Z0-9]*" "$1" | sed 's/.*: //'
}

exported() {
	grep -q "	$1	" "$symvers"
}

run() { # FILE, the rest: the compiler and its flags
	name=$(basename "$1" .c)
	src=$1
	status=0
	shift
	"$@" -DKBUILD_MODNAME='"probe"' -DKBUILD_BASENAME='"probe"' \
		-Werror=implicit-function-declaration -Werror=implicit-int \
		-Werror=incompatible-pointer-types -Werror=int-conversion \
		-fsyntax-only "$src" 2>"$tmp/$name.log" || status=$?
	# A compiler that was killed has said nothing of the kernel.
	[ "$status" -le 128 ] || : >"$tmp/$name.killed"
	[ "$status" -eq 0 ] || return 0
	for sym in $(field "$src" symbol); do
		exported "$sym" || {
			echo "not exported: $sym" >>"$tmp/$name.log"
			return 0
		}
	done
	: >"$tmp/$name.ok"
}

jobs=0
for p in "$probes"/*.c; do
	run "$p" "$@" &
	jobs=$((jobs + 1))
	[ $((jobs % 4)) -ne 0 ] || wait
done
wait

for p in "$tmp"/*.killed; do
	[ ! -e "$p" ] || die "probe $(basename "$p" .killed): the compiler was killed"
done
if [ ! -e "$tmp/canary_good.ok" ]; then
	cat "$tmp/canary_good.log" >&2
	# One understands not all of the other's flags.
	configured=gcc compiler=gcc
	grep -qs '^CONFIG_CC_IS_CLANG=y' "$(dirname "$symvers")/include/config/auto.conf" &&
		configured=clang
	"$1" --version 2>/dev/null | grep -q clang && compiler=clang
	[ $configured = $compiler ] ||
		die "probe canary_good does not compile: the kernel was configured for $configured, and $1 is $compiler"
	die "probe canary_good does not compile: the kernel headers or the compiler ($1) are broken"
fi
[ ! -e "$tmp/canary_bad.ok" ] ||
	die "probe canary_bad compiles: the compiler ($1) accepts anything"

{
	echo "/* Written by probe.sh for one kernel. */"
	for p in "$probes"/*.c; do
		name=$(basename "$p" .c)
		case $name in canary_*) continue ;; esac
		if [ -e "$tmp/$name.ok" ]; then
			echo "#define DVP_HAVE_$(echo "$name" | tr a-z A-Z) 1"
			continue
		fi
		for sym in $(field "$p" form); do
			exported "$sym" || continue
			cat "$tmp/$name.log" >&2
			die "probe $name fails, and yet the kernel exports $sym: it has a form that is not known yet"
		done
		for other in $(field "$p" one-of); do
			[ -e "$tmp/$other.ok" ] && continue
			cat "$tmp/$name.log" "$tmp/$other.log" >&2
			die "neither probe $name nor probe $other passes: this kernel has a form that is not known yet"
		done
	done
} >"$tmp/features.h"

# An unchanged answer must not rebuild everything.
cmp -s "$tmp/features.h" "$out" || cp "$tmp/features.h" "$out"
