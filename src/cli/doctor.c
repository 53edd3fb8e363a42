// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command doctor: checks what an export needs, and names the remedy of each
 * fault.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "cli.h"

enum { OK, NOTE, UNKNOWN, FAULT };

static const char * const level_names[] = { "ok", "note", "unknown", "FAULT" };

struct report {
	struct val *rows;
	bool fault;
};

/* Adds a row to the report. @remedy NULL: none is needed. */
static __printf(6, 7) void check(struct report *r, const char *name,
				 const struct func *f, int level,
				 const char *remedy, const char *fmt, ...)
{
	struct val *row = val_add(r->rows, val_object());
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	val_set(row, "level", val_str("%s", level_names[level]));
	val_set(row, "check", val_str("%s", name));
	val_set(row, "function", f ? val_str("%s", f->bdf) : val_str("%s", ""));
	val_set(row, "text", val_str("%s", text));
	val_set(row, "remedy", val_str("%s", remedy ?: ""));
	r->fault |= level == FAULT;
}

/* --- the machine */

/* Plain or compressed: zlib reads both. */
static gzFile open_config(void)
{
	int fd;

	fd = sys_open(O_RDONLY, "/boot/config-%s", kernel_release());
	if (fd < 0)
		fd = sys_open(O_RDONLY, "/lib/modules/%s/config",
			      kernel_release());
	if (fd < 0)
		fd = sys_open(O_RDONLY, "/proc/config.gz");
	if (fd < 0)
		fd = sys_open(O_RDONLY, "/lib/modules/%s/build/.config",
			      kernel_release());
	return fd < 0 ? NULL : gzdopen(fd, "r");
}

static void check_options(struct report *r)
{
	static const struct {
		const char *name;
		bool needed;
	} options[] = {
		{ "CONFIG_VFIO_PCI_CORE", true },
		{ "CONFIG_DMA_SHARED_BUFFER", true },
		{ "CONFIG_IOMMU_API", true },
		{ "CONFIG_PCI_P2PDMA", false },
		{ "CONFIG_DMABUF_MOVE_NOTIFY", false },
		{ "CONFIG_IOMMUFD", false },
		{ "CONFIG_VFIO_PCI_DMABUF", false },
	};
	bool on[ARRAY_SIZE(options)] = {};
	char line[512], have[512] = "", missing[512] = "";
	size_t i;
	gzFile f;

	f = open_config();
	if (!f) {
		check(r, "kernel-options", NULL, UNKNOWN,
		      "install the kernel's complete package, which has /boot/config-*, or modprobe configs for /proc/config.gz",
		      "the configuration of kernel %s is not there",
		      kernel_release());
		return;
	}
	while (gzgets(f, line, sizeof(line)))
		for (i = 0; i < ARRAY_SIZE(options); i++) {
			size_t len = strlen(options[i].name);

			if (!strncmp(line, options[i].name, len) &&
			    line[len] == '=' && line[len + 1] != 'n')
				on[i] = true;
		}
	gzclose(f);
	for (i = 0; i < ARRAY_SIZE(options); i++) {
		char *to = options[i].needed && !on[i] ? missing : have;
		size_t used = strlen(to);

		snprintf(to + used, 512 - used, "%s%s%s", used ? " " : "",
			 options[i].name + 7,
			 options[i].needed || on[i] ? "" : "=n");
	}
	if (*missing)
		check(r, "kernel-options", NULL, FAULT,
		      "run a kernel that has them, for example Debian's",
		      "kernel %s lacks %s", kernel_release(), missing);
	else
		check(r, "kernel-options", NULL, OK, NULL,
		      "%s (options that are off are not needed)", have);
}

/* The module that serves: the drop-in where it is loaded alone */
static const char *our_module(void)
{
	return !module_is_loaded(MODULE) && dropin_is_loaded() ?
	       DROPIN_MODULE : MODULE;
}

static void check_module(struct report *r)
{
	const char *release = kernel_release();
	size_t len = strlen(release);
	struct module m;

	if (module_find(our_module(), &m)) {
		check(r, "module", NULL, FAULT,
		      "install a package of it, or in the sources: make install KVER=$(uname -r)",
		      "there is no module %s for kernel %s%s", our_module(),
		      release, m.loaded ? " (one is loaded)" : "");
		return;
	}
	if (strncmp(m.vermagic, release, len) || m.vermagic[len] != ' ')
		check(r, "module", NULL, FAULT,
		      REMEDY_REBUILD,
		      "%s is for kernel %.*s, %s is running", m.path,
		      (int)strcspn(m.vermagic, " "), m.vermagic, release);
	else
		check(r, "module", NULL, OK, NULL, "%s is for this kernel",
		      m.path);
}

