// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dma-buf operations and the export: arguments in, a file descriptor out.
 *
 * A buffer outlives its function: a client may keep the file descriptor for
 * as long as it likes. So a buffer owns all that its operations need (the
 * reservation lock, the ranges, the provider that routes lead to) and looks
 * at the function only through @gate, which the last close takes away. The
 * dma-buf in turn may be gone while a revoke works on the buffer; @dmabuf says
 * so under the reservation lock.
 */
#include <linux/dmabuf_vfio_pci.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/nospec.h>
#include <linux/slab.h>

#include "dvp.h"
#include "trace.h"

/*
 * Only an importer that takes memory without pages and lets go when told can
 * use a BAR that may be gone the next moment.
 */
static int dvp_dmabuf_attach(struct dma_buf *dmabuf,
			     struct dma_buf_attachment *attach)
{
	struct dvp_buffer *buf = dmabuf->priv;
	struct dvp_attachment *att;
	int ret;

	if (!attach->peer2peer || !dma_buf_attach_revocable(attach))
		return -EOPNOTSUPP;

	att = kzalloc(sizeof(*att), GFP_KERNEL_ACCOUNT);
	if (!att)
		return -ENOMEM;

	att->dev = attach->dev;
	INIT_LIST_HEAD(&att->maps);
	att->route = dvp_no_route;
	if (dev_is_pci(att->dev))
		att->route = dvp_provider_route(buf->provider,
						to_pci_dev(att->dev));
	ret = dvp_buffer_attach(buf, att);
	if (ret) {
		kfree(att);
		return ret;
	}
	/* Nobody maps before the attachment is made. */
	dvp_dma_attach(att, &buf->layout);
	attach->priv = att;
	trace_dvp_attach(buf, att->dev, &att->route);
	return 0;
}

static void dvp_dmabuf_detach(struct dma_buf *dmabuf,
			      struct dma_buf_attachment *attach)
{
	struct dvp_attachment *att = attach->priv;

	dvp_buffer_detach(dmabuf->priv, att);
	dvp_dma_detach(att);
	kfree(att);
}

/*
 * On kernels where a pin may promise not to be revoked, nobody may pin. Where
 * the dma-buf core pins before each map by itself, its pin is the one that a
 * map follows: a second pin before the map, or one of an importer that is
 * mapped already, is the importer's own.
 */
static int dvp_dmabuf_pin(struct dma_buf_attachment *attach)
{
	struct dvp_attachment *att = attach->priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (!dma_buf_core_pins_to_map() || att->pinned || att->nr_maps)
		return -EOPNOTSUPP;
	att->pinned = true;
	return 0;
}

static void dvp_dmabuf_unpin(struct dma_buf_attachment *attach)
{
	struct dvp_attachment *att = attach->priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	att->pinned = false;
}

static struct sg_table *dvp_dmabuf_map(struct dma_buf_attachment *attach,
				       enum dma_data_direction dir)
{
	struct dvp_buffer *buf = attach->dmabuf->priv;
	struct dvp_attachment *att = attach->priv;
	struct dvp_mapping *map;

	map = dvp_buffer_map(buf, att, dir);
	if (IS_ERR(map))
		return ERR_CAST(map);
	att->pinned = false;
	trace_dvp_map(buf, attach->dev, map->sgt.nents);
	return &map->sgt;
}

static void dvp_dmabuf_unmap(struct dma_buf_attachment *attach,
			     struct sg_table *sgt, enum dma_data_direction dir)
{
	struct dvp_buffer *buf = attach->dmabuf->priv;

	trace_dvp_unmap(buf, attach->dev);
	dvp_buffer_unmap(buf, attach->priv,
			 container_of(sgt, struct dvp_mapping, sgt));
}

static int dvp_dmabuf_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	return dvp_mmap_setup(dmabuf->priv, vma);
}

