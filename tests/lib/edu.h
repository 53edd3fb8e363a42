/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An edu driven from here, through VFIO: it moves bytes between its own memory
 * and an I/O address. What it moves for a case passes through a bounce page,
 * which the case maps for it; so each transfer is two of the engine.
 */
#ifndef DVP_LIB_EDU_H
#define DVP_LIB_EDU_H

#include "vfio.h"

#define EDU_BOUNCE_IOVA	0x100000ull
#define EDU_BOUNCE_SIZE	4096

struct edu {
	struct vfio_dev *dev;
	u64 *regs;
	u8 *bounce;			/* at EDU_BOUNCE_IOVA, once mapped */
};

/* Turns on an open edu. The case then maps @bounce. */
void edu_init(struct edu *edu, struct vfio_dev *dev);

/* Opens one by container and group, the bounce page mapped. */
void edu_open(struct edu *edu, const char *role);

/* Neither expects the bytes to arrive: an address may lead nowhere. */
void edu_write(struct edu *edu, u64 iova, const void *buf, u32 len);
void edu_read(struct edu *edu, u64 iova, void *buf, u32 len);

#endif /* DVP_LIB_EDU_H */
