// SPDX-License-Identifier: GPL-2.0-only
/*
 * Importers that do not let go, behind an IOMMU: a change of the function waits
 * for the grace period, then they are cut off. cut_direct.c has importers that
 * no IOMMU translates for, cut_fences.c fences, and cut_faults.c the CPUs.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cut.h"
#include "hotplug.h"

#define TRIES	4		/* a busy host may spoil one */

/* What slow does, or somebody else */
enum kind {
	KEEPS,			/* slow is told and does nothing */
	STUCK,			/* its callback does not return */
	SLEEPS,			/* returns long after the grace period */
	FENCES,			/* and a holder of the buffer adds fences */
};

static pid_t make_late(struct rig *rig, enum kind kind)
{
	int handle = rig->slow.handle;

	switch (kind) {
	case KEEPS:
		expect_eq(imp_keep(rig->imp, handle), 0);
		return 0;
	case STUCK:
		expect_eq(imp_stuck(rig->imp, handle, DVPI_POLICY_KEEP), 0);
		return 0;
	case SLEEPS:
		expect_eq(imp_sleepy(rig->imp, handle, DVPI_POLICY_KEEP,
				     4 * CUT_GRACE_MS), 0);
		return 0;
	default:
		expect_eq(imp_keep(rig->imp, handle), 0);
		return cut_add_fences(rig, 10000);
	}
}

/* The importer's view of a mapping ends; nobody else has one by then. */
static void let_go(struct rig *rig)
{
	expect_eq(imp_release(rig->imp, rig->slow.handle), 0);
	rig_let_go(rig);
	expect(t_within(8000, !imp_stats(rig->imp, rig->quick.handle).mapped),
	       "the other importer is not told");
}

/*
 * New buffers for the same device and of the same memory. An I/O address that
 * somebody still has is not theirs.
 */
enum { NR_OTHERS = 4 };

static void open_others(struct rig *rig, int *fds, int *handles)
{
	u64 first = rig->at & -PAGE;

	for (int i = 0; i < NR_OTHERS; i++) {
		struct imp_map map;

		fds[i] = expect_fd(export_range(rig->dev, rig->bar, first,
						PAGE));
		handles[i] = imp_attach(rig->imp, fds[i], rig->edu);
		expect_ge(handles[i], 0);
		expect_eq(imp_map(rig->imp, handles[i], &map), 0);
		if (!i)
			rig_live(rig, imp_addr(&map, rig->at - first,
					       rig->len));
		imp_map_free(&map);
	}
}

static void close_others(struct rig *rig, int *fds, int *handles)
{
	for (int i = 0; i < NR_OTHERS; i++) {
		expect_eq(imp_detach(rig->imp, handles[i]), 0);
		expect_ok(close(fds[i]));
	}
}

/* The act is over, and nobody has let go. */
static void expect_cut(const struct cut_way *way, struct rig *rig)
{
	int fds[NR_OTHERS], handles[NR_OTHERS];

	expect_eq(imp_stats(rig->imp, rig->slow.handle).mapped, 1);
	if (way->undo)
		way->undo(rig);
	gate_expect(rig->bdf, "");
	rig_stale(rig, rig->slow.addr);
	open_others(rig, fds, handles);
	rig_stale(rig, rig->slow.addr);
	/* The address of one that has let go may be another's by now. */
	if (imp_stats(rig->imp, rig->quick.handle).mapped)
		rig_stale(rig, rig->quick.addr);
	close_others(rig, fds, handles);
}

/* One round; the milliseconds it took. */
static u64 cut_once(const struct cut_way *way, struct rig *rig, enum kind kind)
{
	pid_t fencer = make_late(rig, kind);
	u64 ms = cut_spend(way, rig);

	expect_ge(ms, CUT_LEAST_MS);
	expect_cut(way, rig);
	if (fencer)
		cut_stop(fencer);
	let_go(rig);
	rig_stale(rig, rig->slow.addr);
	if (way->dies) {
		expect_err(imp_map(rig->imp, rig->slow.handle, NULL), ENODEV);
		expect_eq(imp_detach(rig->imp, rig->quick.handle), 0);
		expect_eq(imp_detach(rig->imp, rig->slow.handle), 0);
		expect_ok(close(rig->fd));
		rig_export(rig);
	}
	rig_map(rig);
	rig_live(rig, rig->slow.addr);
	return ms;
}

