// SPDX-License-Identifier: GPL-2.0-only
/*
 * Binding, opening and reaching PCI functions through VFIO.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vfio.h"

#define PCI_DEVICES	"/sys/bus/pci/devices"
#define PCI_DRIVERS	"/sys/bus/pci/drivers"
#define MAX_FUNCTIONS	256
#define MAX_GROUPS	32

/* --- names */

const char *vfio_driver(void)
{
	const char *name = getenv("DVP_DRIVER");

	return name && *name ? name : VARIANT_DRIVER;
}

const char *vfio_module(void)
{
	static char name[64];

	snprintf(name, sizeof(name), "%s", vfio_driver());
	for (char *c = name; (c = strchr(c, '-'));)
		*c = '_';
	return name;
}

bool vfio_is_dropin(void)
{
	return !strcmp(vfio_driver(), STOCK_DRIVER) &&
	       t_bench_is("dropin", "1");
}

bool vfio_is_stock(void)
{
	return !strcmp(vfio_driver(), STOCK_DRIVER) && !vfio_is_dropin();
}

bool vfio_has_exporter(void)
{
	return !vfio_is_stock() || t_kernel_since(7, 2);
}

const char *vfio_exporter(void)
{
	return vfio_is_stock() ? "vfio_pci_core" : vfio_module();
}

const char *vfio_other_driver(void)
{
	return vfio_is_dropin() ? VARIANT_DRIVER : STOCK_DRIVER;
}

const char *vfio_debugfs(const char *bdf, const char *file)
{
	static char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s/%s",
		 vfio_driver(), bdf, file);
	return path;
}

