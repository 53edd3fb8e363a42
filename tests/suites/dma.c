// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device DMA to exported BARs: the bytes arrive where they should, and nowhere
 * once the mapping is gone. An edu device below a root port of its own is the
 * importer, unless a case says otherwise.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "importer.h"
#include "vfio.h"

/* NVMe registers, for the controllers whose memory buffers are the targets */
#define NVME_CMBMSC	0x50
#define NVME_CMBMSC_ON	0x3		/* CRE, CMSE */
#define NVME_PMRCTL	0xe04
#define NVME_PMRCTL_EN	0x1

/* --- the bench */

static bool translates(void)
{
	return t_bench_is("iommu", "on");
}

static void need_translation(void)
{
	if (!translates())
		t_skip("nothing translates for the importer");
}

static void need_no_translation(void)
{
	if (translates())
		t_skip("QEMU routes inside no switch when it translates");
}

static void need_host_bridge(void)
{
	if (!t_host_forwards())
		t_skip("the host bridge does not forward");
}

static u64 bar_start(const char *bdf, int bar)
{
	char buf[1024], *line;
	u64 start;

	expect(t_read(buf, sizeof(buf), "/sys/bus/pci/devices/%s/resource",
		      bdf) > 0);
	line = strtok(buf, "\n");
	while (bar-- && line)
		line = strtok(NULL, "\n");
	expect(line);
	start = strtoull(line, NULL, 16);
	expect(start);
	return start;
}

/* --- bytes */

static void pattern(u8 *buf, size_t len, u32 seed)
{
	u32 x = seed * 2654435761u + 1;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		buf[i] = x >> 24;
	}
}

static void cpu_write(const struct vfio_dev *dev, int bar, u64 offset,
		      const void *buf, size_t len)
{
	expect_eq(vfio_try_pwrite(dev, bar, buf, len, offset), len);
}

static void cpu_read(const struct vfio_dev *dev, int bar, u64 offset,
		     void *buf, size_t len)
{
	expect_eq(vfio_try_pread(dev, bar, buf, len, offset), len);
}

static size_t first_difference(const u8 *a, const u8 *b, size_t len)
{
	size_t i = 0;

	while (i < len && a[i] == b[i])
		i++;
	return i;
}

/* What the CPU sees at @offset of the BAR is @want. */
static void expect_bytes(const char *what, const struct vfio_dev *dev, int bar,
			 u64 offset, const u8 *want, size_t len)
{
	u8 *have = malloc(len);
	size_t at;

	expect(have);
	cpu_read(dev, bar, offset, have, len);
	at = first_difference(have, want, len);
	if (at < len)
		t_fail("%s: BAR %d + %#llx is %02x, not %02x", what, bar,
		       offset + at, have[at], want[at]);
	free(have);
}

/* --- a provider, its buffer, an importer */

struct peer {
	struct vfio_dev *dev;
	int bar;
	int fd;				/* the buffer */
	int imp;
	const char *edu;
	int handle;
	struct imp_map map;
};

static bool is_nvme(const char *role)
{
	return !strncmp(role, "nvme", 4);
}

static void enable_memory(struct vfio_dev *dev, const char *role, int bar)
{
	u64 cmbmsc = NVME_CMBMSC_ON;
	u32 pmrctl = NVME_PMRCTL_EN;

	vfio_mem_enable(dev, true);
	if (is_nvme(role) && bar == 2)
		cpu_write(dev, 0, NVME_CMBMSC, &cmbmsc, sizeof(cmbmsc));
	if (is_nvme(role) && bar == 4)
		cpu_write(dev, 0, NVME_PMRCTL, &pmrctl, sizeof(pmrctl));
}

static void export_ranges(struct peer *p, const char *role, int bar,
			  const struct vfio_region_dma_range *ranges, u32 n)
{
	p->dev = vfio_open_exporter(role);
	p->bar = bar;
	enable_memory(p->dev, role, bar);
	p->fd = expect_fd(export_buf(p->dev->fd, bar, O_RDWR | O_CLOEXEC, 0,
				     ranges, n));
}

static void attach(struct peer *p, const char *edu)
{
	p->imp = imp_open();
	p->edu = imp_edu(edu);
	p->handle = expect_fd(imp_attach(p->imp, p->fd, p->edu));
}

static void map(struct peer *p)
{
	expect_eq(imp_map(p->imp, p->handle, &p->map), 0);
}

/* Exports from @role, attaches the edu behind a root port, and maps. */
static void connect_ranges(struct peer *p, const char *role, int bar,
			   const struct vfio_region_dma_range *ranges, u32 n)
{
	need_host_bridge();
	export_ranges(p, role, bar, ranges, n);
	attach(p, "edu_rp");
	map(p);
}

static void connect_range(struct peer *p, const char *role, int bar,
			  u64 offset, u64 length)
{
	struct vfio_region_dma_range range = { offset, length };

	connect_ranges(p, role, bar, &range, 1);
}

static void dma_write(const struct peer *p, u64 addr, const void *buf, u32 len)
{
	expect_eq(imp_write(p->imp, p->edu, addr, buf, len), 0);
}

static void dma_read(const struct peer *p, u64 addr, void *buf, u32 len)
{
	expect_eq(imp_read(p->imp, p->edu, addr, buf, len), 0);
}

/* --- one range, there and back */

#define WINDOW		(6 * PAGE)	/* what is looked at, */
#define RANGE_AT	PAGE		/* what of it is exported, */
#define RANGE_LEN	(4 * PAGE)
#define BAR_AT		(16 * PAGE)	/* and where it is in the BAR */

