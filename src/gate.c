// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gate: may a function's memory be reached now, and why not?
 *
 * The first reason to block revokes every buffer before it returns, so the
 * caller may change the hardware after it. The last reason to leave restores
 * them. Whoever is about to change the function blocks from before the change
 * until it has looked at the result: so the last one to look sees the final
 * state, and nobody is let in on an old one.
 *
 * The gate knows the reasons and which buffers there are; what a revoke means
 * to one of them is dmabuf.c's business.
 */
#include <linux/ktime.h>

#include "dvp.h"
#include "trace.h"

/* The reasons that are read off the function, not given by somebody. */
#define STATE_REASONS	(BIT(DVP_MEMORY_OFF) | BIT(DVP_D3) | BIT(DVP_LOW_POWER))

static const char * const reason_names[] = {
	[DVP_CLOSED]		= "closed",
	[DVP_CHANGING]		= "changing",
	[DVP_MEMORY_OFF]	= "memory-off",
	[DVP_D3]		= "d3hot",
	[DVP_LOW_POWER]		= "low-power",
	[DVP_RESET]		= "reset",
	[DVP_ERROR]		= "error",
	[DVP_GONE]		= "gone",
};

/**
 * dvp_reason_name() - a reason's name for people
 * @reason: the reason
 */
const char *dvp_reason_name(enum dvp_reason reason)
{
	return reason_names[reason];
}

void dvp_gate_init(struct dvp_gate *gate)
{
	mutex_init(&gate->lock);
	spin_lock_init(&gate->bufs_lock);
	gate->reasons = BIT(DVP_CLOSED);
	INIT_LIST_HEAD(&gate->bufs);
}

/**
 * dvp_gate_prime() - teach lockdep the order of the locks
 * @dvp: a function that nobody knows yet
 *
 * With the real ones, before any path can get it wrong: a later mistake is
 * reported when it is made, not when it deadlocks.
 */
void dvp_gate_prime(struct dvp_device *dvp)
{
	struct rw_semaphore faults;
	struct dma_resv resv;

	if (!IS_ENABLED(CONFIG_LOCKDEP))
		return;

	dma_resv_init(&resv);
	dvp_mmap_init(&faults);
	down_write(&dvp->core.memory_lock);
	mutex_lock(&dvp->gate.lock);
	dma_resv_lock(&resv, NULL);
	down_write(&faults);
	spin_lock(&dvp->gate.bufs_lock);
	spin_unlock(&dvp->gate.bufs_lock);
	up_write(&faults);
	dma_resv_unlock(&resv);
	mutex_unlock(&dvp->gate.lock);
	up_write(&dvp->core.memory_lock);
	dma_resv_fini(&resv);
}

static struct vfio_pci_core_device *gate_core(struct dvp_gate *gate)
{
	return &container_of(gate, struct dvp_device, gate)->core;
}

/* Put every live buffer on @steps, with a reference each. */
static unsigned int take_buffers(struct dvp_gate *gate, struct list_head *steps)
{
	struct dvp_buffer *buf;
	unsigned int nr = 0;

	lockdep_assert_held(&gate->lock);

	spin_lock(&gate->bufs_lock);
	list_for_each_entry(buf, &gate->bufs, node) {
		kref_get(&buf->ref);
		list_add_tail(&buf->step, steps);
		nr++;
	}
	spin_unlock(&gate->bufs_lock);
	return nr;
}

static void put_buffers(struct list_head *steps)
{
	struct dvp_buffer *buf, *next;

	list_for_each_entry_safe(buf, next, steps, step) {
		list_del(&buf->step);
		dvp_buffer_put(buf);
	}
}

/*
 * All are told before any is waited for: it takes as long as the slowest
 * importer does.
 */
static void revoke(struct dvp_gate *gate, struct list_head *steps,
		   enum dvp_state state)
{
	ktime_t start = ktime_get();
	struct dvp_buffer *buf;
	unsigned int nr;

	nr = take_buffers(gate, steps);
	trace_dvp_revoke_begin(gate_core(gate)->pdev, gate->reasons, nr);
	list_for_each_entry(buf, steps, step)
		dvp_buffer_invalidate(buf, state);
	/* Before the wait, which may be for one who is to read of it. */
	dvp_node_event(gate, state == DVP_DEAD ? DMABUF_VFIO_EVENT_CLOSED :
						 DMABUF_VFIO_EVENT_REVOKED,
		       gate->reasons | gate->coming);
	list_for_each_entry(buf, steps, step)
		dvp_buffer_wait(buf);
	list_for_each_entry(buf, steps, step)
		dvp_mmap_zap(buf);
	gate->nr_revokes++;
	gate->last_revoke_us = ktime_us_delta(ktime_get(), start);
	gate->max_revoke_us = max(gate->max_revoke_us, gate->last_revoke_us);
	trace_dvp_revoke_end(gate_core(gate)->pdev, gate->reasons, nr,
			     gate->last_revoke_us);
}

