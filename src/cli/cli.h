/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The dmabuf-vfio command: what its files share.
 *
 * A command builds a tree of values (out.c) and gives it to out_print(): that
 * is what --json and the text are made of.
 *
 * Errors are negative errno values, or one of the two below, all the way up to
 * main(), which alone makes exit codes of them. A message is printed where the
 * user's words for the problem are known, by fail(), which returns the error
 * for the caller to pass on. What reads or writes one file (sys_*(), func_*(),
 * node_open() and so on) prints nothing; a function that prints says so in its
 * comment. Running out of memory ends the program: see need_memory().
 */
#ifndef CLI_H
#define CLI_H

#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/types.h>
#include <linux/dmabuf_vfio_pci.h>
#include <stdio.h>

#include "../route.h"

#define DRIVER		"dmabuf-vfio-pci"
#define MODULE		"dmabuf_vfio_pci"
#define COMMAND		"dmabuf-vfio"

#define __printf(fmt, args)	__attribute__((format(printf, fmt, args)))

/* Exit codes, as promised by dmabuf-vfio(8). */
enum {
	EX_DONE,
	EX_FAILED,
	EX_WRONG_USAGE,
	EX_REFUSED,
	EX_NOT_FOUND,
	EX_DENIED,
	EX_NO,
};

/* Errors of the command's own, where no errno value reaches. */
#define EMISUSE		4096	/* an argument that means nothing */
#define EREFUSED	4097	/* in use, or not the function that was meant */

struct options {
	bool json;
	bool force;
	bool all;
	bool write_combining;
	bool read_only;
	bool translated;
	bool config;
	const char *config_dir;
	unsigned long count;	/* zero: no limit */
	char **command;		/* the words after "--" */
};

extern struct options opts;

int __printf(2, 3) fail(int err, const char *fmt, ...);
void *need_memory(void *p);

/* names.c: the words for the numbers of the interface. */
const char *reason_name(unsigned int bit);	/* NULL: no such bit */
const char *cap_name(unsigned int bit);		/* NULL: no such bit */
const char *event_name(u32 type);
const char *route_name(u32 route);		/* NULL: not known */
const char *access_name(u32 access);		/* NULL: not known */
const char *why_name(u32 why);			/* NULL: not known */

/* out.c */
struct val;

struct val *val_object(void);
struct val *val_array(void);
struct val *__printf(1, 2) val_str(const char *fmt, ...);
struct val *val_num(long long num);
struct val *val_size(u64 num);
struct val *val_bool(bool yes);
struct val *val_null(void);
struct val *val_set(struct val *object, const char *key, struct val *v);
struct val *val_add(struct val *array, struct val *v);
unsigned int val_count(const struct val *v);
const struct val *val_nth(const struct val *v, unsigned int n);
const struct val *val_get(const struct val *object, const char *key);
const char *val_text(const struct val *v);
void val_free(struct val *v);
void out_text(const struct val *v);
void out_print(struct val *v,
	       void (*writer)(const struct val *v, const void *ctx),
	       const void *ctx);

/* sysfs.c: all paths are below the folder that DMABUF_VFIO_ROOT names. */
#define BDF_LEN		20	/* "10000:e1:00.0" and more */
#define SYS_NAME	256

struct func {
	char bdf[BDF_LEN];
	u32 domain;
	u16 devfn;		/* with its bus: bus << 8 | device << 3 | fn */
	u16 vendor;
	u16 device;
	u32 class;
	char dir[PATH_MAX];	/* of sysfs, without links, without the root */
};

struct bar {
	u64 start;
	u64 size;		/* zero: none */
	bool memory;
};

const char *sys_root(void);
int __printf(3, 4)
sys_read(char *buf, size_t size, const char *fmt, ...);
int __printf(2, 3)
sys_write(const char *text, const char *fmt, ...);
int __printf(2, 3)
sys_link(char name[SYS_NAME], const char *fmt, ...);
int __printf(2, 3)
sys_real(char path[PATH_MAX], const char *fmt, ...);
bool __printf(1, 2) sys_exists(const char *fmt, ...);
int __printf(2, 3)
sys_open(int flags, const char *fmt, ...);
FILE *__printf(1, 2) sys_file(const char *fmt, ...);

