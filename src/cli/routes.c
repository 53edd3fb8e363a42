// SPDX-License-Identifier: GPL-2.0-only
/*
 * The commands route and topo: how one function reaches the memory of another,
 * and why.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"

/* Of a reason: its letter in the matrix, and what it means. */
static const struct {
	char letter;
	const char *text;
} reasons[] = {
	[DMABUF_VFIO_WHY_SWITCH] = { 'B',
		"by bus address: their paths meet below the host bridge, and "
		"nothing there redirects the traffic to it" },
	[DMABUF_VFIO_WHY_FORWARDED] = { 'H',
		"through the host bridge, which forwards it" },
	[DMABUF_VFIO_WHY_REDIRECTED] = { 'h',
		"through the host bridge: ACS redirects it from where their "
		"paths meet, and the host bridge forwards it" },
	[DMABUF_VFIO_WHY_NOT_FORWARDED] = { 'x',
		"no: the host bridge is not known to forward it; put both below "
		"one PCIe switch, or name it if you know better: hosts in "
		"dmabuf-vfio(4)" },
	[DMABUF_VFIO_WHY_REDIRECTED_AWAY] = { 'a',
		"no: ACS redirects it to a host bridge that is not known to "
		"forward it; boot with pci=disable_acs_redir=... for the ports "
		"between them (this costs isolation)" },
	[DMABUF_VFIO_WHY_NO_PATH] = { 'd',
		"no: the PCI tree is deeper than the driver looks" },
};

static int no_path(const struct func *f, int ret)
{
	if (ret == -EACCES)
		return fail(ret, "%s: only root can see the ACS settings that decide: run it as root",
			    f->bdf);
	return fail(ret, "%s: %s", f->bdf, strerror(-ret));
}

/* Asks the driver, whose answer counts, if the provider is open. */
static bool ask_node(const struct func *provider, const struct func *client,
		     struct dvp_route *v)
{
	struct dmabuf_vfio_route req;
	struct dmabuf_vfio *node;
	int ret;

	if (node_open(provider, false, &node))
		return false;
	ret = dmabuf_vfio_find_route(node, client->bdf, &req);
	dmabuf_vfio_close(node);
	if (ret || req.reason >= ARRAY_SIZE(reasons) ||
	    !route_name(req.route) || !access_name(req.reads) ||
	    !access_name(req.writes))
		return false;
	*v = (struct dvp_route){
		.kind = req.route,
		.why = req.reason,
		.distance = req.distance,
		.reads = req.reads,
		.writes = req.writes,
	};
	return true;
}

static struct val *verdict_val(const struct func *provider,
			       const struct func *client,
			       const struct dvp_route *v, const char *source)
{
	struct val *row = val_object();

	val_set(row, "provider", val_str("%s", provider->bdf));
	val_set(row, "client", val_str("%s", client->bdf));
	val_set(row, "route", val_str("%s", route_name(v->kind)));
	val_set(row, "distance", val_num(v->distance));
	val_set(row, "reason", val_str("%s", why_name(v->why)));
	val_set(row, "explanation", val_str("%s", reasons[v->why].text));
	val_set(row, "reads", val_str("%s", access_name(v->reads)));
	val_set(row, "writes", val_str("%s", access_name(v->writes)));
	if (source)
		val_set(row, "source", val_str("%s", source));
	return row;
}

/* Says what is wrong. @source: out, who has given the verdict. */
int route_find(const struct func *provider, const struct func *client,
	       struct dvp_route *v, const char **source)
{
	struct dvp_path p, c;
	int ret;

	*source = "driver";
	if (ask_node(provider, client, v))
		return 0;
	*source = "sysfs";
	ret = path_read(provider, &p);
	if (ret)
		return no_path(provider, ret);
	ret = path_read(client, &c);
	if (ret)
		return no_path(client, ret);
	*v = dvp_route_find(&p, &c, cpu_routes());
	return 0;
}

const char *route_text(const struct dvp_route *v)
{
	return reasons[v->why].text;
}

int cmd_route(const struct options *opts, int argc, char **argv)
{
	struct func provider, client;
	const char *source;
	struct dvp_route v;
	int ret;

	(void)argc;
	ret = func_need(&provider, argv[0]) ?: func_need(&client, argv[1]) ?:
	      route_find(&provider, &client, &v, &source);
	if (ret)
		return ret;
	out_print(opts, verdict_val(&provider, &client, &v, source), NULL,
		  NULL);
	return v.kind == DMABUF_VFIO_ROUTE_NONE ? EX_NO : EX_DONE;
}

