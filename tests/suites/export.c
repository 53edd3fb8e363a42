// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exporting slices of a BAR: what comes out of it, and what it takes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "importer.h"
#include "vfio.h"

#define GET_DMA_BUF	(VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF)

static const char * const all_roles[] = {
	"nvme_sw", "shm_sw", "edu_rp", "nvme_mf", "shm_mf", "conv0", "rng",
	"bochs", "e1000e", "big",
};

static u64 size_of(int fd)
{
	return expect_ok(lseek(fd, 0, SEEK_END));
}

static void allow_fds(rlim_t n)
{
	struct rlimit limit = { n, n };

	expect_ok(setrlimit(RLIMIT_NOFILE, &limit));
}

/* --- probing */

TEST(export, probe)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	struct t_res before = t_res_take(vfio_exporter());
	const u32 probe = VFIO_DEVICE_FEATURE_PROBE |
			  VFIO_DEVICE_FEATURE_DMA_BUF;

	expect_eq(vfio_feature(dev->fd, probe, NULL, 0), 0);
	expect_eq(vfio_feature(dev->fd, probe | VFIO_DEVICE_FEATURE_GET, NULL,
			       0), 0);
	t_res_same(&before);
}

/* A probe with all that a GET needs must not become one. */
TEST(export, probe_creates_nothing)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	struct t_res before = t_res_take(vfio_exporter());
	struct {
		struct vfio_device_feature_dma_buf get;
		struct vfio_region_dma_range range;
	} arg = {
		.get = { .open_flags = O_RDWR, .nr_ranges = 1 },
		.range = { 0, PAGE },
	};

	for (int i = 0; i < 100; i++)
		expect_eq(vfio_feature(dev->fd, GET_DMA_BUF |
				       VFIO_DEVICE_FEATURE_PROBE, &arg,
				       sizeof(arg)), 0);
	t_res_same(&before);
	close(expect_fd(vfio_feature(dev->fd, GET_DMA_BUF, &arg,
				     sizeof(arg))));
	t_res_same(&before);
}

/* --- one buffer */

TEST(export, one_range)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	struct t_res before = t_res_take(vfio_exporter());
	static const u64 lengths[] = { PAGE, 2 * PAGE, KIB(64), MIB(2),
				       MIB(33) };

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		int fd = expect_fd(export_range(dev, 0, MIB(16), lengths[i]));

		expect_eq(size_of(fd), lengths[i]);
		expect_eq(lseek(fd, 0, SEEK_SET), 0);
		expect_eq(t_fd_count(), before.fds + 1);
		expect_eq(t_refcnt(vfio_exporter()), before.refcnt + 1);
		expect_ok(close(fd));
		t_res_same(&before);
	}
}

TEST(export, last_page)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	int fd;

	fd = export_range(dev, 0, vfio_bar_size(dev, 0) - PAGE, PAGE);
	expect_fd(fd);
	expect_eq(size_of(fd), PAGE);
}

/* Sizes 1, 2, ... pages with gaps; none may take the size of another. */
TEST(export, many_ranges)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	struct vfio_region_dma_range ranges[64];
	u64 offset = 0, sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		ranges[i].offset = offset;
		ranges[i].length = (i + 1) * PAGE;
		offset += ranges[i].length + PAGE;
		sum += ranges[i].length;
		expect_eq(size_of(expect_fd(export_buf(dev->fd, 0, O_RDWR, 0,
						       ranges, i + 1))), sum);
	}
}

TEST(export, ranges_in_any_order)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	static const struct vfio_region_dma_range down[] = {
		{ MIB(12), PAGE }, { MIB(8), 3 * PAGE }, { MIB(4), PAGE },
		{ 0, 2 * PAGE },
	}, overlapping[] = {
		{ 0, 4 * PAGE }, { PAGE, 4 * PAGE }, { 2 * PAGE, PAGE },
	}, alias[] = {
		{ PAGE, PAGE }, { PAGE, PAGE }, { PAGE, PAGE },
	}, adjacent[] = {
		{ 0, PAGE }, { PAGE, PAGE }, { 2 * PAGE, PAGE },
	};

	expect_eq(size_of(expect_fd(export_buf(dev->fd, 0, 0, 0, down, 4))),
		  7 * PAGE);
	expect_eq(size_of(expect_fd(export_buf(dev->fd, 0, 0, 0, overlapping,
					       3))), 9 * PAGE);
	expect_eq(size_of(expect_fd(export_buf(dev->fd, 0, 0, 0, alias, 3))),
		  3 * PAGE);
	expect_eq(size_of(expect_fd(export_buf(dev->fd, 0, 0, 0, adjacent, 3))),
		  3 * PAGE);
}

