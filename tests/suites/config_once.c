// SPDX-License-Identifier: GPL-2.0-only
/*
 * How often a config write reads its bytes. One that turns decoding or the
 * power state is looked at before the core gets it: where nothing changes, the
 * core must not read it again, since it may say something else by then. A
 * watchpoint of the processor counts, so no timing is needed.
 */
#define _GNU_SOURCE
#include <linux/hw_breakpoint.h>
#include <linux/pci_regs.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rig.h"

/* Counts loads and stores of a byte of ours, the kernel's included. */
static int watch_byte(const u8 *byte)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT,
		.size = sizeof(attr),
		.bp_type = HW_BREAKPOINT_RW,
		.bp_addr = (uintptr_t)byte,
		.bp_len = HW_BREAKPOINT_LEN_1,
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1,
			 PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		t_skip("no watchpoints: %s", t_errno_name(errno));
	return fd;
}

static u64 seen(int fd)
{
	u64 count;

	expect_eq(read(fd, &count, sizeof(count)), sizeof(count));
	return count;
}

/* arm64's do not see what the kernel reads as the process would. */
static void need_kernels_reads(int fd, const void *byte)
{
	int null = expect_ok(memfd_create("null", MFD_CLOEXEC));
	u64 before = seen(fd);

	expect_eq(write(null, byte, 1), 1);
	if (seen(fd) == before)
		t_skip("watchpoints do not see the kernel's reads");
	expect_ok(close(null));
}

/* Writes back what is there, @len bytes from @pos on; @at is watched. */
static void write_back(const struct rig *rig, u32 pos, u32 len, u32 at)
{
	const u32 config = VFIO_PCI_CONFIG_REGION_INDEX;
	static u8 buf[8] __attribute__((aligned(8)));
	u64 before;
	int fd;

	expect_eq(vfio_try_pread(rig->dev, config, buf, len, pos), len);
	fd = watch_byte(buf + at - pos);
	expect_eq(seen(fd), 0);
	(void)*(volatile u8 *)(buf + at - pos);
	expect_eq(seen(fd), 1);
	need_kernels_reads(fd, buf + at - pos);
	before = seen(fd);
	expect_eq(vfio_try_pwrite(rig->dev, config, buf, len, pos), len);
	t_note("%u bytes at %#x: read %llu times", len, pos,
	       seen(fd) - before);
	expect_eq(seen(fd) - before, 1);
	expect_ok(close(fd));
}

TEST(config, unchanged_is_read_once)
{
	struct rig rig = {};
	u32 pm;

	rig_open(&rig, "nvme_sw");
	pm = vfio_find_cap(rig.dev, PCI_CAP_ID_PM);
	expect(pm);
	rig_mark(&rig);
	write_back(&rig, PCI_COMMAND, 1, PCI_COMMAND);
	write_back(&rig, PCI_COMMAND, 2, PCI_COMMAND);
	write_back(&rig, PCI_COMMAND, 4, PCI_COMMAND);
	write_back(&rig, PCI_COMMAND - 2, 4, PCI_COMMAND);
	write_back(&rig, pm + PCI_PM_CTRL, 1, pm + PCI_PM_CTRL);
	write_back(&rig, pm + PCI_PM_CTRL, 2, pm + PCI_PM_CTRL);
	write_back(&rig, pm, 8, pm + PCI_PM_CTRL);
	rig_untouched(&rig, "what changes nothing");
}