static const char *find_role(const char *role)
{
	static char found[8][VFIO_BDF_LEN];
	static int next;
	char buf[4096], *save, *line;

	if (t_read(buf, sizeof(buf), "/etc/topology") < 0)
		return NULL;
	for (line = strtok_r(buf, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char name[32], bdf[VFIO_BDF_LEN];

		if (sscanf(line, "%31s %15s", name, bdf) != 2 ||
		    strcmp(name, role))
			continue;
		next = (next + 1) % ARRAY_SIZE(found);
		memcpy(found[next], bdf, sizeof(bdf));
		return found[next];
	}
	return NULL;
}

bool t_has_role(const char *role)
{
	return find_role(role);
}

u64 t_big_size(void)
{
	return t_debug_kernel() ? GIB(8) : GIB(64);
}

/* Only there since vfio_open_pf(), and so not in the topology. */
static const char *first_vf(void)
{
	const char *pf = find_role("pf");
	static char target[256];
	char path[128];
	char *slash;
	ssize_t n;

	if (!pf)
		return NULL;
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/virtfn0", pf);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return NULL;
	target[n] = 0;
	slash = strrchr(target, '/');
	return slash ? slash + 1 : NULL;
}

const char *t_role(const char *role)
{
	const char *bdf = strcmp(role, "vf") ? find_role(role) : first_vf();

	if (!bdf)
		t_skip("the bench has no %s", role);
	return bdf;
}

/* --- binding */

const char *vfio_driver_of(const char *bdf)
{
	static char buf[256];
	char path[128];
	char *slash;
	ssize_t n;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver", bdf);
	n = readlink(path, buf, sizeof(buf) - 1);
	if (n < 0)
		return "";
	buf[n] = 0;
	slash = strrchr(buf, '/');
	return slash ? slash + 1 : buf;
}

int vfio_group_of(const char *bdf)
{
	char path[128], buf[256], *slash;
	ssize_t n;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/iommu_group", bdf);
	n = readlink(path, buf, sizeof(buf) - 1);
	if (n < 0)
		return -1;
	buf[n] = 0;
	slash = strrchr(buf, '/');
	return slash ? atoi(slash + 1) : -1;
}

static int set_override(const char *bdf, const char *driver)
{
	return t_write(driver && *driver ? driver : "\n",
		       PCI_DEVICES "/%s/driver_override", bdf);
}

int vfio_try_bind(const char *bdf, const char *driver)
{
	int ret;

	if (!driver)
		driver = "";
	if (strcmp(vfio_driver_of(bdf), driver) && *vfio_driver_of(bdf)) {
		ret = t_write(bdf, PCI_DEVICES "/%s/driver/unbind", bdf);
		if (ret && ret != -ENOENT)
			return ret;
	}
	ret = set_override(bdf, driver);
	if (ret || !strcmp(vfio_driver_of(bdf), driver))
		return ret;
	/* Not drivers_probe, which doesn't say why it didn't bind. */
	return t_write(bdf, PCI_DRIVERS "/%s/bind", driver);
}

bool vfio_share_a_group(const char *role, const char *other)
{
	int group = vfio_group_of(t_role(role));

	return group >= 0 && group == vfio_group_of(t_role(other));
}

/* Without an IOMMU, VFIO must be told that this is wanted. */
static void allow_noiommu(const char *bdf)
{
	static const char allow[] =
		"/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
	int ret;

	if (vfio_group_of(bdf) >= 0)
		return;
	ret = t_write("Y", "%s", allow);
	if (ret == -ENOENT)
		t_skip("no IOMMU, and this kernel's VFIO wants one");
	expect_eq(ret, 0);
}

void vfio_bind(const char *bdf, const char *driver)
{
	int ret;

	if (driver && strstr(driver, "vfio"))
		allow_noiommu(bdf);
	ret = vfio_try_bind(bdf, driver);
	if (ret)
		t_fail("cannot bind %s to %s: %s", bdf,
		       driver ? driver : "nothing", t_errno_name(-ret));
	expect(!strcmp(vfio_driver_of(bdf), driver ? driver : ""),
	       "%s is bound to '%s'", bdf, vfio_driver_of(bdf));
}

void vfio_unbind(const char *bdf)
{
	vfio_bind(bdf, NULL);
}

int vfio_rmmod(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

void vfio_modprobe(const char *module)
{
	char command[128];

	snprintf(command, sizeof(command), "modprobe %s", module);
	expect_eq(system(command), 0);
	expect(t_exists("/sys/module/%s", module));
}

#define STOCK_FILE	"/lib/modules/*/kernel/drivers/vfio/pci/vfio-pci.ko"

/* Exists while a module is loaded that the harness did not load. */
#define RELOAD_MARK	"/tmp/reload"

static void remove_module(const char *module)
{
	int ret = 0;

	if (t_exists("/sys/module/%s", module))
		ret = vfio_rmmod(module);
	if (ret)
		t_fail("cannot unload %s: %s", module, t_errno_name(-ret));
}

void vfio_load_stock(void)
{
	expect_eq(close(open(RELOAD_MARK, O_CREAT | O_WRONLY, 0600)), 0);
	remove_module(STOCK_MODULE);
	expect_eq(system("insmod " STOCK_FILE), 0);
}

void vfio_load(const char *params)
{
	char command[256];

	expect_eq(close(open(RELOAD_MARK, O_CREAT | O_WRONLY, 0600)), 0);
	remove_module(vfio_module());
	snprintf(command, sizeof(command), "modprobe %s %s", vfio_module(),
		 params ? params : "");
	expect_eq(system(command), 0);
	if (!params)
		expect_ok(unlink(RELOAD_MARK));
}

#define GRACE_FILE	"/sys/module/%s/parameters/grace_ms"

void vfio_grace(unsigned int ms)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", ms);
	expect_eq(t_write(text, GRACE_FILE, vfio_module()), 0);
}

unsigned int vfio_grace_ms(void)
{
	char text[16];

	expect_ge(t_read(text, sizeof(text), GRACE_FILE, vfio_module()), 1);
	return strtoul(text, NULL, 10);
}

static char old_grace[16];

static void remember_grace(void)
{
	if (t_read(old_grace, sizeof(old_grace), GRACE_FILE,
		   vfio_module()) < 1)
		old_grace[0] = 0;
}

static void restore_grace(void)
{
	char text[16];

	if (!old_grace[0] ||
	    t_read(text, sizeof(text), GRACE_FILE, vfio_module()) < 1 ||
	    !strcmp(text, old_grace))
		return;
	if (t_write(old_grace, GRACE_FILE, vfio_module()))
		t_note("cannot put grace_ms back");
}

static const struct t_around around_grace = {
	.before = remember_grace,
	.after = restore_grace,
};

__attribute__((constructor)) static void register_grace(void)
{
	t_register_around(&around_grace);
}

/* Bound to a driver whose functions leave their group viable */
static bool harmless(const char *bdf)
{
	const char *name = vfio_driver_of(bdf);

	return !*name || strstr(name, "vfio") || !strcmp(name, "pci-stub") ||
	       !strcmp(name, "pcieport");
}

void vfio_free_group(const char *bdf, const char *driver)
{
	int group = vfio_group_of(bdf);
	char header[8], path[128];
	struct dirent *e;
	DIR *dir;

	if (group < 0)
		return;
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/devices",
		 group);
	dir = opendir(path);
	expect(dir, "no %s", path);
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		if (!harmless(e->d_name))
			vfio_unbind(e->d_name);
		/* A bridge is nothing that vfio drivers take. */
		if (driver && t_read(header, sizeof(header), PCI_DEVICES
				     "/%s/class", e->d_name) > 0 &&
		    strncmp(header, "0x0604", 6))
			vfio_bind(e->d_name, driver);
	}
	closedir(dir);
}

