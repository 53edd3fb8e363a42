/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dmabuf-vfio-pci: the driver's own types.
 *
 * Locks, outermost first. A lock is taken only with locks above it held. No
 * lock of the driver is held to wait for an importer: a waiter holds nothing
 * but what its caller came with.
 *
 *   dev_set->lock      VFIO's: functions that are reset together are opened,
 *                      closed and bound to iommufd one at a time. Taken here,
 *                      with nothing else held, to look at the iommufd of
 *                      another one.
 *   node.lock          the node's pointer to the function. An ioctl of the node
 *                      holds it for reading, so that the function is not
 *                      closed meanwhile; first open and last close take it for
 *                      writing. Never held to wait for an importer, nor while
 *                      memory of a process is touched: so it holds up a close
 *                      for moments, or while an export's allocation waits for
 *                      the memory cgroup of the node's user.
 *   core.memory_lock   vfio_pci_core's: held for writing while the hardware
 *                      changes. Never taken here; a caller may hold it.
 *   gate.lock          one transition of a function at a time: new reasons,
 *                      and all buffers marked. A VF's is taken without its
 *                      PF's.
 *   buffer.resv        the dma-buf's reservation lock: the list of attachments
 *                      of the dma-buf core and the dmabuf pointer. An importer
 *                      may keep it for as long as it likes: only the worker
 *                      that tells importers and a release take it here.
 *   buffer.lock        the buffer's state, its attachments and their mappings.
 *                      Faults hold it for reading, with the mmap_lock of their
 *                      process, which stands above it. An importer holds the
 *                      reservation lock when it maps and unmaps, which take
 *                      this for writing. Held for moments: no callback of an
 *                      importer runs under it.
 *   gate.bufs_lock     spinlock: the reasons, the list of buffers. Innermost.
 *   gates_lock         spinlock of gate.c: the list of all gates. Innermost.
 *   events.lock        spinlock: the events of a function. Innermost.
 *
 * A reader of the node has a lock of its own, under which memory of the process
 * is touched and events.lock taken, and nothing else.
 */
#ifndef DVP_H
#define DVP_H

#include "compat/compat.h"

#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/scatterlist.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/vfio_pci_core.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <uapi/linux/dmabuf_vfio_pci.h>

#include "dropin.h"
#include "ranges.h"
#include "route.h"

/* What one function may have exported at a time. */
#define DVP_MAX_BUFFERS		1024
#define DVP_MAX_RANGES		65536

/* Of a buffer: each is told, and cut off, by a revoke. */
#define DVP_MAX_ATTACHMENTS	1024

/* How long an access may wait for the end of an error's recovery. */
#define DVP_RECOVERY		(10 * HZ)

/**
 * enum dvp_wait - how long to wait for importers that have been told
 * @DVP_WAIT_NOT: the hardware has ended their access already
 * @DVP_WAIT_GRACE: until the end of the grace period: -EBUSY if somebody
 *	cannot be cut off
 * @DVP_WAIT_KILLABLE: the same, and then for whoever cannot be cut off, or
 *	until the caller is killed: -EINTR
 * @DVP_WAIT_FIRM: the same, whatever happens to the caller
 */
enum dvp_wait {
	DVP_WAIT_NOT,
	DVP_WAIT_GRACE,
	DVP_WAIT_KILLABLE,
	DVP_WAIT_FIRM,
};

static inline bool dvp_killed(enum dvp_wait wait)
{
	return wait == DVP_WAIT_KILLABLE && fatal_signal_pending(current);
}

/**
 * struct dvp_gate - may this function's memory be reached now?
 * @lock: one transition at a time; see the order above
 * @nr_changes: operations under way; while there are any the reason CHANGING
 *	is given
 * @coming: the reasons that these may end in, for events
 * @nr_errors: how many errors there have been
 * @nr_recovered: @nr_errors when the last recovery ended
 * @nr_resets: resets under way; while there are any the reason RESET is given
 * @faults: those that access the function in the middle of a transition
 * @recovered: work: let everybody in again after a recovery
 * @error_end: jiffies; an access waits for a recovery until then
 * @busy: somebody may still have access since the last revoke
 * @deadline: jiffies; the end of the grace period of the last revoke
 * @revoke_start: when the last revoke began
 * @nr_revokes: how often everybody was kept off; tells a late waiter that
 *	there is another revoke; statistics otherwise, as all here
 * @nr_restores: how often everybody was let in again
 * @last_revoke_us: how long the last revoke took, microseconds
 * @max_revoke_us: the longest one
 * @entry: in the list of all gates, from probe to remove
 * @id: its place there
 * @bufs_lock: protects all below
 * @reasons: DMABUF_VFIO_REASON_*; reachable when zero
 * @bufs: the buffers that somebody may have access to, now or later,
 *	&dvp_buffer.node, by &dvp_buffer.id
 * @next_id: of the next buffer
 * @nr_bufs: those of @bufs that count against the limit
 * @nr_ranges: their ranges
 *
 * @lock protects what stands above @entry. What is also read without it (by
 * faults, waits and debugfs) is read and written once. @reasons changes with
 * both locks held, so either is enough to read it.
 */
