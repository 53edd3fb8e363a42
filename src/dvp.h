/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dmabuf-vfio-pci: the driver's own types.
 *
 * Locks, outermost first. A lock is taken only with locks above it held.
 *
 *   node.lock          the node's pointer to the function. An ioctl of the node
 *                      holds it for reading, so that the function is not
 *                      closed meanwhile; first open and last close take it for
 *                      writing. Never held to wait for an importer, nor while
 *                      memory of a process is touched: so it holds up a close
 *                      for moments only.
 *   core.memory_lock   vfio_pci_core's: held for writing while the hardware
 *                      changes. Never taken here; a caller may hold it.
 *   gate.lock          one transition (revoke or restore) of a function at a
 *                      time, its waits for importers included. Export,
 *                      attach, map, unmap, detach and release never take it,
 *                      so that an importer can always let go.
 *   buffer.resv        the buffer's state, attachments, mappings and its
 *                      dmabuf pointer.
 *   buffer.faults      the buffer's state against faults, which read it and
 *                      fill in a mapping of a process. They come with that
 *                      process's mmap_lock, which stands above this too. Held
 *                      for writing just to change the state, never to wait.
 *   gate.bufs_lock     spinlock: the reasons, the list of buffers. Innermost.
 *   node.events_lock   spinlock: the events of the node. Innermost.
 *
 * A reader of the node has a lock of its own, under which memory of the process
 * is touched and events_lock taken, and nothing else.
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
#include <linux/spinlock.h>
#include <linux/vfio_pci_core.h>
#include <linux/wait.h>
#include <uapi/linux/dmabuf_vfio_pci.h>

#include "dropin.h"
#include "ranges.h"
#include "route.h"

/* What one function may have exported at a time. */
#define DVP_MAX_BUFFERS		1024
#define DVP_MAX_RANGES		65536

/* How long a revoke waits before it says who is late, and then again. */
#define DVP_GRACE		(2 * HZ)

/**
 * enum dvp_reason - why a function's memory cannot be reached
 * @DVP_CLOSED: no VFIO file descriptor is open
 * @DVP_CHANGING: an operation is running that may end reachability
 * @DVP_MEMORY_OFF: memory decoding is off
 * @DVP_D3: the function is in D3hot or deeper
 * @DVP_LOW_POWER: the user let it go to runtime low power
 * @DVP_RESET: a reset is running, whoever asked for it
 * @DVP_ERROR: a PCIe error is being recovered from, or could not be
 * @DVP_GONE: the function was unplugged
 * @DVP_NR_REASONS: how many there are
 */
enum dvp_reason {
	DVP_CLOSED,
	DVP_CHANGING,
	DVP_MEMORY_OFF,
	DVP_D3,
	DVP_LOW_POWER,
	DVP_RESET,
	DVP_ERROR,
	DVP_GONE,
	DVP_NR_REASONS,
};

/**
 * struct dvp_gate - may this function's memory be reached now?
 * @lock: one transition at a time; see the order above
 * @nr_changes: operations under way; DVP_CHANGING is set while there are any
 * @coming: the reasons that these may end in, for who wants to know the cause
 * @nr_revokes: how often everybody was kept off; statistics, as all here
 * @nr_restores: how often everybody was let in again
 * @last_revoke_us: how long the last revoke took, microseconds
 * @max_revoke_us: the longest one
 * @bufs_lock: protects all below
 * @reasons: bitmap of enum dvp_reason; reachable when zero
 * @bufs: the buffers that are not released, &dvp_buffer.node
 * @nr_bufs: those of @bufs that count against the limit
 * @nr_ranges: their ranges
 *
 * @lock protects what stands above @bufs_lock. @reasons changes with both
 * locks held, so either is enough to read it.
 */
struct dvp_gate {
	struct mutex lock;	/* one transition at a time */
	unsigned int nr_changes;
	unsigned long coming;
	unsigned long nr_revokes;
	unsigned long nr_restores;
	u64 last_revoke_us;
	u64 max_revoke_us;
	spinlock_t bufs_lock;	/* all below; innermost */
	unsigned long reasons;
	struct list_head bufs;
	unsigned int nr_bufs;
	unsigned int nr_ranges;
};

/**
 * struct dvp_device - a function bound to this driver
 * @core: vfio_pci_core's view; first, as vfio_alloc_device() wants it
 * @gate: who is let in
 * @path: the way from the function to its root complex, read at open
 * @debugfs: the function's folder
 * @node: the function's node, while it is bound
 */
