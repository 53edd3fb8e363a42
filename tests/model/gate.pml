/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One function: its owner's requests side by side, resets by others, errors and
 * their recovery, with an importer and a process.
 *
 * check: requests -DOWNERS=2 -DRESETS -DMAPS=1
 * check: others -DOWNERS=1 -DSYSFS -DMAPS=2 -DTOUCHES=1
 * check: errors -DERRORS=2 -DMAPS=2 -DTOUCHES=1
 * check: error-beside -DERRORS=1 -DOWNERS=1 -DMAPS=2
 * check: close -DTENURE -DSYSFS -DMAPS=2
 * check: sleep -DSYSTEM_SLEEP -DSYSFS -DMAPS=2
 * check: physical -DPHYS -DSYSFS -DMAPS=2
 * check: export -DEXPORT -DOWNERS=1 -DMAPS=1 -DTOUCHES=1
 * mutant: BUG_NOT_WAITED requests nobody_while_blocked
 * mutant: BUG_HARDWARE_FIRST others nobody_while_blocked
 * mutant: BUG_FIRST_SETTLES requests nobody_while_blocked
 * mutant: BUG_READ_BEFORE_LOCK requests restored_at_the_end
 * mutant: BUG_JOBS_FORGOTTEN requests nobody_while_blocked
 * mutant: BUG_FENCES_NOT_AWAITED others nobody_while_blocked
 * mutant: BUG_PHYS_NOT_KNOWN physical nobody_while_blocked
 * mutant: BUG_TOLD_NOT_AWAITED physical nobody_while_blocked
 * mutant: BUG_FIRM_IS_CUT others nobody_while_blocked
 * mutant: BUG_RESET_UNSEEN others nobody_while_blocked
 * mutant: BUG_MAP_WHILE_REVOKED others nobody_while_blocked
 * mutant: BUG_FAULT_UNLOCKED others nobody_while_blocked
 * mutant: BUG_EMPTIED_FIRST others nobody_while_blocked
 * mutant: BUG_BACK_TOO_EARLY errors all_let_go_before_it_is_back
 * mutant: BUG_ANY_RECOVERY errors nobody_new_while_blocked
 * mutant: BUG_RECOVERED_UNLOCKED errors nobody_new_while_blocked
 * mutant: BUG_CLOSE_NOT_WAITED close nobody_while_blocked
 * mutant: BUG_SLEEPS_ALL_THE_SAME sleep nobody_while_blocked
 * mutant: BUG_ADDED_UNLOCKED export nobody_new_while_blocked
 * mutant: BUG_REASONS_LAST export nobody_while_blocked
 */
#define NG 1
#define NB 1
#define GATE(b) 0
#ifndef ERRORS
#define ERRORS 0
#endif
#include "driver.inc"

byte running;

proctype owner()
{
	LOCALS;

	if
	:: ops_write_switch(0, 0)
	:: ops_write_switch(0, 1)
#ifdef RESETS
	:: ioctl_reset(0)
#endif
	fi;
	running--
}

proctype sysfs()
{
	LOCALS;

	pci_reset(0);
	running--
}

proctype errors()
{
	LOCALS;
	byte n = ERRORS;

	do
	:: n -> n--; pcie_error(0); dvp_gate_recovered(0)
	:: !n -> break
	od;
	running--
}

proctype sleeper()
{
	LOCALS;

	system_sleep(0);
	running--
}

proctype tenure()
{
	LOCALS;

	dvp_close_device(0);
	dvp_gate_open(0);
	running--
}

proctype exporter()
{
	LOCALS;

	dvp_gate_add(0);
	running--
}

#ifdef TENURE
#define AT_THE_END DEAD
#else
#define AT_THE_END (memory_on[0] -> USABLE : REVOKED)
#endif

/* All is settled as the hardware is. */
proctype end_check()
{
	atomic {
		!running && timeout;
		if
		:: nr_changes[0] || coming[0] || nr_resets[0] || tell[0] ||
		   recovered[0] || reasons[0] != (memory_on[0] -> 0 : MEMORY_OFF) ||
		   state[0] != AT_THE_END ->
			VIOLATED(restored_at_the_end)
		:: else
		fi
	}
}

proctype monitor()
{
end:
	MONITOR(0)
}

init {
	atomic {
		memory_on[0] = 1;
		reasons[0] = 0;
#ifdef EXPORT
		running++;
		run exporter();
#else
		dvp_gate_add(0);
#endif
#ifdef SYSTEM_SLEEP
		running++;
		run sleeper();
#endif
#ifdef TENURE
		running++;
		run tenure();
#endif
#if OWNERS >= 1
		running++;
		run owner();
#endif
#if OWNERS >= 2
		running++;
		run owner();
#endif
#ifdef SYSFS
		running++;
		run sysfs();
#endif
#if ERRORS
		running++;
		run errors();
		run recovery(0);
#endif
#if TOUCHES
		run toucher(0, TOUCHES);
#endif
#if MAPS
		run importer(0, MAPS);
#endif
		run teller(0);
		run end_check();
		run monitor()
	}
}
