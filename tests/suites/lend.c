// SPDX-License-Identifier: GPL-2.0-only
/*
 * A buffer lent to another process, and taken back for good: what the other
 * can do with it, that it is cut off within the call, and that nobody else
 * notices. And two requests that share a number with it, or a purpose.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu.h"
#include "rig.h"

#define ROLE		"bochs"		/* 64 MiB of memory */
#define BAR		0
#define RDWR		(PROT_READ | PROT_WRITE)

static int revoke_argsz(int vfio, u32 argsz, int fd)
{
	struct vfio_pci_dmabuf_revoke arg = {
		.argsz = argsz,
		.dmabuf_fd = fd,
	};

	return ioctl(vfio, VFIO_DEVICE_PCI_DMABUF_REVOKE, &arg);
}

static int take_back(int vfio, int fd)
{
	return revoke_argsz(vfio, sizeof(struct vfio_pci_dmabuf_revoke), fd);
}

/* --- the request */

TEST(lend, errors)
{
	struct vfio_dev *dev = cpu_open(ROLE), *other = cpu_open("shm_sw");
	int fd, again, pair[2];

	fd = expect_fd(export_range(dev, BAR, 0, PAGE));
	again = expect_ok(dup(fd));
	expect_ok(pipe(pair));

	expect_errno(revoke_argsz(dev->fd, 6, fd), EINVAL);
	expect_errno(revoke_argsz(dev->fd, 7, fd), EINVAL);
	expect_errno(take_back(dev->fd, -1), EBADF);
	expect_errno(take_back(dev->fd, 1023), EBADF);
	expect_errno(take_back(dev->fd, pair[0]), EINVAL);
	expect_errno(take_back(dev->fd, dev->fd), EINVAL);
	expect_errno(take_back(other->fd, fd), ENODEV);
	expect_errno(ioctl(dev->fd, VFIO_DEVICE_PCI_DMABUF_REVOKE, NULL),
		     EFAULT);
	/* None of this has done anything. */
	expect_ok(munmap(cpu_map(fd, 0, PAGE), PAGE));

	/* Longer than we know is as well. */
	expect_ok(revoke_argsz(dev->fd, 4096, again));
	expect_errno(take_back(dev->fd, again), EBADFD);
	expect_errno(take_back(dev->fd, fd), EBADFD);
	expect_errno(take_back(other->fd, fd), ENODEV);

	/* A buffer of an open before is of nobody. */
	vfio_close(dev);
	dev = vfio_open(ROLE);
	expect_errno(take_back(dev->fd, fd), ENODEV);
}

/* Whoever keeps the descriptor makes no later revoke longer. */
TEST(lend, kept_is_forgotten)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	int fd = expect_fd(export_range(dev, BAR, 0, PAGE));
	int imp = imp_open(), handle;
	char text[4096];

	handle = imp_attach(imp, fd, t_role("edu_sw"));
	expect_ge(handle, 0);
	expect_eq(imp_map(imp, handle, NULL), 0);
	cpu_map(fd, 0, PAGE);
	expect_ge(t_read(text, sizeof(text), "%s",
			 vfio_debugfs(dev->bdf, "buffers")), 1);
	expect(strstr(text, " ino="), "%s", text);
	expect_ok(take_back(dev->fd, fd));
	expect_eq(t_read(text, sizeof(text), "%s",
			 vfio_debugfs(dev->bdf, "buffers")), 0);
	expect_errno(take_back(dev->fd, fd), EBADFD);
	/* What is left of it goes away by itself. */
	expect_eq(imp_detach(imp, handle), 0);
	vfio_mem_enable(dev, false);
	vfio_mem_enable(dev, true);
	vfio_close(dev);
	expect_ok(close(fd));
}

static int feature(struct vfio_dev *dev, u32 op, int fd, size_t len)
{
	struct dmabuf_vfio_feature_revoke arg = { .dmabuf_fd = fd };

	return vfio_feature(dev->fd, op | DMABUF_VFIO_FEATURE_REVOKE, &arg,
			    len);
}

TEST(lend, as_a_feature)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	int fd = expect_fd(export_range(dev, BAR, 0, PAGE));

	expect_eq(feature(dev, VFIO_DEVICE_FEATURE_PROBE |
			  VFIO_DEVICE_FEATURE_SET, fd, 4), 0);
	expect_err(feature(dev, VFIO_DEVICE_FEATURE_GET, fd, 4), EINVAL);
	expect_err(feature(dev, VFIO_DEVICE_FEATURE_SET, fd, 3), EINVAL);
	expect_err(feature(dev, VFIO_DEVICE_FEATURE_SET, -1, 4), EBADF);
	expect_ok(munmap(cpu_map(fd, 0, PAGE), PAGE));
	expect_eq(feature(dev, VFIO_DEVICE_FEATURE_SET, fd, 4), 0);
	expect_err(feature(dev, VFIO_DEVICE_FEATURE_SET, fd, 4), EBADFD);
	expect(mmap(NULL, PAGE, RDWR, MAP_SHARED, fd, 0) == MAP_FAILED);
	expect_eq(errno, ENODEV);
}

