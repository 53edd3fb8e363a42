// SPDX-License-Identifier: GPL-2.0-only
/*
 * The commands export and revoke: dma-bufs of a function that another program
 * has open.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli.h"

/* --- export */

/* "4096", "0x1000", "4K", "16M", "1G" */
static bool parse_size(const char *text, const char *end_chars, u64 *size,
		       const char **rest)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*size = strtoull(text, &end, 0);
	if (errno)
		return false;
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit) {
		unsigned int shift = 10 * (unit - units + 1);

		if (*size << shift >> shift != *size)
			return false;
		*size <<= shift;
		end++;
	}
	*rest = end;
	return strchr(end_chars, *end);
}

static bool parse_range(const char *text, struct vfio_region_dma_range *range)
{
	const char *rest;
	u64 offset, length;

	if (!parse_size(text, ":", &offset, &rest) || *rest != ':' ||
	    !parse_size(rest + 1, "", &length, &rest) || *rest)
		return false;
	range->offset = offset;
	range->length = length;
	return true;
}

static int parse_bar(const char *text)
{
	if (text[0] < '0' || text[0] > '5' || text[1])
		return -EINVAL;
	return text[0] - '0';
}

/* Rare: node_need() has just opened the node. */
static int was_reopened(const struct func *f)
{
	return fail(-ESTALE, "%s was closed and opened again in the meantime, so it may have another owner now: run the command again",
		    f->bdf);
}

static int why_not_exported(const struct func *f, int bar,
			    struct dmabuf_vfio *node, int err)
{
	struct dmabuf_vfio_info info;
	bool open = dmabuf_vfio_query(node, &info) != -ENODEV;

	if (err == -ENODEV && !open)
		return fail(err, "%s is not open, and buffers exist only while a program has it open through VFIO: start that program first",
			    f->bdf);
	switch (err) {
	case -ENODEV:
		return fail(-ENOENT, "%s has no BAR %d that can be exported: "
			    COMMAND " status %s lists them",
			    f->bdf, bar, f->bdf);
	case -EINVAL:
		return fail(err, "%s: BAR %d is not memory, or a slice is empty, not "
			    "a multiple of the page size or past the end: "
			    COMMAND " status %s shows the size",
			    f->bdf, bar, f->bdf);
	case -ENOSPC:
		return fail(err, "%s: the function has as many buffers or slices as it may, or these are more than twice the BAR: "
			    "revoke buffers, or ask for fewer slices",
			    f->bdf);
	case -ESTALE:
		return was_reopened(f);
	default:
		return fail(err, "%s: export: %s", f->bdf, strerror(-err));
	}
}

/* Says what is wrong. */
static int whole_bar(const struct func *f, struct dmabuf_vfio *node, int bar,
		     struct vfio_region_dma_range *range)
{
	struct dmabuf_vfio_info info;
	int ret = dmabuf_vfio_query(node, &info);

	if (ret || !info.bars[bar].size)
		return why_not_exported(f, bar, node, ret ?: -ENODEV);
	range->offset = 0;
	range->length = info.bars[bar].size;
	return 0;
}

/*
 * The ranges that the user gave, or without one the whole BAR. Returns the
 * buffer's descriptor. Says what is wrong.
 */
static int export_ranges(const struct options *opts, const struct func *f,
			 struct dmabuf_vfio *node, int bar, int argc,
			 char **argv, struct vfio_region_dma_range *ranges)
{
	u32 flags = opts->write_combining ? DMABUF_VFIO_MEM_WRITE_COMBINING :
					    DMABUF_VFIO_MEM_UNCACHED;
	int i, ret = 0;

	for (i = 0; i < argc; i++)
		if (!parse_range(argv[i], &ranges[i]))
			return fail(-EMISUSE,
				    "'%s' is not a slice: offset:length, for example 0:64K",
				    argv[i]);
	if (!argc)
		ret = whole_bar(f, node, bar, &ranges[0]);
	if (ret)
		return ret;
	if (opts->translated)
		flags |= DMABUF_VFIO_FLAG_TRANSLATED;
	/* Without O_CLOEXEC: it is for the command. */
	ret = dmabuf_vfio_export_ranges(node, bar, ranges, argc ?: 1, flags,
					opts->read_only ? O_RDONLY : O_RDWR);
	return ret < 0 ? why_not_exported(f, bar, node, ret) : ret;
}

/* Becomes the user's command, or returns the exit code of a shell. */
static int export_run(char **command, int fd)
{
	char number[16];
	int err;

	snprintf(number, sizeof(number), "%d", fd);
	if (setenv("DMABUF_VFIO_FD", number, 1))
		return fail(-ENOMEM, "out of memory");
	execvp(command[0], command);
	err = errno;
	return fail(err == ENOENT ? 127 : 126, "%s: %s", command[0],
		    strerror(err));
}

