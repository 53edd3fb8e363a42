// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver is a vfio-pci: what a program that knows nothing of dma-bufs
 * sees is what it would see of the stock driver. Every case passes with
 * DVP_DRIVER=vfio-pci, too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "importer.h"
#include "vfio.h"

#define EDU_IRQ_RAISE	0x60
#define EDU_IRQ_ACK	0x64
#define EDU_LIVE	0x04	/* reads back what was written, inverted */

#define IVSHMEM_INTR_MASK	0

#define VIRTIO_CAP_TYPE		3
#define VIRTIO_CAP_BAR		4
#define VIRTIO_CAP_OFFSET	8
#define VIRTIO_STATUS		20

/* One each of those with a group of their own, or whose group can be had. */
static const char * const some_roles[] = {
	"big", "bochs", "e1000e", "rng", "nvme_mf", "shm_mf",
};

static int bind_by_name(const char *bdf)
{
	return t_write(bdf, "/sys/bus/pci/drivers/%s/bind", vfio_driver());
}

/* --- binding */

TEST(passthru, binds_by_override_only)
{
	const char *bdf = t_role("bochs");

	vfio_bind(bdf, vfio_driver());
	vfio_unbind(bdf);
	expect_eq(t_write(bdf, "/sys/bus/pci/drivers_probe"), 0);
	expect(strcmp(vfio_driver_of(bdf), vfio_driver()),
	       "bound without being told to");
	expect_err(bind_by_name(bdf), ENODEV);

	expect_eq(t_write("another-driver",
			  "/sys/bus/pci/devices/%s/driver_override", bdf), 0);
	expect_err(bind_by_name(bdf), ENODEV);

	expect_eq(t_write(vfio_driver(),
			  "/sys/bus/pci/devices/%s/driver_override", bdf), 0);
	expect_eq(t_write(bdf, "/sys/bus/pci/drivers_probe"), 0);
	expect(!strcmp(vfio_driver_of(bdf), vfio_driver()),
	       "not bound but '%s'", vfio_driver_of(bdf));
	vfio_unbind(bdf);
}

/* 256 times: what probe takes, remove gives back. */
TEST_TIMEOUT(passthru, binds_many_times, 180)
{
	const char *bdf = t_role("bochs");
	int refcnt = t_refcnt(vfio_module());

	for (int i = 0; i < 256; i++) {
		vfio_bind(bdf, vfio_driver());
		vfio_unbind(bdf);
	}
	expect_eq(t_refcnt(vfio_module()), refcnt);
}

/* The driver leaves DMA ownership alone, or this would be EBUSY. */
TEST(passthru, binds_beside_an_open_function)
{
	struct vfio_dev *nvme = vfio_open("nvme_mf"), *shm;
	const char *bdf = t_role("shm_mf");

	if (vfio_group_of(bdf) != nvme->group_id)
		t_skip("the two functions have a group each");
	vfio_bind(bdf, vfio_driver());
	expect_eq(vfio_try_open_bdf(bdf, &shm), 0);
	expect_eq(shm->group, nvme->group);
	vfio_close(shm);
	vfio_close(nvme);
}

/* --- the denylist */

/*
 * No emulated function is on the list: the kernel is made to take one for it.
 * What is tried is what binding says.
 */
static int bind_as(int imp, u16 vendor, u16 device)
{
	const char *bochs = t_role("bochs");
	int ret;

	expect_eq(imp_pose(imp, bochs, vendor, device, 0xff0000), 0);
	ret = vfio_try_bind(bochs, vfio_driver());
	vfio_unbind(bochs);
	return ret;
}

TEST(passthru, denylist)
{
	static const u16 denied[] = {
		0x19e2, 0x19e3, 0x37c8, 0x37c9, 0x0435, 0x0443, 0x0b25, 0x0cfe,
	};
	static const u16 intel = 0x8086, other = 0x1234;
	int imp = imp_open();

	vfio_unbind(t_role("bochs"));
	for (size_t i = 0; i < ARRAY_SIZE(denied); i++) {
		expect_err(bind_as(imp, intel, denied[i]), EINVAL);
		expect_eq(bind_as(imp, other, denied[i]), 0);
	}
	expect_eq(bind_as(imp, intel, 0x37ca), 0);

	vfio_load("disable_denylist=1");
	for (size_t i = 0; i < ARRAY_SIZE(denied); i++)
		expect_eq(bind_as(imp, intel, denied[i]), 0);
	close(imp);
}

/* --- information about the function */

