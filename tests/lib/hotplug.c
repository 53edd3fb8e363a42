// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <unistd.h>

#include "hotplug.h"

/*
 * The host must find the power on, or it thinks that it had turned it off
 * itself: so it is to hear of all this only when it is over.
 */
void hotplug_pull(const char *port)
{
	const char *bdf = t_role(port);
	u8 pos, id;
	char path[64];
	u16 control, off;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	fd = expect_ok(open(path, O_RDWR | O_CLOEXEC));
	expect_eq(pread(fd, &pos, 1, PCI_CAPABILITY_LIST), 1);
	for (; pos; expect_eq(pread(fd, &pos, 1, pos + 1), 1)) {
		expect_eq(pread(fd, &id, 1, pos), 1);
		if (id == PCI_CAP_ID_EXP)
			break;
	}
	expect(pos);
	expect_eq(pread(fd, &control, 2, pos + PCI_EXP_SLTCTL), 2);
	off = (control & ~PCI_EXP_SLTCTL_HPIE) | PCI_EXP_SLTCTL_PCC |
	      PCI_EXP_SLTCTL_PWR_IND_OFF;
	expect_eq(pwrite(fd, &off, 2, pos + PCI_EXP_SLTCTL), 2);
	expect_eq(pwrite(fd, &control, 2, pos + PCI_EXP_SLTCTL), 2);
	expect_ok(close(fd));
}

void hotplug_plug_rng(const char *bdf)
{
	const char *reply;

	/* The host leaves a slot a second to lose its power. */
	t_sleep_ms(2500);
	reply = t_host("hmp device_add virtio-rng-pci,id=rng,%s",
		       "bus=rp_rng,aer=on,disable-legacy=on");
	expect(!*reply, "device_add: %s", reply);
	/*
	 * It is there for a moment before the bus lets a driver have it; then
	 * the bus probes it, too. Unbinding waits for that.
	 */
	expect(t_within(20000, t_exists("/sys/bus/pci/devices/%s", bdf) &&
			!vfio_try_bind(bdf, vfio_driver())),
	       "it does not come back");
	vfio_unbind(bdf);
}

void hotplug_needs_own_events(void)
{
	if (t_realtime_kernel())
		t_skip("pciehp loses events with PREEMPT_RT");
}

void hotplug_needs_no_lockdep(void)
{
	if (t_exists("/proc/lockdep_stats"))
		t_skip("lockdep finds vfio and pciehp at odds");
}
