// SPDX-License-Identifier: GPL-2.0-only
/*
 * Uses a part of a BAR that lend_owner lends:
 *	lend_client SOCKET
 *
 * Counts in the first word until the owner takes the memory back. It needs no
 * privilege and has nothing of VFIO: just the descriptor.
 */
#include <err.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static sigjmp_buf taken_back;
static volatile uint32_t *lent;
static size_t size;

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

/*
 * An access to what has been taken back. It raises the signal in the thread
 * that made it, where it was made; so leave from there. Any other SIGBUS is
 * not ours to handle.
 */
static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr - (uintptr_t)lent;

	(void)context;
	if (at < size)
		siglongjmp(taken_back, 1);
	sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
}

int main(int argc, char **argv)
{
	struct sigaction action = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO,
	};
	static volatile uint32_t count;
	int sock, fd;

	if (argc != 2)
		errx(2, "lend_client SOCKET");
	sock = connect_to(argv[1]);
	fd = receive_fd(sock);
	size = lseek(fd, 0, SEEK_END);
	lent = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (lent == MAP_FAILED)
		err(1, "mmap");
	close(fd);		/* the mapping keeps the buffer */

	sigaction(SIGBUS, &action, NULL);
	if (!sigsetjmp(taken_back, 1)) {
		for (;;) {
			lent[0] = count + 1;
			if (!count++ && write(sock, "", 1) != 1)
				err(1, "the owner has gone");
		}
	}
	printf("taken back after %u writes to %zu bytes\n", count, size);
	munmap((void *)lent, size);
	return 0;
}