/* --- topo */

/* Functions that are alike: of one kind, on one device or below one port. */
struct node {
	struct func f;		/* the first of them */
	struct dvp_path path;
	bool memory;
	int numa;
	int nr;
};

struct topo {
	const struct options *opts;
	struct node *nodes;
	int nr;
	bool routes;	/* see cpu_routes() */
};

/* In the matrix a letter of its own where nobody knows of reads. */
static const struct {
	u32 why;
	char letter;
	const char *text;
} unread[] = {
	{ DMABUF_VFIO_WHY_FORWARDED, 'W',
	  "through the host bridge, which forwards writes; it is not known whether "
	  "reads arrive" },
	{ DMABUF_VFIO_WHY_REDIRECTED, 'w',
	  "as W, since ACS redirects it from where their paths meet" },
};

#define ONESELF		'X'

static char letter_of(const struct topo *t, int row, int col)
{
	const struct node *client = &t->nodes[row], *provider = &t->nodes[col];
	struct dvp_route v;
	size_t i;

	if (row == col && client->nr == 1)
		return ONESELF;
	v = dvp_route_find(&provider->path, &client->path, t->routes);
	for (i = 0; i < ARRAY_SIZE(unread); i++)
		if (v.why == unread[i].why &&
		    v.reads == DMABUF_VFIO_ACCESS_UNKNOWN)
			return unread[i].letter;
	return reasons[v.why].letter;
}

static void print_letter(char letter, const char *text)
{
	printf(" %c  %s\n", letter, text);
}

static void print_legend(const bool used[256])
{
	size_t i;

	putchar('\n');
	if (used[(int)ONESELF])
		print_letter(ONESELF, "itself");
	for (i = 0; i < ARRAY_SIZE(reasons); i++)
		if (used[(int)reasons[i].letter])
			print_letter(reasons[i].letter, reasons[i].text);
	for (i = 0; i < ARRAY_SIZE(unread); i++)
		if (used[(int)unread[i].letter])
			print_letter(unread[i].letter, unread[i].text);
}

/* Columns of a terminal; what is no terminal has room without end. */
static int width(void)
{
	const char *env = getenv("COLUMNS");
	struct winsize size;

	if (env && atoi(env) > 0)
		return atoi(env);
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col)
		return size.ws_col;
	return INT_MAX;
}

static void print_node(const struct topo *t, int i, int room)
{
	char driver[SYS_NAME], cpus[SYS_NAME], numa[16] = "-", name[256];
	const struct node *n = &t->nodes[i];
	int used;

	func_driver(&n->f, driver);
	func_name(&n->f, name, sizeof(name));
	if (sys_read(cpus, sizeof(cpus), "%s/local_cpulist", n->f.dir) <= 0)
		snprintf(cpus, sizeof(cpus), "-");
	if (n->numa >= 0)
		snprintf(numa, sizeof(numa), "%d", n->numa);
	used = printf("%3d  %-13s %4d  %-4s  %-9s  %-15s  ", i, n->f.bdf, n->nr,
		      numa, cpus, *driver ? driver : "-");
	room -= used;
	printf("%.*s\n", room < 20 ? 20 : room, name);
}

/* Columns are the functions with memory; as many at a time as there is room. */
static void print_matrix(const struct topo *t, int room, bool used[256])
{
	enum { LABEL = 19, COLUMN = 4 };
	int fit = (room - LABEL) / COLUMN, from = 0, shown, r, c;

	if (fit < 1)
		fit = 1;
	while (from < t->nr) {
		printf("\n%*s", LABEL, "");
		for (c = from, shown = 0; c < t->nr && shown < fit; c++)
			if (t->nodes[c].memory && ++shown)
				printf("%*d", COLUMN, c);
		putchar('\n');
		for (r = 0; r < t->nr; r++) {
			int i;

			printf("%3d  %-14s", r, t->nodes[r].f.bdf);
			for (i = from; i < c; i++) {
				char letter;

				if (!t->nodes[i].memory)
					continue;
				letter = letter_of(t, r, i);
				used[(int)letter] = true;
				printf("%*c", COLUMN, letter);
			}
			putchar('\n');
		}
		for (from = c; from < t->nr && !t->nodes[from].memory;)
			from++;
	}
}

