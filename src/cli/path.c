// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads a function's path to its root complex from sysfs, as ../path.c does in
 * the kernel, so that ../route.c gives the same verdict.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

#define ACS_REDIRECTS	(PCI_ACS_CTRL_REQ_RED | PCI_ACS_CTRL_CMPLT_RED | \
			 PCI_ACS_CTRL_EGRESS)

/* The kernel shows only root more than the first 64 bytes. */
static int read_all(struct pci_dev *dev, const struct func *f)
{
	struct stat st;
	u8 byte;
	int fd = sys_open(O_RDONLY, "%s/config", f->dir);
	int ret = 0;

	if (fd < 0)
		return fd;
	if (!fstat(fd, &st) && st.st_size > 64 &&
	    !pci_read_block(dev, 64, &byte, 1))
		ret = -EACCES;
	close(fd);
	return ret;
}

static bool redirects(struct pci_dev *dev)
{
	struct pci_cap *acs = pci_find_cap(dev, PCI_EXT_CAP_ID_ACS,
					   PCI_CAP_EXTENDED);

	return acs && pci_read_word(dev, acs->addr + PCI_ACS_CTRL) &
		      ACS_REDIRECTS;
}

static bool is_root_port(struct pci_dev *dev)
{
	struct pci_cap *exp = pci_find_cap(dev, PCI_CAP_ID_EXP, PCI_CAP_NORMAL);

	return exp && (pci_read_word(dev, exp->addr + PCI_EXP_FLAGS) &
		       PCI_EXP_FLAGS_TYPE) >> 4 == PCI_EXP_TYPE_ROOT_PORT;
}

/*
 * Numbers as dvp_id() and ../path.c make them. A domain may have 32 bits: VMD's
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

/* Does the module's parameter hosts name it? As the module shows that. */
static bool host_is_named(u16 vendor, u16 device)
{
	static const char * const modules[] = { MODULE, DROPIN_MODULE };
	char list[256], host[12];
	size_t i;

	snprintf(host, sizeof(host), "%04x:%04x", vendor, device);
	for (i = 0; i < ARRAY_SIZE(modules); i++)
		if (sys_read(list, sizeof(list),
			     "/sys/module/%s/parameters/hosts",
			     modules[i]) > 0 && strstr(list, host))
			return true;
	return false;
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
	int ret = 0;

	name = strrchr(host, '/');
	if (!name || sscanf(name, "/pci%x:%x", &d, &b) != 2)
		return 0;
	path->root = bus_id(d, b);
	if (sys_names(&names, "%s", host))
		return 0;
	for (i = 0; i < names.nr; i++) {
		struct func first;
		struct pci_dev *dev;
		char bdf[BDF_LEN];

		if (func_parse(names.name[i], bdf) || func_read(&first, bdf))
			continue;
		dev = func_pci(&first);
		ret = read_all(dev, &first);
		if (ret != -EACCES &&
		    (!(first.devfn & 0xff) || (!ret && is_root_port(dev)))) {
			path->root_vendor = first.vendor;
			path->root_device = first.device;
			path->root_named = host_is_named(first.vendor,
							 first.device);
		}
		pci_free_dev(dev);
		break;
	}
	names_free(&names);
	return ret == -EACCES ? ret : 0;
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
		struct pci_dev *dev;
		char bdf[BDF_LEN];
		int ret;

		if (func_parse(slash + 1, bdf) || func_read(&hop, bdf))
			break;
		if (path->nr_hops == DVP_PATH_MAX) {
			path->nr_hops = 0;
			break;
		}
		dev = func_pci(&hop);
		ret = read_all(dev, &hop);
		path->hop[path->nr_hops].id = func_id(&hop);
		path->hop[path->nr_hops].redirects = !ret && redirects(dev);
		path->nr_hops++;
		pci_free_dev(dev);
		if (ret)
			return ret;
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
