// SPDX-License-Identifier: GPL-2.0-only
/*
 * The words for the numbers of the interface. Programs read them in --json, so
 * a word never changes.
 */
#include "cli.h"

static const char * const reasons[] = {
	"closed", "changing", "memory-off", "d3hot", "low-power", "reset",
	"error", "gone", "sleep", "pf",
};

static const char * const caps[] = {
	"write-combining", "huge", "iova", "native",
};

static const char * const events[] = {
	[DMABUF_VFIO_EVENT_REVOKED]	= "revoked",
	[DMABUF_VFIO_EVENT_RESTORED]	= "restored",
	[DMABUF_VFIO_EVENT_CLOSED]	= "closed",
	[DMABUF_VFIO_EVENT_OPENED]	= "opened",
};

static const char * const routes[] = {
	[DMABUF_VFIO_ROUTE_NONE]	= "none",
	[DMABUF_VFIO_ROUTE_BUS]		= "bus",
	[DMABUF_VFIO_ROUTE_HOST]	= "host",
};

static const char * const accesses[] = {
	[DMABUF_VFIO_ACCESS_NO]		= "no",
	[DMABUF_VFIO_ACCESS_YES]	= "yes",
	[DMABUF_VFIO_ACCESS_UNKNOWN]	= "unknown",
};

static const char * const whys[] = {
	[DMABUF_VFIO_WHY_SWITCH]		= "switch",
	[DMABUF_VFIO_WHY_FORWARDED]		= "forwarded",
	[DMABUF_VFIO_WHY_REDIRECTED]		= "redirected",
	[DMABUF_VFIO_WHY_NOT_FORWARDED]		= "not-forwarded",
	[DMABUF_VFIO_WHY_REDIRECTED_AWAY]	= "redirected-away",
	[DMABUF_VFIO_WHY_NO_PATH]		= "no-path",
};

static const char *name_of(const char * const *table, size_t nr, size_t i)
{
	return i < nr ? table[i] : NULL;
}

const char *reason_name(unsigned int bit)
{
	return name_of(reasons, ARRAY_SIZE(reasons), bit);
}

const char *cap_name(unsigned int bit)
{
	return name_of(caps, ARRAY_SIZE(caps), bit);
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