/* The one that runs may be older than the one that is installed. */
static void check_version(struct report *r)
{
	char source[64] = "", version[64] = "";
	struct module m;

	if (module_find(our_module(), &m) || !*m.version)
		return;
	sys_read(source, sizeof(source), "/sys/module/%s/srcversion",
		 our_module());
	sys_read(version, sizeof(version), "/sys/module/%s/version",
		 our_module());
	if (*source && (strcmp(source, m.srcversion) ||
			strcmp(version, m.version)))
		check(r, "version", NULL, NOTE,
		      "reboot, or give back all functions and load it anew: modprobe -r, then modprobe",
		      "another %s is loaded (%s, srcversion %s) than is installed (%s, srcversion %s)",
		      our_module(), version, source, m.version, m.srcversion);
	else if (strcmp(m.version, DVP_VERSION))
		check(r, "version", NULL, NOTE,
		      "install module and command of the same version",
		      "the module is %s, this command " DVP_VERSION,
		      m.version);
	else
		check(r, "version", NULL, OK, NULL, "%s%s%s", m.version,
		      *m.revision ? ", revision " : "", m.revision);
}

static void check_lockdown(struct report *r, const struct trust *trust)
{
	if (!trust->lockdown_known)
		check(r, "lockdown", NULL, UNKNOWN,
		      "run it as root, with securityfs mounted",
		      "cannot read /sys/kernel/security/lockdown");
	else
		check(r, "lockdown", NULL, OK, NULL, "%s", trust->lockdown ?
		      "on: only signed modules are loaded" : trust->enforced ?
		      "off, but only signed modules are loaded" : "off");
}

/* It is signed, and must be. */
static void check_key(struct report *r, const char *signer)
{
	int known = trust_has_key(signer);

	if (known < 0)
		check(r, "signature", NULL, UNKNOWN, "run it as root",
		      "the module is signed by %s; whether the kernel has that key cannot be read",
		      signer);
	else if (!known)
		check(r, "signature", NULL, FAULT, remedy_sign(),
		      "the module is signed by %s, a key that nobody enrolled, and the kernel loads only modules signed by a key it has",
		      signer);
	else
		check(r, "signature", NULL, OK, NULL,
		      "the module is signed by %s, a key that the kernel has",
		      signer);
}

static void check_signature(struct report *r)
{
	struct trust trust;
	struct module m;

	trust_read(&trust);
	check_lockdown(r, &trust);
	if (module_find(our_module(), &m))
		return;
	if (m.is_signed && (trust.lockdown || trust.enforced))
		check_key(r, m.signer);
	else if (m.is_signed)
		check(r, "signature", NULL, OK, NULL, "the module is signed%s%s",
		      *m.signer ? " by " : "", m.signer);
	else if (trust.lockdown || trust.enforced)
		check(r, "signature", NULL, FAULT,
		      remedy_sign(),
		      "the module is not signed, and the kernel loads only signed ones");
	else
		check(r, "signature", NULL, OK, NULL,
		      "the module is not signed, and the kernel loads it nevertheless");
}

static void check_loaded(struct report *r)
{
	if (module_is_loaded(our_module()))
		check(r, "loaded", NULL, OK, NULL, "%s is loaded%s",
		      our_module(), strcmp(our_module(), MODULE) ?
		      ", the drop-in" : "");
	else
		check(r, "loaded", NULL, FAULT,
		      "modprobe " MODULE ", or bind a function: "
		      COMMAND " bind ADDRESS",
		      MODULE " is not loaded");
}

#define REMEDY_VIRTUAL							\
	"give the virtual machine one (QEMU: -device intel-iommu or virtio-iommu-pci) and, with an Intel CPU, boot with intel_iommu=on"
#define REMEDY_FIRMWARE							\
	"switch it on in the firmware's setup (VT-d, AMD-Vi) and, with an Intel CPU, boot with intel_iommu=on"

/* The processor says so to those who run on it. */
static bool is_virtual(void)
{
	char line[8192];
	bool found = false;
	FILE *f;

	f = sys_file("/proc/cpuinfo");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = !strncmp(line, "flags", 5) &&
			strstr(line, " hypervisor");
	fclose(f);
	return found;
}

