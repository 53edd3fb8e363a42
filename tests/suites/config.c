// SPDX-License-Identifier: GPL-2.0-only
/*
 * Config writes whose bytes change, or are held back, while they are read: at
 * no moment is decoding off and somebody has access.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rig.h"

/* --- who watches the hardware */

struct watch {
	pthread_t thread;
	const char *bdf;
	int config;			/* of the function, in sysfs */
	bool stop;
	u64 looks;
	u64 off;			/* of them with decoding off, ... */
	u64 open;			/* ... and the gate open, too */
};

static bool decodes(const struct watch *w)
{
	u16 command;

	expect_eq(pread(w->config, &command, 2, PCI_COMMAND), 2);
	return command & PCI_COMMAND_MEMORY;
}

/*
 * The gate stood open from before to after: nobody had blocked in between. Of a
 * file's values the first may be older than the last, so revokes are counted
 * before the gate is seen open.
 */
static void *look(void *arg)
{
	struct watch *w = arg;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		u32 revokes = gate_read(w->bdf).revokes;
		struct gate before = gate_read(w->bdf), after;
		bool on = decodes(w);

		after = gate_read(w->bdf);
		w->looks++;
		w->off += !on;
		w->open += !on && before.reachable && after.reachable &&
			   after.revokes == revokes;
	}
	return NULL;
}

static void watch(struct watch *w, const struct rig *rig)
{
	char path[64];

	memset(w, 0, sizeof(*w));
	w->bdf = rig->bdf;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", w->bdf);
	w->config = expect_ok(open(path, O_RDONLY | O_CLOEXEC));
	expect(!pthread_create(&w->thread, NULL, look, w));
}

static void watched(struct watch *w)
{
	__atomic_store_n(&w->stop, true, __ATOMIC_RELAXED);
	expect(!pthread_join(w->thread, NULL));
	expect_ok(close(w->config));
	t_note("%llu looks, decoding off at %llu", w->looks, w->off);
	expect(w->looks);
	expect(!w->open, "%llu times decoding was off and the gate open",
	       w->open);
}

/*
 * What the hardware says, the gate says. With decoding off, quick has been told
 * once, before that. Else it has not been told, or once more that all is well.
 */
static bool expect_agreement(struct rig *rig, const struct watch *w)
{
	struct dvpi_stats quick = imp_stats(rig->imp, rig->quick.handle);
	u32 before = rig->quick.mark.invalidations;
	bool on = decodes(w);

	gate_expect(rig->bdf, on ? "" : "memory-off");
	if (!on) {
		expect_eq(quick.mapped, 0);
		expect_eq(quick.invalidations, before + 1);
		expect(quick.command & PCI_COMMAND_MEMORY,
		       "told with decoding off already");
	} else if (gate_read(rig->bdf).revokes == rig->mark.revokes) {
		expect_eq(quick.invalidations, before);
		expect_eq(quick.mapped, 1);
	}
	return on;
}

/* Mapped again, with no notice on its way. */
static void map_quick(struct rig *rig)
{
	u32 told = gate_read(rig->bdf).revokes - rig->mark.revokes +
		   gate_read(rig->bdf).restores - rig->mark.restores;

	expect(t_within(8000, imp_stats(rig->imp, rig->quick.handle)
			.invalidations ==
			rig->quick.mark.invalidations + told));
	if (!imp_stats(rig->imp, rig->quick.handle).mapped)
		expect_eq(imp_map(rig->imp, rig->quick.handle, NULL), 0);
	rig_mark(rig);
}

/* --- a writer that delays its argument's page, and changes it */

struct trap {
	pthread_t thread;
	int fd;
	int wake[2];
	u8 *pages;			/* two, both missing */
	u8 image[2 * PAGE];
	u8 *command;			/* in the first, in @image */
	unsigned int hold_ms;		/* the second */
	unsigned int first;		/* faults */
	unsigned int second;
};

static void serve(struct trap *trap, u64 at)
{
	bool second = at >= (uintptr_t)trap->pages + PAGE;
	u64 page = (uintptr_t)trap->pages + second * PAGE;
	struct uffdio_copy copy = {
		.dst = page,
		.src = (uintptr_t)trap->image + second * PAGE,
		.len = PAGE,
	};
	u8 *other = trap->pages + !second * PAGE;

	if (second) {
		trap->second++;
		t_sleep_ms(trap->hold_ms);
	} else if (trap->first++) {
		/* Looked at already: now it says the contrary. */
		*trap->command ^= PCI_COMMAND_MEMORY;
	}
	/* The next access to the other page faults again. */
	expect_ok(madvise(other, PAGE, MADV_DONTNEED));
	expect_ok(ioctl(trap->fd, UFFDIO_COPY, &copy));
}

