// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gate and power: D3hot by the user's hand, runtime low power, and both
 * together with what else blocks.
 */
#define _GNU_SOURCE
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "rig.h"

#define SOON_MS	8000
#define PEER	"/sys/module/dvp_peer/parameters"

/* --- D3hot */

/* Where in the PM capability, and how many bytes */
static struct {
	u32 at;
	u32 len;
} span = { PCI_PM_CTRL, 2 };

static void set_power(struct rig *rig, u8 state)
{
	u32 pm = vfio_find_cap(rig->dev, PCI_CAP_ID_PM);
	u8 buf[8];

	expect(pm);
	expect_eq(vfio_try_pread(rig->dev, VFIO_PCI_CONFIG_REGION_INDEX, buf,
				 span.len, pm + span.at), span.len);
	buf[PCI_PM_CTRL - span.at] &= ~PCI_PM_CTRL_STATE_MASK;
	buf[PCI_PM_CTRL - span.at] |= state;
	expect_eq(vfio_try_pwrite(rig->dev, VFIO_PCI_CONFIG_REGION_INDEX, buf,
				  span.len, pm + span.at), span.len);
}

static void act_d3(struct rig *rig)
{
	set_power(rig, 3);
}

static void act_d0(struct rig *rig)
{
	set_power(rig, 0);
}

static void watch_d3(const char *role)
{
	struct rig rig = {};

	rig_open(&rig, role);
	rig_watch(&rig, act_d3, "changing");
	rig_blocked(&rig, "d3hot");
	act_d3(&rig);
	rig_blocked(&rig, "d3hot");
	act_d0(&rig);
	rig_back(&rig);
	rig_mark(&rig);
	act_d0(&rig);
	rig_untouched(&rig, "D0 again");
}

TEST(power, d3hot_virtio)
{
	watch_d3("rng");
}

TEST(power, d3hot_nvme)
{
	watch_d3("nvme_sw");
}

TEST(power, d3hot_by_any_write)
{
	static const typeof(span) spans[] = {
		{ PCI_PM_CTRL, 1 }, { PCI_PM_CTRL, 2 }, { PCI_PM_CTRL, 4 },
		{ 0, 8 }, { PCI_PM_CTRL - 1, 2 }, { 1, 4 },
	};
	struct rig rig = {};

	rig_open(&rig, "rng");
	for (size_t i = 0; i < ARRAY_SIZE(spans); i++) {
		span = spans[i];
		t_note("%u bytes at %u", span.len, span.at);
		rig_block(&rig, act_d3, "d3hot");
		act_d0(&rig);
		gate_expect(rig.bdf, "");
		rig_map(&rig);
	}
}

TEST(power, d3hot_in_flight)
{
	struct rig rig = {};
	pid_t pid;

	rig_open(&rig, "nvme_sw");
	pid = rig_stream(&rig);
	act_d3(&rig);
	act_d0(&rig);
	rig_stop(&rig, pid);
	rig_map(&rig);
}

TEST(power, d3hot_close)
{
	struct rig rig = {};

	rig_open(&rig, "rng");
	rig_block(&rig, act_d3, "d3hot");
	vfio_close(rig.dev);
	gate_expect(rig.bdf, "closed");
	rig_reopen(&rig);
	gate_expect(rig.bdf, "");
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	rig_export(&rig);
	rig_map(&rig);
}

/*
 * Nor does a function answer in D1 and D2. No device of QEMU's has these; what
 * says so is a bit in the kernel, and the register takes any state.
 */
static void in_between(u8 state, const char *name)
{
	struct rig rig = {};
	struct gate gate;
	char text[16];

	rig_open(&rig, "nvme_sw");
	expect_eq(t_write(rig.bdf, PEER "/lowers"), 0);
	rig_mark(&rig);
	set_power(&rig, state);
	expect_ge(t_read(text, sizeof(text),
			 "/sys/bus/pci/devices/%s/power_state", rig.bdf), 1);
	expect(!strcmp(text, name), "it is in %s", text);
	gate = gate_read(rig.bdf);
	expect(!gate.reachable, "reachable in %s", name);
	rig_blocked(&rig, gate.reasons);
	act_d0(&rig);
	rig_back(&rig);
}

TEST(power, d1)
{
	in_between(1, "D1");
}

TEST(power, d2)
{
	in_between(2, "D2");
}

/* --- low power */

static int low_power(struct rig *rig, u32 flags)
{
	return vfio_feature(rig->dev->fd, flags, NULL, 0);
}

#define SET_ENTRY	(VFIO_DEVICE_FEATURE_SET |			\
			 VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY)
#define SET_WAKEUP	(VFIO_DEVICE_FEATURE_SET |			\
			 VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP)
#define SET_EXIT	(VFIO_DEVICE_FEATURE_SET |			\
			 VFIO_DEVICE_FEATURE_LOW_POWER_EXIT)

static void act_entry(struct rig *rig)
{
	expect_eq(low_power(rig, SET_ENTRY), 0);
}

