// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel module, by libkmod: whether it is installed, for which kernel,
 * signed and loaded, and why the kernel did not take it.
 */
#include <errno.h>
#include <fcntl.h>
#include <libkmod.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static struct kmod_ctx *open_kmod(void)
{
	const char *no_config = NULL;
	char dir[PATH_MAX];
	struct kmod_ctx *ctx;

	snprintf(dir, sizeof(dir), "%s/lib/modules/%s", sys_root(),
		 kernel_release());
	ctx = kmod_new(dir, is_real_root() ? NULL : &no_config);
	if (ctx)
		kmod_set_log_priority(ctx, 0);
	return ctx;
}

/* NULL without a readable file: the index of modules may be stale. */
static struct kmod_module *look_up(struct kmod_ctx *ctx, const char *name)
{
	struct kmod_module *mod = NULL;
	struct kmod_list *list = NULL;
	const char *path;

	if (ctx && kmod_module_new_from_lookup(ctx, name, &list) >= 0 && list)
		mod = kmod_module_get_module(list);
	kmod_module_unref_list(list);
	path = mod ? kmod_module_get_path(mod) : NULL;
	if (path && !access(path, R_OK))
		return mod;
	if (mod)
		kmod_module_unref(mod);
	return NULL;
}

bool module_is_loaded(const char *name)
{
	return sys_exists("/sys/module/%s", name);
}

static void read_info(struct kmod_module *mod, struct module *m)
{
	struct kmod_list *list = NULL, *entry;

	if (kmod_module_get_info(mod, &list) < 0)
		return;
	kmod_list_foreach(entry, list) {
		const char *key = kmod_module_info_get_key(entry);
		const char *value = kmod_module_info_get_value(entry);

		if (!strcmp(key, "vermagic"))
			snprintf(m->vermagic, sizeof(m->vermagic), "%s", value);
		else if (!strcmp(key, "version"))
			snprintf(m->version, sizeof(m->version), "%s", value);
		else if (!strcmp(key, "revision"))
			snprintf(m->revision, sizeof(m->revision), "%s", value);
		else if (!strcmp(key, "srcversion"))
			snprintf(m->srcversion, sizeof(m->srcversion), "%s",
				 value);
		else if (!strcmp(key, "signer"))
			snprintf(m->signer, sizeof(m->signer), "%s", value);
		else if (!strcmp(key, "sig_id"))
			m->is_signed = true;
	}
	kmod_module_info_free_list(list);
}

/* The module for the running kernel; -ENOENT without a file. */
int module_find(const char *name, struct module *m)
{
	struct kmod_ctx *ctx = open_kmod();
	struct kmod_module *mod = look_up(ctx, name);

	memset(m, 0, sizeof(*m));
	m->loaded = module_is_loaded(name);
	if (mod) {
		snprintf(m->path, sizeof(m->path), "%s",
			 kmod_module_get_path(mod));
		read_info(mod, m);
		kmod_module_unref(mod);
	}
	kmod_unref(ctx);
	return *m->path ? 0 : -ENOENT;
}

void trust_read(struct trust *trust)
{
	char buf[128];

	memset(trust, 0, sizeof(*trust));
	/* "none [integrity] confidentiality"; absent: no lockdown. */
	trust->lockdown_known = sys_exists("/sys/kernel/security/lsm");
	if (sys_read(buf, sizeof(buf), "/sys/kernel/security/lockdown") > 0) {
		trust->lockdown_known = true;
		trust->lockdown = !strstr(buf, "[none]");
	} else if (sys_exists("/sys/kernel/security/lockdown")) {
		trust->lockdown_known = false;
	}
	if (sys_read(buf, sizeof(buf),
		     "/sys/module/module/parameters/sig_enforce") > 0)
		trust->enforced = *buf == 'Y';
	if (sys_read(buf, sizeof(buf), "/proc/sys/kernel/modules_disabled") > 0)
		trust->disabled = *buf == '1';
	trust->root = !geteuid();
}

/*
 * Whether the kernel has a key of that name, by which it would accept the
 * module; -1: that cannot be told.
 */
int trust_has_key(const char *signer)
{
	char line[512];
	int found = 0, any = 0;
	FILE *f;

	f = sys_file("/proc/keys");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		char *name = strstr(line, " asymmetri ");

		any |= !!name;
		found |= name && *signer && strstr(name, signer);
	}
	fclose(f);
	return found ? 1 : any ? 0 : -1;
}