/* Runs when the last file reference is gone; dmabuf->file may be gone too. */
static void dvp_dmabuf_release(struct dma_buf *dmabuf)
{
	struct dvp_buffer *buf = dmabuf->priv;

	trace_dvp_release(buf);
	dma_resv_lock(&buf->resv, NULL);
	buf->dmabuf = NULL;
	dma_resv_unlock(&buf->resv);
	dvp_gate_del(buf);
	dvp_buffer_put(buf);
}

static const struct dma_buf_ops dvp_dmabuf_ops = {
	.attach		= dvp_dmabuf_attach,
	.detach		= dvp_dmabuf_detach,
	.pin		= dma_buf_pin_ptr(dvp_dmabuf_pin),
	.unpin		= dma_buf_pin_ptr(dvp_dmabuf_unpin),
	.map_dma_buf	= dvp_dmabuf_map,
	.unmap_dma_buf	= dvp_dmabuf_unmap,
	.mmap		= dvp_dmabuf_mmap,
	.release	= dvp_dmabuf_release,
};

static int export_check_flags(u32 flags)
{
	u32 mem = flags & DMABUF_VFIO_MEM_MASK;

	if (flags & ~(DMABUF_VFIO_MEM_MASK | DMABUF_VFIO_FLAG_OWN |
		      DMABUF_VFIO_FLAG_TRANSLATED))
		return -EINVAL;
	if (mem != DMABUF_VFIO_MEM_UNCACHED &&
	    mem != DMABUF_VFIO_MEM_WRITE_COMBINING)
		return -EINVAL;
	return 0;
}

