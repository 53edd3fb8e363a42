// SPDX-License-Identifier: GPL-2.0-only
/*
 * The function's own node: who gets it, what it answers, and what is left of it
 * when the function goes.
 */
#define _GNU_SOURCE
#include <grp.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hotplug.h"
#include "importer.h"
#include "node.h"
#include "rig.h"

#define CLASS		(vfio_is_dropin() ? "dmabuf-vfio-dropin" :	\
					    "dmabuf-vfio")
#define ROLE		"bochs"		/* 64 MiB of memory, in BAR 0 */
#define NOBODY		65534
#define SOME_GROUP	4711

static void need_node(void)
{
	if (vfio_is_stock())
		t_skip("the stock driver has no node");
}

/* An open function and its node */
static struct vfio_dev *set_up(const char *role, int *node)
{
	struct vfio_dev *dev;

	need_node();
	dev = vfio_open(role);
	vfio_mem_enable(dev, true);
	*node = node_open(dev->bdf, O_RDWR);
	return dev;
}

/* Each of them, with nothing wrong but what the caller knows of */
static void expect_all(int node, int err)
{
	struct dmabuf_vfio_route route;
	struct dmabuf_vfio_info info;

	expect_err(node_info(node, &info), err);
	expect_err(node_export(node, 0, 0, PAGE), err);
	expect_err(node_revoke(node, node), err);
	expect_err(node_route(node, t_role("edu_rp"), &route), err);
	expect_err(node_ioctl(node, DMABUF_VFIO_INFO, NULL), err);
}

/* --- permissions */

static void node_path(char *path, size_t size, const char *bdf)
{
	snprintf(path, size, "/dev/dmabuf-vfio/%s", bdf);
}

static void become(gid_t gid)
{
	expect_ok(setgroups(0, NULL));
	expect_ok(setgid(gid));
	expect_ok(setuid(NOBODY));
}

TEST(node, roots_alone)
{
	const char *bdf = t_role(ROLE);
	struct stat st;
	char path[64];
	pid_t pid;

	need_node();
	vfio_bind(bdf, vfio_driver());
	node_path(path, sizeof(path), bdf);
	expect_ok(stat(path, &st));
	expect(S_ISCHR(st.st_mode));
	expect_eq(st.st_mode & 07777, 0600);
	expect_eq(st.st_uid, 0);
	expect_eq(st.st_gid, 0);
	expect_ok(stat("/dev/dmabuf-vfio", &st));
	expect_eq(st.st_mode & 022, 0);
	expect(t_exists("/sys/class/%s/%s", CLASS, bdf));

	pid = t_fork();
	if (!pid) {
		become(NOBODY);
		expect_errno(open(path, O_RDONLY), EACCES);
		expect_errno(open(path, O_RDWR), EACCES);
		_exit(0);
	}
	t_join(pid);

	vfio_unbind(bdf);
	expect_errno(stat(path, &st), ENOENT);
	expect(!t_exists("/sys/class/%s/%s", CLASS, bdf));
}

/* A group with read access gets all events and can change nothing. */
TEST(node, read_only)
{
	struct dmabuf_vfio_route route;
	struct dmabuf_vfio_info info;
	int rw, ro, fd;
	struct vfio_dev *dev = set_up(ROLE, &rw);
	char path[64];
	pid_t pid;

	fd = expect_fd(node_export(rw, 0, 0, PAGE));
	node_path(path, sizeof(path), dev->bdf);
	expect_ok(chown(path, 0, SOME_GROUP));
	expect_ok(chmod(path, 0640));
	pid = t_fork();
	if (!pid) {
		become(SOME_GROUP);
		expect_errno(open(path, O_RDWR), EACCES);
		ro = node_open(dev->bdf, O_RDONLY | O_NONBLOCK);
		expect_eq(node_info(ro, &info), 0);
		expect_eq(info.nr_buffers, 1);
		expect_eq(node_route(ro, t_role("edu_rp"), &route), 0);
		expect_errno(read(ro, &info, sizeof(info)), EAGAIN);
		expect_err(node_export(ro, 0, 0, PAGE), EACCES);
		expect_err(node_revoke(ro, fd), EACCES);
		_exit(0);
	}
	t_join(pid);
	expect_eq(node_revoke(rw, fd), 0);
}

/* --- before the open, and after the close */

TEST(node, closed)
{
	const char *bdf = t_role(ROLE);
	struct dmabuf_vfio_event event;
	struct dmabuf_vfio_info info;
	struct vfio_dev *dev;
	char text[16];
	u8 before[64], now[64];
	char path[64];
	int node, fd;

	need_node();
	vfio_free_group(bdf, vfio_driver());
	node = node_open(bdf, O_RDWR | O_NONBLOCK);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	fd = expect_ok(open(path, O_RDONLY));
	expect_eq(pread(fd, before, sizeof(before), 0), sizeof(before));
	expect_all(node, ENODEV);
	expect_err(node_ioctl(node, _IO(DMABUF_VFIO_TYPE, 4), NULL), ENOTTY);
	expect_err(node_ioctl(node, VFIO_DEVICE_GET_INFO, &info), ENOTTY);
	expect_errno(read(node, &event, sizeof(event)), EAGAIN);
	expect_eq(node_poll(node, 0), 0);
	/* And all that did not turn the function on. */
	expect(t_read(text, sizeof(text), "/sys/bus/pci/devices/%s/enable",
		      bdf) > 0);
	expect(!strcmp(text, "0"), "it is enabled %s times", text);
	expect_eq(pread(fd, now, sizeof(now), 0), sizeof(now));
	expect(!memcmp(now, before, sizeof(now)));

	for (int i = 0; i < 2; i++) {
		dev = vfio_open_bdf(bdf, vfio_driver());
		expect_eq(node_info(node, &info), 0);
		vfio_close(dev);
		expect_all(node, ENODEV);
	}
}