/* What every function is bound to, so that it can be had back. */
static struct binding {
	char bdf[VFIO_BDF_LEN];
	char driver[64];
	char override[64];
} bindings[MAX_FUNCTIONS];

static int nr_bindings;
static bool had_module;

static void remember_bindings(void)
{
	DIR *dir = opendir(PCI_DEVICES);
	struct dirent *e;

	nr_bindings = 0;
	had_module = t_exists("/sys/module/%s", vfio_module());
	while (dir && (e = readdir(dir)) && nr_bindings < MAX_FUNCTIONS) {
		struct binding *b = &bindings[nr_bindings];

		if (e->d_name[0] == '.')
			continue;
		snprintf(b->bdf, sizeof(b->bdf), "%.15s", e->d_name);
		snprintf(b->driver, sizeof(b->driver), "%.63s",
			 vfio_driver_of(b->bdf));
		t_read(b->override, sizeof(b->override),
		       PCI_DEVICES "/%s/driver_override", b->bdf);
		if (!strcmp(b->override, "(null)"))
			b->override[0] = 0;
		nr_bindings++;
	}
	if (dir)
		closedir(dir);
}

static void restore_binding(const struct binding *b)
{
	char override[64];

	if (!t_exists(PCI_DEVICES "/%s", b->bdf))
		return;
	t_read(override, sizeof(override), PCI_DEVICES "/%s/driver_override",
	       b->bdf);
	if (!strcmp(override, "(null)"))
		override[0] = 0;
	if (strcmp(vfio_driver_of(b->bdf), b->driver)) {
		vfio_unbind(b->bdf);
		override[0] = 0;
	}
	if (strcmp(override, b->override))
		set_override(b->bdf, b->override);
	if (!strcmp(vfio_driver_of(b->bdf), b->driver))
		return;
	/* The driver may have been unloaded by the case. */
	if (t_write(b->bdf, PCI_DRIVERS "/%s/bind", b->driver))
		t_note("cannot bind %s back to %s", b->bdf, b->driver);
}

/*
 * While their PF is bound: 7.3 removes those of a PF that is unbound without a
 * lock that it then misses.
 */
static void drop_vfs(const char *bdf)
{
	char text[16];

	if (t_read(text, sizeof(text), PCI_DEVICES "/%s/sriov_numvfs",
		   bdf) > 0 && strcmp(text, "0"))
		t_write("0", PCI_DEVICES "/%s/sriov_numvfs", bdf);
}