TEST(passthru, device_info)
{
	struct vfio_dev *dev = vfio_open("rng");

	expect(dev->info.flags & VFIO_DEVICE_FLAGS_PCI);
	expect(dev->info.flags & VFIO_DEVICE_FLAGS_RESET);
	expect_ge(dev->info.num_regions, VFIO_PCI_NUM_REGIONS);
	expect_eq(dev->info.num_irqs, VFIO_PCI_NUM_IRQS);

	dev->info.argsz = 8;
	expect_errno(ioctl(dev->fd, VFIO_DEVICE_GET_INFO, &dev->info), EINVAL);
	expect_errno(ioctl(dev->fd, VFIO_DEVICE_GET_INFO, NULL), EFAULT);
}

/* The size of resource @n as the kernel has it */
static u64 resource_size(const struct vfio_dev *dev, int n)
{
	unsigned long long start, end;
	char buf[4096], *line = buf;

	expect_ge(t_read(buf, sizeof(buf), "/sys/bus/pci/devices/%s/resource",
			 dev->bdf), 1);
	while (n--)
		line = strchr(line, '\n') + 1;
	n = sscanf(line, "%llx %llx", &start, &end);
	expect_eq(n, 2);
	return end ? end - start + 1 : 0;
}

static u64 config_size(const struct vfio_dev *dev)
{
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config",
		 dev->bdf);
	expect_ok(stat(path, &st));
	return st.st_size;
}

static void check_regions(const struct vfio_dev *dev)
{
	const u32 rw = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;

	for (int bar = 0; bar <= VFIO_PCI_BAR5_REGION_INDEX; bar++) {
		struct vfio_region_info *info = vfio_region(dev, bar);
		bool memory = info->size && !vfio_bar_is_io(dev, bar);

		expect_eq(info->size, resource_size(dev, bar));
		expect_eq(info->flags & rw, info->size ? rw : 0);
		/* Less than a page may be mapped if the rest is nobody's. */
		if (!memory || info->size >= 4096)
			expect_eq(!!(info->flags & VFIO_REGION_INFO_FLAG_MMAP),
				  memory);
		free(info);
	}
}

TEST_TIMEOUT(passthru, region_info, 60)
{
	struct vfio_region_info *info;

	for (size_t i = 0; i < ARRAY_SIZE(some_roles); i++) {
		struct vfio_dev *dev;

		if (!t_has_role(some_roles[i]))
			continue;
		dev = vfio_open(some_roles[i]);
		check_regions(dev);
		info = vfio_region(dev, VFIO_PCI_CONFIG_REGION_INDEX);
		expect_eq(info->size, config_size(dev));
		free(info);
		vfio_close(dev);
	}
}

TEST(passthru, region_info_bad_arguments)
{
	struct vfio_region_info info = { .argsz = sizeof(info) };
	struct vfio_dev *dev = vfio_open("bochs");

	info.index = VFIO_PCI_NUM_REGIONS;
	expect_errno(ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info),
		     EINVAL);
	info.index = ~0u;
	expect_errno(ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info),
		     EINVAL);
	info.index = 0;
	info.argsz = sizeof(info) - 1;
	expect_errno(ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info),
		     EINVAL);
}

/* The BAR of the MSI-X table may be mapped whole, and says so. */
TEST(passthru, region_cap_msix)
{
	struct vfio_dev *dev = vfio_open("e1000e");
	struct vfio_region_info *info;
	int cap, bar;

	cap = vfio_find_cap(dev, PCI_CAP_ID_MSIX);
	expect(cap);
	bar = vfio_cfg_read(dev, cap + PCI_MSIX_TABLE, 4) & PCI_MSIX_TABLE_BIR;
	info = vfio_region(dev, bar);
	expect(vfio_region_cap(info, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE),
	       "BAR %d", bar);
	expect(info->flags & VFIO_REGION_INFO_FLAG_MMAP);
}

TEST(passthru, irq_info)
{
	struct vfio_irq_info info = { .argsz = sizeof(info) };
	struct vfio_dev *dev = vfio_open("e1000e");
	static const u32 count[VFIO_PCI_NUM_IRQS] = {
		[VFIO_PCI_INTX_IRQ_INDEX] = 1,
		[VFIO_PCI_MSI_IRQ_INDEX] = 1,
		[VFIO_PCI_MSIX_IRQ_INDEX] = 5,
		[VFIO_PCI_ERR_IRQ_INDEX] = 1,
		[VFIO_PCI_REQ_IRQ_INDEX] = 1,
	};

	for (info.index = 0; info.index < VFIO_PCI_NUM_IRQS; info.index++) {
		expect_ok(ioctl(dev->fd, VFIO_DEVICE_GET_IRQ_INFO, &info));
		expect_eq(info.count, count[info.index]);
		expect(info.flags & VFIO_IRQ_INFO_EVENTFD);
	}
	info.index = VFIO_PCI_NUM_IRQS;
	expect_errno(ioctl(dev->fd, VFIO_DEVICE_GET_IRQ_INFO, &info), EINVAL);
}

/* --- reading and writing */