static void cut(const struct cut_way *way, enum kind kind)
{
	struct rig rig = {};
	u64 alone, ms;

	rig_open(&rig, way->role);
	cut_prepare(way, &rig);
	alone = cut_alone(way, &rig);
	vfio_grace(CUT_GRACE_MS);
	for (int i = 0; i < TRIES; i++) {
		ms = cut_once(way, &rig, kind);
		t_note("%llu ms, %llu alone", ms, alone);
		if (ms <= alone + CUT_GRACE_MS + cut_slack_ms())
			return;
	}
	t_fail("%d tries, and none within the grace period", TRIES);
}

TEST_TIMEOUT(cut, reset_of_a_keeper, 60)
{
	cut(&cut_reset, KEEPS);
}

TEST_TIMEOUT(cut, reset_of_a_stuck_one, 60)
{
	cut(&cut_reset, STUCK);
}

TEST_TIMEOUT(cut, reset_of_a_sleeper, 60)
{
	cut(&cut_reset, SLEEPS);
}

TEST_TIMEOUT(cut, reset_among_fences, 60)
{
	cut(&cut_reset, FENCES);
}

TEST_TIMEOUT(cut, flr_of_a_keeper, 60)
{
	cut(&cut_flr, KEEPS);
}

TEST_TIMEOUT(cut, flr_of_a_stuck_one, 60)
{
	cut(&cut_flr, STUCK);
}

TEST_TIMEOUT(cut, sysfs_reset_of_a_keeper, 60)
{
	cut(&cut_sysfs_reset, KEEPS);
}

TEST_TIMEOUT(cut, sysfs_reset_of_a_stuck_one, 60)
{
	cut(&cut_sysfs_reset, STUCK);
}

TEST_TIMEOUT(cut, sysfs_reset_among_fences, 60)
{
	cut(&cut_sysfs_reset, FENCES);
}

TEST_TIMEOUT(cut, hot_reset_of_a_keeper, 60)
{
	cut(&cut_hot_reset, KEEPS);
}

TEST_TIMEOUT(cut, hot_reset_of_a_stuck_one, 60)
{
	cut(&cut_hot_reset, STUCK);
}

TEST_TIMEOUT(cut, memory_off_of_a_keeper, 60)
{
	cut(&cut_memory_off, KEEPS);
}

TEST_TIMEOUT(cut, memory_off_of_a_stuck_one, 60)
{
	cut(&cut_memory_off, STUCK);
}

TEST_TIMEOUT(cut, memory_off_of_a_sleeper, 60)
{
	cut(&cut_memory_off, SLEEPS);
}

TEST_TIMEOUT(cut, memory_off_among_fences, 60)
{
	cut(&cut_memory_off, FENCES);
}

TEST_TIMEOUT(cut, d3hot_of_a_keeper, 60)
{
	cut(&cut_d3hot, KEEPS);
}

TEST_TIMEOUT(cut, d3hot_of_a_stuck_one, 60)
{
	cut(&cut_d3hot, STUCK);
}

TEST_TIMEOUT(cut, low_power_of_a_keeper, 60)
{
	cut(&cut_low_power, KEEPS);
}

TEST_TIMEOUT(cut, low_power_of_a_stuck_one, 60)
{
	cut(&cut_low_power, STUCK);
}

TEST_TIMEOUT(cut, low_power_wakeup_of_a_keeper, 60)
{
	cut(&cut_low_power_wakeup, KEEPS);
}

TEST_TIMEOUT(cut, low_power_wakeup_of_a_stuck_one, 60)
{
	cut(&cut_low_power_wakeup, STUCK);
}

TEST_TIMEOUT(cut, close_of_a_keeper, 60)
{
	cut(&cut_close, KEEPS);
}

TEST_TIMEOUT(cut, close_of_a_stuck_one, 60)
{
	cut(&cut_close, STUCK);
}

TEST_TIMEOUT(cut, close_of_a_sleeper, 60)
{
	cut(&cut_close, SLEEPS);
}

TEST_TIMEOUT(cut, close_among_fences, 60)
{
	cut(&cut_close, FENCES);
}

TEST_TIMEOUT(cut, kill_of_a_keeper, 60)
{
	cut(&cut_kill, KEEPS);
}

TEST_TIMEOUT(cut, kill_of_a_stuck_one, 60)
{
	cut(&cut_kill, STUCK);
}

TEST_TIMEOUT(cut, unbind_of_a_keeper, 60)
{
	cut(&cut_unbind, KEEPS);
}

TEST_TIMEOUT(cut, unbind_of_a_stuck_one, 60)
{
	cut(&cut_unbind, STUCK);
}

TEST_TIMEOUT(cut, unbind_pending_of_a_keeper, 60)
{
	cut(&cut_unbind_pending, KEEPS);
}

TEST_TIMEOUT(cut, unbind_pending_of_a_stuck_one, 60)
{
	cut(&cut_unbind_pending, STUCK);
}

