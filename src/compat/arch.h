/* SPDX-License-Identifier: GPL-2.0-only */
/* What the kernel knows of the CPU, but exports to nobody. */
#ifndef DVP_COMPAT_ARCH_H
#define DVP_COMPAT_ARCH_H

#include <linux/types.h>

#ifdef CONFIG_X86
#include <asm/processor.h>

/*
 * AMD's root complexes route peer traffic since family 17h. The PCI core's
 * cpu_supports_p2pdma() says the same and is static.
 */
static inline bool dvp_cpu_routes_p2p(void)
{
	return boot_cpu_data.x86_vendor == X86_VENDOR_AMD &&
	       boot_cpu_data.x86 >= 0x17;
}
#else
static inline bool dvp_cpu_routes_p2p(void)
{
	return false;
}
#endif

#endif /* DVP_COMPAT_ARCH_H */
