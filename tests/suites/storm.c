// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything at once. Each of some functions has an owner, who opens it, hands
 * out buffers, changes it in every way and closes it again; clients, who map
 * those buffers and have an edu use them; and a host, who resets, unbinds and
 * binds it. All of them are killed now and then and replaced. Nothing of this
 * may hang or be remarked upon by the kernel, and nothing may be left of it.
 *
 * Any single call may fail, since somebody else got in the way. DVP_STORM_S
 * says for how many seconds. A long storm also unplugs a function and plugs it
 * in again, and the memory in use must not grow: "make endurance".
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hotplug.h"
#include "rig.h"

#define SECONDS		60
#define SECONDS_LONG	600
#define SECONDS_MAX	3600
#define LONGER		240		/* until each has happened */
#define CLIENTS		2		/* of each function */
#define HELD		6		/* buffers a client has at a time */
#define LEAVE_MS	60000		/* for what is under way to end */
#define LEAVE_LONG_MS	400000		/* with functions that are gone */
#define GRACE_MS	20		/* not much, or little would happen */
#define SAMPLE_S	5
#define PERIODS		6		/* of a long storm */
#define PLUGGED_S	45		/* so long at least in a long storm */
#define PHASE_S		300

enum count {
	OPENS, EXPORTS, ATTACHES, MAPS, REFUSED, TRANSFERS, UNMAPS, RESETS,
	HOT_RESETS, FLRS, MEMORY_OFFS, SLEEPS, LOW_POWERS, CLOSES, HOST_RESETS,
	UNBINDS, BINDS, ERRORS, KILLS, PULLS, PLUGS, NR_COUNTS,
};

static const char * const count_names[NR_COUNTS] = {
	"opens", "exports", "attaches", "maps", "maps refused", "transfers",
	"unmaps", "resets", "hot resets", "function level resets",
	"memory off", "D3hot", "low power", "closes", "host resets", "unbinds",
	"binds", "errors", "kills", "pulls", "plugs",
};

static struct {
	bool stop;
	u32 counts[NR_COUNTS];
} *shared;

/* The functions; a second one of a group has the same owner. */
static struct target {
	const char *role;
	const char *sibling;
	const char *port;		/* where errors come from, or NULL */
	char bdf[VFIO_BDF_LEN];
	char sibling_bdf[VFIO_BDF_LEN];
	int bar;
	int sock[2];			/* owner to clients: descriptors */
} targets[] = {
	{ .role = "big", .bar = 2 },
	{ .role = "rng", .bar = 4, .port = "rp_rng" },
	{ .role = "nvme_mf", .sibling = "shm_mf", .bar = 2, .port = "rp_mf" },
};

#define NR_TARGETS	ARRAY_SIZE(targets)

static unsigned int seed;
static const char *edu;

static void count(enum count what)
{
	__atomic_add_fetch(&shared->counts[what], 1, __ATOMIC_RELAXED);
}

static u32 counted(enum count what)
{
	return __atomic_load_n(&shared->counts[what], __ATOMIC_RELAXED);
}

static bool stopped(void)
{
	return __atomic_load_n(&shared->stop, __ATOMIC_RELAXED);
}

/* A number below @n */
static u32 any(u32 n)
{
	return rand_r(&seed) % n;
}

static void pause_ms(u32 most)
{
	if (any(2))
		t_sleep_ms(any(most));
}

/* --- the owner */

static void write_config(struct vfio_dev *dev, u32 at, u32 value, u32 len)
{
	vfio_try_pwrite(dev, VFIO_PCI_CONFIG_REGION_INDEX, &value, len, at);
}

/* What the stock driver exports, where it does, is not ours to judge. */
static bool is_ours(const struct vfio_dev *dev)
{
	return !strcmp(vfio_driver_of(dev->bdf), vfio_driver());
}

static void export_some(struct target *t, struct vfio_dev *dev)
{
	struct vfio_region_dma_range ranges[4];
	u32 n = 1 + any(ARRAY_SIZE(ranges));
	int fd;

	for (u32 i = 0; i < n; i++) {
		ranges[i].offset = any(t->bar == 4 ? 4 : 256) * PAGE;
		ranges[i].length = PAGE;
	}
	if (!is_ours(dev))
		return;
	fd = export_buf(dev->fd, t->bar, O_RDWR | O_CLOEXEC, 0, ranges, n);
	if (fd < 0)
		return;
	count(EXPORTS);
	t_send_fd(t->sock[0], fd);
	close(fd);
}

