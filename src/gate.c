// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gate: may a function's memory be reached now, and why not?
 *
 * The first reason to block revokes every buffer, and who gave it waits until
 * nobody has access before it changes the hardware. The last reason to leave
 * restores them. Whoever is about to change the function blocks from before
 * the change until it has looked at the result: so the last one to look sees
 * the final state, and nobody is let in on an old one.
 *
 * A transition is made under the gate's lock. The wait for importers is not: it
 * holds up nobody but who does it, and needs just that a reason stays while it
 * goes on, which is the waiter's own.
 *
 * The gate knows the reasons and which buffers there are; what a revoke means
 * to one of them is buffer.c's business.
 */
#include <linux/ktime.h>
#include <linux/slab.h>

#include "dvp.h"
#include "trace.h"

/* The reasons that are read off the function, not given by somebody. */
#define STATE_REASONS	(BIT(DVP_MEMORY_OFF) | BIT(DVP_D3) | \
			 BIT(DVP_LOW_POWER) | BIT(DVP_PF))

/* Those that end by themselves: an access waits for that. */
#define TRANSIT_REASONS	(BIT(DVP_CHANGING) | BIT(DVP_RESET) | \
			 BIT(DVP_SLEEP) | BIT(DVP_PF))

/* Those of a PF that its VFs share. */
#define PF_REASONS	(BIT(DVP_RESET) | BIT(DVP_ERROR) | BIT(DVP_D3) | \
			 BIT(DVP_GONE) | BIT(DVP_SLEEP))

/* Woken when an importer has let go and when a gate's reasons change. */
DECLARE_WAIT_QUEUE_HEAD(dvp_waits);

static LIST_HEAD(gates);		/* by &dvp_gate.id */
static u64 next_gate_id;
static DEFINE_SPINLOCK(gates_lock);	/* both; innermost */

static const char * const reason_names[] = {
	[DVP_CLOSED]		= "closed",
	[DVP_CHANGING]		= "changing",
	[DVP_MEMORY_OFF]	= "memory-off",
	[DVP_D3]		= "d3hot",
	[DVP_LOW_POWER]		= "low-power",
	[DVP_RESET]		= "reset",
	[DVP_ERROR]		= "error",
	[DVP_GONE]		= "gone",
	[DVP_SLEEP]		= "sleep",
	[DVP_PF]		= "pf",
};

/**
 * dvp_reason_name() - a reason's name for people
 * @reason: the reason
 */
const char *dvp_reason_name(enum dvp_reason reason)
{
	return reason_names[reason];
}

/* Apart from what tells importers: those may all be stuck. */
static struct workqueue_struct *recovery_wq;

static void recovered(struct work_struct *work);

void dvp_gate_init(struct dvp_gate *gate)
{
	mutex_init(&gate->lock);
	INIT_WORK(&gate->recovered, recovered);
	INIT_LIST_HEAD(&gate->entry);
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
	struct dvp_buffer *buf;

	if (!IS_ENABLED(CONFIG_LOCKDEP))
		return;

	buf = kzalloc(sizeof(*buf), GFP_KERNEL);
	if (!buf)
		return;
	dvp_buffer_init(buf);
	down_write(&dvp->core.memory_lock);
	mutex_lock(&dvp->gate.lock);
	down_write(&buf->lock);
	spin_lock(&dvp->gate.bufs_lock);
	spin_unlock(&dvp->gate.bufs_lock);
	up_write(&buf->lock);
	mutex_unlock(&dvp->gate.lock);
	up_write(&dvp->core.memory_lock);

	dma_resv_lock(&buf->resv, NULL);
	down_write(&buf->lock);
	up_write(&buf->lock);
	dma_resv_unlock(&buf->resv);
	dvp_buffer_put(buf);
}

static struct vfio_pci_core_device *gate_core(struct dvp_gate *gate)
{
	return &container_of(gate, struct dvp_device, gate)->core;
}

static struct pci_dev *gate_pdev(struct dvp_gate *gate)
{
	return gate_core(gate)->pdev;
}

/* --- all gates */

