// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command report: one archive of what a bug report needs. Other programs
 * write its files, this one among them; each runs by itself, and one that fails
 * leaves its message instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

#define FOLDER		"dmabuf-vfio-report"

static const struct {
	const char *file;
	const char *what;
	const char *shell;	/* $0 is this command */
} parts[] = {
	{ "versions.txt", "kernel, distribution, module, command",
	  "uname -srvm; cat /etc/os-release; \"$0\" --version; "
	  "modinfo " MODULE "; modinfo " DROPIN_MODULE "; "
	  "grep . /sys/module/" MODULE "/srcversion /sys/module/"
	  DROPIN_MODULE "/srcversion; dkms status" },
	{ "doctor.json", "findings", "\"$0\" doctor --json" },
	{ "status.json", "bound functions, buffers, importers",
	  "\"$0\" status --json" },
	{ "topo.json", "PCI functions and the routes between them",
	  "\"$0\" topo --json" },
	{ "functions.json", "all PCI functions, their drivers and groups",
	  "\"$0\" status --all --json" },
	{ "debugfs.txt", "the driver's own view, with I/O addresses",
	  "for d in /sys/kernel/debug/" DRIVER " /sys/kernel/debug/" DROPIN
	  "; do grep -r . \"$d\"; done" },
	{ "kernel.txt", "the kernel's command line and its options",
	  "cat /proc/cmdline; grep -hE 'VFIO|IOMMU|P2PDMA|DMABUF|DMA_SHARED' "
	  "/boot/config-$(uname -r)" },
	{ "log.txt", "kernel messages that name VFIO, IOMMUs or this driver",
	  "dmesg | grep -iE 'vfio|dmabuf|dma-buf|iommu|dmar|amd-vi'" },
	{ "configuration.txt", "of module, boot unit and node",
	  "grep -rs . /etc/dmabuf-vfio.d /etc/modprobe.d/*vfio* "
	  "/etc/udev/rules.d/*vfio* /sys/module/" MODULE "/parameters "
	  "/sys/module/" DROPIN_MODULE "/parameters" },
};

/* Runs "sh -c @text", its output in a descriptor or file; a wait status. */
static int run_shell(const char *text, const char *self, const char *dir,
		     const char *file, int fd)
{
	char path[PATH_MAX];
	pid_t pid;
	int status = -1;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (file) {
			snprintf(path, sizeof(path), "%s/%s", dir, file);
			fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
			if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
				_exit(126);
		} else if (dup2(fd, 1) < 0) {
			_exit(126);
		}
		execl("/bin/sh", "sh", "-c", text, self, dir, NULL);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	return status;
}

static void print_contents(const char *archive)
{
	size_t i;

	printf("%s has:\n", archive);
	for (i = 0; i < ARRAY_SIZE(parts); i++)
		printf("  %-18s %s\n", parts[i].file, parts[i].what);
	printf("It names the machine's PCI devices, the programs that map buffers, and the\n"
	       "kernel's command line. It has no contents of memory, no host name and no serial\n"
	       "numbers. Read it before you send it: tar -xzf %s\n", archive);
}

int cmd_report(const struct options *opts, int argc, char **argv)
{
	const char *archive = argc ? argv[0] : FOLDER ".tar.gz";
	char dir[] = "/tmp/" FOLDER ".XXXXXX";
	char self[PATH_MAX] = "";
	int ret = 0, fd, status;
	size_t i;

	(void)opts;
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return fail(-errno, "/proc/self/exe: %s", strerror(errno));
	/* Nothing that is there already is replaced. */
	fd = open(archive, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(-errno, "%s: %s", archive, strerror(errno));
	if (!mkdtemp(dir)) {
		ret = fail(-errno, "%s: %s", dir, strerror(errno));
		goto out;
	}
	for (i = 0; i < ARRAY_SIZE(parts); i++)
		run_shell(parts[i].shell, self, dir, parts[i].file, -1);
	/* tar writes to the file that was made above, whatever its name. */
	status = run_shell("tar -C \"$1\" -cz .", self, dir, NULL, fd);
	if (status)
		ret = fail(-EIO, "%s: tar cannot write it", archive);
	run_shell("rm -r \"$1\"", self, dir, NULL, 1);
out:
	close(fd);
	if (ret)
		unlink(archive);
	else
		print_contents(archive);
	return ret;
}