static void check_iommu(struct report *r)
{
	struct names iommus, groups;
	bool unsafe;
	char buf[8];

	unsafe = sys_read(buf, sizeof(buf), "/sys/module/vfio/parameters/"
			  "enable_unsafe_noiommu_mode") > 0 && *buf == 'Y';
	sys_names(&iommus, "/sys/class/iommu");
	sys_names(&groups, "/sys/kernel/iommu_groups");
	if (groups.nr)
		check(r, "iommu", NULL, OK, NULL, "on: %s%s%u groups",
		      iommus.nr ? iommus.name[0] : "", iommus.nr ? ", " : "",
		      groups.nr);
	else
		check(r, "iommu", NULL, FAULT,
		      is_virtual() ? REMEDY_VIRTUAL : REMEDY_FIRMWARE,
		      "off: VFIO takes no function%s",
		      unsafe ? ", except in its unsafe no-IOMMU mode" : "");
	names_free(&iommus);
	names_free(&groups);
}

/* --- a function */

static void check_driver(struct report *r, const struct func *f)
{
	char driver[SYS_NAME], remedy[SYS_NAME];

	func_driver(f, driver);
	snprintf(remedy, sizeof(remedy), COMMAND " bind %s", f->bdf);
	if (func_is_bridge(f))
		check(r, "driver", f, FAULT, "name an endpoint behind it",
		      "it is a bridge, which VFIO does not take");
	else if (!func_is_ours(f))
		check(r, "driver", f, FAULT, remedy, "its driver is %s, not "
		      DRIVER, *driver ? driver : "none");
	else
		check(r, "driver", f, OK, NULL, "%s%s", driver,
		      strcmp(driver, DRIVER) ? ", the drop-in" : "");
}

/* The kernel allows these drivers beside a VFIO user in one group. */
static bool may_share_group(const char *driver)
{
	return !*driver || strstr(driver, "vfio") ||
	       !strcmp(driver, "pcieport") || !strcmp(driver, "pci-stub");
}

static void check_group(struct report *r, const struct func *f)
{
	char group[SYS_NAME], driver[SYS_NAME], remedy[SYS_NAME + 64];
	struct names names;
	bool viable = true;
	unsigned int i;

	if (func_group(f, group)) {
		check(r, "group", f, FAULT,
		      "switch the IOMMU on, see above",
		      "it is in no IOMMU group");
		return;
	}
	sys_names(&names, "/sys/kernel/iommu_groups/%s/devices", group);
	for (i = 0; i < names.nr; i++) {
		sys_link(driver, "/sys/kernel/iommu_groups/%s/devices/%s/driver",
			 group, names.name[i]);
		if (!strcmp(names.name[i], f->bdf) || may_share_group(driver))
			continue;
		viable = false;
		snprintf(remedy, sizeof(remedy), COMMAND " bind %s",
			 names.name[i]);
		check(r, "group", f, FAULT, remedy,
		      "group %s has %s as well, whose driver is %s: VFIO opens no function of the group",
		      group, names.name[i], driver);
	}
	if (viable)
		check(r, "group", f, OK, NULL, "group %s, %u device%s", group,
		      names.nr, names.nr == 1 ? "" : "s");
	names_free(&names);
}

static void check_memory(struct report *r, const struct func *f,
			 const struct state *state)
{
	bool open = state->known &&
		    !(state->reasons & DMABUF_VFIO_REASON_CLOSED);
	u8 config[4096];
	bool on;

	if (!func_has_memory(f)) {
		check(r, "memory", f, FAULT, "none: it cannot be exported",
		      "it has no BAR that is memory of a page or more");
		return;
	}
	if (func_config(f, config) == -ENOENT)
		return;
	on = config[4] & 2;
	if (open && (state->reasons & DMABUF_VFIO_REASON_MEMORY_OFF || !on))
		check(r, "memory", f, FAULT,
		      "in the program that has it open: set the memory bit of COMMAND in configuration space, or reset the function",
		      "memory decoding is off, so every buffer is revoked");
	else if (on)
		check(r, "memory", f, OK, NULL, "memory decoding is on");
	else
		check(r, "memory", f, OK, NULL,
		      "memory decoding is off, and comes on when it is opened");
}

static void check_state(struct report *r, const struct func *f,
			const struct state *state)
{
	struct val *reasons;
	char text[256] = "";
	unsigned int i;

	if (!state->known)
		return;
	if (!state->reasons) {
		check(r, "state", f, OK, NULL, "open, its memory can be reached");
		return;
	}
	reasons = reasons_val(state->reasons);
	for (i = 0; i < val_count(reasons); i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 " %s", val_text(val_nth(reasons, i)));
	if (state->reasons & DMABUF_VFIO_REASON_CLOSED)
		check(r, "state", f, NOTE,
		      "start the program that opens it through VFIO",
		      "not open: nothing can be exported");
	else
		check(r, "state", f, NOTE,
		      "wait, or see " COMMAND "(4) for what the reasons mean",
		      "its memory cannot be reached now:%s", text);
	val_free(reasons);
}

