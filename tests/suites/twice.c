// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a user hands in is read once. Every argument is laid across two pages,
 * of which the second is not there: while the kernel waits for it, what it must
 * have read before is spoilt. A request that looks again sees the spoilt bytes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "node.h"

#define ROLE		"bochs"
#define RDWR		(PROT_READ | PROT_WRITE)
#define LONGEST		256		/* bytes of an argument */

/* --- an argument whose second part comes late */

static int uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	expect_ok(fd);
	expect_ok(ioctl(fd, UFFDIO_API, &api));
	return fd;
}

/* Spoils the argument's first bytes, then serves the second page. */
static noreturn void serve(int uffd, u8 *arg, size_t spoil, u8 *second,
			   u8 *rest)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct uffdio_copy copy = {
		.dst = (uintptr_t)second,
		.src = (uintptr_t)rest,
		.len = PAGE,
	};
	struct uffd_msg msg;

	expect_eq(poll(&p, 1, 10000), 1);
	expect_eq(read(uffd, &msg, sizeof(msg)), sizeof(msg));
	memset(arg, 0x6b, spoil);
	expect_ok(ioctl(uffd, UFFDIO_COPY, &copy));
	_exit(0);
}

/*
 * Sends the argument with its first @split bytes on the first page, and spoils
 * @spoil of them. Returns what the request does; @arg gets what it leaves
 * there.
 */
static int send_split(int fd, unsigned int cmd, void *arg, size_t size,
		      size_t split, size_t spoil)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	u8 *pages = mmap(NULL, 2 * PAGE, RDWR, MAP_SHARED | MAP_ANONYMOUS, -1,
			 0);
	static u8 rest[PAGE] __attribute__((aligned(4096)));
	int uffd = uffd_open(), ret;
	u8 *at = pages + PAGE - split;
	pid_t pid;

	expect((void *)pages != MAP_FAILED);
	memcpy(at, arg, split);
	memset(rest, 0, sizeof(rest));
	memcpy(rest, (u8 *)arg + split, size - split);
	reg.range.start = (uintptr_t)pages + PAGE;
	reg.range.len = PAGE;
	expect_ok(ioctl(uffd, UFFDIO_REGISTER, &reg));

	pid = t_fork();
	if (!pid)
		serve(uffd, at, spoil, pages + PAGE, rest);
	ret = ioctl(fd, cmd, at);
	if (ret < 0)
		ret = -errno;
	t_join(pid);
	memcpy(arg, at, size);
	expect_ok(munmap(pages, 2 * PAGE));
	expect_ok(close(uffd));
	return ret;
}

/* --- the requests */

#define PARTS		3

/* @parts: where what must be read before the rest ends, ascending */
struct request {
	const char *name;
	unsigned int cmd;
	bool by_node;
	bool dropin;			/* it alone has it */
	size_t size;
	size_t beyond;			/* zeroes behind it */
	size_t parts[PARTS];
	void (*fill)(const struct vfio_dev *dev, int node, void *arg);
};

static void fill_p2p(const struct vfio_dev *dev, int node, void *arg)
{
	struct dmabuf_vfio_p2p *p2p = arg;

	(void)dev;
	(void)node;
	p2p->open_flags = O_RDWR | O_CLOEXEC;
	p2p->length = PAGE;
}

static void fill_revoke(const struct vfio_dev *dev, int node, void *arg)
{
	struct vfio_pci_dmabuf_revoke *revoke = arg;

	(void)node;
	revoke->argsz = sizeof(*revoke);
	revoke->dmabuf_fd = expect_fd(export_range(dev, 0, 0, PAGE));
}

struct get_dma_buf {
	struct vfio_device_feature feature;
	struct vfio_device_feature_dma_buf get;
	struct vfio_region_dma_range ranges[2];
};

static void fill_feature(const struct vfio_dev *dev, int node, void *arg)
{
	struct get_dma_buf *req = arg;

	(void)dev;
	(void)node;
	req->feature.argsz = sizeof(*req);
	req->feature.flags = VFIO_DEVICE_FEATURE_GET |
			     VFIO_DEVICE_FEATURE_DMA_BUF;
	req->get.open_flags = O_RDWR | O_CLOEXEC;
	req->get.nr_ranges = 2;
	req->ranges[0].length = PAGE;
	req->ranges[1].offset = MIB(1);
	req->ranges[1].length = PAGE;
}

struct set_revoke {
	struct vfio_device_feature feature;
	struct dmabuf_vfio_feature_revoke set;
};

