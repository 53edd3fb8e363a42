// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each allocation of each operation fails once, and each copy from and to its
 * caller. See lib/fault.h for what is expected then.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cpu.h"
#include "fault.h"
#include "importer.h"
#include "node.h"
#include "rig.h"

#define BAR		2
#define MANY		512		/* ranges: two pages of them */
#define LEN		(4 * PAGE)	/* of the buffer, where it is of one */
#define TIMEOUT		3000		/* seconds, for all of them */

static const char *bdf;
static struct vfio_dev *dev;
static int imp, fd, handle, node;
static const char *edu;
static void *mapped;
static u64 command;			/* offset of COMMAND in @dev->fd */

static struct vfio_region_dma_range ranges[MANY];

static int ret_of(long ret)
{
	return ret < 0 ? -errno : ret;
}

/* --- set up */

static void set_up_on(const char *role)
{
	if (vfio_is_stock())
		t_skip("not our driver");
	bdf = t_role(role);
	imp = imp_open();
	edu = imp_edu("edu_rp");
	dev = vfio_open(role);
	vfio_mem_enable(dev, true);
	command = vfio_region_offset(dev, VFIO_PCI_CONFIG_REGION_INDEX) +
		  PCI_COMMAND;
	for (u32 i = 0; i < MANY; i++)
		ranges[i] = (struct vfio_region_dma_range){
			.offset = 2 * i * PAGE,
			.length = PAGE,
		};
}

static void set_up(void)
{
	set_up_on("shm_sw");
}

static int export_ranges(u32 nr)
{
	if (nr == 1)
		return export_range(dev, BAR, 0, LEN);
	return export_buf(dev->fd, BAR, O_RDWR | O_CLOEXEC, 0, ranges, nr);
}

/* Of these the DMA API keeps no addresses ready: each map gets new ones. */
static int export_large(void)
{
	struct vfio_region_dma_range large[8];

	for (u32 i = 0; i < ARRAY_SIZE(large); i++)
		large[i] = (struct vfio_region_dma_range){
			.offset = i * KIB(512),
			.length = KIB(256),
		};
	return export_buf(dev->fd, BAR, O_RDWR | O_CLOEXEC, 0, large,
			  ARRAY_SIZE(large));
}

static void close_it(int ret)
{
	if (ret >= 0)
		expect_ok(close(ret));
}

/* --- the module */

static int module_file;

static int load(void)
{
	return ret_of(syscall(SYS_finit_module, module_file, "", 0));
}

static void unload(int ret)
{
	if (ret >= 0)
		expect_eq(vfio_rmmod(vfio_module()), 0);
}

TEST_TIMEOUT(faults_driver, load, TIMEOUT)
{
	static const struct fault_op op = {
		.run = load,
		.undo = unload,
		/* module_add_driver() says so of a folder that it lacks. */
		.errs = { EINVAL },
		.tries = 10,
	};
	struct utsname uts;
	char path[256];

	if (vfio_is_stock() || vfio_is_dropin())
		t_skip("not our module");
	expect_ok(uname(&uts));
	snprintf(path, sizeof(path), "/lib/modules/%s/extra/%s.ko",
		 uts.release, vfio_module());
	module_file = expect_ok(open(path, O_RDONLY | O_CLOEXEC));
	expect_eq(vfio_rmmod(vfio_module()), 0);
	fault_try(&op, t_role("shm_sw"));
}

/* --- bind and unbind */

static int bind_file, unbind_file;

static bool is_bound(void)
{
	return *vfio_driver_of(bdf);
}

static int bind_it(void)
{
	return ret_of(pwrite(bind_file, bdf, strlen(bdf), 0));
}

static int unbind_it(void)
{
	return ret_of(pwrite(unbind_file, bdf, strlen(bdf), 0));
}

static void bind_first(void)
{
	expect_eq(bind_it(), strlen(bdf));
}

/* Told of an error or not: it is bound, or it is not. */
static void unbind_if_bound(int ret)
{
	expect(ret < 0 || is_bound());
	if (is_bound())
		expect_eq(unbind_it(), strlen(bdf));
}

static void expect_unbound(int ret)
{
	expect_eq(is_bound(), ret < 0);
	if (is_bound())
		expect_eq(unbind_it(), strlen(bdf));
}

