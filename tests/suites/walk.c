// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables: whatever walks, splits, moves or copies them meets every kind
 * of mapping that this driver makes. After it the bytes are right, the mapping
 * is still revoked, and the kernel has nothing to complain of. A client has a
 * buffer's descriptor and nothing else, so what needs no privilege runs
 * without any.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu.h"
#include "importer.h"

#define RDWR		(PROT_READ | PROT_WRITE)
#define THP		"/sys/kernel/mm/transparent_hugepage/"
#define KSM		"/sys/kernel/mm/ksm/"

/* Newer than the C library's or the kernel's headers here */
#define ADV_COLLAPSE		25
#define ADV_GUARD_INSTALL	102
#define ADV_GUARD_REMOVE	103
#define NR_MSEAL		462
#define SET_MEMORY_MERGE	67
#define UFFD_WP_ASYNC		(1 << 15)
#define POLICY_BIND		2
#define MOVE_STRICT		1
#define MOVE_MOVE		2

/* --- the mappings */

enum how { BUFFER, COMBINING, OWNER };

struct kind {
	const char *name;
	const char *role;
	int bar;
	enum how how;
	struct vfio_region_dma_range ranges[3];
	u64 at;			/* the part of it that is mapped, */
	u64 len;		/* 0: all */
	u64 skew;		/* of the address, against huge entries */
	bool advise;		/* MADV_HUGEPAGE */
};

#define OF_BOCHS	.role = "bochs", .bar = 0
#define OF_SHM		.role = "shm_sw", .bar = 2
#define OF_BIG		.role = "big", .bar = 2
#define RANGES(...)	.ranges = { __VA_ARGS__ }

static const struct kind kinds[] = {
	{ .name = "buffer", OF_BOCHS, RANGES({ 0, MIB(64) }) },
	{ .name = "buffer, advised", OF_BOCHS, RANGES({ 0, MIB(64) }),
	  .advise = true },
	{ .name = "buffer, skewed", OF_BOCHS, RANGES({ 0, MIB(16) }),
	  .skew = PAGE, .advise = true },
	{ .name = "buffer, odd", OF_BOCHS,
	  RANGES({ 511 * PAGE, 1026 * PAGE }) },
	{ .name = "buffer, part", OF_BOCHS, RANGES({ 0, MIB(64) }),
	  .at = MIB(3) + PAGE, .len = MIB(9) },
	{ .name = "buffer, ranges", OF_BOCHS,
	  RANGES({ MIB(32), MIB(8) }, { MIB(4) + PAGE, MIB(3) },
		 { MIB(16), MIB(5) }) },
	{ .name = "combining", OF_BOCHS, RANGES({ 0, MIB(16) }),
	  .how = COMBINING },
	{ .name = "BAR", OF_BOCHS, RANGES({ 0, MIB(64) }), .how = OWNER },
	{ .name = "BAR, advised", OF_BOCHS, RANGES({ 0, MIB(64) }),
	  .how = OWNER, .advise = true },
	{ .name = "BAR, skewed", OF_BOCHS, RANGES({ 0, MIB(16) }),
	  .how = OWNER, .skew = MIB(1) + PAGE },
	{ .name = "BAR, part", OF_BOCHS, RANGES({ MIB(3) + PAGE, MIB(9) }),
	  .how = OWNER },
	{ .name = "small buffer", OF_SHM, RANGES({ 0, MIB(4) }) },
	{ .name = "small BAR", OF_SHM, RANGES({ 0, MIB(4) }), .how = OWNER },
	{ .name = "GiB buffer", OF_BIG, RANGES({ GIB(1), GIB(3) }) },
	{ .name = "GiB buffer, odd", OF_BIG,
	  RANGES({ GIB(1) - 3 * PAGE, GIB(2) + 7 * PAGE }) },
	{ .name = "GiB BAR", OF_BIG, RANGES({ GIB(2), GIB(3) }),
	  .how = OWNER },
	{ .name = "GiB BAR, odd", OF_BIG,
	  RANGES({ GIB(1) + MIB(2), GIB(2) + 7 * PAGE }), .how = OWNER },
};

