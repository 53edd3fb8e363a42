// SPDX-License-Identifier: GPL-2.0-only
/* What the owner of a function does with its VFIO descriptors. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuzz.h"

#define CONFIG	VFIO_PCI_CONFIG_REGION_INDEX

static struct fuzz_dev *dev_of(struct fuzz_me *me, u32 target)
{
	struct fuzz_dev *d = &me->devs[target % NR_TARGETS];

	/* Whatever comes next may turn decoding on. */
	for (u32 t = 0; t < NR_TARGETS; t++)
		fuzz->off[t] = false;
	if (d->dev)
		return d;
	for (u32 t = 0; t < NR_TARGETS; t++)
		if (me->devs[t].dev)
			return &me->devs[t];
	return NULL;
}

static u32 target_of(struct fuzz_me *me, const struct fuzz_dev *d)
{
	return d - me->devs;
}

static int op_open(struct fuzz_me *me, const u32 *a);

/* A VF is there while somebody has its PF open and says so. */
static void need_vf(struct fuzz_me *me)
{
	static const u32 pf = PF;

	if (!fuzz->held_by[PF])
		op_open(me, &pf);
	t_write("1", "/sys/bus/pci/devices/%s/sriov_numvfs",
		fuzz_targets[PF].bdf);
}

static int op_open(struct fuzz_me *me, const u32 *a)
{
	u32 t = a[0] % NR_TARGETS;
	struct fuzz_dev *d = &me->devs[t];
	int ret;

	if (d->dev || !fuzz_targets[t].there)
		return -EBUSY;
	fuzz->off[t] = false;
	if (t == VF)
		need_vf(me);
	if (!strcmp(vfio_driver_of(fuzz_targets[t].bdf), ""))
		vfio_try_bind(fuzz_targets[t].bdf, vfio_driver());
	ret = vfio_try_open_bdf(fuzz_targets[t].bdf, &d->dev);
	if (ret) {
		d->dev = NULL;
		return ret;
	}
	d->more[0] = -1;
	d->more[1] = -1;
	fuzz->tenure[t]++;
	__atomic_store_n(&fuzz->held_by[t], me->role + 1, __ATOMIC_SEQ_CST);
	return 0;
}

/* With its memory on, too: nothing else comes of most that follows. */
static struct fuzz_dev *dev_or_new(struct fuzz_me *me, u32 target)
{
	struct fuzz_dev *d = dev_of(me, target);
	u16 on = PCI_COMMAND_MEMORY;

	if (d || op_open(me, &target))
		return d;
	d = dev_of(me, target);
	vfio_try_pwrite(d->dev, CONFIG, &on, 2, PCI_COMMAND);
	return d;
}

static void close_dev(struct fuzz_me *me, u32 t)
{
	struct fuzz_dev *d = &me->devs[t];

	fuzz_drop_bars(me, t);
	for (int i = 0; i < 2; i++)
		if (d->more[i] >= 0)
			close(d->more[i]);
	__atomic_store_n(&fuzz->held_by[t], 0, __ATOMIC_SEQ_CST);
	vfio_close(d->dev);
	d->dev = NULL;
}

static int op_close(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);

	if (!d)
		return -ENODEV;
	close_dev(me, target_of(me, d));
	fuzz_kill_tenure(target_of(me, d));
	return 0;
}

/* For a child of ours: what it must not keep open */
void fuzz_close_devs(struct fuzz_me *me)
{
	for (u32 t = 0; t < NR_TARGETS; t++) {
		struct fuzz_dev *d = &me->devs[t];

		if (!d->dev)
			continue;
		fuzz_drop_bars(me, t);
		for (int i = 0; i < 2; i++)
			if (d->more[i] >= 0)
				close(d->more[i]);
		close(d->dev->fd);
		close(d->dev->group);
		close(d->dev->container);
	}
}

static int op_device_fd(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);
	int *fd;

	if (!d)
		return -ENODEV;
	fd = &d->more[a[1] % 2];
	if (*fd >= 0)
		close(*fd);
	*fd = vfio_device_fd(d->dev);
	return *fd;
}

u32 fuzz_ranges(const struct fuzz_target *t, const u32 *a,
		struct vfio_region_dma_range *ranges, struct fuzz_grant *grant)
{
	u32 nr = 1 + a[0] % FUZZ_RANGES;