/**
 * dvp_gate_get() - keep a gate and its function in memory
 * @gate: the gate of a function that is bound
 */
void dvp_gate_get(struct dvp_gate *gate)
{
	pci_dev_get(gate_pdev(gate));
	get_device(&gate_core(gate)->vdev.device);
}

/**
 * dvp_gate_put() - undo dvp_gate_get()
 * @gate: the gate
 *
 * Context: may sleep.
 */
void dvp_gate_put(struct dvp_gate *gate)
{
	struct pci_dev *pdev = gate_pdev(gate);

	put_device(&gate_core(gate)->vdev.device);
	pci_dev_put(pdev);
}

/**
 * dvp_gate_register() - a function is bound
 * @gate: its gate
 */
void dvp_gate_register(struct dvp_gate *gate)
{
	spin_lock(&gates_lock);
	gate->id = next_gate_id++;
	list_add_tail(&gate->entry, &gates);
	spin_unlock(&gates_lock);
}

/**
 * dvp_gate_unregister() - a function is not bound any more
 * @gate: its gate
 */
void dvp_gate_unregister(struct dvp_gate *gate)
{
	spin_lock(&gates_lock);
	list_del_init(&gate->entry);
	spin_unlock(&gates_lock);
}

/**
 * dvp_gate_next() - get the gate after another one
 * @prev: the other one, with a reference that is dropped; NULL for the first
 *
 * Return: the gate, with a reference; NULL at the end.
 */
struct dvp_gate *dvp_gate_next(struct dvp_gate *prev)
{
	struct dvp_gate *gate, *next = NULL;

	spin_lock(&gates_lock);
	list_for_each_entry(gate, &gates, entry) {
		if (prev && gate->id <= prev->id)
			continue;
		dvp_gate_get(gate);
		next = gate;
		break;
	}
	spin_unlock(&gates_lock);
	if (prev)
		dvp_gate_put(prev);
	return next;
}

/* What a VF cannot do without of its PF: if that is ours, its gate says. */
static bool pf_blocks(struct pci_dev *vf)
{
	struct pci_dev *pf = pci_physfn(vf);
	struct dvp_gate *gate;
	bool blocks = pf->current_state != PCI_D0 &&
		      pf->current_state != PCI_UNKNOWN;

	spin_lock(&gates_lock);
	list_for_each_entry(gate, &gates, entry)
		if (gate_pdev(gate) == pf &&
		    (READ_ONCE(gate->reasons) | READ_ONCE(gate->coming)) &
		    PF_REASONS)
			blocks = true;
	spin_unlock(&gates_lock);
	return blocks;
}

static struct dvp_gate *next_vf(struct dvp_gate *pf, struct dvp_gate *prev)
{
	struct pci_dev *pdev = gate_pdev(pf);

	if (!pdev->is_physfn)
		return NULL;
	do {
		prev = dvp_gate_next(prev);
	} while (prev && (!gate_pdev(prev)->is_virtfn ||
			  pci_physfn(gate_pdev(prev)) != pdev));
	return prev;
}

/* --- transitions */

static void end_revoke(struct dvp_gate *gate)
{
	u64 us = ktime_us_delta(ktime_get(), gate->revoke_start);

	WRITE_ONCE(gate->busy, false);
	WRITE_ONCE(gate->last_revoke_us, us);
	WRITE_ONCE(gate->max_revoke_us, max(gate->max_revoke_us, us));
	trace_dvp_revoke_end(gate_pdev(gate), READ_ONCE(gate->reasons), us);
}