TEST_TIMEOUT(cut, revoke_of_a_keeper, 60)
{
	cut(&cut_revoke, KEEPS);
}

TEST_TIMEOUT(cut, revoke_of_a_stuck_one, 60)
{
	cut(&cut_revoke, STUCK);
}

TEST_TIMEOUT(cut, revoke_node_of_a_keeper, 60)
{
	cut(&cut_revoke_node, KEEPS);
}

TEST_TIMEOUT(cut, revoke_node_of_a_stuck_one, 60)
{
	cut(&cut_revoke_node, STUCK);
}

/*
 * Unplugged by surprise: the hardware ends access, so nobody waits before the
 * close does. What is plugged in at the same address is out of reach, too.
 */
static u64 unplug(struct rig *rig)
{
	u64 start;

	hotplug_pull("rp_rng");
	expect(t_within(15000, strstr(gate_read(rig->bdf).reasons, "gone")),
	       "it is not gone");
	start = t_now_ns();
	vfio_close(rig->dev);
	start = t_now_ns() - start;
	expect(t_within(15000, !t_exists("/sys/bus/pci/devices/%s", rig->bdf)),
	       "it is still there");
	hotplug_plug_rng(rig->bdf);
	vfio_bind(rig->bdf, vfio_driver());
	rig_reopen(rig);
	return start / 1000000;
}

static void renew(struct rig *rig)
{
	expect_eq(imp_detach(rig->imp, rig->quick.handle), 0);
	expect_eq(imp_detach(rig->imp, rig->slow.handle), 0);
	expect_ok(close(rig->fd));
	rig_export(rig);
	rig_map(rig);
}

static void cut_unplugged(enum kind kind)
{
	struct rig rig = {};
	u64 alone, ms;

	hotplug_needs_no_lockdep();
	rig_open(&rig, "rng");
	vfio_grace(CUT_GRACE_MS);
	alone = unplug(&rig);
	for (int i = 0; i < TRIES; i++) {
		renew(&rig);
		make_late(&rig, kind);
		ms = unplug(&rig);
		t_note("%llu ms, %llu alone", ms, alone);
		rig_stale(&rig, rig.slow.addr);
		rig_stale(&rig, rig.quick.addr);
		let_go(&rig);
		rig_stale(&rig, rig.slow.addr);
		if (ms > alone + CUT_GRACE_MS + cut_slack_ms())
			continue;
		renew(&rig);
		rig_live(&rig, rig.slow.addr);
		return;
	}
	t_fail("%d tries, and none within the grace period", TRIES);
}

TEST_TIMEOUT(cut, unplug_of_a_keeper, 120)
{
	cut_unplugged(KEEPS);
}

TEST_TIMEOUT(cut, unplug_of_a_stuck_one, 120)
{
	cut_unplugged(STUCK);
}

/* A hot reset waits once for all the functions it resets. */
TEST_TIMEOUT(cut, hot_reset_of_two, 60)
{
	struct rig rig = {}, other = {};
	u64 alone, start, ms = 0;

	rig_open(&rig, "nvme_mf");
	rig_open(&other, "shm_mf");
	start = t_now_ns();
	expect_eq(vfio_hot_reset(rig.dev, other.dev->group), 0);
	alone = (t_now_ns() - start) / 1000000;
	vfio_grace(CUT_GRACE_MS);
	for (int i = 0; i < TRIES; i++) {
		rig_wake(&rig);
		rig_map(&rig);
		rig_map(&other);
		make_late(&rig, KEEPS);
		make_late(&other, STUCK);
		start = t_now_ns();
		expect_eq(vfio_hot_reset(rig.dev, other.dev->group), 0);
		ms = (t_now_ns() - start) / 1000000;
		expect_ge(ms, CUT_LEAST_MS);
		t_note("%llu ms, %llu alone", ms, alone);
		rig_stale(&rig, rig.slow.addr);
		rig_stale(&other, other.slow.addr);
		rig_stale(&other, other.quick.addr);
		let_go(&rig);
		let_go(&other);
		if (ms <= alone + CUT_GRACE_MS + cut_slack_ms())
			return;
	}
	t_fail("%d tries, and none within one grace period", TRIES);
}

/* --- the grace period */

/* A reset with slow as it is; mapped again after. */
static u64 reset_ms(struct rig *rig)
{
	u64 start = t_now_ns(), ms;

	rig_reset(rig);
	ms = (t_now_ns() - start) / 1000000;
	let_go(rig);
	rig_map(rig);
	return ms;
}

