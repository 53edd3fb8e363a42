// SPDX-License-Identifier: GPL-2.0-only
/*
 * What operations cost, for scripts/bench: one line "row NAME VALUE" each, of
 * the driver under test, which may be the kernel's own. In no list of suites.
 * The values are nanoseconds, or bytes; in a guest that counts instructions
 * (-icount) a nanosecond is an instruction.
 *
 * A value is the median of ROUNDS after WARM_UPS. A row that the driver cannot
 * have is left out. A row's name begins with that of its case.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu.h"
#include "importer.h"
#include "node.h"

#define ROUNDS		7
#define WARM_UPS	2
#define ROLE		"bochs"		/* 64 MiB in BAR 0 */
#define BAR		0
#define MANY		4096

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

struct row {
	const char *name;
	u64 values[WARM_UPS + ROUNDS];
	int nr;
};

static void row_add(struct row *row, u64 value)
{
	row->values[row->nr++] = value;
}

static void row_end(struct row *row, const char *what)
{
	u64 *good = row->values + WARM_UPS;

	qsort(good, ROUNDS, sizeof(*good), compare);
	t_note("row %s%s%s %llu", row->name, what ? "/" : "", what ?: "",
	       (unsigned long long)good[ROUNDS / 2]);
}

/* ROUNDS times @nr calls; the value is of one call. */
static void measure(const char *name, unsigned int nr, void (*fn)(void *arg),
		    void *arg)
{
	struct row row = { .name = name };

	for (int i = 0; i < WARM_UPS + ROUNDS; i++) {
		u64 start = t_now_ns();

		for (unsigned int n = 0; n < nr; n++)
			fn(arg);
		row_add(&row, (t_now_ns() - start) / nr);
	}
	row_end(&row, NULL);
}

static struct vfio_dev *open_on(const char *role)
{
	struct vfio_dev *dev = vfio_open(role);

	vfio_mem_enable(dev, true);
	return dev;
}

static struct vfio_dev *exporter_open(const char *role)
{
	struct vfio_dev *dev = vfio_open_exporter(role);

	vfio_mem_enable(dev, true);
	return dev;
}

/* Each second page, or one after the other */
static int export_pages(const struct vfio_dev *dev, unsigned int nr,
			bool adjacent)
{
	static struct vfio_region_dma_range ranges[MANY];

	for (unsigned int i = 0; i < nr; i++) {
		ranges[i].offset = (adjacent ? 1 : 2) * i * PAGE;
		ranges[i].length = PAGE;
	}
	return expect_fd(export_buf(dev->fd, BAR, O_RDWR | O_CLOEXEC, 0, ranges,
				    nr));
}

/* --- importers */

static void cycles(const char *name, int fd, const char *edu)
{
	struct row attach = { .name = name }, map = { .name = name };
	struct row unmap = { .name = name }, detach = { .name = name };
	struct row all = { .name = name };
	struct dvpi_cycle req = { .fd = fd };
	int imp = imp_open();

	snprintf(req.client, sizeof(req.client), "%s", edu);
	for (int i = 0; i < WARM_UPS + ROUNDS; i++) {
		expect_ok(ioctl(imp, DVPI_CYCLE, &req));
		row_add(&attach, req.attach);
		row_add(&map, req.map);
		row_add(&unmap, req.unmap);
		row_add(&detach, req.detach);
		row_add(&all, req.attach + req.map + req.unmap + req.detach);
	}
	row_end(&attach, "attach");
	row_end(&map, "map");
	row_end(&unmap, "unmap");
	row_end(&detach, "detach");
	row_end(&all, "all");
	close(imp);
	close(fd);
}

TEST_TIMEOUT(bench, importer, 600)
{
	struct vfio_dev *dev = exporter_open(ROLE);
	const char *edu = imp_edu("edu_rp");

	cycles("importer-1", export_pages(dev, 1, true), edu);
	cycles("importer-4096-scattered", export_pages(dev, MANY, false), edu);
	cycles("importer-4096-adjacent", export_pages(dev, MANY, true), edu);
}

/* --- buffers */

