// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPU mappings: of an exported buffer by its descriptor, and of a BAR by the
 * VFIO descriptor. What they show, who gets none, that they are cut off when
 * the function cannot be reached and come back after, and what they cost.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu.h"
#include "rig.h"

#define ROLE		"bochs"		/* 64 MiB of memory */
#define BAR		0

#define RDWR		(PROT_READ | PROT_WRITE)

/* The word that page @n of the BAR begins with */
static u32 word(u64 n)
{
	return 0xa5000000 | n;
}

static void put_words(struct vfio_dev *dev, int bar, u64 first, u64 nr)
{
	for (u64 n = first; n < first + nr; n++) {
		u32 value = word(n);

		expect_eq(vfio_try_pwrite(dev, bar, &value, 4, n * PAGE), 4);
	}
}

static void no_map(int fd, u64 offset, size_t len, int prot, int flags,
		   int error)
{
	void *p = mmap(NULL, len, prot, flags, fd, offset);

	expect(p == MAP_FAILED, "%zu bytes at %#llx are mapped", len,
	       (unsigned long long)offset);
	expect_eq(errno, error);
}

/* --- what a mapping shows */

TEST(mmap, whole)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	u8 *p;
	u32 value;
	int fd;

	put_words(dev, BAR, 16, 32);
	fd = expect_fd(export_range(dev, BAR, 16 * PAGE, 32 * PAGE));
	p = cpu_map(fd, 0, 32 * PAGE);
	for (u64 n = 0; n < 32; n++) {
		expect_reads(p + n * PAGE, word(16 + n));
		expect(cpu_put(p + n * PAGE + 8, ~word(n)));
	}
	for (u64 n = 0; n < 32; n++) {
		expect_eq(vfio_try_pread(dev, BAR, &value, 4,
					 (16 + n) * PAGE + 8), 4);
		expect_eq(value, ~word(n));
	}
	expect_ok(munmap(p, 32 * PAGE));
}

TEST(mmap, part)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	u8 *p, *q;
	int fd;

	put_words(dev, BAR, 0, 64);
	fd = expect_fd(export_range(dev, BAR, 8 * PAGE, 32 * PAGE));
	p = cpu_map(fd, 3 * PAGE, 2 * PAGE);
	q = cpu_map(fd, 31 * PAGE, PAGE);
	expect_reads(p, word(11));
	expect_reads(p + PAGE, word(12));
	expect_reads(q, word(39));
	/* Another mapping of the same, writable to the first. */
	expect(cpu_put(cpu_map(fd, 4 * PAGE, PAGE), 77));
	expect_reads(p + PAGE, 77);
}

/* Ranges in any order, overlapping: each page shows its own. */
TEST(mmap, ranges)
{
	static const struct vfio_region_dma_range ranges[] = {
		{ 40 * PAGE, 3 * PAGE }, { 0, PAGE }, { 41 * PAGE, 4 * PAGE },
		{ 1024 * PAGE, 600 * PAGE }, { 0, PAGE },
		{ 42 * PAGE, PAGE },
	};
	struct vfio_dev *dev = cpu_open(ROLE);
	u64 at = 0, total = 0;
	u8 *p;
	int fd;

	put_words(dev, BAR, 0, 64);
	put_words(dev, BAR, 1024, 600);
	fd = expect_fd(export_buf(dev->fd, BAR, O_RDWR | O_CLOEXEC, 0, ranges,
				  ARRAY_SIZE(ranges)));
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		total += ranges[i].length;
	p = cpu_map(fd, 0, total);
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		for (u64 n = 0; n < ranges[i].length; n += PAGE)
			expect_reads(p + at + n,
				     word((ranges[i].offset + n) / PAGE));
		at += ranges[i].length;
	}
	/* Pages 42: of the first, of the third and of the last range. */
	expect(cpu_put(p + 2 * PAGE, 4242));
	expect_reads(p + (3 + 1 + 1) * PAGE, 4242);
	expect_reads(p + total - PAGE, 4242);
	/* From the middle of one range into the next */
	expect_reads(cpu_map(fd, 2 * PAGE, 4 * PAGE), 4242);
}

/* --- who gets none */

