// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ways to end access.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cut.h"
#include "node.h"

u64 cut_began_ns;

/* Of cut_hot_reset: the other function, and whom it is reset through */
static struct vfio_dev *sibling;

static void act_hot_reset(struct rig *rig)
{
	expect_eq(vfio_hot_reset(rig->dev, sibling->group), 0);
}

static void act_low_power_wakeup(struct rig *rig)
{
	struct vfio_device_low_power_entry_with_wakeup arg = {
		.wakeup_eventfd = expect_ok(eventfd(0, EFD_CLOEXEC)),
	};

	expect_eq(vfio_feature(rig->dev->fd, VFIO_DEVICE_FEATURE_SET |
			       VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
			       &arg, sizeof(arg)), 0);
	expect_ok(close(arg.wakeup_eventfd));
}

static void act_close(struct rig *rig)
{
	vfio_close(rig->dev);
}

static void act_kill(struct rig *rig)
{
	pid_t pid = t_fork();

	if (!pid) {
		for (;;)
			pause();
	}
	rig_drop(rig);
	vfio_forget(rig->dev);
	cut_began_ns = t_now_ns();
	expect_ok(kill(pid, SIGKILL));
	expect_ok(waitpid(pid, NULL, 0));
}

static void act_unbind(struct rig *rig)
{
	vfio_close(rig->dev);
	vfio_unbind(rig->bdf);
}

static void act_unbind_pending(struct rig *rig)
{
	pid_t pid = t_fork();

	if (!pid) {
		rig_drop(rig);
		vfio_unbind(rig->bdf);
		_exit(0);
	}
	t_sleep_ms(300);
	expect_eq(waitpid(pid, NULL, WNOHANG), 0);
	cut_began_ns = t_now_ns();
	vfio_close(rig->dev);
	t_join(pid);
}

static void act_revoke(struct rig *rig)
{
	expect_eq(vfio_revoke(rig->dev->fd, rig->fd), 0);
}

static void act_revoke_node(struct rig *rig)
{
	int node = node_open(rig->bdf, O_RDWR);

	expect_eq(node_revoke(node, rig->fd), 0);
	expect_ok(close(node));
}

static void undo_close(struct rig *rig)
{
	vfio_bind(rig->bdf, vfio_driver());
	rig_reopen(rig);
}

const struct cut_way cut_reset = {
	.role = "shm_sw",
	.act = rig_reset,
};

const struct cut_way cut_flr = {
	.role = "rng",
	.act = rig_reset,
};

const struct cut_way cut_sysfs_reset = {
	.role = "nvme_sw",
	.act = rig_sysfs_reset,
};

const struct cut_way cut_hot_reset = {
	.role = "shm_mf",
	.act = act_hot_reset,
};

const struct cut_way cut_memory_off = {
	.role = "shm_sw",
	.act = rig_memory_off,
	.undo = rig_memory_on,
};

const struct cut_way cut_d3hot = {
	.role = "nvme_sw",
	.act = rig_d3hot,
	.undo = rig_d0,
};

const struct cut_way cut_low_power = {
	.role = "rng",
	.act = rig_low_power_entry,
	.undo = rig_low_power_exit,
};

const struct cut_way cut_low_power_wakeup = {
	.role = "rng",
	.act = act_low_power_wakeup,
	.undo = rig_low_power_exit,
};

const struct cut_way cut_close = {
	.role = "shm_sw",
	.act = act_close,
	.undo = undo_close,
	.dies = true,
};

const struct cut_way cut_kill = {
	.role = "shm_sw",
	.act = act_kill,
	.undo = undo_close,
	.dies = true,
};

const struct cut_way cut_unbind = {
	.role = "shm_sw",
	.act = act_unbind,
	.undo = undo_close,
	.dies = true,
};

const struct cut_way cut_unbind_pending = {
	.role = "shm_sw",
	.act = act_unbind_pending,
	.undo = undo_close,
	.dies = true,
};

const struct cut_way cut_revoke = {
	.role = "shm_sw",
	.act = act_revoke,
	.dies = true,
};

const struct cut_way cut_revoke_node = {
	.role = "shm_sw",
	.act = act_revoke_node,
	.dies = true,
};

void cut_prepare(const struct cut_way *way, struct rig *rig)
{
	(void)rig;
	if (way == &cut_hot_reset)
		sibling = vfio_open_bdf(t_role("nvme_mf"), vfio_driver());
}

u64 cut_spend(const struct cut_way *way, struct rig *rig)
{
	cut_began_ns = t_now_ns();
	way->act(rig);
	return (t_now_ns() - cut_began_ns) / 1000000;
}

void cut_again(const struct cut_way *way, struct rig *rig)
{
	if (way->undo)
		way->undo(rig);
	gate_expect(rig->bdf, "");
	rig_wake(rig);
	if (!way->dies)
		return;
	expect_eq(imp_detach(rig->imp, rig->quick.handle), 0);
	expect_eq(imp_detach(rig->imp, rig->slow.handle), 0);
	expect_ok(close(rig->fd));
	rig_export(rig);
}

u64 cut_alone(const struct cut_way *way, struct rig *rig)
{
	u64 ms = cut_spend(way, rig);

	cut_again(way, rig);
	rig_map(rig);
	rig_mark(rig);
	return ms;
}

pid_t cut_add_fences(struct rig *rig, u32 ms)
{
	int ready[2];
	pid_t pid;
	char byte;

	expect_ok(pipe(ready));
	pid = t_fork();
	if (!pid) {
		rig_drop(rig);
		for (bool told = false;; told = true) {
			expect_eq(imp_import_fence(rig->imp, rig->fd, ms), 0);
			if (!told)
				expect_eq(write(ready[1], "", 1), 1);
			t_sleep_ms(20);
		}
	}
	/* The function is its owner's alone by then. */
	expect_eq(read(ready[0], &byte, 1), 1);
	expect_ok(close(ready[0]));
	expect_ok(close(ready[1]));
	return pid;
}

void cut_stop(pid_t pid)
{
	expect_ok(kill(pid, SIGKILL));
	expect_ok(waitpid(pid, NULL, 0));
}

u64 cut_slack_ms(void)
{
	return t_debug_kernel() ? 1500 : 100;
}
