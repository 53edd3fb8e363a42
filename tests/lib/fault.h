/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An operation whose allocations, and copies from and to its caller, fail one
 * after the other: by /proc/thread-self/fail-nth, on a debug kernel.
 */
#ifndef DVP_LIB_FAULT_H
#define DVP_LIB_FAULT_H

#include "vfio.h"

/**
 * struct fault_op - an operation, and how to have it over and over
 * @prepare: before each try, if there is anything to do
 * @run: the operation alone: zero or more, or -errno
 * @undo: after each try, one that failed, too: the state is as before @prepare
 * @errs: what it may fail with beside ENOMEM, or for a copy EFAULT
 * @firm: it does not fail, whatever does
 * @in_child: is tried by a child, and what it makes ends with that
 * @tries: faults of each kind at most, where not all are to be had: of an
 *	operation that is slow
 */
struct fault_op {
	void (*prepare)(void);
	int (*run)(void);
	void (*undo)(int ret);
	int errs[4];
	bool firm;
	bool in_child;
	unsigned int tries;
};

/*
 * Has each allocation and each copy of the operation fail, once at a time, and
 * expects of each failure: the error is the right one, or there is none; the
 * function @bdf, its buffers, their users, this process and modules' use counts
 * are as before; the next try works. And of all of them together, that they
 * leave no objects. With DVP_FAULTS=all every one is tried, else some of them.
 */
void fault_try(const struct fault_op *op, const char *bdf);

/* The same of a failure that the case brings about. */
void fault_remember(const char *bdf);
void fault_expect_same(const char *bdf, const char *what);

#endif /* DVP_LIB_FAULT_H */