struct dvp_gate {
	struct mutex lock;	/* one transition at a time */
	unsigned int nr_changes;
	u32 coming;
	unsigned int nr_errors;
	unsigned int nr_recovered;
	unsigned int nr_resets;
	wait_queue_head_t faults;
	struct work_struct recovered;
	unsigned long error_end;
	bool busy;
	unsigned long deadline;
	ktime_t revoke_start;
	unsigned long nr_revokes;
	unsigned long nr_restores;
	u64 last_revoke_us;
	u64 max_revoke_us;
	struct list_head entry;
	u64 id;
	spinlock_t bufs_lock;	/* all below; innermost */
	u32 reasons;
	struct list_head bufs;
	u64 next_id;
	unsigned int nr_bufs;
	unsigned int nr_ranges;
};

/* Apart from other waits: of these there may be thousands. */
static inline void dvp_wake_faults(struct dvp_gate *gate)
{
	if (wq_has_sleeper(&gate->faults))
		wake_up_all(&gate->faults);
}

#define DVP_EVENTS_KEPT		64

/**
 * struct dvp_events - what happened to a function, for readers of its node
 * @lock: spinlock, innermost; protects all but @wait
 * @nr: how many there have been; number n is in @kept[n % DVP_EVENTS_KEPT]
 * @gone: no more will come: the function is unbound
 * @kept: the last ones
 * @wait: readers
 */
struct dvp_events {
	spinlock_t lock;	/* all but @wait; innermost */
	u64 nr;
	bool gone;
	struct dmabuf_vfio_event kept[DVP_EVENTS_KEPT];
	wait_queue_head_t wait;
};

/**
 * struct dvp_provider - where a function is in the PCI tree, for one tenure
 * @ref: held by the open function and by each of its buffers
 * @path: the function's way to its root complex; constant
 * @routes: from its clients, by dvp_id(); see dvp_provider_route()
 */
struct dvp_provider {
	struct kref ref;
	struct dvp_path path;
	struct xarray routes;
};

/**
 * struct dvp_device - a function bound to this driver
 * @core: vfio_pci_core's view; first, as vfio_alloc_device() requires
 * @gate: who is let in
 * @provider: where the function is, found at open; NULL while it is closed
 * @bars: what mappings of a BAR by the VFIO descriptor go through, made by the
 *	first one in a tenure
 * @debugfs: the function's folder
 * @node: the function's node, while it is bound
 * @events: what happened to it, part of the node
 */
struct dvp_device {
	struct vfio_pci_core_device core;
	struct dvp_gate gate;
	struct dvp_provider *provider;
	struct dma_buf *bars[PCI_STD_NUM_BARS];
	struct dentry *debugfs;
	struct dvp_node *node;
	struct dvp_events *events;
};

static inline struct dvp_device *to_dvp(struct vfio_device *vdev)
{
	return container_of(vdev, struct dvp_device, core.vdev);
}

static inline struct dvp_device *pdev_to_dvp(struct pci_dev *pdev)
{
	struct vfio_pci_core_device *core = dev_get_drvdata(&pdev->dev);

	return to_dvp(&core->vdev);
}

static inline struct device *dvp_gate_dev(struct dvp_gate *gate)
{
	return &container_of(gate, struct dvp_device, gate)->core.pdev->dev;
}

/**
 * enum dvp_state - what a buffer's importers may do
 * @DVP_USABLE: map it
 * @DVP_REVOKED: nothing for now; they will be told when it is back
 * @DVP_DEAD: nothing, for good
 */
enum dvp_state {
	DVP_USABLE,
	DVP_REVOKED,
	DVP_DEAD,
};

/**
 * struct dvp_layout - where a buffer's bytes are; constant
 * @bar: BAR index
 * @phys: physical address of the BAR
 * @bus_offset: what to add to a physical address to get the bus address
 * @size: bytes of the whole buffer
 * @nr_ranges: entries of @ranges
 * @write_combining: memory type of CPU mappings; uncached if not
 * @read_only: nobody may write to it, devices included
 * @translated_only: for importers only that an IOMMU can cut off
 * @own: the owner's mappings of a BAR: nobody has a descriptor of it
 * @ranges: slices of the BAR, by dvp_ranges_index()
 */
