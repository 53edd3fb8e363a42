// SPDX-License-Identifier: GPL-2.0-only
/*
 * A function's way to its root complex, read from sysfs as the driver's
 * topo.c reads it in the kernel, so that ../route.c gives the same verdict.
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
 * One number for a function: 32 bits do not hold every domain and address, as
 * VMD's domains have more than 16, so they are numbered as they come.
 */
static u32 id_of(const struct func *f)
{
	static u64 *known;
	static u32 nr;
	u64 key = (u64)f->domain << 16 | f->devfn, *more;
	u32 i;

	for (i = 0; i < nr; i++)
		if (known[i] == key)
			return i;
	more = realloc(known, (nr + 1) * sizeof(*known));
	if (!more)
		exit(fail(EX_FAILED, "out of memory"));
	known = more;
	known[nr] = key;
	return nr++;
}

/*
 * The functions of the root bus are those whose folder is right below that of
 * the host bridge. The kernel takes the first it has found; it looks for them
 * in the order of their addresses.
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
	path->root = d << 8 | b;
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
 * path_read() - find a function's way to its root complex
 * @f: the function
 * @path: out; without hops when the tree is deeper than DVP_PATH_MAX
 *
 * Return: 0, or -EACCES when only root can see enough of configuration space.
 */
int path_read(const struct func *f, struct dvp_path *path)
{
	char dir[PATH_MAX], *slash;
	int ret;

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
		path->hop[path->nr_hops].id = id_of(&hop);
		path->hop[path->nr_hops].redirects = redirects(config, len);
		path->nr_hops++;
		*slash = '\0';
	}
	ret = read_host_bridge(dir, path);
	return ret;
}

/* As dvp_cpu_routes_p2p(): AMD's root complexes do since family 17h. */
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

/* ../route.c counts as the interface does: node.c asserts on it. */
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
