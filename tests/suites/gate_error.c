// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gate, PCIe errors and unplugging: what nobody asked for.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hotplug.h"
#include "rig.h"

#define SOON_MS		15000

static void inject(const char *id, const char *error)
{
	const char *reply = t_host("hmp pcie_aer_inject_error %s %s", id,
				   error);

	expect(!strstr(reply, "rror:") && strncmp(reply, "error", 5),
	       "the injection says: %s", reply);
}

/* Recovery holds the device lock from time to time: not of the importer. */
static void await(struct rig *rig, const char *reasons)
{
	expect(t_within(SOON_MS, !strcmp(gate_read(rig->bdf).reasons, reasons)),
	       "\"%s\", not \"%s\"", gate_read(rig->bdf).reasons, reasons);
}

static bool has_error(struct rig *rig)
{
	return strstr(gate_read(rig->bdf).reasons, "error");
}

/* An error that leaves the link alone: over when recovery is. */
static void nonfatal(const char *id, const char *error)
{
	struct rig rig = {};
	pid_t pid;

	rig_open(&rig, "rng");
	rig_hold(&rig);
	inject(id, error);
	rig_middle(&rig, 0, "error");
	/* Nor can the user interfere: his reset is refused, or waits. */
	pid = t_fork();
	if (!pid) {
		if (!ioctl(rig.dev->fd, VFIO_DEVICE_RESET))
			expect_eq(imp_stats(rig.imp, rig.slow.handle).mapped,
				  0);
		else
			expect_eq(errno, EAGAIN);
		vfio_mem_enable(rig.dev, true);
		_exit(0);
	}
	t_sleep_ms(300);
	expect(has_error(&rig));
	rig_let_go(&rig);
	t_join(pid);
	await(&rig, "");
	rig_back(&rig);
}

TEST_TIMEOUT(error, nonfatal_below_a_port, 60)
{
	nonfatal("rp_rng", "COMP_TIME");
}

TEST_TIMEOUT(error, nonfatal_at_the_function, 60)
{
	nonfatal("rng", "COMP_TIME");
}

/*
 * With the link reset, decoding is off until the user says otherwise. The error
 * itself ends all access, so recovery waits for nobody; its end does.
 */
static void fatal(bool reset)
{
	struct rig rig = {};

	rig_open(&rig, "rng");
	rig_hold(&rig);
	inject("rng", "DLP");
	rig_quick_lets_go(&rig);
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	t_sleep_ms(1500);
	expect(has_error(&rig));
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	expect_eq(imp_stats(rig.imp, rig.slow.handle).mapped, 1);
	rig_let_go(&rig);
	await(&rig, "memory-off");
	rig_blocked(&rig, "memory-off");
	if (reset) {
		expect_ok(ioctl(rig.dev->fd, VFIO_DEVICE_RESET));
		rig_blocked(&rig, "memory-off");
	}
	vfio_mem_enable(rig.dev, true);
	rig_back(&rig);
}

TEST_TIMEOUT(error, fatal, 60)
{
	fatal(false);
}

TEST_TIMEOUT(error, fatal_then_reset, 60)
{
	fatal(true);
}

/* An importer that keeps its mapping, or is stuck, is cut off in time. */
static void cut_off(const char *id, const char *error, const char *reasons,
		    u32 flags)
{
	struct rig rig = {};
	u64 start;

	rig_open(&rig, "rng");
	vfio_grace(500);
	expect_eq(imp_policy(rig.imp, rig.slow.handle,
			     DVPI_POLICY_KEEP | flags, 0, 0), 0);
	start = t_now_ns();
	inject(id, error);
	expect(t_within(SOON_MS, has_error(&rig)));
	await(&rig, reasons);
	expect_ge((t_now_ns() - start) / 1000000, 450);
	expect_eq(imp_stats(rig.imp, rig.slow.handle).mapped, 1);
	vfio_mem_enable(rig.dev, true);
	gate_expect(rig.bdf, "");
	rig_stale(&rig, rig.slow.addr);
	rig_stale(&rig, rig.quick.addr);
	expect_eq(imp_release(rig.imp, rig.slow.handle), 0);
	rig_let_go(&rig);
	expect(t_within(SOON_MS,
			!imp_stats(rig.imp, rig.quick.handle).mapped));
	rig_map(&rig);
}

