// SPDX-License-Identifier: GPL-2.0-only
/*
 * The states of a function that tests/cli/record records. What debugfs shows in
 * each is copied to /tmp/debugfs/NAME. In no list of its own: tests/guest/cli
 * runs it and compares.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "importer.h"
#include "vfio.h"

#define BAR		2
#define NEAR		"shm_sw"	/* a switch, with an edu: edu_sw */
#define DIR		"/tmp/debugfs"
#define MANY		17		/* ranges: more than debugfs shows */

static void copy(const char *name, const char *bdf, const char *file)
{
	char path[128], text[8192];
	FILE *from, *to;
	size_t len;

	snprintf(path, sizeof(path), DIR "/%s/%s", name, file);
	from = fopen(vfio_debugfs(bdf, file), "r");
	to = fopen(path, "w");
	expect(from && to);
	len = fread(text, 1, sizeof(text), from);
	expect(len < sizeof(text));
	expect_eq(fwrite(text, 1, len, to), len);
	fclose(from);
	expect_ok(fclose(to));
}

static void record(const char *name, const char *bdf)
{
	char path[128];

	mkdir(DIR, 0755);
	snprintf(path, sizeof(path), DIR "/%s", name);
	mkdir(path, 0755);
	copy(name, bdf, "state");
	copy(name, bdf, "buffers");
}

static int buffer(const struct vfio_dev *dev, u32 flags, u32 nr)
{
	struct vfio_region_dma_range ranges[MANY];

	/* From the end, with gaps: none can be merged. */
	for (u32 i = 0; i < nr; i++) {
		ranges[i].offset = 2 * (nr - i) * PAGE;
		ranges[i].length = PAGE;
	}
	return expect_fd(export_buf(dev->fd, BAR, O_RDWR | O_CLOEXEC, flags,
				    ranges, nr));
}

static void map_by_cpu(int fd)
{
	volatile u8 *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);

	expect(p != MAP_FAILED);
	(void)*p;
}

TEST(record, states)
{
	const char *far, *near;
	struct vfio_dev *dev;
	int imp, late, done, fd;

	vfio_bind(t_role(NEAR), vfio_driver());
	record("closed", t_role(NEAR));

	dev = vfio_open(NEAR);
	vfio_mem_enable(dev, true);
	imp = imp_open();
	far = imp_edu("edu_rp");
	near = imp_edu("edu_sw");
	vfio_map_bar(dev, BAR, 0, PAGE);

	late = expect_fd(imp_attach(imp, buffer(dev, 0, 2), far));
	expect_eq(imp_map_dir(imp, late, DVPI_TO_DEVICE, NULL), 0);
	fd = buffer(dev, DMABUF_VFIO_MEM_WRITE_COMBINING, MANY);
	done = expect_fd(imp_attach(imp, fd, near));
	expect_eq(imp_map(imp, done, NULL), 0);
	expect_eq(imp_fence(imp, done, 0), 0);
	map_by_cpu(fd);
	fd = buffer(dev, DMABUF_VFIO_FLAG_TRANSLATED, 1);
	expect_err(imp_map(imp, expect_fd(imp_attach(imp, fd, near)), NULL),
		   EACCES);
	expect_fd(imp_attach(imp, fd, far));
	record("shared", dev->bdf);

	expect_eq(imp_fence_signal(imp, done), 0);
	expect_eq(imp_keep(imp, late), 0);
	vfio_grace(100);
	vfio_mem_enable(dev, false);
	record("late", dev->bdf);
}
