// SPDX-License-Identifier: GPL-2.0-only
/*
 * System sleep: the PCI core takes every function out of D0, so its buffers are
 * revoked before and restored after.
 */
#define _GNU_SOURCE
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "node.h"
#include "rig.h"

/*
 * All but the very end of a suspend: devices are in their low power states, and
 * the kernel comes back by itself. 0 or -errno.
 */
static int fall_asleep(void)
{
	char states[64];
	int ret;

	if (t_read(states, sizeof(states), "/sys/power/state") < 0 ||
	    !strstr(states, "freeze") || !t_exists("/sys/power/pm_test"))
		t_skip("this kernel does not try system sleep");
	expect_eq(t_write("0", "/sys/module/suspend/parameters/pm_test_delay"),
		  0);
	expect_eq(t_write("platform", "/sys/power/pm_test"), 0);
	ret = t_write("freeze", "/sys/power/state");
	expect_eq(t_write("none", "/sys/power/pm_test"), 0);
	return ret;
}

static void act_sleep(struct rig *rig)
{
	(void)rig;
	expect_eq(fall_asleep(), 0);
}

static void watch_sleep(const char *role)
{
	struct dvpi_stats quick;
	struct rig rig = {};
	u32 seen, *cpu;
	int node;
	u64 size;

	rig_open(&rig, role);
	cpu = cpu_map(rig.fd, 0, PAGE);
	expect(cpu_get(cpu, &seen));
	expect(imp_pte(rig.imp, cpu, &size));
	node = node_open(rig.bdf, O_RDONLY | O_NONBLOCK);

	rig_block(&rig, act_sleep, "");
	node_expect_event(node, REVOKED, DMABUF_VFIO_REASON_SLEEP);
	node_expect_event(node, RESTORED, 0);
	quick = imp_stats(rig.imp, rig.quick.handle);
	expect(quick.command & PCI_COMMAND_MEMORY, "told too late");
	expect(!imp_pte(rig.imp, cpu, &size), "the CPU's mapping stayed");
	rig_back(&rig);
	rig_wake(&rig);
	expect(cpu_get(cpu + (rig.at & (PAGE - 1)) / 4, &seen));
	expect(!memcmp(&seen, rig.bytes, 4), "the CPU reads something else");

	/* And once more */
	rig_block(&rig, act_sleep, "");
	rig_back(&rig);
}

TEST(sleep, ivshmem)
{
	watch_sleep("shm_sw");
}

TEST(sleep, nvme)
{
	watch_sleep("nvme_sw");
}

TEST(sleep, virtio)
{
	watch_sleep("rng");
}

/* It is not woken up, nor is anybody let in. */
TEST(sleep, in_low_power)
{
	struct rig rig = {};

	rig_open(&rig, "rng");
	rig_block(&rig, rig_low_power_entry, "low-power");
	act_sleep(&rig);
	rig_blocked(&rig, "low-power");
	rig_low_power_exit(&rig);
	rig_back(&rig);
}

TEST(sleep, in_d3hot)
{
	struct rig rig = {};

	rig_open(&rig, "nvme_sw");
	rig_block(&rig, rig_d3hot, "d3hot");
	act_sleep(&rig);
	/* The PCI core has brought it back to D0, or left it where it was. */
	if (gate_read(rig.bdf).reachable) {
		rig_back(&rig);
		return;
	}
	rig_blocked(&rig, "d3hot");
	rig_d0(&rig);
	rig_back(&rig);
}

TEST(sleep, with_memory_off)
{
	struct rig rig = {};

	rig_open(&rig, "shm_sw");
	rig_block(&rig, rig_memory_off, "memory-off");
	act_sleep(&rig);
	rig_blocked(&rig, "memory-off");
	rig_memory_on(&rig);
	rig_back(&rig);
}

TEST(sleep, closed)
{
	struct rig rig = {};

	rig_open(&rig, "shm_sw");
	vfio_close(rig.dev);
	act_sleep(&rig);
	gate_expect(rig.bdf, "closed");
	rig_reopen(&rig);
	gate_expect(rig.bdf, "");
	rig_export(&rig);
	rig_map(&rig);
}

/* Processes do not run: one that would let go cannot. It is cut off. */
TEST(sleep, late_importer)
{
	struct rig rig = {};
	u64 start, ms;

	rig_open(&rig, "shm_sw");
	vfio_grace(500);
	rig_hold(&rig);
	start = t_now_ns();
	act_sleep(&rig);
	ms = (t_now_ns() - start) / 1000000;
	t_note("asleep and awake again in %llu ms", ms);
	gate_expect(rig.bdf, "");
	rig_stale(&rig, rig.slow.addr);
	expect_eq(imp_unmap(rig.imp, rig.slow.handle), 0);
	rig_map(&rig);
}

/* Nothing can cut it off: the system stays awake, and all is as it was. */
TEST(sleep, direct_late_importer)
{
	struct rig rig = {};

	rig_open_direct(&rig, "shm_sw", "edu_sw");
	vfio_grace(500);
	rig_hold(&rig);
	expect_err(fall_asleep(), EBUSY);
	gate_expect(rig.bdf, "");
	expect(t_within(8000, imp_stats(rig.imp, rig.quick.handle)
			.invalidations == rig.quick.mark.invalidations + 2));
	expect_eq(imp_stats(rig.imp, rig.slow.handle).mapped, 1);
	rig_live(&rig, rig.slow.addr);
	/* Once it has let go, nothing is in the way any more. */
	rig_let_go(&rig);
	act_sleep(&rig);
	gate_expect(rig.bdf, "");
	rig_map(&rig);
}