	for (u32 i = 0; i < nr; i++) {
		u32 at = a[1] * (i + 1) % t->pages, len;

		/* Where huge entries may be, too */
		if (t->pages >= 1024 && a[2] & 1)
			at &= ~511u;
		len = 1 + a[2] * (i + 1) % (t->pages - at);
		if (!(a[2] & 6))
			len = t->pages - at;
		ranges[i].offset = (u64)(t->first + at) * FUZZ_PAGE;
		ranges[i].length = (u64)len * FUZZ_PAGE;
		if (grant) {
			grant->at[i] = t->first + at;
			grant->len[i] = len;
			grant->nr = nr;
		}
	}
	return nr;
}

u32 fuzz_export_flags(u32 a)
{
	static const u32 flags[] = {
		0, 0, 0, DMABUF_VFIO_FLAG_OWN, DMABUF_VFIO_FLAG_TRANSLATED,
		DMABUF_VFIO_MEM_WRITE_COMBINING,
		DMABUF_VFIO_MEM_WRITE_COMBINING | DMABUF_VFIO_FLAG_TRANSLATED,
	};

	return flags[a % ARRAY_SIZE(flags)];
}

/* A buffer that is well asked for: everybody gets it. */
static int op_export(struct fuzz_me *me, const u32 *a)
{
	struct vfio_region_dma_range ranges[FUZZ_RANGES];
	struct fuzz_dev *d = dev_or_new(me, a[0]);
	struct fuzz_grant *grant;
	struct fuzz_target *t;
	u32 nr;
	int fd;

	if (!d)
		return -ENODEV;
	t = &fuzz_targets[target_of(me, d)];
	grant = fuzz_new_grant(target_of(me, d));
	if (!grant)
		return -ENOSPC;
	nr = fuzz_ranges(t, a + 1, ranges, grant);
	grant->read_only = a[3] % 8 == 7;
	fd = export_buf(d->dev->fd, t->bar,
			(grant->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC,
			fuzz_export_flags(a[3] >> 3), ranges, nr);
	if (fd < 0)
		return fd;
	fuzz_share_buf(me, fd, grant - fuzz->grants + 1);
	fuzz_keep_buf(me, fd, grant - fuzz->grants + 1);
	return 0;
}

/* One that is not: what comes of it is nobody's but ours. */
static int op_export_odd(struct fuzz_me *me, const u32 *a)
{
	struct {
		struct vfio_device_feature head;
		struct vfio_device_feature_dma_buf get;
		struct vfio_region_dma_range ranges[FUZZ_RANGES];
	} arg = {};
	struct fuzz_dev *d = dev_of(me, a[0]);
	u32 *word, size;
	int fd;

	if (!d)
		return -ENODEV;
	arg.head.argsz = sizeof(arg);
	arg.head.flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
	arg.get.region_index = fuzz_targets[target_of(me, d)].bar;
	arg.get.open_flags = O_RDWR;
	arg.get.nr_ranges = fuzz_ranges(&fuzz_targets[target_of(me, d)], a + 1,
					arg.ranges, NULL);
	if (a[3] % 4 == 3)
		arg.head.flags |= VFIO_DEVICE_FEATURE_PROBE;
	/* Some word of it is another. */
	size = offsetof(typeof(arg), ranges[arg.get.nr_ranges]);
	word = (u32 *)&arg + a[1] % (size / 4);
	*word = a[2] & 1 ? *word ^ 1u << a[3] % 32 : a[3];
	fd = ioctl(d->dev->fd, VFIO_DEVICE_FEATURE, &arg);
	if (fd < 0)
		return -errno;
	if (arg.head.flags & VFIO_DEVICE_FEATURE_PROBE && fd > 0)
		fuzz_wrong(me, "a probe makes a descriptor");
	if (fd)
		close(fd);
	return fd;
}

/* Any feature and any request, with bytes that say anything */
static void fill(u32 *bytes, u32 words, u32 argsz, u32 flags, u32 seed)
{
	u64 rng = seed;

	for (u32 i = 0; i < words; i++)
		bytes[i] = fuzz_any(&rng, 4) ? fuzz_any(&rng, 16) :
					       fuzz_any(&rng, ~0u);
	bytes[0] = argsz;
	bytes[1] = flags;
}

static int op_feature(struct fuzz_me *me, const u32 *a)
{
	static const u32 known[] = {
		VFIO_DEVICE_FEATURE_DMA_BUF, DMABUF_VFIO_FEATURE_REVOKE, 12, 13,
		VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
		DMABUF_VFIO_FEATURE_REVOKE + 1,
	};
	struct fuzz_dev *d = dev_of(me, a[0]);
	u32 bytes[64], flags;
	int ret;

	if (!d)
		return -ENODEV;
	flags = a[1] & 1 ? known[a[1] / 2 % ARRAY_SIZE(known)] : a[1] / 2 % 16;
	flags |= (a[2] % 8) << 16;
	fill(bytes, 64, a[2] & 8 ? a[3] % 300 : sizeof(bytes), flags, a[3]);
	ret = ioctl(d->dev->fd, VFIO_DEVICE_FEATURE, bytes);
	/* A descriptor, or what a probe says */
	if (ret > 2 && !(flags & VFIO_DEVICE_FEATURE_PROBE))
		close(ret);
	return ret < 0 ? -errno : ret;
}

static int op_ioctl(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);
	u32 bytes[64], nr = VFIO_BASE + 4 + a[1] % 20;

	/* Those have operations of their own, or touch interrupts. */
	if (!d || nr == VFIO_BASE + 11)
		return -ENODEV;
	fill(bytes, 64, a[2] & 1 ? a[2] / 2 % 300 : sizeof(bytes), a[3] % 16,
	     a[3]);
	/* What answers with a descriptor leaks it: at most some. */
	return ioctl(d->dev->fd, _IO(VFIO_TYPE, nr), bytes) < 0 ? -errno : 0;
}