/* --- tenures of the owner */

/* It can query and get events, but neither export nor revoke. */
static void expect_stale(int node, int fd)
{
	struct dmabuf_vfio_route route;
	struct dmabuf_vfio_info info;
	void *p;

	expect_eq(node_info(node, &info), 0);
	expect_eq(node_route(node, t_role("edu_rp"), &route), 0);
	expect_err(node_export(node, 0, 0, PAGE), ESTALE);
	expect_err(node_revoke(node, fd), ESTALE);
	/* Before anything that is wrong with the argument */
	expect_err(node_ioctl(node, DMABUF_VFIO_EXPORT, NULL), ESTALE);
	expect_err(node_revoke(node, -1), ESTALE);
	/* The buffer is there as before. */
	expect_eq(node_info(node, &info), 0);
	expect_eq(info.nr_buffers, 1);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	expect(p != MAP_FAILED);
	expect_ok(munmap(p, PAGE));
}

TEST(node, former_tenants)
{
	const char *bdf = t_role(ROLE);
	int before, first, between, second, reader, fd;
	struct vfio_dev *dev;

	need_node();
	vfio_free_group(bdf, vfio_driver());
	before = node_open(bdf, O_RDWR | O_NONBLOCK);
	dev = vfio_open_bdf(bdf, vfio_driver());
	vfio_mem_enable(dev, true);
	first = node_open(bdf, O_RDWR);
	fd = expect_fd(node_export(first, 0, 0, PAGE));
	expect_stale(before, fd);
	vfio_close(dev);

	between = node_open(bdf, O_RDWR);
	expect_all(before, ENODEV);
	expect_all(first, ENODEV);
	expect_all(between, ENODEV);
	expect_ok(close(fd));

	dev = vfio_open_bdf(bdf, vfio_driver());
	vfio_mem_enable(dev, true);
	second = node_open(bdf, O_RDWR);
	reader = node_open(bdf, O_RDONLY);
	fd = expect_fd(node_export(second, 0, 0, PAGE));
	expect_stale(before, fd);
	expect_stale(first, fd);
	expect_stale(between, fd);
	/* What it could never do is said first. */
	expect_err(node_export(reader, 0, 0, PAGE), EACCES);
	expect_eq(node_revoke(second, fd), 0);

	/* Events go on, from the open of the descriptor. */
	if (node_expect_opened(before))
		node_expect_event(before, RESTORED, 0);
	node_expect_event(before, CLOSED, DMABUF_VFIO_REASON_CLOSED);
	node_expect_opened(before);
}

/*
 * A second descriptor of the function is not a second tenure; and a node that
 * was opened in this one serves any holder of it, to the last close.
 */
TEST(node, one_tenure)
{
	int node, again, fd;
	struct vfio_dev *dev = set_up(ROLE, &node);
	pid_t pid;

	again = expect_fd(vfio_device_fd(dev));
	expect_ok(close(dev->fd));
	dev->fd = again;
	expect_ok(close(expect_fd(node_export(node, 0, 0, PAGE))));
	pid = t_fork();
	if (!pid) {
		fd = expect_fd(node_export(node, 0, 0, PAGE));
		expect_eq(node_revoke(node, fd), 0);
		_exit(0);
	}
	t_join(pid);
}

/* --- information */

static u32 reasons_of(int node)
{
	struct dmabuf_vfio_info info;

	expect_eq(node_info(node, &info), 0);
	return info.reasons;
}

static void check_bar(const struct vfio_dev *dev, int bar,
		      const struct dmabuf_vfio_bar *info)
{
	unsigned long long start, end, flags;
	char buf[1024], *line = buf;
	int fd;

	expect(t_read(buf, sizeof(buf), "/sys/bus/pci/devices/%s/resource",
		      dev->bdf) > 0);
	for (int i = 0; i < bar; i++)
		line = strchr(line, '\n') + 1;
	expect_eq(sscanf(line, "%llx %llx %llx", &start, &end, &flags), 3);

	t_note("%s BAR %d: %#llx flags %#x", dev->bdf, bar, info->size,
	       info->flags);
	expect_eq(info->reserved, 0);
	expect_eq(info->size, vfio_bar_size(dev, bar));
	if (!info->size) {
		expect_eq(info->flags, 0);
		return;
	}
	expect_eq(!!(info->flags & DMABUF_VFIO_BAR_MEMORY),
		  !vfio_bar_is_io(dev, bar));
	expect_eq(!!(info->flags & DMABUF_VFIO_BAR_64BIT),
		  !!(flags & 0x100000));
	expect_eq(!!(info->flags & DMABUF_VFIO_BAR_PREFETCHABLE),
		  !!(flags & 0x2000));
	expect_eq(info->flags & ~0xfu, 0);

	fd = export_range(dev, bar, 0, PAGE);
	expect_eq(!!(info->flags & DMABUF_VFIO_BAR_EXPORTABLE), fd >= 0);
	if (fd >= 0)
		expect_ok(close(fd));
}

