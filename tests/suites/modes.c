// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an owner can ask for a buffer that strangers get: that devices read it
 * and do not write (O_RDONLY), and that only those get it that can be cut off
 * (DMABUF_VFIO_FLAG_TRANSLATED). Where no IOMMU enforces either, a map is
 * refused and debugfs says why.
 */
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "importer.h"
#include "node.h"

#define BAR		2
#define NEAR		"shm_sw"	/* a switch, with an edu: edu_sw */
#define LEN		64

static const u32 directions[] = {
	DVPI_BIDIRECTIONAL, DVPI_TO_DEVICE, DVPI_FROM_DEVICE,
};

/* A buffer of one range, and one whose pages are in the BAR's reverse order */
static const struct vfio_region_dma_range one_range[] = { { PAGE, 4 * PAGE } };
static const struct vfio_region_dma_range four_ranges[] = {
	{ 8 * PAGE, PAGE }, { 6 * PAGE, PAGE }, { 4 * PAGE, PAGE },
	{ 2 * PAGE, PAGE },
};

struct layout {
	const char *name;
	const struct vfio_region_dma_range *ranges;
	u32 nr;
};

static const struct layout layouts[] = {
	{ "one range", one_range, ARRAY_SIZE(one_range) },
	{ "four ranges", four_ranges, ARRAY_SIZE(four_ranges) },
};

/* --- the bench */

static bool has_host_route(void)
{
	return t_host_forwards();
}

static bool translates(void)
{
	return t_bench_is("iommu", "on");
}

static struct vfio_dev *provider(void)
{
	struct vfio_dev *dev;

	if (vfio_is_stock())
		t_skip("the stock driver has no such buffers");
	dev = vfio_open(NEAR);
	vfio_mem_enable(dev, true);
	return dev;
}

/* A buffer as one client has it */
struct lent {
	struct vfio_dev *dev;
	const struct layout *layout;
	int fd;
	int imp;
	const char *edu;
	int handle;
};

static struct lent lend(struct vfio_dev *dev, const struct layout *layout,
			u32 open_flags, u32 flags, const char *edu)
{
	struct lent lent = { .dev = dev, .layout = layout };

	lent.fd = expect_fd(export_buf(dev->fd, BAR, open_flags | O_CLOEXEC,
				       flags, layout->ranges, layout->nr));
	lent.imp = imp_open();
	lent.edu = imp_edu(edu);
	lent.handle = expect_fd(imp_attach(lent.imp, lent.fd, lent.edu));
	return lent;
}

static void give_up(struct lent *lent)
{
	expect_eq(imp_detach(lent->imp, lent->handle), 0);
	expect_ok(close(lent->imp));
	expect_ok(close(lent->fd));
}

/* Where in the BAR a page of the buffer is */
static u64 bar_offset(const struct layout *layout, u32 page)
{
	for (u32 i = 0; i < layout->nr; i++) {
		u32 pages = layout->ranges[i].length / PAGE;

		if (page < pages)
			return layout->ranges[i].offset + page * PAGE;
		page -= pages;
	}
	t_fail("no page %u", page);
}

/* --- what gets through */

enum access { NOTHING = 0, READS = 1, WRITES = 2, BOTH = READS | WRITES };

static void fill(u8 *buf, u8 seed)
{
	for (u32 i = 0; i < LEN; i++)
		buf[i] = seed + i * 7;
}

/*
 * The device tries both on a page of a mapping: what arrives is just @want.
 * Each of them at a place of its own, so that neither is the other's cache.
 */
static void try_page(struct lent *lent, const struct imp_map *map, u32 page,
		     enum access want)
{
	u64 at = bar_offset(lent->layout, page) + 128;
	u8 before[LEN], mine[LEN], have[LEN];
	enum access got = NOTHING;

	fill(before, 0x11 + page);
	fill(mine, 0x80 + page);
	expect_eq(vfio_try_pwrite(lent->dev, BAR, before, LEN, at), LEN);
	memset(have, 0, LEN);
	expect_eq(imp_read(lent->imp, lent->edu,
			   imp_addr(map, page * PAGE + 128, LEN), have, LEN),
		  0);
	if (!memcmp(have, before, LEN))
		got |= READS;
	expect_eq(imp_write(lent->imp, lent->edu,
			    imp_addr(map, page * PAGE + 128, LEN), mine, LEN),
		  0);
	expect_eq(vfio_try_pread(lent->dev, BAR, have, LEN, at), LEN);
	if (!memcmp(have, mine, LEN))
		got |= WRITES;
	else
		expect(!memcmp(have, before, LEN), "the bytes are neither");
	expect(got == want, "%s, page %u: the device%s%s%s, and should%s%s%s",
	       lent->layout->name, page, got ? "" : " has no access",
	       got & READS ? " reads" : "", got & WRITES ? " writes" : "",
	       want ? "" : " have none", want & READS ? " read" : "",
	       want & WRITES ? " write" : "");
}

