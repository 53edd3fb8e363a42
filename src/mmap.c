// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPU mappings of a buffer: faults fill them, a revoke empties them.
 *
 * There is one kind, whether a process maps an exported buffer or a BAR by the
 * VFIO descriptor: the latter goes through a buffer of the BAR. All mappings
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
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>

#include "dvp.h"
#include "trace.h"

struct fill {
	struct vm_area_struct *vma;
	const struct dvp_layout *layout;
	unsigned long nr;
};

static u64 buffer_offset(struct vm_area_struct *vma, unsigned long addr)
{
	return addr - vma->vm_start + ((u64)vma->vm_pgoff << PAGE_SHIFT);
}

static struct dvp_range mmap_range_at(const struct dvp_layout *layout,
				      struct vm_area_struct *vma,
				      unsigned long addr)
{
	return dvp_ranges_from(layout->ranges, layout->nr_ranges, layout->size,
			       buffer_offset(vma, addr));
}

static const struct vm_operations_struct dvp_moved_vm_ops;

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
	    vma->vm_ops == &dvp_moved_vm_ops ||
	    addr < vma->vm_start || addr + PMD_SIZE > vma->vm_end)
		return false;

	block = mmap_range_at(layout, vma, addr);
	phys = layout->phys + block.offset;
	*pfn = PHYS_PFN(phys);
	return block.length >= PMD_SIZE && IS_ALIGNED(phys, PMD_SIZE);
}

/*
 * Processes that walk through a buffer get more entries with each fault, as
 * readahead does; one that touches a page here and there gets that page.
 */
static unsigned long mmap_window(struct dvp_buffer *buf, u64 offset)
{
	if (READ_ONCE(buf->ahead) != offset)
		return 1;
	return clamp(2 * READ_ONCE(buf->window), 1u,
		     (unsigned int)PTRS_PER_PTE);
}

static void mmap_set_ahead(struct dvp_buffer *buf, u64 offset,
			   unsigned int window)
{
	WRITE_ONCE(buf->ahead, offset);
	WRITE_ONCE(buf->window, window);
}

/* One huge entry, and those after it that the same table has. */
static vm_fault_t fill_huge_window(struct vm_fault *vmf,
				   struct dvp_buffer *buf, unsigned long pfn)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long start = ALIGN_DOWN(vmf->address, PMD_SIZE);
	unsigned long window = mmap_window(buf, buffer_offset(vma, start));
	unsigned long end = min(start + window * PMD_SIZE,
				ALIGN(start + 1, PUD_SIZE));
	unsigned long addr;
	vm_fault_t ret;

	ret = dvp_insert_huge(vmf, pfn, vmf->flags & FAULT_FLAG_WRITE);
	if (ret != VM_FAULT_NOPAGE)
		return ret;
	for (addr = start + PMD_SIZE; addr < end; addr += PMD_SIZE) {
		struct vm_fault next = {
			.vma = vma,
			.address = addr,
			.pmd = vmf->pmd + (addr - start) / PMD_SIZE,
		};

		if (pmd_none(READ_ONCE(*next.pmd)) &&
		    mmap_huge_block(vma, &buf->layout, addr, &pfn))
			dvp_insert_huge(&next, pfn, false);
	}
	mmap_set_ahead(buf, buffer_offset(vma, end), window);
	return ret;
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
	unsigned long pfn;

	lockdep_assert_held_read(&buf->lock);

	if (order != PMD_ORDER ||
	    !mmap_huge_block(vmf->vma, &buf->layout, addr, &pfn))
		return VM_FAULT_FALLBACK;
	return fill_huge_window(vmf, buf, pfn);
}

/*
 * All of a window at once: they are of one page table, whose lock is held. By
 * hand, since vmf_insert_pfn() takes the memory type from the first mapping
 * there was, which is the core's own and uncached. The entries are special:
 * there is no page to count references of.
 */
