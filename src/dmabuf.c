// SPDX-License-Identifier: GPL-2.0-only
/*
 * Buffers: export, the dma-buf operations, what a revoke means to one.
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
#include <linux/slab.h>

#include "dvp.h"
#include "trace.h"

static void buffer_lock(struct dvp_buffer *buf)
{
	dma_resv_lock(&buf->resv, NULL);
}

static void buffer_unlock(struct dvp_buffer *buf)
{
	dma_resv_unlock(&buf->resv);
}

static void buffer_free(struct kref *ref)
{
	struct dvp_buffer *buf = container_of(ref, struct dvp_buffer, ref);

	iput(buf->inode);
	dma_resv_fini(&buf->resv);
	kvfree(buf->layout.ranges);
	kfree(buf);
}

/**
 * dvp_buffer_put() - drop a reference to a buffer
 * @buf: the buffer
 *
 * Context: may sleep.
 */
void dvp_buffer_put(struct dvp_buffer *buf)
{
	kref_put(&buf->ref, buffer_free);
}

static void set_state(struct dvp_buffer *buf, enum dvp_state state)
{
	dma_resv_assert_held(&buf->resv);

	down_write(&buf->faults);
	buf->state = state;
	up_write(&buf->faults);
}

static void invalidate(struct dvp_buffer *buf, enum dvp_state state)
{
	bool usable = buf->state == DVP_USABLE;

	if (buf->state == DVP_DEAD)
		return;
	set_state(buf, state);
	if (usable && buf->dmabuf)
		dma_buf_invalidate_mappings(buf->dmabuf);
}

/**
 * dvp_buffer_invalidate() - tell every importer to let go
 * @buf: the buffer
 * @state: DVP_REVOKED or DVP_DEAD, what it is from now on
 *
 * New mappings are refused from here, those of processes are not filled any
 * more. dvp_buffer_wait() waits for the importers' old ones to end, and
 * dvp_mmap_zap() ends the processes'.
 *
 * Context: takes the reservation lock.
 */
void dvp_buffer_invalidate(struct dvp_buffer *buf, enum dvp_state state)
{
	buffer_lock(buf);
	invalidate(buf, state);
	buffer_unlock(buf);
}

/**
 * dvp_buffer_job() - whose job is still running on the buffer?
 * @buf: the buffer
 * @driver: out, name of a driver, if there is a job; a fence does not know
 *	the device
 * @size: bytes of @driver
 *
 * Context: the reservation lock is held.
 *
 * Return: true if there is a job.
 */
bool dvp_buffer_job(struct dvp_buffer *buf, char *driver, size_t size)
{
	struct dma_resv_iter cursor;
	const char __rcu *name;
	struct dma_fence *fence;

	dma_resv_assert_held(&buf->resv);

	dma_resv_for_each_fence(&cursor, &buf->resv, DMA_RESV_USAGE_BOOKKEEP,
				fence) {
		if (dma_fence_is_signaled(fence))
			continue;
		rcu_read_lock();
		name = dma_fence_driver_name(fence);
		strscpy(driver, rcu_dereference(name), size);
		rcu_read_unlock();
		return true;
	}
	return false;
}

static void report_late_job(struct dvp_buffer *buf, struct device *dev)
{
	char driver[32];

	if (dvp_buffer_job(buf, driver, sizeof(driver)))
		dev_warn(dev, "importer %s is late to finish a job on a revoked BAR\n",
			 driver);
}

/* Who keeps a revoke waiting? A name each, as an operator knows them. */
static void report_late(struct dvp_buffer *buf)
{
	struct dma_buf_attachment *attach;

	buffer_lock(buf);
	if (buf->gate)
		report_late_job(buf, dvp_gate_dev(buf->gate));
	if (buf->dmabuf) {
		list_for_each_entry(attach, &buf->dmabuf->attachments, node) {
			struct dvp_attachment *att = attach->priv;

			if (att->maps)
				dev_warn(attach->dev,
					 "importer %s is late to let go of a revoked BAR\n",
					 dev_driver_string(attach->dev));
		}
	}
	buffer_unlock(buf);
}

static bool is_mapped(struct dvp_buffer *buf)
{
	/* Whose zero is seen here has let go of the memory before. */
	return smp_load_acquire(&buf->maps);
}

/**
 * dvp_buffer_wait() - wait until no importer has access
 * @buf: a buffer after dvp_buffer_invalidate()
 *
 * Access ends when the importers' jobs are done (their fences have signalled)
 * and their mappings are gone. There is no other way to end it, so there is
 * no time limit; who is late is said in the log every DVP_GRACE.
 *
 * Context: sleeps, uninterruptibly. An importer needs the reservation lock to
 * let go: do not hold it.
 */
void dvp_buffer_wait(struct dvp_buffer *buf)
{
	/* Who unmaps may leave a fence behind: look again. */
	do {
		while (!dma_resv_wait_timeout(&buf->resv,
					      DMA_RESV_USAGE_BOOKKEEP, false,
					      DVP_GRACE))
			report_late(buf);

		while (!wait_event_timeout(buf->unmapped, !is_mapped(buf),
					   DVP_GRACE))
			report_late(buf);
	} while (!dma_resv_test_signaled(&buf->resv, DMA_RESV_USAGE_BOOKKEEP));
}