static void info_of(const char *role)
{
	struct dmabuf_vfio_info info;
	int node, fd;
	struct vfio_dev *dev;

	if (!t_has_role(role))
		return;
	dev = set_up(role, &node);
	expect_eq(node_info(node, &info), 0);
	expect_eq(info.argsz, sizeof(info));
	expect_eq(info.flags, 0);
	expect_eq(info.abi_version, DMABUF_VFIO_ABI_VERSION);
	expect_eq(info.reasons, 0);
	expect_eq(info.nr_buffers, 0);
	for (int bar = 0; bar < 6; bar++)
		check_bar(dev, bar, &info.bars[bar]);
	for (int bar = 0; bar < 6; bar++) {
		if (!(info.bars[bar].flags & DMABUF_VFIO_BAR_EXPORTABLE))
			continue;
		fd = expect_fd(node_export(node, bar, 0, PAGE));
		expect_eq(node_info(node, &info), 0);
		expect_eq(info.nr_buffers, 1);
		expect_ok(close(fd));
		t_sleep_ms(20);
	}
	expect_ok(close(node));
	vfio_close(dev);
}

TEST(node, information)
{
	need_node();
	info_of("bochs");
	info_of("nvme_sw");
	info_of("e1000e");
	info_of("rng");
	info_of("conv0");
}

TEST(node, info_reasons)
{
	int node;
	struct vfio_dev *dev = set_up(ROLE, &node);

	expect_eq(reasons_of(node), 0);
	vfio_mem_enable(dev, false);
	expect_eq(reasons_of(node), DMABUF_VFIO_REASON_MEMORY_OFF);
	vfio_mem_enable(dev, true);
	expect_eq(reasons_of(node), 0);
}

/* Capabilities are of the kernel; what each says is tested where it is used. */
TEST(node, capabilities)
{
	struct dmabuf_vfio_info info;
	u32 want = DMABUF_VFIO_CAP_WRITE_COMBINING;
	int node;

	if (t_debug_kernel())
		t_skip("it is built as somebody likes it");
	set_up(ROLE, &node);
	expect_eq(node_info(node, &info), 0);
	if (t_kernel_since(7, 2))
		want |= DMABUF_VFIO_CAP_IOVA | DMABUF_VFIO_CAP_NATIVE;
	if (t_huge_kernel())
		want |= DMABUF_VFIO_CAP_HUGE;
	expect_eq(info.capabilities, want);
}

/* --- arguments */

struct request {
	const char *name;
	unsigned int cmd;
	size_t size;			/* of a good argument */
	size_t reserved;		/* offset; zero: none */
};

static const struct request requests[] = {
	{ "info", DMABUF_VFIO_INFO, sizeof(struct dmabuf_vfio_info), 0 },
	{ "export", DMABUF_VFIO_EXPORT, sizeof(struct dmabuf_vfio_export) +
		sizeof(struct vfio_region_dma_range), 0 },
	{ "revoke", DMABUF_VFIO_REVOKE, sizeof(struct dmabuf_vfio_revoke),
		offsetof(struct dmabuf_vfio_revoke, reserved) },
	{ "route", DMABUF_VFIO_ROUTE, sizeof(struct dmabuf_vfio_route),
		offsetof(struct dmabuf_vfio_route, reserved) },
};

/* Three pages of argument, the fourth is not there. */
static u8 *arg_pages(void)
{
	u8 *arg = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(arg != MAP_FAILED);
	expect_ok(munmap(arg + 3 * PAGE, PAGE));
	return arg;
}

/* A good argument at @arg; for a revoke, of a buffer of its own. */
static void fill(const struct request *req, void *arg, int node)
{
	memset(arg, 0, req->size);
	*(u32 *)arg = req->size;
	if (req->cmd == DMABUF_VFIO_EXPORT) {
		struct dmabuf_vfio_export *export = arg;

		export->dma_buf.open_flags = O_RDWR | O_CLOEXEC;
		export->dma_buf.nr_ranges = 1;
		export->dma_buf.dma_ranges[0].length = PAGE;
	} else if (req->cmd == DMABUF_VFIO_REVOKE) {
		struct dmabuf_vfio_revoke *revoke = arg;

		revoke->dmabuf_fd = expect_fd(node_export(node, 0, 0, PAGE));
	} else if (req->cmd == DMABUF_VFIO_ROUTE) {
		struct dmabuf_vfio_route good, *route = arg;

		expect_eq(node_route(node, t_role("edu_rp"), &good), 0);
		route->client_domain = good.client_domain;
		route->client_bdf = good.client_bdf;
	}
}