static void act_exit(struct rig *rig)
{
	expect_eq(low_power(rig, SET_EXIT), 0);
}

static int wakeup = -1;

static void act_entry_with_wakeup(struct rig *rig)
{
	struct vfio_device_low_power_entry_with_wakeup arg = {
		.wakeup_eventfd = wakeup,
	};

	expect_eq(vfio_feature(rig->dev->fd, SET_WAKEUP, &arg, sizeof(arg)),
		  0);
}

static bool suspended(struct rig *rig)
{
	char status[32];

	if (t_read(status, sizeof(status),
		   "/sys/bus/pci/devices/%s/power/runtime_status",
		   rig->bdf) < 0)
		t_skip("this kernel has no runtime power management");
	return !strcmp(status, "suspended");
}

static void await_suspend(struct rig *rig)
{
	expect(t_within(SOON_MS, suspended(rig)), "it does not suspend");
}

static void watch_low_power(const char *role)
{
	struct rig rig = {};

	rig_open(&rig, role);
	rig_watch(&rig, act_entry, "changing");
	await_suspend(&rig);
	rig_blocked(&rig, "low-power");
	act_exit(&rig);
	rig_back(&rig);
}

TEST(power, low_power_virtio)
{
	watch_low_power("rng");
}

TEST(power, low_power_nvme)
{
	watch_low_power("nvme_sw");
}

/* It is left before the function has had the time to fall asleep. */
TEST(power, low_power_for_a_moment)
{
	struct rig rig = {};

	rig_open(&rig, "rng");
	for (int i = 0; i < 10; i++) {
		rig_block(&rig, act_entry, "low-power");
		act_exit(&rig);
		gate_expect(rig.bdf, "");
		rig_map(&rig);
	}
}

TEST(power, low_power_entered_twice)
{
	struct rig rig = {};

	rig_open(&rig, "rng");
	rig_block(&rig, act_entry, "low-power");
	expect_err(low_power(&rig, SET_ENTRY), EINVAL);
	rig_blocked(&rig, "low-power");
	act_exit(&rig);
	rig_back(&rig);
	/* And the function is in nobody's debt. */
	rig_block(&rig, act_entry, "low-power");
	await_suspend(&rig);
	act_exit(&rig);
	rig_back(&rig);
}

TEST(power, low_power_asked_for_in_vain)
{
	struct vfio_device_low_power_entry_with_wakeup arg = {
		.wakeup_eventfd = -1,
	};
	struct rig rig = {};

	rig_open(&rig, "rng");
	act_exit(&rig);
	rig_untouched(&rig, "exit without entry");
	expect_eq(low_power(&rig, VFIO_DEVICE_FEATURE_PROBE | SET_ENTRY), 0);
	expect_eq(low_power(&rig, VFIO_DEVICE_FEATURE_PROBE | SET_EXIT), 0);
	rig_untouched(&rig, "probes");
	expect_err(low_power(&rig, VFIO_DEVICE_FEATURE_GET |
			     VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY), EINVAL);
	rig_untouched(&rig, "get");
	expect_err(vfio_feature(rig.dev->fd, SET_WAKEUP, &arg, sizeof(arg)),
		   EINVAL);
	gate_expect(rig.bdf, "");
	expect(imp_map(rig.imp, rig.quick.handle, NULL) == 0 ||
	       imp_stats(rig.imp, rig.quick.handle).mapped);
}

