// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "node.h"

int node_open(const char *bdf, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/dmabuf-vfio/%s", bdf);
	return expect_ok(open(path, flags | O_CLOEXEC));
}

int node_ioctl(int node, unsigned int cmd, void *arg)
{
	int ret = ioctl(node, cmd, arg);

	return ret < 0 ? -errno : ret;
}

int node_info(int node, struct dmabuf_vfio_info *info)
{
	memset(info, 0, sizeof(*info));
	info->argsz = sizeof(*info);
	return node_ioctl(node, DMABUF_VFIO_INFO, info);
}

int node_export(int node, u32 bar, u64 offset, u64 length)
{
	struct {
		struct dmabuf_vfio_export head;
		struct vfio_region_dma_range range;
	} arg = {
		.head = {
			.argsz = sizeof(arg),
			.dma_buf = {
				.region_index = bar,
				.open_flags = O_RDWR | O_CLOEXEC,
				.nr_ranges = 1,
			},
		},
		.range = { offset, length },
	};

	return node_ioctl(node, DMABUF_VFIO_EXPORT, &arg);
}

int node_revoke(int node, int fd)
{
	struct dmabuf_vfio_revoke arg = {
		.argsz = sizeof(arg),
		.dmabuf_fd = fd,
	};

	return node_ioctl(node, DMABUF_VFIO_REVOKE, &arg);
}

int node_route(int node, const char *client, struct dmabuf_vfio_route *route)
{
	unsigned int domain, bus, dev, fn;

	expect_eq(sscanf(client, "%x:%x:%x.%x", &domain, &bus, &dev, &fn), 4);
	*route = (struct dmabuf_vfio_route){
		.argsz = sizeof(*route),
		.client_domain = domain,
		.client_bdf = bus << 8 | dev << 3 | fn,
	};
	return node_ioctl(node, DMABUF_VFIO_ROUTE, route);
}

bool node_event(int node, struct dmabuf_vfio_event *event)
{
	ssize_t len = expect_ok(read(node, event, sizeof(*event)));

	expect(!len || len == sizeof(*event), "%zd bytes", len);
	return len;
}

void node_expect_event_at(const char *file, int line, int node, u32 type,
			  u32 reasons)
{
	struct dmabuf_vfio_event event = {};

	if (node_poll(node, 10000) & POLLIN && node_event(node, &event) &&
	    event.type == type && event.reasons == reasons && !event.lost)
		return;
	if (!(node_poll(node, 0) & POLLIN))
		t_note("it was the last one");
	t_fail_at(file, line, "event %u, reasons %#x, lost %u; not %u, %#x",
		  event.type, event.reasons, event.lost, type, reasons);
}

u32 node_expect_opened(int node)
{
	struct dmabuf_vfio_event event;

	expect(node_poll(node, 10000) & POLLIN);
	expect(node_event(node, &event));
	expect_eq(event.type, DMABUF_VFIO_EVENT_OPENED);
	expect_eq(event.reasons & ~DMABUF_VFIO_REASON_MEMORY_OFF, 0);
	expect_eq(event.lost, 0);
	return event.reasons;
}

int node_poll(int node, int ms)
{
	struct pollfd p = { .fd = node, .events = POLLIN };

	expect_ok(poll(&p, 1, ms));
	return p.revents;
}
