/* SPDX-License-Identifier: GPL-2.0-only */
/* Device classes. */
#ifndef DVP_COMPAT_CLASS_H
#define DVP_COMPAT_CLASS_H

#include <linux/device/class.h>

/*
 * A class that names its nodes looks at the device and changes nothing; older
 * kernels don't let it say so.
 */
#ifdef DVP_HAVE_CLASS_DEVNODE_CONST
#define dvp_class_const		const
#else
#define dvp_class_const
#endif

#endif /* DVP_COMPAT_CLASS_H */
