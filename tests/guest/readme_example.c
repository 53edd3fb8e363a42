// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls the example of README.md on BAR 0 of a function by its group:
 *	readme-example GROUP BDF
 * and asks the kernel whether the result is a dma-buf of that size.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int export_bar(int device, unsigned int bar, __u64 offset, __u64 length);

static int open_device(const char *number, const char *bdf)
{
	int container = open("/dev/vfio/vfio", O_RDWR), group, device;
	char path[64];

	snprintf(path, sizeof(path), "/dev/vfio/%s", number);
	group = open(path, O_RDWR);
	if (container < 0 || group < 0)
		err(1, "%s", path);
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
		err(1, "VFIO_GROUP_SET_CONTAINER");
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(1, "VFIO_SET_IOMMU");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	if (device < 0)
		err(1, "VFIO_GROUP_GET_DEVICE_FD");
	return device;
}

/* Fails unless the list of buffers has a line for this one. */
static void want_listed(const char *bdf)
{
	char path[128], text[4096] = "";
	FILE *f;

	snprintf(path, sizeof(path),
		 "/sys/kernel/debug/dmabuf-vfio-pci/%s/buffers", bdf);
	f = fopen(path, "r");
	if (!f)
		err(1, "%s", path);
	if (!fread(text, 1, sizeof(text) - 1, f))
		errx(1, "%s is empty", path);
	fclose(f);
}

int main(int argc, char **argv)
{
	const off_t length = 2 * 4096;
	char link[64] = "", path[64];
	int device, fd;

	if (argc != 3)
		errx(2, "readme-example GROUP BDF");
	device = open_device(argv[1], argv[2]);
	fd = export_bar(device, 0, 4096, length);
	if (fd < 0)
		err(1, "export_bar");

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		err(1, "readlink");
	if (!strstr(link, "dmabuf"))
		errx(1, "it is %s", link);
	if (lseek(fd, 0, SEEK_END) != length)
		errx(1, "its size is %lld", (long long)lseek(fd, 0, SEEK_END));
	want_listed(argv[2]);
	return 0;
}