static void open_driver(void)
{
	char path[128];

	if (vfio_is_stock())
		t_skip("not our driver");
	bdf = t_role("shm_sw");
	vfio_bind(bdf, vfio_driver());
	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/bind",
		 vfio_driver());
	bind_file = expect_ok(open(path, O_WRONLY | O_CLOEXEC));
	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/unbind",
		 vfio_driver());
	unbind_file = expect_ok(open(path, O_WRONLY | O_CLOEXEC));
	expect_eq(unbind_it(), strlen(bdf));
}

TEST_TIMEOUT(faults_driver, bind, TIMEOUT)
{
	static const struct fault_op op = {
		.run = bind_it,
		.undo = unbind_if_bound,
		.tries = 32,
	};

	open_driver();
	fault_try(&op, bdf);
}

TEST_TIMEOUT(faults_driver, unbind, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = bind_first,
		.run = unbind_it,
		.undo = expect_unbound,
		.tries = 8,
	};

	open_driver();
	fault_try(&op, bdf);
}

/* --- open and close */

static int open_function(void)
{
	return vfio_device_fd(dev);
}

static void open_first(void)
{
	dev->fd = expect_fd(open_function());
	vfio_mem_enable(dev, true);
}

static int close_function(void)
{
	return ret_of(close(dev->fd));
}

TEST_TIMEOUT(faults, open, TIMEOUT)
{
	static const struct fault_op op = {
		.run = open_function,
		.undo = close_it,
		.tries = 64,
	};

	set_up();
	expect_eq(close_function(), 0);
	fault_try(&op, bdf);
}

/* With a buffer that a device and a process have mapped */
static void export_mapped(void)
{
	u32 value;

	fd = expect_fd(export_ranges(1));
	handle = expect_fd(imp_attach(imp, fd, edu));
	expect_eq(imp_map(imp, handle, NULL), 0);
	mapped = cpu_map(fd, 0, LEN);
	expect(cpu_get(mapped, &value));
}

static void drop_mapped(void)
{
	expect_ok(munmap(mapped, LEN));
	expect_eq(imp_detach(imp, handle), 0);
	expect_ok(close(fd));
}

static void expect_dead(void)
{
	expect_bus(mapped);
	expect(t_within(3000, !imp_stats(imp, handle).mapped));
	expect_err(imp_map(imp, handle, NULL), ENODEV);
}

static void open_and_export(void)
{
	open_first();
	export_mapped();
}

static void expect_closed(int ret)
{
	(void)ret;
	expect_dead();
	drop_mapped();
}

TEST_TIMEOUT(faults, close, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = open_and_export,
		.run = close_function,
		.undo = expect_closed,
		.firm = true,
		.tries = 8,
	};

	set_up();
	expect_eq(close_function(), 0);
	fault_try(&op, bdf);
}

/* --- what a user asks of the function */

static int ask_device(void)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };

	return ret_of(ioctl(dev->fd, VFIO_DEVICE_GET_INFO, &info));
}

TEST_TIMEOUT(faults, device_info, TIMEOUT)
{
	static const struct fault_op op = { .run = ask_device };

	set_up();
	fault_try(&op, bdf);
}

static int ask_region(void)
{
	struct {
		struct vfio_region_info info;
		u8 caps[256];
	} arg = {
		.info = { .argsz = sizeof(arg), .index = BAR },
	};

	return ret_of(ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &arg));
}

TEST_TIMEOUT(faults, region_info, TIMEOUT)
{
	static const struct fault_op op = { .run = ask_region };

	set_up();
	fault_try(&op, bdf);
}

static int ask_hot_reset(void)
{
	struct {
		struct vfio_pci_hot_reset_info info;
		struct vfio_pci_dependent_device devices[8];
	} arg = {
		.info = { .argsz = sizeof(arg) },
	};

	return ret_of(ioctl(dev->fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &arg));
}

TEST_TIMEOUT(faults, hot_reset_info, TIMEOUT)
{
	static const struct fault_op op = { .run = ask_hot_reset };

	set_up();
	fault_try(&op, bdf);
}

static int event_file;

static int set_request_irq(void)
{
	return vfio_set_irq(dev, VFIO_PCI_REQ_IRQ_INDEX, 0, event_file);
}

static void unset_irq(int ret)
{
	(void)ret;
	expect_eq(vfio_set_irq(dev, VFIO_PCI_REQ_IRQ_INDEX, 0, -1), 0);
}