#define MAX_PROBES	24

struct probe {
	u64 at;
	u32 want;
	bool gone;
};

struct map {
	const struct kind *kind;
	struct vfio_dev *dev;
	int fd;
	u64 fd_at;		/* in the file */
	u64 align;		/* what is best for huge entries */
	u8 *p;
	u64 len;
	struct probe probes[MAX_PROBES];
	unsigned int nr;
};

static struct map maps[ARRAY_SIZE(kinds)];
static struct map * const maps_end = maps + ARRAY_SIZE(maps);
static int imp;

static u64 total(const struct kind *k)
{
	u64 sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(k->ranges); i++)
		sum += k->ranges[i].length;
	return sum;
}

/* Where in the BAR a byte of the mapping is */
static u64 in_bar(const struct kind *k, u64 at)
{
	size_t i = 0;

	for (at += k->at; at >= k->ranges[i].length; i++)
		at -= k->ranges[i].length;
	return k->ranges[i].offset + at;
}

static void add_probe(struct map *m, u64 at)
{
	u64 bar = in_bar(m->kind, at);
	u32 want = 0xa5000000 | bar / PAGE;

	m->probes[m->nr++] = (struct probe){ .at = at, .want = want };
	expect_eq(vfio_try_pwrite(m->dev, m->kind->bar, &want, 4, bar), 4);
}

static struct vfio_dev *device(const char *role)
{
	static struct {
		const char *role;
		struct vfio_dev *dev;
	} open[4];
	size_t i = 0;

	while (open[i].role && strcmp(open[i].role, role))
		i++;
	if (!open[i].role) {
		open[i].role = role;
		open[i].dev = cpu_open(role);
	}
	return open[i].dev;
}

static void prepare(struct map *m, const struct kind *k)
{
	u32 nr = 0;

	*m = (struct map){ .kind = k, .dev = device(k->role) };
	m->len = k->len ?: total(k);
	m->fd_at = k->at;
	m->fd = m->dev->fd;
	if (k->how == OWNER) {
		m->fd_at = vfio_region_offset(m->dev, k->bar) +
			   k->ranges[0].offset;
	} else {
		while (nr < ARRAY_SIZE(k->ranges) && k->ranges[nr].length)
			nr++;
		m->fd = expect_fd(export_buf(m->dev->fd, k->bar,
					     O_RDWR | O_CLOEXEC,
					     k->how == COMBINING ?
					     DMABUF_VFIO_MEM_WRITE_COMBINING :
					     DMABUF_VFIO_MEM_UNCACHED,
					     k->ranges, nr));
	}
	m->align = (cpu_bar_address(m->dev->bdf, k->bar) + in_bar(k, 0) +
		    k->skew) % GIB(1);

	for (u64 i = 0; i < 16; i++)
		add_probe(m, (m->len / 16 * i) & ~(PAGE - 1));
	add_probe(m, PAGE);
	add_probe(m, 99 * PAGE);
	add_probe(m, 100 * PAGE);
	add_probe(m, 101 * PAGE);
	add_probe(m, MIB(2));
	add_probe(m, (m->len / 2 & ~(PAGE - 1)) + PAGE);
	add_probe(m, m->len - PAGE);
}

/* What an access ends in: a value, or SIGBUS or SIGSEGV */
static sigjmp_buf back;

static void on_fault(int sig)
{
	siglongjmp(back, sig);
}

static int get(const u8 *p, u32 *value)
{
	struct sigaction act = {
		.sa_handler = on_fault,
		.sa_flags = SA_NODEFER,
	};
	int sig;

	sigaction(SIGBUS, &act, NULL);
	sigaction(SIGSEGV, &act, NULL);
	sig = sigsetjmp(back, 0);
	if (!sig)
		*value = __atomic_load_n((const u32 *)p, __ATOMIC_RELAXED);
	return sig;
}

