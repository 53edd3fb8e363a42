// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the driver's code has been, for the fuzzer. "make DVP_COVERAGE=1" has
 * the compiler call this at each branch, and links it into the driver, as its
 * last part; a bit stands for eight bytes of code before it.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/string.h>

#include "dvp_cover.h"

/* As much as a parameter's file can show */
#define BYTES	(PAGE_SIZE - 1)

static DECLARE_BITMAP(reached, PAGE_SIZE * BITS_PER_BYTE);

void notrace __sanitizer_cov_trace_pc(void)
{
	unsigned long at = (unsigned long)__sanitizer_cov_trace_pc -
			   (unsigned long)__builtin_return_address(0);

	/* What is in another section is far away. */
	if (at / 8 < BYTES * BITS_PER_BYTE && !test_bit(at / 8, reached))
		set_bit(at / 8, reached);
}

static int get(char *buffer, const struct kernel_param *param)
{
	memcpy(buffer, reached, BYTES);
	return BYTES;
}

static const struct kernel_param_ops ops = {
	.get = get,
};

module_param_cb(coverage, &ops, NULL, 0400);
MODULE_PARM_DESC(coverage, "code that was reached, a bitmap");
