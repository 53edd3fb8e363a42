// SPDX-License-Identifier: GPL-2.0-only
/* Importers: well-behaved, late, stuck, lying, gone. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../lib/importer.h"
#include "fuzz.h"

#define IMPORTERS	(1u << IMPORTER)
#define LATE_MS		300u		/* far beyond grace, and not for ever */
#define NEVER		(DVPI_POLICY_KEEP | DVPI_POLICY_STUCK |	\
			 DVPI_POLICY_SLOPPY)

static const char *client_of(u32 a)
{
	static const char * const roles[] = {
		"edu_rp", "edu_rp", "edu_sw", "edu_rp", "e1000e", "conv1",
	};
	const char *role = roles[a % ARRAY_SIZE(roles)];

	/* A revoke has no bound for a device that no IOMMU translates. */
	if (!t_has_role(role) ||
	    !t_exists("/sys/bus/pci/devices/%s/iommu_group", t_role(role)))
		return "0000:99:00.0";
	return t_role(role);
}

static int op_attach(struct fuzz_me *me, const u32 *a);

static int pick(struct fuzz_me *me, u32 n)
{
	static const u32 newest[FUZZ_ARGS] = { 1, 0, 1 };
	u32 nr = 0;

	for (u32 i = 0; i < FUZZ_HANDLES; i++)
		nr += me->handles[i].on;
	/* Better one now than nothing to do */
	if (!nr && op_attach(me, newest) >= 0)
		nr = 1;
	if (!nr)
		return -1;
	n %= nr;
	for (u32 i = 0; i < FUZZ_HANDLES; i++)
		if (me->handles[i].on && !n--)
			return i;
	return -1;
}

static int op_attach(struct fuzz_me *me, const u32 *a)
{
	u32 flags = a[2] & 7 ? DVPI_ATTACH_DYNAMIC : a[2] / 8 % 8;
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);
	u32 at = me->next_handle++ % FUZZ_HANDLES;
	const char *client = client_of(a[1]);
	int handle;

	if (!buf || me->imp < 0)
		return -ENODEV;
	if (me->handles[at].on) {
		imp_release(me->imp, me->handles[at].handle);
		imp_detach(me->imp, me->handles[at].handle);
		me->handles[at].on = false;
	}
	handle = imp_attach_flags(me->imp, buf->fd, client, flags, NULL);
	if (handle < 0)
		return handle;
	if (!(flags & DVPI_ATTACH_P2P) || !(flags & DVPI_ATTACH_NOTIFY))
		fuzz_wrong(me, "an importer is let in that cannot be told");
	me->handles[at].handle = handle;
	me->handles[at].grant = buf->grant;
	me->handles[at].client = client;
	me->handles[at].addr = 0;
	me->handles[at].late = false;
	/* It is below the switch, as some that lend: nothing translates. */
	me->handles[at].firm = !strcmp(client, client_of(2));
	me->handles[at].on = true;
	return 0;
}

static int op_detach(struct fuzz_me *me, const u32 *a)
{
	int at = pick(me, a[0]);

	if (at < 0)
		return -ENODEV;
	imp_release(me->imp, me->handles[at].handle);
	me->handles[at].on = false;
	return imp_detach(me->imp, me->handles[at].handle);
}

static int op_map(struct fuzz_me *me, const u32 *a)
{
	int at = pick(me, a[0]), ret;
	struct imp_map map;
	bool dead, off;

	if (at < 0)
		return -ENODEV;
	dead = fuzz_is_dead(me->handles[at].grant);
	off = fuzz_is_off(me->handles[at].grant);
	ret = a[1] % 8 == 7 ?
	      imp_map_more(me->imp, me->handles[at].handle, &map) :
	      imp_map_dir(me->imp, me->handles[at].handle, a[1] % 3, &map);
	if (ret)
		return ret;
	if (dead)
		fuzz_wrong(me, "a device maps what was taken back");
	if (off)
		fuzz_wrong(me, "a device maps memory that is off");
	if (map.nents)
		me->handles[at].addr = map.segs[0].addr;
	if (me->handles[at].grant && map.size != FUZZ_PAGE * (u64)
	    fuzz_grant_pages(&fuzz->grants[me->handles[at].grant - 1]))
		fuzz_wrong(me, "maps %llu bytes", map.size);
	imp_map_free(&map);
	return 0;
}

static int op_unmap(struct fuzz_me *me, const u32 *a)
{
	int at = pick(me, a[0]);

	return at < 0 ? -ENODEV : imp_unmap(me->imp, me->handles[at].handle);
}

