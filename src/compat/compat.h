/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The newest kernel's interfaces, brought to the kernel at hand. The driver
 * includes this first and is written as if there were no other kernel.
 */
#ifndef DVP_COMPAT_H
#define DVP_COMPAT_H

#include "features.h"

#include "arch.h"
#include "class.h"
#include "dma.h"
#include "dmabuf.h"
#include "kernel.h"
#include "mm.h"
#include "vfio.h"

#endif /* DVP_COMPAT_H */
