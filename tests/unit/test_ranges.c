// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <string.h>

#include "../../src/ranges.h"
#include "unit.h"

#define PAGE	4096ull
#define BAR	(64 * PAGE)
#define N(a)	(sizeof(a) / sizeof((a)[0]))

/* As a caller gives them; a copy is indexed. */
struct taken {
	struct dvp_range r[4096];
	u32 nr;
	u64 size;
};

static struct taken taken;

static int take(const struct dvp_range *r, u32 nr, u64 bar)
{
	memset(&taken, 0, sizeof(taken));
	memcpy(taken.r, r, nr * sizeof(*r));
	taken.nr = nr;
	return dvp_ranges_index(taken.r, &taken.nr, bar, PAGE, &taken.size);
}

static int check_one(u64 offset, u64 length)
{
	struct dvp_range r = { offset, { length } };

	return take(&r, 1, BAR);
}

static void whole_bar(void)
{
	EXPECT(check_one(0, BAR) == 0);
	EXPECT(taken.nr == 1);
	EXPECT(taken.size == BAR);
	EXPECT(dvp_ranges_end(taken.r, 1, taken.size, 0) == BAR);
}

static void last_page(void)
{
	EXPECT(check_one(BAR - PAGE, PAGE) == 0);
	EXPECT(check_one(BAR - PAGE, 2 * PAGE) == -EINVAL);
	EXPECT(check_one(BAR, PAGE) == -EINVAL);
}

/* A ring may go on at its end, and no more than that. */
static void repeated(void)
{
	struct dvp_range r[3] = {
		{ 0, { BAR } }, { 0, { BAR } }, { 0, { PAGE } },
	};

	EXPECT(take(r, 2, BAR) == 0);
	EXPECT(taken.nr == 2 && taken.size == 2 * BAR);
	EXPECT(take(r, 3, BAR) == -ENOSPC);
	r[1].length = BAR - PAGE;
	EXPECT(take(r, 3, BAR) == 0);
	EXPECT(taken.size == 2 * BAR);
}

static void no_ranges(void)
{
	struct dvp_range r = { 0, { PAGE } };

	EXPECT(take(&r, 0, BAR) == -EINVAL);
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
	struct dvp_range r[] = { { 0, { huge } }, { 0, { huge } } };

	EXPECT(take(r, 2, huge) == -EOVERFLOW);
	EXPECT(take(r, 1, huge) == 0);
	EXPECT(taken.size == huge);
}

static void overlap_counts_twice(void)
{
	struct dvp_range r[] = {
		{ 0, { 2 * PAGE } }, { PAGE, { 2 * PAGE } },
		{ 0, { 2 * PAGE } },
	};

	EXPECT(take(r, N(r), BAR) == 0);
	EXPECT(taken.nr == 3);
	EXPECT(taken.size == 6 * PAGE);
}

static void one_bad_range_of_many(void)
{
	struct dvp_range r[] = {
		{ 0, { PAGE } }, { PAGE, { PAGE } },
		{ 63 * PAGE, { 2 * PAGE } },
	};

	EXPECT(take(r, N(r), BAR) == -EINVAL);
}

static void adjacent_merge(void)
{
	static struct dvp_range r[4096];
	u32 i;

	for (i = 0; i < N(r); i++)
		r[i] = (struct dvp_range){ i * PAGE, { PAGE } };
	EXPECT(take(r, N(r), N(r) * PAGE) == 0);
	EXPECT(taken.nr == 1);
	EXPECT(taken.r[0].offset == 0);
	EXPECT(taken.size == N(r) * PAGE);
}

/* The last of these ends where a first one might begin. */
static void first_never_merges(void)
{
	struct dvp_range r[] = { { 0, { PAGE } }, { 0, { PAGE } } };

	EXPECT(take(r, N(r), BAR) == 0);
	EXPECT(taken.nr == 2);
	EXPECT(taken.size == 2 * PAGE);
}