/*
 * DPDK takes a function whose driver is called vfio-pci, if there is a module
 * vfio_pci.
 */
static void check_dpdk(struct report *r, const struct func *f)
{
	char driver[SYS_NAME];

	func_driver(f, driver);
	if (strcmp(driver, "vfio-pci"))
		check(r, "dpdk", f, NOTE,
		      "if it is for DPDK or SPDK: install the drop-in (make install DROPIN=1) and bind it to vfio-pci",
		      "DPDK would skip it: the driver is %s, not vfio-pci",
		      *driver ? driver : "none");
	else if (!module_is_loaded("vfio_pci"))
		check(r, "dpdk", f, NOTE, "load vfio-pci as a module",
		      "DPDK would skip it: /sys/module/vfio_pci is missing");
	else if (dropin_is_loaded())
		check(r, "dpdk", f, OK, NULL,
		      "DPDK takes it; vfio-pci is the drop-in, which exports");
	else
		check(r, "dpdk", f, NOTE,
		      "install the drop-in: make install DROPIN=1",
		      "DPDK takes it, but vfio-pci is the kernel's stock one, "
		      "which does not export as " DRIVER " does");
}

static void check_function(struct report *r, const struct func *f)
{
	struct state state;

	state_read(f, &state);
	check_driver(r, f);
	check_group(r, f);
	check_memory(r, f, &state);
	check_state(r, f, &state);
	check_dpdk(r, f);
}

/* --- a pair */

static void check_importer(struct report *r, const struct func *client)
{
	char driver[SYS_NAME];

	func_driver(client, driver);
	if (func_is_bridge(client))
		check(r, "importer", client, FAULT,
		      "name an endpoint behind it",
		      "it is a bridge, which imports nothing");
	else if (!*driver)
		check(r, "importer", client, NOTE, "bind it to its driver",
		      "it has no driver that could import a buffer");
	else if (strstr(driver, "vfio"))
		check(r, "importer", client, NOTE,
		      "pass the buffer to its program, which can map the memory in its container or by iommufd",
		      "its driver is %s, which imports nothing", driver);
	else
		check(r, "importer", client, OK, NULL,
		      "its driver is %s, if that imports dma-bufs", driver);
}

static void check_route(struct report *r, const struct func *client,
			const struct dvp_route *v)
{
	bool none = v->kind == DMABUF_VFIO_ROUTE_NONE;

	check(r, "route", client, none ? FAULT : OK,
	      none ? COMMAND " topo shows which functions reach which" : NULL,
	      "%s (%d hops)", route_text(v), v->distance);
	if (v->reads == DMABUF_VFIO_ACCESS_UNKNOWN ||
	    v->writes == DMABUF_VFIO_ACCESS_UNKNOWN)
		check(r, "access", client, UNKNOWN,
		      "transfer some data, and compare it",
		      "some host bridges of this kind drop %s between their ports",
		      v->writes == DMABUF_VFIO_ACCESS_UNKNOWN ?
		      "traffic" : "reads");
}

/*
 * Without translation the client must be able to address the BAR itself. Its
 * DMA mask is known once its driver has set it.
 */
static void check_mask(struct report *r, const struct func *provider,
		       const struct func *client)
{
	char driver[SYS_NAME], buf[16];
	struct bar bars[6];
	unsigned int bits;
	int i;

	func_driver(client, driver);
	if (!*driver ||
	    sys_read(buf, sizeof(buf), "%s/dma_mask_bits", client->dir) <= 0)
		return;
	bits = strtoul(buf, NULL, 10);
	func_bars(provider, bars);
	for (i = 0; i < 6 && bits < 64; i++) {
		if (!bars[i].memory || !bars[i].size ||
		    !((bars[i].start + bars[i].size - 1) >> bits))
			continue;
		check(r, "mask", client, FAULT,
		      "let an IOMMU translate: boot with iommu.passthrough=0",
		      "it reaches addresses of %u bits, and BAR %d of %s is beyond them",
		      bits, i, provider->bdf);
	}
}

#define NO_CUT	"it cannot be cut off: a revoke waits for it, and it gets no read-only buffers"

