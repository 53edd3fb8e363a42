// SPDX-License-Identifier: GPL-2.0-only
/*
 * Takes a function from its driver and gives it back. What it had before is
 * kept in /run/dmabuf-vfio/<address>, written before anything is changed; if a
 * step fails all steps are undone.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

#define RUN	"/run/dmabuf-vfio"

/* What a function had before. */
struct before {
	char driver[SYS_NAME];
	char module[SYS_NAME];
	char override[SYS_NAME];
};

/* --- what is remembered */

static void before_now(const struct func *f, struct before *b)
{
	memset(b, 0, sizeof(*b));
	func_driver(f, b->driver);
	func_override(f, b->override);
	if (*b->driver)
		sys_link(b->module, "%s/driver/module", f->dir);
}

/* So that the file is either there, whole, or not. */
static int before_save(const struct func *f, const struct before *b)
{
	char path[PATH_MAX], new[PATH_MAX + 8];
	FILE *file;
	int ret = 0;

	snprintf(path, sizeof(path), "%s" RUN "/%s", sys_root(), f->bdf);
	snprintf(new, sizeof(new), "%s.new", path);
	file = fopen(new, "we");
	if (!file)
		return -errno;
	fprintf(file, "driver %s\nmodule %s\noverride %s\n", b->driver,
		b->module, b->override);
	if (fclose(file) || rename(new, path)) {
		ret = -errno;
		unlink(new);
	}
	return ret;
}

static int before_load(const struct func *f, struct before *b)
{
	char buf[1024], *save, *line;
	int ret;

	memset(b, 0, sizeof(*b));
	ret = sys_read(buf, sizeof(buf), RUN "/%s", f->bdf);
	if (ret < 0)
		return ret;
	for (line = strtok_r(buf, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "driver %255s", b->driver) != 1 &&
		    sscanf(line, "module %255s", b->module) != 1)
			sscanf(line, "override %255s", b->override);
	}
	return 0;
}

static void before_forget(const struct func *f)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s" RUN "/%s", sys_root(), f->bdf);
	unlink(path);
}

/* --- one at a time, and not interrupted half way */

static int begin(sigset_t *old)
{
	sigset_t all;
	int fd;
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s" RUN, sys_root());
	if (mkdir(dir, 0755) && errno != EEXIST)
		return -errno;
	fd = sys_open(O_RDWR | O_CREAT, RUN "/.lock");
	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX)) {
		int ret = -errno;

		close(fd);
		return ret;
	}
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, old);
	return fd;
}

static void end(int fd, const sigset_t *old)
{
	close(fd);
	sigprocmask(SIG_SETMASK, old, NULL);
}

/* --- the steps */

static int set_override(const struct func *f, const char *name)
{
	return sys_write(*name ? name : "\n", "%s/driver_override", f->dir);
}

static int leave_driver(const struct func *f)
{
	int ret = sys_write(f->bdf, "%s/driver/unbind", f->dir);

	/* Somebody else has been faster. */
	return ret == -ENOENT || ret == -ENODEV ? 0 : ret;
}

static bool has_driver(const struct func *f, const char *name)
{
	char driver[SYS_NAME];

	func_driver(f, driver);
	return !strcmp(driver, name);
}

/* Its own driver may be probing it at this moment, as it boots. */
static int take(const struct func *f)
{
	int ret, i;

	ret = set_override(f, DRIVER);
	for (i = 0; !ret && i < 3 && !has_driver(f, DRIVER); i++) {
		ret = leave_driver(f);
		if (!ret)
			ret = sys_write(f->bdf, "/sys/bus/pci/drivers_probe");
	}
	if (!ret && !has_driver(f, DRIVER))
		ret = -ENODEV;
	return ret;
}

/* By name: another driver may be ready to take the function, too. */
static int join_driver(const struct func *f, const struct before *b)
{
	if (!sys_exists("/sys/bus/pci/drivers/%s", b->driver) && *b->module)
		module_load(b->module);
	sys_write(f->bdf, "/sys/bus/pci/drivers/%s/bind", b->driver);
	if (has_driver(f, b->driver))
		return 0;
	sys_write(f->bdf, "/sys/bus/pci/drivers_probe");
	return has_driver(f, b->driver) ? 0 : -ENODEV;
}

