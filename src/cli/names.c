// SPDX-License-Identifier: GPL-2.0-only
/*
 * The words for the numbers of the interface. Programs read them in --json, so
 * a word never changes.
 */
#include "cli.h"

struct name {
	u32 value;
	const char *name;
};

static const struct name reasons[] = {
	{ DMABUF_VFIO_REASON_CLOSED, "closed" },
	{ DMABUF_VFIO_REASON_CHANGING, "changing" },
	{ DMABUF_VFIO_REASON_MEMORY_OFF, "memory-off" },
	{ DMABUF_VFIO_REASON_D3HOT, "d3hot" },
	{ DMABUF_VFIO_REASON_LOW_POWER, "low-power" },
	{ DMABUF_VFIO_REASON_RESET, "reset" },
	{ DMABUF_VFIO_REASON_ERROR, "error" },
	{ DMABUF_VFIO_REASON_GONE, "gone" },
	{ DMABUF_VFIO_REASON_SLEEP, "sleep" },
	{ DMABUF_VFIO_REASON_PF, "pf" },
};

static const struct name caps[] = {
	{ DMABUF_VFIO_CAP_WRITE_COMBINING, "write-combining" },
	{ DMABUF_VFIO_CAP_HUGE, "huge" },
	{ DMABUF_VFIO_CAP_IOVA, "iova" },
	{ DMABUF_VFIO_CAP_NATIVE, "native" },
};

static const struct name events[] = {
	{ DMABUF_VFIO_EVENT_REVOKED, "revoked" },
	{ DMABUF_VFIO_EVENT_RESTORED, "restored" },
	{ DMABUF_VFIO_EVENT_CLOSED, "closed" },
	{ DMABUF_VFIO_EVENT_OPENED, "opened" },
};

static const struct name routes[] = {
	{ DMABUF_VFIO_ROUTE_NONE, "none" },
	{ DMABUF_VFIO_ROUTE_BUS, "bus" },
	{ DMABUF_VFIO_ROUTE_HOST, "host" },
};

static const struct name accesses[] = {
	{ DMABUF_VFIO_ACCESS_NO, "no" },
	{ DMABUF_VFIO_ACCESS_YES, "yes" },
	{ DMABUF_VFIO_ACCESS_UNKNOWN, "unknown" },
};

static const struct name whys[] = {
	{ DMABUF_VFIO_WHY_SWITCH, "switch" },
	{ DMABUF_VFIO_WHY_FORWARDED, "forwarded" },
	{ DMABUF_VFIO_WHY_REDIRECTED, "redirected" },
	{ DMABUF_VFIO_WHY_NOT_FORWARDED, "not-forwarded" },
	{ DMABUF_VFIO_WHY_REDIRECTED_AWAY, "redirected-away" },
	{ DMABUF_VFIO_WHY_NO_PATH, "no-path" },
};

static const char *name_of(const struct name *names, size_t nr, u32 value)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (names[i].value == value)
			return names[i].name;
	return NULL;
}

const char *reason_name(unsigned int bit)
{
	return name_of(reasons, ARRAY_SIZE(reasons), 1U << bit);
}

const char *cap_name(unsigned int bit)
{
	return name_of(caps, ARRAY_SIZE(caps), 1U << bit);
}

/* A newer driver may have events that this command does not know. */
const char *event_name(u32 type)
{
	return name_of(events, ARRAY_SIZE(events), type) ?: "unknown";
}

const char *route_name(u32 route)
{
	return name_of(routes, ARRAY_SIZE(routes), route);
}

const char *access_name(u32 access)
{
	return name_of(accesses, ARRAY_SIZE(accesses), access);
}

const char *why_name(u32 why)
{
	return name_of(whys, ARRAY_SIZE(whys), why);
}