TEST(passthru, bar_read_write)
{
	struct vfio_dev *dev = vfio_open("shm_mf");
	u64 pattern = 0x1122334455667788, back, size;

	size = vfio_bar_size(dev, 2);
	vfio_mem_enable(dev, true);
	for (size_t width = 1; width <= 8; width *= 2) {
		u64 mask = width == 8 ? ~0ull : (1ull << width * 8) - 1;

		back = 0;
		expect_eq(vfio_try_pwrite(dev, 2, &pattern, width, 4096),
			  width);
		expect_eq(vfio_try_pread(dev, 2, &back, width, 4096), width);
		expect_eq(back, pattern & mask);
		pattern = ~pattern;
	}
	/* Not aligned, across a page */
	expect_eq(vfio_try_pwrite(dev, 2, &pattern, 7, 8189), 7);
	back = 0;
	expect_eq(vfio_try_pread(dev, 2, &back, 7, 8189), 7);
	expect_eq(back, pattern & (~0ull >> 8));

	expect_eq(vfio_try_pread(dev, 2, &back, 8, size - 8), 8);
	expect_eq(vfio_try_pread(dev, 2, &back, 8, size - 4), 4);
	expect_err(vfio_try_pread(dev, 2, &back, 8, size), EINVAL);
}

TEST(passthru, bar_unreachable_without_memory_decoding)
{
	struct vfio_dev *dev = vfio_open("bochs");
	u32 value = 0;

	vfio_mem_enable(dev, false);
	expect_err(vfio_try_pread(dev, 0, &value, 4, 0), EIO);
	expect_err(vfio_try_pwrite(dev, 0, &value, 4, 0), EIO);
	vfio_mem_enable(dev, true);
	expect_eq(vfio_try_pwrite(dev, 0, &value, 4, 0), 4);
	expect_eq(vfio_try_pread(dev, 0, &value, 4, 0), 4);
}

TEST(passthru, bar_absent)
{
	struct vfio_dev *dev = vfio_open("bochs");
	u32 value = 0;

	vfio_mem_enable(dev, true);
	expect_eq(vfio_bar_size(dev, 4), 0);
	expect_err(vfio_try_pread(dev, 4, &value, 4, 0), EINVAL);
	expect(vfio_try_map_bar(dev, 4, 0, PAGE, PROT_READ) == MAP_FAILED);
	expect_eq(errno, EINVAL);
}