struct dvp_layout {
	unsigned int bar;
	phys_addr_t phys;
	u64 bus_offset;
	u64 size;
	u32 nr_ranges;
	bool write_combining;
	bool read_only;
	bool translated_only;
	bool own;
	struct dvp_range *ranges;
};

/* Where a slice ends in the buffer, and its bytes */
static inline u64 dvp_layout_end(const struct dvp_layout *layout, u32 i)
{
	return dvp_ranges_end(layout->ranges, layout->nr_ranges, layout->size,
			      i);
}

static inline u64 dvp_layout_length(const struct dvp_layout *layout, u32 i)
{
	return dvp_layout_end(layout, i) - layout->ranges[i].start;
}

/**
 * struct dvp_buffer - slices of a BAR that somebody else may reach
 * @ref: held by the dma-buf, and by users of the buffer without one
 * @node: in &dvp_gate.bufs, protected by &dvp_gate.bufs_lock
 * @id: its place there; constant
 * @counted: in &dvp_gate.nr_bufs, protected by &dvp_gate.bufs_lock
 * @resv: the dma-buf's reservation lock; protects @dmabuf
 * @dmabuf: NULL before export has finished and once released
 * @tell: work: tell the importers to look at the buffer again
 * @lock: protects all below; see the order above
 * @gate: of the function; NULL before export, and once dead with nobody having
 *	access
 * @state: see enum dvp_state
 * @atts: attachments, &dvp_attachment.node
 * @nr_atts: how many
 * @live: mappings of importers that lead to the memory
 * @direct: those of them that no IOMMU translates, so that nobody can cut them
 * @phys_known: somebody has the physical address, and must be told in time
 * @busy: since it was revoked somebody may have had access all along
 * @firm: the same by a way that cannot be cut
 * @left: the jobs there were when an importer unmapped what cannot be cut, NULL
 *	if none, an error if they are not known
 * @all_jobs: at the last revoke it was mapped: any job counts, else @left
 * @changes: how often it was revoked or restored; a late waiter knows by it
 *	that there is another revoke
 * @tells: how often the importers were to be told
 * @told: @tells when they last had been
 * @cpu_maps: mappings of processes; atomic
 * @ahead: where the next fault is, if a process walks through the buffer
 * @window: how many entries the last fault was to fill; both are hints
 * @inode: of the dma-buf, with a reference, so that mappings of processes can
 *	be emptied whatever becomes of the dma-buf; constant
 * @holds: the VFIO descriptor that a mapped BAR keeps open; NULL while none is
 *	mapped, and for an exported buffer
 * @provider: the function that has the memory; constant
 * @layout: constant
 *
 * Waits read @state, @live, @busy, @firm, @all_jobs, @changes, @tells and @told
 * without @lock, and a map looks at @state before it takes it.
 */
struct dvp_buffer {
	struct kref ref;
	struct list_head node;
	u64 id;
	bool counted;
	struct dma_resv resv;
	struct dma_buf *dmabuf;
	struct work_struct tell;
	struct rw_semaphore lock;	/* all below; see above */
	struct dvp_gate *gate;
	enum dvp_state state;
	struct list_head atts;
	unsigned int nr_atts;
	unsigned int live;
	unsigned int direct;
	bool phys_known;
	bool busy;
	bool firm;
	bool all_jobs;
	struct dma_fence *left;
	unsigned int changes;
	unsigned int tells;
	unsigned int told;
	atomic_t cpu_maps;
	u64 ahead;
	unsigned int window;
	struct inode *inode;
	struct file *holds;
	struct dvp_provider *provider;
	struct dvp_layout layout;
};

/**
 * enum dvp_refusal - why a map was refused, for people
 * @DVP_REFUSED_NOT: it was not
 * @DVP_REFUSED_READ_ONLY: nothing would keep the device from writing
 * @DVP_REFUSED_UNTRANSLATED: nothing could cut the device off
 */
enum dvp_refusal {
	DVP_REFUSED_NOT,
	DVP_REFUSED_READ_ONLY,
	DVP_REFUSED_UNTRANSLATED,
};

