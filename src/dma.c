// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges of a BAR to an sg_table that one client device can use.
 *
 * Three ways, decided at attach: the bus address; through the host bridge with
 * one contiguous I/O address range for the whole buffer, allocated at attach
 * and linked at map; through the host bridge with a DMA mapping per range,
 * where the former is not to be had or is in use by another mapping.
 */
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "dvp.h"

/* The length of a scatterlist entry has 32 bits. */
#define SEGMENT_MAX	ALIGN_DOWN((u64)U32_MAX, PAGE_SIZE)

/**
 * struct dvp_mapping - a mapping that an importer holds
 * @sgt: what the importer sees
 * @nents: entries allocated; @sgt.orig_nents is zero, since there is no CPU
 *	list, and sg_free_table() goes by it
 * @linked: it is the attachment's I/O address range that is mapped
 * @nr_addrs: entries of @addrs
 * @addrs: DMA address of each range, when each is mapped by itself
 */
struct dvp_mapping {
	struct sg_table sgt;
	unsigned int nents;
	bool linked;
	u32 nr_addrs;
	dma_addr_t addrs[];
};

/* Is there an IOMMU between the device and memory that the DMA API programs? */
static struct iommu_domain *translating_domain(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (!domain || !(domain->type & __IOMMU_DOMAIN_DMA_API))
		return NULL;
	return domain;
}

/* Without a translation the device itself must be able to say the address. */
static int check_mask(struct device *dev, u64 addr, u64 len)
{
	u64 mask = min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);

	return addr + len - 1 > mask ? -ERANGE : 0;
}

static struct scatterlist *fill_segments(struct scatterlist *sg,
					 dma_addr_t addr, u64 len)
{
	while (len) {
		u64 part = min(len, SEGMENT_MAX);

		sg_set_page(sg, NULL, 0, 0);
		sg_dma_address(sg) = addr;
		sg_dma_len(sg) = part;
		addr += part;
		len -= part;
		sg = sg_next(sg);
	}
	return sg;
}

static int link_iova(struct dvp_attachment *att, struct device *dev,
		     const struct dvp_layout *layout,
		     enum dma_data_direction dir)
{
	size_t linked = 0;
	int ret;
	u32 i;

	for (i = 0; i < layout->nr_ranges; i++) {
		const struct dvp_range *r = &layout->ranges[i];

		ret = dma_iova_link(dev, &att->iova, layout->phys + r->offset,
				    linked, r->length, dir, DMA_ATTR_MMIO);
		if (ret)
			goto err_unlink;
		linked += r->length;
	}
	ret = dma_iova_sync(dev, &att->iova, 0, linked);
	if (ret)
		goto err_unlink;
	return 0;

err_unlink:
	if (linked)
		dma_iova_unlink(dev, &att->iova, 0, linked, dir, DMA_ATTR_MMIO);
	return ret;
}

/*
 * The DMA API may leave the IOMMU's cached translations in place for a while
 * to spare flushes. A revoke cannot: what is unmapped must be out of reach.
 */
static void unmap_ranges(struct device *dev, const struct dvp_layout *layout,
			 struct dvp_mapping *map, enum dma_data_direction dir)
{
	struct iommu_domain *domain = translating_domain(dev);
	u32 i;

	if (!map->nr_addrs)
		return;
	for (i = 0; i < map->nr_addrs; i++)
		dma_unmap_phys(dev, map->addrs[i], layout->ranges[i].length,
			       dir, DMA_ATTR_MMIO);
	if (domain)
		iommu_flush_iotlb_all(domain);
}

static int map_ranges(struct device *dev, const struct dvp_layout *layout,
		      struct dvp_mapping *map, enum dma_data_direction dir)
{
	bool direct = !translating_domain(dev);
	struct scatterlist *sg = map->sgt.sgl;
	int ret;
	u32 i;

	for (i = 0; i < layout->nr_ranges; i++) {
		const struct dvp_range *r = &layout->ranges[i];
		phys_addr_t phys = layout->phys + r->offset;

		ret = direct ? check_mask(dev, phys, r->length) : 0;
		if (ret)
			goto err_unmap;
		map->addrs[i] = dma_map_phys(dev, phys, r->length, dir,
					     DMA_ATTR_MMIO);
		ret = dma_mapping_error(dev, map->addrs[i]);
		if (ret)
			goto err_unmap;
		map->nr_addrs++;
		sg = fill_segments(sg, map->addrs[i], r->length);
	}
	return 0;

err_unmap:
	unmap_ranges(dev, layout, map, dir);
	return ret;
}

static int map_bus(struct device *dev, const struct dvp_layout *layout,
		   struct dvp_mapping *map)
{
	struct scatterlist *sg = map->sgt.sgl;
	int ret;
	u32 i;