static void expect_access(struct lent *lent, u32 dir, enum access want)
{
	struct imp_map map;
	int ret = imp_map_dir(lent->imp, lent->handle, dir, &map);

	expect(!ret, "direction %u: %s", dir, t_errno_name(-ret));
	try_page(lent, &map, 0, want);
	try_page(lent, &map, 3, want);
	expect_eq(imp_unmap(lent->imp, lent->handle), 0);
	imp_map_free(&map);
}

/* --- what debugfs says */

/* The attachment's line has " refused=@why", or not at all for NULL. */
static void expect_reason(struct lent *lent, const char *why)
{
	char line[512], word[64] = "", name[64];
	unsigned int lines = 0;
	bool found = false;
	const char *at;
	FILE *f;

	f = fopen(vfio_debugfs(lent->dev->bdf, "buffers"), "r");
	if (!f)
		t_skip("no debugfs");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " attachment %63s", name) != 1 ||
		    strcmp(name, lent->edu))
			continue;
		lines++;
		at = strstr(line, " refused=");
		found = at && sscanf(at, " refused=%63s", word) == 1;
	}
	fclose(f);
	expect_eq(lines, 1);
	expect(found == !!why && (!why || !strcmp(word, why)),
	       "debugfs says refused=%s, not %s", found ? word : "nothing",
	       why ? why : "nothing");
}

static void expect_refused(struct lent *lent, const char *why)
{
	struct dvpi_stats before = imp_stats(lent->imp, lent->handle), stats;

	for (size_t i = 0; i < ARRAY_SIZE(directions); i++)
		expect_err(imp_map_dir(lent->imp, lent->handle, directions[i],
				       NULL), EACCES);
	stats = imp_stats(lent->imp, lent->handle);
	expect_eq(stats.mapped, 0);
	expect_eq(stats.map_failures - before.map_failures, 3);
	if (why)
		expect_reason(lent, why);
}

/* --- read-only */

/* Control first: the same device writes what is lent to be written. */
static void read_only(const struct layout *layout)
{
	struct vfio_dev *dev = provider();
	struct lent lent;

	if (!translates() || !has_host_route())
		t_skip("no IOMMU between the device and the BAR");
	lent = lend(dev, layout, O_RDWR, 0, "edu_rp");
	expect_access(&lent, DVPI_BIDIRECTIONAL, BOTH);
	give_up(&lent);

	lent = lend(dev, layout, O_RDONLY, 0, "edu_rp");
	expect_reason(&lent, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(directions); i++)
		expect_access(&lent, directions[i], READS);
	expect_reason(&lent, NULL);

	/* A map after a restore is as the first was. */
	vfio_mem_enable(dev, false);
	expect_err(imp_map(lent.imp, lent.handle, NULL), ENODEV);
	vfio_mem_enable(dev, true);
	expect_access(&lent, DVPI_BIDIRECTIONAL, READS);

	/* One buffer's mode is not the other's. */
	give_up(&lent);
	lent = lend(dev, layout, O_RDWR, 0, "edu_rp");
	expect_access(&lent, DVPI_BIDIRECTIONAL, BOTH);
	give_up(&lent);
}

TEST_TIMEOUT(modes, read_only_one_range, 60)
{
	read_only(&layouts[0]);
}

TEST_TIMEOUT(modes, read_only_ranges, 60)
{
	read_only(&layouts[1]);
}

