// SPDX-License-Identifier: GPL-2.0-only
/*
 * dvp_importer: an importer of dma-bufs for tests, see dvp_importer.h.
 *
 * An attachment's mapping changes under the buffer's reservation lock only, so
 * DVPI_UNMAP, the work that lets go after an invalidation and the close of the
 * file cannot undo one mapping twice. Its statistics and fences have a spin
 * lock of their own: they must be readable while an exporter waits.
 *
 * Lock order: dvpi_edu_sem -> dvpi_edu.lock -> reservation lock ->
 * dvpi_att.lock; dvpi_file.lock is held together with none of the last two.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iopoll.h>
#include <linux/kprobes.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/platform_device.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sync_file.h>
#include <linux/uaccess.h>
#include <linux/usb/gadget.h>
#include <linux/vfio.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "dvp_importer.h"

/* The newest names; older kernels call the same callback move_notify. */
#ifndef DVPI_HAVE_INVALIDATE_MAPPINGS
#define invalidate_mappings	move_notify
#endif

#define DVPI_REMAP_MS		2
#define DVPI_REMAP_TRIES	2500

/* The engine of an edu device. */
#define EDU_DMA_SRC		0x80
#define EDU_DMA_DST		0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_CMD		0x98
#define EDU_CMD_RUN		BIT(0)
#define EDU_CMD_TO_MEM		BIT(1)
#define EDU_BUFFER		0x40000
#define EDU_MAX			4095	/* one more aborts QEMU 7.2 */

static struct workqueue_struct *dvpi_wq;

/* Guards the list, and by that the devices in it against removal. */
static DECLARE_RWSEM(dvpi_edu_sem);
static LIST_HEAD(dvpi_edus);

/**
 * struct dvpi_edu - one edu device
 * @node: in dvpi_edus
 * @pdev: the function
 * @regs: BAR0
 * @bounce: page the engine can reach
 * @bounce_dma: its address
 * @lock: one transfer at a time
 */
struct dvpi_edu {
	struct list_head node;
	struct pci_dev *pdev;
	void __iomem *regs;
	void *bounce;
	dma_addr_t bounce_dma;
	struct mutex lock; /* see above */
};

/**
 * struct dvpi_att - one attachment
 * @ref: the file's, each fence's and each running ioctl's
 * @dmabuf: reference of our own, so that its lock outlives the attachment
 * @attach: valid until @dead
 * @client: who imports
 * @provider: whose COMMAND is sampled, may be NULL
 * @dynamic: attached with importer ops
 * @sgt: the mapping, NULL when there is none
 * @dir: its direction, kept for a remap
 * @more: further mappings, of the same direction
 * @nr_more: how many
 * @pins: explicit pins held
 * @tries: remaps left
 * @dead: being torn down, nothing may start any more
 * @policy: what to do when told to let go
 * @unmap_work: lets go
 * @remap_work: tries to map again
 * @released: woken when @stuck is cleared
 * @stuck: callbacks wait; set under the reservation lock, cleared without
 * @lock: guards @stats, @fences
 * @stats: for DVPI_STATS
 * @fences: those not yet signalled
 *
 * @sgt to @policy are guarded by the reservation lock.
 */
struct dvpi_att {
	struct kref ref;
	struct dma_buf *dmabuf;
	struct dma_buf_attachment *attach;
	struct pci_dev *client;
	struct pci_dev *provider;
	bool dynamic;

	struct sg_table *sgt;
	enum dma_data_direction dir;
	struct sg_table *more[DVPI_MAX_MORE];
	unsigned int nr_more;
	unsigned int pins;
	unsigned int tries;
	bool dead;
	struct dvpi_policy policy;

	struct delayed_work unmap_work;
	struct delayed_work remap_work;

	wait_queue_head_t released;
	bool stuck;

	spinlock_t lock; /* see above */
	struct dvpi_stats stats;
	struct list_head fences;
};

/**
 * struct dvpi_job - a fence of ours
 * @base: the fence; whoever takes the job off the list signals and puts it
 * @lock: the fence's
 * @att: counted; NULL for the fence of a sync_file
 * @node: in dvpi_att.fences until somebody signals it
 * @work: signals it in time
 */
struct dvpi_job {
	struct dma_fence base;
	spinlock_t lock; /* the fence's */
	struct dvpi_att *att;
	struct list_head node;
	struct delayed_work work;
};

struct dvpi_hold;

struct dvpi_hold_ops {
	int (*take)(struct dvpi_hold *hold);
	void (*drop)(struct dvpi_hold *hold);
};

/**
 * struct dvpi_hold - something of a function that others cannot have meanwhile
 * @node: in dvpi_file.holds
 * @ops: what it is
 * @pdev: of whom
 * @at: I/O virtual address, or number of a BAR
 * @domain: of the I/O virtual address
 * @page: what is there
 */
struct dvpi_hold {
	struct list_head node;
	const struct dvpi_hold_ops *ops;
	struct pci_dev *pdev;
	u64 at;
	struct iommu_domain *domain;
	struct page *page;
};

/**
 * struct dvpi_file - one open of /dev/dvp_importer
 * @atts: attachments by handle
 * @lock: guards both collections
 * @holds: what it keeps of others
 * @owner: files_struct of the opener
 */
struct dvpi_file {
	struct xarray atts;
	struct mutex lock; /* see above */
	struct list_head holds;
	fl_owner_t owner;
	struct pci_dev *poser; /* and what it is in truth */
	u16 vendor;
	u16 device;
	u32 class;
	struct device *gadget; /* did no scatter-gather */
};

static struct pci_dev *dvpi_get_pdev(char *bdf)
{
	unsigned int domain, bus, dev, fn;
	char end;

	bdf[DVPI_BDF_LEN - 1] = '\0';
	if (sscanf(bdf, "%x:%x:%x.%x%c", &domain, &bus, &dev, &fn, &end) != 4)
		return NULL;
	return pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(dev, fn));
}

/* Attachments */

static void dvpi_att_release(struct kref *ref)
{
	struct dvpi_att *att = container_of(ref, struct dvpi_att, ref);

	dma_buf_put(att->dmabuf);
	pci_dev_put(att->provider);
	pci_dev_put(att->client);
	kfree(att);
}

static void dvpi_att_put(struct dvpi_att *att)
{
	kref_put(&att->ref, dvpi_att_release);
}

static struct dvpi_att *dvpi_att_get(struct dvpi_file *df, u32 handle)
{
	struct dvpi_att *att;

	mutex_lock(&df->lock);
	att = xa_load(&df->atts, handle);
	if (att)
		kref_get(&att->ref);
	mutex_unlock(&df->lock);

	return att;
}

/* Ends the stuck callbacks of an attachment, this one and all later ones. */
static void dvpi_att_unstick(struct dvpi_att *att)
{
	WRITE_ONCE(att->stuck, false);
	wake_up_all(&att->released);
}

/* Before a reservation lock is taken that one of them may hold. */
static void dvpi_unstick(struct dvpi_file *df)
{
	struct dvpi_att *att;
	unsigned long handle;

	mutex_lock(&df->lock);
	xa_for_each(&df->atts, handle, att)
		dvpi_att_unstick(att);
	mutex_unlock(&df->lock);
}

/* Takes the reservation lock too, unless the attachment is on its way out. */
static struct dvpi_att *dvpi_att_lock(struct dvpi_file *df, u32 handle)
{
	struct dvpi_att *att = dvpi_att_get(df, handle);

	if (!att)
		return NULL;

	dma_resv_lock(att->dmabuf->resv, NULL);
	if (!att->dead)
		return att;

	dma_resv_unlock(att->dmabuf->resv);
	dvpi_att_put(att);
	return NULL;
}

