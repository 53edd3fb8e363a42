// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads what the kernel shows: functions, their drivers, BARs and configuration
 * space. With DMABUF_VFIO_ROOT the folder it names, a recorded tree, is "/".
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli.h"

#define RES_MEM		0x200	/* in the flags of "resource" */

const char *sys_root(void)
{
	static char real[PATH_MAX];
	static bool known;
	const char *env;

	if (known)
		return real;
	known = true;
	env = getenv("DMABUF_VFIO_ROOT");
	if (env && *env && (!realpath(env, real) || !strcmp(real, "/")))
		*real = '\0';
	return real;
}

bool is_real_root(void)
{
	return !*sys_root();
}

static int path_of(char path[PATH_MAX], const char *fmt, va_list ap)
{
	int len = snprintf(path, PATH_MAX, "%s", sys_root());

	len += vsnprintf(path + len, PATH_MAX - len, fmt, ap);
	return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* For a function whose last parameters are (const char *fmt, ...). */
#define PATH_OF(path)							\
	({								\
		va_list ap;						\
		int ret;						\
									\
		va_start(ap, fmt);					\
		ret = path_of(path, fmt, ap);				\
		va_end(ap);						\
		ret;							\
	})

int sys_open(int flags, const char *fmt, ...)
{
	char path[PATH_MAX];
	int ret = PATH_OF(path);
	int fd;

	if (ret)
		return ret;
	fd = open(path, flags | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

FILE *sys_file(const char *fmt, ...)
{
	char path[PATH_MAX];

	return PATH_OF(path) ? NULL : fopen(path, "re");
}

/* Strips newlines at the end; returns the length of the string, or -errno. */
int sys_read(char *buf, size_t size, const char *fmt, ...)
{
	char path[PATH_MAX];
	int ret = PATH_OF(path);
	size_t used = 0;
	ssize_t n = 0;
	int fd;

	*buf = '\0';
	if (ret)
		return ret;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (used < size - 1) {
		n = read(fd, buf + used, size - 1 - used);
		if (n <= 0)
			break;
		used += n;
	}
	ret = n < 0 ? -errno : 0;
	close(fd);
	if (ret)
		used = 0;
	while (used && buf[used - 1] == '\n')
		used--;
	buf[used] = '\0';
	return ret ?: (int)used;
}

/* In a single write(2): sysfs takes each as a value of its own. */
int sys_write(const char *text, const char *fmt, ...)
{
	char path[PATH_MAX];
	int ret = PATH_OF(path);
	int fd;

	if (ret)
		return ret;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* The last component of a link's target. */
int sys_link(char name[SYS_NAME], const char *fmt, ...)
{
	char path[PATH_MAX], target[PATH_MAX];
	int ret = PATH_OF(path);
	const char *slash;
	ssize_t n;

	*name = '\0';
	if (ret)
		return ret;
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	slash = strrchr(target, '/');
	snprintf(name, SYS_NAME, "%.255s", slash ? slash + 1 : target);
	return 0;
}

/* The path with all links resolved, relative to the root. */
int sys_real(char path[PATH_MAX], const char *fmt, ...)
{
	char link[PATH_MAX], real[PATH_MAX];
	int ret = PATH_OF(link);
	size_t len = strlen(sys_root());

	*path = '\0';
	if (ret)
		return ret;
	if (!realpath(link, real))
		return -errno;
	if (strncmp(real, sys_root(), len))
		return -ENOENT;
	memmove(path, real + len, strlen(real + len) + 1);
	return 0;
}

bool sys_exists(const char *fmt, ...)
{
	char path[PATH_MAX];

	return !PATH_OF(path) && !access(path, F_OK);
}

static int no_dots(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

/* The names in a folder, sorted; on an error @names is empty. */
int sys_names(struct names *names, const char *fmt, ...)
{
	char path[PATH_MAX];
	int ret = PATH_OF(path);
	struct dirent **list;
	int i, n;

	names->nr = 0;
	names->name = NULL;
	if (ret)
		return ret;
	n = scandir(path, &list, no_dots, alphasort);
	if (n < 0)
		return -errno;
	names->name = need_memory(calloc(n ?: 1, sizeof(*names->name)));
	for (i = 0; i < n; i++) {
		names->name[names->nr++] = need_memory(strdup(list[i]->d_name));
		free(list[i]);
	}
	free(list);
	return 0;
}

void names_free(struct names *names)
{
	unsigned int i;

	for (i = 0; i < names->nr; i++)
		free(names->name[i]);
	free(names->name);
	names->nr = 0;
	names->name = NULL;
}

/* --- functions */

/* Reads "[domain:]bus:device.function", writes it as sysfs does. */
int func_parse(const char *text, char bdf[BDF_LEN])
{
	u32 domain, devfn;
	int ret = dmabuf_vfio_parse_address(text, &domain, &devfn);

	if (!ret)
		snprintf(bdf, BDF_LEN, "%04x:%02x:%02x.%x", domain, devfn >> 8,
			 devfn >> 3 & 31, devfn & 7);
	return ret;
}

static u32 read_hex(const struct func *f, const char *name)
{
	char buf[32];

	if (sys_read(buf, sizeof(buf), "%s/%s", f->dir, name) < 0)
		return 0;
	return strtoul(buf, NULL, 16);
}

int func_read(struct func *f, const char *bdf)
{
	u32 devfn;
	int ret;

	memset(f, 0, sizeof(*f));
	ret = func_parse(bdf, f->bdf) ?:
	      dmabuf_vfio_parse_address(bdf, &f->domain, &devfn) ?:
	      sys_real(f->dir, "/sys/bus/pci/devices/%s", f->bdf);
	if (ret)
		return ret;
	f->devfn = devfn;
	f->vendor = read_hex(f, "vendor");
	f->device = read_hex(f, "device");
	f->class = read_hex(f, "class");
	return 0;
}

/* Reads the function whose address the user gave. Says what is wrong. */
int func_need(struct func *f, const char *text)
{
	int ret = func_read(f, text);

	switch (ret) {
	case 0:
		return 0;
	case -EINVAL:
		return fail(-EMISUSE,
			    "'%s' is not a PCI address: [domain:]bus:device.function, for example 0000:01:00.0",
			    text);
	case -ENOENT:
		return fail(ret, "there is no PCI function %s: see lspci -D",
			    f->bdf);
	default:
		return fail(ret, "%s: %s", f->bdf, strerror(-ret));
	}
}

/*
 * All functions, sorted by address; returns their number, or -errno, and says
 * what is wrong.
 */
int funcs_read(struct func **funcs)
{
	struct names names;
	unsigned int i;
	int nr = 0, ret;

	*funcs = NULL;
	ret = sys_names(&names, "/sys/bus/pci/devices");
	if (ret)
		return fail(ret, "/sys/bus/pci/devices: %s", strerror(-ret));
	*funcs = need_memory(calloc(names.nr ?: 1, sizeof(**funcs)));
	for (i = 0; i < names.nr; i++)
		if (!func_read(&(*funcs)[nr], names.name[i]))
			nr++;
	names_free(&names);
	return nr;
}

bool func_is_bridge(const struct func *f)
{
	return f->class >> 16 == 0x06;
}

/* The drop-in is called vfio-pci, and unlike the kernel's own taints. */
bool dropin_is_loaded(void)
{
	char taint[32] = "";

	sys_read(taint, sizeof(taint), "/sys/module/vfio_pci/taint");
	return strchr(taint, 'O');
}

/* Is its driver one of ours: the variant, or the drop-in? */
bool func_is_ours(const struct func *f)
{
	char driver[SYS_NAME];

	func_driver(f, driver);
	return !strcmp(driver, DRIVER) ||
	       (!strcmp(driver, DROPIN) && dropin_is_loaded());
}

/* The folder of debugfs where its driver shows the function */
const char *func_debugfs(const struct func *f)
{
	char driver[SYS_NAME];

	func_driver(f, driver);
	return strcmp(driver, DROPIN) ? DRIVER : DROPIN;
}

/* --- libpci: configuration space and names */

static void __printf(1, 2) pci_say(char *fmt, ...)
{
	(void)fmt;
}

static void __printf(1, 2) __attribute__((noreturn)) pci_fail(char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	exit(1);
}

struct pci_access *pci_access(void)
{
	static struct pci_access *acc;
	char path[PATH_MAX + 16];

	if (acc)
		return acc;
	acc = pci_alloc();
	acc->method = PCI_ACCESS_SYS_BUS_PCI;
	acc->error = pci_fail;
	acc->warning = pci_say;
	acc->debug = pci_say;
	snprintf(path, sizeof(path), "%s/sys/bus/pci", sys_root());
	pci_set_param(acc, "sysfs.path", path);
	pci_init(acc);
	return acc;
}

/* To be given to pci_free_dev(). */
struct pci_dev *func_pci(const struct func *f)
{
	return pci_get_dev(pci_access(), f->domain, f->devfn >> 8,
			   f->devfn >> 3 & 31, f->devfn & 7);
}

/* What people call it, by pci.ids; with its ids */
void func_name(const struct func *f, char *name, size_t size)
{
	char *found = pci_lookup_name(pci_access(), name, size,
				      PCI_LOOKUP_VENDOR | PCI_LOOKUP_DEVICE |
				      PCI_LOOKUP_MIXED, f->vendor, f->device);

	if (found != name)
		snprintf(name, size, "%s", found);
}

int func_numa(const struct func *f)
{
	char buf[16];

	return sys_read(buf, sizeof(buf), "%s/numa_node", f->dir) > 0 ?
		atoi(buf) : -1;
}

/* Is the path below the folder of the function? */
bool func_is_parent(const struct func *f, const char *path)
{
	size_t len = strlen(f->dir);

	return !strncmp(path, f->dir, len) && path[len] == '/';
}

void func_driver(const struct func *f, char name[SYS_NAME])
{
	sys_link(name, "%s/driver", f->dir);
}

void func_override(const struct func *f, char name[SYS_NAME])
{
	if (sys_read(name, SYS_NAME, "%s/driver_override", f->dir) < 0 ||
	    !strcmp(name, "(null)"))
		*name = '\0';
}

int func_group(const struct func *f, char name[SYS_NAME])
{
	return sys_link(name, "%s/iommu_group", f->dir);
}

/*
 * Returns the number of bytes read, or -errno: -EACCES when the kernel shows
 * this user only a part of configuration space.
 */
int func_config(const struct func *f, u8 config[4096])
{
	int fd = sys_open(O_RDONLY, "%s/config", f->dir);
	ssize_t n, used = 0;
	off_t size;

	if (fd < 0)
		return fd;
	memset(config, 0, 4096);
	size = lseek(fd, 0, SEEK_END);
	lseek(fd, 0, SEEK_SET);
	while (used < 4096) {
		n = read(fd, config + used, 4096 - used);
		if (n <= 0)
			break;
		used += n;
	}
	close(fd);
	return used < size && used <= 64 ? -EACCES : (int)used;
}

void func_bars(const struct func *f, struct bar bars[6])
{
	char buf[2048], *save, *line;
	int i = 0;

	memset(bars, 0, 6 * sizeof(*bars));
	if (sys_read(buf, sizeof(buf), "%s/resource", f->dir) < 0)
		return;
	for (line = strtok_r(buf, "\n", &save); line && i < 6;
	     line = strtok_r(NULL, "\n", &save), i++) {
		unsigned long long start, end, flags;

		if (sscanf(line, "%llx %llx %llx", &start, &end, &flags) != 3 ||
		    !flags)
			continue;
		bars[i].start = start;
		bars[i].size = end - start + 1;
		bars[i].memory = flags & RES_MEM;
	}
}

bool func_has_memory(const struct func *f)
{
	u64 page = sysconf(_SC_PAGESIZE);
	struct bar bars[6];
	int i;

	func_bars(f, bars);
	for (i = 0; i < 6; i++)
		if (bars[i].memory && bars[i].size >= page)
			return true;
	return false;
}

const char *kernel_release(void)
{
	static char release[128];
	struct utsname uts;

	if (*release)
		return release;
	if (sys_read(release, sizeof(release),
		     "/proc/sys/kernel/osrelease") <= 0 && !uname(&uts))
		snprintf(release, sizeof(release), "%s", uts.release);
	return release;
}