TEST_TIMEOUT(error, nonfatal_cuts_off, 60)
{
	cut_off("rp_rng", "COMP_TIME", "", 0);
}

TEST_TIMEOUT(error, nonfatal_cuts_off_a_stuck_one, 60)
{
	cut_off("rp_rng", "COMP_TIME", "", DVPI_POLICY_STUCK);
}

TEST_TIMEOUT(error, fatal_cuts_off, 60)
{
	cut_off("rng", "DLP", "memory-off", 0);
}

TEST_TIMEOUT(error, in_flight, 60)
{
	struct rig rig = {};
	pid_t pid;

	rig_open(&rig, "rng");
	pid = rig_stream(&rig);
	inject("rp_rng", "COMP_TIME");
	expect(t_within(SOON_MS, gate_read(rig.bdf).restores >
			rig.mark.restores));
	rig_stop(&rig, pid);
	rig_map(&rig);
}

TEST_TIMEOUT(error, with_memory_off, 60)
{
	struct rig rig = {};
	u32 seen;

	rig_open(&rig, "rng");
	vfio_mem_enable(rig.dev, false);
	seen = imp_stats(rig.imp, rig.quick.handle).invalidations;
	inject("rp_rng", "COMP_TIME");
	t_sleep_ms(1000);
	await(&rig, "memory-off");
	expect_eq(imp_stats(rig.imp, rig.quick.handle).invalidations, seen);
	vfio_mem_enable(rig.dev, true);
	rig_back(&rig);
}

/* All functions below the port, whichever had it */
TEST_TIMEOUT(error, of_two_functions, 60)
{
	struct rig rig = {}, other = {};

	rig_open(&rig, "nvme_mf");
	rig_open(&other, "shm_mf");
	rig_mark(&other);
	rig_hold(&rig);
	inject("rp_mf", "COMP_TIME");
	rig_middle(&rig, 0, "error");
	rig_let_go(&rig);
	await(&rig, "");
	await(&other, "");
	rig_back(&rig);
	rig_back(&other);
}

/* A function without a driver that knows of errors spoils it for the others. */
TEST_TIMEOUT(error, recovery_fails, 60)
{
	struct rig rig = {};

	rig_open(&rig, "shm_mf");
	rig_hold(&rig);
	vfio_unbind(t_role("nvme_mf"));
	inject("rp_mf", "COMP_TIME");
	rig_middle(&rig, 0, "error");
	rig_let_go(&rig);
	t_sleep_ms(1000);
	rig_blocked(&rig, "error");
	vfio_mem_enable(rig.dev, false);
	rig_blocked(&rig, "memory-off error");
	vfio_mem_enable(rig.dev, true);
	rig_blocked(&rig, "error");
	/* A new user starts afresh. */
	vfio_close(rig.dev);
	rig_reopen(&rig);
	gate_expect(rig.bdf, "");
	rig_export(&rig);
	rig_map(&rig);
}

/* --- the function beside it, which takes its time */

#define PEER	"/sys/module/dvp_peer/parameters"

static u64 peer_ns(const char *what)
{
	char text[32];

	expect_ge(t_read(text, sizeof(text), PEER "/%s", what), 1);
	return strtoull(text, NULL, 10);
}

/* It is told of an error after the other function below the port. */
static void bind_peer(const char *detected_ms)
{
	vfio_bind(t_role("shm_mf"), "dvp_peer");
	expect_eq(t_write("0", PEER "/detected_ns"), 0);
	expect_eq(t_write("0", PEER "/resumed_ns"), 0);
	expect_eq(t_write(detected_ms, PEER "/detected_ms"), 0);
}

