// SPDX-License-Identifier: GPL-2.0-only
/*
 * One buffer: who has access to it, and how that ends.
 *
 * A revoke of a buffer has four steps, and the gate takes each for all buffers
 * before the next:
 *
 *	mark	dvp_buffer_mark(): no new access from here on; a worker tells
 *		the importers, since a callback may never return
 *	empty	dvp_buffer_zap(): no CPU has access
 *	wait	dvp_buffer_wait(): for a grace period, until importers have let
 *		go by themselves
 *	cut	dvp_buffer_cut(): importers that are left lose the translation
 *
 * What no IOMMU translates cannot be cut. dvp_buffer_wait_firm() waits for it.
 *
 * None of these takes the reservation lock, which an importer may keep for as
 * long as it likes. What decides is under &dvp_buffer.lock, which no importer
 * ever holds.
 */
#include <linux/dma-fence.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/reboot.h>
#include <linux/slab.h>

#include "dvp.h"
#include "trace.h"

/* A fence cannot be waited for killably: signals are looked at so often. */
#define KILL_POLL	(HZ / 10)

/* Jiffies: the kernel's timers round longer times up, by tens of ms. */
#define EXACT_WAIT	60

/* Woken when an importer has let go. */
DECLARE_WAIT_QUEUE_HEAD(dvp_waits);

/* Tells importers. */
static struct workqueue_struct *tell_wq;

static unsigned int grace_ms = 1000;
module_param(grace_ms, uint, 0644);
MODULE_PARM_DESC(grace_ms, "Milliseconds that importers have to let go of a revoked BAR before they are cut off. (default: 1000)");

/* The machine goes down: nobody waits for an importer any more. */
static bool going_down;

/**
 * dvp_grace() - how long a revoke waits before it cuts importers off
 *
 * Return: jiffies.
 */
unsigned long dvp_grace(void)
{
	return min_t(unsigned long, msecs_to_jiffies(READ_ONCE(grace_ms)),
		     MAX_JIFFY_OFFSET / 2);
}

static void buffer_put_left(struct dvp_buffer *buf)
{
	if (!IS_ERR(buf->left))
		dma_fence_put(buf->left);
	buf->left = NULL;
}