TEST_TIMEOUT(faults, set_irqs, TIMEOUT)
{
	static const struct fault_op op = {
		.run = set_request_irq,
		.undo = unset_irq,
	};

	set_up();
	event_file = expect_ok(eventfd(0, EFD_CLOEXEC));
	fault_try(&op, bdf);
}

/* --- export and release */

static int export_one(void)
{
	return export_ranges(1);
}

static int export_two(void)
{
	return export_ranges(2);
}

static int export_many(void)
{
	return export_ranges(MANY);
}

TEST_TIMEOUT(faults, export_one, TIMEOUT)
{
	static const struct fault_op op = {
		.run = export_one,
		.undo = close_it,
	};

	set_up();
	fault_try(&op, bdf);
}

TEST_TIMEOUT(faults, export_two, TIMEOUT)
{
	static const struct fault_op op = {
		.run = export_two,
		.undo = close_it,
	};

	set_up();
	fault_try(&op, bdf);
}

TEST_TIMEOUT(faults, export_many, TIMEOUT)
{
	static const struct fault_op op = {
		.run = export_many,
		.undo = close_it,
	};

	set_up();
	fault_try(&op, bdf);
}

/* A child's table of descriptors is as small as it can be, and full. */
TEST_TIMEOUT(faults, export_no_descriptor, TIMEOUT)
{
	static const struct fault_op op = {
		.run = export_one,
		.in_child = true,
	};

	set_up();
	for (int i = 0; i < 64; i++)
		if (fcntl(i, F_GETFD) < 0)
			expect_eq(dup2(STDIN_FILENO, i), i);
	fault_try(&op, bdf);
}

static int probe_export(void)
{
	return vfio_feature(dev->fd, VFIO_DEVICE_FEATURE_PROBE |
			    VFIO_DEVICE_FEATURE_GET |
			    VFIO_DEVICE_FEATURE_DMA_BUF, NULL, 0);
}

TEST_TIMEOUT(faults, probe_export, TIMEOUT)
{
	static const struct fault_op op = { .run = probe_export };

	set_up();
	fault_try(&op, bdf);
}

static void export_first(void)
{
	fd = expect_fd(export_ranges(1));
}

static int release(void)
{
	return ret_of(close(fd));
}

TEST_TIMEOUT(faults, release, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = export_first,
		.run = release,
		.firm = true,
	};

	set_up();
	fault_try(&op, bdf);
}

/* --- importers */

static const char *client;

static int attach(void)
{
	return imp_attach(imp, fd, client);
}

static void detach_it(int ret)
{
	if (ret >= 0)
		expect_eq(imp_detach(imp, ret), 0);
}

static void attach_first(void)
{
	handle = expect_fd(attach());
}

static int detach(void)
{
	return imp_detach(imp, handle);
}

static void attach_and_map_first(void)
{
	attach_first();
	expect_eq(imp_map(imp, handle, NULL), 0);
}

static int map(void)
{
	return imp_map(imp, handle, NULL);
}

/* The range of addresses that the attachment has is in use: range by range */
static int map_more(void)
{
	return imp_map_more(imp, handle, NULL);
}

static int unmap(void)
{
	return imp_unmap(imp, handle);
}

static void detach_after(int ret)
{
	(void)ret;
	expect_eq(imp_detach(imp, handle), 0);
}

static void unmap_and_detach_after(int ret)
{
	if (ret >= 0)
		expect_eq(unmap(), 0);
	detach_after(ret);
}

static void set_up_importer(u32 nr, const char *of)
{
	set_up();
	client = of ? imp_edu(of) : edu;
	fd = expect_fd(export_ranges(nr));
}

TEST_TIMEOUT(faults, attach, TIMEOUT)
{
	static const struct fault_op op = {
		.run = attach,
		.undo = detach_it,
	};

	set_up_importer(1, NULL);
	fault_try(&op, bdf);
}

TEST_TIMEOUT(faults, attach_large, TIMEOUT)
{
	static const struct fault_op op = {
		.run = attach,
		.undo = detach_it,
	};

	set_up();
	client = edu;
	fd = expect_fd(export_large());
	fault_try(&op, bdf);
}

TEST_TIMEOUT(faults, detach, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = attach_and_map_first,
		.run = detach,
		.firm = true,
	};

	set_up_importer(MANY, NULL);
	fault_try(&op, bdf);
}