int cmd_export(const struct options *opts, int argc, char **argv)
{
	struct vfio_region_dma_range *ranges;
	struct dmabuf_vfio *node;
	struct func f;
	int bar, ret;

	bar = parse_bar(argv[1]);
	if (bar < 0)
		return fail(-EMISUSE, "'%s' is not a BAR: 0 to 5", argv[1]);
	if (!opts->command || !*opts->command)
		return fail(-EMISUSE,
			    "no command: export ADDRESS BAR [OFFSET:LENGTH...] -- COMMAND...");
	ret = node_need(&f, argv[0], true, &node);
	if (ret)
		return ret;
	ranges = need_memory(calloc(argc, sizeof(*ranges)));
	ret = export_ranges(opts, &f, node, bar, argc - 2, argv + 2, ranges);
	free(ranges);
	dmabuf_vfio_close(node);
	return ret < 0 ? ret : export_run(opts->command, ret);
}

/* --- revoke */

static int fd_of(pid_t pid, int number)
{
	int pidfd, fd, err;

	pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return -errno;
	fd = syscall(SYS_pidfd_getfd, pidfd, number, 0);
	err = errno;
	close(pidfd);
	return fd < 0 ? -err : fd;
}

/* fdinfo of a dma-buf has its inode and the name of its exporter. */
static bool is_buffer(const char *pid, const char *number,
		      unsigned long long ino)
{
	unsigned long long has = 0;
	bool dmabuf = false;
	char line[256];
	FILE *f;

	f = sys_file("/proc/%s/fdinfo/%s", pid, number);
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "ino: %llu", &has);
		dmabuf |= !strncmp(line, "exp_name:", 9);
	}
	fclose(f);
	return dmabuf && has == ino;
}

/* Takes the first descriptor of the buffer that a process has. */
static int fd_by_inode(unsigned long long ino)
{
	struct names pids, fds;
	unsigned int p, i;
	int fd = -ENOENT;

	sys_names(&pids, "/proc");
	for (p = 0; p < pids.nr && fd < 0; p++) {
		if (!isdigit((unsigned char)*pids.name[p]))
			continue;
		sys_names(&fds, "/proc/%s/fdinfo", pids.name[p]);
		for (i = 0; i < fds.nr && fd < 0; i++)
			if (is_buffer(pids.name[p], fds.name[i], ino))
				fd = fd_of(atoi(pids.name[p]),
					   atoi(fds.name[i]));
		names_free(&fds);
	}
	names_free(&pids);
	return fd;
}

/* "ino:NUMBER", "PID:FD" or "FD", of decimal digits. */
static bool is_buffer_name(const char *text)
{
	static const char digits[] = "0123456789";
	size_t n;

	if (!strncmp(text, "ino:", 4)) {
		text += 4;
	} else {
		n = strspn(text, digits);
		if (n && text[n] == ':')
			text += n + 1;
	}
	n = strspn(text, digits);
	return n && !text[n];
}

/* Returns a descriptor of the buffer. Says what is wrong. */
static int parse_buffer(const char *text)
{
	bool inode = !strncmp(text, "ino:", 4);
	u64 first, second;
	char *end;
	int fd;

	errno = 0;
	first = strtoull(text + (inode ? 4 : 0), &end, 10);
	second = *end == ':' ? strtoull(end + 1, NULL, 10) : 0;
	if (errno || !is_buffer_name(text) ||
	    (!inode && (first > INT_MAX || second > INT_MAX)))
		return fail(-EMISUSE, "'%s' is not a buffer: ino:NUMBER, PID:FD or FD",
			    text);
	if (inode) {
		fd = fd_by_inode(first);
		if (fd == -ENOENT)
			return fail(fd, "no process has a file descriptor of buffer %s",
				    text);
	} else if (*end == ':') {
		fd = fd_of(first, second);
	} else {
		fd = fcntl(first, F_DUPFD_CLOEXEC, 3);
		fd = fd < 0 ? -errno : fd;
	}
	if (fd == -EBADF || fd == -ESRCH)
		return fail(-ENOENT, "there is no file descriptor %s", text);
	if (fd < 0)
		return fail(fd, "file descriptor %s: %s", text, strerror(-fd));
	return fd;
}

static int why_not_revoked(const struct func *f, const char *text, int err)
{
	switch (err) {
	case -EINVAL:
		return fail(err, "%s is not a dma-buf", text);
	case -ENODEV:
		return fail(err, "%s is not open, or %s is not a buffer of it",
			    f->bdf, text);
	case -ESTALE:
		return was_reopened(f);
	case -EBADFD:
		return fail(err, "buffer %s has been taken back before", text);
	default:
		return fail(err, "%s: revoke: %s", f->bdf, strerror(-err));
	}
}

int cmd_revoke(const struct options *opts, int argc, char **argv)
{
	struct dmabuf_vfio *node;
	struct func f;
	int ret, fd;

	(void)opts;
	(void)argc;
	ret = node_need(&f, argv[0], true, &node);
	if (ret)
		return ret;
	fd = parse_buffer(argv[1]);
	ret = fd < 0 ? fd : dmabuf_vfio_revoke_buffer(node, fd);
	if (fd >= 0 && ret)
		ret = why_not_revoked(&f, argv[1], ret);
	if (fd >= 0)
		close(fd);
	dmabuf_vfio_close(node);
	return ret;
}