/* Returns whether an IOMMU translates the client's addresses. */
static bool check_addresses(struct report *r, const struct func *client,
			    const struct dvp_route *v)
{
	char group[SYS_NAME], type[32] = "";

	if (v->kind == DMABUF_VFIO_ROUTE_BUS) {
		check(r, "addresses", client, NOTE, NULL,
		      "bus addresses, which no IOMMU sees: " NO_CUT);
		return false;
	}
	if (func_group(client, group)) {
		check(r, "addresses", client, NOTE, "switch the IOMMU on",
		      "physical addresses, since it has no IOMMU: " NO_CUT);
		return false;
	}
	if (sys_read(type, sizeof(type), "/sys/kernel/iommu_groups/%s/type",
		     group) <= 0)
		check(r, "addresses", client, UNKNOWN, "run it as root",
		      "cannot read whether group %s is translated", group);
	else if (strncmp(type, "DMA", 3))
		check(r, "addresses", client, NOTE,
		      "boot with iommu.passthrough=0",
		      "physical addresses, since group %s is not translated (%s): "
		      NO_CUT,
		      group, type);
	else
		check(r, "addresses", client, OK, NULL,
		      "I/O addresses of group %s (%s), taken away from a client that is late",
		      group, type);
	return !strncmp(type, "DMA", 3);
}

/* -1: not known. The kernel's symbols tell where the driver does not. */
static int has_iova(const struct state *state)
{
	char line[256];
	int ret = 0;
	FILE *f;

	if (state->by_node)
		return !!(state->capabilities & DMABUF_VFIO_CAP_IOVA);
	f = sys_file("/proc/kallsyms");
	if (!f)
		return -1;
	while (!ret && fgets(line, sizeof(line), f))
		ret = !!strstr(line, " dma_map_phys\n");
	fclose(f);
	return ret;
}

static void check_segments(struct report *r, const struct func *client,
			   bool translated, const struct state *state)
{
	int iova = translated ? has_iova(state) : 0;

	if (iova < 0)
		check(r, "segments", client, UNKNOWN,
		      "open the function through VFIO, so that the driver can tell",
		      "one or several: /proc/kallsyms cannot be read");
	else if (iova)
		check(r, "segments", client, OK, NULL,
		      "one contiguous range for each buffer, whatever the number of its slices");
	else
		check(r, "segments", client, OK, NULL,
		      "one for each slice of a buffer (adjacent slices share one), and more for a slice of 4G or larger%s",
		      translated ? "; Linux 6.18 and later need only one" : "");
}

/* Says what is wrong. */
static int check_pair(struct report *r, const struct func *provider,
		      const char *address)
{
	struct func client;
	struct state state;
	const char *source;
	struct dvp_route v;
	bool translated;
	int ret;

	ret = func_need(&client, address) ?:
	      route_find(provider, &client, &v, &source);
	if (ret)
		return ret;
	state_read(provider, &state);
	check_importer(r, &client);
	check_route(r, &client, &v);
	if (v.kind == DMABUF_VFIO_ROUTE_NONE)
		return 0;
	translated = check_addresses(r, &client, &v);
	if (!translated)
		check_mask(r, provider, &client);
	check_segments(r, &client, translated, &state);
	return 0;
}

/* --- all */

static void doctor_text(const struct val *rows, const void *unused)
{
	unsigned int i;

	(void)unused;
	for (i = 0; i < val_count(rows); i++) {
		const struct val *row = val_nth(rows, i);
		const char *func = val_text(val_get(row, "function"));
		const char *remedy = val_text(val_get(row, "remedy"));

		printf("%-7s  %s%s%s: %s\n", val_text(val_get(row, "level")),
		       func, *func ? " " : "", val_text(val_get(row, "check")),
		       val_text(val_get(row, "text")));
		if (*remedy)
			printf("         remedy: %s\n", remedy);
	}
}

/* Says what is wrong. */
static int check_functions(struct report *r, int argc, char **argv)
{
	struct func *funcs, f;
	int i, nr, ret;

	if (argc) {
		ret = func_need(&f, argv[0]);
		if (ret)
			return ret;
		check_function(r, &f);
		return argc > 1 ? check_pair(r, &f, argv[1]) : 0;
	}
	nr = funcs_read(&funcs);
	if (nr < 0)
		return nr;
	for (i = 0; i < nr; i++)
		if (func_is_ours(&funcs[i]))
			check_function(r, &funcs[i]);
	free(funcs);
	return 0;
}

int cmd_doctor(const struct options *opts, int argc, char **argv)
{
	struct report r = { .rows = val_array() };
	int ret;

	check_options(&r);
	check_module(&r);
	check_signature(&r);
	check_version(&r);
	check_loaded(&r);
	check_iommu(&r);
	ret = check_functions(&r, argc, argv);
	if (ret) {
		val_free(r.rows);
		return ret;
	}
	out_print(opts, r.rows, doctor_text, NULL);
	return r.fault ? EX_NO : EX_DONE;
}
