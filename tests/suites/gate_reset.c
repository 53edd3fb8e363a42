// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gate: resets of every kind and origin.
 */
#define _GNU_SOURCE
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "rig.h"

/*
 * Watches a reset, then has another one with nobody late. One that its
 * owner asks for waits before it is a reset.
 */
static void watch_reset(const char *role, void (*act)(struct rig *rig))
{
	struct rig rig = {};

	rig_open(&rig, role);
	rig_watch(&rig, act, act == rig_reset ? "changing" : "reset");
	rig_back(&rig);
	rig_block(&rig, act, "");
	rig_back(&rig);
}

/* --- VFIO_DEVICE_RESET */

TEST(gate, device_reset_virtio)
{
	watch_reset("rng", rig_reset);
}

TEST(gate, device_reset_nvme)
{
	watch_reset("nvme_sw", rig_reset);
}

TEST(gate, device_reset_ivshmem)
{
	watch_reset("shm_sw", rig_reset);
}

/* --- sysfs */

TEST(gate, sysfs_reset_virtio)
{
	watch_reset("rng", rig_sysfs_reset);
}

TEST(gate, sysfs_reset_nvme)
{
	watch_reset("nvme_sw", rig_sysfs_reset);
}

TEST(gate, sysfs_reset_ivshmem)
{
	watch_reset("shm_sw", rig_sysfs_reset);
}

TEST(gate, sysfs_reset_of_a_closed_function)
{
	struct rig rig = {};
	struct gate before, after;

	rig_open(&rig, "rng");
	vfio_close(rig.dev);
	before = gate_read(rig.bdf);
	rig_sysfs_reset(&rig);
	after = gate_read(rig.bdf);
	gate_expect(rig.bdf, "closed");
	expect_eq(after.revokes, before.revokes);
	expect_eq(after.restores, before.restores);
	rig_reopen(&rig);
	gate_expect(rig.bdf, "");
	rig_export(&rig);
	rig_map(&rig);
	vfio_close(rig.dev);
	vfio_unbind(rig.bdf);
	rig_sysfs_reset(&rig);
}

/* A reset that somebody else's function gets is none of ours. */
TEST(gate, reset_of_a_neighbour)
{
	struct rig rig = {}, other = {};

	rig_open(&rig, "shm_sw");
	rig_open(&other, "nvme_sw");
	rig_mark(&rig);
	rig_sysfs_reset(&other);
	rig_reset(&other);
	vfio_mem_enable(other.dev, false);
	rig_untouched(&rig, "another function's resets");
	vfio_close(other.dev);
	rig_untouched(&rig, "another function's close");
}

/* --- function level reset by config write */

struct span {
	u32 at;
	u32 len;
};

static struct span span;

static void act_flr(struct rig *rig)
{
	u32 exp = vfio_find_cap(rig->dev, PCI_CAP_ID_EXP);
	u8 buf[32];

	expect(exp);
	expect_eq(vfio_try_pread(rig->dev, VFIO_PCI_CONFIG_REGION_INDEX, buf,
				 span.len, exp + span.at), span.len);
	buf[PCI_EXP_DEVCTL + 1 - span.at] |= PCI_EXP_DEVCTL_BCR_FLR >> 8;
	expect_eq(vfio_try_pwrite(rig->dev, VFIO_PCI_CONFIG_REGION_INDEX, buf,
				  span.len, exp + span.at), span.len);
}

static void watch_flr(const char *role, u32 at, u32 len)
{
	span = (struct span){ at, len };
	watch_reset(role, act_flr);
}

TEST(gate, flr_byte)
{
	watch_flr("rng", PCI_EXP_DEVCTL + 1, 1);
}

TEST(gate, flr_word)
{
	watch_flr("rng", PCI_EXP_DEVCTL, 2);
}

TEST(gate, flr_dword)
{
	watch_flr("nvme_sw", PCI_EXP_DEVCTL, 4);
}

TEST(gate, flr_odd)
{
	watch_flr("rng", PCI_EXP_DEVCTL - 1, 3);
}

TEST(gate, flr_whole_capability)
{
	watch_flr("nvme_sw", 0, 20);
}

/* No device of QEMU's has one; those that do go through the same reset. */
TEST(gate, flr_advanced_features)
{
	static const char * const roles[] = {
		"rng", "nvme_sw", "shm_sw", "e1000e", "bochs", "conv0",
	};

	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		struct vfio_dev *dev = vfio_open(roles[i]);
		u32 af = vfio_find_cap(dev, PCI_CAP_ID_AF);

		if (af) {
			struct rig rig = {};

			vfio_close(dev);
			rig_open(&rig, roles[i]);
			rig_mark(&rig);
			vfio_cfg_write(rig.dev, af + PCI_AF_CTRL, 1,
				       PCI_AF_CTRL_FLR);
			rig_back(&rig);
			return;
		}
		vfio_close(dev);
	}
	t_skip("no function has the capability");
}

