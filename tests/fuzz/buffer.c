// SPDX-License-Identifier: GPL-2.0-only
/* What anybody does who has a buffer's descriptor and nothing else. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuzz.h"

/* --- who has which */

/* Half of the time the newest one: the others may be long dead. */
struct fuzz_buf *fuzz_pick_buf(struct fuzz_me *me, u32 n)
{
	u32 nr = 0;

	for (u32 i = 0; i < FUZZ_BUFS; i++)
		nr += me->bufs[i].fd >= 0;
	if (!nr)
		return NULL;
	n = n & 1 ? 0 : n / 2 % nr;
	for (u32 i = 1; i <= FUZZ_BUFS; i++) {
		struct fuzz_buf *buf = &me->bufs[(me->next_buf + FUZZ_BUFS -
						  i) % FUZZ_BUFS];

		if (buf->fd >= 0 && !n--)
			return buf;
	}
	return NULL;
}

void fuzz_keep_buf(struct fuzz_me *me, int fd, u32 grant)
{
	struct fuzz_buf *buf = &me->bufs[me->next_buf++ % FUZZ_BUFS];

	if (buf->fd >= 0)
		close(buf->fd);
	buf->fd = fd;
	buf->grant = grant;
}

bool fuzz_is_dead(u32 grant)
{
	return grant && __atomic_load_n(&fuzz->grants[grant - 1].dead,
					__ATOMIC_SEQ_CST);
}

bool fuzz_is_off(u32 grant)
{
	return grant && fuzz->off[fuzz->grants[grant - 1].target];
}

struct parcel {
	char control[CMSG_SPACE(sizeof(int))];
	u32 grant;
	struct iovec iov;
	struct msghdr hdr;
};

static void parcel_init(struct parcel *p, u32 grant)
{
	memset(p, 0, sizeof(*p));
	p->grant = grant;
	p->iov.iov_base = &p->grant;
	p->iov.iov_len = sizeof(p->grant);
	p->hdr.msg_iov = &p->iov;
	p->hdr.msg_iovlen = 1;
	p->hdr.msg_control = p->control;
	p->hdr.msg_controllen = sizeof(p->control);
}

static int send_buf(struct fuzz_me *me, u32 role, int fd, u32 grant)
{
	struct cmsghdr *cmsg;
	struct parcel p;

	parcel_init(&p, grant);
	cmsg = CMSG_FIRSTHDR(&p.hdr);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return sendmsg(me->socks[role], &p.hdr,
		       MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void fuzz_share_buf(struct fuzz_me *me, int fd, u32 grant)
{
	for (u32 role = 0; role < NR_ROLES; role++)
		if (role != me->role && role != HOST)
			send_buf(me, role, fd, grant);
}

void fuzz_receive(struct fuzz_me *me)
{
	struct parcel p;
	int fd;

	for (int i = 0; i < 8; i++) {
		parcel_init(&p, 0);
		if (recvmsg(me->socks[me->role], &p.hdr, MSG_DONTWAIT |
			    MSG_CMSG_CLOEXEC) != sizeof(p.grant) ||
		    !CMSG_FIRSTHDR(&p.hdr))
			return;
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&p.hdr)), sizeof(int));
		fuzz_keep_buf(me, fd, p.grant);
	}
}

/* --- descriptors */

static int op_send(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);
	u32 role = a[1] % HOST;

	if (!buf || role == me->role)
		return -ENODEV;
	return send_buf(me, role, buf->fd, buf->grant);
}

static int op_drop(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);

	if (!buf)
		return -ENODEV;
	close(buf->fd);
	buf->fd = -1;
	return 0;
}

static int op_dup(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);
	char path[32];
	u32 grant;
	int fd;

	if (!buf)
		return -ENODEV;
	grant = buf->grant;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", buf->fd);
	switch (a[1] % 4) {
	case 0:
		fd = dup(buf->fd);
		break;
	case 1:
		fd = open(path, O_PATH | O_CLOEXEC);
		break;
	case 2:
		fd = open(path, O_RDWR | O_CLOEXEC);
		break;
	default:
		fd = fcntl(buf->fd, F_DUPFD_CLOEXEC, 100 + a[2] % 100);
	}
	if (fd < 0)
		return -errno;
	fuzz_keep_buf(me, fd, grant);
	return 0;
}

