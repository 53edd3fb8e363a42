// SPDX-License-Identifier: GPL-2.0-only
/*
 * Usage: readme-example BDF
 *
 * Calls the example of README.md on BAR 0 of a function, and asks the kernel
 * whether the result is a dma-buf of that size.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "owner.h"

int export_bar(int device, unsigned int bar, __u64 offset, __u64 length);

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

	if (argc != 2)
		errx(2, "readme-example BDF");
	device = open_device(argv[1]);
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
	want_listed(argv[1]);
	return 0;
}
