// SPDX-License-Identifier: MIT
/* Functions, by their nodes or by VFIO device descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "dmabuf-vfio.h"

struct dmabuf_vfio {
	int fd;
	int is_node;
};

int dmabuf_vfio_parse_address(const char *text, uint32_t *domain,
			      uint32_t *bdf)
{
	unsigned int d = 0, b, s, f;
	int end = -1;

	/* sscanf() takes signs, blanks and "0x" for parts of a number. */
	if (text[strspn(text, "0123456789abcdefABCDEF:.")])
		return -EINVAL;
	if (sscanf(text, "%8x:%2x:%2x.%1x%n", &d, &b, &s, &f, &end) != 4 ||
	    end < 0 || text[end]) {
		d = 0;
		end = -1;
		if (sscanf(text, "%2x:%2x.%1x%n", &b, &s, &f, &end) != 3 ||
		    end < 0 || text[end])
			return -EINVAL;
	}
	if (s > 31 || f > 7)
		return -EINVAL;
	*domain = d;
	*bdf = b << 8 | s << 3 | f;
	return 0;
}

static int make_handle(int fd, int is_node, struct dmabuf_vfio **handle)
{
	struct dmabuf_vfio *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->fd = fd;
	h->is_node = is_node;
	*handle = h;
	return 0;
}

int dmabuf_vfio_open(const char *name, int writable,
		     struct dmabuf_vfio **handle)
{
	char path[64];
	uint32_t domain, bdf;
	int fd, ret;

	if (!strchr(name, '/')) {
		ret = dmabuf_vfio_parse_address(name, &domain, &bdf);
		if (ret)
			return ret;
		snprintf(path, sizeof(path),
			 "/dev/dmabuf-vfio/%04x:%02x:%02x.%x", domain,
			 bdf >> 8, bdf >> 3 & 31, bdf & 7);
		name = path;
	}
	fd = open(name, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC |
		  O_NONBLOCK);
	if (fd < 0)
		return -errno;
	ret = make_handle(fd, 1, handle);
	if (ret)
		close(fd);
	return ret;
}

int dmabuf_vfio_from_device(int fd, struct dmabuf_vfio **handle)
{
	if (fcntl(fd, F_GETFD) < 0)
		return -errno;
	return make_handle(fd, 0, handle);
}

void dmabuf_vfio_close(struct dmabuf_vfio *handle)
{
	if (!handle)
		return;
	if (handle->is_node)
		close(handle->fd);
	free(handle);
}

int dmabuf_vfio_fd(const struct dmabuf_vfio *handle)
{
	return handle->fd;
}

static int request(const struct dmabuf_vfio *handle, unsigned long cmd,
		   void *arg)
{
	int ret = ioctl(handle->fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

int dmabuf_vfio_query(struct dmabuf_vfio *handle,
		      struct dmabuf_vfio_info *info)
{
	if (!handle->is_node)
		return -EOPNOTSUPP;
	memset(info, 0, sizeof(*info));
	info->argsz = sizeof(*info);
	return request(handle, DMABUF_VFIO_INFO, info);
}

/* The same request with two heads: of the node, and of VFIO's features. */
static int export_by(struct dmabuf_vfio *handle,
		     const struct vfio_device_feature_dma_buf *req, size_t size)
{
	union {
		struct dmabuf_vfio_export node;
		struct vfio_device_feature device;
	} *arg;
	size_t head = sizeof(struct vfio_device_feature);
	int ret;

	if (handle->is_node)
		head = offsetof(struct dmabuf_vfio_export, dma_buf);
	arg = calloc(1, head + size);
	if (!arg)
		return -ENOMEM;
	memcpy((char *)arg + head, req, size);
	if (handle->is_node) {
		arg->node.argsz = head + size;
		ret = request(handle, DMABUF_VFIO_EXPORT, arg);
	} else {
		arg->device.argsz = head + size;
		arg->device.flags = VFIO_DEVICE_FEATURE_GET |
				    VFIO_DEVICE_FEATURE_DMA_BUF;
		ret = request(handle, VFIO_DEVICE_FEATURE, arg);
	}
	free(arg);
	return ret;
}

int dmabuf_vfio_export_ranges(struct dmabuf_vfio *handle, unsigned int bar,
			      const struct vfio_region_dma_range *ranges,
			      unsigned int nr, unsigned int flags,
			      int open_flags)
{
	struct vfio_device_feature_dma_buf *req;
	size_t size;
	int ret;

	/* Far above the driver's limit; bounds the allocation below. */
	if (!nr || nr > 1 << 20)
		return -EINVAL;
	size = sizeof(*req) + nr * sizeof(*ranges);
	req = calloc(1, size);
	if (!req)
		return -ENOMEM;
	req->region_index = bar;
	req->open_flags = open_flags;
	req->flags = flags;
	req->nr_ranges = nr;
	memcpy(req->dma_ranges, ranges, nr * sizeof(*ranges));
	ret = export_by(handle, req, size);
	free(req);
	return ret;
}

int dmabuf_vfio_revoke_buffer(struct dmabuf_vfio *handle, int dmabuf)
{
	struct vfio_pci_dmabuf_revoke device = {
		.argsz = sizeof(device),
		.dmabuf_fd = dmabuf,
	};
	struct dmabuf_vfio_revoke node = {
		.argsz = sizeof(node),
		.dmabuf_fd = dmabuf,
	};

	if (handle->is_node)
		return request(handle, DMABUF_VFIO_REVOKE, &node);
	return request(handle, VFIO_DEVICE_PCI_DMABUF_REVOKE, &device);
}

int dmabuf_vfio_find_route(struct dmabuf_vfio *handle, const char *client,
			   struct dmabuf_vfio_route *route)
{
	int ret;

	if (!handle->is_node)
		return -EOPNOTSUPP;
	memset(route, 0, sizeof(*route));
	route->argsz = sizeof(*route);
	ret = dmabuf_vfio_parse_address(client, &route->client_domain,
					&route->client_bdf);
	return ret ? ret : request(handle, DMABUF_VFIO_ROUTE, route);
}

int dmabuf_vfio_next_event(struct dmabuf_vfio *handle,
			   struct dmabuf_vfio_event *event, int timeout_ms)
{
	struct pollfd p = { .fd = handle->fd, .events = POLLIN };
	ssize_t n;
	int ret;

	if (!handle->is_node)
		return -EOPNOTSUPP;
	ret = poll(&p, 1, timeout_ms);
	if (ret <= 0)
		return ret ? -errno : 0;
	n = read(handle->fd, event, sizeof(*event));
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return n ? 1 : -ENODEV;
}
