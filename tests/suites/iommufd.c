// SPDX-License-Identifier: GPL-2.0-only
/*
 * Functions bound to iommufd, on a kernel with an exporter of its own: by
 * default the kernel's, whose buffers iommufd maps; ours if a flag says so.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "edu.h"
#include "importer.h"
#include "rig.h"

/* What <linux/iommufd.h> and <linux/vfio.h> have had since 6.2, 6.6 and 6.19 */

#define IOMMUFD_IO(n)		_IO(';', 0x80 + (n))

struct ioas_alloc {
	u32 size;
	u32 flags;
	u32 out_ioas_id;
};

struct ioas_map {
	u32 size;
	u32 flags;
	u32 ioas_id;
	u32 reserved;
	u64 user_va;
	u64 length;
	u64 iova;
};

struct ioas_unmap {
	u32 size;
	u32 ioas_id;
	u64 iova;
	u64 length;
};

struct vfio_ioas {
	u32 size;
	u32 ioas_id;
	u16 op;
	u16 reserved;
};

struct ioas_map_file {
	u32 size;
	u32 flags;
	u32 ioas_id;
	__s32 fd;
	u64 start;
	u64 length;
	u64 iova;
};

#define IOAS_ALLOC		IOMMUFD_IO(1)
#define IOAS_MAP		IOMMUFD_IO(5)
#define IOAS_UNMAP		IOMMUFD_IO(6)
#define VFIO_IOAS		IOMMUFD_IO(8)
#define IOAS_MAP_FILE		IOMMUFD_IO(15)

#define MAP_RW			(1 | 2 | 4)	/* fixed, write, read */
#define VFIO_IOAS_OP_GET	0

struct bind_iommufd {
	u32 argsz;
	u32 flags;
	__s32 iommufd;
	u32 out_devid;
};

struct attach_pt {
	u32 argsz;
	u32 flags;
	u32 pt_id;
};

#define BIND_IOMMUFD		_IO(VFIO_TYPE, VFIO_BASE + 18)
#define ATTACH_PT		_IO(VFIO_TYPE, VFIO_BASE + 19)

#define NATIVE			"vfio_pci_core"
#define OURS			"dmabuf-vfio-pci"

#define BAR_IOVA		0x10000000ull
#define LEN			KIB(64)
#define BYTES			64

/* An exporting NVMe and an edu, both bound to @fd and in one address space */
struct bench {
	int fd;
	u32 ioas;
	struct rig rig;			/* names the bytes of the NVMe */
	struct edu edu;
};

static int open_iommufd(void)
{
	int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		t_skip("this kernel has no iommufd");
	return expect_ok(fd);
}

/* The name of the function's own node, "vfio0" */
static void cdev_name(const char *bdf, char *name, size_t size)
{
	struct dirent *e;
	char path[128];
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", bdf);
	dir = opendir(path);
	expect(dir, "no %s", path);
	name[0] = 0;
	while ((e = readdir(dir)))
		if (!strncmp(e->d_name, "vfio", 4))
			snprintf(name, size, "%.15s", e->d_name);
	closedir(dir);
	expect(name[0], "no node in %s", path);
}

static struct vfio_dev *open_cdev(const char *role, int iommufd)
{
	struct bind_iommufd bind = {
		.argsz = sizeof(bind),
		.iommufd = iommufd,
	};
	struct vfio_dev *dev = calloc(1, sizeof(*dev));
	const char *bdf = t_role(role);
	char name[16], path[64];

	expect(dev);
	vfio_free_group(bdf, NULL);
	vfio_bind(bdf, vfio_driver());
	cdev_name(bdf, name, sizeof(name));
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", name);
	snprintf(dev->bdf, sizeof(dev->bdf), "%s", bdf);
	dev->group_id = -1;
	dev->container = -1;
	dev->group = -1;
	dev->fd = open(path, O_RDWR | O_CLOEXEC);
	if (dev->fd < 0 && errno == ENOENT)
		t_skip("this kernel's VFIO has no nodes for functions");
	expect_ok(dev->fd);
	expect_ok(ioctl(dev->fd, BIND_IOMMUFD, &bind));
	return dev;
}

static void attach(const struct vfio_dev *dev, u32 ioas)
{
	struct attach_pt pt = { .argsz = sizeof(pt), .pt_id = ioas };

	expect_ok(ioctl(dev->fd, ATTACH_PT, &pt));
}

static u32 alloc_ioas(int fd)
{
	struct ioas_alloc alloc = { .size = sizeof(alloc) };

	expect_ok(ioctl(fd, IOAS_ALLOC, &alloc));
	return alloc.out_ioas_id;
}

