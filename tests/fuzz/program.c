// SPDX-License-Identifier: GPL-2.0-only
/* Programs: made of a seed, changed, written as text and read from it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static const char * const role_names[NR_ROLES] = {
	"owner", "second", "client", "other", "importer", "node", "host",
};

static const struct fuzz_room * const rooms[] = {
	&fuzz_owner, &fuzz_buffer, &fuzz_memory, &fuzz_importer, &fuzz_node,
	&fuzz_host,
};

const struct fuzz_op *fuzz_op(u32 n)
{
	for (size_t i = 0; i < ARRAY_SIZE(rooms); i++) {
		if (n < rooms[i]->nr)
			return &rooms[i]->ops[n];
		n -= rooms[i]->nr;
	}
	return NULL;
}

int fuzz_op_named(const char *name)
{
	const struct fuzz_op *op;

	for (u32 n = 0; (op = fuzz_op(n)); n++)
		if (!strcmp(op->name, name))
			return n;
	return -1;
}

/* splitmix64: each state gives one number, and all are reached */
u32 fuzz_any(u64 *state, u32 n)
{
	u64 z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (z ^ z >> 31) % n;
}

/* Mostly small, since an operation picks by it */
static u32 any_arg(u64 *rng)
{
	u32 bit = 1u << fuzz_any(rng, 32);

	switch (fuzz_any(rng, 10)) {
	case 0 ... 4:
		return fuzz_any(rng, 16);
	case 5 ... 7:
		return fuzz_any(rng, 256);
	case 8:
		return bit - 1 + fuzz_any(rng, 3);
	default:
		return fuzz_any(rng, 0xffffffff);
	}
}

/* What an operation can be done by, of those in @roles */
static u32 any_role(u64 *rng, u32 roles)
{
	u32 role;

	/* Who has nothing else to do does it most. */
	if (roles == HOLDERS && fuzz_any(rng, 2))
		roles = CLIENTS;
	do {
		role = fuzz_any(rng, NR_ROLES);
	} while (!(roles & 1u << role));
	return role;
}

static u32 any_op(u64 *rng)
{
	const struct fuzz_op *op;
	u32 sum = 0, at, n;

	for (n = 0; (op = fuzz_op(n)); n++)
		sum += op->weight;
	at = fuzz_any(rng, sum);
	for (n = 0; at >= fuzz_op(n)->weight; n++)
		at -= fuzz_op(n)->weight;
	return n;
}

/* The functions that a program is about: few, so that much meets. */
static u32 any_target(u64 *rng, const u32 *focus)
{
	u32 at = fuzz_any(rng, 8);

	if (at < 5)
		return focus[0];
	return at < 7 ? focus[1] : fuzz_any(rng, NR_TARGETS);
}

static struct fuzz_line any_line(u64 *rng, u32 op, const u32 *focus)
{
	struct fuzz_line line = { .op = op };

	line.role = any_role(rng, fuzz_op(op)->roles);
	for (int i = 0; i < FUZZ_ARGS; i++)
		line.a[i] = any_arg(rng);
	if (fuzz_op(op)->target)
		line.a[0] = any_target(rng, focus);
	return line;
}

/* How nearly all begins that is worth while */
static const struct {
	const char *op;
	u8 role;
	u8 focus;
} openings[] = {
	{ "open", OWNER, 0 }, { "open", SECOND, 1 },
	{ "memory_on", OWNER, 0 }, { "memory_on", SECOND, 1 },
	{ "node_open", NODE, 0 }, { "export", OWNER, 0 },
	{ "export", OWNER, 0 }, { "export", SECOND, 1 },
	{ "mmap", CLIENT, 0 }, { "touch", CLIENT, 0 }, { "mmap", OTHER, 0 },
	{ "attach", IMPORTER, 0 }, { "map", IMPORTER, 0 },
};

/* What shows whether the first of the two has done what it should */
static const struct {
	const char *first;
	const char *then;
} pairs[] = {
	{ "memory_off", "touch" }, { "memory_off", "map" },
	{ "memory_off", "copy" }, { "power", "touch" }, { "revoke", "touch" },
	{ "revoke", "revoke" }, { "revoke", "dma" }, { "close", "touch" },
	{ "close", "open" }, { "export", "mmap" }, { "export", "attach" },
	{ "mmap", "touch" }, { "attach", "map" }, { "map", "behave" },
	{ "open", "node_open" }, { "node_open", "node_export" },
};