	for (i = 0; i < layout->nr_ranges; i++) {
		const struct dvp_range *r = &layout->ranges[i];
		u64 addr = layout->phys + r->offset + layout->bus_offset;

		ret = check_mask(dev, addr, r->length);
		if (ret)
			return ret;
		sg = fill_segments(sg, addr, r->length);
	}
	return 0;
}

static void mapping_free(struct dvp_mapping *map)
{
	map->sgt.orig_nents = map->nents;
	sg_free_table(&map->sgt);
	kvfree(map);
}

static struct dvp_mapping *mapping_alloc(const struct dvp_layout *layout,
					 bool linked, u32 nr_addrs)
{
	struct dvp_mapping *map;
	u64 nents;
	int ret;

	if (linked)
		nents = DIV_ROUND_UP_ULL(layout->size, SEGMENT_MAX);
	else
		nents = dvp_ranges_segments(layout->ranges, layout->nr_ranges,
					    SEGMENT_MAX);
	if (nents > INT_MAX)
		return ERR_PTR(-E2BIG);

	map = kvzalloc(struct_size(map, addrs, nr_addrs), GFP_KERNEL);
	if (!map)
		return ERR_PTR(-ENOMEM);
	ret = sg_alloc_table(&map->sgt, nents, GFP_KERNEL);
	if (ret) {
		kvfree(map);
		return ERR_PTR(ret);
	}
	map->nents = nents;
	map->linked = linked;
	map->sgt.orig_nents = 0;
	return map;
}

/**
 * dvp_dma_attach() - get ready to map for a device
 * @att: the attachment, its route known
 * @dev: the importer's device
 * @layout: of the buffer
 *
 * Failing to get an I/O address range of its own is no error: ranges are
 * mapped one by one then.
 */
void dvp_dma_attach(struct dvp_attachment *att, struct device *dev,
		    const struct dvp_layout *layout)
{
	if (att->route.kind == DVP_ROUTE_HOST && dev->dma_mask)
		dma_iova_try_alloc(dev, &att->iova, 0, layout->size);
}

/**
 * dvp_dma_detach() - undo dvp_dma_attach()
 * @att: the attachment, without a mapping
 * @dev: the importer's device
 */
void dvp_dma_detach(struct dvp_attachment *att, struct device *dev)
{
	if (dma_use_iova(&att->iova))
		dma_iova_free(dev, &att->iova);
}

/**
 * dvp_dma_map() - map a buffer for a device
 * @att: the attachment
 * @dev: the importer's device
 * @layout: of the buffer
 * @dir: direction of the DMA
 *
 * Context: may sleep; the buffer's reservation lock is held.
 *
 * Return: a table of DMA addresses without a CPU list, to be given to
 * dvp_dma_unmap(); -EINVAL when the device has no route to the memory, -ERANGE
 * when its DMA mask does not reach it, or what the DMA API says.
 */
struct sg_table *dvp_dma_map(struct dvp_attachment *att, struct device *dev,
			     const struct dvp_layout *layout,
			     enum dma_data_direction dir)
{
	bool bus = att->route.kind == DVP_ROUTE_BUS;
	struct dvp_mapping *map;
	bool linked;
	int ret;

	if (att->route.kind == DVP_ROUTE_NONE || !dev->dma_mask)
		return ERR_PTR(-EINVAL);

	linked = !bus && dma_use_iova(&att->iova) && !att->linked;
	map = mapping_alloc(layout, linked,
			    bus || linked ? 0 : layout->nr_ranges);
	if (IS_ERR(map))
		return ERR_CAST(map);

	if (bus) {
		ret = map_bus(dev, layout, map);
	} else if (linked) {
		ret = link_iova(att, dev, layout, dir);
		if (!ret)
			fill_segments(map->sgt.sgl, att->iova.addr,
				      layout->size);
	} else {
		ret = map_ranges(dev, layout, map, dir);
	}
	if (ret) {
		mapping_free(map);
		return ERR_PTR(ret);
	}
	if (linked)
		att->linked = true;
	return &map->sgt;
}

/**
 * dvp_dma_unmap() - undo dvp_dma_map()
 * @att: the attachment
 * @dev: the importer's device
 * @layout: of the buffer
 * @sgt: what dvp_dma_map() returned
 * @dir: the direction it was mapped with
 *
 * When it returns the device's IOMMU lets nothing through any more.
 *
 * Context: may sleep; the buffer's reservation lock is held.
 */
void dvp_dma_unmap(struct dvp_attachment *att, struct device *dev,
		   const struct dvp_layout *layout, struct sg_table *sgt,
		   enum dma_data_direction dir)
{
	struct dvp_mapping *map = container_of(sgt, struct dvp_mapping, sgt);

	if (map->linked) {
		dma_iova_unlink(dev, &att->iova, 0, layout->size, dir,
				DMA_ATTR_MMIO);
		att->linked = false;
	}
	unmap_ranges(dev, layout, map, dir);
	mapping_free(map);
}