/* It works, and what it makes is taken away. */
static void expect_works(const struct request *req, int node, void *arg)
{
	int ret = node_ioctl(node, req->cmd, arg);

	expect(ret >= 0, "%s says %s", req->name, t_errno_name(-ret));
	if (req->cmd == DMABUF_VFIO_EXPORT)
		expect_ok(close(ret));
	if (req->cmd == DMABUF_VFIO_REVOKE)
		expect_ok(close(((struct dmabuf_vfio_revoke *)arg)->dmabuf_fd));
}

static void expect_refused(const struct request *req, int node, void *arg,
			   int err, const char *what)
{
	int ret = node_ioctl(node, req->cmd, arg);

	expect(ret == -err, "%s with %s says %s, not %s", req->name, what,
	       ret < 0 ? t_errno_name(-ret) : "0", t_errno_name(err));
}

static void bad_arguments(const struct request *req, int node)
{
	u8 *pages = arg_pages(), *end = pages + 3 * PAGE;
	u32 *arg = (u32 *)pages;
	struct t_res before;

	fill(req, arg, node);
	before = t_res_take(vfio_module());
	expect_refused(req, node, NULL, EFAULT, "no argument");
	expect_refused(req, node, end, EFAULT, "a bad pointer");
	*arg = req->size - 1;
	expect_refused(req, node, arg, EINVAL, "argsz too short");
	*arg = 0;
	expect_refused(req, node, arg, EINVAL, "argsz of zero");
	*arg = req->size;
	for (int bit = 0; bit < 32; bit++) {
		arg[1] = 1u << bit;
		expect_refused(req, node, arg, EINVAL, "a flag");
	}
	arg[1] = 0;
	if (req->reserved) {
		arg[req->reserved / 4] = 1;
		expect_refused(req, node, arg, EINVAL, "a reserved field set");
		arg[req->reserved / 4] = 0;
	}

	/* What a newer program knows */
	*arg = req->size + 8;
	pages[req->size + 7] = 1;
	expect_refused(req, node, arg, E2BIG, "something beyond");
	pages[req->size + 7] = 0;
	*arg = req->size + PAGE + 1;
	expect_refused(req, node, arg, E2BIG, "more than a page beyond");
	*arg = UINT32_MAX;
	expect_refused(req, node, arg, E2BIG, "everything beyond");

	/* The last bytes of the argument are not there. */
	memcpy(end - req->size + 4, pages, req->size - 4);
	*(u32 *)(end - req->size + 4) = req->size;
	expect_refused(req, node, end - req->size + 4, EFAULT, "half of it");
	memcpy(end - req->size, pages, req->size);
	*(u32 *)(end - req->size) = req->size + 8;
	expect_refused(req, node, end - req->size, EFAULT, "no beyond");
	t_res_same(&before);

	*arg = req->size + 8;
	expect_works(req, node, arg);
	fill(req, end - req->size, node);
	expect_works(req, node, end - req->size);
	expect_ok(munmap(pages, 3 * PAGE));
}

TEST(node, bad_arguments)
{
	struct dmabuf_vfio_info info;
	int node;

	set_up(ROLE, &node);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		bad_arguments(&requests[i], node);
	expect_err(node_ioctl(node, _IO(DMABUF_VFIO_TYPE, 4), &info), ENOTTY);
	expect_err(node_ioctl(node, _IO(';', 100), &info), ENOTTY);
	t_sleep_ms(50);
	expect_eq(node_info(node, &info), 0);
	expect_eq(info.nr_buffers, 0);
}

/* An answer is the structure and not a byte more. */
TEST(node, answers_are_whole)
{
	struct {
		struct dmabuf_vfio_info info;
		u64 beyond;
	} arg = { .info.argsz = sizeof(arg) };
	int node;

	set_up(ROLE, &node);
	expect_eq(node_ioctl(node, DMABUF_VFIO_INFO, &arg), 0);
	expect_eq(arg.info.argsz, sizeof(arg));
	expect_eq(arg.beyond, 0);
	expect_eq(arg.info.bars[0].size, MIB(64));
}

/* --- export */

TEST(node, export_refused)
{
	struct {
		struct dmabuf_vfio_export head;
		struct vfio_region_dma_range range[2];
	} arg, good = {
		.head = {
			.argsz = sizeof(arg),
			.dma_buf = {
				.open_flags = O_RDWR | O_CLOEXEC,
				.nr_ranges = 2,
			},
		},
		.range = { { 0, PAGE }, { MIB(1), PAGE } },
	};
	struct vfio_device_feature_dma_buf *req = &arg.head.dma_buf;
	struct rlimit limit, none;
	struct t_res before;
	int node;

	set_up(ROLE, &node);
	before = t_res_take(vfio_module());
#define REFUSED(err, change) do {					\
	arg = good;							\
	change;								\
	expect_err(node_ioctl(node, DMABUF_VFIO_EXPORT, &arg), err);	\
} while (0)
	REFUSED(EINVAL, req->nr_ranges = 3);
	REFUSED(EINVAL, req->nr_ranges = UINT32_MAX);
	REFUSED(E2BIG, req->nr_ranges = 1);
	REFUSED(EINVAL, (req->nr_ranges = 0, arg.head.argsz = 24));
	REFUSED(EINVAL, req->flags = 1);
	REFUSED(EINVAL, req->flags = 2u << 28);
	REFUSED(EINVAL, req->open_flags = O_RDWR | O_APPEND);
	REFUSED(EINVAL, arg.range[1].offset = 1);
	REFUSED(EINVAL, arg.range[1].length = 0);
	REFUSED(EINVAL, arg.range[1].offset = MIB(64));
	REFUSED(EOVERFLOW, arg.range[1].offset = -PAGE);
	REFUSED(ENODEV, req->region_index = 5);
	REFUSED(ENODEV, req->region_index = 6);
	REFUSED(ENODEV, req->region_index = UINT32_MAX);