/* However it was asked for */
TEST_TIMEOUT(modes, read_only_requests, 60)
{
	struct {
		struct dmabuf_vfio_export head;
		struct vfio_region_dma_range range;
	} arg = {
		.head = {
			.argsz = sizeof(arg),
			.dma_buf = {
				.region_index = BAR,
				.open_flags = O_RDONLY | O_CLOEXEC,
				.nr_ranges = 1,
			},
		},
		.range = one_range[0],
	};
	struct dmabuf_vfio_p2p p2p = {
		.region_index = BAR,
		.open_flags = O_RDONLY | O_CLOEXEC,
		.offset = one_range[0].offset,
		.length = one_range[0].length,
	};
	struct vfio_dev *dev = provider();
	struct lent lent = {
		.dev = dev,
		.layout = &layouts[0],
		.imp = imp_open(),
		.edu = imp_edu("edu_rp"),
	};
	int node;

	if (!translates() || !has_host_route())
		t_skip("no IOMMU between the device and the BAR");
	node = node_open(dev->bdf, O_RDWR);
	lent.fd = expect_fd(node_ioctl(node, DMABUF_VFIO_EXPORT, &arg));
	lent.handle = expect_fd(imp_attach(lent.imp, lent.fd, lent.edu));
	expect_access(&lent, DVPI_BIDIRECTIONAL, READS);
	expect_eq(imp_detach(lent.imp, lent.handle), 0);
	expect_ok(close(lent.fd));

	if (!vfio_is_dropin()) {
		expect_err(node_ioctl(dev->fd, DMABUF_VFIO_P2P, &p2p), EINVAL);
		vfio_close(dev);
		return;
	}
	lent.fd = expect_fd(node_ioctl(dev->fd, DMABUF_VFIO_P2P, &p2p));
	lent.handle = expect_fd(imp_attach(lent.imp, lent.fd, lent.edu));
	expect_access(&lent, DVPI_BIDIRECTIONAL, READS);
	give_up(&lent);
}

/* --- where nothing enforces it */

/* Refused with these flags for that reason, and mapped without them. */
static void untranslated(const char *edu, u32 open_flags, u32 flags,
			 const char *why)
{
	struct vfio_dev *dev = provider();
	struct lent lent;

	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		lent = lend(dev, &layouts[i], open_flags, flags, edu);
		expect_reason(&lent, NULL);
		expect_refused(&lent, why);
		give_up(&lent);

		lent = lend(dev, &layouts[i], O_RDWR, 0, edu);
		expect_eq(imp_map(lent.imp, lent.handle, NULL), 0);
		expect_reason(&lent, NULL);
		give_up(&lent);
	}
	vfio_close(dev);
}

static void untranslated_all(const char *edu)
{
	untranslated(edu, O_RDONLY, 0, "read-only");
	untranslated(edu, O_RDWR, DMABUF_VFIO_FLAG_TRANSLATED, "untranslated");
	untranslated(edu, O_RDONLY, DMABUF_VFIO_FLAG_TRANSLATED, NULL);
}

TEST_TIMEOUT(modes, bus_address, 60)
{
	if (vfio_share_a_group(NEAR, "edu_sw"))
		t_skip("one IOMMU group: VFIO does not share it");
	untranslated_all("edu_sw");
}

TEST_TIMEOUT(modes, no_iommu, 60)
{
	if (translates() || !has_host_route())
		t_skip("an IOMMU translates, or there is no route");
	untranslated_all("edu_rp");
}

/* --- only what can be cut off */

TEST_TIMEOUT(modes, translated, 60)
{
	struct vfio_dev *dev = provider();
	struct lent lent;

	if (!translates() || !has_host_route())
		t_skip("no IOMMU between the device and the BAR");
	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		lent = lend(dev, &layouts[i], O_RDWR,
			    DMABUF_VFIO_FLAG_TRANSLATED, "edu_rp");
		expect_access(&lent, DVPI_BIDIRECTIONAL, BOTH);
		expect_reason(&lent, NULL);
		give_up(&lent);

		lent = lend(dev, &layouts[i], O_RDONLY,
			    DMABUF_VFIO_FLAG_TRANSLATED |
			    DMABUF_VFIO_MEM_WRITE_COMBINING, "edu_rp");
		expect_access(&lent, DVPI_FROM_DEVICE, READS);
		expect_reason(&lent, NULL);
		give_up(&lent);
	}
}

/* What no IOMMU of ours stands before is not told, either. */
TEST(modes, physical_range)
{
	struct vfio_dev *dev = provider();
	struct lent lent;
	u64 phys, size;

	lent = lend(dev, &layouts[0], O_RDWR, 0, "edu_rp");
	expect_eq(imp_phys(lent.imp, lent.handle, &phys, &size), 0);
	give_up(&lent);
	lent = lend(dev, &layouts[0], O_RDONLY, 0, "edu_rp");
	expect_err(imp_phys(lent.imp, lent.handle, &phys, &size), EACCES);
	give_up(&lent);
	lent = lend(dev, &layouts[0], O_RDWR, DMABUF_VFIO_FLAG_TRANSLATED,
		    "edu_rp");
	expect_err(imp_phys(lent.imp, lent.handle, &phys, &size), EACCES);
	give_up(&lent);
}

/* --- what a client got */

struct told {
	char addresses[16];
	char direction[16];
	u32 cut;
	u32 nents;
	struct dvpi_seg segs[8];
	u32 nr_segs;
};

