/* SPDX-License-Identifier: GPL-2.0-only */
/* Mappings of processes: flags of a VMA, huge entries. */
#ifndef DVP_COMPAT_MM_H
#define DVP_COMPAT_MM_H

#include <linux/mm.h>
#ifndef DVP_HAVE_VMF_INSERT_PFN_PMD_PLAIN
#include <linux/pfn_t.h>
#endif

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

/*
 * Huge entries without a struct page came with 6.12; before that the callback
 * has another form and is not used.
 */
#ifdef CONFIG_ARCH_SUPPORTS_HUGE_PFNMAP
#define DVP_VM_OPS_HUGE_FAULT(fn)	.huge_fault = fn,

#ifdef DVP_HAVE_VMF_INSERT_PFN_PMD_PLAIN
#define dvp_huge_pfn(pfn)		(pfn)
#else
#define dvp_huge_pfn(pfn)		pfn_to_pfn_t_dev(pfn)

/* Not memory, and nothing that has struct pages. */
static inline pfn_t pfn_to_pfn_t_dev(unsigned long pfn)
{
	return __pfn_to_pfn_t(pfn, PFN_DEV);
}
#endif

static inline vm_fault_t dvp_insert_huge(struct vm_fault *vmf,
					 unsigned long pfn, unsigned int order)
{
	bool write = vmf->flags & FAULT_FLAG_WRITE;

	if (order == PMD_ORDER)
		return vmf_insert_pfn_pmd(vmf, dvp_huge_pfn(pfn), write);
#ifdef CONFIG_ARCH_SUPPORTS_PUD_PFNMAP
	if (order == PUD_ORDER)
		return vmf_insert_pfn_pud(vmf, dvp_huge_pfn(pfn), write);
#endif
	return VM_FAULT_FALLBACK;
}
#else
#define DVP_VM_OPS_HUGE_FAULT(fn)

static inline vm_fault_t dvp_insert_huge(struct vm_fault *vmf,
					 unsigned long pfn, unsigned int order)
{
	return VM_FAULT_FALLBACK;
}
#endif

static inline bool dvp_kernel_maps_huge(void)
{
	return IS_ENABLED(CONFIG_ARCH_SUPPORTS_HUGE_PFNMAP);
}

#endif /* DVP_COMPAT_MM_H */