/*
 * Neither number is the kernel's own. Should it give one a meaning some day,
 * that is what the number means.
 */
TEST(lend, the_core_is_asked_first)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	int fd = expect_fd(export_range(dev, BAR, 0, PAGE));
	int imp = imp_open();

	expect_eq(imp_teach(imp, VFIO_DEVICE_PCI_DMABUF_REVOKE, false, 4711),
		  0);
	expect_eq(take_back(dev->fd, fd), 4711);
	expect_eq(take_back(dev->fd, -1), 4711);
	expect_ok(close(imp));
	imp = imp_open();
	expect_eq(imp_teach(imp, DMABUF_VFIO_FEATURE_REVOKE, true, 4712), 0);
	expect_eq(feature(dev, VFIO_DEVICE_FEATURE_SET, fd, 4), 4712);
	expect_ok(close(imp));

	/* None of this has taken it back; now it is. */
	expect_ok(munmap(cpu_map(fd, 0, PAGE), PAGE));
	expect_ok(take_back(dev->fd, fd));
	expect_err(feature(dev, VFIO_DEVICE_FEATURE_SET, fd, 4), EBADFD);
}

/* --- the other process */

struct client {
	int sock;
	pid_t pid;
};

enum { LENT_AT = 64, LENT = 16 };	/* pages */

static void report(int sock)
{
	char c = 1;

	expect_eq(write(sock, &c, 1), 1);
}

static void wait_for(int sock)
{
	char c;

	expect_eq(read(sock, &c, 1), 1);
}

static bool dies_of(int sig, void (*act)(u8 *p), u8 *p)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		signal(sig, SIG_DFL);
		act(p);
		_exit(0);
	}
	expect_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == sig;
}

static void behind(u8 *p)
{
	(void)__atomic_load_n((u32 *)(p + LENT * PAGE), __ATOMIC_RELAXED);
}

static void before(u8 *p)
{
	(void)__atomic_load_n((u32 *)(p - 4), __ATOMIC_RELAXED);
}

/* What has the descriptor, and whatever it can think of. */
static void try_more(int fd, u8 *p)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	u8 *room;

	for (u64 pages = LENT + 1; pages < 1 << 16; pages *= 2)
		expect(mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd, 0) ==
		       MAP_FAILED);
	for (u64 at = 1; at < 1ull << 40; at *= 2)
		expect(mmap(NULL, LENT * PAGE, PROT_READ, MAP_SHARED, fd,
			    at * PAGE) == MAP_FAILED);
	expect(mremap(p, LENT * PAGE, 2 * LENT * PAGE, MREMAP_MAYMOVE) ==
	       MAP_FAILED);
	room = mmap(NULL, 3 * LENT * PAGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect_ok(munmap(room, 3 * LENT * PAGE));
	p = mremap(p, LENT * PAGE, LENT * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   room + LENT * PAGE);
	expect(p != MAP_FAILED);
	expect(dies_of(SIGSEGV, behind, p));
	expect(dies_of(SIGSEGV, before, p));

	expect_errno(ioctl(fd, VFIO_DEVICE_RESET), ENOTTY);
	expect_errno(ioctl(fd, VFIO_DEVICE_GET_INFO, &info), ENOTTY);
	expect_errno(take_back(fd, fd), ENOTTY);
	expect_err(export_buf(fd, BAR, O_RDWR, 0,
			      &(struct vfio_region_dma_range){ 0, PAGE }, 1),
		   ENOTTY);
	expect(pwrite(fd, &info, 4, 0) < 0);
	expect(pread(fd, &info, 4, 0) < 0);
	expect_eq(lseek(fd, 0, SEEK_END), LENT * (off_t)PAGE);
	expect_ok(munmap(p, LENT * PAGE));
}

