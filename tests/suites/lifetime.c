// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who outlives whom: buffers, their importers, the function, the processes and
 * the module, in every order of going away.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "importer.h"
#include "vfio.h"

#define ROLE	"bochs"		/* 64 MiB of memory, a group of its own */
#define BAR	0

/* A function that exports, an edu that imports */
struct rig {
	struct vfio_dev *dev;
	char bdf[VFIO_BDF_LEN];
	int imp;
	const char *edu;
	struct t_res before;		/* the open */
};

static struct rig set_up(void)
{
	struct rig rig = {};

	if (!vfio_has_exporter())
		t_skip("the stock driver of this kernel exports nothing");
	rig.imp = imp_open();
	rig.edu = imp_edu("edu_rp");
	rig.before = t_res_take(vfio_exporter());
	rig.dev = vfio_open(ROLE);
	memcpy(rig.bdf, rig.dev->bdf, sizeof(rig.bdf));
	vfio_mem_enable(rig.dev, true);
	return rig;
}

static void need_route(void)
{
	if (!t_host_forwards())
		t_skip("the host bridge does not forward");
}

static int must_attach(const struct rig *rig, int fd)
{
	int handle = imp_attach_flags(rig->imp, fd, rig->edu,
				      DVPI_ATTACH_DYNAMIC, rig->bdf);

	expect(handle >= 0, "attach: %s", t_errno_name(-handle));
	return handle;
}

/* Exports a page and has the edu map it; the attachment. */
static int must_map_at(const struct rig *rig, u64 offset, int *fd)
{
	int handle;

	*fd = expect_fd(export_range(rig->dev, BAR, offset, PAGE));
	handle = must_attach(rig, *fd);
	expect_eq(imp_map(rig->imp, handle, NULL), 0);
	return handle;
}

static int must_map(const struct rig *rig, int *fd)
{
	return must_map_at(rig, 0, fd);
}

static void expect_dead(const struct rig *rig, int fd)
{
	expect_err(imp_attach(rig->imp, fd, rig->edu), ENODEV);
	expect_eq(lseek(fd, 0, SEEK_END), PAGE);
}

/* All is as if the function had never been opened. */
static void expect_gone(const struct rig *rig)
{
	expect(t_within(2000, t_refcnt(vfio_exporter()) == rig->before.refcnt),
	       "%s is used %d times", vfio_exporter(),
	       t_refcnt(vfio_exporter()));
	t_res_same(&rig->before);
	vfio_unbind(rig->bdf);
}

/* --- unbinding and unloading */

/* What a child does that must not keep the function open */
static void drop(const struct vfio_dev *dev)
{
	close(dev->fd);
	close(dev->group);
	close(dev->container);
}

TEST(lifetime, unbind_waits_for_close)
{
	struct rig rig = set_up();
	int fd = expect_fd(export_range(rig.dev, BAR, 0, PAGE));
	pid_t pid = t_fork();

	if (!pid) {
		drop(rig.dev);
		vfio_unbind(rig.bdf);
		_exit(0);
	}
	t_sleep_ms(300);
	expect_eq(waitpid(pid, NULL, WNOHANG), 0);
	expect_fd(export_range(rig.dev, BAR, 0, PAGE));
	vfio_close(rig.dev);
	t_join(pid);
	expect(!*vfio_driver_of(rig.bdf));
	expect_dead(&rig, fd);
}

/* Buffers that are still around do not keep a function bound. */
TEST(lifetime, unbind_with_buffers)
{
	struct rig rig = set_up();
	int fds[8], handles[8];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = expect_fd(export_range(rig.dev, BAR, 0, PAGE));
		handles[i] = must_attach(&rig, fds[i]);
	}
	vfio_close(rig.dev);
	vfio_unbind(rig.bdf);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		expect_err(imp_map(rig.imp, handles[i], NULL), ENODEV);
		expect_dead(&rig, fds[i]);
		expect_eq(imp_detach(rig.imp, handles[i]), 0);
		expect_ok(close(fds[i]));
	}
	expect_gone(&rig);
}