/* A ring that goes on at its end, and no more than that */
TEST(export, bar_twice)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	u64 bar = vfio_bar_size(dev, 0);
	const struct vfio_region_dma_range ranges[] = {
		{ 0, bar }, { 0, bar }, { bar - PAGE, PAGE },
	};

	expect_eq(size_of(expect_fd(export_buf(dev->fd, 0, 0, 0, ranges, 2))),
		  2 * bar);
	expect_err(export_buf(dev->fd, 0, 0, 0, ranges, 3), ENOSPC);
	expect_eq(size_of(expect_fd(export_buf(dev->fd, 0, 0, 0, ranges + 1,
					       2))), bar + PAGE);
}

static int export_all_bars(const struct vfio_dev *dev)
{
	int n = 0;

	for (int bar = 0; bar <= VFIO_PCI_BAR5_REGION_INDEX; bar++) {
		u64 size = vfio_bar_size(dev, bar);
		int fd;

		if (!size || vfio_bar_is_io(dev, bar))
			continue;
		if (size % PAGE) {
			expect_err(export_bar(dev, bar), EINVAL);
			continue;
		}
		fd = expect_fd(export_bar(dev, bar));
		expect_eq(size_of(fd), size);
		expect_ok(close(fd));
		n++;
	}
	return n;
}

TEST_TIMEOUT(export, every_memory_bar, 60)
{
	int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all_roles); i++) {
		struct vfio_dev *dev;
		int bars;

		if (!t_has_role(all_roles[i]))
			continue;
		dev = vfio_open_exporter(all_roles[i]);
		bars = export_all_bars(dev);
		expect_ge(bars, 1);
		n += bars;
		vfio_close(dev);
	}
	t_note("%d BARs", n);
}

/* KASAN makes a shadow of all of it when the function is opened. */
TEST_TIMEOUT(export, whole_of_a_big_bar, 120)
{
	struct vfio_dev *dev = vfio_open_exporter("big");
	const u64 size = t_big_size();
	struct vfio_region_dma_range halves[] = {
		{ size / 2, size / 2 }, { 0, size / 2 },
	};

	expect_eq(vfio_bar_size(dev, 2), size);
	expect_eq(size_of(expect_fd(export_bar(dev, 2))), size);
	expect_eq(size_of(expect_fd(export_buf(dev->fd, 2, O_RDWR, 0, halves,
					       2))), size);
	expect_eq(size_of(expect_fd(export_range(dev, 2, size - PAGE, PAGE))),
		  PAGE);
}

/* --- the file descriptor */

static void check_open_flags(const struct vfio_dev *dev, u32 flags)
{
	struct vfio_region_dma_range range = { 0, PAGE };
	int fd = expect_fd(export_buf(dev->fd, 0, flags, 0, &range, 1));

	expect_eq(!!(expect_ok(fcntl(fd, F_GETFD)) & FD_CLOEXEC),
		  !!(flags & O_CLOEXEC));
	expect_eq(expect_ok(fcntl(fd, F_GETFL)) & (O_ACCMODE | O_NONBLOCK),
		  flags & (O_ACCMODE | O_NONBLOCK));
	expect_ok(close(fd));
}

TEST(export, open_flags)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");

	check_open_flags(dev, O_RDONLY);
	check_open_flags(dev, O_RDWR);
	check_open_flags(dev, O_WRONLY);
	check_open_flags(dev, O_RDONLY | O_CLOEXEC);
	check_open_flags(dev, O_RDWR | O_CLOEXEC);
	check_open_flags(dev, O_RDWR | O_NONBLOCK);
}

