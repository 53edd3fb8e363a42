// SPDX-License-Identifier: GPL-2.0-only
/*
 * spdk_cmb: data from another device to the disk, without host memory.
 *
 * A userspace NVMe driver in the manner of SPDK, on plain VFIO. It exports the
 * controller memory buffer (CMB) as a dma-buf, a peer writes a block into it by
 * peer DMA, and an NVMe write takes the block from there. Then it exports the
 * page with the doorbells, and the peer itself submits the next command.
 *
 *	spdk_cmb [-n] NVME PEER LBA FILE
 *
 * writes the first 4096 bytes of FILE to LBA and, by the doorbell that the
 * peer rings, to the 4096 bytes after it. -n exports through the node
 * /dev/dmabuf-vfio/NVME instead of the VFIO file descriptor. NVME has to be
 * bound to dmabuf-vfio-pci (or the drop-in), and have a CMB that takes data.
 *
 * The peer here is an "edu" device, emulated by QEMU, with the importer of
 * tests/importer as its driver. The code for it is between the lines "the
 * peer". With an RDMA NIC that would be ibv_reg_dmabuf_mr(), and writes by a
 * remote host that has the region's key.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dmabuf_vfio_pci.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "dvp_importer.h"

#define NVME_PAGE	4096	/* the controller's, as it starts */
#define BLOCK		4096	/* bytes written by one command */
#define TIMEOUT		10	/* seconds */

/* Registers, NVM Express Base Specification 3.1 */
#define NVME_CAP	0x00
#define NVME_CC		0x14
#define NVME_CSTS	0x1c
#define NVME_AQA	0x24
#define NVME_ASQ	0x28
#define NVME_ACQ	0x30
#define NVME_CMBLOC	0x38
#define NVME_CMBSZ	0x3c
#define NVME_CMBMSC	0x50
#define NVME_DOORBELLS	0x1000

#define CAP_CMBS	(1ull << 57)	/* has a CMB to be enabled */
#define CC_EN		(1u << 0)
#define CC_SIZES	(6u << 16 | 4u << 20)	/* entries of 64, 16 bytes */
#define CSTS_RDY	(1u << 0)
#define CMBMSC_CRE	(1ull << 0)	/* show where it is */
#define CMBMSC_CMSE	(1ull << 1)	/* take addresses within it */
#define CMBSZ_WDS	(1u << 4)	/* data to write may be there */

#define ADMIN_CREATE_SQ	0x01
#define ADMIN_CREATE_CQ	0x05
#define ADMIN_IDENTIFY	0x06
#define IO_WRITE	0x01

#define ENTRIES		16

/* Addresses as the controller sees them, all of our choice */
#define IOVA_HOST	0x10000000ull	/* queues and such, in host memory */
#define IOVA_CMB	0x1000000000ull	/* the CMB, by its own registers */

struct command {
	uint8_t opcode;
	uint8_t flags;
	uint16_t id;
	uint32_t nsid;
	uint64_t reserved;
	uint64_t metadata;
	uint64_t prp1;
	uint64_t prp2;
	uint32_t cdw10[6];
};

struct completion {
	uint32_t result;
	uint32_t reserved;
	uint16_t sq_head;
	uint16_t sq_id;
	uint16_t id;
	uint16_t status;	/* bit 0: the phase */
};

/* All that lies in host memory, a page each */
struct host_memory {
	struct command admin_sq[NVME_PAGE / sizeof(struct command)];
	struct completion admin_cq[NVME_PAGE / sizeof(struct completion)];
	struct command io_sq[NVME_PAGE / sizeof(struct command)];
	struct completion io_cq[NVME_PAGE / sizeof(struct completion)];
	uint8_t identify[NVME_PAGE];
};

struct queue {
	struct command *sq;
	volatile struct completion *cq;
	unsigned int id;
	unsigned int tail;
	unsigned int head;
	unsigned int phase;
};

struct nvme {
	const char *bdf;
	int container;
	int group;
	int device;
	int node;			/* -1: export by the device */
	uint8_t *registers;
	struct host_memory *host;
	unsigned int stride;		/* between doorbells, bytes */
	struct queue admin;
	struct queue io;
	unsigned int cmb_bar;
	uint64_t cmb_offset;
	unsigned int lba_size;
};

static void die(const char *fmt, ...)
{
	va_list ap;

	fputs("spdk_cmb: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static int check(int ret, const char *what)
{
	if (ret < 0)
		die("%s: %s", what, strerror(errno));
	return ret;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* --- VFIO */

static int group_of(const char *bdf)
{
	char path[64], target[256], *slash;
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group",
		 bdf);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		die("%s is no function behind an IOMMU", bdf);
	target[n] = 0;
	slash = strrchr(target, '/');
	return atoi(slash + 1);
}

static uint64_t region(const struct nvme *nvme, unsigned int index,
		       uint64_t *size)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info),
		.index = index,
	};

	check(ioctl(nvme->device, VFIO_DEVICE_GET_REGION_INFO, &info),
	      "region");
	if (size)
		*size = info.size;
	return info.offset;
}

