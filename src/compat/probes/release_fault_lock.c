// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux 6.6, with faults under the lock of a VMA. A kernel without has no such
 * lock for file mappings.
 */
#include <linux/mm.h>

void probe(struct vm_fault *vmf);
void probe(struct vm_fault *vmf)
{
	release_fault_lock(vmf);
}
