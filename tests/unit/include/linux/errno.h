/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef UNIT_LINUX_ERRNO_H
#define UNIT_LINUX_ERRNO_H

#include <asm/errno.h>

#endif /* UNIT_LINUX_ERRNO_H */
