/* SPDX-License-Identifier: GPL-2.0-only */
/* Unplugging and plugging in. */
#ifndef DVP_LIB_HOTPLUG_H
#define DVP_LIB_HOTPLUG_H

#include "vfio.h"

/*
 * Skips where lockdep is: vfio and pciehp, without any lock of ours, take
 * theirs in a circle: a close resets the slot, and an unplugged slot removes
 * the function.
 */
void hotplug_needs_no_lockdep(void);

/*
 * pciehp hands what it starts itself to its interrupt thread. With PREEMPT_RT
 * irq_wake_thread() wakes the thread of the hard handler instead: see
 * docs/kernels.md.
 */
void hotplug_needs_own_events(void);

/* By surprise: QEMU takes a device away when the power of its slot goes off. */
void hotplug_pull(const char *port);

/* The role "rng" again, after it was unplugged; @bdf: where it was. */
void hotplug_plug_rng(const char *bdf);

#endif /* DVP_LIB_HOTPLUG_H */