#undef REFUSED
	expect_ok(getrlimit(RLIMIT_NOFILE, &limit));
	none = limit;
	none.rlim_cur = 0;
	expect_ok(setrlimit(RLIMIT_NOFILE, &none));
	expect_err(node_export(node, 0, 0, PAGE), EMFILE);
	expect_ok(setrlimit(RLIMIT_NOFILE, &limit));
	t_res_same(&before);
	expect_fd(node_ioctl(node, DMABUF_VFIO_EXPORT, &good));
}

/* The VFIO fd and the node give the same kind of buffer. */
TEST_TIMEOUT(node, export_and_dma, 60)
{
	static const char text[] = "through the node";
	char seen[sizeof(text)];
	int node, imp, handle, fd;
	struct vfio_dev *dev;
	struct imp_map map;
	const char *edu;

	if (!t_host_forwards())
		t_skip("the host bridge does not forward");
	imp = imp_open();
	edu = imp_edu("edu_rp");
	dev = set_up(ROLE, &node);
	fd = expect_fd(node_export(node, 0, MIB(2), 4 * PAGE));
	expect_eq(lseek(fd, 0, SEEK_END), 4 * PAGE);
	expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	/* Who made it may go. */
	expect_ok(close(node));
	handle = expect_fd(imp_attach(imp, fd, edu));
	expect_eq(imp_map(imp, handle, &map), 0);
	expect_eq(imp_write(imp, edu, imp_addr(&map, PAGE + 64, sizeof(text)),
			    text, sizeof(text)), 0);
	expect_eq(vfio_try_pread(dev, 0, seen, sizeof(seen),
				 MIB(2) + PAGE + 64), sizeof(seen));
	expect(!memcmp(seen, text, sizeof(text)));
	imp_map_free(&map);

	vfio_close(dev);
	expect_eq(imp_stats(imp, handle).mapped, 0);
	expect_err(imp_map(imp, handle, NULL), ENODEV);
	expect_err(imp_attach(imp, fd, edu), ENODEV);
	expect_eq(imp_detach(imp, handle), 0);
}

/* --- revoke */

TEST_TIMEOUT(node, revoke_for_good, 60)
{
	struct vfio_dev *dev, *other;
	struct dmabuf_vfio_info info;
	int node, fd, theirs, pipes[2], handle, imp;

	imp = imp_open();
	dev = set_up(ROLE, &node);
	other = vfio_open("shm_sw");
	theirs = expect_fd(export_range(other, 2, 0, PAGE));
	expect_ok(pipe(pipes));

	expect_err(node_revoke(node, -1), EBADF);
	expect_err(node_revoke(node, 999), EBADF);
	expect_err(node_revoke(node, pipes[0]), EINVAL);
	expect_err(node_revoke(node, node), EINVAL);
	expect_err(node_revoke(node, theirs), ENODEV);

	/* One that the VFIO fd made, through a copy of its descriptor */
	fd = expect_fd(export_range(dev, 0, 0, PAGE));
	handle = expect_fd(imp_attach(imp, fd, imp_edu("edu_rp")));
	if (t_host_forwards())
		expect_eq(imp_map(imp, handle, NULL), 0);
	expect_eq(node_revoke(node, expect_ok(dup(fd))), 0);
	expect_eq(imp_stats(imp, handle).mapped, 0);
	expect_err(imp_map(imp, handle, NULL), ENODEV);
	expect_err(node_revoke(node, fd), EBADFD);
	expect_eq(node_info(node, &info), 0);
	expect_eq(info.nr_buffers, 0);
	vfio_mem_enable(dev, false);
	vfio_mem_enable(dev, true);
	expect_err(imp_map(imp, handle, NULL), ENODEV);
}

/*
 * A revoke that waits for an importer does not keep the function open, nor the
 * node busy; a close that waits for the same importer makes it a closed one.
 */