static void expect_grace(struct rig *rig, u64 alone, unsigned int grace)
{
	u64 ms;

	for (int i = 0; i < TRIES; i++) {
		make_late(rig, KEEPS);
		ms = reset_ms(rig);
		t_note("%u ms grace: %llu ms, %llu alone", grace, ms, alone);
		expect_ge(ms, grace * 3 / 4);
		if (ms <= alone + grace + cut_slack_ms())
			return;
	}
	t_fail("%d tries, and none within %u ms", TRIES, grace);
}

TEST_TIMEOUT(cut, grace_changes, 60)
{
	static const unsigned int graces[] = { 100, 0, 700, 0, 300 };
	struct rig rig = {};
	u64 alone;

	rig_open(&rig, "shm_sw");
	alone = cut_alone(&cut_reset, &rig);
	for (size_t i = 0; i < ARRAY_SIZE(graces); i++) {
		vfio_grace(graces[i]);
		expect_eq(vfio_grace_ms(), graces[i]);
		expect_grace(&rig, alone, graces[i]);
	}
}

TEST_TIMEOUT(cut, grace_by_default, 60)
{
	unsigned int grace = vfio_is_stock() ? 0 : vfio_grace_ms();
	struct rig rig = {};
	u64 alone;

	rig_open(&rig, "shm_sw");
	expect_eq(grace, VFIO_GRACE_MS);
	vfio_grace(grace);
	alone = cut_alone(&cut_reset, &rig);
	expect_grace(&rig, alone, grace);
}

/* Who lets go costs no more time than that takes. */
TEST(cut, grace_not_used_up)
{
	struct rig rig = {};
	u64 ms;

	rig_open(&rig, "shm_sw");
	vfio_grace(10000);
	ms = cut_alone(&cut_reset, &rig);
	expect_le(ms, 5000);
	expect_eq(imp_policy(rig.imp, rig.slow.handle, 0, 400, 0), 0);
	ms = cut_alone(&cut_reset, &rig);
	expect_ge(ms, 400 * 9 / 10);
	expect_le(ms, 5000);
	/* One that has no mapping is not waited for, whatever it does. */
	expect_eq(imp_policy(rig.imp, rig.slow.handle, 0, 0, 0), 0);
	expect_eq(imp_unmap(rig.imp, rig.slow.handle), 0);
	expect_eq(imp_unmap(rig.imp, rig.quick.handle), 0);
	make_late(&rig, STUCK);
	ms = cut_spend(&cut_reset, &rig);
	expect_le(ms, 5000);
	expect_eq(imp_release(rig.imp, rig.slow.handle), 0);
}

TEST_TIMEOUT(cut, many_in_one_grace, 60)
{
	enum { NR = 64 };
	struct rig rig = {};
	int fds[NR], handles[NR];
	u64 addrs[NR], alone, ms = 0;

	rig_open(&rig, "shm_sw");
	alone = cut_alone(&cut_reset, &rig);
	vfio_grace(CUT_GRACE_MS);
	for (int i = 0; i < NR; i++) {
		fds[i] = expect_fd(export_range(rig.dev, rig.bar,
						(rig.at & -PAGE) + i * PAGE,
						PAGE));
		handles[i] = imp_attach(rig.imp, fds[i], rig.edu);
		expect_ge(handles[i], 0);
		expect_eq(imp_keep(rig.imp, handles[i]), 0);
	}
	for (int n = 0; n < TRIES; n++) {
		for (int i = 0; i < NR; i++) {
			struct imp_map map;

			expect_eq(imp_map(rig.imp, handles[i], &map), 0);
			addrs[i] = imp_addr(&map, 0, RIG_LEN);
			imp_map_free(&map);
		}
		ms = cut_spend(&cut_reset, &rig);
		t_note("%llu ms, %llu alone", ms, alone);
		expect_ge(ms, CUT_LEAST_MS);
		rig_stale(&rig, addrs[0]);
		for (int i = 0; i < NR; i++)
			expect_eq(imp_unmap(rig.imp, handles[i]), 0);
		if (ms <= alone + CUT_GRACE_MS + cut_slack_ms())
			return;
	}
	t_fail("%d tries, and none within one grace period", TRIES);
}

/* --- while one is stuck */

/* A buffer of its own for an importer that does what @flags say; mapped. */
static int stuck_buffer(struct rig *rig, int *fd, u64 *addr)
{
	struct imp_map map;
	int handle;

	*fd = expect_fd(export_range(rig->dev, rig->bar, rig->at & -PAGE,
				     PAGE));
	handle = imp_attach(rig->imp, *fd, rig->edu);
	expect_ge(handle, 0);
	expect_eq(imp_map(rig->imp, handle, &map), 0);
	*addr = imp_addr(&map, rig->at & (PAGE - 1), rig->len);
	imp_map_free(&map);
	expect_eq(imp_stuck(rig->imp, handle, DVPI_POLICY_KEEP), 0);
	return handle;
}

