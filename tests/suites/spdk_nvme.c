// SPDX-License-Identifier: GPL-2.0-only
/*
 * What docs/spdk.md says of NVMe commands that use the CMB, and of a reset that
 * somebody else makes, with the NVMe driver of docs/examples/spdk_cmb.c in
 * SPDK's place.
 */
#define _GNU_SOURCE
#include <linux/vfio.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "disk.h"
#include "node.h"
#include "vfio.h"

/* The harness has a function of that name. */
#define vfio_open	example_vfio_open
#define main		example_main
#include "../../docs/examples/spdk_cmb.c"
#undef main
#undef vfio_open

#define ROLE		"nvme_mf"
#define ADMIN_ASYNC	0x0c	/* completes when something happens */
#define CMB_SIZE	MIB(16)

struct bench {
	struct nvme nvme;
	u8 *cmb;
	u64 bus;		/* address of the CMB on the bus */
	u8 data[DISK_BLOCK];
};

static void new_data(struct bench *b, u32 seed)
{
	for (size_t i = 0; i < sizeof(b->data); i++)
		b->data[i] = seed + i * 11 + (i >> 8) * 5;
}

static u64 bar_address(const char *bdf, unsigned int bar)
{
	unsigned long long start;
	char text[1024], *line = text;

	expect(t_read(text, sizeof(text), "/sys/bus/pci/devices/%s/resource",
		      bdf) > 0);
	while (bar--)
		line = strchr(line, '\n') + 1;
	expect_eq(sscanf(line, "%llx", &start), 1);
	return start;
}

static void bench_open(struct bench *b)
{
	struct nvme *nvme = &b->nvme;

	if (!t_bench_is("iommu", "on"))
		t_skip("no IOMMU translates for the controller");
	*b = (struct bench){ .nvme = { .bdf = t_role(ROLE), .node = -1 } };
	vfio_free_group(nvme->bdf, NULL);
	vfio_bind(nvme->bdf, vfio_driver());
	example_vfio_open(nvme);
	nvme_start(nvme);
	b->cmb = mmap(NULL, CMB_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		      nvme->device, region(nvme, nvme->cmb_bar, NULL) +
		      nvme->cmb_offset);
	expect(b->cmb != MAP_FAILED, "%s", t_errno_name(errno));
	b->bus = bar_address(nvme->bdf, nvme->cmb_bar) + nvme->cmb_offset;
	new_data(b, 1);
	memcpy(b->cmb, b->data, sizeof(b->data));
}

/* As SPDK does: for the IOMMU it is memory like any other. */
static void map_cmb(struct bench *b, u64 iova)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)b->cmb,
		.iova = iova,
		.size = CMB_SIZE,
	};

	expect_ok(ioctl(b->nvme.container, VFIO_IOMMU_MAP_DMA, &map));
}

static bool completes(struct queue *q, unsigned int ms)
{
	volatile struct completion *c = &q->cq[q->head];

	return t_within(ms, (c->status & 1) == q->phase);
}

static void ring(struct nvme *nvme, struct queue *q)
{
	set(nvme, doorbell(nvme, q->id, false), q->tail);
}

/* Writes the block at that address of the controller's; the status. */
static unsigned int write_from(struct nvme *nvme, u64 address, u64 lba)
{
	struct command command = write_from_cmb(nvme, lba);
	volatile struct completion *c = &nvme->io.cq[nvme->io.head];
	unsigned int status;

	command.prp1 = address;
	queue_command(&nvme->io, &command);
	ring(nvme, &nvme->io);
	expect(completes(&nvme->io, 5000), "no completion");
	status = c->status >> 1;
	nvme->io.head = (nvme->io.head + 1) % ENTRIES;
	if (!nvme->io.head)
		nvme->io.phase = !nvme->io.phase;
	set(nvme, doorbell(nvme, nvme->io.id, true), nvme->io.head);
	return status;
}

/* The block arrives on the disk, or nothing that was in the CMB does. */
static void expect_right(struct bench *b, u64 address, u64 lba,
			 const char *what)
{
	expect_eq(write_from(&b->nvme, address, lba), 0);
	disk_expect(ROLE, lba, b->data, what);
}

