/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who holds what while waiting for whom. Importers are such that nothing can
 * cut them off (DIRECT), so that a wait for one has no end but the importer's
 * letting go; or they may keep anything for ever (STUCK), and are cut off.
 *
 * One of PROCESS, MUTUAL, SIBLING, ERRORS. Deadlocks are what is looked for: a
 * reader of a lock keeps all others off here, which is more than it does.
 *
 * check: process -DPROCESS
 * check: process-owner -DPROCESS -DOWNER
 * check: process-hot -DPROCESS -DHOT
 * check: mutual -DMUTUAL
 * check: mutual-stuck -DMUTUAL -DSTUCK
 * check: sibling -DSIBLING
 * check: sibling-close -DSIBLING -DCLOSE
 * check: errors -DERRORS
 * check: errors-at-resume -DERRORS -DAT_RESUME
 * mutant: BUG_FAULT_WAITS_WITH_MMAP_LOCK process deadlock
 * mutant: BUG_CLOSES_WITH_MMAP_LOCK process deadlock
 * mutant: BUG_MMAP_TAKES_MEMORY_LOCK process-hot deadlock
 * mutant: BUG_TOLD_UNDER_BUF_LOCK mutual deadlock
 * mutant: BUG_NOT_CUT mutual-stuck deadlock
 * mutant: BUG_CUT_UNDER_RESV mutual-stuck deadlock
 * mutant: BUG_ONE_AFTER_THE_OTHER sibling deadlock
 * mutant: BUG_PREPARE_TAKES_MEMORY_LOCK sibling deadlock
 * mutant: BUG_WAITS_WITH_GATE_LOCK sibling deadlock
 * mutant: BUG_ERROR_WAITS errors deadlock
 * mutant: BUG_RESUME_WAITS errors-at-resume deadlock
 */
#define A 0
#define B 1

bit node_lock[2];
bit memory_lock[2];		/* the core's */
bit device_lock[2];
bit set_lock;			/* the core's, of a set of functions */
bit gate_lock[2];
bit resv[2];
bit buf_lock[2];
bit mmap_lock;
bit own[2];			/* the lock of the importer of that buffer */

bit revoked[2];			/* some reason is given */
byte reasons[2];		/* how many */
bit tell[2];
bit told[2];
bit mapped[2];
bit ready[2];			/* the importer of that buffer lets go now */

inline lock(l) { atomic { !l -> l = 1 } }
inline unlock(l) { l = 0 }

/* Steps of a revoke: src/gate.c, src/buffer.c */

inline gate_begin(g)
{
	lock(gate_lock[g]);
	reasons[g]++;
	lock(buf_lock[g]);
	if
	:: !revoked[g] -> revoked[g] = 1; told[g] = 0; tell[g] = 1
	:: else
	fi;
#ifdef BUG_TOLD_UNDER_BUF_LOCK
	if
	:: tell[g] -> tell[g] = 0; callback(g); told[g] = 1
	:: else
	fi;
#endif
	unlock(buf_lock[g]);
#ifdef BUG_WAITS_WITH_GATE_LOCK
	!mapped[g];
#endif
	unlock(gate_lock[g])
}

#ifdef STUCK
/* At the end of the grace period */
#define cut(g)								\
	if								\
	:: !mapped[g]							\
	:: timeout -> lock_for_cut(g)					\
	fi
inline lock_for_cut(g)
{
#ifdef BUG_CUT_UNDER_RESV
	lock(resv[g]);
#endif
	lock(buf_lock[g]);
	mapped[g] = 0;
	unlock(buf_lock[g]);
#ifdef BUG_CUT_UNDER_RESV
	unlock(resv[g])
#endif
}
#ifdef BUG_NOT_CUT
#define gate_drain(g) !mapped[g]
#else
#define gate_drain(g) cut(g)
#endif
#else
#define gate_drain(g) !mapped[g]
#endif

inline gate_end(g)
{
	lock(gate_lock[g]);
	reasons[g]--;
	if
	:: !reasons[g] ->
		lock(buf_lock[g]);
		revoked[g] = 0;
		tell[g] = 1;
		unlock(buf_lock[g])
	:: else
	fi;
	unlock(gate_lock[g])
}

inline unmap(g)
{
	lock(buf_lock[g]);
	mapped[g] = 0;
	unlock(buf_lock[g])
}