/* The next driver finds the function as if ours had never had it. */
TEST(lifetime, rebind_to_stock_with_buffers)
{
	struct rig rig = set_up();
	int fd = expect_fd(export_range(rig.dev, BAR, 0, PAGE));
	int handle = must_attach(&rig, fd);
	u32 value = 0x600d, back = 0;

	vfio_close(rig.dev);
	rig.dev = vfio_open_bdf(rig.bdf, vfio_other_driver());
	vfio_mem_enable(rig.dev, true);
	expect_eq(vfio_try_pwrite(rig.dev, BAR, &value, 4, 0), 4);
	expect_dead(&rig, fd);
	expect_err(imp_map(rig.imp, handle, NULL), ENODEV);
	expect_eq(imp_detach(rig.imp, handle), 0);
	expect_ok(close(fd));
	expect_eq(vfio_try_pread(rig.dev, BAR, &back, 4, 0), 4);
	expect_eq(back, value);
	vfio_close(rig.dev);
	expect_gone(&rig);
}

TEST(lifetime, rmmod_while_open)
{
	struct rig rig = set_up();
	int fd;

	expect_ge(t_refcnt(vfio_module()), 1);
	expect_err(vfio_rmmod(vfio_module()), EAGAIN);
	fd = expect_fd(export_range(rig.dev, BAR, 0, PAGE));
	expect_err(vfio_rmmod(vfio_module()), EAGAIN);
	expect_ok(close(fd));
	vfio_close(rig.dev);
	expect_gone(&rig);
}

TEST(lifetime, rmmod_with_buffers)
{
	struct rig rig = set_up();
	int fd, handle;

	fd = expect_fd(export_range(rig.dev, BAR, 0, PAGE));
	handle = must_attach(&rig, fd);
	vfio_close(rig.dev);
	expect_err(vfio_rmmod(vfio_exporter()), EAGAIN);
	vfio_unbind(rig.bdf);
	expect_err(vfio_rmmod(vfio_exporter()), EAGAIN);
	/* The importer's own reference does as well as the descriptor. */
	expect_ok(close(fd));
	expect_err(vfio_rmmod(vfio_exporter()), EAGAIN);
	expect_err(imp_map(rig.imp, handle, NULL), ENODEV);
	expect_eq(imp_detach(rig.imp, handle), 0);
	expect_gone(&rig);
}

/* As it is for any PCI driver: unloading unbinds. */
TEST(lifetime, rmmod_while_bound)
{
	struct rig rig = set_up();

	for (int i = 0; i < 5; i++) {
		int fd = expect_fd(export_range(rig.dev, BAR, 0, PAGE));

		expect_ok(close(fd));
		vfio_close(rig.dev);
		expect(!strcmp(vfio_driver_of(rig.bdf), vfio_driver()));
		expect_eq(vfio_rmmod(vfio_module()), 0);
		expect(!*vfio_driver_of(rig.bdf));
		expect_eq(t_refcnt(vfio_module()), -1);
		vfio_modprobe(vfio_module());
		rig.dev = vfio_open(ROLE);
	}
	vfio_close(rig.dev);
	expect_gone(&rig);
}

/* --- closing the function */

TEST(lifetime, buffer_is_dead_after_close)
{
	struct rig rig = set_up();
	int fd = expect_fd(export_range(rig.dev, BAR, 0, PAGE));
	int handle = must_attach(&rig, fd);

	vfio_close(rig.dev);
	expect_err(imp_map(rig.imp, handle, NULL), ENODEV);
	expect_eq(imp_stats(rig.imp, handle).last_map_errno, ENODEV);
	expect_dead(&rig, fd);
	expect_ok(close(expect_ok(dup(fd))));
	expect_eq(imp_detach(rig.imp, handle), 0);
	expect_ok(close(fd));
	expect_gone(&rig);
}

TEST(lifetime, mapping_ends_with_close)
{
	struct rig rig = set_up();
	struct dvpi_stats stats;
	int fd, handle;

	need_route();
	handle = must_map(&rig, &fd);
	vfio_close(rig.dev);
	stats = imp_stats(rig.imp, handle);
	expect_eq(stats.mapped, 0);
	expect_eq(stats.unmaps, 1);
	expect_ge(stats.invalidations, 1);
	expect_err(imp_map(rig.imp, handle, NULL), ENODEV);
}

