// SPDX-License-Identifier: GPL-2.0-only
/* libdmabuf-vfio, as a program uses it. */
#define _GNU_SOURCE
#include <dmabuf-vfio.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu.h"
#include "importer.h"
#include "node.h"

#define ROLE	"shm_sw"
#define BAR	2

static struct vfio_dev *provider(void)
{
	return cpu_open(ROLE);
}

static struct dmabuf_vfio *by_node(const struct vfio_dev *dev)
{
	struct dmabuf_vfio *h;

	expect_eq(dmabuf_vfio_open(dev->bdf, 1, &h), 0);
	return h;
}

static int export_pages(struct dmabuf_vfio *h, u64 offset, u64 length)
{
	struct vfio_region_dma_range range = { offset, length };

	return dmabuf_vfio_export_ranges(h, BAR, &range, 1, 0,
					 O_RDWR | O_CLOEXEC);
}

TEST(library, open_wrong)
{
	struct dmabuf_vfio *h = NULL;

	t_role(ROLE);
	for (const char * const *bad = (const char *[]){
		"", "0", "04:00", "0x0:04:00.0", " 04:00.0", "04:20.0", NULL };
	     *bad; bad++)
		expect_eq(dmabuf_vfio_open(*bad, 0, &h), -EINVAL);
	expect_eq(dmabuf_vfio_open("fe:1f.7", 0, &h), -ENOENT);
	expect_eq(dmabuf_vfio_open("/dev/null/x", 0, &h), -ENOTDIR);
	expect_eq(dmabuf_vfio_from_device(-1, &h), -EBADF);
	expect(!h);
	dmabuf_vfio_close(NULL);
	dmabuf_vfio_unmap_buffer(NULL);
}

/* By node, all there is; another function's buffer stays as it is. */
TEST(library, by_node)
{
	struct vfio_dev *dev = provider();
	u32 *bar = vfio_map_bar(dev, BAR, 0, 4 * PAGE), *p;
	struct dmabuf_vfio *h = by_node(dev), *reader;
	struct dmabuf_vfio_route route;
	struct dmabuf_vfio_event event;
	struct dmabuf_vfio_info info;
	int fd;

	expect_eq(dmabuf_vfio_query(h, &info), 0);
	expect_eq(info.bars[BAR].size, vfio_bar_size(dev, BAR));
	expect_eq(info.nr_buffers, 0);
	expect(*info.driver_version >= '0' && *info.driver_version <= '9');

	fd = expect_fd(export_pages(h, PAGE, PAGE));
	expect_eq(dmabuf_vfio_query(h, &info), 0);
	expect_eq(info.nr_buffers, 1);
	mem_write(bar + PAGE / 4, 0x11223344);
	p = cpu_map(fd, 0, PAGE);
	expect_eq(mem_read(p), 0x11223344);

	expect_eq(dmabuf_vfio_open(dev->bdf, 0, &reader), 0);
	expect_eq(export_pages(reader, 0, PAGE), -EACCES);
	expect_eq(dmabuf_vfio_next_event(reader, &event, 0), 0);
	vfio_mem_enable(dev, false);
	expect_eq(dmabuf_vfio_next_event(reader, &event, 10000), 1);
	expect_eq(event.type, DMABUF_VFIO_EVENT_REVOKED);
	vfio_mem_enable(dev, true);
	expect_eq(dmabuf_vfio_next_event(reader, &event, 10000), 1);
	expect_eq(event.type, DMABUF_VFIO_EVENT_RESTORED);
	dmabuf_vfio_close(reader);

	expect_eq(dmabuf_vfio_find_route(h, t_role("edu_sw"), &route), 0);
	expect_eq(route.route, DMABUF_VFIO_ROUTE_BUS);
	expect_eq(dmabuf_vfio_find_route(h, "fe:1f.7", &route), -ENOENT);
	expect_eq(dmabuf_vfio_find_route(h, "x", &route), -EINVAL);

	expect_eq(dmabuf_vfio_revoke_buffer(h, fd), 0);
	expect_bus(p);
	expect_eq(dmabuf_vfio_revoke_buffer(h, fd), -EBADFD);
	expect_eq(export_pages(h, 1, PAGE), -EINVAL);
	expect_eq(dmabuf_vfio_export_ranges(h, BAR, NULL, 0, 0, O_RDWR),
		  -EINVAL);
	dmabuf_vfio_close(h);
}

