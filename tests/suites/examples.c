// SPDX-License-Identifier: GPL-2.0-only
/*
 * The programs of docs/examples, as they are.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vfio.h"

#define ROOT		"0"
#define NOBODY		"65534"
#define SOCKET_PATH	"/tmp/lend"
#define LEND_MS		"300"
#define LINE_MS		20000

static const char *const client_argv[] = {
	"/bin/lend_client", SOCKET_PATH, NULL,
};

/* A program and what it prints */
struct program {
	pid_t pid;
	int out;
};

static struct program start(const char *user, const char *const argv[])
{
	struct program program;
	uid_t uid = atoi(user);
	int out[2];

	expect_ok(pipe2(out, O_CLOEXEC));
	program.pid = t_fork();
	if (!program.pid) {
		dup2(out[1], STDOUT_FILENO);
		dup2(out[1], STDERR_FILENO);
		expect_ok(setresuid(uid, uid, uid));
		execv(argv[0], (char *const *)argv);
		t_fail("%s: %s", argv[0], t_errno_name(errno));
	}
	close(out[1]);
	program.out = out[0];
	return program;
}

/* The next line, without its end; empty at the end of the output. */
static void next_line(struct program *program, char *line, size_t size)
{
	struct pollfd p = { .fd = program->out, .events = POLLIN };
	size_t len = 0;

	while (poll(&p, 1, LINE_MS) == 1 &&
	       read(program->out, &line[len], 1) == 1) {
		if (line[len] == '\n')
			break;
		len += len < size - 1;
	}
	line[len] = 0;
}

static void expect_end(struct program *program)
{
	char line[256];

	next_line(program, line, sizeof(line));
	expect(!line[0], "it says '%s'", line);
	t_join(program->pid);
}

/* What the client wrote last is what the owner finds, and then it stays. */
TEST_TIMEOUT(examples, lend, 60)
{
	char bdf[VFIO_BDF_LEN], group[16], line[256];
	const char *const owner_argv[] = {
		"/bin/lend_owner", SOCKET_PATH, NOBODY, group, bdf,
		"2", "0x10000", "0x2000", LEND_MS, NULL,
	};
	struct program owner, client;
	unsigned int word, count;
	size_t size;

	if (vfio_is_stock())
		t_skip("the stock driver's buffers cannot be mapped");
	snprintf(bdf, sizeof(bdf), "%s", t_role("shm_sw"));
	vfio_free_group(bdf, NULL);
	vfio_bind(bdf, vfio_driver());
	snprintf(group, sizeof(group), "%d", vfio_group_of(bdf));

	owner = start(ROOT, owner_argv);
	next_line(&owner, line, sizeof(line));
	expect(!strcmp(line, "waiting at " SOCKET_PATH), "it says '%s'", line);

	client = start(NOBODY, client_argv);
	next_line(&owner, line, sizeof(line));
	expect(sscanf(line, "taken back, the first word is %u", &word) == 1,
	       "it says '%s'", line);
	next_line(&client, line, sizeof(line));
	expect(sscanf(line, "taken back after %u writes to %zu bytes", &count,
		      &size) == 2, "it says '%s'", line);
	expect_eq(size, 0x2000);
	expect_ge(count, 2);
	expect_eq(word, count);
	expect_end(&owner);
	expect_end(&client);
}