/*
 * Importers let go of a function that still answers: the core has not begun to
 * disable it, which takes away its bus mastering first.
 */
TEST(lifetime, importers_go_before_the_function)
{
	const u32 alive = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	struct rig rig = set_up();
	struct dvpi_stats stats;
	int fd, handle;

	need_route();
	vfio_master_enable(rig.dev, true);
	handle = must_map(&rig, &fd);
	vfio_close(rig.dev);
	stats = imp_stats(rig.imp, handle);
	expect_ne(stats.command, ~0u);
	expect_eq(stats.command & alive, alive);
}

/* A busy host makes a late importer later: it is not to be cut off. */
static void be_patient(void)
{
	if (!vfio_is_stock())
		vfio_grace(60000);
}

/*
 * Closes the function. The importer takes some time to let go: a fence, then
 * an unmap. It must be over when close() returns, and not before.
 */
static void close_late(u32 unmap_ms, u32 fence_ms, u32 job_ms)
{
	struct rig rig = set_up();
	u64 start, end, least = unmap_ms;
	struct dvpi_stats stats;
	int fd, handle;

	need_route();
	be_patient();
	handle = must_map(&rig, &fd);
	expect_eq(imp_policy(rig.imp, handle,
			     fence_ms ? DVPI_POLICY_FENCE : 0, unmap_ms,
			     fence_ms), 0);
	start = t_now_ns();
	if (job_ms)
		expect_eq(imp_fence(rig.imp, handle, job_ms), 0);
	vfio_close(rig.dev);
	end = t_now_ns();

	stats = imp_stats(rig.imp, handle);
	expect_eq(stats.mapped, 0);
	expect_ge(stats.invalidate_ns, start);
	expect_ge(stats.unmap_ns, stats.invalidate_ns);
	expect_le(stats.unmap_ns, end);
	if (fence_ms || job_ms) {
		expect_ge(stats.fence_ns, start);
		expect_le(stats.fence_ns, end);
	}
	if (fence_ms > least)
		least = fence_ms;
	if (job_ms > least)
		least = job_ms;
	/* Timers count in ticks: a little less may pass for it. */
	expect_ge((end - start) / 1000000, least * 9 / 10);
}

TEST(lifetime, close_waits_for_unmap)
{
	close_late(300, 0, 0);
}

TEST(lifetime, close_waits_for_fence)
{
	close_late(0, 300, 0);
}

TEST(lifetime, close_waits_for_fence_then_unmap)
{
	close_late(300, 100, 0);
}

TEST(lifetime, close_waits_for_unmap_then_fence)
{
	close_late(100, 300, 0);
}

TEST(lifetime, close_waits_for_a_running_job)
{
	close_late(0, 0, 300);
}

/* An importer that takes longer than the grace period is cut off. */
TEST(lifetime, close_does_not_wait_for_ever)
{
	struct rig rig = set_up();
	struct dvpi_stats stats;
	int fd, handle;
	u64 start, ms;

	need_route();
	if (vfio_is_stock())
		t_skip("the stock driver's patience is its own");
	handle = must_map(&rig, &fd);
	expect_eq(imp_policy(rig.imp, handle, 0, 10000, 0), 0);
	start = t_now_ns();
	vfio_close(rig.dev);
	ms = (t_now_ns() - start) / 1000000;
	expect_ge(ms, VFIO_GRACE_MS * 9 / 10);
	expect_le(ms, 5000);
	stats = imp_stats(rig.imp, handle);
	expect_ge(stats.invalidations, 1);
	expect_eq(stats.mapped, 1);
	expect_eq(imp_unmap(rig.imp, handle), 0);
	expect_err(imp_map(rig.imp, handle, NULL), ENODEV);
	expect_dead(&rig, fd);
	expect_eq(imp_detach(rig.imp, handle), 0);
	expect_ok(close(fd));
	expect_gone(&rig);
}

