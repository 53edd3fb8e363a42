/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef CLI_LINUX_OVERFLOW_H
#define CLI_LINUX_OVERFLOW_H

#define check_add_overflow(a, b, sum)	__builtin_add_overflow(a, b, sum)

#endif /* CLI_LINUX_OVERFLOW_H */
