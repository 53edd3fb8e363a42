// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's own drivers that import dma-bufs and can be had without their
 * hardware: none of those here can be told to let go. Each is refused when it
 * attaches, or gives up before, and the buffer is as if nobody had asked.
 *
 * What an attach was told is seen at the dma-buf core: not every driver hands
 * it on to its user.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "importer.h"
#include "rig.h"
#include "strangers.h"
#include "vfio.h"

#define TIMEOUT		180
#define MANY		2000	/* attempts that leave nothing */

#define BAR		2	/* of shm_sw: 4 MiB of memory */
#define BYTES_AT	0x12340
#define BYTES		64

int strangers_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

void strangers_load(const char *module)
{
	char command[128];

	snprintf(command, sizeof(command), "modprobe %s", module);
	expect_eq(system(command), 0);
}

/* --- what attaches are told */

#define TRACING		"/sys/kernel/tracing"
#define ATTACHED	"r:dvp/attached dma_buf_dynamic_attach ret=$retval:s64"

static void trace_clear(void)
{
	close(expect_ok(open(TRACING "/trace", O_WRONLY | O_TRUNC)));
}

static void trace_off(void)
{
	t_write("0", TRACING "/events/dvp/enable");
	close(expect_ok(open(TRACING "/kprobe_events", O_WRONLY | O_TRUNC)));
}

static void trace_on(void)
{
	trace_off();
	expect_eq(t_write(ATTACHED, TRACING "/kprobe_events"), 0);
	expect_eq(t_write("1", TRACING "/events/dvp/enable"), 0);
	trace_clear();
}

/* How many attached since, and how many of them in vain because of @err */
static unsigned int traced(int err)
{
	static char text[1 << 16];
	unsigned int n = 0;
	char want[32];

	snprintf(want, sizeof(want), err ? "ret=-%d\n" : "attached: ", err);
	expect_ge(t_read(text, sizeof(text) - 1, TRACING "/trace"), 1);
	strcat(text, "\n");
	for (char *at = text; (at = strstr(at, want)); at++)
		n++;
	return n;
}

/* --- the buffer */

struct loan {
	struct vfio_dev *dev;
	char bdf[VFIO_BDF_LEN];
	int fd;
	int imp;
	const char *edu;
	int handle;
	struct imp_map map;
	u32 seed;
	unsigned int bufs;		/* of everybody, before */
};

/* All dma-bufs there are: the last line of the file. */
static unsigned int dma_bufs(void)
{
	static char text[1 << 16];
	unsigned int n;
	char *last;

	expect_ge(t_read(text, sizeof(text),
			 "/sys/kernel/debug/dma_buf/bufinfo"), 1);
	last = strrchr(text, '\n');
	expect(last && sscanf(last, " Total %u objects", &n) == 1);
	return n;
}

static void lend(struct loan *l)
{
	if (!t_host_forwards())
		t_skip("the host bridge does not forward");
	l->imp = imp_open();
	l->edu = imp_edu("edu_rp");
	l->dev = vfio_open_exporter("shm_sw");
	memcpy(l->bdf, l->dev->bdf, sizeof(l->bdf));
	vfio_mem_enable(l->dev, true);
	l->bufs = dma_bufs();
	l->fd = expect_fd(export_bar(l->dev, BAR));
}

/* The one buffer of the function has that many attachments, and mappings. */
static void expect_users(const struct loan *l, unsigned int n)
{
	unsigned int atts = 0, maps, bufs = 0;
	static char text[1 << 14];
	char *at;

	expect_ge(t_read(text, sizeof(text), "%s",
			 vfio_debugfs(l->bdf, "buffers")), 1);
	for (at = text; (at = strstr(at, "  attachment ")); at++)
		atts++;
	for (at = text; (at = strstr(at, "buffer ino=")); at++)
		bufs++;
	expect_eq(bufs, 1);
	expect_eq(atts, n);
	at = strstr(text, " maps=");
	expect(at && sscanf(at, " maps=%u", &maps) == 1);
	expect_eq(maps, n);
}

/* What the edu writes arrives. */
static void expect_bytes(struct loan *l)
{
	u8 want[BYTES], have[BYTES];

	l->seed++;
	for (int i = 0; i < BYTES; i++)
		want[i] = l->seed * 37 + i;
	expect_eq(imp_write(l->imp, l->edu, imp_addr(&l->map, BYTES_AT, BYTES),
			    want, BYTES), 0);
	expect_eq(vfio_try_pread(l->dev, BAR, have, BYTES, BYTES_AT), BYTES);
	expect_eq(memcmp(have, want, BYTES), 0);
}