static int fill_entries(pte_t *pte, unsigned long addr, void *data)
{
	const struct fill *fill = data;
	const struct dvp_layout *layout = fill->layout;
	struct vm_area_struct *vma = fill->vma;
	struct dvp_range piece = {};
	unsigned long i;

	for (i = 0; i < fill->nr; i++, pte++, addr += PAGE_SIZE) {
		phys_addr_t phys;

		if (!piece.length)
			piece = mmap_range_at(layout, vma, addr);
		phys = layout->phys + piece.offset;
		if (pte_none(ptep_get(pte)))
			set_pte_at(vma->vm_mm, addr, pte,
				   pte_mkspecial(pfn_pte(PHYS_PFN(phys),
							 vma->vm_page_prot)));
		piece.offset += PAGE_SIZE;
		piece.length -= PAGE_SIZE;
	}
	return 0;
}

static vm_fault_t fill_small(struct vm_fault *vmf, struct dvp_buffer *buf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long addr = ALIGN_DOWN(vmf->address, PAGE_SIZE);
	unsigned long window = mmap_window(buf, buffer_offset(vma, addr));
	unsigned long end = min3(addr + window * PAGE_SIZE, vma->vm_end,
				 ALIGN(addr + 1, PMD_SIZE));
	struct fill fill = {
		.vma = vma,
		.layout = &buf->layout,
		.nr = (end - addr) >> PAGE_SHIFT,
	};

	if (!apply_to_page_range(vma->vm_mm, addr, PAGE_SIZE, fill_entries,
				 &fill))
		mmap_set_ahead(buf, buffer_offset(vma, end), window);
	return VM_FAULT_NOPAGE;
}

/*
 * Whether the kernel asks for huge entries can change from one fault to the
 * next, by a prctl() of the process. What a block gets must not: two faults
 * that fill it in two ways at a time make the kernel warn. So a block that can
 * have a huge entry gets nothing else. Another one has a page table: if
 * madvise() has freed it since, the next fault makes it.
 */
static vm_fault_t fill_window(struct vm_fault *vmf, struct dvp_buffer *buf)
{
	pmd_t pmd = READ_ONCE(*vmf->pmd);
	vm_fault_t ret;

	lockdep_assert_held_read(&buf->lock);

	if (pmd_leaf(pmd))
		return VM_FAULT_NOPAGE;
	if (!pmd_none(pmd))
		return fill_small(vmf, buf);
	ret = fill_huge(vmf, buf, PMD_ORDER);
	return ret == VM_FAULT_FALLBACK ? VM_FAULT_NOPAGE : ret;
}

static int fill_nothing(pte_t *pte, unsigned long addr, void *data)
{
	return 0;
}

/*
 * The page table is allocated before the buffer's lock is taken: it is charged
 * to the process, which may take long over it. Also if the buffer is revoked:
 * it may be restored until the lock is taken, and KVM tries an access once.
 */
static vm_fault_t fault_prepare(struct vm_fault *vmf, struct dvp_buffer *buf)
{
	unsigned long addr = ALIGN_DOWN(vmf->address, PAGE_SIZE);
	unsigned long pfn;
	int err;

	if (!pmd_none(READ_ONCE(*vmf->pmd)) ||
	    READ_ONCE(buf->state) == DVP_DEAD ||
	    mmap_huge_block(vmf->vma, &buf->layout,
			    ALIGN_DOWN(addr, PMD_SIZE), &pfn))
		return 0;
	err = apply_to_page_range(vmf->vma->vm_mm, addr, PAGE_SIZE,
				  fill_nothing, NULL);
	if (err == -ENOMEM)
		return VM_FAULT_OOM;
	/* Another error: the table has gone again, and is looked for anew. */
	return err ? VM_FAULT_NOPAGE : 0;
}

static bool fault_settled(struct dvp_gate *gate, struct dvp_buffer *buf)
{
	return !dvp_gate_in_transit(gate) ||
	       READ_ONCE(buf->state) != DVP_REVOKED;
}

/*
 * The wait is bounded, and then the access is looked at anew. An access by the
 * kernel does not return for a signal: it would come back at once.
 */
static void fault_wait_settled(struct dvp_gate *gate, struct dvp_buffer *buf,
			       unsigned int flags)
{
	if (flags & FAULT_FLAG_INTERRUPTIBLE && flags & FAULT_FLAG_USER)
		wait_event_interruptible_timeout(gate->faults,
						 fault_settled(gate, buf), HZ);
	else
		wait_event_killable_timeout(gate->faults,
					    fault_settled(gate, buf), HZ);
}