static const struct fault_op map_op = {
	.prepare = attach_first,
	.run = map,
	.undo = unmap_and_detach_after,
};

TEST_TIMEOUT(faults, map_one, TIMEOUT)
{
	set_up_importer(1, NULL);
	fault_try(&map_op, bdf);
}

TEST_TIMEOUT(faults, map_two, TIMEOUT)
{
	set_up_importer(2, NULL);
	fault_try(&map_op, bdf);
}

TEST_TIMEOUT(faults, map_many, TIMEOUT)
{
	set_up_importer(MANY, NULL);
	fault_try(&map_op, bdf);
}

/* Intel's driver of older kernels does not: see docs/security.md. */
static void need_undo(void)
{
	if (!t_kernel_since(7, 3))
		t_skip("the IOMMU driver leaves half a range mapped");
}

/* The IOMMU's page tables go with a mapping where they are of it alone. */
TEST_TIMEOUT(faults, map_tables, TIMEOUT)
{
	need_undo();
	set_up();
	client = edu;
	fd = expect_fd(export_range(dev, BAR, PAGE, MIB(4) - PAGE));
	fault_try(&map_op, bdf);
}

TEST_TIMEOUT(faults, map_bus_address, TIMEOUT)
{
	set_up_importer(MANY, "edu_sw");
	fault_try(&map_op, bdf);
}

static const struct fault_op map_more_op = {
	.prepare = attach_and_map_first,
	.run = map_more,
	.undo = detach_after,
};

TEST_TIMEOUT(faults, map_more, TIMEOUT)
{
	set_up_importer(1, NULL);
	fault_try(&map_more_op, bdf);
}

TEST_TIMEOUT(faults, map_more_large, TIMEOUT)
{
	set_up();
	client = edu;
	fd = expect_fd(export_large());
	fault_try(&map_more_op, bdf);
}

/* The second range gets none of its page tables. */
TEST_TIMEOUT(faults, map_more_tables, TIMEOUT)
{
	static const struct vfio_region_dma_range two[] = {
		{ PAGE, MIB(4) }, { MIB(8) + PAGE, MIB(4) },
	};

	need_undo();
	set_up_on("bochs");
	client = edu;
	fd = expect_fd(export_buf(dev->fd, 0, O_RDWR | O_CLOEXEC, 0, two, 2));
	fault_try(&map_more_op, bdf);
}

TEST_TIMEOUT(faults, map_more_of_many, TIMEOUT)
{
	set_up_importer(MANY, NULL);
	fault_try(&map_more_op, bdf);
}

TEST_TIMEOUT(faults, unmap, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = attach_and_map_first,
		.run = unmap,
		.undo = detach_after,
		.firm = true,
	};

	set_up_importer(MANY, NULL);
	fault_try(&op, bdf);
}

/* Where each range has its place in one range of addresses, and one is taken */
TEST_TIMEOUT(faults, each_link, TIMEOUT)
{
	enum { RANGES = 16 };
	char text[8192], what[32];
	struct imp_map table;
	u64 start;

	if (!t_bench_is("iommu", "on"))
		t_skip("nothing translates for the importer");
	set_up_importer(RANGES, NULL);
	attach_first();
	expect_eq(imp_map(imp, handle, &table), 0);
	expect_ge(t_read(text, sizeof(text), "%s",
			 vfio_debugfs(bdf, "buffers")), 1);
	if (!strstr(text, "route=host-iova"))
		t_skip("kernel has no IOVA linking");
	start = imp_addr(&table, 0, RANGES * PAGE);
	expect_eq(unmap(), 0);
	for (u32 i = 0; i < RANGES; i++) {
		fault_remember(bdf);
		expect_eq(imp_occupy(imp, edu, start + i * PAGE, true), 0);
		expect_err(map(), EADDRINUSE);
		expect_eq(imp_occupy(imp, edu, start + i * PAGE, false), 0);
		snprintf(what, sizeof(what), "link %u", i);
		fault_expect_same(bdf, what);
		expect_eq(map(), 0);
		expect_eq(unmap(), 0);
	}
	imp_map_free(&table);
}

/* --- processes */

/* Far from all else: its page tables come with the access, and go with it. */
#define FAR	((void *)(1ull << 40))