static void export_close(const struct vfio_dev *dev, const char *name,
			 unsigned int nr, bool adjacent)
{
	struct row made = { .name = name }, gone = { .name = name };
	struct row all = { .name = name };

	for (int i = 0; i < WARM_UPS + ROUNDS; i++) {
		u64 start = t_now_ns(), middle, end;
		int fd = export_pages(dev, nr, adjacent);

		middle = t_now_ns();
		close(fd);
		end = t_now_ns();
		row_add(&made, middle - start);
		row_add(&gone, end - middle);
		row_add(&all, end - start);
	}
	row_end(&made, "export");
	row_end(&gone, "close");
	row_end(&all, "all");
}

TEST_TIMEOUT(bench, export, 600)
{
	struct vfio_dev *dev = exporter_open(ROLE);

	export_close(dev, "export-1", 1, true);
	export_close(dev, "export-16-scattered", 16, false);
	export_close(dev, "export-256-scattered", 256, false);
	export_close(dev, "export-4096-scattered", MANY, false);
	export_close(dev, "export-4096-adjacent", MANY, true);
}

/* What of the slab there is in use, bytes */
static long slab_bytes(void)
{
	static char buf[1 << 17];
	long sum = 0, active, all, size;
	char *line, *save;

	/* What is freed after a grace period of RCU is gone then. */
	t_sleep_ms(500);
	expect_ge(t_read(buf, sizeof(buf), "/proc/slabinfo"), 1);
	for (line = strtok_r(buf, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (sscanf(line, "%*s %ld %ld %ld", &active, &all, &size) == 3)
			sum += active * size;
	return sum;
}

static void slab_row(const char *name, long before, unsigned int nr)
{
	t_note("row %s %ld", name, (slab_bytes() - before) / nr);
}

/*
 * Many, and a second time: what slabs keep of the first time does not count,
 * and it does not matter which driver was measured before.
 */
static void memory(const char *name, unsigned int nr_ranges, int nr)
{
	struct vfio_dev *dev = exporter_open(ROLE);
	int fds[1000];
	struct rlimit files = { 4096, 4096 };
	long before = 0;

	expect_ok(setrlimit(RLIMIT_NOFILE, &files));
	for (int round = 0; round < 2; round++) {
		before = slab_bytes();
		for (int i = 0; i < nr; i++)
			fds[i] = export_pages(dev, nr_ranges, false);
		if (round)
			break;
		for (int i = 0; i < nr; i++)
			close(fds[i]);
	}
	slab_row(name, before, nr);
}

TEST_TIMEOUT(bench, memory_1, 600)
{
	memory("memory-buffer", 1, 1000);
}

TEST_TIMEOUT(bench, memory_256, 600)
{
	memory("memory-buffer-256", 256, 200);
}

TEST_TIMEOUT(bench, memory_bar, 600)
{
	struct vfio_dev *dev = open_on(ROLE);
	enum { NR = 1000 };
	void *at[NR];
	long before = 0;

	vfio_map_bar(dev, BAR, 0, PAGE);
	for (int round = 0; round < 2; round++) {
		before = slab_bytes();
		for (int i = 0; i < NR; i++)
			at[i] = vfio_map_bar(dev, BAR, i * 2 * PAGE, PAGE);
		if (round)
			break;
		for (int i = 0; i < NR; i++)
			expect_ok(munmap(at[i], PAGE));
	}
	slab_row("memory-bar-mapping", before, NR);
}

/* With what the importer keeps of them, whatever the exporter */
TEST_TIMEOUT(bench, memory_importer, 600)
{
	struct vfio_dev *dev = exporter_open(ROLE);
	const char *edu = imp_edu("edu_rp");
	int fd = export_pages(dev, 1, true), imp = imp_open();
	enum { NR = 1000 };
	int handles[NR];
	long before;

	for (int round = 0; round < 2; round++) {
		before = slab_bytes();
		for (int i = 0; i < NR; i++)
			handles[i] = expect_fd(imp_attach(imp, fd, edu));
		if (round)
			slab_row("memory-attachment", before, NR);
		before = slab_bytes();
		for (int i = 0; i < NR; i++)
			expect_eq(imp_map(imp, handles[i], NULL), 0);
		if (round)
			slab_row("memory-device-mapping", before, NR);
		for (int i = 0; i < NR && !round; i++)
			expect_eq(imp_detach(imp, handles[i]), 0);
	}
}

/* What each of many lives of a buffer leaves behind */
TEST_TIMEOUT(bench, leak, 600)
{
	struct vfio_dev *dev = exporter_open(ROLE);
	struct dvpi_cycle req = {};
	int imp = imp_open(), nr = 8000;
	long before = 0;

	snprintf(req.client, sizeof(req.client), "%s", imp_edu("edu_rp"));
	for (int i = -nr; i < nr; i++) {
		if (!i)
			before = slab_bytes();
		req.fd = export_pages(dev, 1, true);
		expect_ok(ioctl(imp, DVPI_CYCLE, &req));
		close(req.fd);
	}
	slab_row("leak-life-of-a-buffer", before, nr);
}

/* --- revoke and restore */

static void revokes(struct vfio_dev *dev, const char *name,
		    void (*again)(void *arg), void *arg)
{
	u64 at = vfio_region_offset(dev, VFIO_PCI_CONFIG_REGION_INDEX) +
		 PCI_COMMAND;
	u16 on = vfio_cfg_read(dev, PCI_COMMAND, 2);
	u16 off = on & ~PCI_COMMAND_MEMORY;
	struct row revoke = { .name = name }, restore = { .name = name };

	for (int i = 0; i < WARM_UPS + ROUNDS; i++) {
		u64 start;

		if (again)
			again(arg);
		start = t_now_ns();
		expect(pwrite(dev->fd, &off, 2, at) == 2);
		row_add(&revoke, t_now_ns() - start);
		t_sleep_ms(1);
		start = t_now_ns();
		expect(pwrite(dev->fd, &on, 2, at) == 2);
		row_add(&restore, t_now_ns() - start);
		t_sleep_ms(1);
	}
	row_end(&revoke, "revoke");
	row_end(&restore, "restore");
}

TEST_TIMEOUT(bench, revoke_none, 600)
{
	revokes(open_on(ROLE), "revoke-none", NULL, NULL);
}

TEST_TIMEOUT(bench, revoke_idle, 600)
{
	static const int numbers[] = { 1, 8, 64, 256, 1024 };
	struct vfio_dev *dev = exporter_open(ROLE);
	struct rlimit files = { 4096, 4096 };
	int nr = 0;

	expect_ok(setrlimit(RLIMIT_NOFILE, &files));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		char name[32];

		for (; nr < numbers[i]; nr++)
			export_pages(dev, 1, true);
		snprintf(name, sizeof(name), "revoke-%d-idle", nr);
		revokes(dev, name, NULL, NULL);
	}
}

struct mapped {
	int imp;
	int handles[64];
};

static void map_again(void *arg)
{
	struct mapped *m = arg;

	for (int i = 0; i < 64; i++)
		if (m->handles[i] >= 0)
			expect_eq(imp_map(m->imp, m->handles[i], NULL), 0);
}

TEST_TIMEOUT(bench, revoke_device, 600)
{
	struct vfio_dev *dev = exporter_open(ROLE);
	const char *edu = imp_edu("edu_rp");
	struct mapped m = { .imp = imp_open() };

	memset(m.handles, -1, sizeof(m.handles));
	m.handles[0] = expect_fd(imp_attach(m.imp, export_pages(dev, 1, true),
					    edu));
	revokes(dev, "revoke-1-device", map_again, &m);
	for (int i = 1; i < 64; i++)
		m.handles[i] = expect_fd(imp_attach(m.imp,
						    export_pages(dev, 1, true),
						    edu));
	revokes(dev, "revoke-64-device", map_again, &m);
}

static void late(const char *name, int nr, unsigned int ms)
{
	struct vfio_dev *dev = exporter_open(ROLE);
	const char *edu = imp_edu("edu_rp");
	struct mapped m = { .imp = imp_open() };

	memset(m.handles, -1, sizeof(m.handles));
	for (int i = 0; i < nr; i++) {
		m.handles[i] = expect_fd(imp_attach(m.imp,
						    export_pages(dev, 1, true),
						    edu));
		expect_eq(imp_policy(m.imp, m.handles[i], 0, ms, 0), 0);
	}
	revokes(dev, name, map_again, &m);
}

TEST_TIMEOUT(bench, revoke_late, 600)
{
	late("revoke-1-late-20ms", 1, 20);
	late("revoke-3-late-20ms", 3, 20);
	late("revoke-8-late-20ms", 8, 20);
	late("revoke-8-late-50ms", 8, 50);
}

/* The stock driver waits for as long as it takes. */
TEST_TIMEOUT(bench, revoke_never, 600)
{
	struct vfio_dev *dev = exporter_open(ROLE);
	struct row revoke = { .name = "revoke-late-for-ever" };
	int imp = imp_open();

	if (vfio_is_stock() || !t_bench_is("iommu", "on"))
		t_skip("nothing cuts it off");
	for (int i = 0; i < WARM_UPS + ROUNDS; i++) {
		int handle = expect_fd(imp_attach(imp,
						  export_pages(dev, 1, true),
						  imp_edu("edu_rp")));
		u64 start;

		expect_eq(imp_keep(imp, handle), 0);
		expect_eq(imp_map(imp, handle, NULL), 0);
		start = t_now_ns();
		vfio_mem_enable(dev, false);
		row_add(&revoke, t_now_ns() - start);
		vfio_mem_enable(dev, true);
		expect_eq(imp_detach(imp, handle), 0);
	}
	row_end(&revoke, "revoke");
}

static void touch_again(void *arg)
{
	u32 **p = arg;

	for (int i = 0; i < 64; i++)
		mem_read(p[i]);
}

TEST_TIMEOUT(bench, revoke_cpu, 600)
{
	struct vfio_dev *dev = open_on(ROLE);
	u32 *p[64];

	for (int i = 0; i < 64; i++)
		p[i] = vfio_map_bar(dev, BAR, i * MIB(1), PAGE);
	revokes(dev, "revoke-64-cpu", touch_again, p);
}

/* --- faults */

/* Bytes of this process's page tables, the last level */
static long table_bytes(void)
{
	char status[4096];
	const char *at;

	expect_ge(t_read(status, sizeof(status), "/proc/self/status"), 1);
	at = strstr(status, "VmPTE:");
	expect(at, "no VmPTE in /proc/self/status");
	return atol(at + strlen("VmPTE:")) * 1024;
}

static void walk(const char *name, int fd, u64 offset, u64 size, u64 align,
		 u64 step)
{
	struct row touch = { .name = name }, unmap = { .name = name };
	struct row tables = { .name = name };
	u64 start;

	for (int i = 0; i < WARM_UPS + ROUNDS; i++) {
		void *at = align ? cpu_room(size, align, 0) : NULL;
		long before = table_bytes();
		u8 *p;

		start = t_now_ns();
		p = mmap(at, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | (at ? MAP_FIXED : 0), fd, offset);
		expect(p != MAP_FAILED);
		for (u64 n = step; n <= size; n += step)
			mem_read((u32 *)(p + n - step));
		row_add(&touch, t_now_ns() - start);
		row_add(&tables, table_bytes() - before);
		start = t_now_ns();
		expect_ok(munmap(p, size));
		row_add(&unmap, t_now_ns() - start);
	}
	row_end(&touch, "touch");
	row_end(&unmap, "unmap");
	row_end(&tables, "tables");
}

/* A page off what a huge entry needs */
static void walk_plain(const char *name, int fd, u64 offset, u64 size, u64 step)
{
	walk(name, fd, offset + PAGE, size - MIB(2), GIB(1), step);
}

TEST_TIMEOUT(bench, bar, 900)
{
	struct vfio_dev *dev = open_on("big");
	u64 at = vfio_region_offset(dev, 2), size = vfio_bar_size(dev, 2);

	walk("bar-64g-one-register", dev->fd, at, size, 0, size);
	walk("bar-64m-by-page", dev->fd, at, MIB(64), 0, PAGE);
	walk("bar-64g-by-2m", dev->fd, at, size, 0, MIB(2));
	walk("bar-64g-by-2m-aligned", dev->fd, at, size, GIB(1), MIB(2));
	walk_plain("bar-64g-by-2m-plain", dev->fd, at, size, MIB(2));
	walk_plain("bar-64m-by-page-plain", dev->fd, at, MIB(64), PAGE);
}

TEST_TIMEOUT(bench, grow, 900)
{
	struct vfio_dev *dev = open_on("big");
	u64 at = vfio_region_offset(dev, 2);

	walk("grow-64m-by-2m", dev->fd, at, MIB(64), 0, MIB(2));
	walk("grow-1g-by-2m", dev->fd, at, GIB(1), 0, MIB(2));
	walk("grow-8g-by-2m", dev->fd, at, GIB(8), 0, MIB(2));
}

/* The same through the descriptor of a buffer, which stock does not map */
TEST_TIMEOUT(bench, buffer, 900)
{
	struct vfio_dev *dev = open_on("big");
	u64 size = vfio_bar_size(dev, 2);
	int fd;

	if (vfio_is_stock() && !vfio_is_dropin())
		t_skip("it maps no buffer");
	fd = expect_fd(export_range(dev, 2, 0, size));
	walk("buffer-64g-one-register", fd, 0, size, 0, size);
	walk("buffer-64m-by-page", fd, 0, MIB(64), 0, PAGE);
	walk("buffer-64g-by-2m", fd, 0, size, 0, MIB(2));
	walk("buffer-64g-by-2m-aligned", fd, 0, size, GIB(1), MIB(2));
	walk_plain("buffer-64m-by-page-plain", fd, 0, MIB(64), PAGE);
}

/* --- handed on to the core */

struct access {
	int fd;
	u64 at;
	u32 value;
	size_t size;
};

static void do_read(void *arg)
{
	struct access *a = arg;

	expect(pread(a->fd, &a->value, a->size, a->at) == (ssize_t)a->size);
}

static void do_write(void *arg)
{
	struct access *a = arg;

	expect(pwrite(a->fd, &a->value, a->size, a->at) == (ssize_t)a->size);
}

static void get_info(void *arg)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_dev *dev = arg;

	ioctl(dev->fd, VFIO_DEVICE_GET_INFO, &info);
}