struct dvp_device {
	struct vfio_pci_core_device core;
	struct dvp_gate gate;
	struct dvp_path path;
	struct dentry *debugfs;
	struct dvp_node *node;
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
 * @ranges: slices of the BAR in the buffer's order, adjacent ones merged
 * @starts: where each begins in the buffer; part of the same allocation
 */
struct dvp_layout {
	unsigned int bar;
	phys_addr_t phys;
	u64 bus_offset;
	u64 size;
	u32 nr_ranges;
	bool write_combining;
	struct dvp_range *ranges;
	u64 *starts;
};

/**
 * struct dvp_buffer - slices of a BAR that somebody else may reach
 * @ref: held by the dma-buf, and by whoever works on the buffer without it
 * @node: in &dvp_gate.bufs, protected by &dvp_gate.bufs_lock
 * @counted: in &dvp_gate.nr_bufs, likewise
 * @step: on the list of the running transition, protected by &dvp_gate.lock
 * @resv: the dma-buf's reservation lock; protects all below
 * @gate: of the function; NULL before export and once the function closed
 * @dmabuf: NULL before export has finished and once released
 * @state: see enum dvp_state; changes with @faults held, too
 * @maps: mappings that importers hold
 * @unmapped: woken when @maps falls to zero
 * @faults: held by a fault to read @state and act on it
 * @cpu_maps: mappings of processes
 * @inode: of the dma-buf, with a reference, so that mappings of processes can
 *	be emptied whatever becomes of the dma-buf; constant
 * @holds: the VFIO descriptor that a mapped BAR keeps open; NULL for an
 *	exported buffer; constant
 * @path: of the function that has the memory; constant
 * @layout: constant
 */
struct dvp_buffer {
	struct kref ref;
	struct list_head node;
	bool counted;
	struct list_head step;
	struct dma_resv resv;
	struct dvp_gate *gate;
	struct dma_buf *dmabuf;
	enum dvp_state state;
	unsigned int maps;
	wait_queue_head_t unmapped;
	struct rw_semaphore faults;	/* innermost but for bufs_lock */
	atomic_t cpu_maps;
	struct inode *inode;
	struct file *holds;
	struct dvp_path path;
	struct dvp_layout layout;
};

/**
 * struct dvp_attachment - one importer of a buffer
 * @route: how the importer's device reaches the memory; constant
 * @iova: an I/O address range of its own, if dma_use_iova(); constant
 * @linked: a mapping uses @iova; protected by the reservation lock, as all
 *	below
 * @pinned: the importer, or the dma-buf core for it, pinned and did not map yet
 * @maps: mappings it holds
 */
struct dvp_attachment {
	struct dvp_route route;
	struct dma_iova_state iova;
	bool linked;
	bool pinned;
	unsigned int maps;
};

/*
 * A function's domain, bus, device and function as one number. A domain may
 * have more than 16 bits: those below a VMD do.
 */
static inline u64 dvp_id(struct pci_dev *pdev)
{
	return (u64)pci_domain_nr(pdev->bus) << 16 | pci_dev_id(pdev);
}

/* topo.c */
int dvp_path_read(struct pci_dev *pdev, struct dvp_path *path);

/* gate.c */
const char *dvp_reason_name(enum dvp_reason reason);
void dvp_gate_init(struct dvp_gate *gate);
void dvp_gate_prime(struct dvp_device *dvp);
void dvp_gate_open(struct dvp_gate *gate);
void dvp_gate_change(struct dvp_gate *gate, unsigned long coming);
void dvp_gate_settle(struct dvp_gate *gate, bool changed);
void dvp_gate_block(struct dvp_gate *gate, enum dvp_reason reason);
void dvp_gate_unblock(struct dvp_gate *gate, enum dvp_reason reason);
void dvp_gate_close(struct dvp_gate *gate);
int dvp_gate_add(struct dvp_gate *gate, struct dvp_buffer *buf);
void dvp_gate_uncount(struct dvp_gate *gate, struct dvp_buffer *buf);
void dvp_gate_del(struct dvp_gate *gate, struct dvp_buffer *buf);
struct dvp_buffer *dvp_gate_nth(struct dvp_gate *gate, loff_t n);

/* dmabuf.c */
int dvp_check_bar(struct dvp_device *dvp, u32 index);
int dvp_export(struct dvp_device *dvp,
	       const struct vfio_device_feature_dma_buf *req,
	       const struct dvp_range *ranges);
int dvp_map_bar(struct dvp_device *dvp, struct vm_area_struct *vma);
int dvp_revoke(struct dvp_device *dvp, int fd);
struct dma_buf *dvp_revoke_begin(struct dvp_device *dvp, int fd);
void dvp_revoke_end(struct dma_buf *dmabuf);
void dvp_buffer_invalidate(struct dvp_buffer *buf, enum dvp_state state);
void dvp_buffer_wait(struct dvp_buffer *buf);
void dvp_buffer_restore(struct dvp_buffer *buf);
void dvp_buffer_orphan(struct dvp_buffer *buf);
void dvp_buffer_put(struct dvp_buffer *buf);
bool dvp_buffer_job(struct dvp_buffer *buf, char *driver, size_t size);

/* mmap.c */
void dvp_mmap_init(struct rw_semaphore *faults);
int dvp_mmap_setup(struct dvp_buffer *buf, struct vm_area_struct *vma);
void dvp_mmap_zap(struct dvp_buffer *buf);

/* dma.c */
void dvp_dma_attach(struct dvp_attachment *att, struct device *dev,
		    const struct dvp_layout *layout);
void dvp_dma_detach(struct dvp_attachment *att, struct device *dev);
struct sg_table *dvp_dma_map(struct dvp_attachment *att, struct device *dev,
			     const struct dvp_layout *layout,
			     enum dma_data_direction dir);
void dvp_dma_unmap(struct dvp_attachment *att, struct device *dev,
		   const struct dvp_layout *layout, struct sg_table *sgt,
		   enum dma_data_direction dir);

/* ops.c */
extern const struct vfio_device_ops dvp_ops;
struct dvp_range *
dvp_read_ranges(const struct vfio_device_feature_dma_buf *req,
		const struct vfio_device_feature_dma_buf __user *user,
		size_t size);

/* node.c */
int dvp_node_add(struct dvp_device *dvp);
void dvp_node_del(struct dvp_device *dvp);
void dvp_node_open(struct dvp_device *dvp);
void dvp_node_close(struct dvp_device *dvp);
void dvp_node_event(struct dvp_gate *gate, u32 type, unsigned long reasons);
int dvp_node_init(void);
void dvp_node_exit(void);

/* debugfs.c */
void dvp_debugfs_init(void);
void dvp_debugfs_exit(void);
void dvp_debugfs_add(struct dvp_device *dvp);
void dvp_debugfs_del(struct dvp_device *dvp);

#endif /* DVP_H */
