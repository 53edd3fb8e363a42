// SPDX-License-Identifier: GPL-2.0-only
/*
 * Importers that nothing translates for, by bus address or without an IOMMU:
 * they cannot be cut off. They are waited for, and named; a request that has
 * not touched the hardware can be killed meanwhile. For guests whose IOMMU is
 * off or passes through.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cut.h"

#define SWITCH	"edu_sw"	/* a bus address, from below the same switch */
#define BRIDGE	"edu_rp"	/* the host bridge, without a translation */

/* Both below the switch, or neither: shm_sw and nvme_sw are. */
static void open_direct(struct rig *rig, const struct cut_way *way,
			const char *edu)
{
	rig_open_direct(rig, way->role, edu);
	cut_prepare(way, rig);
	vfio_grace(CUT_GRACE_MS);
}

/* "attachment 0000:06:00.0 driver=x ... maps=1 ..." */
static bool named(struct rig *rig)
{
	char path[64], text[4096], want[64], *at;

	snprintf(path, sizeof(path), "%s", vfio_debugfs(rig->bdf, "buffers"));
	expect_ge(t_read(text, sizeof(text), "%s", path), 1);
	snprintf(want, sizeof(want), "attachment %s driver=%s ", rig->edu,
		 IMPORTER_DRIVER);
	for (at = strstr(text, want); at; at = strstr(at + 1, want)) {
		const char *maps = strstr(at, " maps=1 cut=0");

		if (maps && maps < at + strcspn(at, "\n"))
			return true;
	}
	return false;
}

static bool runs(pid_t pid)
{
	return !waitpid(pid, NULL, WNOHANG);
}

/* Beyond the grace period it still has access, and is waited for. */
static void expect_wait(struct rig *rig, pid_t pid)
{
	rig_quick_lets_go(rig);
	t_sleep_ms(4 * CUT_GRACE_MS);
	expect(runs(pid), "returned while an importer had access");
	expect(named(rig), "nobody is named");
	expect_err(imp_map(rig->imp, rig->quick.handle, NULL), ENODEV);
	expect_eq(imp_stats(rig->imp, rig->slow.handle).mapped, 1);
}

/* The hardware is as it was: the edu's bytes arrive, and can be read. */
static void expect_untouched(struct rig *rig)
{
	u8 seen[RIG_LEN], mine[RIG_LEN];

	expect_eq(imp_read(rig->imp, rig->edu, rig->slow.addr, seen, rig->len),
		  0);
	expect(!memcmp(seen, rig->bytes, rig->len), "the hardware changed");
	rig_fresh(rig, mine);
	expect_eq(imp_write(rig->imp, rig->edu, rig->slow.addr, mine,
			    rig->len), 0);
	expect_eq(imp_read(rig->imp, rig->edu, rig->slow.addr, seen, rig->len),
		  0);
	expect(!memcmp(seen, mine, rig->len), "the hardware changed");
	memcpy(rig->bytes, mine, sizeof(mine));
}

static pid_t act_in_child(struct rig *rig, const struct cut_way *way)
{
	pid_t pid = t_fork();

	if (!pid) {
		way->act(rig);
		_exit(0);
	}
	return pid;
}

static void direct_waits(const struct cut_way *way, const char *edu)
{
	struct rig rig = {};
	pid_t pid;

	open_direct(&rig, way, edu);
	rig_hold(&rig);
	pid = act_in_child(&rig, way);
	expect_wait(&rig, pid);
	if (way == &cut_reset) {
		/* Late importers are logged each second; the wait goes on. */
		t_sleep_ms(1500);
		expect(runs(pid), "returned while an importer had access");
	}
	expect_untouched(&rig);
	rig_let_go(&rig);
	t_join(pid);
	cut_again(way, &rig);
	rig_map(&rig);
}

/*
 * An untranslated importer unmaps before its job is done, and then the owner
 * revokes: that job is waited for, what somebody adds after it is not.
 */