static int map_buffer(void)
{
	mapped = mmap(FAR, LEN, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	return ret_of(mapped == MAP_FAILED ? -1 : 0);
}

static void unmap_buffer(int ret)
{
	if (ret >= 0)
		expect_ok(munmap(mapped, LEN));
}

static void map_buffer_first(void)
{
	expect_eq(map_buffer(), 0);
}

/* Out of memory it does not end the process: the access faults again. */
static int access_it(void)
{
	mem_read(mapped);
	return 0;
}

TEST_TIMEOUT(faults, mmap, TIMEOUT)
{
	static const struct fault_op op = {
		.run = map_buffer,
		.undo = unmap_buffer,
	};

	set_up();
	export_first();
	fault_try(&op, bdf);
}

TEST_TIMEOUT(faults, fault, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = map_buffer_first,
		.run = access_it,
		.undo = unmap_buffer,
		.firm = true,
	};

	set_up();
	export_first();
	fault_try(&op, bdf);
}

/* The first mapping of a BAR makes its buffer, which the last close ends. */
static u64 bar_at;

static int map_bar(void)
{
	mapped = mmap(FAR, MIB(4), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_FIXED_NOREPLACE, dev->fd, bar_at);
	return ret_of(mapped == MAP_FAILED ? -1 : 0);
}

static void unmap_bar_and_close(int ret)
{
	if (ret >= 0)
		expect_ok(munmap(mapped, MIB(4)));
	expect_eq(close_function(), 0);
}

static void open_and_map_bar(void)
{
	open_first();
	expect_eq(map_bar(), 0);
}

static void set_up_bar(void)
{
	set_up();
	bar_at = vfio_region_offset(dev, BAR);
	expect_eq(close_function(), 0);
}

TEST_TIMEOUT(faults, mmap_bar, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = open_first,
		.run = map_bar,
		.undo = unmap_bar_and_close,
	};

	set_up_bar();
	fault_try(&op, bdf);
}

TEST_TIMEOUT(faults, fault_bar, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = open_and_map_bar,
		.run = access_it,
		.undo = unmap_bar_and_close,
		.firm = true,
	};

	set_up_bar();
	fault_try(&op, bdf);
}

/* --- a revoke, for now and for good */

static int revoke_it(void)
{
	return vfio_revoke(dev->fd, fd);
}

static int revoke_by_feature(void)
{
	struct dmabuf_vfio_feature_revoke arg = { .dmabuf_fd = fd };

	return vfio_feature(dev->fd, VFIO_DEVICE_FEATURE_SET |
			    DMABUF_VFIO_FEATURE_REVOKE, &arg, sizeof(arg));
}

static int revoke_by_node(void)
{
	return node_revoke(node, fd);
}

static void expect_revoked_if(int ret)
{
	u32 value;

	if (ret >= 0)
		expect_dead();
	else
		expect(cpu_get(mapped, &value));
	drop_mapped();
}

TEST_TIMEOUT(faults, revoke, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = export_mapped,
		.run = revoke_it,
		.undo = expect_revoked_if,
	};

	set_up();
	fault_try(&op, bdf);
}

TEST_TIMEOUT(faults, revoke_by_feature, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = export_mapped,
		.run = revoke_by_feature,
		.undo = expect_revoked_if,
	};

	set_up();
	fault_try(&op, bdf);
}

TEST_TIMEOUT(faults, revoke_by_node, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = export_mapped,
		.run = revoke_by_node,
		.undo = expect_revoked_if,
	};

	set_up();
	node = node_open(bdf, O_RDWR);
	fault_try(&op, bdf);
}

static u16 command_on;

static int write_command(u16 value)
{
	return ret_of(pwrite(dev->fd, &value, sizeof(value), command));
}

static int memory_off(void)
{
	return write_command(command_on & ~PCI_COMMAND_MEMORY);
}

static int memory_on(void)
{
	return write_command(command_on);
}

