// SPDX-License-Identifier: GPL-2.0-only
/*
 * The words for the numbers of the interface. Programs read them in --json, so
 * a word never changes.
 */
#include "../names.h"
#include "cli.h"

struct name {
	u32 value;
	const char *name;
};

static const struct name reasons[] = { DVP_REASON_NAMES };
static const struct name caps[] = { DVP_CAP_NAMES };
static const struct name events[] = { DVP_EVENT_NAMES };
static const struct name routes[] = { DVP_ROUTE_NAMES };
static const struct name accesses[] = { DVP_ACCESS_NAMES };
static const struct name whys[] = { DVP_WHY_NAMES };

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