/* The request whose number two have, with a first word that changes */
struct flipper {
	pthread_t thread;
	u32 *word;
	u32 mask;
	bool stop;
};

static void *flip(void *arg)
{
	struct flipper *f = arg;

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED))
		__atomic_xor_fetch(f->word, f->mask, __ATOMIC_RELAXED);
	return NULL;
}

static bool flip_start(struct flipper *f, u32 *word, u32 mask)
{
	*f = (struct flipper){ .word = word, .mask = mask };
	return !pthread_create(&f->thread, NULL, flip, f);
}

static void flip_stop(struct flipper *f)
{
	__atomic_store_n(&f->stop, true, __ATOMIC_RELAXED);
	pthread_join(f->thread, NULL);
}

static int op_ioctl_flipped(struct fuzz_me *me, const u32 *a)
{
	static u32 bytes[64];
	struct fuzz_dev *d = dev_of(me, a[0]);
	struct flipper f;
	int ret = 0;

	if (!d)
		return -ENODEV;
	fill(bytes, 64, a[2] & 1 ? a[2] % 8 : sizeof(bytes),
	     a[2] & 2 ? O_RDWR : a[3], a[3]);
	if (!flip_start(&f, &bytes[a[1] % 4], a[2] & 4 ? 0x70000000 : a[3]))
		return -EAGAIN;
	for (int i = 0; i < 300; i++) {
		ret = ioctl(d->dev->fd, a[1] & 4 ? VFIO_DEVICE_FEATURE :
			    VFIO_DEVICE_PCI_DMABUF_REVOKE, bytes);
		if (ret > 2)
			close(ret);
	}
	flip_stop(&f);
	return ret < 0 ? -errno : 0;
}

static int op_revoke(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[1]);
	struct fuzz_grant *grant;
	bool dead;
	__s32 fd;
	int ret;

	if (!d || !buf)
		return -ENODEV;
	fd = buf->fd;
	dead = fuzz_is_dead(buf->grant);
	ret = a[2] & 1 ? vfio_revoke(d->dev->fd, fd) :
	      vfio_feature(d->dev->fd, VFIO_DEVICE_FEATURE_SET |
			   DMABUF_VFIO_FEATURE_REVOKE, &fd, sizeof(fd));
	if (ret || !buf->grant)
		return ret;
	if (dead)
		fuzz_wrong(me, "takes back what was taken back before");
	grant = &fuzz->grants[buf->grant - 1];
	if (grant->target != target_of(me, d))
		fuzz_wrong(me, "takes back a buffer of another function");
	__atomic_store_n(&grant->dead, true, __ATOMIC_SEQ_CST);
	return 0;
}

