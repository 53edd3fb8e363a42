// SPDX-License-Identifier: GPL-2.0-only
/* Linux 6.3; before that the flags were written. one-of: vm_flags_member */
#include <linux/mm.h>

void probe(struct vm_area_struct *vma);
void probe(struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_IO);
}
