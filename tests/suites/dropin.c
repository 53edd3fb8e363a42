// SPDX-License-Identifier: GPL-2.0-only
/*
 * What makes a vfio-pci of a module of that name: its parameters and how it
 * comes to its functions. The cases are for the drop-in and pass with the
 * kernel's own, too; those at the end tell the two apart.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "importer.h"
#include "vfio.h"

#define PARAMETERS	"/sys/module/vfio_pci/parameters"
#define DRIVER		"/sys/bus/pci/drivers/vfio-pci"
#define DEVICES		"/sys/bus/pci/devices"

#define MODULES		"/lib/modules/*"
#define UPDATES		MODULES "/updates/dkms"
#define EVENTS		"/sys/kernel/tracing/events"

#define CLASS_DISPLAY	0x038000
#define CLASS_OTHER	0xff0000
#define INTEL		0x8086
#define IGD_ASLS	0xfc

static void load(const char *params)
{
	if (strcmp(vfio_driver(), STOCK_DRIVER))
		t_skip("the driver under test is no vfio-pci");
	vfio_load(params);
}

static bool bound(const char *bdf)
{
	return !strcmp(vfio_driver_of(bdf), STOCK_DRIVER);
}

static u32 config_of(const char *bdf, u32 offset, size_t size)
{
	char path[64];
	u32 value = 0;
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/config", bdf);
	fd = expect_ok(open(path, O_RDONLY | O_CLOEXEC));
	expect_eq(pread(fd, &value, size, offset), size);
	close(fd);
	return value;
}

/* --- parameters */

static void expect_parameter(const char *name, mode_t mode, const char *value)
{
	char path[128], text[16];
	struct stat st;

	snprintf(path, sizeof(path), PARAMETERS "/%s", name);
	expect(!stat(path, &st), "no parameter %s", name);
	expect_eq(st.st_mode & 0777, mode);
	expect_ge(t_read(text, sizeof(text), "%s", path), 1);
	expect(!strcmp(text, value), "%s is %s", name, text);
}

#define ALSO	"enable_sriov=1 disable_denylist=1"

TEST(dropin, parameters)
{
	load("");
	expect_parameter("nointxmask", 0644, "N");
	expect_parameter("disable_vga", 0444, "N");
	expect_parameter("disable_idle_d3", 0644, "N");
	expect_parameter("enable_sriov", 0644, "N");
	expect_parameter("disable_denylist", 0444, "N");
	expect(!t_exists(PARAMETERS "/ids"));

	load("nointxmask=1 disable_vga=1 disable_idle_d3=1 " ALSO);
	expect_parameter("nointxmask", 0644, "Y");
	expect_parameter("disable_vga", 0444, "Y");
	expect_parameter("disable_idle_d3", 0644, "Y");
	expect_parameter("enable_sriov", 0644, "Y");
	expect_parameter("disable_denylist", 0444, "Y");
}

/* By it, programs find the module that serves any function. */
TEST(dropin, alias)
{
	load("");
	expect_eq(system("grep -q '^alias vfio_pci:v[*].* vfio_pci$' "
			 MODULES "/modules.alias"), 0);
	expect_ne(system("grep -q ' dmabuf_vfio_pci$' "
			 MODULES "/modules.alias"), 0);
}

/* --- ids */

TEST(dropin, ids)
{
	const char *bochs = t_role("bochs"), *rng = t_role("rng");

	vfio_unbind(bochs);
	vfio_unbind(rng);
	load("ids=1234:1111");
	expect(bound(bochs), "bochs is bound to '%s'", vfio_driver_of(bochs));
	expect(!bound(rng));
	vfio_close(vfio_open_bdf(bochs, STOCK_DRIVER));
	vfio_unbind(bochs);

	/* An entry that is none keeps nobody away. */
	load("ids=none,,1234,1234:1111");
	expect(bound(bochs));
	vfio_unbind(bochs);
	load("ids=1234:1112,1af4:ffff");
	expect(!bound(bochs));
	load("");
	expect(!bound(bochs));
}