static void buffer_free(struct kref *ref)
{
	struct dvp_buffer *buf = container_of(ref, struct dvp_buffer, ref);

	iput(buf->inode);
	dvp_provider_put(buf->provider);
	buffer_put_left(buf);
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

/*
 * Importers are told by a worker. Restoring and revoking again while one of
 * them does not return makes no second worker wait for it.
 */
static void buffer_tell(struct work_struct *work)
{
	struct dvp_buffer *buf = container_of(work, struct dvp_buffer, tell);
	unsigned int tells;

	dma_resv_lock(&buf->resv, NULL);
	/* A buffer that is marked from here on queues this work again. */
	tells = READ_ONCE(buf->tells);
	if (buf->dmabuf)
		dma_buf_invalidate_mappings(buf->dmabuf);
	dma_resv_unlock(&buf->resv);
	/* Whoever sees it sees what the callbacks did. */
	smp_store_release(&buf->told, tells);
	dvp_wake_waits();
	dvp_buffer_put(buf);
}

static void buffer_tell_later(struct dvp_buffer *buf)
{
	lockdep_assert_held_write(&buf->lock);

	if (list_empty(&buf->atts))
		return;
	WRITE_ONCE(buf->tells, buf->tells + 1);
	kref_get(&buf->ref);
	if (!queue_work(tell_wq, &buf->tell))
		dvp_buffer_put(buf);
}

/**
 * dvp_buffer_init() - make a buffer's locks and lists
 * @buf: the buffer, zeroed
 */
void dvp_buffer_init(struct dvp_buffer *buf)
{
	kref_init(&buf->ref);
	INIT_LIST_HEAD(&buf->node);
	dma_resv_init(&buf->resv);
	INIT_WORK(&buf->tell, buffer_tell);
	init_rwsem(&buf->lock);
	INIT_LIST_HEAD(&buf->atts);
}

/* --- importers */

/**
 * dvp_buffer_attach() - an importer comes
 * @buf: the buffer
 * @att: its attachment
 *
 * Return: 0; -ENODEV if the buffer is dead; -ENOSPC if it has as many as it
 * may.
 */
int dvp_buffer_attach(struct dvp_buffer *buf, struct dvp_attachment *att)
{
	int ret = 0;

	down_write(&buf->lock);
	if (buf->state == DVP_DEAD) {
		ret = -ENODEV;
	} else if (buf->nr_atts >= DVP_MAX_ATTACHMENTS) {
		ret = -ENOSPC;
	} else {
		list_add_tail(&att->node, &buf->atts);
		buf->nr_atts++;
	}
	up_write(&buf->lock);
	return ret;
}

/* All jobs that run now: those that earlier unmaps left are among them. */
static void buffer_keep_left(struct dvp_buffer *buf)
{
	struct dma_fence *jobs;

	lockdep_assert_held_write(&buf->lock);

	if (dma_resv_get_singleton(&buf->resv, DMA_RESV_USAGE_BOOKKEEP, &jobs))
		jobs = ERR_PTR(-ENOMEM);
	buffer_put_left(buf);
	buf->left = jobs;
}

static bool buffer_has_left(struct dvp_buffer *buf)
{
	lockdep_assert_held_write(&buf->lock);

	if (!IS_ERR_OR_NULL(buf->left) && dma_fence_is_signaled(buf->left))
		buffer_put_left(buf);
	return buf->left;
}

/*
 * What is cut is given back without the lock: nobody waits for it, and it may
 * take long.
 */
static void buffer_drop_mapping(struct dvp_buffer *buf,
				struct dvp_attachment *att,
				struct dvp_mapping *map)
{
	bool cut;

	down_write(&buf->lock);
	list_del(&map->node);
	att->nr_maps--;
	cut = map->cut;
	if (cut) {
		att->nr_cut--;
	} else {
		/* Whoever sees none sees the jobs that it left. */
		smp_store_release(&buf->live, buf->live - 1);
		if (!map->domain) {
			buf->direct--;
			buffer_keep_left(buf);
		}
		dvp_dma_unmap(att, &buf->layout, map);
	}
	up_write(&buf->lock);
	if (cut)
		dvp_dma_unmap(att, &buf->layout, map);
}

static void buffer_wake_waits(struct dvp_buffer *buf)
{
	if (READ_ONCE(buf->busy) && !READ_ONCE(buf->live))
		dvp_wake_waits();
}

/**
 * dvp_buffer_detach() - an importer goes
 * @buf: the buffer
 * @att: its attachment; what it did not unmap is unmapped
 */
void dvp_buffer_detach(struct dvp_buffer *buf, struct dvp_attachment *att)
{
	struct dvp_mapping *map, *next;

	/* Nobody but this importer adds to the list or takes from it. */
	list_for_each_entry_safe(map, next, &att->maps, node)
		buffer_drop_mapping(buf, att, map);
	down_write(&buf->lock);
	list_del(&att->node);
	buf->nr_atts--;
	up_write(&buf->lock);
	buffer_wake_waits(buf);
}

/**
 * dvp_buffer_map() - map a buffer for an importer
 * @buf: the buffer
 * @att: the importer's attachment
 * @dir: direction of the DMA
 *
 * Its memory is allocated before the lock is taken: the allocation is charged
 * to the importer's process, which may take long over it.
 *
 * Context: may sleep; the reservation lock is held.
 *
 * Return: the mapping, for dvp_buffer_unmap(); -ENODEV if the buffer is
 * revoked, for now or for good, or as dvp_dma_prepare() and dvp_dma_map() say.
 */
struct dvp_mapping *dvp_buffer_map(struct dvp_buffer *buf,
				   struct dvp_attachment *att,
				   enum dma_data_direction dir)
{
	struct dvp_mapping *map;
	int ret = -ENODEV;

	dma_resv_assert_held(&buf->resv);

	if (READ_ONCE(buf->state) != DVP_USABLE)
		return ERR_PTR(-ENODEV);
	map = dvp_dma_prepare(att, &buf->layout, dir);
	if (IS_ERR(map))
		return map;

	down_write(&buf->lock);
	if (buf->state == DVP_USABLE)
		ret = dvp_dma_map(att, &buf->layout, map);
	if (!ret) {
		list_add_tail(&map->node, &att->maps);
		att->nr_maps++;
		WRITE_ONCE(buf->live, buf->live + 1);
		if (!map->domain)
			buf->direct++;
	}
	up_write(&buf->lock);
	if (!ret)
		return map;
	kvfree(map);
	return ERR_PTR(ret);
}

/**
 * dvp_buffer_unmap() - an importer lets go
 * @buf: the buffer
 * @att: its attachment
 * @map: from dvp_buffer_map(); cut or not
 *
 * When it returns the device's IOMMU lets nothing through any more.
 *
 * Context: may sleep; the reservation lock is held.
 */
void dvp_buffer_unmap(struct dvp_buffer *buf, struct dvp_attachment *att,
		      struct dvp_mapping *map)
{
	dma_resv_assert_held(&buf->resv);

	buffer_drop_mapping(buf, att, map);
	buffer_wake_waits(buf);
}

/* --- the revoke's steps */

static void buffer_mark(struct dvp_buffer *buf, enum dvp_state state)
{
	bool firm = buf->direct || buf->phys_known || IS_ERR(buf->left);

	lockdep_assert_held_write(&buf->lock);

	if (buf->state == DVP_USABLE) {
		WRITE_ONCE(buf->changes, buf->changes + 1);
		buffer_tell_later(buf);
		WRITE_ONCE(buf->firm, firm);
		WRITE_ONCE(buf->all_jobs, buf->live || firm);
		WRITE_ONCE(buf->busy, buf->all_jobs || buffer_has_left(buf));
	}
	if (buf->state != DVP_DEAD)
		WRITE_ONCE(buf->state, state);
}

/**
 * dvp_buffer_mark() - from here on nobody gets access
 * @buf: the buffer
 * @state: DVP_REVOKED or DVP_DEAD, what it is from now on
 *
 * New mappings are refused, those of processes are not filled any more, and
 * the importers will be told.
 *
 * Context: may sleep, but waits for nobody.
 *
 * Return: true if somebody may have access still: see dvp_buffer_wait().
 */
bool dvp_buffer_mark(struct dvp_buffer *buf, enum dvp_state state)
{
	bool busy;

	down_write(&buf->lock);
	buffer_mark(buf, state);
	busy = buf->busy;
	up_write(&buf->lock);
	return busy;
}

/**
 * dvp_buffer_is_mapped() - does a process have a mapping?
 * @buf: a buffer that is not usable: another mapping has nothing in it
 */
bool dvp_buffer_is_mapped(struct dvp_buffer *buf)
{
	return atomic_read(&buf->cpu_maps);
}

/**
 * dvp_buffer_zap() - take every CPU's access away
 * @buf: a buffer that is not usable; what is mapped faults from now on
 *
 * Context: may sleep. Waits for nobody but who follows the address spaces that
 * it is mapped in: their MMU notifiers are called.
 */
void dvp_buffer_zap(struct dvp_buffer *buf)
{
	if (dvp_buffer_is_mapped(buf))
		unmap_mapping_range(buf->inode->i_mapping, 0, 0, true);
}

/**
 * dvp_buffer_kill() - mark a buffer that its owner takes back for good
 * @buf: the buffer
 * @dvp: the owner's function, open
 *
 * Context: may sleep, but waits for nobody.
 *
 * Return: 0; -ENODEV if the buffer is not of that function and tenure, -EBADFD
 * if it is dead already.
 */
int dvp_buffer_kill(struct dvp_buffer *buf, struct dvp_device *dvp)
{
	int ret = 0;

	down_write(&buf->lock);
	if (buf->provider != dvp->provider) {
		ret = -ENODEV;
	} else if (buf->state == DVP_DEAD) {
		ret = -EBADFD;
	} else {
		trace_dvp_revoke_for_good(buf);
		buffer_mark(buf, DVP_DEAD);
		dvp_wake_faults(&dvp->gate);
	}
	up_write(&buf->lock);
	return ret;
}

/**
 * dvp_buffer_know_phys() - note that somebody has the physical address
 * @buf: the buffer
 *
 * Return: true if the buffer is usable; then a revoke waits until its importers
 * have been told.
 */
bool dvp_buffer_know_phys(struct dvp_buffer *buf)
{
	bool usable;

	down_write(&buf->lock);
	usable = buf->state == DVP_USABLE;
	if (usable)
		buf->phys_known = true;
	up_write(&buf->lock);
	return usable;
}

/**
 * dvp_buffer_restore() - importers may map again
 * @buf: a revoked buffer
 *
 * They will be told. A mapping that was cut stays so.
 *
 * Context: may sleep, but waits for nobody.
 */
void dvp_buffer_restore(struct dvp_buffer *buf)
{
	down_write(&buf->lock);
	if (buf->state == DVP_REVOKED) {
		WRITE_ONCE(buf->state, DVP_USABLE);
		WRITE_ONCE(buf->changes, buf->changes + 1);
		WRITE_ONCE(buf->busy, false);
		buffer_tell_later(buf);
	}
	up_write(&buf->lock);
}

/* The counts are hints: buffer_set_drained() takes the changers' lock. */
static bool buffer_let_go(struct dvp_buffer *buf)
{
	if (READ_ONCE(going_down))
		return true;
	/* Pairs with buffer_drop_mapping(): the jobs it left are seen. */
	return !smp_load_acquire(&buf->live) &&
	       /* Pairs with buffer_tell(): so is what the callbacks did. */
	       smp_load_acquire(&buf->told) == READ_ONCE(buf->tells);
}

/* How often the log names late importers */
static unsigned long report_period(void)
{
	return max_t(unsigned long, dvp_grace(), HZ);
}

static void buffer_report_late(struct dvp_buffer *buf)
{
	struct dvp_attachment *att;
	char driver[32];

	down_read(&buf->lock);
	list_for_each_entry(att, &buf->atts, node)
		if (att->nr_maps > att->nr_cut)
			dev_warn_ratelimited(att->dev,
					     "importer %s has not let go of a revoked BAR: nothing can cut it off, waiting\n",
					     dev_driver_string(att->dev));
	if (buf->gate && dvp_buffer_job(buf, driver, sizeof(driver)))
		dev_warn_ratelimited(dvp_gate_dev(buf->gate),
				     "importer %s has not finished a job on a revoked BAR: waiting\n",
				     driver);
	up_read(&buf->lock);
}

/* Until the deadline; or, if that bounds nothing, with a report at each. */
static int buffer_wait_job(struct dvp_buffer *buf, struct dma_fence *fence,
			   unsigned long *deadline, enum dvp_wait wait,
			   bool bounded)
{
	for (;;) {
		long left = *deadline - jiffies;
		long slice = clamp(left, 0l, (long)KILL_POLL);

		if (READ_ONCE(going_down) ||
		    dma_fence_wait_timeout(fence, false, slice) > 0)
			return 0;
		if (dvp_killed(wait))
			return -EINTR;
		if (left > 0)
			continue;
		if (bounded)
			return -EBUSY;
		buffer_report_late(buf);
		*deadline = jiffies + report_period();
	}
}

static int buffer_wait_left(struct dvp_buffer *buf, unsigned long deadline,
			    enum dvp_wait wait, bool bounded)
{
	struct dma_fence *jobs = NULL;
	int ret;

	down_read(&buf->lock);
	if (!IS_ERR_OR_NULL(buf->left))
		jobs = dma_fence_get(buf->left);
	up_read(&buf->lock);
	if (!jobs)
		return 0;
	ret = buffer_wait_job(buf, jobs, &deadline, wait, bounded);
	dma_fence_put(jobs);
	return ret;
}

/*
 * The jobs that count are those there are when the last mapping goes: whoever
 * has the descriptor may add fences at any time, and none of these is waited
 * for.
 */
static int buffer_wait_jobs(struct dvp_buffer *buf, unsigned long deadline,
			    enum dvp_wait wait, bool bounded)
{
	struct dma_fence **fences;
	unsigned int nr, i;
	int ret;

	if (!READ_ONCE(buf->all_jobs))
		return buffer_wait_left(buf, deadline, wait, bounded);
	ret = dma_resv_get_fences(&buf->resv, DMA_RESV_USAGE_BOOKKEEP, &nr,
				  &fences);
	if (ret)
		return ret;
	for (i = 0; i < nr; i++) {
		ret = ret ?: buffer_wait_job(buf, fences[i], &deadline, wait,
					     bounded);
		dma_fence_put(fences[i]);
	}
	kfree(fences);
	return ret;
}

/* @changes: before the wait; if there was a revoke since, that is not over. */
static void buffer_set_drained(struct dvp_buffer *buf, unsigned int changes)
{
	down_write(&buf->lock);
	if (buf->changes == changes) {
		buf->phys_known = false;
		buffer_put_left(buf);
		WRITE_ONCE(buf->busy, false);
	}
	up_write(&buf->lock);
}

/* Until they have, the deadline, or a kill if that may end it. */
static void buffer_wait_let_go(struct dvp_buffer *buf, unsigned long deadline,
			       enum dvp_wait wait)
{
	long left;

	while (!buffer_let_go(buf) && !dvp_killed(wait) &&
	       (left = deadline - jiffies) > 0) {
		left = min_t(long, left, EXACT_WAIT);
		if (wait == DVP_WAIT_KILLABLE)
			wait_event_killable_timeout(dvp_waits,
						    buffer_let_go(buf), left);
		else
			wait_event_timeout(dvp_waits, buffer_let_go(buf), left);
	}
}

/**
 * dvp_buffer_wait() - give importers time to let go
 * @buf: a buffer after dvp_buffer_mark()
 * @deadline: jiffies, the end of their time
 * @wait: DVP_WAIT_KILLABLE: a kill ends it, too
 *
 * They have let go when they have been told, their mappings are gone, and the
 * jobs that were there then are done. A buffer that nobody had mapped when it
 * was marked waits for nothing.
 *
 * Context: sleeps.
 *
 * Return: true if all have.
 */
bool dvp_buffer_wait(struct dvp_buffer *buf, unsigned long deadline,
		     enum dvp_wait wait)
{
	unsigned int changes = READ_ONCE(buf->changes);

	if (!READ_ONCE(buf->busy))
		return true;
	buffer_wait_let_go(buf, deadline, wait);
	if (!buffer_let_go(buf) || buffer_wait_jobs(buf, deadline, wait, true))
		return false;
	buffer_set_drained(buf, changes);
	return true;
}

static void buffer_cut_attachment(struct dvp_buffer *buf,
				  struct dvp_attachment *att)
{
	struct dvp_mapping *map;
	unsigned int nr = 0;

	lockdep_assert_held_write(&buf->lock);

	list_for_each_entry(map, &att->maps, node) {
		if (map->cut || !map->domain)
			continue;
		dvp_dma_cut(att, &buf->layout, map);
		map->cut = true;
		WRITE_ONCE(buf->live, buf->live - 1);
		nr++;
	}
	att->nr_cut += nr;
	if (nr)
		dev_warn_ratelimited(att->dev,
				     "importer %s did not let go of a revoked BAR: cut off\n",
				     dev_driver_string(att->dev));
}

/**
 * dvp_buffer_cut() - take the translation away from late importers
 * @buf: a buffer after dvp_buffer_wait()
 *
 * What an importer had mapped leads nowhere from here on, and its addresses
 * are not given to anybody before it unmaps.
 *
 * Context: may sleep, but waits for nobody.
 *
 * Return: true if nobody has access any more; false if somebody has it by a
 * way that cannot be cut.
 */
bool dvp_buffer_cut(struct dvp_buffer *buf)
{
	struct dvp_attachment *att;
	bool done;

	down_write(&buf->lock);
	if (buf->busy) {
		list_for_each_entry(att, &buf->atts, node)
			buffer_cut_attachment(buf, att);
		if (!buf->firm) {
			/* The jobs of those that were cut reach nothing. */
			WRITE_ONCE(buf->all_jobs, false);
			WRITE_ONCE(buf->busy, buffer_has_left(buf));
		}
	}
	done = !buf->busy;
	up_write(&buf->lock);
	return done;
}

/**
 * dvp_buffer_wait_firm() - wait for importers that cannot be cut off
 * @buf: a buffer after dvp_buffer_cut()
 * @wait: DVP_WAIT_KILLABLE or DVP_WAIT_FIRM
 *
 * Logs the late importers once in each grace period.
 *
 * Context: sleeps, without a bound.
 *
 * Return: 0 when nobody has access any more; -EINTR if killed.
 */
int dvp_buffer_wait_firm(struct dvp_buffer *buf, enum dvp_wait wait)
{
	while (READ_ONCE(buf->busy)) {
		unsigned int changes = READ_ONCE(buf->changes);
		unsigned long period = report_period();
		int ret;

		buffer_report_late(buf);
		/* Whoever has been cut off need not be told in time. */
		if (READ_ONCE(buf->firm)) {
			buffer_wait_let_go(buf, jiffies + period, wait);
			if (dvp_killed(wait))
				return -EINTR;
			if (!buffer_let_go(buf))
				continue;
		}
		ret = buffer_wait_jobs(buf, jiffies + period, wait, false);
		if (ret == -EINTR)
			return ret;
		/* Out of memory the jobs are not known: ask again. */
		if (ret)
			schedule_timeout_uninterruptible(KILL_POLL);
		else
			buffer_set_drained(buf, changes);
	}
	return 0;
}

/**
 * dvp_buffer_drain() - wait until nobody has access to one buffer
 * @buf: a buffer after dvp_buffer_mark(); processes have lost it
 * @deadline: jiffies, when importers are cut off
 * @wait: for whom nothing can cut off
 *
 * Context: sleeps, without a bound if nothing can cut somebody off.
 *
 * Return: 0, or -EINTR if killed.
 */
int dvp_buffer_drain(struct dvp_buffer *buf, unsigned long deadline,
		     enum dvp_wait wait)
{
	if (dvp_buffer_wait(buf, deadline, wait))
		return 0;
	/* Even for a caller that was killed: nobody else would. */
	if (dvp_buffer_cut(buf))
		return 0;
	return dvp_buffer_wait_firm(buf, wait);
}

/**
 * dvp_buffer_job() - whose job is still running on the buffer?
 * @buf: the buffer
 * @driver: out, name of a driver, if there is a job; a fence does not know
 *	the device
 * @size: bytes of @driver
 *
 * Context: any; takes no lock.
 *
 * Return: true if there is a job.
 */
bool dvp_buffer_job(struct dvp_buffer *buf, char *driver, size_t size)
{
	struct dma_resv_iter cursor;
	const char __rcu *name;
	struct dma_fence *fence;
	bool found = false;

	dma_resv_iter_begin(&cursor, &buf->resv, DMA_RESV_USAGE_BOOKKEEP);
	dma_resv_for_each_fence_unlocked(&cursor, fence) {
		if (dma_fence_is_signaled(fence))
			continue;
		rcu_read_lock();
		name = dma_fence_driver_name(fence);
		strscpy(driver, rcu_dereference(name), size);
		rcu_read_unlock();
		found = true;
		break;
	}
	dma_resv_iter_end(&cursor);
	return found;
}

/* --- the machine goes down */

static int going_down_notify(struct notifier_block *nb, unsigned long event,
			     void *data)
{
	WRITE_ONCE(going_down, true);
	dvp_wake_waits();
	return NOTIFY_DONE;
}

static struct notifier_block going_down_nb = {
	.notifier_call = going_down_notify,
};

int dvp_buffers_init(void)
{
	/*
	 * Per CPU: one worker runs what a revoke queued, without a switch for
	 * each buffer, and another takes over where a callback sleeps. Not for
	 * reclaim: callbacks may wait for work that is not.
	 */
	tell_wq = alloc_workqueue("dmabuf-vfio", WQ_PERCPU | WQ_HIGHPRI,
				  WQ_MAX_ACTIVE);
	if (!tell_wq)
		return -ENOMEM;
	register_reboot_notifier(&going_down_nb);
	return 0;
}

void dvp_buffers_exit(void)
{
	unregister_reboot_notifier(&going_down_nb);
	destroy_workqueue(tell_wq);
}