static void there_and_back(struct peer *p)
{
	u64 end = RANGE_LEN - 777;
	u8 image[WINDOW], buf[1000];

	expect_eq(p->map.size, RANGE_LEN);
	pattern(image, WINDOW, 1);
	cpu_write(p->dev, p->bar, BAR_AT, image, WINDOW);

	/* Across a page boundary; the neighbours stay as they are. */
	pattern(buf, sizeof(buf), 2);
	memcpy(image + RANGE_AT + PAGE - 500, buf, sizeof(buf));
	dma_write(p, imp_addr(&p->map, PAGE - 500, sizeof(buf)), buf,
		  sizeof(buf));
	expect_bytes("device's write", p->dev, p->bar, BAR_AT, image, WINDOW);

	/* Up to the last byte, which only the CPU has written. */
	memset(buf, 0, sizeof(buf));
	dma_read(p, imp_addr(&p->map, end, 777), buf, 777);
	expect_eq(first_difference(buf, image + RANGE_AT + end, 777), 777);
}

static void moves_bytes(const char *role, int bar)
{
	struct peer p;

	connect_range(&p, role, bar, BAR_AT + RANGE_AT, RANGE_LEN);
	there_and_back(&p);
}

TEST(dma, moves_bytes_ivshmem)
{
	moves_bytes("shm_sw", 2);
}

TEST(dma, moves_bytes_nvme_cmb)
{
	moves_bytes("nvme_sw", 2);
}

TEST(dma, moves_bytes_nvme_pmr)
{
	moves_bytes("nvme_mf", 4);
}

TEST(dma, moves_bytes_bochs)
{
	moves_bytes("bochs", 0);
}

TEST(dma, moves_bytes_conventional)
{
	moves_bytes("conv0", 2);
}

/* By bus address: QEMU lets that through only where nothing translates. */
static void moves_bytes_near(const char *role, int bar, const char *edu)
{
	struct vfio_region_dma_range range = { BAR_AT + RANGE_AT, RANGE_LEN };
	struct peer p;

	need_no_translation();
	if (vfio_group_of(t_role(role)) >= 0 &&
	    vfio_group_of(t_role(role)) == vfio_group_of(t_role(edu)))
		t_skip("one IOMMU group: VFIO does not share it");
	export_ranges(&p, role, bar, &range, 1);
	attach(&p, edu);
	map(&p);
	there_and_back(&p);
}

TEST(dma, moves_bytes_below_switch)
{
	moves_bytes_near("shm_sw", 2, "edu_sw");
}

TEST(dma, moves_bytes_below_switch_cmb)
{
	moves_bytes_near("nvme_sw", 2, "edu_sw");
}

TEST(dma, moves_bytes_below_pci_bridge)
{
	if (!t_bench_is("iommu", "off") && vfio_group_of(t_role("conv1")) < 0)
		t_skip("the IOMMU lets nothing of that device through");
	moves_bytes_near("conv0", 2, "conv1");
}

/* --- no way in but the mapping */

/* Through @addr, RANGE_LEN bytes, nothing of the BAR is written or read. */
static void expect_out_of_reach(struct peer *p, const char *what, u64 addr)
{
	u8 image[WINDOW], buf[512];

	pattern(image, WINDOW, 3);
	cpu_write(p->dev, p->bar, BAR_AT, image, WINDOW);

	pattern(buf, sizeof(buf), 4);
	dma_write(p, addr + PAGE, buf, sizeof(buf));
	expect_bytes(what, p->dev, p->bar, BAR_AT, image, WINDOW);

	dma_read(p, addr + 3 * PAGE, buf, sizeof(buf));
	expect(memcmp(buf, image + RANGE_AT + 3 * PAGE, sizeof(buf)),
	       "%s: the device read the BAR", what);
}

static void unmapped_is_out_of_reach(const char *role, int bar)
{
	struct peer p;
	u64 addr;

	need_translation();
	connect_range(&p, role, bar, BAR_AT + RANGE_AT, RANGE_LEN);
	addr = imp_addr(&p.map, 0, RANGE_LEN);
	there_and_back(&p);

	expect_eq(imp_unmap(p.imp, p.handle), 0);
	expect_out_of_reach(&p, "after the unmap", addr);

	/* The other way round: it was not the engine that failed. */
	imp_map_free(&p.map);
	map(&p);
	there_and_back(&p);

	addr = imp_addr(&p.map, 0, RANGE_LEN);
	expect_eq(imp_detach(p.imp, p.handle), 0);
	expect_out_of_reach(&p, "after the detach", addr);
}

TEST(dma, unmapped_is_out_of_reach_ivshmem)
{
	unmapped_is_out_of_reach("shm_sw", 2);
}

TEST(dma, unmapped_is_out_of_reach_nvme_cmb)
{
	unmapped_is_out_of_reach("nvme_sw", 2);
}

TEST(dma, unmapped_is_out_of_reach_bochs)
{
	unmapped_is_out_of_reach("bochs", 0);
}

TEST(dma, physical_address_is_out_of_reach)
{
	struct peer p;
	u64 phys;

	need_translation();
	connect_range(&p, "shm_sw", 2, BAR_AT + RANGE_AT, RANGE_LEN);
	phys = bar_start(p.dev->bdf, p.bar) + BAR_AT + RANGE_AT;
	expect_ne(imp_addr(&p.map, 0, RANGE_LEN), phys);
	expect_out_of_reach(&p, "by physical address", phys);
	there_and_back(&p);
}