/* Whatever came of it, nobody reads what cannot be reached. */
static void expect_as_gate_says(void)
{
	struct gate gate = gate_read(bdf);
	u32 value;

	expect_eq(cpu_get(mapped, &value), gate.reachable);
	expect_eq(vfio_cfg_read(dev, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY,
		  gate.reachable ? PCI_COMMAND_MEMORY : 0);
}

static void expect_off_if(int ret)
{
	expect_as_gate_says();
	if (ret >= 0)
		gate_expect(bdf, "memory-off");
	expect_eq(memory_on(), 2);
	gate_expect(bdf, "");
	drop_mapped();
}

static void expect_on_if(int ret)
{
	expect_as_gate_says();
	if (ret >= 0)
		gate_expect(bdf, "");
	expect_eq(memory_on(), 2);
	gate_expect(bdf, "");
	expect(t_within(3000, !imp_stats(imp, handle).mapped));
	expect_eq(map(), 0);
	drop_mapped();
}

static void export_and_turn_off(void)
{
	export_mapped();
	expect_eq(memory_off(), 2);
}

static void set_up_command(void)
{
	set_up();
	command_on = vfio_cfg_read(dev, PCI_COMMAND, 2);
	expect(command_on & PCI_COMMAND_MEMORY);
}

TEST_TIMEOUT(faults, memory_off, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = export_mapped,
		.run = memory_off,
		.undo = expect_off_if,
	};

	set_up_command();
	fault_try(&op, bdf);
}

TEST_TIMEOUT(faults, memory_on, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = export_and_turn_off,
		.run = memory_on,
		.undo = expect_on_if,
	};

	set_up_command();
	fault_try(&op, bdf);
}

static int reset(void)
{
	return ret_of(ioctl(dev->fd, VFIO_DEVICE_RESET));
}

static int hot_reset(void)
{
	return vfio_hot_reset(dev, dev->group);
}

static int reset_file;

static int sysfs_reset(void)
{
	return ret_of(pwrite(reset_file, "1", 1, 0));
}

static void wake_and_drop(int ret)
{
	u32 value;

	(void)ret;
	expect_as_gate_says();
	expect_eq(memory_on(), 2);
	gate_expect(bdf, "");
	expect(cpu_get(mapped, &value));
	drop_mapped();
}

TEST_TIMEOUT(faults, reset, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = export_mapped,
		.run = reset,
		.undo = wake_and_drop,
	};

	set_up_command();
	fault_try(&op, bdf);
}

TEST_TIMEOUT(faults, hot_reset, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = export_mapped,
		.run = hot_reset,
		.undo = wake_and_drop,
	};

	set_up_command();
	fault_try(&op, bdf);
}

TEST_TIMEOUT(faults, sysfs_reset, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = export_mapped,
		.run = sysfs_reset,
		.undo = wake_and_drop,
	};
	char path[128];

	set_up_command();
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", bdf);
	reset_file = expect_ok(open(path, O_WRONLY | O_CLOEXEC));
	fault_try(&op, bdf);
}

static int low_power(u32 flags)
{
	return vfio_feature(dev->fd, VFIO_DEVICE_FEATURE_SET | flags, NULL, 0);
}

static int enter_low_power(void)
{
	return low_power(VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY);
}

static int exit_low_power(void)
{
	return low_power(VFIO_DEVICE_FEATURE_LOW_POWER_EXIT);
}

static void export_and_sleep(void)
{
	export_mapped();
	expect_eq(enter_low_power(), 0);
}

static void exit_and_drop(int ret)
{
	u32 value;

	(void)ret;
	expect_eq(exit_low_power(), 0);
	gate_expect(bdf, "");
	expect(cpu_get(mapped, &value));
	drop_mapped();
}

TEST_TIMEOUT(faults, low_power_entry, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = export_mapped,
		.run = enter_low_power,
		.undo = exit_and_drop,
	};

	set_up();
	fault_try(&op, bdf);
}

TEST_TIMEOUT(faults, low_power_exit, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = export_and_sleep,
		.run = exit_low_power,
		.undo = exit_and_drop,
	};

	set_up();
	fault_try(&op, bdf);
}

/* --- the node */

static char node_path[64];

static int open_node(void)
{
	return ret_of(open(node_path, O_RDWR | O_CLOEXEC | O_NONBLOCK));
}

static void set_up_node(void)
{
	set_up_command();
	snprintf(node_path, sizeof(node_path), "/dev/dmabuf-vfio/%s", bdf);
	node = expect_fd(open_node());
}

TEST_TIMEOUT(faults, node_open, TIMEOUT)
{
	static const struct fault_op op = {
		.run = open_node,
		.undo = close_it,
	};

	set_up_node();
	fault_try(&op, bdf);
}