static void use_until_taken(int sock)
{
	int fd = t_receive_fd(sock, 0);
	u8 *p, *late;

	expect_fd(fd);
	p = cpu_map(fd, 0, LENT * PAGE);
	for (u32 n = 0; n < LENT; n++)
		expect(cpu_put(p + n * PAGE, 0xc1000000 | n));
	late = cpu_map(fd, 0, LENT * PAGE);		/* not touched yet */
	try_more(fd, cpu_map(fd, 0, LENT * PAGE));
	report(sock);

	wait_for(sock);
	for (u32 n = 0; n < LENT; n++)
		expect_bus(p + n * PAGE);
	expect(!cpu_put(p, 1));
	expect_bus(late);
	expect(mmap(NULL, PAGE, RDWR, MAP_SHARED, fd, 0) == MAP_FAILED);
	expect_eq(errno, ENODEV);
	report(sock);
	wait_for(sock);
	expect_bus(p);
	_exit(0);
}

static struct client start_client(struct vfio_dev *dev, int fd)
{
	struct client client;
	int pair[2];

	expect_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	client.sock = pair[0];
	client.pid = t_fork();
	if (!client.pid) {
		/* It has none of the owner's descriptors. */
		close(dev->fd);
		close(dev->group);
		close(dev->container);
		close(fd);
		close(pair[0]);
		use_until_taken(pair[1]);
	}
	close(pair[1]);
	expect_ok(t_send_fd(client.sock, fd));
	return client;
}

TEST(lend, to_a_process)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	u32 value, around = 0x11223344;
	struct client client;
	u8 *mine, *second;
	int fd, beside;

	expect_eq(vfio_try_pwrite(dev, BAR, &around, 4, LENT_AT * PAGE - 4),
		  4);
	expect_eq(vfio_try_pwrite(dev, BAR, &around, 4,
				  (LENT_AT + LENT) * PAGE), 4);
	fd = expect_fd(export_range(dev, BAR, LENT_AT * PAGE, LENT * PAGE));
	beside = expect_fd(export_range(dev, BAR, LENT_AT * PAGE,
					LENT * PAGE));
	second = cpu_map(beside, 0, LENT * PAGE);
	mine = vfio_map_bar(dev, BAR, 0, (LENT_AT + LENT + 1) * PAGE);
	client = start_client(dev, fd);
	wait_for(client.sock);

	for (u32 n = 0; n < LENT; n++)
		expect_reads(mine + (LENT_AT + n) * PAGE, 0xc1000000 | n);
	expect_reads(mine + LENT_AT * PAGE - 4, around);
	expect_reads(mine + (LENT_AT + LENT) * PAGE, around);

	expect_ok(take_back(dev->fd, fd));
	report(client.sock);
	wait_for(client.sock);

	/* Nobody else has noticed, and the range is the owner's again. */
	expect_reads(mine + LENT_AT * PAGE, 0xc1000000);
	expect_reads(second, 0xc1000000);
	expect_eq(vfio_try_pread(dev, BAR, &value, 4, LENT_AT * PAGE), 4);
	expect_eq(value, 0xc1000000);
	expect_fd(export_range(dev, BAR, LENT_AT * PAGE, LENT * PAGE));

	/* A restore of the function does not bring it back. */
	vfio_mem_enable(dev, false);
	expect_bus(second);
	vfio_mem_enable(dev, true);
	expect_reads(second, 0xc1000000);
	report(client.sock);
	t_join(client.pid);
}

/* Users of the buffer have lost access by the time the revoke returns. */
TEST_TIMEOUT(lend, cut_off_in_the_call, 60)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	u32 *shared = mmap(NULL, PAGE, RDWR, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	expect((void *)shared != MAP_FAILED);
	for (int round = 0; round < 30; round++) {
		int fd = expect_fd(export_range(dev, BAR, 0, PAGE));
		u32 seen, zero = 0;
		pid_t pid;

		pid = t_fork();
		if (!pid) {
			u32 *p = cpu_map(fd, 0, PAGE);

			for (u32 n = 1; cpu_put(p, n); n++)
				__atomic_store_n(shared, n, __ATOMIC_RELEASE);
			_exit(0);
		}
		expect(t_within(5000, __atomic_load_n(shared,
						      __ATOMIC_ACQUIRE) > 5));
		expect_ok(take_back(dev->fd, fd));
		expect_eq(vfio_try_pwrite(dev, BAR, &zero, 4, 0), 4);
		t_join(pid);
		expect_eq(vfio_try_pread(dev, BAR, &seen, 4, 0), 4);
		expect_eq(seen, 0);
		*shared = 0;
		expect_ok(close(fd));
	}
}

/* --- devices */

static void act_take_back(struct rig *rig)
{
	expect_ok(take_back(rig->dev->fd, rig->fd));
}

