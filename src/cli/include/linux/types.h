/* SPDX-License-Identifier: GPL-2.0-only */
/* Adds the kernel's names to those that userspace shares. */
#ifndef CLI_LINUX_TYPES_H
#define CLI_LINUX_TYPES_H

#include_next <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

#endif /* CLI_LINUX_TYPES_H */