static void check_probe(const struct map *m, const struct probe *probe)
{
	u32 have = 0;
	int sig = get(m->p + probe->at, &have);

	if (probe->gone) {
		expect(sig == SIGSEGV, "%s: %#llx is still there",
		       m->kind->name, (unsigned long long)probe->at);
		return;
	}
	expect(!sig && have == probe->want,
	       "%s: %#llx: signal %d, reads %#x, not %#x", m->kind->name,
	       (unsigned long long)probe->at, sig, have, probe->want);
}

static void check(const struct map *m)
{
	for (unsigned int i = 0; i < m->nr; i++)
		check_probe(m, &m->probes[i]);
}

static void check_all(void)
{
	for (struct map *m = maps; m < maps_end; m++)
		check(m);
}

/* All of it where that is quick, else where the probes are */
static void touch(const struct map *m)
{
	u32 value;

	for (u64 at = 0; at < m->len && m->len <= MIB(64); at += MIB(2))
		expect_eq(get(m->p + at, &value), 0);
	check(m);
}

/* Or all that follows would prove little. */
static void expect_huge(const struct map *m)
{
	u64 size;

	if (!t_huge_kernel() || m->kind->skew ||
	    m->kind->how == COMBINING)
		return;
	for (unsigned int i = 0; i < m->nr; i++)
		if (imp_pte(imp, m->p + m->probes[i].at, &size) &&
		    size == MIB(2))
			return;
	t_fail("%s: no huge entry", m->kind->name);
}

static void map_it(struct map *m)
{
	void *room = cpu_room(m->len, GIB(1), m->align);

	m->p = mmap(room, m->len, RDWR, MAP_SHARED | MAP_FIXED, m->fd,
		    m->fd_at);
	expect(m->p != MAP_FAILED, "%s: mmap: %s", m->kind->name,
	       t_errno_name(errno));
	if (m->kind->advise)
		madvise(m->p, m->len, MADV_HUGEPAGE);
	for (unsigned int i = 0; i < m->nr; i++)
		m->probes[i].gone = false;
	touch(m);
	expect_huge(m);
}

/* What @m has is taken away and comes back. */
static void check_revoked(const struct map *m)
{
	for (unsigned int i = 0; i < m->nr; i++) {
		const struct probe *probe = &m->probes[i];
		u32 value;
		u64 size;

		if (probe->gone)
			continue;
		expect(get(m->p + probe->at, &value) == SIGBUS,
		       "%s: %#llx outlives a revoke", m->kind->name,
		       (unsigned long long)probe->at);
		expect_eq(imp_pte(imp, m->p + probe->at, &size), 0);
	}
}

static void revoke_it(const struct map *m)
{
	vfio_mem_enable(m->dev, false);
	check_revoked(m);
	vfio_mem_enable(m->dev, true);
	check(m);
}

static void begin(void)
{
	if (vfio_is_stock())
		t_skip("the stock driver's buffers cannot be mapped");
	t_write("always", THP "enabled");
	imp = imp_open();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		prepare(&maps[i], &kinds[i]);
}

static void map_all(void)
{
	for (struct map *m = maps; m < maps_end; m++)
		map_it(m);
}

static void drop(void)
{
	expect_ok(setgroups(0, NULL));
	expect_ok(setresgid(65534, 65534, 65534));
	expect_ok(setresuid(65534, 65534, 65534));
	/* Or what /proc has of us is root's. */
	expect_ok(prctl(PR_SET_DUMPABLE, 1));
}

static void begin_as_client(void)
{
	begin();
	map_all();
	drop();
}

static void finish(void)
{
	check_all();
	for (struct map *m = maps; m < maps_end; m++)
		vfio_mem_enable(m->dev, false);
	for (struct map *m = maps; m < maps_end; m++)
		check_revoked(m);
	for (struct map *m = maps; m < maps_end; m++)
		vfio_mem_enable(m->dev, true);
	check_all();
	for (struct map *m = maps; m < maps_end; m++)
		expect_ok(munmap(m->p, m->len));
}

/* All of a mapping, and pieces on no border, on one and across some */
typedef void (*range_fn)(const struct map *m, u8 *p, u64 len);

