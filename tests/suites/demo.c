// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the driver is for, step by step: an NVMe's controller memory buffer,
 * exported as a dma-buf, written and read by another device.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "demo.h"
#include "importer.h"
#include "vfio.h"

#define SYSFS		"/sys/bus/pci/devices"
#define CMB_BAR		2
#define CMBMSC		0x50	/* in BAR 0: who may use the CMB, and where */
#define CMBMSC_CRE	1
#define CMBMSC_CMSE	2
#define CHUNK		4000u
#define CHUNKS		4u

static u64 bytes_moved;

static void fill(u8 *buf, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = seed + i * 7 + (i >> 8);
}

static struct vfio_dev *open_nvme(void)
{
	u32 cmbmsc = CMBMSC_CRE | CMBMSC_CMSE;
	struct vfio_dev *nvme = vfio_open("nvme_mf");

	vfio_mem_enable(nvme, true);
	expect_eq(vfio_try_pwrite(nvme, 0, &cmbmsc, sizeof(cmbmsc), CMBMSC),
		  sizeof(cmbmsc));
	return nvme;
}

static struct vfio_dev *bind_nvme(void)
{
	const char *bdf = t_role("nvme_mf");
	struct vfio_dev *nvme;

	say("1. Bind the NVMe %s to %s and open it through VFIO", bdf,
	    vfio_driver());
	say("     echo %s > %s/%s/driver_override", vfio_driver(), SYSFS, bdf);
	say("     echo %s > /sys/bus/pci/drivers_probe", bdf);
	nvme = open_nvme();
	check(!strcmp(vfio_driver_of(bdf), vfio_driver()),
	      "%s is driven by %s", bdf, vfio_driver_of(bdf));
	return nvme;
}

static int export_cmb(struct vfio_dev *nvme)
{
	u64 size = vfio_bar_size(nvme, CMB_BAR);
	int fd;

	say("2. Export its controller memory buffer as a dma-buf");
	fd = export_bar(nvme, CMB_BAR);
	expect_fd(fd);
	check(lseek(fd, 0, SEEK_END) == (off_t)size,
	      "dma-buf of %llu MiB", (unsigned long long)size >> 20);
	return fd;
}

static void write_peer(int imp, const char *edu, struct vfio_dev *nvme,
		       const struct imp_map *map)
{
	u8 sent[CHUNK], seen[CHUNK];
	unsigned int i;

	say("4. The edu writes %u bytes into the NVMe's memory, by DMA",
	    CHUNK * CHUNKS);
	for (i = 0; i < CHUNKS; i++) {
		u64 at = i * MIB(1);

		fill(sent, CHUNK, i);
		expect_ok(imp_write(imp, edu, imp_addr(map, at, CHUNK), sent,
				    CHUNK));
		bytes_moved += CHUNK;
		expect_eq(vfio_try_pread(nvme, CMB_BAR, seen, CHUNK, at),
			  CHUNK);
		check(!memcmp(sent, seen, CHUNK),
		      "the CPU reads the same bytes at offset %u MiB", i);
	}
}

static void read_peer(int imp, const char *edu, struct vfio_dev *nvme,
		      const struct imp_map *map)
{
	u8 sent[CHUNK], seen[CHUNK];

	say("5. And back: the edu reads what the CPU put there");
	fill(sent, CHUNK, 99);
	expect_eq(vfio_try_pwrite(nvme, CMB_BAR, sent, CHUNK, MIB(8)), CHUNK);
	expect_ok(imp_read(imp, edu, imp_addr(map, MIB(8), CHUNK), seen,
			   CHUNK));
	bytes_moved += CHUNK;
	check(!memcmp(sent, seen, CHUNK), "%u bytes arrived", CHUNK);
}

static void close_and_try(int imp, const char *edu, struct vfio_dev *nvme,
			  u32 handle, u64 stale)
{
	u8 before[CHUNK], after[CHUNK], junk[CHUNK];
	struct dvpi_stats stats;

	say("6. Close the NVMe: its owner is gone, and so is all access");
	vfio_close(nvme);
	stats = imp_stats(imp, handle);
	check(stats.invalidations >= 1, "the importer was told to let go");
	check(!stats.mapped, "no mapping was left when close returned");

	say("7. The edu tries the old address again");
	nvme = open_nvme();
	expect_eq(vfio_try_pread(nvme, CMB_BAR, before, CHUNK, 0), CHUNK);
	fill(junk, CHUNK, 0xee);
	expect_ok(imp_write(imp, edu, stale, junk, CHUNK));
	expect_eq(vfio_try_pread(nvme, CMB_BAR, after, CHUNK, 0), CHUNK);
	check(!memcmp(before, after, CHUNK),
	      "the IOMMU stopped it: no byte of the NVMe's memory changed");
	check(memcmp(junk, after, CHUNK), "and nothing of it arrived");
	check(imp_map(imp, handle, NULL) == -ENODEV,
	      "the dead dma-buf cannot be mapped again");
	vfio_close(nvme);
}

TEST_TIMEOUT(demo, cmb, 120)
{
	const char *edu = imp_edu("edu_rp");
	struct vfio_dev *nvme = bind_nvme();
	int imp = imp_open();
	struct imp_map map;
	int handle, fd;
	u64 stale;

	fd = export_cmb(nvme);

	say("3. Hand the file descriptor to the driver of the edu %s", edu);
	handle = imp_attach(imp, fd, edu);
	expect_ok(handle);
	expect_ok(imp_map(imp, handle, &map));
	stale = imp_addr(&map, 0, CHUNK);
	check(map.size == (u64)lseek(fd, 0, SEEK_END),
	      "mapped for it through the IOMMU at I/O address %#llx",
	      (unsigned long long)stale);

	write_peer(imp, edu, nvme, &map);
	read_peer(imp, edu, nvme, &map);
	close_and_try(imp, edu, nvme, handle, stale);
	imp_map_free(&map);
	close(fd);

	say("demo: %llu bytes device to device, %u checks passed",
	    (unsigned long long)bytes_moved, checks);
}