/*
 * Drops the buffer's lock and, where the fault may wait, the fault's: then only
 * references keep the buffer, its function's gate and this module, the file's
 * for the first and the last. A task that puts it does so after the fault.
 */
static vm_fault_t fault_blocked(struct vm_fault *vmf, struct dvp_buffer *buf)
{
	struct dvp_gate *gate = buf->gate;
	struct file *file;

	if (buf->state == DVP_DEAD || !dvp_gate_in_transit(gate) ||
	    !(vmf->flags & FAULT_FLAG_ALLOW_RETRY)) {
		up_read(&buf->lock);
		return VM_FAULT_SIGBUS;
	}
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT) {
		up_read(&buf->lock);
		return VM_FAULT_RETRY;
	}
	file = get_file(vmf->vma->vm_file);
	dvp_gate_get(gate);
	up_read(&buf->lock);
	release_fault_lock(vmf);
	fault_wait_settled(gate, buf, vmf->flags);
	dvp_gate_put(gate);
	fput(file);
	return VM_FAULT_RETRY;
}

/* Called with the mmap_lock held, or the lock of the VMA. */
static vm_fault_t dvp_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct dvp_buffer *buf = vmf->vma->vm_private_data;
	vm_fault_t ret;

	ret = order ? 0 : fault_prepare(vmf, buf);
	if (ret)
		return ret;
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

/*
 * A fork copies a huge entry as it was before it took the locks, and may bring
 * back what a revoke took away in between. So where there are such entries a
 * child's mapping begins with none.
 */
static void dvp_vma_open(struct vm_area_struct *vma)
{
	struct dvp_buffer *buf = vma->vm_private_data;

	atomic_inc(&buf->cpu_maps);
	if (dvp_kernel_maps_huge() && vma->vm_mm != current->mm)
		vm_flags_set(vma, VM_WIPEONFORK);
}

/*
 * The page tables come along: where they did not fit a huge entry, one may fit
 * now.
 */
static int dvp_vma_mremap(struct vm_area_struct *vma)
{
	vma->vm_ops = &dvp_moved_vm_ops;
	return 0;
}

static void dvp_vma_close(struct vm_area_struct *vma)
{
	struct dvp_buffer *buf = vma->vm_private_data;
	struct file *holds = NULL;

	down_write(&buf->lock);
	if (atomic_dec_and_test(&buf->cpu_maps))
		swap(holds, buf->holds);
	up_write(&buf->lock);
	/*
	 * It may be the last close of the function: that comes later, when this
	 * task has nothing else to do.
	 */
	if (holds)
		fput(holds);
}

static const struct vm_operations_struct dvp_vm_ops = {
	.open		= dvp_vma_open,
	.close		= dvp_vma_close,
	.mremap		= dvp_vma_mremap,
	.fault		= dvp_fault,
	DVP_VM_OPS_HUGE_FAULT(dvp_huge_fault)
};

/* Of a mapping that mremap() has moved: it gets no huge entries. */
static const struct vm_operations_struct dvp_moved_vm_ops = {
	.open		= dvp_vma_open,
	.close		= dvp_vma_close,
	.fault		= dvp_fault,
};

/**
 * dvp_mmap_hold() - keep the VFIO descriptor open while a BAR is mapped
 * @buf: of a BAR, which has just been mapped
 * @file: the descriptor's; a reference to it is taken over
 *
 * Whichever descriptor of the function it is: each keeps it open.
 *
 * Context: called with the mmap_lock held for writing.
 */
void dvp_mmap_hold(struct dvp_buffer *buf, struct file *file)
{
	down_write(&buf->lock);
	if (!buf->holds)
		swap(buf->holds, file);
	up_write(&buf->lock);
	if (file)
		fput(file);
}

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
			  (buf->layout.own ? VM_PFNMAP : VM_MIXEDMAP));
	vma->vm_private_data = buf;
	vma->vm_ops = &dvp_vm_ops;
	dvp_vma_open(vma);
	return 0;
}