static int map_file(int iommufd, u32 ioas, int fd)
{
	struct ioas_map_file map = {
		.size = sizeof(map),
		.flags = MAP_RW,
		.ioas_id = ioas,
		.fd = fd,
		.length = LEN,
		.iova = BAR_IOVA,
	};

	return ioctl(iommufd, IOAS_MAP_FILE, &map);
}

static int unmap(int iommufd, u32 ioas)
{
	struct ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = ioas,
		.iova = BAR_IOVA,
		.length = LEN,
	};

	return ioctl(iommufd, IOAS_UNMAP, &unmap);
}

static int map_memory(struct bench *bench, void *p, u64 len, u64 iova)
{
	struct ioas_map map = {
		.size = sizeof(map),
		.flags = MAP_RW,
		.ioas_id = bench->ioas,
		.user_va = (uintptr_t)p,
		.length = len,
		.iova = iova,
	};

	return ioctl(bench->fd, IOAS_MAP, &map);
}

static void use_function(struct rig *rig, struct vfio_dev *dev)
{
	rig->dev = dev;
	strcpy(rig->bdf, dev->bdf);
	rig_find(rig, "nvme_mf");
	vfio_mem_enable(dev, true);
	rig_wake(rig);
}

static bool have_native(void)
{
	return t_kernel_since(7, 2);
}

static void open_bench(struct bench *bench)
{
	if (vfio_is_stock())
		t_skip("the stock driver has one exporter");
	bench->fd = open_iommufd();
	bench->ioas = alloc_ioas(bench->fd);
	use_function(&bench->rig, open_cdev("nvme_mf", bench->fd));
	attach(bench->rig.dev, bench->ioas);
}

static void open_edu(struct bench *bench)
{
	edu_init(&bench->edu, open_cdev("edu_rp", bench->fd));
	attach(bench->edu.dev, bench->ioas);
	expect_ok(map_memory(bench, bench->edu.bounce, EDU_BOUNCE_SIZE,
			     EDU_BOUNCE_IOVA));
}

/* LEN bytes of the BAR that begin with the rig's */
static int export_flags(struct rig *rig, u32 flags)
{
	struct vfio_region_dma_range range = { rig->at, LEN };

	return export_buf(rig->dev->fd, rig->bar, O_RDWR | O_CLOEXEC, flags,
			  &range, 1);
}

static void expect_exporter(int fd, const char *name)
{
	char info[1024], want[64];

	snprintf(want, sizeof(want), "exp_name:\t%s", name);
	expect_ge(t_read(info, sizeof(info), "/proc/self/fdinfo/%d", fd), 1);
	expect(strstr(info, want), "%s", info);
}

static void fill(u8 *buf, u8 seed)
{
	for (int i = 0; i < BYTES; i++)
		buf[i] = seed + 5 * i;
}

static void cpu_read(struct rig *rig, u8 *buf)
{
	expect_eq(vfio_try_pread(rig->dev, rig->bar, buf, BYTES, rig->at),
		  BYTES);
}

/* The edu reaches the BAR at the I/O address, both ways. */
static void expect_reached(struct bench *bench, u8 seed)
{
	u8 sent[BYTES], seen[BYTES];

	fill(sent, seed);
	edu_write(&bench->edu, BAR_IOVA, sent, BYTES);
	cpu_read(&bench->rig, seen);
	expect(!memcmp(sent, seen, BYTES), "the bytes did not arrive");
	fill(sent, seed + 1);
	expect_eq(vfio_try_pwrite(bench->rig.dev, bench->rig.bar, sent, BYTES,
				  bench->rig.at), BYTES);
	edu_read(&bench->edu, BAR_IOVA, seen, BYTES);
	expect(!memcmp(sent, seen, BYTES), "the edu reads something else");
}

static void expect_cut_off(struct bench *bench, u8 seed)
{
	u8 before[BYTES], after[BYTES], junk[BYTES], seen[BYTES];

	fill(junk, seed);
	cpu_read(&bench->rig, before);
	expect(memcmp(before, junk, BYTES));
	edu_write(&bench->edu, BAR_IOVA, junk, BYTES);
	cpu_read(&bench->rig, after);
	expect(!memcmp(before, after, BYTES), "the edu still writes");
	edu_read(&bench->edu, BAR_IOVA, seen, BYTES);
	expect(memcmp(seen, after, BYTES), "the edu still reads");
}

static void need_native(void)
{
	close(open_iommufd());
	if (!have_native())
		t_skip("this kernel has no exporter of its own");
}

/* Opens all, and has iommufd map a buffer. Returns it. */
static int open_mapped(struct bench *bench)
{
	int fd;

	need_native();
	open_bench(bench);
	open_edu(bench);
	fd = expect_fd(export_flags(&bench->rig, 0));
	expect_ok(map_file(bench->fd, bench->ioas, fd));
	return fd;
}

