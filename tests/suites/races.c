// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is read without the lock of those who write it: counts and states, by
 * the node and by debugfs, and the place of a reader that two processes share.
 * What is seen must be possible. On a kernel with KCSAN, each race that is not
 * meant to be one is reported, too.
 *
 * And an access in the middle of a restore.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cpu.h"
#include "node.h"
#include "rig.h"

#define MEM_BAR		2
#define TOGGLES		400
#define EVENTS_MAX	4096
#define KNOWN_REASONS	((DMABUF_VFIO_REASON_PF << 1) - 1)

static struct {
	bool over;
	u32 asked;
	u32 exported;
	u64 first;
	u64 last;
	u64 lost;
	u64 reads;
	u64 buses;
	u8 seen[EVENTS_MAX];		/* how often, by number from first */
} *shared;

static struct vfio_dev *dev;
static int node;
static u8 *mapped;

static bool over(void)
{
	return __atomic_load_n(&shared->over, __ATOMIC_ACQUIRE);
}

static pid_t run(void (*fn)(void))
{
	pid_t pid = t_fork();

	if (pid)
		return pid;
	fn();
	_exit(0);
}

static void export_and_close(void)
{
	while (!over()) {
		int fd = expect_fd(export_range(dev, MEM_BAR, 0, PAGE));

		close(fd);
		__atomic_add_fetch(&shared->exported, 1, __ATOMIC_RELAXED);
	}
}

static void ask(void)
{
	struct dmabuf_vfio_info info;
	struct gate last = gate_read(dev->bdf);

	while (!over()) {
		struct gate gate = gate_read(dev->bdf);

		expect_ok(node_info(node, &info));
		expect_le(info.nr_buffers, 1);
		expect_eq(info.reasons & ~KNOWN_REASONS, 0);
		expect_le(gate.buffers, 1);
		expect_le(gate.ranges, 1);
		expect_ge(gate.revokes, last.revokes);
		expect_ge(gate.restores, last.restores);
		last = gate;
		__atomic_add_fetch(&shared->asked, 1, __ATOMIC_RELAXED);
	}
}

/* Two of these share the descriptor: each event is read by one of them. */
static void follow(void)
{
	struct pollfd poller = { .fd = node, .events = POLLIN };
	struct dmabuf_vfio_event event;
	bool was_over;

	do {
		was_over = over();
		poll(&poller, 1, 20);
		while (read(node, &event, sizeof(event)) == sizeof(event)) {
			u64 n = event.seq - shared->first;

			expect(n < EVENTS_MAX);
			__atomic_add_fetch(&shared->seen[n], 1,
					   __ATOMIC_RELAXED);
			__atomic_add_fetch(&shared->lost, event.lost,
					   __ATOMIC_RELAXED);
		}
	} while (!was_over);
}

static void share(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(shared != MAP_FAILED);
}

TEST_TIMEOUT(races, read_without_the_lock, 240)
{
	struct dmabuf_vfio_event event;
	u64 once = 0, more = 0;
	pid_t pids[5];

	dev = vfio_open_exporter("shm_sw");
	share();
	node = node_open(dev->bdf, O_RDONLY | O_NONBLOCK);
	vfio_mem_enable(dev, false);
	while (read(node, &event, sizeof(event)) == sizeof(event))
		shared->first = event.seq + 1;
	expect(shared->first);

	pids[0] = run(export_and_close);
	pids[1] = run(ask);
	pids[2] = run(ask);
	pids[3] = run(follow);
	pids[4] = run(follow);
	for (int i = 0; i < TOGGLES; i++) {
		vfio_mem_enable(dev, true);
		vfio_mem_enable(dev, false);
	}
	__atomic_store_n(&shared->over, true, __ATOMIC_RELEASE);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		t_join(pids[i]);
	for (size_t i = 0; i < EVENTS_MAX; i++) {
		once += shared->seen[i] == 1;
		more += shared->seen[i] > 1;
	}
	t_note("%u exports, asked %u times, %llu events read, %llu lost",
	       shared->exported, shared->asked, once, shared->lost);
	expect_eq(more, 0);
	expect_eq(once + shared->lost, 2 * TOGGLES);
	expect_ge(shared->exported, 10);
	expect_ge(shared->asked, 10);
	close(node);
	vfio_close(dev);
}

static void nothing(int sig)
{
	(void)sig;
}

/* A signal ends the wait of an access, which then begins anew. */
static void read_among_signals(void)
{
	const struct itimerspec often = {
		.it_value.tv_nsec = 100000,
		.it_interval.tv_nsec = 100000,
	};
	struct sigevent event = {
		.sigev_notify = SIGEV_SIGNAL,
		.sigev_signo = SIGRTMIN,
	};
	timer_t timer;
	u32 value;

	expect(signal(SIGRTMIN, nothing) != SIG_ERR);
	expect_ok(timer_create(CLOCK_MONOTONIC, &event, &timer));
	expect_ok(timer_settime(timer, 0, &often, NULL));
	while (!over()) {
		if (!cpu_get(mapped, &value))
			shared->buses++;
		__atomic_add_fetch(&shared->reads, 1, __ATOMIC_RELAXED);
	}
}

static u64 reads(void)
{
	return __atomic_load_n(&shared->reads, __ATOMIC_RELAXED);
}

/*
 * Nothing blocks the function any more, and its buffers are restored one by
 * one: whoever gets there before the last one, which is mapped, waits for it.
 */
TEST_TIMEOUT(races, access_beside_a_restore, 240)
{
	enum { BUFFERS = 1000 };
	const int resets = t_debug_kernel() || t_realtime_kernel() ? 40 : 240;
	const struct rlimit files = { 4096, 4096 };
	pid_t pid;
	int fd;

	expect_ok(setrlimit(RLIMIT_NOFILE, &files));
	dev = vfio_open_exporter("shm_sw");
	share();
	for (int i = 0; i < BUFFERS; i++)
		fd = expect_fd(export_range(dev, MEM_BAR, 0, PAGE));
	mapped = cpu_map(fd, 0, PAGE);
	pid = run(read_among_signals);
	for (int i = 0; i < resets; i++) {
		u64 before = reads();

		expect(t_within(5000, reads() > before + 1));
		expect_ok(ioctl(dev->fd, VFIO_DEVICE_RESET));
	}
	__atomic_store_n(&shared->over, true, __ATOMIC_RELEASE);
	t_join(pid);
	t_note("%llu reads", shared->reads);
	expect_eq(shared->buses, 0);
}
