// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dma-buf operations and the export: arguments in, a file descriptor out.
 *
 * A buffer outlives its function: a client may keep the file descriptor for
 * as long as it likes. So a buffer owns all that its operations need (the
 * reservation lock, the ranges, the path that routes are found by) and looks
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
	struct dvp_path client = {};
	struct dvp_attachment *att;
	int ret;

	if (!attach->peer2peer || !dma_buf_attach_revocable(attach))
		return -EOPNOTSUPP;

	att = kzalloc(sizeof(*att), GFP_KERNEL_ACCOUNT);
	if (!att)
		return -ENOMEM;

	att->dev = attach->dev;
	INIT_LIST_HEAD(&att->maps);
	if (dev_is_pci(att->dev))
		dvp_path_read(to_pci_dev(att->dev), &client);
	att->route = dvp_route_find(&buf->path, &client, dvp_cpu_routes_p2p());
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

/*
 * Runs when the last file reference is gone; dmabuf->file may be gone too. The
 * last unmap of a BAR may be the last close of the function: that comes later,
 * when this task has nothing else to do.
 */
static void dvp_dmabuf_release(struct dma_buf *dmabuf)
{
	struct dvp_buffer *buf = dmabuf->priv;
	struct file *holds = buf->holds;

	trace_dvp_release(buf);
	dma_resv_lock(&buf->resv, NULL);
	buf->dmabuf = NULL;
	dma_resv_unlock(&buf->resv);
	dvp_gate_del(buf);
	dvp_buffer_put(buf);
	if (holds)
		fput(holds);
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
 * dvp_read_ranges() - take over the slices of an export
 * @req: the caller's request, without its ranges
 * @user: where it came from
 * @size: bytes there, at least those of @req
 *
 * Return: the slices, to be given to kvfree(); -EINVAL if @size is too short
 * for them, -ENOSPC if they are more than a function may have, -EFAULT,
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
	/* Charge it: the copy lasts for as long as the caller's pages take. */
	ranges = kvmalloc_array(req->nr_ranges, sizeof(*ranges),
				GFP_KERNEL_ACCOUNT);
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

static struct dvp_buffer *buffer_create(struct dvp_device *dvp,
					unsigned int bar, u64 size,
					const struct dvp_range *ranges,
					u32 nr_ranges)
{
	struct pci_dev *pdev = dvp->core.pdev;
	struct dvp_layout *layout;
	struct dvp_buffer *buf;

	buf = kzalloc(sizeof(*buf), GFP_KERNEL_ACCOUNT);
	if (!buf)
		return ERR_PTR(-ENOMEM);

	layout = &buf->layout;
	layout->nr_ranges = dvp_ranges_merge(ranges, nr_ranges, NULL);
	layout->ranges = kvmalloc_array(layout->nr_ranges,
					sizeof(*layout->ranges) +
					sizeof(*layout->starts),
					GFP_KERNEL_ACCOUNT);
	if (!layout->ranges) {
		kfree(buf);
		return ERR_PTR(-ENOMEM);
	}
	layout->starts = (u64 *)(layout->ranges + layout->nr_ranges);
	dvp_ranges_merge(ranges, nr_ranges, layout->ranges);
	dvp_ranges_index(layout->ranges, layout->nr_ranges, layout->starts);
	layout->size = size;
	layout->bar = bar;
	layout->phys = pci_resource_start(pdev, bar);
	layout->bus_offset = pci_bus_address(pdev, bar) - layout->phys;

	dvp_buffer_init(buf);
	buf->path = dvp->path;
	return buf;
}

/*
 * Make a dma-buf of the buffer, which it owns from here: its release undoes
 * all, and a failure here does. An owner's mapping of a BAR has one, too, for
 * its file and its inode.
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
		if (buf->holds)
			fput(buf->holds);
		dvp_buffer_put(buf);
		return dmabuf;
	}

	dma_resv_lock(&buf->resv, NULL);
	buf->dmabuf = dmabuf;
	dma_resv_unlock(&buf->resv);
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
 * @ranges: the request's slices, &vfio_device_feature_dma_buf.nr_ranges of them
 *
 * Context: may sleep. The function cannot be closed meanwhile.
 *
 * Return: a new file descriptor; or as said at struct
 * vfio_device_feature_dma_buf.
 */
int dvp_export(struct dvp_device *dvp,
	       const struct vfio_device_feature_dma_buf *req,
	       const struct dvp_range *ranges)
{
	struct pci_dev *pdev = dvp->core.pdev;
	u32 bar = req->region_index;
	struct dma_buf *dmabuf;
	struct dvp_buffer *buf;
	u64 size;
	int ret;

	ret = export_check_flags(req->flags) ?:
	      export_check_open_flags(req->open_flags) ?:
	      dvp_check_bar(dvp, &bar);
	if (ret)
		return ret;
	ret = dvp_ranges_check(ranges, req->nr_ranges,
			       pci_resource_len(pdev, bar), PAGE_SIZE, &size);
	if (ret)
		return ret;

	buf = buffer_create(dvp, bar, size, ranges, req->nr_ranges);
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

/**
 * dvp_map_bar() - map a BAR for the function's owner
 * @dvp: an open function
 * @vma: a mapping of its VFIO descriptor, at the offset of a BAR's region
 *
 * The mapping is moved over to a buffer of its own, which keeps the VFIO
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
	struct dvp_range whole = {};
	struct dma_buf *dmabuf;
	struct dvp_buffer *buf;
	int ret;

	if (bar >= PCI_STD_NUM_BARS)
		return -EINVAL;
	bar = array_index_nospec(bar, PCI_STD_NUM_BARS);
	if (!dvp->core.bar_mmap_supported[bar])
		return -EINVAL;
	if (IS_ERR_OR_NULL(vfio_pci_core_get_iomap(&dvp->core, bar)))
		return -EBUSY;

	/* The core lets a BAR of less than a page be mapped if it is alone. */
	whole.length = PAGE_ALIGN(pci_resource_len(dvp->core.pdev, bar));
	buf = buffer_create(dvp, bar, whole.length, &whole, 1);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	buf->holds = get_file(vma->vm_file);

	dmabuf = buffer_publish(dvp, buf, O_RDWR);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	ret = dma_buf_mmap(dmabuf, vma, pgoff);
	dma_buf_put(dmabuf);
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
		ret = dvp_buffer_kill(dmabuf->priv, &dvp->gate);
	if (!ret) {
		dvp_gate_uncount(&dvp->gate, dmabuf->priv);
		return dmabuf;
	}
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
 * hypervisor's page tables. The answer is good while the reservation lock is
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
