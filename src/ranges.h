/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DVP_RANGES_H
#define DVP_RANGES_H

#include <linux/types.h>

/**
 * struct dvp_range - a slice of a BAR, laid out as struct vfio_region_dma_range
 * @offset: bytes from the start of the BAR
 * @length: bytes
 */
struct dvp_range {
	u64 offset;
	u64 length;
};

int dvp_ranges_check(const struct dvp_range *ranges, u32 nr, u64 bar_size,
		     u64 page_size, u64 *size);
u32 dvp_ranges_merge(const struct dvp_range *ranges, u32 nr,
		     struct dvp_range *merged);
void dvp_ranges_index(const struct dvp_range *ranges, u32 nr, u64 *starts);
struct dvp_range dvp_ranges_from(const struct dvp_range *ranges,
				 const u64 *starts, u32 nr, u64 offset);
u64 dvp_ranges_segments(const struct dvp_range *ranges, u32 nr, u64 limit);

#endif /* DVP_RANGES_H */
