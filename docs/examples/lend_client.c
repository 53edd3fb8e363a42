// SPDX-License-Identifier: GPL-2.0-only
/*
 * Uses a part of a BAR that lend_owner lends:
 *	lend_client SOCKET
 *
 * Counts in the first word until the owner revokes the buffer. It needs no
 * privilege and no VFIO file, only the buffer's descriptor.
 */
#include <dmabuf-vfio.h>
#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (sock < 0 || connect(sock, (void *)&addr, sizeof(addr)))
		err(1, "%s", path);
	return sock;
}

static int receive_fd(int sock)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	int fd;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1)
		err(1, "recvmsg");
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS ||
	    cmsg->cmsg_len != CMSG_LEN(sizeof(fd)))
		errx(1, "the owner sent no descriptor");
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

int main(int argc, char **argv)
{
	struct dmabuf_vfio_map *map;
	volatile uint32_t *lent;
	uint32_t count = 0;
	int sock, fd, ret;

	if (argc != 2)
		errx(2, "lend_client SOCKET");
	sock = connect_to(argv[1]);
	fd = receive_fd(sock);
	ret = dmabuf_vfio_map_buffer(fd, 0, 0, PROT_READ | PROT_WRITE, &map);
	if (ret) {
		errno = -ret;
		err(1, "mapping the buffer");
	}
	close(fd);		/* the mapping keeps the buffer */
	lent = dmabuf_vfio_map_address(map);

	/* A write after the revoke goes nowhere, and is known to. */
	for (;;) {
		lent[0] = count + 1;
		if (dmabuf_vfio_map_lost(map))
			break;
		if (!count++ && write(sock, "", 1) != 1)
			err(1, "the owner has gone");
	}
	printf("taken back after %u writes to %zu bytes\n", count,
	       dmabuf_vfio_map_length(map));
	dmabuf_vfio_unmap_buffer(map);
	return 0;
}