/**
 * struct dvp_attachment - one importer of a buffer
 * @node: in &dvp_buffer.atts
 * @dev: the importer's device; constant
 * @route: how that reaches the memory; constant
 * @iova: an I/O address range of its own, if dma_use_iova(); constant
 * @linked: a mapping uses @iova; protected by the reservation lock
 * @pinned: the importer, or the dma-buf core for it, pinned and did not map
 *	yet; protected by the reservation lock
 * @maps: mappings it holds, &dvp_mapping.node
 * @nr_maps: how many
 * @nr_cut: those of them that were cut off
 * @refusal: why its last map was refused; read and written once, without a lock
 *
 * &dvp_buffer.lock protects what nothing else is said of.
 */
struct dvp_attachment {
	struct list_head node;
	struct device *dev;
	struct dvp_route route;
	struct dma_iova_state iova;
	bool linked;
	bool pinned;
	struct list_head maps;
	unsigned int nr_maps;
	unsigned int nr_cut;
	enum dvp_refusal refusal;
};

/**
 * struct dvp_mapping - a mapping that an importer holds
 * @node: in &dvp_attachment.maps
 * @sgt: what the importer sees: @sg without a CPU list
 * @dir: direction it was mapped with
 * @domain: that translates it; NULL: nothing does, and it cannot be cut
 * @linked: it is the attachment's I/O address range that is mapped
 * @cut: it leads nowhere any more
 * @nr_addrs: entries of @addrs
 * @addrs: DMA address of each range, when each is mapped by itself; part of the
 *	same allocation
 * @sg: the segments
 */
struct dvp_mapping {
	struct list_head node;
	struct sg_table sgt;
	enum dma_data_direction dir;
	struct iommu_domain *domain;
	bool linked;
	bool cut;
	u32 nr_addrs;
	dma_addr_t *addrs;
	struct scatterlist sg[];
};

/*
 * A function's domain, bus, device and function as one number. A domain may
 * have more than 16 bits: those below a VMD do.
 */
static inline u64 dvp_id(struct pci_dev *pdev)
{
	return (u64)pci_domain_nr(pdev->bus) << 16 | pci_dev_id(pdev);
}

/* denylist.c */
int dvp_denylist_may_probe(struct pci_dev *pdev);
void dvp_denylist_init(void);

/* path.c */
struct dvp_provider *dvp_provider_create(struct pci_dev *pdev);
void dvp_provider_put(struct dvp_provider *provider);
struct dvp_route dvp_provider_route(struct dvp_provider *provider,
				    struct pci_dev *client);
int dvp_paths_init(void);
void dvp_paths_exit(void);

/* events.c */
void dvp_events_init(struct dvp_events *events);
void dvp_events_add(struct dvp_events *events, u32 type, u32 reasons);
void dvp_events_end(struct dvp_events *events);
u64 dvp_events_next(struct dvp_events *events);
bool dvp_events_peek(struct dvp_events *events, u64 next,
		     struct dmabuf_vfio_event *event);
__poll_t dvp_events_poll(struct dvp_events *events, u64 next);

/* gate.c */
void dvp_gate_init(struct dvp_gate *gate);
void dvp_gate_prime(struct dvp_device *dvp);
void dvp_gate_register(struct dvp_gate *gate);
void dvp_gate_unregister(struct dvp_gate *gate);
struct dvp_gate *dvp_gate_next(struct dvp_gate *prev);
void dvp_gate_get(struct dvp_gate *gate);
void dvp_gate_put(struct dvp_gate *gate);
bool dvp_gate_in_transit(struct dvp_gate *gate);
void dvp_gate_open(struct dvp_gate *gate);
int dvp_gate_change(struct dvp_gate **gates, unsigned int nr,
		    u32 coming);
void dvp_gate_settle(struct dvp_gate *gate, bool changed);
int dvp_gate_block(struct dvp_gate *gate, u32 reason,
		   enum dvp_wait wait);
void dvp_gate_unblock(struct dvp_gate *gate, u32 reason);
void dvp_gate_recovered(struct dvp_gate *gate);
void dvp_gate_close(struct dvp_gate *gate);
int dvp_gate_add(struct dvp_gate *gate, struct dvp_buffer *buf);
void dvp_gate_del(struct dvp_buffer *buf);
struct dvp_buffer *dvp_gate_next_buffer(struct dvp_gate *gate,
					struct dvp_buffer *prev);
int dvp_gates_init(void);
void dvp_gates_exit(void);

/* buffer.c */
extern wait_queue_head_t dvp_waits;

/* Nearly always nobody waits, and seeing that is cheap. */
static inline void dvp_wake_waits(void)
{
	if (wq_has_sleeper(&dvp_waits))
		wake_up_all(&dvp_waits);
}