TEST(mmap, refused)
{
	struct vfio_region_dma_range range = { PAGE, 4 * PAGE };
	struct vfio_dev *dev = cpu_open(ROLE);
	struct t_res before = t_res_take(vfio_module());
	void *p;
	int fd;

	fd = expect_fd(export_range(dev, BAR, PAGE, 4 * PAGE));
	no_map(fd, 0, 4 * PAGE, RDWR, MAP_PRIVATE, EINVAL);
	no_map(fd, 0, 4 * PAGE, PROT_READ, MAP_PRIVATE, EINVAL);
	no_map(fd, 0, 5 * PAGE, RDWR, MAP_SHARED, EINVAL);
	no_map(fd, PAGE, 4 * PAGE, RDWR, MAP_SHARED, EINVAL);
	no_map(fd, 4 * PAGE, PAGE, RDWR, MAP_SHARED, EINVAL);
	no_map(fd, 1ull << 40, PAGE, RDWR, MAP_SHARED, EINVAL);
	expect_ok(close(fd));

	fd = expect_fd(export_buf(dev->fd, BAR, O_RDONLY | O_CLOEXEC, 0,
				  &range, 1));
	no_map(fd, 0, PAGE, RDWR, MAP_SHARED, EACCES);
	no_map(fd, 0, PAGE, PROT_WRITE, MAP_SHARED, EACCES);
	no_map(fd, 0, PAGE, PROT_READ, MAP_PRIVATE, EINVAL);
	put_words(dev, BAR, 1, 1);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	expect(p != MAP_FAILED);
	expect_reads(p, word(1));
	expect_errno(mprotect(p, PAGE, RDWR), EACCES);
	expect_ok(munmap(p, PAGE));
	expect_ok(close(fd));

	fd = expect_fd(export_buf(dev->fd, BAR, O_WRONLY | O_CLOEXEC, 0,
				  &range, 1));
	no_map(fd, 0, PAGE, PROT_READ, MAP_SHARED, EACCES);
	no_map(fd, 0, PAGE, PROT_WRITE, MAP_SHARED, EACCES);
	expect_ok(close(fd));
	t_sleep_ms(50);
	t_res_same(&before);
}

/* A mapping does not grow into what follows it in the BAR. */
TEST(mmap, no_growth)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	void *p;
	int fd;

	fd = expect_fd(export_range(dev, BAR, 0, 4 * PAGE));
	p = cpu_map(fd, 0, 2 * PAGE);
	expect_errno((long)mremap(p, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE) == -1 ?
		     -1 : 0, EFAULT);
	expect_errno((long)mremap(p, 0, 2 * PAGE, MREMAP_MAYMOVE) == -1 ?
		     -1 : 0, EFAULT);
}

/* --- cut off and back */

struct view {
	u8 *p;
	u32 want;
};

/* A mapping in all the shapes it can get; returns how many views. */
static int many_views(int fd, struct view *v)
{
	u8 *p;

	p = cpu_map(fd, 0, 16 * PAGE);			/* as it is */
	v[0] = (struct view){ p, word(0) };
	p = cpu_map(fd, 0, 16 * PAGE);			/* a hole in it */
	expect_ok(munmap(p + 4 * PAGE, 4 * PAGE));
	v[1] = (struct view){ p + 3 * PAGE, word(3) };
	v[2] = (struct view){ p + 8 * PAGE, word(8) };
	p = cpu_map(fd, 0, 16 * PAGE);			/* moved */
	p = mremap(p, 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   (u8 *)mmap(NULL, 16 * PAGE, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	expect(p != MAP_FAILED, "mremap: %s", t_errno_name(errno));
	v[3] = (struct view){ p + 15 * PAGE, word(15) };
	p = cpu_map(fd, 0, 16 * PAGE);			/* split */
	expect_ok(mprotect(p + 5 * PAGE, PAGE, PROT_READ));
	v[4] = (struct view){ p + 5 * PAGE, word(5) };
	v[5] = (struct view){ p + 6 * PAGE, word(6) };
	p = cpu_map(fd, 7 * PAGE, 2 * PAGE);		/* at an offset */
	v[6] = (struct view){ p + PAGE, word(8) };
	p = cpu_map(fd, 0, 16 * PAGE);			/* shrunk */
	expect(mremap(p, 16 * PAGE, 2 * PAGE, 0) == p);
	v[7] = (struct view){ p + PAGE, word(1) };
	return 8;
}

static void all_read(const struct view *v, int nr)
{
	for (int i = 0; i < nr; i++)
		expect_reads(v[i].p, v[i].want);
}

static void all_bus(const struct view *v, int nr)
{
	for (int i = 0; i < nr; i++)
		expect_bus(v[i].p);
}

/* A child with the same mappings does as it is told by a byte, and answers. */
static char told(int sock)
{
	char c;

	return read(sock, &c, 1) == 1 ? c : 0;
}

static void tell(int sock, char c)
{
	expect_eq(write(sock, &c, 1), 1);
	expect_eq(told(sock), c);
}

static void follow(int sock, const struct view *v, int nr)
{
	char c;

	while ((c = told(sock))) {
		if (c == 'r')
			all_read(v, nr);
		else
			all_bus(v, nr);
		expect_eq(write(sock, &c, 1), 1);
	}
	_exit(0);
}

static pid_t fork_follower(struct vfio_dev *dev, int *sock,
			   const struct view *v, int nr)
{
	int pair[2];
	pid_t pid;

	expect_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = t_fork();
	if (!pid) {
		/* It must not keep the function open. */
		close(dev->fd);
		close(dev->group);
		close(dev->container);
		close(pair[0]);
		follow(pair[1], v, nr);
	}
	close(pair[1]);
	*sock = pair[0];
	return pid;
}

TEST(mmap, every_shape)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	struct view v[16];
	int fd, nr, sock;
	pid_t pid;

	put_words(dev, BAR, 0, 16);
	fd = expect_fd(export_range(dev, BAR, 0, 16 * PAGE));
	nr = many_views(fd, v);
	all_read(v, nr);
	pid = fork_follower(dev, &sock, v, nr);
	tell(sock, 'r');

	vfio_mem_enable(dev, false);
	all_bus(v, nr);
	tell(sock, 'b');
	vfio_mem_enable(dev, true);
	all_read(v, nr);
	tell(sock, 'r');

	/* For good: with the last close */
	vfio_close(dev);
	all_bus(v, nr);
	tell(sock, 'b');
	close(sock);
	t_join(pid);
	no_map(fd, 0, PAGE, RDWR, MAP_SHARED, ENODEV);
}

/* Mapped before, but not touched; mapped while it cannot be reached */
TEST(mmap, first_touch_while_off)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	void *before, *during;
	int fd;

	put_words(dev, BAR, 0, 1);
	fd = expect_fd(export_range(dev, BAR, 0, PAGE));
	before = cpu_map(fd, 0, PAGE);
	vfio_mem_enable(dev, false);
	during = cpu_map(fd, 0, PAGE);
	expect_bus(before);
	expect_bus(during);
	vfio_mem_enable(dev, true);
	expect_reads(before, word(0));
	expect_reads(during, word(0));
}