/* An importer that only lets go when it is asked to by its user */
TEST(lifetime, close_waits_for_a_user)
{
	struct rig rig = set_up();
	int fd, handle, ready[2];
	struct dvpi_stats stats;
	pid_t pid;
	char byte;
	u64 end;

	need_route();
	be_patient();
	handle = must_map(&rig, &fd);
	expect_eq(imp_policy(rig.imp, handle, DVPI_POLICY_KEEP, 0, 0), 0);
	expect_ok(pipe(ready));
	pid = t_fork();
	if (!pid) {
		drop(rig.dev);
		expect_eq(write(ready[1], "x", 1), 1);
		expect(t_within(8000, imp_stats(rig.imp, handle).invalidations),
		       "the importer is not told");
		t_sleep_ms(500);
		expect_eq(imp_stats(rig.imp, handle).mapped, 1);
		expect_eq(imp_stats(rig.imp, handle).invalidations, 1);
		expect_eq(imp_unmap(rig.imp, handle), 0);
		_exit(0);
	}
	expect_eq(read(ready[0], &byte, 1), 1);
	vfio_close(rig.dev);
	end = t_now_ns();
	stats = imp_stats(rig.imp, handle);
	expect_eq(stats.mapped, 0);
	expect_eq(stats.unmaps, 1);
	expect_ge(end, stats.unmap_ns);
	t_join(pid);
}

/* Many late importers are waited for at once, not one after the other. */
TEST(lifetime, close_waits_for_all_at_once)
{
	enum { NR = 64, LATE_MS = 100 };
	struct rig rig = set_up();
	int fds[NR], handles[NR];
	u64 start, ms;

	need_route();
	be_patient();
	/* CONFIG_DMA_API_DEBUG up to 6.12 bears eight mappings of a page. */
	for (int i = 0; i < NR; i++) {
		handles[i] = must_map_at(&rig, i * PAGE, &fds[i]);
		expect_eq(imp_policy(rig.imp, handles[i], 0, LATE_MS, 0), 0);
	}
	start = t_now_ns();
	vfio_close(rig.dev);
	ms = (t_now_ns() - start) / 1000000;
	t_note("%d importers, each %d ms late: %llu ms", NR, LATE_MS, ms);
	for (int i = 0; i < NR; i++)
		expect_eq(imp_stats(rig.imp, handles[i]).mapped, 0);
	expect_ge(ms, LATE_MS - 10);
	expect_le(ms, NR * LATE_MS / 4);
}

TEST(lifetime, first_close_of_two_ends_nothing)
{
	struct rig rig = set_up();
	int again = expect_fd(vfio_device_fd(rig.dev));
	int fd, handle;

	need_route();
	handle = must_map(&rig, &fd);
	expect_ok(close(rig.dev->fd));
	rig.dev->fd = again;
	expect_eq(imp_stats(rig.imp, handle).invalidations, 0);
	expect_eq(imp_stats(rig.imp, handle).mapped, 1);
	vfio_close(rig.dev);
	expect_eq(imp_stats(rig.imp, handle).mapped, 0);
	expect_dead(&rig, fd);
}

/* Memory decoding off, then close: nothing is given up twice. */
TEST(lifetime, close_with_memory_decoding_off)
{
	struct rig rig = set_up();
	int fd, handle;

	need_route();
	handle = must_map(&rig, &fd);
	vfio_mem_enable(rig.dev, false);
	vfio_close(rig.dev);
	expect_eq(imp_stats(rig.imp, handle).mapped, 0);
	expect_dead(&rig, fd);
	expect_eq(imp_detach(rig.imp, handle), 0);
	expect_ok(close(fd));
	expect_gone(&rig);
}

TEST(lifetime, close_after_memory_decoding_off_and_on)
{
	struct rig rig = set_up();
	int fd, handle, ret;

	need_route();
	handle = must_map(&rig, &fd);
	vfio_mem_enable(rig.dev, false);
	vfio_mem_enable(rig.dev, true);
	ret = imp_map(rig.imp, handle, NULL);
	expect(!ret || ret == -EALREADY, "map: %s", t_errno_name(-ret));
	vfio_close(rig.dev);
	expect_eq(imp_stats(rig.imp, handle).mapped, 0);
	expect_eq(imp_detach(rig.imp, handle), 0);
	expect_ok(close(fd));
	expect_gone(&rig);
}

