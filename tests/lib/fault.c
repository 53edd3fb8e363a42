// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults on demand, and what they may leave behind.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"

#define DEBUGFS		"/sys/kernel/debug"
#define SLABS		"/sys/kernel/slab"
#define KMEMLEAK	DEBUGFS "/kmemleak"

#define NEVER		(1u << 30)	/* more than any operation has */
#define TRIES		16
#define PASSES		5
#define MAX_CACHES	256

enum kind { KIND_MEMORY, KIND_COPY, NR_KINDS };

static const char * const kind_names[] = {
	[KIND_MEMORY]	= "allocation",
	[KIND_COPY]	= "copy",
};

static const int kind_errnos[] = {
	[KIND_MEMORY]	= ENOMEM,
	[KIND_COPY]	= EFAULT,
};

static unsigned int injections, failures;

static bool all_of_them(void)
{
	const char *which = getenv("DVP_FAULTS");

	return which && !strcmp(which, "all");
}

/* --- the kernel's knobs */

static const struct {
	const char *name;
	const char *value;
} knobs[] = {
	{ "failslab/ignore-gfp-wait", "N" },
	{ "failslab/cache-filter", "N" },
	{ "failslab/verbose", "0" },
	{ "fail_page_alloc/ignore-gfp-wait", "N" },
	{ "fail_page_alloc/ignore-gfp-highmem", "N" },
	{ "fail_page_alloc/min-order", "0" },
	{ "fail_page_alloc/verbose", "0" },
	{ "fail_usercopy/verbose", "0" },
};

static void turn_knobs(void)
{
	if (!t_exists("/proc/thread-self/fail-nth") ||
	    !t_exists(DEBUGFS "/fail_usercopy/require-start"))
		t_skip("this kernel injects no faults");
	for (size_t i = 0; i < ARRAY_SIZE(knobs); i++)
		expect_eq(t_write(knobs[i].value, DEBUGFS "/%s", knobs[i].name),
			  0);
}

/* One counter is for all kinds; a kind counts if it may come from anywhere. */
static void count_kind(const char *name, bool on)
{
	expect_eq(t_write(on ? "0" : "1", DEBUGFS "/%s/require-start", name),
		  0);
	expect_eq(t_write(on ? "0xffffffffffffffff" : "1",
			  DEBUGFS "/%s/require-end", name), 0);
}

static void choose_kind(enum kind kind)
{
	count_kind("failslab", kind == KIND_MEMORY);
	count_kind("fail_page_alloc", kind == KIND_MEMORY);
	count_kind("fail_usercopy", kind == KIND_COPY);
}

/* Of this thread. That of a parent is the parent's. */
static int nth_fd = -1;

static void open_nth(void)
{
	if (nth_fd >= 0)
		close(nth_fd);
	nth_fd = expect_ok(open("/proc/thread-self/fail-nth",
				O_RDWR | O_CLOEXEC));
}

static bool write_nth(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	return write(nth_fd, text, len) == len;
}

/* How many were left to go. Reading it may be what fails, and ending it. */
static unsigned int end_nth(void)
{
	char text[16] = "";
	unsigned int left = 1;

	if (pread(nth_fd, text, sizeof(text) - 1, 0) > 0)
		left = strtoul(text, NULL, 10);
	while (!write_nth(0))
		;
	return left;
}

/* --- a try */

struct outcome {
	int ret;
	unsigned int left;
};

static struct outcome *outcome;

static void try_here(const struct fault_op *op, unsigned int n)
{
	outcome->ret = 0;
	expect(write_nth(n));
	outcome->ret = op->run();
	outcome->left = end_nth();
}

static void try(const struct fault_op *op, unsigned int n)
{
	pid_t pid;

	if (!op->in_child) {
		try_here(op, n);
		return;
	}
	pid = t_fork();
	if (!pid) {
		open_nth();
		try_here(op, n);
		_exit(0);
	}
	t_join(pid);
}

/* --- what a failure must not change */

#define STATE_LEN	(1 << 16)

static char state_before[STATE_LEN], state_now[STATE_LEN];

static size_t __printf(3, 4)
add(char *state, size_t len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	len += vsnprintf(state + len, STATE_LEN - len, fmt, ap);
	va_end(ap);
	expect(len < STATE_LEN);
	return len;
}