static void act_hot_reset(struct rig *rig)
{
	struct {
		struct vfio_pci_hot_reset head;
		int group;
	} arg = { .head = { .argsz = sizeof(arg), .count = 1 } };

	arg.group = rig->dev->group;
	expect_ok(ioctl(rig->dev->fd, VFIO_DEVICE_PCI_HOT_RESET, &arg));
}

static void act_flr(struct rig *rig)
{
	int exp = vfio_find_cap(rig->dev, PCI_CAP_ID_EXP);

	vfio_cfg_write(rig->dev, exp + PCI_EXP_DEVCTL, 2,
		       PCI_EXP_DEVCTL_BCR_FLR);
}

static void act_d3hot(struct rig *rig)
{
	int pm = vfio_find_cap(rig->dev, PCI_CAP_ID_PM);

	vfio_cfg_write(rig->dev, pm + PCI_PM_CTRL, 2, 3);
	vfio_cfg_write(rig->dev, pm + PCI_PM_CTRL, 2, 0);
}

static void act_memory_off_on(struct rig *rig)
{
	vfio_mem_enable(rig->dev, false);
	vfio_mem_enable(rig->dev, true);
}

static void act_link_error(struct rig *rig)
{
	t_host("hmp pcie_aer_inject_error rp_rng COMP_TIME");
	expect(t_within(5000, gate_read(rig->bdf).revokes > rig->mark.revokes),
	       "no error arrives");
	expect(t_within(5000, !strstr(gate_read(rig->bdf).reasons, "error")));
	vfio_mem_enable(rig->dev, true);
}

/*
 * Something happens to a function whose BAR and whose buffer are mapped: while
 * it does the CPU's entries are taken away, which shows in the page table
 * after. The memory is then the same as seen by read(2) and by both mappings.
 */
static void taken_away(const char *role, void (*act)(struct rig *rig))
{
	struct rig rig = {};
	u32 *bar, *buf, want;
	u64 size;
	int imp = imp_open();

	if (vfio_is_stock())
		t_skip("the stock driver's buffers cannot be mapped");
	rig.dev = vfio_open(role);
	memcpy(rig.bdf, rig.dev->bdf, sizeof(rig.bdf));
	rig_find(&rig, role);
	vfio_mem_enable(rig.dev, true);
	rig_wake(&rig);
	rig.fd = expect_fd(export_range(rig.dev, rig.bar, rig.at & ~(PAGE - 1),
					PAGE));
	buf = cpu_map(rig.fd, 0, PAGE) + (rig.at & (PAGE - 1));
	bar = vfio_map_bar(rig.dev, rig.bar, rig.at & ~(PAGE - 1), PAGE) +
	      (rig.at & (PAGE - 1));

	for (int i = 0; i < 2; i++) {
		expect(cpu_get(bar, &want));
		expect_reads(buf, want);
		expect(imp_pte(imp, bar, &size), "nothing is mapped");
		expect(imp_pte(imp, buf, &size), "nothing is mapped");
		rig.mark = gate_read(rig.bdf);
		act(&rig);
		expect_eq(imp_pte(imp, bar, &size), 0);
		expect_eq(imp_pte(imp, buf, &size), 0);
		/* A reset turns decoding off. */
		vfio_mem_enable(rig.dev, true);
		rig_wake(&rig);
		expect_eq(vfio_try_pread(rig.dev, rig.bar, &want, 4, rig.at),
			  4);
		expect_reads(bar, want);
		expect_reads(buf, want);
	}
}