/* Where this distribution's DKMS has its certificate */
static void find_certificate(char path[PATH_MAX])
{
	static const char * const usual[] = {
		"/var/lib/shim-signed/mok/MOK.der",	/* Ubuntu */
		"/var/lib/dkms/mok.pub",
	};
	char line[512], value[400];
	size_t i;
	FILE *f;

	for (i = 0; i < ARRAY_SIZE(usual); i++) {
		snprintf(path, PATH_MAX, "%s", usual[i]);
		if (sys_exists("%s", path))
			break;
	}
	f = sys_file("/etc/dkms/framework.conf");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "mok_certificate=\"%399[^\"\n]", value) == 1 ||
		    sscanf(line, "mok_certificate=%399[^\" \n]", value) == 1)
			snprintf(path, PATH_MAX, "%s", value);
	if (f)
		fclose(f);
}

const char *remedy_sign(void)
{
	static char text[PATH_MAX + 256];
	char path[PATH_MAX];

	find_certificate(path);
	snprintf(text, sizeof(text),
		 "install openssl and run \"make install\" again, so that DKMS signs it, then enrol the key: mokutil --import %s, and reboot",
		 path);
	return text;
}

/**
 * module_explain() - why the kernel did not take a module
 * @err: what libkmod returned, negative
 * @trust: which modules the kernel takes
 * @cause: out
 * @remedy: out
 */
void module_explain(int err, const struct trust *trust, const char **cause,
		    const char **remedy)
{
	*remedy = "see the end of dmesg";
	switch (err) {
	case -EPERM:
	case -EACCES:
		if (!trust->root) {
			*cause = "only root may load modules";
			*remedy = "run it as root";
		} else if (trust->disabled) {
			*cause = "loading modules is switched off until "
				 "the next boot (kernel.modules_disabled)";
			*remedy = "load it earlier, for example by "
				  "/etc/modules-load.d";
		} else if (trust->lockdown) {
			*cause = "the kernel is locked down and the "
				 "module is not signed";
			*remedy = remedy_sign();
		} else {
			*cause = "a security module, or a container, "
				 "forbids it";
			*remedy = "load it on the host: modprobe " MODULE;
		}
		break;
	case -ENOKEY:
	case -EKEYREJECTED:
		*cause = "it is signed by no key that the kernel trusts";
		*remedy = remedy_sign();
		break;
	case -EBADMSG:
		*cause = "its signature does not match its content";
		*remedy = REMEDY_REBUILD;
		break;
	case -ENOENT:
		*cause = "it needs a symbol that the kernel does not have";
		*remedy = REMEDY_REBUILD
			", and see dmesg for the symbol's name";
		break;
	case -EINVAL:
		*cause = "it was built against other symbols than the "
			 "kernel has";
		*remedy = REMEDY_REBUILD;
		break;
	case -ENOEXEC:
		*cause = "it was built for another kernel (version magic)";
		*remedy = REMEDY_REBUILD;
		break;
	case -ENOMEM:
		*cause = "out of memory";
		break;
	default:
		*cause = strerror(-err);
	}
}

/* Says what is wrong. */
int module_load(const char *name)
{
	const char *cause, *remedy;
	struct kmod_ctx *ctx;
	struct kmod_module *mod;
	struct trust trust;
	int err;

	ctx = open_kmod();
	mod = look_up(ctx, name);
	if (!mod) {
		kmod_unref(ctx);
		return fail(-ENOENT,
			    "module %s is not installed for kernel %s: make install",
			    name, kernel_release());
	}
	err = kmod_module_probe_insert_module(mod, 0, NULL, NULL, NULL, NULL);
	kmod_module_unref(mod);
	kmod_unref(ctx);
	if (!err || err == -EEXIST)
		return 0;
	trust_read(&trust);
	module_explain(err, &trust, &cause, &remedy);
	/* To the caller a missing symbol is no ENOENT, a lockdown no EPERM. */
	return fail(err == -EPERM && !trust.root ? err : -ENOEXEC,
		    "cannot load module %s: %s; remedy: %s", name, cause,
		    remedy);
}

void module_unload(const char *name)
{
	struct kmod_ctx *ctx = open_kmod();
	struct kmod_module *mod = look_up(ctx, name);

	if (mod) {
		kmod_module_remove_module(mod, O_NONBLOCK);
		kmod_module_unref(mod);
	}
	kmod_unref(ctx);
}
