// SPDX-License-Identifier: GPL-2.0-only
/*
 * The former name of dma_map_phys for MMIO.
 * symbol: dma_map_resource one-of: dma_map_phys
 */
#include <linux/dma-mapping.h>

dma_addr_t probe(struct device *dev, phys_addr_t phys);
dma_addr_t probe(struct device *dev, phys_addr_t phys)
{
	return dma_map_resource(dev, phys, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
}
