// SPDX-License-Identifier: GPL-2.0-only
/*
 * A provider, an importer, and what must be true of them.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"

#define SOON_MS		8000

/* An NVMe answers in its memory buffer only after this register is written. */
#define NVME_CMBMSC	0x50
#define NVME_CMBMSC_ON	0x3

#define VIRTIO_CAP_TYPE		3
#define VIRTIO_CAP_BAR		4
#define VIRTIO_CAP_OFFSET	8
#define VIRTIO_COMMON_CFG	1
#define VIRTIO_QUEUE_DESC	0x20	/* gone after a reset */

/* --- the gate */

static u64 number_of(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	expect(at, "no \"%s\" in %s", key, text);
	return strtoull(at + strlen(key), NULL, 10);
}

struct gate gate_read(const char *bdf)
{
	struct gate gate = {};
	char text[1024], *at;

	expect_ge(t_read(text, sizeof(text), "%s",
			 vfio_debugfs(bdf, "state")), 1);
	gate.reachable = !strncmp(text, "reachable: yes", 14);
	at = strstr(text, "\nreasons:");
	expect(at);
	at += strlen("\nreasons:");
	snprintf(gate.reasons, sizeof(gate.reasons), "%.*s",
		 (int)strcspn(at, "\n"), at);
	if (gate.reasons[0] == ' ')
		memmove(gate.reasons, gate.reasons + 1, strlen(gate.reasons));
	gate.buffers = number_of(text, "\nbuffers: ");
	gate.ranges = number_of(text, "\nranges: ");
	gate.revokes = number_of(text, "\nrevokes: ");
	gate.restores = number_of(text, "\nrestores: ");
	gate.last_us = number_of(text, "\nlast revoke: ");
	return gate;
}

void gate_expect_at(const char *file, int line, const char *bdf,
		    const char *reasons)
{
	struct gate gate = gate_read(bdf);

	if (strcmp(gate.reasons, reasons) || gate.reachable != !*reasons)
		t_fail_at(file, line, "%s is %sreachable: \"%s\", not \"%s\"",
			  bdf, gate.reachable ? "" : "not ", gate.reasons,
			  reasons);
}

/* --- set up */

static void find_virtio(struct rig *rig)
{
	const struct vfio_dev *dev = rig->dev;
	u32 pos;

	for (pos = vfio_cfg_read(dev, PCI_CAPABILITY_LIST, 1); pos;
	     pos = vfio_cfg_read(dev, pos + PCI_CAP_LIST_NEXT, 1)) {
		if (vfio_cfg_read(dev, pos, 1) != PCI_CAP_ID_VNDR ||
		    vfio_cfg_read(dev, pos + VIRTIO_CAP_TYPE, 1) !=
		    VIRTIO_COMMON_CFG)
			continue;
		rig->bar = vfio_cfg_read(dev, pos + VIRTIO_CAP_BAR, 1);
		rig->at = vfio_cfg_read(dev, pos + VIRTIO_CAP_OFFSET, 4) +
			  VIRTIO_QUEUE_DESC;
		rig->len = 4;
		return;
	}
	t_fail("%s has no common configuration", dev->bdf);
}

static void find_msix(struct rig *rig)
{
	const struct vfio_dev *dev = rig->dev;
	u32 pos = vfio_find_cap(dev, PCI_CAP_ID_MSIX), table;

	expect(pos, "%s has no MSI-X", dev->bdf);
	table = vfio_cfg_read(dev, pos + PCI_MSIX_TABLE, 4);
	rig->bar = table & PCI_MSIX_TABLE_BIR;
	rig->at = table & PCI_MSIX_TABLE_OFFSET;
	rig->len = 4;
	rig->by_mapping = true;
}

void rig_find(struct rig *rig, const char *role)
{
	rig->role = role;
	if (!strcmp(role, "vf")) {
		find_msix(rig);
		return;
	}
	if (!strcmp(role, "rng")) {
		find_virtio(rig);
		return;
	}
	rig->bar = !strcmp(role, "bochs") ? 0 : 2;
	rig->at = KIB(64);
	rig->len = RIG_LEN;
}

