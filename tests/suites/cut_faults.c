// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUs: an access during a transition that ends by itself waits for its end,
 * as one of vfio-pci does, and can be killed meanwhile; in a settled state it
 * ends in SIGBUS at once.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu.h"
#include "cut.h"

/* --- resets */

struct reader {
	pthread_t thread;
	const u32 *at;
	u64 reads;
	u64 buses;
};

static bool ended;

static void *read_on(void *arg)
{
	struct reader *reader = arg;
	u32 value;

	while (!__atomic_load_n(&ended, __ATOMIC_RELAXED)) {
		if (!cpu_get(reader->at, &value))
			reader->buses++;
		reader->reads++;
	}
	return NULL;
}

/* Four readers: two of the BAR, two of an exported buffer of it */
static void bear(const char *role, int bar, void (*reset)(struct vfio_dev *))
{
	enum { READERS = 4 };
	const bool slow = t_debug_kernel() || t_realtime_kernel();
	const int times = slow ? 100 : 1000;
	struct vfio_dev *dev = cpu_open(role);
	struct reader readers[READERS] = {};
	u64 reads = 0, buses = 0;
	int fd;

	fd = expect_fd(export_range(dev, bar, 0, 4 * PAGE));
	for (int i = 0; i < READERS; i++) {
		u8 *p = i & 1 ? cpu_map(fd, 0, 4 * PAGE) :
				vfio_map_bar(dev, bar, 0, 4 * PAGE);

		readers[i].at = (u32 *)(p + i * PAGE);
		expect(!pthread_create(&readers[i].thread, NULL, read_on,
				       &readers[i]));
	}
	for (int i = 0; i < times; i++)
		reset(dev);
	__atomic_store_n(&ended, true, __ATOMIC_RELAXED);
	for (int i = 0; i < READERS; i++) {
		expect(!pthread_join(readers[i].thread, NULL));
		expect_ge(readers[i].reads, times / 10);
		reads += readers[i].reads;
		buses += readers[i].buses;
	}
	t_note("%d resets, %llu reads", times, reads);
	expect(!buses, "%llu of %llu reads end in SIGBUS", buses, reads);
}

static void device_reset(struct vfio_dev *dev)
{
	expect_ok(ioctl(dev->fd, VFIO_DEVICE_RESET));
}

static void sysfs_reset(struct vfio_dev *dev)
{
	expect_eq(t_write("1", "/sys/bus/pci/devices/%s/reset", dev->bdf), 0);
}

TEST_TIMEOUT(cut, faults_bear_resets, 180)
{
	bear("shm_sw", 2, device_reset);
}

TEST_TIMEOUT(cut, faults_bear_sysfs_resets, 180)
{
	bear("shm_sw", 2, sysfs_reset);
}

/* --- while it waits */

/* What two processes tell each other */
static struct shared {
	bool tries;
	bool done;
	bool bus;
} *shared;

static void share(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(shared != MAP_FAILED);
}

/* A child that reads once. */
static pid_t fork_reader(struct rig *rig, const void *p)
{
	pid_t pid;
	u32 value;

	memset(shared, 0, sizeof(*shared));
	pid = t_fork();
	if (pid)
		return pid;
	rig_drop(rig);
	__atomic_store_n(&shared->tries, true, __ATOMIC_RELEASE);
	shared->bus = !cpu_get(p, &value);
	__atomic_store_n(&shared->done, true, __ATOMIC_RELEASE);
	_exit(0);
}

static bool done(void)
{
	return __atomic_load_n(&shared->done, __ATOMIC_ACQUIRE);
}

static bool any_usable(struct rig *rig)
{
	char text[4096];

	expect_ge(t_read(text, sizeof(text), "%s",
			 vfio_debugfs(rig->bdf, "buffers")), 1);
	return strstr(text, "state=usable");
}

static pid_t act_in_child(struct rig *rig, void (*act)(struct rig *rig))
{
	pid_t pid = t_fork();

	if (!pid) {
		act(rig);
		_exit(0);
	}
	rig_quick_lets_go(rig);
	/* It may have been told before the next buffer was revoked. */
	expect(t_within(5000, !any_usable(rig)));
	return pid;
}

/* Slow holds on, so act() takes its time; the mapping is of that buffer. */
static void *open_waiting(struct rig *rig, bool bar)
{
	void *p;

	rig_open(rig, "shm_sw");
	share();
	p = bar ? vfio_map_bar(rig->dev, rig->bar, rig->at & -PAGE, PAGE) :
		  cpu_map(rig->fd, 0, PAGE);
	rig_hold(rig);
	return p;
}