/* --- a stranger */

static void ask(const struct stranger *s, int node, int buf)
{
	int ret = s->import(s, node, buf);

	expect(ret == -s->err, "%s: %s, not %s", s->name,
	       t_errno_name(ret < 0 ? -ret : 0), t_errno_name(s->err));
}

static void ask_and_see(const struct stranger *s, int node, int buf)
{
	trace_clear();
	ask(s, node, buf);
	expect_eq(traced(0), s->attaches);
	expect_eq(traced(EOPNOTSUPP), s->attaches);
}

struct question {
	const struct stranger *s;
	int node;
	int buf;
};

static void ask_again(void *arg)
{
	const struct question *q = arg;

	ask(q->s, q->node, q->buf);
}

void strangers_refused(const struct stranger *s)
{
	struct t_res before = t_res_take(vfio_exporter());
	struct question q = { .s = s };
	struct loan l = {};
	u64 start;

	/* Also for a user of the driver that has other buffers of it. */
	q.node = s->open(s);
	lend(&l);
	q.buf = l.fd;
	trace_on();

	ask_and_see(s, q.node, l.fd);
	expect_users(&l, 0);

	/* The permitted importer uses it while the other one attaches. */
	l.handle = expect_fd(imp_attach(l.imp, l.fd, l.edu));
	expect_eq(imp_map(l.imp, l.handle, &l.map), 0);
	ask_and_see(s, q.node, l.fd);
	expect_users(&l, 1);
	expect_bytes(&l);
	expect_eq(imp_unmap(l.imp, l.handle), 0);
	expect_eq(imp_detach(l.imp, l.handle), 0);
	imp_map_free(&l.map);

	trace_off();
	start = t_now_ns();
	t_expect_flat(MANY, ask_again, &q, s->name);
	t_note("%s: %s; %d attempts in %llu ms", s->name, t_errno_name(s->err),
	       MANY, (unsigned long long)(t_now_ns() - start) / 1000000);
	expect_users(&l, 0);
	expect_eq(dma_bufs(), l.bufs + 1);

	/* And it is a buffer like any other. */
	l.handle = expect_fd(imp_attach(l.imp, l.fd, l.edu));
	expect_eq(imp_map(l.imp, l.handle, &l.map), 0);
	expect_bytes(&l);
	expect_eq(imp_unmap(l.imp, l.handle), 0);
	expect_eq(imp_detach(l.imp, l.handle), 0);

	/* Nobody else holds it. */
	expect_eq(gate_read(l.bdf).buffers, 1);
	if (s->keeps) {
		expect_eq(vfio_revoke(l.dev->fd, l.fd), 0);
		expect_eq(gate_read(l.bdf).buffers, 0);
	}
	expect_ok(close(l.fd));
	if (!s->keeps) {
		expect(t_within(2000, gate_read(l.bdf).buffers == 0));
		expect(t_within(2000, dma_bufs() == l.bufs));
	}

	/* One that is of no use any more is not had either. */
	l.fd = expect_fd(export_bar(l.dev, BAR));
	vfio_close(l.dev);
	ask(s, q.node, l.fd);
	expect_ok(close(l.fd));

	s->close(q.node);
	close(l.imp);
	if (s->keeps) {
		t_note("%s: the kernel keeps %u of the buffers", s->name,
		       dma_bufs() - l.bufs);
		before.refcnt += dma_bufs() - l.bufs;
	}
	expect(t_within(2000, t_refcnt(before.module) == before.refcnt));
	t_res_same(&before);
	vfio_unbind(l.bdf);
}

static void just_close(int node)
{
	expect_ok(close(node));
}

/* --- graphics: PRIME */

/* libdrm's headers are not always there. */
struct drm_version {
	int major, minor, patch;
	size_t name_len;
	char *name;
	size_t date_len;
	char *date;
	size_t desc_len;
	char *desc;
};

struct drm_prime_handle {
	u32 handle;
	u32 flags;
	__s32 fd;
};

#define DRM_IOCTL_VERSION	_IOWR('d', 0x00, struct drm_version)
#define DRM_IOCTL_PRIME_FD_TO_HANDLE					\
	_IOWR('d', 0x2e, struct drm_prime_handle)

