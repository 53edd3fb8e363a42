// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPU mappings of a buffer: faults fill them, a revoke empties them.
 *
 * There is one kind, whether a process maps an exported buffer or a BAR by the
 * VFIO descriptor: the latter goes through a buffer of its own. All mappings
 * of a buffer hang off its dma-buf's inode, so one call empties them, in
 * whatever process and however often split or copied.
 *
 * A fault looks at the buffer's state and fills in one critical section of
 * &dvp_buffer.lock; whoever changes the state takes it for writing. So once
 * the state says no, nothing new appears, and what is there can be taken away.
 *
 * An access in the middle of a transition that ends by itself waits for that
 * end, as vfio-pci has it wait. It holds no lock meanwhile.
 */
#include <linux/fs.h>
#include <linux/mm.h>

#include "dvp.h"
#include "trace.h"

/*
 * What a fault fills: all that one page table can hold around the address, as
 * small entries or as huge ones. A driver that walks through a BAR faults once
 * every 2 MiB or every GiB; one that reads a register gets one table.
 */
#define WINDOW		PMD_SIZE
#define HUGE_WINDOW	PUD_SIZE

struct fill {
	struct mm_struct *mm;
	pgprot_t prot;
	unsigned long pfn;
};

/*
 * By hand, since vmf_insert_pfn() takes the memory type from the first mapping
 * there was, which is the core's own and uncached. The entry is special: there
 * is no page to count references of.
 */
static int fill_entry(pte_t *pte, unsigned long addr, void *data)
{
	struct fill *fill = data;

	if (pte_none(ptep_get(pte)))
		set_pte_at(fill->mm, addr, pte,
			   pte_mkspecial(pfn_pte(fill->pfn, fill->prot)));
	fill->pfn++;
	return 0;
}

static u64 buffer_offset(struct vm_area_struct *vma, unsigned long addr)
{
	return addr - vma->vm_start + ((u64)vma->vm_pgoff << PAGE_SHIFT);
}

static struct dvp_range mmap_range_at(const struct dvp_layout *layout,
				      struct vm_area_struct *vma,
				      unsigned long addr)
{
	return dvp_ranges_from(layout->ranges, layout->starts,
			       layout->nr_ranges, buffer_offset(vma, addr));
}

/*
 * A huge entry needs a block that is aligned in both address spaces, within
 * the mapping and within one range. Its memory type is the first mapping's.
 */
static bool mmap_huge_block(struct vm_area_struct *vma,
			    const struct dvp_layout *layout, unsigned long addr,
			    unsigned long *pfn)
{
	struct dvp_range block;
	phys_addr_t phys;

	if (!dvp_kernel_maps_huge() || layout->write_combining ||
	    addr < vma->vm_start || addr + PMD_SIZE > vma->vm_end)
		return false;

	block = mmap_range_at(layout, vma, addr);
	phys = layout->phys + block.offset;
	*pfn = PHYS_PFN(phys);
	return block.length >= PMD_SIZE && IS_ALIGNED(phys, PMD_SIZE);
}

/* As many entries again as a fault without huge ones fills. */
static void fill_huge_around(struct vm_fault *vmf,
			     const struct dvp_layout *layout)
{
	struct vm_area_struct *vma = vmf->vma;
	pmd_t *table = vmf->pmd - pmd_index(vmf->address);
	unsigned long window = ALIGN_DOWN(vmf->address, HUGE_WINDOW);
	unsigned long addr = max(window, ALIGN(vma->vm_start, PMD_SIZE));
	unsigned long end = min(window + HUGE_WINDOW, vma->vm_end);

	for (; addr < end; addr += PMD_SIZE) {
		struct vm_fault around = {
			.vma = vma,
			.address = addr,
			.pmd = table + pmd_index(addr),
		};
		unsigned long pfn;

		if (pmd_none(READ_ONCE(*around.pmd)) &&
		    mmap_huge_block(vma, layout, addr, &pfn))
			dvp_insert_huge(&around, pfn, false);
	}
}