TEST(export, fdinfo)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	int fd = expect_fd(export_range(dev, 0, 0, 3 * PAGE));
	unsigned long size = 0;
	char buf[1024], *at;

	expect_ge(t_read(buf, sizeof(buf), "/proc/self/fdinfo/%d", fd), 1);
	at = strstr(buf, "\nsize:");
	expect(at && sscanf(at, " size: %lu", &size) == 1, "%s", buf);
	expect_eq(size, 3 * PAGE);
	at = strstr(buf, "\nexp_name:\t");
	expect(at, "%s", buf);
	at += strlen("\nexp_name:\t");
	expect(!strncmp(at, vfio_is_stock() ? vfio_exporter() : vfio_driver(),
			strcspn(at, "\n")), "exp_name %s", at);
}

TEST(export, reading_and_writing_the_fd_is_refused)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	int fd = expect_fd(export_range(dev, 0, 0, PAGE));
	char byte = 0;

	expect_errno(read(fd, &byte, 1), EINVAL);
	expect_errno(write(fd, &byte, 1), EINVAL);
}

/* --- several buffers */

TEST(export, same_range_twice)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	int a = expect_fd(export_range(dev, 0, PAGE, PAGE));
	int b = expect_fd(export_range(dev, 0, PAGE, PAGE));

	expect_ne(a, b);
	expect_ok(close(a));
	expect_eq(size_of(b), PAGE);
}

TEST(export, from_two_functions)
{
	struct vfio_dev *nvme = vfio_open_exporter("nvme_mf");
	struct vfio_dev *shm = vfio_open("shm_mf");
	int a, b;

	for (int i = 0; i < 10; i++) {
		a = expect_fd(export_range(nvme, 2, 0, MIB(16)));
		b = expect_fd(export_range(shm, 2, 0, MIB(4)));
		expect_eq(size_of(a), MIB(16));
		expect_eq(size_of(b), MIB(4));
		if (i & 1)
			expect_ok(close(a));
		else
			expect_ok(close(b));
	}
	vfio_close(nvme);
	expect_fd(export_range(shm, 2, 0, PAGE));
}

/* Through either of two descriptors of the function */
TEST(export, from_two_device_fds)
{
	struct vfio_region_dma_range range = { 0, PAGE };
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	int again = expect_fd(vfio_device_fd(dev));
	int fd = expect_fd(export_buf(again, 0, O_RDWR, 0, &range, 1));

	expect_ok(close(dev->fd));
	expect_eq(size_of(fd), PAGE);
	expect_fd(export_buf(again, 0, O_RDWR, 0, &range, 1));
	dev->fd = again;
}

static void need_limits(void)
{
	if (vfio_is_stock())
		t_skip("the stock exporter has no limits");
}

/* Exports until it is refused; how many there were */
static int export_until(const struct vfio_dev *dev, int *fds, int max,
			const struct vfio_region_dma_range *ranges, u32 nr,
			int err)
{
	int n, fd;

	for (n = 0; n < max; n++) {
		fd = export_buf(dev->fd, 0, O_RDWR, 0, ranges, nr);
		if (fd < 0) {
			expect_err(fd, err);
			return n;
		}
		fds[n] = fd;
	}
	t_fail("no limit after %d", max);
}

static void close_all(const int *fds, int n)
{
	while (n--)
		expect_ok(close(fds[n]));
}

TEST(export, limit_of_buffers)
{
	static const struct vfio_region_dma_range page = { 0, PAGE };
	static int fds[1 << 14];
	struct vfio_dev *dev, *other;
	struct t_res before;
	int n, again;

	need_limits();
	allow_fds(ARRAY_SIZE(fds) + 64);
	dev = vfio_open_exporter("bochs");
	other = vfio_open("shm_mf");
	before = t_res_take(vfio_exporter());

	n = export_until(dev, fds, ARRAY_SIZE(fds), &page, 1, ENOSPC);
	t_note("%d buffers", n);
	expect_ge(n, 256);
	expect_ok(close(fds[0]));
	fds[0] = expect_fd(export_range(dev, 0, 0, PAGE));
	expect_err(export_range(dev, 0, 0, PAGE), ENOSPC);
	/* Nobody else suffers. */
	expect_ok(close(expect_fd(export_range(other, 2, 0, PAGE))));

	close_all(fds, n);
	t_res_same(&before);
	again = export_until(dev, fds, ARRAY_SIZE(fds), &page, 1, ENOSPC);
	expect_eq(again, n);

	/* Old ones that are still open don't count after a reopen. */
	vfio_close(dev);
	dev = vfio_open("bochs");
	expect_fd(export_range(dev, 0, 0, PAGE));
}

