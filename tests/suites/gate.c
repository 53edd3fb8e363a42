// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gate: closes, resets and writes to COMMAND. Access ends before the
 * function changes, and comes back when it can.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rig.h"

/* --- the last close */

static void expect_dead(struct rig *rig)
{
	u8 before[RIG_LEN], after[RIG_LEN];

	expect_err(imp_map(rig->imp, rig->quick.handle, NULL), ENODEV);
	expect_err(imp_attach(rig->imp, rig->fd, rig->edu), ENODEV);
	rig_cpu_read(rig, before);
	memset(after, 0x5a, sizeof(after));
	expect_eq(imp_write(rig->imp, rig->edu, rig->quick.addr, after,
			    rig->len), 0);
	rig_cpu_read(rig, after);
	expect(!memcmp(before, after, rig->len),
	       "the edu wrote through a mapping of before the close");
}

/* From a closed function, whose buffer is dead, to one that serves again. */
static void open_again(struct rig *rig)
{
	gate_expect(rig->bdf, "closed");
	expect_eq(gate_read(rig->bdf).buffers, 0);
	expect_eq(gate_read(rig->bdf).ranges, 0);
	rig_reopen(rig);
	expect_dead(rig);
	expect_eq(imp_detach(rig->imp, rig->quick.handle), 0);
	expect_eq(imp_detach(rig->imp, rig->slow.handle), 0);
	expect_ok(close(rig->fd));
	rig_export(rig);
	rig_map(rig);
}

static void watch_close(const char *role)
{
	struct rig rig = {};
	int go[2];
	pid_t pid;
	char byte;

	rig_open(&rig, role);
	rig_hold(&rig);
	expect_ok(pipe(go));
	pid = t_fork();
	if (!pid) {
		/* The last descriptors, once the parent has dropped its own */
		expect_eq(read(go[0], &byte, 1), 1);
		rig_drop(&rig);
		_exit(0);
	}
	rig_drop(&rig);
	vfio_forget(rig.dev);
	gate_expect(rig.bdf, "");
	expect_eq(write(go[1], "", 1), 1);
	rig_middle(&rig, pid, "closed");
	rig_let_go(&rig);
	t_join(pid);
	open_again(&rig);
	vfio_close(rig.dev);
	gate_expect(rig.bdf, "closed");
}

TEST(gate, close_ivshmem)
{
	watch_close("shm_sw");
}

TEST(gate, close_nvme)
{
	watch_close("nvme_sw");
}

TEST(gate, close_virtio)
{
	watch_close("rng");
}

/* --- COMMAND */

struct span {
	u32 at;
	u32 len;
};

static const struct span over_command[] = {
	{ 4, 1 }, { 4, 2 }, { 4, 4 }, { 0, 8 }, { 3, 2 }, { 2, 3 }, { 1, 4 },
	{ 4, 3 }, { 4, 5 }, { 0, 5 }, { 0, 64 },
};

/* Writes what is there, but for some bits of one byte. */
static void rewrite(const struct vfio_dev *dev, struct span span, u32 byte,
		    u8 clear, u8 set)
{
	u8 buf[256];

	expect_eq(vfio_try_pread(dev, VFIO_PCI_CONFIG_REGION_INDEX, buf,
				 span.len, span.at), span.len);
	buf[byte - span.at] &= ~clear;
	buf[byte - span.at] |= set;
	expect_eq(vfio_try_pwrite(dev, VFIO_PCI_CONFIG_REGION_INDEX, buf,
				  span.len, span.at), span.len);
}

static void memory_off(const char *role)
{
	struct rig rig = {};

	rig_open(&rig, role);
	rig_watch(&rig, rig_memory_off, "changing");
	rig_blocked(&rig, "memory-off");
	/* Off again is nothing new. */
	vfio_mem_enable(rig.dev, false);
	rig_blocked(&rig, "memory-off");
	vfio_mem_enable(rig.dev, true);
	rig_back(&rig);
}

TEST(gate, memory_off_ivshmem)
{
	memory_off("shm_sw");
}

TEST(gate, memory_off_nvme)
{
	memory_off("nvme_sw");
}

TEST(gate, memory_off_virtio)
{
	memory_off("rng");
}

static struct span span;

static void act_write_off(struct rig *rig)
{
	rewrite(rig->dev, span, PCI_COMMAND, PCI_COMMAND_MEMORY, 0);
}

