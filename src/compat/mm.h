/* SPDX-License-Identifier: GPL-2.0-only */
/* Mappings of processes: flags of a VMA, huge entries. */
#ifndef DVP_COMPAT_MM_H
#define DVP_COMPAT_MM_H

#include <linux/mm.h>

#ifndef DVP_HAVE_VM_FLAGS_SET
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}
#endif

#ifndef DVP_HAVE_RELEASE_FAULT_LOCK
/* The same where a fault of a file mapping always comes with the mmap_lock. */
static inline void release_fault_lock(struct vm_fault *vmf)
{
	mmap_read_unlock(vmf->vma->vm_mm);
}
#endif

/* arm64's permission for KVM to map as the guest likes; it came with 6.9. */
#ifndef VM_ALLOW_ANY_UNCACHED
#define VM_ALLOW_ANY_UNCACHED	VM_NONE
#endif

/* 6.1 has no name for it. */
#ifndef PMD_ORDER
#define PMD_ORDER	(PMD_SHIFT - PAGE_SHIFT)
#endif

/*
 * Huge entries without a struct page came with 6.12. Walkers of page tables
 * took them for pages: of a buffer in madvise(), mbind(), pagemap and
 * clear_refs, of a BAR in mbind(). See probes/pmd_uffd.c for how those that do
 * not are known. Without them small entries are all there is.
 */
#if defined(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP) && defined(DVP_HAVE_PMD_UFFD)
#define DVP_VM_OPS_HUGE_FAULT(fn)	.huge_fault = fn,
#define dvp_insert_huge(vmf, pfn, write) \
	vmf_insert_pfn_pmd(vmf, pfn, write)

static inline bool dvp_kernel_maps_huge(void)
{
	return true;
}
#else
#define DVP_VM_OPS_HUGE_FAULT(fn)

static inline vm_fault_t dvp_insert_huge(struct vm_fault *vmf,
					 unsigned long pfn, bool write)
{
	return VM_FAULT_FALLBACK;
}

static inline bool dvp_kernel_maps_huge(void)
{
	return false;
}
#endif

#endif /* DVP_COMPAT_MM_H */