static void *spring(void *arg)
{
	struct trap *trap = arg;
	struct pollfd fds[] = {
		{ .fd = trap->fd, .events = POLLIN },
		{ .fd = trap->wake[0], .events = POLLIN },
	};
	struct uffd_msg msg;

	for (;;) {
		expect_ok(poll(fds, 2, -1));
		if (fds[1].revents)
			return NULL;
		if (read(trap->fd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		serve(trap, msg.arg.pagefault.address);
	}
}

static void set_trap(struct trap *trap)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	trap->fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (trap->fd < 0)
		t_skip("no userfaultfd: %s", t_errno_name(errno));
	trap->pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(trap->pages != MAP_FAILED);
	reg.range.start = (uintptr_t)trap->pages;
	reg.range.len = 2 * PAGE;
	expect_ok(ioctl(trap->fd, UFFDIO_API, &api));
	expect_ok(ioctl(trap->fd, UFFDIO_REGISTER, &reg));
	expect_ok(pipe(trap->wake));
	expect(!pthread_create(&trap->thread, NULL, spring, trap));
}

static void clear_trap(struct trap *trap)
{
	expect_eq(write(trap->wake[1], "", 1), 1);
	expect(!pthread_join(trap->thread, NULL));
	t_note("%u faults of the page with COMMAND, %u of the next",
	       trap->first, trap->second);
	expect(trap->first && trap->second, "nothing was held back");
}

/*
 * From COMMAND on, which ends the first page with @inside bytes, to past the
 * power state. A second read of it gives another value.
 */
static void held_back(u32 inside, bool off)
{
	const u32 config = VFIO_PCI_CONFIG_REGION_INDEX;
	static struct trap trap;
	struct rig rig = {};
	struct watch w;
	u32 len, pm;
	u8 *from;

	memset(&trap, 0, sizeof(trap));
	trap.hold_ms = 300;
	rig_open(&rig, "nvme_sw");
	pm = vfio_find_cap(rig.dev, PCI_CAP_ID_PM);
	expect(pm);
	len = pm + PCI_PM_CTRL + 4 - PCI_COMMAND;
	trap.command = trap.image + PAGE - inside;
	expect_eq(vfio_try_pread(rig.dev, config, trap.command, len,
				 PCI_COMMAND), len);
	expect(*trap.command & PCI_COMMAND_MEMORY);
	if (off)
		*trap.command &= ~PCI_COMMAND_MEMORY;
	set_trap(&trap);
	watch(&w, &rig);
	from = trap.pages + PAGE - inside;
	expect_eq(vfio_try_pwrite(rig.dev, config, from, len, PCI_COMMAND),
		  len);
	clear_trap(&trap);
	expect_agreement(&rig, &w);
	watched(&w);
	vfio_mem_enable(rig.dev, true);
	gate_expect(rig.bdf, "");
}

TEST(config, held_back_after_command)
{
	held_back(4, false);
}

TEST(config, held_back_in_command)
{
	held_back(1, false);
}

TEST(config, held_back_memory_off)
{
	held_back(4, true);
}

/* --- one who changes it all the time */

struct flip {
	pthread_t thread;
	u8 *command;
	bool stop;
};

static void *flip(void *arg)
{
	struct flip *f = arg;

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED))
		__atomic_xor_fetch(f->command, PCI_COMMAND_MEMORY,
				   __ATOMIC_RELAXED);
	return NULL;
}

/* Some of the writes must turn decoding off, and not all. */
TEST_TIMEOUT(config, flipped, 60)
{
	const u64 start = t_now_ns(), enough = start + 2000000000ull;
	const u64 last = start + 20000000000ull;
	const u32 config = VFIO_PCI_CONFIG_REGION_INDEX;
	u32 rounds = 0, offs = 0;
	struct rig rig = {};
	struct flip f = {};
	struct watch w;
	u8 buf[4];

	rig_open(&rig, "shm_sw");
	expect_eq(vfio_try_pread(rig.dev, config, buf, 4, PCI_COMMAND), 4);
	expect_eq(imp_detach(rig.imp, rig.slow.handle), 0);
	rig.slow = rig.quick;
	watch(&w, &rig);
	f.command = buf;
	expect(!pthread_create(&f.thread, NULL, flip, &f));
	while (t_now_ns() < enough ||
	       ((!offs || offs == rounds) && t_now_ns() < last)) {
		u32 len = rounds++ % 2 ? 2 : 4;

		expect_eq(vfio_try_pwrite(rig.dev, config, buf, len,
					  PCI_COMMAND), len);
		if (!expect_agreement(&rig, &w)) {
			offs++;
			vfio_mem_enable(rig.dev, true);
		}
		map_quick(&rig);
	}
	__atomic_store_n(&f.stop, true, __ATOMIC_RELAXED);
	expect(!pthread_join(f.thread, NULL));
	watched(&w);
	t_note("%u rounds, %u ended with decoding off", rounds, offs);
	expect(offs && offs < rounds, "nothing was flipped");
}
