/* SPDX-License-Identifier: GPL-2.0-only */
/* Cases that tell people what they do: scripts/demo prints it. */
#ifndef DVP_LIB_DEMO_H
#define DVP_LIB_DEMO_H

#include "harness.h"

static unsigned int checks;

#define say(...)	t_note(__VA_ARGS__)

#define check(cond, ...)						\
	do {								\
		expect(cond, __VA_ARGS__);				\
		checks++;						\
		say("  [passed] " __VA_ARGS__);				\
	} while (0)

#endif /* DVP_LIB_DEMO_H */
