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

/* Is there an IOMMU between the device and memory that the DMA API programs? */
static struct iommu_domain *translating_domain(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (!domain || !(domain->type & __IOMMU_DOMAIN_DMA_API))
		return NULL;
	return domain;
}

/* Without a translation the device itself must be able to say the address. */
static int dma_check_mask(struct device *dev, u64 addr, u64 len)
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

static int dma_link_iova(struct dvp_attachment *att,
			 const struct dvp_layout *layout,
			 enum dma_data_direction dir)
{
	struct device *dev = att->dev;
	size_t linked = 0;
	int ret;
	u32 i;

	for (i = 0; i < layout->nr_ranges; i++) {
		const struct dvp_range *r = &layout->ranges[i];

		ret = dma_iova_link(dev, &att->iova, layout->phys + r->offset,
				    linked, dvp_layout_length(layout, i), dir,
				    DMA_ATTR_MMIO);
		if (ret)
			goto err_unlink;
		linked = dvp_layout_end(layout, i);
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
 * The DMA API unmaps what it finds mapped only, so a range that was cut wants
 * something at its addresses: memory that belongs to nobody, a block of it over
 * and over, which the device may read for the moment until it is unmapped.
 */
static struct page *fill_alloc(u64 len, size_t *size)
{
	unsigned int order = get_order(min_t(u64, len, PMD_SIZE));
	struct page *page;

	page = alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN |
			   __GFP_NORETRY, order);
	if (!page) {
		order = 0;
		page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	}
	*size = PAGE_SIZE << order;
	return page;
}

static int fill_range(struct iommu_domain *domain, dma_addr_t addr, u64 len,
		      struct page *page, size_t size)
{
	u64 done = 0;
	int ret;

	while (done < len) {
		size_t part = min_t(u64, size, len - done);

		ret = iommu_map(domain, addr + done, page_to_phys(page), part,
				IOMMU_READ, GFP_KERNEL);
		if (ret) {
			if (done)
				iommu_unmap(domain, addr, done);
			return ret;
		}
		done += part;
	}
	return 0;
}

/*
 * Where memory is short an address stays reserved for good: it is lost, but it
 * leads nowhere.
 */
static void dma_unmap_cut_ranges(struct device *dev,
				 const struct dvp_layout *layout,
				 struct dvp_mapping *map)
{
	struct page *page;
	size_t size;
	u64 lost = 0;
	u32 i;

	if (!map->nr_addrs)
		return;
	page = fill_alloc(layout->size, &size);
	for (i = 0; i < map->nr_addrs; i++) {
		u64 len = dvp_layout_length(layout, i);

		if (!page || fill_range(map->domain, map->addrs[i], len, page,
					size))
			lost += len;
		else
			dma_unmap_phys(dev, map->addrs[i], len, map->dir,
				       DMA_ATTR_MMIO);
	}
	if (lost)
		dev_warn_ratelimited(dev,
				     "out of memory: %llu bytes of I/O addresses are lost\n",
				     lost);
	if (!page)
		return;
	iommu_flush_iotlb_all(map->domain);
	__free_pages(page, get_order(size));
}

/*
 * The DMA API may leave the IOMMU's cached translations in place for a while
 * to spare flushes. A revoke cannot: what is unmapped must be out of reach.
 */
static void dma_unmap_ranges(struct device *dev,
			     const struct dvp_layout *layout,
			     struct dvp_mapping *map)
{
	u32 i;

	for (i = 0; i < map->nr_addrs; i++)
		dma_unmap_phys(dev, map->addrs[i],
			       dvp_layout_length(layout, i), map->dir,
			       DMA_ATTR_MMIO);
	if (map->nr_addrs && map->domain)
		iommu_flush_iotlb_all(map->domain);
}

static int dma_map_ranges(struct device *dev, const struct dvp_layout *layout,
			  struct dvp_mapping *map)
{
	struct scatterlist *sg = map->sgt.sgl;
	int ret;
	u32 i;

