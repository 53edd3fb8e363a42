// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happened to a function, for readers of its node.
 *
 * Events have numbers, from zero on. The last ones are kept; a reader keeps the
 * number of the one it reads next.
 */
#include <linux/ktime.h>
#include <linux/poll.h>

#include "dvp.h"

/**
 * dvp_events_init() - no events yet
 * @events: zeroed
 */
void dvp_events_init(struct dvp_events *events)
{
	spin_lock_init(&events->lock);
	init_waitqueue_head(&events->wait);
}

/**
 * dvp_events_add() - something happened
 * @events: the function's events
 * @type: DMABUF_VFIO_EVENT_*
 * @reasons: DMABUF_VFIO_REASON_*, why
 *
 * Context: never waits for a reader.
 */
void dvp_events_add(struct dvp_events *events, u32 type, u32 reasons)
{
	struct dmabuf_vfio_event *event;

	spin_lock(&events->lock);
	event = &events->kept[events->nr++ % DVP_EVENTS_KEPT];
	event->seq = events->nr;
	event->time_ns = ktime_get_ns();
	event->type = type;
	event->reasons = reasons;
	spin_unlock(&events->lock);
	if (wq_has_sleeper(&events->wait))
		wake_up_interruptible(&events->wait);
}

/**
 * dvp_events_end() - nothing will happen any more
 * @events: the function's events
 */
void dvp_events_end(struct dvp_events *events)
{
	spin_lock(&events->lock);
	events->gone = true;
	spin_unlock(&events->lock);
	wake_up_interruptible(&events->wait);
}

/**
 * dvp_events_next() - the number that the next event will have
 * @events: the function's events
 */
u64 dvp_events_next(struct dvp_events *events)
{
	u64 next;

	spin_lock(&events->lock);
	next = events->nr;
	spin_unlock(&events->lock);
	return next;
}

/**
 * dvp_events_peek() - get an event
 * @events: the function's events
 * @next: its number; the oldest one is read if that is no longer kept
 * @event: out; says how many were lost before it
 *
 * Return: false if there is none yet.
 */
bool dvp_events_peek(struct dvp_events *events, u64 next,
		     struct dmabuf_vfio_event *event)
{
	u64 first = next;
	bool found;

	spin_lock(&events->lock);
	if (events->nr - first > DVP_EVENTS_KEPT)
		first = events->nr - DVP_EVENTS_KEPT;
	found = first != events->nr;
	if (found) {
		*event = events->kept[first % DVP_EVENTS_KEPT];
		event->lost = min_t(u64, first - next, U32_MAX);
	}
	spin_unlock(&events->lock);
	return found;
}

/**
 * dvp_events_poll() - what a reader can expect, as poll(2) says it
 * @events: the function's events
 * @next: number of the event that the reader wants
 */
__poll_t dvp_events_poll(struct dvp_events *events, u64 next)
{
	__poll_t mask = 0;

	spin_lock(&events->lock);
	if (next != events->nr)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (events->gone)
		mask |= EPOLLHUP;
	spin_unlock(&events->lock);
	return mask;
}