TEST(passthru, io_bar)
{
	struct vfio_dev *dev = vfio_open("e1000e");
	u32 status = 0, addr = 8, back = 0;

	expect(vfio_bar_is_io(dev, 2));
	vfio_cfg_write(dev, PCI_COMMAND, 2,
		       PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	/* IOADDR at 0 selects a register that IODATA at 4 shows: STATUS. */
	expect_eq(vfio_try_pwrite(dev, 2, &addr, 4, 0), 4);
	expect_eq(vfio_try_pread(dev, 2, &back, 4, 0), 4);
	expect_eq(back, addr);
	expect_eq(vfio_try_pread(dev, 2, &back, 4, 4), 4);
	expect_eq(vfio_try_pread(dev, 0, &status, 4, 8), 4);
	expect_eq(back, status);
	expect(vfio_try_map_bar(dev, 2, 0, PAGE, PROT_READ) == MAP_FAILED);
	expect_eq(errno, EINVAL);
}

TEST(passthru, config_space)
{
	struct vfio_dev *dev = vfio_open("big");
	u32 bar;

	expect_eq(vfio_cfg_read(dev, PCI_VENDOR_ID, 2), 0x1af4);
	expect_eq(vfio_cfg_read(dev, PCI_DEVICE_ID, 2), 0x1110);
	expect_eq(vfio_cfg_read(dev, PCI_VENDOR_ID, 4), 0x11101af4);
	expect(vfio_find_cap(dev, PCI_CAP_ID_EXP) ||
	       !vfio_find_cap(dev, PCI_CAP_ID_PM));

	/* Read-only stays, the virtual is kept, BARs tell their size. */
	vfio_cfg_write(dev, PCI_VENDOR_ID, 2, 0x1234);
	expect_eq(vfio_cfg_read(dev, PCI_VENDOR_ID, 2), 0x1af4);
	vfio_cfg_write(dev, PCI_INTERRUPT_LINE, 1, 0x5a);
	expect_eq(vfio_cfg_read(dev, PCI_INTERRUPT_LINE, 1), 0x5a);
	bar = vfio_cfg_read(dev, PCI_BASE_ADDRESS_3, 4);
	vfio_cfg_write(dev, PCI_BASE_ADDRESS_2, 4, ~0u);
	vfio_cfg_write(dev, PCI_BASE_ADDRESS_3, 4, ~0u);
	expect_eq(vfio_cfg_read(dev, PCI_BASE_ADDRESS_2, 4) & ~0xfu, 0);
	expect_eq(vfio_cfg_read(dev, PCI_BASE_ADDRESS_3, 4),
		  -(u32)(t_big_size() >> 32));
	vfio_cfg_write(dev, PCI_BASE_ADDRESS_3, 4, bar);
	expect_eq(vfio_cfg_read(dev, PCI_BASE_ADDRESS_3, 4), bar);

	/* A function is handed out unable to master the bus. */
	expect_eq(vfio_cfg_read(dev, PCI_COMMAND, 2) & PCI_COMMAND_MASTER, 0);
	vfio_master_enable(dev, true);
	expect(vfio_cfg_read(dev, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
}

/* --- mmap */

TEST(passthru, bar_mmap)
{
	struct vfio_dev *dev = vfio_open("big");
	const u64 at[] = { 0, MIB(2), GIB(4), t_big_size() - GIB(1) };
	u32 value, *p;

	vfio_mem_enable(dev, true);
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		p = vfio_map_bar(dev, 2, at[i], MIB(4));
		mem_write(p, 0xc0ffee00 + i);
		mem_write(p + MIB(3) / 4, 0xdecaf000 + i);
		expect_eq(vfio_try_pread(dev, 2, &value, 4, at[i]), 4);
		expect_eq(value, 0xc0ffee00 + i);
		expect_eq(vfio_try_pread(dev, 2, &value, 4, at[i] + MIB(3)), 4);
		expect_eq(value, 0xdecaf000 + i);
		value = 0xbadcafe;
		expect_eq(vfio_try_pwrite(dev, 2, &value, 4, at[i] + 4), 4);
		expect_eq(mem_read(p + 1), 0xbadcafe);
		expect_ok(munmap(p, MIB(4)));
	}
}

TEST(passthru, bar_mmap_refused)
{
	struct vfio_dev *dev = vfio_open("bochs");
	u64 size = vfio_bar_size(dev, 0);

	vfio_mem_enable(dev, true);
	expect(vfio_try_map_bar(dev, 0, size, PAGE, PROT_READ) == MAP_FAILED);
	expect_eq(errno, EINVAL);
	expect(vfio_try_map_bar(dev, 0, size - PAGE, 2 * PAGE, PROT_READ) ==
	       MAP_FAILED);
	expect_eq(errno, EINVAL);
	expect(vfio_try_map_bar(dev, VFIO_PCI_CONFIG_REGION_INDEX, 0, PAGE,
				PROT_READ) == MAP_FAILED);
	expect_eq(errno, EINVAL);
	expect(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, dev->fd,
		    vfio_region_offset(dev, 0)) == MAP_FAILED);
	expect_eq(errno, EINVAL);
}

/* The exit status of a child that reads @p: 0, or 128 and a signal */
static int touch(const u32 *p)
{
	pid_t pid = t_fork();
	int status;

	if (!pid) {
		mem_read(p);
		_exit(0);
	}
	expect_ok(waitpid(pid, &status, 0));
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
	       WEXITSTATUS(status);
}

TEST(passthru, bar_mmap_without_memory_decoding)
{
	struct vfio_dev *dev = vfio_open("bochs");
	u32 *p;

	vfio_mem_enable(dev, true);
	p = vfio_map_bar(dev, 0, 0, MIB(1));
	mem_write(p, 7);
	expect_eq(touch(p), 0);
	vfio_mem_enable(dev, false);
	expect_eq(touch(p), 128 + SIGBUS);
	vfio_mem_enable(dev, true);
	expect_eq(touch(p), 0);
	expect_eq(mem_read(p), 7);
}

/* --- interrupts */

static int irq_action(const struct vfio_dev *dev, u32 index, u32 start,
		      u32 count, u32 flags)
{
	struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = flags,
		.index = index,
		.start = start,
		.count = count,
	};

	return ioctl(dev->fd, VFIO_DEVICE_SET_IRQS, &set) ? -errno : 0;
}

static int loop_back(const struct vfio_dev *dev, u32 index, u32 start)
{
	return irq_action(dev, index, start, 1, VFIO_IRQ_SET_DATA_NONE |
			  VFIO_IRQ_SET_ACTION_TRIGGER);
}

static int disable_irqs(const struct vfio_dev *dev, u32 index)
{
	return irq_action(dev, index, 0, 0, VFIO_IRQ_SET_DATA_NONE |
			  VFIO_IRQ_SET_ACTION_TRIGGER);
}

/* Events that arrive in @ms, 0 if none does */
static u64 events(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	u64 count = 0;

	if (poll(&p, 1, ms) == 1)
		expect_eq(read(fd, &count, 8), 8);
	return count;
}