/* --- hot reset */

static struct vfio_dev *through;

static void act_hot_reset(struct rig *rig)
{
	expect_eq(vfio_hot_reset(through, rig->dev->group), 0);
}

/* Opens @role as the function that is not the rig's. */
static struct vfio_dev *open_sibling(const char *role, const char *driver)
{
	return vfio_open_bdf(t_role(role), driver);
}

static void hot_reset_through(const char *role, const char *sibling,
			      const char *driver)
{
	bool ours = !strcmp(driver, vfio_driver());
	struct rig rig = {};

	rig_open(&rig, role);
	through = open_sibling(sibling, driver);
	rig_watch(&rig, act_hot_reset, ours ? "changing" : "reset");
	rig_back(&rig);
	rig_block(&rig, act_hot_reset, "");
	rig_back(&rig);
}

TEST(gate, hot_reset_own)
{
	struct rig rig = {};

	rig_open(&rig, "nvme_mf");
	open_sibling("shm_mf", vfio_driver());
	through = rig.dev;
	rig_watch(&rig, act_hot_reset, "changing");
	rig_back(&rig);
}

TEST(gate, hot_reset_through_ours)
{
	hot_reset_through("shm_mf", "nvme_mf", vfio_driver());
}

TEST(gate, hot_reset_through_stock)
{
	hot_reset_through("shm_mf", "nvme_mf", vfio_other_driver());
}

TEST(gate, hot_reset_through_stock_of_nvme)
{
	hot_reset_through("nvme_mf", "shm_mf", vfio_other_driver());
}

/* Below a conventional bridge it is a reset of the bus. */
TEST(gate, hot_reset_conventional)
{
	hot_reset_through("conv0", "conv1", vfio_other_driver());
}

/* Buffers of both functions are revoked by one reset. */
TEST(gate, hot_reset_of_two)
{
	struct rig rig = {}, other = {};

	rig_open(&rig, "nvme_mf");
	rig_open(&other, "shm_mf");
	through = rig.dev;
	rig_mark(&other);
	rig_watch(&rig, act_hot_reset, "changing");
	rig_back(&rig);
	rig_back(&other);
	rig_mark(&rig);
	through = rig.dev;
	rig_watch(&other, act_hot_reset, "changing");
	rig_back(&other);
	rig_back(&rig);
}

/* Refused: nothing happens to anybody's buffers, or all is as it was. */
TEST(gate, hot_reset_refused)
{
	struct rig rig = {};

	rig_open(&rig, "nvme_mf");
	/* The other function has no driver. */
	expect_ne(vfio_hot_reset(rig.dev, rig.dev->group), 0);
	rig_untouched(&rig, "a hot reset that was refused");
}

/*
 * The core brings all functions to D0 for a hot reset, even if it then gets
 * none, since somebody has one of them locked: each gate says what is.
 */
static void fails_with_one_in_d3hot(bool through_it)
{
	struct vfio_dev *other;
	struct rig rig = {};
	char state[16];
	pid_t pid;

	rig_open(&rig, "nvme_mf");
	other = open_sibling("shm_mf", vfio_driver());
	rig_block(&rig, rig_d3hot, "d3hot");
	/* Waits until it is closed, with the lock of the function. */
	pid = t_fork();
	if (!pid) {
		close(other->fd);
		t_write(other->bdf, "/sys/bus/pci/devices/%s/driver/unbind",
			other->bdf);
		_exit(0);
	}
	t_sleep_ms(500);
	expect_err(vfio_hot_reset(through_it ? rig.dev : other,
				  through_it ? other->group : rig.dev->group),
		   EAGAIN);
	expect_ge(t_read(state, sizeof(state),
			 "/sys/bus/pci/devices/%s/power_state", rig.bdf), 1);
	expect(!strcmp(state, "D0"), "it is in %s", state);
	rig_back(&rig);
	/* The parent's descriptors of it are the last. */
	vfio_close(other);
	t_join(pid);
	gate_expect(rig.bdf, "");
}

TEST(gate, hot_reset_fails_with_a_sibling_in_d3hot)
{
	fails_with_one_in_d3hot(false);
}

TEST(gate, hot_reset_fails_in_d3hot)
{
	fails_with_one_in_d3hot(true);
}