/* It stays behind a path alone, for a while. */
static int op_only_path(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);
	char path[32];
	int fd;

	if (!buf)
		return -ENODEV;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", buf->fd);
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(buf->fd);
	buf->fd = fd;
	return 0;
}

static int op_fd_calls(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);
	struct stat st;
	char byte = 0;
	int ret;

	if (!buf)
		return -ENODEV;
	switch (a[1] % 10) {
	case 0:
		ret = lseek(buf->fd, a[2], a[3] % 5) < 0;
		break;
	case 1:
		ret = fstat(buf->fd, &st);
		break;
	case 2:
		ret = read(buf->fd, &byte, 1) < 0;
		break;
	case 3:
		ret = write(buf->fd, &byte, 1) < 0;
		break;
	case 4:
		ret = ftruncate(buf->fd, a[2]);
		break;
	case 5:
		ret = fcntl(buf->fd, F_SETFL, a[2]);
		break;
	case 6:
		ret = fallocate(buf->fd, a[2] % 128, a[3], FUZZ_PAGE);
		break;
	case 7:
		ret = fchmod(buf->fd, a[2] % 01000);
		break;
	case 8:
		ret = fsync(buf->fd);
		break;
	default:
		ret = fcntl(buf->fd, a[2] % 2 ? 1033 : 1032, a[3]);
	}
	return ret ? -errno : 0;
}

/* --- dma-buf's own requests */

static int op_sync(struct fuzz_me *me, const u32 *a)
{
	struct dma_buf_sync sync = { .flags = a[1] & 8 ? a[2] : a[1] % 8 };
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);

	if (!buf)
		return -ENODEV;
	return ioctl(buf->fd, DMA_BUF_IOCTL_SYNC, &sync) ? -errno : 0;
}

static int op_name(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);
	char name[40];

	if (!buf)
		return -ENODEV;
	memset(name, 'a' + a[1] % 26, sizeof(name));
	name[a[2] % sizeof(name)] = 0;
	return ioctl(buf->fd, DMA_BUF_SET_NAME_B, name) ? -errno : 0;
}

static int op_dma_buf_ioctl(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);
	u32 bytes[16];

	if (!buf)
		return -ENODEV;
	for (int i = 0; i < 16; i++)
		bytes[i] = a[2] >> i;
	return ioctl(buf->fd, _IOC(a[1] % 4, 'b', a[1] / 4 % 6,
				   a[3] & 1 ? a[3] % 64 : 8), bytes) < 0 ?
	       -errno : 0;
}

static void keep_sync(struct fuzz_me *me, int fd)
{
	int *at = &me->syncs[me->next_sync++ % FUZZ_SYNCS];

	if (*at >= 0)
		close(*at);
	*at = fd;
}

static int op_export_sync(struct fuzz_me *me, const u32 *a)
{
	struct dma_buf_export_sync_file req = { .flags = a[1] % 4 };
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);

	if (!buf)
		return -ENODEV;
	if (ioctl(buf->fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &req))
		return -errno;
	keep_sync(me, req.fd);
	return 0;
}

/* A fence that vgem signals when told to, or after ten seconds */
#define DRM_CREATE_DUMB	_IOWR('d', 0xb2, struct dumb)
#define DRM_TO_FD	_IOWR('d', 0x2d, struct prime)
#define DRM_GEM_CLOSE	_IOW('d', 0x09, u64)
#define VGEM_ATTACH	_IOWR('d', 0x41, struct vgem_fence)
#define VGEM_SIGNAL	_IOW('d', 0x42, u64)

