/* SPDX-License-Identifier: GPL-2.0-only */
/* The DMA API by physical address, IOVA linking, and the IOMMU API. */
#ifndef DVP_COMPAT_DMA_H
#define DVP_COMPAT_DMA_H

#include <linux/dma-mapping.h>
#include <linux/iommu.h>

#ifndef DVP_HAVE_IOMMU_MAP_GFP
/* The same: the form without gfp allocates with GFP_KERNEL. */
static inline int dvp_iommu_map(struct iommu_domain *domain,
				unsigned long iova, phys_addr_t paddr,
				size_t size, int prot, gfp_t gfp)
{
	return iommu_map(domain, iova, paddr, size, prot);
}

#define iommu_map	dvp_iommu_map
#endif

#ifndef DVP_HAVE_DMA_MAP_PHYS
/*
 * dma_map_resource() is the same for MMIO, which is what its one attribute
 * here says: no struct page, no bounce buffer, no cache maintenance. To say
 * the latter makes no difference but to CONFIG_DMA_API_DEBUG, which would take
 * two mappings of one address for two owners of a cache line.
 */
#define DMA_ATTR_MMIO	DMA_ATTR_SKIP_CPU_SYNC

static inline dma_addr_t dma_map_phys(struct device *dev, phys_addr_t phys,
				      size_t size, enum dma_data_direction dir,
				      unsigned long attrs)
{
	return dma_map_resource(dev, phys, size, dir, attrs);
}

static inline void dma_unmap_phys(struct device *dev, dma_addr_t addr,
				  size_t size, enum dma_data_direction dir,
				  unsigned long attrs)
{
	dma_unmap_resource(dev, addr, size, dir, attrs);
}
#endif

static inline bool dvp_kernel_has_iova(void)
{
#ifdef DVP_HAVE_DMA_IOVA
	return true;
#else
	return false;
#endif
}

#ifndef DVP_HAVE_DMA_IOVA
/*
 * The answer of a newest kernel for a device without an IOMMU: there is no
 * address range to be had, and callers map range by range. The names are set
 * apart, since 6.16 and 6.17 have the calls without DMA_ATTR_MMIO.
 */
struct dvp_no_iova {
	dma_addr_t addr;
};

#define dma_iova_state		dvp_no_iova
#define dma_use_iova		dvp_use_iova
#define dma_iova_try_alloc	dvp_iova_try_alloc
#define dma_iova_free		dvp_iova_free
#define dma_iova_link		dvp_iova_link
#define dma_iova_sync		dvp_iova_sync
#define dma_iova_unlink		dvp_iova_unlink

static inline bool dma_use_iova(struct dma_iova_state *state)
{
	return false;
}

static inline bool dma_iova_try_alloc(struct device *dev,
				      struct dma_iova_state *state,
				      phys_addr_t phys, size_t size)
{
	return false;
}

static inline void dma_iova_free(struct device *dev,
				 struct dma_iova_state *state)
{
}

static inline int dma_iova_link(struct device *dev,
				struct dma_iova_state *state, phys_addr_t phys,
				size_t offset, size_t size,
				enum dma_data_direction dir,
				unsigned long attrs)
{
	return -EOPNOTSUPP;
}

static inline int dma_iova_sync(struct device *dev,
				struct dma_iova_state *state, size_t offset,
				size_t size)
{
	return -EOPNOTSUPP;
}

static inline void dma_iova_unlink(struct device *dev,
				   struct dma_iova_state *state, size_t offset,
				   size_t size, enum dma_data_direction dir,
				   unsigned long attrs)
{
}
#endif

#endif /* DVP_COMPAT_DMA_H */