static void vfio_open(struct nvme *nvme)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.iova = IOVA_HOST,
		.size = sizeof(*nvme->host),
	};
	uint64_t config, bar0;
	uint16_t command;
	char path[64];

	nvme->container = check(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC),
				"/dev/vfio/vfio");
	snprintf(path, sizeof(path), "/dev/vfio/%d", group_of(nvme->bdf));
	nvme->group = check(open(path, O_RDWR | O_CLOEXEC), path);
	check(ioctl(nvme->group, VFIO_GROUP_SET_CONTAINER, &nvme->container),
	      "container");
	check(ioctl(nvme->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU),
	      "IOMMU");
	nvme->device = check(ioctl(nvme->group, VFIO_GROUP_GET_DEVICE_FD,
				   nvme->bdf), nvme->bdf);

	config = region(nvme, VFIO_PCI_CONFIG_REGION_INDEX, NULL);
	check(pread(nvme->device, &command, 2, config + PCI_COMMAND),
	      "COMMAND");
	command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	check(pwrite(nvme->device, &command, 2, config + PCI_COMMAND),
	      "COMMAND");

	bar0 = region(nvme, VFIO_PCI_BAR0_REGION_INDEX, NULL);
	nvme->registers = mmap(NULL, 2 * NVME_PAGE, PROT_READ | PROT_WRITE,
			       MAP_SHARED, nvme->device, bar0);
	if (nvme->registers == MAP_FAILED)
		die("BAR 0: %s", strerror(errno));

	nvme->host = mmap(NULL, sizeof(*nvme->host), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (nvme->host == MAP_FAILED)
		die("no memory");
	map.vaddr = (uintptr_t)nvme->host;
	check(ioctl(nvme->container, VFIO_IOMMU_MAP_DMA, &map), "map");
}

/* --- NVMe */

static uint32_t get(const struct nvme *nvme, unsigned int reg)
{
	return *(volatile uint32_t *)(nvme->registers + reg);
}

static void set(const struct nvme *nvme, unsigned int reg, uint32_t value)
{
	*(volatile uint32_t *)(nvme->registers + reg) = value;
}

static uint64_t get64(const struct nvme *nvme, unsigned int reg)
{
	return get(nvme, reg) | (uint64_t)get(nvme, reg + 4) << 32;
}

/* The low half is written last: it has the enable bits. */
static void set64(const struct nvme *nvme, unsigned int reg, uint64_t value)
{
	set(nvme, reg + 4, value >> 32);
	set(nvme, reg, value);
}

static uint64_t host_iova(const struct nvme *nvme, const void *p)
{
	return IOVA_HOST + ((const uint8_t *)p - (uint8_t *)nvme->host);
}

/* The doorbell of a queue: of commands, or of completions */
static unsigned int doorbell(const struct nvme *nvme, unsigned int id,
			     bool completions)
{
	return NVME_DOORBELLS + (2 * id + completions) * nvme->stride;
}