/* Each is told, and cut off, by a revoke. */
TEST(export, limit_of_attachments)
{
	struct vfio_dev *dev = vfio_open("bochs");
	const char *edu = t_role("edu_sw");
	static int handles[1024];
	int imp, fd, other, handle;

	if (vfio_is_stock())
		t_skip("the stock driver has no limit");
	imp = imp_open();
	fd = expect_fd(export_range(dev, 0, 0, PAGE));
	for (u32 i = 0; i < ARRAY_SIZE(handles); i++) {
		handles[i] = imp_attach(imp, fd, edu);
		expect_ge(handles[i], 0);
	}
	expect_eq(imp_attach(imp, fd, edu), -ENOSPC);
	/* Another buffer's do not count. */
	other = expect_fd(export_range(dev, 0, 0, PAGE));
	handle = imp_attach(imp, other, edu);
	expect_ge(handle, 0);
	expect_eq(imp_detach(imp, handle), 0);
	expect_eq(imp_detach(imp, handles[5]), 0);
	handles[5] = imp_attach(imp, fd, edu);
	expect_ge(handles[5], 0);
	expect_eq(imp_map(imp, handles[5], NULL), 0);
	expect_eq(imp_attach(imp, fd, edu), -ENOSPC);
}

TEST(export, limit_of_ranges)
{
	static struct vfio_region_dma_range ranges[MIB(64) / PAGE / 4];
	static int fds[1024];
	struct vfio_dev *dev;
	int n;

	need_limits();
	allow_fds(4096);
	dev = vfio_open_exporter("bochs");
	/* None continues another, so nothing can be merged. */
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		ranges[i].offset = 2 * i * PAGE;
		ranges[i].length = PAGE;
	}
	n = export_until(dev, fds, ARRAY_SIZE(fds), ranges,
			 ARRAY_SIZE(ranges), ENOSPC);
	t_note("%zu ranges", n * ARRAY_SIZE(ranges));
	expect_ge(n, 1);
	close_all(fds, n);
	expect_eq(export_until(dev, fds, ARRAY_SIZE(fds), ranges,
			       ARRAY_SIZE(ranges), ENOSPC), n);
}

/* --- the state of the function */

TEST(export, memory_decoding_off)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");

	vfio_mem_enable(dev, false);
	expect_eq(size_of(expect_fd(export_range(dev, 0, 0, PAGE))), PAGE);
	vfio_mem_enable(dev, true);
	expect_eq(size_of(expect_fd(export_range(dev, 0, 0, PAGE))), PAGE);
}

TEST(export, memory_decoding_off_starts_unusable)
{
	struct vfio_dev *dev = vfio_open_exporter("bochs");
	int imp = imp_open(), fd, att;
	const char *edu = imp_edu("edu_rp");

	if (vfio_is_stock())
		t_skip("stock refuses to attach rather than to map");
	if (!t_host_forwards())
		t_skip("the host bridge does not forward");
	vfio_mem_enable(dev, false);
	fd = expect_fd(export_range(dev, 0, 0, PAGE));
	att = imp_attach(imp, fd, edu);
	expect_ge(att, 0);
	expect_err(imp_map(imp, att, NULL), ENODEV);
	vfio_mem_enable(dev, true);
	expect_eq(imp_map(imp, att, NULL), 0);
}

/* Where another module has the BAR, nobody may have it of us. */
TEST(export, bar_of_another_module)
{
	const char *bdf = t_role("e1000e");
	struct vfio_dev *dev;
	int imp = imp_open();

	vfio_unbind(bdf);
	expect_eq(imp_claim(imp, bdf, 1, true), 0);
	dev = vfio_open_exporter("e1000e");
	expect_err(export_range(dev, 1, 0, PAGE), ENODEV);
	expect_err(export_bar(dev, 1), ENODEV);
	close(expect_fd(export_range(dev, 0, 0, PAGE)));
	vfio_close(dev);
	vfio_unbind(bdf);

	/* It was not taken away from its owner, either. */
	expect_err(imp_claim(imp_open(), bdf, 1, true), EBUSY);
	expect_eq(imp_claim(imp, bdf, 1, false), 0);
	dev = vfio_open("e1000e");
	expect_fd(export_bar(dev, 1));
}
