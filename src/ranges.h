/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DVP_RANGES_H
#define DVP_RANGES_H

#include <linux/types.h>

/*
 * How often a buffer may have its BAR over: enough for a ring that continues at
 * its end, and page tables of an IOMMU stay in proportion.
 */
#define DVP_RANGES_REPEAT	2

/**
 * struct dvp_range - a slice of a BAR, laid out as struct vfio_region_dma_range
 * @offset: bytes from the start of the BAR
 * @length: bytes; as a caller gives it
 * @start: where the slice begins in the buffer, bytes; once dvp_ranges_index()
 *	has taken it over
 */
struct dvp_range {
	u64 offset;
	union {
		u64 length;
		u64 start;
	};
};

/* Where slice @i of a buffer of @nr ends; @size bytes are all of it. */
static inline u64 dvp_ranges_end(const struct dvp_range *ranges, u32 nr,
				 u64 size, u32 i)
{
	return i + 1 < nr ? ranges[i + 1].start : size;
}

int dvp_ranges_index(struct dvp_range *ranges, u32 *nr, u64 bar_size,
		     u64 page_size, u64 *size);
struct dvp_range dvp_ranges_from(const struct dvp_range *ranges, u32 nr,
				 u64 size, u64 offset);
u64 dvp_ranges_segments(const struct dvp_range *ranges, u32 nr, u64 size,
			u64 limit);

#endif /* DVP_RANGES_H */
