// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux 6.16; with DMA_ATTR_MMIO since 6.18, as dma_map_phys.
 * symbol: dma_iova_link
 */
#include <linux/dma-mapping.h>

int probe(struct device *dev, struct dma_iova_state *state, phys_addr_t phys);
int probe(struct device *dev, struct dma_iova_state *state, phys_addr_t phys)
{
	if (!dma_iova_try_alloc(dev, state, 0, PAGE_SIZE))
		return 0;
	return dma_iova_link(dev, state, phys, 0, PAGE_SIZE,
			     DMA_BIDIRECTIONAL, DMA_ATTR_MMIO);
}