/* Without a flag: the kernel's exporter, since iommufd takes no other's. */
TEST(iommufd, maps_the_kernels_buffer)
{
	struct bench bench = {};
	int fd = open_mapped(&bench);

	expect_exporter(fd, NATIVE);
	expect_eq(lseek(fd, 0, SEEK_END), LEN);
	expect_eq(gate_read(bench.rig.bdf).buffers, 0);
	expect_reached(&bench, 1);
	expect_ok(unmap(bench.fd, bench.ioas));
	expect_cut_off(&bench, 70);
}

/* The kernel's exporter is told of a reset, as it is with vfio-pci. */
TEST(iommufd, reset_unmaps)
{
	struct bench bench = {};

	open_mapped(&bench);
	expect_reached(&bench, 1);
	expect_ok(ioctl(bench.rig.dev->fd, VFIO_DEVICE_RESET));
	vfio_mem_enable(bench.rig.dev, true);
	rig_wake(&bench.rig);
	expect_cut_off(&bench, 70);
}

TEST(iommufd, memory_off_unmaps)
{
	struct bench bench = {};
	int fd = open_mapped(&bench);

	expect_reached(&bench, 1);
	vfio_mem_enable(bench.rig.dev, false);
	vfio_mem_enable(bench.rig.dev, true);
	expect_cut_off(&bench, 70);

	/* The buffer itself is back: iommufd may map it again. */
	expect_ok(unmap(bench.fd, bench.ioas));
	expect_ok(map_file(bench.fd, bench.ioas, fd));
	expect_reached(&bench, 140);
}

/* Closing with a mapping left: it goes, and nothing hangs. */
TEST(iommufd, close_unmaps)
{
	struct bench bench = {};
	int fd = open_mapped(&bench);

	expect_reached(&bench, 1);
	expect_ok(close(bench.rig.dev->fd));
	use_function(&bench.rig, open_cdev("nvme_mf", bench.fd));
	expect_cut_off(&bench, 70);
	expect_ok(unmap(bench.fd, bench.ioas));
	expect_errno(map_file(bench.fd, bench.ioas, fd), ENODEV);
}

static bool listed(const char *bdf, const char *memory)
{
	char text[4096];

	t_read(text, sizeof(text),
	       "/sys/kernel/debug/dmabuf-vfio-pci/%s/buffers", bdf);
	return strstr(text, memory) && !strstr(text, "  attachment ");
}

/* With one: ours, which iommufd does not take, and leaves as it was. */
TEST(iommufd, flag_asks_for_ours)
{
	static const struct {
		u32 flags;
		const char *memory;
	} kinds[] = {
		{ DMABUF_VFIO_FLAG_OWN, "memory=uncached state=usable" },
		{ DMABUF_VFIO_MEM_WRITE_COMBINING, "memory=wc state=usable" },
		{ DMABUF_VFIO_FLAG_OWN | DMABUF_VFIO_MEM_WRITE_COMBINING,
		  "memory=wc state=usable" },
	};
	struct bench bench = {};

	need_native();
	open_bench(&bench);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		int fd = expect_fd(export_flags(&bench.rig, kinds[i].flags));

		expect_exporter(fd, OURS);
		expect_eq(gate_read(bench.rig.bdf).buffers, 1);
		expect_errno(map_file(bench.fd, bench.ioas, fd), EOPNOTSUPP);
		expect_errno(unmap(bench.fd, bench.ioas), ENOENT);
		expect(listed(bench.rig.bdf, kinds[i].memory));
		expect_ok(close(fd));
		expect_eq(gate_read(bench.rig.bdf).buffers, 0);
	}
	expect_err(export_flags(&bench.rig, DMABUF_VFIO_FLAG_OWN | 1), EINVAL);
	expect_err(export_flags(&bench.rig, 2U << 28), EINVAL);
}

/* Nor does it take what the CPU has mapped of one, whatever the kernel. */
TEST(iommufd, refuses_a_mapping)
{
	struct bench bench = {};
	u32 *p;
	int fd;

	open_bench(&bench);
	fd = expect_fd(export_flags(&bench.rig, DMABUF_VFIO_FLAG_OWN));
	p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	expect(p != MAP_FAILED);
	mem_write(p, 0x12345678);
	expect_errno(map_memory(&bench, p, LEN, BAR_IOVA), EFAULT);
	expect_errno(unmap(bench.fd, bench.ioas), ENOENT);
	expect_eq(mem_read(p), 0x12345678);
}

