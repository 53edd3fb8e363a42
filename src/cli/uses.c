// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a function is in use for, so that taking it from its driver would do
 * harm: mounted disks, swap, network interfaces, the console, and VFIO users.
 */
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

/* --- disks */

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/*
 * Compares the device's number, and its name for a file system with a number of
 * its own (btrfs).
 */
static bool is_mounted(const char *name, const char *number, char *where)
{
	char line[8192];
	bool found = false;
	FILE *f;

	f = sys_file("/proc/self/mountinfo");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		char dev[32], point[4096], source[4096] = "";
		const char *dash = strstr(line, " - ");

		if (sscanf(line, "%*s %*s %31s %*s %4095s", dev, point) != 2)
			continue;
		if (dash && sscanf(dash, " - %*s %4095s", source) != 1)
			*source = '\0';
		found = !strcmp(dev, number) ||
			(!strncmp(source, "/dev/", 5) &&
			 !strcmp(base_of(source), name));
		if (found)
			snprintf(where, SYS_NAME, "%.255s", point);
	}
	fclose(f);
	return found;
}

static bool is_swap(const char *name)
{
	char line[4096], path[4096];
	bool found = false;
	FILE *f;

	f = sys_file("/proc/swaps");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%4095s", path) == 1 &&
			!strncmp(path, "/dev/", 5) &&
			!strcmp(base_of(path), name);
	fclose(f);
	return found;
}

/*
 * The kernel lets a disk be opened exclusively once. A mount does that, in any
 * mount namespace, and so do RAID, LVM and the like.
 */
static bool is_claimed(const char *name)
{
	int fd = sys_open(O_RDONLY | O_EXCL | O_NONBLOCK, "/dev/%s", name);

	if (fd >= 0)
		close(fd);
	return fd == -EBUSY;
}

static void disk_uses(const char *name, struct val *uses)
{
	char number[32], where[SYS_NAME];
	struct names holders;
	bool any = true;

	if (sys_read(number, sizeof(number), "/sys/class/block/%s/dev",
		     name) < 0)
		return;
	if (is_mounted(name, number, where))
		val_add(uses, val_str("disk %s is mounted on %s", name, where));
	else if (is_swap(name))
		val_add(uses, val_str("disk %s is swap", name));
	else
		any = false;
	sys_names(&holders, "/sys/class/block/%s/holders", name);
	if (holders.nr)
		val_add(uses, val_str("disk %s is part of %s", name,
				      holders.name[0]));
	else if (!any && is_claimed(name))
		val_add(uses, val_str("disk %s is in use", name));
	names_free(&holders);
}

/*
 * A multipath NVMe disk is below its subsystem, not below one of the
 * controllers that lead to it.
 */
static bool is_by_subsystem(const struct func *f, const char *path)
{
	char subsystem[PATH_MAX], real[PATH_MAX], *slash;
	struct names names;
	bool found = false;
	unsigned int i;

	if (!strstr(path, "/nvme-subsystem/"))
		return false;
	snprintf(subsystem, sizeof(subsystem), "%s", path);
	slash = strchr(strstr(subsystem, "/nvme-subsystem/") + 16, '/');
	if (slash)
		*slash = '\0';
	sys_names(&names, "%s", subsystem);
	for (i = 0; i < names.nr && !found; i++)
		found = !sys_real(real, "%s/%s", subsystem, names.name[i]) &&
			func_is_parent(f, real);
	names_free(&names);
	return found;
}

static void all_disk_uses(const struct func *f, struct val *uses)
{
	char path[PATH_MAX];
	struct names names;
	unsigned int i;

	sys_names(&names, "/sys/class/block");
	for (i = 0; i < names.nr; i++)
		if (!sys_real(path, "/sys/class/block/%s", names.name[i]) &&
		    (func_is_parent(f, path) || is_by_subsystem(f, path)))
			disk_uses(names.name[i], uses);
	names_free(&names);
}

/* --- network */