TEST(library, by_device)
{
	struct vfio_dev *dev = provider();
	struct dmabuf_vfio_event event;
	struct dmabuf_vfio_info info;
	struct dmabuf_vfio *h;
	u32 *p;
	int fd;

	expect_eq(dmabuf_vfio_from_device(dev->fd, &h), 0);
	expect_eq(dmabuf_vfio_query(h, &info), -EOPNOTSUPP);
	expect_eq(dmabuf_vfio_next_event(h, &event, 0), -EOPNOTSUPP);
	fd = expect_fd(export_pages(h, 0, 2 * PAGE));
	p = cpu_map(fd, 0, 2 * PAGE);
	mem_write(p, 5);
	expect_eq(dmabuf_vfio_revoke_buffer(h, fd), 0);
	expect_bus(p);
	/* The device is the caller's. */
	dmabuf_vfio_close(h);
	vfio_mem_enable(dev, false);
}

/* Zeroes, and it says so; back at the same address; and gone for good. */
TEST(library, survives_a_loss)
{
	struct vfio_dev *dev = provider();
	struct dmabuf_vfio *h = by_node(dev);
	int fd = expect_fd(export_pages(h, PAGE, 2 * PAGE));
	struct dmabuf_vfio_map *map, *other;
	volatile u32 *p;

	expect_eq(dmabuf_vfio_map_buffer(fd, 0, 0, PROT_READ | PROT_WRITE,
					 &map), 0);
	expect_eq(dmabuf_vfio_map_buffer(fd, PAGE, PAGE, PROT_READ, &other), 0);
	expect_eq(dmabuf_vfio_map_length(map), 2 * PAGE);
	expect_eq(dmabuf_vfio_map_length(other), PAGE);
	p = dmabuf_vfio_map_address(map);
	p[0] = 7;
	p[PAGE / 4] = 8;
	expect_eq(*(volatile u32 *)dmabuf_vfio_map_address(other), 8);

	vfio_mem_enable(dev, false);
	expect_eq(dmabuf_vfio_map_lost(map), 0);
	expect_eq(p[0], 0);
	p[0] = 9;
	expect_eq(dmabuf_vfio_map_lost(map), 1);
	expect_eq(dmabuf_vfio_map_lost(other), 0);
	vfio_mem_enable(dev, true);
	expect_eq(dmabuf_vfio_map_again(map), 0);
	expect_eq(dmabuf_vfio_map_lost(map), 0);
	expect_eq(p[0], 7);
	expect_eq(p[PAGE / 4], 8);

	expect_eq(dmabuf_vfio_revoke_buffer(h, fd), 0);
	expect_eq(p[0], 0);
	expect_eq(dmabuf_vfio_map_lost(map), 1);
	dmabuf_vfio_unmap_buffer(map);
	dmabuf_vfio_unmap_buffer(other);
	/* Of a buffer that is gone there is no mapping to make. */
	expect(dmabuf_vfio_map_buffer(fd, 0, 0, PROT_READ, &map) < 0);
	dmabuf_vfio_close(h);
}

TEST(library, map_wrong)
{
	struct vfio_dev *dev = provider();
	int fd = expect_fd(export_range(dev, BAR, 0, 2 * PAGE));
	struct dmabuf_vfio_map *map = NULL;

	expect_eq(dmabuf_vfio_map_buffer(fd, 2 * PAGE, 0, PROT_READ, &map),
		  -EINVAL);
	expect_eq(dmabuf_vfio_map_buffer(fd, PAGE, 2 * PAGE, PROT_READ, &map),
		  -EINVAL);
	expect_eq(dmabuf_vfio_map_buffer(fd, 1, PAGE, PROT_READ, &map),
		  -EINVAL);
	expect_eq(dmabuf_vfio_map_buffer(-1, 0, 0, PROT_READ, &map), -EBADF);
	expect(!map);
}

/* What is not of such a mapping ends the process, as ever. */
TEST(library, other_faults)
{
	struct vfio_dev *dev = provider();
	int fd = expect_fd(export_range(dev, BAR, 0, PAGE)), status;
	pid_t pid = fork();

	if (!pid) {
		struct dmabuf_vfio_map *map;
		volatile u32 *p;
		int empty = memfd_create("empty", 0);

		signal(SIGBUS, SIG_DFL);
		if (dmabuf_vfio_map_buffer(fd, 0, 0, PROT_READ, &map))
			_exit(1);
		p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, empty, 0);
		_exit(p[0] + 2);
	}
	expect(pid > 0 && waitpid(pid, &status, 0) == pid);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS,
	       "status %#x", status);
}