static void each_range(range_fn fn)
{
	static const struct { u64 at, len; } parts[] = {
		{ 100 * PAGE, PAGE },
		{ MIB(1) + PAGE, MIB(2) + 3 * PAGE },
		{ MIB(2), MIB(2) },
	};

	for (struct map *m = maps; m < maps_end; m++) {
		fn(m, m->p, m->len);
		for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
			check(m);
			if (parts[i].at + parts[i].len <= m->len)
				fn(m, m->p + parts[i].at, parts[i].len);
		}
		check(m);
		/* On no border in the middle of a GiB */
		fn(m, m->p + (m->len / 2 & ~(PAGE - 1)) + PAGE, PAGE);
		check(m);
	}
}

/* --- walkers of one's own memory */

static const int advices[] = {
	MADV_COLD, MADV_PAGEOUT, MADV_FREE, MADV_DONTNEED, MADV_WILLNEED,
	MADV_RANDOM, MADV_SEQUENTIAL, MADV_NORMAL, MADV_REMOVE,
	MADV_HUGEPAGE, ADV_COLLAPSE, MADV_NOHUGEPAGE, MADV_MERGEABLE,
	MADV_UNMERGEABLE, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
	MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK,
	MADV_DONTDUMP, MADV_DODUMP, MADV_DONTNEED_LOCKED,
	ADV_GUARD_INSTALL, ADV_GUARD_REMOVE, MADV_COLD, MADV_PAGEOUT,
};

static void advise(const struct map *m, u8 *p, u64 len)
{
	for (size_t i = 0; i < ARRAY_SIZE(advices); i++) {
		u32 value;

		madvise(p, len, advices[i]);
		expect(!get(p, &value), "%s: gone after advice %d",
		       m->kind->name, advices[i]);
	}
}

TEST_TIMEOUT(walk, madvise, 60)
{
	begin_as_client();
	each_range(advise);
	finish();
}

static void read_file(const char *path)
{
	static char buf[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	expect(fd >= 0 || errno == ENOENT, "%s: %s", path,
	       t_errno_name(errno));
	while (fd >= 0 && read(fd, buf, sizeof(buf)) > 0)
		;
	close(fd);
}

static void read_pagemap(const struct map *m, u8 *p, u64 len)
{
	static u64 entries[1 << 15];
	int fd = expect_ok(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));

	for (u64 at = 0; at < len; at += sizeof(entries) / 8 * PAGE) {
		u64 nr = (len - at) / PAGE;

		if (nr > ARRAY_SIZE(entries))
			nr = ARRAY_SIZE(entries);
		expect(pread(fd, entries, nr * 8,
			     ((uintptr_t)p + at) / PAGE * 8) == (ssize_t)nr * 8,
		       "%s", m->kind->name);
	}
	expect_ok(close(fd));
}

struct scan {
	u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
	u64 inverted, mask, anyof, result;
};

#define SCAN		_IOWR('f', 16, struct scan)
#define SCAN_PROTECT	1
#define SCAN_ANY	0xff

static void scan_pagemap(const struct map *m, u8 *p, u64 len)
{
	static struct { u64 start, end, categories; } regions[64];
	struct scan arg = {
		.size = sizeof(arg), .start = (uintptr_t)p,
		.end = (uintptr_t)p + len, .vec = (uintptr_t)regions,
		.vec_len = ARRAY_SIZE(regions), .anyof = SCAN_ANY,
		.result = SCAN_ANY,
	};
	int fd = expect_ok(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
	int ret = ioctl(fd, SCAN, &arg);

	expect(ret >= 0 || errno == ENOTTY, "%s: %s", m->kind->name,
	       t_errno_name(errno));
	arg.flags = SCAN_PROTECT;
	ioctl(fd, SCAN, &arg);
	expect_ok(close(fd));
}

static void read_all_of_proc(void)
{
	read_file("/proc/self/smaps");
	read_file("/proc/self/smaps_rollup");
	read_file("/proc/self/numa_maps");
	read_file("/proc/self/maps");
	each_range(read_pagemap);
	each_range(scan_pagemap);
}

TEST_TIMEOUT(walk, proc, 60)
{
	begin();
	map_all();
	read_all_of_proc();
	drop();
	read_all_of_proc();
	finish();
}

/* Also: what is written after is seen as written, whatever it was set to. */
TEST_TIMEOUT(walk, clear_refs, 60)
{
	static const char * const how[] = { "1", "2", "3", "4", "5", "4" };

	begin_as_client();
	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		expect_eq(t_write(how[i], "/proc/self/clear_refs"), 0);
		check_all();
		for (struct map *m = maps; m < maps_end; m++)
			for (unsigned int n = 0; n < m->nr; n++)
				expect(cpu_put(m->p + m->probes[n].at,
					       m->probes[n].want));
		read_all_of_proc();
	}
	finish();
}