TEST(dma, outside_the_range_is_out_of_reach)
{
	u8 image[WINDOW], buf[512];
	struct peer p;
	u64 addr;

	need_translation();
	connect_range(&p, "shm_sw", 2, BAR_AT + RANGE_AT, RANGE_LEN);
	addr = imp_addr(&p.map, 0, RANGE_LEN);
	pattern(image, WINDOW, 5);
	cpu_write(p.dev, p.bar, BAR_AT, image, WINDOW);

	pattern(buf, sizeof(buf), 6);
	dma_write(&p, addr - sizeof(buf), buf, sizeof(buf));
	dma_write(&p, addr + RANGE_LEN, buf, sizeof(buf));
	expect_bytes("beside the range", p.dev, p.bar, BAR_AT, image, WINDOW);
	there_and_back(&p);
}

/*
 * An IOMMU may go on with what it has in its cache; the kernel's default is to
 * tell it otherwise only every 10 ms or so. Exporters can't have that: when
 * an unmap returns, it is over. The engine writes within those 10 ms.
 */
TEST_TIMEOUT(dma, unmap_does_not_wait_for_a_flush, 60)
{
	static const u32 delays[] = { 97, 95, 93, 90 };
	u8 image[WINDOW], buf[512], back[512];
	struct peer p;
	int tried = 0;

	need_translation();
	connect_range(&p, "shm_sw", 2, BAR_AT + RANGE_AT, RANGE_LEN);
	pattern(image, WINDOW, 9);
	cpu_write(p.dev, p.bar, BAR_AT, image, WINDOW);
	pattern(buf, sizeof(buf), 10);
	for (int i = 0; i < 40 && tried < 8; i++) {
		u64 addr = imp_addr(&p.map, PAGE, sizeof(buf));
		bool busy;

		/* A read, for the IOMMU to have it in its cache */
		dma_read(&p, addr, back, sizeof(back));
		expect_eq(imp_cut(p.imp, p.edu, addr, buf, sizeof(buf),
				  p.handle, delays[i % ARRAY_SIZE(delays)],
				  &busy), 0);
		if (busy) {
			tried++;
			expect_bytes("after the unmap", p.dev, p.bar, BAR_AT,
				     image, WINDOW);
		} else {
			cpu_write(p.dev, p.bar, BAR_AT, image, WINDOW);
		}
		imp_map_free(&p.map);
		map(&p);
	}
	if (!tried)
		t_skip("the engine was always faster");
}

/* --- direction */

static void connect_one_way(struct peer *p, u32 dir, u8 *image)
{
	struct vfio_region_dma_range range = { 0, PAGE };

	need_host_bridge();
	need_translation();
	export_ranges(p, "shm_sw", 2, &range, 1);
	attach(p, "edu_rp");
	expect_eq(imp_map_dir(p->imp, p->handle, dir, &p->map), 0);
	pattern(image, PAGE, 7);
	cpu_write(p->dev, p->bar, 0, image, PAGE);
}

TEST(dma, to_device_cannot_write)
{
	u8 image[PAGE], buf[512];
	struct peer p;

	connect_one_way(&p, DVPI_TO_DEVICE, image);
	dma_read(&p, imp_addr(&p.map, 100, sizeof(buf)), buf, sizeof(buf));
	expect_eq(first_difference(buf, image + 100, sizeof(buf)), sizeof(buf));

	pattern(buf, sizeof(buf), 8);
	dma_write(&p, imp_addr(&p.map, 100, sizeof(buf)), buf, sizeof(buf));
	expect_bytes("write", p.dev, p.bar, 0, image, PAGE);
}

TEST(dma, from_device_cannot_read)
{
	u8 image[PAGE], buf[512];
	struct peer p;

	/* They set the read bit of every entry, whatever they are asked for. */
	if (!t_kernel_since(7, 2))
		t_skip("this kernel's VT-d makes no write-only mappings");
#ifdef __aarch64__
	t_skip("the SMMU's stage 1 has no write-only mappings");
#endif
	connect_one_way(&p, DVPI_FROM_DEVICE, image);
	pattern(buf, sizeof(buf), 8);
	memcpy(image + 100, buf, sizeof(buf));
	dma_write(&p, imp_addr(&p.map, 100, sizeof(buf)), buf, sizeof(buf));
	expect_bytes("write", p.dev, p.bar, 0, image, PAGE);

	dma_read(&p, imp_addr(&p.map, 2000, sizeof(buf)), buf, sizeof(buf));
	expect(memcmp(buf, image + 2000, sizeof(buf)), "the device read it");
}

/* --- more than one range */

/*
 * The mapping says where each byte of each range is: entries in order, page
 * aligned, none of 4 GiB or more, each range in one piece of the device's
 * address space; that of the BAR, where nothing translates.
 */
static void expect_layout(const struct peer *p,
			  const struct vfio_region_dma_range *ranges, u32 n)
{
	u64 start = bar_start(p->dev->bdf, p->bar);
	u64 have = 0, want = 0, base = 0, left = 0, addr = 0;
	u32 s = 0;

	for (u32 i = 0; i < p->map.nents; i++) {
		const struct dvpi_seg *seg = &p->map.segs[i];

		expect(seg->len && !(seg->len % PAGE) && !(seg->addr % PAGE) &&
		       seg->len <= UINT_MAX, "entry %u: %#llx at %#llx", i,
		       seg->len, seg->addr);
		have += seg->len;
	}
	for (u32 i = 0; i < n; i++) {
		base = 0;
		for (u64 at = 0; at < ranges[i].length;) {
			u64 part = ranges[i].length - at;

			if (!left) {
				expect(s < p->map.nents,
				       "the mapping ends in range %u", i);
				addr = p->map.segs[s].addr;
				left = p->map.segs[s++].len;
			}
			if (!at)
				base = addr;
			expect(addr == base + at,
			       "range %u is at %#llx, but %#llx of it at %#llx",
			       i, base, at, addr);
			if (part > left)
				part = left;
			at += part;
			addr += part;
			left -= part;
		}
		if (!translates())
			expect_eq(base, start + ranges[i].offset);
		want += ranges[i].length;
	}
	expect_eq(have, want);
}

