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

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$@"; exit 1; }

# Holds the named lock until the calling (sub)shell ends.
hold_lock() {
	local fd
	mkdir -p "$(dirname "$1")"
	exec {fd}>"$1"
	flock "$fd"
}
