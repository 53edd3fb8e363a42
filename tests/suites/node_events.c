// SPDX-License-Identifier: GPL-2.0-only
/*
 * The events of a function's node: each transition is one, in order, and a
 * reader that is too slow for them knows how many it lost.
 */
#define _GNU_SOURCE
#include <linux/pci_regs.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node.h"
#include "rig.h"

#define ROLE		"bochs"

#define MEMORY_OFF	DMABUF_VFIO_REASON_MEMORY_OFF
#define CHANGING	DMABUF_VFIO_REASON_CHANGING

static struct vfio_dev *set_up(const char *role, int flags, int *node)
{
	struct vfio_dev *dev;

	if (vfio_is_stock())
		t_skip("the stock driver has no node");
	dev = vfio_open(role);
	vfio_mem_enable(dev, true);
	*node = node_open(dev->bdf, O_RDWR | flags);
	return dev;
}

static void toggle(const struct vfio_dev *dev)
{
	vfio_mem_enable(dev, false);
	vfio_mem_enable(dev, true);
}

static void expect_none(int node)
{
	struct dmabuf_vfio_event event;

	expect_eq(node_poll(node, 0), 0);
	expect_errno(read(node, &event, sizeof(event)), EAGAIN);
}

TEST_TIMEOUT(events, causes, 60)
{
	const char *bdf = t_role("nvme_sw");
	struct dmabuf_vfio_info info;
	struct vfio_dev *dev;
	int node, pm;
	u32 reasons;

	if (vfio_is_stock())
		t_skip("the stock driver has no node");
	vfio_free_group(bdf, vfio_driver());
	node = node_open(bdf, O_RDONLY | O_NONBLOCK);
	expect_none(node);
	dev = vfio_open_bdf(bdf, vfio_driver());
	reasons = node_expect_opened(node);
	expect_eq(node_info(node, &info), 0);
	expect_eq(info.reasons, reasons);
	expect_none(node);
	vfio_mem_enable(dev, true);
	if (reasons)
		node_expect_event(node, RESTORED, 0);
	/* No transition, no event. */
	vfio_mem_enable(dev, true);
	expect_none(node);
	vfio_mem_enable(dev, false);
	node_expect_event(node, REVOKED, CHANGING | MEMORY_OFF);
	vfio_mem_enable(dev, false);
	expect_none(node);
	vfio_mem_enable(dev, true);
	node_expect_event(node, RESTORED, 0);

	pm = vfio_find_cap(dev, PCI_CAP_ID_PM);
	expect(pm);
	vfio_cfg_write(dev, pm + PCI_PM_CTRL, 2, 3);
	node_expect_event(node, REVOKED,
			  CHANGING | DMABUF_VFIO_REASON_D3HOT);
	vfio_cfg_write(dev, pm + PCI_PM_CTRL, 2, 0);
	/* The state of before comes back with it, or not. */
	vfio_mem_enable(dev, true);
	node_expect_event(node, RESTORED, 0);

	expect_ok(ioctl(dev->fd, VFIO_DEVICE_RESET));
	node_expect_event(node, REVOKED, CHANGING | DMABUF_VFIO_REASON_RESET);
	vfio_mem_enable(dev, true);
	node_expect_event(node, RESTORED, 0);
	expect_eq(t_write("1", "/sys/bus/pci/devices/%s/reset", bdf), 0);
	node_expect_event(node, REVOKED, DMABUF_VFIO_REASON_RESET);
	vfio_mem_enable(dev, true);
	node_expect_event(node, RESTORED, 0);
	expect_none(node);

	/* The end of what was revoked, too, is one event. */
	vfio_mem_enable(dev, false);
	node_expect_event(node, REVOKED, CHANGING | MEMORY_OFF);
	vfio_close(dev);
	node_expect_event(node, CLOSED, DMABUF_VFIO_REASON_CLOSED);
	expect_none(node);
	dev = vfio_open_bdf(bdf, vfio_driver());
	node_expect_opened(node);
	vfio_close(dev);
	node_expect_event(node, CLOSED, DMABUF_VFIO_REASON_CLOSED);
	expect_none(node);
}

/* When it says so, it is so: map at once. And it is said before the wait. */
TEST_TIMEOUT(events, say_when, 60)
{
	struct rig rig = {};
	pid_t pid;
	int node;

	rig_open(&rig, "shm_sw");
	node = node_open(rig.bdf, O_RDONLY);
	rig_hold(&rig);
	pid = t_fork();
	if (!pid) {
		vfio_mem_enable(rig.dev, false);
		_exit(0);
	}
	node_expect_event(node, REVOKED, CHANGING | MEMORY_OFF);
	/* Told, the importer lets go of its mapping a moment later. */
	rig_quick_lets_go(&rig);
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	expect_eq(waitpid(pid, NULL, WNOHANG), 0);
	expect_eq(imp_stats(rig.imp, rig.slow.handle).mapped, 1);
	rig_let_go(&rig);
	t_join(pid);

	pid = t_fork();
	if (!pid) {
		t_sleep_ms(200);
		vfio_mem_enable(rig.dev, true);
		_exit(0);
	}
	node_expect_event(node, RESTORED, 0);
	expect_eq(imp_map(rig.imp, rig.quick.handle, NULL), 0);
	t_join(pid);
}