void rig_wake(struct rig *rig)
{
	u64 on = NVME_CMBMSC_ON;

	if (strncmp(rig->role, "nvme", 4))
		return;
	expect_eq(vfio_try_pwrite(rig->dev, 0, &on, 8, NVME_CMBMSC), 8);
}

static int attach_edu(struct rig *rig)
{
	int handle = imp_attach_flags(rig->imp, rig->fd, rig->edu,
				      DVPI_ATTACH_DYNAMIC, rig->bdf);

	expect(handle >= 0, "attaching says %s", t_errno_name(-handle));
	return handle;
}

void rig_export(struct rig *rig)
{
	rig->fd = expect_fd(export_range(rig->dev, rig->bar,
					 rig->at & -PAGE, PAGE));
	rig->quick.mapped = false;
	rig->slow.mapped = false;
	rig->quick.handle = attach_edu(rig);
	rig->slow.handle = attach_edu(rig);
}

void rig_reopen(struct rig *rig)
{
	int ret = vfio_try_open_bdf(rig->bdf, &rig->dev);

	expect(!ret, "open: %s", t_errno_name(-ret));
	vfio_mem_enable(rig->dev, true);
	rig_wake(rig);
}

static void rig_set_up(struct rig *rig, const char *role, const char *edu)
{
	vfio_grace(RIG_GRACE_MS);
	rig->seed = getpid();
	rig->imp = imp_open();
	rig->edu = imp_edu(edu);
	rig->dev = vfio_open(role);
	strcpy(rig->bdf, rig->dev->bdf);
	vfio_mem_enable(rig->dev, true);
	rig_find(rig, role);
	rig_wake(rig);
	rig_export(rig);
	rig_map(rig);
	rig_mark(rig);
}

static void need_gate(void)
{
	if (vfio_is_stock())
		t_skip("the stock driver has no gate");
	if (!t_host_forwards())
		t_skip("the host bridge does not forward");
}

void rig_open(struct rig *rig, const char *role)
{
	need_gate();
	if (!t_bench_is("iommu", "on"))
		t_skip("nothing translates for the importer");
	rig_set_up(rig, role, "edu_rp");
}

void rig_open_direct(struct rig *rig, const char *role, const char *edu)
{
	need_gate();
	if (t_bench_is("iommu", "on"))
		t_skip("the IOMMU translates for the importer");
	rig_set_up(rig, role, edu);
}

void rig_drop(struct rig *rig)
{
	close(rig->dev->fd);
	close(rig->dev->group);
	close(rig->dev->container);
}

/* --- what may be done to the function */

void rig_reset(struct rig *rig)
{
	expect_ok(ioctl(rig->dev->fd, VFIO_DEVICE_RESET));
}

void rig_sysfs_reset(struct rig *rig)
{
	expect_eq(t_write("1", "/sys/bus/pci/devices/%s/reset", rig->bdf), 0);
}

void rig_memory_off(struct rig *rig)
{
	vfio_mem_enable(rig->dev, false);
}

void rig_memory_on(struct rig *rig)
{
	vfio_mem_enable(rig->dev, true);
}

static void set_power(struct rig *rig, u16 state)
{
	u32 at = vfio_find_cap(rig->dev, PCI_CAP_ID_PM) + PCI_PM_CTRL;
	u16 control;

	expect(at != PCI_PM_CTRL);
	control = vfio_cfg_read(rig->dev, at, 2) & ~PCI_PM_CTRL_STATE_MASK;
	vfio_cfg_write(rig->dev, at, 2, control | state);
}

void rig_d3hot(struct rig *rig)
{
	set_power(rig, 3);
}

void rig_d0(struct rig *rig)
{
	set_power(rig, 0);
}

int rig_low_power(struct rig *rig, u32 flags)
{
	return vfio_feature(rig->dev->fd, flags, NULL, 0);
}

void rig_low_power_entry(struct rig *rig)
{
	expect_eq(rig_low_power(rig, VFIO_DEVICE_FEATURE_SET |
				VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY), 0);
}

void rig_low_power_exit(struct rig *rig)
{
	expect_eq(rig_low_power(rig, VFIO_DEVICE_FEATURE_SET |
				VFIO_DEVICE_FEATURE_LOW_POWER_EXIT), 0);
}

