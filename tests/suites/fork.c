// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings that a child inherits. A fork copies page tables while a revoke,
 * which needs no lock of the process, empties them.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cpu.h"
#include "rig.h"

#define ROLE	"bochs"			/* a BAR of 64 MiB */
#define BAR	0
#define RDWR	(PROT_READ | PROT_WRITE)
#define BLOCKS	4			/* of 2 MiB */
/* A revoke has to fit in, on a machine with other things to do. */
#define FORK_HELD_MS	2000

struct lent {
	struct vfio_dev *dev;
	int fd;
	u8 *p;
	int imp;
	int sock[2];			/* the child's is the second */
};

/* Word 0 of each block is its number and one. */
static void lend_huge(struct lent *l)
{
	u64 size;

	if (!t_huge_kernel())
		t_skip("this kernel has no huge entries for BARs");
	l->imp = imp_open();
	l->dev = cpu_open(ROLE);
	for (u64 n = 0; n < BLOCKS; n++) {
		u32 value = n + 1;

		expect_eq(vfio_try_pwrite(l->dev, BAR, &value, 4, n * MIB(2)),
			  4);
	}
	l->fd = expect_fd(export_bar(l->dev, BAR));
	l->p = mmap(cpu_room(BLOCKS * MIB(2), MIB(2),
			     cpu_bar_address(l->dev->bdf, BAR) % MIB(2)),
		    BLOCKS * MIB(2), RDWR, MAP_SHARED | MAP_FIXED, l->fd, 0);
	expect(l->p != MAP_FAILED, "mmap: %s", t_errno_name(errno));
	for (u64 n = 0; n < BLOCKS; n++)
		expect_reads(l->p + n * MIB(2), n + 1);
	expect(imp_pte(l->imp, l->p, &size));
	expect_eq(size, MIB(2));
	expect_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, l->sock));
}

static void reads_all(const struct lent *l)
{
	for (u64 n = 0; n < BLOCKS; n++)
		expect_reads(l->p + n * MIB(2), n + 1);
}

/* A fork that is held does not give up its processor. */
static void stay_on(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		t_skip("needs two processors");
}

/* What the parent had, with entries as large. */
TEST(fork, inherits)
{
	struct lent l = {};
	pid_t pid;
	u64 size;

	lend_huge(&l);
	pid = t_fork();
	if (!pid) {
		reads_all(&l);
		expect(imp_pte(l.imp, l.p, &size));
		expect_eq(size, MIB(2));
		/* A grandchild, too */
		pid = t_fork();
		if (!pid) {
			reads_all(&l);
			_exit(0);
		}
		t_join(pid);
		_exit(0);
	}
	t_join(pid);
	reads_all(&l);
}

/*
 * Of another process: a fault of the one that forks waits until it has forked.
 * A fork that copies nothing is not held.
 */
static void revoke_beside(const struct lent *l, u32 before, const bool *forked)
{
	u32 held;

	stay_on(0);
	expect_ok(munmap(l->p, BLOCKS * MIB(2)));
	expect(t_within(9000, (!imp_hold_fork(l->imp, l->p, 0, &held) &&
			       held > before) ||
			__atomic_load_n(forked, __ATOMIC_RELAXED)));
	expect_ok(vfio_revoke(l->dev->fd, l->fd));
}

/* The child looks when it is told to, at memory that was taken back. */
static void look(const struct lent *l)
{
	u64 size;
	char c;

	expect_eq(read(l->sock[1], &c, 1), 1);
	for (u64 n = 0; n < BLOCKS; n++) {
		expect_eq(imp_pte(l->imp, l->p + n * MIB(2), &size), 0);
		expect_bus(l->p + n * MIB(2));
	}
}

/*
 * The fork has read an entry and has not yet the lock under which it copies it,
 * when the owner takes the buffer back.
 */
TEST_TIMEOUT(fork, beside_a_revoke, 60)
{
	struct lent l = {};
	u32 before, held;
	pid_t revoker, child;
	bool *forked;
	int ret;

	lend_huge(&l);
	forked = mmap(NULL, sizeof(*forked), RDWR, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	expect(forked != MAP_FAILED);
	expect_eq(imp_hold_fork(l.imp, l.p, 0, &before), 0);
	revoker = t_fork();
	if (!revoker) {
		revoke_beside(&l, before, forked);
		_exit(0);
	}
	stay_on(1);
	ret = imp_hold_fork(l.imp, l.p, FORK_HELD_MS, &held);
	child = ret ? 0 : t_fork();
	if (!ret && !child) {
		look(&l);
		_exit(0);
	}
	__atomic_store_n(forked, true, __ATOMIC_RELAXED);
	t_join(revoker);
	if (ret == -EOPNOTSUPP)
		t_skip("a fork is held on x86 only");
	expect_eq(ret, 0);
	expect_bus(l.p);
	expect_eq(write(l.sock[0], "", 1), 1);
	t_join(child);
}
