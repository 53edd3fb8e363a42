/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DVP_ROUTE_H
#define DVP_ROUTE_H

#include <linux/types.h>

/* Deeper trees than this are not looked into; such a function has no route. */
#define DVP_PATH_MAX		32

/**
 * struct dvp_hop - a function on the way to the root complex
 * @id: see dvp_id()
 * @redirects: its ACS settings send peer traffic up
 */
struct dvp_hop {
	u64 id;
	bool redirects;
};

/**
 * struct dvp_path - the way from a function to its root complex
 * @nr_hops: entries of @hop; zero when the way is not known
 * @hop: the function itself first, the one on the root bus last
 * @root: number of the root bus: functions below one host bridge share it
 * @root_vendor: PCI vendor of the function that stands for the host bridge,
 *	zero when there is none
 * @root_device: its PCI device
 */
struct dvp_path {
	u32 nr_hops;
	struct dvp_hop hop[DVP_PATH_MAX];
	u64 root;
	u16 root_vendor;
	u16 root_device;
};

/**
 * enum dvp_route_kind - how a client reaches a provider's memory
 * @DVP_ROUTE_NONE: not at all
 * @DVP_ROUTE_BUS: by its bus address, below the host bridge
 * @DVP_ROUTE_HOST: through the host bridge, by an address of the DMA API
 */
enum dvp_route_kind {
	DVP_ROUTE_NONE,
	DVP_ROUTE_BUS,
	DVP_ROUTE_HOST,
};

/**
 * enum dvp_route_why - what decided on a route
 * @DVP_WHY_SWITCH: the two meet below the host bridge
 * @DVP_WHY_FORWARDED: the host bridge is known to forward peer traffic
 * @DVP_WHY_REDIRECTED: they meet, but are redirected to such a host bridge
 * @DVP_WHY_NOT_FORWARDED: the host bridge is not known to forward it
 * @DVP_WHY_REDIRECTED_AWAY: they meet, but are redirected to such a one
 * @DVP_WHY_NO_PATH: a path is not known
 */
enum dvp_route_why {
	DVP_WHY_SWITCH,
	DVP_WHY_FORWARDED,
	DVP_WHY_REDIRECTED,
	DVP_WHY_NOT_FORWARDED,
	DVP_WHY_REDIRECTED_AWAY,
	DVP_WHY_NO_PATH,
};

/**
 * enum dvp_access - does a kind of access arrive?
 * @DVP_ACCESS_NO: no
 * @DVP_ACCESS_YES: yes
 * @DVP_ACCESS_UNKNOWN: depends on what nobody knows
 */
enum dvp_access {
	DVP_ACCESS_NO,
	DVP_ACCESS_YES,
	DVP_ACCESS_UNKNOWN,
};

/**
 * struct dvp_route - the verdict on a pair of functions
 * @kind: see enum dvp_route_kind
 * @distance: hops between the two; -1 when a path is not known
 * @why: see enum dvp_route_why
 * @reads: do reads by the client arrive?
 * @writes: do writes?
 */
struct dvp_route {
	enum dvp_route_kind kind;
	int distance;
	enum dvp_route_why why;
	enum dvp_access reads;
	enum dvp_access writes;
};

struct dvp_route dvp_route_find(const struct dvp_path *provider,
				const struct dvp_path *client,
				bool cpu_routes);

#endif /* DVP_ROUTE_H */