static void memory_off(struct vfio_dev *dev)
{
	write_config(dev, PCI_COMMAND, 0, 1 + any(2));
	count(MEMORY_OFFS);
	pause_ms(20);
	write_config(dev, PCI_COMMAND, PCI_COMMAND_MEMORY, 1 + any(2));
}

static void sleep_deep(struct vfio_dev *dev)
{
	int pm = vfio_find_cap(dev, PCI_CAP_ID_PM);

	if (!pm)
		return;
	write_config(dev, pm + PCI_PM_CTRL, 3, 2);
	count(SLEEPS);
	pause_ms(20);
	if (any(8))
		write_config(dev, pm + PCI_PM_CTRL, 0, 2);
}

static void low_power(struct vfio_dev *dev)
{
	struct vfio_device_low_power_entry_with_wakeup arg = {};
	int ret, fd = -1;
	u32 op;

	if (any(2)) {
		fd = eventfd(0, EFD_CLOEXEC);
		arg.wakeup_eventfd = fd;
		op = VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP;
		ret = vfio_feature(dev->fd, VFIO_DEVICE_FEATURE_SET | op, &arg,
				   sizeof(arg));
	} else {
		ret = vfio_feature(dev->fd, VFIO_DEVICE_FEATURE_SET |
				   VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, NULL,
				   0);
	}
	if (!ret)
		count(LOW_POWERS);
	t_sleep_ms(any(60));
	if (any(8))
		vfio_feature(dev->fd, VFIO_DEVICE_FEATURE_SET |
			     VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, NULL, 0);
	if (fd >= 0)
		close(fd);
}

static void hot_reset(struct vfio_dev *dev)
{
	struct {
		struct vfio_pci_hot_reset head;
		int group;
	} arg = { .head = { .argsz = sizeof(arg), .count = 1 } };

	arg.group = dev->group;
	if (!ioctl(dev->fd, VFIO_DEVICE_PCI_HOT_RESET, &arg))
		count(HOT_RESETS);
}

static void flr(struct vfio_dev *dev)
{
	int exp = vfio_find_cap(dev, PCI_CAP_ID_EXP);

	if (!exp)
		return;
	write_config(dev, exp + PCI_EXP_DEVCTL + 1, 0x80, 1);
	count(FLRS);
}

/* What does not change anything, so that it must not hurt. */
static void poke(struct vfio_dev *dev)
{
	u8 buf[64];

	if (vfio_try_pread(dev, VFIO_PCI_CONFIG_REGION_INDEX, buf, 64, 0) == 64)
		vfio_try_pwrite(dev, VFIO_PCI_CONFIG_REGION_INDEX, buf, 64, 0);
	vfio_try_pread(dev, any(6), buf, 4, 0);
}

static void change(struct target *t, struct vfio_dev *dev)
{
	switch (any(20)) {
	case 0:
		if (!ioctl(dev->fd, VFIO_DEVICE_RESET))
			count(RESETS);
		break;
	case 1:
		hot_reset(dev);
		break;
	case 2:
		flr(dev);
		break;
	case 3 ... 6:
		memory_off(dev);
		break;
	case 7:
		sleep_deep(dev);
		break;
	case 8:
		low_power(dev);
		break;
	case 9:
		poke(dev);
		break;
	default:
		export_some(t, dev);
	}
}