static void restore(struct dvp_gate *gate, struct list_head *steps)
{
	struct dvp_buffer *buf;
	unsigned int nr;

	nr = take_buffers(gate, steps);
	list_for_each_entry(buf, steps, step)
		dvp_buffer_restore(buf);
	gate->nr_restores++;
	dvp_node_event(gate, DMABUF_VFIO_EVENT_RESTORED, 0);
	trace_dvp_restore(gate_core(gate)->pdev, nr);
}

static void set_reasons(struct dvp_gate *gate, unsigned long reasons)
{
	spin_lock(&gate->bufs_lock);
	gate->reasons = reasons;
	spin_unlock(&gate->bufs_lock);
}

/* From the reasons there were to those there are now. */
static void transition(struct dvp_gate *gate, unsigned long reasons)
{
	unsigned long before = gate->reasons;
	LIST_HEAD(steps);

	lockdep_assert_held(&gate->lock);

	set_reasons(gate, reasons);
	if (!before && reasons)
		revoke(gate, &steps, DVP_REVOKED);
	else if (before && !reasons)
		restore(gate, &steps);
	put_buffers(&steps);
}

/*
 * The user's view of COMMAND counts, and the hardware's too: a link reset by
 * error recovery turns decoding off behind everybody's back, and it stays off
 * until the user resets the function or writes COMMAND.
 */
static bool memory_off(struct vfio_pci_core_device *core)
{
	u16 virt = le16_to_cpup((__le16 *)&core->vconfig[PCI_COMMAND]);
	u16 phys;

	if (core->pdev->no_command_memory)
		return false;
	pci_read_config_word(core->pdev, PCI_COMMAND, &phys);
	return !(virt & phys & PCI_COMMAND_MEMORY);
}

/* A function in low power is not asked: it would have to wake up to answer. */
static unsigned long read_state(struct vfio_pci_core_device *core)
{
	if (core->pm_runtime_engaged)
		return BIT(DVP_LOW_POWER);
	if ((__force int)core->pdev->current_state >= (__force int)PCI_D3hot)
		return BIT(DVP_D3);
	return memory_off(core) ? BIT(DVP_MEMORY_OFF) : 0;
}

/* Without a user there is no state to read. */
static unsigned long settled_reasons(struct dvp_gate *gate)
{
	unsigned long reasons = gate->reasons & ~STATE_REASONS;

	if (reasons & BIT(DVP_CLOSED))
		return reasons;
	return reasons | read_state(gate_core(gate));
}

/**
 * dvp_gate_block() - keep everybody off the function's memory
 * @gate: the function's gate
 * @reason: why; no harm if given before
 *
 * Returns when no importer has access any more, however long that takes: a
 * signal does not end it.
 *
 * Context: may sleep, without a bound. Takes the gate's lock and the buffers'
 * reservation locks; the caller may hold core.memory_lock and the device lock.
 */
void dvp_gate_block(struct dvp_gate *gate, enum dvp_reason reason)
{
	might_sleep();

	mutex_lock(&gate->lock);
	transition(gate, gate->reasons | BIT(reason));
	mutex_unlock(&gate->lock);
}

/**
 * dvp_gate_unblock() - a reason to keep everybody off has gone
 * @gate: the function's gate
 * @reason: the reason; no harm if not given before
 *
 * The function is looked at as well. With no reason left every buffer that is
 * not dead is usable again and its importers are told.
 *
 * Context: as dvp_gate_block(); waits for a running revoke.
 */
void dvp_gate_unblock(struct dvp_gate *gate, enum dvp_reason reason)
{
	mutex_lock(&gate->lock);
	transition(gate, settled_reasons(gate) & ~BIT(reason));
	mutex_unlock(&gate->lock);
}

/**
 * dvp_gate_change() - the function is about to change, perhaps to the worse
 * @gate: the function's gate
 * @coming: bitmap of the reasons it may end in; a hint at the cause
 *
 * Blocks until dvp_gate_settle(). Several changes may be under way at a time.
 *
 * Context: as dvp_gate_block().
 */
void dvp_gate_change(struct dvp_gate *gate, unsigned long coming)
{
	might_sleep();

	mutex_lock(&gate->lock);
	gate->nr_changes++;
	gate->coming |= coming;
	transition(gate, gate->reasons | BIT(DVP_CHANGING));
	mutex_unlock(&gate->lock);
}

/**
 * dvp_gate_settle() - the function has changed
 * @gate: the function's gate
 * @changed: dvp_gate_change() was called before; not needed for a change to
 *	the better
 *
 * Context: as dvp_gate_unblock(). Should the function turn out to be worse
 * off without dvp_gate_change(), it revokes.
 */
void dvp_gate_settle(struct dvp_gate *gate, bool changed)
{
	unsigned long reasons;

	mutex_lock(&gate->lock);
	reasons = settled_reasons(gate);
	if (changed && !--gate->nr_changes) {
		reasons &= ~BIT(DVP_CHANGING);
		gate->coming = 0;
	}
	transition(gate, reasons);
	mutex_unlock(&gate->lock);
}

