// SPDX-License-Identifier: GPL-2.0-only
/* Descriptors over a UNIX socket. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/socket.h>

#include "harness.h"

struct fd_msg {
	char control[CMSG_SPACE(sizeof(int))];
	char byte;
	struct iovec iov;
	struct msghdr hdr;
};

static void fd_msg_init(struct fd_msg *msg)
{
	memset(msg, 0, sizeof(*msg));
	msg->iov.iov_base = &msg->byte;
	msg->iov.iov_len = 1;
	msg->hdr.msg_iov = &msg->iov;
	msg->hdr.msg_iovlen = 1;
	msg->hdr.msg_control = msg->control;
	msg->hdr.msg_controllen = sizeof(msg->control);
}

int t_send_fd(int sock, int fd)
{
	struct cmsghdr *cmsg;
	struct fd_msg msg;

	fd_msg_init(&msg);
	cmsg = CMSG_FIRSTHDR(&msg.hdr);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return sendmsg(sock, &msg.hdr, MSG_DONTWAIT) == 1 ? 0 : -1;
}

int t_receive_fd(int sock, int flags)
{
	struct fd_msg msg;
	int fd;

	fd_msg_init(&msg);
	if (recvmsg(sock, &msg.hdr, MSG_CMSG_CLOEXEC | flags) != 1 ||
	    !CMSG_FIRSTHDR(&msg.hdr))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg.hdr)), sizeof(int));
	return fd;
}