TEST(gate, memory_off_by_any_write)
{
	struct rig rig = {};

	rig_open(&rig, "shm_sw");
	for (size_t i = 0; i < ARRAY_SIZE(over_command); i++) {
		span = over_command[i];
		t_note("%u bytes at %u", span.len, span.at);
		rig_block(&rig, act_write_off, "memory-off");
		rewrite(rig.dev, span, PCI_COMMAND, 0, PCI_COMMAND_MEMORY);
		gate_expect(rig.bdf, "");
		expect(t_within(8000, imp_stats(rig.imp, rig.quick.handle)
				.invalidations ==
				rig.quick.mark.invalidations + 2));
		rig_map(&rig);
	}
}

static void write_byte(struct rig *rig, u32 at, u8 value, const char *what)
{
	u8 old = vfio_cfg_read(rig->dev, at, 1);

	vfio_cfg_write(rig->dev, at, 1, value);
	rig_untouched(rig, what);
	vfio_cfg_write(rig->dev, at, 1, old);
	rig_untouched(rig, what);
}

static void size_bars(struct rig *rig)
{
	u8 bars[24], ones[24];
	const u32 config = VFIO_PCI_CONFIG_REGION_INDEX;

	memset(ones, 0xff, sizeof(ones));
	for (u32 at = PCI_BASE_ADDRESS_0; at <= PCI_BASE_ADDRESS_5; at += 4) {
		u32 old = vfio_cfg_read(rig->dev, at, 4);

		vfio_cfg_write(rig->dev, at, 4, ~0u);
		vfio_cfg_read(rig->dev, at, 4);
		vfio_cfg_write(rig->dev, at, 4, old);
		rig_untouched(rig, "sizing a BAR");
	}
	expect_eq(vfio_try_pread(rig->dev, config, bars, 24,
				 PCI_BASE_ADDRESS_0), 24);
	expect_eq(vfio_try_pwrite(rig->dev, config, ones, 24,
				  PCI_BASE_ADDRESS_0), 24);
	rig_untouched(rig, "sizing all BARs");
	expect_eq(vfio_try_pwrite(rig->dev, config, bars, 24,
				  PCI_BASE_ADDRESS_0), 24);
	rig_untouched(rig, "writing BARs back");
}

static u16 command_to_write;

static void act_write_command(struct rig *rig)
{
	vfio_cfg_write(rig->dev, PCI_COMMAND, 2, command_to_write);
}

/*
 * A bit beside that of memory decoding. The core reads the byte for itself, and
 * may find that changed, too: nobody has access until it is seen.
 */
static void write_beside(struct rig *rig, u16 bit)
{
	u16 command = vfio_cfg_read(rig->dev, PCI_COMMAND, 2);

	command_to_write = command ^ bit;
	rig_block(rig, act_write_command, "");
	rig_map(rig);
	rig_mark(rig);
	/* Not every function has each bit. Either way it is as it is now. */
	command_to_write = vfio_cfg_read(rig->dev, PCI_COMMAND, 2);
	act_write_command(rig);
	rig_untouched(rig, "COMMAND as it is");
	command_to_write ^= PCI_COMMAND_INTX_DISABLE;
	act_write_command(rig);
	rig_untouched(rig, "another bit of COMMAND");
	command_to_write ^= PCI_COMMAND_INTX_DISABLE;
	act_write_command(rig);
	rig_untouched(rig, "that bit as it was");
	if (command_to_write == command)
		return;
	command_to_write = command;
	rig_block(rig, act_write_command, "");
	rig_map(rig);
	rig_mark(rig);
}

static void write_header(struct rig *rig)
{
	u16 command = vfio_cfg_read(rig->dev, PCI_COMMAND, 2);
	static const u16 bits[] = {
		PCI_COMMAND_INTX_DISABLE, PCI_COMMAND_SERR,
	};
	static const u16 beside[] = {
		PCI_COMMAND_MASTER, PCI_COMMAND_IO, PCI_COMMAND_PARITY,
	};

	for (size_t i = 0; i < ARRAY_SIZE(over_command); i++) {
		rewrite(rig->dev, over_command[i], PCI_COMMAND, 0,
			PCI_COMMAND_MEMORY);
		rig_untouched(rig, "COMMAND as it is");
	}
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
		vfio_cfg_write(rig->dev, PCI_COMMAND, 2, command ^ bits[i]);
		rig_untouched(rig, "another bit of COMMAND");
		vfio_cfg_write(rig->dev, PCI_COMMAND, 2, command);
		rig_untouched(rig, "that bit as it was");
	}
	for (size_t i = 0; i < ARRAY_SIZE(beside); i++)
		write_beside(rig, beside[i]);
	write_byte(rig, PCI_COMMAND + 1, 0, "COMMAND's upper byte");
	write_byte(rig, PCI_COMMAND + 1, PCI_COMMAND_INTX_DISABLE >> 8,
		   "COMMAND's upper byte");
	write_byte(rig, PCI_COMMAND - 1, 0, "the byte before COMMAND");
	write_byte(rig, PCI_STATUS, 0, "STATUS");
	write_byte(rig, PCI_STATUS + 1, 0xff, "STATUS");
	write_byte(rig, PCI_CACHE_LINE_SIZE, 8, "cache line size");
	write_byte(rig, PCI_LATENCY_TIMER, 8, "latency timer");
	write_byte(rig, PCI_INTERRUPT_LINE, 7, "interrupt line");
	size_bars(rig);
}