/* With the reservation lock; takes the importer's own. */
inline callback(g)
{
	lock(own[g]);
	if
	:: mapped[g] && ready[g] -> unmap(g)
	:: else				/* lets go later */
	fi;
	unlock(own[g])
}

proctype teller(byte g)
{
end:	do
	:: tell[g] -> tell[g] = 0;
		lock(resv[g]);
		callback(g);
		unlock(resv[g]);
		told[g] = 1
	od
}

/* main.c, called by whoever resets the function, with its device lock */
inline reset(g)
{
#ifdef BUG_PREPARE_TAKES_MEMORY_LOCK
	lock(memory_lock[g]);
#endif
	gate_begin(g);			/* dvp_reset_prepare() */
	gate_drain(g);
#ifdef BUG_PREPARE_TAKES_MEMORY_LOCK
	unlock(memory_lock[g]);
#endif
	gate_end(g)			/* dvp_reset_done() */
}

/* The owner asks: ops.c, and then the core */
proctype ioctl_reset(byte g)
{
	gate_begin(g);
	gate_drain(g);
	lock(memory_lock[g]);
	lock(device_lock[g]);
	reset(g);
	unlock(device_lock[g]);
	unlock(memory_lock[g]);
	gate_end(g)
}

#ifdef PROCESS
/* Owner and client are threads of one process: one mmap_lock. */

/*
 * The importer lets go from a thread: it empties mappings of its own, and it
 * touches memory, before it does.
 */
proctype importer_thread()
{
end:	do
	:: told[A] && mapped[A] ->
		lock(mmap_lock);		/* munmap() */
		unlock(mmap_lock);
		lock(own[A]);
		unlock(own[A]);
		lock(resv[A]);
		if
		:: mapped[A] -> unmap(A)
		:: else
		fi;
		unlock(resv[A])
	od
}

proctype fault()
{
	do
	:: lock(mmap_lock);
		lock(buf_lock[A]);
		if
		:: !revoked[A] ->
			unlock(buf_lock[A]);
			unlock(mmap_lock);
			break
		:: else ->
			unlock(buf_lock[A]);
#ifdef BUG_FAULT_WAITS_WITH_MMAP_LOCK
			!revoked[A];
			unlock(mmap_lock)
#else
			unlock(mmap_lock);	/* release_fault_lock() */
			!revoked[A]		/* fault_wait_settled() */
#endif
		fi
	od
}

proctype do_mmap()
{
	lock(mmap_lock);
#ifdef BUG_MMAP_TAKES_MEMORY_LOCK
	lock(memory_lock[A]);
	unlock(memory_lock[A]);
#endif
	lock(buf_lock[A]);			/* dvp_mmap_setup() */
	unlock(buf_lock[A]);
	unlock(mmap_lock)
}

/* By somebody else: sysfs; HOT: a sibling's owner, of another driver */
proctype others_reset()
{
#ifdef HOT
	lock(memory_lock[A]);
#endif
	lock(device_lock[A]);
	reset(A);
	unlock(device_lock[A]);
#ifdef HOT
	unlock(memory_lock[A])
#endif
}

/* munmap() of a BAR, whose buffer holds the VFIO descriptor */
proctype do_munmap()
{
	lock(mmap_lock);
	lock(buf_lock[A]);			/* dvp_vma_close() */
	unlock(buf_lock[A]);
#ifdef BUG_CLOSES_WITH_MMAP_LOCK
	gate_begin(A);
	gate_drain(A);
#endif
	unlock(mmap_lock)
}

init {
	atomic {
		mapped[A] = 1;
		ready[A] = 0;
		run teller(A);
		run importer_thread();
		run fault();
		run do_mmap();
		run do_munmap();
#ifdef OWNER
		run ioctl_reset(A)
#else
		run others_reset()
#endif
	}
}
#endif

#ifdef MUTUAL
/*
 * Each function's driver or owner imports the other's buffer, and changes its
 * buffers and mappings while it has its own reservation lock.
 */
proctype importer_of(byte g)
{
	byte n = 1;

	do
	:: n -> n--;
		lock(resv[1 - g]);
		if
		:: atomic { !resv[g] -> resv[g] = 1 };	/* ww_mutex: or backs off */
			lock(own[g]);
			lock(buf_lock[g]);
			mapped[g] = !revoked[g];	/* dvp_buffer_map() */
			unlock(buf_lock[g]);
			unlock(own[g]);
			unlock(resv[g])
		:: else
		fi;
		unlock(resv[1 - g])
	:: !n -> break
	od
}