/* Unbind all first: a host driver cannot bind in a group that VFIO uses. */
static void restore_bindings(void)
{
	for (int i = 0; i < nr_bindings; i++)
		drop_vfs(bindings[i].bdf);
	if (t_exists(RELOAD_MARK)) {
		for (int i = 0; i < nr_bindings; i++)
			if (t_exists(PCI_DEVICES "/%s", bindings[i].bdf) &&
			    !strcmp(vfio_driver_of(bindings[i].bdf),
				    vfio_driver()))
				vfio_unbind(bindings[i].bdf);
		vfio_load(NULL);
	}
	if (had_module && !t_exists("/sys/module/%s", vfio_module()))
		vfio_modprobe(vfio_module());
	for (int i = 0; i < nr_bindings; i++) {
		const struct binding *b = &bindings[i];

		if (t_exists(PCI_DEVICES "/%s", b->bdf) &&
		    *vfio_driver_of(b->bdf) &&
		    strcmp(vfio_driver_of(b->bdf), b->driver))
			vfio_unbind(b->bdf);
	}
	for (int i = 0; i < nr_bindings; i++)
		restore_binding(&bindings[i]);
}

static const struct t_around around_bindings = {
	.before = remember_bindings,
	.after = restore_bindings,
};

__attribute__((constructor)) static void register_bindings(void)
{
	t_register_around(&around_bindings);
}

/* --- opening */

/* Groups open in this process: VFIO lets a group be opened only once. */
static struct open_group {
	int id;
	int users;
	int group;
	int container;
	bool noiommu;
} groups[MAX_GROUPS];

static int open_container(struct open_group *g)
{
	int type = g->noiommu ? VFIO_NOIOMMU_IOMMU : VFIO_TYPE1v2_IOMMU;
	struct vfio_group_status status = { .argsz = sizeof(status) };

	g->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (g->container < 0)
		return -errno;
	if (ioctl(g->group, VFIO_GROUP_GET_STATUS, &status))
		goto err_close;
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
		errno = EBUSY;
		goto err_close;
	}
	if (ioctl(g->group, VFIO_GROUP_SET_CONTAINER, &g->container) ||
	    ioctl(g->container, VFIO_SET_IOMMU, type))
		goto err_close;
	return 0;

err_close:
	type = -errno;
	close(g->container);
	return type;
}

static int open_group(int id, struct open_group **group)
{
	struct open_group *g = NULL;
	char path[64];
	int ret;

	for (int i = 0; i < MAX_GROUPS; i++) {
		if (groups[i].users && groups[i].id == id) {
			groups[i].users++;
			*group = &groups[i];
			return 0;
		}
		if (!groups[i].users && !g)
			g = &groups[i];
	}
	expect(g, "too many groups open");

	snprintf(path, sizeof(path), "/dev/vfio/%d", id);
	g->noiommu = access(path, F_OK);
	if (g->noiommu)
		snprintf(path, sizeof(path), "/dev/vfio/noiommu-%d", id);
	g->group = open(path, O_RDWR | O_CLOEXEC);
	if (g->group < 0)
		return -errno;
	ret = open_container(g);
	if (ret) {
		close(g->group);
		return ret;
	}
	g->id = id;
	g->users = 1;
	*group = g;
	return 0;
}

static void put_group(const struct vfio_dev *dev, bool shut)
{
	for (int i = 0; i < MAX_GROUPS; i++) {
		if (!groups[i].users || groups[i].id != dev->group_id)
			continue;
		if (--groups[i].users || !shut)
			return;
		close(groups[i].group);
		close(groups[i].container);
		return;
	}
}

/* The users of a PF and of its VFs know a secret in common. */
#define VF_TOKEN	"2f3b1c66-2a3c-4f0e-9a3e-5d1d0c8f7a11"

int vfio_device_fd(const struct vfio_dev *dev)
{
	bool shares = t_exists(PCI_DEVICES "/%s/sriov_totalvfs", dev->bdf) ||
		      t_exists(PCI_DEVICES "/%s/physfn", dev->bdf);
	char name[VFIO_BDF_LEN + 64];
	int fd;

	snprintf(name, sizeof(name), "%s%s", dev->bdf,
		 shares ? " vf_token=" VF_TOKEN : "");
	fd = ioctl(dev->group, VFIO_GROUP_GET_DEVICE_FD, name);
	return fd < 0 ? -errno : fd;
}

