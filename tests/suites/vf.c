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
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cpu.h"
#include "hotplug.h"
#include "rig.h"

static struct vfio_dev *pf;

static int open_config(const char *bdf)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	return expect_ok(open(path, O_RDWR | O_CLOEXEC));
}

/*
 * QEMU's VFs are gone after a reset of their PF, and the register says that
 * they are on, so the kernel does not turn them on again: this does, and has
 * the driver look at the VF once more. QEMU's has a memory decoding of its own.
 */
static void revive(const struct rig *rig)
{
	u16 control, nr = 1, on = PCI_COMMAND_MEMORY;
	int fd = open_config(t_role("pf")), at;
	u32 head = 0;

	for (at = PCI_CFG_SPACE_SIZE; at; at = PCI_EXT_CAP_NEXT(head)) {
		expect_eq(pread(fd, &head, 4, at), 4);
		if (PCI_EXT_CAP_ID(head) == PCI_EXT_CAP_ID_SRIOV)
			break;
	}
	expect(at, "the PF has no VFs");
	expect_eq(pread(fd, &control, 2, at + PCI_SRIOV_CTRL), 2);
	expect_eq(pwrite(fd, &nr, 2, at + PCI_SRIOV_NUM_VF), 2);
	expect_eq(pwrite(fd, &control, 2, at + PCI_SRIOV_CTRL), 2);
	expect_ok(close(fd));
	fd = open_config(rig->bdf);
	expect_eq(pwrite(fd, &on, 2, PCI_COMMAND), 2);
	expect_ok(close(fd));
	expect_eq(vfio_feature(rig->dev->fd, VFIO_DEVICE_FEATURE_SET |
			       VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, NULL, 0),
		  0);
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
	expect_ok(ioctl(pf->fd, VFIO_DEVICE_RESET));
	revive(rig);
}

static void act_pf_sysfs_reset(struct rig *rig)
{
	expect_eq(t_write("1", "/sys/bus/pci/devices/%s/reset", pf->bdf), 0);
	revive(rig);
}

static void act_pf_flr(struct rig *rig)
{
	u32 exp = vfio_find_cap(pf, PCI_CAP_ID_EXP);
	u16 control = vfio_cfg_read(pf, exp + PCI_EXP_DEVCTL, 2);

	expect(exp);
	vfio_cfg_write(pf, exp + PCI_EXP_DEVCTL, 2,
		       control | PCI_EXP_DEVCTL_BCR_FLR);
	revive(rig);
}

/* The last close resets a function, without a word to its driver. */
static void act_pf_close(struct rig *rig)
{
	vfio_close(pf);
	revive(rig);
}

static void act_pf_open(struct rig *rig)
{
	int ret = vfio_try_open_bdf(t_role("pf"), &pf);

	expect(!ret, "open: %s", t_errno_name(-ret));
	revive(rig);
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

TEST(vf, pf_close_and_open)
{
	struct rig rig = {};

	open_both(&rig);
	rig_block(&rig, act_pf_close, "");
	rig_back(&rig);
	rig_block(&rig, act_pf_open, "");
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

/* The core does not put a PF with VFs to sleep. */
TEST(vf, pf_stays_awake)
{
	struct rig rig = {};
	char state[16];
	u32 pm;

	open_both(&rig);
	pm = vfio_find_cap(pf, PCI_CAP_ID_PM);
	expect(pm);
	vfio_cfg_write(pf, pm + PCI_PM_CTRL, 2, 3);
	expect_ge(t_read(state, sizeof(state),
			 "/sys/bus/pci/devices/%s/power_state", pf->bdf), 1);
	expect(!strcmp(state, "D0"), "the PF is in %s", state);
	gate_expect(rig.bdf, "");
	vfio_cfg_write(pf, pm + PCI_PM_CTRL, 2, 0);
	gate_expect(rig.bdf, "");
	imp_unmap(rig.imp, rig.quick.handle);
	imp_unmap(rig.imp, rig.slow.handle);
	rig_map(&rig);
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

static const char *second_vf(void)
{
	static char target[64];
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/virtfn1",
		 pf->bdf);
	n = readlink(path, target, sizeof(target) - 1);
	expect_ge(n, 1);
	target[n] = 0;
	expect(strrchr(target, '/'));
	return strrchr(target, '/') + 1;
}

static bool pf_has_error(void)
{
	return strstr(gate_read(pf->bdf).reasons, "error");
}

/*
 * One VF has no driver, so the PF's recovery fails and its error stays. An
 * access to the other VF waits for an end of it as long as for its own, and not
 * for ever.
 */
TEST_TIMEOUT(vf, pf_error_that_stays, 90)
{
	struct vfio_dev *vf;
	char path[128];
	u32 value;
	u64 ms;
	u8 *p;

	hotplug_needs_no_lockdep();
	if (vfio_is_stock())
		t_skip("the stock driver has no gate");
	pf = vfio_open_pf();
	vfio_mem_enable(pf, true);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/sriov_numvfs",
		 pf->bdf);
	expect_eq(t_write("0", "%s", path), 0);
	expect_eq(t_write("2", "%s", path), 0);
	vfio_unbind(second_vf());
	vf = vfio_open("vf");
	p = vfio_map_bar(vf, 0, 0, PAGE);
	expect(cpu_get(p, &value), "the VF cannot be reached");
	t_host("hmp pcie_aer_inject_error rp_pf COMP_TIME");
	expect(t_within(15000, pf_has_error()), "no error");
	t_sleep_ms(2000);
	expect(pf_has_error(), "it was recovered from");
	ms = t_now_ns();
	expect_bus(p);
	ms = (t_now_ns() - ms) / 1000000;
	t_note("an access waited for %llu ms", ms);
	expect_le(ms, 20000);
}