static bool inside(struct rig *rig, int handle)
{
	return imp_stats(rig->imp, handle).inside;
}

/* Debugfs answers at once, and has a line of each buffer. */
static void expect_debugfs(struct rig *rig, const char *what)
{
	u64 start = t_now_ns();
	char text[8192];

	gate_read(rig->bdf);
	expect_ge(t_read(text, sizeof(text), "%s",
			 vfio_debugfs(rig->bdf, "buffers")), 1);
	expect(strstr(text, what), "no \"%s\" in %s", what, text);
	expect_le((t_now_ns() - start) / 1000000, 1000);
}

/* The others are told, and let go, while everybody waits for the stuck one. */
TEST(cut, others_are_told)
{
	struct rig rig = {};
	int fd, handle;
	u64 addr;
	pid_t pid;

	rig_open(&rig, "shm_sw");
	handle = stuck_buffer(&rig, &fd, &addr);
	pid = t_fork();
	if (!pid) {
		rig_reset(&rig);
		_exit(0);
	}
	expect(t_within(5000, inside(&rig, handle)));
	expect(t_within(5000, !imp_stats(rig.imp, rig.quick.handle).mapped &&
			!imp_stats(rig.imp, rig.slow.handle).mapped),
	       "others are not told");
	expect_eq(waitpid(pid, NULL, WNOHANG), 0);
	expect_debugfs(&rig, "state=revoked");
	gate_expect(rig.bdf, "changing");
	/* It has its time, until it lets go. */
	rig_live(&rig, addr);
	expect_eq(imp_release(rig.imp, handle), 0);
	expect_eq(imp_policy(rig.imp, handle, 0, 0, 0), 0);
	expect_eq(imp_unmap(rig.imp, handle), 0);
	t_join(pid);
	gate_expect(rig.bdf, "");
}

/* Operations that do not concern the stuck importer go on. */
TEST_TIMEOUT(cut, others_go_on, 60)
{
	int fd, handle, fds[NR_OTHERS], handles[NR_OTHERS];
	struct rig rig = {};
	u64 addr, alone, ms;

	rig_open(&rig, "shm_sw");
	alone = cut_alone(&cut_reset, &rig);
	handle = stuck_buffer(&rig, &fd, &addr);
	vfio_grace(CUT_GRACE_MS);
	rig_mark(&rig);
	rig_reset(&rig);
	expect(inside(&rig, handle));
	rig_stale(&rig, addr);
	rig_map(&rig);
	expect_debugfs(&rig, " cut=1");
	open_others(&rig, fds, handles);
	rig_stale(&rig, addr);
	close_others(&rig, fds, handles);

	/* A second revoke has nobody to wait for. */
	for (int i = 0; i < 3; i++) {
		vfio_grace(20000);
		ms = cut_spend(&cut_reset, &rig);
		t_note("%llu ms, %llu alone", ms, alone);
		expect_le(ms, alone + 10000);
		expect(inside(&rig, handle));
		rig_map(&rig);
		rig_stale(&rig, addr);
		rig_memory_off(&rig);
		gate_expect(rig.bdf, "memory-off");
		rig_memory_on(&rig);
		gate_expect(rig.bdf, "");
		rig_map(&rig);
	}

	/* At last it is told of the restore, and can map. */
	expect_eq(imp_stats(rig.imp, handle).invalidations, 1);
	expect_eq(imp_release(rig.imp, handle), 0);
	expect(t_within(5000, imp_stats(rig.imp, handle).invalidations == 2),
	       "it is not told of what came later");
	expect_eq(imp_policy(rig.imp, handle, 0, 0, 0), 0);
	expect_eq(imp_unmap(rig.imp, handle), 0);
	expect_eq(imp_map(rig.imp, handle, NULL), 0);
	rig_live(&rig, rig.quick.addr);
}

/* The function is closed and opened by the next, and then it returns. */
TEST(cut, stuck_beyond_the_close)
{
	struct rig rig = {};
	int fd, handle;
	u64 addr;

	rig_open(&rig, "shm_sw");
	handle = stuck_buffer(&rig, &fd, &addr);
	vfio_grace(CUT_GRACE_MS);
	vfio_close(rig.dev);
	vfio_unbind(rig.bdf);
	vfio_bind(rig.bdf, vfio_driver());
	rig_reopen(&rig);
	expect(inside(&rig, handle));
	rig_stale(&rig, addr);
	expect_ok(close(fd));
	expect_ok(close(rig.fd));
	rig_export(&rig);
	rig_map(&rig);
	expect_eq(imp_release(rig.imp, handle), 0);
	expect_eq(imp_unmap(rig.imp, handle), 0);
	expect_err(imp_map(rig.imp, handle, NULL), ENODEV);
	expect_eq(imp_detach(rig.imp, handle), 0);
	rig_live(&rig, rig.quick.addr);
}