static void owner(struct target *t)
{
	struct vfio_dev *dev, *sibling;

	while (!stopped()) {
		if (vfio_try_open_bdf(t->bdf, &dev)) {
			t_sleep_ms(5);
			continue;
		}
		count(OPENS);
		sibling = NULL;
		if (t->sibling && any(4))
			vfio_try_open_bdf(t->sibling_bdf, &sibling);
		write_config(dev, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
		for (u32 n = any(60); n && !stopped(); n--) {
			change(t, sibling && !any(4) ? sibling : dev);
			pause_ms(10);
		}
		if (sibling)
			vfio_close(sibling);
		vfio_close(dev);
		count(CLOSES);
	}
}

/* --- the clients */

struct held {
	int fd;
	int handle;
	u64 addr;
};

/* Late, for good or for a while; or in its callback */
static void be_late(int imp, int handle)
{
	if (any(2))
		imp_sleepy(imp, handle, any(2) ? DVPI_POLICY_KEEP : 0,
			   any(3 * GRACE_MS));
	else
		imp_keep(imp, handle);
}

static void let_go(int imp, struct held *held)
{
	if (held->fd < 0)
		return;
	imp_detach(imp, held->handle);
	close(held->fd);
	held->fd = -1;
}

static void take_one(struct target *t, int imp, struct held *held)
{
	static const u32 policies[] = {
		0, 0, DVPI_POLICY_FENCE, DVPI_POLICY_REMAP,
		DVPI_POLICY_FENCE | DVPI_POLICY_REMAP,
	};

	let_go(imp, held);
	held->addr = 0;
	held->fd = t_receive_fd(t->sock[1], MSG_DONTWAIT);
	if (held->fd < 0)
		return;
	held->handle = imp_attach(imp, held->fd, edu);
	if (held->handle < 0) {
		close(held->fd);
		held->fd = -1;
		return;
	}
	count(ATTACHES);
	if (any(8))
		imp_policy(imp, held->handle,
			   policies[any(ARRAY_SIZE(policies))], any(20),
			   any(20));
	else
		be_late(imp, held->handle);
}

static void use(int imp, struct held *held)
{
	u8 buf[64] = {};
	struct imp_map map;
	u32 failures;
	int ret;

	switch (any(12)) {
	case 0:
		/* The address may be an old one. */
		if (held->addr && !imp_write(imp, edu, held->addr, buf, 4))
			count(TRANSFERS);
		break;
	case 1 ... 3:
		if (!imp_unmap(imp, held->handle))
			count(UNMAPS);
		break;
	case 4:
		if (any(2))
			imp_fence(imp, held->handle, 1 + any(20));
		else
			imp_import_fence(imp, held->fd, 1 + any(100));
		break;
	case 5:
		imp_loop(imp, held->handle, 20, &failures);
		break;
	default:
		ret = imp_map(imp, held->handle, &map);
		if (!ret) {
			count(MAPS);
			held->addr = imp_addr(&map, 0, 4);
			imp_map_free(&map);
			break;
		}
		expect(ret == -ENODEV || ret == -EALREADY, "map: %s",
		       t_errno_name(-ret));
		if (ret != -ENODEV)
			break;
		count(REFUSED);
		/* For now or for good? Let go one time in eight. */
		if (!any(8))
			let_go(imp, held);
	}
}

static void client(struct target *t)
{
	struct held held[HELD];
	int imp = imp_open();

	for (int i = 0; i < HELD; i++)
		held[i].fd = -1;
	while (!stopped()) {
		struct held *h = &held[any(HELD)];

		if (h->fd < 0 || !any(16))
			take_one(t, imp, h);
		else
			use(imp, h);
		pause_ms(5);
		if (!any(200)) {
			close(imp);
			for (int i = 0; i < HELD; i++) {
				if (held[i].fd >= 0)
					close(held[i].fd);
				held[i].fd = -1;
			}
			imp = imp_open();
		}
	}
	for (int i = 0; i < HELD; i++)
		let_go(imp, &held[i]);
}

/* --- the host */

static void read_debugfs(const char *bdf)
{
	char text[8192];

	t_read(text, sizeof(text), "%s", vfio_debugfs(bdf, "state"));
	t_read(text, sizeof(text), "%s", vfio_debugfs(bdf, "buffers"));
	t_read(text, sizeof(text), "/sys/kernel/debug/dma_buf/bufinfo");
}

static void rebind(const char *bdf)
{
	if (!vfio_try_bind(bdf, any(8) ? NULL : vfio_other_driver()))
		count(UNBINDS);
	pause_ms(20);
	if (!vfio_try_bind(bdf, vfio_driver()))
		count(BINDS);
}

static void host(struct target *t)
{
	while (!stopped()) {
		const char *bdf = t->sibling && any(2) ? t->sibling_bdf :
							 t->bdf;

		switch (any(10)) {
		case 0:
			rebind(bdf);
			break;
		case 1:
			if (!t_write("1", "/sys/bus/pci/devices/%s/reset", bdf))
				count(HOST_RESETS);
			break;
		default:
			read_debugfs(bdf);
		}
		t_sleep_ms(any(100));
	}
}

/* --- who keeps it going */

#define ROLES		(2 + CLIENTS)
#define NR_CHILDREN	(NR_TARGETS * ROLES)

static pid_t children[NR_CHILDREN];

static void start(u32 n)
{
	struct target *t = &targets[n / ROLES];
	static unsigned int generation;

	generation++;
	children[n] = t_fork();
	if (children[n])
		return;
	seed = generation * 7919 + n;
	switch (n % ROLES) {
	case 0:
		owner(t);
		break;
	case 1:
		host(t);
		break;
	default:
		client(t);
	}
	_exit(0);
}

static void died(pid_t pid, int status)
{
	expect(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL :
	       !WEXITSTATUS(status), "child %d ends with %#x", pid, status);
	for (u32 n = 0; n < NR_CHILDREN; n++) {
		if (children[n] != pid)
			continue;
		children[n] = 0;
		if (!stopped())
			start(n);
	}
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		died(pid, status);
}

/*
 * A recovery wakes functions up, and vfio_pci_core and the PCI core take their
 * locks in a circle then: lockdep would say so, and nothing more from there on.
 */
static bool has_errors(void)
{
	return !t_exists("/proc/lockdep_stats");
}

static void inject_error(const char *port)
{
	if (!port || !has_errors())
		return;
	t_host("hmp pcie_aer_inject_error %s COMP_TIME", port);
	count(ERRORS);
}

static bool none_left(void)
{
	reap();
	for (u32 n = 0; n < NR_CHILDREN; n++)
		if (children[n])
			return false;
	return true;
}

static void set_up(void)
{
	if (vfio_is_stock())
		t_skip("the stock driver has no gate");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(shared != MAP_FAILED);
	vfio_grace(GRACE_MS);
	edu = imp_edu("edu_rp");
	for (struct target *t = targets; t < targets + NR_TARGETS; t++) {
		/* The shadow of a big BAR takes seconds at each open. */
		if (t_debug_kernel() && !strcmp(t->role, "big"))
			t->role = "shm_sw";
		strcpy(t->bdf, t_role(t->role));
		vfio_bind(t->bdf, vfio_driver());
		if (t->sibling) {
			strcpy(t->sibling_bdf, t_role(t->sibling));
			vfio_bind(t->sibling_bdf, vfio_driver());
		}
		expect_ok(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0,
				     t->sock));
	}
}