static void set_policy(const struct map *m, u8 *p, u64 len)
{
	static const int flags[] = { 0, MOVE_STRICT, MOVE_MOVE,
				     MOVE_STRICT | MOVE_MOVE };
	unsigned long node = 1;
	u32 value;

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		syscall(SYS_mbind, p, len, POLICY_BIND, &node, 64, flags[i]);
		expect(!get(p, &value), "%s", m->kind->name);
		syscall(SYS_mbind, p, len, 0, NULL, 0, flags[i]);
		expect(!get(p, &value), "%s", m->kind->name);
	}
}

TEST_TIMEOUT(walk, policy, 60)
{
	unsigned long node = 1;

	begin_as_client();
	each_range(set_policy);
	syscall(SYS_migrate_pages, 0, 64, &node, &node);
	for (struct map *m = maps; m < maps_end; m++) {
		void *pages[MAX_PROBES];
		int nodes[MAX_PROBES] = {}, status[MAX_PROBES];

		for (unsigned int i = 0; i < m->nr; i++)
			pages[i] = m->p + m->probes[i].at;
		syscall(SYS_move_pages, 0, m->nr, pages, NULL, status, 0);
		syscall(SYS_move_pages, 0, m->nr, pages, nodes, status,
			MOVE_MOVE);
	}
	finish();
}

static void lock(const struct map *m, u8 *p, u64 len)
{
	static unsigned char resident[GIB(3) / PAGE];

	mlock(p, len);
	expect_ok(mincore(p, len, resident));
	munlock(p, len);
	mlock2(p, len, MLOCK_ONFAULT);
	madvise(p, len, MADV_COLD);
	munlock(p, len);
	msync(p, len, MS_SYNC | MS_INVALIDATE);
	expect(len <= m->len);
}

TEST_TIMEOUT(walk, lock, 60)
{
	begin_as_client();
	each_range(lock);
	mlockall(MCL_CURRENT | MCL_FUTURE);
	check_all();
	map_it(&maps[0]);
	mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
	munlockall();
	finish();
}

/* ksmd, khugepaged: they come by on their own. */
TEST_TIMEOUT(walk, daemons, 60)
{
	static const struct { const char *path, *value, *after; } set[] = {
		{ KSM "sleep_millisecs", "0", "20" },
		{ KSM "pages_to_scan", "1000", "100" },
		{ KSM "run", "1", NULL },
		{ THP "khugepaged/scan_sleep_millisecs", "1", "10000" },
		{ THP "khugepaged/pages_to_scan", "100000", "4096" },
	};

	begin();
	map_all();
	for (size_t i = 0; i < ARRAY_SIZE(set); i++)
		t_write(set[i].value, "%s", set[i].path);
	prctl(SET_MEMORY_MERGE, 1, 0, 0, 0);
	for (struct map *m = maps; m < maps_end; m++) {
		madvise(m->p, m->len, MADV_MERGEABLE);
		madvise(m->p, m->len, MADV_HUGEPAGE);
	}
	t_sleep_ms(500);
	check_all();
	t_write("2", KSM "run");
	t_write("0", KSM "run");
	for (size_t i = 0; i < ARRAY_SIZE(set); i++)
		if (set[i].after)
			t_write(set[i].after, "%s", set[i].path);
	finish();
}