/* A child whose importer is the child's own, attached to slow's buffer */
static pid_t fork_importer(struct rig *rig, u32 flags)
{
	int ready[2], imp, handle;
	char byte;
	pid_t pid;

	expect_ok(pipe(ready));
	pid = t_fork();
	if (!pid) {
		rig_drop(rig);
		imp = imp_open();
		handle = imp_attach(imp, rig->fd, rig->edu);
		expect_ge(handle, 0);
		expect_eq(imp_map(imp, handle, NULL), 0);
		expect_eq(imp_policy(imp, handle, flags, 0, 0), 0);
		expect_eq(write(ready[1], "", 1), 1);
		for (;;)
			pause();
	}
	expect_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

/* Killed before the grace period ends: it lets go, and all goes on. */
static void killed_importer(u32 flags)
{
	struct rig rig = {};
	pid_t reset, importer;
	u64 start;

	rig_open(&rig, "shm_sw");
	importer = fork_importer(&rig, flags);
	reset = t_fork();
	if (!reset) {
		rig_reset(&rig);
		_exit(0);
	}
	t_sleep_ms(500);
	expect_eq(waitpid(reset, NULL, WNOHANG), 0);
	start = t_now_ns();
	cut_stop(importer);
	t_join(reset);
	expect_le((t_now_ns() - start) / 1000000, 10000);
	gate_expect(rig.bdf, "");
	rig_map(&rig);
}

TEST(cut, keeper_is_killed)
{
	killed_importer(DVPI_POLICY_KEEP);
}

TEST(cut, stuck_one_is_killed)
{
	killed_importer(DVPI_POLICY_KEEP | DVPI_POLICY_STUCK);
}

/*
 * Who takes a buffer back for good is killed within the grace period: nobody
 * else would cut the importer off, so that comes first.
 */
static void revoker_killed(const struct cut_way *way)
{
	struct rig rig = {};
	int status;
	pid_t pid;

	rig_open(&rig, way->role);
	cut_prepare(way, &rig);
	vfio_grace(20000);
	make_late(&rig, KEEPS);
	pid = t_fork();
	if (!pid) {
		way->act(&rig);
		_exit(0);
	}
	rig_quick_lets_go(&rig);
	rig_live(&rig, rig.slow.addr);
	expect_eq(waitpid(pid, NULL, WNOHANG), 0);
	expect_ok(kill(pid, SIGKILL));
	expect(t_within(10000, waitpid(pid, &status, WNOHANG) == pid),
	       "a kill does not end it");
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	expect_cut(way, &rig);
	let_go(&rig);
	rig_stale(&rig, rig.slow.addr);
}

TEST(cut, revoker_is_killed)
{
	revoker_killed(&cut_revoke);
}

TEST(cut, revoker_by_node_is_killed)
{
	revoker_killed(&cut_revoke_node);
}

/*
 * A job that was left behind untranslated is waited for, but not the callback
 * of somebody else, who has been cut off.
 */
TEST_TIMEOUT(cut, stuck_one_and_a_job, 60)
{
	enum { JOB_MS = 2000 };
	struct rig rig = {};
	u64 start, ms;
	int handle;

	rig_open(&rig, "shm_sw");
	handle = imp_attach(rig.imp, rig.fd, imp_edu("edu_sw"));
	expect_ge(handle, 0);
	expect_eq(imp_map(rig.imp, handle, NULL), 0);
	start = t_now_ns();
	expect_eq(imp_fence(rig.imp, handle, JOB_MS), 0);
	expect_eq(imp_unmap(rig.imp, handle), 0);
	make_late(&rig, STUCK);
	vfio_grace(CUT_GRACE_MS);
	rig_reset(&rig);
	ms = (t_now_ns() - start) / 1000000;
	expect_ge(ms, JOB_MS * 3 / 4);
	expect(inside(&rig, rig.slow.handle), "its callback has returned");
	rig_wake(&rig);
	rig_stale(&rig, rig.slow.addr);
	let_go(&rig);
	expect_eq(imp_detach(rig.imp, handle), 0);
	rig_map(&rig);
}

/* Killed when it has been cut off already */
TEST(cut, stuck_one_is_killed_later)
{
	struct rig rig = {};
	pid_t importer;

	rig_open(&rig, "shm_sw");
	importer = fork_importer(&rig, DVPI_POLICY_KEEP | DVPI_POLICY_STUCK);
	vfio_grace(CUT_GRACE_MS);
	rig_reset(&rig);
	rig_stale(&rig, rig.slow.addr);
	cut_stop(importer);
	expect(t_within(8000, !imp_stats(rig.imp, rig.slow.handle).mapped &&
			!imp_stats(rig.imp, rig.quick.handle).mapped));
	rig_map(&rig);
	rig_live(&rig, rig.slow.addr);
}

/* --- what is cut */

/* Bytes of a buffer, and where they are in the BAR */
struct spot {
	u64 in_buffer;
	u64 in_bar;
	u64 addr;
};

/* The first and the last bytes of each range */
static u32 find_spots(const struct vfio_region_dma_range *ranges, u32 n,
		      const struct imp_map *map, struct spot *spots)
{
	u64 start = 0;

	for (u32 i = 0; i < n; i++) {
		u64 last = ranges[i].length - RIG_LEN;

		spots[2 * i] = (struct spot){ start, ranges[i].offset, 0 };
		spots[2 * i + 1] = (struct spot){
			start + last, ranges[i].offset + last, 0,
		};
		start += ranges[i].length;
	}
	for (u32 i = 0; i < 2 * n; i++)
		spots[i].addr = imp_addr(map, spots[i].in_buffer, RIG_LEN);
	return 2 * n;
}

static void cut_ranges(const struct vfio_region_dma_range *ranges, u32 n)
{
	struct rig rig = {};
	struct spot spots[8];
	struct imp_map map;
	int fd, handle;
	u64 at;
	u32 nr;

	rig_open(&rig, "shm_sw");
	at = rig.at;
	fd = expect_fd(export_buf(rig.dev->fd, rig.bar, O_RDWR | O_CLOEXEC, 0,
				  ranges, n));
	handle = imp_attach(rig.imp, fd, rig.edu);
	expect_ge(handle, 0);
	expect_eq(imp_keep(rig.imp, handle), 0);
	expect_eq(imp_map(rig.imp, handle, &map), 0);
	nr = find_spots(ranges, n, &map, spots);
	imp_map_free(&map);
	for (u32 i = 0; i < nr; i++) {
		rig.at = spots[i].in_bar;
		rig_live(&rig, spots[i].addr);
	}
	vfio_grace(CUT_GRACE_MS);
	rig_reset(&rig);
	rig.at = at;
	rig_map(&rig);
	for (u32 i = 0; i < nr; i++) {
		rig.at = spots[i].in_bar;
		rig_stale(&rig, spots[i].addr);
	}
	expect_eq(imp_unmap(rig.imp, handle), 0);
	expect_eq(imp_map(rig.imp, handle, &map), 0);
	nr = find_spots(ranges, n, &map, spots);
	imp_map_free(&map);
	for (u32 i = 0; i < nr; i++) {
		rig.at = spots[i].in_bar;
		rig_live(&rig, spots[i].addr);
	}
}

TEST_TIMEOUT(cut, two_ranges, 60)
{
	static const struct vfio_region_dma_range ranges[] = {
		{ KIB(512), PAGE }, { KIB(4), 3 * PAGE },
	};

	cut_ranges(ranges, ARRAY_SIZE(ranges));
}

TEST_TIMEOUT(cut, four_ranges_with_gaps, 60)
{
	static const struct vfio_region_dma_range ranges[] = {
		{ 0, PAGE }, { MIB(1), KIB(64) }, { KIB(128), 2 * PAGE },
		{ MIB(2) + KIB(4), MIB(1) },
	};

	cut_ranges(ranges, ARRAY_SIZE(ranges));
}

/* What the IOMMU may map by entries of 2 MiB, and what is beside them */
TEST_TIMEOUT(cut, large_range, 60)
{
	static const struct vfio_region_dma_range ranges[] = {
		{ PAGE, MIB(4) - 2 * PAGE },
	};

	cut_ranges(ranges, ARRAY_SIZE(ranges));
}

/* Whatever size the IOMMU has entries of */
TEST_TIMEOUT(cut, large_aligned_ranges, 60)
{
	static const struct vfio_region_dma_range ranges[] = {
		{ MIB(2), MIB(2) }, { 0, PAGE },
	};

	cut_ranges(ranges, ARRAY_SIZE(ranges));
}

TEST_TIMEOUT(cut, several_mappings, 60)
{
	u64 addrs[1 + DVPI_MAX_MORE];
	struct rig rig = {};
	struct imp_map map;
	int ret;

	rig_open(&rig, "shm_sw");
	addrs[0] = rig.slow.addr;
	for (int i = 1; i <= DVPI_MAX_MORE; i++) {
		ret = imp_map_more(rig.imp, rig.slow.handle, &map);
		/* The dma-buf core pins, and that looks like the importer. */
		if (ret == -EOPNOTSUPP && !t_kernel_since(7, 2))
			t_skip("an attachment has one mapping here");
		expect_eq(ret, 0);
		addrs[i] = imp_addr(&map, rig.at & (PAGE - 1), rig.len);
		imp_map_free(&map);
		rig_live(&rig, addrs[i]);
	}
	vfio_grace(CUT_GRACE_MS);
	make_late(&rig, KEEPS);
	rig_reset(&rig);
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++)
		rig_stale(&rig, addrs[i]);
	let_go(&rig);
	rig_map(&rig);
	rig_live(&rig, rig.slow.addr);
}

