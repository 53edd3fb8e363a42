/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * These headers stand in for the kernel's where the driver's pure files, such
 * as ../route.c, are built for a program: here and in tests/unit.
 */
#ifndef CLI_LINUX_KERNEL_H
#define CLI_LINUX_KERNEL_H

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#endif /* CLI_LINUX_KERNEL_H */