TEST(dropin, ids_of_more_than_two)
{
	const char *bochs = t_role("bochs"), *nvme = t_role("nvme_mf");

	vfio_unbind(bochs);
	vfio_unbind(nvme);
	load("ids=1234:1111:aaaa");
	expect(!bound(bochs));
	load("ids=1234:1111:1af4:1100");
	expect(bound(bochs));
	vfio_unbind(bochs);
	load("ids=1234:1111:1af4:1101");
	expect(!bound(bochs));

	load("ids=ffffffff:ffffffff:ffffffff:ffffffff:010802:ffffff");
	expect(bound(nvme));
	expect(!bound(bochs));
	vfio_unbind(nvme);
	/* Whatever else is an NVMe controller. */
	load("");
}

TEST(dropin, new_id)
{
	const char *bochs = t_role("bochs"), *rng = t_role("rng");

	load("");
	vfio_unbind(bochs);
	vfio_unbind(rng);
	expect_err(t_write(bochs, DRIVER "/bind"), ENODEV);
	expect_eq(t_write("1234 1111", DRIVER "/new_id"), 0);
	expect(bound(bochs));
	expect(!bound(rng));
	expect_err(t_write("1234 1111", DRIVER "/new_id"), EEXIST);

	expect_eq(t_write("1234 1111", DRIVER "/remove_id"), 0);
	vfio_unbind(bochs);
	expect_err(t_write(bochs, DRIVER "/bind"), ENODEV);
	/* driver_override needs no id. */
	vfio_bind(bochs, STOCK_DRIVER);
	vfio_unbind(bochs);
}

/* --- what the parameters do */

static int set_intx(const struct vfio_dev *dev, u32 action)
{
	return vfio_set_irqs(dev, VFIO_IRQ_SET_DATA_NONE | action,
			     VFIO_PCI_INTX_IRQ_INDEX, 0, -1);
}

/* Whether masking INTx sets the function's own bit, as the hardware has it */
static bool masks_by_bit(const char *role)
{
	struct vfio_dev *dev = vfio_open(role);
	int fd = expect_ok(eventfd(0, EFD_CLOEXEC));
	u32 command;

	expect_eq(vfio_set_irq(dev, VFIO_PCI_INTX_IRQ_INDEX, 0, fd), 0);
	expect(!(config_of(dev->bdf, PCI_COMMAND, 2) &
		 PCI_COMMAND_INTX_DISABLE));
	expect_eq(set_intx(dev, VFIO_IRQ_SET_ACTION_MASK), 0);
	command = config_of(dev->bdf, PCI_COMMAND, 2);
	expect_eq(set_intx(dev, VFIO_IRQ_SET_ACTION_UNMASK), 0);
	close(fd);
	vfio_close(dev);
	vfio_unbind(t_role(role));
	return command & PCI_COMMAND_INTX_DISABLE;
}

TEST(dropin, nointxmask)
{
	load("");
	expect(masks_by_bit("edu_rp"));
	load("nointxmask=1");
	expect(!masks_by_bit("edu_rp"));
	load("nointxmask=0");
	expect(masks_by_bit("edu_rp"));
}

/* Outcome of asking for the region of legacy VGA: its size, or -errno */
static long long vga_region(const char *bdf)
{
	struct vfio_dev *dev = vfio_open_bdf(bdf, STOCK_DRIVER);
	struct vfio_region_info info = {
		.argsz = sizeof(info),
		.index = VFIO_PCI_VGA_REGION_INDEX,
	};
	long long ret = ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info) ?
			-errno : (long long)info.size;

	vfio_close(dev);
	vfio_unbind(bdf);
	return ret;
}

TEST(dropin, disable_vga)
{
	const char *vga = t_role("vga");

	load("");
	expect_err(vga_region(t_role("bochs")), EINVAL);
	expect_eq(vga_region(vga), 0xc0000);
	load("disable_vga=1");
	expect_err(vga_region(vga), EINVAL);
}