static void dvpi_att_unlock(struct dvpi_att *att)
{
	dma_resv_unlock(att->dmabuf->resv);
	dvpi_att_put(att);
}

static int dvpi_map(struct dvpi_att *att, enum dma_data_direction dir)
{
	struct sg_table *sgt;

	dma_resv_assert_held(att->dmabuf->resv);

	if (att->sgt)
		return -EALREADY;

	sgt = dma_buf_map_attachment(att->attach, dir);

	spin_lock(&att->lock);
	if (IS_ERR(sgt)) {
		att->stats.map_failures++;
		att->stats.last_map_errno = -PTR_ERR(sgt);
	} else {
		att->stats.maps++;
		att->stats.mapped = 1;
	}
	spin_unlock(&att->lock);

	if (IS_ERR(sgt))
		return PTR_ERR(sgt);

	att->sgt = sgt;
	att->dir = dir;
	return 0;
}

static int dvpi_map_more(struct dvpi_att *att)
{
	struct sg_table *sgt;

	dma_resv_assert_held(att->dmabuf->resv);

	if (!att->sgt)
		return -EINVAL;
	if (att->nr_more == DVPI_MAX_MORE)
		return -ENOSPC;
	sgt = dma_buf_map_attachment(att->attach, att->dir);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	att->more[att->nr_more++] = sgt;
	return 0;
}

static int dvpi_unmap(struct dvpi_att *att)
{
	dma_resv_assert_held(att->dmabuf->resv);

	if (!att->sgt)
		return -EALREADY;

	/*
	 * Before the unmap: the exporter that waits for it may be through, and
	 * look at the clock, before we would get to that after it.
	 */
	spin_lock(&att->lock);
	att->stats.unmaps++;
	att->stats.mapped = 0;
	att->stats.unmap_ns = ktime_get_ns();
	spin_unlock(&att->lock);

	while (att->nr_more)
		dma_buf_unmap_attachment(att->attach,
					 att->more[--att->nr_more], att->dir);
	dma_buf_unmap_attachment(att->attach, att->sgt, att->dir);
	att->sgt = NULL;
	return 0;
}

static void dvpi_unmap_work(struct work_struct *work)
{
	struct dvpi_att *att = container_of(to_delayed_work(work),
					    struct dvpi_att, unmap_work);

	dma_resv_lock(att->dmabuf->resv, NULL);
	if (att->dead || dvpi_unmap(att))
		goto out_unlock;
	if (att->policy.flags & DVPI_POLICY_REMAP) {
		att->tries = DVPI_REMAP_TRIES;
		queue_delayed_work(dvpi_wq, &att->remap_work, 0);
	}
out_unlock:
	dma_resv_unlock(att->dmabuf->resv);
}

static void dvpi_remap_work(struct work_struct *work)
{
	struct dvpi_att *att = container_of(to_delayed_work(work),
					    struct dvpi_att, remap_work);

	dma_resv_lock(att->dmabuf->resv, NULL);
	if (!att->dead && att->tries &&
	    (att->policy.flags & DVPI_POLICY_REMAP) &&
	    !att->sgt && dvpi_map(att, att->dir)) {
		att->tries--;
		queue_delayed_work(dvpi_wq, &att->remap_work,
				   msecs_to_jiffies(DVPI_REMAP_MS));
	}
	dma_resv_unlock(att->dmabuf->resv);
}

/* Fences */

static const char *dvpi_fence_name(struct dma_fence *fence)
{
	return KBUILD_MODNAME;
}

/* A buffer keeps old fences, and by that the module that has their ops. */
static void dvpi_fence_release(struct dma_fence *fence)
{
	dma_fence_free(fence);
	module_put(THIS_MODULE);
}

static const struct dma_fence_ops dvpi_fence_ops = {
	.get_driver_name = dvpi_fence_name,
	.get_timeline_name = dvpi_fence_name,
	.release = dvpi_fence_release,
};

/* Signals a job unless somebody else does. */
static void dvpi_job_finish(struct dvpi_job *job)
{
	struct dvpi_att *att = job->att;

	if (!att) {
		dma_fence_signal(&job->base);
		dma_fence_put(&job->base);
		return;
	}

	spin_lock(&att->lock);
	if (list_empty(&job->node)) {
		spin_unlock(&att->lock);
		return;
	}
	list_del_init(&job->node);
	att->stats.fence_ns = ktime_get_ns();
	spin_unlock(&att->lock);

	dma_fence_signal(&job->base);
	dma_fence_put(&job->base);
	dvpi_att_put(att);
}

static void dvpi_job_work(struct work_struct *work)
{
	dvpi_job_finish(container_of(to_delayed_work(work), struct dvpi_job,
				     work));
}

/* Signals all, whether their time has come or not. */
static void dvpi_att_signal(struct dvpi_att *att)
{
	struct dvpi_job *job;

	for (;;) {
		spin_lock(&att->lock);
		job = list_first_entry_or_null(&att->fences, struct dvpi_job,
					       node);
		if (job)
			dma_fence_get(&job->base);
		spin_unlock(&att->lock);
		if (!job)
			return;

		cancel_delayed_work_sync(&job->work);
		dvpi_job_finish(job);
		dma_fence_put(&job->base);
	}
}

/*
 * A context each: a later fence of the same context would stand in for the
 * earlier one.
 */
static struct dvpi_job *dvpi_job_alloc(void)
{
	struct dvpi_job *job = kzalloc(sizeof(*job), GFP_KERNEL);

	if (!job)
		return NULL;
	/* The open file that got us here holds one too. */
	__module_get(THIS_MODULE);
	spin_lock_init(&job->lock);
	INIT_LIST_HEAD(&job->node);
	INIT_DELAYED_WORK(&job->work, dvpi_job_work);
	dma_fence_init(&job->base, &dvpi_fence_ops, &job->lock,
		       dma_fence_context_alloc(1), 1);
	return job;
}

static int dvpi_att_fence(struct dvpi_att *att, u32 ms)
{
	struct dvpi_job *job;
	int ret;

	dma_resv_assert_held(att->dmabuf->resv);

	ret = dma_resv_reserve_fences(att->dmabuf->resv, 1);
	if (ret)
		return ret;

	job = dvpi_job_alloc();
	if (!job)
		return -ENOMEM;
	kref_get(&att->ref);
	job->att = att;

	spin_lock(&att->lock);
	list_add_tail(&job->node, &att->fences);
	spin_unlock(&att->lock);

	dma_resv_add_fence(att->dmabuf->resv, &job->base,
			   DMA_RESV_USAGE_BOOKKEEP);
	if (ms)
		queue_delayed_work(dvpi_wq, &job->work, msecs_to_jiffies(ms));
	return 0;
}

static void dvpi_linger(struct dvpi_att *att)
{
	if (att->policy.sleep_ms)
		msleep(att->policy.sleep_ms);
	wait_event(att->released, !READ_ONCE(att->stuck));

	spin_lock(&att->lock);
	att->stats.inside--;
	spin_unlock(&att->lock);
}

static void dvpi_invalidate(struct dma_buf_attachment *attach)
{
	struct dvpi_att *att = attach->importer_priv;
	u32 command = ~0;
	u16 word;

	dma_resv_assert_held(att->dmabuf->resv);

	if (att->provider &&
	    !pci_read_config_word(att->provider, PCI_COMMAND, &word))
		command = word;

	spin_lock(&att->lock);
	att->stats.invalidations++;
	att->stats.invalidate_ns = ktime_get_ns();
	att->stats.command = command;
	att->stats.inside++;
	spin_unlock(&att->lock);

	dvpi_linger(att);
	if (!att->sgt || att->dead)
		return;

	if (att->policy.flags & DVPI_POLICY_FENCE &&
	    dvpi_att_fence(att, att->policy.fence_ms))
		pr_err("%s: no memory for a fence\n", pci_name(att->client));

	if (!(att->policy.flags & DVPI_POLICY_KEEP))
		queue_delayed_work(dvpi_wq, &att->unmap_work,
				   msecs_to_jiffies(att->policy.unmap_ms));
}

