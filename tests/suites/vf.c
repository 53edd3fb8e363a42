// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VF and its PF: what is done to the PF ends access to the VF's memory, too,
 * though the VF's own user did nothing.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "rig.h"

static struct vfio_dev *pf;

/*
 * QEMU's VFs are gone after a reset of their PF, and the register says that
 * they are on, so the kernel does not turn them on again: this does.
 */
static void revive(const char *bdf)
{
	char path[64];
	u16 control, nr = 1;
	u32 head = 0;
	int fd, at;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	fd = expect_ok(open(path, O_RDWR | O_CLOEXEC));
	for (at = PCI_CFG_SPACE_SIZE; at; at = PCI_EXT_CAP_NEXT(head)) {
		expect_eq(pread(fd, &head, 4, at), 4);
		if (PCI_EXT_CAP_ID(head) == PCI_EXT_CAP_ID_SRIOV)
			break;
	}
	expect(at, "%s has no VFs", bdf);
	expect_eq(pread(fd, &control, 2, at + PCI_SRIOV_CTRL), 2);
	expect_eq(pwrite(fd, &nr, 2, at + PCI_SRIOV_NUM_VF), 2);
	expect_eq(pwrite(fd, &control, 2, at + PCI_SRIOV_CTRL), 2);
	expect_ok(close(fd));
}

static void open_both(struct rig *rig)
{
	if (vfio_is_stock())
		t_skip("the stock driver has no gate");
	pf = vfio_open_pf();
	vfio_mem_enable(pf, true);
	rig_open(rig, "vf");
}

static void act_pf_reset(struct rig *rig)
{
	(void)rig;
	expect_ok(ioctl(pf->fd, VFIO_DEVICE_RESET));
	revive(pf->bdf);
}

static void act_pf_sysfs_reset(struct rig *rig)
{
	(void)rig;
	expect_eq(t_write("1", "/sys/bus/pci/devices/%s/reset", pf->bdf), 0);
	revive(pf->bdf);
}

static void act_pf_flr(struct rig *rig)
{
	u32 exp = vfio_find_cap(pf, PCI_CAP_ID_EXP);
	u16 control = vfio_cfg_read(pf, exp + PCI_EXP_DEVCTL, 2);

	(void)rig;
	expect(exp);
	vfio_cfg_write(pf, exp + PCI_EXP_DEVCTL, 2,
		       control | PCI_EXP_DEVCTL_BCR_FLR);
	revive(pf->bdf);
}

/* The last close resets a function, without a word to its driver. */
static void act_pf_close(struct rig *rig)
{
	(void)rig;
	vfio_close(pf);
	revive(t_role("pf"));
}

static void act_pf_open(struct rig *rig)
{
	int ret = vfio_try_open_bdf(t_role("pf"), &pf);

	(void)rig;
	expect(!ret, "open: %s", t_errno_name(-ret));
	revive(pf->bdf);
}

static void set_pf_power(u8 state)
{
	u32 pm = vfio_find_cap(pf, PCI_CAP_ID_PM);

	expect(pm);
	vfio_cfg_write(pf, pm + PCI_PM_CTRL, 2, state);
}

static void act_pf_d3(struct rig *rig)
{
	(void)rig;
	set_pf_power(3);
}

static void act_pf_d0(struct rig *rig)
{
	(void)rig;
	set_pf_power(0);
}

static void watch_pf(void (*act)(struct rig *rig))
{
	struct rig rig = {};

	open_both(&rig);
	rig_watch(&rig, act, "pf");
	rig_back(&rig);
	rig_block(&rig, act, "");
	rig_back(&rig);
}

TEST(vf, pf_reset)
{
	watch_pf(act_pf_reset);
}

TEST(vf, pf_sysfs_reset)
{
	watch_pf(act_pf_sysfs_reset);
}

TEST(vf, pf_flr)
{
	watch_pf(act_pf_flr);
}

/* The VF's user keeps the PF's descriptors from being the last ones. */
TEST(vf, pf_close_and_open)
{
	struct rig rig = {};

	open_both(&rig);
	rig_block(&rig, act_pf_close, "");
	rig_back(&rig);
	rig_watch(&rig, act_pf_open, "pf");
	rig_back(&rig);
}

TEST(vf, pf_close_watched)
{
	struct rig rig = {};
	int go[2];
	pid_t pid;
	char byte;

	open_both(&rig);
	rig_hold(&rig);
	expect_ok(pipe(go));
	pid = t_fork();
	if (!pid) {
		expect_eq(read(go[0], &byte, 1), 1);
		act_pf_close(&rig);
		_exit(0);
	}
	close(pf->fd);
	vfio_forget(pf);
	gate_expect(rig.bdf, "");
	expect_eq(write(go[1], "", 1), 1);
	rig_middle(&rig, pid, "pf");
	rig_let_go(&rig);
	t_join(pid);
	rig_back(&rig);
}

TEST(vf, pf_in_d3hot)
{
	struct rig rig = {};

	open_both(&rig);
	rig_watch(&rig, act_pf_d3, "pf");
	rig_blocked(&rig, "pf");
	act_pf_d3(&rig);
	rig_blocked(&rig, "pf");
	act_pf_d0(&rig);
	rig_back(&rig);
}

/* Brought back to D0 by a reset, whoever asks for it */
TEST(vf, pf_in_d3hot_and_reset)
{
	struct rig rig = {};

	open_both(&rig);
	rig_block(&rig, act_pf_d3, "pf");
	act_pf_sysfs_reset(&rig);
	rig_back(&rig);
}

/* Opened while its PF cannot serve it */
TEST(vf, opened_while_pf_in_d3hot)
{
	struct rig rig = {};

	open_both(&rig);
	act_pf_d3(&rig);
	vfio_close(rig.dev);
	rig_reopen(&rig);
	gate_expect(rig.bdf, "pf");
	act_pf_d0(&rig);
	gate_expect(rig.bdf, "");
}

/* What the PF's user does to the PF alone is none of the VF's business. */
TEST(vf, pf_touched)
{
	struct rig rig = {};

	open_both(&rig);
	vfio_mem_enable(pf, false);
	rig_untouched(&rig, "the PF's memory off");
	vfio_mem_enable(pf, true);
	rig_untouched(&rig, "the PF's memory on");
}