	for (i = 0; i < layout->nr_ranges; i++) {
		const struct dvp_range *r = &layout->ranges[i];
		phys_addr_t phys = layout->phys + r->offset;
		u64 len = dvp_layout_length(layout, i);

		ret = map->domain ? 0 : dma_check_mask(dev, phys, len);
		if (ret)
			goto err_unmap;
		map->addrs[i] = dma_map_phys(dev, phys, len, map->dir,
					     DMA_ATTR_MMIO);
		ret = dma_mapping_error(dev, map->addrs[i]);
		if (ret)
			goto err_unmap;
		map->nr_addrs++;
		sg = fill_segments(sg, map->addrs[i], len);
	}
	return 0;

err_unmap:
	dma_unmap_ranges(dev, layout, map);
	return ret;
}

static int dma_map_bus(struct device *dev, const struct dvp_layout *layout,
		       struct dvp_mapping *map)
{
	struct scatterlist *sg = map->sgt.sgl;
	int ret;
	u32 i;

	for (i = 0; i < layout->nr_ranges; i++) {
		const struct dvp_range *r = &layout->ranges[i];
		u64 addr = layout->phys + r->offset + layout->bus_offset;
		u64 len = dvp_layout_length(layout, i);

		ret = dma_check_mask(dev, addr, len);
		if (ret)
			return ret;
		sg = fill_segments(sg, addr, len);
	}
	return 0;
}

static struct dvp_mapping *mapping_alloc(const struct dvp_layout *layout,
					 bool linked, u32 nr_addrs)
{
	struct dvp_mapping *map;
	size_t size;
	u64 nents;

	if (linked)
		nents = DIV_ROUND_UP_ULL(layout->size, SEGMENT_MAX);
	else if (layout->size <= SEGMENT_MAX)
		nents = layout->nr_ranges;
	else
		nents = dvp_ranges_segments(layout->ranges, layout->nr_ranges,
					    layout->size, SEGMENT_MAX);
	size = size_add(struct_size(map, sg, nents),
			array_size(nr_addrs, sizeof(*map->addrs)));
	if (size > INT_MAX)
		return ERR_PTR(-E2BIG);

	map = kvmalloc(size, GFP_KERNEL_ACCOUNT);
	if (!map)
		return ERR_PTR(-ENOMEM);
	memset(map, 0, sizeof(*map));
	sg_init_table(map->sg, nents);
	map->sgt.sgl = map->sg;
	map->sgt.nents = nents;
	map->addrs = (dma_addr_t *)(map->sg + nents);
	map->linked = linked;
	return map;
}

/**
 * dvp_dma_attach() - get ready to map for a device
 * @att: the attachment, its device and route known
 * @layout: of the buffer
 *
 * Failing to get an I/O address range of its own is not an error: ranges are
 * mapped one by one then.
 */
void dvp_dma_attach(struct dvp_attachment *att, const struct dvp_layout *layout)
{
	if (att->route.kind == DMABUF_VFIO_ROUTE_HOST && att->dev->dma_mask)
		dma_iova_try_alloc(att->dev, &att->iova, 0, layout->size);
}

/**
 * dvp_dma_detach() - undo dvp_dma_attach()
 * @att: the attachment, without a mapping
 */
void dvp_dma_detach(struct dvp_attachment *att)
{
	if (dma_use_iova(&att->iova))
		dma_iova_free(att->dev, &att->iova);
}

/*
 * Without a translation nothing keeps the device from writing, and nothing can
 * cut it off.
 */
static enum dvp_refusal dma_refusal(const struct dvp_layout *layout,
				    struct iommu_domain *domain)
{
	if (domain)
		return DVP_REFUSED_NOT;
	if (layout->read_only)
		return DVP_REFUSED_READ_ONLY;
	if (layout->translated_only)
		return DVP_REFUSED_UNTRANSLATED;
	return DVP_REFUSED_NOT;
}

/**
 * dvp_dma_prepare() - allocate what a mapping for a device takes
 * @att: the attachment
 * @layout: of the buffer
 * @dir: direction of the DMA; a buffer that is lent for reading is mapped for
 *	that whatever the importer asks
 *
 * Context: may sleep, for as long as the caller's memory cgroup has it wait;
 * the reservation lock is held.
 *
 * Return: a mapping that leads nowhere yet, for dvp_dma_map() or kvfree();
 * -EINVAL when the device has no route to the memory, -EACCES when the buffer
 * may not be mapped by that route, see &dvp_attachment.refusal; -E2BIG or
 * -ENOMEM.
 */
struct dvp_mapping *dvp_dma_prepare(struct dvp_attachment *att,
				    const struct dvp_layout *layout,
				    enum dma_data_direction dir)
{
	bool bus = att->route.kind == DMABUF_VFIO_ROUTE_BUS;
	struct iommu_domain *domain;
	struct dvp_mapping *map;
	enum dvp_refusal refusal;
	bool linked;