TEST(lifetime, old_buffers_stay_dead_after_reopen)
{
	struct rig rig = set_up();
	int old, handle, fd, new_handle;

	need_route();
	handle = must_map(&rig, &old);
	vfio_close(rig.dev);
	rig.dev = vfio_open(ROLE);
	vfio_mem_enable(rig.dev, true);

	expect_dead(&rig, old);
	expect_err(imp_map(rig.imp, handle, NULL), ENODEV);
	new_handle = must_map(&rig, &fd);
	expect_err(imp_map(rig.imp, handle, NULL), ENODEV);
	expect_eq(imp_detach(rig.imp, handle), 0);
	expect_ok(close(old));
	expect_eq(imp_stats(rig.imp, new_handle).mapped, 1);
	vfio_close(rig.dev);
	expect_dead(&rig, fd);
}

/* --- closing the buffer */

TEST(lifetime, importer_keeps_a_closed_buffer)
{
	struct rig rig = set_up();
	int fd, handle;

	need_route();
	handle = must_map(&rig, &fd);
	expect_ok(close(fd));
	t_sleep_ms(50);
	expect_eq(imp_stats(rig.imp, handle).mapped, 1);
	expect_eq(imp_unmap(rig.imp, handle), 0);
	expect_eq(imp_map(rig.imp, handle, NULL), 0);
	vfio_close(rig.dev);
	expect_eq(imp_stats(rig.imp, handle).mapped, 0);
	expect_eq(imp_detach(rig.imp, handle), 0);
	expect_gone(&rig);
}

/*
 * A path keeps the inode after the file has gone: the buffer is on its
 * function's list then, but has no file to take a reference of.
 */
TEST(lifetime, path_of_a_closed_buffer)
{
	struct rig rig = set_up();
	char name[32];
	int fds[16], paths[16];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = expect_fd(export_range(rig.dev, BAR, 0, PAGE));
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fds[i]);
		paths[i] = expect_ok(open(name, O_PATH | O_CLOEXEC));
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		expect_ok(close(fds[i]));
	t_sleep_ms(100);
	vfio_mem_enable(rig.dev, false);
	vfio_mem_enable(rig.dev, true);
	/* Some go before the function, some after it. */
	for (size_t i = 0; i < ARRAY_SIZE(fds) / 2; i++)
		expect_ok(close(paths[i]));
	vfio_close(rig.dev);
	t_sleep_ms(100);
	for (size_t i = ARRAY_SIZE(fds) / 2; i < ARRAY_SIZE(fds); i++)
		expect_ok(close(paths[i]));
	expect_gone(&rig);
}

/* --- orders of closing */

/* The @n-th order of four things */
static void order(int n, int *at)
{
	int left[] = { 0, 1, 2, 3 };

	for (int i = 0; i < 4; i++) {
		int of = 4 - i, pick = n % of;

		n /= of;
		at[i] = left[pick];
		memmove(&left[pick], &left[pick + 1],
			(of - pick - 1) * sizeof(left[0]));
	}
}

TEST_TIMEOUT(lifetime, closed_in_any_order, 60)
{
	struct rig rig = set_up();
	struct vfio_dev *dev = rig.dev;
	int at[4], fd, imp;

	for (int n = 0; n < 24; n++) {
		int *fds[] = { &fd, &dev->fd, &dev->group, &dev->container };

		/* One more, which is closed while the buffer is attached */
		imp = imp_open();
		fd = expect_fd(export_range(dev, BAR, 0, PAGE));
		expect_ge(imp_attach(imp, fd, rig.edu), 0);
		order(n, at);
		if (n & 1)
			expect_ok(close(imp));
		for (int i = 0; i < 4; i++)
			expect_ok(close(*fds[at[i]]));
		if (!(n & 1))
			expect_ok(close(imp));
		vfio_forget(dev);
		t_res_same(&rig.before);
		expect_eq(vfio_try_open_bdf(rig.bdf, &dev), 0);
	}
	vfio_close(dev);
	expect_gone(&rig);
}