TEST(mmap, reset)
{
	taken_away("nvme_sw", rig_reset);
}

TEST(mmap, sysfs_reset)
{
	taken_away("nvme_sw", rig_sysfs_reset);
}

TEST(mmap, hot_reset)
{
	taken_away("rng", act_hot_reset);
}

TEST(mmap, function_level_reset)
{
	taken_away("nvme_sw", act_flr);
}

TEST(mmap, d3hot)
{
	taken_away("nvme_sw", act_d3hot);
}

TEST(mmap, memory_off)
{
	taken_away(ROLE, act_memory_off_on);
}

TEST_TIMEOUT(mmap, link_error, 60)
{
	taken_away("rng", act_link_error);
}

/* Nobody ever sees what a function answers that does not decode. */
TEST_TIMEOUT(mmap, never_all_ones, 60)
{
	struct vfio_dev *dev = cpu_open("shm_sw");
	u64 end = t_now_ns() + 5000000000ull;
	const u64 pages = MIB(4) / PAGE;
	u32 offs = 0, value;
	pid_t pids[2];
	int fd;

	put_words(dev, 2, 0, pages);
	fd = expect_fd(export_range(dev, 2, 0, MIB(4)));
	for (int i = 0; i < 2; i++) {
		u8 *p = i ? vfio_map_bar(dev, 2, 0, MIB(4)) :
			    cpu_map(fd, 0, MIB(4));

		pids[i] = t_fork();
		if (pids[i])
			continue;
		for (u64 n = 0; t_now_ns() < end; n = (n + 37) % pages)
			if (cpu_get(p + n * PAGE, &value))
				expect_eq(value, word(n));
		_exit(0);
	}
	for (; t_now_ns() < end; offs++) {
		vfio_mem_enable(dev, false);
		vfio_mem_enable(dev, true);
	}
	t_join(pids[0]);
	t_join(pids[1]);
	t_note("memory off %u times", offs);
	expect_ge(offs, 10);
}

/* --- BARs */

TEST(mmap, bar_keeps_open)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	char bdf[VFIO_BDF_LEN];
	u8 *p, *q;
	int fd;

	strcpy(bdf, dev->bdf);
	put_words(dev, BAR, 0, 4);
	fd = expect_fd(export_range(dev, BAR, 0, 4 * PAGE));
	p = vfio_map_bar(dev, BAR, 0, 4 * PAGE);
	vfio_close(dev);
	gate_expect(bdf, "");
	expect_reads(p + PAGE, word(1));
	q = cpu_map(fd, 2 * PAGE, PAGE);
	expect_reads(q, word(2));

	/* A part of it is enough. */
	expect_ok(munmap(p, 3 * PAGE));
	t_sleep_ms(100);
	gate_expect(bdf, "");
	expect_reads(p + 3 * PAGE, word(3));
	expect_ok(munmap(p + 3 * PAGE, PAGE));
	expect(t_within(5000, !strcmp(gate_read(bdf).reasons, "closed")));
	expect_bus(q);
}

/* No limit on buffers counts what the owner maps. */
TEST(mmap, bar_many_times)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	char bdf[VFIO_BDF_LEN];
	static u8 *p[2000];

	strcpy(bdf, dev->bdf);
	put_words(dev, BAR, 0, 2000);
	for (u64 i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = vfio_map_bar(dev, BAR, i * PAGE, PAGE);
	for (u64 i = 0; i < ARRAY_SIZE(p); i += 100)
		expect_reads(p[i], word(i));
	expect_eq(gate_read(bdf).buffers, 0);
	vfio_mem_enable(dev, false);
	for (u64 i = 0; i < ARRAY_SIZE(p); i += 100)
		expect_bus(p[i]);
	for (u64 i = 0; i < ARRAY_SIZE(p); i++)
		expect_ok(munmap(p[i], PAGE));
}

/* A process that dies with mappings leaves nothing. */
TEST(mmap, killed)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	int fd = expect_fd(export_range(dev, BAR, 0, 512 * PAGE));
	char bdf[VFIO_BDF_LEN], text[4096];
	struct t_res before;

	/* From the first mapping on the BAR has a buffer. */
	expect_ok(munmap(vfio_map_bar(dev, BAR, 0, PAGE), PAGE));
	before = t_res_take(vfio_module());
	strcpy(bdf, dev->bdf);
	for (int i = 0; i < 20; i++) {
		pid_t pid = t_fork();

		if (!pid) {
			u8 *p = cpu_map(fd, 0, 512 * PAGE);
			u8 *q = vfio_map_bar(dev, BAR, 0, 512 * PAGE);
			u32 value;

			for (u64 n = 0; ; n = (n + 1) % 512) {
				cpu_get(p + n * PAGE, &value);
				cpu_get(q + n * PAGE, &value);
			}
		}
		t_sleep_ms(1 + i * 3);
		expect_ok(kill(pid, SIGKILL));
		expect_eq(waitpid(pid, NULL, 0), pid);
	}
	expect_ge(t_read(text, sizeof(text),
			 "/sys/kernel/debug/%s/%s/buffers", vfio_driver(),
			 bdf), 1);
	expect(strstr(text, "cpu-maps=0") && !strstr(text, "cpu-maps=1"), "%s",
	       text);
	t_res_same(&before);
}

