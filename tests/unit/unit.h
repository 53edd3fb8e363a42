/* SPDX-License-Identifier: GPL-2.0-only */
/* A unit test: cases that run in order and say ok or not. */
#ifndef UNIT_H
#define UNIT_H

#include <stdbool.h>
#include <stdio.h>

static const char *unit_unmet;
static int unit_line;
static int unit_failures;

#define EXPECT(cond)	unit_expect(cond, #cond, __LINE__)

/* The first thing that does not hold is the one reported. */
static inline void unit_expect(bool holds, const char *what, int line)
{
	if (holds || unit_unmet)
		return;
	unit_unmet = what;
	unit_line = line;
}

static inline void unit_run(const char *name, void (*fn)(void))
{
	unit_unmet = NULL;
	fn();
	if (unit_unmet) {
		printf("not ok %s: line %d: %s\n", name, unit_line,
		       unit_unmet);
		unit_failures++;
	} else {
		printf("ok %s\n", name);
	}
}

#endif /* UNIT_H */
