# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Completion of dmabuf-vfio for bash.

_dmabuf_vfio() {
	local cur=${COMP_WORDS[COMP_CWORD]} first=1 command words="" i at=0
	local root=${DMABUF_VFIO_ROOT-}
	local pci=$root/sys/bus/pci

	# An address has colons, at which bash splits: take the pieces together.
	i=$COMP_CWORD
	while [ "$i" -gt 1 ] && [[ ${COMP_WORDS[i]} == :* || ${COMP_WORDS[i - 1]} == : ]]; do
		i=$((i - 1))
		cur=${COMP_WORDS[i]}$cur
	done
	[ "${COMP_WORDS[1]-}" != --json ] || [ "$COMP_CWORD" -eq 1 ] || first=2
	command=${COMP_WORDS[first]-}
	# What "export" runs, and its arguments
	for ((i = 2; i < COMP_CWORD; i++)); do
		[ "${COMP_WORDS[i]}" = -- ] || continue
		# shellcheck disable=SC2207
		if [ "$i" -eq $((COMP_CWORD - 1)) ]; then
			COMPREPLY=($(compgen -c -- "${COMP_WORDS[COMP_CWORD]}"))
		else
			COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
		fi
		return
	done
	if [ "$COMP_CWORD" -eq "$first" ]; then
		words="bind unbind status events export revoke route topo doctor report
			help --help --json --version"
	elif [[ $cur == -* ]]; then
		case $command in
		bind | unbind) words="--config --force --json" ;;
		status | topo) words="--all --json" ;;
		events) words="--count --json" ;;
		export) words="--read-only --translated --write-combining --" ;;
		route | doctor) words="--json" ;;
		esac
		words="$words --help"
	else
		case $command in
		report) compopt -o default 2>/dev/null ;;
		help) words="bind unbind status events export revoke route topo doctor report" ;;
		unbind)
			words=$(cd "$pci/drivers/dmabuf-vfio-pci" 2>/dev/null &&
				compgen -G '*:*:*.*') ;;
		events | export | revoke)
			# The drop-in's, too
			words=$(for at in dmabuf-vfio-pci vfio-pci; do
				cd "$pci/drivers/$at" 2>/dev/null &&
					compgen -G '*:*:*.*'
			done) ;;
		bind | status | route | topo | doctor)
			words=$(cd "$pci/devices" 2>/dev/null &&
				compgen -G '*:*:*.*') ;;
		esac
	fi
	# An address may lack its domain.
	if [ "$COMP_CWORD" -gt "$first" ] && [[ -n $cur && $cur != 0000* && $cur != -* ]]; then
		words="$words ${words//0000:/}"
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