static void write_capabilities(struct rig *rig)
{
	u32 pm = vfio_find_cap(rig->dev, PCI_CAP_ID_PM);
	u32 exp = vfio_find_cap(rig->dev, PCI_CAP_ID_EXP);
	static const struct span power[] = {
		{ PCI_PM_CTRL, 1 }, { PCI_PM_CTRL, 2 }, { PCI_PM_CTRL, 4 },
		{ 0, 8 }, { PCI_PM_CTRL - 1, 2 },
	};
	static const struct span control[] = {
		{ PCI_EXP_DEVCTL, 1 }, { PCI_EXP_DEVCTL + 1, 1 },
		{ PCI_EXP_DEVCTL, 2 }, { PCI_EXP_DEVCTL, 4 }, { 0, 16 },
	};

	for (size_t i = 0; pm && i < ARRAY_SIZE(power); i++) {
		struct span at = { pm + power[i].at, power[i].len };

		rewrite(rig->dev, at, pm + PCI_PM_CTRL,
			PCI_PM_CTRL_STATE_MASK, 0);
		rig_untouched(rig, "D0 when in D0");
	}
	if (pm)
		write_byte(rig, pm + PCI_PM_CTRL + 1, 3,
			   "the byte after the power state");
	for (size_t i = 0; exp && i < ARRAY_SIZE(control); i++) {
		struct span at = { exp + control[i].at, control[i].len };

		rewrite(rig->dev, at, at.at, 0, 0);
		rig_untouched(rig, "device control as it is");
	}
}

/* Writes to memory go nowhere near, even where they look like COMMAND. */
static void write_memory(struct rig *rig)
{
	u8 zero[8] = {};

	expect_eq(vfio_try_pwrite(rig->dev, rig->bar, zero, 4, rig->at), 4);
	rig_untouched(rig, "a write to the BAR");
}

static void write_nothing(struct rig *rig)
{
	u64 at = vfio_region_offset(rig->dev, VFIO_PCI_CONFIG_REGION_INDEX) +
		 PCI_COMMAND;
	void *nowhere = mmap(NULL, PAGE, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(nowhere != MAP_FAILED);
	expect_errno(pwrite(rig->dev->fd, nowhere, 2, at), EFAULT);
	rig_untouched(rig, "a write from nowhere");
	expect_eq(pwrite(rig->dev->fd, "", 0, at), 0);
	rig_untouched(rig, "a write of nothing");
	expect_errno(pwrite(rig->dev->fd, "\0\0", 2, at + 0x10000), EFAULT);
	rig_untouched(rig, "a write past the end");
}

static void revokes_nothing(const char *role)
{
	u8 seen[RIG_LEN];
	struct rig rig = {};

	rig_open(&rig, role);
	write_header(&rig);
	write_capabilities(&rig);
	write_memory(&rig);
	write_nothing(&rig);
	for (u32 at = 0; at < 256; at++)
		vfio_cfg_read(rig.dev, at, 1);
	rig_untouched(&rig, "reads");
	/* And the mappings of before are good. */
	expect_eq(imp_write(rig.imp, rig.edu, rig.quick.addr, rig.bytes,
			    rig.len), 0);
	rig_cpu_read(&rig, seen);
	expect(!memcmp(seen, rig.bytes, rig.len));
}

TEST(gate, other_writes_revoke_nothing_ivshmem)
{
	revokes_nothing("shm_sw");
}

TEST(gate, other_writes_revoke_nothing_nvme)
{
	revokes_nothing("nvme_sw");
}

TEST(gate, other_writes_revoke_nothing_virtio)
{
	revokes_nothing("rng");
}

/*
 * A user who changes what is written after the driver has looked at it, and
 * before the core has: while the core waits for the first page of the buffer,
 * COMMAND in the second one changes. It is found out before the write returns.
 */
struct trap {
	int fd;
	u8 *page;		/* missing */
	u8 *command;		/* in the page that follows */
};

static void *spring(void *arg)
{
	struct trap *trap = arg;
	struct uffdio_zeropage zero = {
		.range = { (uintptr_t)trap->page, PAGE },
	};
	struct uffd_msg msg;

	expect_eq(read(trap->fd, &msg, sizeof(msg)), sizeof(msg));
	*trap->command &= ~PCI_COMMAND_MEMORY;
	expect_ok(ioctl(trap->fd, UFFDIO_ZEROPAGE, &zero));
	return NULL;
}

static void set_trap(struct trap *trap)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	trap->fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (trap->fd < 0)
		t_skip("no userfaultfd: %s", t_errno_name(errno));
	trap->page = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(trap->page != MAP_FAILED);
	trap->command = trap->page + PAGE;
	reg.range.start = (uintptr_t)trap->page;
	reg.range.len = PAGE;
	expect_ok(ioctl(trap->fd, UFFDIO_API, &api));
	expect_ok(ioctl(trap->fd, UFFDIO_REGISTER, &reg));
}

