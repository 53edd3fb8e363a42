/* SPDX-License-Identifier: GPL-2.0-only */
/* What ../route.c needs of the kernel's header of that name. */
#ifndef CLI_LINUX_KERNEL_H
#define CLI_LINUX_KERNEL_H

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#endif /* CLI_LINUX_KERNEL_H */