/* --- bytes */

void rig_fresh(struct rig *rig, u8 *buf)
{
	u32 word = rig->seed++ * 2654435761u | 1;

	for (u32 i = 0; i < RIG_LEN; i += sizeof(word))
		memcpy(buf + i, &word, sizeof(word));
}

static void read_mapped(struct rig *rig, u8 *buf)
{
	u8 *page = vfio_map_bar(rig->dev, rig->bar, rig->at & -PAGE, PAGE);
	u32 word = mem_read((u32 *)(page + (rig->at & (PAGE - 1))));

	memcpy(buf, &word, sizeof(word));
	expect_ok(munmap(page, PAGE));
}

void rig_cpu_read(struct rig *rig, u8 *buf)
{
	if (rig->by_mapping) {
		read_mapped(rig, buf);
		return;
	}
	expect_eq(vfio_try_pread(rig->dev, rig->bar, buf, rig->len, rig->at),
		  rig->len);
}

void rig_cpu_write(struct rig *rig, const u8 *buf)
{
	expect_eq(vfio_try_pwrite(rig->dev, rig->bar, buf, rig->len, rig->at),
		  rig->len);
}

static void edu_write(struct rig *rig, u64 addr, const u8 *buf)
{
	expect_eq(imp_write(rig->imp, rig->edu, addr, buf, rig->len), 0);
}

/* To an address that quick must not use any more. */
static void edu_write_junk(struct rig *rig)
{
	rig_fresh(rig, rig->junk);
	edu_write(rig, rig->quick.addr, rig->junk);
	rig->tried = true;
}

void rig_live_at(const char *file, int line, struct rig *rig, u64 addr)
{
	u8 mine[RIG_LEN], seen[RIG_LEN];

	rig_wake(rig);
	rig_fresh(rig, mine);
	edu_write(rig, addr, mine);
	rig_cpu_read(rig, seen);
	if (memcmp(seen, mine, rig->len))
		t_fail_at(file, line, "the edu's bytes did not arrive");
}

/* The edu keeps the junk it wrote last, and reads that if nothing answers. */
void rig_stale_at(const char *file, int line, struct rig *rig, u64 addr)
{
	u8 mine[RIG_LEN], junk[RIG_LEN], seen[RIG_LEN] = {};

	rig_wake(rig);
	rig_fresh(rig, mine);
	rig_cpu_write(rig, mine);
	rig_cpu_read(rig, seen);
	if (memcmp(seen, mine, rig->len))
		t_fail_at(file, line, "the CPU's bytes did not arrive");
	rig_fresh(rig, junk);
	edu_write(rig, addr, junk);
	rig_cpu_read(rig, seen);
	if (memcmp(seen, mine, rig->len))
		t_fail_at(file, line, "the edu wrote to %#llx", addr);
	expect_eq(imp_read(rig->imp, rig->edu, addr, seen, rig->len), 0);
	if (!memcmp(seen, mine, rig->len))
		t_fail_at(file, line, "the edu read from %#llx", addr);
}

/*
 * A restore tells importers in its own time. One that has mapped again by then
 * would be told to let go of what is good: wait, should there be a notice on
 * its way, to a revoke and a restore since the last map.
 */
static void await_notices(struct rig *rig, struct rig_att *att)
{
	if (att->mapped)
		t_within(500, imp_stats(rig->imp, att->handle).invalidations >=
			 att->told + 2);
}

static void map_one(struct rig *rig, struct rig_att *att)
{
	struct imp_map map;
	int ret;

	await_notices(rig, att);
	ret = imp_map(rig->imp, att->handle, &map);
	expect(!ret, "map: %s", t_errno_name(-ret));
	att->addr = imp_addr(&map, rig->at & (PAGE - 1), rig->len);
	att->told = imp_stats(rig->imp, att->handle).invalidations;
	att->mapped = true;
	imp_map_free(&map);
}