static u32 seconds(void)
{
	const char *env = getenv("DVP_STORM_S");
	u32 n = env && *env ? atoi(env) : SECONDS;

	return n < SECONDS_MAX ? n : SECONDS_MAX;
}

static bool is_long(void)
{
	return seconds() >= SECONDS_LONG;
}

/* For what is gone from its slot in mid-reset the kernel waits for minutes. */
static int leave_ms(void)
{
	return is_long() ? LEAVE_LONG_MS : LEAVE_MS;
}

/* --- the slot of one function, in a long storm */

#define PULLED		(&targets[1])	/* "rng" */

static u64 plugged_at;			/* 0: it is out */

static void pull(void)
{
	hotplug_pull(PULLED->port);
	plugged_at = 0;
	count(PULLS);
}

/*
 * The last user has to let go first, and then the host leaves the slot a moment
 * to lose its power: a refusal is for the next time.
 */
static void plug(void)
{
	if (t_exists("/sys/bus/pci/devices/%s", PULLED->bdf))
		return;
	t_sleep_ms(2500);
	if (*t_host("hmp device_add virtio-rng-pci,id=rng,%s",
		    "bus=rp_rng,aer=on,disable-legacy=on"))
		return;
	plugged_at = t_now_ns();
	count(PLUGS);
}

/*
 * Errors in one phase, the slot in the next. The kernel's own locks go in a
 * circle otherwise: recovery walks the bus and wants a device's lock, which an
 * unbind has, until the user has closed, which walks the bus, behind whoever
 * adds a function to it.
 */