/* Either a range is an entry, or all of them are one I/O address range. */
static void expect_entries(const struct peer *p,
			   const struct vfio_region_dma_range *ranges, u32 n)
{
	if (translates() && p->map.nents == 1)
		return;
	expect_eq(p->map.nents, n);
	for (u32 i = 0; i < n; i++)
		expect(p->map.segs[i].len == ranges[i].length,
		       "entry %u has %#llx bytes, not %#llx", i,
		       p->map.segs[i].len, ranges[i].length);
}

/*
 * The device writes the first and last bytes of each range; the CPU looks at
 * the BAR from its start to past the last range, gaps included.
 */
static void expect_writes_land(const struct peer *p,
			       const struct vfio_region_dma_range *ranges,
			       u32 n)
{
	u64 offset = 0, end = 0;
	u8 *image, buf[700];

	for (u32 i = 0; i < n; i++)
		if (ranges[i].offset + ranges[i].length > end)
			end = ranges[i].offset + ranges[i].length;
	end += PAGE;
	image = malloc(end);
	expect(image);
	pattern(image, end, 10);
	cpu_write(p->dev, p->bar, 0, image, end);

	for (u32 i = 0; i < n; i++) {
		u64 tail = ranges[i].length - sizeof(buf);

		pattern(buf, sizeof(buf), 20 + i);
		memcpy(image + ranges[i].offset, buf, sizeof(buf));
		dma_write(p, imp_addr(&p->map, offset, sizeof(buf)), buf,
			  sizeof(buf));

		pattern(buf, sizeof(buf), 40 + i);
		memcpy(image + ranges[i].offset + tail, buf, sizeof(buf));
		dma_write(p, imp_addr(&p->map, offset + tail, sizeof(buf)),
			  buf, sizeof(buf));
		offset += ranges[i].length;
	}
	expect_bytes("device's writes", p->dev, p->bar, 0, image, end);

	/* And one of them back. */
	dma_read(p, imp_addr(&p->map, 0, sizeof(buf)), buf, sizeof(buf));
	expect_eq(first_difference(buf, image + ranges[0].offset, sizeof(buf)),
		  sizeof(buf));
	free(image);
}

static void ranges_are_apart(const char *role, int bar,
			     const struct vfio_region_dma_range *ranges, u32 n)
{
	struct peer p;

	connect_ranges(&p, role, bar, ranges, n);
	expect_layout(&p, ranges, n);
	expect_entries(&p, ranges, n);
	expect_writes_land(&p, ranges, n);

	/* As well the second time. */
	expect_eq(imp_unmap(p.imp, p.handle), 0);
	imp_map_free(&p.map);
	map(&p);
	expect_layout(&p, ranges, n);
}

static const struct vfio_region_dma_range four_gaps[] = {
	{ 6 * PAGE, PAGE }, { 1 * PAGE, PAGE }, { 7 * PAGE, PAGE },
	{ 3 * PAGE, PAGE },
};

TEST(dma, four_ranges_with_gaps)
{
	ranges_are_apart("shm_sw", 2, four_gaps, ARRAY_SIZE(four_gaps));
}

TEST(dma, four_ranges_with_gaps_nvme_cmb)
{
	ranges_are_apart("nvme_sw", 2, four_gaps, ARRAY_SIZE(four_gaps));
}

TEST(dma, three_ranges_of_different_size)
{
	static const struct vfio_region_dma_range ranges[] = {
		{ 8 * PAGE, PAGE }, { 1 * PAGE, 3 * PAGE },
		{ 12 * PAGE, 2 * PAGE },
	};

	ranges_are_apart("shm_sw", 2, ranges, ARRAY_SIZE(ranges));
}

TEST(dma, one_page_twice)
{
	static const struct vfio_region_dma_range ranges[] = {
		{ 2 * PAGE, PAGE }, { 2 * PAGE, PAGE },
	};
	u8 buf[600], back[600];
	struct peer p;

	connect_ranges(&p, "shm_sw", 2, ranges, ARRAY_SIZE(ranges));
	expect_layout(&p, ranges, ARRAY_SIZE(ranges));
	pattern(buf, sizeof(buf), 30);
	dma_write(&p, imp_addr(&p.map, 64, sizeof(buf)), buf, sizeof(buf));
	dma_read(&p, imp_addr(&p.map, PAGE + 64, sizeof(buf)), back,
		 sizeof(back));
	expect_eq(first_difference(buf, back, sizeof(buf)), sizeof(buf));
}