/* --- changes */

static int op_reset(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);

	if (!d)
		return -ENODEV;
	return ioctl(d->dev->fd, VFIO_DEVICE_RESET) ? -errno : 0;
}

static int op_hot_reset(struct fuzz_me *me, const u32 *a)
{
	struct {
		struct vfio_pci_hot_reset head;
		int groups[4];
	} arg = { .head.argsz = sizeof(arg), .head.count = 1 };
	struct fuzz_dev *d = dev_of(me, a[0]);

	if (!d)
		return -ENODEV;
	for (int i = 0; i < 4; i++)
		arg.groups[i] = d->dev->group;
	if (a[1] % 8 == 1)
		arg.head.count = a[2] % 5;
	if (a[1] % 8 == 2)
		arg.groups[a[2] % 4] = a[3] & 1 ? d->dev->fd : (int)a[3];
	if (a[1] % 8 == 3)
		arg.head.flags = a[3];
	return ioctl(d->dev->fd, VFIO_DEVICE_PCI_HOT_RESET, &arg) ? -errno : 0;
}

static int write_config(const struct fuzz_dev *d, u32 at, u32 value, u32 len)
{
	int ret = vfio_try_pwrite(d->dev, CONFIG, &value, len, at);

	return ret < 0 ? ret : 0;
}

static int op_memory_on(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_or_new(me, a[0]);

	if (!d)
		return -ENODEV;
	return write_config(d, PCI_COMMAND, PCI_COMMAND_MEMORY, 1 + a[1] % 2);
}

static int op_memory_off(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);
	int ret;

	if (!d)
		return -ENODEV;
	ret = write_config(d, PCI_COMMAND, 0, 1 + a[1] % 2);
	/* Of one after the other this is the last word, for now. */
	if (!ret && !fuzz->together)
		fuzz->off[target_of(me, d)] = true;
	return ret;
}

/* A capability, or 0: a function that is gone reads as it likes. */
static u32 find_cap(const struct fuzz_dev *d, u8 id)
{
	u8 pos = 0, head[2];

	vfio_try_pread(d->dev, CONFIG, &pos, 1, PCI_CAPABILITY_LIST);
	for (int i = 0; i < 48 && pos >= PCI_STD_HEADER_SIZEOF; i++) {
		if (vfio_try_pread(d->dev, CONFIG, head, 2, pos & ~3) != 2)
			return 0;
		if (head[0] == id)
			return pos & ~3;
		pos = head[1];
	}
	return 0;
}

static int op_power(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);
	u32 pm = d ? find_cap(d, PCI_CAP_ID_PM) : 0;

	if (!pm)
		return -ENODEV;
	return write_config(d, pm + PCI_PM_CTRL, a[1] & 4 ? a[1] % 4 : 0,
			    1 + a[2] % 2);
}

static int op_flr(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);
	u32 exp = d ? find_cap(d, PCI_CAP_ID_EXP) : 0;

	if (!exp)
		return -ENODEV;
	return write_config(d, exp + PCI_EXP_DEVCTL + 1, 0x80, 1);
}

static int op_low_power(struct fuzz_me *me, const u32 *a)
{
	struct vfio_device_low_power_entry_with_wakeup arg = {};
	struct fuzz_dev *d = dev_of(me, a[0]);
	int ret, fd;

	if (!d)
		return -ENODEV;
	if (a[1] % 3 == 0)
		return vfio_feature(d->dev->fd, VFIO_DEVICE_FEATURE_SET |
				    VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, NULL,
				    0);
	if (a[1] % 3 == 1)
		return vfio_feature(d->dev->fd, VFIO_DEVICE_FEATURE_SET |
				    VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, NULL,
				    0);
	fd = eventfd(0, EFD_CLOEXEC);
	arg.wakeup_eventfd = a[2] & 1 ? fd : (__s32)a[2];
	arg.reserved = a[3] & 8 ? a[3] : 0;
	ret = vfio_feature(d->dev->fd, VFIO_DEVICE_FEATURE_SET |
			   VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
			   &arg, sizeof(arg));
	close(fd);
	return ret;
}

