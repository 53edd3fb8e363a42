// SPDX-License-Identifier: GPL-2.0-only
/* Its name before 7.3 */
#include <linux/mm.h>

int probe(pmd_t pmd);
int probe(pmd_t pmd)
{
	return pmd_uffd_wp(pmd);
}
