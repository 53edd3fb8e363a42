// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is read without the lock of those who write it: counts and states, by
 * the node and by debugfs, and the place of a reader that two processes share.
 * What is seen must be possible. On a kernel with KCSAN, each race that is not
 * meant to be one is reported, too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

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
	u8 seen[EVENTS_MAX];		/* how often, by number from first */
} *shared;

static struct vfio_dev *dev;
static int node;

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

TEST_TIMEOUT(races, read_without_the_lock, 240)
{
	struct dmabuf_vfio_event event;
	u64 once = 0, more = 0;
	pid_t pids[5];

	dev = vfio_open_exporter("shm_sw");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(shared != MAP_FAILED);
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