/* --- config space, from memory that changes or comes late */

struct trap {
	pthread_t thread;
	int fd;
	u8 *pages;			/* two, both missing */
	u8 image[2 * FUZZ_PAGE];
	u8 *changes;			/* at each fault, in @image */
	u8 mask;
	u32 faults;
	bool stop;
};

static void serve(struct trap *trap)
{
	struct uffd_msg msg;
	struct uffdio_copy copy = { .len = FUZZ_PAGE };
	u64 at, page;

	if (read(trap->fd, &msg, sizeof(msg)) != sizeof(msg))
		return;
	at = msg.arg.pagefault.address - (uintptr_t)trap->pages;
	page = at & ~(u64)(FUZZ_PAGE - 1);
	*trap->changes ^= trap->mask;
	copy.dst = (uintptr_t)trap->pages + page;
	copy.src = (uintptr_t)trap->image + page;
	t_sleep_ms(page ? 30 : 0);
	/* The other one faults again. Not for ever: an access may want both. */
	if (trap->faults++ < 8)
		madvise(trap->pages + (page ^ FUZZ_PAGE), FUZZ_PAGE,
			MADV_DONTNEED);
	ioctl(trap->fd, UFFDIO_COPY, &copy);
}

static void *spring(void *arg)
{
	struct trap *trap = arg;
	struct pollfd p = { .fd = trap->fd, .events = POLLIN };

	while (!__atomic_load_n(&trap->stop, __ATOMIC_RELAXED))
		if (poll(&p, 1, 5) == 1)
			serve(trap);
	return NULL;
}

static bool trap_set(struct trap *trap)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	trap->fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (trap->fd < 0)
		return false;
	trap->pages = mmap(NULL, 2 * FUZZ_PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	reg.range.start = (uintptr_t)trap->pages;
	reg.range.len = 2 * FUZZ_PAGE;
	trap->stop = false;
	trap->faults = 0;
	return trap->pages != MAP_FAILED &&
	       !ioctl(trap->fd, UFFDIO_API, &api) &&
	       !ioctl(trap->fd, UFFDIO_REGISTER, &reg) &&
	       !pthread_create(&trap->thread, NULL, spring, trap);
}

static void trap_clear(struct trap *trap)
{
	__atomic_store_n(&trap->stop, true, __ATOMIC_RELAXED);
	pthread_join(trap->thread, NULL);
	munmap(trap->pages, 2 * FUZZ_PAGE);
	close(trap->fd);
}

/* Where a write begins: what matters, and anything else */
static u32 config_at(const struct fuzz_dev *d, u32 a)
{
	switch (a % 10) {
	case 0 ... 2:
		return PCI_COMMAND;
	case 3:
		return PCI_COMMAND - 1 - a / 10 % 4;
	case 4:
		return find_cap(d, PCI_CAP_ID_PM) + PCI_PM_CTRL;
	case 5:
		return find_cap(d, PCI_CAP_ID_EXP) + PCI_EXP_DEVCTL + 1;
	case 6:
		return PCI_BASE_ADDRESS_0 + a / 10 % 6 * 4;
	case 7:
		return a / 10 % 256;
	default:
		return a / 10 % 4096;
	}
}

static u32 config_len(u32 a)
{
	static const u32 lens[] = { 1, 2, 2, 4, 4, 8, 64, 252 };

	return lens[a % ARRAY_SIZE(lens)];
}

static int op_config_write(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);
	u32 at, len = config_len(a[2]);
	u8 bytes[256];
	u64 rng = a[3];

	if (!d)
		return -ENODEV;
	at = config_at(d, a[1]);
	/* What is there, apart from some bits */
	vfio_try_pread(d->dev, CONFIG, bytes, len, at);
	for (u32 i = 0; i < fuzz_any(&rng, 4); i++)
		bytes[fuzz_any(&rng, len)] ^= 1u << fuzz_any(&rng, 8);
	return vfio_try_pwrite(d->dev, CONFIG, bytes, len, at);
}