/* The access goes on when the reset is over. */
static void access_waits(bool bar)
{
	struct rig rig = {};
	void *p = open_waiting(&rig, bar);
	pid_t act = act_in_child(&rig, rig_reset), pid = fork_reader(&rig, p);

	t_sleep_ms(500);
	expect(shared->tries && !done(), "it does not wait");
	rig_let_go(&rig);
	t_join(act);
	t_join(pid);
	expect(done() && !shared->bus, "SIGBUS after the reset");
	rig_back(&rig);
}

TEST(cut, access_waits_for_reset)
{
	access_waits(false);
}

TEST(cut, access_to_bar_waits_for_reset)
{
	access_waits(true);
}

/* It waits to see what comes of it, and then that is SIGBUS. */
TEST(cut, access_waits_for_memory_off)
{
	struct rig rig = {};
	void *p = open_waiting(&rig, true);
	pid_t act = act_in_child(&rig, rig_memory_off);
	pid_t pid = fork_reader(&rig, p);

	t_sleep_ms(500);
	expect(shared->tries && !done(), "it does not wait");
	rig_let_go(&rig);
	t_join(act);
	t_join(pid);
	expect(done() && shared->bus, "memory is off, and can be read");
	rig_memory_on(&rig);
	rig_back(&rig);
}

/* A waiting access can be killed, and does not hold up its process. */
static void killed(bool bar)
{
	struct rig rig = {};
	void *p = open_waiting(&rig, bar);
	pid_t act = act_in_child(&rig, rig_reset), pid = fork_reader(&rig, p);
	u64 start;

	t_sleep_ms(500);
	expect(shared->tries && !done(), "it does not wait");
	start = t_now_ns();
	expect_ok(kill(pid, SIGKILL));
	expect(t_within(5000, waitpid(pid, NULL, WNOHANG) == pid),
	       "a kill does not end it");
	expect_le((t_now_ns() - start) / 1000000, 1000);
	expect_eq(waitpid(act, NULL, WNOHANG), 0);
	rig_let_go(&rig);
	t_join(act);
	rig_back(&rig);
}

TEST(cut, access_is_killed)
{
	killed(false);
}

TEST(cut, access_to_bar_is_killed)
{
	killed(true);
}

static const void *touched;

static void *touch(void *arg)
{
	u32 value;

	__atomic_store_n(&shared->tries, true, __ATOMIC_RELEASE);
	shared->bus = !cpu_get(touched, &value);
	__atomic_store_n(&shared->done, true, __ATOMIC_RELEASE);
	return arg;
}

/* Other threads map and unmap, and read where they read it before. */
TEST(cut, access_leaves_mmap_lock)
{
	struct rig rig = {};
	pthread_t thread;
	char text[4096];
	void *p, *other;
	u64 start, worst = 0;
	pid_t act;

	p = open_waiting(&rig, false);
	touched = p;
	act = act_in_child(&rig, rig_reset);
	expect(!pthread_create(&thread, NULL, touch, NULL));
	t_sleep_ms(300);
	expect(shared->tries && !done(), "it does not wait");
	for (int i = 0; i < 20; i++) {
		start = t_now_ns();
		other = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		expect(other != MAP_FAILED);
		*(volatile char *)other = 1;
		expect_ok(munmap(other, PAGE));
		expect_ge(t_read(text, sizeof(text), "/proc/self/maps"), 1);
		if (t_now_ns() - start > worst)
			worst = t_now_ns() - start;
	}
	expect(!done());
	expect_le(worst / 1000000, 2000);
	rig_let_go(&rig);
	t_join(act);
	expect(!pthread_join(thread, NULL));
	expect(done() && !shared->bus, "SIGBUS after the reset");
}

/* Settled: there is nothing to wait for. */
TEST(cut, access_ends_at_once)
{
	static const struct cut_way *const ways[] = {
		&cut_memory_off, &cut_d3hot, &cut_low_power,
	};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct rig rig = {};
		void *bar, *buf;
		u32 value;
		u64 start;

		rig_open(&rig, ways[i]->role);
		bar = vfio_map_bar(rig.dev, rig.bar, rig.at & -PAGE, PAGE);
		buf = cpu_map(rig.fd, 0, PAGE);
		expect(cpu_get(bar, &value));
		expect(cpu_get(buf, &value));
		ways[i]->act(&rig);
		start = t_now_ns();
		expect_bus(bar);
		expect_bus(buf);
		expect_le((t_now_ns() - start) / 1000000, 1000);
		ways[i]->undo(&rig);
		expect(cpu_get(bar, &value));
		expect(cpu_get(buf, &value));
		expect_eq(vfio_revoke(rig.dev->fd, rig.fd), 0);
		start = t_now_ns();
		expect_bus(buf);
		expect_le((t_now_ns() - start) / 1000000, 1000);
		expect_ok(munmap(bar, PAGE));
		expect_ok(munmap(buf, PAGE));
		vfio_close(rig.dev);
	}
}
