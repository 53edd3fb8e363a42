# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Sourced by the other scripts: where things are, and how to say so.

# shellcheck disable=SC2034 # for those who source this
DVP_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DVP_CACHE=${DVP_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/dmabuf-vfio-pci}
# shellcheck disable=SC2034
DVP_KERNELS="6.1 6.12 7.3"
# shellcheck disable=SC2034
DVP_DEBUG_KERNELS="6.12-debug 7.3-debug"
# shellcheck disable=SC2034
DVP_KCSAN_KERNELS="7.3-kcsan"
# shellcheck disable=SC2034
DVP_DISTRO_KERNELS="6.12-distro 6.12-distro-builtin 6.12-distro-clang"
# Whose kernels those with -clang are.
# shellcheck disable=SC2034
DVP_CLANG=19
# Other versions, flavours and machines; what these names mean says scripts/kernels.
# shellcheck disable=SC2034
DVP_MORE_KERNELS="7.2 6.12-rt-amd64"
# Those on which a part of the suites runs.
# shellcheck disable=SC2034
DVP_PART_KERNELS="6.12-cloud-amd64 6.1-rt-amd64 7.3-rt-amd64"
# shellcheck disable=SC2034
DVP_NEWEST_KERNELS="newest"
# shellcheck disable=SC2034
DVP_ARM64_KERNELS="7.3-arm64"
# shellcheck disable=SC2034
DVP_ARM64_OLDER_KERNELS="6.1-arm64 6.12-arm64 6.12-arm64-16k"

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$@"; exit 1; }

# Prints a line for each family of kernels: its name, then those of the kernels.
families() {
	local v name
	echo "stock $DVP_KERNELS"
	for v in ${!DVP_@}; do
		case $v in
		DVP_*_KERNELS)
			name=${v#DVP_} name=${name%_KERNELS}
			echo "${name,,} ${!v}"
			;;
		esac
	done
}

# Holds the named lock until the calling (sub)shell ends.
hold_lock() {
	local fd
	mkdir -p "$(dirname "$1")"
	exec {fd}>"$1"
	flock "$fd"
}

# The revision that these sources are of, if it is known. A tree that is part of another
# repository's has its file.
revision() {
	cat "$DVP_TOP/revision" 2>/dev/null ||
		git --git-dir="$DVP_TOP/.git" rev-parse --short=12 HEAD 2>/dev/null || :
}
