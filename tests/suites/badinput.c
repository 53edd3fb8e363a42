// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests that must be refused: each with its errno, and leaving nothing
 * behind. Where a request has two faults, both have the same errno.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vfio.h"

#define GET_DMA_BUF	(VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF)
#define MAX_BAD		160

/* A bad request; those with @ours set are let through by the stock driver. */
struct bad {
	const char *what;
	int err;
	bool ours;
	const struct vfio_dev *dev;
	u32 region;
	u32 open_flags;
	u32 flags;
	u32 nr;
	struct vfio_region_dma_range ranges[3];
};

struct bads {
	struct bad list[MAX_BAD];
	int n;
	const struct vfio_dev *dev;
};

/* One more, a good request to start with */
static struct bad *add(struct bads *bads, const char *what, int err)
{
	struct bad *b = &bads->list[bads->n++];

	expect_le(bads->n, MAX_BAD);
	*b = (struct bad){
		.what = what,
		.err = err,
		.dev = bads->dev,
		.region = 0,
		.open_flags = O_RDWR | O_CLOEXEC,
		.nr = 1,
		.ranges = { { 0, PAGE }, { MIB(1), PAGE }, { MIB(2), PAGE } },
	};
	return b;
}

static void add_flags(struct bads *bads)
{
	const u32 known = O_ACCMODE | O_CLOEXEC | O_NONBLOCK;
	struct bad *b;

	for (int bit = 0; bit < 32; bit++) {
		b = add(bads, "unknown flag", EINVAL);
		b->flags = 1u << bit;
		/* Where ours knows it, a memory type nobody knows. */
		if (b->flags == DMABUF_VFIO_FLAG_OWN ||
		    b->flags == DMABUF_VFIO_FLAG_TRANSLATED ||
		    b->flags == DMABUF_VFIO_MEM_WRITE_COMBINING)
			b->flags |= DMABUF_VFIO_MEM_WRITE_COMBINING << 1;
	}
	for (int bit = 0; bit < 32; bit++) {
		if (known & 1u << bit)
			continue;
		b = add(bads, "unknown open_flag", EINVAL);
		b->open_flags |= 1u << bit;
		b->ours = true;
	}
}

static void add_regions(struct bads *bads, const struct vfio_dev *e1000e)
{
	static const u32 none[] = {
		VFIO_PCI_ROM_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX,
		VFIO_PCI_VGA_REGION_INDEX, VFIO_PCI_NUM_REGIONS, 255, 256,
		0x7fffffff, 0x80000000, ~0u,
		1, 3, 4, 5,		/* which a bochs-display hasn't got */
	};
	struct bad *b;

	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		b = add(bads, "no such BAR", ENODEV);
		b->region = none[i];
	}
	b = add(bads, "I/O BAR", EINVAL);
	b->dev = e1000e;
	b->region = 2;
}

static void add_range(struct bads *bads, const char *what, int err, u64 offset,
		      u64 length, bool ours)
{
	struct bad *b = add(bads, what, err);

	b->ranges[0].offset = offset;
	b->ranges[0].length = length;
	b->ours = ours;

	/* Also when good ones come first */
	b = add(bads, what, err);
	b->ranges[2].offset = offset;
	b->ranges[2].length = length;
	b->nr = 3;
	b->ours = ours;
}

static void add_ranges(struct bads *bads, u64 size)
{
	const u64 top = ~0ull - PAGE + 1, half = 1ull << 63;

	add_range(bads, "misaligned offset", EINVAL, 1, PAGE, false);
	add_range(bads, "misaligned offset", EINVAL, PAGE / 2, PAGE, false);
	add_range(bads, "misaligned offset", EINVAL, PAGE - 1, PAGE, false);
	add_range(bads, "misaligned length", EINVAL, 0, 1, false);
	add_range(bads, "misaligned length", EINVAL, 0, PAGE - 1, false);
	add_range(bads, "misaligned length", EINVAL, 0, PAGE + 8, false);
	add_range(bads, "empty range", EINVAL, 0, 0, false);
	add_range(bads, "empty range", EINVAL, size, 0, false);
	add_range(bads, "a page too long", EINVAL, 0, size + PAGE, false);
	add_range(bads, "a page too long", EINVAL, size - PAGE, 2 * PAGE,
		  false);
	add_range(bads, "behind the end", EINVAL, size, PAGE, false);
	add_range(bads, "far behind the end", EINVAL, GIB(1024), PAGE, false);
	add_range(bads, "far too long", EINVAL, 0, GIB(1024), false);
	add_range(bads, "longest range", EINVAL, 0, top, true);
	add_range(bads, "end wraps", EOVERFLOW, top, PAGE, false);
	add_range(bads, "end wraps", EOVERFLOW, top, 2 * PAGE, false);
	add_range(bads, "end wraps", EOVERFLOW, PAGE, top, true);
	add_range(bads, "end wraps", EOVERFLOW, half, half, true);
	add_range(bads, "end wraps", EOVERFLOW, top, top, true);
	add(bads, "no ranges", EINVAL)->nr = 0;
}