/* A page of a BAR is nobody's to pin. */
static void pin(void)
{
	int pipes[2];

	expect_ok(pipe(pipes));
	for (struct map *m = maps; m < maps_end; m++) {
		for (unsigned int i = 0; i < m->nr; i++) {
			u8 *p = m->p + m->probes[i].at;
			struct iovec iov = { p, PAGE };

			expect_errno(vmsplice(pipes[1], &iov, 1, 0), EFAULT);
			expect_errno(syscall(SYS_futex, p, FUTEX_WAIT, 0,
					     NULL, NULL, 0), EFAULT);
		}
	}
}

static void no_userfault(int uffd, int mode)
{
	for (struct map *m = maps; m < maps_end; m++) {
		struct uffdio_register reg = {
			.range = { (uintptr_t)m->p, m->len },
			.mode = mode,
		};

		expect_errno(ioctl(uffd, UFFDIO_REGISTER, &reg), EINVAL);
	}
}

TEST_TIMEOUT(walk, refused, 60)
{
	static const u64 features[] = { 0, UFFD_WP_ASYNC };

	begin_as_client();
	pin();
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		struct uffdio_api api = {
			.api = UFFD_API, .features = features[i],
		};
		int uffd = syscall(SYS_userfaultfd,
				   UFFD_USER_MODE_ONLY | O_CLOEXEC);

		if (uffd < 0)
			t_skip("no userfaultfd: %s", t_errno_name(errno));
		if (!ioctl(uffd, UFFDIO_API, &api)) {
			no_userfault(uffd, UFFDIO_REGISTER_MODE_MISSING);
			no_userfault(uffd, UFFDIO_REGISTER_MODE_WP);
			no_userfault(uffd, UFFDIO_REGISTER_MODE_MINOR);
		}
		close(uffd);
	}
	finish();
}

/* --- of another's */

static void meddle(pid_t pid, int pidfd, const struct map *m)
{
	static const int remote[] = { MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED,
				      ADV_COLLAPSE };
	char path[32], bytes[64];
	struct iovec there = { m->p, m->len };
	int mem;

	for (size_t i = 0; i < ARRAY_SIZE(remote); i++)
		syscall(SYS_process_madvise, pidfd, &there, 1, remote[i], 0);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = expect_ok(open(path, O_RDWR | O_CLOEXEC));
	for (unsigned int i = 0; i < m->nr; i++) {
		u8 *p = m->p + m->probes[i].at;
		struct iovec to = { bytes, sizeof(bytes) };
		struct iovec from = { p, sizeof(bytes) };

		expect_eq(process_vm_readv(pid, &to, 1, &from, 1, 0), -1);
		expect_eq(process_vm_writev(pid, &to, 1, &from, 1, 0), -1);
		expect_eq(pread(mem, bytes, 64, (uintptr_t)p), -1);
		expect_eq(pwrite(mem, bytes, 64, (uintptr_t)p), -1);
		errno = 0;
		ptrace(PTRACE_PEEKDATA, pid, p, NULL);
		expect(errno, "%s: a debugger reads it", m->kind->name);
	}
	expect_ok(close(mem));
}

TEST_TIMEOUT(walk, from_outside, 60)
{
	int pidfd, go[2], status;
	char path[64];
	pid_t pid;

	begin_as_client();
	expect_ok(pipe(go));
	pid = t_fork();
	if (!pid) {
		char c;

		prctl(PR_SET_DUMPABLE, 1);
		close(go[1]);
		check_all();
		expect_eq(read(go[0], &c, 1), 1);
		finish();
		_exit(0);
	}
	pidfd = expect_ok(syscall(SYS_pidfd_open, pid, 0));
	expect_ok(ptrace(PTRACE_SEIZE, pid, NULL, NULL));
	expect_ok(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL));
	expect_eq(waitpid(pid, &status, 0), pid);
	expect(WIFSTOPPED(status));
	for (struct map *m = maps; m < maps_end; m++)
		meddle(pid, pidfd, m);
	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	read_file(path);
	snprintf(path, sizeof(path), "/proc/%d/numa_maps", pid);
	read_file(path);
	expect_ok(ptrace(PTRACE_DETACH, pid, NULL, NULL));
	expect_eq(write(go[1], "", 1), 1);
	t_join(pid);
	finish();
}

