// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads a function's path to its root complex from sysfs, as ../topo.c does in
 * the kernel, so that ../route.c gives the same verdict.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define ECAP_START	0x100
#define ECAP_ACS	0x0d
#define ACS_CTRL	6
#define ACS_REDIRECTS	0x2c	/* request, completion redirect, egress ctrl */

#define CAP_LIST	0x34
#define CAP_EXP		0x10
#define EXP_ROOT_PORT	4

static bool redirects(const u8 *config, int len)
{
	int pos = ECAP_START, left = 480;

	while (pos >= ECAP_START && pos + 8 <= len && left--) {
		u32 head = config[pos] | config[pos + 1] << 8 |
			   config[pos + 2] << 16 | (u32)config[pos + 3] << 24;

		if ((head & 0xffff) == ECAP_ACS)
			return config[pos + ACS_CTRL] & ACS_REDIRECTS;
		pos = head >> 20 & ~3;
	}
	return false;
}

static bool is_root_port(const u8 *config, int len)
{
	int pos = config[CAP_LIST] & ~3, left = 48;

	while (pos >= 0x40 && pos + 4 <= len && left--) {
		if (config[pos] == CAP_EXP)
			return config[pos + 2] >> 4 == EXP_ROOT_PORT;
		pos = config[pos + 1] & ~3;
	}
	return false;
}

/*
 * Numbers as dvp_id() and topo.c make them. A domain may have 32 bits: VMD's
 * begin at 0x10000.
 */
static u64 bus_id(u32 domain, u8 bus)
{
	return (u64)domain << 8 | bus;
}

static u64 func_id(const struct func *f)
{
	return bus_id(f->domain, f->devfn >> 8) << 8 | (f->devfn & 0xff);
}

/*
 * The folders of the root bus's functions are right below that of the host
 * bridge. The first one by address stands for the host bridge, as in the
 * kernel, which scans in that order.
 */
static int read_host_bridge(const char *host, struct dvp_path *path)
{
	unsigned int d, b;
	const char *name;
	struct names names;
	unsigned int i;

	name = strrchr(host, '/');
	if (!name || sscanf(name, "/pci%x:%x", &d, &b) != 2)
		return 0;
	path->root = bus_id(d, b);
	if (sys_names(&names, "%s", host))
		return 0;
	for (i = 0; i < names.nr; i++) {
		struct func first;
		u8 config[4096];
		char bdf[BDF_LEN];
		int len;

		if (func_parse(names.name[i], bdf) || func_read(&first, bdf))
			continue;
		len = func_config(&first, config);
		if (len == -EACCES) {
			names_free(&names);
			return len;
		}
		if (!(first.devfn & 0xff) ||
		    (len > 0 && is_root_port(config, len))) {
			path->root_vendor = first.vendor;
			path->root_device = first.device;
		}
		break;
	}
	names_free(&names);
	return 0;
}

/**
 * path_read() - find a function's path to its root complex
 * @f: the function
 * @path: out; without hops when the tree is deeper than DVP_PATH_MAX
 *
 * Return: 0 or -errno: -EACCES when only root can see the ACS settings.
 */
int path_read(const struct func *f, struct dvp_path *path)
{
	char dir[PATH_MAX], *slash;

	memset(path, 0, sizeof(*path));
	snprintf(dir, sizeof(dir), "%s", f->dir);
	while ((slash = strrchr(dir, '/'))) {
		struct func hop;
		char bdf[BDF_LEN];
		u8 config[4096];
		int len;

		if (func_parse(slash + 1, bdf) || func_read(&hop, bdf))
			break;
		if (path->nr_hops == DVP_PATH_MAX) {
			path->nr_hops = 0;
			break;
		}
		len = func_config(&hop, config);
		if (len < 0)
			return len;
		path->hop[path->nr_hops].id = func_id(&hop);
		path->hop[path->nr_hops].redirects = redirects(config, len);
		path->nr_hops++;
		*slash = '\0';
	}
	return read_host_bridge(dir, path);
}

/* As dvp_cpu_routes_p2p(): true for AMD since family 17h. */
bool cpu_routes(void)
{
	bool amd = false, family = false;
	char line[1024];
	FILE *f;

	f = sys_file("/proc/cpuinfo");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f) && *line != '\n') {
		char *value = strchr(line, ':');

		if (!value)
			continue;
		if (!strncmp(line, "vendor_id", 9))
			amd = !strcmp(value, ": AuthenticAMD\n");
		else if (!strncmp(line, "cpu family", 10))
			family = atoi(value + 1) >= 0x17;
	}
	fclose(f);
	return amd && family;
}

/* The values of ../route.h are those of the interface. */
struct verdict verdict_of(const struct dvp_path *provider,
			  const struct dvp_path *client, bool routes)
{
	struct dvp_route r = dvp_route_find(provider, client, routes);

	return (struct verdict){
		.route = r.kind,
		.reason = r.why,
		.distance = r.distance,
		.reads = r.reads,
		.writes = r.writes,
	};
}
