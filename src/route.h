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
	u32 id;
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
	u32 root;
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
 * struct dvp_route - the verdict on a pair of functions
 * @kind: see enum dvp_route_kind
 * @distance: hops between the two; -1 when a path is not known
 */
struct dvp_route {
	enum dvp_route_kind kind;
	int distance;
};

struct dvp_route dvp_route_find(const struct dvp_path *provider,
				const struct dvp_path *client,
				bool cpu_routes);

#endif /* DVP_ROUTE_H */
