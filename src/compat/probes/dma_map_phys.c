// SPDX-License-Identifier: GPL-2.0-only
/* Linux 6.18. symbol: dma_map_phys form: dma_map_phys */
#include <linux/dma-mapping.h>

dma_addr_t probe(struct device *dev, phys_addr_t phys);
dma_addr_t probe(struct device *dev, phys_addr_t phys)
{
	return dma_map_phys(dev, phys, PAGE_SIZE, DMA_BIDIRECTIONAL,
			    DMA_ATTR_MMIO);
}