/* --- a region read that faults must not hold up mmap */

struct stuck {
	struct vfio_dev *dev;
	int uffd;
	u8 *page;
	bool off;
};

static void *read_into_trap(void *arg)
{
	struct stuck *s = arg;
	int ret = vfio_try_pread(s->dev, BAR, s->page, PAGE, 0);

	/* The memory may have been turned off in the middle of it. */
	expect(ret == PAGE || ret == -EIO, "%d", ret);
	return NULL;
}

static void *turn_off(void *arg)
{
	struct stuck *s = arg;

	vfio_mem_enable(s->dev, false);
	__atomic_store_n(&s->off, true, __ATOMIC_RELEASE);
	return NULL;
}

TEST(mmap, beside_a_stuck_read)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct stuck s = { .dev = cpu_open(ROLE) };
	struct uffdio_zeropage zero = {};
	pthread_t reader, switcher;
	struct uffd_msg msg;
	u64 start;
	int fd;

	fd = expect_fd(export_range(s.dev, BAR, 0, PAGE));
	s.uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (s.uffd < 0)
		t_skip("no userfaultfd: %s", t_errno_name(errno));
	s.page = mmap(NULL, PAGE, RDWR, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(s.page != MAP_FAILED);
	reg.range.start = (uintptr_t)s.page;
	reg.range.len = PAGE;
	zero.range = reg.range;
	expect_ok(ioctl(s.uffd, UFFDIO_API, &api));
	expect_ok(ioctl(s.uffd, UFFDIO_REGISTER, &reg));

	/* A read that waits for its page, a writer that may wait for it */
	expect(!pthread_create(&reader, NULL, read_into_trap, &s));
	expect_eq(read(s.uffd, &msg, sizeof(msg)), sizeof(msg));
	expect(!pthread_create(&switcher, NULL, turn_off, &s));
	t_sleep_ms(300);

	start = t_now_ns();
	cpu_map(fd, 0, PAGE);
	vfio_map_bar(s.dev, BAR, 0, PAGE);
	expect_le(t_now_ns() - start, 2000000000ll);

	expect_ok(ioctl(s.uffd, UFFDIO_ZEROPAGE, &zero));
	expect(!pthread_join(reader, NULL));
	expect(!pthread_join(switcher, NULL));
	expect(s.off);
}

/* A child that reads @p, and fails if that is a SIGBUS. */
static pid_t touch(const void *p)
{
	pid_t pid = t_fork();
	u32 value;

	if (!pid) {
		expect(cpu_get(p, &value), "SIGBUS");
		_exit(0);
	}
	return pid;
}

/*
 * While a reset waits for a slow importer, mmap() does not wait: the importer
 * may need the lock. An access to the memory waits, and goes on after the
 * reset.
 */
TEST_TIMEOUT(mmap, beside_a_slow_reset, 60)
{
	struct rig rig = {};
	pid_t pid, touched[2];
	void *bar, *buf;
	u64 start;

	if (vfio_is_stock())
		t_skip("the stock driver's buffers cannot be mapped");
	rig_open(&rig, "nvme_sw");
	rig_hold(&rig);
	pid = t_fork();
	if (!pid) {
		rig_reset(&rig);
		_exit(0);
	}
	expect(t_within(5000, !imp_stats(rig.imp, rig.quick.handle).mapped));
	start = t_now_ns();
	buf = cpu_map(rig.fd, 0, PAGE);
	bar = vfio_map_bar(rig.dev, rig.bar, 0, PAGE);
	expect_le(t_now_ns() - start, 2000000000ll);
	touched[0] = touch(buf);
	touched[1] = touch(bar);
	t_sleep_ms(200);
	expect_eq(waitpid(touched[0], NULL, WNOHANG), 0);
	expect_eq(waitpid(touched[1], NULL, WNOHANG), 0);
	expect_eq(waitpid(pid, NULL, WNOHANG), 0);
	rig_let_go(&rig);
	t_join(pid);
	t_join(touched[0]);
	t_join(touched[1]);
	vfio_mem_enable(rig.dev, true);
	rig_wake(&rig);
	expect(cpu_put(buf, 99));
}

/* --- what it costs */