static void order_stays(void)
{
	struct dvp_range r[] = {
		{ 8 * PAGE, { PAGE } }, { 0, { PAGE } }, { PAGE, { 3 * PAGE } },
		{ 5 * PAGE, { PAGE } }, { 5 * PAGE, { PAGE } },
		{ 4 * PAGE, { PAGE } },
	};
	static const struct dvp_range want[] = {
		{ 8 * PAGE, { 0 } }, { 0, { PAGE } },
		{ 5 * PAGE, { 5 * PAGE } },
		{ 5 * PAGE, { 6 * PAGE } }, { 4 * PAGE, { 7 * PAGE } },
	};

	EXPECT(take(r, N(r), BAR) == 0);
	EXPECT(taken.nr == N(want));
	EXPECT(!memcmp(taken.r, want, sizeof(want)));
	EXPECT(taken.size == 8 * PAGE);
}

static u64 segments_of(u32 i, u64 limit)
{
	return dvp_ranges_segments(taken.r + i, 1,
				   dvp_ranges_end(taken.r, taken.nr, taken.size,
						  i), limit);
}

static void segments(void)
{
	u64 limit = (1ull << 32) - PAGE, bar = 64ull << 30;
	struct dvp_range r[] = {
		{ 0, { PAGE } }, { 0, { limit } }, { 0, { limit + PAGE } },
		{ 0, { bar } },
	};

	EXPECT(take(r, N(r), bar) == 0);
	EXPECT(taken.nr == N(r));
	EXPECT(segments_of(0, limit) == 1);
	EXPECT(segments_of(1, limit) == 1);
	EXPECT(segments_of(2, limit) == 2);
	EXPECT(segments_of(3, limit) == 17);
	EXPECT(dvp_ranges_segments(taken.r, 4, taken.size, limit) == 21);
}

/* Of any number of slices, each first and last byte is found. */
static void from_any(void)
{
	static struct dvp_range r[70];
	struct dvp_range piece;
	u32 nr, i;

	for (i = 0; i < N(r); i++)
		r[i] = (struct dvp_range){
			(i * 7 % 50) * 8 * PAGE, { (i % 5 + 1) * PAGE }
		};
	for (nr = 1; nr <= N(r); nr++) {
		EXPECT(take(r, nr, 400 * PAGE) == 0);
		EXPECT(taken.nr == nr);
		for (i = 0; i < nr; i++) {
			u64 at = taken.r[i].start;

			piece = dvp_ranges_from(taken.r, nr, taken.size, at);
			EXPECT(!memcmp(&piece, &r[i], sizeof(piece)));
			piece = dvp_ranges_from(taken.r, nr, taken.size,
						at + r[i].length - 1);
			EXPECT(piece.offset == r[i].offset + r[i].length - 1);
			EXPECT(piece.length == 1);
		}
	}
}

static void expect_from(u64 at, u64 offset, u64 length)
{
	struct dvp_range piece;

	piece = dvp_ranges_from(taken.r, taken.nr, taken.size, at);
	EXPECT(piece.offset == offset);
	EXPECT(piece.length == length);
}

static void from(void)
{
	static const struct dvp_range r[] = {
		{ 8 * PAGE, { PAGE } }, { 0, { 4 * PAGE } },
		{ 2 * PAGE, { 2 * PAGE } },
	};

	EXPECT(take(r, N(r), BAR) == 0);
	expect_from(0, 8 * PAGE, PAGE);
	expect_from(PAGE - 1, 9 * PAGE - 1, 1);
	expect_from(PAGE, 0, 4 * PAGE);
	expect_from(3 * PAGE, 2 * PAGE, 2 * PAGE);
	expect_from(5 * PAGE, 2 * PAGE, 2 * PAGE);
	expect_from(7 * PAGE - 1, 4 * PAGE - 1, 1);
}

#define RUN(fn)		unit_run("ranges/" #fn, fn)

int main(void)
{
	RUN(whole_bar);
	RUN(last_page);
	RUN(repeated);
	RUN(no_ranges);
	RUN(misaligned);
	RUN(end_overflows);
	RUN(sum_overflows);
	RUN(overlap_counts_twice);
	RUN(one_bad_range_of_many);
	RUN(adjacent_merge);
	RUN(first_never_merges);
	RUN(order_stays);
	RUN(segments);
	RUN(from);
	RUN(from_any);
	return unit_failures != 0;
}