static int export_check_open_flags(u32 flags)
{
	if (flags & ~(O_ACCMODE | O_CLOEXEC | O_NONBLOCK) ||
	    (flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	return 0;
}

/**
 * dvp_alloc_ranges() - get room for the slices of an export
 * @nr: how many
 *
 * The caller is charged for them, since they last as long as the buffer.
 *
 * Return: room for them, for dvp_export(); or NULL.
 */
struct dvp_range *dvp_alloc_ranges(u32 nr)
{
	return kvmalloc_array(nr, sizeof(struct dvp_range),
			      GFP_KERNEL_ACCOUNT);
}

/**
 * dvp_read_ranges() - take over the slices of an export
 * @req: the caller's request, without its ranges
 * @user: where it came from
 * @size: bytes there, at least those of @req
 *
 * Return: the slices, for dvp_export() or kvfree(); -EINVAL if @size is too
 * short for them, -ENOSPC if they are more than a function may have, -EFAULT,
 * -ENOMEM.
 */
struct dvp_range *
dvp_read_ranges(const struct vfio_device_feature_dma_buf *req,
		const struct vfio_device_feature_dma_buf __user *user,
		size_t size)
{
	struct dvp_range *ranges;

	BUILD_BUG_ON(sizeof(*ranges) != sizeof(*user->dma_ranges));

	if (req->nr_ranges > (size - sizeof(*req)) / sizeof(*user->dma_ranges))
		return ERR_PTR(-EINVAL);
	if (req->nr_ranges > DVP_MAX_RANGES)
		return ERR_PTR(-ENOSPC);
	ranges = dvp_alloc_ranges(req->nr_ranges);
	if (!ranges)
		return ERR_PTR(-ENOMEM);
	if (copy_from_user(ranges, user->dma_ranges,
			   array_size(req->nr_ranges, sizeof(*ranges)))) {
		kvfree(ranges);
		return ERR_PTR(-EFAULT);
	}
	return ranges;
}

/**
 * dvp_check_bar() - can pages of a BAR be exported?
 * @dvp: an open function
 * @index: the BAR, as a user gave it; safe to use as an index after that, also
 *	in speculation
 *
 * Return: 0, or as said at struct vfio_device_feature_dma_buf.
 */
int dvp_check_bar(struct dvp_device *dvp, u32 *index)
{
	struct pci_dev *pdev = dvp->core.pdev;

	if (*index >= PCI_STD_NUM_BARS)
		return -ENODEV;
	*index = array_index_nospec(*index, PCI_STD_NUM_BARS);
	if (!pci_resource_len(pdev, *index) ||
	    IS_ERR_OR_NULL(vfio_pci_core_get_iomap(&dvp->core, *index)))
		return -ENODEV;
	if (!(pci_resource_flags(pdev, *index) & IORESOURCE_MEM))
		return -EINVAL;
	return 0;
}

/* Where slices continued each other most of the room is empty. */
static struct dvp_range *shrink_ranges(struct dvp_range *ranges, u32 nr,
				       u32 room)
{
	struct dvp_range *fitting;

	if (nr > room / 2)
		return ranges;
	fitting = dvp_alloc_ranges(nr);
	if (!fitting)
		return ranges;
	memcpy(fitting, ranges, array_size(nr, sizeof(*ranges)));
	kvfree(ranges);
	return fitting;
}

/* Takes @ranges over, whatever it returns. */
static struct dvp_buffer *buffer_create(struct dvp_device *dvp,
					unsigned int bar, u64 bar_size,
					struct dvp_range *ranges, u32 nr_ranges)
{
	struct pci_dev *pdev = dvp->core.pdev;
	struct dvp_layout *layout;
	struct dvp_buffer *buf;
	u32 nr = nr_ranges;
	u64 size;
	int ret;

	ret = dvp_ranges_index(ranges, &nr, bar_size, PAGE_SIZE, &size);
	if (ret)
		goto err_free;
	ret = -ENOMEM;
	buf = kzalloc(sizeof(*buf), GFP_KERNEL_ACCOUNT);
	if (!buf)
		goto err_free;

	layout = &buf->layout;
	layout->ranges = shrink_ranges(ranges, nr, nr_ranges);
	layout->nr_ranges = nr;
	layout->size = size;
	layout->bar = bar;
	layout->phys = pci_resource_start(pdev, bar);
	layout->bus_offset = pci_bus_address(pdev, bar) - layout->phys;

	dvp_buffer_init(buf);
	buf->provider = dvp->provider;
	kref_get(&buf->provider->ref);
	return buf;

err_free:
	kvfree(ranges);
	return ERR_PTR(ret);
}

/*
 * Make a dma-buf of the buffer, which it owns from here: its release undoes
 * all, and a failure here does. The owner's mappings of a BAR have one, too,
 * for its file and its inode.
 */
static struct dma_buf *buffer_publish(struct dvp_device *dvp,
				      struct dvp_buffer *buf, int open_flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;
	int ret;

	info.exp_name = DVP_NAME;
	info.ops = &dvp_dmabuf_ops;
	info.size = buf->layout.size;
	info.flags = open_flags;
	info.resv = &buf->resv;
	info.priv = buf;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		dvp_buffer_put(buf);
		return dmabuf;
	}

	/* Nobody else has the buffer yet. */
	buf->dmabuf = dmabuf;
	buf->inode = file_inode(dmabuf->file);
	ihold(buf->inode);
	ret = dvp_gate_add(&dvp->gate, buf);
	if (ret) {
		dma_buf_put(dmabuf);
		return ERR_PTR(ret);
	}
	trace_dvp_export(buf);
	return dmabuf;
}

/**
 * dvp_export() - export slices of a BAR as a dma-buf
 * @dvp: an open function
 * @req: the caller's request, without its ranges
 * @ranges: the request's slices, &vfio_device_feature_dma_buf.nr_ranges of
 *	them, by dvp_alloc_ranges(); taken over, whatever it returns
 *
 * Context: may sleep. The function cannot be closed meanwhile.
 *
 * Return: a new file descriptor; or as said at struct
 * vfio_device_feature_dma_buf.
 */
int dvp_export(struct dvp_device *dvp,
	       const struct vfio_device_feature_dma_buf *req,
	       struct dvp_range *ranges)
{
	u32 bar = req->region_index;
	struct dma_buf *dmabuf;
	struct dvp_buffer *buf;
	int ret;

	ret = export_check_flags(req->flags) ?:
	      export_check_open_flags(req->open_flags) ?:
	      dvp_check_bar(dvp, &bar);
	if (ret) {
		kvfree(ranges);
		return ret;
	}

	buf = buffer_create(dvp, bar, pci_resource_len(dvp->core.pdev, bar),
			    ranges, req->nr_ranges);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	buf->layout.write_combining =
		(req->flags & DMABUF_VFIO_MEM_MASK) ==
		DMABUF_VFIO_MEM_WRITE_COMBINING;
	buf->layout.read_only = (req->open_flags & O_ACCMODE) == O_RDONLY;
	buf->layout.translated_only = req->flags & DMABUF_VFIO_FLAG_TRANSLATED;

	dmabuf = buffer_publish(dvp, buf, req->open_flags);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	ret = dma_buf_fd(dmabuf, req->open_flags);
	if (ret < 0)
		dma_buf_put(dmabuf);
	return ret;
}

static struct dma_buf *export_bar(struct dvp_device *dvp, unsigned int bar)
{
	struct dvp_range *whole = dvp_alloc_ranges(1);
	struct dvp_buffer *buf;

	if (!whole)
		return ERR_PTR(-ENOMEM);
	/* The core lets a BAR of less than a page be mapped if it is alone. */
	whole->offset = 0;
	whole->length = PAGE_ALIGN(pci_resource_len(dvp->core.pdev, bar));
	buf = buffer_create(dvp, bar, whole->length, whole, 1);
	if (IS_ERR(buf))
		return ERR_CAST(buf);
	buf->layout.own = true;
	return buffer_publish(dvp, buf, O_RDWR);
}

/* The buffer of a BAR stays until the last close. */
static struct dma_buf *get_bar(struct dvp_device *dvp, unsigned int bar)
{
	struct dma_buf *dmabuf = READ_ONCE(dvp->bars[bar]), *first;

	if (dmabuf)
		return dmabuf;
	dmabuf = export_bar(dvp, bar);
	if (IS_ERR(dmabuf))
		return dmabuf;
	first = cmpxchg(&dvp->bars[bar], NULL, dmabuf);
	if (!first)
		return dmabuf;
	dma_buf_put(dmabuf);
	return first;
}

/**
 * dvp_put_bars() - the last close: nobody maps a BAR any more
 * @dvp: a function that is closed
 */
void dvp_put_bars(struct dvp_device *dvp)
{
	unsigned int bar;

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		if (dvp->bars[bar])
			dma_buf_put(dvp->bars[bar]);
		dvp->bars[bar] = NULL;
	}
}