static void check_loop_back(const struct vfio_dev *dev, u32 index, u32 vector)
{
	int fd = expect_ok(eventfd(0, EFD_CLOEXEC));

	expect_eq(vfio_set_irq(dev, index, vector, fd), 0);
	expect_eq(events(fd, 0), 0);
	expect_eq(loop_back(dev, index, vector), 0);
	expect_eq(events(fd, 1000), 1);
	expect_eq(disable_irqs(dev, index), 0);
	expect_err(loop_back(dev, index, vector), EINVAL);
	expect_eq(events(fd, 0), 0);
	close(fd);
}

TEST(passthru, irq_loop_back)
{
	struct vfio_dev *dev = vfio_open("e1000e");

	vfio_mem_enable(dev, true);
	check_loop_back(dev, VFIO_PCI_INTX_IRQ_INDEX, 0);
	check_loop_back(dev, VFIO_PCI_MSI_IRQ_INDEX, 0);
	check_loop_back(dev, VFIO_PCI_MSIX_IRQ_INDEX, 0);
	check_loop_back(dev, VFIO_PCI_MSIX_IRQ_INDEX, 4);
}

TEST(passthru, irq_bad_arguments)
{
	struct vfio_dev *dev = vfio_open("e1000e");
	int fd = expect_ok(eventfd(0, EFD_CLOEXEC));

	expect_err(vfio_set_irq(dev, VFIO_PCI_NUM_IRQS, 0, fd), EINVAL);
	expect_err(vfio_set_irq(dev, VFIO_PCI_MSIX_IRQ_INDEX, 5, fd), EINVAL);
	expect_err(vfio_set_irq(dev, VFIO_PCI_INTX_IRQ_INDEX, 0, dev->fd),
		   EINVAL);
}

/* From the device, through the interrupt controller: not a loop-back. */
static void check_edu_irq(const char *role, u32 index)
{
	struct vfio_dev *dev = vfio_open(role);
	int fd = expect_ok(eventfd(0, EFD_CLOEXEC));
	u32 value = 0x5a;

	vfio_mem_enable(dev, true);
	vfio_master_enable(dev, true);
	expect_eq(vfio_set_irq(dev, index, 0, fd), 0);
	for (int i = 0; i < 3; i++) {
		expect_eq(vfio_try_pwrite(dev, 0, &value, 4, EDU_IRQ_RAISE), 4);
		expect_eq(events(fd, 2000), 1);
		expect_eq(vfio_try_pwrite(dev, 0, &value, 4, EDU_IRQ_ACK), 4);
		if (index == VFIO_PCI_INTX_IRQ_INDEX)
			expect_eq(irq_action(dev, index, 0, 1,
					     VFIO_IRQ_SET_DATA_NONE |
					     VFIO_IRQ_SET_ACTION_UNMASK), 0);
	}
	expect_eq(events(fd, 10), 0);
	vfio_close(dev);
}

TEST(passthru, irq_of_the_device_msi)
{
	check_edu_irq("edu_rp", VFIO_PCI_MSI_IRQ_INDEX);
}

TEST(passthru, irq_of_the_device_intx)
{
	check_edu_irq("edu_rp", VFIO_PCI_INTX_IRQ_INDEX);
}

/* Unbinding asks the user to let go, and waits for it. */
TEST(passthru, irq_request)
{
	struct vfio_dev *dev = vfio_open("bochs");
	int fd = expect_ok(eventfd(0, EFD_CLOEXEC));
	char bdf[VFIO_BDF_LEN];
	pid_t pid;

	memcpy(bdf, dev->bdf, sizeof(bdf));
	expect_eq(vfio_set_irq(dev, VFIO_PCI_REQ_IRQ_INDEX, 0, fd), 0);
	expect_eq(loop_back(dev, VFIO_PCI_REQ_IRQ_INDEX, 0), 0);
	expect_eq(events(fd, 1000), 1);

	pid = t_fork();
	if (!pid) {
		/* Its copies of these would keep the function open. */
		close(dev->fd);
		close(dev->group);
		close(dev->container);
		vfio_unbind(bdf);
		_exit(0);
	}
	expect_eq(events(fd, 5000), 1);
	expect_eq(waitpid(pid, NULL, WNOHANG), 0);
	vfio_close(dev);
	t_join(pid);
	expect(!*vfio_driver_of(bdf), "bound to '%s'", vfio_driver_of(bdf));
}

TEST(passthru, irq_error)
{
	struct vfio_dev *dev = vfio_open("rng");

	check_loop_back(dev, VFIO_PCI_ERR_IRQ_INDEX, 0);
}