static int op_after(u64 *rng, u32 op)
{
	u32 start = fuzz_any(rng, ARRAY_SIZE(pairs));

	for (u32 i = 0; i < ARRAY_SIZE(pairs); i++) {
		u32 at = (start + i) % ARRAY_SIZE(pairs);

		if (!strcmp(pairs[at].first, fuzz_op(op)->name))
			return fuzz_op_named(pairs[at].then);
	}
	return -1;
}

static u32 any_focus(u64 *rng)
{
	static const u32 memory[] = { SHM_SW, SHM_MF, BOCHS };

	/* Where bytes can be judged */
	if (fuzz_any(rng, 2))
		return memory[fuzz_any(rng, ARRAY_SIZE(memory))];
	return fuzz_any(rng, NR_TARGETS);
}

void fuzz_generate(struct fuzz_program *p, u64 seed, bool together)
{
	u64 rng = seed * 0x2545f4914f6cdd1dull;
	u32 focus[2], nr = 30 + fuzz_any(&rng, FUZZ_OPS - 60);

	focus[0] = any_focus(&rng);
	focus[1] = any_focus(&rng);
	*p = (struct fuzz_program){ .together = together };
	for (size_t i = 0; i < ARRAY_SIZE(openings); i++) {
		struct fuzz_line *line = &p->lines[p->nr];
		int op = fuzz_op_named(openings[i].op);

		*line = any_line(&rng, op, focus);
		line->role = openings[i].role;
		if (fuzz_op(op)->target)
			line->a[0] = focus[openings[i].focus];
		/* Not always, or nothing else is ever tried. */
		p->nr += fuzz_any(&rng, 8) != 0;
	}
	while (p->nr < nr) {
		u32 op = any_op(&rng);
		int next = op_after(&rng, op);

		p->lines[p->nr++] = any_line(&rng, op, focus);
		if (next >= 0 && fuzz_any(&rng, 2))
			p->lines[p->nr++] = any_line(&rng, next, focus);
	}
}

/* Some lines are lost, some are new, some have another argument. */
void fuzz_mutate(struct fuzz_program *p, const struct fuzz_program *of,
		 u64 seed)
{
	u64 rng = seed * 0x2545f4914f6cdd1dull;
	u32 focus[2];

	focus[0] = of->nr ? of->lines[0].a[0] % NR_TARGETS : 0;
	focus[1] = fuzz_any(&rng, NR_TARGETS);
	*p = (struct fuzz_program){ .together = fuzz_any(&rng, 4) ?
		of->together : !of->together };
	for (u32 i = 0; i < of->nr && p->nr < FUZZ_OPS; i++) {
		struct fuzz_line *line = &p->lines[p->nr];

		if (!fuzz_any(&rng, 12))
			continue;
		p->nr++;
		if (!fuzz_any(&rng, 10) && p->nr < FUZZ_OPS) {
			*line = any_line(&rng, any_op(&rng), focus);
			line++;
			p->nr++;
		}
		*line = of->lines[i];
		if (!fuzz_any(&rng, 10))
			line->a[fuzz_any(&rng, FUZZ_ARGS)] = any_arg(&rng);
	}
}

int fuzz_print(const struct fuzz_program *p, u32 n, char *text, size_t size)
{
	const struct fuzz_line *line = &p->lines[n];

	return snprintf(text, size, "%s %s %#x %#x %#x %#x",
			role_names[line->role], fuzz_op(line->op)->name,
			line->a[0], line->a[1], line->a[2], line->a[3]);
}

/* A line of text: an operation, or "together". False: neither. */
bool fuzz_parse(struct fuzz_program *p, const char *text)
{
	struct fuzz_line line = {};
	char role[32], name[32];
	int op;

	if (!strncmp(text, "together", 8)) {
		p->together = true;
		return true;
	}
	if (sscanf(text, "%31s %31s %x %x %x %x", role, name, &line.a[0],
		   &line.a[1], &line.a[2], &line.a[3]) != 6)
		return false;
	while (line.role < NR_ROLES && strcmp(role, role_names[line.role]))
		line.role++;
	op = fuzz_op_named(name);
	if (line.role == NR_ROLES || op < 0 || p->nr == FUZZ_OPS)
		return false;
	line.op = op;
	p->lines[p->nr++] = line;
	return true;
}