TEST(events, reads)
{
	struct dmabuf_vfio_event events[4];
	int node;
	struct vfio_dev *dev = set_up(ROLE, O_NONBLOCK, &node);
	u64 start = t_now_ns();
	char *bad;

	toggle(dev);
	toggle(dev);
	expect_eq(node_poll(node, 0), POLLIN);
	expect_errno(read(node, events, 0), EINVAL);
	expect_errno(read(node, events, sizeof(*events) - 1), EINVAL);
	/* As many whole ones as fit */
	expect_eq(read(node, events, 2 * sizeof(*events) - 1),
		  sizeof(*events));
	/* What cannot be given is kept. */
	expect_errno(read(node, (void *)PAGE, sizeof(*events)), EFAULT);
	bad = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(bad != MAP_FAILED);
	expect_ok(munmap(bad + PAGE, PAGE));
	expect_eq(read(node, bad + PAGE - sizeof(*events) - 8,
		       4 * sizeof(*events)), sizeof(*events));
	memcpy(events + 1, bad + PAGE - sizeof(*events) - 8, sizeof(*events));
	expect_eq(read(node, events + 2, 2 * sizeof(*events)),
		  2 * sizeof(*events));
	expect_none(node);
	for (int i = 0; i < 4; i++) {
		expect_eq(events[i].seq, events[0].seq + i);
		expect_eq(events[i].type, i & 1 ? DMABUF_VFIO_EVENT_RESTORED :
			  DMABUF_VFIO_EVENT_REVOKED);
		expect_eq(events[i].lost, 0);
		expect_eq(events[i].reserved, 0);
		expect_ge(events[i].time_ns, i ? events[i - 1].time_ns :
			  start);
	}
	expect_le(events[3].time_ns, t_now_ns());
	expect_errno(lseek(node, 0, SEEK_SET), ESPIPE);
	expect(write(node, events, sizeof(*events)) < 0);
}

/* Each reader has a place of its own, from its open on. */
TEST(events, readers)
{
	int first, second;
	struct vfio_dev *dev = set_up(ROLE, O_NONBLOCK, &first);

	vfio_mem_enable(dev, false);
	second = node_open(dev->bdf, O_RDONLY | O_NONBLOCK);
	expect_none(second);
	vfio_mem_enable(dev, true);
	node_expect_event(second, RESTORED, 0);
	expect_none(second);
	node_expect_event(first, REVOKED, CHANGING | MEMORY_OFF);
	node_expect_event(first, RESTORED, 0);
	expect_none(first);
}

/* A reader that sleeps can be killed, and one that is told wakes up. */
TEST(events, sleepers)
{
	int node;
	struct vfio_dev *dev = set_up(ROLE, 0, &node);
	struct dmabuf_vfio_event event;
	pid_t pid;

	pid = t_fork();
	if (!pid) {
		expect(node_event(node, &event));
		t_fail("an event came");
	}
	t_sleep_ms(200);
	expect_eq(waitpid(pid, NULL, WNOHANG), 0);
	expect_ok(kill(pid, SIGKILL));
	expect_ok(waitpid(pid, NULL, 0));

	pid = t_fork();
	if (!pid) {
		expect_eq(node_poll(node, -1), POLLIN);
		_exit(0);
	}
	t_sleep_ms(200);
	expect_eq(waitpid(pid, NULL, WNOHANG), 0);
	vfio_mem_enable(dev, false);
	t_join(pid);
	expect(node_event(node, &event));
}

/* --- too slow */

/* What a reader sees goes on without a gap that it is not told of. */
static void check_next(const struct dmabuf_vfio_event *event, u64 *seq,
		       u32 *type)
{
	expect_eq(event->seq, *seq + 1 + event->lost);
	if (!event->lost && *type)
		expect_ne(event->type, *type);
	*seq = event->seq;
	*type = event->type;
}

/* @count events behind: the oldest of them are lost, the newest are there. */
static void behind(const struct vfio_dev *dev, int count)
{
	struct dmabuf_vfio_event event;
	int lost = count > NODE_RING ? count - NODE_RING : 0;
	int slow, left = count - lost;
	u64 seq = 0;
	u32 type = 0;

	slow = node_open(dev->bdf, O_RDONLY | O_NONBLOCK);
	for (int i = 0; i < count / 2; i++)
		toggle(dev);
	expect(node_event(slow, &event));
	expect_eq(event.lost, lost);
	seq = event.seq;
	type = event.type;
	expect_eq(type, DMABUF_VFIO_EVENT_REVOKED);
	while (--left) {
		expect(node_event(slow, &event));
		expect_eq(event.lost, 0);
		check_next(&event, &seq, &type);
	}
	expect_none(slow);
	/* Once told, it is not told again. */
	toggle(dev);
	expect(node_event(slow, &event));
	expect_eq(event.lost, 0);
	check_next(&event, &seq, &type);
	expect_ok(close(slow));
}