TEST_TIMEOUT(node, revoke_beside_close, 60)
{
	struct dmabuf_vfio_info info;
	pid_t revoker, closer;
	struct rig rig = {};
	int node, go[2];
	struct gate gate;
	char byte;
	u64 start;

	rig_open(&rig, "rng");
	node = node_open(rig.bdf, O_RDWR);
	rig_hold(&rig);
	revoker = t_fork();
	if (!revoker) {
		rig_drop(&rig);
		expect_eq(node_revoke(node, rig.fd), 0);
		_exit(0);
	}
	expect(t_within(5000, !imp_stats(rig.imp, rig.quick.handle).mapped));
	t_sleep_ms(200);
	expect_eq(waitpid(revoker, NULL, WNOHANG), 0);
	expect_eq(node_info(node, &info), 0);
	expect_eq(info.nr_buffers, 1);
	expect_err(node_revoke(node, rig.fd), EBADFD);

	/* The last close is that of a process that can wait for it. */
	expect_ok(pipe(go));
	closer = t_fork();
	if (!closer) {
		expect_eq(read(go[0], &byte, 1), 1);
		vfio_close(rig.dev);
		_exit(0);
	}
	rig_drop(&rig);
	vfio_forget(rig.dev);
	expect_eq(write(go[1], "", 1), 1);
	expect(t_within(5000, (gate = gate_read(rig.bdf),
			       !strcmp(gate.reasons, "closed"))),
	       "a revoke that waits keeps the function open");
	start = t_now_ns();
	expect_all(node, ENODEV);
	expect_le(t_now_ns() - start, 1000000000);
	expect_eq(waitpid(closer, NULL, WNOHANG), 0);
	expect_eq(waitpid(revoker, NULL, WNOHANG), 0);

	rig_let_go(&rig);
	t_join(revoker);
	t_join(closer);
	vfio_unbind(rig.bdf);
}

/* --- routes */

static void expect_route(int node, const char *client, u32 kind, int distance,
			 u32 why, u32 reads, u32 writes)
{
	struct dmabuf_vfio_route route;

	expect_eq(node_route(node, t_role(client), &route), 0);
	t_note("%s: route %u distance %d reason %u reads %u writes %u", client,
	       route.route, route.distance, route.reason, route.reads,
	       route.writes);
	expect_eq(route.route, kind);
	expect_eq(route.distance, distance);
	expect_eq(route.reason, why);
	expect_eq(route.reads, reads);
	expect_eq(route.writes, writes);
	expect_eq(route.argsz, sizeof(route));
	expect_eq(route.flags, 0);
	expect_eq(route.reserved, 0);
}

/* A CPU that is known to forward is not known to read; a named bridge is. */
static void expect_host(int node, const char *client, int distance, bool meet)
{
	if (t_host_forwards())
		expect_route(node, client, DMABUF_VFIO_ROUTE_HOST, distance,
			     meet ? DMABUF_VFIO_WHY_REDIRECTED :
				    DMABUF_VFIO_WHY_FORWARDED,
			     t_bench_is("host", "cpu") ?
				     DMABUF_VFIO_ACCESS_UNKNOWN :
				     DMABUF_VFIO_ACCESS_YES,
			     DMABUF_VFIO_ACCESS_YES);
	else
		expect_route(node, client, DMABUF_VFIO_ROUTE_NONE, distance,
			     meet ? DMABUF_VFIO_WHY_REDIRECTED_AWAY :
				    DMABUF_VFIO_WHY_NOT_FORWARDED,
			     DMABUF_VFIO_ACCESS_NO, DMABUF_VFIO_ACCESS_NO);
}

static void expect_bus(int node, const char *client, int distance)
{
	expect_route(node, client, DMABUF_VFIO_ROUTE_BUS, distance,
		     DMABUF_VFIO_WHY_SWITCH, DMABUF_VFIO_ACCESS_YES,
		     DMABUF_VFIO_ACCESS_YES);
}

TEST(node, routes)
{
	struct dmabuf_vfio_route route;
	struct vfio_dev *dev;
	int node;

	dev = set_up("shm_sw", &node);
	expect_bus(node, "shm_sw", 0);
	expect_bus(node, "edu_sw", 4);
	expect_host(node, "edu_rp", 6, false);
	/* The client need not be anybody's. */
	expect_host(node, "rp_edu", 5, false);
	vfio_close(dev);

	dev = set_up("nvme_mf", &node);
	if (t_bench_is("iommu", "off"))
		expect_bus(node, "shm_mf", 2);
	else
		expect_host(node, "shm_mf", 2, true);

	expect_err(node_route(node, "0000:fe:1f.7", &route), ENOENT);
	expect_err(node_route(node, "1234:00:00.0", &route), ENOENT);
	route = (struct dmabuf_vfio_route){
		.argsz = sizeof(route),
		.client_bdf = 0x10000,
	};
	expect_err(node_ioctl(node, DMABUF_VFIO_ROUTE, &route), ENOENT);
	route.client_bdf = 0;
	route.client_domain = 0x80000000;
	expect_err(node_ioctl(node, DMABUF_VFIO_ROUTE, &route), ENOENT);
}

/* --- lifetime */

static void leave_function(const struct vfio_dev *dev)
{
	if (!dev)
		return;
	close(dev->fd);
	close(dev->group);
	close(dev->container);
}

