// SPDX-License-Identifier: GPL-2.0-only
/* The image behind an NVMe's disk, as the host has it. */
#include <stdio.h>
#include <string.h>

#include "disk.h"

#define PIECE	512	/* the host shows that much at a time */

void disk_read(const char *role, u64 lba, u8 block[DISK_BLOCK])
{
	for (size_t at = 0; at < DISK_BLOCK; at += PIECE) {
		const char *hex = t_host("disk %s %llu %u", role,
					 (unsigned long long)lba * DISK_LBA +
					 at, PIECE);

		expect(strlen(hex) == 2 * PIECE, "the host says: %s", hex);
		for (size_t i = 0; i < PIECE; i++) {
			unsigned int byte;

			expect_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
			block[at + i] = byte;
		}
	}
}

void disk_expect(const char *role, u64 lba, const u8 *want, const char *what)
{
	u8 have[DISK_BLOCK];

	disk_read(role, lba, have);
	expect(!memcmp(have, want, DISK_BLOCK),
	       "%s: the disk has %02x %02x %02x", what, have[0], have[1],
	       have[2]);
}
