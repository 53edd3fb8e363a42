/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A function that exports, an edu that imports from it, and what must be true
 * of the two while the function can and cannot be reached.
 *
 * The edu attaches twice: "quick" lets go as soon as it is told, "slow" when
 * the case says so. While slow holds on, a change of the function waits,
 * and the case can look at the middle of it: through slow's mapping the edu
 * still reaches the memory, and what it reads says whether the hardware has
 * changed already. For that the grace period is RIG_GRACE_MS in such a case,
 * unless the case sets another.
 */
#ifndef DVP_RIG_H
#define DVP_RIG_H

#include "importer.h"
#include "vfio.h"

#define RIG_LEN		64		/* bytes looked at, at most */
#define RIG_GRACE_MS	60000

/* What debugfs says of a function */
struct gate {
	bool reachable;
	char reasons[128];		/* "memory-off d3hot" */
	unsigned int buffers;
	unsigned int ranges;
	unsigned long revokes;
	unsigned long restores;
	u64 last_us;
};

struct gate gate_read(const char *bdf);

/* Reachable if @reasons is empty, else blocked for just these reasons. */
void gate_expect_at(const char *file, int line, const char *bdf,
		    const char *reasons);

#define gate_expect(bdf, reasons)					\
	gate_expect_at(__FILE__, __LINE__, bdf, reasons)

struct rig_att {
	int handle;
	u64 addr;			/* of its last mapping */
	u32 told;			/* times, when that was made */
	bool mapped;			/* once, at least */
	struct dvpi_stats mark;
};

struct rig {
	const char *role;
	char bdf[VFIO_BDF_LEN];
	struct vfio_dev *dev;
	int bar;
	u64 at;				/* bytes to write to, in the BAR */
	u32 len;
	bool by_mapping;		/* read there: the fd does not tell */
	int fd;				/* the buffer: a page around @at */
	int imp;
	const char *edu;
	struct rig_att quick;
	struct rig_att slow;
	u32 seed;
	u8 bytes[RIG_LEN];		/* what the edu put there last */
	u8 junk[RIG_LEN];		/* what it tried to put there since, */
	bool tried;			/* if it did */
	struct gate mark;
};

/*
 * The bar and bytes of a role that the edu may write to: memory of ivshmem,
 * the CMB of an NVMe, a register of a virtio function, the MSI-X table of a VF,
 * whose registers are of no use before its PF says so.
 */
void rig_find(struct rig *rig, const char *role);
void rig_open(struct rig *rig, const char *role);	/* mapped, and used */

/* The same where nothing translates for the importer, the @edu of that role */
void rig_open_direct(struct rig *rig, const char *role, const char *edu);
void rig_reopen(struct rig *rig);	/* the function alone, after a close */
void rig_export(struct rig *rig);	/* buffer and attachments, not mapped */
void rig_wake(struct rig *rig);		/* memory on, after a reset */

/* Maps both and has the edu write new bytes, which arrive. */
void rig_map(struct rig *rig);

/* Bytes as the CPU sees them, and new ones. */
void rig_cpu_read(struct rig *rig, u8 *buf);
void rig_cpu_write(struct rig *rig, const u8 *buf);
void rig_fresh(struct rig *rig, u8 *buf);

/* Whatever the edu writes to @addr arrives, or nothing moves either way. */
void rig_live_at(const char *file, int line, struct rig *rig, u64 addr);
void rig_stale_at(const char *file, int line, struct rig *rig, u64 addr);

#define rig_live(rig, addr)	rig_live_at(__FILE__, __LINE__, rig, addr)
#define rig_stale(rig, addr)	rig_stale_at(__FILE__, __LINE__, rig, addr)

/*
 * Runs act() in a child, and looks at the middle of it: the gate is blocked
 * for the reasons @during, quick has let go and cannot map, nothing gets
 * through its old address, and the hardware is as it was. act() must not
 * return before slow has let go, which happens at the end of this.
 */
void rig_watch(struct rig *rig, void (*act)(struct rig *rig),
	       const char *during);

/* The parts of it, for a child @pid of the case's own, or for none. */
void rig_hold(struct rig *rig);			/* slow, from here on */
void rig_quick_lets_go(struct rig *rig);	/* told, not waited for */
void rig_middle(struct rig *rig, pid_t pid, const char *during);
void rig_let_go(struct rig *rig);		/* slow */

/*
 * Runs act(), with nobody late: the importers are told and have let go when it
 * returns.
 */
void rig_block(struct rig *rig, void (*act)(struct rig *rig),
	       const char *reasons);

/* Since rig_watch() or rig_block(): blocked for these reasons, still. */
void rig_blocked(struct rig *rig, const char *reasons);

/*
 * Since rig_watch() or rig_block(): the function can be reached again. The
 * importers have been told; the old addresses lead nowhere; new ones work.
 */
void rig_back(struct rig *rig);

/* Since rig_mark() nobody was told anything, and all is still mapped. */
void rig_mark(struct rig *rig);
void rig_untouched_at(const char *file, int line, struct rig *rig,
		      const char *what);

#define rig_untouched(rig, what)					\
	rig_untouched_at(__FILE__, __LINE__, rig, what)

/*
 * A process that keeps the edu writing to quick's address. rig_stop() expects
 * that from here on nothing of it arrives.
 */
pid_t rig_stream(struct rig *rig);
void rig_stop(struct rig *rig, pid_t pid);

/* What may be done to the function, for rig_watch() and rig_block() */
void rig_reset(struct rig *rig);		/* by its owner */
void rig_sysfs_reset(struct rig *rig);
void rig_memory_off(struct rig *rig);
void rig_memory_on(struct rig *rig);
void rig_d3hot(struct rig *rig);
void rig_d0(struct rig *rig);
int rig_low_power(struct rig *rig, u32 flags);
void rig_low_power_entry(struct rig *rig);
void rig_low_power_exit(struct rig *rig);

/* What a child must not keep: the function's descriptors. */
void rig_drop(struct rig *rig);

#endif /* DVP_RIG_H */