static void topo_text(const struct val *unused, const void *ctx)
{
	const struct topo *t = ctx;
	bool used[256] = {};
	int i, room = width();

	(void)unused;
	printf("%3s  %-13s %4s  %-4s  %-9s  %-15s  %s\n", "#", "function", "nr",
	       "NUMA", "CPUs", "driver", "device");
	for (i = 0; i < t->nr; i++)
		print_node(t, i, room);
	printf("\nHow the function of each row reaches the memory of that of each column:\n");
	print_matrix(t, room, used);
	print_legend(used);
}

/* All functions, also those that are alike. */
static struct val *matrix_val(const struct topo *t)
{
	struct val *list = val_array();
	int p, c;

	for (p = 0; p < t->nr; p++) {
		if (!t->nodes[p].memory)
			continue;
		for (c = 0; c < t->nr; c++) {
			struct dvp_route v;

			v = dvp_route_find(&t->nodes[p].path,
					   &t->nodes[c].path, t->routes);

			val_add(list, verdict_val(&t->nodes[p].f,
						  &t->nodes[c].f, &v, NULL));
		}
	}
	return list;
}

/* Do paths differ in nothing but the function itself? */
static bool paths_are_alike(const struct dvp_path *a, const struct dvp_path *b)
{
	unsigned int i;

	if (a->nr_hops != b->nr_hops || !a->nr_hops || a->root != b->root ||
	    a->hop[0].redirects != b->hop[0].redirects)
		return false;
	for (i = 1; i < a->nr_hops; i++)
		if (a->hop[i].id != b->hop[i].id)
			return false;
	return true;
}

static struct node *find_alike(const struct topo *t, const struct node *n)
{
	char driver[SYS_NAME], other[SYS_NAME];
	int i;

	for (i = 0; i < t->nr; i++) {
		struct node *o = &t->nodes[i];

		if (o->f.vendor != n->f.vendor || o->f.device != n->f.device ||
		    o->memory != n->memory || o->numa != n->numa ||
		    !paths_are_alike(&o->path, &n->path))
			continue;
		func_driver(&o->f, other);
		func_driver(&n->f, driver);
		if (!strcmp(driver, other))
			return o;
	}
	return NULL;
}

/* @alone: not one with those that are like it */
static int add_node(struct topo *t, const struct func *f, bool alone)
{
	struct node *n = &t->nodes[t->nr], *alike;
	int ret = path_read(f, &n->path);

	if (ret)
		return no_path(f, ret);
	n->f = *f;
	n->memory = func_has_memory(f);
	n->numa = func_numa(f);
	n->nr = 1;
	alike = alone ? NULL : find_alike(t, n);
	if (alike)
		alike->nr++;
	else
		t->nr++;
	return 0;
}

/*
 * Memory to be reached, or a class that does DMA: not memory controllers, the
 * parts of a chipset, system peripherals, signal processing and SMBus, of which
 * a server's processor has hundreds.
 */
static bool is_of_interest(const struct func *f)
{
	switch (f->class >> 16) {
	case PCI_BASE_CLASS_MEMORY:
	case PCI_BASE_CLASS_SYSTEM:
	case PCI_BASE_CLASS_SIGNAL:
		return func_has_memory(f) &&
		       f->class >> 8 != PCI_CLASS_SYSTEM_PIC;
	default:
		return f->class >> 8 != PCI_CLASS_SERIAL_SMBUS;
	}
}

/* The functions that the user names, or all that matter. Says what is wrong. */
static int read_topo(struct topo *t, int argc, char **argv)
{
	const struct options *opts = t->opts;
	struct func *funcs = NULL, f;
	int i, nr, ret = 0;

	nr = argc ? 0 : funcs_read(&funcs);
	if (nr < 0)
		return nr;
	t->routes = cpu_routes();
	t->nodes = need_memory(calloc((argc ?: nr) + 1, sizeof(*t->nodes)));
	for (i = 0; i < argc && !ret; i++)
		ret = func_need(&f, argv[i]) ?: add_node(t, &f, true);
	for (i = 0; i < nr && !ret; i++)
		if (!func_is_bridge(&funcs[i]) &&
		    (opts->all || is_of_interest(&funcs[i])))
			ret = add_node(t, &funcs[i], opts->json || opts->all);
	free(funcs);
	return ret;
}

int cmd_topo(const struct options *opts, int argc, char **argv)
{
	struct topo t = { .opts = opts };
	int ret;

	ret = read_topo(&t, argc, argv);
	if (!ret)
		out_print(opts, opts->json ? matrix_val(&t) : val_null(),
			  topo_text, &t);
	free(t.nodes);
	return ret;
}
