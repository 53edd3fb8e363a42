// SPDX-License-Identifier: GPL-2.0-only
/*
 * Do all walkers of page tables know a huge entry that has no page? There is
 * no interface that says so. But 7.3 gave the bit of userfaultfd this name in
 * each of them, and there each one asks vm_normal_page_pmd(), which does know:
 * read in madvise, mbind, pagemap, smaps, numa_maps, clear_refs, KSM and DAMON.
 * So where there is this name, there are those walkers.
 * one-of: pmd_uffd_wp
 */
#include <linux/mm.h>

int probe(pmd_t pmd);
int probe(pmd_t pmd)
{
	return pmd_uffd(pmd);
}