static void left_behind(const struct cut_way *way, const char *edu)
{
	enum { JOB_MS = 1500, LONG_MS = 10000 };
	struct rig rig = {};
	u64 start, ms;

	open_direct(&rig, way, edu);
	expect_eq(imp_unmap(rig.imp, rig.quick.handle), 0);
	start = t_now_ns();
	expect_eq(imp_fence(rig.imp, rig.slow.handle, JOB_MS), 0);
	expect_eq(imp_unmap(rig.imp, rig.slow.handle), 0);
	expect_eq(imp_import_fence(rig.imp, rig.fd, LONG_MS), 0);
	way->act(&rig);
	ms = (t_now_ns() - start) / 1000000;
	t_note("%llu ms", ms);
	expect(imp_stats(rig.imp, rig.slow.handle).fence_ns,
	       "returned while a job was running");
	expect_le(ms, LONG_MS / 2);
	cut_again(way, &rig);
	rig_map(&rig);
}

TEST(cut, direct_job_left_behind_reset)
{
	left_behind(&cut_reset, SWITCH);
}

TEST(cut, direct_job_left_behind_memory_off)
{
	left_behind(&cut_memory_off, BRIDGE);
}

TEST(cut, direct_job_left_behind_revoke)
{
	left_behind(&cut_revoke, BRIDGE);
}

TEST(cut, direct_reset_waits)
{
	direct_waits(&cut_reset, SWITCH);
}

TEST(cut, direct_reset_waits_by_host_bridge)
{
	direct_waits(&cut_reset, BRIDGE);
}

TEST(cut, direct_sysfs_reset_waits)
{
	direct_waits(&cut_sysfs_reset, SWITCH);
}

TEST(cut, direct_hot_reset_waits)
{
	direct_waits(&cut_hot_reset, BRIDGE);
}

TEST(cut, direct_memory_off_waits)
{
	direct_waits(&cut_memory_off, SWITCH);
}

TEST(cut, direct_d3hot_waits)
{
	direct_waits(&cut_d3hot, SWITCH);
}

TEST(cut, direct_low_power_waits)
{
	direct_waits(&cut_low_power, BRIDGE);
}

/* A stuck callback counts as an importer that keeps its mappings. */
TEST(cut, direct_waits_for_a_stuck_one)
{
	struct rig rig = {};
	pid_t pid;

	open_direct(&rig, &cut_reset, SWITCH);
	expect_eq(imp_unmap(rig.imp, rig.quick.handle), 0);
	expect_eq(imp_stuck(rig.imp, rig.slow.handle, DVPI_POLICY_KEEP), 0);
	pid = act_in_child(&rig, &cut_reset);
	t_sleep_ms(4 * CUT_GRACE_MS);
	expect(runs(pid), "returned while an importer had access");
	expect(named(&rig), "nobody is named");
	expect_untouched(&rig);
	expect_eq(imp_release(rig.imp, rig.slow.handle), 0);
	t_sleep_ms(CUT_GRACE_MS);
	expect(runs(pid), "returned while an importer had access");
	rig_let_go(&rig);
	t_join(pid);
	rig_map(&rig);
}

/* The last close, by the owner or by its death, which no signal hastens */
static void direct_close(bool killed)
{
	struct rig rig = {};
	int go[2];
	pid_t pid;
	char byte;

	open_direct(&rig, &cut_close, SWITCH);
	rig_hold(&rig);
	expect_ok(pipe(go));
	pid = t_fork();
	if (!pid) {
		expect_eq(read(go[0], &byte, 1), 1);
		rig_drop(&rig);
		_exit(0);
	}
	rig_drop(&rig);
	vfio_forget(rig.dev);
	if (!killed)
		expect_eq(write(go[1], "", 1), 1);
	expect_ok(kill(pid, killed ? SIGKILL : SIGCONT));
	expect_wait(&rig, pid);
	expect_ok(kill(pid, SIGKILL));
	t_sleep_ms(500);
	expect(runs(pid), "closed while an importer had access");
	expect_untouched(&rig);
	rig_let_go(&rig);
	expect_ok(waitpid(pid, NULL, 0));
	rig_reopen(&rig);
	cut_again(&(struct cut_way){ .dies = true }, &rig);
	rig_map(&rig);
}

