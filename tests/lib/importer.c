// SPDX-License-Identifier: GPL-2.0-only
/*
 * The test importer's ioctls.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "importer.h"
#include "vfio.h"

static int imp_ioctl(int imp, unsigned long cmd, void *arg)
{
	return ioctl(imp, cmd, arg) < 0 ? -errno : 0;
}

static int imp_simple(int imp, unsigned long cmd, u32 handle)
{
	return ioctl(imp, cmd, (unsigned long)handle) < 0 ? -errno : 0;
}

static void set_bdf(char *to, const char *bdf)
{
	snprintf(to, DVPI_BDF_LEN, "%s", bdf ? bdf : "");
}

int imp_open(void)
{
	int imp = open("/dev/" IMPORTER_DRIVER, O_RDWR | O_CLOEXEC);

	if (imp < 0 && errno == ENOENT)
		t_skip("the bench has no importer module");
	return expect_fd(imp < 0 ? -errno : imp);
}

const char *imp_edu(const char *role)
{
	const char *bdf = t_role(role);

	vfio_bind(bdf, IMPORTER_DRIVER);
	return bdf;
}

int imp_attach_flags(int imp, int fd, const char *client, u32 flags,
		     const char *provider)
{
	struct dvpi_attach req = { .fd = fd, .flags = flags };
	int ret;

	set_bdf(req.client, client);
	set_bdf(req.provider, provider);
	ret = imp_ioctl(imp, DVPI_ATTACH, &req);
	return ret ? ret : (int)req.handle;
}

int imp_attach(int imp, int fd, const char *client)
{
	return imp_attach_flags(imp, fd, client, DVPI_ATTACH_DYNAMIC, NULL);
}

int imp_detach(int imp, u32 handle)
{
	return imp_simple(imp, DVPI_DETACH, handle);
}

static int map_by(unsigned long cmd, int imp, u32 handle, u32 dir,
		  struct imp_map *map)
{
	struct dvpi_map req = { .handle = handle, .dir = dir };
	struct imp_map m = {};
	int ret;

	if (!map)
		return imp_ioctl(imp, cmd, &req);

	m.segs = calloc(DVPI_MAX_SEGS, sizeof(*m.segs));
	expect(m.segs);
	req.segs = (uintptr_t)m.segs;
	req.max = DVPI_MAX_SEGS;
	ret = imp_ioctl(imp, cmd, &req);
	if (ret) {
		free(m.segs);
		return ret;
	}
	expect_le(req.nents, DVPI_MAX_SEGS);
	m.nents = req.nents;
	m.orig_nents = req.orig_nents;
	m.has_pages = req.has_pages;
	for (u32 i = 0; i < m.nents; i++)
		m.size += m.segs[i].len;
	*map = m;
	return 0;
}

int imp_map_dir(int imp, u32 handle, u32 dir, struct imp_map *map)
{
	return map_by(DVPI_MAP, imp, handle, dir, map);
}

int imp_map_more(int imp, u32 handle, struct imp_map *map)
{
	return map_by(DVPI_MAP_MORE, imp, handle, DVPI_BIDIRECTIONAL, map);
}

int imp_map(int imp, u32 handle, struct imp_map *map)
{
	return imp_map_dir(imp, handle, DVPI_BIDIRECTIONAL, map);
}

int imp_unmap(int imp, u32 handle)
{
	return imp_simple(imp, DVPI_UNMAP, handle);
}

void imp_map_free(struct imp_map *map)
{
	free(map->segs);
	map->segs = NULL;
}

u64 imp_addr(const struct imp_map *map, u64 offset, u64 len)
{
	u64 want = offset;

	for (u32 i = 0; i < map->nents; i++) {
		const struct dvpi_seg *seg = &map->segs[i];

		if (offset >= seg->len) {
			offset -= seg->len;
			continue;
		}
		expect(offset + len <= seg->len,
		       "%llu bytes at %#llx are not in one piece", len, want);
		return seg->addr + offset;
	}
	t_fail("offset %#llx is past the end of the mapping, %#llx", want,
	       map->size);
}

int imp_pin(int imp, u32 handle)
{
	return imp_simple(imp, DVPI_PIN, handle);
}

int imp_unpin(int imp, u32 handle)
{
	return imp_simple(imp, DVPI_UNPIN, handle);
}

int imp_policy(int imp, u32 handle, u32 flags, u32 unmap_ms, u32 fence_ms)
{
	struct dvpi_policy req = {
		.handle = handle,
		.flags = flags,
		.unmap_ms = unmap_ms,
		.fence_ms = fence_ms,
	};

	return imp_ioctl(imp, DVPI_POLICY, &req);
}

int imp_keep(int imp, u32 handle)
{
	return imp_policy(imp, handle, DVPI_POLICY_KEEP, 0, 0);
}

int imp_stuck(int imp, u32 handle, u32 flags)
{
	return imp_policy(imp, handle, DVPI_POLICY_STUCK | flags, 0, 0);
}

int imp_release(int imp, u32 handle)
{
	return imp_simple(imp, DVPI_RELEASE, handle);
}

int imp_sleepy(int imp, u32 handle, u32 flags, u32 sleep_ms)
{
	struct dvpi_policy req = {
		.handle = handle,
		.flags = flags,
		.sleep_ms = sleep_ms,
	};

	return imp_ioctl(imp, DVPI_POLICY, &req);
}

int imp_sync_file(int imp, u32 ms)
{
	struct dvpi_sync_file req = { .ms = ms };
	int ret = imp_ioctl(imp, DVPI_SYNC_FILE, &req);

	if (ret == -EOPNOTSUPP)
		t_skip("this kernel has no sync files");
	return ret ? ret : req.fd;
}

int imp_import_fence(int imp, int fd, u32 ms)
{
	struct dma_buf_import_sync_file req = { .flags = DMA_BUF_SYNC_RW };
	int ret = imp_sync_file(imp, ms);

	if (ret < 0)
		return ret;
	req.fd = ret;
	ret = ioctl(fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &req) ? -errno : 0;
	close(req.fd);
	return ret;
}

int imp_fence(int imp, u32 handle, u32 ms)
{
	struct dvpi_fence req = { .handle = handle, .ms = ms };

	return imp_ioctl(imp, DVPI_FENCE, &req);
}

int imp_fence_signal(int imp, u32 handle)
{
	return imp_simple(imp, DVPI_FENCE_SIGNAL, handle);
}

struct dvpi_stats imp_stats(int imp, u32 handle)
{
	struct dvpi_stats stats = { .handle = handle };

	expect_eq(imp_ioctl(imp, DVPI_STATS, &stats), 0);
	return stats;
}

int imp_loop(int imp, u32 handle, u32 count, u32 *failures)
{
	struct dvpi_loop req = { .handle = handle, .count = count };
	int ret = imp_ioctl(imp, DVPI_LOOP, &req);

	*failures = req.failures;
	return ret;
}

static int move(int imp, const char *edu, u64 addr, uintptr_t buf, u32 len,
		bool write)
{
	struct dvpi_dma req = {
		.addr = addr,
		.buf = buf,
		.len = len,
		.write = write,
	};

	set_bdf(req.client, edu);
	return imp_ioctl(imp, DVPI_DMA, &req);
}

int imp_write(int imp, const char *edu, u64 addr, const void *buf, u32 len)
{
	return move(imp, edu, addr, (uintptr_t)buf, len, true);
}

int imp_read(int imp, const char *edu, u64 addr, void *buf, u32 len)
{
	return move(imp, edu, addr, (uintptr_t)buf, len, false);
}

int imp_cut(int imp, const char *edu, u64 addr, const void *buf, u32 len,
	    u32 handle, u32 ms, bool *busy)
{
	struct dvpi_cut req = {
		.addr = addr,
		.buf = (uintptr_t)buf,
		.len = len,
		.handle = handle,
		.ms = ms,
	};
	int ret;

	set_bdf(req.client, edu);
	ret = imp_ioctl(imp, DVPI_CUT, &req);
	*busy = req.busy;
	return ret;
}

bool imp_verdict(int imp, const char *provider, const char *client,
		 int *distance)
{
	struct dvpi_verdict req = {};

	set_bdf(req.provider, provider);
	set_bdf(req.client, client);
	expect_eq(imp_ioctl(imp, DVPI_VERDICT, &req), 0);
	*distance = req.distance;
	return req.known;
}

int imp_claim(int imp, const char *bdf, u32 bar, bool on)
{
	struct dvpi_claim req = { .bar = bar, .on = on };

	set_bdf(req.bdf, bdf);
	return imp_ioctl(imp, DVPI_CLAIM, &req);
}

int imp_pose(int imp, const char *bdf, u16 vendor, u16 device, u32 class)
{
	struct dvpi_pose req = {
		.vendor = vendor,
		.device = device,
		.class = class,
	};

	set_bdf(req.bdf, bdf);
	return imp_ioctl(imp, DVPI_POSE, &req);
}

int imp_teach(int imp, u32 number, bool feature, int answer)
{
	struct dvpi_teach req = {
		.number = number,
		.feature = feature,
		.answer = answer,
	};

	return imp_ioctl(imp, DVPI_TEACH, &req);
}

int imp_gadget(int imp, const char *udc)
{
	struct dvpi_gadget req = {};

	snprintf(req.name, sizeof(req.name), "%s", udc);
	return imp_ioctl(imp, DVPI_GADGET, &req);
}

int imp_occupy(int imp, const char *client, u64 iova, bool on)
{
	struct dvpi_occupy req = { .iova = iova, .on = on };

	set_bdf(req.client, client);
	return imp_ioctl(imp, DVPI_OCCUPY, &req);
}

int imp_phys(int imp, u32 handle, u64 *phys, u64 *size)
{
	struct dvpi_phys req = { .handle = handle };
	int ret;

	ret = imp_ioctl(imp, DVPI_PHYS, &req);
	*phys = req.phys;
	*size = req.size;
	return ret;
}

u64 imp_pte(int imp, const void *addr, u64 *size)
{
	struct dvpi_pte req = { .addr = (uintptr_t)addr };

	expect_eq(imp_ioctl(imp, DVPI_PTE, &req), 0);
	*size = req.size;
	return req.entry;
}

/* @held: out, how many forks have been held */
int imp_hold_fork(int imp, const void *addr, u32 ms, u32 *held)
{
	struct dvpi_fork req = { .addr = (uintptr_t)addr, .ms = ms };
	int ret = imp_ioctl(imp, DVPI_FORK, &req);

	*held = req.held;
	return ret;
}