int vfio_try_open_bdf(const char *bdf, struct vfio_dev **devp)
{
	struct vfio_dev *dev = calloc(1, sizeof(*dev));
	struct open_group *g = NULL;
	int ret;

	expect(dev);
	snprintf(dev->bdf, sizeof(dev->bdf), "%s", bdf);
	dev->group_id = vfio_group_of(bdf);
	ret = dev->group_id < 0 ? -ENODEV : open_group(dev->group_id, &g);
	if (ret)
		goto err_free;
	dev->group = g->group;
	dev->container = g->container;
	dev->noiommu = g->noiommu;
	dev->fd = vfio_device_fd(dev);
	if (dev->fd < 0) {
		ret = dev->fd;
		goto err_group;
	}
	dev->info.argsz = sizeof(dev->info);
	expect_ok(ioctl(dev->fd, VFIO_DEVICE_GET_INFO, &dev->info));
	*devp = dev;
	return 0;

err_group:
	put_group(dev, true);
err_free:
	free(dev);
	return ret;
}

struct vfio_dev *vfio_open_bdf(const char *bdf, const char *driver)
{
	struct vfio_dev *dev;
	int ret;

	vfio_free_group(bdf, NULL);
	vfio_bind(bdf, driver);
	ret = vfio_try_open_bdf(bdf, &dev);
	if (ret)
		t_fail("cannot open %s: %s", bdf, t_errno_name(-ret));
	return dev;
}

struct vfio_dev *vfio_open(const char *role)
{
	return vfio_open_bdf(t_role(role), vfio_driver());
}

struct vfio_dev *vfio_open_exporter(const char *role)
{
	if (!vfio_has_exporter())
		t_skip("the stock driver of this kernel exports nothing");
	return vfio_open(role);
}

/*
 * The files of a process that ends are released in the reverse order of their
 * descriptors: the PF's, opened first, last. Its reset takes away QEMU's VFs.
 */
struct vfio_dev *vfio_open_pf(void)
{
	struct vfio_dev *dev = vfio_open("pf");

	expect_eq(t_write("Y", "/sys/module/%s/parameters/enable_sriov",
			  vfio_module()), 0);
	expect_eq(t_write("1", PCI_DEVICES "/%s/sriov_numvfs", dev->bdf), 0);
	expect(first_vf(), "it has no VF");
	return dev;
}

void vfio_close(struct vfio_dev *dev)
{
	expect_ok(close(dev->fd));
	put_group(dev, true);
	free(dev);
}

void vfio_forget(struct vfio_dev *dev)
{
	put_group(dev, false);
	free(dev);
}

/* --- resets, revokes */

int vfio_hot_reset(const struct vfio_dev *dev, int other_group)
{
	struct {
		struct vfio_pci_hot_reset head;
		int groups[2];
	} arg = {};

	arg.head.argsz = sizeof(arg);
	arg.head.count = other_group == dev->group ? 1 : 2;
	arg.groups[0] = dev->group;
	arg.groups[1] = other_group;
	return ioctl(dev->fd, VFIO_DEVICE_PCI_HOT_RESET, &arg) ? -errno : 0;
}

int vfio_revoke(int vfio, int fd)
{
	struct vfio_pci_dmabuf_revoke arg = {
		.argsz = sizeof(arg),
		.dmabuf_fd = fd,
	};

	return ioctl(vfio, VFIO_DEVICE_PCI_DMABUF_REVOKE, &arg) < 0 ?
	       -errno : 0;
}

/* --- regions */

struct vfio_region_info *vfio_region(const struct vfio_dev *dev,
				     u32 index)
{
	struct vfio_region_info *info = calloc(1, sizeof(*info));
	u32 size = sizeof(*info);

	expect(info);
	for (;;) {
		info->argsz = size;
		info->index = index;
		expect_ok(ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, info));
		if (info->argsz <= size)
			return info;
		size = info->argsz;
		free(info);
		info = calloc(1, size);
		expect(info);
	}
}