/*
 * Entries of 2 MiB, never of 1 GiB: mremap() takes such a one for a broken
 * table and clears it without a flush, and a split of the VMA takes it for a
 * good one and follows it.
 */
static vm_fault_t fill_huge(struct vm_fault *vmf, struct dvp_buffer *buf,
			    unsigned int order)
{
	unsigned long addr = ALIGN_DOWN(vmf->address, PMD_SIZE);
	vm_fault_t ret;
	unsigned long pfn;

	lockdep_assert_held_read(&buf->lock);

	if (order != PMD_ORDER ||
	    !mmap_huge_block(vmf->vma, &buf->layout, addr, &pfn))
		return VM_FAULT_FALLBACK;

	ret = dvp_insert_huge(vmf, pfn, vmf->flags & FAULT_FLAG_WRITE);
	if (ret == VM_FAULT_NOPAGE)
		fill_huge_around(vmf, &buf->layout);
	return ret;
}

static vm_fault_t fill_small(struct vm_fault *vmf, struct dvp_buffer *buf)
{
	const struct dvp_layout *layout = &buf->layout;
	struct vm_area_struct *vma = vmf->vma;
	struct fill fill = { .mm = vma->vm_mm, .prot = vma->vm_page_prot };
	unsigned long addr = ALIGN_DOWN(vmf->address, WINDOW);
	unsigned long end = min(addr + WINDOW, vma->vm_end);

	addr = max(addr, vma->vm_start);
	while (addr < end) {
		struct dvp_range piece;
		unsigned long len;
		int ret;

		piece = mmap_range_at(layout, vma, addr);
		len = min_t(u64, end - addr, piece.length);
		fill.pfn = PHYS_PFN(layout->phys + piece.offset);
		ret = apply_to_page_range(vma->vm_mm, addr, len, fill_entry,
					  &fill);
		if (ret)
			return VM_FAULT_OOM;
		addr += len;
	}
	return VM_FAULT_NOPAGE;
}

/*
 * Whether the kernel asks for huge entries can change from one fault to the
 * next, by a prctl() of the process. What a block gets must not: two faults
 * that fill it in two ways at a time make the kernel warn. So a block that can
 * have a huge entry gets it, unless it has a page table already.
 */
static vm_fault_t fill_window(struct vm_fault *vmf, struct dvp_buffer *buf)
{
	pmd_t pmd = READ_ONCE(*vmf->pmd);
	vm_fault_t ret = VM_FAULT_FALLBACK;

	lockdep_assert_held_read(&buf->lock);

	if (pmd_none(pmd))
		ret = fill_huge(vmf, buf, PMD_ORDER);
	else if (pmd_leaf(pmd))
		return VM_FAULT_NOPAGE;
	return ret == VM_FAULT_FALLBACK ? fill_small(vmf, buf) : ret;
}

static bool fault_settled(struct dvp_gate *gate, struct dvp_buffer *buf)
{
	return !dvp_gate_in_transit(gate) ||
	       READ_ONCE(buf->state) != DVP_REVOKED;
}

/* The wait is bounded, and then the access is looked at anew. */
static void fault_wait_settled(struct dvp_gate *gate, struct dvp_buffer *buf,
			       unsigned int flags)
{
	if (flags & FAULT_FLAG_INTERRUPTIBLE)
		wait_event_interruptible_timeout(dvp_waits,
						 fault_settled(gate, buf), HZ);
	else
		wait_event_killable_timeout(dvp_waits,
					    fault_settled(gate, buf), HZ);
}

/*
 * Drops the buffer's lock and, where the fault may wait, the fault's: then only
 * references keep the buffer and its function's gate.
 */