static void get_region_info(void *arg)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = BAR };
	struct vfio_dev *dev = arg;

	ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info);
}

struct irq {
	struct vfio_dev *dev;
	int event;
};

/* One MSI-X vector, to an eventfd and off again */
static void set_irqs(void *arg)
{
	struct irq *irq = arg;
	struct vfio_irq_set off = {
		.argsz = sizeof(off),
		.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
	};

	expect_eq(vfio_set_irq(irq->dev, VFIO_PCI_MSIX_IRQ_INDEX, 0,
			       irq->event), 0);
	expect_ok(ioctl(irq->dev->fd, VFIO_DEVICE_SET_IRQS, &off));
}

TEST_TIMEOUT(bench, passthru_irqs, 600)
{
	struct irq irq = { .dev = open_on("e1000e") };

	irq.event = expect_fd(eventfd(0, EFD_CLOEXEC));
	measure("passthru-set-irqs", 20, set_irqs, &irq);
}

/* The first open and the last close, each with what resets the function */
TEST_TIMEOUT(bench, open, 600)
{
	struct row opened = { .name = "open-close" };
	struct row closed = { .name = "open-close" };
	struct vfio_dev *dev = vfio_open(ROLE);

	expect_ok(close(dev->fd));
	for (int i = 0; i < WARM_UPS + ROUNDS; i++) {
		u64 start = t_now_ns();

		dev->fd = expect_fd(vfio_device_fd(dev));
		row_add(&opened, t_now_ns() - start);
		start = t_now_ns();
		expect_ok(close(dev->fd));
		row_add(&closed, t_now_ns() - start);
	}
	row_end(&opened, "first-open");
	row_end(&closed, "last-close");
	dev->fd = expect_fd(vfio_device_fd(dev));
}