/* All are told, then all mappings of processes are emptied. */
static void revoke(struct dvp_gate *gate, enum dvp_state state)
{
	struct dvp_buffer *buf = NULL;
	bool busy = false;

	lockdep_assert_held(&gate->lock);

	gate->revoke_start = ktime_get();
	WRITE_ONCE(gate->deadline, jiffies + dvp_grace());
	WRITE_ONCE(gate->nr_revokes, gate->nr_revokes + 1);
	trace_dvp_revoke_begin(gate_pdev(gate), gate->reasons, gate->nr_bufs);
	while ((buf = dvp_gate_next_buffer(gate, buf)))
		busy |= dvp_buffer_mark(buf, state);
	while ((buf = dvp_gate_next_buffer(gate, buf)))
		dvp_mmap_zap(buf);
	/* Before the wait, which may be for one who is to read of it. */
	dvp_node_event(gate, state == DVP_DEAD ? DMABUF_VFIO_EVENT_CLOSED :
						 DMABUF_VFIO_EVENT_REVOKED,
		       gate->reasons | gate->coming);
	WRITE_ONCE(gate->busy, busy);
	if (!busy)
		end_revoke(gate);
}

static void restore(struct dvp_gate *gate)
{
	struct dvp_buffer *buf = NULL;

	lockdep_assert_held(&gate->lock);

	WRITE_ONCE(gate->busy, false);
	while ((buf = dvp_gate_next_buffer(gate, buf)))
		dvp_buffer_restore(buf);
	WRITE_ONCE(gate->nr_restores, gate->nr_restores + 1);
	dvp_node_event(gate, DMABUF_VFIO_EVENT_RESTORED, 0);
	trace_dvp_restore(gate_pdev(gate), gate->nr_bufs);
}

static void set_reasons(struct dvp_gate *gate, unsigned long reasons)
{
	spin_lock(&gate->bufs_lock);
	WRITE_ONCE(gate->reasons, reasons);
	spin_unlock(&gate->bufs_lock);
}

/* From the reasons there were to those there are now. */
static void transition(struct dvp_gate *gate, unsigned long reasons)
{
	unsigned long before = gate->reasons;

	lockdep_assert_held(&gate->lock);

	if (reasons == before)
		return;
	set_reasons(gate, reasons);
	if (!before)
		revoke(gate, DVP_REVOKED);
	else if (!reasons)
		restore(gate);
	wake_up_all(&dvp_waits);
}

/*
 * Each step is done with all buffers before the next, so that it all takes as
 * long as the slowest importer does, and no longer than the grace period.
 */
static int drain_one(struct dvp_gate *gate, enum dvp_wait wait)
{
	struct dvp_buffer *buf = NULL;
	bool done = true;
	int ret = 0;

	if (!READ_ONCE(gate->busy) || wait == DVP_WAIT_NOT)
		return 0;
	while ((buf = dvp_gate_next_buffer(gate, buf)))
		done &= dvp_buffer_wait(buf, READ_ONCE(gate->deadline), wait);
	if (!done && dvp_killed(wait))
		return -EINTR;
	if (!done) {
		done = true;
		while ((buf = dvp_gate_next_buffer(gate, buf)))
			done &= dvp_buffer_cut(buf);
	}
	if (!done && wait == DVP_WAIT_GRACE)
		return -EBUSY;
	if (!done) {
		while ((buf = dvp_gate_next_buffer(gate, buf)))
			ret = ret ?: dvp_buffer_wait_firm(buf, wait);
	}
	if (!ret)
		end_revoke(gate);
	return ret;
}

/* Wait until nobody has access to the function, or to VFs of it. */
static int drain(struct dvp_gate *gate, enum dvp_wait wait)
{
	struct dvp_gate *vf = NULL;
	int ret;

	ret = drain_one(gate, wait);
	while ((vf = next_vf(gate, vf)))
		ret = ret ?: drain_one(vf, wait);
	return ret;
}

/*
 * The user's view of COMMAND counts, and the hardware's too: a link reset by
 * error recovery turns decoding off behind everybody's back, and it stays off
 * until the user resets the function or writes COMMAND. All ones is no answer:
 * the function did not come back.
 */
static bool memory_off(struct vfio_pci_core_device *core)
{
	u16 virt = le16_to_cpup((__le16 *)&core->vconfig[PCI_COMMAND]);
	u16 phys;

	if (pci_read_config_word(core->pdev, PCI_COMMAND, &phys) ||
	    phys == (u16)~0)
		return true;
	return !core->pdev->no_command_memory &&
	       !(virt & phys & PCI_COMMAND_MEMORY);
}