static u64 page_tables_kb(void)
{
	char text[4096], *at;

	expect_ge(t_read(text, sizeof(text), "/proc/self/status"), 1);
	at = strstr(text, "VmPTE:");
	expect(at);
	return strtoull(at + 6, NULL, 10);
}

/* Those of 6.12 and 7.2 do not survive each walker of page tables: see walk. */
static void need_huge(void)
{
	if (!t_huge_kernel())
		t_skip("this kernel has no huge entries for BARs");
}

static void walk_big(struct vfio_dev *dev, int fd, u64 offset, u64 size)
{
	u64 start, tables = page_tables_kb();
	unsigned int faults;
	int imp = imp_open();
	u32 value;
	u64 entry;
	u8 *p;

	p = mmap(cpu_room(size, GIB(1), cpu_bar_address(dev->bdf, 2) % GIB(1)),
		 size, RDWR, MAP_SHARED | MAP_FIXED, fd, offset);
	expect(p != MAP_FAILED, "mmap: %s", t_errno_name(errno));
	faults_start();
	start = t_now_ns();
	for (u64 at = 0; at < size; at += MIB(2))
		expect(cpu_get(p + at, &value));
	start = t_now_ns() - start;
	faults = faults_stop();
	tables = page_tables_kb() - tables;
	t_note("%u faults for %llu GiB, %llu ms, %llu KiB of page tables",
	       faults, (unsigned long long)(size >> 30),
	       (unsigned long long)start / 1000000,
	       (unsigned long long)tables);
	/* The window doubles from one entry to a table of 512. */
	expect_le(faults, (size >> 30) + 9);
	expect_le(tables, 4 * (size >> 30) + 16);
	expect(imp_pte(imp, p + size / 2, &entry));
	expect_eq(entry, MIB(2));
	vfio_mem_enable(dev, false);
	expect_bus(p + size - 4);
	expect_eq(imp_pte(imp, p, &entry), 0);
	vfio_mem_enable(dev, true);
	expect(cpu_get(p + size - 4, &value));
	expect_ok(munmap(p, size));
}

TEST_TIMEOUT(mmap, huge_entries, 120)
{
	struct vfio_dev *dev;
	u64 size;

	need_huge();
	dev = cpu_open("big");
	size = vfio_bar_size(dev, 2);
	walk_big(dev, expect_fd(export_bar(dev, 2)), 0, size);
	walk_big(dev, dev->fd, vfio_region_offset(dev, 2), size);
}

/*
 * 2 MiB entries where a GiB does not fit, small ones at the ends; and what is
 * cut out of a huge entry is gone alone.
 */
TEST(mmap, huge_and_small)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	u64 base, size;
	int imp, fd;
	u8 *p;

	need_huge();
	imp = imp_open();
	put_words(dev, BAR, 0, 2048);
	fd = expect_fd(export_range(dev, BAR, 511 * PAGE, 1026 * PAGE));
	base = cpu_bar_address(dev->bdf, BAR) + 511 * PAGE;
	p = mmap(cpu_room(1026 * PAGE, MIB(2), base % MIB(2)), 1026 * PAGE,
		 RDWR, MAP_SHARED | MAP_FIXED, fd, 0);
	expect(p != MAP_FAILED);
	for (u64 n = 0; n < 1026; n++)
		expect_reads(p + n * PAGE, word(511 + n));
	expect(imp_pte(imp, p, &size));
	expect_eq(size, PAGE);
	expect(imp_pte(imp, p + PAGE, &size));
	expect_eq(size, MIB(2));
	expect(imp_pte(imp, p + 1025 * PAGE, &size));
	expect_eq(size, PAGE);

	expect_ok(munmap(p + 100 * PAGE, PAGE));
	expect_reads(p + 99 * PAGE, word(610));
	expect_reads(p + 101 * PAGE, word(612));
	expect(imp_pte(imp, p + 99 * PAGE, &size));
	expect_eq(size, PAGE);
	expect_reads(p + 600 * PAGE, word(1111));
	vfio_mem_enable(dev, false);
	expect_bus(p);
	expect_bus(p + 101 * PAGE);
	expect_bus(p + 600 * PAGE);
	vfio_mem_enable(dev, true);
	expect_reads(p + 101 * PAGE, word(612));
	expect_reads(p + 600 * PAGE, word(1111));
}