/*
 * Closed and opened again in the middle of a recovery that ends with a link
 * reset: nobody is let in before that.
 */
TEST_TIMEOUT(error, open_while_it_recovers, 60)
{
	struct rig rig = {};
	struct gate gate;

	rig_open(&rig, "nvme_mf");
	bind_peer("3000");
	inject("rp_mf", "DLP");
	await(&rig, "error");
	expect(t_within(SOON_MS, peer_ns("detected_ns")));
	vfio_close(rig.dev);
	rig_reopen(&rig);
	rig_export(&rig);
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	gate = gate_read(rig.bdf);
	expect(!peer_ns("resumed_ns"), "the recovery is over already");
	expect(strstr(gate.reasons, "error"), "\"%s\" while it recovers",
	       gate.reasons);

	expect(t_within(SOON_MS, peer_ns("resumed_ns")), "it never recovers");
	await(&rig, "memory-off");
	expect_eq(imp_stats(rig.imp, rig.quick.handle).invalidations, 0);
	vfio_mem_enable(rig.dev, true);
	gate_expect(rig.bdf, "");
	/* It is told of the first good moment, and lets go if it is there. */
	expect(t_within(SOON_MS,
			imp_stats(rig.imp, rig.quick.handle).invalidations &&
			imp_stats(rig.imp, rig.slow.handle).invalidations));
	rig_wake(&rig);
	rig_map(&rig);
}

/*
 * The function that is told of the error after this one is told at once,
 * whatever this one's importers do; access returns only after they let go.
 */
TEST_TIMEOUT(error, late_importer_holds_up_nobody, 60)
{
	enum { GRACE_MS = 6000 };
	struct rig rig = {};
	u64 told, off;

	rig_open(&rig, "nvme_mf");
	vfio_grace(GRACE_MS);
	bind_peer("0");
	rig_hold(&rig);
	inject("rp_mf", "COMP_TIME");
	rig_quick_lets_go(&rig);
	told = imp_stats(rig.imp, rig.quick.handle).invalidate_ns;
	expect(t_within(GRACE_MS / 2, peer_ns("resumed_ns")),
	       "the recovery waits for an importer");
	expect_le(peer_ns("resumed_ns"), told + GRACE_MS / 2 * 1000000ull);
	gate_expect(rig.bdf, "error");
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	expect_eq(imp_stats(rig.imp, rig.slow.handle).mapped, 1);

	expect(t_within(2 * GRACE_MS, gate_read(rig.bdf).reachable),
	       "it is not back after the grace period");
	off = t_now_ns();
	/* Timers count in ticks. */
	expect_ge(off, told + (GRACE_MS - 100) * 1000000ull);
	rig_stale(&rig, rig.slow.addr);
	rig_let_go(&rig);
	rig_map(&rig);
}

/* Let go of before the grace period is over, it is back at once. */
TEST_TIMEOUT(error, back_when_they_are_off, 60)
{
	struct rig rig = {};

	rig_open(&rig, "nvme_mf");
	bind_peer("0");
	rig_hold(&rig);
	inject("rp_mf", "COMP_TIME");
	rig_quick_lets_go(&rig);
	expect(t_within(SOON_MS, peer_ns("resumed_ns")),
	       "the recovery waits for an importer");
	t_sleep_ms(300);
	gate_expect(rig.bdf, "error");
	expect_eq(imp_stats(rig.imp, rig.quick.handle).invalidations,
		  rig.quick.mark.invalidations + 1);
	rig_let_go(&rig);
	await(&rig, "");
	rig_back(&rig);
}

/* A correctable error is none. */
TEST(error, correctable)
{
	struct rig rig = {};

	rig_open(&rig, "rng");
	inject("rng", "RCVR");
	t_sleep_ms(1000);
	rig_untouched(&rig, "a correctable error");
}

/* --- unplugging */

static bool is_there(struct rig *rig)
{
	return t_exists("/sys/bus/pci/devices/%s", rig->bdf);
}