struct dumb { u32 height, width, bpp, flags, handle, pitch; u64 size; };
struct prime { u32 handle, flags; __s32 fd; };
struct vgem_fence { u32 handle, flags, fence, pad; };

static int op_vgem_fence(struct fuzz_me *me, const u32 *a)
{
	struct dumb dumb = { .height = 1, .width = 64, .bpp = 32 };
	struct dma_buf_export_sync_file sync = { .flags = DMA_BUF_SYNC_RW };
	struct vgem_fence fence = { .flags = 1 };
	struct prime prime = { .flags = O_CLOEXEC };
	u64 number = a[1] % 8;
	int ret = 0;

	if (me->vgem < 0)
		return -ENODEV;
	if (a[0] % 3 == 0)
		return ioctl(me->vgem, VGEM_SIGNAL, &number) ? -errno : 0;
	if (ioctl(me->vgem, DRM_CREATE_DUMB, &dumb))
		return -errno;
	fence.handle = dumb.handle;
	prime.handle = dumb.handle;
	if (ioctl(me->vgem, VGEM_ATTACH, &fence) ||
	    ioctl(me->vgem, DRM_TO_FD, &prime))
		ret = -errno;
	if (!ret) {
		if (!ioctl(prime.fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &sync))
			keep_sync(me, sync.fd);
		close(prime.fd);
	}
	number = dumb.handle;
	ioctl(me->vgem, DRM_GEM_CLOSE, &number);
	return ret;
}

static int op_import_sync(struct fuzz_me *me, const u32 *a)
{
	static const u32 newest[FUZZ_ARGS] = { 1 };
	struct dma_buf_import_sync_file req = { .flags = 1 + a[1] % 3 };
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);

	req.fd = me->syncs[(me->next_sync - 1 - a[2] % FUZZ_SYNCS) %
			   FUZZ_SYNCS];
	if (req.fd < 0) {
		/* Better one now than nothing to do */
		if (me->vgem < 0)
			op_export_sync(me, a);
		else
			op_vgem_fence(me, newest);
		req.fd = me->syncs[(me->next_sync - 1) % FUZZ_SYNCS];
	}
	if (!buf || req.fd < 0)
		return -ENODEV;
	return ioctl(buf->fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &req) ?
	       -errno : 0;
}

/* --- waiting */

static int op_poll(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);
	struct epoll_event event = { .events = a[1] };
	struct pollfd p = { .events = a[1] };
	int fd;

	if (!buf)
		return -ENODEV;
	p.fd = buf->fd;
	if (a[2] & 1)
		return poll(&p, 1, a[3] % 30) < 0 ? -errno : p.revents;
	fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_ctl(fd, EPOLL_CTL_ADD, buf->fd, &event) ||
	    epoll_wait(fd, &event, 1, a[3] % 30) < 0) {
		close(fd);
		return -errno;
	}
	close(fd);
	return 0;
}

/* --- io_uring, without its library: a request at a time, or a few */

struct ring {
	int fd;
	u8 *sq, *cq;
	struct io_uring_sqe *sqes;
	struct io_uring_params p;
};

static struct ring ring = { .fd = -1 };

static bool ring_open(void)
{
	struct io_uring_params p = {};
	u64 size;

	if (ring.fd >= 0)
		return true;
	ring.fd = syscall(SYS_io_uring_setup, 16, &p);
	if (ring.fd < 0)
		return false;
	fcntl(ring.fd, F_SETFD, FD_CLOEXEC);
	size = p.sq_off.array + p.sq_entries * 4;
	if (size < p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe))
		size = p.cq_off.cqes +
		       p.cq_entries * sizeof(struct io_uring_cqe);
	ring.sq = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd,
		       IORING_OFF_SQ_RING);
	ring.cq = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd,
		       IORING_OFF_CQ_RING);
	ring.sqes = mmap(NULL, p.sq_entries * sizeof(*ring.sqes),
			 PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd,
			 IORING_OFF_SQES);
	ring.p = p;
	return ring.sq != MAP_FAILED && ring.cq != MAP_FAILED &&
	       ring.sqes != MAP_FAILED;
}