TEST(dma, adjacent_ranges_merge)
{
	struct vfio_region_dma_range *ranges;
	u8 buf[600], back[600];
	struct peer p;
	u32 n = MIB(16) / PAGE;

	ranges = calloc(n, sizeof(*ranges));
	expect(ranges);
	for (u32 i = 0; i < n; i++)
		ranges[i] = (struct vfio_region_dma_range){
			(i + 3) * PAGE, PAGE
		};
	connect_ranges(&p, "bochs", 0, ranges, n);
	expect_eq(p.map.nents, 1);
	expect_layout(&p, ranges, n);

	/* Across what were two ranges once */
	pattern(buf, sizeof(buf), 31);
	dma_write(&p, imp_addr(&p.map, (n - 96) * PAGE - 300, sizeof(buf)), buf,
		  sizeof(buf));
	cpu_read(p.dev, p.bar, (n - 93) * PAGE - 300, back, sizeof(back));
	expect_eq(first_difference(buf, back, sizeof(buf)), sizeof(buf));
}

TEST(dma, many_ranges)
{
	struct vfio_region_dma_range *ranges;
	struct peer p;
	u32 n = 1000;

	/* More entries than fit in a page, and none mergeable */
	ranges = calloc(n, sizeof(*ranges));
	expect(ranges);
	for (u32 i = 0; i < n; i++)
		ranges[i] = (struct vfio_region_dma_range){
			2 * (n - i) * PAGE, PAGE
		};
	connect_ranges(&p, "bochs", 0, ranges, n);
	expect_layout(&p, ranges, n);
	expect_entries(&p, ranges, n);
}

/* --- more than fits in 32 bits */

static void expect_big(const struct peer *p,
		       const struct vfio_region_dma_range *ranges, u32 n,
		       const u64 *offsets, u32 nr_offsets)
{
	u8 buf[512], back[512];

	expect_layout(p, ranges, n);
	for (u32 i = 0; i < nr_offsets; i++) {
		u64 offset = offsets[i], at = offset;
		u32 r = 0;

		while (at >= ranges[r].length)
			at -= ranges[r++].length;
		at += ranges[r].offset;
		pattern(buf, sizeof(buf), 50 + i);
		dma_write(p, imp_addr(&p->map, offset, sizeof(buf)), buf,
			  sizeof(buf));
		cpu_read(p->dev, p->bar, at, back, sizeof(back));
		expect(!memcmp(buf, back, sizeof(buf)),
		       "not at %#llx of the BAR, %#llx of the buffer", at,
		       offset);
	}
}

TEST_TIMEOUT(dma, big_bar_whole, 90)
{
	const u64 size = t_big_size();
	const u64 offsets[] = {
		0, GIB(4) - PAGE - 512, GIB(4) - PAGE, size / 2,
		size / 2 + GIB(1) + 12345, size - 512,
	};
	struct vfio_region_dma_range range = { 0, size };
	struct peer p;

	connect_ranges(&p, "big", 2, &range, 1);
	expect_eq(vfio_bar_size(p.dev, 2), size);
	expect_big(&p, &range, 1, offsets, ARRAY_SIZE(offsets));
}

TEST_TIMEOUT(dma, big_bar_in_pieces, 90)
{
	const u64 size = t_big_size();
	const u64 first = size / 8, second = first + GIB(1) + PAGE;
	const u64 last = size / 16;
	const struct vfio_region_dma_range ranges[] = {
		{ size / 16 * 5, first }, { PAGE, second },
		{ size / 8 * 5, last },
	};
	const u64 offsets[] = {
		first - 512, first, 2 * first, first + second - 512,
		first + second, first + second + last - 512,
	};
	struct peer p;

	connect_ranges(&p, "big", 2, ranges, ARRAY_SIZE(ranges));
	expect_big(&p, ranges, ARRAY_SIZE(ranges), offsets,
		   ARRAY_SIZE(offsets));
}

/*
 * A device that says 32 bits: an IOMMU finds it an address, otherwise it must
 * be refused rather than given half an address.
 */
TEST(dma, narrow_device)
{
	struct vfio_region_dma_range range = { BAR_AT + RANGE_AT, RANGE_LEN };
	u32 flags = DVPI_ATTACH_DYNAMIC | DVPI_ATTACH_NARROW;
	struct peer p;

	need_host_bridge();
	export_ranges(&p, "big", 2, &range, 1);
	expect(bar_start(p.dev->bdf, 2) >= GIB(4));
	p.imp = imp_open();
	p.edu = imp_edu("edu_rp");
	p.handle = expect_fd(imp_attach_flags(p.imp, p.fd, p.edu, flags, NULL));
	if (!translates()) {
		expect_err(imp_map(p.imp, p.handle, NULL), ERANGE);
		return;
	}
	map(&p);
	expect_le(imp_addr(&p.map, 0, RANGE_LEN), UINT_MAX);
	there_and_back(&p);
}

/* I/O addresses that a device's group cannot have: interrupts, firmware */
struct hole {
	u64 first, last;
};

static u32 read_holes(const char *bdf, struct hole *holes, u32 max)
{
	char text[4096], *line;
	u32 n = 0;

	expect_ge(t_read(text, sizeof(text),
			 "/sys/bus/pci/devices/%s/iommu_group/reserved_regions",
			 bdf), 1);
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		expect(n < max);
		expect_eq(sscanf(line, "%llx %llx", &holes[n].first,
				 &holes[n].last), 2);
		n++;
	}
	return n;
}