static int count_entries(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

/* What there is, not how often it has changed. */
static size_t add_gate(char *state, size_t len, const char *bdf)
{
	char text[1024];
	char *end;

	if (t_read(text, sizeof(text), "%s", vfio_debugfs(bdf, "state")) < 0)
		return add(state, len, "no gate\n");
	end = strstr(text, "\nrevokes:");
	expect(end);
	*end = 0;
	return add(state, len, "%s\n", text);
}

/* The sum at the end: of all buffers of anybody, and their importers. */
static size_t add_dma_bufs(char *state, size_t len)
{
	static char text[1 << 15];
	char *sum;

	if (t_read(text, sizeof(text), DEBUGFS "/dma_buf/bufinfo") < 0)
		return len;
	sum = strstr(text, "\nTotal ");
	return add(state, len, "dma-bufs:%s\n", sum ? sum + 6 : " ?");
}

static void read_state(char *state, const char *bdf)
{
	static const char * const modules[] = {
		"vfio", "vfio_pci_core", "dvp_importer",
	};
	static char text[1 << 15];
	size_t len = 0;

	len = add(state, len, "descriptors: %d\n", t_fd_count());
	len = add(state, len, "used: %s %d\n", vfio_module(),
		  t_refcnt(vfio_module()));
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++)
		len = add(state, len, "used: %s %d\n", modules[i],
			  t_refcnt(modules[i]));
	len = add(state, len, "driver: %s '%s'\n", bdf, vfio_driver_of(bdf));
	/* Out of memory the kernel leaves entries in /dev itself. */
	len = add(state, len, "groups: %d\n",
		  count_entries("/sys/class/vfio"));
	len = add(state, len, "nodes: %d\n",
		  count_entries("/sys/class/dmabuf-vfio"));
	len = add(state, len, "drivers: %d\n",
		  count_entries("/sys/bus/pci/drivers"));
	len = add_gate(state, len, bdf);
	if (t_read(text, sizeof(text), "%s", vfio_debugfs(bdf, "buffers")) > 0)
		len = add(state, len, "%s\n", text);
	add_dma_bufs(state, len);
}

void fault_remember(const char *bdf)
{
	read_state(state_before, bdf);
}

static bool same(const char *bdf)
{
	read_state(state_now, bdf);
	return !strcmp(state_before, state_now);
}

static void __printf(1, 2) differs(const char *fmt, ...)
{
	char *a = state_before, *b = state_now, what[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	while (*a && strcspn(a, "\n") == strcspn(b, "\n") &&
	       !strncmp(a, b, strcspn(a, "\n"))) {
		a += strcspn(a, "\n") + 1;
		b += strcspn(b, "\n") + 1;
	}
	t_fail("%s: '%.*s' was '%.*s'", what, (int)strcspn(b, "\n"), b,
	       (int)strcspn(a, "\n"), a);
}

/* An importer that was told lets go a moment later. */
void fault_expect_same(const char *bdf, const char *what)
{
	if (!t_within(3000, same(bdf)))
		differs("%s", what);
}

/* --- objects */

struct cache {
	char name[48];
	long active;
};

struct slabs {
	int nr;
	struct cache caches[MAX_CACHES];
};

static bool counts(const char *name)
{
	static const char * const caches[] = {
		"kmalloc-", "iommu_iova", "dentry", "inode_cache", "filp",
		"kernfs_node_cache", "radix_tree_node",
	};

	for (size_t i = 0; i < ARRAY_SIZE(caches); i++)
		if (!strncmp(name, caches[i], strlen(caches[i])))
			return true;
	return false;
}

static int shrinkers[MAX_CACHES], nr_shrinkers;

/* Once: the kernel frees what an open took some seconds after the close. */
static void open_shrinkers(void)
{
	DIR *dir = opendir(SLABS);
	struct dirent *e;
	char path[300];

	expect(dir, "no " SLABS);
	while ((e = readdir(dir))) {
		if (!counts(e->d_name))
			continue;
		snprintf(path, sizeof(path), SLABS "/%s/shrink", e->d_name);
		expect(nr_shrinkers < MAX_CACHES);
		shrinkers[nr_shrinkers++] = expect_ok(open(path, O_WRONLY |
							   O_CLOEXEC));
	}
	closedir(dir);
}

/* What is free but not given back counts as used: KASAN's, a processor's. */
static void shrink_slabs(void)
{
	for (int i = 0; i < nr_shrinkers; i++)
		expect_eq(pwrite(shrinkers[i], "1", 1, 0), 1);
}

/* @settle_ms: for what is freed later */
static void read_slabs(struct slabs *slabs, unsigned int settle_ms)
{
	static char text[1 << 16];
	char *save, *line;

	/* The 4: without a word. */
	t_write("6", "/proc/sys/vm/drop_caches");
	t_sleep_ms(settle_ms);
	shrink_slabs();
	t_sleep_ms(20);
	shrink_slabs();
	slabs->nr = 0;
	expect_ge(t_read(text, sizeof(text), "/proc/slabinfo"), 1);
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		struct cache *c = &slabs->caches[slabs->nr];

		if (!counts(line) ||
		    sscanf(line, "%47s %ld", c->name, &c->active) != 2)
			continue;
		expect(++slabs->nr < MAX_CACHES);
	}
}