/* The line on @lent's mapping in debugfs; false: there is none. */
static bool read_told(const struct lent *lent, struct told *told)
{
	char line[1024], name[64], *seg, *save;
	bool found = false;
	FILE *f;

	*told = (struct told){};
	f = fopen(vfio_debugfs(lent->dev->bdf, "buffers"), "r");
	if (!f)
		t_skip("no debugfs");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " mapping %63s addresses=%15s", name,
			   told->addresses) != 2)
			continue;
		expect_eq(sscanf(strstr(line, " direction="),
				 " direction=%15s cut=%u segments=%u",
				 told->direction, &told->cut, &told->nents), 3);
		expect(!strcmp(name, lent->edu) && !found, "%s", line);
		found = true;
		seg = strtok_r(strstr(line, " dma=") + 5, ",\n", &save);
		for (; seg; seg = strtok_r(NULL, ",\n", &save)) {
			struct dvpi_seg *s = &told->segs[told->nr_segs++];

			expect_eq(sscanf(seg, "%lli:%lli", &s->addr, &s->len),
				  2);
		}
	}
	fclose(f);
	return found;
}

/* Lines of debugfs that begin with @word; *more: there are others. */
static unsigned int lines_of(const char *bdf, const char *word, bool *more)
{
	unsigned int nr = 0;
	char line[1024];
	FILE *f;

	*more = false;
	f = fopen(vfio_debugfs(bdf, "buffers"), "r");
	if (!f)
		t_skip("no debugfs");
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, word, strlen(word)))
			continue;
		if (strstr(line, "..."))
			*more = true;
		else
			nr++;
	}
	fclose(f);
	return nr;
}

/* A reader holds the buffer's lock, so what it prints is bounded. */
TEST(modes, told_of_many)
{
	enum { MANY = 70, SHOWN = 64 };
	struct vfio_dev *dev = provider();
	const char *edu = imp_edu("edu_rp");
	int imp = imp_open(), fd, handle;
	bool more;

	if (!has_host_route())
		t_skip("no route to map by");
	fd = expect_fd(export_range(dev, BAR, 0, one_range[0].length));
	for (int i = 1; i <= MANY; i++) {
		handle = expect_fd(imp_attach(imp, fd, edu));
		/* CONFIG_DMA_API_DEBUG warns of more than 7 writers. */
		expect_eq(imp_map_dir(imp, handle, DVPI_TO_DEVICE, NULL), 0);
		expect_eq(lines_of(dev->bdf, "  attachment ", &more),
			  i < SHOWN ? i : SHOWN);
		expect_eq(more, i > SHOWN);
		expect_eq(lines_of(dev->bdf, "  mapping ", &more),
			  i < SHOWN ? i : SHOWN);
		expect_eq(more, i > SHOWN);
	}
}

/* debugfs has the addresses that the device has, and what they are. */
static void told(const char *edu, const char *addresses)
{
	struct vfio_dev *dev = provider();
	u64 phys, size;

	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		struct lent lent = lend(dev, &layouts[i], O_RDWR, 0, edu);
		struct imp_map map;
		struct told told;

		expect(!read_told(&lent, &told));
		expect_eq(imp_map_dir(lent.imp, lent.handle, DVPI_FROM_DEVICE,
				      &map), 0);
		expect(read_told(&lent, &told));
		expect(!strcmp(told.addresses, addresses),
		       "%s addresses, not %s", told.addresses, addresses);
		expect(!strcmp(told.direction, "from-device"));
		expect_eq(told.cut, 0);
		expect_eq(told.nents, map.nents);
		expect_eq(told.nr_segs, map.nents);
		expect(!memcmp(told.segs, map.segs,
			       map.nents * sizeof(*map.segs)));
		if (i == 0) {
			expect_eq(imp_phys(lent.imp, lent.handle, &phys, &size),
				  0);
			expect_eq(told.segs[0].addr == phys,
				  strcmp(addresses, "io") != 0);
		} else {
			bool one = !strcmp(addresses, "io") &&
				   t_kernel_since(7, 2);

			expect_eq(told.nents, one ? 1 : layouts[i].nr);
		}
		expect_eq(imp_unmap(lent.imp, lent.handle), 0);
		expect(!read_told(&lent, &told));
		imp_map_free(&map);
		give_up(&lent);
	}
}

TEST(modes, told_through_the_host_bridge)
{
	if (!has_host_route())
		t_skip("no route");
	told("edu_rp", translates() ? "io" : "physical");
}

TEST(modes, told_bus_address)
{
	if (vfio_share_a_group(NEAR, "edu_sw"))
		t_skip("one IOMMU group: VFIO does not share it");
	told("edu_sw", "bus");
}