static int open_card(const char *driver)
{
	for (int i = 0; i < 8; i++) {
		char path[32], name[32] = "";
		struct drm_version version = {
			.name = name,
			.name_len = sizeof(name) - 1,
		};
		int fd;

		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!ioctl(fd, DRM_IOCTL_VERSION, &version) &&
		    !strcmp(name, driver))
			return fd;
		close(fd);
	}
	t_fail("no card of %s", driver);
}

static int import_prime(const struct stranger *s, int node, int buf)
{
	struct drm_prime_handle req = { .fd = buf };

	(void)s;
	return strangers_ioctl(node, DRM_IOCTL_PRIME_FD_TO_HANDLE, &req);
}

static int open_vgem(const struct stranger *s)
{
	strangers_load(s->module);
	return open_card(s->name);
}

TEST_TIMEOUT(strangers, vgem, TIMEOUT)
{
	const struct stranger s = {
		.module = "vgem",
		.name = "vgem",
		.open = open_vgem,
		.import = import_prime,
		.close = just_close,
		.err = EOPNOTSUPP,
		.attaches = true,
	};

	strangers_refused(&s);
}

static void find_pci(const struct stranger *s, char *bdf, size_t size)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	char vendor[16], device[16];
	struct dirent *entry;

	expect(dir);
	while ((entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (t_read(vendor, sizeof(vendor),
			   "/sys/bus/pci/devices/%s/vendor", name) < 0 ||
		    t_read(device, sizeof(device),
			   "/sys/bus/pci/devices/%s/device", name) < 0 ||
		    strtoul(vendor, NULL, 16) != s->vendor ||
		    strtoul(device, NULL, 16) != s->device)
			continue;
		snprintf(bdf, size, "%.15s", name);
		closedir(dir);
		return;
	}
	t_fail("the bench has no %04x:%04x", s->vendor, s->device);
}

#define VIRTIO	0x1af4

static int open_pci(const struct stranger *s)
{
	char bdf[VFIO_BDF_LEN];

	strangers_load(s->module);
	find_pci(s, bdf, sizeof(bdf));
	/* All that is virtio has one PCI driver. */
	if (s->vendor == VIRTIO) {
		strangers_load("virtio_pci");
		vfio_bind(bdf, "virtio-pci");
	} else {
		vfio_bind(bdf, s->name);
	}
	return open_card(s->name);
}

static void card(const char *module, const char *name, u16 vendor, u16 device,
		 int err)
{
	const struct stranger s = {
		.module = module,
		.name = name,
		.vendor = vendor,
		.device = device,
		.open = open_pci,
		.import = import_prime,
		.close = just_close,
		.err = err,
		.attaches = err == EOPNOTSUPP,
	};

	strangers_refused(&s);
}

TEST_TIMEOUT(strangers, qxl, TIMEOUT)
{
	card("qxl", "qxl", 0x1b36, 0x0100, EOPNOTSUPP);
}

/* Without blob resources, as QEMU has it by default, on all kernels */
TEST_TIMEOUT(strangers, virtio_gpu, TIMEOUT)
{
	card("virtio_gpu", "virtio_gpu", VIRTIO, 0x1050, EOPNOTSUPP);
}

TEST_TIMEOUT(strangers, cirrus, TIMEOUT)
{
	const char *name = t_kernel_since(7, 2) ? "cirrus-qemu" :
							 "cirrus";

	card(name, name, 0x1013, 0x00b8, EOPNOTSUPP);
}

/* The newest has its buffers in memory, those before in its own BAR. */
TEST_TIMEOUT(strangers, bochs, TIMEOUT)
{
	if (!t_kernel_since(6, 12))
		t_skip("bochs has no way to import there");
	card("bochs", "bochs-drm", 0x1234, 0x1111,
	     t_kernel_since(7, 2) ? EOPNOTSUPP : EINVAL);
}

/* --- video: V4L2's buffers of other devices */

static struct v4l2_buffer video_buffer(const struct stranger *s, int fd)
{
	struct v4l2_buffer buf = {
		.type = s->type,
		.memory = V4L2_MEMORY_DMABUF,
		.m.fd = fd,
	};

	/* An output queue checks the size of the payload. */
	if (s->type == V4L2_BUF_TYPE_VIDEO_OUTPUT)
		buf.bytesused = 1;
	return buf;
}