struct names {
	unsigned int nr;
	char **name;
};

int __printf(2, 3)
sys_names(struct names *names, const char *fmt, ...);
void names_free(struct names *names);

int func_parse(const char *text, char bdf[BDF_LEN]);
int func_read(struct func *f, const char *bdf);
int func_need(struct func *f, const char *text);
int funcs_read(struct func **funcs);
bool func_is_bridge(const struct func *f);
bool func_is_parent(const struct func *f, const char *path);
void func_driver(const struct func *f, char name[SYS_NAME]);
void func_override(const struct func *f, char name[SYS_NAME]);
int func_group(const struct func *f, char name[SYS_NAME]);
int func_config(const struct func *f, u8 config[4096]);
void func_bars(const struct func *f, struct bar bars[6]);
bool func_has_memory(const struct func *f);
const char *kernel_release(void);
bool is_real_root(void);

/* path.c */
int path_read(const struct func *f, struct dvp_path *path);
bool cpu_routes(void);

struct verdict {
	u32 route;		/* DMABUF_VFIO_ROUTE_* */
	u32 reason;		/* DMABUF_VFIO_WHY_* */
	int distance;
	u32 reads;		/* DMABUF_VFIO_ACCESS_* */
	u32 writes;
};

struct verdict verdict_of(const struct dvp_path *provider,
			  const struct dvp_path *client, bool routes);

/* routes.c */
int route_find(const struct func *provider, const struct func *client,
	       struct verdict *v, const char **source);
const char *route_text(const struct verdict *v);

/* module.c */
struct module {
	char path[PATH_MAX];
	char vermagic[128];
	char signer[128];
	bool is_signed;
	bool loaded;
};

struct trust {
	bool lockdown;		/* unsigned modules are refused */
	bool enforced;		/* likewise, by module.sig_enforce */
	bool disabled;		/* no module can be loaded any more */
	bool root;
};

#define REMEDY_SIGN							\
	"install openssl and run \"make install\" again, so that DKMS signs it, then enrol the key: mokutil --import /var/lib/dkms/mok.pub, and reboot"
#define REMEDY_REBUILD							\
	"build it for the running kernel: make install KVER=$(uname -r)"

void trust_read(struct trust *trust);
void module_explain(int err, const struct trust *trust, const char **cause,
		    const char **remedy);
int module_find(const char *name, struct module *m);
int module_load(const char *name);
void module_unload(const char *name);
bool module_is_loaded(const char *name);

/* uses.c */
struct val *func_uses(const struct func *f);
bool func_is_held(const struct func *f);

/* node.c */
struct state {
	bool known;		/* false: nothing below is valid */
	bool by_node;		/* false: from debugfs, * are zero */
	u32 reasons;
	u32 nr_buffers;
	u32 abi_version;	/* * */
	u32 capabilities;	/* * */
	struct dmabuf_vfio_bar bars[6];	/* * */
};

int node_open(const struct func *f, int flags);
int node_need(struct func *f, const char *address, int flags);
int node_info(int node, struct dmabuf_vfio_info *info);
void state_read(const struct func *f, struct state *state);
struct val *reasons_val(u32 reasons);

/* persist.c */
#define RUN_DIR		"/run/dmabuf-vfio"

/* What a function had before it was bound. */
struct note {
	char driver[SYS_NAME];
	char module[SYS_NAME];
	char override[SYS_NAME];
};

int note_dir_make(void);
void note_take(const struct func *f, struct note *note);
int note_save(const struct func *f, const struct note *note);
int note_load(const struct func *f, struct note *note);
void note_delete(const struct func *f);

/* config.c */
int config_each(int (*one)(const struct func *f, bool force, void *ctx),
		void *ctx);

/*
 * The commands. Each has said what is wrong when it returns an error; otherwise
 * it returns an exit code.
 */
int cmd_bind(int argc, char **argv);
int cmd_unbind(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_events(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_revoke(int argc, char **argv);
int cmd_route(int argc, char **argv);
int cmd_topo(int argc, char **argv);
int cmd_doctor(int argc, char **argv);

#endif /* CLI_H */