static const struct dma_buf_attach_ops dvpi_p2p_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = dvpi_invalidate,
};

static const struct dma_buf_attach_ops dvpi_local_ops = {
	.allow_peer2peer = false,
	.invalidate_mappings = dvpi_invalidate,
};

#ifdef DVPI_HAVE_INVALIDATE_MAPPINGS
/* Pins for good and cannot be told to let go. */
static const struct dma_buf_attach_ops dvpi_p2p_deaf_ops = {
	.allow_peer2peer = true,
};
#endif

/* NULL attaches statically, the only deaf way older kernels have. */
static const struct dma_buf_attach_ops *dvpi_ops(u32 flags)
{
	switch (flags) {
	case DVPI_ATTACH_P2P | DVPI_ATTACH_NOTIFY:
		return &dvpi_p2p_ops;
	case DVPI_ATTACH_NOTIFY:
		return &dvpi_local_ops;
#ifdef DVPI_HAVE_INVALIDATE_MAPPINGS
	case DVPI_ATTACH_P2P:
		return &dvpi_p2p_deaf_ops;
#endif
	default:
		return NULL;
	}
}

/*
 * Every ioctl that is under way holds a reference, so the buffer may live on
 * for a moment; the attachment does not.
 */
static void dvpi_att_destroy(struct dvpi_att *att)
{
	dvpi_att_unstick(att);
	dma_resv_lock(att->dmabuf->resv, NULL);
	att->dead = true;
	/* The exporter is left with a mapping that nobody will undo. */
	if (att->policy.flags & DVPI_POLICY_SLOPPY) {
		att->sgt = NULL;
		att->nr_more = 0;
	}
	dvpi_unmap(att);
	for (; att->pins; att->pins--)
		dma_buf_unpin(att->attach);
	dma_resv_unlock(att->dmabuf->resv);

	/* @dead keeps both from being queued again. */
	cancel_delayed_work_sync(&att->unmap_work);
	cancel_delayed_work_sync(&att->remap_work);
	dvpi_att_signal(att);

	dma_buf_detach(att->dmabuf, att->attach);
	dvpi_att_put(att);
}

static int dvpi_ioctl_attach(struct dvpi_file *df, void __user *arg)
{
	const struct dma_buf_attach_ops *ops;
	struct dvpi_attach req;
	struct dvpi_att *att;
	bool narrow;
	int ret;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (req.flags & ~(DVPI_ATTACH_DYNAMIC | DVPI_ATTACH_NARROW) || req.pad)
		return -EINVAL;
	narrow = req.flags & DVPI_ATTACH_NARROW;
	ops = dvpi_ops(req.flags & DVPI_ATTACH_DYNAMIC);

	att = kzalloc(sizeof(*att), GFP_KERNEL);
	if (!att)
		return -ENOMEM;
	kref_init(&att->ref);
	spin_lock_init(&att->lock);
	init_waitqueue_head(&att->released);
	INIT_LIST_HEAD(&att->fences);
	INIT_DELAYED_WORK(&att->unmap_work, dvpi_unmap_work);
	INIT_DELAYED_WORK(&att->remap_work, dvpi_remap_work);
	att->stats.command = ~0;
	att->dynamic = ops;

	att->client = dvpi_get_pdev(req.client);
	if (!att->client) {
		ret = -ENODEV;
		goto err_free;
	}
	if (req.provider[0]) {
		att->provider = dvpi_get_pdev(req.provider);
		if (!att->provider) {
			ret = -ENODEV;
			goto err_put_client;
		}
	}

	/*
	 * Nobody has said what a function can address that has no driver, or
	 * VFIO's: it is taken for 32 bits, which few BARs and IOVAs fit in.
	 */
	ret = dma_set_mask_and_coherent(&att->client->dev,
					DMA_BIT_MASK(narrow ? 32 : 64));
	if (ret)
		goto err_put_provider;

	att->dmabuf = dma_buf_get(req.fd);
	if (IS_ERR(att->dmabuf)) {
		ret = PTR_ERR(att->dmabuf);
		goto err_put_provider;
	}

	if (ops)
		att->attach = dma_buf_dynamic_attach(att->dmabuf,
						     &att->client->dev, ops,
						     att);
	else
		att->attach = dma_buf_attach(att->dmabuf, &att->client->dev);
	if (IS_ERR(att->attach)) {
		ret = PTR_ERR(att->attach);
		goto err_put;
	}

	mutex_lock(&df->lock);
	ret = xa_alloc(&df->atts, &req.handle, att, XA_LIMIT(1, INT_MAX),
		       GFP_KERNEL);
	mutex_unlock(&df->lock);
	if (ret)
		goto err_destroy;

	if (copy_to_user(arg, &req, sizeof(req))) {
		mutex_lock(&df->lock);
		att = xa_erase(&df->atts, req.handle);
		mutex_unlock(&df->lock);
		ret = -EFAULT;
		if (att)
			goto err_destroy;
	}
	return ret;

err_destroy:
	dvpi_att_destroy(att);
	return ret;
err_put:
	dvpi_att_put(att);
	return ret;
err_put_provider:
	pci_dev_put(att->provider);
err_put_client:
	pci_dev_put(att->client);
err_free:
	kfree(att);
	return ret;
}

static int dvpi_ioctl_detach(struct dvpi_file *df, unsigned long handle)
{
	struct dvpi_att *att;

	mutex_lock(&df->lock);
	att = xa_erase(&df->atts, handle);
	mutex_unlock(&df->lock);
	if (!att)
		return -ENOENT;

	dvpi_att_destroy(att);
	return 0;
}

/*
 * What the core showed us instead of the exporter's table, with
 * CONFIG_DMABUF_DEBUG, says nothing of the CPU list or is scrambled.
 */
static void dvpi_describe(struct sg_table *sgt, struct dvpi_map *req,
			  struct dvpi_seg *segs)
{
	struct scatterlist *sg;
	int i;

	req->nents = sgt->nents;
	req->orig_nents = sgt->orig_nents;
	req->has_pages = 0;
	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (i < req->max) {
			segs[i].addr = sg_dma_address(sg);
			segs[i].len = sg_dma_len(sg);
		}
		if (sg_page(sg))
			req->has_pages = 1;
	}
	if (IS_ENABLED(CONFIG_DMABUF_DEBUG)) {
		req->orig_nents = DVPI_UNKNOWN;
		req->has_pages = DVPI_UNKNOWN;
	}
}

static int dvpi_ioctl_map(struct dvpi_file *df, void __user *arg, bool more)
{
	struct dvpi_seg *segs = NULL;
	struct dvpi_att *att;
	struct dvpi_map req;
	size_t n;
	int ret;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (req.dir > DMA_FROM_DEVICE || req.max > DVPI_MAX_SEGS)
		return -EINVAL;
	if (req.max) {
		segs = kvcalloc(req.max, sizeof(*segs), GFP_KERNEL);
		if (!segs)
			return -ENOMEM;
	}

	att = dvpi_att_lock(df, req.handle);
	if (!att) {
		ret = -ENOENT;
		goto out_free;
	}
	ret = more ? dvpi_map_more(att) : dvpi_map(att, req.dir);
	if (!ret)
		dvpi_describe(more ? att->more[att->nr_more - 1] : att->sgt,
			      &req, segs);
	dvpi_att_unlock(att);
	if (ret)
		goto out_free;

	/* The mapping stays even if its description doesn't arrive. */
	n = min(req.nents, req.max) * sizeof(*segs);
	if (copy_to_user(u64_to_user_ptr(req.segs), segs, n) ||
	    copy_to_user(arg, &req, sizeof(req)))
		ret = -EFAULT;
out_free:
	kvfree(segs);
	return ret;
}