/* --- processes */

TEST(lifetime, fork_shares_a_buffer)
{
	struct rig rig = set_up();
	int fd = expect_fd(export_range(rig.dev, BAR, 0, PAGE)), pipefd[2];
	pid_t pid;
	char go;

	expect_ok(pipe(pipefd));
	pid = t_fork();
	if (!pid) {
		drop(rig.dev);
		close(pipefd[1]);
		expect_ge(imp_attach(rig.imp, fd, rig.edu), 0);
		expect_eq(read(pipefd[0], &go, 1), 1);
		/* The parent has closed the function. */
		expect_dead(&rig, fd);
		_exit(0);
	}
	expect_ok(close(fd));
	t_sleep_ms(100);
	vfio_close(rig.dev);
	expect_eq(write(pipefd[1], "x", 1), 1);
	t_join(pid);
}

/* A child that has the function's descriptors keeps the buffers alive. */
TEST(lifetime, fork_keeps_the_function_open)
{
	struct rig rig = set_up();
	int fd, handle, go[2];
	pid_t pid;
	char byte;

	need_route();
	handle = must_map(&rig, &fd);
	expect_ok(pipe(go));
	pid = t_fork();
	if (!pid) {
		expect_eq(read(go[0], &byte, 1), 1);
		_exit(0);
	}
	vfio_close(rig.dev);
	expect_eq(imp_stats(rig.imp, handle).mapped, 1);
	expect_eq(write(go[1], "", 1), 1);
	t_join(pid);
	expect(t_within(2000, !imp_stats(rig.imp, handle).mapped));
	expect_dead(&rig, fd);
}

/* Passed while the function is open; received when it is, and when it isn't */
TEST(lifetime, passed_over_a_socket)
{
	struct rig rig = set_up();
	int fd = expect_fd(export_range(rig.dev, BAR, 0, PAGE)), sock[2], got;

	expect_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	expect_ok(t_send_fd(sock[0], fd));
	expect_ok(t_send_fd(sock[0], fd));
	expect_ok(close(fd));

	got = expect_ok(t_receive_fd(sock[1], 0));
	expect_eq(imp_detach(rig.imp, must_attach(&rig, got)), 0);
	expect_ok(close(got));

	/* Now only the message in flight has it. */
	vfio_close(rig.dev);
	got = expect_ok(t_receive_fd(sock[1], 0));
	expect_dead(&rig, got);
	expect_ok(close(got));

	/* And one that nobody receives */
	rig.dev = vfio_open(ROLE);
	fd = expect_fd(export_range(rig.dev, BAR, 0, PAGE));
	expect_ok(t_send_fd(sock[0], fd));
	expect_ok(close(fd));
	vfio_close(rig.dev);
	expect_ok(close(sock[0]));
	expect_ok(close(sock[1]));
	expect_gone(&rig);
}

/* Does all there is to be killed in, until it is. */
static void work(struct vfio_dev *dev, const char *edu, unsigned int seed)
{
	struct vfio_region_dma_range ranges[8];
	int imp = imp_open();

	for (;;) {
		u32 n = 1 + rand_r(&seed) % ARRAY_SIZE(ranges);
		int fd, handle;

		for (u32 i = 0; i < n; i++) {
			ranges[i].offset = rand_r(&seed) % 1024 * PAGE;
			ranges[i].length = (1 + rand_r(&seed) % 8) * PAGE;
		}
		fd = export_buf(dev->fd, BAR, O_RDWR, 0, ranges, n);
		handle = imp_attach(imp, expect_fd(fd), edu);
		expect_ge(handle, 0);
		if (!imp_map(imp, handle, NULL) && rand_r(&seed) % 2)
			imp_unmap(imp, handle);
		if (rand_r(&seed) % 2)
			close(fd);
		/* Those left behind go when the process does. */
		if (rand_r(&seed) % 4)
			imp_detach(imp, handle);
		if (rand_r(&seed) % 16 == 0) {
			close(imp);
			imp = imp_open();
		}
		/* Four of them stay below the limit of a function. */
		if (fd > 150)
			_exit(0);
	}
}

