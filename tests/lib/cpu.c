// SPDX-License-Identifier: GPL-2.0-only
/* Accesses that may fault. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu.h"

#define TRACING		"/sys/kernel/tracing"
#define EVENT		TRACING "/events/%s/dvp_fault"

struct vfio_dev *cpu_open(const char *role)
{
	struct vfio_dev *dev;

	if (vfio_is_stock())
		t_skip("the stock driver's buffers are not for CPUs");
	dev = vfio_open(role);
	vfio_mem_enable(dev, true);
	return dev;
}

void *cpu_map(int fd, u64 offset, size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		       offset);

	expect(p != MAP_FAILED, "mmap: %s", t_errno_name(errno));
	return p;
}

void *cpu_room(u64 len, u64 align, u64 at)
{
	void *p = mmap(NULL, len + align, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	u64 start;

	expect(p != MAP_FAILED);
	start = ((uintptr_t)p & ~(align - 1)) + at;
	if (start < (uintptr_t)p)
		start += align;
	return (void *)start;
}

u64 cpu_bar_address(const char *bdf, int bar)
{
	char text[4096], *line = text;

	expect_ge(t_read(text, sizeof(text),
			 "/sys/bus/pci/devices/%s/resource", bdf), 1);
	while (bar--)
		line = strchr(line, '\n') + 1;
	return strtoull(line, NULL, 16);
}

static __thread sigjmp_buf back;
static __thread volatile bool trying;

static void on_bus(int sig, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	if (trying)
		siglongjmp(back, 1);
	/* Not ours: as if nobody had asked. */
	signal(sig, SIG_DFL);
}

static void catch_signal(int sig)
{
	struct sigaction act = {
		.sa_sigaction = on_bus,
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};

	expect_ok(sigaction(sig, &act, NULL));
}

static void catch_bus(void)
{
	catch_signal(SIGBUS);
}

void cpu_catch_segv(void)
{
	catch_signal(SIGSEGV);
}

bool cpu_get(const void *p, u32 *value)
{
	catch_bus();
	if (sigsetjmp(back, 0)) {
		trying = false;
		return false;
	}
	trying = true;
	*value = __atomic_load_n((const u32 *)p, __ATOMIC_RELAXED);
	trying = false;
	return true;
}

bool cpu_put(void *p, u32 value)
{
	catch_bus();
	if (sigsetjmp(back, 0)) {
		trying = false;
		return false;
	}
	trying = true;
	__atomic_store_n((u32 *)p, value, __ATOMIC_RELAXED);
	trying = false;
	return true;
}

void cpu_expect_at(const char *file, int line, const void *p, u32 want)
{
	u32 have;

	if (!cpu_get(p, &have))
		t_fail_at(file, line, "SIGBUS instead of %#x", want);
	if (have != want)
		t_fail_at(file, line, "reads %#x, not %#x", have, want);
}

static const char *events(void)
{
	return vfio_is_dropin() ? "vfio_pci" : "dmabuf_vfio_pci";
}

void faults_start(void)
{
	if (!t_exists(EVENT, events()))
		t_skip("this kernel does not trace");
	/* Truncating it clears it. */
	expect_ok(close(expect_ok(open(TRACING "/trace", O_WRONLY | O_TRUNC))));
	expect_eq(t_write("1", EVENT "/enable", events()), 0);
}

unsigned int faults_stop(void)
{
	static char trace[1 << 20];
	unsigned int n = 0;

	expect_eq(t_write("0", EVENT "/enable", events()), 0);
	expect_ge(t_read(trace, sizeof(trace), TRACING "/trace"), 1);
	for (char *at = trace; (at = strstr(at, "dvp_fault: ")); at++)
		n++;
	return n;
}