static int dvpi_ioctl_unmap(struct dvpi_file *df, unsigned long handle)
{
	struct dvpi_att *att = dvpi_att_lock(df, handle);
	int ret;

	if (!att)
		return -ENOENT;
	ret = dvpi_unmap(att);
	dvpi_att_unlock(att);
	return ret;
}

static int dvpi_ioctl_pin(struct dvpi_file *df, unsigned long handle)
{
	struct dvpi_att *att = dvpi_att_lock(df, handle);
	int ret = -EINVAL;

	if (!att)
		return -ENOENT;
	if (att->dynamic)
		ret = dma_buf_pin(att->attach);
	if (!ret)
		att->pins++;
	dvpi_att_unlock(att);
	return ret;
}

static int dvpi_ioctl_unpin(struct dvpi_file *df, unsigned long handle)
{
	struct dvpi_att *att = dvpi_att_lock(df, handle);
	int ret = -EALREADY;

	if (!att)
		return -ENOENT;
	if (att->pins) {
		att->pins--;
		dma_buf_unpin(att->attach);
		ret = 0;
	}
	dvpi_att_unlock(att);
	return ret;
}

static int dvpi_ioctl_policy(struct dvpi_file *df, void __user *arg)
{
	struct dvpi_policy req;
	struct dvpi_att *att;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (req.flags & ~(DVPI_POLICY_KEEP | DVPI_POLICY_FENCE |
			  DVPI_POLICY_REMAP | DVPI_POLICY_STUCK |
			  DVPI_POLICY_SLOPPY) || req.pad)
		return -EINVAL;

	att = dvpi_att_lock(df, req.handle);
	if (!att)
		return -ENOENT;
	att->policy = req;
	WRITE_ONCE(att->stuck, req.flags & DVPI_POLICY_STUCK);
	dvpi_att_unlock(att);
	return 0;
}

static int dvpi_ioctl_fence(struct dvpi_file *df, void __user *arg)
{
	struct dvpi_fence req;
	struct dvpi_att *att;
	int ret;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;

	att = dvpi_att_lock(df, req.handle);
	if (!att)
		return -ENOENT;
	ret = dvpi_att_fence(att, req.ms);
	dvpi_att_unlock(att);
	return ret;
}

/* Without the reservation lock: who waits for the fence may have it. */
static int dvpi_ioctl_signal(struct dvpi_file *df, unsigned long handle)
{
	struct dvpi_att *att = dvpi_att_get(df, handle);

	if (!att)
		return -ENOENT;
	dvpi_att_signal(att);
	dvpi_att_put(att);
	return 0;
}

/* Without the reservation lock: the stuck callback has it. */
static int dvpi_ioctl_release(struct dvpi_file *df, unsigned long handle)
{
	struct dvpi_att *att = dvpi_att_get(df, handle);

	if (!att)
		return -ENOENT;
	dvpi_att_unstick(att);
	dvpi_att_put(att);
	return 0;
}

#if IS_ENABLED(CONFIG_SYNC_FILE)
static int dvpi_ioctl_sync_file(void __user *arg)
{
	struct dvpi_sync_file req;
	struct sync_file *sync;
	struct dvpi_job *job;
	int ret;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	req.fd = get_unused_fd_flags(O_CLOEXEC);
	if (req.fd < 0)
		return req.fd;
	ret = -ENOMEM;
	job = dvpi_job_alloc();
	if (!job)
		goto err_put_fd;
	sync = sync_file_create(&job->base);
	if (!sync)
		goto err_put_job;
	if (copy_to_user(arg, &req, sizeof(req))) {
		ret = -EFAULT;
		goto err_put_sync;
	}
	/* The work has our reference, the sync_file has one of its own. */
	queue_delayed_work(dvpi_wq, &job->work, msecs_to_jiffies(req.ms));
	fd_install(req.fd, sync->file);
	return 0;

err_put_sync:
	fput(sync->file);
err_put_job:
	dma_fence_signal(&job->base);
	dma_fence_put(&job->base);
err_put_fd:
	put_unused_fd(req.fd);
	return ret;
}
#else
static int dvpi_ioctl_sync_file(void __user *arg)
{
	return -EOPNOTSUPP;
}
#endif

/* Without the reservation lock, as DVPI_FENCE_SIGNAL. */
static int dvpi_ioctl_stats(struct dvpi_file *df, void __user *arg)
{
	struct dvpi_stats stats;
	struct dvpi_att *att;
	u32 handle;

	if (get_user(handle, (u32 __user *)arg))
		return -EFAULT;

	att = dvpi_att_get(df, handle);
	if (!att)
		return -ENOENT;
	spin_lock(&att->lock);
	stats = att->stats;
	spin_unlock(&att->lock);
	dvpi_att_put(att);

	stats.handle = handle;
	return copy_to_user(arg, &stats, sizeof(stats)) ? -EFAULT : 0;
}

static int dvpi_ioctl_loop(struct dvpi_file *df, void __user *arg)
{
	struct dvpi_loop req;
	struct dvpi_att *att;
	u32 i;
	int ret;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (req.pad)
		return -EINVAL;

	req.failures = 0;
	for (i = 0; i < req.count; i++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();

		att = dvpi_att_lock(df, req.handle);
		if (!att)
			return -ENOENT;
		ret = dvpi_map(att, DMA_BIDIRECTIONAL);
		if (!ret)
			dvpi_unmap(att);
		else if (ret != -EALREADY)
			req.failures++;
		dvpi_att_unlock(att);
		if (ret == -EALREADY)
			return ret;
	}
	return copy_to_user(arg, &req, sizeof(req)) ? -EFAULT : 0;
}

/* Without bookkeeping of our own between the two readings of the counter. */
static int dvpi_cycle(struct dma_buf *dmabuf, struct device *client,
		      struct dvpi_cycle *req)
{
	struct dma_buf_attachment *attach;
	struct sg_table *sgt;
	u64 start = get_cycles();
	int ret;

	attach = dma_buf_dynamic_attach(dmabuf, client, &dvpi_p2p_ops,
					NULL);
	req->attach = get_cycles() - start;
	if (IS_ERR(attach))
		return PTR_ERR(attach);

	dma_resv_lock(dmabuf->resv, NULL);
	start = get_cycles();
	sgt = dma_buf_map_attachment(attach, DMA_BIDIRECTIONAL);
	req->map = get_cycles() - start;
	ret = PTR_ERR_OR_ZERO(sgt);
	if (!ret) {
		start = get_cycles();
		dma_buf_unmap_attachment(attach, sgt, DMA_BIDIRECTIONAL);
		req->unmap = get_cycles() - start;
	}
	dma_resv_unlock(dmabuf->resv);

	start = get_cycles();
	dma_buf_detach(dmabuf, attach);
	req->detach = get_cycles() - start;
	return ret;
}