	if (att->route.kind == DMABUF_VFIO_ROUTE_NONE || !att->dev->dma_mask)
		return ERR_PTR(-EINVAL);
	domain = bus ? NULL : translating_domain(att->dev);
	refusal = dma_refusal(layout, domain);
	WRITE_ONCE(att->refusal, refusal);
	if (refusal)
		return ERR_PTR(-EACCES);

	linked = !bus && dma_use_iova(&att->iova) && !att->linked;
	map = mapping_alloc(layout, linked,
			    bus || linked ? 0 : layout->nr_ranges);
	if (IS_ERR(map))
		return map;
	map->domain = domain;
	map->dir = layout->read_only ? DMA_TO_DEVICE : dir;
	return map;
}

/**
 * dvp_dma_map() - map a buffer for a device
 * @att: the attachment
 * @layout: of the buffer
 * @map: from dvp_dma_prepare(), since when the attachment has not mapped; its
 *	table has DMA addresses and no CPU list on return
 *
 * Context: may sleep; the reservation lock is held, and the buffer's lock for
 * writing.
 *
 * Return: 0, for dvp_dma_unmap(); -ERANGE when the device's DMA mask does not
 * reach the memory, or what the DMA API says.
 */
int dvp_dma_map(struct dvp_attachment *att, const struct dvp_layout *layout,
		struct dvp_mapping *map)
{
	int ret;

	if (att->route.kind == DMABUF_VFIO_ROUTE_BUS)
		return dma_map_bus(att->dev, layout, map);
	if (!map->linked)
		return dma_map_ranges(att->dev, layout, map);
	ret = dma_link_iova(att, layout, map->dir);
	if (ret)
		return ret;
	fill_segments(map->sgt.sgl, att->iova.addr, layout->size);
	att->linked = true;
	return 0;
}

/**
 * dvp_dma_cut() - take a mapping's translation away
 * @att: the attachment
 * @layout: of the buffer
 * @map: a mapping that an IOMMU translates, not cut before
 *
 * The device's addresses lead nowhere, and stay taken until the importer
 * unmaps: nothing else is found there.
 *
 * Context: may sleep; the buffer's lock is held for writing.
 */
void dvp_dma_cut(struct dvp_attachment *att, const struct dvp_layout *layout,
		 struct dvp_mapping *map)
{
	u32 i;

	if (map->linked)
		dma_iova_unlink(att->dev, &att->iova, 0, layout->size, map->dir,
				DMA_ATTR_MMIO);
	for (i = 0; i < map->nr_addrs; i++)
		iommu_unmap(map->domain, map->addrs[i],
			    dvp_layout_length(layout, i));
}

/**
 * dvp_dma_unmap() - undo dvp_dma_map()
 * @att: the attachment
 * @layout: of the buffer
 * @map: mapped by dvp_dma_map(), cut or not
 *
 * When it returns the device's IOMMU lets nothing through any more.
 *
 * Context: may sleep; the reservation lock is held, or the attachment ends. The
 * buffer's lock is held for writing unless @map is cut: then it leads nowhere,
 * and to give its addresses back may take long.
 */
void dvp_dma_unmap(struct dvp_attachment *att, const struct dvp_layout *layout,
		   struct dvp_mapping *map)
{
	if (map->cut) {
		dma_unmap_cut_ranges(att->dev, layout, map);
	} else {
		if (map->linked)
			dma_iova_unlink(att->dev, &att->iova, 0, layout->size,
					map->dir, DMA_ATTR_MMIO);
		dma_unmap_ranges(att->dev, layout, map);
	}
	if (map->linked)
		att->linked = false;
	kvfree(map);
}
