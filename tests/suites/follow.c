// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who else follows a mapping: VFIO's type1 container, which would keep what it
 * found and never hear that it is gone, and KVM, which is told.
 *
 * A BAR mapped by the VFIO descriptor is what it is with vfio-pci, so those
 * cases run with that driver, too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "edu.h"
#include "vfio.h"
#include "vm.h"

#define BAR		2		/* of an ivshmem: memory */
#define AT		KIB(64)
#define LEN		KIB(64)
#define BYTES		64
#define BAR_IOVA	0x10000000ull

static struct vfio_dev *open_function(const char *role)
{
	struct vfio_dev *dev = vfio_open(role);

	vfio_mem_enable(dev, true);
	return dev;
}

static struct vfio_dev *open_owner(void)
{
	if (vfio_is_stock())
		t_skip("the stock driver's buffers cannot be mapped");
	return open_function("shm_sw");
}

static void *map_fd(int fd, u64 offset, size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		       offset);

	expect(p != MAP_FAILED, "mmap says %s", t_errno_name(errno));
	return p;
}

static int export_flags(struct vfio_dev *dev, int bar, u64 offset, u64 len,
			u32 flags)
{
	struct vfio_region_dma_range range = { offset, len };

	return expect_fd(export_buf(dev->fd, bar, O_RDWR | O_CLOEXEC, flags,
				    &range, 1));
}

static void cpu_read(struct vfio_dev *dev, int bar, u64 at, u8 *buf)
{
	expect_eq(vfio_try_pread(dev, bar, buf, BYTES, at), BYTES);
}

static void fill(u8 *buf, u8 seed)
{
	for (int i = 0; i < BYTES; i++)
		buf[i] = seed + 5 * i;
}

/* --- type1 */

/* The edu's transfer to BAR_IOVA changes nothing of the BAR. */
static void expect_no_way(struct edu *edu, struct vfio_dev *dev, int bar,
			  u64 at)
{
	u8 before[BYTES], after[BYTES], junk[BYTES];

	fill(junk, 200);
	cpu_read(dev, bar, at, before);
	expect(memcmp(before, junk, BYTES));
	edu_write(edu, BAR_IOVA, junk, BYTES);
	cpu_read(dev, bar, at, after);
	expect(!memcmp(before, after, BYTES), "the edu's bytes arrived");
}

/* A container does not take @p, and keeps nothing of it. */
static void expect_refused(struct edu *edu, void *p, size_t len)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)p,
		.iova = BAR_IOVA,
		.size = len,
	};
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = BAR_IOVA,
		.size = len,
	};

	expect_errno(ioctl(edu->dev->container, VFIO_IOMMU_MAP_DMA, &map),
		     EFAULT);
	map.flags = VFIO_DMA_MAP_FLAG_READ;
	expect_errno(ioctl(edu->dev->container, VFIO_IOMMU_MAP_DMA, &map),
		     EFAULT);
	expect_ok(ioctl(edu->dev->container, VFIO_IOMMU_UNMAP_DMA, &unmap));
	expect_eq(unmap.size, 0);
}

