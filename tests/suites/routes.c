// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way from every function to the memory of every other: the driver's
 * decision against one made here from sysfs, against the kernel's where it has
 * one, and against what a map makes of it.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "importer.h"
#include "vfio.h"

#define MAX_ROLES	64
#define MAX_DEPTH	16

#define ECAP_ACS	0x0d
#define ACS_CTRL	6
#define ACS_REDIRECTS	0x2c	/* request, completion redirect, egress ctrl */

#define RES_MEM		0x200	/* in the flags of sysfs' "resource" */

enum route { NONE, BUS, HOST };

static const char * const route_names[] = { "none", "bus", "host" };

struct verdict {
	enum route route;
	int distance;
};

struct role {
	char name[32];
	char bdf[VFIO_BDF_LEN];
};

/* --- the bench */

static bool is_bridge(const char *bdf)
{
	char class[16];

	return t_read(class, sizeof(class), "/sys/bus/pci/devices/%s/class",
		      bdf) <= 0 || !strncmp(class, "0x0604", 6);
}

/* All functions of the test machine that are not bridges. */
static u32 read_roles(struct role *roles)
{
	char buf[4096], *save, *line;
	u32 n = 0;

	expect(t_read(buf, sizeof(buf), "/etc/topology") > 0);
	for (line = strtok_r(buf, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		expect(n < MAX_ROLES);
		if (sscanf(line, "%31s %15s", roles[n].name, roles[n].bdf) != 2)
			continue;
		n += !is_bridge(roles[n].bdf);
	}
	return n;
}

struct bar {
	int index;
	u64 start;
	u64 size;
};

/* The largest memory BAR; false without any. */
static bool find_bar(const char *bdf, struct bar *bar)
{
	char buf[1024], *save, *line;
	int i = 0;

	bar->size = 0;
	expect(t_read(buf, sizeof(buf), "/sys/bus/pci/devices/%s/resource",
		      bdf) > 0);
	for (line = strtok_r(buf, "\n", &save); line && i < 6;
	     line = strtok_r(NULL, "\n", &save), i++) {
		unsigned long long start, end, flags;

		if (sscanf(line, "%llx %llx %llx", &start, &end, &flags) != 3 ||
		    !(flags & RES_MEM) || end - start + 1 < PAGE ||
		    end - start + 1 <= bar->size)
			continue;
		*bar = (struct bar){ i, start, end - start + 1 };
	}
	return bar->size;
}

/* --- what must come out */

/* The functions from the root bus down to @bdf, by sysfs' path of it. */
static u32 read_path(const char *bdf, char path[][VFIO_BDF_LEN])
{
	char link[64], real[PATH_MAX], *save, *part;
	u32 n = 0;

	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s", bdf);
	expect(realpath(link, real));
	for (part = strtok_r(real, "/", &save); part;
	     part = strtok_r(NULL, "/", &save)) {
		unsigned int d, b, s, f;

		if (sscanf(part, "%x:%x:%x.%x", &d, &b, &s, &f) != 4)
			continue;
		expect(n < MAX_DEPTH);
		snprintf(path[n++], VFIO_BDF_LEN, "%s", part);
	}
	expect(n && !strcmp(path[n - 1], bdf));
	return n;
}

/* Does the function send the traffic of its peers up, by its ACS settings? */
static bool redirects(const char *bdf)
{
	u8 config[4096];
	u32 pos = 256;
	char path[64];
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	f = fopen(path, "r");
	expect(f);
	len = fread(config, 1, sizeof(config), f);
	fclose(f);
	while (pos >= 256 && pos + 8 <= len) {
		u32 head;

		memcpy(&head, config + pos, sizeof(head));
		if ((head & 0xffff) == ECAP_ACS)
			return config[pos + ACS_CTRL] & ACS_REDIRECTS;
		pos = head >> 20;
	}
	return false;
}

/*
 * Two functions that have anything above them in common, or are the same,
 * meet there; if nothing from the provider up to there, and from there down to
 * the client, redirects, they talk by bus address.
 */
static struct verdict predict(const char *provider, const char *client)
{
	char p[MAX_DEPTH][VFIO_BDF_LEN], c[MAX_DEPTH][VFIO_BDF_LEN];
	u32 np = read_path(provider, p), nc = read_path(client, c);
	u32 common = 0;
	bool up = false;

	while (common < np && common < nc && !strcmp(p[common], c[common]))
		common++;
	if (common) {
		for (u32 i = common - 1; i < np; i++)
			up |= redirects(p[i]);
		for (u32 i = common; i < nc; i++)
			up |= redirects(c[i]);
		if (!up)
			return (struct verdict){ BUS, np + nc - 2 * common };
	}
	return (struct verdict){
		t_host_forwards() ? HOST : NONE,
		np + nc - 2 * common,
	};
}

/* --- what does */

/* The driver's line on an attachment of @client to a buffer of @provider. */
static struct verdict driver_says(const char *provider, const char *client)
{
	char buf[8192], name[32], *save, *line;
	struct verdict v;

	expect(t_read(buf, sizeof(buf), "%s",
		      vfio_debugfs(provider, "buffers")) > 0);
	for (line = strtok_r(buf, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char bdf[32];

		if (sscanf(line,
			   " attachment %31s driver=%*s route=%31s distance=%d",
			   bdf, name, &v.distance) != 3 || strcmp(bdf, client))
			continue;
		for (v.route = NONE; v.route <= HOST; v.route++)
			if (!strcmp(name, route_names[v.route]))
				return v;
		v.route = HOST;
		if (!strcmp(name, "host-iova"))
			return v;
		t_fail("%s is no route", name);
	}
	t_fail("the driver doesn't say how %s reaches %s", client, provider);
}

/* SMMUv3 leaves alone the second function behind a bridge to PCI. */
static bool translates_for(const char *bdf)
{
	return t_bench_is("iommu", "on") &&
	       t_exists("/sys/bus/pci/devices/%s/iommu_group", bdf);
}

static void check_map(int imp, int handle, const char *pair, enum route route,
		      const struct bar *bar, const char *client)
{
	struct imp_map map;
	int ret;

	ret = imp_map(imp, handle, &map);
	if (route == NONE) {
		expect(ret == -EINVAL, "%s, without a route: map says %s", pair,
		       t_errno_name(-ret));
		return;
	}
	expect(!ret, "%s: map says %s", pair, t_errno_name(-ret));
	expect(map.nents == 1 && map.size == PAGE, "%s: %u entries, %#llx",
	       pair, map.nents, map.size);
	if (route == BUS || !translates_for(client))
		expect(map.segs[0].addr == bar->start,
		       "%s: at %#llx, the BAR is at %#llx", pair,
		       map.segs[0].addr, bar->start);
	else
		expect(map.segs[0].addr != bar->start,
		       "%s: at the BAR's own address", pair);
	expect_eq(imp_unmap(imp, handle), 0);
	imp_map_free(&map);
}

static void check_pair(int imp, int fd, const struct role *provider,
		       const struct role *client, const struct bar *bar)
{
	struct verdict want, have;
	char pair[80];
	int kernel, handle;
	bool none;

	snprintf(pair, sizeof(pair), "%.31s to %.31s", client->name,
		 provider->name);
	want = predict(provider->bdf, client->bdf);

	handle = imp_attach(imp, fd, client->bdf);
	expect(handle > 0, "%s: attach says %s", pair, t_errno_name(-handle));
	have = driver_says(provider->bdf, client->bdf);
	expect(have.route == want.route, "%s: route is %s, not %s", pair,
	       route_names[have.route], route_names[want.route]);
	expect(have.distance == want.distance, "%s: distance is %d, not %d",
	       pair, have.distance, want.distance);

	/* The kernel says no more than that: a distance, or no. */
	if (imp_verdict(imp, provider->bdf, client->bdf, &kernel)) {
		/* It does not know what our parameter names. */
		none = have.route == NONE ||
		       (have.route == HOST && t_bench_is("host", "named"));
		expect((kernel < 0) == none,
		       "%s: route is %s, the kernel's distance %d", pair,
		       route_names[have.route], kernel);
		expect(kernel < 0 || kernel == have.distance,
		       "%s: distance is %d, the kernel's %d", pair,
		       have.distance, kernel);
	}

	check_map(imp, handle, pair, want.route, bar, client->bdf);
	expect_eq(imp_detach(imp, handle), 0);
}

static void need_our_driver(void)
{
	if (vfio_is_stock())
		t_skip("the stock driver doesn't say its routes");
}

static int export_page(const struct role *provider, const struct bar *bar)
{
	struct vfio_dev *dev = vfio_open_bdf(provider->bdf, vfio_driver());

	vfio_mem_enable(dev, true);
	return expect_fd(export_range(dev, bar->index, 0, PAGE));
}

/* All ways to one function's memory, from itself too. */
static void check_provider(const char *name)
{
	struct role roles[MAX_ROLES], provider = {};
	u32 n = read_roles(roles);
	struct bar bar;
	int imp, fd;

	need_our_driver();
	imp = imp_open();
	snprintf(provider.name, sizeof(provider.name), "%s", name);
	snprintf(provider.bdf, sizeof(provider.bdf), "%s", t_role(name));
	if (!find_bar(provider.bdf, &bar))
		t_skip("%s has no memory BAR", name);

	fd = export_page(&provider, &bar);
	for (u32 i = 0; i < n; i++)
		check_pair(imp, fd, &provider, &roles[i], &bar);
	expect_ge(n, 2);
}

TEST(routes, to_nvme_sw)
{
	check_provider("nvme_sw");
}

TEST(routes, to_shm_sw)
{
	check_provider("shm_sw");
}

TEST(routes, to_edu_sw)
{
	check_provider("edu_sw");
}

TEST(routes, to_edu_rp)
{
	check_provider("edu_rp");
}

TEST(routes, to_nvme_mf)
{
	check_provider("nvme_mf");
}

TEST(routes, to_shm_mf)
{
	check_provider("shm_mf");
}

TEST(routes, to_conv0)
{
	check_provider("conv0");
}

TEST(routes, to_conv1)
{
	check_provider("conv1");
}

TEST(routes, to_rng)
{
	check_provider("rng");
}

TEST(routes, to_bochs)
{
	check_provider("bochs");
}

TEST(routes, to_e1000e)
{
	check_provider("e1000e");
}

TEST(routes, to_big)
{
	check_provider("big");
}

/* A function that comes new to the bench is not forgotten here. */
TEST(routes, to_all_functions)
{
	static const char * const tested[] = {
		"nvme_sw", "shm_sw", "edu_sw", "edu_rp", "nvme_mf", "shm_mf",
		"conv0", "conv1", "rng", "bochs", "e1000e", "big",
	};
	struct role roles[MAX_ROLES];
	u32 n = read_roles(roles);
	struct bar bar;

	if (!n)
		t_skip("the bench has no functions");
	for (u32 i = 0; i < n; i++) {
		bool found = false;

		if (!find_bar(roles[i].bdf, &bar))
			continue;
		for (u32 k = 0; k < ARRAY_SIZE(tested); k++)
			found |= !strcmp(tested[k], roles[i].name);
		expect(found, "no case exports from %s", roles[i].name);
	}
}

/* --- fixed points, which no rule computed here can talk itself out of */

static void expect_route(const char *provider, const char *client,
			 enum route route, int distance)
{
	struct role p = {};
	struct verdict v;
	struct bar bar;
	int imp, fd;

	need_our_driver();
	snprintf(p.bdf, sizeof(p.bdf), "%s", t_role(provider));
	client = t_role(client);
	imp = imp_open();
	expect(find_bar(p.bdf, &bar));
	fd = export_page(&p, &bar);
	expect_fd(imp_attach(imp, fd, client));
	v = driver_says(p.bdf, client);
	expect(v.route == route, "%s, not %s", route_names[v.route],
	       route_names[route]);
	expect_eq(v.distance, distance);
}

static enum route host_route(void)
{
	return t_host_forwards() ? HOST : NONE;
}

TEST(routes, itself)
{
	expect_route("shm_sw", "shm_sw", BUS, 0);
}

TEST(routes, below_one_switch)
{
	expect_route("shm_sw", "edu_sw", BUS, 4);
}

TEST(routes, below_one_pci_bridge)
{
	expect_route("conv0", "conv1", BUS, 2);
}

TEST(routes, across_root_ports)
{
	expect_route("shm_sw", "edu_rp", host_route(), 6);
}

/* Their root port redirects as soon as the kernel has an IOMMU to protect. */
TEST(routes, functions_of_one_device)
{
	bool redirected = !t_bench_is("iommu", "off");

	expect_route("nvme_mf", "shm_mf", redirected ? host_route() : BUS, 2);
}

/* A buffer answers for its own attachments alone. */
TEST(routes, follows_the_client)
{
	struct role p = {};
	const char *near, *far;
	struct bar bar;
	int imp, fd;

	need_our_driver();
	snprintf(p.bdf, sizeof(p.bdf), "%s", t_role("shm_sw"));
	near = t_role("edu_sw");
	far = t_role("edu_rp");
	imp = imp_open();
	expect(find_bar(p.bdf, &bar));
	fd = export_page(&p, &bar);
	expect_fd(imp_attach(imp, fd, far));
	expect_fd(imp_attach(imp, fd, near));
	expect_eq(driver_says(p.bdf, near).route, BUS);
	expect_eq(driver_says(p.bdf, far).route, host_route());
}

/* --- the parameter hosts */

static bool loads(const char *hosts)
{
	char command[256];

	snprintf(command, sizeof(command), "modprobe %s hosts=%s 2>/dev/null",
		 vfio_module(), hosts);
	return !system(command);
}

TEST(routes, hosts_are_checked)
{
	static const char * const wrong[] = {
		"1b36", "1b36:", ":0008", "1b36:0008:", "1b36:0008x", "0:0008",
		"host:0008", "12345:0008", "1b36:0008,", "1b36:0008,,8086:29c0",
		/* One too many */
		"1:1,1:2,1:3,1:4,1:5,1:6,1:7,1:8,1:9,1:a,1:b,1:c,1:d,1:e,1:f,1:0,2:0",
	};
	char text[256];

	need_our_driver();
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		expect_eq(vfio_rmmod(vfio_module()), 0);
		expect(!loads(wrong[i]), "%s is taken", wrong[i]);
		expect(!t_exists("/sys/module/%s", vfio_module()));
		vfio_modprobe(vfio_module());
	}
	expect_eq(vfio_rmmod(vfio_module()), 0);
	expect(loads("1b36:8,8086:29C0"));
	expect_ge(t_read(text, sizeof(text), "/sys/module/%s/parameters/hosts",
			 vfio_module()), 1);
	expect(strstr(text, "1b36:0008,8086:29c0"), "%s", text);
	expect_eq(vfio_rmmod(vfio_module()), 0);
	vfio_modprobe(vfio_module());
}