/* And it works as ever, beside one of the kernel's. */
TEST(iommufd, both_at_a_time)
{
	const char *client = imp_edu("edu_sw");
	u8 sent[BYTES], seen[BYTES];
	struct bench bench = {};
	struct imp_map map;
	int imp, ours, handle;
	u64 addr;

	open_mapped(&bench);
	imp = imp_open();
	ours = expect_fd(export_flags(&bench.rig, DMABUF_VFIO_FLAG_OWN));
	handle = imp_attach(imp, ours, client);
	expect(handle >= 0, "attaching says %s", t_errno_name(-handle));
	expect_eq(imp_map(imp, handle, &map), 0);
	addr = imp_addr(&map, 0, BYTES);
	fill(sent, 3);
	expect_eq(imp_write(imp, client, addr, sent, BYTES), 0);
	edu_read(&bench.edu, BAR_IOVA, seen, BYTES);
	expect(!memcmp(sent, seen, BYTES), "not the same memory");

	expect_ok(ioctl(bench.rig.dev->fd, VFIO_DEVICE_RESET));
	expect_ge(imp_stats(imp, handle).invalidations, 1);
	expect_eq(imp_stats(imp, handle).mapped, 0);
	vfio_mem_enable(bench.rig.dev, true);
	rig_wake(&bench.rig);
	expect_cut_off(&bench, 70);
	expect_eq(imp_map(imp, handle, &map), 0);
	fill(sent, 90);
	expect_eq(imp_write(imp, client, imp_addr(&map, 0, BYTES), sent,
			    BYTES), 0);
	cpu_read(&bench.rig, seen);
	expect(!memcmp(sent, seen, BYTES), "ours is not back after a reset");
}

/* An iommufd in a container's place: bound to iommufd all the same. */
TEST(iommufd, instead_of_a_container)
{
	struct vfio_ioas get = {
		.size = sizeof(get),
		.op = VFIO_IOAS_OP_GET,
	};
	const char *bdf = t_role("nvme_mf");
	struct vfio_dev dev = { .group_id = -1 };
	struct rig rig = {};
	char path[64];
	int fd, iommufd = open_iommufd();

	if (vfio_is_stock())
		t_skip("the stock driver has one exporter");
	need_native();
	vfio_free_group(bdf, NULL);
	vfio_bind(bdf, vfio_driver());
	snprintf(dev.bdf, sizeof(dev.bdf), "%s", bdf);
	snprintf(path, sizeof(path), "/dev/vfio/%d", vfio_group_of(bdf));
	dev.group = expect_ok(open(path, O_RDWR | O_CLOEXEC));
	expect_ok(ioctl(dev.group, VFIO_GROUP_SET_CONTAINER, &iommufd));
	dev.fd = expect_fd(vfio_device_fd(&dev));
	use_function(&rig, &dev);

	fd = expect_fd(export_flags(&rig, 0));
	expect_exporter(fd, NATIVE);
	expect_ok(ioctl(iommufd, VFIO_IOAS, &get));
	expect_ok(map_file(iommufd, get.ioas_id, fd));
	expect_ok(unmap(iommufd, get.ioas_id));
	expect_exporter(expect_fd(export_flags(&rig, DMABUF_VFIO_FLAG_OWN)),
			OURS);
}

/* A function in a container has nothing to do with iommufd: ours. */
TEST(iommufd, container_gets_ours)
{
	struct rig rig = {};
	u32 ioas;
	int fd, iommufd = open_iommufd();

	if (vfio_is_stock())
		t_skip("the stock driver has one exporter");
	need_native();
	use_function(&rig, vfio_open("nvme_mf"));
	fd = expect_fd(export_flags(&rig, 0));
	expect_exporter(fd, OURS);
	ioas = alloc_ioas(iommufd);
	expect_errno(map_file(iommufd, ioas, fd), EOPNOTSUPP);
}

/* Whose buffer then does what it does for a function in a container. */
TEST(iommufd, ours_where_there_is_no_other)
{
	const char *client = imp_edu("edu_sw");
	u8 sent[BYTES], seen[BYTES];
	struct bench bench = {};
	struct imp_map map;
	int imp, fd, handle;

	open_bench(&bench);
	if (have_native())
		t_skip("this kernel has an exporter of its own");
	imp = imp_open();
	fd = expect_fd(export_flags(&bench.rig, 0));
	expect_exporter(fd, OURS);
	handle = imp_attach(imp, fd, client);
	expect(handle >= 0, "attaching says %s", t_errno_name(-handle));
	for (int i = 0; i < 2; i++) {
		expect_eq(imp_map(imp, handle, &map), 0);
		fill(sent, 3 + 90 * i);
		expect_eq(imp_write(imp, client, imp_addr(&map, 0, BYTES), sent,
				    BYTES), 0);
		cpu_read(&bench.rig, seen);
		expect(!memcmp(sent, seen, BYTES), "the bytes did not arrive");

		expect_ok(ioctl(bench.rig.dev->fd, VFIO_DEVICE_RESET));
		expect_ge(imp_stats(imp, handle).invalidations, i + 1);
		expect_eq(imp_stats(imp, handle).mapped, 0);
		vfio_mem_enable(bench.rig.dev, true);
		rig_wake(&bench.rig);
	}
}