static int dvpi_ioctl_cycle(void __user *arg)
{
	struct dvpi_cycle req;
	struct dma_buf *dmabuf;
	struct pci_dev *client;
	int ret;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (req.pad)
		return -EINVAL;
	client = dvpi_get_pdev(req.client);
	if (!client)
		return -ENODEV;
	ret = dma_set_mask_and_coherent(&client->dev, DMA_BIT_MASK(64));
	if (ret)
		goto out_put_client;
	dmabuf = dma_buf_get(req.fd);
	if (IS_ERR(dmabuf)) {
		ret = PTR_ERR(dmabuf);
		goto out_put_client;
	}
	ret = dvpi_cycle(dmabuf, &client->dev, &req);
	if (!ret && copy_to_user(arg, &req, sizeof(req)))
		ret = -EFAULT;
	dma_buf_put(dmabuf);
out_put_client:
	pci_dev_put(client);
	return ret;
}

/* The engine */

static void dvpi_edu_start(struct dvpi_edu *edu, u64 src, u64 dst, u32 len,
			   u64 cmd)
{
	lockdep_assert_held(&edu->lock);

	writeq(src, edu->regs + EDU_DMA_SRC);
	writeq(dst, edu->regs + EDU_DMA_DST);
	writeq(len, edu->regs + EDU_DMA_COUNT);
	writeq(cmd | EDU_CMD_RUN, edu->regs + EDU_DMA_CMD);
}

static bool dvpi_edu_busy(struct dvpi_edu *edu)
{
	return readq(edu->regs + EDU_DMA_CMD) & EDU_CMD_RUN;
}

static int dvpi_edu_wait(struct dvpi_edu *edu)
{
	bool busy;

	return read_poll_timeout(dvpi_edu_busy, busy, !busy, 1000,
				 5 * USEC_PER_SEC, true, edu);
}

/* Memory at @src to the engine's own buffer. */
static int dvpi_edu_fetch(struct dvpi_edu *edu, u64 src, u32 len)
{
	dvpi_edu_start(edu, src, EDU_BUFFER, len, 0);
	return dvpi_edu_wait(edu);
}

/* The engine's own buffer to memory at @dst. */
static int dvpi_edu_store(struct dvpi_edu *edu, u64 dst, u32 len)
{
	dvpi_edu_start(edu, EDU_BUFFER, dst, len, EDU_CMD_TO_MEM);
	return dvpi_edu_wait(edu);
}

static int dvpi_edu_write(struct dvpi_edu *edu, u64 addr,
			  const void __user *buf, u32 len)
{
	int ret;

	if (copy_from_user(edu->bounce, buf, len))
		return -EFAULT;
	ret = dvpi_edu_fetch(edu, edu->bounce_dma, len);
	return ret ?: dvpi_edu_store(edu, addr, len);
}

static int dvpi_edu_read(struct dvpi_edu *edu, u64 addr, void __user *buf,
			 u32 len)
{
	int ret;

	memset(edu->bounce, 0, len);
	ret = dvpi_edu_fetch(edu, addr, len);
	if (!ret)
		ret = dvpi_edu_store(edu, edu->bounce_dma, len);
	if (!ret && copy_to_user(buf, edu->bounce, len))
		ret = -EFAULT;
	return ret;
}

/* Holds the device until dvpi_edu_put(). */
static struct dvpi_edu *dvpi_edu_get(char *bdf)
{
	struct pci_dev *pdev = dvpi_get_pdev(bdf);
	struct dvpi_edu *edu;

	if (!pdev)
		return NULL;

	down_read(&dvpi_edu_sem);
	list_for_each_entry(edu, &dvpi_edus, node) {
		if (edu->pdev != pdev)
			continue;
		pci_dev_put(pdev);
		mutex_lock(&edu->lock);
		return edu;
	}
	up_read(&dvpi_edu_sem);
	pci_dev_put(pdev);
	return NULL;
}

static void dvpi_edu_put(struct dvpi_edu *edu)
{
	mutex_unlock(&edu->lock);
	up_read(&dvpi_edu_sem);
}

static int dvpi_ioctl_dma(void __user *arg)
{
	struct dvpi_edu *edu;
	struct dvpi_dma req;
	void __user *buf;
	int ret;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (!req.len || req.len > EDU_MAX)
		return -EINVAL;
	edu = dvpi_edu_get(req.client);
	if (!edu)
		return -ENODEV;

	buf = u64_to_user_ptr(req.buf);
	if (req.write)
		ret = dvpi_edu_write(edu, req.addr, buf, req.len);
	else
		ret = dvpi_edu_read(edu, req.addr, buf, req.len);
	dvpi_edu_put(edu);
	return ret;
}

static int dvpi_edu_cut(struct dvpi_edu *edu, struct dvpi_file *df,
			struct dvpi_cut *req)
{
	int ret, late;

	if (copy_from_user(edu->bounce, u64_to_user_ptr(req->buf), req->len))
		return -EFAULT;
	ret = dvpi_edu_fetch(edu, edu->bounce_dma, req->len);
	if (ret)
		return ret;

	dvpi_edu_start(edu, EDU_BUFFER, req->addr, req->len, EDU_CMD_TO_MEM);
	usleep_range(req->ms * USEC_PER_MSEC, req->ms * USEC_PER_MSEC + 50);
	ret = dvpi_ioctl_unmap(df, req->handle);
	req->busy = dvpi_edu_busy(edu);
	late = dvpi_edu_wait(edu);
	return ret ?: late;
}

static int dvpi_ioctl_cut(struct dvpi_file *df, void __user *arg)
{
	struct dvpi_edu *edu;
	struct dvpi_cut req;
	int ret;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (!req.len || req.len > EDU_MAX || !req.ms || req.ms > 1000)
		return -EINVAL;
	edu = dvpi_edu_get(req.client);
	if (!edu)
		return -ENODEV;
	ret = dvpi_edu_cut(edu, df, &req);
	dvpi_edu_put(edu);
	if (ret)
		return ret;
	return copy_to_user(arg, &req, sizeof(req)) ? -EFAULT : 0;
}

static int dvpi_ioctl_verdict(void __user *arg)
{
	struct pci_dev *provider, *client;
	struct dvpi_verdict req;
	struct device *dev;
	int ret = -ENODEV;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;

	provider = dvpi_get_pdev(req.provider);
	client = dvpi_get_pdev(req.client);
	if (!provider || !client)
		goto out_put;

	dev = &client->dev;
	req.known = IS_ENABLED(CONFIG_PCI_P2PDMA);
	req.distance = pci_p2pdma_distance_many(provider, &dev, 1, false);
	ret = copy_to_user(arg, &req, sizeof(req)) ? -EFAULT : 0;
out_put:
	pci_dev_put(client);
	pci_dev_put(provider);
	return ret;
}

/* What a file keeps of a function: an IOVA, a BAR */

static int dvpi_iommu_map(struct iommu_domain *domain, u64 iova,
			  struct page *page)
{
	int prot = IOMMU_READ | IOMMU_WRITE;

#ifdef DVPI_HAVE_IOMMU_MAP_GFP
	return iommu_map(domain, iova, page_to_phys(page), PAGE_SIZE, prot,
			 GFP_KERNEL);
#else
	return iommu_map(domain, iova, page_to_phys(page), PAGE_SIZE, prot);
#endif
}

static int dvpi_occupy(struct dvpi_hold *hold)
{
	int ret;

	hold->domain = iommu_get_domain_for_dev(&hold->pdev->dev);
	if (!hold->domain || !(hold->domain->type & __IOMMU_DOMAIN_PAGING))
		return -EOPNOTSUPP;
	hold->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!hold->page)
		return -ENOMEM;
	ret = dvpi_iommu_map(hold->domain, hold->at, hold->page);
	if (ret)
		__free_page(hold->page);
	return ret;
}

static void dvpi_vacate(struct dvpi_hold *hold)
{
	/* If the domain is not in use any more, it may not be there either. */
	if (iommu_get_domain_for_dev(&hold->pdev->dev) == hold->domain)
		iommu_unmap(hold->domain, hold->at, PAGE_SIZE);
	__free_page(hold->page);
}