#ifdef STUCK
/* Keeps its own lock while it has its own function reset. */
proctype owner_of(byte g)
{
	lock(own[1 - g]);
	gate_begin(g);
	gate_drain(g);
	lock(memory_lock[g]);
	lock(device_lock[g]);
	reset(g);
	unlock(device_lock[g]);
	unlock(memory_lock[g]);
	gate_end(g);
	unlock(own[1 - g])
}
#endif

init {
	atomic {
		mapped[A] = 1;
		mapped[B] = 1;
		ready[A] = 1;
		ready[B] = 1;
		run teller(A);
		run teller(B);
#ifdef STUCK
		run owner_of(A);
		run owner_of(B)
#else
		run importer_of(A);
		run ioctl_reset(A);
		run ioctl_reset(B)
#endif
	}
}
#endif

#ifdef SIBLING
/*
 * The importer of either buffer is the other function's owner, which lets go
 * when it hears that its own function is being changed, too.
 */
proctype hears(byte g)
{
	byte other = 1 - g;

end:	revoked[other] && told[g];
	lock(resv[g]);
	unmap(g);
	unlock(resv[g])
}

/* ioctl_hot_reset(): both are told before one is waited for. */
proctype hot_reset()
{
	gate_begin(A);
#ifdef BUG_ONE_AFTER_THE_OTHER
	gate_drain(A);
#endif
	gate_begin(B);
	gate_drain(A);
	gate_drain(B);
	lock(set_lock);
	lock(memory_lock[A]);
	lock(memory_lock[B]);
	lock(device_lock[A]);
	lock(device_lock[B]);
	reset(A);
	reset(B);
	unlock(device_lock[B]);
	unlock(device_lock[A]);
	unlock(memory_lock[B]);
	unlock(memory_lock[A]);
	unlock(set_lock);
	gate_end(A);
	gate_end(B)
}

/* The other's owner closes meanwhile; the core holds the lock of the set. */
proctype close_b()
{
	lock(set_lock);
	lock(node_lock[B]);			/* dvp_node_close() */
	unlock(node_lock[B]);
	gate_begin(B);				/* dvp_gate_close() */
	gate_drain(B);
	unlock(set_lock)
}

init {
	atomic {
		mapped[A] = 1;
		mapped[B] = 1;
		run teller(A);
		run teller(B);
		run hears(A);
		run hears(B);
		run hot_reset();
#ifdef CLOSE
		run close_b()
#endif
	}
}
#endif

#ifdef ERRORS
/*
 * The PCI core tells one function after the other of an error, and of its end.
 * The importer of either is the other function's driver.
 */
bit failed[2];
bit resumed[2];

proctype driver_of(byte d)
{
	byte g = 1 - d;

end:	failed[d] && told[g];
#ifdef AT_RESUME
	resumed[d];
#endif
	lock(resv[g]);
	unmap(g);
	unlock(resv[g])
}

inline error_detected(g)
{
	lock(device_lock[g]);
	gate_begin(g);			/* dvp_error_detected() */
#ifdef BUG_ERROR_WAITS
	gate_drain(g);
#endif
	failed[g] = 1;
	unlock(device_lock[g])
}

inline error_resume(g)
{
	lock(device_lock[g]);
#ifdef BUG_RESUME_WAITS
	gate_drain(g);
	gate_end(g);
#endif
	resumed[g] = 1;			/* dvp_error_resume() */
	unlock(device_lock[g])
}

proctype pcie_error()
{
	error_detected(A);
	error_detected(B);
	error_resume(A);
	error_resume(B)
}

/* gate_recovered() */
proctype recovery(byte g)
{
#ifdef BUG_RESUME_WAITS
	skip
#else
	resumed[g];
	gate_drain(g);
	gate_end(g)
#endif
}

init {
	atomic {
		mapped[A] = 1;
		mapped[B] = 1;
		run teller(A);
		run teller(B);
		run driver_of(A);
		run driver_of(B);
		run pcie_error();
		run recovery(A);
		run recovery(B)
	}
}
#endif