static int ask_node(void)
{
	struct dmabuf_vfio_info info;

	return node_info(node, &info);
}

TEST_TIMEOUT(faults, node_info, TIMEOUT)
{
	static const struct fault_op op = { .run = ask_node };

	set_up_node();
	fault_try(&op, bdf);
}

static int export_by_node(void)
{
	return node_export(node, BAR, 0, LEN);
}

TEST_TIMEOUT(faults, node_export, TIMEOUT)
{
	static const struct fault_op op = {
		.run = export_by_node,
		.undo = close_it,
	};

	set_up_node();
	fault_try(&op, bdf);
}

static int ask_route(void)
{
	struct dmabuf_vfio_route route;

	return node_route(node, edu, &route);
}

TEST_TIMEOUT(faults, node_route, TIMEOUT)
{
	static const struct fault_op op = { .run = ask_route };

	set_up_node();
	fault_try(&op, bdf);
}

/* Of three events; those that could not be copied are there still. */
static struct dmabuf_vfio_event events[4];

static void make_events(void)
{
	while (read(node, events, sizeof(events)) > 0)
		;
	for (int i = 0; i < 2; i++) {
		expect_eq(memory_off(), 2);
		expect_eq(memory_on(), 2);
	}
}

static int read_events(void)
{
	return ret_of(read(node, events, sizeof(events)));
}

static void read_the_rest(int ret)
{
	ssize_t done = ret > 0 ? ret : 0, n;

	while ((n = read(node, events, sizeof(events))) > 0)
		done += n;
	expect_eq(done, 4 * sizeof(events[0]));
}

TEST_TIMEOUT(faults, node_read, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = make_events,
		.run = read_events,
		.undo = read_the_rest,
	};

	set_up_node();
	fault_try(&op, bdf);
}

/* --- what anybody may do with a buffer */

static int export_fence(void)
{
	struct dma_buf_export_sync_file arg = { .flags = DMA_BUF_SYNC_RW };

	if (ioctl(fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &arg))
		return -errno;
	return arg.fd;
}

TEST_TIMEOUT(faults, export_sync_file, TIMEOUT)
{
	static const struct fault_op op = {
		.run = export_fence,
		.undo = close_it,
	};

	set_up_importer(1, NULL);
	attach_first();
	fault_try(&op, bdf);
}

static int fence_file;

static void export_and_fence(void)
{
	export_first();
	fence_file = expect_fd(imp_sync_file(imp, 1));
	t_sleep_ms(5);
}

static int import_fence(void)
{
	struct dma_buf_import_sync_file arg = {
		.flags = DMA_BUF_SYNC_RW,
		.fd = fence_file,
	};

	return ret_of(ioctl(fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &arg));
}

static void close_both(int ret)
{
	(void)ret;
	expect_ok(close(fence_file));
	expect_ok(close(fd));
}

TEST_TIMEOUT(faults, import_sync_file, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = export_and_fence,
		.run = import_fence,
		.undo = close_both,
	};

	set_up();
	fault_try(&op, bdf);
}

static int set_name(void)
{
	return ret_of(ioctl(fd, DMA_BUF_SET_NAME_B, "faults"));
}

static void close_buffer(int ret)
{
	(void)ret;
	expect_ok(close(fd));
}

TEST_TIMEOUT(faults, set_name, TIMEOUT)
{
	static const struct fault_op op = {
		.prepare = export_first,
		.run = set_name,
		.undo = close_buffer,
	};

	set_up();
	fault_try(&op, bdf);
}

/* --- what an operator reads */

static int read_state_file(void)
{
	char text[1024];

	return t_read(text, sizeof(text), "%s", vfio_debugfs(bdf, "state"));
}

TEST_TIMEOUT(faults, debugfs_state, TIMEOUT)
{
	static const struct fault_op op = { .run = read_state_file };

	set_up();
	fault_try(&op, bdf);
}

static int read_buffers_file(void)
{
	char text[8192];

	return t_read(text, sizeof(text), "%s", vfio_debugfs(bdf, "buffers"));
}

TEST_TIMEOUT(faults, debugfs_buffers, TIMEOUT)
{
	static const struct fault_op op = { .run = read_buffers_file };

	set_up();
	export_mapped();
	for (int i = 0; i < 20; i++)
		expect_fd(export_ranges(MANY / 16));
	fault_try(&op, bdf);
}
