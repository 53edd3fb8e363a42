/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fuzzer. A program is a list of operations, each done by one of some
 * processes with four numbers as arguments, whatever they are: an operation
 * picks what exists by them. So any part of a program is a program.
 *
 * A program is a function of a seed. It runs in one of two ways: one operation
 * after the other, where more is known and checked, or each process on its own.
 */
#ifndef DVP_FUZZ_H
#define DVP_FUZZ_H

#include "vfio.h"

#define FUZZ_PAGE	4096u
#define FUZZ_ARGS	4
#define FUZZ_OPS	160		/* in a program */
#define FUZZ_GRANTS	512
#define FUZZ_RANGES	4
#define FUZZ_GRACE_MS	50

enum fuzz_role { OWNER, SECOND, CLIENT, OTHER, IMPORTER, NODE, HOST, NR_ROLES };

#define OWNERS		(1u << OWNER | 1u << SECOND)
#define CLIENTS		(1u << CLIENT | 1u << OTHER)
#define HOLDERS		(OWNERS | CLIENTS | 1u << IMPORTER | 1u << NODE)

/* --- functions */

struct fuzz_target {
	const char *role;
	int bar;
	u32 pages;			/* that are lent, from @first on */
	u32 first;
	bool memory;			/* keeps what is written, all of it */
	const char *port;		/* where errors come from, or NULL */
	char bdf[VFIO_BDF_LEN];
	bool there;
};

enum { SHM_SW, SHM_MF, NVME_MF, RNG, BOCHS, PF, VF, NR_TARGETS };

extern struct fuzz_target fuzz_targets[NR_TARGETS];

/* The first word of each page of memory says which it is, for good. */
static inline u32 fuzz_word(u32 target, u32 page)
{
	return 0xca000000u | target << 20 | page;
}

/* What clients write, in pages that are lent, and what must never arrive */
#define FUZZ_CPU_AT	64
#define FUZZ_DMA_AT	96
#define FUZZ_DEAD_AT	128
#define FUZZ_LIVE	0x0b0b0b0bu
#define FUZZ_DEAD	0xdeadd3adu

/* --- what all processes know */

struct fuzz_grant {
	u32 target;
	u32 tenure;
	u32 nr;
	u32 at[FUZZ_RANGES];		/* pages of the BAR */
	u32 len[FUZZ_RANGES];
	bool read_only;
	bool dead;			/* it was taken back */
};

struct fuzz_shared {
	bool together;			/* not one after the other */
	bool unplugged;
	u32 nr_grants;
	struct fuzz_grant grants[FUZZ_GRANTS];
	u32 tenure[NR_TARGETS];		/* counted by the opens */
	u32 held_by[NR_TARGETS];	/* a role and one more */
	bool off[NR_TARGETS];		/* for sure, as nobody has done more */
	u32 next[NR_ROLES];		/* operation */
	u32 now[NR_ROLES];		/* the one that runs, and one more */
	u64 since[NR_ROLES];
	u32 pids[NR_ROLES];
	u32 done[256];			/* of each operation: calls, */
	u32 good[256];			/* and those that succeeded */
	u8 cover[4096];			/* code that was reached */
};

extern struct fuzz_shared *fuzz;

struct fuzz_grant *fuzz_new_grant(u32 target);
void fuzz_kill_tenure(u32 target);
u32 fuzz_grant_pages(const struct fuzz_grant *grant);
u32 fuzz_grant_word(const struct fuzz_grant *grant, u32 page);

/* --- a process */

#define FUZZ_BUFS	12
#define FUZZ_SLOTS	8
#define FUZZ_SLOT_PAGES	4096
#define FUZZ_NODES	4
#define FUZZ_HANDLES	8
#define FUZZ_SYNCS	4

struct fuzz_dev {
	struct vfio_dev *dev;
	int more[2];			/* descriptors of the same */
};

struct fuzz_buf {
	int fd;
	u32 grant;			/* and one more */
};

/* A page of a mapping as it should be */
struct fuzz_note {
	u32 word;			/* 0: not known */
	u16 grant;			/* and one more */
	bool bar;			/* of the owner's own mapping */
	bool sure;			/* it is there, unless revoked */
};