/* A dump has none of it, though the process would like to. */
TEST_TIMEOUT(walk, core_dump, 60)
{
	struct rlimit any = { RLIM_INFINITY, RLIM_INFINITY };
	char before[256];
	struct stat st;
	int status;
	pid_t pid;

	begin();
	map_all();
	if (t_read(before, sizeof(before), "/proc/sys/kernel/core_pattern") < 0)
		t_skip("this kernel dumps no core");
	expect_eq(t_write("/tmp/walk.core", "/proc/sys/kernel/core_pattern"),
		  0);
	unlink("/tmp/walk.core");
	pid = fork();
	if (!pid) {
		drop();
		setrlimit(RLIMIT_CORE, &any);
		t_write("0x7f", "/proc/self/coredump_filter");
		for (struct map *m = maps; m < maps_end; m++)
			madvise(m->p, m->len, MADV_DODUMP);
		check_all();
		signal(SIGABRT, SIG_DFL);
		abort();
	}
	expect_eq(waitpid(pid, &status, 0), pid);
	t_write(before, "/proc/sys/kernel/core_pattern");
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	expect(WCOREDUMP(status), "no core was dumped");
	expect_ok(stat("/tmp/walk.core", &st));
	expect_ok(unlink("/tmp/walk.core"));
	t_note("%lld KiB of core", (long long)st.st_size >> 10);
	expect_le(st.st_blocks, MIB(16) / 512);
	finish();
}

/* --- copied, cut and moved */

TEST_TIMEOUT(walk, fork, 60)
{
	pid_t pid;

	begin_as_client();
	for (int i = 0; i < 3; i++) {
		pid = t_fork();
		if (!pid) {
			check_all();
			each_range(advise);
			for (struct map *m = maps; m < maps_end; m++)
				expect_ok(munmap(m->p + PAGE, 2 * PAGE));
			pid = t_fork();
			if (!pid)
				_exit(0);
			t_join(pid);
			_exit(0);
		}
		t_join(pid);
		check_all();
		for (struct map *m = maps; m < maps_end; m++)
			mprotect(m->p + 100 * PAGE, PAGE, PROT_READ);
	}
	for (struct map *m = maps; m < maps_end; m++)
		madvise(m->p, m->len, MADV_DONTFORK);
	pid = t_fork();
	if (!pid) {
		u32 value;

		for (struct map *m = maps; m < maps_end; m++)
			expect_eq(get(m->p, &value), SIGSEGV);
		_exit(0);
	}
	t_join(pid);
	finish();
}

static void lose(struct map *m, u64 at, u64 len)
{
	for (unsigned int i = 0; i < m->nr; i++)
		if (m->probes[i].at >= at && m->probes[i].at - at < len)
			m->probes[i].gone = true;
}

static void unmap_at(struct map *m, u64 at, u64 len)
{
	expect_ok(munmap(m->p + at, len));
	lose(m, at, len);
}

static void cut_page(struct map *m)
{
	unmap_at(m, 100 * PAGE, PAGE);
}

static void cut_middle(struct map *m)
{
	unmap_at(m, (m->len / 2 & ~(PAGE - 1)) + PAGE, PAGE);
}

static void cut_ends(struct map *m)
{
	unmap_at(m, 0, PAGE);
	unmap_at(m, m->len - PAGE, PAGE);
}

static void cut_much(struct map *m)
{
	unmap_at(m, 99 * PAGE, m->len / 2);
}

static void protect(struct map *m)
{
	u8 *middle = m->p + (m->len / 2 & ~(PAGE - 1)) + PAGE;
	u32 value;

	expect_ok(mprotect(m->p + 100 * PAGE, PAGE, PROT_READ));
	check(m);
	expect_ok(mprotect(middle, PAGE, PROT_NONE));
	expect_eq(get(middle, &value), SIGSEGV);
	expect_ok(mprotect(middle, PAGE, RDWR));
	check(m);
	expect_ok(mprotect(m->p, m->len, PROT_NONE));
	expect_eq(get(m->p, &value), SIGSEGV);
	expect_ok(mprotect(m->p, m->len, PROT_READ));
	check(m);
	expect_ok(mprotect(m->p, m->len, RDWR));
	expect(cpu_put(middle, 0x5a5a5a5a));
	expect(!get(middle, &value) && value == 0x5a5a5a5a);
	for (unsigned int i = 0; i < m->nr; i++)
		expect(cpu_put(m->p + m->probes[i].at, m->probes[i].want));
}