TEST_TIMEOUT(events, slow_reader, 60)
{
	int fast;
	struct vfio_dev *dev = set_up(ROLE, O_NONBLOCK, &fast);
	struct dmabuf_vfio_event event;

	behind(dev, 2);
	behind(dev, NODE_RING - 2);
	behind(dev, NODE_RING);
	behind(dev, NODE_RING + 2);
	behind(dev, 5 * NODE_RING);
	/* All of the time, nobody read from this one. */
	expect(node_event(fast, &event));
	expect_eq(event.lost, 2 + (NODE_RING - 2) + NODE_RING +
		  (NODE_RING + 2) + 5 * NODE_RING + 5 * 2 - NODE_RING);
}

/* --- a storm */

struct tally {
	u64 first, last;
	u32 seen, lost, revoked, restored;
	u32 toggles;			/* so far, or OVER */
};

/* More than there is room for; two events each */
#define TOGGLES_ASLEEP	50
#define OVER		UINT32_MAX

static void sleep_for_long(struct tally *tally)
{
	u32 now = __atomic_load_n(&tally->toggles, __ATOMIC_ACQUIRE);
	u32 then = now + TOGGLES_ASLEEP;

	while (now != OVER && now < then) {
		t_sleep_ms(10);
		now = __atomic_load_n(&tally->toggles, __ATOMIC_ACQUIRE);
	}
}

/* Reads until the close; a slow one sleeps while much happens. */
static void follow(int node, bool slow, struct tally *tally)
{
	struct dmabuf_vfio_event event;
	u32 type = 0;
	u64 seq = 0;

	do {
		expect(node_event(node, &event));
		if (!tally->seen) {
			tally->first = event.seq - event.lost;
			seq = tally->first - 1;
		}
		check_next(&event, &seq, &type);
		tally->seen++;
		tally->lost += event.lost;
		tally->revoked += event.type == DMABUF_VFIO_EVENT_REVOKED;
		tally->restored += event.type == DMABUF_VFIO_EVENT_RESTORED;
		if (slow && tally->seen % 80 == 8)
			sleep_for_long(tally);
	} while (event.type != DMABUF_VFIO_EVENT_CLOSED);
	tally->last = event.seq;
	expect_eq(tally->seen + tally->lost, tally->last - tally->first + 1);
}

static void leave_function(const struct vfio_dev *dev)
{
	close(dev->fd);
	close(dev->group);
	close(dev->container);
}

TEST_TIMEOUT(events, reset_storm, 180)
{
	int node, slow;
	struct vfio_dev *dev = set_up("nvme_sw", 0, &node);
	struct gate before, after;
	struct tally *tallies;
	pid_t pids[3];

	tallies = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(tallies != MAP_FAILED);
	before = gate_read(dev->bdf);
	slow = node_open(dev->bdf, O_RDONLY);
	pids[2] = t_fork();
	if (!pids[2]) {
		leave_function(dev);
		for (int i = 0; i < 12; i++)
			expect_eq(t_write("1",
					  "/sys/bus/pci/devices/%s/reset",
					  dev->bdf), 0);
		_exit(0);
	}
	pids[0] = t_fork();
	if (!pids[0]) {
		leave_function(dev);
		follow(node, false, &tallies[0]);
		_exit(0);
	}
	pids[1] = t_fork();
	if (!pids[1]) {
		leave_function(dev);
		follow(slow, true, &tallies[1]);
		_exit(0);
	}
	for (int i = 0; i < 150; i++) {
		toggle(dev);
		__atomic_add_fetch(&tallies[1].toggles, 1, __ATOMIC_RELEASE);
		if (i % 32 == 0)
			ioctl(dev->fd, VFIO_DEVICE_RESET);
	}
	t_join(pids[2]);
	toggle(dev);
	__atomic_store_n(&tallies[1].toggles, OVER, __ATOMIC_RELEASE);
	after = gate_read(dev->bdf);
	vfio_close(dev);
	t_join(pids[0]);
	t_join(pids[1]);

	for (int i = 0; i < 2; i++)
		t_note("%u seen, %u lost, %u revoked, %u restored",
		       tallies[i].seen, tallies[i].lost, tallies[i].revoked,
		       tallies[i].restored);
	/* A close is one event, of the function's last revoke. */
	for (int i = 0; i < 2; i++)
		expect_eq(tallies[i].last - tallies[i].first,
			  after.revokes - before.revokes +
			  after.restores - before.restores);
	expect_ge(tallies[0].seen, 100);
	expect_ge(tallies[1].lost, 1);
	if (!tallies[0].lost) {
		expect_eq(tallies[0].revoked, after.revokes - before.revokes);
		expect_eq(tallies[0].restored,
			  after.restores - before.restores);
	}
}