/**
 * dvp_buffer_restore() - importers may map again, and are told so
 * @buf: a revoked buffer
 *
 * The state changes and the importers hear of it in one critical section: one
 * that tries at once succeeds, one that tried before has seen it fail.
 *
 * Context: takes the reservation lock.
 */
void dvp_buffer_restore(struct dvp_buffer *buf)
{
	buffer_lock(buf);
	if (buf->state == DVP_REVOKED) {
		set_state(buf, DVP_USABLE);
		if (buf->dmabuf)
			dma_buf_invalidate_mappings(buf->dmabuf);
	}
	buffer_unlock(buf);
}

/**
 * dvp_buffer_orphan() - the buffer forgets its function
 * @buf: the buffer
 *
 * Context: takes the reservation lock.
 */
void dvp_buffer_orphan(struct dvp_buffer *buf)
{
	buffer_lock(buf);
	if (buf->gate) {
		dvp_gate_del(buf->gate, buf);
		buf->gate = NULL;
	}
	buffer_unlock(buf);
}

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
	bool dead;

	if (!attach->peer2peer || !dma_buf_attach_revocable(attach))
		return -EOPNOTSUPP;

	buffer_lock(buf);
	dead = buf->state == DVP_DEAD;
	buffer_unlock(buf);
	if (dead)
		return -ENODEV;

	att = kzalloc(sizeof(*att), GFP_KERNEL_ACCOUNT);
	if (!att)
		return -ENOMEM;

	if (dev_is_pci(attach->dev))
		dvp_path_read(to_pci_dev(attach->dev), &client);
	att->route = dvp_route_find(&buf->path, &client, dvp_cpu_routes_p2p());
	dvp_dma_attach(att, attach->dev, &buf->layout);
	attach->priv = att;
	trace_dvp_attach(buf, attach->dev, &att->route);
	return 0;
}

static void dvp_dmabuf_detach(struct dma_buf *dmabuf,
			      struct dma_buf_attachment *attach)
{
	struct dvp_attachment *att = attach->priv;

	dvp_dma_detach(att, attach->dev);
	kfree(att);
}

/*
 * Nobody may pin. Where the dma-buf core pins before each map by itself, its
 * pin is the one that a map follows: a second pin before the map, or one of an
 * importer that is mapped already, is the importer's own.
 */
static int dvp_dmabuf_pin(struct dma_buf_attachment *attach)
{
	struct dvp_attachment *att = attach->priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (!dma_buf_core_pins_to_map() || att->pinned || att->maps)
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
	struct sg_table *sgt;

	dma_resv_assert_held(&buf->resv);

	if (buf->state != DVP_USABLE)
		return ERR_PTR(-ENODEV);

	sgt = dvp_dma_map(att, attach->dev, &buf->layout, dir);
	if (IS_ERR(sgt))
		return sgt;

	att->pinned = false;
	att->maps++;
	WRITE_ONCE(buf->maps, buf->maps + 1);
	trace_dvp_map(buf, attach->dev, sgt->nents);
	return sgt;
}

static void dvp_dmabuf_unmap(struct dma_buf_attachment *attach,
			     struct sg_table *sgt, enum dma_data_direction dir)
{
	struct dvp_buffer *buf = attach->dmabuf->priv;
	struct dvp_attachment *att = attach->priv;

	dma_resv_assert_held(&buf->resv);

	dvp_dma_unmap(att, attach->dev, &buf->layout, sgt, dir);
	att->maps--;
	trace_dvp_unmap(buf, attach->dev);
	/* Pairs with dvp_buffer_wait(), which does not take the lock. */
	smp_store_release(&buf->maps, buf->maps - 1);
	if (!buf->maps)
		wake_up_all(&buf->unmapped);
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
	buffer_lock(buf);
	buf->dmabuf = NULL;
	buffer_unlock(buf);
	dvp_buffer_orphan(buf);
	dvp_buffer_put(buf);
	if (holds)
		fput(holds);
}

static const struct dma_buf_ops dvp_dmabuf_ops = {
	.attach		= dvp_dmabuf_attach,
	.detach		= dvp_dmabuf_detach,
	.pin		= dvp_dmabuf_pin,
	.unpin		= dvp_dmabuf_unpin,
	.map_dma_buf	= dvp_dmabuf_map,
	.unmap_dma_buf	= dvp_dmabuf_unmap,
	.mmap		= dvp_dmabuf_mmap,
	.release	= dvp_dmabuf_release,
};

static int check_flags(u32 flags)
{
	u32 mem = flags & DMABUF_VFIO_MEM_MASK;

	if (flags & ~(DMABUF_VFIO_MEM_MASK | DMABUF_VFIO_FLAG_OWN))
		return -EINVAL;
	if (mem != DMABUF_VFIO_MEM_UNCACHED &&
	    mem != DMABUF_VFIO_MEM_WRITE_COMBINING)
		return -EINVAL;
	return 0;
}