static void shrink(struct map *m)
{
	u64 len = (m->len / 2 & ~(PAGE - 1)) + PAGE;

	expect(mremap(m->p, m->len, len, 0) == m->p);
	lose(m, len, m->len - len);
}

/* The old address leads nowhere at once, and what was cached of it neither. */
static void move_to(struct map *m, u64 align)
{
	u8 *old = m->p, *room = cpu_room(m->len, GIB(1), align);
	int sigs[MAX_PROBES];
	u32 value;

	check(m);
	m->p = mremap(old, m->len, m->len, MREMAP_MAYMOVE | MREMAP_FIXED,
		      room);
	for (unsigned int i = 0; i < m->nr; i++)
		sigs[i] = get(old + m->probes[i].at, &value);
	expect(m->p == room, "%s: mremap: %s", m->kind->name,
	       t_errno_name(errno));
	for (unsigned int i = 0; i < m->nr; i++)
		expect(sigs[i] == SIGSEGV, "%s: still at its old address",
		       m->kind->name);
}

static void move(struct map *m)
{
	move_to(m, m->align);
}

static void move_skewed(struct map *m)
{
	move_to(m, (m->align + 5 * PAGE) % GIB(1));
}

static void move_by_2m(struct map *m)
{
	move_to(m, (m->align + MIB(2)) % GIB(1));
}

static void move_part(struct map *m)
{
	u64 at = MIB(1) + PAGE, len = MIB(2) + 3 * PAGE;
	u8 *part, *room = cpu_room(len, GIB(1), (m->align + at) % GIB(1));

	part = mremap(m->p + at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
		      room);
	expect(part == room, "%s: mremap: %s", m->kind->name,
	       t_errno_name(errno));
	for (unsigned int i = 0; i < m->nr; i++) {
		struct probe *probe = &m->probes[i];
		u32 value;

		if (probe->at < at || probe->at - at >= len)
			continue;
		expect(!get(part + probe->at - at, &value) &&
		       value == probe->want, "%s", m->kind->name);
		probe->gone = true;
	}
	expect_ok(munmap(part + PAGE, PAGE));
}

static void remap_pages(struct map *m)
{
	u64 at = 100 * PAGE, file_at = m->fd_at + at;

	/* A mapped BAR has a file of its own. */
	if (m->kind->how == OWNER)
		file_at = m->kind->ranges[0].offset + at;
	remap_file_pages(m->p + at, PAGE, 0, file_at / PAGE, 0);
}

static void seal(struct map *m)
{
	if (!syscall(NR_MSEAL, m->p + PAGE, m->len - PAGE, 0))
		expect_errno(munmap(m->p + 100 * PAGE, PAGE), EPERM);
}

typedef void (*map_fn)(struct map *m);

static void each_map(const map_fn *fns)
{
	begin();
	drop();
	for (size_t i = 0; fns[i]; i++) {
		for (struct map *m = maps; m < maps_end; m++) {
			map_it(m);
			fns[i](m);
			check(m);
			revoke_it(m);
			munmap(m->p, m->len);
		}
	}
}

TEST_TIMEOUT(walk, cut, 60)
{
	static const map_fn fns[] = {
		cut_page, cut_middle, cut_ends, cut_much, shrink, NULL
	};

	each_map(fns);
}

TEST_TIMEOUT(walk, protect, 60)
{
	static const map_fn fns[] = {
		protect, remap_pages, seal, NULL
	};

	each_map(fns);
}

TEST_TIMEOUT(walk, move, 60)
{
	static const map_fn fns[] = {
		move, move_by_2m, move_skewed, move_part, NULL
	};

	each_map(fns);
}