static void expect_silently_wrong(struct bench *b, u64 address, u64 lba,
				  const char *what)
{
	u8 have[DISK_BLOCK];

	expect_eq(write_from(&b->nvme, address, lba), 0);
	disk_read(ROLE, lba, have);
	expect(memcmp(have, b->data, DISK_BLOCK), "%s: it works", what);
}

/*
 * SPDK puts into a command what spdk_vtophys() makes of a pointer, and has the
 * IOMMU map the CMB there: the bus address with iova_mode "pa", the pointer
 * itself with "va". Neither is anything to the controller until CMBMSC says so.
 */
TEST(spdk, cmb_by_bus_address)
{
	struct bench b;

	bench_open(&b);
	map_cmb(&b, b.bus);
	expect_silently_wrong(&b, b.bus, 20000, "CMBMSC has another address");
	set64(&b.nvme, NVME_CMBMSC, b.bus | CMBMSC_CRE | CMBMSC_CMSE);
	expect_right(&b, b.bus, 20008, "CMBMSC has the bus address");
	set64(&b.nvme, NVME_CMBMSC, 0);
	expect_eq(get(&b.nvme, NVME_CMBSZ), 0);
	expect_silently_wrong(&b, b.bus, 20016, "without CMBMSC");
}

TEST(spdk, cmb_by_pointer)
{
	struct bench b;

	bench_open(&b);
	map_cmb(&b, (uintptr_t)b.cmb);
	set64(&b.nvme, NVME_CMBMSC, b.bus | CMBMSC_CRE | CMBMSC_CMSE);
	expect_silently_wrong(&b, (uintptr_t)b.cmb, 21000, "by the pointer");
	expect_right(&b, b.bus, 21008, "by the bus address");
}

/* --- a reset that the owner does not know of */

static void expect_reset_told(int node)
{
	if (node < 0)
		return;
	node_expect_event(node, REVOKED, DMABUF_VFIO_REASON_RESET);
	node_expect_event(node, RESTORED, 0);
}

/*
 * Commands under way, and those submitted since, never complete, with the
 * kernel's vfio-pci, too. The BARs and the buffers come back by themselves; the
 * controller must be set up again.
 */
TEST(spdk, reset_from_outside)
{
	struct command async = { .opcode = ADMIN_ASYNC };
	int buf = -1, node = -1;
	struct command write;
	struct bench b;
	u8 *memory;

	bench_open(&b);
	if (!vfio_is_stock())
		node = node_open(b.nvme.bdf, O_RDWR | O_CLOEXEC);
	memory = b.cmb;
	if (vfio_has_exporter()) {
		buf = export_page(&b.nvme, b.nvme.cmb_bar, b.nvme.cmb_offset);
		memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			      buf, 0);
		/* The kernel's own exporter has none. */
		if (memory == MAP_FAILED && vfio_is_stock())
			memory = b.cmb;
		expect(memory != MAP_FAILED, "%s", t_errno_name(errno));
	}
	expect_right(&b, IOVA_CMB, 22000, "before");

	queue_command(&b.nvme.admin, &async);
	ring(&b.nvme, &b.nvme.admin);
	expect_eq(t_write("1", "/sys/bus/pci/devices/%s/reset", b.nvme.bdf), 0);
	expect_reset_told(node);
	expect_eq(get(&b.nvme, NVME_CSTS) & CSTS_RDY, 0);
	write = write_from_cmb(&b.nvme, 22008);
	queue_command(&b.nvme.io, &write);
	ring(&b.nvme, &b.nvme.io);
	expect(!completes(&b.nvme.io, 500), "a write completes");
	expect(!completes(&b.nvme.admin, 0), "what was under way completes");

	memset(b.nvme.host, 0, sizeof(*b.nvme.host));
	nvme_start(&b.nvme);
	new_data(&b, 77);
	memcpy(memory, b.data, sizeof(b.data));
	expect_right(&b, IOVA_CMB, 22016, "by the buffer from before");
}
