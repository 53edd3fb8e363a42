// SPDX-License-Identifier: GPL-2.0-only
/* A function's node, for a process that has no VFIO descriptor. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fuzz.h"

#define USERS	(1u << NODE)

/* Its tenure, or 0 while nobody has the function open. */
static u32 tenure_of(u32 target)
{
	return __atomic_load_n(&fuzz->held_by[target], __ATOMIC_SEQ_CST) ?
	       fuzz->tenure[target] : 0;
}

static struct fuzz_node *pick(struct fuzz_me *me, u32 n)
{
	for (u32 i = 0; i < FUZZ_NODES; i++) {
		struct fuzz_node *node = &me->nodes[(n + i) % FUZZ_NODES];

		if (node->fd)
			return node;
	}
	return NULL;
}

static int op_node_open(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_node *node = &me->nodes[me->next_node++ % FUZZ_NODES];
	u32 target = a[0] % NR_TARGETS;
	char path[64];
	int fd;

	if (node->fd)
		close(node->fd - 1);
	node->fd = 0;
	snprintf(path, sizeof(path), "/dev/dmabuf-vfio/%s",
		 fuzz_targets[target].bdf);
	fd = open(path, (a[1] % 8 ? O_RDWR : O_RDONLY) | O_NONBLOCK |
		  O_CLOEXEC);
	if (fd < 0)
		return -errno;
	node->target = target;
	node->tenure = tenure_of(target);
	node->fd = fd + 1;
	return 0;
}

static int op_node_close(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_node *node = pick(me, a[0]);

	if (!node)
		return -ENODEV;
	close(node->fd - 1);
	node->fd = 0;
	return 0;
}

/* Of two who run side by side one cannot say what came first. */
static void check_tenure(struct fuzz_me *me, const struct fuzz_node *node)
{
	if (!fuzz->together && node->tenure != tenure_of(node->target))
		fuzz_wrong(me, "a node of tenure %u works in tenure %u",
			   node->tenure, tenure_of(node->target));
}

struct export {
	struct dmabuf_vfio_export head;
	struct vfio_region_dma_range ranges[FUZZ_RANGES];
};

static int op_node_export(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_node *node = pick(me, a[0]);
	struct fuzz_grant *grant;
	struct export arg = {};
	struct fuzz_target *t;
	int fd;

	if (!node)
		return -ENODEV;
	grant = fuzz_new_grant(node->target);
	if (!grant)
		return -ENOSPC;
	t = &fuzz_targets[node->target];
	grant->read_only = a[3] % 8 == 7;
	arg.head.dma_buf.region_index = t->bar;
	arg.head.dma_buf.open_flags = (grant->read_only ? O_RDONLY : O_RDWR) |
				      O_CLOEXEC;
	arg.head.dma_buf.flags = fuzz_export_flags(a[3] >> 3);
	arg.head.dma_buf.nr_ranges = fuzz_ranges(t, a + 1, arg.ranges, grant);
	arg.head.argsz = offsetof(struct export, ranges[grant->nr]);
	fd = ioctl(node->fd - 1, DMABUF_VFIO_EXPORT, &arg);
	if (fd < 0)
		return -errno;
	check_tenure(me, node);
	fuzz_share_buf(me, fd, grant - fuzz->grants + 1);
	fuzz_keep_buf(me, fd, grant - fuzz->grants + 1);
	return 0;
}

static int op_node_revoke(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_node *node = pick(me, a[0]);
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[1]);
	struct dmabuf_vfio_revoke arg = { .argsz = sizeof(arg) };

	bool dead;

	if (!node || !buf)
		return -ENODEV;
	dead = fuzz_is_dead(buf->grant);
	arg.dmabuf_fd = buf->fd;
	if (ioctl(node->fd - 1, DMABUF_VFIO_REVOKE, &arg))
		return -errno;
	if (dead)
		fuzz_wrong(me, "takes back what was taken back before");
	check_tenure(me, node);
	if (buf->grant)
		__atomic_store_n(&fuzz->grants[buf->grant - 1].dead, true,
				 __ATOMIC_SEQ_CST);
	return 0;
}

static int op_node_info(struct fuzz_me *me, const u32 *a)
{
	struct dmabuf_vfio_info info = { .argsz = sizeof(info) };
	struct fuzz_node *node = pick(me, a[0]);

	if (!node)
		return -ENODEV;
	return ioctl(node->fd - 1, DMABUF_VFIO_INFO, &info) ? -errno : 0;
}

static int op_node_route(struct fuzz_me *me, const u32 *a)
{
	struct dmabuf_vfio_route arg = { .argsz = sizeof(arg) };
	struct fuzz_node *node = pick(me, a[0]);
	unsigned int bus, dev, fn;

	if (!node)
		return -ENODEV;
	sscanf(fuzz_targets[a[1] % NR_TARGETS].bdf, "0000:%x:%x.%x", &bus, &dev,
	       &fn);
	arg.client_bdf = a[2] & 3 ? bus << 8 | dev << 3 | fn : a[3];
	return ioctl(node->fd - 1, DMABUF_VFIO_ROUTE, &arg) ? -errno : 0;
}

/* Any request, of any size, with anything behind it */
static int op_node_ioctl(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_node *node = pick(me, a[0]);
	static u32 words[1100];
	u64 rng = a[3];
	int ret;

	if (!node)
		return -ENODEV;
	memset(words, 0, sizeof(words));
	for (u32 i = 0; i < a[2] % 40; i++)
		words[i] = fuzz_any(&rng, 4) ? fuzz_any(&rng, 8) :
					       fuzz_any(&rng, ~0u);
	words[0] = a[2] & 64 ? a[3] % 5000 : a[3] % 300;
	words[1] = a[2] & 128 ? 0 : words[1];
	ret = ioctl(node->fd - 1, _IO(DMABUF_VFIO_TYPE, a[1] % 6), words);
	if (ret > 2)
		close(ret);
	return ret < 0 ? -errno : ret;
}

static int op_node_read(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_node *node = pick(me, a[0]);
	struct dmabuf_vfio_event events[8];
	struct pollfd p = { .events = a[2] };
	ssize_t len;

	if (!node)
		return -ENODEV;
	p.fd = node->fd - 1;
	if (a[3] & 1)
		return poll(&p, 1, a[3] / 2 % 20);
	len = read(node->fd - 1, events, a[1] % (sizeof(events) + 1));
	if (len < 0)
		return -errno;
	if (len % sizeof(events[0]))
		fuzz_wrong(me, "part of an event");
	return len;
}

static const struct fuzz_op ops[] = {
	FUZZ_OP(node_open, USERS, 20, true),
	FUZZ_OP(node_close, USERS, 4, false),
	FUZZ_OP(node_export, USERS, 24, false),
	FUZZ_OP(node_revoke, USERS, 8, false),
	FUZZ_OP(node_info, USERS, 4, false),
	FUZZ_OP(node_route, USERS, 6, false),
	FUZZ_OP(node_ioctl, USERS, 12, false),
	FUZZ_OP(node_read, USERS, 8, false),
};

const struct fuzz_room fuzz_node = { ops, ARRAY_SIZE(ops) };