static int op_config_flipped(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);
	u32 at, len = config_len(a[2]), words[64];
	struct flipper f;
	int ret = 0;

	if (!d)
		return -ENODEV;
	at = a[1] & 1 ? PCI_COMMAND : config_at(d, a[1]);
	vfio_try_pread(d->dev, CONFIG, words, len, at);
	if (!flip_start(&f, words, PCI_COMMAND_MEMORY | (a[3] & 3)))
		return -EAGAIN;
	for (u32 i = 0; i < 1 + a[3] % 16; i++)
		ret = vfio_try_pwrite(d->dev, CONFIG, words, len, at);
	flip_stop(&f);
	return ret;
}

static int op_config_late(struct fuzz_me *me, const u32 *a)
{
	u32 inside = 1 + a[2] % 8, len = inside + config_len(a[1]);
	struct fuzz_dev *d = dev_of(me, a[0]);
	static struct trap trap;
	u8 *from;
	int ret;

	if (!d)
		return -ENODEV;
	from = trap.image + FUZZ_PAGE - inside;
	if (vfio_try_pread(d->dev, CONFIG, from, len, PCI_COMMAND) < 0)
		return -EIO;
	trap.changes = from + (a[3] & 8 ? a[3] % inside : 0);
	trap.mask = a[3] & 4 ? PCI_COMMAND_MEMORY : a[3] & 3;
	if (!trap_set(&trap))
		return -EOPNOTSUPP;
	ret = vfio_try_pwrite(d->dev, CONFIG, trap.pages + FUZZ_PAGE - inside,
			      len, PCI_COMMAND);
	trap_clear(&trap);
	return ret;
}

static int op_config_read(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);
	u8 bytes[256];

	if (!d)
		return -ENODEV;
	return vfio_try_pread(d->dev, CONFIG, bytes, config_len(a[2]),
			      config_at(d, a[1]));
}

/* --- regions */

static int op_region_info(struct fuzz_me *me, const u32 *a)
{
	u32 words[64] = { a[2] & 1 ? a[2] : sizeof(words), 0, a[1] % 12 };
	struct fuzz_dev *d = dev_of(me, a[0]);

	if (!d)
		return -ENODEV;
	return ioctl(d->dev->fd, a[3] & 1 ? VFIO_DEVICE_GET_IRQ_INFO :
		     VFIO_DEVICE_GET_REGION_INFO, words) ? -errno : 0;
}

static int op_region_read(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);
	u64 at = (u64)(a[1] % 10) << 40 | a[2] % 0x4000;
	u8 bytes[64];

	if (!d)
		return -ENODEV;
	return pread(d->dev->fd, bytes, 1 + a[3] % 64, at) < 0 ? -errno : 0;
}

/* Where it is memory, and lent */
static int op_region_write(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);
	u32 value = FUZZ_LIVE, page;
	struct fuzz_target *t;

	if (!d)
		return -ENODEV;
	t = &fuzz_targets[target_of(me, d)];
	if (!t->memory)
		return -EPERM;
	page = t->first + a[1] % t->pages;
	return vfio_try_pwrite(d->dev, t->bar, &value, 4, (u64)page *
			       FUZZ_PAGE + FUZZ_CPU_AT + a[2] % 8 * 4);
}

static int op_map_bar(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);
	u32 first, nr, target;
	struct fuzz_target *t;
	struct fuzz_note *n;
	void *p;
	int slot;

	if (!d)
		return -ENODEV;
	target = target_of(me, d);
	t = &fuzz_targets[target];
	first = a[1] % t->pages;
	nr = 1 + a[2] % (t->pages - first);
	slot = fuzz_free_slot(me);
	p = mmap(fuzz_slot_at(slot), (u64)nr * FUZZ_PAGE,
		 PROT_READ | (a[3] & 1 ? PROT_WRITE : 0),
		 MAP_SHARED | MAP_FIXED | (a[3] & 6 ? 0 : MAP_POPULATE),
		 d->dev->fd, vfio_region_offset(d->dev, t->bar) +
		 (u64)(t->first + first) * FUZZ_PAGE);
	if (p == MAP_FAILED)
		return -errno;
	me->slot_used[slot] = true;
	me->slot_bars[slot] = 1u << target;
	n = fuzz_slot_notes(slot);
	for (u32 i = 0; i < nr; i++)
		n[i] = (struct fuzz_note){
			.word = t->memory ? fuzz_word(target, t->first + first +
						      i) : 0,
			.bar = true,
			.sure = true,
		};
	return 0;
}