static struct bads *all_bads(void)
{
	struct bads *bads = calloc(1, sizeof(*bads));
	int kept = 0;

	expect(bads);
	bads->dev = vfio_open_exporter("bochs");
	add_flags(bads);
	add_regions(bads, vfio_open("e1000e"));
	add_ranges(bads, vfio_bar_size(bads->dev, 0));

	for (int i = 0; i < bads->n; i++)
		if (!bads->list[i].ours || !vfio_is_stock())
			bads->list[kept++] = bads->list[i];
	bads->n = kept;
	return bads;
}

static int ask(const struct bad *b)
{
	return export_buf(b->dev->fd, b->region, b->open_flags, b->flags,
			  b->ranges, b->nr);
}

static void check(const struct bad *b)
{
	int ret = ask(b);

	if (ret == -b->err)
		return;
	t_note("region %#x open_flags %#x flags %#x", b->region, b->open_flags,
	       b->flags);
	for (u32 i = 0; i < b->nr; i++)
		t_note("range %#llx + %#llx", b->ranges[i].offset,
		       b->ranges[i].length);
	t_fail("%s: %s, not %s", b->what,
	       ret < 0 ? t_errno_name(-ret) : "exported",
	       t_errno_name(b->err));
}

static void check_good(const struct vfio_dev *dev)
{
	int fd = expect_fd(export_range(dev, 0, 0, PAGE));

	expect_eq(lseek(fd, 0, SEEK_END), PAGE);
	expect_ok(close(fd));
}

TEST(badinput, refused)
{
	struct bads *bads = all_bads();
	struct t_res before = t_res_take(vfio_exporter());

	for (int i = 0; i < bads->n; i++) {
		check(&bads->list[i]);
		t_res_same(&before);
	}
	check_good(bads->dev);
	t_note("%d bad requests", bads->n);
}

static void ask_again(void *arg)
{
	check(arg);
}

TEST_TIMEOUT(badinput, leaks_nothing, 240)
{
	struct bads *bads = all_bads();
	struct t_res before = t_res_take(vfio_exporter());
	long slab = t_meminfo("Slab"), stacks = t_meminfo("KernelStack");

	for (int i = 0; i < bads->n; i++) {
		const struct bad *b = &bads->list[i];

		/* The flags are all alike: one of each sort will do. */
		if (i && b->what == b[-1].what &&
		    (b->flags || b[-1].nr == b->nr))
			continue;
		t_expect_flat(1000, ask_again, &bads->list[i], b->what);
	}
	t_res_same(&before);
	t_note("Slab %+ld kB, KernelStack %+ld kB", t_meminfo("Slab") - slab,
	       t_meminfo("KernelStack") - stacks);
	if (!t_debug_kernel())
		expect_le(t_meminfo("Slab") - slab, 2048);
	expect_le(t_meminfo("KernelStack") - stacks, 256);
	check_good(bads->dev);
}

/* --- the argument as a whole */

struct request {
	struct vfio_device_feature feature;
	struct vfio_device_feature_dma_buf get;
	struct vfio_region_dma_range ranges[2];
};

static const struct request good = {
	.feature = {
		.argsz = sizeof(good),
		.flags = GET_DMA_BUF,
	},
	.get = { .open_flags = O_RDWR | O_CLOEXEC, .nr_ranges = 2 },
	.ranges = { { 0, PAGE }, { MIB(1), PAGE } },
};

static int ask_raw(const struct vfio_dev *dev, const void *arg)
{
	int fd = ioctl(dev->fd, VFIO_DEVICE_FEATURE, arg);

	return fd < 0 ? -errno : fd;
}

/* All that is short of what nr_ranges says; more than that is allowed. */
TEST(badinput, argsz)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	u32 enough = vfio_is_stock() ? sizeof(good) - sizeof(good.ranges) :
				       sizeof(good);
	struct request req = good;

	for (u32 argsz = 0; argsz < enough; argsz++) {
		req.feature.argsz = argsz;
		expect_err(ask_raw(dev, &req), EINVAL);
	}
	req.feature.argsz = sizeof(good);
	expect_ok(close(expect_fd(ask_raw(dev, &req))));
	req.feature.argsz = sizeof(good) + 8;
	expect_ok(close(expect_fd(ask_raw(dev, &req))));
	req.feature.argsz = ~0u;
	expect_ok(close(expect_fd(ask_raw(dev, &req))));
}