/* An eventfd that says that the user is asked to give the function up. */
static int watch_requests(const struct rig *rig)
{
	int fd = expect_ok(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));

	expect_eq(vfio_set_irq(rig->dev, VFIO_PCI_REQ_IRQ_INDEX, 0, fd), 0);
	return fd;
}

TEST_TIMEOUT(error, surprise_removal, 90)
{
	struct rig rig = {};
	int requests;
	u64 count;

	hotplug_needs_no_lockdep();
	hotplug_needs_own_events();

	rig_open(&rig, "rng");
	requests = watch_requests(&rig);
	rig_hold(&rig);
	hotplug_pull("rp_rng");
	expect(t_within(SOON_MS,
			!imp_stats(rig.imp, rig.quick.handle).mapped));
	gate_expect(rig.bdf, "gone");
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	/* The end of the removal is begun, though an importer holds on. */
	expect(t_within(SOON_MS, read(requests, &count, sizeof(count)) > 0),
	       "the removal waits for an importer");
	expect_eq(imp_stats(rig.imp, rig.slow.handle).mapped, 1);
	rig_let_go(&rig);
	t_sleep_ms(500);
	/* It stays gone, and bound, until its user has noticed. */
	gate_expect(rig.bdf, "gone");
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	vfio_close(rig.dev);
	expect(t_within(SOON_MS, !is_there(&rig)), "it is still there");
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	expect_eq(imp_write(rig.imp, rig.edu, rig.quick.addr, rig.bytes, 4),
		  0);
	expect_eq(imp_detach(rig.imp, rig.quick.handle), 0);
	expect_eq(imp_detach(rig.imp, rig.slow.handle), 0);
	expect_ok(close(rig.fd));
	hotplug_plug_rng(rig.bdf);
	memset(&rig, 0, sizeof(rig));
	rig_open(&rig, "rng");
}

/*
 * Gone in the middle of a reset: what answers with all ones is not there with
 * its memory on, and nobody is let in.
 */
TEST_TIMEOUT(error, removal_while_it_resets, 90)
{
	struct dvpi_stats quick;
	struct rig rig = {};
	pid_t pid;

	hotplug_needs_no_lockdep();
	hotplug_needs_own_events();
	if (!t_kernel_since(6, 12))
		t_skip("it waits for a minute for a function that is gone");

	rig_open(&rig, "rng");
	/* Not by sysfs: that locks the port, too. */
	pid = t_fork();
	if (!pid) {
		ioctl(rig.dev->fd, VFIO_DEVICE_RESET);
		_exit(0);
	}
	expect(t_within(SOON_MS, !gate_read(rig.bdf).reachable));
	hotplug_pull("rp_rng");
	t_join(pid);
	expect(t_within(SOON_MS, strstr(gate_read(rig.bdf).reasons, "gone")));
	expect_eq(gate_read(rig.bdf).restores, rig.mark.restores);
	quick = imp_stats(rig.imp, rig.quick.handle);
	expect_eq(quick.invalidations, rig.quick.mark.invalidations + 1);
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	vfio_close(rig.dev);
	expect(t_within(SOON_MS, !is_there(&rig)), "it is still there");
	hotplug_plug_rng(rig.bdf);
}

/* The user is asked to close; until then all is as it was. */
TEST_TIMEOUT(error, orderly_removal, 90)
{
	struct rig rig = {};

	hotplug_needs_no_lockdep();
	hotplug_needs_own_events();
	rig_open(&rig, "rng");
	t_host("hmp device_del rng");
	t_sleep_ms(8000);
	expect(is_there(&rig));
	rig_untouched(&rig, "a removal that was asked for");
	vfio_close(rig.dev);
	expect(t_within(SOON_MS, !is_there(&rig)), "it is still there");
	expect_err(imp_map(rig.imp, rig.quick.handle, NULL), ENODEV);
	expect_eq(imp_stats(rig.imp, rig.slow.handle).mapped, 0);
	hotplug_plug_rng(rig.bdf);
	memset(&rig, 0, sizeof(rig));
	rig_open(&rig, "rng");
}