/* Reads all there is, and blocks for more until the end. */
static void read_to_end(const char *bdf, int ready)
{
	struct dmabuf_vfio_event event;
	int node = node_open(bdf, O_RDONLY);

	expect_eq(write(ready, "", 1), 1);
	while (node_event(node, &event))
		;
	expect_eq(node_poll(node, 0), POLLHUP);
	_exit(0);
}

static void poll_to_end(const char *bdf, int ready)
{
	struct dmabuf_vfio_event event;
	int node = node_open(bdf, O_RDONLY);
	int revents;

	expect_eq(write(ready, "", 1), 1);
	while ((revents = node_poll(node, -1)) & POLLIN)
		expect(node_event(node, &event));
	expect_eq(revents, POLLHUP);
	_exit(0);
}

struct waiters {
	pid_t reader, poller;
};

/* Two that sleep in read and poll, and have nothing of @dev. */
static struct waiters start_waiters(const char *bdf,
				    const struct vfio_dev *dev)
{
	struct waiters w;
	int ready[2];
	char byte;

	expect_ok(pipe(ready));
	w.reader = t_fork();
	if (!w.reader) {
		leave_function(dev);
		read_to_end(bdf, ready[1]);
	}
	w.poller = t_fork();
	if (!w.poller) {
		leave_function(dev);
		poll_to_end(bdf, ready[1]);
	}
	expect_eq(read(ready[0], &byte, 1), 1);
	expect_eq(read(ready[0], &byte, 1), 1);
	t_sleep_ms(100);
	return w;
}

static void expect_waiting(const struct waiters *w)
{
	expect_eq(waitpid(w->reader, NULL, WNOHANG), 0);
	expect_eq(waitpid(w->poller, NULL, WNOHANG), 0);
}

static void join_waiters(const struct waiters *w)
{
	t_join(w->reader);
	t_join(w->poller);
}

/* A node of a function that is not there any more */
static void expect_end(int node)
{
	struct dmabuf_vfio_event event;

	expect_all(node, ENODEV);
	expect_eq(node_poll(node, 0), POLLHUP);
	expect(!node_event(node, &event));
	expect_errno(read(node, &event, sizeof(event) - 1), EINVAL);
}

TEST_TIMEOUT(node, outlives_unbind, 60)
{
	const char *bdf = t_role(ROLE);
	struct dmabuf_vfio_event event;
	struct dmabuf_vfio_info info;
	struct vfio_dev *dev;
	struct waiters w;
	int node, again;

	need_node();
	vfio_free_group(bdf, vfio_driver());
	w = start_waiters(bdf, NULL);
	node = node_open(bdf, O_RDWR);
	dev = vfio_open_bdf(bdf, vfio_driver());
	vfio_close(dev);
	expect_waiting(&w);
	vfio_unbind(bdf);
	join_waiters(&w);
	/* First the events that are left. */
	expect_all(node, ENODEV);
	expect_eq(node_poll(node, 0), POLLIN | POLLHUP);
	node_expect_opened(node);
	node_expect_event(node, CLOSED, DMABUF_VFIO_REASON_CLOSED);
	expect_end(node);
	/* It keeps the module, and has nothing to do with a new one. */
	expect_err(vfio_rmmod(vfio_module()), EAGAIN);
	vfio_bind(bdf, vfio_driver());
	again = node_open(bdf, O_RDWR);
	dev = vfio_open_bdf(bdf, vfio_driver());
	expect_eq(node_info(again, &info), 0);
	expect_end(node);
	expect_ok(close(node));
	expect(node_event(again, &event));
	expect_eq(event.seq, 1);
	vfio_close(dev);
	vfio_unbind(bdf);
	expect_ok(close(again));
	expect(t_within(2000, !vfio_rmmod(vfio_module())));
}

/* Unbinding waits for the user; so long the node works. */
TEST_TIMEOUT(node, unbind_while_open, 60)
{
	int node;
	struct vfio_dev *dev = set_up(ROLE, &node);
	const char *bdf = t_role(ROLE);
	struct waiters w;
	pid_t pid;

	w = start_waiters(bdf, dev);
	pid = t_fork();
	if (!pid) {
		leave_function(dev);
		vfio_unbind(bdf);
		_exit(0);
	}
	t_sleep_ms(300);
	expect_eq(waitpid(pid, NULL, WNOHANG), 0);
	expect_waiting(&w);
	expect_fd(node_export(node, 0, 0, PAGE));
	expect_eq(reasons_of(node), 0);
	vfio_close(dev);
	t_join(pid);
	join_waiters(&w);
	node_expect_event(node, CLOSED, DMABUF_VFIO_REASON_CLOSED);
	expect_end(node);
}

static bool is_there(const char *bdf)
{
	return t_exists("/sys/bus/pci/devices/%s", bdf);
}

/* The function itself goes, as by "remove" in sysfs. */
TEST_TIMEOUT(node, outlives_removal, 60)
{
	const char *bdf = t_role(ROLE);
	struct vfio_dev *dev;
	struct waiters w;
	int node;

	need_node();
	dev = set_up(ROLE, &node);
	w = start_waiters(bdf, dev);
	vfio_close(dev);
	expect_eq(t_write("1", "/sys/bus/pci/devices/%s/remove", bdf), 0);
	expect(!is_there(bdf));
	join_waiters(&w);
	node_expect_event(node, CLOSED, DMABUF_VFIO_REASON_CLOSED);
	expect_end(node);
	expect_eq(t_write("1", "/sys/bus/pci/rescan"), 0);
	expect(t_within(5000, is_there(bdf)));
	dev = set_up(ROLE, &node);
	expect_fd(node_export(node, 0, 0, PAGE));
}