static bool in_state(const char *bdf, const char *state)
{
	char text[32];

	t_read(text, sizeof(text), DEVICES "/%s/power_state", bdf);
	return !strcmp(text, state);
}

TEST(dropin, disable_idle_d3)
{
	const char *nvme = t_role("nvme_mf");
	struct vfio_dev *dev;

	load("");
	vfio_bind(nvme, STOCK_DRIVER);
	expect(t_within(3000, in_state(nvme, "D3hot")));
	dev = vfio_open("nvme_mf");
	expect(in_state(nvme, "D0"));
	vfio_close(dev);
	expect(t_within(3000, in_state(nvme, "D3hot")));
	vfio_unbind(nvme);

	load("disable_idle_d3=1");
	vfio_bind(nvme, STOCK_DRIVER);
	t_sleep_ms(300);
	expect(in_state(nvme, "D0"));
	dev = vfio_open("nvme_mf");
	vfio_close(dev);
	t_sleep_ms(300);
	expect(in_state(nvme, "D0"));
	vfio_unbind(nvme);
}

TEST(dropin, enable_sriov)
{
	const char *pf = t_role("pf");
	char override[64], path[128], target[256], *vf;
	ssize_t n;

	load("");
	vfio_bind(pf, STOCK_DRIVER);
	expect_err(t_write("1", DEVICES "/%s/sriov_numvfs", pf), ENOENT);
	expect_eq(t_write("1", PARAMETERS "/enable_sriov"), 0);
	expect_eq(t_write("1", DEVICES "/%s/sriov_numvfs", pf), 0);

	snprintf(path, sizeof(path), DEVICES "/%s/virtfn0", pf);
	n = readlink(path, target, sizeof(target) - 1);
	expect_ge(n, 1);
	target[n] = 0;
	vf = strrchr(target, '/') + 1;
	expect_ge(t_read(override, sizeof(override),
			 DEVICES "/%s/driver_override", vf), 1);
	expect(!strcmp(override, STOCK_DRIVER), "VFs are for %s", override);
	expect_eq(t_write(vf, "/sys/bus/pci/drivers_probe"), 0);
	expect(bound(vf));

	expect_eq(t_write("0", DEVICES "/%s/sriov_numvfs", pf), 0);
	expect(!t_exists(DEVICES "/%s", vf));
	vfio_unbind(pf);

	load("enable_sriov=1");
	vfio_bind(pf, STOCK_DRIVER);
	expect_eq(t_write("1", DEVICES "/%s/sriov_numvfs", pf), 0);
	expect_eq(t_write("0", DEVICES "/%s/sriov_numvfs", pf), 0);
	vfio_unbind(pf);
}

/* What binding says of a function that poses as another one */
static int bind_as(int imp, u16 vendor, u16 device, u32 class)
{
	const char *bochs = t_role("bochs");
	int ret;

	expect_eq(imp_pose(imp, bochs, vendor, device, class), 0);
	ret = vfio_try_bind(bochs, STOCK_DRIVER);
	vfio_unbind(bochs);
	return ret;
}

/* --- where the two differ */

static void set_asls(const char *bdf, u32 value)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/config", bdf);
	fd = expect_ok(open(path, O_WRONLY | O_CLOEXEC));
	expect_eq(pwrite(fd, &value, 4, IGD_ASLS), 4);
	close(fd);
	expect_eq(config_of(bdf, IGD_ASLS, 4), value);
}