TEST_TIMEOUT(bench, passthru, 600)
{
	struct vfio_dev *dev = open_on(ROLE);
	u64 config = vfio_region_offset(dev, VFIO_PCI_CONFIG_REGION_INDEX);
	struct access line = { dev->fd, config + PCI_INTERRUPT_LINE, 5, 1 };
	struct access word = {
		dev->fd, vfio_region_offset(dev, BAR) + 64, 7, 4
	};

	measure("passthru-config-read", 200, do_read, &line);
	measure("passthru-config-write", 200, do_write, &line);
	measure("passthru-region-read", 200, do_read, &word);
	measure("passthru-region-write", 200, do_write, &word);
	measure("passthru-get-info", 200, get_info, dev);
	measure("passthru-get-region-info", 200, get_region_info, dev);
}

/* --- the node */

struct noded {
	const struct vfio_dev *dev;
	const char *client;
	int node;
};

static void node_opens(void *arg)
{
	struct noded *n = arg;

	close(node_open(n->dev->bdf, O_RDONLY));
}

static void node_asks(void *arg)
{
	struct dmabuf_vfio_info info;
	struct noded *n = arg;

	expect_eq(node_info(n->node, &info), 0);
}

static void node_exports(void *arg)
{
	struct noded *n = arg;

	close(expect_fd(node_export(n->node, BAR, 0, PAGE)));
}