static bool errors_now(u64 since)
{
	u64 s = (t_now_ns() - since) / 1000000000;

	return has_errors() &&
	       (!is_long() || (plugged_at && !(s / PHASE_S % 2)));
}

static void pull_or_plug(u64 since)
{
	u64 s = (t_now_ns() - since) / 1000000000;

	if (!is_long() || !has_errors())
		return;
	if (!plugged_at)
		plug();
	else if (s / PHASE_S % 2 && s % PHASE_S > PLUGGED_S &&
		 t_now_ns() - plugged_at > PLUGGED_S * 1000000000ull)
		pull();
}

static bool is_bound(const char *bdf)
{
	return !vfio_try_bind(bdf, vfio_driver());
}

static void leave_plugged(void)
{
	expect(t_within(leave_ms(), plugged_at || (plug(), plugged_at)),
	       "%s is not let go of", PULLED->bdf);
	/* It is there for a moment before the bus lets a driver have it. */
	expect(t_within(leave_ms(), is_bound(PULLED->bdf)),
	       "%s does not come back", PULLED->bdf);
}

/* --- what a long storm leaves in memory while it lasts */

static struct sample {
	long objects;			/* the least of a period */
	long slab_kb;
	u32 closes;			/* at the end of it */
} samples[PERIODS];

static long slab_kb(void)
{
	char text[4096];
	const char *line;

	if (t_read(text, sizeof(text), "/proc/meminfo") < 0)
		return 0;
	line = strstr(text, "SUnreclaim:");
	return line ? atol(line + strlen("SUnreclaim:")) : 0;
}

static void least(long *of, long value)
{
	if (!*of || value < *of)
		*of = value;
}

static void take_sample(u64 since)
{
	u64 s = (t_now_ns() - since) / 1000000000;
	u32 period = s * PERIODS / seconds();
	struct sample *now = &samples[period];
	static u64 next;

	if (period >= PERIODS || s < next)
		return;
	next = s + SAMPLE_S;
	if (!now->objects && period)
		t_note("%u of %u: %ld objects, slab %ld KiB", period, PERIODS,
		       now[-1].objects, now[-1].slab_kb);
	least(&now->objects, t_objects());
	least(&now->slab_kb, slab_kb());
	now->closes = counted(CLOSES);
}

/* Something lost at each close, or more often, would be as many by now. */
static void expect_flat(void)
{
	const struct sample *a = &samples[1], *b = &samples[PERIODS - 1];
	long closes = b->closes - a->closes;

	t_note("%u of %u: %ld objects, slab %ld KiB", PERIODS, PERIODS,
	       b->objects, b->slab_kb);
	if (!is_long() || t_debug_kernel())
		return;
	expect(b->objects - a->objects < closes / 2,
	       "%ld objects have become %ld in %ld closes", a->objects,
	       b->objects, closes);
}

/* --- the end */

static bool has_reasons(const char *bdf, const char *reasons)
{
	return !strcmp(gate_read(bdf).reasons, reasons);
}

static bool serves(const char *bdf)
{
	struct vfio_dev *dev;
	bool yes;

	if (vfio_try_open_bdf(bdf, &dev))
		return false;
	vfio_mem_enable(dev, true);
	yes = has_reasons(bdf, "");
	vfio_close(dev);
	return yes && has_reasons(bdf, "closed");
}

/*
 * An error that was not recovered from stays until the next open, and the
 * recovery that fails may still be running: but then a function must serve a
 * new user as if nothing had happened.
 */
static void expect_serves(const char *bdf)
{
	struct gate gate;

	/* The host may have died with the function unbound. */
	vfio_bind(bdf, vfio_driver());
	gate = gate_read(bdf);
	expect_eq(gate.buffers, 0);
	expect_eq(gate.ranges, 0);
	expect(t_within(leave_ms(), serves(bdf)), "%s: \"%s\"", bdf,
	       gate_read(bdf).reasons);
	vfio_unbind(bdf);
}

static bool fails_for_good(struct target *t)
{
	inject_error(t->port);
	return t_within(2000, has_reasons(t->bdf, "closed error"));
}

/*
 * How a storm may end, and now and then one did: with a recovery that fails
 * since one of two functions has no driver.
 */