/* A function in low power is not asked: it would have to wake up to answer. */
static unsigned long read_state(struct vfio_pci_core_device *core)
{
	unsigned long reasons = 0;

	if (core->pdev->is_virtfn && pf_blocks(core->pdev))
		reasons = BIT(DVP_PF);
	if (core->pm_runtime_engaged)
		return reasons | BIT(DVP_LOW_POWER);
	if (core->pdev->current_state != PCI_D0)
		return reasons | BIT(DVP_D3);
	return reasons | (memory_off(core) ? BIT(DVP_MEMORY_OFF) : 0);
}

/* Without a user there is no state to read. */
static unsigned long settled_reasons(struct dvp_gate *gate)
{
	unsigned long reasons = gate->reasons & ~STATE_REASONS;

	if (reasons & BIT(DVP_CLOSED))
		return reasons;
	return reasons | read_state(gate_core(gate));
}

static void settle_vfs(struct dvp_gate *gate)
{
	struct dvp_gate *vf = NULL;

	while ((vf = next_vf(gate, vf)))
		dvp_gate_settle(vf, false);
}

/**
 * dvp_gate_in_transit() - will the function be settled soon?
 * @gate: the gate
 *
 * Context: any.
 *
 * Return: true if a transition runs that ends by itself. The recovery of an
 * error does, but not every kernel tells drivers of one that failed: so not
 * for longer than DVP_RECOVERY.
 */
bool dvp_gate_in_transit(struct dvp_gate *gate)
{
	unsigned long reasons = READ_ONCE(gate->reasons);

	/* Buffers that are revoked still are about to be restored. */
	if (!reasons)
		return true;
	if (reasons & (BIT(DVP_CLOSED) | BIT(DVP_GONE)))
		return false;
	return reasons & TRANSIT_REASONS ||
	       (reasons & BIT(DVP_ERROR) &&
		time_before(jiffies, READ_ONCE(gate->error_end)));
}

/**
 * dvp_gate_block() - keep everybody off the function's memory
 * @gate: the function's gate
 * @reason: why; no harm if given before
 * @wait: how long to wait for importers
 *
 * VFs of the function lose with it what they cannot do without.
 *
 * Context: may sleep, without a bound if nothing can cut an importer off and
 * @wait allows it. The caller may hold core.memory_lock and the device lock.
 *
 * Return: 0 if nobody has access any more; -EBUSY or -EINTR as &enum dvp_wait
 * says, with the reason given all the same.
 */
int dvp_gate_block(struct dvp_gate *gate, enum dvp_reason reason,
		   enum dvp_wait wait)
{
	might_sleep();

	mutex_lock(&gate->lock);
	if (reason == DVP_ERROR) {
		gate->nr_errors++;
		WRITE_ONCE(gate->error_end, jiffies + DVP_RECOVERY);
	}
	transition(gate, gate->reasons | BIT(reason));
	mutex_unlock(&gate->lock);
	settle_vfs(gate);
	return drain(gate, wait);
}

/**
 * dvp_gate_unblock() - a reason to keep everybody off has gone
 * @gate: the function's gate
 * @reason: the reason; no harm if not given before
 *
 * The function is looked at as well. With no reason left every buffer that is
 * not dead is usable again and its importers will be told.
 *
 * Context: may sleep, but waits for nobody.
 */
void dvp_gate_unblock(struct dvp_gate *gate, enum dvp_reason reason)
{
	mutex_lock(&gate->lock);
	transition(gate, settled_reasons(gate) & ~BIT(reason));
	mutex_unlock(&gate->lock);
	settle_vfs(gate);
}

static void begin_change(struct dvp_gate *gate, unsigned long coming)
{
	mutex_lock(&gate->lock);
	gate->nr_changes++;
	WRITE_ONCE(gate->coming, gate->coming | coming);
	transition(gate, gate->reasons | BIT(DVP_CHANGING));
	mutex_unlock(&gate->lock);
	settle_vfs(gate);
}