void rig_map(struct rig *rig)
{
	u8 seen[RIG_LEN];

	map_one(rig, &rig->quick);
	map_one(rig, &rig->slow);
	rig_fresh(rig, rig->bytes);
	edu_write(rig, rig->quick.addr, rig->bytes);
	rig_cpu_read(rig, seen);
	expect(!memcmp(seen, rig->bytes, rig->len),
	       "the edu's bytes did not arrive at %s", rig->role);
	rig->tried = false;
}

/* --- what must be true */

static struct dvpi_stats stats(struct rig *rig, struct rig_att *att)
{
	return imp_stats(rig->imp, att->handle);
}

void rig_mark(struct rig *rig)
{
	rig->quick.mark = stats(rig, &rig->quick);
	rig->slow.mark = stats(rig, &rig->slow);
	rig->mark = gate_read(rig->bdf);
}

void rig_untouched_at(const char *file, int line, struct rig *rig,
		      const char *what)
{
	struct dvpi_stats now = stats(rig, &rig->quick);
	struct gate gate = gate_read(rig->bdf);

	if (now.invalidations != rig->quick.mark.invalidations)
		t_fail_at(file, line, "%s: the importer was told %u times",
			  what, now.invalidations -
			  rig->quick.mark.invalidations);
	if (!now.mapped || now.unmaps != rig->quick.mark.unmaps)
		t_fail_at(file, line, "%s: the mapping is gone", what);
	if (!gate.reachable)
		t_fail_at(file, line, "%s: blocked for \"%s\"", what,
			  gate.reasons);
	if (gate.revokes != rig->mark.revokes ||
	    gate.restores != rig->mark.restores)
		t_fail_at(file, line, "%s: %lu revokes, %lu restores", what,
			  gate.revokes - rig->mark.revokes,
			  gate.restores - rig->mark.restores);
}

/* Told that often, and has let go. A restore tells when it is over. */
static void expect_let_go(struct rig *rig, struct rig_att *att, u32 told)
{
	struct dvpi_stats now;

	t_within(SOON_MS, stats(rig, att).invalidations >=
		 att->mark.invalidations + told);
	now = stats(rig, att);
	expect_eq(now.mapped, 0);
	expect_eq(now.unmaps, att->mark.unmaps + 1);
	expect_eq(now.invalidations, att->mark.invalidations + told);
}

/* A restore is counted when it is over, a moment after its reasons are gone. */
static void expect_counts(struct rig *rig, unsigned int restores)
{
	struct gate gate;

	t_within(SOON_MS, gate_read(rig->bdf).restores >=
		 rig->mark.restores + restores);
	gate = gate_read(rig->bdf);
	expect_eq(gate.revokes, rig->mark.revokes + 1);
	expect_eq(gate.restores, rig->mark.restores + restores);
}

void rig_blocked(struct rig *rig, const char *reasons)
{
	gate_expect(rig->bdf, reasons);
	expect_counts(rig, 0);
	expect_let_go(rig, &rig->quick, 1);
	expect_let_go(rig, &rig->slow, 1);
	expect_err(imp_map(rig->imp, rig->quick.handle, NULL), ENODEV);
	/* The next reader of the bytes would see it. */
	edu_write_junk(rig);
}

void rig_back(struct rig *rig)
{
	u8 before[RIG_LEN], after[RIG_LEN];

	gate_expect(rig->bdf, "");
	expect_counts(rig, 1);
	expect_let_go(rig, &rig->quick, 2);
	expect_let_go(rig, &rig->slow, 2);

	/* What was written while blocked is not there, ... */
	rig_wake(rig);
	rig_cpu_read(rig, before);
	expect(!rig->tried || memcmp(before, rig->junk, rig->len),
	       "the edu wrote while the function was blocked");
	/* ... and what is written to an old address now does not get there. */
	edu_write_junk(rig);
	rig_cpu_read(rig, after);
	expect(!memcmp(before, after, rig->len),
	       "the edu wrote through an address of before");
	rig_map(rig);
}

static struct {
	u64 returned;			/* when act() did */
	u64 started;
	u64 done;
	bool stop;
} *shared;

static void share(void)
{
	if (shared)
		return;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(shared != MAP_FAILED);
}

static bool runs(pid_t pid)
{
	return !waitpid(pid, NULL, WNOHANG);
}

