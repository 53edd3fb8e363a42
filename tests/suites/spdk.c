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

#include "importer.h"
#include "vfio.h"

#define BLOCK		4096
#define LBA_SIZE	512
#define PIECE		512	/* the host shows that much at a time */
#define DATA		"/tmp/block"

/* What the image behind that role's disk has there */
static void disk_read(const char *role, u64 offset, u8 *buf, size_t len)
{
	for (size_t at = 0; at < len; at += PIECE) {
		const char *hex = t_host("disk %s %llu %u", role,
					 (unsigned long long)offset + at,
					 PIECE);

		expect(strlen(hex) == 2 * PIECE, "the host says: %s", hex);
		for (size_t i = 0; i < PIECE; i++) {
			unsigned int byte;

			expect_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
			buf[at + i] = byte;
		}
	}
}

static void expect_disk(const char *role, u64 lba, const u8 *want,
			const char *what)
{
	u8 have[BLOCK];

	disk_read(role, lba * LBA_SIZE, have, BLOCK);
	expect(!memcmp(have, want, BLOCK), "%s: the disk has %02x %02x %02x",
	       what, have[0], have[1], have[2]);
}

static void make_data(u8 *data, u32 seed)
{
	int fd;

	for (size_t i = 0; i < BLOCK; i++)
		data[i] = seed + i * 13 + (i >> 8) * 7 + 1;
	fd = expect_ok(open(DATA, O_CREAT | O_TRUNC | O_WRONLY, 0600));
	expect_eq(write(fd, data, BLOCK), BLOCK);
	close(fd);
}

static void run_example(const char *role, const char *option, u64 lba)
{
	static const u8 zeroes[BLOCK];
	const char *nvme = t_role(role), *edu;
	char command[256];
	u8 data[BLOCK];

	if (!t_bench_is("iommu", "on"))
		t_skip("nothing translates for the peer");
	if (!vfio_has_exporter())
		t_skip("the stock driver of this kernel exports nothing");
	edu = imp_edu("edu_rp");
	vfio_free_group(nvme, NULL);
	vfio_bind(nvme, vfio_driver());
	make_data(data, lba + *option);
	expect_disk(role, lba, zeroes, "before");
	expect_disk(role, lba + 8, zeroes, "before");

	snprintf(command, sizeof(command), "spdk_cmb %s %s %s %llu " DATA,
		 option, nvme, edu, (unsigned long long)lba);
	expect_eq(system(command), 0);
	expect_disk(role, lba, data, "from the CMB");
	expect_disk(role, lba + 8, data, "by the peer's doorbell");
	expect_disk(role, lba + 16, zeroes, "behind them");
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
	if (vfio_is_stock() || !t_exists("/dev/dmabuf-vfio"))
		t_skip("the driver has no node");
	run_example("nvme_mf", "-n", 2000);
}