/**
 * dvp_gate_change() - functions are about to change, perhaps to the worse
 * @gates: their gates
 * @nr: how many
 * @coming: bitmap of the reasons they may end in; a hint at the cause
 *
 * Blocks each until dvp_gate_settle(). All are told before any is waited for.
 * Several changes may be under way at a time.
 *
 * Context: may sleep, without a bound if nothing can cut an importer off.
 *
 * Return: 0; -EINTR if the caller was killed meanwhile, with nothing changed.
 */
int dvp_gate_change(struct dvp_gate **gates, unsigned int nr,
		    unsigned long coming)
{
	unsigned int i;
	int ret = 0;

	might_sleep();

	for (i = 0; i < nr; i++)
		begin_change(gates[i], coming);
	for (i = 0; i < nr && !ret; i++)
		ret = drain(gates[i], DVP_WAIT_KILLABLE);
	if (ret)
		for (i = 0; i < nr; i++)
			dvp_gate_settle(gates[i], true);
	return ret;
}

/**
 * dvp_gate_settle() - the function has changed
 * @gate: the function's gate
 * @changed: dvp_gate_change() was called before; not needed for a change to
 *	the better
 *
 * Context: may sleep, but waits for nobody. Should the function turn out to be
 * worse off without dvp_gate_change(), it revokes.
 */
void dvp_gate_settle(struct dvp_gate *gate, bool changed)
{
	unsigned long reasons;

	mutex_lock(&gate->lock);
	reasons = settled_reasons(gate);
	if (changed && !--gate->nr_changes) {
		reasons &= ~BIT(DVP_CHANGING);
		WRITE_ONCE(gate->coming, 0);
	}
	transition(gate, reasons);
	mutex_unlock(&gate->lock);
	settle_vfs(gate);
}

/* Nobody is let in before all have let go, and a later error counts anew. */
static void recovered(struct work_struct *work)
{
	struct dvp_gate *gate = container_of(work, struct dvp_gate, recovered);
	bool over;

	drain(gate, DVP_WAIT_FIRM);
	mutex_lock(&gate->lock);
	over = gate->nr_recovered == gate->nr_errors;
	mutex_unlock(&gate->lock);
	if (over)
		dvp_gate_unblock(gate, DVP_ERROR);
	dvp_gate_put(gate);
}

/**
 * dvp_gate_recovered() - the recovery of an error has ended
 * @gate: the function's gate
 *
 * Context: waits for nobody: a worker does, and then lets everybody in. An
 * importer may be a function that hears of the end after this one.
 */
void dvp_gate_recovered(struct dvp_gate *gate)
{
	mutex_lock(&gate->lock);
	gate->nr_recovered = gate->nr_errors;
	mutex_unlock(&gate->lock);
	dvp_gate_get(gate);
	if (!queue_work(recovery_wq, &gate->recovered))
		dvp_gate_put(gate);
}

/**
 * dvp_gate_open() - the first open; the function is enabled
 * @gate: the function's gate
 *
 * First open clears DVP_ERROR: the core has reset the function. While the
 * channel is not back a recovery may be running, or has failed: the error stays
 * until that ends. Without it no link is reset, and a recovery that fails is
 * not always told of.
 *
 * Context: may sleep, but waits for nobody.
 */
