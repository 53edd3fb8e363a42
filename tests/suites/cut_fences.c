// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fences: a revoke waits for an importer's jobs for the grace period. Fences
 * that a holder of the buffer's descriptor adds to it hold up nobody.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cut.h"

#define TRIES		4
#define LONG_MS		10000	/* a fence of somebody who means no good */

/* A buffer that nobody has mapped, whether somebody is attached or not */
static void unmapped(const struct cut_way *way)
{
	struct rig rig = {};
	u64 alone, ms;
	int fd;

	rig_open(&rig, way->role);
	cut_prepare(way, &rig);
	alone = cut_alone(way, &rig);
	fd = expect_fd(export_range(rig.dev, rig.bar, rig.at & -PAGE, PAGE));
	expect_eq(imp_unmap(rig.imp, rig.quick.handle), 0);
	expect_eq(imp_unmap(rig.imp, rig.slow.handle), 0);
	for (int i = 0; i < 4; i++) {
		expect_eq(imp_import_fence(rig.imp, fd, LONG_MS), 0);
		expect_eq(imp_import_fence(rig.imp, rig.fd, LONG_MS), 0);
		expect_eq(imp_fence(rig.imp, rig.slow.handle, LONG_MS), 0);
	}
	ms = cut_spend(way, &rig);
	t_note("%llu ms, %llu alone", ms, alone);
	expect_le(ms, alone + LONG_MS / 4);
	cut_again(way, &rig);
	rig_map(&rig);
}

TEST(cut, fences_of_nobody_reset)
{
	unmapped(&cut_reset);
}

TEST(cut, fences_of_nobody_sysfs_reset)
{
	unmapped(&cut_sysfs_reset);
}

TEST(cut, fences_of_nobody_hot_reset)
{
	unmapped(&cut_hot_reset);
}

TEST(cut, fences_of_nobody_memory_off)
{
	unmapped(&cut_memory_off);
}

TEST(cut, fences_of_nobody_close)
{
	unmapped(&cut_close);
}

TEST(cut, fences_of_nobody_kill)
{
	unmapped(&cut_kill);
}

TEST(cut, fences_of_nobody_revoke)
{
	unmapped(&cut_revoke);
}

/* The importers let go at once, what was begun gets its grace period. */
static void mapped(const struct cut_way *way)
{
	struct rig rig = {};
	u64 alone, ms;

	rig_open(&rig, way->role);
	cut_prepare(way, &rig);
	alone = cut_alone(way, &rig);
	vfio_grace(CUT_GRACE_MS);
	for (int i = 0; i < TRIES; i++) {
		expect_eq(imp_import_fence(rig.imp, rig.fd, LONG_MS), 0);
		ms = cut_spend(way, &rig);
		t_note("%llu ms, %llu alone", ms, alone);
		expect_ge(ms, CUT_LEAST_MS);
		cut_again(way, &rig);
		rig_map(&rig);
		if (ms <= alone + CUT_GRACE_MS + cut_slack_ms())
			return;
	}
	t_fail("%d tries, and none within the grace period", TRIES);
}

TEST(cut, fences_get_their_grace_reset)
{
	mapped(&cut_reset);
}

TEST(cut, fences_get_their_grace_sysfs_reset)
{
	mapped(&cut_sysfs_reset);
}

TEST(cut, fences_get_their_grace_memory_off)
{
	mapped(&cut_memory_off);
}

TEST(cut, fences_get_their_grace_close)
{
	mapped(&cut_close);
}

TEST(cut, fences_get_their_grace_revoke)
{
	mapped(&cut_revoke);
}

/*
 * Each signals soon, and there is always another one: those that came after
 * the importers were told do not count, and the grace period is not used up.
 */
static void new_ones(struct rig *rig, const struct cut_way *way)
{
	enum { JOB_MS = 300, GRACE_MS = 15000 };
	pid_t fencer;
	u64 ms;

	vfio_grace(GRACE_MS);
	for (int i = 0; i < TRIES; i++) {
		fencer = cut_add_fences(rig, JOB_MS);
		t_sleep_ms(2 * JOB_MS);
		ms = cut_spend(way, rig);
		cut_stop(fencer);
		t_note("%llu ms", ms);
		expect_le(ms, GRACE_MS / 2);
		cut_again(way, rig);
		rig_map(rig);
		/* On a busy host they may all have signalled at once. */
		if (ms >= JOB_MS / 2)
			return;
	}
	t_fail("%d tries, and none with a job", TRIES);
}

static void new_fences(const struct cut_way *way)
{
	struct rig rig = {};

	rig_open(&rig, way->role);
	new_ones(&rig, way);
}

TEST(cut, new_fences_reset)
{
	new_fences(&cut_reset);
}

TEST(cut, new_fences_sysfs_reset)
{
	new_fences(&cut_sysfs_reset);
}

TEST(cut, new_fences_memory_off)
{
	new_fences(&cut_memory_off);
}

TEST(cut, new_fences_close)
{
	new_fences(&cut_close);
}

TEST(cut, new_fences_revoke)
{
	new_fences(&cut_revoke);
}

/* Nor do they hold up anybody where nobody can be cut off. */
TEST(cut, direct_new_fences_reset)
{
	struct rig rig = {};

	rig_open_direct(&rig, "shm_sw", "edu_sw");
	new_ones(&rig, &cut_reset);
}

TEST(cut, direct_new_fences_close)
{
	struct rig rig = {};

	rig_open_direct(&rig, "shm_sw", "edu_sw");
	new_ones(&rig, &cut_close);
}

/* A job that an importer leaves with its last mapping is waited for. */
TEST(cut, fence_left_at_unmap)
{
	enum { JOB_MS = 600 };
	struct rig rig = {};
	struct dvpi_stats stats;
	pid_t pid;
	u64 start;

	rig_open(&rig, "shm_sw");
	rig_hold(&rig);
	pid = t_fork();
	if (!pid) {
		rig_reset(&rig);
		stats = imp_stats(rig.imp, rig.slow.handle);
		expect(stats.fence_ns, "returned while a job was running");
		_exit(0);
	}
	rig_middle(&rig, pid, "changing");
	start = t_now_ns();
	expect_eq(imp_fence(rig.imp, rig.slow.handle, JOB_MS), 0);
	rig_let_go(&rig);
	t_join(pid);
	expect_ge((t_now_ns() - start) / 1000000, JOB_MS - 10);
	rig_back(&rig);
}
