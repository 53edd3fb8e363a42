// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gate: may a function's memory be reached now, and why not?
 *
 * The first reason to block revokes every buffer. Its giver waits until nobody
 * has access, then changes the hardware. When the last reason goes, the buffers
 * are restored. An operation that changes the function blocks from before the
 * change until it has read the resulting state. So the last one to read sees
 * the final state, and no access is restored on a stale one.
 *
 * A transition is made under the gate's lock. The wait for importers is not: it
 * holds up the waiter only, and relies on one reason staying set meanwhile,
 * the waiter's own.
 *
 * The gate knows the reasons and which buffers there are; what a revoke means
 * to one of them is buffer.c's business.
 */
#include <linux/ktime.h>
#include <linux/slab.h>

#include "dvp.h"
#include "trace.h"

/* The reasons that are read off the function, not given by somebody. */
#define STATE_REASONS	(DMABUF_VFIO_REASON_MEMORY_OFF |	\
			 DMABUF_VFIO_REASON_D3HOT |		\
			 DMABUF_VFIO_REASON_LOW_POWER |		\
			 DMABUF_VFIO_REASON_PF)

/* Those that end by themselves: an access waits for that. */
#define TRANSIT_REASONS	(DMABUF_VFIO_REASON_CHANGING |		\
			 DMABUF_VFIO_REASON_RESET |		\
			 DMABUF_VFIO_REASON_SLEEP)

/* Those of a PF that its VFs share. */
#define PF_REASONS	(DMABUF_VFIO_REASON_RESET |		\
			 DMABUF_VFIO_REASON_ERROR |		\
			 DMABUF_VFIO_REASON_D3HOT |		\
			 DMABUF_VFIO_REASON_GONE |		\
			 DMABUF_VFIO_REASON_SLEEP)

static LIST_HEAD(gates);		/* by &dvp_gate.id */
static u64 next_gate_id;
static DEFINE_SPINLOCK(gates_lock);	/* both; innermost */

/* Apart from what tells importers: those may all be stuck. */
static struct workqueue_struct *recovery_wq;

static void gate_recovered(struct work_struct *work);

