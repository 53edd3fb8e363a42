// SPDX-License-Identifier: GPL-2.0-only
/*
 * The commands bind and unbind: take functions from their drivers, and give
 * them back. What a function had is noted (persist.c) before anything changes;
 * if a step fails, all steps are undone.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli.h"

/* --- one at a time, not interrupted halfway */

/* Returns a descriptor for bind_unlock(). */
static int bind_lock(sigset_t *old)
{
	sigset_t all;
	int fd, ret;

	ret = note_dir_make();
	if (ret)
		return ret;
	fd = sys_open(O_RDWR | O_CREAT, RUN_DIR "/.lock");
	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, old);
	return fd;
}

static void bind_unlock(int fd, const sigset_t *old)
{
	close(fd);
	sigprocmask(SIG_SETMASK, old, NULL);
}

static int no_lock(int err)
{
	return fail(err, RUN_DIR ": %s", strerror(-err));
}

/* --- the steps */

static int set_override(const struct func *f, const char *name)
{
	return sys_write(*name ? name : "\n", "%s/driver_override", f->dir);
}

static int leave_driver(const struct func *f)
{
	int ret = sys_write(f->bdf, "%s/driver/unbind", f->dir);

	/* Another process has unbound it first. */
	return ret == -ENOENT || ret == -ENODEV ? 0 : ret;
}

static bool has_driver(const struct func *f, const char *name)
{
	char driver[SYS_NAME];

	func_driver(f, driver);
	return !strcmp(driver, name);
}

/* Tries again: at boot the function's own driver may probe it meanwhile. */
static int take_function(const struct func *f)
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

/*
 * Names the driver for the moment of the probe: another one may match the
 * function, too, and vfio-pci matches nothing without being named. setup.sh and
 * dpdk-devbind.py clear the override when they have bound a function.
 */
static int join_driver(const struct func *f, const struct note *note)
{
	int ret;

	if (*note->module &&
	    !sys_exists("/sys/bus/pci/drivers/%s", note->driver))
		module_load(note->module);
	ret = set_override(f, note->driver);
	if (!ret)
		sys_write(f->bdf, "/sys/bus/pci/drivers_probe");
	ret = set_override(f, note->override) ?: ret;
	if (ret)
		return ret;
	return has_driver(f, note->driver) ? 0 : -ENODEV;
}

/* Says what is wrong. */
static int put_back(const struct func *f, const struct note *note)
{
	int ret = 0;

	if (!has_driver(f, note->driver))
		ret = leave_driver(f);
	if (!ret)
		ret = set_override(f, note->override);
	if (ret)
		return fail(ret, "%s: cannot leave " DRIVER ": %s", f->bdf,
			    strerror(-ret));
	if (*note->driver && !has_driver(f, note->driver) &&
	    join_driver(f, note))
		return fail(-ENODEV,
			    "%s: its former driver %s does not take it back, so it has no driver now: see dmesg",
			    f->bdf, note->driver);
	note_delete(f);
	return 0;
}

static int why_not_taken(const struct func *f, int err)
{
	char group[SYS_NAME];

	if (err != -ENODEV)
		return fail(err, "%s: cannot change its driver: %s", f->bdf,
			    strerror(-err));
	if (func_group(f, group))
		return fail(err,
			    "%s: " DRIVER " does not take it, because it is in no IOMMU group: switch the IOMMU on (intel_iommu=on, or in the firmware's setup)",
			    f->bdf);
	return fail(err, "%s: " DRIVER " does not take it: see dmesg", f->bdf);
}

static int refuse(const struct func *f, const struct val *uses)
{
	unsigned int i;

	for (i = 0; i < val_count(uses); i++)
		fail(-EREFUSED, "%s is in use: %s", f->bdf,
		     val_text(val_nth(uses, i)));
	return fail(-EREFUSED, "%s: not touched; to take it nevertheless, use --force",
		    f->bdf);
}

static int need_root(void)
{
	return geteuid() && is_real_root() ?
		fail(-EPERM, "only root may change a function's driver") : 0;
}

static int take_or_put_back(const struct func *f)
{
	struct note note;
	sigset_t old;
	int lock, ret;

	lock = bind_lock(&old);
	if (lock < 0)
		return no_lock(lock);
	/* Another bind may have been before this one, and noted the driver. */
	if (has_driver(f, DRIVER)) {
		bind_unlock(lock, &old);
		return 0;
	}
	note_take(f, &note);
	ret = note_save(f, &note);
	if (ret) {
		fail(ret, RUN_DIR "/%s: %s", f->bdf, strerror(-ret));
	} else {
		ret = take_function(f);
		if (ret) {
			ret = why_not_taken(f, ret);
			put_back(f, &note);
		}
	}
	bind_unlock(lock, &old);
	return ret;
}