#define STORM_MS	5000

/* The parent has the function open; many die at a time. */
TEST_TIMEOUT(lifetime, killed_at_work, 90)
{
	struct rig rig = set_up();
	unsigned int seed = 1, killed = 0;
	struct t_res before = t_res_take(vfio_exporter());
	u64 end = t_now_ns() + STORM_MS * 1000000ull;

	while (t_now_ns() < end) {
		pid_t pids[4];

		for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
			pids[i] = t_fork();
			if (!pids[i])
				work(rig.dev, rig.edu, seed + killed + i);
		}
		t_sleep_ms(rand_r(&seed) % 50);
		for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
			expect_ok(kill(pids[i], SIGKILL));
			killed++;
		}
		for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
			expect_ok(waitpid(pids[i], NULL, 0));
	}
	t_note("%u killed", killed);
	expect(t_within(2000, t_refcnt(vfio_exporter()) == before.refcnt),
	       "%s is used %d times", vfio_exporter(),
	       t_refcnt(vfio_exporter()));
	expect_ok(close(expect_fd(export_range(rig.dev, BAR, 0, PAGE))));
	vfio_close(rig.dev);
	expect_gone(&rig);
}

/* The child has it all; the function is closed by its death. */
TEST_TIMEOUT(lifetime, killed_with_everything_open, 90)
{
	struct rig rig = set_up();
	u64 end = t_now_ns() + STORM_MS * 1000000ull;
	unsigned int seed = 2, killed = 0;
	pid_t pid;

	vfio_close(rig.dev);
	while (t_now_ns() < end) {
		pid = t_fork();
		if (!pid) {
			struct vfio_dev *dev;

			expect_eq(vfio_try_open_bdf(rig.bdf, &dev), 0);
			vfio_mem_enable(dev, true);
			work(dev, rig.edu, seed + killed);
		}
		t_sleep_ms(rand_r(&seed) % 100);
		expect_ok(kill(pid, SIGKILL));
		expect_ok(waitpid(pid, NULL, 0));
		killed++;
	}
	t_note("%u killed", killed);
	expect_gone(&rig);
	rig.dev = vfio_open(ROLE);
	expect_ok(close(expect_fd(export_range(rig.dev, BAR, 0, PAGE))));
	vfio_close(rig.dev);
	expect_gone(&rig);
}

/* --- many times */

static void export_and_close(void *arg)
{
	expect_ok(close(expect_fd(export_range(arg, BAR, 0, PAGE))));
}

TEST_TIMEOUT(lifetime, exporting_leaks_nothing, 60)
{
	struct rig rig = set_up();

	t_expect_flat(1000, export_and_close, rig.dev, "export, close");
	vfio_close(rig.dev);
	expect_gone(&rig);
}

static void export_in_vain(void *arg)
{
	expect_err(export_range(arg, BAR, 0, PAGE), ENOSPC);
}

TEST_TIMEOUT(lifetime, refused_leaks_nothing, 120)
{
	struct rlimit files = { 2048, 2048 };
	struct vfio_dev *dev = vfio_open(ROLE);

	expect_ok(setrlimit(RLIMIT_NOFILE, &files));
	for (int i = 0; i < 1024; i++)
		expect_fd(export_range(dev, BAR, 0, PAGE));
	t_expect_flat(1000, export_in_vain, dev, "refused export");
}

static void open_and_close(void *arg)
{
	struct rig *rig = arg;
	int fd, handle;

	expect_eq(vfio_try_open_bdf(rig->bdf, &rig->dev), 0);
	fd = expect_fd(export_range(rig->dev, BAR, 0, PAGE));
	handle = must_attach(rig, fd);
	vfio_close(rig->dev);
	expect_err(imp_map(rig->imp, handle, NULL), ENODEV);
	expect_eq(imp_detach(rig->imp, handle), 0);
	expect_ok(close(fd));
}

TEST_TIMEOUT(lifetime, opening_leaks_nothing, 240)
{
	struct rig rig = set_up();

	vfio_close(rig.dev);
	t_expect_flat(500, open_and_close, &rig, "open, export, close");
	expect_gone(&rig);
}
