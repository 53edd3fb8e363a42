// SPDX-License-Identifier: GPL-2.0-only
/*
 * Late importers: a change of the function waits for all of them together,
 * until the grace period is over, and the log names them. cut.c has the cut
 * that follows.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"

/* Milliseconds that act() takes */
static u64 spend(struct rig *rig, void (*act)(struct rig *rig))
{
	u64 start = t_now_ns();

	act(rig);
	return (t_now_ns() - start) / 1000000;
}

/* --- fences and unmaps */

/* Not before the fence has signalled, and not before it is unmapped. */
static void waits(void (*act)(struct rig *rig), u32 unmap_ms, u32 fence_ms,
		  u32 job_ms)
{
	u32 least = unmap_ms > fence_ms ? unmap_ms : fence_ms;
	struct dvpi_stats stats;
	struct rig rig = {};
	u64 start, end, ms, us;

	rig_open(&rig, "shm_sw");
	expect_eq(imp_policy(rig.imp, rig.slow.handle,
			     fence_ms ? DVPI_POLICY_FENCE : 0, unmap_ms,
			     fence_ms), 0);
	if (job_ms > least)
		least = job_ms;
	start = t_now_ns();
	if (job_ms)
		expect_eq(imp_fence(rig.imp, rig.slow.handle, job_ms), 0);
	ms = spend(&rig, act);
	end = t_now_ns();

	stats = imp_stats(rig.imp, rig.slow.handle);
	expect_eq(stats.mapped, 0);
	expect_ge(stats.unmap_ns, start);
	expect_le(stats.unmap_ns, end);
	if (fence_ms || job_ms) {
		expect_ge(stats.fence_ns, start);
		expect_le(stats.fence_ns, end);
	}
	/* Timers count in ticks, and those of a busy host come in bursts. */
	expect_ge(ms, least * 9 / 10);
	us = gate_read(rig.bdf).last_us;
	expect_ge(us, least * 1000 * 9 / 10);
	/* Woken up, not at the end of the grace period */
	expect_le(us, least * 1000 + 1500000);
	expect_eq(imp_policy(rig.imp, rig.slow.handle, 0, 0, 0), 0);
	vfio_mem_enable(rig.dev, true);
	gate_expect(rig.bdf, "");
	rig_map(&rig);
}

TEST(late, reset_waits_for_unmap)
{
	waits(rig_reset, 400, 0, 0);
}

TEST(late, reset_waits_for_fence)
{
	waits(rig_reset, 0, 400, 0);
}

TEST(late, reset_waits_for_fence_and_unmap)
{
	waits(rig_reset, 300, 400, 0);
}

TEST(late, reset_waits_for_unmap_and_fence)
{
	waits(rig_reset, 400, 300, 0);
}

TEST(late, reset_waits_for_a_running_job)
{
	waits(rig_reset, 0, 0, 400);
}

TEST(late, sysfs_reset_waits_for_fence_and_unmap)
{
	waits(rig_sysfs_reset, 300, 400, 0);
}

TEST(late, memory_off_waits_for_fence_and_unmap)
{
	waits(rig_memory_off, 300, 400, 0);
}

TEST(late, memory_off_waits_for_a_running_job)
{
	waits(rig_memory_off, 0, 0, 400);
}