/* An attachment */
struct fuzz_handle {
	bool on;
	int handle;
	u32 grant;			/* and one more */
	u64 addr;			/* of its last mapping */
	const char *client;
	bool firm;			/* cannot be cut off, so it lets go */
	bool late;			/* never lets go by itself */
};

struct fuzz_node {
	int fd;				/* and one more; 0: none */
	u32 target;
	u32 tenure;			/* 0: it was closed then */
};

struct fuzz_me {
	enum fuzz_role role;
	const struct fuzz_op *op;
	u32 index;			/* of it in the program */
	int socks[NR_ROLES];		/* [role]: of ours, else to it */
	struct fuzz_dev devs[NR_TARGETS];
	struct fuzz_buf bufs[FUZZ_BUFS];
	u32 next_buf;
	bool slot_used[FUZZ_SLOTS];
	u32 slot_bars[FUZZ_SLOTS];	/* a bit for each BAR it maps */
	u32 next_slot;
	struct fuzz_node nodes[FUZZ_NODES];
	u32 next_node;
	int imp;
	struct fuzz_handle handles[FUZZ_HANDLES];
	u32 next_handle;
	int syncs[FUZZ_SYNCS];
	u32 next_sync;
	int vgem;
};

/* Fails the case, and says in which operation. */
#define fuzz_wrong(_me, fmt, ...)					\
	do {								\
		const struct fuzz_me *me_ = _me;			\
									\
		t_fail("operation %u, %s: " fmt, me_->index,		\
		       me_->op->name, ##__VA_ARGS__);			\
	} while (0)

/* --- operations; they return what the call did, or -errno */

struct fuzz_op {
	const char *name;
	int (*fn)(struct fuzz_me *me, const u32 *a);
	u32 roles;			/* who may do it */
	u32 weight;
	bool target;			/* the first argument is a function */
};

#define FUZZ_OP(_name, _roles, _weight, _target)			\
	{ .name = #_name, .fn = op_##_name, .roles = _roles,		\
	  .weight = _weight, .target = _target }

struct fuzz_room {
	const struct fuzz_op *ops;
	u32 nr;
};

extern const struct fuzz_room fuzz_owner, fuzz_buffer, fuzz_memory,
			      fuzz_importer, fuzz_node, fuzz_host;

/* All of them, numbered; NULL at the end */
const struct fuzz_op *fuzz_op(u32 n);
int fuzz_op_named(const char *name);

/* --- programs */

struct fuzz_line {
	u8 role;
	u8 op;
	u32 a[FUZZ_ARGS];
};

struct fuzz_program {
	bool together;
	u32 nr;
	struct fuzz_line lines[FUZZ_OPS];
};

u32 fuzz_any(u64 *state, u32 n);	/* a number below @n */
void fuzz_generate(struct fuzz_program *p, u64 seed, bool together);
void fuzz_mutate(struct fuzz_program *p, const struct fuzz_program *of,
		 u64 seed);
int fuzz_print(const struct fuzz_program *p, u32 n, char *text, size_t size);
bool fuzz_parse(struct fuzz_program *p, const char *line);

/* --- parts that operations share */

struct fuzz_buf *fuzz_pick_buf(struct fuzz_me *me, u32 n);
void fuzz_keep_buf(struct fuzz_me *me, int fd, u32 grant);
void fuzz_share_buf(struct fuzz_me *me, int fd, u32 grant);
void fuzz_receive(struct fuzz_me *me);
bool fuzz_is_dead(u32 grant);
bool fuzz_is_off(u32 grant);
int fuzz_pick_slot(struct fuzz_me *me, u32 n);
u8 *fuzz_slot_at(int slot);
struct fuzz_note *fuzz_slot_notes(int slot);
void fuzz_clear_slot(struct fuzz_me *me, int slot);
void fuzz_drop_bars(struct fuzz_me *me, u32 target);
int fuzz_free_slot(struct fuzz_me *me);
void fuzz_touch(struct fuzz_me *me, int slot, u32 page, bool write);
void fuzz_close_devs(struct fuzz_me *me);
void fuzz_read_cover(void);
void fuzz_set_module_up(void);

/* Ranges, as an export asks for them: @grant is what is lent then. */
u32 fuzz_ranges(const struct fuzz_target *t, const u32 *a,
		struct vfio_region_dma_range *ranges,
		struct fuzz_grant *grant);
u32 fuzz_export_flags(u32 a);

#endif /* DVP_FUZZ_H */