TEST_TIMEOUT(lend, to_a_device, 60)
{
	struct rig rig = {};
	u8 junk[RIG_LEN], have[RIG_LEN];
	pid_t pid;

	if (vfio_is_stock())
		t_skip("the stock driver takes nothing back");
	rig_open(&rig, "shm_sw");
	rig_hold(&rig);
	pid = t_fork();
	if (!pid) {
		act_take_back(&rig);
		_exit(0);
	}
	/* It waits for the slow importer; the quick one has let go. */
	expect(t_within(5000, !imp_stats(rig.imp, rig.quick.handle).mapped));
	t_sleep_ms(200);
	expect_eq(waitpid(pid, NULL, WNOHANG), 0);
	rig_let_go(&rig);
	t_join(pid);
	gate_expect(rig.bdf, "");

	memset(junk, 0x5a, sizeof(junk));
	imp_write(rig.imp, rig.edu, rig.quick.addr, junk, rig.len);
	rig_cpu_read(&rig, have);
	expect(!memcmp(have, rig.bytes, rig.len),
	       "bytes arrive through an address of a buffer taken back");
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	expect_err(imp_attach(rig.imp, rig.fd, rig.edu), ENODEV);

	/* A new one of the same range is as good as the first was. */
	expect_eq(imp_detach(rig.imp, rig.quick.handle), 0);
	expect_eq(imp_detach(rig.imp, rig.slow.handle), 0);
	expect_ok(close(rig.fd));
	rig_export(&rig);
	rig_map(&rig);
}

/* While it cannot be reached; after, it stays away and the others come back */
TEST(lend, taken_back_while_off)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	int fd = expect_fd(export_range(dev, BAR, 0, PAGE));
	int other = expect_fd(export_range(dev, BAR, 0, PAGE));
	const char *edu = imp_edu("edu_rp");
	int imp = imp_open(), handle;
	u8 *p = cpu_map(fd, 0, PAGE), *q = cpu_map(other, 0, PAGE);
	u32 value;

	expect(cpu_get(p, &value));
	handle = imp_attach(imp, fd, edu);
	expect_ok(handle);
	vfio_mem_enable(dev, false);
	expect_ok(take_back(dev->fd, fd));
	vfio_mem_enable(dev, true);
	expect_bus(p);
	expect(cpu_get(q, &value));
	expect_err(imp_map(imp, handle, NULL), ENODEV);
}

/* A client that keeps the descriptor cannot hinder the owner. */
TEST_TIMEOUT(lend, limit, 60)
{
	const struct rlimit files = { 4096, 4096 };
	struct vfio_dev *dev = cpu_open(ROLE);
	static int fds[1024];

	expect_ok(setrlimit(RLIMIT_NOFILE, &files));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = expect_fd(export_range(dev, BAR, 0, PAGE));
	expect_err(export_range(dev, BAR, 0, PAGE), ENOSPC);
	expect_ok(take_back(dev->fd, fds[500]));
	expect_eq(gate_read(dev->bdf).buffers, 1023);
	expect_fd(export_range(dev, BAR, 0, PAGE));
	expect_err(export_range(dev, BAR, 0, PAGE), ENOSPC);
	/* Releasing one that was taken back changes nothing. */
	expect_ok(close(fds[500]));
	t_sleep_ms(100);
	expect_eq(gate_read(dev->bdf).buffers, 1024);
}

/* --- the private way */

TEST(lend, physical_range)
{
	static const struct vfio_region_dma_range two[] = {
		{ 0, PAGE }, { 4 * PAGE, PAGE },
	};
	struct vfio_dev *dev = cpu_open(ROLE);
	const char *client = t_role("conv0");
	int imp = imp_open(), handle, fd;
	u64 phys, size;

	fd = expect_fd(export_range(dev, BAR, 8 * PAGE, 24 * PAGE));
	handle = imp_attach(imp, fd, client);
	expect_ok(handle);
	expect_eq(imp_phys(imp, handle, &phys, &size), 0);
	expect_eq(phys, cpu_bar_address(dev->bdf, BAR) + 8 * PAGE);
	expect_eq(size, 24 * PAGE);

	vfio_mem_enable(dev, false);
	expect_err(imp_phys(imp, handle, &phys, &size), ENODEV);
	vfio_mem_enable(dev, true);
	expect_eq(imp_phys(imp, handle, &phys, &size), 0);
	expect_ok(take_back(dev->fd, fd));
	expect_err(imp_phys(imp, handle, &phys, &size), ENODEV);

	fd = expect_fd(export_buf(dev->fd, BAR, O_RDWR, 0, two, 2));
	handle = imp_attach(imp, fd, client);
	expect_ok(handle);
	expect_err(imp_phys(imp, handle, &phys, &size), EOPNOTSUPP);
}