static int ring_do(const struct io_uring_sqe *sqe)
{
	u32 *tail = (u32 *)(ring.sq + ring.p.sq_off.tail);
	u32 *head = (u32 *)(ring.cq + ring.p.cq_off.head);
	u32 at = *tail % ring.p.sq_entries;
	int ret;

	ring.sqes[at] = *sqe;
	((u32 *)(ring.sq + ring.p.sq_off.array))[at] = at;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	ret = syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0);
	/* What has come so far is enough. */
	__atomic_store_n(head, *(u32 *)(ring.cq + ring.p.cq_off.tail),
			 __ATOMIC_RELEASE);
	return ret < 0 ? -errno : 0;
}

static int op_uring(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);
	int slot = fuzz_pick_slot(me, a[2]);
	struct io_uring_sqe sqe = {};
	struct iovec iov;
	int fds[2];

	if (!buf || !ring_open())
		return -ENODEV;
	fds[0] = buf->fd;
	fds[1] = -1;
	if (slot >= 0) {
		iov.iov_base = fuzz_slot_at(slot) + a[3] % 64 * FUZZ_PAGE;
		iov.iov_len = FUZZ_PAGE;
	}
	switch (a[1] % 7) {
	case 0:
		sqe.opcode = IORING_OP_POLL_ADD;
		sqe.fd = buf->fd;
		sqe.poll32_events = a[3];
		break;
	case 1:
		syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_FILES,
			NULL, 0);
		return syscall(SYS_io_uring_register, ring.fd,
			       IORING_REGISTER_FILES, fds, 2) ? -errno : 0;
	case 2:
		if (slot < 0)
			return -ENODEV;
		if (syscall(SYS_io_uring_register, ring.fd,
			    IORING_REGISTER_BUFFERS, &iov, 1))
			return -errno;
		if (fuzz_slot_notes(slot)[a[3] % 64].sure)
			fuzz_wrong(me, "io_uring pins a buffer");
		syscall(SYS_io_uring_register, ring.fd,
			IORING_UNREGISTER_BUFFERS, NULL, 0);
		return 0;
	case 3:
		if (slot < 0)
			return -ENODEV;
		sqe.opcode = IORING_OP_MADVISE;
		sqe.addr = (uintptr_t)iov.iov_base;
		sqe.len = FUZZ_PAGE;
		sqe.fadvise_advice = a[3] % 26;
		break;
	case 4:
		sqe.opcode = IORING_OP_READ;
		sqe.fd = buf->fd;
		sqe.addr = (uintptr_t)&sqe;
		sqe.len = 4;
		break;
	case 5:
		sqe.opcode = IORING_OP_ASYNC_CANCEL;
		break;
	default:
		sqe.opcode = IORING_OP_CLOSE;
		sqe.fd = dup(buf->fd);
	}
	return ring_do(&sqe);
}

static const struct fuzz_op ops[] = {
	FUZZ_OP(send, HOLDERS, 10, false),
	FUZZ_OP(drop, HOLDERS, 10, false),
	FUZZ_OP(dup, HOLDERS, 8, false),
	FUZZ_OP(only_path, HOLDERS, 4, false),
	FUZZ_OP(fd_calls, HOLDERS, 8, false),
	FUZZ_OP(sync, HOLDERS, 8, false),
	FUZZ_OP(name, HOLDERS, 3, false),
	FUZZ_OP(dma_buf_ioctl, HOLDERS, 4, false),
	FUZZ_OP(export_sync, HOLDERS, 6, false),
	FUZZ_OP(import_sync, HOLDERS, 8, false),
	FUZZ_OP(vgem_fence, CLIENTS, 8, false),
	FUZZ_OP(poll, HOLDERS, 6, false),
	FUZZ_OP(uring, CLIENTS, 12, false),
};

const struct fuzz_room fuzz_buffer = { ops, ARRAY_SIZE(ops) };