unsigned long dvp_grace(void);
void dvp_buffer_init(struct dvp_buffer *buf);
void dvp_buffer_put(struct dvp_buffer *buf);
bool dvp_buffer_mark(struct dvp_buffer *buf, enum dvp_state state);
int dvp_buffer_kill(struct dvp_buffer *buf, struct dvp_device *dvp);
bool dvp_buffer_know_phys(struct dvp_buffer *buf);
bool dvp_buffer_is_mapped(struct dvp_buffer *buf);
void dvp_buffer_zap(struct dvp_buffer *buf);
void dvp_buffer_restore(struct dvp_buffer *buf);
bool dvp_buffer_wait(struct dvp_buffer *buf, unsigned long deadline,
		     enum dvp_wait wait);
bool dvp_buffer_cut(struct dvp_buffer *buf);
int dvp_buffer_wait_firm(struct dvp_buffer *buf, enum dvp_wait wait);
int dvp_buffer_drain(struct dvp_buffer *buf, unsigned long deadline,
		     enum dvp_wait wait);
bool dvp_buffer_job(struct dvp_buffer *buf, char *driver, size_t size);
struct dvp_mapping *dvp_buffer_map(struct dvp_buffer *buf,
				   struct dvp_attachment *att,
				   enum dma_data_direction dir);
void dvp_buffer_unmap(struct dvp_buffer *buf, struct dvp_attachment *att,
		      struct dvp_mapping *map);
int dvp_buffer_attach(struct dvp_buffer *buf, struct dvp_attachment *att);
void dvp_buffer_detach(struct dvp_buffer *buf, struct dvp_attachment *att);
int dvp_buffers_init(void);
void dvp_buffers_exit(void);

/* dmabuf.c */
struct dvp_range *dvp_alloc_ranges(u32 nr);
struct dvp_range *
dvp_read_ranges(const struct vfio_device_feature_dma_buf *req,
		const struct vfio_device_feature_dma_buf __user *user,
		size_t size);
int dvp_check_bar(struct dvp_device *dvp, u32 *index);
int dvp_export(struct dvp_device *dvp,
	       const struct vfio_device_feature_dma_buf *req,
	       struct dvp_range *ranges);
void dvp_put_bars(struct dvp_device *dvp);
int dvp_map_bar(struct dvp_device *dvp, struct vm_area_struct *vma);
int dvp_revoke(struct dvp_device *dvp, int fd);
struct dma_buf *dvp_revoke_begin(struct dvp_device *dvp, int fd);
int dvp_revoke_end(struct dma_buf *dmabuf);

/* mmap.c */
void dvp_mmap_hold(struct dvp_buffer *buf, struct file *file);
int dvp_mmap_setup(struct dvp_buffer *buf, struct vm_area_struct *vma);

/* dma.c */
void dvp_dma_attach(struct dvp_attachment *att,
		    const struct dvp_layout *layout);
void dvp_dma_detach(struct dvp_attachment *att);
struct dvp_mapping *dvp_dma_prepare(struct dvp_attachment *att,
				    const struct dvp_layout *layout,
				    enum dma_data_direction dir);
int dvp_dma_map(struct dvp_attachment *att, const struct dvp_layout *layout,
		struct dvp_mapping *map);
void dvp_dma_cut(struct dvp_attachment *att, const struct dvp_layout *layout,
		 struct dvp_mapping *map);
void dvp_dma_unmap(struct dvp_attachment *att, const struct dvp_layout *layout,
		   struct dvp_mapping *map);

/* set.c */
#define DVP_SET_MAX	256	/* functions of a bus */

/**
 * struct dvp_set - functions that change together
 * @gates: their gates, with a reference each
 * @nr: how many
 */
struct dvp_set {
	struct dvp_gate **gates;
	unsigned int nr;
};

int dvp_set_get(struct dvp_set *set, struct dvp_device *dvp,
		const struct vfio_pci_hot_reset __user *arg);
void dvp_set_put(struct dvp_set *set);

/* ops.c */
extern const struct vfio_device_ops dvp_ops;

/* node.c */
int dvp_node_add(struct dvp_device *dvp);
void dvp_node_del(struct dvp_device *dvp);
void dvp_node_open(struct dvp_device *dvp);
void dvp_node_close(struct dvp_device *dvp);
int dvp_node_init(void);
void dvp_node_exit(void);

/* debugfs.c */
void dvp_debugfs_init(void);
void dvp_debugfs_exit(void);
void dvp_debugfs_add(struct dvp_device *dvp);
void dvp_debugfs_del(struct dvp_device *dvp);

#endif /* DVP_H */