TEST(follow, type1_refuses_a_buffer)
{
	struct vfio_dev *dev = open_owner();
	struct edu edu;
	u32 *p;
	int fd;

	edu_open(&edu, "edu_rp");
	fd = export_flags(dev, BAR, AT, LEN, 0);
	p = map_fd(fd, 0, LEN);
	expect_refused(&edu, p, LEN);
	expect_no_way(&edu, dev, BAR, AT);
	mem_write(p, 1);
	expect_refused(&edu, p, LEN);
	expect_no_way(&edu, dev, BAR, AT);
	/* It is as usable as before, */
	mem_write(p, 0x12345678);
	expect_eq(mem_read(p), 0x12345678);

	/* in any memory type, */
	fd = export_flags(dev, BAR, AT, LEN, DMABUF_VFIO_MEM_WRITE_COMBINING);
	p = map_fd(fd, 0, LEN);
	mem_write(p, 2);
	expect_refused(&edu, p, LEN);

	/* ... and the container takes other memory at that address. */
	p = mmap(NULL, LEN, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(p != MAP_FAILED);
	vfio_dma_map(edu.dev, p, LEN, BAR_IOVA);
}

/* Huge entries are followed another way. */
TEST(follow, type1_refuses_a_huge_entry)
{
	const size_t huge = MIB(2);
	struct vfio_dev *dev;
	struct edu edu;
	void *room;
	u32 *p;
	int fd;

	if (vfio_is_stock())
		t_skip("the stock driver's buffers cannot be mapped");
	dev = open_function("bochs");
	edu_open(&edu, "edu_rp");
	fd = export_flags(dev, 0, 0, 2 * huge, 0);
	room = mmap(NULL, 3 * huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	expect(room != MAP_FAILED);
	p = (void *)(((uintptr_t)room + huge - 1) & -huge);
	expect(mmap(p, 2 * huge, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED, fd, 0) == p);
	mem_write(p, 1);
	expect_refused(&edu, p, 2 * huge);
	expect_no_way(&edu, dev, 0, 0);
}

/* The owner's own mapping is taken, and reached. */
TEST(follow, type1_takes_a_bar)
{
	struct vfio_dev *dev = open_function("shm_sw");
	u8 sent[BYTES], seen[BYTES];
	struct edu edu;
	void *p;

	edu_open(&edu, "edu_rp");
	p = vfio_map_bar(dev, BAR, AT, LEN);
	vfio_dma_map(edu.dev, p, LEN, BAR_IOVA);
	fill(sent, 1);
	edu_write(&edu, BAR_IOVA, sent, BYTES);
	cpu_read(dev, BAR, AT, seen);
	expect(!memcmp(sent, seen, BYTES), "the bytes did not arrive");
	fill(sent, 2);
	expect_eq(vfio_try_pwrite(dev, BAR, sent, BYTES, AT + LEN - BYTES),
		  BYTES);
	edu_read(&edu, BAR_IOVA + LEN - BYTES, seen, BYTES);
	expect(!memcmp(sent, seen, BYTES), "the edu reads something else");

	vfio_dma_unmap(edu.dev, BAR_IOVA, LEN);
	expect_no_way(&edu, dev, BAR, AT);
}

/* --- KVM */

static void take_back(struct vfio_dev *dev, int fd)
{
	struct vfio_pci_dmabuf_revoke arg = {
		.argsz = sizeof(arg),
		.dmabuf_fd = fd,
	};

	expect_ok(ioctl(dev->fd, VFIO_DEVICE_PCI_DMABUF_REVOKE, &arg));
}

static u16 bar_word(struct vfio_dev *dev)
{
	u16 word;

	expect_eq(vfio_try_pread(dev, BAR, &word, sizeof(word), AT),
		  sizeof(word));
	return word;
}

static void expect_stored(struct vm *vm, struct vfio_dev *dev, u16 value)
{
	expect_ne(bar_word(dev), value);
	expect_eq(vm_store(vm, value), 0);
	expect_eq(bar_word(dev), value);
}

/* KVM finds no memory where the machine writes, and says so. */
static void expect_lost(struct vm *vm, u16 value)
{
	expect_eq(vm_store(vm, value), EFAULT);
}

static void off_and_on(struct vm *vm, struct vfio_dev *dev)
{
	vfio_mem_enable(dev, false);
	expect_lost(vm, 0x2222);
	vfio_mem_enable(dev, true);
	expect_eq(bar_word(dev), 0x1111);
	expect_stored(vm, dev, 0x3333);
}

TEST(follow, kvm_has_a_bar)
{
	struct vfio_dev *dev = open_function("shm_sw");
	struct vm vm;

	vm_start(&vm, vfio_map_bar(dev, BAR, AT, LEN), LEN);
	expect_stored(&vm, dev, 0x1111);
	off_and_on(&vm, dev);
}

TEST(follow, kvm_has_a_buffer_until_revoked)
{
	struct vfio_dev *dev = open_owner();
	int fd = export_flags(dev, BAR, AT, LEN, 0);
	struct vm vm;

	vm_start(&vm, map_fd(fd, 0, LEN), LEN);
	expect_stored(&vm, dev, 0x1111);
	off_and_on(&vm, dev);
	take_back(dev, fd);
	expect_lost(&vm, 0x4444);
	expect_eq(bar_word(dev), 0x3333);

	/* For good: memory that goes and comes does not bring it back. */
	vfio_mem_enable(dev, false);
	vfio_mem_enable(dev, true);
	expect_lost(&vm, 0x5555);
	expect_eq(bar_word(dev), 0x3333);
}

static void *run(void *arg)
{
	return (void *)(long)vm_run(arg);
}

/* When a revoke returns, a machine that is running has stopped writing. */
TEST(follow, kvm_is_stopped_while_it_runs)
{
	struct vfio_dev *dev = open_owner();
	int fd = export_flags(dev, BAR, AT, LEN, 0);
	pthread_t thread;
	struct vm vm;
	void *err;
	u16 last;

	vm_start(&vm, map_fd(fd, 0, LEN), LEN);
	expect_stored(&vm, dev, 0x1111);
	vm_count(&vm);
	expect_eq(pthread_create(&thread, NULL, run, &vm), 0);
	expect(t_within(5000, bar_word(dev) != 0x1111),
	       "the machine does not get going");
	last = bar_word(dev);
	expect(t_within(5000, bar_word(dev) != last), "it has stopped");

	take_back(dev, fd);
	last = bar_word(dev);
	t_sleep_ms(50);
	expect_eq(bar_word(dev), last);
	expect_eq(pthread_join(thread, &err), 0);
	expect_eq((long)err, EFAULT);
	expect_eq(bar_word(dev), last);
}

/* A machine that touches the memory during a reset goes on after it. */
static void runs_through_resets(struct vfio_dev *dev, void *p)
{
	pthread_t thread;
	struct vm vm;
	void *err;
	u16 last;

	vm_start(&vm, p, LEN);
	expect_stored(&vm, dev, 0x1111);
	vm_count(&vm);
	expect_eq(pthread_create(&thread, NULL, run, &vm), 0);
	for (int i = 0; i < 20; i++) {
		last = bar_word(dev);
		expect(t_within(5000, bar_word(dev) != last),
		       "the machine stands still after %d resets", i);
		expect_ok(ioctl(dev->fd, VFIO_DEVICE_RESET));
	}
	last = bar_word(dev);
	expect(t_within(5000, bar_word(dev) != last), "it has stopped");

	/* Off for good, and only now it is told so. */
	vfio_mem_enable(dev, false);
	expect_eq(pthread_join(thread, &err), 0);
	expect_eq((long)err, EFAULT);
}

/* A reset takes seconds below a port that gets no interrupts. */
TEST_TIMEOUT(follow, kvm_runs_through_resets_with_a_bar, 180)
{
	struct vfio_dev *dev = open_function("shm_sw");

	runs_through_resets(dev, vfio_map_bar(dev, BAR, AT, LEN));
}

TEST_TIMEOUT(follow, kvm_runs_through_resets_with_a_buffer, 180)
{
	struct vfio_dev *dev = open_owner();
	int fd = export_flags(dev, BAR, AT, LEN, 0);

	runs_through_resets(dev, map_fd(fd, 0, LEN));
}
