// SPDX-License-Identifier: GPL-2.0-only
/*
 * How one function reaches the memory of another: by bus address, through the
 * host bridge, or not at all. Pure: it compares two paths that path.c read,
 * and its unit tests run in userspace.
 */
#include <linux/dmabuf_vfio_pci.h>
#include <linux/kernel.h>

#include "route.h"

/**
 * struct host_bridge - a root complex that forwards peer traffic
 * @vendor: PCI vendor of its host bridge, or of its root ports where the root
 *	bus has no function 00.0
 * @device: PCI device, ANY_DEVICE for all of the vendor's
 * @across: also to and from another host bridge
 */
struct host_bridge {
	u16 vendor;
	u32 device;
	bool across;
};

#define ANY_DEVICE	0xffffffff
#define INTEL		0x8086
#define GOOGLE		0x1ae0
#define NVIDIA		0x10de

/*
 * Where x86's CPU family does not tell, the root complex must be one of these.
 * The list is the kernel's, so that both give one verdict; root complexes are
 * added there first. The parameter hosts is for those that are not there yet.
 */
static const struct host_bridge host_bridges[] = {
	/* Xeon E5 and Core i7 of 2012; Xeon E5 and E7 v3 */
	{ INTEL, 0x3c00, false }, { INTEL, 0x3c01, false },
	{ INTEL, 0x2f00, false }, { INTEL, 0x2f01, false },
	/* Skylake-E: root ports A to D, host bridges */
	{ INTEL, 0x2030, true }, { INTEL, 0x2031, true },
	{ INTEL, 0x2032, true }, { INTEL, 0x2033, true },
	{ INTEL, 0x2020, true }, { INTEL, 0x09a2, true },
	/* Accelerators that sit at 00.0 of a root bus: DSA, IAX, IAA, QAT */
	{ INTEL, 0x0b25, true }, { INTEL, 0x0cfe, true },
	{ INTEL, 0x1212, true }, { INTEL, 0x1216, true },
	{ INTEL, 0x11fb, true },
	{ INTEL, 0x4940, true }, { INTEL, 0x4942, true },
	{ INTEL, 0x4944, true }, { INTEL, 0x4946, true },
	{ INTEL, 0x4948, true },
	{ GOOGLE, ANY_DEVICE, true },
	{ NVIDIA, 0x2f95, true }, { NVIDIA, 0x2f96, true },
	{ NVIDIA, 0x2f97, true }, { NVIDIA, 0x2f98, true },
};

static bool host_forwards(const struct dvp_path *path, bool across)
{
	size_t i;

	if (path->root_named)
		return true;
	for (i = 0; i < ARRAY_SIZE(host_bridges); i++) {
		const struct host_bridge *h = &host_bridges[i];

		if (path->root_vendor == h->vendor &&
		    (h->device == ANY_DEVICE || path->root_device == h->device))
			return h->across || !across;
	}
	return false;
}

static bool hosts_forward(const struct dvp_path *a, const struct dvp_path *b)
{
	if (a->root == b->root)
		return host_forwards(a, false);
	return host_forwards(a, true) && host_forwards(b, true);
}

/* Where do two paths meet? *p and *c are the hops from either end to there. */
static bool paths_meet(const struct dvp_path *provider,
		       const struct dvp_path *client, u32 *p, u32 *c)
{
	for (*p = 0; *p < provider->nr_hops; (*p)++)
		for (*c = 0; *c < client->nr_hops; (*c)++)
			if (client->hop[*c].id == provider->hop[*p].id)
				return true;
	return false;
}

static bool path_redirects(const struct dvp_path *path, u32 nr_hops)
{
	u32 i;

	for (i = 0; i < nr_hops; i++)
		if (path->hop[i].redirects)
			return true;
	return false;
}

/* Of a client whose path is not known, or that is no PCI function. */
const struct dvp_route dvp_no_route = {
	.kind = DMABUF_VFIO_ROUTE_NONE,
	.distance = -1,
	.why = DMABUF_VFIO_WHY_NO_PATH,
	.reads = DMABUF_VFIO_ACCESS_NO,
	.writes = DMABUF_VFIO_ACCESS_NO,
};

/**
 * dvp_route_find() - how does a client reach a provider's memory?
 * @provider: path of the function that has the memory
 * @client: path of the function that wants to reach it
 * @cpu_routes: every root complex of this CPU forwards peer traffic
 *
 * Two functions that meet below the host bridge talk by bus address, unless a
 * function on the way, the one where they meet included, redirects peer
 * traffic upwards. Everything else crosses the host bridge, which must be
 * known to forward it.
 *
 * The host bridges on the list are servers', which forward reads and writes.
 * The CPU's word is good for writes: some of those for desktops drop reads.
 *
 * Return: the route. The distance counts the hops of both ways to where they
 * meet, or to the root complex.
 */
struct dvp_route dvp_route_find(const struct dvp_path *provider,
				const struct dvp_path *client,
				bool cpu_routes)
{
	struct dvp_route route = dvp_no_route;
	bool listed, meet;
	u32 p, c;

	if (!provider->nr_hops || !client->nr_hops)
		return route;

	meet = paths_meet(provider, client, &p, &c);
	route.distance = meet ? p + c : provider->nr_hops + client->nr_hops;
	if (meet && !path_redirects(provider, p + 1) &&
	    !path_redirects(client, c)) {
		route.kind = DMABUF_VFIO_ROUTE_BUS;
		route.why = DMABUF_VFIO_WHY_SWITCH;
		route.reads = DMABUF_VFIO_ACCESS_YES;
		route.writes = DMABUF_VFIO_ACCESS_YES;
		return route;
	}

	listed = hosts_forward(provider, client);
	if (cpu_routes || listed) {
		route.kind = DMABUF_VFIO_ROUTE_HOST;
		route.why = meet ? DMABUF_VFIO_WHY_REDIRECTED :
				   DMABUF_VFIO_WHY_FORWARDED;
		route.reads = listed ? DMABUF_VFIO_ACCESS_YES :
				       DMABUF_VFIO_ACCESS_UNKNOWN;
		route.writes = DMABUF_VFIO_ACCESS_YES;
	} else {
		route.why = meet ? DMABUF_VFIO_WHY_REDIRECTED_AWAY :
				   DMABUF_VFIO_WHY_NOT_FORWARDED;
	}
	return route;
}