/* A job that was there when the mapping went: its fence came last. */
static void leaves_fence(void (*act)(struct rig *rig))
{
	enum { JOB_MS = 600 };
	struct rig rig = {};
	u64 start;
	pid_t pid;

	rig_open(&rig, "shm_sw");
	rig_hold(&rig);
	pid = t_fork();
	if (!pid) {
		struct dvpi_stats stats;

		act(&rig);
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
}

TEST(late, reset_waits_for_a_fence_left_at_unmap)
{
	leaves_fence(rig_reset);
}

TEST(late, memory_off_waits_for_a_fence_left_at_unmap)
{
	leaves_fence(rig_memory_off);
}

/* --- late importers are named */

static int open_log(void)
{
	int fd = expect_ok(open("/dev/kmsg", O_RDONLY | O_NONBLOCK |
				O_CLOEXEC));

	expect_ok(lseek(fd, 0, SEEK_END));
	return fd;
}

/* Lines in the log since that have both */
static int lines_with(int log, const char *one, const char *other)
{
	char record[8192];
	int found = 0;
	ssize_t n;

	for (;;) {
		n = read(log, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE)
			continue;
		if (n <= 0)
			return found;
		record[n] = 0;
		/* The line alone, not the tags that follow it */
		record[strcspn(record, "\n")] = 0;
		found += strstr(record, one) && strstr(record, other);
	}
}

/*
 * debugfs says who holds on: "attachment 0000:06:00.0 driver=x ... maps=1
 * cut=0", or "job driver=x".
 */
static bool debugfs_names(struct rig *rig, bool job)
{
	char path[64], text[4096], want[64], *at;

	snprintf(path, sizeof(path), "%s", vfio_debugfs(rig->bdf, "buffers"));
	expect_ge(t_read(text, sizeof(text), "%s", path), 1);
	if (job)
		return strstr(text, "state=revoked") &&
		       strstr(text, "job driver=" IMPORTER_DRIVER);
	snprintf(want, sizeof(want), "attachment %s driver=%s ", rig->edu,
		 IMPORTER_DRIVER);
	for (at = strstr(text, want); at; at = strstr(at + 1, want)) {
		char *maps = strstr(at, " maps=1 cut=0");

		if (maps && maps < at + strcspn(at, "\n"))
			return strstr(text, "state=revoked");
	}
	return false;
}

/* An importer that is late. @act must not get through before. */
static void names_late(void (*act)(struct rig *rig), u32 unmap_ms, u32 fence_ms)
{
	struct rig rig = {};
	u64 start;
	pid_t pid;

	rig_open(&rig, "shm_sw");
	expect_eq(imp_policy(rig.imp, rig.slow.handle,
			     fence_ms ? DVPI_POLICY_FENCE : 0, unmap_ms,
			     fence_ms), 0);
	start = t_now_ns();
	pid = t_fork();
	if (!pid) {
		act(&rig);
		expect_ge((t_now_ns() - start) / 1000000, 2990);
		_exit(0);
	}
	rig_quick_lets_go(&rig);
	expect(t_within(2000, debugfs_names(&rig, fence_ms)));
	expect(!gate_read(rig.bdf).reachable);
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	t_join(pid);
	vfio_mem_enable(rig.dev, true);
	gate_expect(rig.bdf, "");
	expect_eq(imp_policy(rig.imp, rig.slow.handle, 0, 0, 0), 0);
	rig_map(&rig);
}

TEST(late, named_while_reset_waits)
{
	names_late(rig_reset, 3000, 0);
}

TEST(late, named_while_memory_off_waits)
{
	names_late(rig_memory_off, 3000, 0);
}

/* It has let go of its mapping, but not of its jobs. */
TEST(late, named_for_its_fence)
{
	names_late(rig_reset, 0, 3000);
}

/* The log has a line of whom was cut off; of a lot of them, not one each. */
TEST(late, named_when_cut_off)
{
	enum { NR = 64, MOST = 32 };
	struct rig rig = {};
	int log, lines;

	rig_open(&rig, "shm_sw");
	vfio_grace(100);
	log = open_log();
	expect_eq(imp_keep(rig.imp, rig.slow.handle), 0);
	rig_reset(&rig);
	expect(t_within(2000, lines_with(log, rig.edu, IMPORTER_DRIVER)),
	       "nobody is named");
	for (int i = 0; i < NR; i++) {
		int fd = expect_fd(export_range(rig.dev, rig.bar, i * PAGE,
						PAGE));
		int handle = imp_attach(rig.imp, fd, rig.edu);

		expect_ge(handle, 0);
		expect_eq(imp_keep(rig.imp, handle), 0);
		expect_eq(imp_map(rig.imp, handle, NULL), 0);
	}
	rig_reset(&rig);
	t_sleep_ms(200);
	lines = lines_with(log, rig.edu, IMPORTER_DRIVER);
	t_note("%d lines for %d importers", lines, NR);
	expect_le(lines, MOST);
}

/* --- signals */

static void on_signal(int sig)
{
	(void)sig;
}

/* A child that acts, and waits for slow; what @sig does, if anything. */
static pid_t fork_act(struct rig *rig, void (*act)(struct rig *rig), int sig,
		      bool handled)
{
	struct sigaction sa = { .sa_handler = on_signal };
	pid_t pid = t_fork();

	if (!pid) {
		if (handled)
			sigaction(sig, &sa, NULL);
		act(rig);
		_exit(0);
	}
	rig_quick_lets_go(rig);
	return pid;
}

/* Waits until slow lets go, whatever it is sent. */
static void signalled(void (*act)(struct rig *rig), int sig, bool handled)
{
	struct rig rig = {};
	int status;
	pid_t pid;

	rig_open(&rig, "shm_sw");
	rig_hold(&rig);
	pid = fork_act(&rig, act, sig, handled);
	for (int i = 0; i < 3; i++) {
		t_sleep_ms(200);
		expect_ok(kill(pid, sig));
	}
	t_sleep_ms(300);
	/* Still there, and still nobody is let in. */
	expect_eq(waitpid(pid, &status, WNOHANG), 0);
	expect(!gate_read(rig.bdf).reachable);
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	expect_eq(imp_stats(rig.imp, rig.slow.handle).mapped, 1);

	rig_let_go(&rig);
	expect_eq(waitpid(pid, &status, 0), pid);
	expect(handled ? WIFEXITED(status) && !WEXITSTATUS(status) :
	       WIFSIGNALED(status) && WTERMSIG(status) == sig);
	if (act == rig_memory_off) {
		rig_blocked(&rig, "memory-off");
		vfio_mem_enable(rig.dev, true);
	}
	rig_back(&rig);
}

TEST(late, alarm_while_reset_waits)
{
	signalled(rig_reset, SIGALRM, true);
}

TEST(late, alarm_while_memory_off_waits)
{
	signalled(rig_memory_off, SIGALRM, true);
}

/* The reset is the kernel's by then. */
TEST(late, kill_while_sysfs_reset_waits)
{
	signalled(rig_sysfs_reset, SIGKILL, false);
}

static bool is_cut(struct rig *rig)
{
	char text[4096];

	expect_ge(t_read(text, sizeof(text), "%s",
			 vfio_debugfs(rig->bdf, "buffers")), 1);
	return strstr(text, " maps=1 cut=1");
}

/*
 * The owner is killed: at the end of the grace period at the latest. Either the
 * hardware is untouched, and slow has its access as before, or slow is cut off
 * and nobody has.
 */
static void killed(void (*act)(struct rig *rig), int sig)
{
	enum { GRACE_MS = 2000 };
	struct rig rig = {};
	int status;
	pid_t pid;

	rig_open(&rig, "shm_sw");
	vfio_grace(GRACE_MS);
	rig_hold(&rig);
	pid = fork_act(&rig, act, sig, false);
	t_sleep_ms(200);
	expect_ok(kill(pid, sig));
	expect(t_within(GRACE_MS + 3000, waitpid(pid, &status, WNOHANG) == pid),
	       "it does not end");
	expect(WIFSIGNALED(status) && WTERMSIG(status) == sig);
	vfio_mem_enable(rig.dev, true);
	expect(t_within(2000, gate_read(rig.bdf).reachable),
	       "blocked for \"%s\"", gate_read(rig.bdf).reasons);
	expect_eq(imp_stats(rig.imp, rig.slow.handle).mapped, 1);
	if (is_cut(&rig))
		rig_stale(&rig, rig.slow.addr);
	else
		rig_live(&rig, rig.slow.addr);
	rig_let_go(&rig);
	rig_map(&rig);
	/* And another one gets through. */
	act(&rig);
	vfio_mem_enable(rig.dev, true);
	gate_expect(rig.bdf, "");
	rig_map(&rig);
}

TEST(late, kill_while_reset_waits)
{
	killed(rig_reset, SIGKILL);
}

TEST(late, terminated_while_memory_off_waits)
{
	killed(rig_memory_off, SIGTERM);
}

TEST(late, kill_while_memory_off_waits)
{
	killed(rig_memory_off, SIGKILL);
}

/* --- many */

/*
 * Each some milliseconds late: together not much later than one. A busy host
 * may spoil one measurement, and a kernel that checks all it does is slow.
 */
static void many(void (*act)(struct rig *rig))
{
	enum { NR = 64, LATE_MS = 50, TRIES = 5 };
	const u64 most_us = t_debug_kernel() ? 800000 : 200000;
	struct rig rig = {};
	int handles[NR];
	u64 alone, ms;
	struct gate gate;

	rig_open(&rig, "shm_sw");
	expect_eq(imp_detach(rig.imp, rig.quick.handle), 0);
	expect_eq(imp_detach(rig.imp, rig.slow.handle), 0);
	alone = spend(&rig, act);
	vfio_mem_enable(rig.dev, true);
	for (int i = 0; i < NR; i++) {
		int fd = expect_fd(export_range(rig.dev, rig.bar, i * PAGE,
						PAGE));

		handles[i] = imp_attach(rig.imp, fd, rig.edu);
		expect_ge(handles[i], 0);
		expect_eq(imp_policy(rig.imp, handles[i], 0, LATE_MS, 0), 0);
	}
	expect_eq(gate_read(rig.bdf).buffers, NR + 1);
	for (u32 n = 1; n <= TRIES; n++) {
		for (int i = 0; i < NR; i++) {
			/* That all is well comes late, and is a notice, too. */
			expect(t_within(8000,
					imp_stats(rig.imp, handles[i])
					.invalidations == 2 * (n - 1)));
			expect_eq(imp_map(rig.imp, handles[i], NULL), 0);
		}
		ms = spend(&rig, act);
		gate = gate_read(rig.bdf);
		t_note("%d, %d ms late: %llu us, %llu ms in all, %llu alone",
		       NR, LATE_MS, gate.last_us, ms, alone);
		for (int i = 0; i < NR; i++) {
			struct dvpi_stats s = imp_stats(rig.imp, handles[i]);

			expect_eq(s.mapped, 0);
			expect_eq(s.unmaps, n);
		}
		/* Timers count in ticks. */
		expect_ge(gate.last_us, LATE_MS * 1000 * 3 / 4);
		if (gate.last_us <= most_us)
			return;
		vfio_mem_enable(rig.dev, true);
	}
	t_fail("%d tries, and none below %llu us", TRIES, most_us);
}

TEST(late, many_at_once_reset)
{
	many(rig_reset);
}

TEST(late, many_at_once_memory_off)
{
	many(rig_memory_off);
}

/* --- importers that come back at once */

/*
 * They try to map again all the time. Each must fail while the function is
 * blocked, and succeed after; told of that late, it lets go and maps again.
 */
static void remap(void (*off)(struct rig *rig), void (*on)(struct rig *rig),
		  int times)
{
	enum { NR = 8 };
	struct rig rig = {};
	int handles[NR], offs = 0;
	u8 seen[RIG_LEN];

	rig_open(&rig, "shm_sw");
	for (int i = 0; i < NR; i++) {
		int fd = expect_fd(export_range(rig.dev, rig.bar, i * PAGE,
						PAGE));

		handles[i] = imp_attach(rig.imp, fd, rig.edu);
		expect_ge(handles[i], 0);
		expect_eq(imp_map(rig.imp, handles[i], NULL), 0);
		expect_eq(imp_policy(rig.imp, handles[i], DVPI_POLICY_REMAP,
				     0, 0), 0);
	}
	for (int n = 1; n <= times; n++) {
		off(&rig);
		offs++;
		/* Nor does one get in that has just begun to. */
		if (on && n % 4 == 0) {
			u64 end;

			on(&rig);
			t_sleep_ms(n % 7);
			off(&rig);
			offs++;
			end = t_now_ns();
			t_sleep_ms(30);
			for (int i = 0; i < NR; i++)
				expect_le(imp_stats(rig.imp, handles[i])
					  .unmap_ns, end);
		}
		for (int i = 0; on && i < NR; i++)
			expect_eq(imp_stats(rig.imp, handles[i]).mapped, 0);
		if (on)
			on(&rig);
		for (int i = 0; i < NR; i++)
			expect(t_within(5000, imp_stats(rig.imp,
							handles[i]).mapped),
			       "importer %d does not get in again", i);
		for (int i = 0; i < NR; i++) {
			struct dvpi_stats s = imp_stats(rig.imp, handles[i]);

			expect_ge(s.invalidations, n);
			expect_le(s.invalidations, 2 * offs);
			expect_ge(s.unmaps, n);
			expect_le(s.unmaps, 2 * offs);
			if (s.map_failures)
				expect_eq(s.last_map_errno, ENODEV);
		}
		if (n % 20)
			continue;
		rig_map(&rig);
		rig_cpu_read(&rig, seen);
		expect(!memcmp(seen, rig.bytes, rig.len));
		expect_eq(imp_unmap(rig.imp, rig.quick.handle), 0);
		expect_eq(imp_unmap(rig.imp, rig.slow.handle), 0);
	}
}

TEST_TIMEOUT(late, remapped_while_memory_comes_on, 120)
{
	remap(rig_memory_off, rig_memory_on, 200);
}

TEST_TIMEOUT(late, remapped_while_reset_ends, 120)
{
	remap(rig_reset, NULL, 60);
}