/**
 * dvp_gate_open() - the first open; the function is enabled
 * @gate: the function's gate
 *
 * An error of former times is over: the core has reset the function. That of
 * a recovery that failed, too: it would block for good. Not every kernel tells
 * drivers of the failure, so one that is still running looks the same and is
 * forgotten as well; when it resumes, the function is looked at again.
 *
 * Context: as dvp_gate_unblock().
 */
void dvp_gate_open(struct dvp_gate *gate)
{
	mutex_lock(&gate->lock);
	set_reasons(gate, gate->reasons & ~(BIT(DVP_CLOSED) | BIT(DVP_ERROR)));
	set_reasons(gate, settled_reasons(gate));
	dvp_node_event(gate, DMABUF_VFIO_EVENT_OPENED, gate->reasons);
	mutex_unlock(&gate->lock);
}

/**
 * dvp_gate_close() - the last close: every buffer dies
 * @gate: the function's gate
 *
 * Returns when no importer has access any more and no buffer knows the gate.
 *
 * Context: as dvp_gate_block().
 */
void dvp_gate_close(struct dvp_gate *gate)
{
	struct dvp_buffer *buf;
	LIST_HEAD(steps);

	might_sleep();

	mutex_lock(&gate->lock);
	set_reasons(gate, (gate->reasons & ~STATE_REASONS) | BIT(DVP_CLOSED));
	revoke(gate, &steps, DVP_DEAD);
	list_for_each_entry(buf, &steps, step)
		dvp_buffer_orphan(buf);
	put_buffers(&steps);
	mutex_unlock(&gate->lock);
}

/**
 * dvp_gate_add() - a new buffer comes under the gate
 * @gate: the function's gate
 * @buf: the buffer, which nobody knows yet; its state is set
 *
 * A BAR that the owner mapped does not count: that is bounded by what a
 * process may map.
 *
 * Context: the buffer's reservation lock is held.
 *
 * Return: 0, or -ENOSPC when the function has as many as it may.
 */
int dvp_gate_add(struct dvp_gate *gate, struct dvp_buffer *buf)
{
	u32 nr_ranges = buf->layout.nr_ranges;
	int ret = 0;

	dma_resv_assert_held(&buf->resv);

	spin_lock(&gate->bufs_lock);
	if (!buf->holds) {
		if (gate->nr_bufs >= DVP_MAX_BUFFERS ||
		    nr_ranges > DVP_MAX_RANGES - gate->nr_ranges) {
			ret = -ENOSPC;
			goto unlock;
		}
		buf->counted = true;
		gate->nr_bufs++;
		gate->nr_ranges += nr_ranges;
	}
	buf->state = gate->reasons ? DVP_REVOKED : DVP_USABLE;
	list_add_tail(&buf->node, &gate->bufs);
unlock:
	spin_unlock(&gate->bufs_lock);
	return ret;
}

static void uncount(struct dvp_gate *gate, struct dvp_buffer *buf)
{
	lockdep_assert_held(&gate->bufs_lock);

	if (!buf->counted)
		return;
	buf->counted = false;
	gate->nr_bufs--;
	gate->nr_ranges -= buf->layout.nr_ranges;
}

/**
 * dvp_gate_uncount() - a buffer is of no use any more
 * @gate: the function's gate
 * @buf: the buffer, dead
 *
 * Whoever has its descriptor may keep it; that is not to hinder the owner.
 *
 * Context: the buffer's reservation lock is held.
 */
void dvp_gate_uncount(struct dvp_gate *gate, struct dvp_buffer *buf)
{
	dma_resv_assert_held(&buf->resv);

	spin_lock(&gate->bufs_lock);
	uncount(gate, buf);
	spin_unlock(&gate->bufs_lock);
}

/**
 * dvp_gate_del() - a buffer leaves the gate
 * @gate: the function's gate
 * @buf: the buffer
 *
 * Context: the buffer's reservation lock is held.
 */
void dvp_gate_del(struct dvp_gate *gate, struct dvp_buffer *buf)
{
	dma_resv_assert_held(&buf->resv);

	spin_lock(&gate->bufs_lock);
	list_del(&buf->node);
	uncount(gate, buf);
	spin_unlock(&gate->bufs_lock);
}

/**
 * dvp_gate_nth() - get a buffer by its place in the list
 * @gate: the function's gate
 * @n: place, from 0
 *
 * Return: the buffer, to be given to dvp_buffer_put(), or NULL.
 */
struct dvp_buffer *dvp_gate_nth(struct dvp_gate *gate, loff_t n)
{
	struct dvp_buffer *found = NULL;
	struct dvp_buffer *buf;

	spin_lock(&gate->bufs_lock);
	list_for_each_entry(buf, &gate->bufs, node) {
		if (n-- == 0) {
			kref_get(&buf->ref);
			found = buf;
			break;
		}
	}
	spin_unlock(&gate->bufs_lock);
	return found;
}
