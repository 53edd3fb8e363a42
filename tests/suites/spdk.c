// SPDX-License-Identifier: GPL-2.0-only
/*
 * What SPDK does with the driver: docs/examples/spdk_cmb.c as it is, checked by
 * what its disk has outside the guest, and the ioctl that SPDK sends.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk.h"
#include "importer.h"
#include "vfio.h"

#define DATA		"/tmp/block"

static void make_data(u8 *data, u32 seed)
{
	int fd;

	for (size_t i = 0; i < DISK_BLOCK; i++)
		data[i] = seed + i * 13 + (i >> 8) * 7 + 1;
	fd = expect_ok(open(DATA, O_CREAT | O_TRUNC | O_WRONLY, 0600));
	expect_eq(write(fd, data, DISK_BLOCK), DISK_BLOCK);
	close(fd);
}

static void run_example(const char *role, const char *option, u64 lba)
{
	static const u8 zeroes[DISK_BLOCK];
	const char *nvme = t_role(role), *edu;
	char command[256];
	u8 data[DISK_BLOCK];

	if (!t_bench_is("iommu", "on"))
		t_skip("nothing translates for the peer");
	if (!vfio_has_exporter())
		t_skip("the stock driver of this kernel exports nothing");
	edu = imp_edu("edu_rp");
	vfio_free_group(nvme, NULL);
	vfio_bind(nvme, vfio_driver());
	make_data(data, lba + *option);
	disk_expect(role, lba, zeroes, "before");
	disk_expect(role, lba + 8, zeroes, "before");

	snprintf(command, sizeof(command), "spdk_cmb %s %s %s %llu " DATA,
		 option, nvme, edu, (unsigned long long)lba);
	expect_eq(system(command), 0);
	disk_expect(role, lba, data, "from the CMB");
	disk_expect(role, lba + 8, data, "by the peer's doorbell");
	disk_expect(role, lba + 16, zeroes, "behind them");
}

TEST(spdk, example)
{
	run_example("nvme_mf", "", 1000);
}

/* Below a switch, and it translates: through the host bridge all the same. */
TEST(spdk, example_below_a_switch)
{
	run_example("nvme_sw", "", 5000);
}

TEST(spdk, example_by_node)
{
	if (vfio_is_stock())
		t_skip("the driver has no node");
	run_example("nvme_mf", "-n", 2000);
}

/* --- the request of SPDK's environment layer */

/* As it is declared there: the compiler fills in four bytes. */
struct spdk_p2p {
	u32 region_index;
	u32 open_flags;
	u32 offset;
	u64 length;
};

#define SPDK_P2P	_IO(VFIO_TYPE, VFIO_BASE + 22)

static int ask(const struct vfio_dev *dev, u32 bar, u32 offset, u64 length)
{
	struct spdk_p2p req;
	int fd;

	/* It does not clear them. */
	memset(&req, 0xa5, sizeof(req));
	req.region_index = bar;
	req.open_flags = O_RDWR | O_CLOEXEC;
	req.offset = offset;
	req.length = length;
	fd = ioctl(dev->fd, SPDK_P2P, &req);
	return fd < 0 ? -errno : fd;
}

static struct vfio_dev *open_function(const char *role)
{
	struct vfio_dev *dev;

	if (!vfio_is_dropin())
		t_skip("the drop-in has it");
	dev = vfio_open(role);
	vfio_mem_enable(dev, true);
	return dev;
}

#define SHM_BAR		2

static void expect_size(int fd, u64 size)
{
	expect_eq(lseek(expect_fd(fd), 0, SEEK_END), size);
	expect_ok(close(fd));
}

TEST(spdk, p2p_sizes)
{
	struct vfio_dev *dev = open_function("shm_mf");
	u64 size = vfio_bar_size(dev, SHM_BAR);

	expect_size(ask(dev, SHM_BAR, 0, 0), size);
	expect_size(ask(dev, SHM_BAR, 0, size), size);
	expect_size(ask(dev, SHM_BAR, 8192, 0), size - 8192);
	expect_size(ask(dev, SHM_BAR, 8192, 4096), 4096);
	vfio_close(dev);
}

TEST(spdk, p2p_reaches_the_right_bytes)
{
	struct vfio_dev *dev = open_function("shm_mf");
	const char *edu = imp_edu("edu_rp");
	u8 bytes[64], back[64] = {};
	int imp = imp_open(), fd, handle;
	struct imp_map map;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = getpid() + i * 3 + 1;
	fd = expect_fd(ask(dev, SHM_BAR, 12288, 0));
	handle = imp_attach(imp, fd, edu);
	expect_ge(handle, 0);
	expect_eq(imp_map(imp, handle, &map), 0);
	expect_eq(imp_write(imp, edu, imp_addr(&map, 4096, 64), bytes, 64), 0);
	expect_eq(vfio_try_pread(dev, SHM_BAR, back, 64, 16384), 64);
	expect(!memcmp(bytes, back, 64), "the BAR has %02x %02x", back[0],
	       back[1]);
	imp_map_free(&map);
	close(imp);
	close(fd);
	vfio_close(dev);
}

TEST(spdk, p2p_refused)
{
	struct vfio_dev *dev = open_function("shm_mf");
	struct spdk_p2p req = { SHM_BAR, .open_flags = 1 << 30 };
	u64 size = vfio_bar_size(dev, SHM_BAR);
	struct t_res before = t_res_take(vfio_module());

	expect_err(ask(dev, SHM_BAR, 1, 4096), EINVAL);
	expect_err(ask(dev, SHM_BAR, 0, 4095), EINVAL);
	expect_err(ask(dev, SHM_BAR, 4096, size), EINVAL);
	expect_err(ask(dev, SHM_BAR, size, 0), EINVAL);
	expect_err(ask(dev, SHM_BAR, size + 4096, 0), EINVAL);
	expect_err(ask(dev, 5, 0, 0), ENODEV);
	expect_err(ask(dev, VFIO_PCI_CONFIG_REGION_INDEX, 0, 0), EINVAL);
	expect_errno(ioctl(dev->fd, SPDK_P2P, &req), EINVAL);
	expect_errno(ioctl(dev->fd, SPDK_P2P, NULL), EFAULT);
	t_res_same(&before);
	vfio_close(dev);
}

/* Who does not stand in for vfio-pci has one meaning for the number. */
TEST(spdk, p2p_is_of_the_dropin)
{
	struct vfio_dev *dev;

	if (vfio_is_stock() || vfio_is_dropin())
		t_skip("about the variant");
	dev = vfio_open("shm_mf");
	vfio_mem_enable(dev, true);
	expect_err(ask(dev, SHM_BAR, 0, 0), EINVAL);
	expect_err(ask(dev, SHM_BAR, 8192, 4096), EINVAL);
	vfio_close(dev);
}

/* The kernel's own has no such request. */
TEST(spdk, p2p_is_not_stock)
{
	struct vfio_dev *dev = vfio_open_bdf(t_role("shm_mf"), STOCK_DRIVER);

	if (vfio_is_dropin())
		t_skip("the drop-in stands in for it");
	expect_err(ask(dev, SHM_BAR, 0, 0), ENOTTY);
	vfio_close(dev);
}
