/* SPDX-License-Identifier: GPL-2.0-only */
/* A function's own node, as cases use it. Requests return -errno. */
#ifndef DVP_LIB_NODE_H
#define DVP_LIB_NODE_H

#include <fcntl.h>

#include "vfio.h"

#define NODE_RING	64		/* events the driver keeps */

/* Opens the node of a bound function; fails the case if it cannot. */
int node_open(const char *bdf, int flags);

int node_ioctl(int node, unsigned int cmd, void *arg);

/* Good arguments, apart from what is given */
int node_info(int node, struct dmabuf_vfio_info *info);
int node_export(int node, u32 bar, u64 offset, u64 length);
int node_revoke(int node, int fd);
int node_route(int node, const char *client, struct dmabuf_vfio_route *route);

/* Reads an event, waiting for it if need be; false at the end. */
bool node_event(int node, struct dmabuf_vfio_event *event);

/* The next event is this one; without loss. */
void node_expect_event_at(const char *file, int line, int node, u32 type,
			  u32 reasons);

#define node_expect_event(node, type, reasons)				\
	node_expect_event_at(__FILE__, __LINE__, node,			\
			     DMABUF_VFIO_EVENT_##type, reasons)

/* The next event is the first open, and names the reasons there are. */
u32 node_expect_opened(int node);

/* What poll(2) says at once, or within @ms. */
int node_poll(int node, int ms);

#endif /* DVP_LIB_NODE_H */