/* The kernel writes for the user when an eventfd is signalled. */
TEST(passthru, ioeventfd)
{
	struct vfio_dev *dev = vfio_open("edu_rp");
	struct vfio_device_ioeventfd arg = {
		.argsz = sizeof(arg),
		.flags = VFIO_DEVICE_IOEVENTFD_32,
		.offset = vfio_region_offset(dev, 0) + EDU_LIVE,
		.data = 0x0ff0a55a,
	};
	u32 value = 0;

	arg.fd = expect_ok(eventfd(0, EFD_CLOEXEC));
	vfio_mem_enable(dev, true);
	expect_ok(ioctl(dev->fd, VFIO_DEVICE_IOEVENTFD, &arg));
	expect_ok(eventfd_write(arg.fd, 1));
	expect(t_within(1000,
			vfio_try_pread(dev, 0, &value, 4, EDU_LIVE) == 4 &&
				value == (u32)~arg.data),
	       "reads %#x", value);
	arg.fd = -1;
	expect_ok(ioctl(dev->fd, VFIO_DEVICE_IOEVENTFD, &arg));
}

/* --- resets */

/*
 * Resets the function; a register of it that had @value has @after then, and
 * configuration space is as it was.
 */
static void check_reset(const struct vfio_dev *dev, int bar, u64 at,
			size_t width, u32 value, u32 after)
{
	u32 back = 0, command = vfio_cfg_read(dev, PCI_COMMAND, 2);

	expect_eq(vfio_try_pwrite(dev, bar, &value, width, at), width);
	expect_eq(vfio_try_pread(dev, bar, &back, width, at), width);
	expect_eq(back, value);
	expect_ok(ioctl(dev->fd, VFIO_DEVICE_RESET));
	expect_eq(vfio_cfg_read(dev, PCI_COMMAND, 2), command);
	expect_eq(vfio_try_pread(dev, bar, &back, width, at), width);
	expect_eq(back, after);
}

TEST(passthru, reset_of_the_bus)
{
	struct vfio_dev *dev = vfio_open("big");

	vfio_mem_enable(dev, true);
	check_reset(dev, 0, IVSHMEM_INTR_MASK, 4, 0xa5, 0);
}

TEST(passthru, reset_of_the_function)
{
	struct vfio_dev *dev = vfio_open("rng");
	int cap = vfio_find_cap(dev, PCI_CAP_ID_VNDR);

	/* The capability that says where the common configuration is */
	while (cap && vfio_cfg_read(dev, cap + VIRTIO_CAP_TYPE, 1) != 1)
		cap = vfio_cfg_read(dev, cap + PCI_CAP_LIST_NEXT, 1);
	expect(cap);
	vfio_mem_enable(dev, true);
	check_reset(dev, vfio_cfg_read(dev, cap + VIRTIO_CAP_BAR, 1),
		    vfio_cfg_read(dev, cap + VIRTIO_CAP_OFFSET, 4) +
		    VIRTIO_STATUS, 1, 1, 0);
}