/* A buffer that would be allocated over such a hole is next to it instead. */
TEST(dma, reserved_addresses_stay_free)
{
	const struct vfio_region_dma_range range = { 0, 64 << 20 };
	u32 flags = DVPI_ATTACH_DYNAMIC | DVPI_ATTACH_NARROW, nr_holes;
	struct hole holes[16];
	struct peer p;

	need_translation();
	need_host_bridge();
	export_ranges(&p, "big", 2, &range, 1);
	p.imp = imp_open();
	p.edu = imp_edu("edu_rp");
	nr_holes = read_holes(p.edu, holes, ARRAY_SIZE(holes));
	expect(nr_holes);
	for (u32 i = 0; i < 4; i++) {
		p.handle = expect_fd(imp_attach_flags(p.imp, p.fd, p.edu, flags,
						      NULL));
		map(&p);
		for (u32 k = 0; k < p.map.nents; k++) {
			struct dvpi_seg *seg = &p.map.segs[k];

			for (u32 h = 0; h < nr_holes; h++)
				expect(seg->addr > holes[h].last ||
				       seg->addr + seg->len <= holes[h].first,
				       "%#llx is reserved", seg->addr);
		}
		imp_map_free(&p.map);
	}
}

/* --- the table */

TEST(dma, table_has_no_pages)
{
	struct peer p;

	connect_ranges(&p, "shm_sw", 2, four_gaps, ARRAY_SIZE(four_gaps));
	if (p.map.orig_nents == DVPI_UNKNOWN)
		t_skip("the kernel hides the exporter's table");
	expect_eq(p.map.orig_nents, 0);
	expect_eq(p.map.has_pages, 0);
}

/* --- side by side */

TEST(dma, two_devices)
{
	struct vfio_region_dma_range range = { BAR_AT + RANGE_AT, RANGE_LEN };
	struct peer a, b;
	u64 addr;

	need_host_bridge();
	export_ranges(&a, "bochs", 0, &range, 1);
	b = a;
	attach(&a, "edu_rp");
	attach(&b, "edu_sw");
	map(&a);
	map(&b);
	there_and_back(&a);
	there_and_back(&b);

	addr = imp_addr(&a.map, 0, RANGE_LEN);
	expect_eq(imp_unmap(a.imp, a.handle), 0);
	if (translates())
		expect_out_of_reach(&a, "one unmapped", addr);
	there_and_back(&b);
}

TEST(dma, two_mappings_of_a_device)
{
	struct vfio_region_dma_range range = { BAR_AT + RANGE_AT, RANGE_LEN };
	struct peer a, b, c;
	u64 addr;

	/* Of one buffer, and of another that has the same bytes */
	need_host_bridge();
	export_ranges(&a, "shm_sw", 2, &range, 1);
	b = a;
	c = a;
	c.fd = expect_fd(export_buf(a.dev->fd, 2, O_RDWR | O_CLOEXEC, 0,
				    &range, 1));
	attach(&a, "edu_rp");
	attach(&b, "edu_rp");
	attach(&c, "edu_rp");
	map(&a);
	map(&b);
	map(&c);
	there_and_back(&c);

	addr = imp_addr(&a.map, 0, RANGE_LEN);
	expect_eq(imp_unmap(a.imp, a.handle), 0);
	if (translates())
		expect_out_of_reach(&a, "one unmapped", addr);
	there_and_back(&b);
	expect_eq(imp_detach(b.imp, b.handle), 0);
	there_and_back(&c);
}

/* --- again and again */

struct slab {
	char name[64];
	long active;
};

/* Objects in use by cache, the array's end without a name */
static struct slab *read_slabs(void)
{
	struct slab *slabs = calloc(1024, sizeof(*slabs));
	static char buf[1 << 17];
	u32 n = 0;

	expect(slabs);
	if (t_read(buf, sizeof(buf), "/proc/slabinfo") < 0)
		return slabs;
	for (char *line = strtok(buf, "\n"); line && n < 1023;
	     line = strtok(NULL, "\n"))
		if (*line != '#' && sscanf(line, "%63s %ld", slabs[n].name,
					   &slabs[n].active) == 2)
			n++;
	return slabs;
}

static long active_in(const struct slab *slabs, const char *name)
{
	for (; slabs->name[0]; slabs++)
		if (!strcmp(slabs->name, name))
			return slabs->active;
	return 0;
}

/* By how much the cache has grown that grew the most, which is @which */
static long most_grown(const struct slab *before, struct slab *which)
{
	struct slab *after = read_slabs();

	*which = (struct slab){};
	for (struct slab *s = after; s->name[0]; s++) {
		long grown = s->active - active_in(before, s->name);

		if (grown > which->active) {
			*which = *s;
			which->active = grown;
		}
	}
	free(after);
	return which->active;
}

static void expect_flat(struct slab *before, long limit)
{
	struct slab which;

	if (!before[0].name[0])
		t_note("no /proc/slabinfo to look at");
	/*
	 * RCU frees in its own time; what leaked stays. KASAN keeps what is
	 * freed for a while, but kmemleak finds leaks there.
	 */
	expect(t_debug_kernel() ||
	       t_within(10000, most_grown(before, &which) < limit),
	       "%s grew by %ld", which.name, which.active);
	free(before);
}

/*
 * Maps and unmaps @count times and expects that no cache of the kernel has
 * grown by anything like that, nor memory by a page each. What other cases
 * left is not freed at once, hence the slack.
 */
static void expect_no_growth(struct peer *p, u32 count)
{
	long free_before, lost = 0;
	struct slab *before;
	u32 failures;

	/* Slow, and kmemleak needs no more than one. */
	if (t_debug_kernel())
		count /= 10;
	expect_eq(imp_loop(p->imp, p->handle, 200, &failures), 0);
	expect_eq(failures, 0);

	before = read_slabs();
	free_before = t_meminfo("MemFree");
	expect_eq(imp_loop(p->imp, p->handle, count, &failures), 0);
	expect_eq(failures, 0);
	expect_flat(before, count / 4);
	expect(t_debug_kernel() ||
	       t_within(10000, (lost = free_before - t_meminfo("MemFree")) <
			(long)count * 2),
	       "%ld KiB are gone after %u maps", lost, count);
}