static bool has_address(const char *name)
{
	struct ifaddrs *list, *a;
	bool found = false;

	if (!is_real_root() || getifaddrs(&list))
		return false;
	for (a = list; a && !found; a = a->ifa_next)
		found = a->ifa_addr && !strcmp(a->ifa_name, name) &&
			(a->ifa_addr->sa_family == AF_INET ||
			 a->ifa_addr->sa_family == AF_INET6);
	freeifaddrs(list);
	return found;
}

static void net_uses(const struct func *f, struct val *uses)
{
	char path[PATH_MAX], buf[64], master[SYS_NAME];
	struct names names;
	unsigned int i;

	sys_names(&names, "/sys/class/net");
	for (i = 0; i < names.nr; i++) {
		const char *name = names.name[i];

		if (sys_real(path, "/sys/class/net/%s", name) ||
		    !func_is_parent(f, path))
			continue;
		if (sys_read(buf, sizeof(buf), "%s/flags", path) > 0 &&
		    strtoul(buf, NULL, 16) & IFF_UP)
			val_add(uses, val_str("network interface %s is up",
					      name));
		else if (has_address(name))
			val_add(uses, val_str("network interface %s has an address",
					      name));
		else if (!sys_link(master, "%s/master", path))
			val_add(uses, val_str("network interface %s is part of %s",
					      name, master));
	}
	names_free(&names);
}

/* --- console */

static bool fbcon_is_bound(void)
{
	struct names names;
	bool bound = false;
	char buf[64];
	unsigned int i;

	sys_names(&names, "/sys/class/vtconsole");
	for (i = 0; i < names.nr && !bound; i++)
		bound = sys_read(buf, sizeof(buf), "/sys/class/vtconsole/%s/name",
				 names.name[i]) > 0 &&
			strstr(buf, "frame buffer") &&
			sys_read(buf, sizeof(buf), "/sys/class/vtconsole/%s/bind",
				 names.name[i]) > 0 && *buf == '1';
	names_free(&names);
	return bound;
}

static void console_uses(const struct func *f, struct val *uses)
{
	char buf[256], path[PATH_MAX], *save, *tty;
	struct names names;
	unsigned int i;

	if (sys_read(buf, sizeof(buf), "%s/boot_vga", f->dir) > 0 &&
	    *buf == '1')
		val_add(uses, val_str("it is the display that the machine "
				      "booted with"));
	sys_names(&names, "/sys/class/graphics");
	for (i = 0; i < names.nr; i++)
		if (!strncmp(names.name[i], "fb", 2) &&
		    !sys_real(path, "/sys/class/graphics/%s", names.name[i]) &&
		    func_is_parent(f, path) && fbcon_is_bound())
			val_add(uses, val_str("the console is on its frame buffer %s",
					      names.name[i]));
	names_free(&names);

	if (sys_read(buf, sizeof(buf), "/sys/class/tty/console/active") <= 0)
		return;
	for (tty = strtok_r(buf, " \n", &save); tty;
	     tty = strtok_r(NULL, " \n", &save))
		if (!sys_real(path, "/sys/class/tty/%s", tty) &&
		    func_is_parent(f, path))
			val_add(uses, val_str("it has the console %s", tty));
}

/* --- VFIO */

/*
 * Our own driver knows whether this function is open. For another driver the
 * group has to do: only one program can have it open, for any of its functions.
 */
bool func_is_held(const struct func *f)
{
	char group[SYS_NAME], driver[SYS_NAME];
	struct state state;
	int fd;

	state_read(f, &state);
	if (state.known)
		return !(state.reasons & DMABUF_VFIO_REASON_CLOSED);
	func_driver(f, driver);
	if (!strstr(driver, "vfio") || func_group(f, group))
		return false;
	fd = sys_open(O_RDWR, "/dev/vfio/%s", group);
	if (fd == -ENOENT)
		fd = sys_open(O_RDWR, "/dev/vfio/noiommu-%s", group);
	if (fd >= 0)
		close(fd);
	return fd == -EBUSY;
}

/* An array of texts; empty: the function is not in use. */
struct val *func_uses(const struct func *f)
{
	struct val *uses = val_array();

	all_disk_uses(f, uses);
	net_uses(f, uses);
	console_uses(f, uses);
	if (func_is_held(f))
		val_add(uses, val_str("a program has it open through VFIO"));
	return uses;
}