/* The importer detaches, with the unmap that is due or without it. */
static void late_detach(u32 flags, bool revoked)
{
	int fds[NR_OTHERS], handles[NR_OTHERS];
	struct rig rig = {};
	u64 addr, ms;

	rig_open(&rig, "shm_sw");
	vfio_grace(CUT_GRACE_MS);
	expect_eq(imp_policy(rig.imp, rig.slow.handle,
			     DVPI_POLICY_KEEP | flags, 0, 0), 0);
	addr = rig.slow.addr;
	if (revoked) {
		rig_reset(&rig);
		rig_stale(&rig, addr);
	}
	expect_eq(imp_detach(rig.imp, rig.slow.handle), 0);
	rig_stale(&rig, addr);
	open_others(&rig, fds, handles);
	close_others(&rig, fds, handles);
	ms = cut_spend(&cut_reset, &rig);
	t_note("%llu ms", ms);
	rig_stale(&rig, addr);
	rig_export(&rig);
	rig_map(&rig);
	vfio_close(rig.dev);
	vfio_unbind(rig.bdf);
}

TEST(cut, late_detach)
{
	late_detach(0, true);
}

TEST(cut, sloppy_detach)
{
	late_detach(DVPI_POLICY_SLOPPY, true);
}

TEST(cut, sloppy_detach_before)
{
	late_detach(DVPI_POLICY_SLOPPY, false);
}