static void map_and_unmap(const struct vfio_region_dma_range *ranges, u32 n,
			  u32 count)
{
	struct peer p;

	connect_ranges(&p, "shm_sw", 2, ranges, n);
	expect_eq(imp_unmap(p.imp, p.handle), 0);
	expect_no_growth(&p, count);

	/* And it still works. */
	imp_map_free(&p.map);
	map(&p);
	expect_layout(&p, ranges, n);
	expect_writes_land(&p, ranges, n);
}

TEST_TIMEOUT(dma, map_10000_times_one_range, 120)
{
	static const struct vfio_region_dma_range range = { PAGE, 4 * PAGE };

	map_and_unmap(&range, 1, 10000);
}

TEST_TIMEOUT(dma, map_10000_times_four_ranges, 180)
{
	map_and_unmap(four_gaps, ARRAY_SIZE(four_gaps), 10000);
}

TEST_TIMEOUT(dma, map_10000_times_below_switch, 120)
{
	struct vfio_region_dma_range range = { BAR_AT + RANGE_AT, RANGE_LEN };
	struct peer p;

	if (vfio_share_a_group("shm_sw", "edu_sw"))
		t_skip("one IOMMU group: VFIO does not share it");
	export_ranges(&p, "shm_sw", 2, &range, 1);
	attach(&p, "edu_sw");
	expect_no_growth(&p, 10000);
	map(&p);
	expect_eq(imp_addr(&p.map, 0, RANGE_LEN),
		  bar_start(p.dev->bdf, 2) + range.offset);
}

/* An I/O address range that is kept shows in a cache, too. */
TEST_TIMEOUT(dma, attach_2000_times, 120)
{
	struct vfio_region_dma_range range = { BAR_AT + RANGE_AT, RANGE_LEN };
	u32 count = t_debug_kernel() ? 200 : 2000;
	struct slab *before;
	struct peer p;

	connect_ranges(&p, "shm_sw", 2, &range, 1);
	expect_eq(imp_detach(p.imp, p.handle), 0);
	imp_map_free(&p.map);

	before = read_slabs();
	for (u32 i = 0; i < count; i++) {
		p.handle = expect_fd(imp_attach(p.imp, p.fd, p.edu));
		expect_eq(imp_map(p.imp, p.handle, NULL), 0);
		expect_eq(imp_detach(p.imp, p.handle), 0);
	}
	expect_flat(before, count / 2);

	p.handle = expect_fd(imp_attach(p.imp, p.fd, p.edu));
	map(&p);
	there_and_back(&p);
}

/* --- an I/O address that is taken */

/* Only an exporter that has its own I/O address range can be made to fail. */
static void need_iova_linking(const struct peer *p)
{
	char buf[8192];

	if (vfio_is_stock())
		return;
	expect(t_read(buf, sizeof(buf), "%s",
		      vfio_debugfs(p->dev->bdf, "buffers")) >= 0);
	if (!strstr(buf, "route=host-iova"))
		t_skip("kernel has no IOVA linking");
#ifdef __aarch64__
	t_skip("the kernel warns when an address of an SMMU is mapped twice");
#endif
}

/*
 * With a page of ours at @taken bytes into the I/O address range, maps fail,
 * and neither memory nor I/O addresses are lost by that.
 */
static void link_fails(const struct vfio_region_dma_range *ranges, u32 n,
		       u64 taken)
{
	u32 count = t_debug_kernel() ? 100 : 1000;
	struct slab *before;
	struct peer p;
	u64 iova;

	need_translation();
	connect_ranges(&p, "shm_sw", 2, ranges, n);
	need_iova_linking(&p);
	iova = imp_addr(&p.map, 0, PAGE);
	expect_eq(imp_unmap(p.imp, p.handle), 0);
	expect_eq(imp_occupy(p.imp, p.edu, iova + taken, true), 0);
	expect_ne(imp_map(p.imp, p.handle, NULL), 0);
	expect_eq(imp_detach(p.imp, p.handle), 0);

	before = read_slabs();
	for (u32 i = 0; i < count; i++) {
		p.handle = expect_fd(imp_attach(p.imp, p.fd, p.edu));
		expect(imp_map(p.imp, p.handle, NULL),
		       "attach %u got an address of its own", i);
		expect(imp_map(p.imp, p.handle, NULL),
		       "attach %u maps the second time", i);
		expect_eq(imp_detach(p.imp, p.handle), 0);
	}
	expect_flat(before, count / 2);

	expect_eq(imp_occupy(p.imp, p.edu, iova + taken, false), 0);
	p.handle = expect_fd(imp_attach(p.imp, p.fd, p.edu));
	imp_map_free(&p.map);
	map(&p);
	expect_eq(imp_addr(&p.map, 0, PAGE), iova);
	expect_layout(&p, ranges, n);
	expect_writes_land(&p, ranges, n);
}

static const struct vfio_region_dma_range two_ranges[] = {
	{ 8 * PAGE, 4 * PAGE }, { 1 * PAGE, 2 * PAGE },
};

TEST_TIMEOUT(dma, first_link_fails, 120)
{
	link_fails(two_ranges, ARRAY_SIZE(two_ranges), 0);
}

TEST_TIMEOUT(dma, second_link_fails, 120)
{
	link_fails(two_ranges, ARRAY_SIZE(two_ranges), 4 * PAGE);
}