static void fill_feature_revoke(const struct vfio_dev *dev, int node, void *arg)
{
	struct set_revoke *req = arg;

	(void)node;
	req->feature.argsz = sizeof(*req);
	req->feature.flags = VFIO_DEVICE_FEATURE_SET |
			     DMABUF_VFIO_FEATURE_REVOKE;
	req->set.dmabuf_fd = expect_fd(export_range(dev, 0, 0, PAGE));
}

/* Of the node; argsz, the same in all of them, is the caller's. */
static void fill_nothing(const struct vfio_dev *dev, int node, void *arg)
{
	(void)dev;
	(void)node;
	(void)arg;
}

struct node_export {
	struct dmabuf_vfio_export head;
	struct vfio_region_dma_range ranges[2];
};

static void fill_node_export(const struct vfio_dev *dev, int node, void *arg)
{
	struct node_export *req = arg;

	(void)dev;
	(void)node;
	req->head.dma_buf.open_flags = O_RDWR | O_CLOEXEC;
	req->head.dma_buf.nr_ranges = 2;
	req->ranges[0].length = PAGE;
	req->ranges[1].offset = MIB(1);
	req->ranges[1].length = PAGE;
}

static void fill_node_revoke(const struct vfio_dev *dev, int node, void *arg)
{
	struct dmabuf_vfio_revoke *req = arg;

	(void)dev;
	req->dmabuf_fd = expect_fd(node_export(node, 0, 0, PAGE));
}

static void fill_node_route(const struct vfio_dev *dev, int node, void *arg)
{
	struct dmabuf_vfio_route good, *req = arg;

	(void)dev;
	expect_eq(node_route(node, t_role("edu_rp"), &good), 0);
	req->client_domain = good.client_domain;
	req->client_bdf = good.client_bdf;
}

static const struct request requests[] = {
	{ "p2p", DMABUF_VFIO_P2P, false, true, sizeof(struct dmabuf_vfio_p2p),
	  0, { 4 }, fill_p2p },
	{ "revoke", VFIO_DEVICE_PCI_DMABUF_REVOKE, false, false,
	  sizeof(struct vfio_pci_dmabuf_revoke), 0, { 4 }, fill_revoke },
	{ "feature dma_buf", VFIO_DEVICE_FEATURE, false, false,
	  sizeof(struct get_dma_buf), 0,
	  { 8, offsetof(struct get_dma_buf, ranges) }, fill_feature },
	{ "feature revoke", VFIO_DEVICE_FEATURE, false, false,
	  sizeof(struct set_revoke), 0, { 8 }, fill_feature_revoke },
	{ "node info", DMABUF_VFIO_INFO, true, false,
	  sizeof(struct dmabuf_vfio_info), 8,
	  { 8, sizeof(struct dmabuf_vfio_info) }, fill_nothing },
	{ "node export", DMABUF_VFIO_EXPORT, true, false,
	  sizeof(struct node_export), 8, { 8, sizeof(struct dmabuf_vfio_export),
	       sizeof(struct node_export) }, fill_node_export },
	{ "node revoke", DMABUF_VFIO_REVOKE, true, false,
	  sizeof(struct dmabuf_vfio_revoke), 8,
	  { 8, sizeof(struct dmabuf_vfio_revoke) }, fill_node_revoke },
	{ "node route", DMABUF_VFIO_ROUTE, true, false,
	  sizeof(struct dmabuf_vfio_route), 8,
	  { 8, sizeof(struct dmabuf_vfio_route) }, fill_node_route },
};

/* The longest part that must have been read when byte @split is wanted. */
static size_t part_before(const struct request *req, size_t split)
{
	size_t part = 0;

	for (int i = 0; i < PARTS; i++)
		if (req->parts[i] && req->parts[i] <= split)
			part = req->parts[i];
	return part;
}

static int fill(const struct request *req, const struct vfio_dev *dev, int node,
		u8 *arg)
{
	memset(arg, 0, LONGEST);
	if (req->by_node)
		*(u32 *)arg = req->size + req->beyond;
	req->fill(dev, node, arg);
	return req->by_node ? node : dev->fd;
}

/* The descriptor of a new buffer, if it is one */
static void drop(int ret)
{
	if (ret)
		expect_ok(close(ret));
}

