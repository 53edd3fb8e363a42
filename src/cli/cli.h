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
#include <dmabuf-vfio.h>
#include <stdio.h>

/* libpci has types of the same names. */
#define PCI_HAVE_Uxx_TYPES
#include <pci/pci.h>

#include "../route.h"

#ifndef DVP_VERSION
#define DVP_VERSION	"unknown"
#endif

#define DRIVER		"dmabuf-vfio-pci"
#define MODULE		"dmabuf_vfio_pci"
#define COMMAND		"dmabuf-vfio"
#define DROPIN		"vfio-pci"	/* the driver's name in its place */
#define DROPIN_MODULE	"vfio_pci"

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

/* What the user asked for, handed down from main(). */
struct options {
	const char *name;	/* of the command */
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

/* Grows when a key changes its meaning or goes; new keys do not change it. */
#define JSON_FORMAT	1

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
void out_print(const struct options *opts, struct val *v,
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
bool func_is_ours(const struct func *f);
bool dropin_is_loaded(void);
const char *func_debugfs(const struct func *f);
bool func_is_parent(const struct func *f, const char *path);
void func_driver(const struct func *f, char name[SYS_NAME]);
void func_override(const struct func *f, char name[SYS_NAME]);
int func_group(const struct func *f, char name[SYS_NAME]);
int func_config(const struct func *f, u8 config[4096]);
struct pci_access *pci_access(void);
struct pci_dev *func_pci(const struct func *f);
void func_name(const struct func *f, char *name, size_t size);
int func_numa(const struct func *f);
void func_bars(const struct func *f, struct bar bars[6]);
bool func_has_memory(const struct func *f);
const char *kernel_release(void);
bool is_real_root(void);

/* path.c */
int path_read(const struct func *f, struct dvp_path *path);
bool cpu_routes(void);

/* routes.c */
int route_find(const struct func *provider, const struct func *client,
	       struct dvp_route *v, const char **source);
const char *route_text(const struct dvp_route *v);

/* module.c */
struct module {
	char path[PATH_MAX];
	char version[64];
	char revision[64];
	char srcversion[64];
	char vermagic[128];
	char signer[128];
	bool is_signed;
	bool loaded;
};

struct trust {
	bool lockdown_known;	/* false: nobody knows of the next one */
	bool lockdown;		/* unsigned modules are refused */
	bool enforced;		/* likewise, by module.sig_enforce */
	bool disabled;		/* no module can be loaded any more */
	bool root;
};

#define REMEDY_REBUILD							\
	"build it for the running kernel: make install KVER=$(uname -r)"

void trust_read(struct trust *trust);
int trust_has_key(const char *signer);
const char *remedy_sign(void);
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

int node_open(const struct func *f, bool writable, struct dmabuf_vfio **node);
int node_need(struct func *f, const char *address, bool writable,
	      struct dmabuf_vfio **node);
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
int config_each(const char *dir,
		int (*one)(const struct func *f, bool force, void *ctx),
		void *ctx);

/*
 * The commands. Each has said what is wrong when it returns an error; otherwise
 * it returns an exit code.
 */
int cmd_bind(const struct options *opts, int argc, char **argv);
int cmd_unbind(const struct options *opts, int argc, char **argv);
int cmd_status(const struct options *opts, int argc, char **argv);
int cmd_events(const struct options *opts, int argc, char **argv);
int cmd_export(const struct options *opts, int argc, char **argv);
int cmd_revoke(const struct options *opts, int argc, char **argv);
int cmd_route(const struct options *opts, int argc, char **argv);
int cmd_topo(const struct options *opts, int argc, char **argv);
int cmd_doctor(const struct options *opts, int argc, char **argv);
int cmd_report(const struct options *opts, int argc, char **argv);

#endif /* CLI_H */
