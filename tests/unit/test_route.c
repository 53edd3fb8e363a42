// SPDX-License-Identifier: GPL-2.0-only
#include <linux/dmabuf_vfio_pci.h>

#include <stdlib.h>

#include "../../src/route.h"
#include "unit.h"

/* A small tree: a switch with two functions, two root ports, a second host. */
enum {
	SWITCH_UP = 10, SWITCH_DN0, SWITCH_DN1, ROOT0 = 20, ROOT1, ROOT2,
	DEV_A = 30, DEV_B, DEV_C, DEV_D,
};

static struct dvp_path path(u32 root, u32 nr, const u32 *ids)
{
	struct dvp_path p = { .nr_hops = nr, .root = root };
	u32 i;

	for (i = 0; i < nr; i++)
		p.hop[i].id = ids[i];
	return p;
}

#define PATH(root, ...)							\
	path(root, sizeof((u32[]){ __VA_ARGS__ }) / sizeof(u32),	\
	     (const u32[]){ __VA_ARGS__ })

static struct dvp_path dev_a(void)
{
	return PATH(0, DEV_A, SWITCH_DN0, SWITCH_UP, ROOT0);
}

static struct dvp_path dev_b(void)
{
	return PATH(0, DEV_B, SWITCH_DN1, SWITCH_UP, ROOT0);
}

static struct dvp_path dev_c(void)
{
	return PATH(0, DEV_C, ROOT1);
}

/* Below another host bridge. */
static struct dvp_path dev_d(void)
{
	return PATH(1, DEV_D, ROOT2);
}

static void below_one_switch(void)
{
	struct dvp_path a = dev_a(), b = dev_b();
	struct dvp_route r = dvp_route_find(&a, &b, false);

	EXPECT(r.kind == DMABUF_VFIO_ROUTE_BUS);
	EXPECT(r.distance == 4);
}

static void itself(void)
{
	struct dvp_path a = dev_a();
	struct dvp_route r = dvp_route_find(&a, &a, false);

	EXPECT(r.kind == DMABUF_VFIO_ROUTE_BUS);
	EXPECT(r.distance == 0);
}

static void two_functions_of_one_device(void)
{
	struct dvp_path f0 = PATH(0, DEV_A, ROOT0);
	struct dvp_path f1 = PATH(0, DEV_B, ROOT0);
	struct dvp_route r = dvp_route_find(&f0, &f1, false);

	EXPECT(r.kind == DMABUF_VFIO_ROUTE_BUS);
	EXPECT(r.distance == 2);
}

/* Redirection anywhere between them, the meeting point included. */
static void redirected(void)
{
	u32 i;

	for (i = 0; i < 3; i++) {
		struct dvp_path a = dev_a(), b = dev_b();
		struct dvp_route r;

		a.hop[i].redirects = true;
		r = dvp_route_find(&a, &b, true);
		EXPECT(r.kind == DMABUF_VFIO_ROUTE_HOST);
		EXPECT(r.distance == 4);
		r = dvp_route_find(&b, &a, true);
		EXPECT(r.kind == (i < 2 ? DMABUF_VFIO_ROUTE_HOST :
					  DMABUF_VFIO_ROUTE_BUS));
		b.hop[2].redirects = a.hop[2].redirects;
		r = dvp_route_find(&b, &a, true);
		EXPECT(r.kind == DMABUF_VFIO_ROUTE_HOST);
		r = dvp_route_find(&b, &a, false);
		EXPECT(r.kind == DMABUF_VFIO_ROUTE_NONE);
	}
}

static void redirection_above_does_not_count(void)
{
	struct dvp_path a = dev_a(), b = dev_b();

	a.hop[3].redirects = true;
	b.hop[3].redirects = true;
	EXPECT(dvp_route_find(&a, &b, false).kind == DMABUF_VFIO_ROUTE_BUS);
}

static void across_root_ports(void)
{
	struct dvp_path a = dev_a(), c = dev_c();
	struct dvp_route r = dvp_route_find(&a, &c, true);

	EXPECT(r.kind == DMABUF_VFIO_ROUTE_HOST);
	EXPECT(r.distance == 6);
	r = dvp_route_find(&a, &c, false);
	EXPECT(r.kind == DMABUF_VFIO_ROUTE_NONE);
	EXPECT(r.distance == 6);
}

static u32 by_bridges(const struct dvp_path *p, u16 pv, u16 pd,
		      const struct dvp_path *c, u16 cv, u16 cd)
{
	struct dvp_path a = *p, b = *c;

	a.root_vendor = pv;
	a.root_device = pd;
	b.root_vendor = cv;
	b.root_device = cd;
	return dvp_route_find(&a, &b, false).kind;
}

static void listed_host_bridge(void)
{
	struct dvp_path a = dev_a(), c = dev_c();

	EXPECT(by_bridges(&a, 0x8086, 0x2030, &c, 0x8086, 0x2030) ==
		    DMABUF_VFIO_ROUTE_HOST);
	EXPECT(by_bridges(&a, 0x8086, 0x3c00, &c, 0x8086, 0x3c00) ==
		    DMABUF_VFIO_ROUTE_HOST);
	EXPECT(by_bridges(&a, 0x1ae0, 0x1234, &c, 0x1ae0, 0x1234) ==
		    DMABUF_VFIO_ROUTE_HOST);
	/* QEMU's q35 is a desktop chipset. */
	EXPECT(by_bridges(&a, 0x8086, 0x29c0, &c, 0x8086, 0x29c0) ==
		    DMABUF_VFIO_ROUTE_NONE);
}

