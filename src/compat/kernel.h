/* SPDX-License-Identifier: GPL-2.0-only */
/* Odds and ends of the core kernel. */
#ifndef DVP_COMPAT_KERNEL_H
#define DVP_COMPAT_KERNEL_H

#include <linux/err.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/string.h>

/*
 * Up to 6.12 the macro turns its argument into a string, from 6.13 on it takes
 * one. Both put that string into the module's import_ns entry, and so does
 * this, whichever it replaces.
 */
#undef MODULE_IMPORT_NS
#define MODULE_IMPORT_NS(ns)	MODULE_INFO(import_ns, ns)

#ifndef DVP_HAVE_VMEMDUP_ARRAY_USER
/* The same: what does not fit is refused before anything is copied. */
static inline void *vmemdup_array_user(const void __user *src, size_t n,
				       size_t size)
{
	size_t bytes;

	if (check_mul_overflow(n, size, &bytes))
		return ERR_PTR(-EOVERFLOW);
	return vmemdup_user(src, bytes);
}
#endif

#endif /* DVP_COMPAT_KERNEL_H */