void rig_hold(struct rig *rig)
{
	rig_mark(rig);
	expect_eq(imp_policy(rig->imp, rig->slow.handle, DVPI_POLICY_KEEP, 0,
			     0), 0);
}

void rig_quick_lets_go(struct rig *rig)
{
	expect(t_within(SOON_MS, !stats(rig, &rig->quick).mapped),
	       "the importer is not told");
}

void rig_middle(struct rig *rig, pid_t pid, const char *during)
{
	u8 seen[RIG_LEN] = {};

	rig_quick_lets_go(rig);
	gate_expect(rig->bdf, during);
	expect_err(imp_map(rig->imp, rig->quick.handle, NULL), ENODEV);
	expect_eq(stats(rig, &rig->slow).mapped, 1);
	expect(t_within(SOON_MS, stats(rig, &rig->slow).invalidations ==
			rig->slow.mark.invalidations + 1));
	expect(stats(rig, &rig->slow).command & PCI_COMMAND_MEMORY,
	       "memory decoding was off when the importer was told");

	edu_write_junk(rig);
	expect_eq(imp_read(rig->imp, rig->edu, rig->slow.addr, seen, rig->len),
		  0);
	expect(memcmp(seen, rig->junk, rig->len),
	       "the edu wrote through an address it had let go of");
	expect(!memcmp(seen, rig->bytes, rig->len),
	       "the hardware changed while an importer had access");
	expect(!pid || runs(pid), "returned while an importer had access");
	gate_expect(rig->bdf, during);
}

void rig_let_go(struct rig *rig)
{
	int ret;

	expect_eq(imp_policy(rig->imp, rig->slow.handle, 0, 0, 0), 0);
	/* Told of a restore in between, it has let go by itself. */
	ret = imp_unmap(rig->imp, rig->slow.handle);
	expect(!ret || ret == -EALREADY, "unmap: %s", t_errno_name(-ret));
}

void rig_watch(struct rig *rig, void (*act)(struct rig *rig),
	       const char *during)
{
	pid_t pid;

	share();
	rig_hold(rig);
	pid = t_fork();
	if (!pid) {
		act(rig);
		shared->returned = t_now_ns();
		_exit(0);
	}
	rig_middle(rig, pid, during);
	rig_let_go(rig);
	t_join(pid);
	expect_ge(shared->returned, stats(rig, &rig->slow).unmap_ns);
}

void rig_block(struct rig *rig, void (*act)(struct rig *rig),
	       const char *reasons)
{
	rig_mark(rig);
	act(rig);
	gate_expect(rig->bdf, reasons);
	expect_counts(rig, !*reasons);
	expect_let_go(rig, &rig->quick, *reasons ? 1 : 2);
	expect_let_go(rig, &rig->slow, *reasons ? 1 : 2);
	if (*reasons)
		expect_err(imp_map(rig->imp, rig->quick.handle, NULL), ENODEV);
}

/* --- DMA that does not stop */

pid_t rig_stream(struct rig *rig)
{
	u8 buf[RIG_LEN];
	pid_t pid;

	share();
	memset(shared, 0, sizeof(*shared));
	pid = t_fork();
	if (!pid) {
		rig_drop(rig);
		while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
			rig_fresh(rig, buf);
			__atomic_add_fetch(&shared->started, 1,
					   __ATOMIC_SEQ_CST);
			edu_write(rig, rig->quick.addr, buf);
			__atomic_add_fetch(&shared->done, 1, __ATOMIC_SEQ_CST);
		}
		_exit(0);
	}
	rig->seed += 0x10000;
	expect(t_within(SOON_MS, shared->done >= 1 &&
			shared->started > shared->done),
	       "the edu does not get going");
	return pid;
}

void rig_stop(struct rig *rig, pid_t pid)
{
	u8 before[RIG_LEN], after[RIG_LEN];
	u64 done;

	rig_wake(rig);
	rig_cpu_read(rig, before);
	done = shared->done;
	expect(t_within(SOON_MS, shared->done >= done + 2),
	       "the edu is stuck");
	rig_cpu_read(rig, after);
	expect(!memcmp(before, after, rig->len),
	       "what was in flight arrived late");
	shared->stop = true;
	t_join(pid);
}