/* What is said besides the route: why, and what arrives. */
static void expect_route(const struct dvp_path *a, const struct dvp_path *b,
			 bool cpu, u32 why,
			 u32 reads, u32 writes)
{
	struct dvp_route r = dvp_route_find(a, b, cpu);

	EXPECT(r.why == why);
	EXPECT(r.reads == reads);
	EXPECT(r.writes == writes);
}

/* By the administrator: forwards all, to and from another such one, too. */
static void named_host_bridge(void)
{
	struct dvp_path a = dev_a(), c = dev_c(), d = dev_d();

	a.root_named = true;
	EXPECT(dvp_route_find(&a, &d, false).kind == DMABUF_VFIO_ROUTE_NONE);
	c.root_named = true;
	d.root_named = true;
	expect_route(&a, &c, false, DMABUF_VFIO_WHY_FORWARDED,
		     DMABUF_VFIO_ACCESS_YES, DMABUF_VFIO_ACCESS_YES);
	expect_route(&a, &d, false, DMABUF_VFIO_WHY_FORWARDED,
		     DMABUF_VFIO_ACCESS_YES, DMABUF_VFIO_ACCESS_YES);
}

static void two_host_bridges(void)
{
	struct dvp_path a = dev_a(), d = dev_d();

	EXPECT(by_bridges(&a, 0x8086, 0x2030, &d, 0x8086, 0x2031) ==
		    DMABUF_VFIO_ROUTE_HOST);
	/* Listed, but not across bridges; and one of the two not listed. */
	EXPECT(by_bridges(&a, 0x8086, 0x3c00, &d, 0x8086, 0x3c00) ==
		    DMABUF_VFIO_ROUTE_NONE);
	EXPECT(by_bridges(&a, 0x8086, 0x2030, &d, 0x8086, 0x29c0) ==
		    DMABUF_VFIO_ROUTE_NONE);
	EXPECT(by_bridges(&a, 0x8086, 0x29c0, &d, 0x8086, 0x2030) ==
		    DMABUF_VFIO_ROUTE_NONE);
}

static void reasons(void)
{
	struct dvp_path a = dev_a(), b = dev_b(), c = dev_c(), none = { 0 };

	expect_route(&a, &b, false,
		     DMABUF_VFIO_WHY_SWITCH, DMABUF_VFIO_ACCESS_YES,
		     DMABUF_VFIO_ACCESS_YES);
	expect_route(&a, &c, true,
		     DMABUF_VFIO_WHY_FORWARDED, DMABUF_VFIO_ACCESS_UNKNOWN,
		     DMABUF_VFIO_ACCESS_YES);
	expect_route(&a, &c, false,
		     DMABUF_VFIO_WHY_NOT_FORWARDED, DMABUF_VFIO_ACCESS_NO,
		     DMABUF_VFIO_ACCESS_NO);
	expect_route(&a, &none, true,
		     DMABUF_VFIO_WHY_NO_PATH, DMABUF_VFIO_ACCESS_NO,
		     DMABUF_VFIO_ACCESS_NO);
	expect_route(&none, &a, true,
		     DMABUF_VFIO_WHY_NO_PATH, DMABUF_VFIO_ACCESS_NO,
		     DMABUF_VFIO_ACCESS_NO);

	a.hop[1].redirects = true;
	expect_route(&a, &b, true,
		     DMABUF_VFIO_WHY_REDIRECTED, DMABUF_VFIO_ACCESS_UNKNOWN,
		     DMABUF_VFIO_ACCESS_YES);
	expect_route(&a, &b, false,
		     DMABUF_VFIO_WHY_REDIRECTED_AWAY, DMABUF_VFIO_ACCESS_NO,
		     DMABUF_VFIO_ACCESS_NO);
}

/* One that is on the list forwards reads as well, whatever the CPU says. */
static void reads_of_a_listed_host_bridge(void)
{
	struct dvp_path a = dev_a(), b = dev_b(), c = dev_c();

	a.root_vendor = 0x8086;
	a.root_device = 0x2030;
	b = a;
	b.hop[0].id = DEV_B;
	c.root_vendor = 0x8086;
	c.root_device = 0x2030;
	expect_route(&a, &c, false,
		     DMABUF_VFIO_WHY_FORWARDED, DMABUF_VFIO_ACCESS_YES,
		     DMABUF_VFIO_ACCESS_YES);
	expect_route(&a, &c, true,
		     DMABUF_VFIO_WHY_FORWARDED, DMABUF_VFIO_ACCESS_YES,
		     DMABUF_VFIO_ACCESS_YES);
	a.hop[1].redirects = true;
	expect_route(&a, &b, false,
		     DMABUF_VFIO_WHY_REDIRECTED, DMABUF_VFIO_ACCESS_YES,
		     DMABUF_VFIO_ACCESS_YES);
}

static void unknown_path(void)
{
	struct dvp_path a = dev_a(), none = { 0 };
	struct dvp_route r = dvp_route_find(&a, &none, true);

	EXPECT(r.kind == DMABUF_VFIO_ROUTE_NONE);
	EXPECT(r.distance == -1);
	EXPECT(dvp_route_find(&none, &a, true).kind == DMABUF_VFIO_ROUTE_NONE);
	EXPECT(dvp_route_find(&none, &none, true).kind ==
	       DMABUF_VFIO_ROUTE_NONE);
}

#define RUN(fn)		unit_run("route/" #fn, fn)

int main(void)
{
	RUN(below_one_switch);
	RUN(itself);
	RUN(two_functions_of_one_device);
	RUN(redirected);
	RUN(redirection_above_does_not_count);
	RUN(across_root_ports);
	RUN(listed_host_bridge);
	RUN(named_host_bridge);
	RUN(two_host_bridges);
	RUN(unknown_path);
	RUN(reasons);
	RUN(reads_of_a_listed_host_bridge);
	return unit_failures != 0;
}