static int check_open_flags(u32 flags)
{
	if (flags & ~(O_ACCMODE | O_CLOEXEC) ||
	    (flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	return 0;
}

/**
 * dvp_check_bar() - can pages of a BAR be exported?
 * @dvp: an open function
 * @index: the BAR
 *
 * Return: 0, or as said at struct vfio_device_feature_dma_buf.
 */
int dvp_check_bar(struct dvp_device *dvp, u32 index)
{
	struct pci_dev *pdev = dvp->core.pdev;

	if (index >= PCI_STD_NUM_BARS || !pci_resource_len(pdev, index) ||
	    IS_ERR_OR_NULL(vfio_pci_core_get_iomap(&dvp->core, index)))
		return -ENODEV;
	if (!(pci_resource_flags(pdev, index) & IORESOURCE_MEM))
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

	kref_init(&buf->ref);
	dma_resv_init(&buf->resv);
	init_waitqueue_head(&buf->unmapped);
	dvp_mmap_init(&buf->faults);
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

	buffer_lock(buf);
	buf->dmabuf = dmabuf;
	buf->inode = file_inode(dmabuf->file);
	ihold(buf->inode);
	ret = dvp_gate_add(&dvp->gate, buf);
	if (!ret)
		buf->gate = &dvp->gate;
	buffer_unlock(buf);
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
	struct dma_buf *dmabuf;
	struct dvp_buffer *buf;
	u64 size;
	int ret;

	ret = check_flags(req->flags) ?: check_open_flags(req->open_flags) ?:
	      dvp_check_bar(dvp, req->region_index);
	if (ret)
		return ret;
	ret = dvp_ranges_check(ranges, req->nr_ranges,
			       pci_resource_len(pdev, req->region_index),
			       PAGE_SIZE, &size);
	if (ret)
		return ret;

	buf = buffer_create(dvp, req->region_index, size, ranges,
			    req->nr_ranges);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	buf->layout.write_combining =
		(req->flags & DMABUF_VFIO_MEM_MASK) ==
		DMABUF_VFIO_MEM_WRITE_COMBINING;

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

static int revoke_for_good(struct dvp_device *dvp, struct dvp_buffer *buf)
{
	int ret = 0;

	buffer_lock(buf);
	if (buf->gate != &dvp->gate)
		ret = -ENODEV;
	else if (buf->state == DVP_DEAD)
		ret = -EBADFD;
	if (!ret) {
		trace_dvp_revoke_for_good(buf);
		invalidate(buf, DVP_DEAD);
		dvp_gate_uncount(buf->gate, buf);
	}
	buffer_unlock(buf);
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
		ret = revoke_for_good(dvp, dmabuf->priv);
	if (!ret)
		return dmabuf;
	dma_buf_put(dmabuf);
	return ERR_PTR(ret);
}

/**
 * dvp_revoke_end() - wait until nobody has access to a buffer any more
 * @dmabuf: from dvp_revoke_begin()
 *
 * However long that takes: a signal does not end it. The gate's lock is not
 * taken, so it holds up nobody else. The function may be closed meanwhile.
 *
 * Context: may sleep, without a bound.
 */
void dvp_revoke_end(struct dma_buf *dmabuf)
{
	struct dvp_buffer *buf = dmabuf->priv;

	/* Processes first: they need not stay for as long as an importer. */
	dvp_mmap_zap(buf);
	dvp_buffer_wait(buf);
	dma_buf_put(dmabuf);
}

/**
 * dvp_revoke() - take a buffer back for good
 * @dvp: an open function
 * @fd: the caller's descriptor of the buffer
 *
 * Returns when no device and no process has access any more.
 *
 * Context: may sleep, without a bound.
 *
 * Return: 0, or as said at struct vfio_pci_dmabuf_revoke.
 */
int dvp_revoke(struct dvp_device *dvp, int fd)
{
	struct dma_buf *dmabuf = dvp_revoke_begin(dvp, fd);

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	dvp_revoke_end(dmabuf);
	return 0;
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
 * invalidate_mappings callback returns: such use is nowhere counted, and so
 * never waited for.
 *
 * Context: the dma-buf's reservation lock is held.
 *
 * Return: 0; -EOPNOTSUPP if the buffer is another exporter's or is not one
 * range; -ENODEV if it is revoked, for now or for good.
 */
int dvp_dma_buf_phys(struct dma_buf_attachment *attach, phys_addr_t *phys,
		     size_t *size)
{
	struct dvp_buffer *buf = attach->dmabuf->priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (attach->dmabuf->ops != &dvp_dmabuf_ops ||
	    buf->layout.nr_ranges != 1)
		return -EOPNOTSUPP;
	if (buf->state != DVP_USABLE)
		return -ENODEV;
	*phys = buf->layout.phys + buf->layout.ranges[0].offset;
	*size = buf->layout.size;
	return 0;
}
EXPORT_SYMBOL_GPL(dvp_dma_buf_phys);
