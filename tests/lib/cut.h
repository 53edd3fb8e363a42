/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What may end access to a function, and how long that takes while somebody
 * does not let go.
 */
#ifndef DVP_LIB_CUT_H
#define DVP_LIB_CUT_H

#include "rig.h"

#define CUT_GRACE_MS	300		/* shorter than the default: cases */
/* Timers count in ticks, and those of a busy host come in bursts. */
#define CUT_LEAST_MS	(CUT_GRACE_MS * 3 / 4)

struct cut_way {
	const char *role;
	void (*act)(struct rig *rig);
	void (*undo)(struct rig *rig);	/* it can be reached again */
	bool dies;			/* and so does the buffer */
};

extern const struct cut_way cut_reset;	/* of the bus, by the owner */
extern const struct cut_way cut_flr;	/* of the function */
extern const struct cut_way cut_sysfs_reset;
extern const struct cut_way cut_hot_reset;	/* of two functions */
extern const struct cut_way cut_memory_off;
extern const struct cut_way cut_d3hot;
extern const struct cut_way cut_low_power;
extern const struct cut_way cut_low_power_wakeup;
extern const struct cut_way cut_close;
extern const struct cut_way cut_kill;	/* of the owner, -9 */
extern const struct cut_way cut_unbind;	/* after the close */
extern const struct cut_way cut_unbind_pending;	/* before it */
extern const struct cut_way cut_revoke;	/* for good, by the owner */
extern const struct cut_way cut_revoke_node;	/* by the node's user */

/* What of act() is timed, unless it says so itself: all of it. */
extern u64 cut_began_ns;

/* Milliseconds that @way takes; the rig is then as act() leaves it. */
u64 cut_spend(const struct cut_way *way, struct rig *rig);

/* What it takes with importers that let go at once; mapped again after. */
u64 cut_alone(const struct cut_way *way, struct rig *rig);

/* More than a grace period may take on a kernel that checks all it does */
u64 cut_slack_ms(void);

/* Opens what else act() needs: for the rig's whole life. */
void cut_prepare(const struct cut_way *way, struct rig *rig);

/* Reachable again, with a new buffer if the old one is dead. */
void cut_again(const struct cut_way *way, struct rig *rig);

/* A holder of the buffer alone, who adds fences all the time; a child. */
pid_t cut_add_fences(struct rig *rig, u32 ms);
void cut_stop(pid_t pid);

#endif /* DVP_LIB_CUT_H */