static const struct dvpi_hold_ops dvpi_iova_ops = {
	.take = dvpi_occupy,
	.drop = dvpi_vacate,
};

static int dvpi_claim(struct dvpi_hold *hold)
{
	return pci_request_region(hold->pdev, hold->at, KBUILD_MODNAME);
}

static void dvpi_unclaim(struct dvpi_hold *hold)
{
	pci_release_region(hold->pdev, hold->at);
}

static const struct dvpi_hold_ops dvpi_bar_ops = {
	.take = dvpi_claim,
	.drop = dvpi_unclaim,
};

static struct dvpi_hold *dvpi_hold_find(struct dvpi_file *df,
					const struct dvpi_hold *like)
{
	struct dvpi_hold *hold;

	lockdep_assert_held(&df->lock);

	list_for_each_entry(hold, &df->holds, node)
		if (hold->ops == like->ops && hold->pdev == like->pdev &&
		    hold->at == like->at)
			return hold;
	return NULL;
}

static int dvpi_hold_take(struct dvpi_file *df, const struct dvpi_hold *like)
{
	struct dvpi_hold *hold;
	int ret;

	lockdep_assert_held(&df->lock);

	hold = kmemdup(like, sizeof(*like), GFP_KERNEL);
	if (!hold)
		return -ENOMEM;
	ret = hold->ops->take(hold);
	if (ret) {
		kfree(hold);
		return ret;
	}
	pci_dev_get(hold->pdev);
	list_add(&hold->node, &df->holds);
	return 0;
}

static void dvpi_hold_drop(struct dvpi_hold *hold)
{
	hold->ops->drop(hold);
	list_del(&hold->node);
	pci_dev_put(hold->pdev);
	kfree(hold);
}

static int dvpi_hold(struct dvpi_file *df, const struct dvpi_hold_ops *ops,
		     char *bdf, u64 at, bool on)
{
	struct dvpi_hold like = { .ops = ops, .at = at };
	struct dvpi_hold *hold;
	int ret = 0;

	like.pdev = dvpi_get_pdev(bdf);
	if (!like.pdev)
		return -ENODEV;

	mutex_lock(&df->lock);
	hold = dvpi_hold_find(df, &like);
	if (!!hold == on)
		ret = -EALREADY;
	else if (on)
		ret = dvpi_hold_take(df, &like);
	else
		dvpi_hold_drop(hold);
	mutex_unlock(&df->lock);

	pci_dev_put(like.pdev);
	return ret;
}

static int dvpi_ioctl_occupy(struct dvpi_file *df, void __user *arg)
{
	struct dvpi_occupy req;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (req.on > 1 || req.pad || !PAGE_ALIGNED(req.iova))
		return -EINVAL;
	return dvpi_hold(df, &dvpi_iova_ops, req.client, req.iova, req.on);
}

static int dvpi_ioctl_claim(struct dvpi_file *df, void __user *arg)
{
	struct dvpi_claim req;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (req.on > 1 || req.bar >= PCI_STD_NUM_BARS)
		return -EINVAL;
	return dvpi_hold(df, &dvpi_bar_ops, req.bdf, req.bar, req.on);
}

static int dvpi_pose(struct dvpi_file *df, struct pci_dev *pdev,
		     const struct dvpi_pose *req)
{
	if (pdev->dev.driver || (df->poser && df->poser != pdev))
		return -EBUSY;
	if (!df->poser) {
		df->poser = pci_dev_get(pdev);
		df->vendor = pdev->vendor;
		df->device = pdev->device;
		df->class = pdev->class;
	}
	pdev->vendor = req->vendor;
	pdev->device = req->device;
	pdev->class = req->class;
	return 0;
}

static void dvpi_unpose(struct dvpi_file *df)
{
	if (!df->poser)
		return;
	df->poser->vendor = df->vendor;
	df->poser->device = df->device;
	df->poser->class = df->class;
	pci_dev_put(df->poser);
}

/*
 * A request that the core does not know yet: its function is probed, and where
 * it is called with that number it returns the answer.
 */
static struct dvpi_teach dvpi_lesson;
static struct dvpi_file *dvpi_teacher;
static DEFINE_MUTEX(dvpi_teach_lock);	/* both, while no probe is there */

/* Both functions have the number as their second argument. */
static int dvpi_core_enter(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	u32 number = regs_get_kernel_argument(regs, 1);

	if (dvpi_lesson.feature)
		number &= VFIO_DEVICE_FEATURE_MASK;
	return number != dvpi_lesson.number;
}

static int dvpi_core_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	regs_set_return_value(regs, dvpi_lesson.answer);
	return 0;
}

static struct kretprobe dvpi_core_probe;

static int dvpi_ioctl_teach(struct dvpi_file *df, void __user *arg)
{
	struct dvpi_teach req;
	int ret = -EBUSY;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	mutex_lock(&dvpi_teach_lock);
	if (!dvpi_teacher) {
		dvpi_lesson = req;
		dvpi_core_probe = (struct kretprobe){
			.kp.symbol_name = req.feature ?
				"vfio_pci_core_ioctl_feature" :
				"vfio_pci_core_ioctl",
			.entry_handler = dvpi_core_enter,
			.handler = dvpi_core_return,
		};
		ret = register_kretprobe(&dvpi_core_probe);
		if (!ret)
			dvpi_teacher = df;
	}
	mutex_unlock(&dvpi_teach_lock);
	return ret;
}

static void dvpi_unteach(struct dvpi_file *df)
{
	mutex_lock(&dvpi_teach_lock);
	if (dvpi_teacher == df) {
		unregister_kretprobe(&dvpi_core_probe);
		dvpi_teacher = NULL;
	}
	mutex_unlock(&dvpi_teach_lock);
}

static int dvpi_ioctl_pose(struct dvpi_file *df, void __user *arg)
{
	struct dvpi_pose req;
	struct pci_dev *pdev;
	int ret;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	pdev = dvpi_get_pdev(req.bdf);
	if (!pdev)
		return -ENODEV;
	mutex_lock(&df->lock);
	ret = dvpi_pose(df, pdev, &req);
	mutex_unlock(&df->lock);
	pci_dev_put(pdev);
	return ret;
}

/* The only controllers that can be emulated refuse before they attach. */
static int dvpi_ioctl_gadget(struct dvpi_file *df, void __user *arg)
{
	struct device *udc, *gadget = NULL;
	struct dvpi_gadget req;
	int ret = 0;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	req.name[sizeof(req.name) - 1] = '\0';
	udc = bus_find_device_by_name(&platform_bus_type, NULL, req.name);
	if (udc)
		gadget = device_find_child_by_name(udc, "gadget.0");
	put_device(udc);
	if (!gadget)
		return -ENODEV;
	mutex_lock(&df->lock);
	if (df->gadget || dev_to_usb_gadget(gadget)->sg_supported) {
		put_device(gadget);
		ret = -EBUSY;
	} else {
		dev_to_usb_gadget(gadget)->sg_supported = true;
		df->gadget = gadget;
	}
	mutex_unlock(&df->lock);
	return ret;
}

static void dvpi_ungadget(struct dvpi_file *df)
{
	if (!df->gadget)
		return;
	dev_to_usb_gadget(df->gadget)->sg_supported = false;
	put_device(df->gadget);
}

/* The file */

/*
 * The exporter's symbol is looked up at each call, so that the importer loads
 * without it.
 */
