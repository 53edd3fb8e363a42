// SPDX-License-Identifier: GPL-2.0-only
/* Linux up to 6.2: it can be written. */
#include <linux/mm.h>

void probe(struct vm_area_struct *vma);
void probe(struct vm_area_struct *vma)
{
	vma->vm_flags |= VM_IO;
}