/* Puts a command in the queue; does not ring the doorbell. */
static void queue_command(struct queue *q, const struct command *command)
{
	q->sq[q->tail] = *command;
	q->sq[q->tail].id = q->tail;
	q->tail = (q->tail + 1) % ENTRIES;
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static void await(struct nvme *nvme, struct queue *q, const char *what)
{
	volatile struct completion *c = &q->cq[q->head];
	double end = now() + TIMEOUT;
	unsigned int status;

	while ((c->status & 1) != q->phase)
		if (now() > end)
			die("%s: no completion", what);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	status = c->status >> 1;
	q->head = (q->head + 1) % ENTRIES;
	if (!q->head)
		q->phase = !q->phase;
	set(nvme, doorbell(nvme, q->id, true), q->head);
	if (status)
		die("%s: status %#x", what, status);
}

static void submit(struct nvme *nvme, struct queue *q,
		   const struct command *command, const char *what)
{
	queue_command(q, command);
	set(nvme, doorbell(nvme, q->id, false), q->tail);
	await(nvme, q, what);
}

static void await_ready(const struct nvme *nvme, uint32_t ready)
{
	double end = now() + TIMEOUT;

	while ((get(nvme, NVME_CSTS) & CSTS_RDY) != ready)
		if (now() > end)
			die("the controller does not get ready");
}

/* Makes IOVA_CMB the controller's address of its CMB; finds it in the BAR. */
static void enable_cmb(struct nvme *nvme)
{
	uint32_t loc, size;

	if (!(get64(nvme, NVME_CAP) & CAP_CMBS))
		die("%s has no CMB", nvme->bdf);
	set64(nvme, NVME_CMBMSC, CMBMSC_CRE);
	loc = get(nvme, NVME_CMBLOC);
	size = get(nvme, NVME_CMBSZ);
	if (!(size & CMBSZ_WDS))
		die("the CMB takes no data to be written");
	nvme->cmb_bar = loc & 7;
	/* Both count in units of 4 KiB, 64 KiB and so on. */
	nvme->cmb_offset = (uint64_t)(loc >> 12) * NVME_PAGE <<
			   (size >> 8 & 15) * 4;
	set64(nvme, NVME_CMBMSC, IOVA_CMB | CMBMSC_CRE | CMBMSC_CMSE);
}

static void nvme_start(struct nvme *nvme)
{
	struct host_memory *host = nvme->host;
	struct command command;
	unsigned int format;

	nvme->stride = 4 << (get64(nvme, NVME_CAP) >> 32 & 15);
	nvme->admin = (struct queue){
		host->admin_sq, host->admin_cq, 0, 0, 0, 1
	};
	nvme->io = (struct queue){ host->io_sq, host->io_cq, 1, 0, 0, 1 };

	set(nvme, NVME_CC, 0);
	await_ready(nvme, 0);
	enable_cmb(nvme);
	set(nvme, NVME_AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	set64(nvme, NVME_ASQ, host_iova(nvme, host->admin_sq));
	set64(nvme, NVME_ACQ, host_iova(nvme, host->admin_cq));
	set(nvme, NVME_CC, CC_SIZES | CC_EN);
	await_ready(nvme, CSTS_RDY);

	command = (struct command){
		.opcode = ADMIN_CREATE_CQ,
		.prp1 = host_iova(nvme, host->io_cq),
		.cdw10 = { (ENTRIES - 1) << 16 | nvme->io.id, 1 },
	};
	submit(nvme, &nvme->admin, &command, "create completion queue");
	command.opcode = ADMIN_CREATE_SQ;
	command.prp1 = host_iova(nvme, host->io_sq);
	command.cdw10[1] = nvme->io.id << 16 | 1;
	submit(nvme, &nvme->admin, &command, "create submission queue");

	command = (struct command){
		.opcode = ADMIN_IDENTIFY,
		.nsid = 1,
		.prp1 = host_iova(nvme, host->identify),
	};
	submit(nvme, &nvme->admin, &command, "identify namespace");
	format = host->identify[26] & 15;
	nvme->lba_size = 1 << host->identify[128 + 4 * format + 2];
}

/* A block from the start of the CMB to the disk */
static struct command write_from_cmb(const struct nvme *nvme, uint64_t lba)
{
	return (struct command){
		.opcode = IO_WRITE,
		.nsid = 1,
		.prp1 = IOVA_CMB,
		.cdw10 = { lba, lba >> 32, BLOCK / nvme->lba_size - 1 },
	};
}

/* --- export */

/* What can be exported at the least, and mapped: the kernel's page */
static unsigned int page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static int export_by_device(int device, unsigned int bar, uint64_t offset)
{
	struct {
		struct vfio_device_feature feature;
		struct vfio_device_feature_dma_buf buf;
		struct vfio_region_dma_range range;
	} arg = {
		.feature = {
			.argsz = sizeof(arg),
			.flags = VFIO_DEVICE_FEATURE_GET |
				 VFIO_DEVICE_FEATURE_DMA_BUF,
		},
		.buf = {
			.region_index = bar,
			.open_flags = O_RDWR | O_CLOEXEC,
			.nr_ranges = 1,
		},
		.range = { offset, page_size() },
	};

	return ioctl(device, VFIO_DEVICE_FEATURE, &arg);
}

static int export_by_node(int node, unsigned int bar, uint64_t offset)
{
	struct {
		struct dmabuf_vfio_export export;
		struct vfio_region_dma_range range;
	} arg = {
		.export = {
			.argsz = sizeof(arg),
			.dma_buf = {
				.region_index = bar,
				.open_flags = O_RDWR | O_CLOEXEC,
				.nr_ranges = 1,
			},
		},
		.range = { offset, page_size() },
	};

	return ioctl(node, DMABUF_VFIO_EXPORT, &arg);
}

/* A page of a BAR as a dma-buf */
static int export_page(const struct nvme *nvme, unsigned int bar,
		       uint64_t offset)
{
	int fd = nvme->node < 0 ? export_by_device(nvme->device, bar, offset) :
				  export_by_node(nvme->node, bar, offset);

	return check(fd, "export");
}

/* --- the peer */

struct peer {
	const char *bdf;
	int importer;
};

struct import {
	unsigned int handle;
	uint64_t address;		/* of the page, for the peer */
};

static void peer_open(struct peer *peer, const char *bdf)
{
	peer->bdf = bdf;
	peer->importer = check(open("/dev/dvp_importer", O_RDWR | O_CLOEXEC),
			       "/dev/dvp_importer");
}

static struct import peer_import(const struct peer *peer, int dmabuf)
{
	struct dvpi_attach attach = {
		.fd = dmabuf,
		.flags = DVPI_ATTACH_DYNAMIC,
	};
	struct dvpi_seg seg = {};
	struct dvpi_map map = { .segs = (uintptr_t)&seg, .max = 1 };

	snprintf(attach.client, sizeof(attach.client), "%s", peer->bdf);
	check(ioctl(peer->importer, DVPI_ATTACH, &attach), "attach");
	map.handle = attach.handle;
	check(ioctl(peer->importer, DVPI_MAP, &map), "map for the peer");
	return (struct import){ attach.handle, seg.addr };
}

static void peer_release(const struct peer *peer, const struct import *import)
{
	check(ioctl(peer->importer, DVPI_UNMAP, (long)import->handle), "unmap");
	check(ioctl(peer->importer, DVPI_DETACH, (long)import->handle),
	      "detach");
}

/* The device writes, by DMA; it takes at most 4095 bytes at a time. */
static void peer_write(const struct peer *peer, const struct import *import,
		       unsigned int offset, const void *data, size_t len)
{
	while (len) {
		struct dvpi_dma dma = {
			.addr = import->address + offset,
			.buf = (uintptr_t)data,
			.len = len < BLOCK / 2 ? len : BLOCK / 2,
			.write = 1,
		};

		snprintf(dma.client, sizeof(dma.client), "%s", peer->bdf);
		check(ioctl(peer->importer, DVPI_DMA, &dma), "peer DMA");
		offset += dma.len;
		data = (const uint8_t *)data + dma.len;
		len -= dma.len;
	}
}

/* --- the peer, end */

static void write_blocks(struct nvme *nvme, const struct peer *peer,
			 uint64_t lba, const void *data)
{
	unsigned int bell = doorbell(nvme, nvme->io.id, false);
	int cmb = export_page(nvme, nvme->cmb_bar, nvme->cmb_offset);
	int bells = export_page(nvme, 0, bell & -page_size());
	struct import to_cmb = peer_import(peer, cmb);
	struct import to_bells = peer_import(peer, bells);
	struct command command = write_from_cmb(nvme, lba);
	uint32_t tail;

	peer_write(peer, &to_cmb, 0, data, BLOCK);
	submit(nvme, &nvme->io, &command, "write from the CMB");
	printf("%u bytes, from the peer to the CMB to LBA %llu\n", BLOCK,
	       (unsigned long long)lba);

	/* Only the peer rings the doorbell for this command. */
	lba += BLOCK / nvme->lba_size;
	command = write_from_cmb(nvme, lba);
	queue_command(&nvme->io, &command);
	tail = nvme->io.tail;
	peer_write(peer, &to_bells, bell % page_size(), &tail, sizeof(tail));
	await(nvme, &nvme->io, "write by the peer's doorbell");
	printf("%u bytes to LBA %llu, submitted by the peer\n", BLOCK,
	       (unsigned long long)lba);

	peer_release(peer, &to_cmb);
	peer_release(peer, &to_bells);
	close(cmb);
	close(bells);
}

static void read_file(const char *name, void *data)
{
	int fd = check(open(name, O_RDONLY | O_CLOEXEC), name);

	if (check(read(fd, data, BLOCK), name) != BLOCK)
		die("%s has less than %u bytes", name, BLOCK);
	close(fd);
}

int main(int argc, char **argv)
{
	struct nvme nvme = { .node = -1 };
	static uint8_t data[BLOCK];
	struct peer peer;
	bool by_node;
	char path[64];

	by_node = argc > 1 && !strcmp(argv[1], "-n");
	argc -= by_node;
	argv += by_node;
	if (argc != 5)
		die("usage: spdk_cmb [-n] NVME PEER LBA FILE");
	read_file(argv[4], data);
	nvme.bdf = argv[1];
	vfio_open(&nvme);
	if (by_node) {
		snprintf(path, sizeof(path), "/dev/dmabuf-vfio/%s", nvme.bdf);
		nvme.node = check(open(path, O_RDWR | O_CLOEXEC), path);
	}
	peer_open(&peer, argv[2]);
	nvme_start(&nvme);
	write_blocks(&nvme, &peer, strtoull(argv[3], NULL, 0), data);

	/* Disable it before its queues are freed; exit does the rest. */
	set(&nvme, NVME_CC, 0);
	await_ready(&nvme, 0);
	return 0;
}