static vm_fault_t fault_blocked(struct vm_fault *vmf, struct dvp_buffer *buf)
{
	struct dvp_gate *gate = buf->gate;

	if (buf->state == DVP_DEAD || !dvp_gate_in_transit(gate) ||
	    !(vmf->flags & FAULT_FLAG_ALLOW_RETRY)) {
		up_read(&buf->lock);
		return VM_FAULT_SIGBUS;
	}
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT) {
		up_read(&buf->lock);
		return VM_FAULT_RETRY;
	}
	kref_get(&buf->ref);
	dvp_gate_get(gate);
	up_read(&buf->lock);
	release_fault_lock(vmf);
	fault_wait_settled(gate, buf, vmf->flags);
	dvp_gate_put(gate);
	dvp_buffer_put(buf);
	return VM_FAULT_RETRY;
}

/* Called with the mmap_lock held, or the lock of the VMA. */
static vm_fault_t dvp_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct dvp_buffer *buf = vmf->vma->vm_private_data;
	vm_fault_t ret;

	down_read(&buf->lock);
	if (buf->state != DVP_USABLE) {
		trace_dvp_fault(buf, buffer_offset(vmf->vma, vmf->address),
				order, false);
		return fault_blocked(vmf, buf);
	}
	ret = order ? fill_huge(vmf, buf, order) : fill_window(vmf, buf);
	up_read(&buf->lock);

	if (ret != VM_FAULT_FALLBACK)
		trace_dvp_fault(buf, buffer_offset(vmf->vma, vmf->address),
				order, ret == VM_FAULT_NOPAGE);
	return ret;
}

static vm_fault_t dvp_fault(struct vm_fault *vmf)
{
	return dvp_huge_fault(vmf, 0);
}

static void dvp_vma_open(struct vm_area_struct *vma)
{
	struct dvp_buffer *buf = vma->vm_private_data;

	atomic_inc(&buf->cpu_maps);
}

static void dvp_vma_close(struct vm_area_struct *vma)
{
	struct dvp_buffer *buf = vma->vm_private_data;

	atomic_dec(&buf->cpu_maps);
}

static const struct vm_operations_struct dvp_vm_ops = {
	.open		= dvp_vma_open,
	.close		= dvp_vma_close,
	.fault		= dvp_fault,
	DVP_VM_OPS_HUGE_FAULT(dvp_huge_fault)
};

/**
 * dvp_mmap_setup() - a mapping of a buffer begins
 * @buf: the buffer, of which the mapping's file is
 * @vma: a mapping within the size of the buffer; nothing is filled in yet
 *
 * VFIO's type1 container follows the entries of a VM_PFNMAP mapping and is
 * never told that they are gone. So only a BAR mapped by its owner is one; a
 * buffer's is VM_MIXEDMAP, which type1 leaves alone. VM_IO lets KVM follow
 * both, and KVM is told.
 *
 * Context: called with the mmap_lock held for writing: takes nothing that a
 * revoke holds while it waits.
 *
 * Return: 0; -EINVAL for a private mapping; -ENODEV if the buffer is dead.
 */
int dvp_mmap_setup(struct dvp_buffer *buf, struct vm_area_struct *vma)
{
	pgprot_t prot = vma->vm_page_prot;
	bool dead;

	/* Of a read-only descriptor it is only VM_MAYSHARE. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;

	down_read(&buf->lock);
	dead = buf->state == DVP_DEAD;
	up_read(&buf->lock);
	if (dead)
		return -ENODEV;

	prot = buf->layout.write_combining ? pgprot_writecombine(prot) :
					     pgprot_noncached(prot);
	vma->vm_page_prot = pgprot_decrypted(prot);
	vm_flags_set(vma, VM_IO | VM_DONTEXPAND | VM_DONTDUMP |
			  VM_ALLOW_ANY_UNCACHED |
			  (buf->holds ? VM_PFNMAP : VM_MIXEDMAP));
	vma->vm_private_data = buf;
	vma->vm_ops = &dvp_vm_ops;
	dvp_vma_open(vma);
	return 0;
}
