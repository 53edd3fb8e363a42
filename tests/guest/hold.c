// SPDX-License-Identifier: GPL-2.0-only
/*
 * Usage: dvp-hold BDF
 *
 * Opens a function through VFIO, as its owner does, and says "open"; then does
 * what it reads, a line each, and answers "done": "memory on", "memory off",
 * "reset". Closes it at the end of its input.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "owner.h"

static void set_memory(int device, int on)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	__u16 cmd;

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		err(1, "VFIO_DEVICE_GET_REGION_INFO");
	if (pread(device, &cmd, 2, info.offset + PCI_COMMAND) != 2)
		err(1, "COMMAND");
	if (on)
		cmd |= PCI_COMMAND_MEMORY;
	else
		cmd &= ~PCI_COMMAND_MEMORY;
	if (pwrite(device, &cmd, 2, info.offset + PCI_COMMAND) != 2)
		err(1, "COMMAND");
}

int main(int argc, char **argv)
{
	char line[64];
	int device;

	if (argc != 2)
		errx(2, "dvp-hold BDF");
	setlinebuf(stdout);
	device = open_device(argv[1]);
	puts("open");
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "memory on\n"))
			set_memory(device, 1);
		else if (!strcmp(line, "memory off\n"))
			set_memory(device, 0);
		else if (strcmp(line, "reset\n"))
			errx(2, "what is %s", line);
		else if (ioctl(device, VFIO_DEVICE_RESET))
			err(1, "VFIO_DEVICE_RESET");
		puts("done");
	}
	return 0;
}