TEST(cut, direct_close_waits)
{
	direct_close(false);
}

TEST(cut, direct_kill_waits)
{
	direct_close(true);
}

/* --- killed while it waits */

/* A dead buffer, though its descriptor is open: by the second revoke */
static void expect_forgotten(const struct rig *rig)
{
	char text[4096];

	for (int i = 0; i < 2; i++) {
		vfio_mem_enable(rig->dev, false);
		vfio_mem_enable(rig->dev, true);
	}
	expect_ge(t_read(text, sizeof(text), "%s",
			 vfio_debugfs(rig->bdf, "buffers")), 0);
	expect(!strstr(text, "state=dead"), "%s", text);
}

static void kill_while_it_waits(struct rig *rig, const struct cut_way *way)
{
	pid_t pid = act_in_child(rig, way);
	int status;
	u64 start;

	expect_wait(rig, pid);
	start = t_now_ns();
	expect_ok(kill(pid, SIGKILL));
	expect(t_within(5000, waitpid(pid, &status, WNOHANG) == pid),
	       "a kill does not end it");
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	expect_le((t_now_ns() - start) / 1000000, 1000);
	expect(t_within(2000, gate_read(rig->bdf).reachable),
	       "blocked for \"%s\"", gate_read(rig->bdf).reasons);
}

static void direct_killed(const struct cut_way *way, const char *edu)
{
	struct rig rig = {};
	u32 command;

	open_direct(&rig, way, edu);
	command = vfio_cfg_read(rig.dev, PCI_COMMAND, 2);
	rig_hold(&rig);
	kill_while_it_waits(&rig, way);

	/* As if nobody had asked: who let go can map again. */
	expect_eq(vfio_cfg_read(rig.dev, PCI_COMMAND, 2), command);
	expect_untouched(&rig);
	if (!way->dies) {
		rig_live(&rig, rig.slow.addr);
		expect(t_within(5000, !imp_map(rig.imp, rig.quick.handle,
					       NULL)));
		expect_eq(imp_unmap(rig.imp, rig.quick.handle), 0);
	}
	rig_let_go(&rig);

	/* And another one gets through. */
	if (way->dies) {
		expect_forgotten(&rig);
		cut_again(way, &rig);
		rig_map(&rig);
		return;
	}
	rig_map(&rig);
	way->act(&rig);
	cut_again(way, &rig);
	rig_map(&rig);
}

TEST(cut, direct_reset_killed)
{
	direct_killed(&cut_reset, SWITCH);
}

TEST(cut, direct_flr_killed)
{
	direct_killed(&cut_flr, BRIDGE);
}

TEST(cut, direct_hot_reset_killed)
{
	direct_killed(&cut_hot_reset, BRIDGE);
}

TEST(cut, direct_memory_off_killed)
{
	direct_killed(&cut_memory_off, SWITCH);
}

TEST(cut, direct_d3hot_killed)
{
	direct_killed(&cut_d3hot, SWITCH);
}

TEST(cut, direct_low_power_killed)
{
	direct_killed(&cut_low_power, BRIDGE);
}

TEST(cut, direct_low_power_wakeup_killed)
{
	direct_killed(&cut_low_power_wakeup, BRIDGE);
}

TEST(cut, direct_revoke_killed)
{
	direct_killed(&cut_revoke, SWITCH);
}

TEST(cut, direct_revoke_node_killed)
{
	direct_killed(&cut_revoke_node, SWITCH);
}

/* The function still knows it when it restores its buffers: not this one. */
TEST(cut, direct_dead_stays_dead)
{
	struct rig rig = {};
	unsigned long restores;

	open_direct(&rig, &cut_revoke, SWITCH);
	rig_hold(&rig);
	kill_while_it_waits(&rig, &cut_revoke);
	restores = gate_read(rig.bdf).restores;
	kill_while_it_waits(&rig, &cut_memory_off);
	expect(t_within(2000, gate_read(rig.bdf).restores > restores));
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	expect_err(imp_attach(rig.imp, rig.fd, rig.edu), ENODEV);
	rig_let_go(&rig);
	expect_forgotten(&rig);
}