static int op_pin_attachment(struct fuzz_me *me, const u32 *a)
{
	int at = pick(me, a[0]);

	if (at < 0)
		return -ENODEV;
	return a[1] & 1 ? imp_pin(me->imp, me->handles[at].handle) :
	       imp_unpin(me->imp, me->handles[at].handle);
}

/* What it does when told: never for ever where nothing can cut it off */
static int op_behave(struct fuzz_me *me, const u32 *a)
{
	int at = pick(me, a[0]), handle;
	u32 flags = a[1] % 32;

	if (at < 0)
		return -ENODEV;
	handle = me->handles[at].handle;
	if (!t_bench_is("iommu", "on") || me->handles[at].firm)
		flags &= ~NEVER;
	me->handles[at].late |= flags & NEVER;
	if (a[3] & 1)
		return imp_sleepy(me->imp, handle, flags, a[2] % LATE_MS);
	return imp_policy(me->imp, handle, flags, a[2] % LATE_MS,
			  a[3] / 2 % LATE_MS);
}

static int op_release(struct fuzz_me *me, const u32 *a)
{
	int at = pick(me, a[0]);

	return at < 0 ? -ENODEV : imp_release(me->imp, me->handles[at].handle);
}

static int op_fence(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[2]);
	int at = pick(me, a[0]);

	if (a[3] & 1)
		return buf ? imp_import_fence(me->imp, buf->fd, a[1] % 2000) :
			     -ENODEV;
	if (at < 0)
		return -ENODEV;
	return a[3] & 2 ? imp_fence(me->imp, me->handles[at].handle,
				    1 + a[1] % 2000) :
	       imp_fence_signal(me->imp, me->handles[at].handle);
}

static int op_loop(struct fuzz_me *me, const u32 *a)
{
	int at = pick(me, a[0]);
	u32 failures;

	return at < 0 ? -ENODEV : imp_loop(me->imp, me->handles[at].handle,
					   1 + a[1] % 40, &failures);
}

/* To an address it has or had: what was taken back stays as it is. */
static int op_dma(struct fuzz_me *me, const u32 *a)
{
	u32 value = FUZZ_LIVE, ignored;
	int at = pick(me, a[0]);
	u64 addr;

	if (at < 0 || !me->handles[at].addr ||
	    strcmp(me->handles[at].client, t_role("edu_rp")))
		return -ENODEV;
	addr = me->handles[at].addr;
	if (a[1] & 1)
		return imp_read(me->imp, me->handles[at].client, addr, &ignored,
				4);
	if (!fuzz_is_dead(me->handles[at].grant))
		return imp_write(me->imp, me->handles[at].client,
				 addr + FUZZ_DMA_AT, &value, 4);
	value = FUZZ_DEAD;
	return imp_write(me->imp, me->handles[at].client, addr + FUZZ_DEAD_AT,
			 &value, 4);
}

static int op_imp_stats(struct fuzz_me *me, const u32 *a)
{
	u64 phys, size;
	int at = pick(me, a[0]);

	if (at < 0)
		return -ENODEV;
	imp_stats(me->imp, me->handles[at].handle);
	if (!(a[1] & 1) || me->handles[at].late)
		return 0;
	me->handles[at].firm = true;
	return imp_phys(me->imp, me->handles[at].handle, &phys, &size);
}

/* It is gone, and whatever it had with it. */
static int op_imp_reopen(struct fuzz_me *me, const u32 *a)
{
	(void)a;
	if (me->imp < 0)
		return -ENODEV;
	for (int i = 0; i < FUZZ_HANDLES; i++)
		me->handles[i].on = false;
	close(me->imp);
	me->imp = imp_open();
	return 0;
}

static const struct fuzz_op ops[] = {
	FUZZ_OP(attach, IMPORTERS, 50, false),
	FUZZ_OP(detach, IMPORTERS, 8, false),
	FUZZ_OP(map, IMPORTERS, 60, false),
	FUZZ_OP(unmap, IMPORTERS, 12, false),
	FUZZ_OP(pin_attachment, IMPORTERS, 6, false),
	FUZZ_OP(behave, IMPORTERS, 30, false),
	FUZZ_OP(release, IMPORTERS, 8, false),
	FUZZ_OP(fence, IMPORTERS, 10, false),
	FUZZ_OP(loop, IMPORTERS, 4, false),
	FUZZ_OP(dma, IMPORTERS, 10, false),
	FUZZ_OP(imp_stats, IMPORTERS, 4, false),
	FUZZ_OP(imp_reopen, IMPORTERS, 4, false),
};

const struct fuzz_room fuzz_importer = { ops, ARRAY_SIZE(ops) };