static void end_badly(void)
{
	struct target *t = &targets[NR_TARGETS - 1];

	if (!has_errors())
		return;
	vfio_bind(t->bdf, vfio_driver());
	vfio_unbind(t->sibling_bdf);
	expect(t_within(leave_ms(), fails_for_good(t)), "%s: \"%s\"", t->bdf,
	       gate_read(t->bdf).reasons);
}

/* Nobody knows of a buffer or holds a module. */
static void expect_nothing_left(void)
{
	char text[8192];

	for (struct target *t = targets; t < targets + NR_TARGETS; t++) {
		close(t->sock[0]);
		close(t->sock[1]);
	}
	expect(t_within(leave_ms(), !t_refcnt(vfio_module())),
	       "%s is used %d times", vfio_module(), t_refcnt(vfio_module()));
	expect(t_within(leave_ms(), !t_refcnt(IMPORTER_DRIVER)),
	       "the importer is used %d times", t_refcnt(IMPORTER_DRIVER));
	if (t_read(text, sizeof(text), "/sys/kernel/debug/dma_buf/bufinfo") > 0)
		expect(!strstr(text, vfio_driver()), "%s", text);
	for (struct target *t = targets; t < targets + NR_TARGETS; t++) {
		expect_serves(t->bdf);
		if (t->sibling)
			expect_serves(t->sibling_bdf);
	}
	expect_eq(vfio_rmmod(vfio_module()), 0);
	vfio_modprobe(vfio_module());
}

static void report(void)
{
	char text[512];
	int len = 0;

	for (int i = 0; i < NR_COUNTS; i++)
		len += snprintf(text + len, sizeof(text) - len, "%s%u %s",
				i ? ", " : "", shared->counts[i],
				count_names[i]);
	t_note("%s", text);
}

/* What has not happened yet, or NULL */
static const char *missing(void)
{
	for (int i = 0; i < NR_COUNTS; i++) {
		if (shared->counts[i] || (i == ERRORS && !has_errors()))
			continue;
		if ((i == PULLS || i == PLUGS) &&
		    (!is_long() || !has_errors()))
			continue;
		return count_names[i];
	}
	return NULL;
}

/* A busy host makes what is rare rarer: not before each has happened. */
static bool goes_on(u64 since)
{
	u64 s = (t_now_ns() - since) / 1000000000;

	return s < seconds() || (s < seconds() + LONGER && missing());
}

TEST_TIMEOUT(storm, everything, SECONDS_MAX + LONGER + 900)
{
	u64 since;

	set_up();
	since = t_now_ns();
	plugged_at = since;
	seed = 1;
	for (u32 n = 0; n < NR_CHILDREN; n++)
		start(n);
	while (goes_on(since)) {
		t_sleep_ms(50);
		reap();
		if (!any(6)) {
			u32 n = any(NR_CHILDREN);

			/* On a slow kernel, too, some are to get somewhere. */
			if (children[n] && counted(KILLS) < counted(OPENS) &&
			    !kill(children[n], SIGKILL))
				count(KILLS);
		}
		if (!any(20) && errors_now(since))
			inject_error(targets[any(NR_TARGETS)].port);
		pull_or_plug(since);
		take_sample(since);
	}
	shared->stop = true;
	report();
	expect(t_within(leave_ms(), none_left()), "somebody hangs");
	leave_plugged();
	expect_flat();
	end_badly();
	expect(!missing(), "no %s", missing());
	expect_nothing_left();
}

/* Functions come and go side by side, and wake up and fall asleep with it. */
TEST_TIMEOUT(storm, bound_side_by_side, 300)
{
	static const char * const roles[] = { "big", "rng", "bochs", "shm_sw" };
	const int times = t_debug_kernel() ? 30 : 150;
	pid_t pids[ARRAY_SIZE(roles)];
	struct vfio_dev *dev;

	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		const char *bdf = t_role(roles[i]);

		pids[i] = t_fork();
		if (pids[i])
			continue;
		for (int n = 0; n < times; n++) {
			vfio_bind(bdf, vfio_driver());
			vfio_unbind(bdf);
		}
		_exit(0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
		t_join(pids[i]);
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		dev = vfio_open(roles[i]);
		vfio_close(dev);
	}
}
