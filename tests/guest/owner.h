/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How small programs of the guest open a function. The examples of docs/ do it
 * by themselves: each is to be read alone.
 */
#ifndef GUEST_OWNER_H
#define GUEST_OWNER_H

#include <err.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* By its group, in a container of its own; ends the program if that fails. */
static int open_device(const char *bdf)
{
	char path[64], link[256] = "", node[64];
	int container, group, device;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group",
		 bdf);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		err(1, "%s", path);
	snprintf(node, sizeof(node), "/dev/vfio/%.16s", basename(link));
	container = open("/dev/vfio/vfio", O_RDWR);
	group = open(node, O_RDWR);
	if (container < 0 || group < 0)
		err(1, "%s", node);
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
		err(1, "VFIO_GROUP_SET_CONTAINER");
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(1, "VFIO_SET_IOMMU");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	if (device < 0)
		err(1, "VFIO_GROUP_GET_DEVICE_FD");
	return device;
}

#endif /* GUEST_OWNER_H */
