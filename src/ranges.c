// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges of a BAR: validate, merge, count. Pure arithmetic: it knows no
 * device and no lock, and its unit tests run in userspace.
 */
#include <linux/errno.h>
#include <linux/overflow.h>

#include "ranges.h"

/**
 * dvp_ranges_check() - are these slices of a BAR fit to be a buffer?
 * @ranges: the slices
 * @nr: how many
 * @bar_size: bytes of the BAR
 * @page_size: bytes, a power of two, that offsets and lengths must be a
 *	multiple of
 * @size: out, bytes of all slices together
 *
 * Slices may overlap and come in any order.
 *
 * Return: 0; -EINVAL for no slice, or an empty, misaligned or outlying one;
 * -EOVERFLOW when an end or the sum does not fit in 64 bits.
 */
int dvp_ranges_check(const struct dvp_range *ranges, u32 nr, u64 bar_size,
		     u64 page_size, u64 *size)
{
	u64 sum = 0;
	u32 i;

	if (!nr)
		return -EINVAL;

	for (i = 0; i < nr; i++) {
		const struct dvp_range *r = &ranges[i];
		u64 end;

		if (!r->length || ((r->offset | r->length) & (page_size - 1)))
			return -EINVAL;
		if (check_add_overflow(r->offset, r->length, &end))
			return -EOVERFLOW;
		if (end > bar_size)
			return -EINVAL;
		if (check_add_overflow(sum, r->length, &sum))
			return -EOVERFLOW;
	}

	*size = sum;
	return 0;
}

/**
 * dvp_ranges_merge() - join slices that continue each other
 * @ranges: valid slices
 * @nr: how many, at least one
 * @merged: out, room for as many as there are runs; NULL only counts
 *
 * The order of the bytes stays.
 *
 * Return: the number of runs.
 */
u32 dvp_ranges_merge(const struct dvp_range *ranges, u32 nr,
		     struct dvp_range *merged)
{
	struct dvp_range run = ranges[0];
	u32 runs = 0;
	u32 i;

	for (i = 1; i < nr; i++) {
		if (run.offset + run.length == ranges[i].offset) {
			run.length += ranges[i].length;
			continue;
		}
		if (merged)
			merged[runs] = run;
		runs++;
		run = ranges[i];
	}
	if (merged)
		merged[runs] = run;
	return runs + 1;
}

/**
 * dvp_ranges_index() - where in the buffer does each slice begin?
 * @ranges: valid slices
 * @nr: how many
 * @starts: out, room for @nr: bytes from the start of the buffer
 */
void dvp_ranges_index(const struct dvp_range *ranges, u32 nr, u64 *starts)
{
	u64 start = 0;
	u32 i;

	for (i = 0; i < nr; i++) {
		starts[i] = start;
		start += ranges[i].length;
	}
}

/**
 * dvp_ranges_from() - where in the BAR is a byte of the buffer?
 * @ranges: valid slices
 * @starts: where they begin, by dvp_ranges_index()
 * @nr: how many, at least one
 * @offset: bytes from the start of the buffer, less than its size
 *
 * A fault asks for each slice it fills, and a slice may be of one page.
 *
 * Return: what is left of the slice that the byte is in, from that byte on.
 */
struct dvp_range dvp_ranges_from(const struct dvp_range *ranges,
				 const u64 *starts, u32 nr, u64 offset)
{
	struct dvp_range rest;
	u32 low = 0;
	u32 high = nr;

	/* The byte is in @low or after it, and before @high. */
	while (high - low > 1) {
		u32 middle = low + (high - low) / 2;

		if (starts[middle] <= offset)
			low = middle;
		else
			high = middle;
	}
	offset -= starts[low];
	rest.offset = ranges[low].offset + offset;
	rest.length = ranges[low].length - offset;
	return rest;
}

/**
 * dvp_ranges_segments() - pieces the slices make when none may exceed a limit
 * @ranges: valid slices
 * @nr: how many
 * @limit: bytes, not zero
 *
 * Return: the number of pieces.
 */
u64 dvp_ranges_segments(const struct dvp_range *ranges, u32 nr, u64 limit)
{
	u64 segments = 0;
	u32 i;

	for (i = 0; i < nr; i++)
		segments += (ranges[i].length - 1) / limit + 1;
	return segments;
}
