/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's names for what userspace has too, beside those it shares. */
#ifndef UNIT_LINUX_TYPES_H
#define UNIT_LINUX_TYPES_H

#include_next <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

#endif /* UNIT_LINUX_TYPES_H */
