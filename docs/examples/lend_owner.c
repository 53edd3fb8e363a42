// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lends a part of a BAR to another process for a while:
 *	lend_owner SOCKET USER GROUP BDF BAR OFFSET LENGTH MS
 *
 * Opens the function BDF of the VFIO group, which is bound to dmabuf-vfio-pci,
 * waits at SOCKET for a client of the user with that number, lends it LENGTH
 * bytes of the BAR and takes them back MS milliseconds after the client has
 * begun. Numbers may be hexadecimal.
 */
#include <dmabuf-vfio.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The library returns negative error numbers. */
static int check(int ret, const char *what)
{
	if (ret < 0) {
		errno = -ret;
		err(1, "%s", what);
	}
	return ret;
}

/* A function by its group, in a container of its own */
static int open_device(const char *group_number, const char *bdf)
{
	int container, group, device;
	char path[64];

	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (container < 0)
		err(1, "/dev/vfio/vfio");
	snprintf(path, sizeof(path), "/dev/vfio/%s", group_number);
	group = open(path, O_RDWR | O_CLOEXEC);
	if (group < 0)
		err(1, "%s", path);
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
		err(1, "VFIO_GROUP_SET_CONTAINER");
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(1, "VFIO_SET_IOMMU");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	if (device < 0)
		err(1, "%s", bdf);
	return device;
}

static uint64_t region_offset(int device, unsigned int index)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info),
		.index = index,
	};

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		err(1, "region %u", index);
	return info.offset;
}

/* VFIO opens a function with memory decoding off. */
static void enable_memory(int device)
{
	off_t at = region_offset(device, VFIO_PCI_CONFIG_REGION_INDEX) +
		   PCI_COMMAND;
	uint16_t command;

	if (pread(device, &command, sizeof(command), at) != sizeof(command))
		err(1, "reading COMMAND");
	command |= PCI_COMMAND_MEMORY;
	if (pwrite(device, &command, sizeof(command), at) != sizeof(command))
		err(1, "writing COMMAND");
}

/* Only root and that user can connect, and so get the memory. */
static int accept_client(const char *path, uid_t user)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int server, client;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	umask(077);
	if (server < 0 || bind(server, (void *)&addr, sizeof(addr)) ||
	    chown(path, user, -1) || listen(server, 1))
		err(1, "%s", path);
	printf("waiting at %s\n", path);
	fflush(stdout);
	client = accept(server, NULL, NULL);
	if (client < 0)
		err(1, "accept");
	close(server);
	unlink(path);
	return client;
}

static void send_fd(int socket, int fd)
{
	char control[CMSG_SPACE(sizeof(fd))] = {}, byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	if (sendmsg(socket, &msg, 0) != 1)
		err(1, "sendmsg");
}

static uint32_t read_word(int device, off_t at)
{
	uint32_t word;

	if (pread(device, &word, sizeof(word), at) != sizeof(word))
		err(1, "reading the BAR");
	return word;
}

int main(int argc, char **argv)
{
	struct vfio_region_dma_range range;
	struct dmabuf_vfio *handle;
	int device, fd, client;
	unsigned int bar;
	uint32_t word;
	char byte;
	off_t at;

	if (argc != 9)
		errx(2, "%s",
		     "lend_owner SOCKET USER GROUP BDF BAR OFFSET LENGTH MS");
	bar = strtoul(argv[5], NULL, 0);
	range.offset = strtoull(argv[6], NULL, 0);
	range.length = strtoull(argv[7], NULL, 0);

	device = open_device(argv[3], argv[4]);
	enable_memory(device);
	at = region_offset(device, bar) + range.offset;
	check(dmabuf_vfio_from_device(device, &handle), "the device");
	fd = check(dmabuf_vfio_export_ranges(handle, bar, &range, 1, 0,
					     O_RDWR | O_CLOEXEC), "export");

	client = accept_client(argv[1], strtoul(argv[2], NULL, 0));
	send_fd(client, fd);
	if (read(client, &byte, 1) != 1)
		errx(1, "the client has gone");
	usleep(strtoul(argv[8], NULL, 0) * 1000);

	/* When that returns nobody has access through this buffer any more. */
	check(dmabuf_vfio_revoke_buffer(handle, fd), "revoke");
	dmabuf_vfio_close(handle);
	close(fd);
	word = read_word(device, at);
	printf("taken back, the first word is %u\n", word);

	/* The client may still run, but has no access. */
	usleep(100 * 1000);
	if (read_word(device, at) != word)
		errx(1, "somebody is still writing");
	return 0;
}
