// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges of a BAR: validate, merge, find, count. Pure arithmetic: it knows no
 * device and no lock, and its unit tests run in userspace.
 */
#include <linux/errno.h>
#include <linux/overflow.h>

#include "ranges.h"

/**
 * dvp_ranges_index() - take slices of a BAR over as a buffer
 * @ranges: slices as a caller gave them; indexed on return, of no use after an
 *	error
 * @nr: how many; slices that continue each other become one
 * @bar_size: bytes of the BAR
 * @page_size: bytes, a power of two, that offsets and lengths must be a
 *	multiple of
 * @size: out, bytes of the buffer
 *
 * Slices may overlap and come in any order, which stays.
 *
 * Return: 0; -EINVAL for no slice, or an empty, misaligned or outlying one;
 * -EOVERFLOW when an end or the sum does not fit in 64 bits; -ENOSPC when the
 * sum is more than DVP_RANGES_REPEAT times the BAR.
 */
int dvp_ranges_index(struct dvp_range *ranges, u32 *nr, u64 bar_size,
		     u64 page_size, u64 *size)
{
	u64 start = 0, end = 0;
	u32 i, runs = 0;

	if (!*nr)
		return -EINVAL;

	for (i = 0; i < *nr; i++) {
		struct dvp_range r = ranges[i];
		bool goes_on = i && r.offset == end;

		if (!r.length || ((r.offset | r.length) & (page_size - 1)))
			return -EINVAL;
		if (check_add_overflow(r.offset, r.length, &end))
			return -EOVERFLOW;
		if (end > bar_size)
			return -EINVAL;
		if (!goes_on) {
			ranges[runs].offset = r.offset;
			ranges[runs].start = start;
			runs++;
		}
		if (check_add_overflow(start, r.length, &start))
			return -EOVERFLOW;
	}

	/* The sum is at least a page, and the BAR too. */
	if ((start - 1) / bar_size >= DVP_RANGES_REPEAT)
		return -ENOSPC;
	*size = start;
	*nr = runs;
	return 0;
}

/**
 * dvp_ranges_from() - where in the BAR is a byte of the buffer?
 * @ranges: indexed slices
 * @nr: how many, at least one
 * @size: bytes of the buffer
 * @offset: bytes from the start of the buffer, less than @size
 *
 * A fault asks for each slice it fills, and a slice may be of one page.
 *
 * Return: what is left of the slice that the byte is in, from that byte on:
 * offset and length.
 */
struct dvp_range dvp_ranges_from(const struct dvp_range *ranges, u32 nr,
				 u64 size, u64 offset)
{
	struct dvp_range rest;
	u32 low = 0;
	u32 high = nr;

	/* The byte is in @low or after it, and before @high. */
	while (high - low > 1) {
		u32 middle = low + (high - low) / 2;

		if (ranges[middle].start <= offset)
			low = middle;
		else
			high = middle;
	}
	rest.offset = ranges[low].offset + offset - ranges[low].start;
	rest.length = dvp_ranges_end(ranges, nr, size, low) - offset;
	return rest;
}

/**
 * dvp_ranges_segments() - pieces the slices make when none may exceed a limit
 * @ranges: indexed slices
 * @nr: how many
 * @size: bytes of the buffer
 * @limit: bytes, not zero
 *
 * Return: the number of pieces.
 */
u64 dvp_ranges_segments(const struct dvp_range *ranges, u32 nr, u64 size,
			u64 limit)
{
	u64 segments = 0;
	u32 i;

	for (i = 0; i < nr; i++)
		segments += (dvp_ranges_end(ranges, nr, size, i) -
			     ranges[i].start - 1) / limit + 1;
	return segments;
}