/**
 * dvp_map_bar() - map a BAR for the function's owner
 * @dvp: an open function
 * @vma: a mapping of its VFIO descriptor, at the offset of a BAR's region
 *
 * The mapping is moved over to the BAR's buffer, which keeps the VFIO
 * descriptor open in its stead.
 *
 * Context: called with the mmap_lock held for writing; never takes the core's
 * memory_lock, whose holder may be waiting for a fault.
 *
 * Return: 0; -EINVAL for what the core does not let anybody map, and -EBUSY if
 * another driver has reserved the BAR.
 */
int dvp_map_bar(struct dvp_device *dvp, struct vm_area_struct *vma)
{
	unsigned int bar = vma->vm_pgoff >>
			   (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	unsigned long pgoff = vma->vm_pgoff &
			      (VFIO_PCI_OFFSET_MASK >> PAGE_SHIFT);
	struct dma_buf *dmabuf;
	struct file *vfio;
	int ret;

	if (bar >= PCI_STD_NUM_BARS)
		return -EINVAL;
	bar = array_index_nospec(bar, PCI_STD_NUM_BARS);
	if (!dvp->core.bar_mmap_supported[bar])
		return -EINVAL;
	if (IS_ERR_OR_NULL(vfio_pci_core_get_iomap(&dvp->core, bar)))
		return -EBUSY;
	dmabuf = get_bar(dvp, bar);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	vfio = get_file(vma->vm_file);
	ret = dma_buf_mmap(dmabuf, vma, pgoff);
	if (ret)
		fput(vfio);
	else
		dvp_mmap_hold(dmabuf->priv, vfio);
	return ret;
}

/**
 * dvp_revoke_begin() - nobody gets access to a buffer any more
 * @dvp: an open function
 * @fd: the caller's descriptor of the buffer
 *
 * Who has access has been told, and is for dvp_revoke_end() to wait for.
 *
 * Context: may sleep. The function cannot be closed meanwhile.
 *
 * Return: the buffer's dma-buf, for dvp_revoke_end(); or as said at struct
 * vfio_pci_dmabuf_revoke.
 */
struct dma_buf *dvp_revoke_begin(struct dvp_device *dvp, int fd)
{
	struct dma_buf *dmabuf;
	int ret = -ENODEV;

	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return dmabuf;
	if (dmabuf->ops == &dvp_dmabuf_ops)
		ret = dvp_buffer_kill(dmabuf->priv, dvp);
	if (!ret)
		return dmabuf;
	dma_buf_put(dmabuf);
	return ERR_PTR(ret);
}

/**
 * dvp_revoke_end() - wait until nobody has access to a buffer any more
 * @dmabuf: from dvp_revoke_begin()
 *
 * The function may be closed meanwhile.
 *
 * Context: may sleep, without a bound if nothing can cut an importer off.
 *
 * Return: 0; -EINTR if the caller was killed.
 */
int dvp_revoke_end(struct dma_buf *dmabuf)
{
	struct dvp_buffer *buf = dmabuf->priv;
	int ret;

	/* Processes first: they need not stay for as long as an importer. */
	dvp_buffer_zap(buf);
	ret = dvp_buffer_drain(buf, jiffies + dvp_grace(), DVP_WAIT_KILLABLE);
	/*
	 * A client may keep it for ever: it counts against no limit, and no
	 * revoke walks past it any more.
	 */
	if (!ret)
		dvp_gate_del(buf);
	dma_buf_put(dmabuf);
	return ret;
}

/**
 * dvp_revoke() - take a buffer back for good
 * @dvp: an open function
 * @fd: the caller's descriptor of the buffer
 *
 * Returns when no device and no process has access any more.
 *
 * Context: may sleep, without a bound if nothing can cut an importer off.
 *
 * Return: 0, or as said at struct vfio_pci_dmabuf_revoke.
 */
int dvp_revoke(struct dvp_device *dvp, int fd)
{
	struct dma_buf *dmabuf = dvp_revoke_begin(dvp, fd);

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	return dvp_revoke_end(dmabuf);
}

/**
 * dvp_dma_buf_phys() - where a buffer is, for a peer that needs no DMA address
 * @attach: an attachment to a buffer; it may have no route
 * @phys: out, physical address
 * @size: out, bytes
 *
 * For a module with a way of its own to the memory, an interconnect or a
 * hypervisor's page tables. Experimental: its only user is the project's test
 * importer, and it may change or go when a driver needs something else.
 *
 * The answer is good while the reservation lock is
 * held. A module that uses it for longer must be off the memory when its
 * invalidate_mappings callback returns: a revoke waits for that return, since
 * nothing can cut such a use off, and for nothing else.
 *
 * Context: the dma-buf's reservation lock is held.
 *
 * Return: 0; -EOPNOTSUPP if the buffer is another exporter's or is not one
 * range; -ENODEV if it is revoked, for now or for good; -EACCES if it is lent
 * for reading only, or only to importers that can be cut off.
 */
int dvp_dma_buf_phys(struct dma_buf_attachment *attach, phys_addr_t *phys,
		     size_t *size)
{
	struct dvp_buffer *buf = attach->dmabuf->priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (attach->dmabuf->ops != &dvp_dmabuf_ops ||
	    buf->layout.nr_ranges != 1)
		return -EOPNOTSUPP;
	if (buf->layout.read_only || buf->layout.translated_only)
		return -EACCES;
	if (!dvp_buffer_know_phys(buf))
		return -ENODEV;
	*phys = buf->layout.phys + buf->layout.ranges[0].offset;
	*size = buf->layout.size;
	return 0;
}
EXPORT_SYMBOL_GPL(dvp_dma_buf_phys);