TEST(gate, write_that_changes_meanwhile)
{
	struct rig rig = {};
	struct trap trap;
	pthread_t thread;

	rig_open(&rig, "shm_sw");
	set_trap(&trap);
	*(u32 *)trap.command = vfio_cfg_read(rig.dev, PCI_COMMAND, 4);
	expect(!pthread_create(&thread, NULL, spring, &trap));
	expect_eq(vfio_try_pwrite(rig.dev, VFIO_PCI_CONFIG_REGION_INDEX,
				  trap.command - 4, 8, 0), 8);
	expect(!pthread_join(thread, NULL));
	expect(!(*trap.command & PCI_COMMAND_MEMORY), "nothing was changed");
	rig_blocked(&rig, "memory-off");
	vfio_mem_enable(rig.dev, true);
	rig_back(&rig);
}

/* --- a function that does not answer */

/* The bus number below a port: with another one, config reads are all ones. */
static u16 set_bus_below(const char *port, u16 numbers)
{
	char path[64];
	u16 before;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config",
		 t_role(port));
	fd = expect_ok(open(path, O_RDWR | O_CLOEXEC));
	expect_eq(pread(fd, &before, 2, PCI_SECONDARY_BUS), 2);
	expect_eq(pwrite(fd, &numbers, 2, PCI_SECONDARY_BUS), 2);
	expect_ok(close(fd));
	return before;
}

TEST(gate, all_ones_is_not_on)
{
	u16 command, numbers, status;
	struct rig rig = {};

	rig_open(&rig, "rng");
	command = vfio_cfg_read(rig.dev, PCI_COMMAND, 2);
	rig_block(&rig, rig_memory_off, "memory-off");
	numbers = set_bus_below("rp_rng", 0xf0f0);
	status = vfio_cfg_read(rig.dev, PCI_STATUS, 2);
	vfio_cfg_write(rig.dev, PCI_COMMAND, 2, command);
	/* It is there again, and never heard of that write. */
	set_bus_below("rp_rng", numbers);
	expect_eq(status, 0xffff);
	rig_blocked(&rig, "memory-off");
	vfio_cfg_write(rig.dev, PCI_COMMAND, 2, command);
	rig_back(&rig);
}

/* Memory off, close: nothing is waited for twice. Then all over again. */
TEST(gate, memory_off_close_reopen)
{
	struct rig rig = {};

	rig_open(&rig, "shm_sw");
	for (int i = 0; i < 3; i++) {
		rig_block(&rig, rig_memory_off, "memory-off");
		vfio_close(rig.dev);
		expect_eq(imp_stats(rig.imp, rig.quick.handle).mapped, 0);
		open_again(&rig);
	}
	vfio_close(rig.dev);
}

TEST(gate, revoke_restore_map_close)
{
	struct rig rig = {};

	rig_open(&rig, "shm_sw");
	for (int i = 0; i < 3; i++) {
		rig_block(&rig, rig_memory_off, "memory-off");
		vfio_mem_enable(rig.dev, true);
		rig_back(&rig);
		vfio_close(rig.dev);
		expect_eq(imp_stats(rig.imp, rig.quick.handle).mapped, 0);
		expect_eq(imp_stats(rig.imp, rig.slow.handle).mapped, 0);
		open_again(&rig);
	}
	vfio_close(rig.dev);
}

/* --- exported while blocked */

