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
 * @root_named: the administrator says that this host bridge forwards
 */
struct dvp_path {
	u32 nr_hops;
	struct dvp_hop hop[DVP_PATH_MAX];
	u64 root;
	u16 root_vendor;
	u16 root_device;
	bool root_named;
};

/**
 * struct dvp_route - the verdict on a pair of functions
 * @kind: DMABUF_VFIO_ROUTE_*
 * @distance: hops between the two; -1 when a path is not known
 * @why: DMABUF_VFIO_WHY_*
 * @reads: DMABUF_VFIO_ACCESS_*: do reads by the client arrive?
 * @writes: DMABUF_VFIO_ACCESS_*: do writes?
 */
struct dvp_route {
	u32 kind;
	int distance;
	u32 why;
	u32 reads;
	u32 writes;
};

extern const struct dvp_route dvp_no_route;

struct dvp_route dvp_route_find(const struct dvp_path *provider,
				const struct dvp_path *client,
				bool cpu_routes);

#endif /* DVP_ROUTE_H */
