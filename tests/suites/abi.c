// SPDX-License-Identifier: GPL-2.0-only
/*
 * The public header. It comes first, and with padding made an error: it needs
 * nothing else, and hides no bytes that a kernel could forget to clear.
 */
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"
#include <linux/dmabuf_vfio_pci.h>
#pragma GCC diagnostic pop

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vfio.h"

#define GET_DMA_BUF	(VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF)

#define RANGE_AT(member) offsetof(struct vfio_region_dma_range, member)
#define GET_AT(member) offsetof(struct vfio_device_feature_dma_buf, member)

static_assert(RANGE_AT(offset) == 0, "range");
static_assert(RANGE_AT(length) == 8, "range");
static_assert(sizeof(struct vfio_region_dma_range) == 16, "range");
static_assert(GET_AT(region_index) == 0, "request");
static_assert(GET_AT(open_flags) == 4, "request");
static_assert(GET_AT(flags) == 8, "request");
static_assert(GET_AT(nr_ranges) == 12, "request");
static_assert(GET_AT(dma_ranges) == 16, "request");
static_assert(sizeof(struct vfio_device_feature_dma_buf) == 16, "request");
static_assert(VFIO_DEVICE_FEATURE_DMA_BUF == 11, "number");

struct request {
	struct vfio_device_feature feature;
	struct vfio_device_feature_dma_buf get;
	struct vfio_region_dma_range range;
};

static const struct request good = {
	.feature = { .argsz = sizeof(good), .flags = GET_DMA_BUF },
	.get = { .open_flags = O_RDWR | O_CLOEXEC, .nr_ranges = 1 },
	.range = { 0, PAGE },
};

/* The same request as words, in case the header and the kernel agree wrongly */
TEST(abi, layout_as_published)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	u32 words[] = {
		40, 11 | 1 << 16,		/* argsz, flags */
		0, O_RDWR, 0, 1,		/* BAR, open_flags, flags, nr */
		0x10000, 0, 3 * PAGE, 0,	/* offset, length */
	};
	int fd = expect_ok(ioctl(dev->fd, _IO(';', 117), words));

	expect_eq(lseek(fd, 0, SEEK_END), 3 * PAGE);
}

static void check_untouched(const struct vfio_dev *dev, struct request req,
			    bool succeeds)
{
	struct {
		u8 before[64];
		struct request req;
		u8 after[64];
	} area, copy;
	int fd;

	memset(&area, 0xa5, sizeof(area));
	area.req = req;
	memcpy(&copy, &area, sizeof(area));
	fd = ioctl(dev->fd, VFIO_DEVICE_FEATURE, &area.req);
	expect_eq(fd >= 0, succeeds);
	expect(!memcmp(&copy, &area, sizeof(area)), "the argument has changed");
	if (fd >= 0)
		expect_ok(close(fd));
}

/* The answer is the return value. Nothing is written to the caller's memory. */
TEST(abi, nothing_is_written_back)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	struct request req = good;

	check_untouched(dev, good, true);
	req.feature.flags |= VFIO_DEVICE_FEATURE_PROBE;
	check_untouched(dev, req, true);
	req = good;
	req.get.flags = 4;
	check_untouched(dev, req, false);
	req = good;
	req.range.offset = GIB(1);
	check_untouched(dev, req, false);
	req = good;
	req.feature.argsz = 8;
	check_untouched(dev, req, false);
}

/* So it works from memory that cannot be written. */
TEST(abi, argument_may_be_read_only)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(p != MAP_FAILED);
	memcpy(p, &good, sizeof(good));
	expect_ok(mprotect(p, PAGE, PROT_READ));
	expect_ok(close(expect_ok(ioctl(dev->fd, VFIO_DEVICE_FEATURE, p))));
}

/* A PROBE returns 0 and not a descriptor, with whatever comes behind. */
TEST(abi, probe_needs_no_request)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	struct vfio_device_feature feature = {
		.argsz = sizeof(feature),
		.flags = GET_DMA_BUF | VFIO_DEVICE_FEATURE_PROBE,
	};

	expect_eq(expect_ok(ioctl(dev->fd, VFIO_DEVICE_FEATURE, &feature)), 0);
}

/* fdinfo has the lines of any dma-buf, and no others. */
TEST(abi, fdinfo)
{
	static const char * const known[] = {
		"pos:", "flags:", "mnt_id:", "ino:", "size:", "count:",
		"exp_name:", "name:",
	};
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	int fd = expect_fd(export_range(dev, 0, 0, PAGE));
	char buf[1024], *save, *line;

	expect_ge(t_read(buf, sizeof(buf), "/proc/self/fdinfo/%d", fd), 1);
	for (line = strtok_r(buf, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		bool found = false;

		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			found |= !strncmp(line, known[i], strlen(known[i]));
		expect(found, "line '%s'", line);
	}
}