void dvp_gate_init(struct dvp_gate *gate)
{
	mutex_init(&gate->lock);
	init_waitqueue_head(&gate->faults);
	INIT_WORK(&gate->recovered, gate_recovered);
	INIT_LIST_HEAD(&gate->entry);
	spin_lock_init(&gate->bufs_lock);
	gate->reasons = DMABUF_VFIO_REASON_CLOSED;
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

/* Added to under the gate's lock, so in the order of the transitions. */
static struct dvp_events *gate_events(struct dvp_gate *gate)
{
	lockdep_assert_held(&gate->lock);

	return container_of(gate, struct dvp_device, gate)->events;
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

static bool is_pf(struct pci_dev *pdev)
{
	/* Constant, beside bits of the same word that the PCI core changes. */
	return data_race(!!pdev->is_physfn);
}

static bool is_vf(struct pci_dev *pdev)
{
	/* The same. */
	return data_race(!!pdev->is_virtfn);
}

static struct pci_dev *pf_of(struct pci_dev *pdev)
{
	/* The same: this asks whether it is a VF. */
	return data_race(pci_physfn(pdev));
}

/* What a VF cannot do without of its PF: if that is ours, its gate says. */
static bool gate_pf_blocks(struct pci_dev *vf)
{
	struct pci_dev *pf = pf_of(vf);
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

static struct dvp_gate *gate_next_vf(struct dvp_gate *pf, struct dvp_gate *prev)
{
	struct pci_dev *pdev = gate_pdev(pf);

	if (!is_pf(pdev))
		return NULL;
	do {
		prev = dvp_gate_next(prev);
	} while (prev && (!is_vf(gate_pdev(prev)) ||
			  pf_of(gate_pdev(prev)) != pdev));
	return prev;
}

/* --- transitions */

static void gate_end_revoke(struct dvp_gate *gate)
{
	u64 us = ktime_us_delta(ktime_get(), gate->revoke_start);

	WRITE_ONCE(gate->busy, false);
	WRITE_ONCE(gate->last_revoke_us, us);
	WRITE_ONCE(gate->max_revoke_us, max(gate->max_revoke_us, us));
	trace_dvp_revoke_end(gate_pdev(gate), READ_ONCE(gate->reasons), us);
}

/*
 * A buffer that was taken back, by a caller who was killed before all had let
 * go, is forgotten here once they have.
 */
static bool gate_mark(struct dvp_buffer *buf, enum dvp_state state)
{
	bool busy = dvp_buffer_mark(buf, state);

	if (!busy && state == DVP_REVOKED &&
	    READ_ONCE(buf->state) == DVP_DEAD) {
		dvp_buffer_zap(buf);
		dvp_gate_del(buf);
	}
	return busy;
}

/* All are told, then all mappings of processes are emptied. */
static void gate_revoke(struct dvp_gate *gate, enum dvp_state state)
{
	struct dvp_buffer *buf = NULL;
	bool busy = false, mapped = false;

	lockdep_assert_held(&gate->lock);

	gate->revoke_start = ktime_get();
	/* A revoke that is still waited for keeps its deadline. */
	if (!READ_ONCE(gate->busy))
		WRITE_ONCE(gate->deadline, jiffies + dvp_grace());
	WRITE_ONCE(gate->nr_revokes, gate->nr_revokes + 1);
	trace_dvp_revoke_begin(gate_pdev(gate), gate->reasons, gate->nr_bufs);
	while ((buf = dvp_gate_next_buffer(gate, buf))) {
		busy |= gate_mark(buf, state);
		mapped |= dvp_buffer_is_mapped(buf);
	}
	while (mapped && (buf = dvp_gate_next_buffer(gate, buf)))
		dvp_buffer_zap(buf);
	/* Before the wait: the late importer may be a reader of events. */
	dvp_events_add(gate_events(gate),
		       state == DVP_DEAD ? DMABUF_VFIO_EVENT_CLOSED :
					   DMABUF_VFIO_EVENT_REVOKED,
		       gate->reasons | gate->coming);
	WRITE_ONCE(gate->busy, busy);
	if (!busy)
		gate_end_revoke(gate);
}

static void gate_restore(struct dvp_gate *gate)
{
	struct dvp_buffer *buf = NULL;

	lockdep_assert_held(&gate->lock);

	WRITE_ONCE(gate->busy, false);
	while ((buf = dvp_gate_next_buffer(gate, buf)))
		dvp_buffer_restore(buf);
	WRITE_ONCE(gate->nr_restores, gate->nr_restores + 1);
	dvp_events_add(gate_events(gate), DMABUF_VFIO_EVENT_RESTORED, 0);
	trace_dvp_restore(gate_pdev(gate), gate->nr_bufs);
}

static void gate_set_reasons(struct dvp_gate *gate, u32 reasons)
{
	spin_lock(&gate->bufs_lock);
	WRITE_ONCE(gate->reasons, reasons);
	spin_unlock(&gate->bufs_lock);
}

/* From the reasons there were to those there are now. */
static void gate_transition(struct dvp_gate *gate, u32 reasons)
{
	u32 before = gate->reasons;

	lockdep_assert_held(&gate->lock);

	if (reasons == before)
		return;
	gate_set_reasons(gate, reasons);
	if (!before)
		gate_revoke(gate, DVP_REVOKED);
	else if (!reasons)
		gate_restore(gate);
	dvp_wake_faults(gate);
}

/*
 * A waiter without a reason of its own, such as one for a PF's change at its
 * VF, may be late: by now there may be another revoke, which goes on.
 */
static void gate_end_drain(struct dvp_gate *gate, unsigned long revoke)
{
	mutex_lock(&gate->lock);
	if (gate->nr_revokes == revoke)
		gate_end_revoke(gate);
	mutex_unlock(&gate->lock);
}

/*
 * Each step is done with all buffers before the next, so that it all takes as
 * long as the slowest importer does, and no longer than the grace period.
 */
static int gate_drain_one(struct dvp_gate *gate, enum dvp_wait wait)
{
	unsigned long restores = READ_ONCE(gate->nr_restores);
	unsigned long revoke = READ_ONCE(gate->nr_revokes);
	struct dvp_buffer *buf = NULL;
	bool done = true;
	int ret = 0;

	if (!READ_ONCE(gate->busy) || wait == DVP_WAIT_NOT)
		return 0;
	while ((buf = dvp_gate_next_buffer(gate, buf)))
		done &= dvp_buffer_wait(buf, READ_ONCE(gate->deadline), wait);
	if (!done && dvp_killed(wait))
		return -EINTR;
	/* Importers that are late now belong to a later revoke. */
	if (!done && READ_ONCE(gate->nr_restores) != restores)
		return 0;
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
		gate_end_drain(gate, revoke);
	return ret;
}

/* Wait until nobody has access to the function, or to VFs of it. */
static int gate_drain(struct dvp_gate *gate, enum dvp_wait wait)
{
	struct dvp_gate *vf = NULL;
	int ret;

	ret = gate_drain_one(gate, wait);
	while ((vf = gate_next_vf(gate, vf)))
		ret = ret ?: gate_drain_one(vf, wait);
	return ret;
}

/*
 * The user's view of COMMAND counts, and the hardware's too: a link reset by
 * error recovery turns decoding off behind everybody's back, and it stays off
 * until the user resets the function or writes COMMAND. All ones means that
 * the function did not answer.
 */
static bool gate_memory_off(struct vfio_pci_core_device *core)
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
static u32 gate_read_state(struct vfio_pci_core_device *core)
{
	u32 reasons = 0;

	if (is_vf(core->pdev) && gate_pf_blocks(core->pdev))
		reasons = DMABUF_VFIO_REASON_PF;
	if (core->pm_runtime_engaged)
		return reasons | DMABUF_VFIO_REASON_LOW_POWER;
	if (core->pdev->current_state != PCI_D0)
		return reasons | DMABUF_VFIO_REASON_D3HOT;
	if (gate_memory_off(core))
		reasons |= DMABUF_VFIO_REASON_MEMORY_OFF;
	return reasons;
}

/* Without a user there is no state to read. */
static u32 gate_settled_reasons(struct dvp_gate *gate)
{
	u32 reasons = gate->reasons & ~STATE_REASONS;

	if (reasons & DMABUF_VFIO_REASON_CLOSED)
		return reasons;
	return reasons | gate_read_state(gate_core(gate));
}

static void gate_settle_vfs(struct dvp_gate *gate)
{
	struct dvp_gate *vf = NULL;

	while ((vf = gate_next_vf(gate, vf)))
		dvp_gate_settle(vf, false);
}

/*
 * Not every kernel tells drivers of a recovery that failed: so an error is not
 * waited for longer than DVP_RECOVERY.
 */
static bool gate_reasons_end(struct dvp_gate *gate, u32 reasons)
{
	return reasons & TRANSIT_REASONS ||
	       (reasons & DMABUF_VFIO_REASON_ERROR &&
		time_before(jiffies, READ_ONCE(gate->error_end)));
}

/* Of a PF that somebody else drives nothing is known. */
static bool gate_pf_in_transit(struct pci_dev *vf)
{
	struct pci_dev *pf = pf_of(vf);
	struct dvp_gate *gate;
	bool transit = false;

	spin_lock(&gates_lock);
	list_for_each_entry(gate, &gates, entry) {
		u32 reasons = READ_ONCE(gate->reasons);

		/* If none is left its VFs are about to be settled. */
		if (gate_pdev(gate) == pf)
			transit = READ_ONCE(gate->coming) ||
				  !(reasons & PF_REASONS) ||
				  gate_reasons_end(gate, reasons);
	}
	spin_unlock(&gates_lock);
	return transit;
}

/**
 * dvp_gate_in_transit() - will the function be settled soon?
 * @gate: the gate
 *
 * Context: any.
 *
 * Return: true if a transition runs that ends by itself, one of the PF
 * included.
 */
bool dvp_gate_in_transit(struct dvp_gate *gate)
{
	u32 reasons = READ_ONCE(gate->reasons);

	/* Buffers that are revoked still are about to be restored. */
	if (!reasons)
		return true;
	if (reasons & (DMABUF_VFIO_REASON_CLOSED | DMABUF_VFIO_REASON_GONE))
		return false;
	return gate_reasons_end(gate, reasons) ||
	       (reasons & DMABUF_VFIO_REASON_PF &&
		gate_pf_in_transit(gate_pdev(gate)));
}

/**
 * dvp_gate_block() - keep everybody off the function's memory
 * @gate: the function's gate
 * @reason: DMABUF_VFIO_REASON_*, why; no harm if given before
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
int dvp_gate_block(struct dvp_gate *gate, u32 reason,
		   enum dvp_wait wait)
{
	might_sleep();

	mutex_lock(&gate->lock);
	if (reason == DMABUF_VFIO_REASON_ERROR) {
		gate->nr_errors++;
		WRITE_ONCE(gate->error_end, jiffies + DVP_RECOVERY);
	}
	if (reason == DMABUF_VFIO_REASON_RESET)
		gate->nr_resets++;
	gate_transition(gate, gate->reasons | reason);
	mutex_unlock(&gate->lock);
	gate_settle_vfs(gate);
	return gate_drain(gate, wait);
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
void dvp_gate_unblock(struct dvp_gate *gate, u32 reason)
{
	mutex_lock(&gate->lock);
	/* A last close and somebody else may be resetting at the same time. */
	if (reason == DMABUF_VFIO_REASON_RESET && gate->nr_resets &&
	    --gate->nr_resets)
		reason = 0;
	gate_transition(gate, gate_settled_reasons(gate) & ~reason);
	mutex_unlock(&gate->lock);
	gate_settle_vfs(gate);
}

static void gate_begin_change(struct dvp_gate *gate, u32 coming)
{
	mutex_lock(&gate->lock);
	gate->nr_changes++;
	WRITE_ONCE(gate->coming, gate->coming | coming);
	gate_transition(gate, gate->reasons | DMABUF_VFIO_REASON_CHANGING);
	mutex_unlock(&gate->lock);
	gate_settle_vfs(gate);
}

/**
 * dvp_gate_change() - functions are about to change and may become unreachable
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
		    u32 coming)
{
	unsigned int i;
	int ret = 0;

	might_sleep();

	for (i = 0; i < nr; i++)
		gate_begin_change(gates[i], coming);
	for (i = 0; i < nr && !ret; i++)
		ret = gate_drain(gates[i], DVP_WAIT_KILLABLE);
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
	u32 reasons;

	mutex_lock(&gate->lock);
	reasons = gate_settled_reasons(gate);
	if (changed && !--gate->nr_changes) {
		reasons &= ~DMABUF_VFIO_REASON_CHANGING;
		WRITE_ONCE(gate->coming, 0);
	}
	gate_transition(gate, reasons);
	mutex_unlock(&gate->lock);
	gate_settle_vfs(gate);
}

/* Nobody is let in before all have let go, and a later error counts anew. */
static void gate_recovered(struct work_struct *work)
{
	struct dvp_gate *gate = container_of(work, struct dvp_gate, recovered);

	gate_drain(gate, DVP_WAIT_FIRM);
	mutex_lock(&gate->lock);
	if (gate->nr_recovered == gate->nr_errors)
		gate_transition(gate, gate_settled_reasons(gate) &
				      ~DMABUF_VFIO_REASON_ERROR);
	mutex_unlock(&gate->lock);
	gate_settle_vfs(gate);
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
 * The first open ends an error: the core has reset the function. While the
 * channel is not back a recovery may be running, or has failed: the error stays
 * until that ends. Without it no link is reset, and a recovery that fails is
 * not always told of.
 *
 * Context: may sleep, but waits for nobody.
 */
void dvp_gate_open(struct dvp_gate *gate)
{
	u32 over = DMABUF_VFIO_REASON_CLOSED;

	if (gate_pdev(gate)->error_state == pci_channel_io_normal)
		over |= DMABUF_VFIO_REASON_ERROR;

	mutex_lock(&gate->lock);
	gate_set_reasons(gate, gate->reasons & ~over);
	gate_set_reasons(gate, gate_settled_reasons(gate));
	dvp_events_add(gate_events(gate), DMABUF_VFIO_EVENT_OPENED,
		       gate->reasons);
	mutex_unlock(&gate->lock);
	/* With an error its VFs lose a reason, too. */
	gate_settle_vfs(gate);
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
	gate_set_reasons(gate, (gate->reasons & ~STATE_REASONS) |
			 DMABUF_VFIO_REASON_CLOSED);
	gate_revoke(gate, DVP_DEAD);
	dvp_wake_faults(gate);
	mutex_unlock(&gate->lock);

	gate_drain_one(gate, DVP_WAIT_FIRM);
	while ((buf = dvp_gate_next_buffer(gate, buf)))
		dvp_gate_del(buf);
}

static void gate_uncount(struct dvp_gate *gate, struct dvp_buffer *buf)
{
	lockdep_assert_held(&gate->bufs_lock);

	if (!buf->counted)
		return;
	buf->counted = false;
	WRITE_ONCE(gate->nr_bufs, gate->nr_bufs - 1);
	WRITE_ONCE(gate->nr_ranges,
		   gate->nr_ranges - buf->layout.nr_ranges);
}

static int gate_add(struct dvp_gate *gate, struct dvp_buffer *buf)
{
	u32 nr_ranges = buf->layout.nr_ranges;

	lockdep_assert_held(&gate->bufs_lock);

	if (!buf->layout.own) {
		if (gate->nr_bufs >= DVP_MAX_BUFFERS ||
		    nr_ranges > DVP_MAX_RANGES - gate->nr_ranges)
			return -ENOSPC;
		buf->counted = true;
		WRITE_ONCE(gate->nr_bufs, gate->nr_bufs + 1);
		WRITE_ONCE(gate->nr_ranges, gate->nr_ranges + nr_ranges);
	}
	buf->state = gate->reasons ? DVP_REVOKED : DVP_USABLE;
	buf->gate = gate;
	buf->id = gate->next_id++;
	list_add_tail(&buf->node, &gate->bufs);
	return 0;
}

/**
 * dvp_gate_add() - a new buffer comes under the gate
 * @gate: the function's gate
 * @buf: the buffer, which nobody knows yet
 *
 * A BAR that the owner mapped does not count: that is bounded by what a
 * process may map.
 *
 * Return: 0, or -ENOSPC when the function has as many as it may.
 */
int dvp_gate_add(struct dvp_gate *gate, struct dvp_buffer *buf)
{
	int ret;

	spin_lock(&gate->bufs_lock);
	ret = gate_add(gate, buf);
	spin_unlock(&gate->bufs_lock);
	return ret;
}

/**
 * dvp_gate_del() - a buffer and its function forget each other
 * @buf: the buffer, released, or dead with nobody having access
 *
 * Context: may sleep, but waits for nobody.
 */
void dvp_gate_del(struct dvp_buffer *buf)
{
	struct dvp_gate *gate;

	down_write(&buf->lock);
	gate = buf->gate;
	if (gate) {
		spin_lock(&gate->bufs_lock);
		list_del_init(&buf->node);
		gate_uncount(gate, buf);
		spin_unlock(&gate->bufs_lock);
		buf->gate = NULL;
	}
	up_write(&buf->lock);
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