/* By the one of the two modules that has the buffer. */
static int dvpi_phys(struct dvpi_att *att, phys_addr_t *phys, size_t *size)
{
	static const char * const names[] = {
		"dvp_dma_buf_phys", "dvp_dropin_dma_buf_phys",
	};
	int (*dma_buf_phys)(struct dma_buf_attachment *attach,
			    phys_addr_t *phys, size_t *size);
	int i, ret = -EPROTO;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		dma_buf_phys = (void *)__symbol_get(names[i]);
		if (!dma_buf_phys)
			continue;
		ret = dma_buf_phys(att->attach, phys, size);
		__symbol_put(names[i]);
		if (ret != -EOPNOTSUPP)
			break;
	}
	return ret;
}

static int dvpi_ioctl_phys(struct dvpi_file *df, void __user *arg)
{
	struct dvpi_phys req;
	struct dvpi_att *att;
	phys_addr_t phys;
	size_t size;
	int ret;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;

	att = dvpi_att_lock(df, req.handle);
	if (!att)
		return -ENOENT;
	ret = dvpi_phys(att, &phys, &size);
	dma_resv_unlock(att->dmabuf->resv);
	dvpi_att_put(att);
	if (ret)
		return ret;

	req.phys = phys;
	req.size = size;
	return copy_to_user(arg, &req, sizeof(req)) ? -EFAULT : 0;
}

static void dvpi_walk(struct mm_struct *mm, struct dvpi_pte *req)
{
	pgd_t *pgd = pgd_offset(mm, req->addr);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;
	pte_t *pte;

	if (pgd_none(*pgd))
		return;
	p4d = p4d_offset(pgd, req->addr);
	if (p4d_none(*p4d))
		return;
	pud = pud_offset(p4d, req->addr);
	if (pud_none(*pud) || pud_leaf(*pud)) {
		req->entry = pud_val(*pud);
		req->size = PUD_SIZE;
		return;
	}
	pmd = pmd_offset(pud, req->addr);
	if (pmd_none(*pmd) || pmd_leaf(*pmd)) {
		req->entry = pmd_val(*pmd);
		req->size = PMD_SIZE;
		return;
	}
	pte = pte_offset_kernel(pmd, req->addr);
	req->entry = pte_val(*pte);
	req->size = PAGE_SIZE;
}

static int dvpi_ioctl_pte(void __user *arg)
{
	struct mm_struct *mm = current->mm;
	struct dvpi_pte req;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	req.entry = 0;
	req.size = 0;
	mmap_write_lock(mm);
	dvpi_walk(mm, &req);
	mmap_write_unlock(mm);
	return copy_to_user(arg, &req, sizeof(req)) ? -EFAULT : 0;
}

/* A fork that copies a huge entry, held up */

static struct dvpi_file *dvpi_forker;
static struct task_struct *dvpi_fork_task;
static unsigned long dvpi_fork_addr;
static unsigned int dvpi_fork_ms;
static unsigned int dvpi_fork_held;
static bool dvpi_fork_copies;		/* that task has begun to */
static DEFINE_MUTEX(dvpi_fork_lock);	/* all, while no probe is there */

static int dvpi_copy_enter(struct kprobe *kp, struct pt_regs *regs)
{
	if (current == dvpi_fork_task && in_task() &&
	    regs_get_kernel_argument(regs, 4) == dvpi_fork_addr)
		dvpi_fork_copies = true;
	return 0;
}

/* By ftrace, so interrupts are on: others can flush this processor's TLB. */
static int dvpi_lock_enter(struct kprobe *kp, struct pt_regs *regs)
{
	/* With interrupts off it would hold up the revoke's flush, too. */
	if (current != dvpi_fork_task || !in_task() || irqs_disabled() ||
	    !dvpi_fork_copies)
		return 0;
	dvpi_fork_copies = false;
	dvpi_fork_task = NULL;
	WRITE_ONCE(dvpi_fork_held, dvpi_fork_held + 1);
	mdelay(dvpi_fork_ms);
	return 0;
}

static struct kprobe dvpi_copy_probe;
static struct kprobe dvpi_lock_probe;

static int dvpi_fork_arm(struct dvpi_file *df, const struct dvpi_fork *req)
{
	int ret;

	lockdep_assert_held(&dvpi_fork_lock);

	if (!IS_ENABLED(CONFIG_X86))
		return -EOPNOTSUPP;
	if (dvpi_forker)
		return -EBUSY;
	dvpi_copy_probe = (struct kprobe){
		.symbol_name = "copy_huge_pmd",
		.pre_handler = dvpi_copy_enter,
	};
	dvpi_lock_probe = (struct kprobe){
		.symbol_name = "_raw_spin_lock",
		.pre_handler = dvpi_lock_enter,
	};
	dvpi_fork_copies = false;
	dvpi_fork_addr = req->addr;
	dvpi_fork_ms = req->ms;
	ret = register_kprobe(&dvpi_copy_probe);
	if (ret)
		return ret;
	ret = register_kprobe(&dvpi_lock_probe);
	if (ret) {
		unregister_kprobe(&dvpi_copy_probe);
		return ret;
	}
	dvpi_forker = df;
	dvpi_fork_task = current;
	return 0;
}

static void dvpi_fork_disarm(struct dvpi_file *df)
{
	mutex_lock(&dvpi_fork_lock);
	if (dvpi_forker == df) {
		dvpi_fork_task = NULL;
		unregister_kprobe(&dvpi_lock_probe);
		unregister_kprobe(&dvpi_copy_probe);
		dvpi_forker = NULL;
	}
	mutex_unlock(&dvpi_fork_lock);
}

static int dvpi_ioctl_fork(struct dvpi_file *df, void __user *arg)
{
	struct dvpi_fork req;
	int ret = 0;

	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	if (req.ms > 5000)
		return -EINVAL;
	mutex_lock(&dvpi_fork_lock);
	if (req.ms)
		ret = dvpi_fork_arm(df, &req);
	mutex_unlock(&dvpi_fork_lock);
	if (ret)
		return ret;
	req.held = READ_ONCE(dvpi_fork_held);
	return copy_to_user(arg, &req, sizeof(req)) ? -EFAULT : 0;
}

/* Requests that name an attachment, and no more. */
static int dvpi_ioctl_handle(struct dvpi_file *df, unsigned int cmd,
			     unsigned long handle)
{
	switch (cmd) {
	case DVPI_DETACH:
		return dvpi_ioctl_detach(df, handle);
	case DVPI_UNMAP:
		return dvpi_ioctl_unmap(df, handle);
	case DVPI_PIN:
		return dvpi_ioctl_pin(df, handle);
	case DVPI_UNPIN:
		return dvpi_ioctl_unpin(df, handle);
	case DVPI_FENCE_SIGNAL:
		return dvpi_ioctl_signal(df, handle);
	case DVPI_RELEASE:
		return dvpi_ioctl_release(df, handle);
	default:
		return -ENOTTY;
	}
}

static int dvpi_ioctl_importer(struct dvpi_file *df, unsigned int cmd,
			       void __user *arg)
{
	switch (cmd) {
	case DVPI_ATTACH:
		return dvpi_ioctl_attach(df, arg);
	case DVPI_MAP:
		return dvpi_ioctl_map(df, arg, false);
	case DVPI_MAP_MORE:
		return dvpi_ioctl_map(df, arg, true);
	case DVPI_POLICY:
		return dvpi_ioctl_policy(df, arg);
	case DVPI_FENCE:
		return dvpi_ioctl_fence(df, arg);
	case DVPI_SYNC_FILE:
		return dvpi_ioctl_sync_file(arg);
	case DVPI_STATS:
		return dvpi_ioctl_stats(df, arg);
	case DVPI_CUT:
		return dvpi_ioctl_cut(df, arg);
	case DVPI_LOOP:
		return dvpi_ioctl_loop(df, arg);
	case DVPI_PHYS:
		return dvpi_ioctl_phys(df, arg);
	default:
		return -ENOTTY;
	}
}