void dvp_gate_open(struct dvp_gate *gate)
{
	unsigned long over = BIT(DVP_CLOSED);

	if (gate_pdev(gate)->error_state == pci_channel_io_normal)
		over |= BIT(DVP_ERROR);

	mutex_lock(&gate->lock);
	set_reasons(gate, gate->reasons & ~over);
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
 * Context: may sleep, without a bound if nothing can cut an importer off.
 */
void dvp_gate_close(struct dvp_gate *gate)
{
	struct dvp_buffer *buf = NULL;

	might_sleep();

	mutex_lock(&gate->lock);
	set_reasons(gate, (gate->reasons & ~STATE_REASONS) | BIT(DVP_CLOSED));
	revoke(gate, DVP_DEAD);
	mutex_unlock(&gate->lock);
	wake_up_all(&dvp_waits);

	drain_one(gate, DVP_WAIT_FIRM);
	while ((buf = dvp_gate_next_buffer(gate, buf)))
		dvp_buffer_orphan(buf);
}

/**
 * dvp_gate_add() - a new buffer comes under the gate
 * @gate: the function's gate
 * @buf: the buffer, which nobody knows yet; its state is set
 *
 * A BAR that the owner mapped does not count: that is bounded by what a
 * process may map.
 *
 * Context: the buffer's lock is held for writing.
 *
 * Return: 0, or -ENOSPC when the function has as many as it may.
 */
int dvp_gate_add(struct dvp_gate *gate, struct dvp_buffer *buf)
{
	u32 nr_ranges = buf->layout.nr_ranges;
	int ret = 0;

	lockdep_assert_held_write(&buf->lock);

	spin_lock(&gate->bufs_lock);
	if (!buf->holds) {
		if (gate->nr_bufs >= DVP_MAX_BUFFERS ||
		    nr_ranges > DVP_MAX_RANGES - gate->nr_ranges) {
			ret = -ENOSPC;
			goto unlock;
		}
		buf->counted = true;
		WRITE_ONCE(gate->nr_bufs, gate->nr_bufs + 1);
		WRITE_ONCE(gate->nr_ranges, gate->nr_ranges + nr_ranges);
	}
	buf->state = gate->reasons ? DVP_REVOKED : DVP_USABLE;
	buf->id = gate->next_id++;
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
	WRITE_ONCE(gate->nr_bufs, gate->nr_bufs - 1);
	WRITE_ONCE(gate->nr_ranges,
		   gate->nr_ranges - buf->layout.nr_ranges);
}

/**
 * dvp_gate_uncount() - a buffer is of no use any more
 * @gate: the function's gate
 * @buf: the buffer, dead
 *
 * Whoever has its descriptor may keep it; that is not to hinder the owner.
 *
 * Context: the buffer's lock is held for writing.
 */
void dvp_gate_uncount(struct dvp_gate *gate, struct dvp_buffer *buf)
{
	lockdep_assert_held_write(&buf->lock);

	spin_lock(&gate->bufs_lock);
	uncount(gate, buf);
	spin_unlock(&gate->bufs_lock);
}

/**
 * dvp_gate_del() - a buffer leaves the gate
 * @gate: the function's gate
 * @buf: the buffer
 *
 * Context: the buffer's lock is held for writing.
 */
void dvp_gate_del(struct dvp_gate *gate, struct dvp_buffer *buf)
{
	lockdep_assert_held_write(&buf->lock);

	spin_lock(&gate->bufs_lock);
	list_del_init(&buf->node);
	uncount(gate, buf);
	spin_unlock(&gate->bufs_lock);
}

/**
 * dvp_gate_next_buffer() - get the buffer after another one
 * @gate: the function's gate
 * @prev: the other one, with a reference that is dropped; NULL for the first
 *
 * Return: the buffer, with a reference; NULL at the end.
 */
struct dvp_buffer *dvp_gate_next_buffer(struct dvp_gate *gate,
					struct dvp_buffer *prev)
{
	struct dvp_buffer *buf, *next = NULL;

	spin_lock(&gate->bufs_lock);
	if (prev && !list_empty(&prev->node))
		buf = list_next_entry(prev, node);
	else
		buf = list_first_entry(&gate->bufs, struct dvp_buffer, node);
	list_for_each_entry_from(buf, &gate->bufs, node) {
		/* Where @prev has left the list, its place is looked for. */
		if (prev && buf->id < prev->id)
			continue;
		kref_get(&buf->ref);
		next = buf;
		break;
	}
	spin_unlock(&gate->bufs_lock);
	if (prev)
		dvp_buffer_put(prev);
	return next;
}

int dvp_gates_init(void)
{
	recovery_wq = alloc_workqueue("dmabuf-vfio-recovery", WQ_UNBOUND, 0);
	return recovery_wq ? 0 : -ENOMEM;
}

void dvp_gates_exit(void)
{
	destroy_workqueue(recovery_wq);
}