/* Says what is wrong and returns an exit code. */
static int put_back(const struct func *f, const struct before *b)
{
	int ret = 0;

	if (!has_driver(f, b->driver))
		ret = leave_driver(f);
	if (!ret)
		ret = set_override(f, b->override);
	if (ret)
		return fail(code_of(ret), "%s: cannot leave " DRIVER ": %s",
			    f->bdf, strerror(-ret));
	if (*b->driver && !has_driver(f, b->driver) && join_driver(f, b))
		return fail(EX_FAILED,
			    "%s: its former driver %s does not take it back; it has no driver now: see dmesg",
			    f->bdf, b->driver);
	before_forget(f);
	return 0;
}

static int why_not_taken(const struct func *f, int err)
{
	char group[SYS_NAME];

	if (err != -ENODEV)
		return fail(code_of(err), "%s: cannot change its driver: %s",
			    f->bdf, strerror(-err));
	if (func_group(f, group))
		return fail(EX_FAILED,
			    "%s: " DRIVER " does not take it: it is in no IOMMU group; switch the IOMMU on (intel_iommu=on, or in the firmware's setup)",
			    f->bdf);
	return fail(EX_FAILED, "%s: " DRIVER " does not take it: see dmesg",
		    f->bdf);
}

static int refuse(const struct func *f, const struct val *uses)
{
	unsigned int i;

	for (i = 0; i < val_count(uses); i++)
		fail(EX_REFUSED, "%s is in use: %s", f->bdf,
		     val_text(val_nth(uses, i)));
	return fail(EX_REFUSED, "%s: not touched; --force takes it all the same",
		    f->bdf);
}

static int denied(void)
{
	return geteuid() && is_real_root() ?
		fail(EX_DENIED, "only root may change a function's driver") : 0;
}

static int take_or_put_back(const struct func *f)
{
	struct before before;
	sigset_t old;
	int lock, ret, code = 0;

	lock = begin(&old);
	if (lock < 0)
		return fail(code_of(lock), RUN ": %s", strerror(-lock));
	before_now(f, &before);
	ret = before_save(f, &before);
	if (ret) {
		code = fail(code_of(ret), RUN "/%s: %s", f->bdf,
			    strerror(-ret));
	} else {
		ret = take(f);
		if (ret) {
			code = why_not_taken(f, ret);
			put_back(f, &before);
		}
	}
	end(lock, &old);
	return code;
}

/* Says what is wrong and returns an exit code. */
int bind_one(const struct func *f, bool force)
{
	bool was_loaded = module_is_loaded(MODULE);
	struct val *uses;
	int code = 0;

	if (has_driver(f, DRIVER))
		return 0;
	if (func_is_bridge(f))
		return fail(EX_FAILED, "%s is a bridge: only endpoints can be bound",
			    f->bdf);
	uses = func_uses(f);
	if (val_count(uses) && !force)
		code = refuse(f, uses);
	val_free(uses);
	if (!code)
		code = denied();
	if (!code && !was_loaded)
		code = module_load(MODULE);
	if (code)
		return code;
	code = take_or_put_back(f);
	if (code && !was_loaded)
		module_unload(MODULE);
	return code;
}

/*
 * Likewise. Without a note of what it had it gets what the kernel finds. What a
 * config names may have been given back by hand: then there is nothing to do;
 * and at boot its driver may have come too late to be noted.
 */
int unbind_one(const struct func *f, bool force)
{
	struct before before;
	sigset_t old;
	int lock, code;
	bool noted;

	noted = !before_load(f, &before);
	if (!noted && !has_driver(f, DRIVER))
		return opts.config ? 0 :
			fail(EX_NOT_FOUND, "%s is not bound to " DRIVER,
			     f->bdf);
	if (has_driver(f, DRIVER) && !force && func_is_held(f))
		return fail(EX_REFUSED, "%s is open through VFIO: stop the program first; --force waits until it has let go",
			    f->bdf);
	code = denied();
	if (code)
		return code;
	lock = begin(&old);
	if (lock < 0)
		return fail(code_of(lock), RUN ": %s", strerror(-lock));
	if (noted && !strcmp(before.driver, DRIVER))
		*before.driver = '\0';
	code = put_back(f, &before);
	if (!code && (!noted || opts.config) && !*before.driver &&
	    !*before.override)
		sys_write(f->bdf, "/sys/bus/pci/drivers_probe");
	end(lock, &old);
	return code;
}