TEST(passthru, reset_many_times)
{
	struct vfio_dev *dev = vfio_open("nvme_mf");
	u32 value;

	vfio_mem_enable(dev, true);
	for (int i = 0; i < 10; i++)
		expect_ok(ioctl(dev->fd, VFIO_DEVICE_RESET));
	expect(vfio_cfg_read(dev, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY);
	expect_eq(vfio_try_pread(dev, 0, &value, 4, 0), 4);
	expect_ne(value, ~0u);
}

static struct vfio_pci_hot_reset_info *
hot_reset_info(const struct vfio_dev *dev)
{
	struct vfio_pci_hot_reset_info *info;
	const size_t size = sizeof(*info) + 8 * sizeof(info->devices[0]);

	info = calloc(1, size);
	expect(info);
	info->argsz = sizeof(*info);
	expect_errno(ioctl(dev->fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info),
		     ENOSPC);
	expect_le(info->count, 8);
	info->argsz = size;
	expect_ok(ioctl(dev->fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info));
	return info;
}

TEST(passthru, hot_reset)
{
	struct vfio_dev *nvme = vfio_open("nvme_mf"),
			*shm = vfio_open("shm_mf");
	struct vfio_pci_hot_reset_info *info = hot_reset_info(nvme);
	struct vfio_pci_hot_reset *reset;
	unsigned int bus, dev, fn;
	int n;

	expect_eq(info->count, 2);
	for (u32 i = 0; i < 2; i++) {
		const char *bdf = i ? shm->bdf : nvme->bdf;

		n = sscanf(bdf, "0000:%x:%x.%x", &bus, &dev, &fn);
		expect_eq(n, 3);
		expect_eq(info->devices[i].bus, bus);
		expect_eq(info->devices[i].devfn, dev << 3 | fn);
		expect_eq(info->devices[i].group_id, nvme->group_id);
	}

	reset = calloc(1, sizeof(*reset) + sizeof(reset->group_fds[0]));
	expect(reset);
	reset->argsz = sizeof(*reset);
	expect_errno(ioctl(nvme->fd, VFIO_DEVICE_PCI_HOT_RESET, reset), EINVAL);
	reset->argsz += sizeof(reset->group_fds[0]);
	reset->count = 1;
	reset->group_fds[0] = nvme->group;
	vfio_mem_enable(nvme, true);
	expect_ok(ioctl(nvme->fd, VFIO_DEVICE_PCI_HOT_RESET, reset));
	expect(vfio_cfg_read(nvme, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY);
	expect_ok(ioctl(shm->fd, VFIO_DEVICE_PCI_HOT_RESET, reset));
	reset->group_fds[0] = nvme->container;
	expect_errno(ioctl(nvme->fd, VFIO_DEVICE_PCI_HOT_RESET, reset), EINVAL);
}

/* --- what is not there */

TEST(passthru, unknown_ioctl)
{
	struct vfio_dev *dev = vfio_open("bochs");

	expect_errno(ioctl(dev->fd, _IO(VFIO_TYPE, VFIO_BASE + 99), 0), ENOTTY);
	expect_errno(ioctl(dev->fd, _IO('x', 1), 0), ENOTTY);
	expect_errno(ioctl(dev->fd, VFIO_GET_API_VERSION, 0), ENOTTY);
}

TEST(passthru, features)
{
	struct vfio_dev *dev = vfio_open("bochs");
	const u32 probe = VFIO_DEVICE_FEATURE_PROBE;
	u8 uuid[16] = { 1 };

	expect_eq(vfio_feature(dev->fd,
			       probe | VFIO_DEVICE_FEATURE_SET |
				       VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
			       NULL, 0),
		  0);
	expect_eq(vfio_feature(dev->fd, probe | VFIO_DEVICE_FEATURE_SET |
			       VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, NULL, 0), 0);
	expect_err(vfio_feature(dev->fd, probe | VFIO_DEVICE_FEATURE_GET |
				VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, NULL, 0),
		   EINVAL);
	expect_err(vfio_feature(dev->fd, probe | VFIO_DEVICE_FEATURE_MIGRATION,
				NULL, 0),
		   ENOTTY);
	expect_err(vfio_feature(dev->fd, probe | 4000, NULL, 0), ENOTTY);
	expect_err(vfio_feature(dev->fd, probe | 0xffff, NULL, 0), ENOTTY);
	expect_err(vfio_feature(dev->fd, VFIO_DEVICE_FEATURE_GET | 4000, uuid,
				16), ENOTTY);
	/* Not a PF of SR-IOV: no token. */
	expect_err(vfio_feature(dev->fd, VFIO_DEVICE_FEATURE_SET |
				VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, uuid, 16),
		   ENOTTY);
}

TEST(passthru, opened_twice)
{
	struct vfio_dev *dev = vfio_open("bochs");
	int again = expect_fd(vfio_device_fd(dev));
	u32 value = 0x1234, back = 0;
	u64 offset = vfio_region_offset(dev, 0);

	vfio_mem_enable(dev, true);
	expect_eq(pwrite(again, &value, 4, offset), 4);
	expect_ok(close(dev->fd));
	dev->fd = again;
	/* Still open, so still enabled */
	expect_eq(vfio_try_pread(dev, 0, &back, 4, 0), 4);
	expect_eq(back, value);
}

/* --- the same as stock */

#define PRINT_MAX	(256 << 10)

struct print {
	char text[PRINT_MAX];
	size_t len;
};

static void __printf(2, 3) print(struct print *p, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(p->text + p->len, PRINT_MAX - p->len, fmt, ap);
	va_end(ap);
	expect(n >= 0 && p->len + n < PRINT_MAX, "the print is too long");
	p->len += n;
}

static const char *outcome(long ret)
{
	return ret < 0 ? t_errno_name(errno) : "ok";
}

static void print_region(struct print *p, const struct vfio_dev *dev, u32 i)
{
	u8 buf[1024] = {};
	struct vfio_region_info *info = (void *)buf;
	u32 value;
	void *map;
	int ret;

	info->argsz = sizeof(buf);
	info->index = i;
	ret = ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, info);
	print(p, "region %u: %s flags %#x size %#llx offset %#llx\n", i,
	      outcome(ret), info->flags, info->size, info->offset);
	if (ret)
		return;
	if (info->flags & VFIO_REGION_INFO_FLAG_CAPS) {
		print(p, "region %u caps:", i);
		for (u32 b = info->cap_offset; b < info->argsz; b++)
			print(p, " %02x", buf[b]);
		print(p, "\n");
	}
	print(p, "region %u read: %s\n", i,
	      outcome(pread(dev->fd, &value, 4, info->offset)));
	map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, dev->fd, info->offset);
	print(p, "region %u mmap: %s\n", i,
	      map == MAP_FAILED ? t_errno_name(errno) : "ok");
	if (map != MAP_FAILED)
		munmap(map, PAGE);
}

static void print_regions(struct print *p, const struct vfio_dev *dev)
{
	for (u32 i = 0; i < dev->info.num_regions + 1; i++)
		print_region(p, dev, i);
}

