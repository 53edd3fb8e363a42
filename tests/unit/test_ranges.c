// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/ranges.h"
#include "unit.h"

#define PAGE	4096ull
#define BAR	(64 * PAGE)
#define N(a)	(sizeof(a) / sizeof((a)[0]))

static int check(const struct dvp_range *r, u32 nr, u64 *size)
{
	return dvp_ranges_check(r, nr, BAR, PAGE, size);
}

static int check_one(u64 offset, u64 length)
{
	struct dvp_range r = { offset, length };
	u64 size;

	return check(&r, 1, &size);
}

static void whole_bar(void)
{
	struct dvp_range r = { 0, BAR };
	u64 size = 0;

	EXPECT(check(&r, 1, &size) == 0);
	EXPECT(size == BAR);
}

static void last_page(void)
{
	EXPECT(check_one(BAR - PAGE, PAGE) == 0);
	EXPECT(check_one(BAR - PAGE, 2 * PAGE) == -EINVAL);
	EXPECT(check_one(BAR, PAGE) == -EINVAL);
}

static void no_ranges(void)
{
	struct dvp_range r = { 0, PAGE };
	u64 size = 7;

	EXPECT(check(&r, 0, &size) == -EINVAL);
	EXPECT(size == 7);
}

static void misaligned(void)
{
	EXPECT(check_one(1, PAGE) == -EINVAL);
	EXPECT(check_one(PAGE / 2, PAGE) == -EINVAL);
	EXPECT(check_one(0, PAGE + 1) == -EINVAL);
	EXPECT(check_one(0, PAGE / 2) == -EINVAL);
	EXPECT(check_one(0, 0) == -EINVAL);
}

static void end_overflows(void)
{
	EXPECT(check_one(~0ull - PAGE + 1, PAGE) == -EOVERFLOW);
	EXPECT(check_one(PAGE, ~0ull - PAGE + 1) == -EOVERFLOW);
}

static void sum_overflows(void)
{
	u64 huge = 1ull << 63;
	struct dvp_range r[] = { { 0, huge }, { 0, huge } };
	u64 size = 7;

	EXPECT(dvp_ranges_check(r, 2, huge, PAGE, &size) == -EOVERFLOW);
	EXPECT(size == 7);
	EXPECT(dvp_ranges_check(r, 1, huge, PAGE, &size) == 0);
	EXPECT(size == huge);
}

static void overlap_counts_twice(void)
{
	struct dvp_range r[] = {
		{ 0, 2 * PAGE }, { PAGE, 2 * PAGE }, { 0, 2 * PAGE },
	};
	u64 size = 0;

	EXPECT(check(r, N(r), &size) == 0);
	EXPECT(size == 6 * PAGE);
}

static void one_bad_range_of_many(void)
{
	struct dvp_range r[] = {
		{ 0, PAGE }, { PAGE, PAGE }, { 63 * PAGE, 2 * PAGE },
	};
	u64 size;

	EXPECT(check(r, N(r), &size) == -EINVAL);
}

static void adjacent_merge(void)
{
	u32 nr = 4096;
	struct dvp_range *r = calloc(nr, sizeof(*r));
	struct dvp_range merged[1];
	u32 i;

	for (i = 0; i < nr; i++)
		r[i] = (struct dvp_range){ i * PAGE, PAGE };
	EXPECT(dvp_ranges_merge(r, nr, NULL) == 1);
	EXPECT(dvp_ranges_merge(r, nr, merged) == 1);
	EXPECT(merged[0].offset == 0);
	EXPECT(merged[0].length == nr * PAGE);
	free(r);
}

static void order_stays(void)
{
	struct dvp_range r[] = {
		{ 8 * PAGE, PAGE }, { 0, PAGE }, { PAGE, 3 * PAGE },
		{ 5 * PAGE, PAGE }, { 5 * PAGE, PAGE }, { 4 * PAGE, PAGE },
	};
	static const struct dvp_range want[] = {
		{ 8 * PAGE, PAGE }, { 0, 4 * PAGE }, { 5 * PAGE, PAGE },
		{ 5 * PAGE, PAGE }, { 4 * PAGE, PAGE },
	};
	struct dvp_range merged[N(r)];

	EXPECT(dvp_ranges_merge(r, N(r), merged) == N(want));
	EXPECT(!memcmp(merged, want, sizeof(want)));
}

