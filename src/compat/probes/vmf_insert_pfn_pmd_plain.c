// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux 6.17 takes a plain number; before that it was a pfn_t.
 * one-of: vmf_insert_pfn_pmd_pfn_t
 */
#include <linux/mm.h>

vm_fault_t probe(struct vm_fault *vmf);
vm_fault_t probe(struct vm_fault *vmf)
{
	return vmf_insert_pfn_pmd(vmf, 0UL, true);
}