const void *vfio_region_cap(const struct vfio_region_info *info, u16 id)
{
	const struct vfio_info_cap_header *cap;
	u32 offset = info->cap_offset;

	if (!(info->flags & VFIO_REGION_INFO_FLAG_CAPS))
		return NULL;
	while (offset) {
		cap = (const void *)((const char *)info + offset);
		if (cap->id == id)
			return cap;
		offset = cap->next;
	}
	return NULL;
}

u64 vfio_bar_size(const struct vfio_dev *dev, int bar)
{
	struct vfio_region_info *info = vfio_region(dev, bar);
	u64 size = info->size;

	free(info);
	return size;
}

u64 vfio_region_offset(const struct vfio_dev *dev, u32 index)
{
	struct vfio_region_info *info = vfio_region(dev, index);
	u64 offset = info->offset;

	free(info);
	return offset;
}

bool vfio_bar_is_io(const struct vfio_dev *dev, int bar)
{
	return vfio_cfg_read(dev, PCI_BASE_ADDRESS_0 + 4 * bar, 4) &
	       PCI_BASE_ADDRESS_SPACE_IO;
}

int vfio_try_pread(const struct vfio_dev *dev, u32 region, void *buf,
		   size_t len, u64 offset)
{
	ssize_t n = pread(dev->fd, buf, len,
			  vfio_region_offset(dev, region) + offset);

	return n < 0 ? -errno : n;
}

int vfio_try_pwrite(const struct vfio_dev *dev, u32 region,
		    const void *buf, size_t len, u64 offset)
{
	ssize_t n = pwrite(dev->fd, buf, len,
			   vfio_region_offset(dev, region) + offset);

	return n < 0 ? -errno : n;
}

u32 vfio_cfg_read(const struct vfio_dev *dev, u32 offset, size_t size)
{
	u32 value = 0;

	expect_eq(vfio_try_pread(dev, VFIO_PCI_CONFIG_REGION_INDEX, &value,
				 size, offset), size);
	return value;
}

void vfio_cfg_write(const struct vfio_dev *dev, u32 offset, size_t size,
		    u32 value)
{
	expect_eq(vfio_try_pwrite(dev, VFIO_PCI_CONFIG_REGION_INDEX, &value,
				  size, offset), size);
}

int vfio_find_cap(const struct vfio_dev *dev, u8 id)
{
	u32 pos = PCI_CAPABILITY_LIST;

	if (!(vfio_cfg_read(dev, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST))
		return 0;
	for (int ttl = 48; ttl; ttl--) {
		pos = vfio_cfg_read(dev, pos, 1) & ~3u;
		if (pos < PCI_STD_HEADER_SIZEOF)
			return 0;
		if (vfio_cfg_read(dev, pos + PCI_CAP_LIST_ID, 1) == id)
			return pos;
		pos += PCI_CAP_LIST_NEXT;
	}
	return 0;
}

int vfio_find_ecap(const struct vfio_dev *dev, u16 id)
{
	struct vfio_region_info *info;
	u32 pos = PCI_CFG_SPACE_SIZE;
	u64 size;

	info = vfio_region(dev, VFIO_PCI_CONFIG_REGION_INDEX);
	size = info->size;
	free(info);
	if (size <= PCI_CFG_SPACE_SIZE)
		return 0;
	for (int ttl = 960; ttl && pos >= PCI_CFG_SPACE_SIZE; ttl--) {
		u32 header = vfio_cfg_read(dev, pos, 4);

		if (!header || header == ~0u)
			return 0;
		if (PCI_EXT_CAP_ID(header) == id)
			return pos;
		pos = PCI_EXT_CAP_NEXT(header);
	}
	return 0;
}

static void set_command(const struct vfio_dev *dev, u32 bit, bool on)
{
	u32 command = vfio_cfg_read(dev, PCI_COMMAND, 2);

	vfio_cfg_write(dev, PCI_COMMAND, 2,
		       on ? command | bit : command & ~bit);
}

void vfio_mem_enable(const struct vfio_dev *dev, bool on)
{
	set_command(dev, PCI_COMMAND_MEMORY, on);
}

void vfio_master_enable(const struct vfio_dev *dev, bool on)
{
	set_command(dev, PCI_COMMAND_MASTER, on);
}

void *vfio_try_map_bar(const struct vfio_dev *dev, int bar, u64 offset,
		       size_t len, int prot)
{
	return mmap(NULL, len, prot, MAP_SHARED, dev->fd,
		    vfio_region_offset(dev, bar) + offset);
}

void *vfio_map_bar(const struct vfio_dev *dev, int bar, u64 offset,
		   size_t len)
{
	void *p = vfio_try_map_bar(dev, bar, offset, len,
				   PROT_READ | PROT_WRITE);

	expect(p != MAP_FAILED, "mmap of BAR %d of %s: %s", bar, dev->bdf,
	       t_errno_name(errno));
	return p;
}

void vfio_dma_map(const struct vfio_dev *dev, void *buf, size_t len,
		  u64 iova)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)buf,
		.iova = iova,
		.size = (len + PAGE - 1) & -PAGE,
	};

	expect_ok(ioctl(dev->container, VFIO_IOMMU_MAP_DMA, &map));
}