static void expect_state(struct rig *rig, const char *state)
{
	char path[64], text[4096], want[32];

	snprintf(path, sizeof(path), "%s", vfio_debugfs(rig->bdf, "buffers"));
	expect_ge(t_read(text, sizeof(text), "%s", path), 1);
	snprintf(want, sizeof(want), " state=%s ", state);
	expect(strstr(text, want), "no%sin %s", want, text);
}

TEST(gate, exported_while_blocked)
{
	struct rig rig = {};

	rig_open(&rig, "shm_sw");
	expect_state(&rig, "usable");
	vfio_mem_enable(rig.dev, false);
	expect_eq(imp_detach(rig.imp, rig.quick.handle), 0);
	expect_eq(imp_detach(rig.imp, rig.slow.handle), 0);
	expect_ok(close(rig.fd));
	expect(t_within(2000, !gate_read(rig.bdf).buffers));

	rig_export(&rig);
	expect_state(&rig, "revoked");
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	rig_mark(&rig);
	vfio_mem_enable(rig.dev, true);
	expect_state(&rig, "usable");
	expect(t_within(8000, imp_stats(rig.imp, rig.quick.handle)
			.invalidations == 1));
	rig_map(&rig);
	rig_block(&rig, rig_memory_off, "memory-off");
	vfio_mem_enable(rig.dev, true);
	rig_back(&rig);
}

/* --- what an operator sees of it */

#define TRACING	"/sys/kernel/tracing"

static void __printf(2, 3)
expect_traced(const char *trace, const char *fmt, ...)
{
	char want[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	expect(strstr(trace, want), "no \"%s\" in the trace", want);
}

TEST(gate, tracepoints)
{
	static char trace[1 << 16];
	struct rig rig = {};

	if (!t_exists(TRACING "/events/%s", vfio_module()))
		t_skip("this kernel does not trace");
	expect_eq(t_write("1", TRACING "/events/%s/enable", vfio_module()), 0);
	expect_eq(t_write("\n", TRACING "/trace"), 0);
	rig_open(&rig, "shm_sw");
	vfio_mem_enable(rig.dev, false);
	vfio_mem_enable(rig.dev, true);
	expect_eq(imp_detach(rig.imp, rig.quick.handle), 0);
	expect_eq(imp_detach(rig.imp, rig.slow.handle), 0);
	expect_ok(close(rig.fd));
	t_sleep_ms(100);
	vfio_close(rig.dev);
	expect_eq(t_write("0", TRACING "/events/%s/enable", vfio_module()), 0);
	expect_ge(t_read(trace, sizeof(trace), TRACING "/trace"), 1);

	expect_traced(trace, "dvp_export: %s ", rig.bdf);
	expect_traced(trace, "client=%s driver=%s route=host", rig.edu,
		      IMPORTER_DRIVER);
	expect_traced(trace, "dvp_map: %s ", rig.bdf);
	expect_traced(trace, "dvp_unmap: %s ", rig.bdf);
	expect_traced(trace, "dvp_revoke_begin: %s reasons=changing buffers=1",
		      rig.bdf);
	expect_traced(trace, "dvp_revoke_end: %s reasons=changing ", rig.bdf);
	expect_traced(trace, "dvp_restore: %s buffers=1", rig.bdf);
	expect_traced(trace, "dvp_release: %s ", rig.bdf);
	expect_traced(trace, "dvp_revoke_begin: %s reasons=closed buffers=0",
		      rig.bdf);
}

/* --- DMA in flight */

static void in_flight(void (*off)(struct rig *rig), void (*on)(struct rig *rig),
		      const char *role)
{
	struct rig rig = {};
	pid_t pid;

	rig_open(&rig, role);
	pid = rig_stream(&rig);
	off(&rig);
	if (on)
		on(&rig);
	rig_stop(&rig, pid);
	rig_map(&rig);
}

TEST(gate, in_flight_memory_off)
{
	in_flight(rig_memory_off, rig_memory_on, "shm_sw");
}

TEST(gate, in_flight_reset_ivshmem)
{
	in_flight(rig_reset, NULL, "shm_sw");
}

TEST(gate, in_flight_reset_nvme)
{
	in_flight(rig_reset, NULL, "nvme_sw");
}

TEST(gate, in_flight_reset_virtio)
{
	in_flight(rig_reset, NULL, "rng");
}

TEST(gate, in_flight_close)
{
	struct rig rig = {};
	pid_t pid;

	rig_open(&rig, "shm_sw");
	pid = rig_stream(&rig);
	vfio_close(rig.dev);
	expect(t_within(8000, !gate_read(rig.bdf).reachable));
	rig_reopen(&rig);
	rig_stop(&rig, pid);
}