static void request_buffers(const struct stranger *s, int fd, u32 count)
{
	struct v4l2_requestbuffers req = {
		.type = s->type,
		.memory = V4L2_MEMORY_DMABUF,
		.count = count,
	};

	expect_ok(ioctl(fd, VIDIOC_REQBUFS, &req));
	expect_ge(req.count, count);
}

/* Small frames, so that a buffer of ours has room for one */
static void small_format(const struct stranger *s, int fd)
{
	struct v4l2_format format = { .type = s->type };

	expect_ok(ioctl(fd, VIDIOC_G_FMT, &format));
	format.fmt.pix.width = 320;
	format.fmt.pix.height = 180;
	format.fmt.pix.sizeimage = 0;
	expect_ok(ioctl(fd, VIDIOC_S_FMT, &format));
	expect_le(format.fmt.pix.sizeimage, MIB(1));
}

static int open_vivid(const struct stranger *s)
{
	u32 wanted = s->type == V4L2_BUF_TYPE_VIDEO_OUTPUT ?
		     V4L2_CAP_VIDEO_OUTPUT : V4L2_CAP_VIDEO_CAPTURE;

	strangers_load(s->module);
	for (int i = 0; i < 16; i++) {
		struct v4l2_capability cap = {};
		char path[32];
		int fd;

		snprintf(path, sizeof(path), "/dev/video%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!ioctl(fd, VIDIOC_QUERYCAP, &cap) &&
		    strstr((char *)cap.bus_info, s->name) &&
		    cap.device_caps & wanted) {
			small_format(s, fd);
			return fd;
		}
		close(fd);
	}
	t_fail("no node of %s", s->name);
}

static int queue_buffer(const struct stranger *s, int node, int fd)
{
	struct v4l2_buffer buf = video_buffer(s, fd);

	/* Anew: the place in the queue does not forget what it was refused. */
	request_buffers(s, node, 1);
	return strangers_ioctl(node, VIDIOC_QBUF, &buf);
}

/* Two devices, each with an input and an output: one for each allocator */
#define VIVID	"vivid n_devs=2 node_types=0x101,0x101 allocators=0,1"

/*
 * Newer kernels than 6.1 never give back their reference of a buffer that could
 * not be attached, whoever exports it. It is a dead one once its owner has
 * taken it back or closed the function.
 */
static void video(const char *name, u32 type, int err)
{
	const struct stranger s = {
		.module = VIVID,
		.name = name,
		.type = type,
		.open = open_vivid,
		.import = queue_buffer,
		.close = just_close,
		.err = err,
		.attaches = err == EOPNOTSUPP,
		.keeps = err == EOPNOTSUPP && !!t_kernel_since(6, 12),
	};

	strangers_refused(&s);
}

/* With vmalloc memory it maps the buffer for the CPU, not for a device. */
TEST_TIMEOUT(strangers, vivid_capture, TIMEOUT)
{
	video("vivid-000", V4L2_BUF_TYPE_VIDEO_CAPTURE, EFAULT);
}

TEST_TIMEOUT(strangers, vivid_output, TIMEOUT)
{
	video("vivid-000", V4L2_BUF_TYPE_VIDEO_OUTPUT, EFAULT);
}

TEST_TIMEOUT(strangers, vivid_contig_capture, TIMEOUT)
{
	video("vivid-001", V4L2_BUF_TYPE_VIDEO_CAPTURE, EOPNOTSUPP);
}

TEST_TIMEOUT(strangers, vivid_contig_output, TIMEOUT)
{
	video("vivid-001", V4L2_BUF_TYPE_VIDEO_OUTPUT, EOPNOTSUPP);
}

/* --- udmabuf: makes buffers of memory files */

static int open_udmabuf(const struct stranger *s)
{
	(void)s;
	if (!t_kernel_since(6, 12))
		t_skip("not in this kernel");
	return expect_ok(open("/dev/udmabuf", O_RDWR | O_CLOEXEC));
}

static int create_udmabuf(const struct stranger *s, int node, int fd)
{
	struct udmabuf_create req = {
		.memfd = fd,
		.flags = UDMABUF_FLAGS_CLOEXEC,
		.size = KIB(64),
	};

	(void)s;
	return strangers_ioctl(node, UDMABUF_CREATE, &req);
}

TEST_TIMEOUT(strangers, udmabuf, TIMEOUT)
{
	const struct stranger s = {
		.name = "udmabuf",
		.open = open_udmabuf,
		.import = create_udmabuf,
		.close = just_close,
		.err = EBADFD,
	};

	strangers_refused(&s);
}