/* Processor graphics: the kernel's own serves them, the drop-in says so. */
TEST(dropin, igd)
{
	const char *bochs = t_role("bochs");
	int imp = imp_open(), igd = vfio_is_stock() ? 0 : -ENODEV;

	vfio_unbind(bochs);
	load("");
	expect_eq(bind_as(imp, INTEL, 0x5690, CLASS_DISPLAY), 0);
	set_asls(bochs, 0x7f000000);
	expect_eq(bind_as(imp, INTEL, 0x4680, CLASS_DISPLAY), igd);
	expect_eq(bind_as(imp, INTEL, 0x4680, CLASS_OTHER), 0);
	expect_eq(bind_as(imp, 0x1234, 0x4680, CLASS_DISPLAY), 0);
	set_asls(bochs, ~0u);
	expect_eq(bind_as(imp, INTEL, 0x5690, CLASS_DISPLAY), 0);
	set_asls(bochs, 0);
	close(imp);
}

static int export_one_page(const char *bdf, const char *driver)
{
	struct vfio_dev *dev = vfio_open_bdf(bdf, driver);
	int fd = export_range(dev, 0, 0, 4096);

	if (fd >= 0)
		expect_ok(close(fd));
	vfio_close(dev);
	vfio_unbind(bdf);
	return fd < 0 ? fd : 0;
}

/* Both of ours may be loaded, and serve a function each at the same time. */
TEST(dropin, beside_the_variant)
{
	struct vfio_dev *one, *two;
	char names[2][64];
	int a, b;

	if (!vfio_is_dropin())
		t_skip("the driver under test is not the drop-in");
	load("");
	one = vfio_open_bdf(t_role("bochs"), STOCK_DRIVER);
	two = vfio_open_bdf(t_role("big"), VARIANT_DRIVER);
	a = expect_fd(export_range(one, 0, 0, 4096));
	b = expect_fd(export_range(two, 2, 0, 4096));
	expect(t_exists("/sys/kernel/debug/vfio-pci/%s", one->bdf));
	expect(!t_exists("/sys/kernel/debug/vfio-pci/%s", two->bdf));
	expect(t_exists("/sys/kernel/debug/dmabuf-vfio-pci/%s", two->bdf));
	if (t_exists(EVENTS)) {
		expect(t_exists(EVENTS "/vfio_pci/dvp_map"));
		expect(t_exists(EVENTS "/dmabuf_vfio_pci/dvp_map"));
	}
	for (int i = 0; i < 2; i++) {
		char text[512], *at;

		expect_ge(t_read(text, sizeof(text), "/proc/self/fdinfo/%d",
				 i ? b : a), 1);
		at = strstr(text, "exp_name:\t");
		expect(at);
		expect_eq(sscanf(at, "exp_name:\t%63s", names[i]), 1);
	}
	expect(!strcmp(names[0], "vfio-pci"), "%s", names[0]);
	expect(!strcmp(names[1], "dmabuf-vfio-pci"), "%s", names[1]);
	expect_ok(close(a));
	expect_ok(close(b));
	vfio_close(one);
	vfio_close(two);
}

/* What modprobe loads when the drop-in is there, and when it is gone again */
TEST(dropin, removed)
{
	const char *bochs = t_role("bochs");
	bool native = t_kernel_since(7, 2);

	if (!vfio_is_dropin())
		t_skip("the driver under test is not the drop-in");
	load("");
	expect(t_exists("/sys/kernel/debug/vfio-pci"));
	expect_eq(export_one_page(bochs, STOCK_DRIVER), 0);

	expect_eq(system("cp " MODULES "/modules.dep /tmp"), 0);
	expect_eq(system("mv " UPDATES "/vfio-pci.ko /tmp && depmod"), 0);
	vfio_load("");
	expect(!t_exists("/sys/kernel/debug/vfio-pci"));
	expect_err(export_one_page(bochs, STOCK_DRIVER), native ? 0 : ENOTTY);

	/* This depmod does not know which of two it is to prefer. */
	expect_eq(system("mv /tmp/vfio-pci.ko " UPDATES), 0);
	expect_eq(system("mv /tmp/modules.dep " MODULES), 0);
	vfio_unbind(bochs);
	vfio_load("");
	expect(t_exists("/sys/kernel/debug/vfio-pci"));
}
