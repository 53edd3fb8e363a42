/* SPDX-License-Identifier: GPL-2.0-only */
/* The image behind an NVMe's disk, as the host has it. */
#ifndef DVP_LIB_DISK_H
#define DVP_LIB_DISK_H

#include "harness.h"

#define DISK_BLOCK	4096
#define DISK_LBA	512

void disk_read(const char *role, u64 lba, u8 block[DISK_BLOCK]);

/* Expects this block there; @what: whose it is, or when. */
void disk_expect(const char *role, u64 lba, const u8 *want, const char *what);

#endif /* DVP_LIB_DISK_H */