static void unplug(bool surprise)
{
	const char *bdf;
	struct vfio_dev *dev;
	struct waiters w;
	int node;

	hotplug_needs_no_lockdep();
	hotplug_needs_own_events();
	dev = set_up("rng", &node);
	bdf = t_role("rng");
	w = start_waiters(bdf, dev);
	if (surprise) {
		hotplug_pull("rp_rng");
		node_expect_event(node, REVOKED, DMABUF_VFIO_REASON_GONE);
		expect_eq(reasons_of(node), DMABUF_VFIO_REASON_GONE);
	} else {
		t_host("hmp device_del rng");
		t_sleep_ms(8000);
		expect(is_there(bdf));
		expect_eq(reasons_of(node), 0);
		expect_fd(node_export(node, 4, 0, PAGE));
	}
	expect_waiting(&w);
	vfio_close(dev);
	expect(t_within(15000, !is_there(bdf)), "it is still there");
	join_waiters(&w);
	node_expect_event(node, CLOSED, DMABUF_VFIO_REASON_CLOSED |
			  (surprise ? DMABUF_VFIO_REASON_GONE : 0));
	expect_end(node);
	hotplug_plug_rng(bdf);
	expect_end(node);
	dev = set_up("rng", &node);
	expect_eq(reasons_of(node), 0);
}

TEST_TIMEOUT(node, outlives_surprise_removal, 90)
{
	unplug(true);
}

TEST_TIMEOUT(node, outlives_orderly_removal, 90)
{
	unplug(false);
}

static void bind_and_unbind(void *bdf)
{
	vfio_bind(bdf, vfio_driver());
	expect_ok(close(node_open(bdf, O_RDWR)));
	vfio_unbind(bdf);
}

TEST_TIMEOUT(node, leaves_nothing, 120)
{
	char *bdf = strdup(t_role(ROLE));

	need_node();
	t_expect_flat(200, bind_and_unbind, bdf, "a node");
}

/* --- beside opens and closes */

/* A descriptor of a former tenure is replaced. */
static int hammer_export(const char *bdf, int *node)
{
	int fd = node_export(*node, 0, 0, PAGE);

	if (fd == -ESTALE) {
		expect_ok(close(*node));
		*node = node_open(bdf, O_RDWR);
		fd = node_export(*node, 0, 0, PAGE);
	}
	return fd;
}

/* Either it is open, in this tenure or another one, or it is not. */
static void hammer(const char *bdf, const char *edu)
{
	int imp = imp_open(), node = node_open(bdf, O_RDWR);
	struct dmabuf_vfio_route route;
	struct dmabuf_vfio_info info;
	unsigned int worked = 0;

	for (;;) {
		int fd = hammer_export(bdf, &node);
		int ret = node_info(node, &info);

		expect(!ret || ret == -ENODEV, "%s", t_errno_name(-ret));
		ret = node_route(node, edu, &route);
		expect(!ret || ret == -ENODEV, "%s", t_errno_name(-ret));
		if (fd < 0) {
			expect(fd == -ENODEV || fd == -ESTALE, "%s",
			       t_errno_name(-fd));
			t_sleep_ms(1);
			continue;
		}
		worked++;
		if (worked & 1) {
			ret = node_revoke(node, fd);
			expect(!ret || ret == -ENODEV || ret == -ESTALE, "%s",
			       t_errno_name(-ret));
		}
		ret = imp_attach(imp, fd, edu);
		expect(ret >= 0 || ret == -ENODEV, "%s", t_errno_name(-ret));
		if (ret >= 0)
			imp_detach(imp, ret);
		expect_ok(close(fd));
	}
}

TEST_TIMEOUT(node, open_close_storm, 120)
{
	const char *bdf = t_role(ROLE);
	const char *edu = imp_edu("edu_rp");
	struct dmabuf_vfio_info info;
	struct vfio_dev *dev;
	pid_t pids[2];
	int node;

	need_node();
	vfio_free_group(bdf, vfio_driver());
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = t_fork();
		if (!pids[i])
			hammer(bdf, edu);
	}
	for (int i = 0; i < 20; i++) {
		dev = vfio_open_bdf(bdf, vfio_driver());
		t_sleep_ms(20 + i);
		vfio_close(dev);
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		expect_eq(waitpid(pids[i], NULL, WNOHANG), 0);
		/* In the middle of whatever it does */
		expect_ok(kill(pids[i], SIGKILL));
		expect_ok(waitpid(pids[i], NULL, 0));
	}
	node = node_open(bdf, O_RDWR);
	dev = vfio_open_bdf(bdf, vfio_driver());
	expect(t_within(2000, !node_info(node, &info) && !info.nr_buffers));
	vfio_close(dev);
	vfio_unbind(bdf);
}
