// SPDX-License-Identifier: GPL-2.0-only
/*
 * Before Linux 6.3: always GFP_KERNEL.
 * symbol: iommu_map
 * one-of: iommu_map_gfp
 */
#include <linux/iommu.h>

int probe(struct iommu_domain *domain);
int probe(struct iommu_domain *domain)
{
	return iommu_map(domain, 0, 0, PAGE_SIZE, IOMMU_READ);
}