TEST_TIMEOUT(dma, link_fails_in_the_middle, 120)
{
	link_fails(two_ranges, ARRAY_SIZE(two_ranges), 2 * PAGE);
}

/* --- importers that could not be told to let go */

static void export_page(struct peer *p)
{
	struct vfio_region_dma_range range = { BAR_AT + RANGE_AT, RANGE_LEN };

	export_ranges(p, "shm_sw", 2, &range, 1);
	p->imp = imp_open();
	p->edu = imp_edu("edu_rp");
}

/* A buffer that was asked for in vain is as good as new. */
static void expect_works(struct peer *p)
{
	need_host_bridge();
	p->handle = expect_fd(imp_attach(p->imp, p->fd, p->edu));
	map(p);
	there_and_back(p);
}

static void refused(u32 flags)
{
	struct peer p;

	export_page(&p);
	for (int i = 0; i < 3; i++)
		expect_err(imp_attach_flags(p.imp, p.fd, p.edu, flags, NULL),
			   EOPNOTSUPP);
	expect_works(&p);
}

TEST(dma, no_peer_memory_is_refused)
{
	refused(DVPI_ATTACH_NOTIFY);
}

TEST(dma, no_notify_is_refused)
{
	refused(DVPI_ATTACH_P2P);
}

TEST(dma, static_importer_is_refused)
{
	refused(0);
}

/* From 7.0 on an importer that pins says whether it can be revoked. */
static bool pins_can_be_revoked(void)
{
	return t_kernel_since(7, 2);
}

/*
 * Where the dma-buf core pins before each map, a pin can be told from the
 * core's only by what follows: it may succeed, but then no map does.
 */
static void pin_in_vain(struct peer *p)
{
	int ret = imp_pin(p->imp, p->handle);

	if (!ret) {
		expect_err(imp_map(p->imp, p->handle, NULL), EOPNOTSUPP);
		expect_err(imp_pin(p->imp, p->handle), EOPNOTSUPP);
		expect_err(imp_map(p->imp, p->handle, NULL), EOPNOTSUPP);
		expect_eq(imp_unpin(p->imp, p->handle), 0);
		return;
	}
	expect_err(ret, EOPNOTSUPP);
}

TEST(dma, pin_before_map_is_refused)
{
	struct peer p;

	if (pins_can_be_revoked())
		t_skip("importers that pin can be revoked here");
	need_host_bridge();
	export_page(&p);
	p.handle = expect_fd(imp_attach(p.imp, p.fd, p.edu));
	for (int i = 0; i < 3; i++)
		pin_in_vain(&p);
	map(&p);
	there_and_back(&p);
	expect_eq(imp_unmap(p.imp, p.handle), 0);
	pin_in_vain(&p);
	expect_eq(imp_map(p.imp, p.handle, NULL), 0);
}

TEST(dma, pin_of_a_mapping_is_refused)
{
	struct peer p;

	if (pins_can_be_revoked())
		t_skip("importers that pin can be revoked here");
	need_host_bridge();
	export_page(&p);
	p.handle = expect_fd(imp_attach(p.imp, p.fd, p.edu));
	map(&p);
	expect_err(imp_pin(p.imp, p.handle), EOPNOTSUPP);
	there_and_back(&p);
}

/* A pin before the map, another one after it: neither outlasts a revoke. */
TEST(dma, pinned_importer_is_revoked)
{
	struct peer p;

	if (!pins_can_be_revoked())
		t_skip("a pin promises not to be revoked here");
	need_host_bridge();
	export_page(&p);
	p.handle = expect_fd(imp_attach(p.imp, p.fd, p.edu));
	expect_eq(imp_pin(p.imp, p.handle), 0);
	map(&p);
	there_and_back(&p);
	expect_eq(imp_pin(p.imp, p.handle), 0);

	expect_eq(ioctl(p.dev->fd, VFIO_DEVICE_RESET), 0);
	expect_ne(imp_stats(p.imp, p.handle).invalidations, 0);
	expect_eq(imp_stats(p.imp, p.handle).mapped, 0);
	vfio_mem_enable(p.dev, true);
	map(&p);
	there_and_back(&p);

	vfio_close(p.dev);
	expect_eq(imp_stats(p.imp, p.handle).mapped, 0);
	expect_err(imp_map(p.imp, p.handle, NULL), ENODEV);
	expect_eq(imp_unpin(p.imp, p.handle), 0);
	expect_eq(imp_unpin(p.imp, p.handle), 0);
}

TEST(dma, pin_is_the_pinners_own)
{
	struct peer a, b;

	/* A pin counts for the importer that made it only. */
	need_host_bridge();
	export_page(&a);
	b = a;
	a.handle = expect_fd(imp_attach(a.imp, a.fd, a.edu));
	b.handle = expect_fd(imp_attach(b.imp, b.fd, b.edu));
	if (imp_pin(a.imp, a.handle))
		t_note("the core does not pin here");
	map(&b);
	there_and_back(&b);

	/* With the pin still held, if it was given. */
	expect_eq(imp_detach(a.imp, a.handle), 0);
	expect_works(&a);
}

/* --- after the end */

TEST(dma, dead_buffer_is_refused)
{
	struct peer p;
	int ret;

	export_page(&p);
	p.handle = expect_fd(imp_attach(p.imp, p.fd, p.edu));
	vfio_close(p.dev);
	expect_ne(imp_map(p.imp, p.handle, NULL), 0);
	ret = imp_attach(p.imp, p.fd, p.edu);
	if (ret >= 0)
		ret = imp_map(p.imp, ret, NULL);
	expect_ne(ret, 0);
}
