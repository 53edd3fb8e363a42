/* SPDX-License-Identifier: GPL-2.0-only */
/* Odds and ends of the core kernel. */
#ifndef DVP_COMPAT_KERNEL_H
#define DVP_COMPAT_KERNEL_H

#include <linux/module.h>
#include <linux/workqueue.h>

/*
 * Up to 6.12 the macro turns its argument into a string, from 6.13 on it takes
 * one. Both put that string into the module's import_ns entry, and so does
 * this, whichever it replaces.
 */
#undef MODULE_IMPORT_NS
#define MODULE_IMPORT_NS(ns)	MODULE_INFO(import_ns, ns)

/* What each workqueue was that did not say WQ_UNBOUND. */
#ifndef DVP_HAVE_WQ_PERCPU
#define WQ_PERCPU	0
#endif

#endif /* DVP_COMPAT_KERNEL_H */