static void answers_as_whole(const struct request *req,
			     const struct vfio_dev *dev, int node, size_t split)
{
	u8 whole[LONGEST], arg[LONGEST];
	size_t size = req->size + req->beyond;
	int fd, ret, want;

	fd = fill(req, dev, node, whole);
	want = ioctl(fd, req->cmd, whole);
	expect(want >= 0, "%s: %s", req->name, t_errno_name(errno));
	drop(want);
	fill(req, dev, node, arg);
	ret = send_split(fd, req->cmd, arg, size, split,
			 part_before(req, split));
	expect(ret >= 0, "%s split at %zu reads its argument twice: %s",
	       req->name, split, t_errno_name(-ret));
	drop(ret);
	/* An answer has the argument's head in it: the one that was read. */
	if (req->cmd == DMABUF_VFIO_INFO || req->cmd == DMABUF_VFIO_ROUTE)
		expect(!memcmp(whole, arg, req->size),
		       "%s split at %zu reads its argument twice: argsz %u flags %#x",
		       req->name, split, *(u32 *)arg, *(u32 *)(arg + 4));
}

static void all_of(bool by_node)
{
	struct vfio_dev *dev;
	unsigned int n = 0;
	int node;

	if (vfio_is_stock())
		t_skip("it is about our own requests");
	dev = vfio_open(ROLE);
	vfio_mem_enable(dev, true);
	node = node_open(dev->bdf, O_RDWR);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		const struct request *req = &requests[i];
		size_t end = req->size + (req->beyond ? 4 : 0);
		size_t split = req->parts[0];

		if (req->by_node != by_node ||
		    (req->dropin && !vfio_is_dropin()))
			continue;
		for (; split < end; split += 4, n++)
			answers_as_whole(req, dev, node, split);
	}
	t_note("%u arguments", n);
}

TEST_TIMEOUT(twice, vfio_arguments, 60)
{
	all_of(false);
}

TEST_TIMEOUT(twice, node_arguments, 60)
{
	all_of(true);
}

/* --- an argument of a megabyte */

#define CGROUP		"/tmp/cgroup/twice"
#define MOST		65536		/* ranges */

/* Bytes of kernel memory that the group is charged for */
static long long charged(void)
{
	char stat[8192], *kernel;

	expect(t_read(stat, sizeof(stat), CGROUP "/memory.stat") > 0);
	kernel = strstr(stat, "\nkernel ");
	expect(kernel, "memory.stat has no kernel memory");
	return strtoll(kernel + 8, NULL, 10);
}

static void join_cgroup(void)
{
	char pid[16];

	mkdir("/tmp", 0755);
	mkdir("/tmp/cgroup", 0755);
	if (mount("cgroup", "/tmp/cgroup", "cgroup2", 0, NULL) &&
	    errno != EBUSY)
		t_skip("no control groups: %s", t_errno_name(errno));
	if (t_write("+memory", "/tmp/cgroup/cgroup.subtree_control"))
		t_skip("no memory controller");
	mkdir(CGROUP, 0755);
	snprintf(pid, sizeof(pid), "%d", getpid());
	expect_eq(t_write(pid, CGROUP "/cgroup.procs"), 0);
}

/*
 * While the kernel waits for the last page, its copy of the others is charged
 * to the caller, for each of its waiting calls.
 */
TEST_TIMEOUT(twice, argument_is_charged, 60)
{
	const size_t size = sizeof(struct get_dma_buf) - 2 * 16 + MOST * 16;
	const size_t pages = size / PAGE + 1;
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct get_dma_buf *req;
	struct vfio_dev *dev;
	static u8 rest[PAGE] __attribute__((aligned(4096)));
	u8 *arg = mmap(NULL, pages * PAGE, RDWR, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	struct pollfd p = { .events = POLLIN };
	long long before;
	pid_t pid;

	if (vfio_is_stock())
		t_skip("the stock driver has no limit of ranges");
	expect((void *)arg != MAP_FAILED);
	dev = vfio_open(ROLE);
	vfio_mem_enable(dev, true);
	memset(arg, 0, (pages - 1) * PAGE);
	req = (void *)arg;
	fill_feature(dev, -1, req);
	req->feature.argsz = size;
	req->get.nr_ranges = MOST;
	p.fd = uffd_open();
	reg.range.start = (uintptr_t)arg + (pages - 1) * PAGE;
	reg.range.len = PAGE;
	expect_ok(ioctl(p.fd, UFFDIO_REGISTER, &reg));

	join_cgroup();
	before = charged();
	pid = t_fork();
	if (!pid) {
		expect_eq(poll(&p, 1, 10000), 1);
		t_note("%lld kB are charged", (charged() - before) / 1024);
		expect_ge(charged() - before, MOST * 16 * 9 / 10);
		serve(p.fd, arg, 0, arg + (pages - 1) * PAGE, rest);
	}
	/* All but two ranges are empty. */
	expect_errno(ioctl(dev->fd, VFIO_DEVICE_FEATURE, arg), EINVAL);
	t_join(pid);
}