TEST(badinput, feature_flags)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	struct t_res before = t_res_take(vfio_exporter());
	struct request req = good;
	const u32 get = VFIO_DEVICE_FEATURE_GET, set = VFIO_DEVICE_FEATURE_SET;
	const u32 probe = VFIO_DEVICE_FEATURE_PROBE;
	const u32 bad[] = { 0, set, get | set, probe | set, probe | get | set };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		req.feature.flags = VFIO_DEVICE_FEATURE_DMA_BUF | bad[i];
		expect_err(ask_raw(dev, &req), EINVAL);
	}
	for (int bit = 19; bit < 32; bit++) {
		req.feature.flags = GET_DMA_BUF | 1u << bit;
		expect_err(ask_raw(dev, &req), EINVAL);
	}
	t_res_same(&before);
	req.feature.flags = GET_DMA_BUF;
	expect_fd(ask_raw(dev, &req));
}

/* Refused before anything is copied, and fast */
TEST(badinput, million_ranges)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	struct t_res before = t_res_take(vfio_exporter());
	const u32 nr = 1000000;
	const u32 size = sizeof(good) - sizeof(good.ranges) +
			 nr * sizeof(good.ranges[0]);
	struct request *req = calloc(1, size);
	u64 start;

	if (vfio_is_stock())
		t_skip("the stock exporter has no limits");
	expect(req);
	*req = good;
	req->get.nr_ranges = nr;
	expect_err(ask_raw(dev, req), EINVAL);
	req->get.nr_ranges = ~0u;
	expect_err(ask_raw(dev, req), EINVAL);
	req->feature.argsz = ~0u;
	expect_err(ask_raw(dev, req), EINVAL);

	req->feature.argsz = size;
	req->get.nr_ranges = nr;
	for (u32 i = 0; i < nr; i++) {
		req->ranges[i].offset = i % 4096 * 2 * PAGE;
		req->ranges[i].length = PAGE;
	}
	start = t_now_ns();
	for (int i = 0; i < 10; i++)
		expect_err(ask_raw(dev, req), ENOSPC);
	expect_le((t_now_ns() - start) / 1000000, 1000);
	t_res_same(&before);
	check_good(dev);
}

/* Two pages, of which the second cannot be read; returns where it starts. */
static u8 *edge(void)
{
	u8 *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(p != MAP_FAILED);
	expect_ok(munmap(p + PAGE, PAGE));
	return p + PAGE;
}

TEST(badinput, unreadable_argument)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	struct t_res before = t_res_take(vfio_exporter());
	u8 *end = edge();

	expect_err(ask_raw(dev, NULL), EFAULT);
	expect_err(ask_raw(dev, (void *)1), EFAULT);
	expect_err(ask_raw(dev, (void *)~0xfffull), EFAULT);
	/* Cut off at each word: header, request, ranges */
	for (size_t len = 0; len < sizeof(good); len += 4) {
		memcpy(end - len, &good, len);
		expect_err(ask_raw(dev, end - len), EFAULT);
	}
	memcpy(end - sizeof(good), &good, sizeof(good));
	t_res_same(&before);
	expect_fd(ask_raw(dev, end - sizeof(good)));
}

/* No room for one more descriptor: everything is undone. */
static void export_without_fds(void *arg)
{
	struct rlimit limit, none;

	expect_ok(getrlimit(RLIMIT_NOFILE, &limit));
	none = limit;
	none.rlim_cur = 0;
	expect_ok(setrlimit(RLIMIT_NOFILE, &none));
	expect_err(export_range(arg, 0, 0, PAGE), EMFILE);
	expect_ok(setrlimit(RLIMIT_NOFILE, &limit));
}

TEST_TIMEOUT(badinput, no_file_descriptor_left, 60)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	struct t_res before = t_res_take(vfio_exporter());
	char bdf[VFIO_BDF_LEN];

	memcpy(bdf, dev->bdf, sizeof(bdf));
	export_without_fds(dev);
	t_res_same(&before);
	t_expect_flat(1000, export_without_fds, dev, "EMFILE");
	t_res_same(&before);
	check_good(dev);
	vfio_close(dev);
	vfio_unbind(bdf);
}
