// SPDX-License-Identifier: GPL-2.0-only
/* What the machine's operator does, and what happens to the machine. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../lib/hotplug.h"
#include "fuzz.h"

#define OPERATOR	(1u << HOST)

static const struct fuzz_target *target(u32 a)
{
	for (u32 t = 0; t < NR_TARGETS; t++)
		fuzz->off[t] = false;
	return &fuzz_targets[a % NR_TARGETS];
}

/*
 * Recovery, unplugging: there the core's locks and those of the PCI core are
 * taken in a circle, and lockdep would say so and nothing more from there on.
 */
static bool has_lockdep(void)
{
	return t_exists("/proc/lockdep_stats");
}

/*
 * vfio_pci_core saves and restores config space at open and close without the
 * lock that a reset by sysfs holds: beside each other they lose the BARs, with
 * the kernel's own vfio-pci, too. Then no memory is there to be judged.
 */
static int op_sysfs_reset(struct fuzz_me *me, const u32 *a)
{
	const struct fuzz_target *t = target(a[0]);

	(void)me;
	if (fuzz->together && t->memory)
		return -EBUSY;
	return t_write("1", "/sys/bus/pci/devices/%s/reset", t->bdf);
}

/* 7.3 removes the VFs of a PF that is unbound without a lock it then misses. */
static bool has_vfs(const struct fuzz_target *t)
{
	char text[16];

	return t_read(text, sizeof(text),
		      "/sys/bus/pci/devices/%s/sriov_numvfs", t->bdf) > 0 &&
	       strcmp(text, "0");
}

/*
 * An unbind waits for the owner to close, as vfio-pci's does. So of one after
 * the other the owner would never come to that.
 */
static bool unbindable(const struct fuzz_target *t)
{
	return t->there && !has_vfs(t) && (fuzz->together ||
	       !fuzz->held_by[t - fuzz_targets]);
}

static int op_unbind(struct fuzz_me *me, const u32 *a)
{
	const struct fuzz_target *t = target(a[0]);

	(void)me;
	if (!unbindable(t))
		return -EBUSY;
	return vfio_try_bind(t->bdf, a[1] & 3 ? NULL : vfio_other_driver());
}

static int op_bind(struct fuzz_me *me, const u32 *a)
{
	const struct fuzz_target *t = target(a[0]);

	(void)me;
	if (!unbindable(t))
		return -EBUSY;
	return vfio_try_bind(t->bdf, vfio_driver());
}

static int op_debugfs(struct fuzz_me *me, const u32 *a)
{
	static char text[1 << 16];

	(void)me;
	t_read(text, sizeof(text), "%s",
	       vfio_debugfs(fuzz_targets[a[0] % NR_TARGETS].bdf,
			    a[1] & 1 ? "state" : "buffers"));
	return t_read(text, sizeof(text), "/sys/kernel/debug/dma_buf/bufinfo");
}

static int op_grace(struct fuzz_me *me, const u32 *a)
{
	char text[16];

	(void)me;
	snprintf(text, sizeof(text), "%u",
		 a[0] & 1 ? a[1] % 100 : FUZZ_GRACE_MS);
	return t_write(text, "/sys/module/%s/parameters/grace_ms",
		       vfio_module());
}

/* In use it stays; else everything is bound anew. */
static int op_rmmod(struct fuzz_me *me, const u32 *a)
{
	int ret;

	(void)me;
	(void)a;
	for (u32 t = 0; t < NR_TARGETS; t++)
		if (fuzz->held_by[t] || has_vfs(&fuzz_targets[t]))
			return -EBUSY;
	fuzz_read_cover();
	target(0);
	ret = vfio_rmmod(vfio_module());
	if (ret)
		return ret;
	vfio_modprobe(vfio_module());
	fuzz_set_module_up();
	return 0;
}

/* --- errors: the kernel's own injector, /dev/aer_inject */

struct aer {
	u8 bus, dev, fn;
	u32 uncor, cor;
	u32 header[4];
	u32 domain;
};

#define AER_COMPLETION_TIMEOUT	0x4000
#define AER_DATA_LINK		0x10
#define AER_RECEIVER		0x1

static int op_error(struct fuzz_me *me, const u32 *a)
{
	const struct fuzz_target *t = target(RNG);
	unsigned int bus, dev, fn;
	struct aer aer = {};
	int fd, ret;

	(void)me;
	if (has_lockdep() || fuzz->unplugged)
		return -EBUSY;
	if (a[0] & 1) {
		t_host("hmp pcie_aer_inject_error %s %s",
		       a[0] & 2 ? t->port : t->role,
		       a[0] & 4 ? "DLP" : "COMP_TIME");
		return 0;
	}
	if (sscanf(t->bdf, "%x:%x:%x.%x", &aer.domain, &bus, &dev, &fn) != 4)
		return -EINVAL;
	aer.bus = bus;
	aer.dev = dev;
	aer.fn = fn;
	if (a[0] & 4)
		aer.cor = AER_RECEIVER;
	else
		aer.uncor = a[0] & 2 ? AER_DATA_LINK : AER_COMPLETION_TIMEOUT;
	fd = open("/dev/aer_inject", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, &aer, sizeof(aer)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/* The slot loses its power; what the owner has open is gone. */
static int op_unplug(struct fuzz_me *me, const u32 *a)
{
	const struct fuzz_target *t = target(RNG);

	(void)me;
	(void)a;
	if (has_lockdep() || fuzz->unplugged)
		return -EBUSY;
	fuzz->unplugged = true;
	hotplug_pull(t->port);
	return 0;
}

/* Once the last close has let the kernel forget it */
static int op_plug(struct fuzz_me *me, const u32 *a)
{
	const struct fuzz_target *t = target(RNG);

	(void)me;
	(void)a;
	if (!fuzz->unplugged || fuzz->together ||
	    t_exists("/sys/bus/pci/devices/%s", t->bdf))
		return -EBUSY;
	hotplug_plug_rng(t->bdf);
	fuzz->unplugged = false;
	return 0;
}

static int op_sriov(struct fuzz_me *me, const u32 *a)
{
	const struct fuzz_target *t = target(PF);

	(void)me;
	if (!t->there || !fuzz->held_by[PF] || fuzz->held_by[VF])
		return -EBUSY;
	return t_write(a[0] & 1 ? "1" : "0",
		       "/sys/bus/pci/devices/%s/sriov_numvfs", t->bdf);
}

/* Between the operations of the others, so that what is late comes */
static int op_pause(struct fuzz_me *me, const u32 *a)
{
	(void)me;
	t_sleep_ms(a[0] % 64);
	return 0;
}

static const struct fuzz_op ops[] = {
	FUZZ_OP(sysfs_reset, OPERATOR, 12, true),
	FUZZ_OP(unbind, OPERATOR, 6, true),
	FUZZ_OP(bind, OPERATOR, 10, true),
	FUZZ_OP(debugfs, OPERATOR, 10, true),
	FUZZ_OP(grace, OPERATOR, 4, false),
	FUZZ_OP(rmmod, OPERATOR, 4, false),
	FUZZ_OP(error, OPERATOR, 6, false),
	FUZZ_OP(unplug, OPERATOR, 3, false),
	FUZZ_OP(plug, OPERATOR, 3, false),
	FUZZ_OP(sriov, OPERATOR, 6, false),
	FUZZ_OP(pause, OPERATOR, 6, false),
};

const struct fuzz_room fuzz_host = { ops, ARRAY_SIZE(ops) };