/* Says what is wrong. */
static int bind_one(const struct options *opts, const struct func *f,
		    bool force)
{
	bool was_loaded = module_is_loaded(MODULE);
	struct val *uses;
	int ret = 0;

	(void)opts;

	if (has_driver(f, DRIVER))
		return 0;
	if (func_is_bridge(f))
		return fail(-EOPNOTSUPP,
			    "%s is a bridge: only endpoints can be bound",
			    f->bdf);
	uses = func_uses(f);
	if (val_count(uses) && !force)
		ret = refuse(f, uses);
	val_free(uses);
	if (!ret)
		ret = need_root();
	if (!ret && !was_loaded)
		ret = module_load(MODULE);
	if (ret)
		return ret;
	ret = take_or_put_back(f);
	if (ret && !was_loaded)
		module_unload(MODULE);
	return ret;
}

/*
 * Says what is wrong. A function without a note gets the driver that the kernel
 * finds for it. With --config an unbound function is no error, as it may have
 * been given back by hand; and a function that had no driver gets the kernel's
 * choice, as at boot its driver may have been loaded after the bind.
 */
static int unbind_one(const struct options *opts, const struct func *f,
		      bool force)
{
	struct note note;
	sigset_t old;
	int lock, ret;
	bool noted;

	noted = !note_load(f, &note);
	if (!noted && !has_driver(f, DRIVER))
		return opts->config ? 0 :
			fail(-ENOENT, "%s is not bound to " DRIVER, f->bdf);
	if (has_driver(f, DRIVER) && !force && func_is_held(f))
		return fail(-EREFUSED, "%s is open through VFIO: stop the program that has it open, or use --force to wait until that has closed it",
			    f->bdf);
	ret = need_root();
	if (ret)
		return ret;
	lock = bind_lock(&old);
	if (lock < 0)
		return no_lock(lock);
	/* Another unbind may have been before this one. */
	noted = !note_load(f, &note);
	if (!noted && !has_driver(f, DRIVER)) {
		bind_unlock(lock, &old);
		return 0;
	}
	if (noted && !strcmp(note.driver, DRIVER))
		*note.driver = '\0';
	ret = put_back(f, &note);
	if (!ret && (!noted || opts->config) && !*note.driver &&
	    !*note.override)
		sys_write(f->bdf, "/sys/bus/pci/drivers_probe");
	bind_unlock(lock, &old);
	return ret;
}

/* --- for each of them */

struct job {
	const struct options *opts;
	int (*one)(const struct options *opts, const struct func *f,
		   bool force);
	struct val *rows;
};

static int job_one(const struct func *f, bool force, void *ctx)
{
	const struct job *job = ctx;
	struct val *row = val_add(job->rows, val_object());
	char driver[SYS_NAME];
	int ret;

	ret = job->one(job->opts, f, force || job->opts->force);
	func_driver(f, driver);
	val_set(row, "function", val_str("%s", f->bdf));
	val_set(row, "driver", *driver ? val_str("%s", driver) : val_null());
	val_set(row, "done", val_bool(!ret));
	return ret;
}

/* Finds all functions before it touches one; returns the first error. */
static int job_by_name(struct job *job, int argc, char **argv)
{
	struct func *funcs = need_memory(calloc(argc, sizeof(*funcs)));
	int i, first = 0, ret;

	for (i = 0; i < argc && !first; i++)
		first = func_need(&funcs[i], argv[i]);
	if (first)
		argc = 0;
	for (i = 0; i < argc; i++) {
		ret = job_one(&funcs[i], false, job);
		first = first ?: ret;
	}
	free(funcs);
	return first;
}

static int for_each(const struct options *opts, int argc, char **argv,
		    int (*one)(const struct options *opts,
			       const struct func *f, bool force))
{
	struct job job = { .opts = opts, .one = one };
	int ret;

	if (opts->config != !argc)
		return fail(-EMISUSE, "either functions or --config: see --help");
	job.rows = val_array();
	ret = opts->config ? config_each(opts->config_dir, job_one, &job) :
			    job_by_name(&job, argc, argv);
	if (val_count(job.rows))
		out_print(opts, job.rows, NULL, NULL);
	else
		val_free(job.rows);
	return ret;
}

int cmd_bind(const struct options *opts, int argc, char **argv)
{
	return for_each(opts, argc, argv, bind_one);
}

int cmd_unbind(const struct options *opts, int argc, char **argv)
{
	return for_each(opts, argc, argv, unbind_one);
}