static void segments(void)
{
	u64 limit = (1ull << 32) - PAGE;
	struct dvp_range r[] = {
		{ 0, PAGE }, { 0, limit }, { 0, limit + PAGE },
		{ 0, 64ull << 30 },
	};

	EXPECT(dvp_ranges_segments(&r[0], 1, limit) == 1);
	EXPECT(dvp_ranges_segments(&r[1], 1, limit) == 1);
	EXPECT(dvp_ranges_segments(&r[2], 1, limit) == 2);
	EXPECT(dvp_ranges_segments(&r[3], 1, limit) == 17);
	EXPECT(dvp_ranges_segments(r, 4, limit) == 21);
}

static void starts(void)
{
	static const struct dvp_range r[] = {
		{ 8 * PAGE, PAGE }, { 0, 4 * PAGE }, { 2 * PAGE, 2 * PAGE },
	};
	u64 at[N(r) + 1] = { 9, 9, 9, 9 };

	dvp_ranges_index(r, 1, at);
	EXPECT(at[0] == 0 && at[1] == 9);
	dvp_ranges_index(r, N(r), at);
	EXPECT(at[0] == 0 && at[1] == PAGE && at[2] == 5 * PAGE);
	EXPECT(at[N(r)] == 9);
}

/* Of any number of slices, each first and last byte is found. */
static void from_any(void)
{
	static struct dvp_range r[70];
	static u64 at[N(r)];
	struct dvp_range piece;
	u32 nr, i;

	for (i = 0; i < N(r); i++)
		r[i] = (struct dvp_range){
			(i * 7 % 50) * 8 * PAGE, (i % 5 + 1) * PAGE
		};
	dvp_ranges_index(r, N(r), at);
	for (nr = 1; nr <= N(r); nr++) {
		for (i = 0; i < nr; i++) {
			piece = dvp_ranges_from(r, at, nr, at[i]);
			EXPECT(!memcmp(&piece, &r[i], sizeof(piece)));
			piece = dvp_ranges_from(r, at, nr,
						at[i] + r[i].length - 1);
			EXPECT(piece.offset == r[i].offset + r[i].length - 1);
			EXPECT(piece.length == 1);
		}
	}
}

static void from(void)
{
	static const struct dvp_range r[] = {
		{ 8 * PAGE, PAGE }, { 0, 4 * PAGE }, { 2 * PAGE, 2 * PAGE },
	};
	struct dvp_range piece;
	u64 at[N(r)];

	dvp_ranges_index(r, N(r), at);
	piece = dvp_ranges_from(r, at, N(r), 0);
	EXPECT(piece.offset == 8 * PAGE && piece.length == PAGE);
	piece = dvp_ranges_from(r, at, N(r), PAGE - 1);
	EXPECT(piece.offset == 9 * PAGE - 1 && piece.length == 1);
	piece = dvp_ranges_from(r, at, N(r), PAGE);
	EXPECT(piece.offset == 0 && piece.length == 4 * PAGE);
	piece = dvp_ranges_from(r, at, N(r), 3 * PAGE);
	EXPECT(piece.offset == 2 * PAGE && piece.length == 2 * PAGE);
	piece = dvp_ranges_from(r, at, N(r), 5 * PAGE);
	EXPECT(piece.offset == 2 * PAGE && piece.length == 2 * PAGE);
	piece = dvp_ranges_from(r, at, N(r), 7 * PAGE - 1);
	EXPECT(piece.offset == 4 * PAGE - 1 && piece.length == 1);
}

#define RUN(fn)		unit_run("ranges/" #fn, fn)

int main(void)
{
	RUN(whole_bar);
	RUN(last_page);
	RUN(no_ranges);
	RUN(misaligned);
	RUN(end_overflows);
	RUN(sum_overflows);
	RUN(overlap_counts_twice);
	RUN(one_bad_range_of_many);
	RUN(adjacent_merge);
	RUN(order_stays);
	RUN(segments);
	RUN(starts);
	RUN(from);
	RUN(from_any);
	return unit_failures != 0;
}