static int op_dma_map(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_dev *d = dev_of(me, a[0]);
	int slot = fuzz_pick_slot(me, a[1]);
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | (a[3] & 1 ?
			 VFIO_DMA_MAP_FLAG_WRITE : 0),
		.iova = GIB(1) + (u64)(a[2] % 16) * FUZZ_PAGE,
		.size = (1 + a[3] / 2 % 4) * FUZZ_PAGE,
	};
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = map.iova,
		.size = map.size,
	};
	u32 page;

	if (!d || slot < 0)
		return -ENODEV;
	page = a[2] % 64;
	map.vaddr = (uintptr_t)fuzz_slot_at(slot) + page * FUZZ_PAGE;
	if (ioctl(d->dev->container, VFIO_IOMMU_MAP_DMA, &map))
		return -errno;
	if (fuzz_slot_notes(slot)[page].grant &&
	    fuzz_slot_notes(slot)[page].sure)
		fuzz_wrong(me, "VFIO's container takes a buffer");
	if (a[3] & 2)
		ioctl(d->dev->container, VFIO_IOMMU_UNMAP_DMA, &unmap);
	return 0;
}

static int op_irqs(struct fuzz_me *me, const u32 *a)
{
	struct {
		struct vfio_irq_set head;
		__s32 fds[4];
	} arg = {
		.head.argsz = sizeof(arg),
		.head.flags = VFIO_IRQ_SET_DATA_EVENTFD |
			      VFIO_IRQ_SET_ACTION_TRIGGER,
		.head.index = a[1] % 5,
		.head.start = a[2] % 2,
		.head.count = a[2] / 2 % 4,
	};
	struct fuzz_dev *d = dev_of(me, a[0]);
	int fd, ret;

	if (!d)
		return -ENODEV;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (int i = 0; i < 4; i++)
		arg.fds[i] = a[3] & 1u << i ? -1 : fd;
	if (a[3] & 16)
		arg.head.flags = a[3];
	ret = ioctl(d->dev->fd, VFIO_DEVICE_SET_IRQS, &arg) ? -errno : 0;
	close(fd);
	return ret;
}

/* In the middle of whatever the others do */
static int op_die(struct fuzz_me *me, const u32 *a)
{
	(void)me;
	(void)a;
	kill(getpid(), SIGKILL);
	return 0;
}

static const struct fuzz_op ops[] = {
	FUZZ_OP(open, OWNERS, 30, true),
	FUZZ_OP(close, OWNERS, 14, true),
	FUZZ_OP(device_fd, OWNERS, 4, true),
	FUZZ_OP(export, OWNERS, 40, true),
	FUZZ_OP(export_odd, OWNERS, 16, true),
	FUZZ_OP(feature, OWNERS, 16, true),
	FUZZ_OP(ioctl, OWNERS, 12, true),
	FUZZ_OP(ioctl_flipped, OWNERS, 4, true),
	FUZZ_OP(revoke, OWNERS, 14, true),
	FUZZ_OP(reset, OWNERS, 10, true),
	FUZZ_OP(hot_reset, OWNERS, 10, true),
	FUZZ_OP(memory_on, OWNERS, 30, true),
	FUZZ_OP(memory_off, OWNERS, 20, true),
	FUZZ_OP(power, OWNERS, 12, true),
	FUZZ_OP(flr, OWNERS, 6, true),
	FUZZ_OP(low_power, OWNERS, 10, true),
	FUZZ_OP(config_write, OWNERS, 20, true),
	FUZZ_OP(config_flipped, OWNERS, 6, true),
	FUZZ_OP(config_late, OWNERS, 6, true),
	FUZZ_OP(config_read, OWNERS, 4, true),
	FUZZ_OP(region_info, OWNERS, 4, true),
	FUZZ_OP(region_read, OWNERS, 6, true),
	FUZZ_OP(region_write, OWNERS, 6, true),
	FUZZ_OP(map_bar, OWNERS, 12, true),
	FUZZ_OP(dma_map, OWNERS, 6, true),
	FUZZ_OP(irqs, OWNERS, 6, true),
	FUZZ_OP(die, HOLDERS, 5, false),
};

const struct fuzz_room fuzz_owner = { ops, ARRAY_SIZE(ops) };