/* Its page tables come along, and may not be replaced by huge entries. */
TEST(mmap, moved_stays_small)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	u64 base = cpu_bar_address(dev->bdf, BAR), size;
	u8 *p, *q;
	int imp;

	need_huge();
	imp = imp_open();
	put_words(dev, BAR, 0, 1024);
	p = mmap(cpu_room(MIB(4), MIB(2), (base + PAGE) % MIB(2)), MIB(4), RDWR,
		 MAP_SHARED | MAP_FIXED, expect_fd(export_bar(dev, BAR)), 0);
	expect(p != MAP_FAILED);
	expect_reads(p + PAGE, word(1));
	q = mremap(p, MIB(4), MIB(4), MREMAP_MAYMOVE | MREMAP_FIXED,
		   cpu_room(MIB(4), MIB(2), base % MIB(2)));
	expect(q != MAP_FAILED, "mremap: %s", t_errno_name(errno));
	expect_reads(q + PAGE, word(1));
	expect_ok(madvise(q, MIB(4), MADV_DONTNEED));
	expect_reads(q + 3 * PAGE, word(3));
	expect_reads(q + 700 * PAGE, word(700));
	expect(imp_pte(imp, q + 3 * PAGE, &size));
	expect_eq(size, PAGE);
	expect(imp_pte(imp, q + 700 * PAGE, &size));
	expect_eq(size, PAGE);
	vfio_mem_enable(dev, false);
	expect_bus(q + 3 * PAGE);
}

