// SPDX-License-Identifier: GPL-2.0-only
/*
 * A USB gadget whose functions are this program's: FunctionFS sends buffers of
 * others, and attaches its controller to them for good. The emulated
 * controller does no scatter-gather, without which no buffer is looked at; the
 * second case says it does.
 */
#include <endian.h>
#include <fcntl.h>
#include <linux/usb/functionfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "importer.h"
#include "strangers.h"

#ifndef FUNCTIONFS_DMABUF_ATTACH
#define FUNCTIONFS_DMABUF_ATTACH	_IOW('g', 131, int)
#endif

#define CONFIGFS	"/sys/kernel/config"
#define GADGET		CONFIGFS "/usb_gadget/dvp"
#define CONFIG		GADGET "/configs/c.1"
#define FUNCTION	GADGET "/functions/ffs.dvp"
#define FFS		"/tmp/ffs"
#define UDC		"dummy_udc.0"

/* An interface of the vendor's own and its bulk endpoint, as USB has them */
struct ffs_endpoints {
	u8 interface[9];
	u8 out[7];
};

struct ffs_descriptors {
	struct usb_functionfs_descs_head_v2 head;
	__le32 fs_count, hs_count;
	struct ffs_endpoints fs, hs;
} __attribute__((packed));

struct ffs_strings {
	struct usb_functionfs_strings_head head;
	__le16 language;
	char name[4];
} __attribute__((packed));

static struct ffs_endpoints endpoints(u16 packet)
{
	return (struct ffs_endpoints){
		.interface = {
			9, USB_DT_INTERFACE, 0, 0, 1, USB_CLASS_VENDOR_SPEC,
			0, 0, 1,
		},
		.out = {
			7, USB_DT_ENDPOINT, 1 | USB_DIR_OUT,
			USB_ENDPOINT_XFER_BULK, packet & 0xff, packet >> 8, 0,
		},
	};
}

/* The endpoint's file appears once its function is described. */
static void describe(int ep0)
{
	const struct ffs_descriptors descs = {
		.head = {
			.magic = htole32(FUNCTIONFS_DESCRIPTORS_MAGIC_V2),
			.length = htole32(sizeof(descs)),
			.flags = htole32(FUNCTIONFS_HAS_FS_DESC |
					 FUNCTIONFS_HAS_HS_DESC),
		},
		.fs_count = htole32(2),
		.hs_count = htole32(2),
		.fs = endpoints(64),
		.hs = endpoints(512),
	};
	const struct ffs_strings strings = {
		.head = {
			.magic = htole32(FUNCTIONFS_STRINGS_MAGIC),
			.length = htole32(sizeof(strings)),
			.str_count = htole32(1),
			.lang_count = htole32(1),
		},
		.language = htole16(0x0409),
		.name = "dvp",
	};

	expect_eq(write(ep0, &descs, sizeof(descs)), sizeof(descs));
	expect_eq(write(ep0, &strings, sizeof(strings)), sizeof(strings));
}

static int ep0 = -1, imp = -1;

static int open_endpoint(const struct stranger *s)
{
	int ep;

	if (!t_kernel_since(6, 12))
		t_skip("this kernel's FunctionFS takes no dma-bufs");
	if (s->attaches)
		imp = imp_open();
	strangers_load(s->module);
	strangers_load("usb_f_fs");
	if (!t_exists(CONFIGFS "/usb_gadget"))
		expect_ok(mount("none", CONFIGFS, "configfs", 0, NULL));
	expect_ok(mkdir(GADGET, 0755));
	expect_eq(t_write("0x1d6b", GADGET "/idVendor"), 0);
	expect_eq(t_write("0x0104", GADGET "/idProduct"), 0);
	expect_ok(mkdir(CONFIG, 0755));
	expect_ok(mkdir(FUNCTION, 0755));
	expect_ok(symlink(FUNCTION, CONFIG "/ffs.dvp"));
	mkdir(FFS, 0755);
	expect_ok(mount("dvp", FFS, "functionfs", 0, NULL));
	ep0 = expect_ok(open(FFS "/ep0", O_RDWR | O_CLOEXEC));
	describe(ep0);
	expect_eq(t_write(UDC, GADGET "/UDC"), 0);
	if (s->attaches)
		expect_eq(imp_gadget(imp, UDC), 0);
	ep = open(FFS "/ep1", O_RDWR | O_CLOEXEC);
	return expect_ok(ep);
}

static void close_endpoint(int node)
{
	close(node);
	expect_eq(t_write("\n", GADGET "/UDC"), 0);
	close(ep0);
	expect_ok(umount(FFS));
	expect_ok(unlink(CONFIG "/ffs.dvp"));
	expect_ok(rmdir(FUNCTION));
	expect_ok(rmdir(CONFIG));
	expect_ok(rmdir(GADGET));
	if (imp >= 0)
		close(imp);
}

static int attach_endpoint(const struct stranger *s, int node, int buf)
{
	(void)s;
	return strangers_ioctl(node, FUNCTIONFS_DMABUF_ATTACH, &buf);
}

static struct stranger functionfs = {
	.module = "dummy_hcd",
	.name = "functionfs",
	.open = open_endpoint,
	.import = attach_endpoint,
	.close = close_endpoint,
};

TEST_TIMEOUT(strangers, functionfs, 180)
{
	functionfs.err = EPERM;
	strangers_refused(&functionfs);
}

TEST_TIMEOUT(strangers, functionfs_scatter_gather, 180)
{
	functionfs.err = EOPNOTSUPP;
	functionfs.attaches = true;
	strangers_refused(&functionfs);
}