void vfio_dma_unmap(const struct vfio_dev *dev, u64 iova, size_t len)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = (len + PAGE - 1) & -PAGE,
	};

	expect_ok(ioctl(dev->container, VFIO_IOMMU_UNMAP_DMA, &unmap));
}

/* --- interrupts */

int vfio_set_irqs(const struct vfio_dev *dev, u32 flags, u32 index, u32 start,
		  int fd)
{
	struct {
		struct vfio_irq_set set;
		int fd;
	} arg = {
		.set = {
			.argsz = sizeof(arg),
			.flags = flags,
			.index = index,
			.start = start,
			.count = 1,
		},
		.fd = fd,
	};

	return ioctl(dev->fd, VFIO_DEVICE_SET_IRQS, &arg.set) ? -errno : 0;
}

int vfio_set_irq(const struct vfio_dev *dev, u32 index, u32 start, int fd)
{
	return vfio_set_irqs(dev, VFIO_IRQ_SET_DATA_EVENTFD |
				  VFIO_IRQ_SET_ACTION_TRIGGER,
			     index, start, fd);
}

/* --- features */

int vfio_feature(int fd, u32 flags, void *data, size_t len)
{
	struct vfio_device_feature *arg = calloc(1, sizeof(*arg) + len);
	int ret;

	expect(arg);
	arg->argsz = sizeof(*arg) + len;
	arg->flags = flags;
	if (len)
		memcpy(arg->data, data, len);
	ret = ioctl(fd, VFIO_DEVICE_FEATURE, arg);
	if (ret < 0)
		ret = -errno;
	if (len)
		memcpy(data, arg->data, len);
	free(arg);
	return ret;
}

int export_buf(int fd, u32 region, u32 open_flags, u32 flags,
	       const struct vfio_region_dma_range *ranges, u32 n)
{
	struct vfio_device_feature_dma_buf *get;
	size_t len = sizeof(*get) + n * sizeof(*ranges);
	int ret;

	get = calloc(1, len);
	expect(get);
	get->region_index = region;
	get->open_flags = open_flags;
	get->flags = flags;
	get->nr_ranges = n;
	if (n)
		memcpy(get->dma_ranges, ranges, n * sizeof(*ranges));
	ret = vfio_feature(fd, VFIO_DEVICE_FEATURE_GET |
			   VFIO_DEVICE_FEATURE_DMA_BUF, get, len);
	free(get);
	return ret;
}

int export_range(const struct vfio_dev *dev, int bar, u64 offset,
		 u64 length)
{
	struct vfio_region_dma_range range = { offset, length };

	return export_buf(dev->fd, bar, O_RDWR | O_CLOEXEC, 0, &range, 1);
}

int export_bar(const struct vfio_dev *dev, int bar)
{
	return export_range(dev, bar, 0, vfio_bar_size(dev, bar));
}