static u64 fired(void)
{
	u64 count = 0;

	return read(wakeup, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void wake_by(void (*touch)(struct rig *rig))
{
	struct rig rig = {};

	wakeup = expect_ok(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
	rig_open(&rig, "rng");
	rig_watch(&rig, act_entry_with_wakeup, "changing");
	await_suspend(&rig);
	rig_blocked(&rig, "low-power");
	expect_eq(fired(), 0);
	touch(&rig);
	expect_eq(fired(), 1);
	rig_back(&rig);
	/* It is out of low power: an exit has nothing to do. */
	rig_mark(&rig);
	act_exit(&rig);
	rig_untouched(&rig, "exit after the wake-up");
}

static void touch_config(struct rig *rig)
{
	vfio_cfg_read(rig->dev, 0, 4);
}

static void touch_ioctl(struct rig *rig)
{
	expect_ok(ioctl(rig->dev->fd, VFIO_DEVICE_GET_INFO, &rig->dev->info));
}

/* The host keeps the function awake. */
static void touch_power_control(struct rig *rig)
{
	expect_eq(t_write("on", "/sys/bus/pci/devices/%s/power/control",
			  rig->bdf), 0);
	expect_eq(t_write("auto", "/sys/bus/pci/devices/%s/power/control",
			  rig->bdf), 0);
}

static void touch_exit(struct rig *rig)
{
	act_exit(rig);
}

TEST(power, wake_up_by_config_access)
{
	wake_by(touch_config);
}

TEST(power, wake_up_by_ioctl)
{
	wake_by(touch_ioctl);
}

TEST(power, wake_up_by_exit)
{
	wake_by(touch_exit);
}

TEST(power, wake_up_by_host)
{
	wake_by(touch_power_control);
}

/* A function that cannot be had takes nothing from those that can. */
static void touch_after_failed_probe(struct rig *rig)
{
	const char *other = t_role("bochs");
	int ret;

	expect_eq(t_write(other, PEER "/ungrouped"), 0);
	ret = vfio_try_bind(other, vfio_driver());
	expect_eq(t_write("none", PEER "/ungrouped"), 0);
	expect_err(ret, EINVAL);
	expect(suspended(rig), "the probe woke it up");
	gate_expect(rig->bdf, "low-power");
	touch_config(rig);
}

TEST(power, wake_up_after_a_failed_probe)
{
	wake_by(touch_after_failed_probe);
}

/* Without a wake-up asked for, an access is over before anybody is let in. */
TEST(power, access_in_low_power)
{
	struct rig rig = {};

	rig_open(&rig, "rng");
	rig_block(&rig, act_entry, "low-power");
	await_suspend(&rig);
	touch_config(&rig);
	touch_ioctl(&rig);
	touch_power_control(&rig);
	rig_blocked(&rig, "low-power");
	await_suspend(&rig);
	act_exit(&rig);
	rig_back(&rig);
}

TEST(power, low_power_close)
{
	struct rig rig = {};

	rig_open(&rig, "rng");
	rig_block(&rig, act_entry, "low-power");
	await_suspend(&rig);
	vfio_close(rig.dev);
	gate_expect(rig.bdf, "closed");
	rig_reopen(&rig);
	gate_expect(rig.bdf, "");
	rig_export(&rig);
	rig_map(&rig);
}

/* --- more than one reason */

/* A reset leaves COMMAND as the user had it. */
TEST(power, memory_off_and_reset)
{
	struct rig rig = {};

	rig_open(&rig, "rng");
	rig_block(&rig, rig_memory_off, "memory-off");
	rig_reset(&rig);
	rig_blocked(&rig, "memory-off");
	rig_sysfs_reset(&rig);
	rig_blocked(&rig, "memory-off");
	rig_memory_on(&rig);
	rig_back(&rig);
}

/* A reset brings a function back from D3hot. */
TEST(power, d3hot_and_reset)
{
	struct rig rig = {};

	rig_open(&rig, "rng");
	rig_block(&rig, act_d3, "d3hot");
	rig_reset(&rig);
	rig_back(&rig);
}

TEST(power, d3hot_and_sysfs_reset)
{
	struct rig rig = {};

	rig_open(&rig, "nvme_sw");
	rig_block(&rig, act_d3, "d3hot");
	rig_sysfs_reset(&rig);
	rig_back(&rig);
}

TEST(power, d3hot_and_memory_off)
{
	struct rig rig = {};

	rig_open(&rig, "rng");
	rig_block(&rig, rig_memory_off, "memory-off");
	act_d3(&rig);
	rig_blocked(&rig, "d3hot");
	act_d0(&rig);
	rig_blocked(&rig, "memory-off");
	/* Back in D0 the function has what it had before, memory off. */
	act_d3(&rig);
	rig_memory_on(&rig);
	rig_blocked(&rig, "d3hot");
	act_d0(&rig);
	rig_blocked(&rig, "memory-off");
	rig_memory_on(&rig);
	rig_back(&rig);
}

TEST(power, low_power_and_memory_off)
{
	struct rig rig = {};

	rig_open(&rig, "rng");
	rig_block(&rig, rig_memory_off, "memory-off");
	act_entry(&rig);
	rig_blocked(&rig, "low-power");
	await_suspend(&rig);
	act_exit(&rig);
	rig_blocked(&rig, "memory-off");
	rig_memory_on(&rig);
	rig_back(&rig);

	/* The other way round: turned off while asleep */
	rig_block(&rig, act_entry, "low-power");
	await_suspend(&rig);
	rig_memory_off(&rig);
	rig_blocked(&rig, "low-power");
	act_exit(&rig);
	rig_blocked(&rig, "memory-off");
	rig_memory_on(&rig);
	rig_back(&rig);
}

TEST(power, low_power_and_reset)
{
	struct rig rig = {};

	rig_open(&rig, "rng");
	rig_block(&rig, act_entry, "low-power");
	await_suspend(&rig);
	rig_sysfs_reset(&rig);
	rig_blocked(&rig, "low-power");
	await_suspend(&rig);
	rig_reset(&rig);
	rig_blocked(&rig, "low-power");
	act_exit(&rig);
	rig_back(&rig);
}

TEST(power, low_power_and_d3hot)
{
	struct rig rig = {};

	rig_open(&rig, "rng");
	rig_block(&rig, act_d3, "d3hot");
	act_entry(&rig);
	rig_blocked(&rig, "low-power");
	await_suspend(&rig);
	act_exit(&rig);
	rig_back(&rig);
}