/* --- many times */

struct round {
	struct rig *rig;
	u64 lowest, highest;
};

static void cut_and_unmap(void *arg)
{
	struct round *round = arg;
	struct rig *rig = round->rig;
	struct imp_map map;
	u64 addr;
	int handle;

	handle = imp_attach(rig->imp, rig->fd, rig->edu);
	expect_ge(handle, 0);
	expect_eq(imp_keep(rig->imp, handle), 0);
	expect_eq(imp_map(rig->imp, handle, &map), 0);
	addr = imp_addr(&map, 0, PAGE);
	imp_map_free(&map);
	if (!round->lowest || addr < round->lowest)
		round->lowest = addr;
	if (addr > round->highest)
		round->highest = addr;
	rig_memory_off(rig);
	rig_memory_on(rig);
	expect_eq(imp_unmap(rig->imp, handle), 0);
	expect_eq(imp_detach(rig->imp, handle), 0);
}

/* Neither memory nor I/O addresses */
static void flat(u32 n, const struct vfio_region_dma_range *ranges)
{
	struct round round = {};
	struct rig rig = {};

	rig_open(&rig, "shm_sw");
	vfio_grace(0);
	expect_eq(imp_detach(rig.imp, rig.quick.handle), 0);
	expect_eq(imp_detach(rig.imp, rig.slow.handle), 0);
	expect_ok(close(rig.fd));
	rig.fd = expect_fd(export_buf(rig.dev->fd, rig.bar,
				      O_RDWR | O_CLOEXEC, 0, ranges, n));
	round.rig = &rig;
	t_expect_flat(1500, cut_and_unmap, &round, "cut, late unmap");
	t_note("I/O addresses %#llx to %#llx", round.lowest, round.highest);
	/* The DMA API keeps some that it has not flushed, or for next time. */
	expect_le(round.highest - round.lowest, MIB(4));
	rig_export(&rig);
	rig_map(&rig);
}

TEST_TIMEOUT(cut, leaks_nothing, 240)
{
	static const struct vfio_region_dma_range ranges[] = { { 0, PAGE } };

	flat(ARRAY_SIZE(ranges), ranges);
}

TEST_TIMEOUT(cut, leaks_nothing_of_ranges, 240)
{
	static const struct vfio_region_dma_range ranges[] = {
		{ 0, PAGE }, { KIB(64), PAGE },
	};

	flat(ARRAY_SIZE(ranges), ranges);
}