/* Settings of the system or the process for huge pages are for RAM only. */
TEST(mmap, huge_whatever)
{
	struct vfio_dev *dev;
	u64 size;
	u8 *p;
	int imp;

	need_huge();
	imp = imp_open();
	dev = cpu_open(ROLE);
	t_write("never", "/sys/kernel/mm/transparent_hugepage/enabled");
	expect_ok(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	put_words(dev, BAR, 0, 1024);
	p = mmap(cpu_room(MIB(64), MIB(2), cpu_bar_address(dev->bdf, BAR) %
			  MIB(2)), MIB(64), RDWR, MAP_SHARED | MAP_FIXED,
		 expect_fd(export_bar(dev, BAR)), 0);
	expect(p != MAP_FAILED);
	faults_start();
	for (u64 n = 0; n < 1024; n++)
		expect_reads(p + n * PAGE, word(n));
	expect_eq(faults_stop(), 2);
	expect_reads(p + MIB(62), 0);
	expect(imp_pte(imp, p + MIB(62), &size));
	expect_eq(size, MIB(2));
	t_write("always", "/sys/kernel/mm/transparent_hugepage/enabled");
}

TEST_TIMEOUT(mmap, window, 60)
{
	struct vfio_dev *dev = cpu_open(ROLE);
	u64 size = vfio_bar_size(dev, BAR);
	u32 value;
	u8 *p;

	expect_eq(size, MIB(64));
	p = cpu_map(expect_fd(export_bar(dev, BAR)), 0, size);
	faults_start();
	for (u64 at = 0; at < size; at += PAGE)
		expect(cpu_get(p + at, &value));
	expect_le(faults_stop(), 64);

	/* Aligned as badly as can be, and no huge entry hides it */
	put_words(dev, BAR, 0, 1024);
	expect_ok(munmap(p, size));
	p = mmap(cpu_room(size, MIB(2),
			  (cpu_bar_address(dev->bdf, BAR) + PAGE) % MIB(2)),
		 size, RDWR, MAP_SHARED | MAP_FIXED, dev->fd,
		 vfio_region_offset(dev, BAR));
	expect(p != MAP_FAILED);
	faults_start();
	for (u64 at = 0; at < size; at += PAGE)
		expect(cpu_get(p + at, &value));
	expect_le(faults_stop(), 64);
	for (u64 n = 0; n < 1024; n++)
		expect_reads(p + n * PAGE, word(n));
}

/* 512 pages touched first, the quickest of some: microseconds */
static u64 touch_us(struct vfio_dev *dev, const u8 *p, u32 want)
{
	u64 best = ~0ull;
	u32 value;

	for (int i = 0; i < 5; i++) {
		u64 start;

		vfio_mem_enable(dev, false);
		vfio_mem_enable(dev, true);
		start = t_now_ns();
		expect_reads(p, want);
		for (u64 n = 1; n < 512; n++)
			expect(cpu_get(p + n * PAGE, &value));
		start = (t_now_ns() - start) / 1000;
		if (start < best)
			best = start;
	}
	return best;
}

/* The last pages of very many ranges cost about what the first ones do. */
TEST_TIMEOUT(mmap, many_ranges, 60)
{
	/* Twice the BAR, which is the most */
	static struct vfio_region_dma_range ranges[2 * MIB(64) / PAGE];
	const u64 pages = MIB(64) / PAGE, late = ARRAY_SIZE(ranges) - 512;
	struct vfio_dev *dev = cpu_open(ROLE);
	u64 first, last;
	u8 *p;

	/* Each second page, so that none continues another. */
	for (u64 i = 0; i < ARRAY_SIZE(ranges); i++)
		ranges[i] = (struct vfio_region_dma_range){
			i * 2 % pages * PAGE, PAGE
		};
	put_words(dev, BAR, 0, 1);
	put_words(dev, BAR, late * 2 % pages, 1);
	p = mmap(cpu_room(ARRAY_SIZE(ranges) * PAGE, MIB(2), 0),
		 ARRAY_SIZE(ranges) * PAGE, RDWR, MAP_SHARED | MAP_FIXED,
		 expect_fd(export_buf(dev->fd, BAR, O_RDWR | O_CLOEXEC, 0,
				      ranges, ARRAY_SIZE(ranges))), 0);
	expect(p != MAP_FAILED);
	first = touch_us(dev, p, word(0));
	last = touch_us(dev, p + late * PAGE, word(late * 2 % pages));
	t_note("%llu us for the first pages, %llu us for the last",
	       (unsigned long long)first, (unsigned long long)last);
	expect_le(last, 4 * first + 1000);
}

TEST(mmap, one_register)
{
	struct vfio_dev *dev = cpu_open("big");
	u64 size = vfio_bar_size(dev, 2);
	u64 start, tables, entry;
	int imp = imp_open();
	u32 value;
	u8 *p;

	/* No huge entry fits. */
	p = mmap(cpu_room(size, MIB(2),
			  (cpu_bar_address(dev->bdf, 2) + PAGE) % MIB(2)),
		 size, RDWR, MAP_SHARED | MAP_FIXED, dev->fd,
		 vfio_region_offset(dev, 2));
	expect(p != MAP_FAILED);
	tables = page_tables_kb();
	faults_start();
	start = t_now_ns();
	expect(cpu_get(p + size / 2 + 8 * PAGE, &value));
	t_note("%llu us for the first touch",
	       (unsigned long long)(t_now_ns() - start) / 1000);
	expect_eq(faults_stop(), 1);
	expect_le(page_tables_kb() - tables, 16);
	/* Nobody asked for what is beside it. */
	expect(imp_pte(imp, p + size / 2 + 8 * PAGE, &entry));
	expect_eq(entry, PAGE);
	expect_eq(imp_pte(imp, p + size / 2 + 9 * PAGE, &entry), 0);
	expect_eq(imp_pte(imp, p + size / 2 + 7 * PAGE, &entry), 0);
}

/* --- memory type */

/* What of an entry says uncached or write-combining */
#ifdef __aarch64__
/* An index of the kernel's table of types: Device-nGnRnE, Normal-NC */
#define PTE_TYPE	0x1cull
#define PTE_TYPE_HUGE	PTE_TYPE
#define PTE_UNCACHED	(3ull << 2)
#define PTE_COMBINING	(2ull << 2)
#else
/* PCD: UC-; PWT: write-combining; PAT moves in a huge entry */
#define PTE_TYPE	0x98ull
#define PTE_TYPE_HUGE	0x1018ull
#define PTE_UNCACHED	0x10ull
#define PTE_COMBINING	0x8ull
#endif

static u64 type_of(int imp, void *p)
{
	u64 size, entry;

	entry = imp_pte(imp, p, &size);
	expect(entry, "nothing is mapped");
	return entry & (size > PAGE ? PTE_TYPE_HUGE : PTE_TYPE);
}

TEST(mmap, memory_type)
{
	struct vfio_region_dma_range range = { 0, 1024 * PAGE };
	struct vfio_dev *dev = cpu_open(ROLE);
	int imp = imp_open(), uc, wc;
	char text[4096];
	u8 *p, *q;

	put_words(dev, BAR, 0, 1024);
	uc = expect_fd(export_buf(dev->fd, BAR, O_RDWR | O_CLOEXEC,
				  DMABUF_VFIO_MEM_UNCACHED, &range, 1));
	p = cpu_map(uc, 0, 1024 * PAGE);
	wc = expect_fd(export_buf(dev->fd, BAR, O_RDWR | O_CLOEXEC,
				  DMABUF_VFIO_MEM_WRITE_COMBINING, &range, 1));
	q = cpu_map(wc, 0, 1024 * PAGE);
	for (u64 n = 0; n < 1024; n += 100) {
		expect_reads(p + n * PAGE, word(n));
		expect_reads(q + n * PAGE, word(n));
		expect_eq(type_of(imp, p + n * PAGE), PTE_UNCACHED);
		expect_eq(type_of(imp, q + n * PAGE), PTE_COMBINING);
	}
	/* It outlives a revoke. */
	vfio_mem_enable(dev, false);
	expect_bus(q);
	vfio_mem_enable(dev, true);
	expect_reads(q, word(0));
	expect_eq(type_of(imp, q), PTE_COMBINING);
	expect_ge(t_read(text, sizeof(text),
			 "/sys/kernel/debug/%s/%s/buffers", vfio_driver(),
			 dev->bdf), 1);
	expect(strstr(text, "memory=uncached") && strstr(text, "memory=wc"),
	       "%s", text);
	/* The owner's own mapping is as with the stock driver. */
	q = vfio_map_bar(dev, BAR, 0, PAGE);
	expect_reads(q, word(0));
	expect_eq(type_of(imp, q), PTE_UNCACHED);
}
