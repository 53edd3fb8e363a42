# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Completion of dmabuf-vfio for bash.

_dmabuf_vfio() {
	local cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]-} words="" i at=0
	local root=${DMABUF_VFIO_ROOT-}
	local pci=$root/sys/bus/pci

	# An address has colons, at which bash splits: take the pieces together.
	i=$COMP_CWORD
	while [ "$i" -gt 1 ] && [[ ${COMP_WORDS[i]} == :* || ${COMP_WORDS[i - 1]} == : ]]; do
		i=$((i - 1))
		cur=${COMP_WORDS[i]}$cur
	done
	if [ "$COMP_CWORD" -eq 1 ]; then
		words="bind unbind status events export revoke route topo doctor
			--help --version"
	elif [[ $cur == -* ]]; then
		case $command in
		bind | unbind) words="--config --force --json" ;;
		status) words="--all --json" ;;
		events) words="--count --json" ;;
		export) words="--read-only --translated --write-combining --" ;;
		route | topo | doctor) words="--json" ;;
		esac
		words="$words --help"
	else
		case $command in
		unbind | events | export | revoke)
			words=$(cd "$pci/drivers/dmabuf-vfio-pci" 2>/dev/null &&
				compgen -G '*:*:*.*') ;;
		bind | status | route | topo | doctor)
			words=$(cd "$pci/devices" 2>/dev/null &&
				compgen -G '*:*:*.*') ;;
		esac
	fi
	# shellcheck disable=SC2207
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
	# What stands before the last colon is already there.
	if [ "$cur" != "${COMP_WORDS[COMP_CWORD]}" ]; then
		at=${cur%"${cur##*:}"}
		COMPREPLY=("${COMPREPLY[@]#"$at"}")
	fi
}
complete -F _dmabuf_vfio dmabuf-vfio