static void print_irqs(struct print *p, const struct vfio_dev *dev)
{
	for (u32 i = 0; i < dev->info.num_irqs + 1; i++) {
		struct vfio_irq_info info = {
			.argsz = sizeof(info),
			.index = i,
		};
		int ret = ioctl(dev->fd, VFIO_DEVICE_GET_IRQ_INFO, &info);

		print(p, "irq %u: %s flags %#x count %u\n", i, outcome(ret),
		      info.flags, info.count);
	}
}

static void print_features(struct print *p, const struct vfio_dev *dev)
{
	static const u32 ops[] = {
		0, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_SET,
		VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET,
	};

	for (u32 feature = 0; feature < 32; feature++) {
		if (feature == VFIO_DEVICE_FEATURE_DMA_BUF)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
			int ret = vfio_feature(dev->fd, feature | ops[i] |
					       VFIO_DEVICE_FEATURE_PROBE,
					       NULL, 0);

			print(p, "feature %u ops %#x: %s\n", feature, ops[i],
			      t_errno_name(-ret));
		}
	}
}

static void print_config(struct print *p, const struct vfio_dev *dev)
{
	struct vfio_region_info *info;
	u8 bytes[PAGE];

	info = vfio_region(dev, VFIO_PCI_CONFIG_REGION_INDEX);
	expect_le(info->size, sizeof(bytes));
	expect_eq(vfio_try_pread(dev, VFIO_PCI_CONFIG_REGION_INDEX, bytes,
				 info->size, 0), info->size);
	for (u32 row = 0; row < info->size; row += 16) {
		print(p, "config %03x:", row);
		for (u32 i = row; i < row + 16; i++)
			print(p, " %02x", bytes[i]);
		print(p, "\n");
	}
	free(info);
}

static void print_hot_reset(struct print *p, const struct vfio_dev *dev)
{
	u8 buf[512] = {};
	struct vfio_pci_hot_reset_info *info = (void *)buf;
	int ret;

	info->argsz = sizeof(buf);
	ret = ioctl(dev->fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info);
	print(p, "hot reset: %s count %u\n", outcome(ret), info->count);
	for (u32 i = 0; !ret && i < info->count; i++)
		print(p, "hot reset of group %u segment %u bus %u devfn %u\n",
		      info->devices[i].group_id, info->devices[i].segment,
		      info->devices[i].bus, info->devices[i].devfn);
}

/* What a program can see of the function with a driver bound to it */
static struct print *take_print(const char *bdf, const char *driver)
{
	struct vfio_dev *dev = vfio_open_bdf(bdf, driver);
	struct print *p = calloc(1, sizeof(*p));

	expect(p);
	print(p, "device: flags %#x regions %u irqs %u\n", dev->info.flags,
	      dev->info.num_regions, dev->info.num_irqs);
	print_config(p, dev);
	print_regions(p, dev);
	vfio_mem_enable(dev, true);
	print_regions(p, dev);
	print_config(p, dev);
	print_irqs(p, dev);
	print_features(p, dev);
	print_hot_reset(p, dev);
	if (dev->info.flags & VFIO_DEVICE_FLAGS_RESET) {
		print(p, "reset: %s\n", outcome(ioctl(dev->fd,
						      VFIO_DEVICE_RESET)));
		print_config(p, dev);
	}
	vfio_close(dev);
	vfio_unbind(bdf);
	return p;
}

static int line_len(const char *s)
{
	return strcspn(s, "\n");
}

static void same_print(const char *role)
{
	struct print *stock, *ours;
	const char *a, *b;

	if (vfio_is_dropin())
		vfio_load_stock();
	stock = take_print(t_role(role), STOCK_DRIVER);
	if (vfio_is_dropin())
		vfio_load(NULL);
	ours = take_print(t_role(role), vfio_driver());

	a = stock->text;
	b = ours->text;
	while (*a || *b) {
		int la = line_len(a), lb = line_len(b);

		if (la != lb || memcmp(a, b, la))
			t_fail("%s: stock has '%.*s', ours has '%.*s'", role,
			       la, a, lb, b);
		a += la + !!a[la];
		b += lb + !!b[lb];
	}
	free(stock);
	free(ours);
}

TEST_TIMEOUT(passthru, same_as_stock, 120)
{
	for (size_t i = 0; i < ARRAY_SIZE(some_roles); i++)
		if (t_has_role(some_roles[i]))
			same_print(some_roles[i]);
}

TEST_TIMEOUT(passthru, same_as_stock_behind_a_bridge, 60)
{
	vfio_free_group(t_role("conv0"), NULL);
	same_print("conv0");
	same_print("conv1");
}

TEST_TIMEOUT(passthru, same_as_stock_below_a_switch, 60)
{
	vfio_free_group(t_role("nvme_sw"), NULL);
	same_print("nvme_sw");
	same_print("shm_sw");
}