static void node_routes(void *arg)
{
	struct dmabuf_vfio_route route;
	struct noded *n = arg;

	expect_eq(node_route(n->node, n->client, &route), 0);
}

/* Reads the two events of a revoke and a restore. */
static void node_reads(void *arg)
{
	struct dmabuf_vfio_event event;
	struct noded *n = arg;

	vfio_mem_enable(n->dev, false);
	vfio_mem_enable(n->dev, true);
	expect(node_event(n->node, &event) && node_event(n->node, &event));
}

TEST_TIMEOUT(bench, node, 600)
{
	struct vfio_dev *dev = open_on(ROLE);
	struct dmabuf_vfio_event event;
	struct noded n;

	if (vfio_is_stock() && !vfio_is_dropin())
		t_skip("it has no node");
	n.client = t_role("edu_rp");
	n.dev = dev;
	n.node = node_open(dev->bdf, O_RDWR);
	measure("node-open-close", 20, node_opens, &n);
	measure("node-info", 20, node_asks, &n);
	measure("node-export-close", 20, node_exports, &n);
	measure("node-route", 20, node_routes, &n);
	while (node_poll(n.node, 0) & POLLIN)
		expect(node_event(n.node, &event));
	measure("node-revoke-restore-read", 20, node_reads, &n);
}

/* --- the module */

static void module_path(char *path, size_t size)
{
	char release[64], list[512];

	expect_ge(t_read(release, sizeof(release),
			 "/proc/sys/kernel/osrelease"), 1);
	snprintf(list, sizeof(list),
		 "find /lib/modules/%s -name %s.ko -o -name %s.ko | sort -r | head -1",
		 release, vfio_module(), vfio_driver());
	FILE *f = popen(list, "r");

	expect(f && fgets(path, size, f));
	pclose(f);
	path[strcspn(path, "\n")] = '\0';
}

TEST_TIMEOUT(bench, module, 600)
{
	struct row load = { .name = "module-load" };
	char path[256];

	module_path(path, sizeof(path));
	for (int i = 0; i < WARM_UPS + ROUNDS; i++) {
		u64 start;
		int fd;

		expect_eq(vfio_rmmod(vfio_module()), 0);
		fd = expect_fd(open(path, O_RDONLY | O_CLOEXEC));
		start = t_now_ns();
		expect_ok(syscall(SYS_finit_module, fd, "", 0));
		row_add(&load, t_now_ns() - start);
		close(fd);
	}
	row_end(&load, NULL);
}