static long growth(const struct slabs *from, const struct slabs *to, int i)
{
	for (int j = 0; j < from->nr; j++)
		if (!strcmp(from->caches[j].name, to->caches[i].name))
			return to->caches[i].active - from->caches[j].active;
	return 0;
}

/* The least that each cache has grown by in a pass. @return: the worst one */
static int least_growth(const struct slabs *from, const struct slabs *to,
			long *least)
{
	int worst = 0;

	for (int i = 0; i < to->nr; i++) {
		long grown = growth(from, to, i);

		if (grown < least[i])
			least[i] = grown;
		if (least[i] > least[worst])
			worst = i;
	}
	return worst;
}

static void expect_no_leaks(void)
{
	static char text[1 << 14];

	if (!t_exists(KMEMLEAK))
		return;
	t_sleep_ms(6000);		/* younger ones do not count */
	t_write("scan", KMEMLEAK);
	t_write("scan", KMEMLEAK);
	if (t_read(text, sizeof(text), KMEMLEAK) > 0 && *text)
		t_fail("kmemleak: %.600s", text);
}

/* --- all of them */

static bool allowed(const struct fault_op *op, enum kind kind, int err)
{
	if (op->firm)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(op->errs); i++)
		if (op->errs[i] == err)
			return true;
	return err == kind_errnos[kind];
}

/* One try, with the fault or, if @n is NEVER, without. True: it came. */
static bool attempt(const struct fault_op *op, const char *bdf, enum kind kind,
		    unsigned int n)
{
	char what[64];
	bool came;

	fault_remember(bdf);
	if (op->prepare)
		op->prepare();
	try(op, n);
	came = !outcome->left;
	snprintf(what, sizeof(what), "%s %u", kind_names[kind], n);
	if (outcome->ret < 0 && !came)
		t_fail("before %s, nothing failed: %s", what,
		       t_errno_name(-outcome->ret));
	if (outcome->ret < 0 && !allowed(op, kind, -outcome->ret))
		t_fail("%s fails: %s", what, t_errno_name(-outcome->ret));
	if (op->undo)
		op->undo(outcome->ret);
	fault_expect_same(bdf, what);
	injections += came;
	failures += outcome->ret < 0;
	return came;
}

/* Without a fault. @return: how many there could have been */
static unsigned int attempt_well(const struct fault_op *op, const char *bdf,
				 enum kind kind)
{
	expect(!attempt(op, bdf, kind, NEVER));
	return NEVER - outcome->left;
}

/* Some are taken by chance, the same ones in each pass. */
static unsigned int next_n(unsigned int n, unsigned int count,
			   unsigned int tries, unsigned int *seed)
{
	if (!tries || count <= tries)
		return n + 1;
	*seed = *seed * 1103515245 + 12345;
	return n + 1 + (*seed >> 8) % (2 * (count / tries));
}

static unsigned int try_kind(const struct fault_op *op, const char *bdf,
			     enum kind kind, unsigned int tries)
{
	unsigned int n = 0, seed = 1, count;

	choose_kind(kind);
	/* The first time what stays allocated counts, too. */
	attempt_well(op, bdf, kind);
	count = attempt_well(op, bdf, kind);
	for (;;) {
		n = next_n(n, count, tries, &seed);
		if (!attempt(op, bdf, kind, n))
			return count;
		attempt_well(op, bdf, kind);
	}
}

void fault_try(const struct fault_op *op, const char *bdf)
{
	unsigned int tries = all_of_them() ? 0 : op->tries ?: TRIES;
	unsigned int count[NR_KINDS];
	static struct slabs before, after;
	long least[MAX_CACHES];
	int worst = 0, passes;

	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(outcome != MAP_FAILED);
	turn_knobs();
	open_nth();
	open_shrinkers();
	for (int i = 0; i < MAX_CACHES; i++)
		least[i] = LONG_MAX;

	/* The first pass fills caches; a leak shows in each of the others. */
	for (passes = 0; passes < PASSES; passes++) {
		before = after;
		for (int kind = 0; kind < NR_KINDS; kind++)
			count[kind] = try_kind(op, bdf, kind, tries);
		read_slabs(&after, 50u << 2 * passes);
		if (!passes)
			continue;
		worst = least_growth(&before, &after, least);
		if (least[worst] < 1)
			break;
	}
	t_note("%u allocations, %u copies; %u injections, %u failures",
	       count[KIND_MEMORY], count[KIND_COPY], injections, failures);
	if (least[worst] >= 1)
		t_fail("%ld objects of %s are left each time", least[worst],
		       after.caches[worst].name);
	if (all_of_them())
		expect_no_leaks();
}
