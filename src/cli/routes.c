// SPDX-License-Identifier: GPL-2.0-only
/*
 * The commands route and topo: how one function reaches the memory of another,
 * and why.
 */
#include <errno.h>
#include <fcntl.h>
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
		"one PCIe switch" },
	[DMABUF_VFIO_WHY_REDIRECTED_AWAY] = { 'a',
		"no: ACS redirects it to a host bridge that is not known to "
		"forward it; boot with pci=disable_acs_redir=... for the ports "
		"between them (this costs isolation)" },
	[DMABUF_VFIO_WHY_NO_PATH] = { 'd',
		"no: the PCI tree is deeper than the driver looks" },
};

#define NO_MEMORY	'-'

static int no_path(const struct func *f, int ret)
{
	if (ret == -EACCES)
		return fail(ret, "%s: only root can see the ACS settings that decide: run it as root",
			    f->bdf);
	return fail(ret, "%s: %s", f->bdf, strerror(-ret));
}

/* Asks the driver, whose answer counts, if the provider is open. */
static bool ask_node(const struct func *provider, const struct func *client,
		     struct verdict *v)
{
	struct dmabuf_vfio_route req = {
		.argsz = sizeof(req),
		.client_domain = client->domain,
		.client_bdf = client->devfn,
	};
	int node = node_open(provider, O_RDONLY);
	int ret;

	if (node < 0)
		return false;
	ret = ioctl(node, DMABUF_VFIO_ROUTE, &req);
	close(node);
	if (ret || req.reason >= ARRAY_SIZE(reasons) ||
	    !route_name(req.route) || !access_name(req.reads) ||
	    !access_name(req.writes))
		return false;
	*v = (struct verdict){
		.route = req.route,
		.reason = req.reason,
		.distance = req.distance,
		.reads = req.reads,
		.writes = req.writes,
	};
	return true;
}

static struct val *verdict_val(const struct func *provider,
			       const struct func *client,
			       const struct verdict *v, const char *source)
{
	struct val *row = val_object();

	val_set(row, "provider", val_str("%s", provider->bdf));
	val_set(row, "client", val_str("%s", client->bdf));
	val_set(row, "route", val_str("%s", route_name(v->route)));
	val_set(row, "distance", val_num(v->distance));
	val_set(row, "reason", val_str("%s", why_name(v->reason)));
	val_set(row, "explanation", val_str("%s", reasons[v->reason].text));
	val_set(row, "reads", val_str("%s", access_name(v->reads)));
	val_set(row, "writes", val_str("%s", access_name(v->writes)));
	if (source)
		val_set(row, "source", val_str("%s", source));
	return row;
}

/* Says what is wrong. @source: out, who has given the verdict. */
int route_find(const struct func *provider, const struct func *client,
	       struct verdict *v, const char **source)
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
	*v = verdict_of(&p, &c, cpu_routes());
	return 0;
}

const char *route_text(const struct verdict *v)
{
	return reasons[v->reason].text;
}

int cmd_route(int argc, char **argv)
{
	struct func provider, client;
	const char *source;
	struct verdict v;
	int ret;

	(void)argc;
	ret = func_need(&provider, argv[0]) ?: func_need(&client, argv[1]) ?:
	      route_find(&provider, &client, &v, &source);
	if (ret)
		return ret;
	out_print(verdict_val(&provider, &client, &v, source), NULL, NULL);
	return v.route == DMABUF_VFIO_ROUTE_NONE ? EX_NO : EX_DONE;
}

/* --- topo */

struct node {
	struct func f;
	struct dvp_path path;
	bool memory;
};

struct topo {
	struct node *nodes;
	int nr;
	bool routes;	/* see cpu_routes() */
};

static void print_legend(const bool *used, bool no_memory)
{
	size_t i;

	putchar('\n');
	for (i = 0; i < ARRAY_SIZE(reasons); i++)
		if (used[i])
			printf("%c  %s\n", reasons[i].letter, reasons[i].text);
	if (no_memory)
		printf("%c  it has no memory that could be reached\n",
		       NO_MEMORY);
}

static void topo_text(const struct val *unused, const void *ctx)
{
	bool used[ARRAY_SIZE(reasons)] = {}, no_memory = false;
	const struct topo *t = ctx;
	char driver[SYS_NAME];
	int r, c;

	(void)unused;
	printf("How the function of each row reaches the memory of the function of each column:\n\n");
	printf("%*s", 3 + 1 + 14, "");
	for (c = 0; c < t->nr; c++)
		printf(" %2d", c);
	putchar('\n');
	for (r = 0; r < t->nr; r++) {
		const struct node *client = &t->nodes[r];

		printf("%2d  %-14s", r, client->f.bdf);
		for (c = 0; c < t->nr; c++) {
			struct verdict v;

			if (!t->nodes[c].memory) {
				no_memory = true;
				printf("  %c", NO_MEMORY);
				continue;
			}
			v = verdict_of(&t->nodes[c].path, &client->path,
				       t->routes);
			used[v.reason] = true;
			printf("  %c", reasons[v.reason].letter);
		}
		func_driver(&client->f, driver);
		printf("  %04x:%04x %s\n", client->f.vendor, client->f.device,
		       *driver ? driver : "-");
	}
	print_legend(used, no_memory);
}

static struct val *matrix_val(const struct topo *t)
{
	struct val *list = val_array();
	int p, c;

	for (p = 0; p < t->nr; p++) {
		if (!t->nodes[p].memory)
			continue;
		for (c = 0; c < t->nr; c++) {
			struct verdict v = verdict_of(&t->nodes[p].path,
						      &t->nodes[c].path,
						      t->routes);

			val_add(list, verdict_val(&t->nodes[p].f,
						  &t->nodes[c].f, &v, NULL));
		}
	}
	return list;
}

static int add_node(struct topo *t, const struct func *f)
{
	struct node *n = &t->nodes[t->nr];
	int ret = path_read(f, &n->path);

	if (ret)
		return no_path(f, ret);
	n->f = *f;
	n->memory = func_has_memory(f);
	t->nr++;
	return 0;
}

/* The functions that the user names, or all but bridges. Says what is wrong. */
static int read_topo(struct topo *t, int argc, char **argv)
{
	struct func *funcs = NULL, f;
	int i, nr, ret = 0;

	nr = argc ? 0 : funcs_read(&funcs);
	if (nr < 0)
		return fail(nr, "/sys/bus/pci/devices: %s", strerror(-nr));
	t->routes = cpu_routes();
	t->nodes = need_memory(calloc((argc ?: nr) + 1, sizeof(*t->nodes)));
	for (i = 0; i < argc && !ret; i++)
		ret = func_need(&f, argv[i]) ?: add_node(t, &f);
	for (i = 0; i < nr && !ret; i++)
		if (!func_is_bridge(&funcs[i]))
			ret = add_node(t, &funcs[i]);
	free(funcs);
	return ret;
}

int cmd_topo(int argc, char **argv)
{
	struct topo t = {};
	int ret;

	ret = read_topo(&t, argc, argv);
	if (!ret)
		out_print(opts.json ? matrix_val(&t) : val_null(), topo_text,
			  &t);
	free(t.nodes);
	return ret;
}
