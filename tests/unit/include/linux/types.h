/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's names for what userspace has too. */
#ifndef UNIT_LINUX_TYPES_H
#define UNIT_LINUX_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#endif /* UNIT_LINUX_TYPES_H */