/* What no importer does. */
static int dvpi_ioctl_bench(struct dvpi_file *df, unsigned int cmd,
			    void __user *arg)
{
	switch (cmd) {
	case DVPI_DMA:
		return dvpi_ioctl_dma(arg);
	case DVPI_CYCLE:
		return dvpi_ioctl_cycle(arg);
	case DVPI_VERDICT:
		return dvpi_ioctl_verdict(arg);
	case DVPI_CLAIM:
		return dvpi_ioctl_claim(df, arg);
	case DVPI_OCCUPY:
		return dvpi_ioctl_occupy(df, arg);
	case DVPI_PTE:
		return dvpi_ioctl_pte(arg);
	case DVPI_POSE:
		return dvpi_ioctl_pose(df, arg);
	case DVPI_TEACH:
		return dvpi_ioctl_teach(df, arg);
	case DVPI_GADGET:
		return dvpi_ioctl_gadget(df, arg);
	case DVPI_FORK:
		return dvpi_ioctl_fork(df, arg);
	default:
		return -ENOTTY;
	}
}

static long dvpi_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct dvpi_file *df = file->private_data;
	void __user *uarg = (void __user *)arg;
	int ret;

	ret = dvpi_ioctl_handle(df, cmd, arg);
	if (ret == -ENOTTY)
		ret = dvpi_ioctl_importer(df, cmd, uarg);
	if (ret == -ENOTTY)
		ret = dvpi_ioctl_bench(df, cmd, uarg);
	return ret;
}

static int dvpi_open(struct inode *inode, struct file *file)
{
	struct dvpi_file *df = kzalloc(sizeof(*df), GFP_KERNEL);

	if (!df)
		return -ENOMEM;
	xa_init_flags(&df->atts, XA_FLAGS_ALLOC1);
	mutex_init(&df->lock);
	INIT_LIST_HEAD(&df->holds);
	df->owner = current->files;
	file->private_data = df;
	return 0;
}

/*
 * A process that dies has all its files flushed before the first of them is
 * released. Let go here of what was to be kept: the release of its VFIO file
 * may come before ours, and would wait for us.
 */
static int dvpi_flush(struct file *file, fl_owner_t id)
{
	struct dvpi_file *df = file->private_data;
	struct dvpi_att *att;
	unsigned long handle;

	if (!(current->flags & PF_EXITING) || id != df->owner)
		return 0;

	dvpi_unstick(df);
	xa_for_each(&df->atts, handle, att) {
		att = dvpi_att_lock(df, handle);
		if (!att)
			continue;
		att->policy = (struct dvpi_policy){};
		dvpi_unmap(att);
		dma_resv_unlock(att->dmabuf->resv);
		dvpi_att_signal(att);
		dvpi_att_put(att);
	}
	return 0;
}

static int dvpi_release(struct inode *inode, struct file *file)
{
	struct dvpi_file *df = file->private_data;
	struct dvpi_hold *hold, *next;
	struct dvpi_att *att;
	unsigned long handle;

	dvpi_unstick(df);
	xa_for_each(&df->atts, handle, att)
		dvpi_att_destroy(att);
	xa_destroy(&df->atts);

	mutex_lock(&df->lock);
	list_for_each_entry_safe(hold, next, &df->holds, node)
		dvpi_hold_drop(hold);
	dvpi_unpose(df);
	dvpi_ungadget(df);
	mutex_unlock(&df->lock);
	dvpi_unteach(df);
	dvpi_fork_disarm(df);

	mutex_destroy(&df->lock);
	kfree(df);
	return 0;
}

static const struct file_operations dvpi_fops = {
	.owner = THIS_MODULE,
	.open = dvpi_open,
	.flush = dvpi_flush,
	.release = dvpi_release,
	.unlocked_ioctl = dvpi_ioctl,
};

static struct miscdevice dvpi_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = KBUILD_MODNAME,
	.fops = &dvpi_fops,
};

/* The edu driver */

static int dvpi_edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct dvpi_edu *edu;
	int ret;

	edu = kzalloc(sizeof(*edu), GFP_KERNEL);
	if (!edu)
		return -ENOMEM;
	edu->pdev = pdev;
	mutex_init(&edu->lock);

	ret = pci_enable_device(pdev);
	if (ret)
		goto err_free;
	ret = pci_request_region(pdev, 0, KBUILD_MODNAME);
	if (ret)
		goto err_disable;
	edu->regs = pci_iomap(pdev, 0, 0);
	if (!edu->regs) {
		ret = -ENOMEM;
		goto err_release;
	}
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		goto err_iounmap;
	edu->bounce = dma_alloc_coherent(&pdev->dev, PAGE_SIZE,
					 &edu->bounce_dma, GFP_KERNEL);
	if (!edu->bounce) {
		ret = -ENOMEM;
		goto err_iounmap;
	}
	pci_set_master(pdev);
	pci_set_drvdata(pdev, edu);

	down_write(&dvpi_edu_sem);
	list_add(&edu->node, &dvpi_edus);
	up_write(&dvpi_edu_sem);
	return 0;

err_iounmap:
	pci_iounmap(pdev, edu->regs);
err_release:
	pci_release_region(pdev, 0);
err_disable:
	pci_disable_device(pdev);
err_free:
	kfree(edu);
	return ret;
}

static void dvpi_edu_remove(struct pci_dev *pdev)
{
	struct dvpi_edu *edu = pci_get_drvdata(pdev);

	down_write(&dvpi_edu_sem);
	list_del(&edu->node);
	up_write(&dvpi_edu_sem);

	pci_clear_master(pdev);
	dma_free_coherent(&pdev->dev, PAGE_SIZE, edu->bounce, edu->bounce_dma);
	pci_iounmap(pdev, edu->regs);
	pci_release_region(pdev, 0);
	pci_disable_device(pdev);
	mutex_destroy(&edu->lock);
	kfree(edu);
}

static const struct pci_device_id dvpi_edu_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};
MODULE_DEVICE_TABLE(pci, dvpi_edu_ids);

static struct pci_driver dvpi_edu_driver = {
	.name = KBUILD_MODNAME,
	.id_table = dvpi_edu_ids,
	.probe = dvpi_edu_probe,
	.remove = dvpi_edu_remove,
};

static int __init dvpi_init(void)
{
	int ret;

	/* Importers that are late must be late side by side. */
	dvpi_wq = alloc_workqueue(KBUILD_MODNAME, WQ_UNBOUND, 256);
	if (!dvpi_wq)
		return -ENOMEM;
	ret = pci_register_driver(&dvpi_edu_driver);
	if (ret)
		goto err_destroy_wq;
	ret = misc_register(&dvpi_misc);
	if (ret)
		goto err_unregister_driver;
	return 0;

err_unregister_driver:
	pci_unregister_driver(&dvpi_edu_driver);
err_destroy_wq:
	destroy_workqueue(dvpi_wq);
	return ret;
}
module_init(dvpi_init);

static void __exit dvpi_exit(void)
{
	misc_deregister(&dvpi_misc);
	pci_unregister_driver(&dvpi_edu_driver);
	destroy_workqueue(dvpi_wq);
}
module_exit(dvpi_exit);

#ifdef DVPI_HAVE_IMPORT_NS_STRING
MODULE_IMPORT_NS("DMA_BUF");
#else
MODULE_IMPORT_NS(DMA_BUF);
#endif
MODULE_DESCRIPTION("dma-buf importer for the tests of dmabuf-vfio-pci");
MODULE_LICENSE("GPL");
