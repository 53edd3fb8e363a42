/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A PF, function 0, and its VF, function 1, whose buffer somebody imports. What
 * the PF goes through takes the VF along.
 *
 * check: requests -DPF_OWNER -DCHANGES=2 -DMAPS=2 -DNO_DIRECT
 * check: resets -DPF_SYSFS -DPF_TENURE -DMAPS=1
 * check: failed-recovery -DPF_FAILED -DMAPS=2
 * mutant: BUG_LATE_WAITER requests nobody_while_blocked
 * mutant: BUG_RESETS_NOT_COUNTED resets nobody_while_blocked
 * mutant: BUG_VFS_NOT_AWAITED resets nobody_while_blocked
 * mutant: BUG_OPEN_SETTLES_NO_VFS failed-recovery restored_at_the_end
 */
#define NG 2
#define NB 1
#define GATE(b) 1
#define VF 1
#ifndef CHANGES
#define CHANGES 0
#endif
#include "driver.inc"

byte running;

/* A reset of the PF is one of the VF. */
#define VF_BLOCKED (BLOCKED(1) || in_reset[0])

proctype pf_owner()
{
	LOCALS;

	ops_write_switch(0, 0);
	running--
}

proctype pf_sysfs()
{
	LOCALS;

	pci_reset(0);
	running--
}

proctype pf_tenure()
{
	LOCALS;

	dvp_close_device(0);
	dvp_gate_open(0);
	running--
}

/* Without a channel that is lost: the first open ends it. */
proctype pf_failed_recovery()
{
	LOCALS;

	pcie_error(0);
	dvp_close_device(0);
	dvp_gate_open(0);
	running--
}

proctype vf_owner()
{
	LOCALS;
	byte n = CHANGES;

	do
	:: n -> n--;
		/* What the core does in it does not matter here. */
		dvp_gate_change(1, RESET);
		if
		:: !killed_ ->
			in_reset[1]++;
			in_reset[1]--;
			dvp_gate_settle(1, 1)
		:: else
		fi;
		killed_ = 0
	:: !n -> break
	od;
	running--
}

proctype end_check()
{
	atomic {
		!running && timeout;
		if
		:: nr_changes[0] || nr_changes[1] || coming[0] || coming[1] ||
		   nr_resets[0] || nr_resets[1] || glock[0] || glock[1] ||
		   reasons[0] != (memory_on[0] -> 0 : MEMORY_OFF) ||
		   reasons[1] != (memory_on[1] -> 0 : MEMORY_OFF) ||
		   state[0] != (memory_on[1] -> USABLE : REVOKED) ->
			VIOLATED(restored_at_the_end)
		:: else
		fi
	}
}

proctype monitor()
{
end:
	atomic {
		VF_BLOCKED && HAS_ACCESS(0) -> VIOLATED(nobody_while_blocked)
	}
}

#define RUN(p)	running++; run p()

init {
	atomic {
		memory_on[0] = 1;
		memory_on[1] = 1;
		reasons[0] = 0;
		reasons[1] = 0;
		dvp_gate_add(0);
#ifdef PF_OWNER
		RUN(pf_owner);
#endif
#ifdef PF_SYSFS
		RUN(pf_sysfs);
#endif
#ifdef PF_TENURE
		RUN(pf_tenure);
#endif
#ifdef PF_FAILED
		RUN(pf_failed_recovery);
#endif
#if CHANGES
		RUN(vf_owner);
#endif
		run importer(0, MAPS);
		run teller(0);
		run end_check();
		run monitor()
	}
}
